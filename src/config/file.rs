//! The TOML form of a topology.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::time::Duration;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};
use toml::Spanned;

use super::{
    ConnectionString, Environment, Finish, FinishRelations, Part, ReadFence, ReadFrom,
    SessionSettings, Shard, TableKind, Topology, invalid, parse_duration, within,
};
use crate::error::{Error, Result};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    session: Option<Spanned<SessionTable>>,
    finish: Option<Spanned<FinishTable>>,
    read_fence: Option<Spanned<ReadFenceTable>>,
    #[serde(default)]
    shard: Vec<Spanned<ShardTable>>,
    #[serde(default)]
    table: Vec<Spanned<TableTable>>,
}

/// `[session]`; see [`SessionSettings`] for meaning and defaults.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SessionTable {
    timezone: Option<String>,
    search_path: Option<String>,
    statement_timeout: Option<Spanned<String>>,
    lock_timeout: Option<Spanned<String>>,
    connect_timeout: Option<Spanned<String>>,
    read_from: Option<ReadFromName>,
    max_replay_lag: Option<Spanned<String>>,
    #[serde(default)]
    settings: BTreeMap<String, Setting>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "snake_case")]
enum ReadFromName {
    Primary,
    Replica,
    Any,
}

/// `[finish]`; see [`Finish`].
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FinishTable {
    mode: Option<FinishMode>,
    url: Option<String>,
    relations: Option<FinishRelations>,
}

/// `[read_fence]`; see [`ReadFence`].
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadFenceTable {
    max_skew: Spanned<String>,
    watermark: Option<String>,
    max_wait: Option<Spanned<String>>,
}

#[derive(Deserialize, Clone, Copy, PartialEq)]
#[serde(rename_all = "snake_case")]
enum FinishMode {
    On,
    Off,
}

/// `[[shard]]`; see [`Shard`].
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ShardTable {
    name: String,
    url: Spanned<String>,
    #[serde(default)]
    replicas: Vec<Spanned<String>>,
}

/// `[[table]]`: either `shard_key`, or `replicated = true`; see [`TableKind`].
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TableTable {
    name: String,
    shard_key: Option<String>,
    colocation: Option<String>,
    shard_index: Option<String>,
    #[serde(default)]
    replicated: bool,
}

/// The error about a file whose bytes are no text. Secrets that stand in it are not shown.
pub(super) fn not_utf8(name: &str, bytes: &[u8]) -> Error {
    let valid = bytes.utf8_chunks().next().map_or("", |chunk| chunk.valid());
    let line = valid.matches('\n').count() + 1;
    let byte = valid.len() - valid.rfind('\n').map_or(0, |at| at + 1) + 1;
    invalid(format!(
        "{name}:{line}: not UTF-8, which TOML has to be: byte {byte} of this line"
    ))
    .with_hint("save the file as UTF-8")
}

/// Reads the text of a file; `name` is what messages call the file.
pub(super) fn parse(text: &str, name: Option<&str>, environment: Environment) -> Result<Topology> {
    let place = Place { text, name };
    let file: File = toml::from_str(text).map_err(|error| place.syntax_error(&error))?;

    let mut builder = Topology::builder().with_environment(environment);
    if let Some(session) = &file.session {
        builder = builder.with_session(session.get_ref().read(&place)?);
    }
    if let Some(finish) = &file.finish {
        let read = finish.get_ref().read();
        builder = builder.with_finish(read.map_err(|error| place.locate(error, finish.span()))?);
        if let Some(relations) = finish.get_ref().relations {
            builder = builder.with_finish_relations(relations);
        }
    }
    if let Some(fence) = &file.read_fence {
        builder = builder.with_read_fence(fence.get_ref().read(&place)?);
    }
    for shard in &file.shard {
        builder = builder.with_shard(shard.get_ref().read());
    }
    for table in &file.table {
        let kind = table.get_ref().kind();
        let kind = kind.map_err(|error| place.locate(error, table.span()))?;
        builder = builder.with_table(&table.get_ref().name, kind);
    }
    builder
        .check()
        .map_err(|(part, error)| match file.span(part) {
            Some(span) => place.locate(error, span),
            None => match name {
                Some(name) => within(error, name),
                None => error,
            },
        })
}

impl File {
    fn span(&self, part: Part) -> Option<Range<usize>> {
        match part {
            Part::Whole => None,
            Part::Session => self.session.as_ref().map(Spanned::span),
            Part::Finish => self.finish.as_ref().map(Spanned::span),
            Part::ReadFence => self.read_fence.as_ref().map(Spanned::span),
            Part::Shard(index) => self.shard.get(index).map(Spanned::span),
            Part::Url(index, number) => self.shard.get(index).and_then(|shard| {
                let shard = shard.get_ref();
                std::iter::once(&shard.url)
                    .chain(&shard.replicas)
                    .nth(number)
                    .map(Spanned::span)
            }),
            Part::Table(index) => self.table.get(index).map(Spanned::span),
        }
    }
}

impl SessionTable {
    fn read(&self, place: &Place<'_>) -> Result<SessionSettings> {
        let mut session = SessionSettings::default();
        if let Some(timezone) = &self.timezone {
            session = session.with_timezone(timezone);
        }
        if let Some(search_path) = &self.search_path {
            session = session.with_search_path(search_path);
        }
        if let Some(name) = self.read_from {
            session = session.with_read_from(match name {
                ReadFromName::Primary => ReadFrom::Primary,
                ReadFromName::Replica => ReadFrom::Replica,
                ReadFromName::Any => ReadFrom::Any,
            });
        }
        type Set = fn(SessionSettings, Duration) -> SessionSettings;
        let timeouts: [(&str, &Option<Spanned<String>>, Set); 4] = [
            (
                "statement_timeout",
                &self.statement_timeout,
                SessionSettings::with_statement_timeout,
            ),
            (
                "lock_timeout",
                &self.lock_timeout,
                SessionSettings::with_lock_timeout,
            ),
            (
                "connect_timeout",
                &self.connect_timeout,
                SessionSettings::with_connect_timeout,
            ),
            (
                "max_replay_lag",
                &self.max_replay_lag,
                SessionSettings::with_max_replay_lag,
            ),
        ];
        for (key, value, set) in timeouts {
            if let Some(value) = value {
                let timeout = parse_duration(value.get_ref()).map_err(|error| {
                    place.locate(within(error, &format!("session: {key}")), value.span())
                })?;
                session = set(session, timeout);
            }
        }
        Ok(with_settings(session, "", &self.settings))
    }
}

/// Adds settings; those of a group get the group's name before theirs, as in `pg_trgm.x`.
fn with_settings(
    session: SessionSettings,
    prefix: &str,
    settings: &BTreeMap<String, Setting>,
) -> SessionSettings {
    settings.iter().fold(session, |session, (name, setting)| {
        let name = format!("{prefix}{name}");
        match setting {
            Setting::Value(value) => session.with_setting(name, value),
            Setting::Group(group) => with_settings(session, &format!("{name}."), group),
        }
    })
}

impl FinishTable {
    fn read(&self) -> Result<Finish> {
        Ok(match (self.mode, &self.url) {
            (Some(FinishMode::Off), Some(_)) => {
                return Err(invalid("finish: mode is off, but there is a url")
                    .with_hint("remove one of the two"));
            }
            (Some(FinishMode::Off), None) => Finish::Off,
            (_, Some(url)) => Finish::Server(ConnectionString::new(url)),
            (_, None) => Finish::AnyShard,
        })
    }
}

impl ReadFenceTable {
    fn read(&self, place: &Place<'_>) -> Result<ReadFence> {
        let duration = |key: &str, value: &Spanned<String>| {
            parse_duration(value.get_ref()).map_err(|error| {
                place.locate(within(error, &format!("read_fence: {key}")), value.span())
            })
        };
        let mut fence = ReadFence::new(duration("max_skew", &self.max_skew)?);
        if let Some(sql) = &self.watermark {
            fence = fence.with_watermark(sql);
        }
        if let Some(wait) = &self.max_wait {
            fence = fence.with_max_wait(duration("max_wait", wait)?);
        }
        Ok(fence)
    }
}

impl ShardTable {
    fn read(&self) -> Shard {
        self.replicas
            .iter()
            .fold(Shard::new(&self.name, self.url.get_ref()), |shard, url| {
                shard.with_replica(url.get_ref())
            })
    }
}

impl TableTable {
    fn kind(&self) -> Result<TableKind> {
        let name = &self.name;
        match (&self.shard_key, self.replicated) {
            (Some(_), true) => Err(invalid(format!(
                "table {name:?}: has a shard_key, but replicated is true"
            ))
            .with_hint("a table is either sharded or replicated: remove one of the two")),
            (None, false) => Err(invalid(format!(
                "table {name:?}: has no shard_key, and replicated is not true"
            ))
            .with_hint("add shard_key = \"column\", or replicated = true")),
            (None, true) => match (&self.colocation, &self.shard_index) {
                (None, None) => Ok(TableKind::Replicated),
                _ => Err(invalid(format!(
                    "table {name:?}: colocation and shard_index are for sharded tables only"
                ))),
            },
            (Some(key), false) => Ok(TableKind::Sharded {
                key: key.clone(),
                colocation: self.colocation.clone(),
                shard_index: self.shard_index.clone(),
            }),
        }
    }
}

/// The value of a server's parameter: text, a number or a boolean.
enum Setting {
    Value(String),
    /// TOML reads the `pg_trgm.x = 1` of an extension as a table `pg_trgm`.
    Group(BTreeMap<String, Setting>),
}

impl<'de> Deserialize<'de> for Setting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SettingVisitor)
    }
}

struct SettingVisitor;

impl<'de> Visitor<'de> for SettingVisitor {
    type Value = Setting;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string, a number or a boolean")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Setting, E> {
        Ok(Setting::Value(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Setting, E> {
        Ok(Setting::Value(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Setting, E> {
        Ok(Setting::Value(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Setting, E> {
        Ok(Setting::Value(value.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Setting, A::Error> {
        BTreeMap::deserialize(MapAccessDeserializer::new(map)).map(Setting::Group)
    }
}

/// A text whose parts messages can point to, but must not show: `Display` of toml's own error
/// prints the line at fault, which may hold a URL with a password.
struct Place<'a> {
    text: &'a str,
    name: Option<&'a str>,
}

impl Place<'_> {
    /// Puts file, line and column (both counted from 1) before the message.
    fn locate(&self, error: Error, span: Range<usize>) -> Error {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        let place = match self.name {
            Some(name) => format!("{name}:{line}:{column}"),
            None => format!("line {line}, column {column}"),
        };
        within(error, &place)
    }

    fn syntax_error(&self, error: &toml::de::Error) -> Error {
        let span = error.span().unwrap_or(0..0);
        let mut message = without_values(error.message());
        // serde names unknown keys, but not those whose value has the wrong type.
        if !message.starts_with("unknown key")
            && !message.starts_with("missing field")
            && let Some(key) = self.key_before(span.start)
        {
            message = format!("{key}: {message}");
        }
        self.locate(invalid(message), span)
    }

    /// The key of the line in which this byte stands, if it stands after `key =` of a plain key.
    fn key_before(&self, at: usize) -> Option<&str> {
        let line = self.text.get(..at)?.rsplit('\n').next()?;
        let key = line.split_once('=')?.0.trim();
        is_key(key).then_some(key)
    }
}

/// serde's message without what it quotes from the text.
fn without_values(message: &str) -> String {
    for (prefix, wrong) in [("invalid type: ", "type"), ("invalid value: ", "value")] {
        if let Some(rest) = message.strip_prefix(prefix) {
            let found = rest
                .split(['"', '`', ','])
                .next()
                .unwrap_or_default()
                .trim();
            return match rest.rsplit_once(", expected ") {
                Some((_, expected)) => format!("expected {expected}, found {found}"),
                None => format!("invalid {wrong}"),
            };
        }
    }
    for (prefix, what) in [("unknown field `", "key"), ("unknown variant `", "value")] {
        if let Some(rest) = message.strip_prefix(prefix) {
            let (name, expected) = match rest.rsplit_once("`, expected ") {
                Some((name, expected)) => (name, format!(", expected {expected}")),
                None => ("", String::new()),
            };
            return match is_key(name) {
                true => format!("unknown {what} `{name}`{expected}"),
                false => format!("unknown {what}{expected}"),
            };
        }
    }
    // All others are fixed texts; this holds if that ever changes.
    match message.contains("://") {
        true => "invalid TOML".to_owned(),
        false => message.trim().replace('\n', ", "),
    }
}

/// Whether a key can be shown: none of our keys looks otherwise, and few passwords do not.
fn is_key(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 32
        && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
}
