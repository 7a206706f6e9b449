//! `merganser demo`: the whole program in fifteen seconds, on servers of its own.

mod servers;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use indicatif::{DecimalBytes, HumanCount, ProgressBar, ProgressStyle};
use merganser::arrow::array::RecordBatch;
use merganser::arrow::record_batch::RecordBatchWriter;
use merganser::export::{
    self, Destination, ExportOptions, Format, Progress, TableWriter, write_error,
};
use merganser::types::TypeOptions;
use merganser::{Cluster, Error, ErrorKind, Topology};
use merganser_local::{Tpch, tpch_topology};
use tempfile::TempDir;

use self::servers::Servers;
use crate::args;
use crate::failure::{Outcome, complain};
use crate::interrupt::{Signals, clean_up};
use crate::progress::rate;
use crate::stdout;
use crate::topology::DEFAULT_FILE;

/// Every digit of a numeric, as psql shows it.
const AS_TEXT: TypeOptions = TypeOptions::LOSSLESS;

/// The name of the database on each server.
const DATABASE: &str = "tpch";

/// The number of orders: on each shard, or in all.
const COUNT: &str =
    "SELECT count(*) AS orders, min(o_orderkey) AS first, max(o_orderkey) AS last FROM orders";
/// TPC-H query 1.
const PRICING: &str = "\
SELECT l_returnflag, l_linestatus, sum(l_quantity) AS qty, sum(l_extendedprice) AS base_price,
       sum(l_extendedprice * (1 - l_discount)) AS disc_price, avg(l_quantity)::numeric(9,2) AS avg_qty,
       count(*) AS orders
FROM lineitem
WHERE l_shipdate <= date '1998-12-01' - interval '90 days'
GROUP BY l_returnflag, l_linestatus
ORDER BY l_returnflag, l_linestatus";

/// TPC-H query 6.
const REVENUE: &str = "\
SELECT sum(l_extendedprice * l_discount) AS revenue
FROM lineitem
WHERE l_shipdate >= date '1994-01-01' AND l_shipdate < date '1995-01-01'
  AND l_discount BETWEEN 0.05 AND 0.07 AND l_quantity < 24";

pub(crate) async fn run(args: args::Demo, signals: Signals) -> Outcome<ExitCode> {
    signals
        .guard(async { Ok(demonstrate(&args).await?) })
        .await?;
    Ok(ExitCode::SUCCESS)
}

async fn demonstrate(args: &args::Demo) -> Result<(), Error> {
    let folder = Folder::new(args.dir.as_deref())?;
    let servers = Servers::start(args.shards).await?;
    let urls = servers.create_databases(DATABASE).await?;
    load(&urls, args.scale).await?;

    let topology = Topology::from_toml(&tpch_topology(&urls))?;
    say(&format!(
        "\n{}: each knows its own rows of orders and lineitem, and all rows of the other tables.\n",
        match args.shards {
            1 => "1 PostgreSQL database".to_owned(),
            n => format!("{n} PostgreSQL databases"),
        },
    ))?;

    let cluster = Cluster::new(topology.clone())?;
    let answered = answer(&cluster, folder.path()).await;
    clean_up(cluster.close()).await;
    answered?;

    if args.keep {
        let config = folder.path().join(DEFAULT_FILE);
        fs::write(&config, topology.to_toml()).map_err(|error| cannot_write(&config, error))?;
        let stop = servers.keep(folder.path(), folder.is_ours())?;
        let folder = folder.keep();
        say(&farewell(&folder, urls.first().map(String::as_str), &stop))
    } else {
        let stays = match folder {
            Folder::Named(path) => format!("The Parquet file stays in {}; the", path.display()),
            Folder::Temporary(_) => "The Parquet file, the".to_owned(),
        };
        say(&format!(
            "\n{stays} servers and their data are removed now. To go on with them: --keep.\n"
        ))
    }
}

/// Fills the databases; shows how far it is on a terminal.
async fn load(urls: &[String], scale: f64) -> Result<(), Error> {
    let bar = ProgressBar::new(0);
    if let Ok(style) =
        ProgressStyle::with_template("loading {msg:<10} {human_pos:>12} of {human_len} rows")
    {
        bar.set_style(style);
    }
    let started = Instant::now();
    let shown = bar.clone();
    let loaded = Tpch::new(scale)
        .with_progress(move |progress| {
            shown.set_message(progress.table);
            shown.set_length(progress.estimated_rows.max(progress.rows));
            shown.set_position(progress.rows);
        })
        .load(urls)
        .await;
    bar.finish_and_clear();
    let rows = loaded
        .map_err(servers::of_local)?
        .tables()
        .map(|(_, rows)| rows)
        .sum();
    complain(&format!(
        "loaded TPC-H at scale factor {scale}: {} rows in {}\n",
        HumanCount(rows),
        seconds(started.elapsed()),
    ));
    Ok(())
}

/// Asks the cluster a few questions and prints the answers.
async fn answer(cluster: &Cluster, folder: &Path) -> Result<(), Error> {
    let title = "How many orders? One row from each shard.";
    ask(title, COUNT, cluster.fan_out(COUNT).collect()).await?;
    #[cfg(feature = "datafusion")]
    for (title, sql) in [
        ("And in all? The same, as if it were one database.", COUNT),
        ("TPC-H query 1.", PRICING),
        ("TPC-H query 6: revenue.", REVENUE),
    ] {
        // As psql shows it: all digits of a numeric.
        ask(title, sql, cluster.query(sql).with_types(AS_TEXT).collect()).await?;
    }
    #[cfg(not(feature = "datafusion"))]
    for (title, sql) in [
        ("TPC-H query 1: the answer of each shard.", PRICING),
        ("TPC-H query 6: the revenue of each shard.", REVENUE),
    ] {
        ask(
            title,
            sql,
            cluster.fan_out(sql).with_types(AS_TEXT).collect(),
        )
        .await?;
    }
    export_lineitem(cluster, folder).await
}

/// Runs a query, and prints it with its answer and the time that it took.
async fn ask(
    title: &str,
    sql: &str,
    answer: impl Future<Output = Result<Vec<RecordBatch>, Error>>,
) -> Result<(), Error> {
    let started = Instant::now();
    let batches = answer.await?;
    let elapsed = started.elapsed();
    let mut text = format!("\n== {title}\n\n{}\n", indent(sql));
    text.push('\n');
    text.push_str(&table(&batches)?);
    text.push_str(&format!("{}\n", seconds(elapsed)));
    say(&text)
}

async fn export_lineitem(cluster: &Cluster, folder: &Path) -> Result<(), Error> {
    const SQL: &str = "SELECT * FROM lineitem";
    let path = folder.join("lineitem.parquet");
    let started = Instant::now();
    let output = Destination::Path(path.clone()).open()?;
    let rows = cluster.fan_out(SQL).stream().await?;
    let (options, progress) = (ExportOptions::new(), Progress::default());
    let summary = export::write(rows, output, Format::Parquet, &options, &progress).await?;
    let elapsed = started.elapsed();
    say(&format!(
        "\n== The rows of all shards as one Parquet file\n\n{}\n\n{} rows, {} in {} ({} rows/s, {}/s) -> {}\n",
        indent(SQL),
        HumanCount(summary.rows),
        DecimalBytes(summary.bytes),
        seconds(elapsed),
        HumanCount(rate(summary.rows, elapsed)),
        DecimalBytes(rate(summary.bytes, elapsed)),
        path.display(),
    ))
}

/// Rows as the format `table` shows them.
fn table(batches: &[RecordBatch]) -> Result<String, Error> {
    let mut bytes = Vec::new();
    let Some(first) = batches.first() else {
        return Ok("(0 rows)\n".to_owned());
    };
    let mut writer = TableWriter::new(&mut bytes, first.schema());
    batches
        .iter()
        .try_for_each(|batch| writer.write(batch))
        .and_then(|()| writer.close())
        .map_err(|error| {
            Error::new(ErrorKind::Export, "cannot print a table").with_source(error)
        })?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// What to try on servers that were kept: commands that work word for word.
fn farewell(folder: &Path, url: Option<&str>, stop: &str) -> String {
    let program = program();
    let config = quote(&folder.join(DEFAULT_FILE).to_string_lossy());
    let file = quote(&folder.join("orders.parquet").to_string_lossy());
    // Without the planner every shard answers for itself.
    let (query, explain) = match cfg!(feature = "datafusion") {
        true => (format!("{program} query -c {config}"), true),
        false => (format!("{program} query -c {config} --fan-out"), false),
    };
    let statement = "'SELECT o_orderstatus, count(*) FROM orders GROUP BY 1 ORDER BY 1'";
    let mut text = format!("\nThe servers go on running. Try:\n\n  {query} {statement}\n");
    if explain {
        text.push_str(&format!("  {program} explain -c {config} {statement}\n"));
    }
    text.push_str(&format!(
        "  {query} -o {file} 'SELECT * FROM orders JOIN customer ON c_custkey = o_custkey'\n"
    ));
    if let Some(url) = url {
        text.push_str(&format!("  psql {}\n", quote(url)));
    }
    text.push_str(&format!(
        "\nStop them and remove what they hold:\n\n  {stop}\n"
    ));
    text
}

/// How this program is called: by its name if that finds it, else by its path.
fn program() -> String {
    let Ok(this) = env::current_exe().and_then(fs::canonicalize) else {
        return "merganser".to_owned();
    };
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path)
        .map(|folder| folder.join("merganser"))
        .find(|candidate| candidate.is_file());
    match found.and_then(|found| fs::canonicalize(found).ok()) {
        Some(found) if found == this => "merganser".to_owned(),
        _ => quote(&this.to_string_lossy()),
    }
}

/// One word for a POSIX shell.
fn quote(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-:@%+=".contains(c);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

/// Where the files of the demo go.
enum Folder {
    /// The user's, which stays.
    Named(PathBuf),
    /// Ours, which goes unless it is kept.
    Temporary(TempDir),
}

impl Folder {
    fn new(named: Option<&Path>) -> Result<Self, Error> {
        let Some(path) = named else {
            return tempfile::Builder::new()
                .prefix("merganser-demo-")
                .tempdir()
                .map(Self::Temporary)
                .map_err(|error| cannot_write(&env::temp_dir(), error));
        };
        // Commands that are printed must work from any folder.
        let made = fs::create_dir_all(path).and_then(|()| fs::canonicalize(path));
        let path = made.map_err(|error| cannot_write(path, error))?;
        let config = path.join(DEFAULT_FILE);
        if config.exists() {
            return Err(
                Error::new(ErrorKind::Config, format!("{} exists", config.display()))
                    .with_hint("give another --dir; the demo replaces no topology file"),
            );
        }
        Ok(Self::Named(path))
    }

    fn path(&self) -> &Path {
        match self {
            Self::Named(path) => path,
            Self::Temporary(folder) => folder.path(),
        }
    }

    fn is_ours(&self) -> bool {
        matches!(self, Self::Temporary(_))
    }

    fn keep(self) -> PathBuf {
        match self {
            Self::Named(path) => path,
            Self::Temporary(folder) => folder.keep(),
        }
    }
}

fn cannot_write(path: &Path, error: std::io::Error) -> Error {
    write_error(path.display(), error)
}

fn say(text: &str) -> Result<(), Error> {
    stdout::write(text.as_bytes())
}

fn indent(sql: &str) -> String {
    let lines: Vec<_> = sql.lines().map(|line| format!("    {line}")).collect();
    lines.join("\n")
}

fn seconds(elapsed: Duration) -> String {
    match elapsed.as_millis() {
        0..1_000 => format!("{} ms", elapsed.as_millis()),
        _ => format!("{:.1} s", elapsed.as_secs_f64()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_for_a_shell_only_where_they_must_be() {
        assert_eq!(quote("/tmp/a-1.toml"), "/tmp/a-1.toml");
        assert_eq!(quote("a b"), "'a b'");
        assert_eq!(quote("it's"), r"'it'\''s'");
        assert_eq!(quote(""), "''");
    }

    #[test]
    fn a_topology_file_in_the_folder_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Folder::new(Some(folder.path())).is_ok());
        fs::write(folder.path().join(DEFAULT_FILE), "").unwrap();
        assert!(Folder::new(Some(folder.path())).is_err());
    }
}
