//! What a cancel handle ends: whatever runs for its owner.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use adbc_core::CancelHandle;
use adbc_core::error::{Result, Status};

use crate::error::refusal;

/// The place where a statement or connection says what it runs. Clones are the same place.
#[derive(Clone, Default)]
pub(crate) struct Running(Arc<Mutex<Slots>>);

#[derive(Default)]
struct Slots {
    /// How many there were.
    count: u64,
    /// What runs now, each with its number.
    handles: Vec<(u64, merganser::CancelHandle)>,
}

/// A query that runs for as long as this lives.
pub(crate) struct Run {
    running: Running,
    number: u64,
}

impl Running {
    /// From now on this, too, is what can be cancelled.
    pub(crate) fn begin(&self, handle: merganser::CancelHandle) -> Run {
        let mut slots = self.slots();
        slots.count += 1;
        let number = slots.count;
        slots.handles.push((number, handle));
        Run {
            running: self.clone(),
            number,
        }
    }

    /// Ends what runs; whether anything did.
    pub(crate) fn end(&self) -> bool {
        let slots = self.slots();
        for (_, handle) in &slots.handles {
            handle.cancel();
        }
        !slots.handles.is_empty()
    }

    fn slots(&self) -> MutexGuard<'_, Slots> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let mut slots = self.running.slots();
        slots.handles.retain(|(number, _)| *number != self.number);
    }
}

impl CancelHandle for Running {
    fn try_cancel(&self) -> Result<()> {
        match self.end() {
            true => Ok(()),
            false => Err(refusal(
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
        drop(first);
        assert!(running.try_cancel().is_ok());
        drop(second);
        assert!(running.try_cancel().is_err());
    }
}
