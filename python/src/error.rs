//! Errors of the library as exceptions of Python.

use std::error::Error as _;
use std::fmt::Write as _;

use merganser::{Error, ErrorKind};
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// The exception that tells of this error.
pub(crate) fn raised(py: Python<'_>, error: &Error) -> PyErr {
    Failure::from(error).raise(py)
}

/// A call that makes no sense here and now: on a closed connection, after a fork, from a second thread.
pub(crate) fn interface(py: Python<'_>, message: &str, hint: &str) -> PyErr {
    Failure::new("interface", message, Some(hint)).raise(py)
}

/// An argument that is wrong, before anything was sent.
pub(crate) fn config(py: Python<'_>, message: &str, hint: Option<&str>) -> PyErr {
    Failure::new("config", message, hint).raise(py)
}

/// What an exception tells, so that it can be raised as often as somebody asks.
#[derive(Clone)]
pub(crate) struct Failure {
    kind: &'static str,
    message: String,
    sql_state: Option<String>,
    shard: Option<String>,
    phase: Option<String>,
    hint: Option<String>,
}

impl Failure {
    pub(crate) fn new(kind: &'static str, message: &str, hint: Option<&str>) -> Self {
        Self {
            kind,
            message: message.to_owned(),
            sql_state: None,
            shard: None,
            phase: None,
            hint: hint.map(str::to_owned),
        }
    }

    /// What an exception of `merganser.errors` tells about a value; `None` for any other.
    pub(crate) fn of(py: Python<'_>, error: &PyErr) -> Option<Self> {
        let exception = error.value(py);
        let kind: String = exception.getattr("kind").ok()?.extract().ok()?;
        let hint: Option<String> = exception.getattr("hint").ok()?.extract().ok()?;
        (kind == "data").then(|| Self::new("data", &exception.to_string(), hint.as_deref()))
    }

    /// The exception; of which class, `merganser.errors` knows.
    pub(crate) fn raise(&self, py: Python<'_>) -> PyErr {
        self.exception(py)
            .map_or_else(|error| error, PyErr::from_value)
    }

    fn exception<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let more = PyDict::new(py);
        more.set_item("sqlstate", self.sql_state.as_deref())?;
        more.set_item("shard", self.shard.as_deref())?;
        more.set_item("phase", self.phase.as_deref())?;
        more.set_item("hint", self.hint.as_deref())?;
        py.import("merganser.errors")?
            .getattr("from_native")?
            .call((self.kind, &self.message), Some(&more))
    }

    /// All that can be told where only a text gets through, as in Arrow's C stream, where a NUL ends
    /// it.
    pub(crate) fn text_for_c(&self) -> String {
        let text = match &self.hint {
            Some(hint) => format!("{}; {hint}", self.message),
            None => self.message.clone(),
        };
        text.replace('\0', "\\0")
    }
}

impl From<&Error> for Failure {
    fn from(error: &Error) -> Self {
        Self {
            kind: kind(error.kind()),
            message: full_text(error),
            sql_state: error.sql_state().map(str::to_owned),
            shard: error.shard().map(str::to_owned),
            phase: error.phase().map(|phase| phase.to_string()),
            hint: error.hint().map(str::to_owned),
        }
    }
}

/// Shard, phase, message and SQLSTATE, and what lies beneath.
fn full_text(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(beneath) = source {
        // Writing to a String does not fail.
        let _ = write!(text, ": {beneath}");
        source = beneath.source();
    }
    text
}

fn kind(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Cancelled => "cancelled",
        ErrorKind::Config => "config",
        ErrorKind::Connect => "connect",
        ErrorKind::Decode => "decode",
        ErrorKind::Execute => "execute",
        ErrorKind::Export => "export",
        ErrorKind::Limit => "limit",
        ErrorKind::Mismatch => "mismatch",
        ErrorKind::Server => "server",
        ErrorKind::Syntax => "syntax",
        ErrorKind::Timeout => "timeout",
        ErrorKind::Unsupported => "unsupported",
        ErrorKind::Usage => "usage",
        // `Internal`, and kinds that a later library may have.
        _ => "internal",
    }
}
