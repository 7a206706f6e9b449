//! That all shards are read as of nearly the same moment.

use std::time::Duration;

use super::invalid;
use crate::error::Result;

/// How long a watermark is waited for unless set otherwise.
const DEFAULT_MAX_WAIT: Duration = Duration::from_secs(10);

/// Asks that all shards are read as of nearly the same moment (`[read_fence]` of a topology).
///
/// When all sessions of a query are open, their transactions begin anew, all at the same time: each
/// snapshot is taken between two readings of one clock, that of this process, and never before all shards
/// can be reached. The time between the two is the skew: no shard shows what was committed after the second
/// reading, and each shows what was committed there before the first. A query whose skew is greater than
/// allowed after three tries is refused. [`ScanProgress::fenced`](crate::ScanProgress::fenced) tells the
/// skew of a query that was not, and so do [`QueryStream::fenced`](crate::QueryStream::fenced) and the metadata of
/// [files](crate::export::write).
///
/// With a watermark, the snapshots also have to show on every shard what the one that was furthest when
/// the fence was first tried had taken in; until they do, they are taken anew.
///
/// What it does not promise: a transaction over several shards may be seen on one and not on the
/// other, if it commits within the skew; and shards may show more than the watermark says, which a
/// condition of the query has to leave out. It costs a round trip. A server that replays the log of
/// another shows an earlier moment than now, so it is refused. What is lost behind the fence does not run
/// again ([`FanOut::with_retries`](crate::FanOut::with_retries)). Partitions, and tables of DataFusion's,
/// are read shard by shard, and refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadFence {
    max_skew: Duration,
    watermark: Option<String>,
    max_wait: Duration,
}

impl ReadFence {
    /// A fence of at most this skew.
    pub fn new(max_skew: Duration) -> Self {
        Self {
            max_skew,
            watermark: None,
            max_wait: DEFAULT_MAX_WAIT,
        }
    }

    /// Sets the query that gives the watermark on each shard: up to when it has taken in everything, as
    /// one `timestamptz`, such as `SELECT max(up_to) FROM ingest.watermark`. NULL and no row are before any
    /// other.
    #[must_use]
    pub fn with_watermark(mut self, sql: impl Into<String>) -> Self {
        self.watermark = Some(sql.into());
        self
    }

    /// Sets how long shards that are behind are waited for; 10 s unless set.
    #[must_use]
    pub fn with_max_wait(mut self, wait: Duration) -> Self {
        self.max_wait = wait;
        self
    }

    /// The greatest skew that is allowed.
    pub fn max_skew(&self) -> Duration {
        self.max_skew
    }

    /// The query that gives the watermark.
    pub fn watermark(&self) -> Option<&str> {
        self.watermark.as_deref()
    }

    /// How long shards that are behind are waited for.
    pub fn max_wait(&self) -> Duration {
        self.max_wait
    }

    /// The same with another skew.
    pub(crate) fn with_max_skew(self, max_skew: Duration) -> Self {
        Self { max_skew, ..self }
    }

    pub(super) fn check(&self) -> Result<()> {
        if self.max_skew.is_zero() {
            return Err(invalid("read_fence: max_skew: expected more than 0")
                .with_hint("two shards are never read at the very same moment: try \"50ms\""));
        }
        match self.watermark.as_deref().map(str::trim) {
            Some("") => Err(invalid("read_fence: watermark: expected a query")),
            Some(sql) if sql.contains('\0') => {
                Err(invalid("read_fence: watermark: holds a zero byte"))
            }
            _ => Ok(()),
        }
    }
}
