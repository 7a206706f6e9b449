//! `merganser query`.

use std::fmt;
use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use indicatif::{DecimalBytes, HumanCount};
use merganser::export::{self, Destination, ExportOptions, Format, Progress, Summary};
use merganser::types::{NumericAs, TypeOptions, Unrepresentable};
use merganser::{Cluster, Error, ErrorKind, FanOut, MissingShards, QueryStream, ScanProgress};
#[cfg(feature = "datafusion")]
use merganser::{Query, Verifier};

use crate::args;
use crate::failure::{Outcome, complain, printable};
use crate::interrupt::{Signals, clean_up};
use crate::progress::Display;
use crate::statement::{self, blocking};
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
        if let Destination::Path(path) = &destination
            && let Some(named) = Format::from_path(path).ok()
            && !is_like(named, format)
            && format != Format::None
        {
            complain(&format!(
                "merganser: warning: {} is written as {format}, not {named}: --format says so\n",
                path.display()
            ));
        }
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
        if let Some(duplicates) = args.duplicate_columns {
            options = options.with_duplicate_columns(duplicates);
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
        let topology = topology::load(&self.args.shards)?;
        if !self.args.fan_out {
            statement::check_tables(&topology)?;
        }
        let builder = Cluster::builder(topology);
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
        let display = Display::new(scan, self.args.quiet);
        let started = Instant::now();
        let verifier = self.verifier(&query)?;
        let (summary, analysis) = tokio::select! {
            written = self.write(query, verifier.as_ref(), &display) => written?,
            never = display.run() => match never {},
        };
        display.clear();
        for error in missing.errors() {
            complain(&format!(
                "merganser: warning: not in the answer: {}\n",
                printable(&error.to_string())
            ));
        }
        if !self.args.quiet
            && let Some(line) = self.summary_line(summary, started.elapsed())
        {
            complain(&line);
        }
        if let Some(verified) = verifier.and_then(|verifier| verifier.verified()) {
            complain(&format!("verified: {verified}\n"));
        }
        if let Some(analysis) = analysis {
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
        let (numeric, unrepresentable) = match format {
            Format::Table | Format::Csv => (NumericAs::Text, Unrepresentable::Text),
            Format::Json | Format::Ndjson => (NumericAs::Text, Unrepresentable::Error),
            _ => (NumericAs::Auto, Unrepresentable::Error),
        };
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
        }
    }

    async fn write(
        &self,
        query: Asked,
        verifier: Option<&Verifier>,
        display: &Display,
    ) -> Result<(Summary, Option<Box<dyn fmt::Display>>), Error> {
        // On a thread of its own: a device, or a file of another machine, may take its time.
        let destination = self.destination.clone();
        let output = blocking(move || destination.open()).await?;
        let (mut rows, analysis) = query.stream(self.args.analyze).await?;
        if let Some(verifier) = verifier {
            rows = verifier.check(rows).await?;
        }
        if self.destination == Destination::Stdout && io::stdout().is_terminal() {
            rows = display.until_first_rows(rows);
        }
        let summary = export::write(
            rows,
            output,
            self.format,
            &self.options,
            &Progress::default(),
        )
        .await?;
        Ok((summary, analysis))
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
