//! What queries and exports have in common: a job that runs while its snapshots are kept.

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use datafusion::physical_plan::ExecutionPlan;
use merganser::{Cluster, Error, ErrorKind, Lease, Partitions, Topology};

use crate::client::{Answer, PATIENCE, Scheduler};
use crate::interruption::Interruption;
use crate::logging::say;
use crate::query::JobArgs;

pub(crate) fn cluster(topology: &Path) -> Result<Cluster, Error> {
    Cluster::new(Topology::from_path(topology)?)
}

/// How long the shards may take to hear that nobody needs them any more.
const CLEAN_UP: Duration = Duration::from_secs(2);

/// Ends the connections to the shards.
pub(crate) async fn close(cluster: Cluster) {
    // Those that do not answer end with the process.
    let _ = tokio::time::timeout(CLEAN_UP, cluster.close()).await;
}

/// Has the cluster run a plan while its snapshots are kept, which are not needed behind it, and while
/// something else that has no end is done. Whatever ends it early, the job is cancelled.
pub(crate) async fn run(
    scheduler: &Scheduler,
    plan: Arc<dyn ExecutionPlan>,
    mut lease: Lease,
    interruption: &Interruption,
    meanwhile: impl Future<Output = Infallible>,
) -> Result<Answer, Error> {
    // Only a job that the scheduler has named can be cancelled.
    let gone = async {
        let error = interruption.told().await;
        tokio::time::sleep(PATIENCE).await;
        error
    };
    let job = tokio::select! {
        biased;
        job = scheduler.submit(plan) => job?,
        error = gone => return Err(error),
    };
    let ended = async {
        tokio::select! {
            never = meanwhile => match never {},
            error = interruption.told() => error,
            ended = lease.ended() => match ended {
                Err(error) => error,
                Ok(()) => Error::new(
                    ErrorKind::Timeout,
                    "the lease of the snapshots was over before the job was done",
                )
                .with_hint("give it more time with --lease"),
            },
        }
    };
    job.run(ended).await
}

/// Says what is about to happen.
pub(crate) fn tell(args: &JobArgs, partitions: &Partitions) {
    if args.quiet {
        return;
    }
    say(format_args!("{} parts", partitions.parts.len()));
    if let Some(reason) = &partitions.whole {
        say(format_args!("one for each shard: {reason}"));
    }
}
