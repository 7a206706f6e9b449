//! What a cancel handle ends: the query that runs for its owner, if any.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use adbc_core::CancelHandle;
use adbc_core::error::{Result, Status};

use crate::error::refusal;

/// The place where a statement or connection says what it runs. Clones are the same place.
#[derive(Clone, Default)]
pub(crate) struct Running(Arc<Mutex<Slot>>);

#[derive(Default)]
struct Slot {
    /// How many there were, so that a query which ends late does not take the place of the next.
    count: u64,
    handle: Option<merganser::CancelHandle>,
}

/// A query that runs for as long as this lives.
pub(crate) struct Run {
    running: Running,
    number: u64,
}

impl Running {
    /// From now on this is what can be cancelled. The query before, if it still runs, ends: its
    /// owner has one result at a time.
    pub(crate) fn begin(&self, handle: merganser::CancelHandle) -> Run {
        let mut slot = self.slot();
        if let Some(before) = slot.handle.replace(handle) {
            before.cancel();
        }
        slot.count += 1;
        Run {
            running: self.clone(),
            number: slot.count,
        }
    }

    fn slot(&self) -> MutexGuard<'_, Slot> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let mut slot = self.running.slot();
        if slot.count == self.number {
            slot.handle = None;
        }
    }
}

impl CancelHandle for Running {
    fn try_cancel(&self) -> Result<()> {
        match &self.slot().handle {
            Some(handle) => {
                handle.cancel();
                Ok(())
            }
            None => Err(refusal(
                Status::InvalidState,
                "there is no query to cancel: none is running",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_runs_can_be_cancelled() {
        let running = Running::default();
        assert_eq!(
            running.try_cancel().unwrap_err().status,
            Status::InvalidState
        );
        let first = running.begin(merganser::CancelHandle::default());
        let second = running.begin(merganser::CancelHandle::default());
        // It ends after the next has begun, and is not the one that runs.
        drop(first);
        assert!(running.try_cancel().is_ok());
        drop(second);
        assert!(running.try_cancel().is_err());
    }
}
