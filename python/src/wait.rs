//! How a thread of Python waits: without the GIL, and with an ear for signals.

use std::cell::Cell;
use std::pin::{Pin, pin};
use std::sync::Mutex;
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use merganser::Error;
use pyo3::prelude::*;
use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::error::raised;
use crate::runtime::{self, lock};

/// How long a signal or a look at the progress may have to wait.
const TICK: Duration = Duration::from_millis(50);

/// Waits for work to be done.
///
/// The GIL is free meanwhile. Again and again signals are handled; if a handler raises, as that of
/// Ctrl-C does, or `look` fails, the work is dropped, which cancels it on every shard.
pub(crate) fn wait_and_look<T: Send>(
    py: Python<'_>,
    work: impl Future<Output = T> + Send,
    look: impl FnMut(Python<'_>) -> PyResult<()>,
) -> PyResult<T> {
    let handle = runtime::handle()?;
    // For whatever is dropped here.
    let _entered = handle.enter();
    wait_in(&handle, py, pin!(work), look)
}

/// The same without anything to look at.
pub(crate) fn wait<T: Send>(
    py: Python<'_>,
    work: impl Future<Output = Result<T, Error>> + Send,
) -> PyResult<T> {
    wait_and_look(py, work, |_| Ok(()))?.map_err(|error| raised(py, &error))
}

/// Waits on a thread of which it is not known whether it holds the GIL, and which need not be one of
/// Python's: a consumer of a stream in C.
///
/// On Python's main thread the GIL is let go, and signals are heard. Anywhere else there are none to
/// hear, and the GIL may be held by the thread that waits for this one.
///
/// # Errors
/// [`Interrupted`] when a handler of a signal has raised.
pub(crate) fn wait_for_consumer<T: Send>(
    work: impl Future<Output = T> + Send,
) -> Result<T, Interrupted> {
    let handle = runtime::handle().map_err(|_| Interrupted)?;
    let _entered = handle.enter();
    let mut work = pin!(work);
    if *lock(&MAIN_THREAD) == Some(thread::current().id()) {
        // `None`: the interpreter is ending.
        let attached = Python::try_attach(|py| {
            wait_in(&handle, py, work.as_mut(), |_| Ok(())).map_err(|error| {
                raise_soon(py, &error);
                Interrupted
            })
        });
        if let Some(done) = attached {
            return done;
        }
    }
    Ok(handle.block_on(work))
}

/// Python's main thread, the only one that handles signals, as far as it has been seen here.
static MAIN_THREAD: Mutex<Option<ThreadId>> = Mutex::new(None);

/// Remembers the calling thread if it is Python's main thread: a consumer of a stream cannot be asked.
pub(crate) fn look_for_main_thread(py: Python<'_>) -> PyResult<()> {
    let threading = py.import("threading")?;
    let main = threading.call_method0("main_thread")?.getattr("ident")?;
    if main.eq(threading.call_method0("get_ident")?)? {
        *lock(&MAIN_THREAD) = Some(thread::current().id());
    }
    Ok(())
}

/// A handler of a signal has raised while a stream was read.
pub(crate) struct Interrupted;

fn wait_in<T: Send, F: Future<Output = T> + Send>(
    handle: &Handle,
    py: Python<'_>,
    mut work: Pin<&mut F>,
    mut look: impl FnMut(Python<'_>) -> PyResult<()>,
) -> PyResult<T> {
    loop {
        // Also where the work is done at once, as that of one batch of many may be.
        hear_signals_in_time(py)?;
        let waited = py.detach(|| handle.block_on(async { timeout(TICK, &mut work).await }));
        if let Ok(done) = waited {
            return Ok(done);
        }
        hear_signals(py)?;
        look(py)?;
    }
}

/// Hears signals, unless this thread has just done so: for what is called often.
pub(crate) fn hear_signals_in_time(py: Python<'_>) -> PyResult<()> {
    if HEARD.get().is_none_or(|at| at.elapsed() >= TICK) {
        hear_signals(py)?;
    }
    Ok(())
}

thread_local! {
    /// When this thread has heard signals.
    static HEARD: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Runs the handlers of signals that have come, if this is Python's main thread.
fn hear_signals(py: Python<'_>) -> PyResult<()> {
    HEARD.set(Some(Instant::now()));
    // The interpreter notices some signals only where it runs code of its own.
    py.run(c"pass", None, None)?;
    py.check_signals()
}

/// The exception of a handler cannot be raised through the C interface of a stream: it comes when Python
/// goes on.
fn raise_soon(py: Python<'_>, error: &PyErr) {
    let later = py
        .import("merganser._signals")
        .and_then(|signals| signals.call_method1("raise_soon", (error.value(py),)));
    if let Err(error) = later {
        error.write_unraisable(py, None);
    }
}
