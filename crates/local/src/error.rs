//! Why a throw-away server or its data could not be had.
//!
//! The same shape as the error of `merganser`, of which this crate knows nothing: a kind, a message
//! in lower case, what to do about it, and the error beneath.

use std::error::Error as StdError;
use std::fmt;

/// The result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What kind of thing went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// There is no PostgreSQL on this machine, or an argument is wrong.
    Config,
    /// A server, its folder, process or port could not be had, or a connection to it was lost.
    Connect,
    /// A server answered with an error; [`Error::sql_state`] has its SQLSTATE.
    Server,
    /// A server took too long to start or to stop.
    Timeout,
}

/// Why an operation failed.
///
/// `Display` gives database, message and SQLSTATE, but neither the source nor the hint.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    database: Option<String>,
    sql_state: Option<String>,
    hint: Option<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            database: None,
            sql_state: None,
            hint: None,
            source: None,
        }
    }

    pub(crate) fn with_database(mut self, name: impl Into<String>) -> Self {
        self.database.get_or_insert_with(|| name.into());
        self
    }

    pub(crate) fn with_sql_state(mut self, code: impl Into<String>) -> Self {
        self.sql_state = Some(code.into());
        self
    }

    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint.get_or_insert_with(|| hint.into());
        self
    }

    pub(crate) fn with_source(
        mut self,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What kind of thing went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The message alone.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The database that data was being loaded into.
    pub fn database(&self) -> Option<&str> {
        self.database.as_deref()
    }

    /// The five characters of the server's SQLSTATE, where a server answered.
    pub fn sql_state(&self) -> Option<&str> {
        self.sql_state.as_deref()
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(database) = self.database() {
            write!(f, "database {database:?}: ")?;
        }
        f.write_str(self.message())?;
        match self.sql_state() {
            Some(code) => write!(f, " (SQLSTATE {code})"),
            None => Ok(()),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
