//! The options of a query, as keyword arguments.

use std::time::Duration;

use merganser::config::{FinishRelations, SessionSettings, parse_duration};
use merganser::export::Format;
use merganser::types::{IntervalAs, NumericAs, TextAs, TypeOptions, Unrepresentable};
use merganser::{
    Error, FanOut, MergeMode, MissingShards, Order, PartitionOptions, PartitionRead, Query,
};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use crate::error::{config, raised};

/// What a query is told beside its text and values.
#[derive(Clone, Default)]
pub(crate) struct RunOptions {
    merge_sql: Option<String>,
    timeout: Option<Duration>,
    order: Option<Order>,
    merge: Option<MergeMode>,
    numeric: Option<NumericAs>,
    interval: Option<IntervalAs>,
    unrepresentable: Option<Unrepresentable>,
    text: TextAs,
    /// The file that the rows are for, if they are for one.
    format: Option<Format>,
    batch_rows: Option<usize>,
    batch_bytes: Option<usize>,
    memory: Option<usize>,
    finish_relations: Option<FinishRelations>,
    finish_rows: Option<u64>,
    finish_bytes: Option<u64>,
    system_catalogs: Option<bool>,
    retries: Option<u32>,
    max_skew: Option<Duration>,
    /// The shards that rows go without, where that is allowed: of the run that has begun last.
    pub(crate) missing: Option<MissingShards>,
    session: Option<SessionSettings>,
}

/// Options of every query, those of planned ones alone, and those of reading a part of one.
const COMMON: [&str; 12] = [
    "timeout",
    "order",
    "numeric",
    "interval",
    "unrepresentable",
    "batch_rows",
    "batch_bytes",
    "memory",
    "session",
    "retries",
    "max_skew",
    "allow_missing_shards",
];
const PLANNED: [&str; 5] = [
    "merge",
    "finish_relations",
    "finish_rows",
    "finish_bytes",
    "system_catalogs",
];
const PARTITION: [&str; 7] = [
    "timeout",
    "numeric",
    "interval",
    "unrepresentable",
    "batch_rows",
    "memory",
    "session",
];

/// What builders of both kinds have; their methods are alike, their types are not.
macro_rules! set_common {
    ($options:expr, $query:expr) => {{
        let (options, mut query) = ($options, $query.with_types($options.types()));
        if let Some(timeout) = options.timeout {
            query = query.with_timeout(timeout);
        }
        if let Some(order) = options.order {
            query = query.with_order(order);
        }
        if let Some(rows) = options.batch_rows {
            query = query.with_batch_rows(rows);
        }
        if let Some(bytes) = options.batch_bytes {
            query = query.with_batch_bytes(bytes);
        }
        if let Some(bytes) = options.memory {
            query = query.with_memory(bytes);
        }
        if let Some(session) = &options.session {
            query = query.with_session(session.clone());
        }
        if let Some(retries) = options.retries {
            query = query.with_retries(retries);
        }
        if let Some(skew) = options.max_skew {
            query = query.with_max_skew(skew);
        }
        if let Some(missing) = &options.missing {
            query = query.with_missing_shards(missing);
        }
        query
    }};
}

impl RunOptions {
    /// Reads those of a planned query.
    pub(crate) fn planned(py: Python<'_>, options: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        let mut known = COMMON.to_vec();
        known.extend(PLANNED);
        Self::read(py, options, &known)
    }

    /// Reads those of a fan-out.
    pub(crate) fn fan_out(
        py: Python<'_>,
        merge_sql: Option<String>,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        Ok(Self {
            merge_sql,
            ..Self::read(py, options, &COMMON)?
        })
    }

    /// Reads those of a partition.
    pub(crate) fn partition(py: Python<'_>, options: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        Self::read(py, options, &PARTITION)
    }

    /// The same, for rows that go into such a file.
    pub(crate) fn written_as(&self, format: Format) -> Self {
        Self {
            format: Some(format),
            ..self.clone()
        }
    }

    /// The same, for a library that holds text so.
    pub(crate) fn with_text(&self, text: TextAs) -> Self {
        Self {
            text,
            ..self.clone()
        }
    }

    /// The same, for rows of Python objects: numbers have the digits that PostgreSQL gave them, if nothing else
    /// is asked for. SQL over the rows of the shards has to compute with numbers.
    pub(crate) fn for_rows(&self) -> Self {
        let numeric = match self.is_merged() {
            true => self.numeric,
            false => self.numeric.or(Some(NumericAs::Text)),
        };
        Self {
            numeric,
            ..self.clone()
        }
    }

    /// Whether rows of the shards are merged by SQL of the user.
    pub(crate) fn is_merged(&self) -> bool {
        self.merge_sql.is_some()
    }

    /// How types with more than one mapping are read. CSV and tables show what psql shows, and JSON
    /// the digits of every numeric, as `merganser query` writes them; what is asked for holds
    /// everywhere. A merge needs numbers that it can add up.
    fn types(&self) -> TypeOptions {
        let (numeric, unrepresentable) = match self.format.filter(|_| !self.is_merged()) {
            Some(Format::Table | Format::Csv) => (NumericAs::Text, Unrepresentable::Text),
            Some(Format::Json | Format::Ndjson) => (NumericAs::Text, Unrepresentable::Error),
            _ => (NumericAs::Auto, Unrepresentable::Error),
        };
        let asked = self.unrepresentable;
        let numeric = match self.numeric.unwrap_or(numeric) {
            NumericAs::Text if asked.is_some_and(|asked| asked != Unrepresentable::Text) => {
                NumericAs::FiniteText
            }
            other => other,
        };
        TypeOptions {
            numeric,
            unrepresentable: asked.unwrap_or(unrepresentable),
            interval: self.interval.unwrap_or_default(),
            text: self.text,
        }
    }

    pub(crate) fn set_planned(&self, query: Query, params: &[Option<String>]) -> Query {
        let mut query = set_common!(self, query.with_params(params.iter().cloned()));
        if let Some(merge) = self.merge {
            query = query.with_merge(merge);
        }
        if let Some(relations) = self.finish_relations {
            query = query.with_finish_relations(relations);
        }
        if let Some(rows) = self.finish_rows {
            query = query.with_finish_rows(rows);
        }
        if let Some(bytes) = self.finish_bytes {
            query = query.with_finish_bytes(bytes);
        }
        if let Some(system_catalogs) = self.system_catalogs {
            query = query.with_system_catalogs(system_catalogs);
        }
        query
    }

    pub(crate) fn set_fan_out(&self, fan_out: FanOut, params: &[Option<String>]) -> FanOut {
        let mut fan_out = set_common!(self, fan_out.with_params(params.iter().cloned()));
        if let Some(sql) = &self.merge_sql {
            fan_out = fan_out.reaggregate(sql);
        }
        fan_out
    }

    pub(crate) fn set_partition(&self, read: PartitionRead) -> PartitionRead {
        let mut read = read.with_types(self.types());
        if let Some(timeout) = self.timeout {
            read = read.with_timeout(timeout);
        }
        if let Some(rows) = self.batch_rows {
            read = read.with_batch_rows(rows);
        }
        if let Some(bytes) = self.memory {
            read = read.with_memory(bytes);
        }
        if let Some(session) = &self.session {
            read = read.with_session(session.clone());
        }
        read
    }

    fn read(py: Python<'_>, given: Option<&Bound<'_, PyDict>>, known: &[&str]) -> PyResult<Self> {
        let mut options = Self::default();
        let given = given.into_iter().flat_map(|given| given.iter());
        for (name, value) in given {
            let name: String = name.extract()?;
            if !known.contains(&name.as_str()) {
                return Err(PyTypeError::new_err(format!(
                    "no option {name:?}; there are: {}",
                    known.join(", ")
                )));
            }
            if !value.is_none() {
                options.set(py, &name, &value)?;
            }
        }
        Ok(options)
    }

    fn set(&mut self, py: Python<'_>, name: &str, value: &Bound<'_, PyAny>) -> PyResult<()> {
        match name {
            "timeout" => self.timeout = Some(duration(name, value)?),
            "order" => self.order = Some(one_of(py, name, value, &ORDERS)?),
            "merge" => self.merge = Some(one_of(py, name, value, &MERGES)?),
            "numeric" => self.numeric = Some(parsed(py, name, value)?),
            "interval" => self.interval = Some(parsed(py, name, value)?),
            "unrepresentable" => self.unrepresentable = Some(parsed(py, name, value)?),
            "batch_rows" => self.batch_rows = Some(positive(py, name, value)?),
            "batch_bytes" => self.batch_bytes = Some(positive(py, name, value)?),
            "memory" => self.memory = Some(positive(py, name, value)?),
            "finish_relations" => {
                self.finish_relations = Some(one_of(py, name, value, &RELATIONS)?);
            }
            "finish_rows" => self.finish_rows = Some(count(name, value)?),
            "finish_bytes" => self.finish_bytes = Some(count(name, value)?),
            "system_catalogs" => self.system_catalogs = Some(flag(name, value)?),
            "retries" => {
                self.retries = Some(u32::try_from(count(name, value)?).unwrap_or(u32::MAX));
            }
            "max_skew" => self.max_skew = Some(duration(name, value)?),
            "allow_missing_shards" => {
                self.missing = flag(name, value)?.then(MissingShards::new);
            }
            "session" => {
                let settings = value.cast::<PyDict>().map_err(|_| {
                    PyTypeError::new_err(
                        "session is a dictionary of settings: {\"timezone\": \"Europe/Berlin\"}",
                    )
                })?;
                self.session = Some(session_settings(py, settings)?);
            }
            _ => {}
        }
        Ok(())
    }
}

/// How a query is cut: the seconds of the lease, and how many bytes of a table a part has.
pub(crate) fn partition_options(
    py: Python<'_>,
    lease: Option<&Bound<'_, PyAny>>,
    bytes: Option<&Bound<'_, PyAny>>,
) -> PyResult<PartitionOptions> {
    let mut options = PartitionOptions::new();
    if let Some(lease) = lease {
        let lease = duration("lease", lease)?;
        if lease.is_zero() {
            return Err(config(py, "lease is more than 0 seconds", None));
        }
        options = options.with_lease(lease);
    }
    if let Some(bytes) = bytes {
        options = options.with_bytes(positive(py, "partition_bytes", bytes)? as u64);
    }
    Ok(options)
}

const ORDERS: [(&str, Order); 2] = [("shard", Order::Shard), ("first_come", Order::FirstCome)];
const RELATIONS: [(&str, FinishRelations); 2] = [
    ("text", FinishRelations::Text),
    ("temporary", FinishRelations::Temporary),
];
const MERGES: [(&str, MergeMode); 2] = [("auto", MergeMode::Auto), ("gather", MergeMode::Gather)];

/// Settings of sessions, by the names of a topology's `[session]` or of PostgreSQL.
pub(crate) fn session_settings(
    py: Python<'_>,
    settings: &Bound<'_, PyDict>,
) -> PyResult<SessionSettings> {
    let mut session = SessionSettings::default();
    for (name, value) in settings.iter() {
        let name: String = name.extract()?;
        session = match name.as_str() {
            "timezone" | "TimeZone" => session.with_timezone(text(&name, &value)?),
            "search_path" => session.with_search_path(text(&name, &value)?),
            "statement_timeout" => {
                session.with_statement_timeout(server_duration(py, &name, &value)?)
            }
            "lock_timeout" => session.with_lock_timeout(server_duration(py, &name, &value)?),
            "connect_timeout" => session.with_connect_timeout(server_duration(py, &name, &value)?),
            _ => {
                let value = text(&name, &value)?;
                session.with_setting(name, value)
            }
        };
    }
    Ok(session)
}

/// A number of seconds, or a text such as `5min`.
fn server_duration(py: Python<'_>, name: &str, value: &Bound<'_, PyAny>) -> PyResult<Duration> {
    match value.extract::<String>() {
        Ok(text) => parse_duration(&text).map_err(|error| raised(py, &error)),
        Err(_) => duration(name, value),
    }
}

/// A number of seconds.
fn duration(name: &str, value: &Bound<'_, PyAny>) -> PyResult<Duration> {
    let wrong = || PyTypeError::new_err(format!("{name} is a number of seconds, at least 0"));
    if value.is_instance_of::<PyString>() {
        return Err(wrong());
    }
    let seconds: f64 = value.extract().map_err(|_| wrong())?;
    if seconds > LONGEST.as_secs_f64() {
        return Ok(LONGEST);
    }
    Duration::try_from_secs_f64(seconds).map_err(|_| wrong())
}

fn positive(py: Python<'_>, name: &str, value: &Bound<'_, PyAny>) -> PyResult<usize> {
    let number = usize::try_from(count(name, value)?).unwrap_or(usize::MAX);
    match number {
        0 => Err(config(py, &format!("{name} is at least 1"), None)),
        number => Ok(number),
    }
}

fn flag(name: &str, value: &Bound<'_, PyAny>) -> PyResult<bool> {
    value
        .extract()
        .map_err(|_| PyTypeError::new_err(format!("{name} is True or False")))
}

fn count(name: &str, value: &Bound<'_, PyAny>) -> PyResult<u64> {
    value
        .extract()
        .map_err(|_| PyTypeError::new_err(format!("{name} is a whole number, at least 0")))
}

fn text(name: &str, value: &Bound<'_, PyAny>) -> PyResult<String> {
    value
        .extract()
        .map_err(|_| PyTypeError::new_err(format!("{name} is a text")))
}

fn parsed<T: std::str::FromStr<Err = Error>>(
    py: Python<'_>,
    name: &str,
    value: &Bound<'_, PyAny>,
) -> PyResult<T> {
    let value = text(name, value)?;
    value.parse().map_err(|error| raised(py, &error))
}

fn one_of<T: Copy>(
    py: Python<'_>,
    name: &str,
    value: &Bound<'_, PyAny>,
    known: &[(&str, T)],
) -> PyResult<T> {
    let value = text(name, value)?;
    let found = known.iter().find(|(known, _)| *known == value);
    found.map(|(_, found)| *found).ok_or_else(|| {
        let known: Vec<_> = known.iter().map(|(name, _)| *name).collect();
        config(
            py,
            &format!("{name} is not {value:?}"),
            Some(&format!("it is one of: {}", known.join(", "))),
        )
    })
}

/// The longest that can be said in PostgreSQL's own terms; more is no limit.
const LONGEST: Duration = Duration::from_secs(u32::MAX as u64);
