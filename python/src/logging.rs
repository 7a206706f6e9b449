//! What the library has to say, for Python's `logging`.
//!
//! Threads of the library never wait for the GIL: they put records into a queue, and a thread of
//! Python takes them out.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use pyo3::prelude::*;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::runtime::lock;

/// As many records wait for Python at most; more are counted, and dropped.
const MOST_WAITING: usize = 1024;

struct Log {
    records: Mutex<Receiver<(u8, String, String)>>,
    dropped: &'static AtomicU64,
}

static LOG: OnceLock<Log> = OnceLock::new();
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// From now on the library's messages are kept for [`next_log_record`]. `false`: they were already,
/// or somebody else listens.
#[pyfunction]
pub(crate) fn start_logging() -> bool {
    if LOG.get().is_some() {
        return false;
    }
    let (sender, receiver) = sync_channel(MOST_WAITING);
    let log = Log {
        records: Mutex::new(receiver),
        dropped: &DROPPED,
    };
    LOG.set(log).is_ok() && tracing::subscriber::set_global_default(Queue(sender)).is_ok()
}

/// Level by the numbers of Python's `logging`, target, and message of the next record; `None` when
/// none comes in time. Records that were dropped are one that tells how many.
#[pyfunction]
pub(crate) fn next_log_record(py: Python<'_>, seconds: f64) -> Option<(u8, String, String)> {
    let log = LOG.get()?;
    let dropped = log.dropped.swap(0, Ordering::Relaxed);
    if dropped > 0 {
        let message = format!("{dropped} messages were dropped: there were too many at once");
        return Some((WARNING, "merganser".to_owned(), message));
    }
    let patience = Duration::try_from_secs_f64(seconds).unwrap_or_default();
    // No record in time is no error.
    py.detach(|| lock(&log.records).recv_timeout(patience)).ok()
}

/// Python's numbers of levels.
const DEBUG: u8 = 10;
const INFO: u8 = 20;
const WARNING: u8 = 30;
const ERROR: u8 = 40;

struct Queue(SyncSender<(u8, String, String)>);

impl Subscriber for Queue {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && metadata.target().starts_with("merganser")
    }

    fn event(&self, event: &Event<'_>) {
        let metadata = event.metadata();
        let level = match *metadata.level() {
            Level::ERROR => ERROR,
            Level::WARN => WARNING,
            Level::INFO => INFO,
            _ => DEBUG,
        };
        let mut message = Message::default();
        event.record(&mut message);
        let target = metadata.target().replace("::", ".");
        if self.0.try_send((level, target, message.0)).is_err() {
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// The text of an event, and its other fields behind it.
#[derive(Default)]
struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // The text comes first, and an error is told as it is.
        self.0 = match (field.name(), self.0.is_empty()) {
            ("message", true) => format!("{value:?}"),
            ("message", false) => format!("{value:?}: {}", self.0),
            (name, true) => format!("{name}={value:?}"),
            (name, false) => format!("{}, {name}={value:?}", self.0),
        };
    }
}
