//! `merganser partitions` and `merganser read-partition`.

use std::process::ExitCode;

use merganser::Error;
#[cfg(feature = "datafusion")]
use merganser::export::{self, Destination, ExportOptions, Format, Progress};
#[cfg(feature = "datafusion")]
use merganser::{Cluster, Partition, PartitionOptions, Partitions};

use crate::args;
#[cfg(feature = "datafusion")]
use crate::cache::keep_catalogs;
use crate::failure::Outcome;
#[cfg(feature = "datafusion")]
use crate::failure::complain;
use crate::interrupt::Signals;
#[cfg(feature = "datafusion")]
use crate::interrupt::clean_up;
#[cfg(feature = "datafusion")]
use crate::query::types_of;
use crate::statement;
#[cfg(feature = "datafusion")]
use crate::statement::blocking;
#[cfg(feature = "datafusion")]
use crate::stdout;
#[cfg(feature = "datafusion")]
use crate::topology;

/// The variable that holds the key of the seal.
#[cfg(feature = "datafusion")]
const KEY: &str = "MERGANSER_PARTITION_KEY";

#[cfg(feature = "datafusion")]
fn key() -> Vec<u8> {
    let key = std::env::var_os(KEY).unwrap_or_default();
    key.into_encoded_bytes()
}

/// Prints the parts, and keeps their snapshots until it is told to end, or the lease is over.
#[cfg(feature = "datafusion")]
pub(crate) async fn cut(args: args::Partitions, signals: Signals) -> Outcome<ExitCode> {
    let topology = topology::load(&args.shards)?;
    if !args.fan_out {
        statement::check_tables(&topology)?;
    }
    let cluster = keep_catalogs(Cluster::builder(topology), &args.cache).build()?;
    let outcome = signals
        .guard(async {
            let Partitions {
                parts,
                whole,
                mut lease,
                ..
            } = partitions(&args, &cluster).await?;
            let key = key();
            let mut lines = Vec::new();
            for part in &parts {
                lines.extend(part.seal(&key));
                lines.push(b'\n');
            }
            match args.output.clone() {
                Some(path) => blocking(move || write_file(path, &lines)).await?,
                None => stdout::write(&lines)?,
            }
            if !args.quiet {
                complain(&said(parts.len(), whole.as_deref()));
            }
            Ok(lease.ended().await?)
        })
        .await;
    clean_up(cluster.close()).await;
    outcome?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(feature = "datafusion")]
fn said(parts: usize, whole: Option<&str>) -> String {
    let parts = match parts {
        1 => "1 partition".to_owned(),
        parts => format!("{parts} partitions"),
    };
    let whole = whole.map(|reason| format!("one for each shard: {reason}\n"));
    format!(
        "{parts}; their snapshots are kept until Ctrl-C, or the end of --lease\n{}",
        whole.unwrap_or_default()
    )
}

#[cfg(feature = "datafusion")]
async fn partitions(args: &args::Partitions, cluster: &Cluster) -> Result<Partitions, Error> {
    let sql = statement::read(&args.statement).await?;
    let mut options = PartitionOptions::new();
    if let Some(lease) = args.lease {
        options = options.with_lease(lease);
    }
    if let Some(bytes) = args.partition_bytes {
        options = options.with_bytes(bytes as u64);
    }
    let parameters = args.statement.params.0.iter().cloned();
    match args.fan_out {
        true => {
            cluster
                .fan_out(sql)
                .with_params(parameters)
                .partitions(&options)
                .await
        }
        false => {
            cluster
                .query(sql)
                .with_params(parameters)
                .partitions(&options)
                .await
        }
    }
}

/// Writes a file that is there at once, whole.
#[cfg(feature = "datafusion")]
fn write_file(path: std::path::PathBuf, lines: &[u8]) -> Result<(), Error> {
    use std::io::Write;

    let wrong = |error: std::io::Error| export::write_error(format_args!("{path:?}"), error);
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => std::path::Path::new("."),
    };
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(wrong)?;
    file.write_all(lines).map_err(wrong)?;
    file.persist(&path).map_err(|failed| wrong(failed.error))?;
    Ok(())
}

#[cfg(feature = "datafusion")]
pub(crate) async fn read(args: args::ReadPartition, signals: Signals) -> Outcome<ExitCode> {
    let cluster = Cluster::new(topology::load(&args.shards)?)?;
    let outcome = signals
        .guard(async { Ok(read_one(&args, &cluster).await?) })
        .await;
    clean_up(cluster.close()).await;
    outcome?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(feature = "datafusion")]
async fn read_one(args: &args::ReadPartition, cluster: &Cluster) -> Result<(), Error> {
    let destination = args
        .output
        .clone()
        .map_or(Destination::Stdout, Destination::from);
    let format = match (args.format, &destination) {
        (Some(format), _) => format,
        (None, Destination::Path(path)) => Format::from_path(path)?,
        (None, _) => Format::Csv,
    };
    let mut options = ExportOptions::new();
    if let Some(compression) = args.compression {
        options = options.with_compression(compression);
    }
    options.check(format)?;
    let line = match args.partition.as_deref() {
        Some(line) if line != "-" => line.to_owned(),
        _ => blocking(first_line).await?,
    };
    let partition = Partition::unseal(line.trim().as_bytes(), &key())?;
    let output = blocking(move || stdout::open(&destination, format)).await?;
    let mut reading = cluster
        .read_partition(&partition)
        .with_types(types_of(format));
    if let Some(timeout) = args.timeout {
        reading = reading.with_timeout(timeout);
    }
    let rows = reading.stream().await?;
    export::write(rows, output, format, &options, &Progress::default()).await?;
    Ok(())
}

#[cfg(feature = "datafusion")]
fn first_line() -> Result<String, Error> {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).map_err(|error| {
        let message = "cannot read the partition from standard input";
        Error::new(merganser::ErrorKind::Config, message).with_source(error)
    })?;
    Ok(line)
}

#[cfg(not(feature = "datafusion"))]
pub(crate) async fn cut(_: args::Partitions, _: Signals) -> Outcome<ExitCode> {
    Err(none())
}

#[cfg(not(feature = "datafusion"))]
pub(crate) async fn read(_: args::ReadPartition, _: Signals) -> Outcome<ExitCode> {
    Err(none())
}

#[cfg(not(feature = "datafusion"))]
fn none() -> crate::failure::Failure {
    let error: Error = statement::without_datafusion("it has no partitions");
    error.into()
}
