//! The queries that run, so that they can be ended from elsewhere.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use merganser::CancelHandle;

use crate::runtime::lock;

/// Handles of what runs. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Runs(Arc<Mutex<Running>>);

#[derive(Default)]
struct Running {
    handles: HashMap<u64, CancelHandle>,
    /// Whether what begins is ended at once.
    are_ending: bool,
}

static NEXT: AtomicU64 = AtomicU64::new(0);

impl Runs {
    /// One more, until what is returned is dropped.
    #[must_use]
    pub(crate) fn begin(&self, cancel: CancelHandle) -> Run {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let mut running = lock(&self.0);
        if running.are_ending {
            cancel.cancel();
        }
        running.handles.insert(number, cancel);
        Run {
            number,
            of: self.clone(),
        }
    }

    pub(crate) fn cancel_all(&self) {
        let handles: Vec<_> = lock(&self.0).handles.values().cloned().collect();
        for handle in handles {
            handle.cancel();
        }
    }

    /// From now on what begins is cancelled at once, or no longer.
    pub(crate) fn end_what_begins(&self, are_ending: bool) {
        lock(&self.0).are_ending = are_ending;
    }
}

/// A query that runs.
pub(crate) struct Run {
    number: u64,
    of: Runs,
}

impl Drop for Run {
    fn drop(&mut self) {
        lock(&self.of.0).handles.remove(&self.number);
    }
}
