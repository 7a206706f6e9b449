//! What the user declares: shards, tables and session settings, parsed into a [`Topology`] that
//! cannot be invalid.
//!
//! Plain code without sockets. Files are read in three places only: [`Topology::from_path`], and the
//! password and service files when a cluster is built.

mod connection_string;
mod conninfo;
mod duration;
mod environment;
mod fence;
mod file;
mod keywords;
mod options;
mod params;
mod passfile;
mod secret;
mod service;
mod session;
mod shard;
mod table;
mod write;

use std::collections::BTreeSet;
use std::path::Path;

pub use connection_string::ConnectionString;
pub use duration::parse_duration;
pub use environment::Environment;
pub use fence::ReadFence;
pub(crate) use params::{
    ChannelBinding, ClientCert, ConnectParams, Endpoint, Host, RequireAuth, SslCertMode, SslMode,
    SslNegotiation, SslRootCert, TargetSessionAttrs, TlsVersion,
};
pub use secret::Secret;
pub(crate) use session::{PINNED, UNLIMITED};
pub use session::{ReadFrom, SessionSettings};
pub use shard::Shard;
pub(crate) use table::quote;
pub use table::{Table, TableKind};
pub(crate) use write::{Remarks, pair};

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};

/// What fuzzing begins with: the text of a password file, and of a service file.
#[cfg(fuzzing)]
pub(crate) fn fuzz(text: &str) {
    let _ = passfile::find(text, "localhost", 5432, "db", "user");
    service::fuzz(text);
}

/// The databases of a cluster, and how tables are spread over them.
///
/// A value of this type is valid: there is at least one shard, names are unique, connection strings
/// can be read and their variables are set. Whether the servers exist and hold these tables is
/// found out on connecting.
///
/// # File
/// ```toml
#[doc = include_str!("reference.toml")]
/// ```
/// Shards are numbered in the order of the file. See [`ConnectionString`] for `url`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topology {
    session: SessionSettings,
    finish: Finish,
    finish_relations: Option<FinishRelations>,
    read_fence: Option<ReadFence>,
    shards: Vec<Shard>,
    tables: Vec<Table>,
}

/// Where the last step of a query runs, if something is left to do after the merge.
///
/// That step carries merged rows, which may come from all shards, to one server.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Finish {
    /// On any shard.
    #[default]
    AnyShard,
    /// On this server, which needs no tables. It is given the shards' settings; where its default
    /// collation, or something of users that the step names, is not as on the shards, the query is
    /// refused.
    Server(ConnectionString),
    /// Nowhere: a query that needs such a step is refused.
    Off,
}

/// In which form rows are handed to the server on which a query finishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FinishRelations {
    /// Written into the SQL text. It only reads, so a standby will do; but all rows are held in memory,
    /// so they are bounded. Unless set otherwise, where a shard finishes.
    #[default]
    Text,
    /// In temporary tables of the one transaction of that server, which end with it. As many rows as its
    /// disk takes, and few of them in memory here. The role needs the privilege `TEMPORARY` on the
    /// database, and the server cannot be a standby. Unless set otherwise, where a server of its own
    /// finishes.
    ///
    /// Rows that steps on shards read, and those that a shard sorts or limits which finishes itself, are
    /// written into the text all the same.
    Temporary,
}

impl Topology {
    /// A topology file with every key, what it means and its default.
    pub const REFERENCE: &str = include_str!("reference.toml");

    /// Reads a TOML file; see [`Topology`] for its form.
    ///
    /// # Errors
    /// [`Config`](ErrorKind::Config) when the file cannot be read, is not TOML, has a key that is
    /// not known, or says something invalid. The message has the file's name, line and column, and
    /// never a text from the file that may hold a password.
    pub fn from_path(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let place = path.display().to_string();
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(invalid(format!("{place}: file not found")).with_hint(
                    "write one with `merganser inspect --shard URL --write FILE`, or give each \
                     shard as `--shard URL`",
                ));
            }
            Err(error) => {
                return Err(invalid(format!("{place}: cannot be read")).with_source(error));
            }
        };
        let text = String::from_utf8(bytes)
            .map(Secret::from)
            .map_err(|error| file::not_utf8(&place, error.as_bytes()))?;
        file::parse(text.expose(), Some(&place), Environment::from_process())
    }

    /// Reads the text of a TOML file.
    ///
    /// # Errors
    /// As [`from_path`](Self::from_path), without the name of a file.
    pub fn from_toml(text: &str) -> Result<Self> {
        file::parse(text, None, Environment::from_process())
    }

    /// A topology without tables, of shards named `s0`, `s1` and so on; enough for fan-out.
    ///
    /// # Errors
    /// [`Config`](ErrorKind::Config) when there is no URL, or one is invalid.
    pub fn from_urls(urls: impl IntoIterator<Item = impl Into<String>>) -> Result<Self> {
        urls.into_iter()
            .enumerate()
            .fold(Self::builder(), |builder, (index, url)| {
                builder.with_shard(Shard::new(&format!("s{index}"), Secret::new(url).expose()))
            })
            .build()
    }

    /// Starts an empty topology.
    pub fn builder() -> TopologyBuilder {
        TopologyBuilder::default()
    }

    /// The shards; their order gives the order of rows, and the numbers of `shard_index`.
    pub fn shards(&self) -> &[Shard] {
        &self.shards
    }

    /// The tables, in the order of declaration.
    pub fn tables(&self) -> &[Table] {
        &self.tables
    }

    /// What is set in every session.
    pub fn session(&self) -> &SessionSettings {
        &self.session
    }

    /// Where the last step of a query runs.
    pub fn finish(&self) -> &Finish {
        &self.finish
    }

    /// In which form that server is handed rows, as declared, or else as is usual for it.
    pub fn finish_relations(&self) -> FinishRelations {
        self.finish_relations.unwrap_or(match self.finish {
            Finish::Server(_) => FinishRelations::Temporary,
            Finish::AnyShard | Finish::Off => FinishRelations::Text,
        })
    }

    /// Whether all shards are to be read as of nearly the same moment.
    pub fn read_fence(&self) -> Option<&ReadFence> {
        self.read_fence.as_ref()
    }

    /// Equal for topologies that give the same answers: a digest of the shards' names in their order, the
    /// tables, the settings of sessions and whether a server finishes. Neither URLs nor anything else of
    /// a connection is in it.
    pub fn fingerprint(&self) -> String {
        let shards = self.shards.iter();
        let anonymous = Self {
            shards: shards.map(|shard| Shard::new(shard.name(), "")).collect(),
            finish: match &self.finish {
                Finish::Server(_) => Finish::Server(ConnectionString::new("")),
                other => other.clone(),
            },
            ..self.clone()
        };
        let text = anonymous.to_toml();
        let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
        let digits = digest.as_ref().iter().map(|byte| format!("{byte:02x}"));
        digits.collect()
    }

    /// The same shards, session and finish with other tables; names and keys are read as SQL does.
    pub(crate) fn with_tables(
        self,
        tables: impl IntoIterator<Item = (String, TableKind)>,
    ) -> Result<Self> {
        let tables = check_tables(tables.into_iter().collect()).map_err(|(_, error)| error)?;
        Ok(Self { tables, ..self })
    }

    /// The text of a file from which an equal topology can be read.
    ///
    /// Connection strings are written as they were given: with the passwords in them, if there are
    /// any (see [`ConnectionString::has_password`]), and with `${NAME}` for variables.
    pub fn to_toml(&self) -> String {
        self.to_toml_with(&[], &[])
    }

    /// As [`to_toml`](Self::to_toml), with comments on its tables, in their order, and on tables
    /// that it does not have.
    pub(crate) fn to_toml_with(&self, remarks: &[Remarks], left: &[Remarks]) -> String {
        write::write(self, remarks, left)
    }
}

/// Collects the parts of a [`Topology`]; everything is checked in [`build`](Self::build).
#[derive(Debug, Clone, Default)]
#[must_use = "a builder does nothing until it is built"]
pub struct TopologyBuilder {
    session: SessionSettings,
    finish: Finish,
    finish_relations: Option<FinishRelations>,
    read_fence: Option<ReadFence>,
    shards: Vec<Shard>,
    tables: Vec<(String, TableKind)>,
    environment: Option<Environment>,
}

impl TopologyBuilder {
    /// Adds a shard, after the ones before.
    pub fn with_shard(mut self, shard: Shard) -> Self {
        self.shards.push(shard);
        self
    }

    /// Adds a table; its name is read as SQL does, and may have a schema: `sales."Orders"`.
    pub fn with_table(mut self, name: &str, kind: TableKind) -> Self {
        self.tables.push((name.to_owned(), kind));
        self
    }

    /// Sets what is set in every session.
    pub fn with_session(mut self, session: SessionSettings) -> Self {
        self.session = session;
        self
    }

    /// Sets where the last step of a query runs.
    pub fn with_finish(mut self, finish: Finish) -> Self {
        self.finish = finish;
        self
    }

    /// Sets in which form the server of the last step is handed rows; see [`FinishRelations`] for what
    /// is done otherwise.
    pub fn with_finish_relations(mut self, relations: FinishRelations) -> Self {
        self.finish_relations = Some(relations);
        self
    }

    /// Asks that all shards are read as of nearly the same moment.
    pub fn with_read_fence(mut self, fence: ReadFence) -> Self {
        self.read_fence = Some(fence);
        self
    }

    /// Sets where `${NAME}` is looked up; by default, in the environment of this process.
    pub fn with_environment(mut self, environment: Environment) -> Self {
        self.environment = Some(environment);
        self
    }

    /// Checks everything.
    ///
    /// # Errors
    /// [`Config`](ErrorKind::Config) for the first thing that is wrong: no shard, a name twice, a
    /// connection string that cannot be read, a variable that is not set, an invalid setting.
    pub fn build(self) -> Result<Topology> {
        self.check().map_err(|(_, error)| error)
    }

    /// As [`build`](Self::build), with the part that is wrong.
    fn check(self) -> Result<Topology, (Part, Error)> {
        let Self {
            session,
            mut finish,
            finish_relations,
            read_fence,
            mut shards,
            tables,
            environment,
        } = self;
        let environment = environment.unwrap_or_else(Environment::from_process);

        session.check().map_err(|error| (Part::Session, error))?;
        if shards.is_empty() {
            let error = invalid("the topology has no shard")
                .with_hint("add a [[shard]] with name and url, or give `--shard URL`");
            return Err((Part::Whole, error));
        }
        let mut names = BTreeSet::new();
        for (index, shard) in shards.iter_mut().enumerate() {
            shard
                .check_name()
                .map_err(|error| (Part::Shard(index), error))?;
            let name = shard.name().to_owned();
            for (number, url) in shard.connection_strings_mut().enumerate() {
                url.set_connect_timeout(session.connect_timeout());
                url.check(&environment).map_err(|error| {
                    let place = match number {
                        0 => "url".to_owned(),
                        number => format!("replica {number}"),
                    };
                    (
                        Part::Url(index, number),
                        within(error, &place).with_shard(&name),
                    )
                })?;
            }
            if !names.insert(name) {
                let error = invalid(format!("shard name {:?} is used twice", shard.name()));
                return Err((Part::Shard(index), error));
            }
        }
        if let Finish::Server(url) = &mut finish {
            url.set_connect_timeout(session.connect_timeout());
            url.check(&environment)
                .map_err(|error| (Part::Finish, within(error, "finish: url")))?;
        }
        if finish == Finish::Off && finish_relations.is_some() {
            let error = invalid("finish: mode is off, but there is relations")
                .with_hint("remove one of the two");
            return Err((Part::Finish, error));
        }
        if let Some(fence) = &read_fence {
            fence.check().map_err(|error| (Part::ReadFence, error))?;
        }
        let tables = check_tables(tables)?;
        Ok(Topology {
            session,
            finish,
            finish_relations,
            read_fence,
            shards,
            tables,
        })
    }
}

fn check_tables(declared: Vec<(String, TableKind)>) -> Result<Vec<Table>, (Part, Error)> {
    let mut tables: Vec<Table> = Vec::with_capacity(declared.len());
    for (index, (name, kind)) in declared.into_iter().enumerate() {
        let at = |error| (Part::Table(index), error);
        let table = Table::new(&name, kind).map_err(at)?;
        for other in tables.iter().filter(|other| other.name() == table.name()) {
            if other.schema() == table.schema() {
                return Err(at(invalid(format!(
                    "table {} is declared twice",
                    table.to_sql()
                ))));
            }
            // Which of the two `orders` means would depend on the search path.
            if other.schema().is_none() || table.schema().is_none() {
                return Err(at(invalid(format!(
                    "table {} is declared with and without a schema",
                    table::quote(table.name())
                ))
                .with_hint("write every table of this name with its schema")));
            }
        }
        tables.push(table);
    }
    Ok(tables)
}

/// The part of a declaration that an error is about, so that a file can say where it stands.
#[derive(Debug, Clone, Copy)]
enum Part {
    Whole,
    Session,
    Finish,
    ReadFence,
    Shard(usize),
    /// Shard, and 0 for the primary or the number of the replica, counted from 1.
    Url(usize, usize),
    Table(usize),
}

/// The error of everything in this module.
fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Config, message)
}

/// Puts a place before the message.
fn within(error: Error, place: &str) -> Error {
    let mut outer = Error::new(error.kind(), format!("{place}: {}", error.message()));
    if let Some(hint) = error.hint() {
        outer = outer.with_hint(hint);
    }
    if let Some(shard) = error.shard() {
        outer = outer.with_shard(shard);
    }
    outer
}

#[cfg(test)]
mod tests;
