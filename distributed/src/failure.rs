//! The library's errors, through an engine that knows texts alone.
//!
//! What a task fails with comes to the client as a text in which the engine has printed the error, for
//! developers, with all that was around it. So an error prints itself between two marks there, and the
//! client finds it again: kind, shard, phase, message, causes and cure.

use std::fmt;
use std::io;

use datafusion::common::DataFusionError;
use merganser::{Error, ErrorKind, Phase};
use serde::{Deserialize, Serialize};

/// Whether the next attempt, which reads the same snapshot, may do better: a server that is not reached, is
/// lost, has no connection left or starts. One that does not let us in will not do so later.
pub(crate) fn may_pass(error: &Error) -> bool {
    match error.sql_state() {
        None => error.kind() == ErrorKind::Connect,
        Some(state) => BUSY.contains(&state),
    }
}

/// Too many connections, and a server that starts.
const BUSY: [&str; 2] = ["53300", "57P03"];

/// An error of the library as one of the engine's.
///
/// What may pass the engine tries again, on whatever executor is free, which it does with what looks like an
/// error of input and output. Everything else fails the job at once.
pub fn to_engine(error: Error) -> DataFusionError {
    let may_pass = may_pass(&error);
    let told = Told(Failure::from(&error));
    match may_pass {
        true => DataFusionError::IoError(io::Error::other(told)),
        false => DataFusionError::External(Box::new(told)),
    }
}

/// The error that a failed job's text tells of.
pub fn from_engine(text: &str) -> Error {
    match found(text) {
        Some(failure) => failure.into(),
        None => Error::new(
            ErrorKind::Execute,
            format!("the cluster has failed: {text}"),
        )
        .with_hint("the logs of scheduler and executors (--log debug) say more"),
    }
}

/// What travels of an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Failure {
    kind: String,
    message: String,
    shard: Option<String>,
    phase: Option<String>,
    sql_state: Option<String>,
    hint: Option<String>,
    causes: Vec<String>,
}

impl From<&Error> for Failure {
    fn from(error: &Error) -> Self {
        let source = std::error::Error::source(error);
        let causes = std::iter::successors(source, |cause| cause.source());
        Self {
            kind: format!("{:?}", error.kind()),
            message: error.message().to_owned(),
            shard: error.shard().map(str::to_owned),
            phase: error.phase().map(|phase| phase.to_string()),
            sql_state: error.sql_state().map(str::to_owned),
            hint: error.hint().map(str::to_owned),
            causes: causes.map(ToString::to_string).collect(),
        }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let kind = KINDS
            .iter()
            .find(|kind| format!("{kind:?}") == failure.kind);
        let mut error = Error::new(*kind.unwrap_or(&ErrorKind::Execute), failure.message);
        if let Some(shard) = failure.shard {
            error = error.with_shard(shard);
        }
        let phase = PHASES
            .iter()
            .find(|phase| failure.phase == Some(phase.to_string()));
        if let Some(phase) = phase {
            error = error.with_phase(*phase);
        }
        if let Some(state) = failure.sql_state {
            error = error.with_sql_state(state);
        }
        if let Some(hint) = failure.hint {
            error = error.with_hint(hint);
        }
        if !failure.causes.is_empty() {
            error = error.with_source(failure.causes.join(": "));
        }
        error
    }
}

/// Another kind, of a later version of the library, comes out as [`ErrorKind::Execute`].
const KINDS: [ErrorKind; 14] = [
    ErrorKind::Cancelled,
    ErrorKind::Config,
    ErrorKind::Connect,
    ErrorKind::Decode,
    ErrorKind::Execute,
    ErrorKind::Export,
    ErrorKind::Internal,
    ErrorKind::Limit,
    ErrorKind::Mismatch,
    ErrorKind::Server,
    ErrorKind::Syntax,
    ErrorKind::Timeout,
    ErrorKind::Unsupported,
    ErrorKind::Usage,
];

/// Another phase is left out.
const PHASES: [Phase; 11] = [
    Phase::Resolve,
    Phase::Connect,
    Phase::Tls,
    Phase::Auth,
    Phase::Session,
    Phase::Describe,
    Phase::Plan,
    Phase::Stream,
    Phase::Merge,
    Phase::Finish,
    Phase::Write,
];

/// Prints itself between the marks, however it is printed.
struct Told(Failure);

const BEGIN: &str = "<merganser:";
const END: &str = ":merganser>";

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // As digits, which nobody escapes on the way; in front of it for whoever reads the logs.
        let json = serde_json::to_vec(&self.0).map_err(|_| fmt::Error)?;
        write!(f, "{} {BEGIN}", self.0.message)?;
        json.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(END)
    }
}

impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Told {}

fn found(text: &str) -> Option<Failure> {
    let (_, rest) = text.split_once(BEGIN)?;
    let (digits, _) = rest.split_once(END)?;
    let pairs = (0..digits.len()).step_by(2);
    let bytes: Option<Vec<u8>> = pairs
        .map(|at| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok())
        .collect();
    serde_json::from_slice(&bytes?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_comes_through_whatever_is_printed_around_it() {
        let error = Error::new(ErrorKind::Server, "the snapshot is \"gone\"\n")
            .with_shard("s1")
            .with_phase(Phase::Session)
            .with_sql_state("22023")
            .with_source(io::Error::other("cause"))
            .with_hint("make the partitions anew");
        let engine = to_engine(error);
        assert!(matches!(engine, DataFusionError::External(_)));
        let text = format!("{:?}", format!("job failed: {:?}", Err::<(), _>(engine)));
        let found = from_engine(&text);
        assert_eq!(found.kind(), ErrorKind::Server);
        assert_eq!(found.message(), "the snapshot is \"gone\"\n");
        assert_eq!(found.shard(), Some("s1"));
        assert_eq!(found.phase(), Some(Phase::Session));
        assert_eq!(found.sql_state(), Some("22023"));
        assert_eq!(found.hint(), Some("make the partitions anew"));
        let cause = std::error::Error::source(&found);
        assert_eq!(cause.map(ToString::to_string).as_deref(), Some("cause"));
    }

    /// The names between the braces of a public `enum` of the library.
    fn variants(name: &str) -> Vec<String> {
        let source = include_str!("../../src/error.rs");
        let (_, rest) = source.split_once(&format!("pub enum {name} {{")).unwrap();
        let (body, _) = rest.split_once("\n}").unwrap();
        let lines = body.lines().map(str::trim);
        let names = lines.filter_map(|line| line.strip_suffix(','));
        let names = names.filter(|name| name.chars().all(char::is_alphanumeric));
        names.map(str::to_owned).collect()
    }

    #[test]
    fn every_kind_and_phase_of_the_library_comes_through() {
        let kinds = KINDS.map(|kind| format!("{kind:?}"));
        assert_eq!(kinds.as_slice(), variants("ErrorKind"));
        let phases = PHASES.map(|phase| format!("{phase:?}"));
        assert_eq!(phases.as_slice(), variants("Phase"));
        for kind in KINDS {
            let found = from_engine(&to_engine(Error::new(kind, "m")).to_string());
            assert_eq!((found.kind(), found.phase()), (kind, None));
        }
        for phase in PHASES {
            let error = Error::new(ErrorKind::Server, "m").with_phase(phase);
            let found = from_engine(&to_engine(error).to_string());
            assert_eq!(found.phase(), Some(phase));
        }
    }

    #[test]
    fn only_a_server_that_cannot_be_reached_is_tried_again() {
        for kind in KINDS {
            let engine = to_engine(Error::new(kind, "m"));
            let retried = matches!(engine, DataFusionError::IoError(_));
            assert_eq!(retried, kind == ErrorKind::Connect, "{kind:?}");
        }
        let refused = |state: &str| Error::new(ErrorKind::Connect, "m").with_sql_state(state);
        assert!(may_pass(&refused("53300")));
        assert!(!may_pass(&refused("28P01")));
    }

    #[test]
    fn what_the_engine_itself_fails_with_is_told_whole() {
        for text in ["no executor", "<merganser:zz:merganser>", "<merganser:"] {
            let error = from_engine(text);
            assert_eq!(error.kind(), ErrorKind::Execute);
            assert!(error.message().contains(text), "{error}");
        }
    }
}
