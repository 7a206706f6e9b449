//! What ends a query before it is done: its deadline, and whoever cancels it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use tokio::sync::SetOnce;
use tokio::time::{Instant, sleep_until};

use super::CancelHandle;
use crate::error::{Error, ErrorKind, Phase, Result};
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
    /// What is going on before any shard runs the query.
    part: Arc<Mutex<Option<Part>>>,
    /// The first error among the rows.
    failure: Arc<SetOnce<Arc<Error>>>,
}

/// A part of a query, and what to say if it does not end in time.
type Part = (Phase, String);

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
            part: Arc::default(),
            failure: Arc::default(),
        }
    }

    /// The rows of a shard have failed, and with them the query, whatever becomes of the others.
    pub(super) fn failed(&self, error: &Error) {
        // Only the first in time counts.
        let _ = self.failure.set(Arc::new(error.copy()));
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

    /// The stream, with an error in place of what does not come in time, and told at once of what has
    /// [`failed`](Self::failed).
    pub(super) fn bound(self, stream: QueryStream) -> QueryStream {
        let failure = self.failure.clone();
        let failed = async move { failure.wait().await.clone() };
        let over = async move { Arc::new(self.over().await) };
        let stream = stream.failing_with(failed.boxed().shared());
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

    /// A part of what is done [`within`](Self::within) the deadline; the error says that it was this
    /// which did not end. Parts may hold parts.
    #[cfg(feature = "datafusion")]
    pub(super) async fn during<T>(
        &self,
        phase: Phase,
        what: &str,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let part = (phase, what.to_owned());
        let _outer = Outer {
            part: self.part.clone(),
            before: lock(&self.part).replace(part),
        };
        work.await
    }

    fn passed(&self, limit: Duration) -> Error {
        if let Some((phase, what)) = &*lock(&self.part) {
            return overdue(limit, &format!("; {what}")).with_phase(*phase);
        }
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
}

/// The part around another, which goes on when this is dropped.
#[cfg(feature = "datafusion")]
struct Outer {
    part: Arc<Mutex<Option<Part>>>,
    before: Option<Part>,
}

#[cfg(feature = "datafusion")]
impl Drop for Outer {
    fn drop(&mut self) {
        *lock(&self.part) = self.before.take();
    }
}

fn lock(part: &Mutex<Option<Part>>) -> MutexGuard<'_, Option<Part>> {
    part.lock().unwrap_or_else(PoisonError::into_inner)
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
        Deadline::new(Some(Duration::ZERO), CancelHandle::default(), progress)
    }

    #[cfg(feature = "datafusion")]
    #[tokio::test]
    async fn a_part_that_does_not_end_is_what_the_error_names() {
        let never = std::future::pending::<Result<()>>();
        let deadline = deadline();
        let part = deadline.during(Phase::Plan, "its planning did not end", never);
        let error = deadline.within(part).await.unwrap_err();
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

        // Whoever connects waits for an answer.
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = silent.local_addr().unwrap().port();
        let url = format!("postgresql://u@127.0.0.1:{port}/db?sslmode=disable");
        let topology = Topology::builder()
            .with_shard(Shard::new("s0", &url))
            .build()
            .unwrap();
        let query = Cluster::new(topology).unwrap().query("select 1");
        let query = query.with_timeout(Duration::from_millis(200));
        let error = query.collect().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert_eq!(error.phase(), Some(Phase::Plan));
        assert_eq!(error.shard(), None);
        assert!(!error.message().contains("s0"), "{error}");
    }
}
