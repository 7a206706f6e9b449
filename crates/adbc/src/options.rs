//! Options: how they are read, and those that say how queries run.

use std::time::Duration;

use adbc_core::error::{Error, Result, Status};
use adbc_core::options::OptionValue;
use merganser::config::SessionSettings;
use merganser::{MergeMode, Order, PartitionOptions};

use crate::error::refusal;

const MODE: &str = "merganser.mode";
const MERGE_SQL: &str = "merganser.merge_sql";
const MERGE: &str = "merganser.merge";
const ORDER: &str = "merganser.order";
const TIMEOUT: &str = "merganser.timeout_ms";
const BATCH_ROWS: &str = "merganser.batch_rows";
const MEMORY: &str = "merganser.memory_bytes";
const TIMEZONE: &str = "merganser.timezone";
const LEASE: &str = "merganser.lease_ms";
const PARTITION_BYTES: &str = "merganser.partition_bytes";

/// PostgreSQL's own limit on a statement's time: almost 25 days.
const MOST_MILLISECONDS: u64 = i32::MAX as u64;
/// Merges make room for a whole batch at once.
const MOST_BATCH_ROWS: u64 = 1_000_000;
/// More than any machine has.
const MOST_MEMORY: u64 = 1 << 50;

/// How queries run. A statement begins with its connection's, a connection with its database's.
#[derive(Clone, Default)]
pub(crate) struct QueryOptions {
    pub(crate) mode: Mode,
    /// `merganser.merge_sql`.
    pub(crate) merge_sql: Option<String>,
    pub(crate) merge: MergeMode,
    pub(crate) order: Option<Order>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) batch_rows: Option<usize>,
    pub(crate) memory: Option<usize>,
    pub(crate) timezone: Option<String>,
    pub(crate) lease: Option<Duration>,
    pub(crate) partition_bytes: Option<usize>,
    /// `adbc.connection.db_schema`: where names without a schema are looked up.
    pub(crate) schema: Option<String>,
}

/// What a statement's SQL is.
#[derive(Clone, Copy, Default, PartialEq)]
pub(crate) enum Mode {
    /// A query over all shards as if they were one database.
    #[default]
    Query,
    /// A text that is sent to every shard as it is.
    FanOut,
}

impl QueryOptions {
    /// The names of all of them.
    pub(crate) const NAMES: [&str; 10] = [
        MODE,
        MERGE_SQL,
        MERGE,
        ORDER,
        TIMEOUT,
        BATCH_ROWS,
        MEMORY,
        TIMEZONE,
        LEASE,
        PARTITION_BYTES,
    ];

    /// Sets the option of this name; `false` if it is none of these.
    pub(crate) fn set(&mut self, name: &str, value: &OptionValue) -> Result<bool> {
        match name {
            MODE => {
                self.mode = choice(
                    name,
                    value,
                    &[("query", Mode::Query), ("fan_out", Mode::FanOut)],
                )?;
            }
            MERGE_SQL => self.merge_sql = unless_empty(text(name, value)?),
            MERGE => {
                self.merge = choice(
                    name,
                    value,
                    &[("auto", MergeMode::Auto), ("gather", MergeMode::Gather)],
                )?;
            }
            ORDER => {
                let orders = [
                    ("", None),
                    ("first_come", Some(Order::FirstCome)),
                    ("shard", Some(Order::Shard)),
                ];
                self.order = choice(name, value, &orders)?;
            }
            TIMEOUT => self.timeout = time(name, value)?,
            LEASE => self.lease = time(name, value)?,
            PARTITION_BYTES => self.partition_bytes = size(name, value, MOST_MEMORY)?,
            BATCH_ROWS => self.batch_rows = size(name, value, MOST_BATCH_ROWS)?,
            MEMORY => self.memory = size(name, value, MOST_MEMORY)?,
            TIMEZONE => self.timezone = unless_empty(text(name, value)?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The value of the option of this name as a text, empty where it is not set; `None` if it is
    /// none of these.
    pub(crate) fn get(&self, name: &str) -> Option<String> {
        let size = |size: Option<usize>| size.map_or_else(String::new, |size| size.to_string());
        Some(match name {
            MODE => match self.mode {
                Mode::Query => "query".to_owned(),
                Mode::FanOut => "fan_out".to_owned(),
            },
            MERGE_SQL => self.merge_sql.clone().unwrap_or_default(),
            MERGE => match self.merge {
                MergeMode::Gather => "gather".to_owned(),
                _ => "auto".to_owned(),
            },
            ORDER => match self.order {
                Some(Order::Shard) => "shard".to_owned(),
                Some(_) => "first_come".to_owned(),
                None => String::new(),
            },
            TIMEOUT => self.timeout.unwrap_or_default().as_millis().to_string(),
            LEASE => match self.lease {
                Some(lease) => lease.as_millis().to_string(),
                None => String::new(),
            },
            PARTITION_BYTES => size(self.partition_bytes),
            BATCH_ROWS => size(self.batch_rows),
            MEMORY => size(self.memory),
            TIMEZONE => self.timezone.clone().unwrap_or_default(),
            _ => return None,
        })
    }

    /// The settings of a query's sessions that are its own.
    pub(crate) fn session(&self) -> Option<SessionSettings> {
        if self.timezone.is_none() && self.schema.is_none() {
            return None;
        }
        let mut session = SessionSettings::default();
        if let Some(timezone) = &self.timezone {
            session = session.with_timezone(timezone);
        }
        if let Some(schema) = &self.schema {
            session = session.with_search_path(quoted(schema));
        }
        Some(session)
    }
}

/// How a statement is cut into partitions.
impl From<&QueryOptions> for PartitionOptions {
    fn from(options: &QueryOptions) -> Self {
        let mut cut = Self::new();
        if let Some(lease) = options.lease {
            cut = cut.with_lease(lease);
        }
        if let Some(bytes) = options.partition_bytes {
            cut = cut.with_bytes(bytes as u64);
        }
        cut
    }
}

/// A name as SQL writes it in quotes.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The text of an option.
pub(crate) fn text<'a>(name: &str, value: &'a OptionValue) -> Result<&'a str> {
    match value {
        OptionValue::String(text) => Ok(text),
        _ => Err(invalid(name, "expected a text")),
    }
}

/// An option that is `true` or `false`.
pub(crate) fn boolean(name: &str, value: &OptionValue) -> Result<bool> {
    bool::try_from(value).map_err(|_| invalid(name, "expected \"true\" or \"false\""))
}

/// A whole number up to this one, as such or as text.
fn number(name: &str, value: &OptionValue, most: u64) -> Result<u64> {
    let number = match value {
        OptionValue::Int(number) => u64::try_from(*number).ok(),
        OptionValue::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    number
        .filter(|number| *number <= most)
        .ok_or_else(|| invalid(name, &format!("expected a whole number from 0 to {most}")))
}

/// The value of an option that is a number.
pub(crate) fn integer_of(name: &str, text: &str) -> Result<i64> {
    text.parse()
        .map_err(|_| invalid(name, "its value is a text, or not set"))
}

/// An option that there is not; `known` are those that there are.
pub(crate) fn unknown(name: &str, owner: &str, known: &[&str]) -> Error {
    refusal(
        Status::NotImplemented,
        format!(
            "a {owner} has no option {name:?}\nhint: there are {}",
            known.join(", ")
        ),
    )
}

/// An option that has no value to give.
pub(crate) fn not_found(name: &str, why: &str) -> Error {
    refusal(Status::NotFound, format!("option {name:?}: {why}"))
}

/// An option with a value that it cannot have.
pub(crate) fn invalid(name: &str, why: &str) -> Error {
    refusal(Status::InvalidArguments, format!("option {name:?}: {why}"))
}

/// A number of at least 1 and at most this many; unset by 0.
pub(crate) fn size(name: &str, value: &OptionValue, most: u64) -> Result<Option<usize>> {
    let size = number(name, value, most)?;
    let size = usize::try_from(size)
        .map_err(|_| invalid(name, "it is more than this machine can count"))?;
    Ok((size > 0).then_some(size))
}

/// A time in milliseconds; 0 is none.
fn time(name: &str, value: &OptionValue) -> Result<Option<Duration>> {
    let milliseconds = number(name, value, MOST_MILLISECONDS)?;
    Ok((milliseconds > 0).then(|| Duration::from_millis(milliseconds)))
}

fn choice<T: Copy>(name: &str, value: &OptionValue, choices: &[(&str, T)]) -> Result<T> {
    let text = text(name, value)?;
    let found = choices.iter().find(|(choice, _)| *choice == text);
    found.map(|(_, meaning)| *meaning).ok_or_else(|| {
        let choices: Vec<_> = choices
            .iter()
            .map(|(choice, _)| format!("{choice:?}"))
            .collect();
        invalid(
            name,
            &format!("expected {}, found {text:?}", choices.join(" or ")),
        )
    })
}

fn unless_empty(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_can_be_read() {
        let mut options = QueryOptions::default();
        for (name, default) in [
            (MODE, "query"),
            (MERGE, "auto"),
            (TIMEOUT, "0"),
            (ORDER, ""),
        ] {
            assert_eq!(options.get(name).unwrap(), default, "{name}");
        }
        for (name, value) in [
            (MODE, "fan_out"),
            (MERGE_SQL, "select 1"),
            (MERGE, "gather"),
            (ORDER, "shard"),
            (TIMEOUT, "1500"),
            (BATCH_ROWS, "10"),
            (MEMORY, "1000000"),
            (TIMEZONE, "Europe/Berlin"),
            (LEASE, "60000"),
            (PARTITION_BYTES, "2000000"),
        ] {
            assert!(options.set(name, &value.into()).unwrap());
            assert_eq!(options.get(name).unwrap(), value);
        }
        assert!(options.set(TIMEOUT, &OptionValue::Int(2)).unwrap());
        assert_eq!(options.timeout, Some(Duration::from_millis(2)));
        assert!(!options.set("merganser.x", &"".into()).unwrap());
        assert!(options.get("merganser.x").is_none());
        // Every name of the list is one that can be set.
        for name in QueryOptions::NAMES {
            assert!(options.get(name).is_some(), "{name}");
        }
    }

    #[test]
    fn a_wrong_value_says_which_are_right() {
        let mut options = QueryOptions::default();
        let error = options.set(MODE, &"x".into()).unwrap_err();
        assert_eq!(error.status, Status::InvalidArguments);
        assert_eq!(
            error.message,
            "option \"merganser.mode\": expected \"query\" or \"fan_out\", found \"x\""
        );
        for (name, value) in [
            (TIMEOUT, OptionValue::Int(-1)),
            (TIMEOUT, OptionValue::Double(1.0)),
            (TIMEOUT, OptionValue::Int(i64::MAX)),
            (BATCH_ROWS, OptionValue::Int(1_000_001)),
            (MEMORY, OptionValue::Int(i64::MAX)),
            (BATCH_ROWS, "many".into()),
            (MERGE_SQL, OptionValue::Int(1)),
        ] {
            let error = options.set(name, &value).unwrap_err();
            assert_eq!(error.status, Status::InvalidArguments, "{name}");
            assert!(error.message.contains(name), "{error}");
        }
    }

    #[test]
    fn a_schema_is_one_name_whatever_it_is_called() {
        let options = QueryOptions {
            schema: Some("a\", b".to_owned()),
            ..QueryOptions::default()
        };
        let session = options.session().unwrap();
        assert_eq!(session.search_path(), Some("\"a\"\", b\""));
    }
}
