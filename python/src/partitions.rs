//! A query in parts that other processes read, and the lease that keeps their snapshots.

use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use futures::FutureExt;
use merganser::Lease;
use merganser::arrow::datatypes::SchemaRef;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use crate::engine::{Engine, forked};
use crate::error::Failure;
use crate::runtime::{Local, lock};
use crate::schema::Schema;

/// Sealed descriptors of the parts, which outlive everything, and the lease without which they cannot
/// be read.
#[pyclass(frozen, module = "merganser._merganser")]
pub(crate) struct Partitions {
    schema: SchemaRef,
    sealed: Vec<Vec<u8>>,
    whole: Option<String>,
    expires: SystemTime,
    held: Arc<Held>,
}

impl Partitions {
    pub(crate) fn new(cut: merganser::Partitions, key: &[u8], engine: &Engine) -> Self {
        let expires = cut.lease.expires();
        let held = Arc::new(Held(Mutex::new(State::Kept(Local::new(cut.lease)))));
        engine.keep(&held);
        // Closed in the meantime: what it keeps has ended already.
        if engine.is_closed() {
            held.end();
        }
        Self {
            schema: cut.schema,
            sealed: cut.parts.iter().map(|part| part.seal(key)).collect(),
            whole: cut.whole,
            expires,
            held,
        }
    }
}

#[pymethods]
impl Partitions {
    #[getter]
    fn schema(&self) -> Schema {
        Schema::new(self.schema.clone(), None)
    }

    /// The descriptors.
    #[getter]
    fn sealed<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        PyList::new(py, self.sealed.iter().map(|part| PyBytes::new(py, part)))
    }

    /// Why the rows of a shard are in one part, where they are.
    #[getter]
    fn whole(&self) -> Option<&str> {
        self.whole.as_deref()
    }

    /// The end of the lease, in seconds since 1970.
    #[getter]
    fn expires(&self) -> f64 {
        seconds_since_1970(self.expires)
    }

    #[getter]
    fn closed(&self) -> bool {
        matches!(*lock(&self.held.0), State::Ended(_))
    }

    /// Raises if the lease has ended, or a shard's snapshot is lost.
    fn check(&self, py: Python<'_>) -> PyResult<()> {
        let mut state = lock(&self.held.0);
        let failure = match &mut *state {
            State::Kept(lease) => {
                let process = lease.process();
                let Some(lease) = lease.get_mut() else {
                    return Err(forked(py, process));
                };
                match lease.ended().now_or_never() {
                    None => return Ok(()),
                    Some(Ok(())) => is_over(),
                    Some(Err(error)) => Failure::from(&error),
                }
            }
            State::Ended(failure) => failure.clone(),
        };
        *state = State::Ended(failure.clone());
        drop(state);
        Err(failure.raise(py))
    }

    /// Ends the lease.
    fn close(&self) {
        self.held.end();
    }
}

/// What keeps the snapshots; the connection of the partitions can end it, too.
pub(crate) struct Held(Mutex<State>);

enum State {
    Kept(Local<Lease>),
    /// Why it is no longer kept.
    Ended(Failure),
}

impl Held {
    pub(crate) fn end(&self) {
        let mut state = lock(&self.0);
        if let State::Kept(_) = *state {
            *state = State::Ended(closed());
        }
    }
}

fn closed() -> Failure {
    Failure::new(
        "interface",
        "the partitions or their connection were closed, and their snapshots given up",
        Some("keep both open until all partitions are read"),
    )
}

fn is_over() -> Failure {
    Failure::new(
        "limit",
        "the lease of the partitions is over",
        Some("make the partitions anew, with a longer lease"),
    )
}

pub(crate) fn seconds_since_1970(time: SystemTime) -> f64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default().as_secs_f64()
}
