//! Exports on a cluster: executors read parts of the shards, and write a Parquet file of each.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures::stream::TryStreamExt;
use merganser::export::{Folder, Format, Manifest};
use merganser::{Cluster, Error, ErrorKind};

use crate::client::{Answer, Scheduler};
use crate::interruption::Interruption;
use crate::logging::say;
use crate::part_file::{self, PartFileExec, Written};
use crate::query::JobArgs;
use crate::{descriptors, engine, key, work};

/// What an export is asked with.
#[derive(Debug, Clone, clap::Args)]
pub struct ExportArgs {
    /// What both roles of a client are asked with.
    #[command(flatten)]
    pub job: JobArgs,
    /// The folder for the files: new or empty, and under the same path on this machine and on all executors
    #[arg(long, value_name = "FOLDER")]
    pub to: PathBuf,
}

/// What an executor did of an export.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Share {
    /// How many files it wrote.
    pub files: usize,
    /// The rows in them.
    pub rows: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// What came of an export.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Exported {
    /// What the folder says of its files.
    pub manifest: Manifest,
    /// Who wrote them, by name.
    pub executors: BTreeMap<String, Share>,
}

/// Runs an export. Its manifest is written last; without it the folder is not complete, and its files are
/// removed, but for those that an executor is still writing which nobody can reach.
///
/// # Errors
/// As [`Query::partitions`](merganser::Query::partitions), for a statement whose rows are merged; those of
/// executors, of the cluster, and of the folder; [`ErrorKind::Cancelled`] when the process is told to end:
/// whatever it is at ends then, and the job is cancelled. Once all files are there it is too late for that, and
/// the export is complete.
pub async fn run(args: &ExportArgs, interruption: &Interruption) -> Result<Exported, Error> {
    let cluster = work::cluster(&args.job.topology)?;
    let exported = export(args, &cluster, interruption).await;
    work::close(cluster).await;
    exported
}

async fn export(
    args: &ExportArgs,
    cluster: &Cluster,
    interruption: &Interruption,
) -> Result<Exported, Error> {
    let job = &args.job;
    let path = std::path::absolute(&args.to).map_err(|error| {
        Error::new(ErrorKind::Config, format!("no folder {:?}", args.to)).with_source(error)
    })?;
    let cut = async {
        let scheduler = Scheduler::connect(&job.scheduler).await?;
        let query = cluster.query(job.sql.as_str());
        Ok((scheduler, query.partitions(&job.cut()).await?))
    };
    let (scheduler, partitions) = interruption.guard(cut).await?;
    let read_at = SystemTime::now();
    let folder = Folder::new(&path, Format::Parquet);
    let schema = partitions.schema.clone();
    let shared = folder.begin(&job.sql, cluster.topology(), schema).await?;
    work::tell(job, &partitions);
    let parts = descriptors::plan(&partitions.parts, &key()).map_err(engine)?;
    let plan = PartFileExec::try_new(parts, path.clone(), None).map_err(engine)?;
    let (plan, lease, number) = (Arc::new(plan), partitions.lease, partitions.parts.len());
    let progress = progress(path, number, job.quiet);
    let done = match work::run(&scheduler, plan, lease, interruption, progress).await {
        Ok(done) => done,
        Err(error) => {
            tokio::time::sleep(WIND_DOWN).await;
            return Err(error);
        }
    };
    let written = interruption.guard(files_of(&done)).await;
    done.forget().await;
    let mut written = written?;
    check(&mut written, number)?;
    let mut executors: BTreeMap<String, Share> = BTreeMap::new();
    for Written { executor, file, .. } in &written {
        let share = executors.entry(executor.clone()).or_default();
        share.files += 1;
        share.rows += file.rows;
        share.bytes += file.bytes;
    }
    let files = written.into_iter().map(|written| written.file).collect();
    let manifest = shared.finish(read_at, files).await?;
    Ok(Exported {
        manifest,
        executors,
    })
}

/// The files that the job tells of.
async fn files_of(done: &Answer) -> Result<Vec<Written>, Error> {
    let mut written = Vec::new();
    let mut rows = done.rows();
    while let Some(batch) = rows.try_next().await? {
        written.extend(part_file::written(&batch).map_err(engine)?);
    }
    Ok(written)
}

/// Says now and then how many files are there, those of attempts that failed among them.
async fn progress(folder: PathBuf, parts: usize, quiet: bool) -> Infallible {
    loop {
        tokio::time::sleep(TELL).await;
        let Ok(mut entries) = tokio::fs::read_dir(&folder).await else {
            continue;
        };
        let mut files = 0;
        while let Ok(Some(entry)) = entries.next_entry().await {
            files += usize::from(entry.path().extension().is_some_and(|it| it == "parquet"));
        }
        if !quiet {
            say(format_args!("{} of {parts} parts", files.min(parts)));
        }
    }
}

/// How often that is said.
const TELL: Duration = Duration::from_secs(5);

/// How long executors may take to drop the files that they are at, before the folder is removed.
const WIND_DOWN: Duration = Duration::from_millis(500);

/// Each part is there, and once.
fn check(written: &mut [Written], parts: usize) -> Result<(), Error> {
    written.sort_by_key(|written| written.number);
    let numbers = written.iter().map(|written| written.number as usize);
    match numbers.eq(0..parts) {
        true => Ok(()),
        false => Err(Error::new(
            ErrorKind::Internal,
            format!(
                "the cluster wrote {} files of {parts} parts, or one of them twice",
                written.len()
            ),
        )
        .with_hint("this is a fault: please report it, with the logs of the scheduler")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_has_to_be_there_once() {
        let file =
            serde_json::json!({"path": "p", "shard": "s", "rows": 1, "bytes": 1, "sha256": ""});
        let written = |numbers: &[u32]| {
            let written = numbers.iter().map(|number| Written {
                number: *number,
                executor: "e".to_owned(),
                milliseconds: 0,
                file: serde_json::from_value(file.clone()).expect("a file"),
            });
            check(&mut written.collect::<Vec<_>>(), 3)
        };
        assert!(written(&[2, 0, 1]).is_ok());
        for wrong in [&[0, 1][..], &[0, 1, 1], &[0, 1, 2, 2], &[0, 1, 3], &[]] {
            let error = written(wrong).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Internal, "{wrong:?}");
        }
    }
}
