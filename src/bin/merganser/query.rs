//! `merganser query`.

use std::fs;
use std::io::{self, IsTerminal, Read};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use indicatif::{DecimalBytes, HumanCount};
use merganser::export::{self, Destination, ExportOptions, Format, Progress, Summary};
use merganser::types::{NumericAs, TypeOptions, Unrepresentable};
use merganser::{Cluster, Error, ErrorKind, Query, ScanProgress};

use crate::args;
use crate::failure::{Outcome, complain};
use crate::interrupt::{Signals, clean_up};
use crate::progress::Display;
use crate::topology;

pub(crate) async fn run(args: args::Query, signals: Signals) -> Outcome<ExitCode> {
    if !args.fan_out {
        return Err(Error::new(
            ErrorKind::Unsupported,
            "planned queries, answered as if one database held all rows, are not there yet",
        )
        .with_hint(
            "add --fan-out: the text then runs as it is on every shard, and the rows are appended; \
             each shard counts, groups, sorts and limits its own rows only, and --merge-sql \
             combines partial results",
        )
        .into());
    }
    let job = Job::new(args)?;
    let cluster = job.cluster()?;
    let outcome = signals.guard(job.run(&cluster)).await;
    // Also after a failure: the shards that did not fail are being told to stop.
    clean_up(cluster.close()).await;
    outcome?;
    Ok(ExitCode::SUCCESS)
}

/// The flags, made sense of.
struct Job {
    args: args::Query,
    destination: Destination,
    format: Format,
    options: ExportOptions,
}

impl Job {
    /// Finds what is wrong with the flags before anything is opened.
    fn new(args: args::Query) -> Result<Self, Error> {
        let destination = args
            .output
            .clone()
            .map_or(Destination::Stdout, Destination::from);
        let format = match (args.format, &destination) {
            (Some(format), _) => format,
            (None, Destination::Path(path)) => Format::from_path(path)?,
            (None, _) if io::stdout().is_terminal() => Format::Table,
            (None, _) => Format::Csv,
        };
        // The library says so too, but only once the shards have been asked.
        if format == Format::None && matches!(destination, Destination::Path(_)) {
            let error = Error::new(ErrorKind::Config, "format none writes no file");
            return Err(error.with_hint("leave out --output, or choose another format"));
        }
        let mut options = ExportOptions::new();
        if let Some(compression) = args.compression {
            options = options.with_compression(compression);
        }
        if let Some(rows) = args.row_group_rows {
            options = options.with_row_group_rows(rows);
        }
        options.check(format)?;
        Ok(Self {
            args,
            destination,
            format,
            options,
        })
    }

    fn cluster(&self) -> Result<Cluster, Error> {
        let builder = Cluster::builder(topology::load(&self.args.shards)?);
        match self.args.connections_per_shard {
            Some(connections) => builder.with_connections_per_shard(connections),
            None => builder,
        }
        .build()
    }

    async fn run(&self, cluster: &Cluster) -> Outcome<()> {
        let sql = read_sql(&self.args).await?;
        let scan = ScanProgress::new();
        let query = self.query(cluster, sql)?.with_progress(scan.clone());
        let display = Display::new(scan, self.args.quiet);
        let started = Instant::now();
        let summary = tokio::select! {
            written = self.write(query, &display) => written?,
            never = display.run() => match never {},
        };
        display.clear();
        if !self.args.quiet
            && let Some(line) = self.summary_line(summary, started.elapsed())
        {
            complain(&line);
        }
        Ok(())
    }

    fn query(&self, cluster: &Cluster, sql: String) -> Result<Query, Error> {
        let args = &self.args;
        let mut query = cluster
            .fan_out(sql)
            .with_params(args.params.0.iter().cloned())
            .with_order(args.order.into())
            .with_types(self.types());
        if let Some(timeout) = args.timeout {
            query = query.with_timeout(timeout);
        }
        if let Some(bytes) = args.memory {
            query = query.with_memory(bytes);
        }
        match &args.merge_sql {
            Some(merge_sql) => reaggregate(query, merge_sql),
            None => Ok(query),
        }
    }

    /// CSV and tables show what psql shows, so there every value has a form: its text. JSON shows
    /// the digits of every numeric, and keeps the structure of arrays. A merge needs numbers that
    /// it can add up.
    fn types(&self) -> TypeOptions {
        let mut types = TypeOptions::default();
        if self.args.merge_sql.is_none() {
            match self.format {
                Format::Table | Format::Csv => {
                    types.numeric = NumericAs::Text;
                    types.unrepresentable = Unrepresentable::Text;
                }
                Format::Json | Format::Ndjson => types.numeric = NumericAs::Text,
                _ => {}
            }
        }
        types.numeric = self.args.numeric.unwrap_or(types.numeric);
        types.unrepresentable = self.args.unrepresentable.unwrap_or(types.unrepresentable);
        types
    }

    async fn write(&self, query: Query, display: &Display) -> Result<Summary, Error> {
        // On a thread of its own: to open a FIFO is to wait for its reader.
        let destination = self.destination.clone();
        let output = blocking(move || destination.open()).await?;
        let mut rows = query.stream().await?;
        if self.destination == Destination::Stdout && io::stdout().is_terminal() {
            rows = display.until_first_rows(rows);
        }
        export::write(
            rows,
            output,
            self.format,
            &self.options,
            &Progress::default(),
        )
        .await
    }

    /// `1,234 rows, 5.60 MB in 0.8 s -> out.parquet`; nothing where the rows themselves are seen.
    fn summary_line(&self, summary: Summary, elapsed: Duration) -> Option<String> {
        let rows = HumanCount(summary.rows);
        let unit = if summary.rows == 1 { "row" } else { "rows" };
        let seconds = elapsed.as_secs_f64();
        match &self.destination {
            _ if self.format == Format::None => Some(format!("{rows} {unit} in {seconds:.1} s\n")),
            Destination::Path(path) => {
                let bytes = DecimalBytes(summary.bytes);
                let path = path.display();
                Some(format!(
                    "{rows} {unit}, {bytes} in {seconds:.1} s -> {path}\n"
                ))
            }
            _ => None,
        }
    }
}

/// The statement, from the command line, a file or standard input.
async fn read_sql(args: &args::Query) -> Result<String, Error> {
    let path = match (&args.sql, &args.file) {
        (Some(sql), _) => return Ok(sql.clone()),
        (None, Some(path)) => path.clone(),
        // clap asks for one of them.
        (None, None) => return Err(Error::new(ErrorKind::Config, "no SQL text")),
    };
    blocking(move || read_text(&path)).await
}

fn read_text(path: &Path) -> Result<String, Error> {
    let read = || match path.to_str() {
        Some("-") => {
            let mut text = String::new();
            io::stdin().read_to_string(&mut text).map(|_| text)
        }
        _ => fs::read_to_string(path),
    };
    let text = read().map_err(|error| {
        let message = format!("cannot read the SQL text from {}", path.display());
        Error::new(ErrorKind::Config, message).with_source(error)
    })?;
    // Some editors begin a file with a mark that PostgreSQL takes for a character.
    Ok(match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_owned(),
        None => text,
    })
}

/// Runs something that waits for files or people on a thread where that is allowed.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|panic| {
            Err(Error::new(ErrorKind::Export, "a thread of this program failed").with_source(panic))
        })
}

#[cfg(feature = "datafusion")]
fn reaggregate(query: Query, merge_sql: &str) -> Result<Query, Error> {
    Ok(query.reaggregate(merge_sql))
}

#[cfg(not(feature = "datafusion"))]
fn reaggregate(_: Query, _: &str) -> Result<Query, Error> {
    Err(Error::new(
        ErrorKind::Unsupported,
        "this merganser was built without DataFusion, so it has no --merge-sql",
    )
    .with_hint("build it with the default features"))
}
