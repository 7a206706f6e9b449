//! What queries and exports have in common: a job that runs while its snapshots are kept.

use std::convert::Infallible;
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use merganser::{Cluster, Error, ErrorKind, Lease, Partitions, Topology};
use tokio::signal::unix::{SignalKind, signal};

use crate::client::{Answer, Job};
use crate::query::JobArgs;

/// What ends a job early, besides itself and its snapshots.
pub type Interruption = Pin<Box<dyn Future<Output = Error> + Send>>;

/// Ctrl-C, and what `kill` sends.
///
/// # Errors
/// [`ErrorKind::Config`] where the system gives us no signals.
pub fn signals() -> Result<Interruption, Error> {
    let listen = |kind| {
        signal(kind).map_err(|error| {
            Error::new(ErrorKind::Config, "cannot take signals").with_source(error)
        })
    };
    let (mut int, mut term) = (
        listen(SignalKind::interrupt())?,
        listen(SignalKind::terminate())?,
    );
    Ok(Box::pin(async move {
        tokio::select! {
            _ = int.recv() => {}
            _ = term.recv() => {}
        }
        Error::new(ErrorKind::Cancelled, "interrupted")
    }))
}

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

/// Waits for a job while its snapshots are kept, which are not needed behind it, and while something else
/// that has no end is done.
pub(crate) async fn run(
    job: Job,
    mut lease: Lease,
    interruption: Interruption,
    meanwhile: impl Future<Output = Infallible>,
) -> Result<Answer, Error> {
    let ended = async {
        tokio::select! {
            never = meanwhile => match never {},
            error = interruption => error,
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
    eprintln!("{} parts", partitions.parts.len());
    if let Some(reason) = &partitions.whole {
        eprintln!("one for each shard: {reason}");
    }
}
