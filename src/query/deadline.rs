//! What ends a query before it is done: its deadline, and whoever cancels it.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tokio::time::{Instant, sleep_until};

use super::CancelHandle;
use crate::error::{Error, ErrorKind, Result};
use crate::progress::{ScanProgress, ShardState};
use crate::stream::QueryStream;

/// When the query has to be done.
#[derive(Clone)]
pub(super) struct Deadline {
    /// The moment, and the time that was given.
    end: Option<(Instant, Duration)>,
    cancel: CancelHandle,
    /// Tells which shards were late.
    progress: ScanProgress,
}

impl Deadline {
    /// A deadline this far from now, if there is one.
    pub(super) fn new(
        timeout: Option<Duration>,
        cancel: CancelHandle,
        progress: ScanProgress,
    ) -> Self {
        Self {
            end: timeout.map(|timeout| (Instant::now() + timeout, timeout)),
            cancel,
            progress,
        }
    }

    /// The work, or an error in place of what is not done in time.
    pub(super) async fn within<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            // Work that always has something to do would never let the deadline be seen.
            biased;
            error = self.over() => Err(error),
            done = work => done,
        }
    }

    /// The stream, with an error in place of what does not come in time.
    pub(super) fn bound(self, stream: QueryStream) -> QueryStream {
        let over = async move { Arc::new(self.over().await) };
        stream.interrupted_by(over.boxed().shared())
    }

    /// Waits until the query may not go on, and says why.
    async fn over(&self) -> Error {
        let late = async {
            match self.end {
                Some((at, limit)) => {
                    sleep_until(at).await;
                    limit
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            error = self.cancel.cancelled() => error,
            limit = late => self.passed(limit),
        }
    }

    fn passed(&self, limit: Duration) -> Error {
        let late: Vec<_> = self
            .progress
            .shards()
            .into_iter()
            .filter(|shard| shard.state != ShardState::Done)
            .map(|shard| format!("{:?}", shard.shard))
            .collect();
        let waiting = match late.is_empty() {
            true => String::new(),
            false => format!("; not done: {}", late.join(", ")),
        };
        Error::new(
            ErrorKind::Timeout,
            format!(
                "the query did not end within {} s{waiting}",
                limit.as_secs_f64()
            ),
        )
        .with_hint("give it more time (--timeout on the command line), or ask for less")
    }
}
