//! The threads that serve all connections of this process, and what a fork and the end of the
//! interpreter mean for them.
//!
//! None of these threads ever takes the GIL: a thread of Python that holds it may be waiting for them.

use std::process;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use tokio::runtime::{Handle, Runtime};
use tokio::task::JoinHandle;
use tokio::time::timeout;

struct Started {
    process: u32,
    /// For ever: threads of the interpreter may wait in it until the process is gone.
    runtime: &'static Runtime,
}

static STARTED: Mutex<Option<Started>> = Mutex::new(None);

/// Clean-up that nobody waits for: connections that are being closed.
static ENDINGS: Mutex<Vec<JoinHandle<()>>> = Mutex::new(Vec::new());

/// As long as a cancel request may take. A server that does not answer must not keep a program from
/// ending.
pub(crate) const ENDING_TIMEOUT: Duration = Duration::from_secs(5);

/// The runtime of this process, started by its first use.
///
/// # Errors
/// `RuntimeError` when no thread can be started.
pub(crate) fn handle() -> PyResult<Handle> {
    let mut started = lock(&STARTED);
    match &*started {
        Some(known) if known.process == process::id() => Ok(known.runtime.handle().clone()),
        // The child of a fork has none of its parent's threads, and ends nothing that is its parent's.
        _ => {
            std::mem::forget(std::mem::take(&mut *lock(&ENDINGS)));
            let runtime: &'static Runtime = Box::leak(Box::new(start()?));
            *started = Some(Started {
                process: process::id(),
                runtime,
            });
            Ok(runtime.handle().clone())
        }
    }
}

fn start() -> PyResult<Runtime> {
    merganser::runtime::builder().build().map_err(|error| {
        PyRuntimeError::new_err(format!(
            "cannot start the threads that serve connections: {error}; check the limits on \
             threads and open files of this process"
        ))
    })
}

/// The runtime of this process, if it has one.
pub(crate) fn running() -> Option<Handle> {
    let started = lock(&STARTED);
    let known = started.as_ref()?;
    (known.process == process::id()).then(|| known.runtime.handle().clone())
}

/// Finishes something without being waited for, except by [`wait_for_endings`].
pub(crate) fn end_later(work: impl Future<Output = ()> + Send + 'static) {
    if let Some(handle) = running() {
        let ending = handle.spawn(async move {
            let _ = timeout(ENDING_TIMEOUT, work).await;
        });
        let mut endings = lock(&ENDINGS);
        endings.retain(|ending| !ending.is_finished());
        endings.push(ending);
    }
}

/// Waits for what was left to [`end_later`].
pub(crate) async fn wait_for_endings() {
    let endings = std::mem::take(&mut *lock(&ENDINGS));
    for ending in endings {
        let _ = ending.await;
    }
}

/// A value that lives in the process that made it: what a connection, a query or a stream consists of.
///
/// Where it is dropped it finds the runtime that cancels its queries. The child of a fork forgets it
/// instead: its sockets are the parent's, and what is said on them is said in the parent's name.
pub(crate) struct Local<T> {
    process: u32,
    value: Option<T>,
}

impl<T> Local<T> {
    pub(crate) fn new(value: T) -> Self {
        Self {
            process: process::id(),
            value: Some(value),
        }
    }

    /// The value; `None` in the child of a fork.
    pub(crate) fn get(&self) -> Option<&T> {
        self.value.as_ref().filter(|_| self.is_at_home())
    }

    pub(crate) fn get_mut(&mut self) -> Option<&mut T> {
        let is_at_home = self.is_at_home();
        self.value.as_mut().filter(|_| is_at_home)
    }

    /// Which process made it.
    pub(crate) fn process(&self) -> u32 {
        self.process
    }

    pub(crate) fn is_at_home(&self) -> bool {
        self.process == process::id()
    }
}

impl<T> Drop for Local<T> {
    fn drop(&mut self) {
        let value = self.value.take();
        if !self.is_at_home() {
            std::mem::forget(value);
            return;
        }
        let handle = running();
        let _entered = handle.as_ref().map(Handle::enter);
        drop(value);
    }
}

/// Locks, also after a panic.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
