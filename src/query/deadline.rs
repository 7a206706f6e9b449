//! What ends a query before it is done: its deadline, and whoever cancels it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use futures::FutureExt;
use futures::stream::{self, StreamExt};
use tokio::sync::SetOnce;
use tokio::time::{Instant, sleep_until};

use super::CancelHandle;
use crate::error::{Error, ErrorKind, Phase, Result};
use crate::progress::{ScanProgress, ShardProgress, ShardState};
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
    /// The answer is there: what fails from now on is no part of it.
    complete: Arc<AtomicBool>,
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
            complete: Arc::default(),
        }
    }

    /// The rows of a shard have failed, and with them the query, whatever becomes of the others.
    pub(super) fn failed(&self, error: &Error) {
        if !self.complete.load(Ordering::SeqCst) {
            // Only the first in time counts.
            let _ = self.failure.set(Arc::new(error.copy()));
        }
    }

    /// The work, or an error in place of what is not done in time, or has [`failed`](Self::failed)
    /// while the work looks elsewhere.
    pub(super) async fn within<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            // Work that always has something to do would never let the deadline be seen.
            biased;
            error = self.over() => Err(error),
            done = work => done,
            error = self.failure.wait() => Err(error.copy()),
        }
    }

    /// The stream, with an error in place of what does not come in time, and told at once of what has
    /// [`failed`](Self::failed).
    pub(super) fn bound(self, stream: QueryStream) -> QueryStream {
        let failure = self.failure.clone();
        let failed = async move { failure.wait().await.clone() };
        let complete = self.complete.clone();
        // Behind the last row that is wanted, shards may still be asked whether they have more.
        let end = stream::poll_fn(move |_| {
            complete.store(true, Ordering::SeqCst);
            Poll::Ready(None)
        });
        let stream = QueryStream::new(stream.schema(), stream.chain(end));
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
            limit = late => match self.failure.get() {
                // Whoever is slow to ask for it would be told that time was short, and of other shards.
                Some(error) => error.copy(),
                None => self.passed(limit),
            },
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
        overdue(limit, &waiting_for(&self.progress.shards()))
    }
}

/// Which shards hold the others up: of those that are not done, the ones that have come least far.
fn waiting_for(shards: &[ShardProgress]) -> String {
    for (states, what) in [
        (&[ShardState::Waiting][..], "no connection was free for"),
        (&[ShardState::Connecting], "not connected:"),
        (
            &[ShardState::Describing],
            "no description of the query from",
        ),
        (&[ShardState::Executing], "no row from"),
        (&[ShardState::Streaming, ShardState::Ready], "not done:"),
    ] {
        let late: Vec<_> = shards
            .iter()
            .filter(|shard| states.contains(&shard.state))
            .map(|shard| format!("{:?}", shard.shard))
            .collect();
        if !late.is_empty() {
            let shown = late.get(..MOST_NAMED).unwrap_or(&late).join(", ");
            let more = match late.len().saturating_sub(MOST_NAMED) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            return format!("; {what} {shown}{more}");
        }
    }
    String::new()
}

/// So many late shards are named.
const MOST_NAMED: usize = 10;

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
    use arrow::datatypes::Schema;

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
    async fn what_failed_before_is_why_a_query_did_not_end() {
        let failed = Error::new(ErrorKind::Server, "m").with_shard("s1");
        let deadline = deadline();
        deadline.failed(&failed);
        let rows = QueryStream::new(Arc::new(Schema::empty()), stream::pending());
        let mut rows = deadline.bound(rows);
        tokio::time::sleep(Duration::from_millis(10)).await;
        let error = rows.next().await.unwrap().unwrap_err();
        assert_eq!(error.shard(), Some("s1"), "{error}");
    }

    #[tokio::test]
    async fn without_a_part_the_shards_that_hold_the_others_up_are_named() {
        let progress = ScanProgress::new();
        let counters = progress.begin(["s0", "s1", "s2"]);
        let deadline = Deadline::new(
            Some(Duration::ZERO),
            CancelHandle::default(),
            progress.clone(),
        );
        use ShardState::{Connecting, Describing, Done, Executing, Ready, Streaming, Waiting};
        for (states, said) in [
            (
                [Waiting; 3],
                "no connection was free for \"s0\", \"s1\", \"s2\"",
            ),
            ([Ready, Connecting, Describing], "not connected: \"s1\""),
            (
                [Ready, Describing, Ready],
                "no description of the query from \"s1\"",
            ),
            ([Streaming, Done, Executing], "no row from \"s2\""),
            ([Streaming, Done, Streaming], "not done: \"s0\", \"s2\""),
        ] {
            for (counters, state) in counters.iter().zip(states) {
                counters.set(state);
            }
            let never = std::future::pending::<Result<()>>();
            let error = deadline.within(never).await.unwrap_err();
            assert!(error.message().ends_with(&format!("; {said}")), "{error}");
        }
        progress.begin((0..100).map(|_| "s"));
        let error = deadline.passed(Duration::ZERO);
        assert!(error.message().ends_with(", \"s\" and 90 more"), "{error}");
    }

    #[tokio::test]
    async fn a_failure_ends_what_looks_elsewhere_until_the_answer_is_there() {
        use arrow::datatypes::Schema;

        let failed = || Error::new(ErrorKind::Connect, "lost");
        let deadline = || Deadline::new(None, CancelHandle::default(), ScanProgress::new());
        let rows = || QueryStream::new(Arc::new(Schema::empty()), stream::empty());
        let early = deadline();
        let never = std::future::pending::<Result<()>>();
        early.failed(&failed());
        let error = early.within(never).await.unwrap_err();
        assert_eq!(error.message(), "lost");
        let interruption = early.bound(rows()).interruption();
        assert_eq!(interruption.await.message(), "lost");

        let late = deadline();
        let mut rows = late.clone().bound(rows());
        let interruption = rows.interruption();
        assert!(rows.next().await.is_none());
        late.failed(&failed());
        assert!(interruption.now_or_never().is_none());
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
