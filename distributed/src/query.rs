//! Aggregations on a cluster: shards compute partial aggregates, executors put the groups together.

use std::future::pending;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use merganser::export::{self, Destination, ExportOptions, Format, Progress};
use merganser::types::{NumericAs, TypeOptions};
use merganser::{Cluster, Error, ErrorKind, PartialPartitions, PartitionOptions, Verified};

use crate::client::Scheduler;
use crate::interruption::Interruption;
use crate::read::ShardReadExec;
use crate::{descriptors, engine, key, work};

/// What is asked of a cluster, in any role of a client.
#[derive(Debug, Clone, clap::Args)]
pub struct JobArgs {
    /// The scheduler
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:50050")]
    pub scheduler: String,
    /// The topology file, with the shards as this machine reaches them
    #[arg(
        short = 'c',
        long,
        value_name = "FILE",
        default_value = "merganser.toml"
    )]
    pub topology: PathBuf,
    /// About how many MiB of a table one part has
    #[arg(long, value_name = "MIB", default_value_t = 64)]
    pub part_mib: u64,
    /// How many seconds the job may take: so long the shards keep their snapshots
    #[arg(long, value_name = "SECONDS", default_value_t = 6 * 60 * 60)]
    pub lease: u64,
    /// Say nothing but errors
    #[arg(short, long)]
    pub quiet: bool,
    /// The statement
    #[arg(value_name = "SQL")]
    pub sql: String,
}

impl JobArgs {
    pub(crate) fn cut(&self) -> PartitionOptions {
        PartitionOptions::new()
            .with_bytes(self.part_mib.saturating_mul(1 << 20))
            .with_lease(Duration::from_secs(self.lease))
    }
}

/// What a query is asked with.
#[derive(Debug, Clone, clap::Args)]
pub struct QueryArgs {
    /// What both roles of a client are asked with.
    #[command(flatten)]
    pub job: JobArgs,
    /// Over how many partitions the groups are spread: some for each vcore of the cluster
    #[arg(long, value_name = "N", default_value_t = 16)]
    pub partitions: usize,
    /// The file of the answer, whose extension is its format [default: CSV on standard output]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// A PostgreSQL that holds all rows, whose answer has to be the same
    #[arg(long, value_name = "URL")]
    pub verify: Option<String>,
}

/// What came of a query.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Answered {
    /// The rows of the answer.
    pub rows: u64,
    /// In how many parts the shards were read.
    pub parts: usize,
    /// How many partitions of the answer each executor had.
    pub executors: Vec<(String, usize)>,
    /// What was compared, if it was.
    pub verified: Option<Verified>,
}

/// Runs an aggregation, and writes its answer.
///
/// # Errors
/// As [`Query::partial_partitions`](merganser::Query::partial_partitions), for what is no aggregation of
/// this kind; those of executors, of the cluster, and of the output; [`ErrorKind::Cancelled`] when the
/// process is told to end: whatever it is at ends then, and the job is cancelled.
///
/// [`ErrorKind::Cancelled`]: merganser::ErrorKind::Cancelled
pub async fn run(args: &QueryArgs, interruption: &Interruption) -> Result<Answered, Error> {
    let job = &args.job;
    let cluster = work::cluster(&job.topology)?;
    let answered = answer(args, &cluster, interruption).await;
    work::close(cluster).await;
    answered
}

async fn answer(
    args: &QueryArgs,
    cluster: &Cluster,
    interruption: &Interruption,
) -> Result<Answered, Error> {
    let job = &args.job;
    let destination = args.output.clone().map(Destination::from);
    let destination = destination.unwrap_or(Destination::Stdout);
    let format = match &args.output {
        Some(path) => Format::from_path(path)?,
        None => Format::Csv,
    };
    let query = cluster.query(job.sql.as_str());
    let query = query.with_types(types_of(format));
    let verifier = args.verify.as_deref().map(|url| query.verifier(url));
    let verifier = verifier.transpose()?;
    let cut = async {
        let scheduler = Scheduler::connect(&job.scheduler).await?;
        Ok((scheduler, query.partial_partitions(&job.cut()).await?))
    };
    let (scheduler, cut) = interruption.guard(cut).await?;
    let PartialPartitions {
        partitions, merge, ..
    } = cut;
    work::tell(job, &partitions);
    let parts = descriptors::plan(&partitions.parts, &key()).map_err(engine)?;
    let rows = ShardReadExec::try_new(parts, partitions.schema.clone(), None).map_err(engine)?;
    let plan = merge.plan(Arc::new(rows), args.partitions.max(1)).await?;
    let number = partitions.parts.len();
    let done = work::run(&scheduler, plan, partitions.lease, interruption, pending()).await;
    let done = done.map_err(|error| match error.kind() {
        ErrorKind::Decode => error.with_hint(
            "run it without a cluster, where a query is planned anew if Arrow does not hold a value",
        ),
        _ => error,
    })?;
    let executors = done.executors().into_iter().collect();
    let write = async {
        let mut rows = merge.finish(done.rows()).await?;
        if let Some(verifier) = &verifier {
            rows = verifier.check(rows).await?;
        }
        let (output, options) = (destination.open()?, ExportOptions::new());
        export::write(rows, output, format, &options, &Progress::default()).await
    };
    let written = interruption.guard(write).await;
    done.forget().await;
    let summary = written?;
    Ok(Answered {
        rows: summary.rows,
        parts: number,
        executors,
        verified: verifier.and_then(|verifier| verifier.verified()),
    })
}

/// Numbers of texts have the digits that PostgreSQL prints. What the executors read does not depend on it.
fn types_of(format: Format) -> TypeOptions {
    let numeric = match format {
        Format::Csv | Format::Json | Format::Ndjson | Format::Table => NumericAs::Text,
        _ => NumericAs::Auto,
    };
    TypeOptions {
        numeric,
        ..TypeOptions::default()
    }
}
