//! The time that a query may take.

use std::time::Duration;

use futures::stream::{self, StreamExt};
use tokio::time::{Instant, timeout_at};

use crate::error::{Error, ErrorKind, Result};
use crate::progress::{ScanProgress, ShardState};
use crate::stream::QueryStream;

/// When the query has to be done.
#[derive(Clone)]
pub(super) struct Deadline {
    /// The moment, and the time that was given.
    end: Option<(Instant, Duration)>,
    /// Tells which shards were late.
    progress: ScanProgress,
}

impl Deadline {
    /// A deadline this far from now, if there is one.
    pub(super) fn new(timeout: Option<Duration>, progress: ScanProgress) -> Self {
        Self {
            end: timeout.map(|timeout| (Instant::now() + timeout, timeout)),
            progress,
        }
    }

    pub(super) async fn within<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let Some((at, limit)) = self.end else {
            return work.await;
        };
        match timeout_at(at, work).await {
            Ok(result) => result,
            Err(_) => Err(self.passed(limit)),
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

    /// The stream, with an error in place of what does not come in time.
    pub(super) fn bound(self, stream: QueryStream) -> QueryStream {
        if self.end.is_none() {
            return stream;
        }
        let schema = stream.schema();
        let batches = stream::unfold(Some((stream, self)), |state| async move {
            let (mut stream, deadline) = state?;
            let next = deadline
                .within(async { stream.next().await.transpose() })
                .await;
            match next.transpose()? {
                Ok(batch) => Some((Ok(batch), Some((stream, deadline)))),
                Err(error) => Some((Err(error), None)),
            }
        });
        QueryStream::new(schema, batches)
    }
}
