//! The program `merganser-ballista`: scheduler, executor, and the clients of a cluster.

use std::error::Error as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use log::LevelFilter;
use merganser::{Error, ErrorKind};
use merganser_ballista::executor::{self, ExecutorArgs};
use merganser_ballista::export::{self, ExportArgs};
use merganser_ballista::interruption::{self, Interruption};
use merganser_ballista::logging;
use merganser_ballista::query::{self, QueryArgs};
use merganser_ballista::scheduler::{self, SchedulerArgs};

/// Exports and aggregations of merganser on a Ballista cluster
///
/// A key in MERGANSER_PARTITION_KEY, the same for clients and executors, seals what executors are asked to
/// read. Exit codes are those of `merganser`: 2 for wrong use, 3 for what is refused, 4 where nobody answers,
/// 130 when it was interrupted, 1 for the rest.
#[derive(Debug, Parser)]
#[command(version, term_width = 100)]
struct Cli {
    /// How much is logged to standard error: error, warn, info, debug, trace
    #[arg(long, global = true, value_name = "LEVEL", default_value = "warn", value_parser = level)]
    log: LevelFilter,
    #[command(subcommand)]
    role: Role,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// Hand out tasks: one for each cluster
    Scheduler(SchedulerArgs),
    /// Read shards, and aggregate or write what they give: as many as are wanted
    Executor(ExecutorArgs),
    /// Answer an aggregation whose groups span shards: counts, sums, averages, minima, maxima ..
    Query(QueryArgs),
    /// Write the rows of a statement into Parquet files
    Export(ExportArgs),
}

fn level(text: &str) -> Result<LevelFilter, String> {
    text.parse()
        .map_err(|_| "write error, warn, info, debug or trace".to_owned())
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    logging::begin(cli.log);
    match run(cli.role) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => report(&error),
    }
}

fn run(role: Role) -> Result<(), Error> {
    let runtime = tokio::runtime::Runtime::new().map_err(|error| {
        Error::new(ErrorKind::Config, "cannot start the runtime").with_source(error)
    })?;
    let outcome = runtime.block_on(async {
        match role {
            Role::Scheduler(args) => scheduler::run(args).await,
            Role::Executor(args) => executor::run(args).await,
            Role::Query(args) => ask(&args).await,
            Role::Export(args) => write(&args).await,
        }
    });
    // A thread that waits for the reader of a pipe must not keep us.
    runtime.shutdown_background();
    outcome
}

async fn ask(args: &QueryArgs) -> Result<(), Error> {
    let answered = query::run(args, &Interruption::listen()?).await?;
    if let Some(verified) = &answered.verified {
        logging::say(format_args!("verified: {verified}"));
    }
    if !args.job.quiet {
        logging::say(format_args!("{} rows", answered.rows));
        for (executor, partitions) in &answered.executors {
            logging::say(format_args!(
                "{executor}: {partitions} partitions of the answer"
            ));
        }
    }
    Ok(())
}

async fn write(args: &ExportArgs) -> Result<(), Error> {
    let exported = export::run(args, &Interruption::listen()?).await?;
    if !args.job.quiet {
        let manifest = &exported.manifest;
        let files = manifest.files.len();
        logging::say(format_args!(
            "{} rows in {files} files, {} bytes",
            manifest.rows, manifest.bytes
        ));
        for (executor, share) in &exported.executors {
            logging::say(format_args!(
                "{executor}: {} files, {} rows, {} bytes",
                share.files, share.rows, share.bytes
            ));
        }
    }
    Ok(())
}

/// Prints an error with its causes and its cure; the exit code.
fn report(error: &Error) -> ExitCode {
    let mut said = error.to_string();
    logging::say(format_args!("merganser-ballista: error: {said}"));
    for cause in std::iter::successors(error.source(), |&cause| cause.source()) {
        let cause = cause.to_string();
        if !said.contains(&cause) {
            logging::say(format_args!("  caused by: {cause}"));
            said.push_str(&cause);
        }
    }
    if let Some(hint) = error.hint() {
        logging::say(format_args!("  hint: {hint}"));
    }
    match error.kind() {
        ErrorKind::Config | ErrorKind::Syntax | ErrorKind::Usage => 2,
        ErrorKind::Unsupported | ErrorKind::Limit => 3,
        ErrorKind::Connect => 4,
        ErrorKind::Timeout => 5,
        ErrorKind::Cancelled => interruption::EXIT_CODE,
        _ => 1,
    }
    .into()
}
