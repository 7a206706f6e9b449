//! `merganser query`.

use std::fmt;
use std::io::{self, IsTerminal};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use indicatif::{DecimalBytes, HumanCount};
use merganser::export::{
    self, CsvFormulas, Destination, ExportOptions, Folder, Format, Manifest, Progress,
};
use merganser::types::{NumericAs, TypeOptions, Unrepresentable};
use merganser::{Cluster, Error, ErrorKind, FanOut, MissingShards, QueryStream, ScanProgress};
#[cfg(feature = "datafusion")]
use merganser::{Query, Verifier};

use crate::args;
use crate::cache::keep_catalogs;
use crate::failure::{Outcome, complain, printable};
use crate::interrupt::{Signals, clean_up};
use crate::progress::Display;
use crate::statement::{self, blocking};
use crate::stdout;
use crate::topology;

pub(crate) async fn run(args: args::Query, signals: Signals) -> Outcome<ExitCode> {
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
    target: Target,
    format: Format,
    options: ExportOptions,
}

/// Where the rows go.
enum Target {
    One(Destination),
    Folder(Box<Folder>),
}

impl Target {
    fn path(&self) -> Option<&Path> {
        match self {
            Self::One(Destination::Path(path)) => Some(path),
            Self::One(_) => None,
            Self::Folder(folder) => Some(folder.path()),
        }
    }
}

/// What was written.
struct Written {
    rows: u64,
    bytes: u64,
    /// In a folder.
    files: Option<usize>,
    analysis: Option<Box<dyn fmt::Display>>,
}

impl Job {
    /// Finds what is wrong with the flags before anything is opened.
    fn new(args: args::Query) -> Result<Self, Error> {
        let folder = args.output.as_deref().filter(|path| is_folder(path));
        let destination = args
            .output
            .clone()
            .map_or(Destination::Stdout, Destination::from);
        let format = match (args.format, &destination) {
            (Some(format), _) => format,
            (None, _) if folder.is_some() => Format::Parquet,
            (None, Destination::Path(path)) => Format::from_path(path)?,
            (None, _) if io::stdout().is_terminal() => Format::Table,
            (None, _) => Format::Csv,
        };
        let mut options = ExportOptions::new();
        if let Some(compression) = args.compression {
            options = options.with_compression(compression);
        }
        if let Some(rows) = args.row_group_rows {
            options = options.with_row_group_rows(rows);
        }
        if let Some(duplicates) = args.duplicate_columns {
            options = options.with_duplicate_columns(duplicates);
        }
        if args.csv_escape_formulas {
            options = options.with_csv_formulas(CsvFormulas::Escape);
        }
        options.check(format)?;
        let target = match folder {
            Some(path) => {
                let folder = folder_of(path, format, &args)?.with_options(options.clone());
                folder.check()?;
                Target::Folder(Box::new(folder))
            }
            None => {
                check_one_file(&destination, format, &args)?;
                Target::One(destination)
            }
        };
        Ok(Self {
            args,
            target,
            format,
            options,
        })
    }

    fn cluster(&self) -> Result<Cluster, Error> {
        let topology = topology::load(&self.args.shards)?;
        if !self.args.fan_out {
            statement::check_tables(&topology)?;
        }
        let builder = keep_catalogs(Cluster::builder(topology), &self.args.cache);
        match self.args.connections_per_shard {
            Some(connections) => builder.with_connections_per_shard(connections),
            None => builder,
        }
        .build()
    }

    async fn run(&self, cluster: &Cluster) -> Outcome<()> {
        let sql = statement::read(&self.args.statement).await?;
        let scan = ScanProgress::new();
        let missing = MissingShards::new();
        let query = self.query(cluster, sql, scan.clone(), &missing)?;
        let display = Display::new(scan.clone(), self.args.quiet);
        let started = Instant::now();
        let verifier = self.verifier(&query)?;
        let written = tokio::select! {
            written = self.write(query, verifier.as_ref(), &display) => written?,
            never = display.run() => match never {},
        };
        display.clear();
        for error in scan.retries() {
            complain(&format!(
                "merganser: warning: ran again: {}\n",
                printable(&error.to_string())
            ));
        }
        for error in missing.errors() {
            complain(&format!(
                "merganser: warning: not in the answer: {}\n",
                printable(&error.to_string())
            ));
        }
        if !self.args.quiet
            && let Some(line) = self.summary_line(&written, started.elapsed())
        {
            complain(&line);
        }
        if let Some(fenced) = scan.fenced().filter(|_| !self.args.quiet) {
            let skew = fenced.skew.as_secs_f64() * 1e3;
            let up_to = fenced.watermark.map(|it| format!(", up to {it} and later"));
            let up_to = up_to.unwrap_or_default();
            complain(&format!("all shards read within {skew:.1} ms{up_to}\n"));
        }
        if let Some(verified) = verifier.and_then(|verifier| verifier.verified()) {
            complain(&format!("verified: {verified}\n"));
        }
        if let Some(analysis) = written.analysis {
            complain(&analysis.to_string());
        }
        Ok(())
    }

    fn query(
        &self,
        cluster: &Cluster,
        sql: String,
        scan: ScanProgress,
        missing: &MissingShards,
    ) -> Result<Asked, Error> {
        let query = match self.args.fan_out {
            true => Asked::FanOut(self.fan_out(cluster, sql, scan)?),
            false => self.planned(cluster, sql, scan)?,
        };
        let query = match self.args.retries {
            Some(retries) => query.with_retries(retries),
            None => query,
        };
        let query = match self.args.max_skew {
            Some(skew) => query.with_max_skew(skew),
            None => query,
        };
        Ok(match self.args.allow_missing_shards {
            true => query.with_missing_shards(missing),
            false => query,
        })
    }

    fn fan_out(&self, cluster: &Cluster, sql: String, scan: ScanProgress) -> Result<FanOut, Error> {
        let args = &self.args;
        let mut query = cluster
            .fan_out(sql)
            .with_params(args.statement.params.0.iter().cloned())
            .with_types(self.types())
            .with_progress(scan);
        if let Some(order) = args.order {
            query = query.with_order(order.into());
        }
        if let Some(timeout) = args.timeout {
            query = query.with_timeout(timeout);
        }
        if let Some(bytes) = args.memory {
            query = query.with_memory(bytes);
        }
        #[cfg(feature = "datafusion")]
        if let Some(readers) = args.connections_per_shard {
            query = query.with_readers_per_shard(readers);
        }
        match &args.merge_sql {
            Some(merge_sql) => reaggregate(query, merge_sql),
            None => Ok(query),
        }
    }

    #[cfg(feature = "datafusion")]
    fn planned(&self, cluster: &Cluster, sql: String, scan: ScanProgress) -> Result<Asked, Error> {
        let args = &self.args;
        let mut query = statement::planned(cluster, sql, &args.planning)
            .with_params(args.statement.params.0.iter().cloned())
            .with_types(self.types())
            .with_progress(scan);
        if let Some(order) = args.order {
            query = query.with_order(order.into());
        }
        if let Some(timeout) = args.timeout {
            query = query.with_timeout(timeout);
        }
        if let Some(bytes) = args.memory {
            query = query.with_memory(bytes);
        }
        if let Some(readers) = args.connections_per_shard {
            query = query.with_readers_per_shard(readers);
        }
        Ok(Asked::Planned(query))
    }

    #[cfg(not(feature = "datafusion"))]
    fn planned(&self, _: &Cluster, _: String, _: ScanProgress) -> Result<Asked, Error> {
        Err(statement::without_datafusion(
            "it answers no planned queries",
        ))
    }

    fn verifier(&self, query: &Asked) -> Result<Option<Verifier>, Error> {
        let url = self.args.verify.as_deref();
        Ok(url.map(|url| query.verifier(url)).transpose()?.flatten())
    }

    /// CSV and tables show what psql shows, so there every value has a form: its text. JSON shows
    /// the digits of every numeric, and keeps the structure of arrays. A merge needs numbers that
    /// it can add up. What is asked for holds in every format.
    fn types(&self) -> TypeOptions {
        let format = match self.args.merge_sql {
            Some(_) => Format::Arrow,
            None => self.format,
        };
        let TypeOptions {
            numeric,
            unrepresentable,
            ..
        } = types_of(format);
        let asked = self.args.unrepresentable;
        let numeric = match self.args.numeric.unwrap_or(numeric) {
            NumericAs::Text if asked.is_some_and(|asked| asked != Unrepresentable::Text) => {
                NumericAs::FiniteText
            }
            other => other,
        };
        TypeOptions {
            numeric,
            unrepresentable: asked.unwrap_or(unrepresentable),
            interval: self.args.interval.unwrap_or_default(),
            ..TypeOptions::default()
        }
    }

    async fn write(
        &self,
        query: Asked,
        verifier: Option<&Verifier>,
        display: &Display,
    ) -> Result<Written, Error> {
        let destination = match &self.target {
            Target::One(destination) => destination.clone(),
            Target::Folder(folder) => {
                let manifest = query.write_folder(folder).await?;
                return Ok(Written {
                    rows: manifest.rows,
                    bytes: manifest.bytes,
                    files: Some(manifest.files.len()),
                    analysis: None,
                });
            }
        };
        let is_stdout = destination == Destination::Stdout;
        // On a thread of its own: a device, or a file of another machine, may take its time.
        let format = self.format;
        let output = blocking(move || stdout::open(&destination, format)).await?;
        let (mut rows, analysis) = query.stream(self.args.analyze).await?;
        if let Some(verifier) = verifier {
            rows = verifier.check(rows).await?;
        }
        if is_stdout && io::stdout().is_terminal() {
            rows = display.until_first_rows(rows);
        }
        let progress = Progress::default();
        let done = export::write(rows, output, self.format, &self.options, &progress).await?;
        Ok(Written {
            rows: done.rows,
            bytes: done.bytes,
            files: None,
            analysis,
        })
    }

    /// `1,234 rows, 5.60 MB in 0.8 s -> out.parquet`; nothing where the rows themselves are seen.
    fn summary_line(&self, written: &Written, elapsed: Duration) -> Option<String> {
        let rows = HumanCount(written.rows);
        let unit = if written.rows == 1 { "row" } else { "rows" };
        let seconds = elapsed.as_secs_f64();
        let bytes = DecimalBytes(written.bytes);
        match (self.target.path(), written.files) {
            _ if self.format == Format::None => Some(format!("{rows} {unit} in {seconds:.1} s\n")),
            (Some(path), files) => {
                let files = match files {
                    None => String::new(),
                    Some(1) => ", 1 file".to_owned(),
                    Some(files) => format!(", {} files", HumanCount(files as u64)),
                };
                let path = path.display();
                Some(format!(
                    "{rows} {unit}, {bytes}{files} in {seconds:.1} s -> {path}\n"
                ))
            }
            _ => None,
        }
    }
}

/// Whether many files are wanted: a name that ends in `/`, or a folder that is there.
fn is_folder(path: &Path) -> bool {
    path.as_os_str().as_encoded_bytes().ends_with(b"/") || path.is_dir()
}

fn folder_of(path: &Path, format: Format, args: &args::Query) -> Result<Folder, Error> {
    for (is_given, flag) in [
        (args.verify.is_some(), "--verify"),
        (args.analyze, "--analyze"),
    ] {
        if is_given {
            let error = Error::new(
                ErrorKind::Config,
                format!("{flag} goes with one output, not a folder"),
            );
            return Err(error.with_hint(format!("leave out {flag}, or name a file with --output")));
        }
    }
    let mut folder = Folder::new(path, format)
        .with_partition_by(args.partition_by.iter().cloned())
        .with_resume(args.resume);
    if let Some(rows) = args.file_rows {
        folder = folder.with_file_rows(rows as u64);
    }
    if let Some(bytes) = args.file_bytes {
        folder = folder.with_file_bytes(bytes as u64);
    }
    Ok(folder)
}

/// Finds flags that make no sense for one output.
fn check_one_file(
    destination: &Destination,
    format: Format,
    args: &args::Query,
) -> Result<(), Error> {
    for (is_given, flag) in [
        (args.file_rows.is_some(), "--file-rows"),
        (args.file_bytes.is_some(), "--file-bytes"),
        (!args.partition_by.is_empty(), "--partition-by"),
        (args.resume, "--resume"),
    ] {
        if is_given {
            let error = Error::new(
                ErrorKind::Config,
                format!("{flag} is for a folder of files"),
            );
            return Err(error.with_hint("name a folder: -o FOLDER/, with a slash at its end"));
        }
    }
    let Destination::Path(path) = destination else {
        return Ok(());
    };
    if let Some(named) = Format::from_path(path).ok()
        && !is_like(named, format)
        && format != Format::None
    {
        complain(&format!(
            "merganser: warning: {} is written as {format}, not {named}: --format says so\n",
            path.display()
        ));
    }
    // The library says so too, but only once the shards have been asked.
    if format == Format::None {
        let error = Error::new(ErrorKind::Config, "format none writes no file");
        return Err(error.with_hint("leave out --output, or choose another format"));
    }
    Ok(())
}

/// How the types with several mappings are read for a format.
pub(crate) fn types_of(format: Format) -> TypeOptions {
    let (numeric, unrepresentable) = match format {
        Format::Table | Format::Csv => (NumericAs::Text, Unrepresentable::Text),
        Format::Json | Format::Ndjson => (NumericAs::Text, Unrepresentable::Error),
        _ => (NumericAs::Auto, Unrepresentable::Error),
    };
    TypeOptions {
        numeric,
        unrepresentable,
        ..TypeOptions::default()
    }
}

/// Whether a file of one format may bear the extension of the other: lines of JSON are often called
/// `.json`, and a stream of Arrow `.arrow`.
fn is_like(named: Format, format: Format) -> bool {
    let family = |format| match format {
        Format::Ndjson => Format::Json,
        Format::ArrowStream => Format::Arrow,
        other => other,
    };
    family(named) == family(format)
}

/// What the flags ask for.
enum Asked {
    FanOut(FanOut),
    #[cfg(feature = "datafusion")]
    Planned(Query),
}

#[cfg_attr(not(feature = "datafusion"), allow(unused_variables))]
impl Asked {
    /// The rows, and if wanted a description of the plan with what its steps do. clap lets nobody
    /// want that of a fan-out, nor verify one.
    async fn stream(
        self,
        analyze: bool,
    ) -> Result<(QueryStream, Option<Box<dyn fmt::Display>>), Error> {
        match self {
            Self::FanOut(query) => Ok((query.stream().await?, None)),
            #[cfg(feature = "datafusion")]
            Self::Planned(query) => {
                let (rows, analysis) = query.stream_analyzed().await?;
                Ok((rows, analyze.then(|| Box::new(analysis) as _)))
            }
        }
    }

    fn with_missing_shards(self, missing: &MissingShards) -> Self {
        match self {
            Self::FanOut(query) => Self::FanOut(query.with_missing_shards(missing)),
            #[cfg(feature = "datafusion")]
            Self::Planned(query) => Self::Planned(query.with_missing_shards(missing)),
        }
    }

    fn with_max_skew(self, skew: Duration) -> Self {
        match self {
            Self::FanOut(query) => Self::FanOut(query.with_max_skew(skew)),
            #[cfg(feature = "datafusion")]
            Self::Planned(query) => Self::Planned(query.with_max_skew(skew)),
        }
    }

    fn with_retries(self, retries: u32) -> Self {
        match self {
            Self::FanOut(query) => Self::FanOut(query.with_retries(retries)),
            #[cfg(feature = "datafusion")]
            Self::Planned(query) => Self::Planned(query.with_retries(retries)),
        }
    }

    async fn write_folder(self, folder: &Folder) -> Result<Manifest, Error> {
        match self {
            Self::FanOut(query) => query.write_folder(folder).await,
            #[cfg(feature = "datafusion")]
            Self::Planned(query) => query.write_folder(folder).await,
        }
    }

    fn verifier(&self, url: &str) -> Result<Option<Verifier>, Error> {
        match self {
            Self::FanOut(_) => Ok(None),
            #[cfg(feature = "datafusion")]
            Self::Planned(query) => query.verifier(url).map(Some),
        }
    }
}

/// Nothing is verified without planned queries.
#[cfg(not(feature = "datafusion"))]
enum Verifier {}

#[cfg(not(feature = "datafusion"))]
impl Verifier {
    async fn check(&self, _: QueryStream) -> Result<QueryStream, Error> {
        match *self {}
    }

    fn verified(&self) -> Option<String> {
        match *self {}
    }
}

#[cfg(feature = "datafusion")]
fn reaggregate(query: FanOut, merge_sql: &str) -> Result<FanOut, Error> {
    Ok(query.reaggregate(merge_sql))
}

#[cfg(not(feature = "datafusion"))]
fn reaggregate(_: FanOut, _: &str) -> Result<FanOut, Error> {
    Err(statement::without_datafusion("it has no --merge-sql"))
}
