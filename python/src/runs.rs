//! The queries that run, so that they can be ended from elsewhere.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use merganser::CancelHandle;

use crate::runtime::lock;

/// Handles of what runs. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Runs(Arc<Mutex<HashMap<u64, CancelHandle>>>);

static NEXT: AtomicU64 = AtomicU64::new(0);

impl Runs {
    /// One more, until what is returned is dropped.
    #[must_use]
    pub(crate) fn begin(&self, cancel: CancelHandle) -> Run {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        lock(&self.0).insert(number, cancel);
        Run {
            number,
            of: self.clone(),
        }
    }

    pub(crate) fn cancel_all(&self) {
        let handles: Vec<_> = lock(&self.0).values().cloned().collect();
        for handle in handles {
            handle.cancel();
        }
    }
}

/// A query that runs.
pub(crate) struct Run {
    number: u64,
    of: Runs,
}

impl Drop for Run {
    fn drop(&mut self) {
        lock(&self.of.0).remove(&self.number);
    }
}
