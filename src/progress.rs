//! How far the shards of a running query are.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::error::Error;

/// What a shard is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ShardState {
    /// Nothing yet: the query waits for a free connection.
    Waiting,
    /// Connecting and beginning the transaction.
    Connecting,
    /// Asked for the columns of the query.
    Describing,
    /// It has told them, and waits for the other shards to do so.
    Ready,
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
    /// From the moment at which SQL was first sent to the last row; until now, if that has not come.
    pub elapsed: Duration,
}

/// How far one step of a planned query is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StepProgress {
    /// The servers that run it, in the order of the topology; empty before the step begins.
    pub shards: Vec<ShardProgress>,
    /// Rows that the merge of the servers' rows has given.
    pub rows: u64,
    /// Bytes that these rows became, to be handed to other servers: of SQL text, or of what goes into a
    /// temporary table; 0 for the last step, whose rows are the answer.
    pub handed_bytes: u64,
    /// From the beginning of the step to its last row; until now, if that has not come. The last
    /// step waits for whoever takes the answer.
    pub elapsed: Duration,
}

/// When the shards of a query were read that has a read fence.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fenced {
    /// The snapshots of all shards were taken within this time.
    pub skew: Duration,
    /// Up to then every shard had taken in everything, as PostgreSQL writes a `timestamptz` in the time zone
    /// of the session; `None` without a watermark, or where no shard has one yet.
    pub watermark: Option<String>,
}

/// A view of a running query, to be looked at from elsewhere. Clones see the same.
///
/// Hand it to [`Query::with_progress`](crate::Query::with_progress), and look at
/// [`shards`](Self::shards) as often as you like.
#[derive(Debug, Clone, Default)]
pub struct ScanProgress(Arc<Mutex<Seen>>);

#[derive(Debug, Default)]
struct Seen {
    shards: Vec<Arc<Counters>>,
    steps: Vec<Arc<StepCounters>>,
    fenced: Option<Fenced>,
}

impl ScanProgress {
    /// A view of no query yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// How far each shard is, in the order of the topology; empty before the query begins.
    pub fn shards(&self) -> Vec<ShardProgress> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.shards
            .iter()
            .map(|counters| counters.snapshot())
            .collect()
    }

    /// Why shards' queries ran again, each time once: the errors that ended them before any of their rows
    /// was handed on, in the order of the topology. See
    /// [`FanOut::with_retries`](crate::FanOut::with_retries).
    pub fn retries(&self) -> Vec<Error> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let shards = seen.shards.iter();
        shards
            .flat_map(|counters| {
                locked(&counters.retries)
                    .iter()
                    .map(Error::copy)
                    .collect::<Vec<_>>()
            })
            .collect()
    }

    /// How far each step of a planned query is, in the order in which they run; empty for a fan-out
    /// and before the query begins.
    pub fn steps(&self) -> Vec<StepProgress> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.steps.iter().map(|step| step.snapshot()).collect()
    }

    /// When the shards were read, if the query has a [fence](crate::config::ReadFence) and is behind it.
    pub fn fenced(&self) -> Option<Fenced> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.fenced.clone()
    }

    pub(crate) fn set_fenced(&self, fenced: Fenced) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.fenced = Some(fenced);
    }

    /// Begins anew with these shards.
    pub(crate) fn begin<'a>(
        &self,
        shards: impl IntoIterator<Item = &'a str>,
    ) -> Vec<Arc<Counters>> {
        let counters: Vec<_> = shards
            .into_iter()
            .map(|shard| Arc::new(Counters::new(shard, None)))
            .collect();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Seen {
            shards: counters.clone(),
            steps: Vec::new(),
            fenced: None,
        };
        counters
    }

    /// The query that has begun has so many steps.
    #[cfg(feature = "datafusion")]
    pub(crate) fn begin_steps(&self, count: usize) -> Vec<Arc<StepCounters>> {
        let steps: Vec<_> = (0..count).map(|_| Arc::default()).collect();
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.steps.clone_from(&steps);
        steps
    }
}

/// When something began, and when it ended.
#[derive(Debug, Clone, Copy, Default)]
struct Times {
    began: Option<Instant>,
    ended: Option<Instant>,
}

impl Times {
    fn begin(&mut self) {
        self.began.get_or_insert_with(Instant::now);
        self.ended = None;
    }

    fn end(&mut self) {
        self.ended = Some(Instant::now());
    }

    fn elapsed(&self) -> Duration {
        let ended = self.ended.unwrap_or_else(Instant::now);
        self.began.map_or(Duration::ZERO, |began| {
            ended.saturating_duration_since(began)
        })
    }
}

/// The counters of one step of a planned query.
#[cfg_attr(not(feature = "datafusion"), allow(dead_code))]
#[derive(Debug, Default)]
pub(crate) struct StepCounters {
    shards: Mutex<Vec<Arc<Counters>>>,
    rows: AtomicU64,
    handed_bytes: AtomicU64,
    times: Mutex<Times>,
}

#[cfg_attr(not(feature = "datafusion"), allow(dead_code))]
impl StepCounters {
    pub(crate) fn begin(&self) {
        locked(&self.times).begin();
    }

    pub(crate) fn end(&self) {
        locked(&self.times).end();
    }

    /// Counters of a server's part of this step, which are those of the whole query too.
    pub(crate) fn shard(&self, whole: &Arc<Counters>) -> Arc<Counters> {
        let counters = Arc::new(Counters::new(&whole.shard, Some(whole.clone())));
        locked(&self.shards).push(counters.clone());
        counters
    }

    /// The merge has given more rows, which became so many bytes for other servers.
    pub(crate) fn add(&self, rows: u64, handed_bytes: u64) {
        self.rows.fetch_add(rows, Ordering::Relaxed);
        self.handed_bytes.fetch_add(handed_bytes, Ordering::Relaxed);
    }

    fn snapshot(&self) -> StepProgress {
        let shards = locked(&self.shards);
        StepProgress {
            shards: shards.iter().map(|shard| shard.snapshot()).collect(),
            rows: self.rows.load(Ordering::Relaxed),
            handed_bytes: self.handed_bytes.load(Ordering::Relaxed),
            elapsed: locked(&self.times).elapsed(),
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The counters of one shard.
#[derive(Debug)]
pub(crate) struct Counters {
    shard: String,
    state: AtomicU8,
    rows: AtomicU64,
    bytes: AtomicU64,
    times: Mutex<Times>,
    /// Why the query ran again.
    retries: Mutex<Vec<Error>>,
    /// Those of the whole query, where these are of one step.
    whole: Option<Arc<Counters>>,
    /// The shard's work is not done with this.
    is_part: bool,
}

const STATES: [ShardState; 8] = [
    ShardState::Waiting,
    ShardState::Connecting,
    ShardState::Describing,
    ShardState::Ready,
    ShardState::Executing,
    ShardState::Streaming,
    ShardState::Done,
    ShardState::Failed,
];

impl Counters {
    fn new(shard: &str, whole: Option<Arc<Self>>) -> Self {
        Self {
            shard: shard.to_owned(),
            state: AtomicU8::new(0),
            rows: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            times: Mutex::default(),
            retries: Mutex::default(),
            whole,
            is_part: false,
        }
    }

    /// Counters of a part of a shard's work, which neither begins nor ends it.
    #[cfg(feature = "datafusion")]
    pub(crate) fn part(whole: &Arc<Self>) -> Arc<Self> {
        Arc::new(Self {
            is_part: true,
            ..Self::new(&whole.shard, Some(Arc::clone(whole)))
        })
    }

    pub(crate) fn set(&self, state: ShardState) {
        let index = STATES.iter().position(|known| *known == state);
        let index = index.and_then(|index| u8::try_from(index).ok());
        self.state
            .store(index.unwrap_or_default(), Ordering::Relaxed);
        match state {
            ShardState::Executing => locked(&self.times).begin(),
            ShardState::Done | ShardState::Failed => locked(&self.times).end(),
            ShardState::Waiting
            | ShardState::Connecting
            | ShardState::Describing
            | ShardState::Ready
            | ShardState::Streaming => {}
        }
        let is_of_part = self.is_part && matches!(state, ShardState::Executing | ShardState::Done);
        if let Some(whole) = &self.whole
            && !is_of_part
        {
            whole.set(state);
        }
    }

    /// More rows and bytes have come.
    pub(crate) fn add(&self, rows: u64, bytes: u64) {
        self.rows.fetch_add(rows, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        if let Some(whole) = &self.whole {
            whole.add(rows, bytes);
        }
    }

    /// So many rows were dropped, and come again.
    pub(crate) fn forget(&self, rows: u64) {
        self.rows.fetch_sub(rows, Ordering::Relaxed);
        if let Some(whole) = &self.whole {
            whole.forget(rows);
        }
    }

    /// The query runs again, because this has ended it.
    pub(crate) fn retried(&self, error: &Error) {
        match &self.whole {
            Some(whole) => whole.retried(error),
            None => locked(&self.retries).push(error.copy()),
        }
    }

    fn snapshot(&self) -> ShardProgress {
        let state = usize::from(self.state.load(Ordering::Relaxed));
        ShardProgress {
            shard: self.shard.clone(),
            state: STATES.get(state).copied().unwrap_or(ShardState::Waiting),
            rows: self.rows.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            elapsed: locked(&self.times).elapsed(),
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
    #[test]
    fn what_a_step_counts_counts_for_the_query_too() {
        let view = ScanProgress::new();
        let counters = view.begin(["s0"]);
        let step = StepCounters::default();
        step.begin();
        for rows in [2, 3] {
            let shard = step.shard(&counters[0]);
            shard.set(ShardState::Executing);
            shard.add(rows, 10);
            shard.set(ShardState::Done);
        }
        step.add(5, 7);
        step.end();
        let (step, shard) = (step.snapshot(), view.shards().remove(0));
        assert_eq!((step.rows, step.handed_bytes), (5, 7));
        assert_eq!((step.shards[0].rows, step.shards[1].rows), (2, 3));
        assert_eq!(
            (shard.rows, shard.bytes, shard.state),
            (5, 20, ShardState::Done)
        );
        assert!(step.elapsed >= step.shards[1].elapsed);
    }
}
