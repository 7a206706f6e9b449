//! The time that a query may take.

use std::time::Duration;

use futures::stream::{self, StreamExt};
use tokio::time::{Instant, timeout_at};

use crate::error::{Error, ErrorKind, Phase, Result};
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

    /// The same for a part of the query; the error says that it was this which did not end.
    pub(super) async fn during<T>(
        &self,
        phase: Phase,
        what: &str,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let Some((at, limit)) = self.end else {
            return work.await;
        };
        match timeout_at(at, work).await {
            Ok(result) => result,
            Err(_) => Err(overdue(limit, &format!("; {what}")).with_phase(phase)),
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
        overdue(limit, &waiting)
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

fn overdue(limit: Duration, waiting: &str) -> Error {
    Error::new(
        ErrorKind::Timeout,
        format!(
            "the query did not end within {} s{waiting}",
            limit.as_secs_f64()
        ),
    )
    .with_hint("give it more time (--timeout on the command line), or ask for less")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deadline() -> Deadline {
        let progress = ScanProgress::new();
        progress.begin(["s0"]);
        Deadline::new(Some(Duration::ZERO), progress)
    }

    #[tokio::test]
    async fn a_part_that_does_not_end_is_what_the_error_names() {
        let never = std::future::pending::<Result<()>>();
        let error = deadline()
            .during(Phase::Plan, "its planning did not end", never)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert_eq!(error.phase(), Some(Phase::Plan));
        assert!(error.message().ends_with("; its planning did not end"));
    }

    #[tokio::test]
    async fn without_a_part_the_shards_that_are_late_are_named() {
        let never = std::future::pending::<Result<()>>();
        let error = deadline().within(never).await.unwrap_err();
        assert!(error.message().ends_with("; not done: \"s0\""), "{error}");
    }

    #[cfg(feature = "datafusion")]
    #[tokio::test]
    async fn a_query_that_is_not_planned_in_time_blames_no_shard() {
        use crate::cluster::Cluster;
        use crate::config::{Shard, Topology};

        let topology = Topology::builder()
            .with_shard(Shard::new("s0", "postgresql://127.0.0.1:1/db"))
            .build()
            .unwrap();
        let query = Cluster::new(topology).unwrap().query("select 1");
        let query = query.with_timeout(Duration::ZERO);
        let error = query.collect().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert_eq!(error.phase(), Some(Phase::Plan));
        assert_eq!(error.shard(), None);
        assert!(!error.message().contains("s0"), "{error}");
    }
}
