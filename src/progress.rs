//! How far the shards of a running query are.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// What a shard is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ShardState {
    /// Nothing yet: the query waits for a free connection.
    Waiting,
    /// Connecting and beginning the transaction.
    Connecting,
    /// The server works; no row has come.
    Executing,
    /// Rows are coming.
    Streaming,
    /// All rows have come.
    Done,
    /// The shard failed, or was cancelled.
    Failed,
}

/// How far one shard is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShardProgress {
    /// The shard's name.
    pub shard: String,
    /// What it is doing.
    pub state: ShardState,
    /// Rows decoded.
    pub rows: u64,
    /// Bytes of COPY data received.
    pub bytes: u64,
}

/// A view of a running query, to be looked at from elsewhere. Clones see the same.
///
/// Hand it to [`Query::with_progress`](crate::Query::with_progress), and look at
/// [`shards`](Self::shards) as often as you like.
#[derive(Debug, Clone, Default)]
pub struct ScanProgress(Arc<Mutex<Vec<Arc<Counters>>>>);

impl ScanProgress {
    /// A view of no query yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// How far each shard is, in the order of the topology; empty before the query begins.
    pub fn shards(&self) -> Vec<ShardProgress> {
        let shards = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        shards.iter().map(|counters| counters.snapshot()).collect()
    }

    /// Begins anew with these shards.
    pub(crate) fn begin<'a>(
        &self,
        shards: impl IntoIterator<Item = &'a str>,
    ) -> Vec<Arc<Counters>> {
        let counters: Vec<_> = shards
            .into_iter()
            .map(|shard| Arc::new(Counters::new(shard)))
            .collect();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = counters.clone();
        counters
    }
}

/// The counters of one shard.
#[derive(Debug)]
pub(crate) struct Counters {
    shard: String,
    state: AtomicU8,
    rows: AtomicU64,
    bytes: AtomicU64,
}

const STATES: [ShardState; 6] = [
    ShardState::Waiting,
    ShardState::Connecting,
    ShardState::Executing,
    ShardState::Streaming,
    ShardState::Done,
    ShardState::Failed,
];

impl Counters {
    fn new(shard: &str) -> Self {
        Self {
            shard: shard.to_owned(),
            state: AtomicU8::new(0),
            rows: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        }
    }

    pub(crate) fn set(&self, state: ShardState) {
        let index = STATES.iter().position(|known| *known == state);
        let index = index.and_then(|index| u8::try_from(index).ok());
        self.state
            .store(index.unwrap_or_default(), Ordering::Relaxed);
    }

    /// More rows and bytes have come.
    pub(crate) fn add(&self, rows: u64, bytes: u64) {
        self.rows.fetch_add(rows, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn snapshot(&self) -> ShardProgress {
        let state = usize::from(self.state.load(Ordering::Relaxed));
        ShardProgress {
            shard: self.shard.clone(),
            state: STATES.get(state).copied().unwrap_or(ShardState::Waiting),
            rows: self.rows.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_shows_what_the_counters_say() {
        let view = ScanProgress::new();
        assert!(view.shards().is_empty());
        let counters = view.clone().begin(["s0", "s1"]);
        counters[1].set(ShardState::Streaming);
        counters[1].add(3, 100);
        counters[1].add(4, 1);
        let shards = view.shards();
        assert_eq!((shards[0].state, shards[0].rows), (ShardState::Waiting, 0));
        assert_eq!(
            (shards[1].state, shards[1].rows, shards[1].bytes),
            (ShardState::Streaming, 7, 101)
        );
    }
}
