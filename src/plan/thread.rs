//! The thread on which a statement is planned, and how it learns that nobody waits any longer.
//!
//! Syntax trees are deep and planning takes time, so neither may be on a thread of an async runtime.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Builder;

use futures::channel::oneshot;

use crate::error::{Error, ErrorKind, Phase, Result};

/// The stack on which statements are planned; the system provides the memory of what is used.
///
/// Parsing, printing and dropping the deepest trees took less than 128 MiB in an unoptimized build;
/// the rest is for the planner's own recursion over them.
const STACK_BYTES: usize = 512 << 20;

thread_local! {
    /// Set once nobody waits for what this thread does.
    static ABANDONED: RefCell<Option<Arc<AtomicBool>>> = const { RefCell::new(None) };
}

/// Runs `work` on a thread of its own that has enough stack for any syntax tree.
///
/// Whatever walks, clones, prints or drops a tree has to run in there, so no tree may leave it.
///
/// # Errors
/// Those of `work`, and [`ErrorKind::Execute`] if the system has no thread to give.
///
/// # Cancel safety
/// When the future is dropped, `work` ends at the next place that [looks](check).
pub(crate) async fn on_deep_stack<T, F>(work: F) -> Result<T>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T> + Send + 'static,
{
    let waiting = Waiting(Arc::default());
    let abandoned = waiting.0.clone();
    let (sender, receiver) = oneshot::channel();
    let thread = builder()
        .spawn(move || {
            ABANDONED.set(Some(abandoned));
            // Without a receiver nobody wants it.
            let _ = sender.send(work());
        })
        .map_err(no_thread)?;
    match receiver.await {
        Ok(result) => result,
        // Only a panic ends the thread without an answer.
        Err(_) => match thread.join() {
            Err(panic) => std::panic::resume_unwind(panic),
            Ok(()) => Err(Error::fault("planning ended without an answer")),
        },
    }
}

/// The same, for who may block; `work` goes on to its end.
///
/// # Errors
/// As [`on_deep_stack`].
pub(crate) fn with_deep_stack<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let thread = builder().spawn_scoped(scope, work).map_err(no_thread)?;
        thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn builder() -> Builder {
    Builder::new()
        .name("merganser-plan".to_owned())
        .stack_size(STACK_BYTES)
}

fn no_thread(error: std::io::Error) -> Error {
    Error::new(
        ErrorKind::Execute,
        "cannot start a thread to plan the query",
    )
    .with_source(error)
    .with_hint("raise the limits of this process on threads and address space")
}

#[cfg(test)]
thread_local! {
    /// How often this thread has looked: once for each part of a tree that a walk comes to.
    pub(super) static LOOKS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// Tells the thread, when it is dropped.
struct Waiting(Arc<AtomicBool>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Whether nobody waits for what this thread does. Walks over trees end then, with whatever result.
pub(super) fn is_abandoned() -> bool {
    #[cfg(test)]
    LOOKS.set(LOOKS.get() + 1);
    ABANDONED.with_borrow(|abandoned| {
        let abandoned = abandoned.as_ref();
        abandoned.is_some_and(|abandoned| abandoned.load(Ordering::Relaxed))
    })
}

/// # Errors
/// [`ErrorKind::Cancelled`] if nobody waits for what this thread does.
pub(super) fn check() -> Result<()> {
    match is_abandoned() {
        true => Err(abandoned()),
        false => Ok(()),
    }
}

/// What ends planning that nobody waits for; nobody sees it.
pub(crate) fn abandoned() -> Error {
    Error::new(ErrorKind::Cancelled, "planning was given up").with_phase(Phase::Plan)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn work_ends_when_its_future_is_dropped() {
        let (started, start) = mpsc::channel();
        let (ended, end) = mpsc::channel();
        let work = on_deep_stack(move || {
            started.send(()).unwrap();
            while check().is_ok() {
                std::thread::yield_now();
            }
            ended.send(()).unwrap();
            Ok(())
        });
        let mut work = Box::pin(work);
        assert!(futures::poll!(&mut work).is_pending());
        start.recv().unwrap();
        drop(work);
        end.recv().unwrap();
    }

    #[tokio::test]
    #[should_panic(expected = "as if")]
    async fn a_panic_is_that_of_the_caller() {
        let _ = on_deep_stack(|| -> Result<()> { panic!("as if") }).await;
    }

    #[test]
    fn a_thread_that_nobody_waits_for_is_no_other() {
        check().unwrap();
    }
}
