//! The one error type of this crate.
//!
//! An [`Error`] says *where* (shard and [`Phase`]), *what* (kind, message, SQLSTATE) and, where
//! there is something to do, *how to cure it* ([`Error::hint`]). Messages are lower case without a
//! full stop, and never hold a secret: whoever builds one names host, port, database and user, and
//! nothing else of a connection.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

/// The result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What kind of thing went wrong; small, and meant to be matched on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The caller stopped the query (Ctrl-C, a dropped stream).
    Cancelled,
    /// The topology, an option or an argument is wrong; nothing was sent to a server.
    Config,
    /// A server could not be reached, or did not let us in.
    Connect,
    /// Bytes of a server do not have the form that the protocol promises, or hold a value that
    /// the Arrow type of their column cannot.
    Decode,
    /// The merge (DataFusion) failed on rows that the shards delivered.
    Execute,
    /// The output could not be written.
    Export,
    /// A fault of this crate, found by one of its own checks; please report it.
    Internal,
    /// A bound that the user can raise was met: rows or bytes of a finish, memory, nesting.
    Limit,
    /// A comparison that was asked for found a difference: `--verify`.
    Mismatch,
    /// A server answered with an error; [`Error::sql_state`] has its SQLSTATE.
    Server,
    /// A SQL text, of the user's query or of the merge, could not be understood.
    Syntax,
    /// A deadline passed.
    Timeout,
    /// The answer would not be exact, so the query is refused.
    Unsupported,
    /// A call that makes no sense where it is made: on a closed cursor, of a blocking function in
    /// async code, with a column that is not there.
    Usage,
}

/// The stage of a query in which an error arose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// Looking up a host name.
    Resolve,
    /// Opening a socket.
    Connect,
    /// Negotiating TLS.
    Tls,
    /// Logging in.
    Auth,
    /// Beginning the transaction and pinning its settings.
    Session,
    /// Asking the shard for the columns and parameters of the query.
    Describe,
    /// Finding out what runs where.
    Plan,
    /// Reading rows.
    Stream,
    /// Combining the rows of the shards.
    Merge,
    /// Running what is left of the query over the merged rows, on one server.
    Finish,
    /// Writing the result.
    Write,
}

/// Whose SQL an error of a server is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SqlOrigin {
    /// The user's own text: places in it are places in that text.
    User,
    /// SQL that Merganser made of it.
    Made,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resolve => "resolve",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Auth => "auth",
            Self::Session => "session",
            Self::Describe => "describe",
            Self::Plan => "plan",
            Self::Stream => "stream",
            Self::Merge => "merge",
            Self::Finish => "finish",
            Self::Write => "write",
        })
    }
}

/// Why an operation failed. One pointer wide.
///
/// `Display` gives the shard, the phase, the message and the SQLSTATE, and of a server that was lost or
/// is at fault itself host and port, but not the source or the hint: a program that prints errors walks [`source`](StdError::source) and adds
/// [`hint`](Self::hint).
pub struct Error(Box<Inner>);

/// The hint of every [`ErrorKind::Internal`].
#[cfg_attr(not(feature = "datafusion"), allow(dead_code))]
pub(crate) const REPORT: &str =
    "this is a fault of merganser: please report it with the query and what was printed before";

struct Inner {
    kind: ErrorKind,
    message: String,
    shard: Option<String>,
    /// Host and port.
    server: Option<Arc<str>>,
    phase: Option<Phase>,
    sql_state: Option<String>,
    hint: Option<String>,
    sql_origin: Option<SqlOrigin>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
    /// A value has no place in the Arrow type of its column, and may have one in another type.
    unrepresentable: bool,
}

impl Error {
    /// An error of this kind with this message (lower case, no full stop, no secrets).
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            shard: None,
            server: None,
            phase: None,
            sql_state: None,
            hint: None,
            sql_origin: None,
            source: None,
            unrepresentable: false,
        }))
    }

    /// A fault of ours that a check of ours has found.
    #[must_use]
    pub(crate) fn fault(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message).with_hint(REPORT)
    }

    /// Names the shard, unless a stage nearer to it already did.
    #[must_use]
    pub fn with_shard(mut self, shard: impl Into<String>) -> Self {
        self.0.shard.get_or_insert_with(|| shard.into());
        self
    }

    /// Names the server, by host and port, unless a stage nearer to it already did. `Display` tells it
    /// where the error is about the server, and not about what that was asked.
    #[must_use]
    pub(crate) fn with_server(mut self, server: &Arc<str>) -> Self {
        self.0.server.get_or_insert_with(|| server.clone());
        self
    }

    /// Names the phase, unless a stage nearer to the fault already did.
    #[must_use]
    pub fn with_phase(mut self, phase: Phase) -> Self {
        self.0.phase.get_or_insert(phase);
        self
    }

    /// Adds the server's SQLSTATE.
    #[must_use]
    pub fn with_sql_state(mut self, code: impl Into<String>) -> Self {
        self.0.sql_state = Some(code.into());
        self
    }

    /// Says what to do about it, unless that was already said.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint.get_or_insert_with(|| hint.into());
        self
    }

    /// Keeps the error beneath this one.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into().into());
        self
    }

    /// Says whose SQL it is about, if it is a server's error and that was not said yet.
    #[must_use]
    pub(crate) fn with_sql_origin(mut self, origin: SqlOrigin) -> Self {
        if self.0.sql_state.is_some() {
            self.0.sql_origin.get_or_insert(origin);
        }
        self
    }

    /// The same error, seen as another kind.
    #[must_use]
    pub(crate) fn with_kind(mut self, kind: ErrorKind) -> Self {
        self.0.kind = kind;
        self
    }

    /// The same error with words before its message.
    #[must_use]
    pub(crate) fn with_context(mut self, context: &str) -> Self {
        self.0.message = format!("{context}: {}", self.0.message);
        self
    }

    /// The same error, seen as one of another phase.
    #[must_use]
    #[cfg(feature = "datafusion")]
    pub(crate) fn replace_phase(mut self, phase: Phase) -> Self {
        self.0.phase = Some(phase);
        self
    }

    /// The same error with another hint.
    #[must_use]
    pub(crate) fn replace_hint(mut self, hint: String) -> Self {
        self.0.hint = Some(hint);
        self
    }

    /// The same error for a second one to tell it.
    pub(crate) fn copy(&self) -> Self {
        Self(Box::new(Inner {
            kind: self.0.kind,
            message: self.0.message.clone(),
            shard: self.0.shard.clone(),
            server: self.0.server.clone(),
            phase: self.0.phase,
            sql_state: self.0.sql_state.clone(),
            hint: self.0.hint.clone(),
            sql_origin: self.0.sql_origin,
            source: self.0.source.clone(),
            unrepresentable: self.0.unrepresentable,
        }))
    }

    /// The same error, which is about a value that the Arrow type of its column cannot hold.
    #[must_use]
    pub(crate) fn with_unrepresentable(mut self) -> Self {
        self.0.unrepresentable = true;
        self
    }

    /// Whether another Arrow type might hold what this error is about. Damaged data is no such thing.
    pub(crate) fn is_unrepresentable(&self) -> bool {
        self.0.unrepresentable
    }

    /// The same error with words behind its message.
    #[must_use]
    pub(crate) fn with_more(mut self, more: &str) -> Self {
        self.0.message = format!("{}; {more}", self.0.message);
        self
    }

    /// What kind of thing went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The message alone, without shard and phase.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The shard that failed first; `None` where no single shard is at fault.
    pub fn shard(&self) -> Option<&str> {
        self.0.shard.as_deref()
    }

    /// The stage in which it failed; `None` before any stage began.
    pub fn phase(&self) -> Option<Phase> {
        self.0.phase
    }

    /// The five characters of the server's SQLSTATE, where a server answered.
    pub fn sql_state(&self) -> Option<&str> {
        self.0.sql_state.as_deref()
    }

    /// Whose SQL it is about, where a server answered with an error about SQL; `None` where no SQL
    /// of a query is at fault.
    ///
    /// An error about the user's own text names the place in it, if the server does. An error about
    /// SQL that Merganser made names none: its places are not those of the user's text. An error
    /// that the data raises while such SQL runs, such as a division by zero (SQLSTATE class 22), is
    /// the query's own all the same.
    pub fn sql_origin(&self) -> Option<SqlOrigin> {
        self.0.sql_origin
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// The server, where the error is about it. What it says of a query's text or data it would say on any
    /// other host of the shard, too.
    fn server_at_fault(&self) -> Option<&str> {
        let server = self.0.server.as_deref()?;
        let is_about_it = self.sql_state().is_none_or(is_about_server);
        // That it could not be reached names it already, with database and user.
        (is_about_it && !self.message().starts_with(server)).then_some(server)
    }

    /// Whether the same call may succeed if it is simply made again.
    ///
    /// True for failures to connect other than a refused login, and for the SQLSTATEs of a lost
    /// connection (class 08), a serialization failure or deadlock (40001, 40P01), too many
    /// connections (53300), and a server that shuts down or starts (57P01 to 57P03); see
    /// PostgreSQL's `src/backend/utils/errcodes.txt`. Never true for an error in the query itself.
    pub fn is_retryable(&self) -> bool {
        match self.sql_state() {
            Some(code) => {
                code.starts_with("08")
                    || matches!(
                        code,
                        "40001" | "40P01" | "53300" | "57P01" | "57P02" | "57P03"
                    )
            }
            None => {
                self.kind() == ErrorKind::Connect
                    && matches!(
                        self.phase(),
                        Some(
                            Phase::Resolve
                                | Phase::Connect
                                | Phase::Describe
                                | Phase::Stream
                                | Phase::Session
                                | Phase::Finish
                        )
                    )
            }
        }
    }
}

/// Whether a SQLSTATE tells the state of the server that gave it, by its class: connections, conflicts with
/// others, resources, objects in use, operators, the system, the configuration, faults of its own. Source:
/// PostgreSQL's `src/backend/utils/errcodes.txt`.
fn is_about_server(sql_state: &str) -> bool {
    let classes = ["08", "40", "53", "55", "57", "58", "F0", "XX"];
    classes.iter().any(|class| sql_state.starts_with(class))
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(shard) = self.shard() {
            write!(f, "shard {shard:?}: ")?;
        }
        if let Some(phase) = self.phase() {
            write!(f, "{phase}: ")?;
        }
        if let Some(server) = self.server_at_fault() {
            write!(f, "{server}: ")?;
        }
        f.write_str(self.message())?;
        match self.sql_state() {
            Some(code) => write!(f, " (SQLSTATE {code})"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("message", &self.0.message)
            .field("shard", &self.0.shard)
            .field("server", &self.0.server)
            .field("phase", &self.0.phase)
            .field("sql_state", &self.0.sql_state)
            .field("hint", &self.0.hint)
            .field("sql_origin", &self.0.sql_origin)
            .field("source", &self.0.source)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_names_shard_phase_and_sqlstate_once() {
        let error = Error::new(ErrorKind::Server, "relation \"t\" does not exist")
            .with_shard("s1")
            .with_phase(Phase::Describe)
            .with_sql_state("42P01")
            .with_source(std::io::Error::other("below"));
        assert_eq!(
            error.to_string(),
            "shard \"s1\": describe: relation \"t\" does not exist (SQLSTATE 42P01)"
        );
        assert_eq!(
            error.source().map(ToString::to_string).as_deref(),
            Some("below")
        );
    }

    #[test]
    fn a_server_is_named_where_it_is_at_fault() {
        let server = "db1:5432".into();
        let error = |message: &str| {
            Error::new(ErrorKind::Server, message)
                .with_phase(Phase::Stream)
                .with_server(&server)
                .with_server(&"db2:5432".into())
        };
        let full = error("disk full").with_sql_state("53100");
        assert_eq!(
            full.copy().to_string(),
            "stream: db1:5432: disk full (SQLSTATE 53100)"
        );
        assert_eq!(error("lost").to_string(), "stream: db1:5432: lost");
        let of_data = error("division by zero").with_sql_state("22012");
        assert_eq!(
            of_data.to_string(),
            "stream: division by zero (SQLSTATE 22012)"
        );
        let named = error("db1:5432, database \"d\": no answer");
        assert_eq!(
            named.to_string(),
            "stream: db1:5432, database \"d\": no answer"
        );
    }

    #[test]
    fn the_stage_nearest_to_the_fault_names_it() {
        let error = Error::new(ErrorKind::Decode, "x")
            .with_shard("s0")
            .with_shard("s1")
            .with_phase(Phase::Stream)
            .with_phase(Phase::Merge)
            .with_hint("first")
            .with_hint("second");
        assert_eq!(error.shard(), Some("s0"));
        assert_eq!(error.phase(), Some(Phase::Stream));
        assert_eq!(error.hint(), Some("first"));
    }

    #[test]
    fn only_a_server_s_error_is_about_sql() {
        let error = Error::new(ErrorKind::Server, "m").with_sql_origin(SqlOrigin::Made);
        assert_eq!(error.sql_origin(), None);
        let error = Error::new(ErrorKind::Server, "m")
            .with_sql_state("42703")
            .with_sql_origin(SqlOrigin::User)
            .with_sql_origin(SqlOrigin::Made);
        assert_eq!(error.sql_origin(), Some(SqlOrigin::User));
        assert_eq!(error.copy().sql_origin(), Some(SqlOrigin::User));
    }

    #[test]
    fn only_passing_faults_are_retryable() {
        let server = |code: &str| Error::new(ErrorKind::Server, "m").with_sql_state(code);
        assert!(server("40001").is_retryable());
        assert!(server("08006").is_retryable());
        assert!(!server("42601").is_retryable());
        let connect = |phase| Error::new(ErrorKind::Connect, "m").with_phase(phase);
        assert!(connect(Phase::Connect).is_retryable());
        assert!(connect(Phase::Describe).is_retryable());
        assert!(!connect(Phase::Auth).is_retryable());
    }

    #[test]
    fn an_error_is_one_pointer() {
        assert_eq!(size_of::<Error>(), size_of::<usize>());
    }
}
