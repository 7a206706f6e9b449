//! The flags. What they mean is decided elsewhere; here they are named, explained and checked.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use merganser::config::parse_duration;
use merganser::export::{Compression, DuplicateColumns, Format};
use merganser::types::{IntervalAs, NumericAs, Unrepresentable};
use merganser::{Error, Topology};

use crate::params::Params;
use crate::size::parse_bytes;

/// One SQL statement in, many PostgreSQL databases, one table out.
///
/// The databases share nothing and need no extension. Each runs the statement by itself; merganser
/// brings the rows together and writes them as a table, CSV, JSON, Arrow or Parquet. An answer is
/// complete or it is an error: a shard that fails is never left out.
#[derive(Debug, Parser)]
#[command(name = "merganser", version, after_long_help = MAIN_HELP, after_help = "Examples and exit codes: merganser --help")]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Answer one SQL statement as if one database held all rows, or run it on every shard
    #[command(after_long_help = QUERY_HELP, after_help = "Examples, formats and types: merganser query --help")]
    // Boxed: it is much larger than the others.
    Query(Box<Query>),
    /// Show how a statement would be answered, or why it is refused
    #[command(after_long_help = EXPLAIN_HELP, after_help = "Examples: merganser explain --help")]
    Explain(Box<Explain>),
    /// Cut a statement into parts that other processes can read, and keep their snapshots
    #[command(after_long_help = PARTITIONS_HELP, after_help = "Examples: merganser partitions --help")]
    Partitions(Box<Partitions>),
    /// Read one part that merganser partitions has printed
    #[command(after_long_help = PARTITIONS_HELP, after_help = "Examples: merganser read-partition --help")]
    ReadPartition(Box<ReadPartition>),
    /// Compare the shards' tables, and write the topology file
    #[command(after_long_help = inspect_help())]
    Inspect(Inspect),
    /// See it work: throw-away PostgreSQL servers, TPC-H data, a few queries, a Parquet file
    #[command(after_long_help = DEMO_HELP)]
    Demo(Demo),
    /// Print a script that lets a shell complete these commands
    #[command(after_long_help = COMPLETIONS_HELP)]
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// Which databases.
#[derive(Debug, clap::Args)]
pub(crate) struct Shards {
    /// The topology file [default: merganser.toml in this folder]
    #[arg(
        short,
        long,
        value_name = "FILE",
        conflicts_with = "urls",
        help_heading = "Shards"
    )]
    pub(crate) config: Option<PathBuf>,
    /// A database; repeat it for each shard. They are named s0, s1, ...
    ///
    /// A libpq URL or key=value text. What it leaves out comes from the PG* variables, the password
    /// file and the service file, as with psql. Other users of this machine can see a password that
    /// is given here: prefer PGPASSWORD or ~/.pgpass.
    #[arg(long = "shard", value_name = "URL", help_heading = "Shards")]
    pub(crate) urls: Vec<String>,
}

/// The statement and the values of its parameters.
#[derive(Debug, clap::Args)]
pub(crate) struct Statement {
    /// The statement: one SELECT, VALUES, TABLE or WITH; without it and --file it is read from
    /// standard input
    #[arg(conflicts_with = "file")]
    pub(crate) sql: Option<String>,
    /// Read the statement from a file; - is standard input
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) params: Params,
}

/// How a statement is planned.
#[derive(Debug, clap::Args)]
#[cfg_attr(not(feature = "datafusion"), allow(dead_code))]
pub(crate) struct Planning {
    /// How the rows of the shards become one answer
    #[arg(long, value_enum, value_name = "HOW", help_heading = "Planning")]
    pub(crate) merge: Option<Merge>,
    /// Let the first shard answer, of itself, what reads no table of users: version(), pg_catalog,
    /// information_schema
    #[arg(long, help_heading = "Planning")]
    pub(crate) system_catalogs: bool,
    /// How the server that finishes is handed rows [default: as the topology file says; else temporary
    /// for a server of its own, text for a shard]
    #[arg(long, value_enum, value_name = "FORM", help_heading = "Planning")]
    pub(crate) finish_relations: Option<FinishRelations>,
    /// The most rows that all steps of a query may hand to another server as text [default: 1000000]
    #[arg(long, value_name = "N", value_parser = parse_rows, help_heading = "Planning")]
    pub(crate) finish_rows: Option<u64>,
    /// The most bytes of text, or in temporary tables, that handed rows may take, such as 64MiB
    /// [default: 256MiB of text, 16GiB in tables]
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes, help_heading = "Planning")]
    pub(crate) finish_bytes: Option<usize>,
}

/// What is kept from one run to the next.
#[derive(Debug, clap::Args)]
#[cfg_attr(not(feature = "datafusion"), allow(dead_code))]
pub(crate) struct Cache {
    /// Read the catalogs of all shards anew, and keep nothing of them
    ///
    /// Otherwise what they say, no rows and no passwords, is kept in ~/.cache/merganser, and the next run
    /// only asks each shard for a fingerprint of its catalogs. $XDG_CACHE_HOME is honoured,
    /// MERGANSER_CACHE_DIR names another folder. Nobody but you may be able to write there.
    #[arg(long, help_heading = "Planning")]
    pub(crate) no_cache: bool,
}

/// The flags of `merganser explain`.
#[derive(Debug, clap::Args)]
#[cfg_attr(not(feature = "datafusion"), allow(dead_code))]
pub(crate) struct Explain {
    #[command(flatten)]
    pub(crate) statement: Statement,
    #[command(flatten)]
    pub(crate) shards: Shards,
    #[command(flatten)]
    pub(crate) planning: Planning,
    #[command(flatten)]
    pub(crate) cache: Cache,
    /// Run the query too, drop its rows, and show what each step moved and how long it took
    #[arg(long)]
    pub(crate) analyze: bool,
    /// Say of each step what makes it exact, and of each part of the query which merges were judged,
    /// and why they were not taken (JSON always has it)
    #[arg(long)]
    pub(crate) verbose: bool,
    /// Text for people, or JSON for programs
    #[arg(long, value_enum, default_value_t = PlanFormat::Text)]
    pub(crate) format: PlanFormat,
    /// The longest that it may take, such as 30s or 5min [default: no limit]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, value_parser = parse_timeout)]
    pub(crate) timeout: Option<Duration>,
    /// Say of each step whether so many connections would read one shard
    #[arg(long, value_name = "N", value_parser = parse_count)]
    pub(crate) connections_per_shard: Option<usize>,
}

/// The flags of `merganser query`.
#[derive(Debug, clap::Args)]
pub(crate) struct Query {
    #[command(flatten)]
    pub(crate) statement: Statement,
    #[command(flatten)]
    pub(crate) shards: Shards,

    /// Run the text as it is on every shard, and take all rows as they arrive
    ///
    /// This is UNION ALL: each shard counts, sorts and limits only its own rows. Combine partial
    /// results with --merge-sql.
    #[arg(long, conflicts_with_all = ["merge", "system_catalogs", "finish_relations", "finish_rows", "finish_bytes", "no_cache", "analyze", "verify"])]
    pub(crate) fan_out: bool,
    /// Run this SQL, of Apache DataFusion, over the rows of all shards: a table named shards
    #[arg(long, value_name = "SQL", requires = "fan_out")]
    pub(crate) merge_sql: Option<String>,
    #[command(flatten)]
    pub(crate) planning: Planning,
    #[command(flatten)]
    pub(crate) cache: Cache,
    /// Show the plan on standard error behind the answer: what each step moved, and in which time
    #[arg(long, help_heading = "Planning")]
    pub(crate) analyze: bool,
    /// Compare the answer with that of this PostgreSQL, which holds all rows; exit code 1 if it differs
    ///
    /// A connection string as --shard takes. The statement runs there with the same settings. Columns,
    /// rows and, where the statement orders, their order have to be equal; floating-point numbers up
    /// to their last digits. A file appears only if they are. Both answers are held in memory.
    #[arg(long, value_name = "URL", help_heading = "Planning")]
    pub(crate) verify: Option<String>,
    /// In which order rows of different shards come, where the statement leaves that open
    /// [default: first-come]
    #[arg(long, value_enum)]
    pub(crate) order: Option<Order>,

    /// Write to this file, which appears only when it is complete; - is standard output. A name that ends
    /// in / is a folder of many files
    ///
    /// In a folder each shard has a file, s0.parquet, or several: see --file-rows, --file-bytes and
    /// --partition-by. _manifest.json, written last, lists them with rows, bytes, SHA-256 and, of Parquet,
    /// the least and greatest values. The folder must not exist, or be empty.
    #[arg(short, long, value_name = "FILE", help_heading = "Output")]
    pub(crate) output: Option<PathBuf>,
    /// The most rows of a file, in a folder
    #[arg(long, value_name = "N", value_parser = parse_count, help_heading = "Folder")]
    pub(crate) file_rows: Option<usize>,
    /// About the most bytes of a file, in a folder, such as 256MiB
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes, help_heading = "Folder")]
    pub(crate) file_bytes: Option<usize>,
    /// Folders for the values of this column, country=DE/s0-00000.parquet; repeat it for folders within
    ///
    /// As Hive, Spark, DuckDB and pyarrow read them: the files do not have the column, NULL is
    /// __HIVE_DEFAULT_PARTITION__. At most 64 files of a shard are open at a time: with more values than
    /// that, order by the column, or a value gets several files.
    #[arg(long, value_name = "COLUMN", help_heading = "Folder")]
    pub(crate) partition_by: Vec<String>,
    /// Go on where an export of the same statement into the same folder stopped
    ///
    /// Shards that are complete are not read again, the others from their beginning; so the shards' rows may
    /// be of moments that are far apart. Refused for another statement, topology or format, for files that
    /// have changed, and where shards cannot be read apart (merges, statements that read the clock).
    #[arg(long, help_heading = "Folder")]
    pub(crate) resume: bool,
    /// The format [default: by the file's extension; table on a terminal; else csv]
    #[arg(long, value_parser = formats(), help_heading = "Output")]
    pub(crate) format: Option<Format>,
    /// How Parquet or Arrow is compressed [default: zstd for Parquet, none for Arrow]
    #[arg(long, value_parser = compressions(), help_heading = "Output")]
    pub(crate) compression: Option<Compression>,
    /// The most rows of one Parquet row group [default: 1048576]
    #[arg(long, value_name = "N", value_parser = parse_count, help_heading = "Output")]
    pub(crate) row_group_rows: Option<usize>,
    /// What a numeric without precision becomes: decimal(p,s), text or float64
    ///
    /// By default decimal(38,20), and text where text is written anyway (table, csv, json, ndjson
    /// without --merge-sql). A value that does not fit is an error, never rounded. Of decimals of more
    /// than 38 digits DuckDB makes doubles, and Polars does not open such Parquet files.
    #[arg(long, value_name = "TYPE", value_parser = parse_hinted::<NumericAs>, help_heading = "Output")]
    pub(crate) numeric: Option<NumericAs>,
    /// What becomes of a value that Arrow cannot hold, such as an infinite date or a numeric NaN
    ///
    /// By default error, and text where psql would show text (table and csv without
    /// --merge-sql).
    #[arg(long, value_name = "HOW", value_parser = unrepresentables(), help_heading = "Output")]
    pub(crate) unrepresentable: Option<Unrepresentable>,
    /// What an interval becomes: month-day-nano (Arrow's own, which Parquet does not have) or text
    ///
    /// By default month-day-nano; table, csv, json and ndjson show its text anyway.
    #[arg(long, value_name = "TYPE", value_parser = intervals(), help_heading = "Output")]
    pub(crate) interval: Option<IntervalAs>,
    /// What becomes of columns of one name [default: error in json and parquet; else they stay]
    #[arg(long, value_name = "HOW", value_parser = duplicates(), help_heading = "Output")]
    pub(crate) duplicate_columns: Option<DuplicateColumns>,
    /// Put a ' before what a spreadsheet would compute when it opens the CSV file
    ///
    /// Texts and names of columns that begin with =, +, -, @, a tab, CR or LF, and are no numbers (OWASP,
    /// "CSV Injection"). That changes the data: for files that people open, not for programs.
    #[arg(long, help_heading = "Output")]
    pub(crate) csv_escape_formulas: bool,
    /// Show neither progress nor a summary; errors are still shown
    #[arg(short, long, help_heading = "Output")]
    pub(crate) quiet: bool,

    /// The longest that the whole query may take, such as 30s or 5min [default: no limit]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, value_parser = parse_timeout, help_heading = "Limits")]
    pub(crate) timeout: Option<Duration>,
    /// The memory for rows on their way and for the merge, such as 1GiB or 256MB
    ///
    /// A row that is longer than a quarter of it, and than 1 MiB, is refused.
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes, help_heading = "Limits")]
    pub(crate) memory: Option<usize>,
    /// The most connections to one shard at a time; a table is read by as many, in ranges of its blocks
    ///
    /// They see one snapshot, and the rows of a shard come in any order. merganser explain says where one
    /// connection reads all the same: small tables, joins, ORDER BY, LIMIT, PostgreSQL before 14, ...
    #[arg(long, value_name = "N", value_parser = parse_count, help_heading = "Limits")]
    pub(crate) connections_per_shard: Option<usize>,
    /// How often a shard's query may run again when its connection is lost before its first rows [default: 3, and 0 with --fan-out]
    ///
    /// On another server of the shard if it has replicas or several hosts; after short pauses. Standard error
    /// tells what ran again. 0 makes every loss an error.
    #[arg(long, value_name = "N", help_heading = "Limits")]
    pub(crate) retries: Option<u32>,
    /// Read all shards within this time, such as 50ms, or refuse; standard error tells the time that it was
    ///
    /// All snapshots are taken between two readings of one clock, whatever read_fence in the topology allows.
    /// What it was is in the metadata of Parquet and Arrow files, too, under merganser.read_fence.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, value_parser = parse_timeout, help_heading = "Limits")]
    pub(crate) max_skew: Option<Duration>,
    /// Answer without the shards that cannot be reached, and name them on standard error
    ///
    /// Also in the metadata of Parquet and Arrow files, under merganser.missing_shards. Only where the
    /// rows of each shard are final: what would combine, gather or finish rows is refused. A shard that
    /// is lost behind its first row is an error all the same, as are a refused login and an error in the
    /// query.
    #[arg(long, conflicts_with_all = ["merge_sql", "verify"], help_heading = "Limits")]
    pub(crate) allow_missing_shards: bool,
}

/// The flags of `merganser partitions`.
#[derive(Debug, clap::Args)]
#[cfg_attr(not(feature = "datafusion"), allow(dead_code))]
pub(crate) struct Partitions {
    #[command(flatten)]
    pub(crate) statement: Statement,
    #[command(flatten)]
    pub(crate) shards: Shards,
    #[command(flatten)]
    pub(crate) cache: Cache,
    /// Cut the text as it is on every shard, and not as if one database held all rows
    #[arg(long)]
    pub(crate) fan_out: bool,
    /// Write the descriptors to this file, one a line, and not to standard output
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// How long the snapshots are kept at most, such as 30min [default: 6h]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, value_parser = parse_timeout)]
    pub(crate) lease: Option<Duration>,
    /// About how much of a table one part has, such as 256MiB [default: 64MiB]
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    pub(crate) partition_bytes: Option<usize>,
    /// Say nothing on standard error but errors
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// The flags of `merganser read-partition`.
#[derive(Debug, clap::Args)]
#[cfg_attr(not(feature = "datafusion"), allow(dead_code))]
pub(crate) struct ReadPartition {
    /// The descriptor, one line of what merganser partitions printed; without it, or for -, it is read
    /// from standard input
    pub(crate) partition: Option<String>,
    #[command(flatten)]
    pub(crate) shards: Shards,
    /// Write to this file, which appears only when it is complete; - is standard output
    #[arg(short, long, value_name = "FILE", help_heading = "Output")]
    pub(crate) output: Option<PathBuf>,
    /// The format [default: by the file's extension; else csv]
    #[arg(long, value_parser = formats(), help_heading = "Output")]
    pub(crate) format: Option<Format>,
    /// How Parquet or Arrow is compressed [default: zstd for Parquet, none for Arrow]
    #[arg(long, value_parser = compressions(), help_heading = "Output")]
    pub(crate) compression: Option<Compression>,
    /// The longest that it may take, such as 30s or 5min [default: no limit]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, value_parser = parse_timeout)]
    pub(crate) timeout: Option<Duration>,
}

/// The flags of `merganser inspect`.
#[derive(Debug, clap::Args)]
pub(crate) struct Inspect {
    #[command(flatten)]
    pub(crate) shards: Shards,
    /// The column by which a table is split over the shards; repeat it for each such table
    #[arg(long = "shard-key", value_name = "TABLE=COLUMN", value_parser = parse_shard_key)]
    pub(crate) shard_keys: Vec<(String, String)>,
    /// Write the topology file. Reads all rows, as --verify does: it has only what they bear out
    #[arg(long, value_name = "FILE")]
    pub(crate) write: Option<PathBuf>,
    /// Replace that file if it exists: it may hold what was written by hand
    #[arg(long, requires = "write")]
    pub(crate) force: bool,
    /// Read all rows of all tables, where otherwise samples of those over 1,000,000 rows have to do
    #[arg(long)]
    pub(crate) verify: bool,
}

/// The flags of `merganser demo`.
#[derive(Debug, clap::Args)]
pub(crate) struct Demo {
    /// How many PostgreSQL servers to start
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=32))]
    pub(crate) shards: u8,
    /// The TPC-H scale factor: 1 is 6 million rows in lineitem and about 1 GiB in all
    #[arg(long, value_name = "FACTOR", default_value_t = 0.05, value_parser = parse_scale)]
    pub(crate) scale: f64,
    /// Leave the servers running and the files in place, to go on with them
    #[arg(long)]
    pub(crate) keep: bool,
    /// The folder for the topology file and the Parquet file; it stays [default: a temporary one]
    #[arg(long, value_name = "FOLDER")]
    pub(crate) dir: Option<PathBuf>,
}

/// How the rows of the shards become one answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Merge {
    /// The cheapest way that is exact
    Auto,
    /// Collect rows of the sharded tables, and run the statement over them as it is written
    Gather,
}

/// How the server that finishes is handed rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FinishRelations {
    /// Written into its SQL; reads only, and is bounded by memory
    Text,
    /// In temporary tables, for which its role needs the privilege TEMPORARY
    Temporary,
}

/// How a plan is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PlanFormat {
    /// For people
    Text,
    /// One object, with the fields that Plan::to_json of the library documents
    Json,
}

/// In which order rows of different shards come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Order {
    /// As they arrive: no shard waits for another, and the order changes from run to run
    FirstCome,
    /// All rows of the first shard, then all of the second, and so on; later shards wait for their
    /// turn once what they have read fills --memory
    Shard,
}

impl From<Order> for merganser::Order {
    fn from(order: Order) -> Self {
        match order {
            Order::Shard => Self::Shard,
            Order::FirstCome => Self::FirstCome,
        }
    }
}

/// The arguments, in such an order that SQL which begins with a comment, `-- top customers`, is not
/// taken for a flag: behind `--`, or with `=` behind the flag whose value it is.
pub(crate) fn with_comments(arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let (mut flags, mut sql): (Vec<OsString>, Vec<OsString>) = (Vec::new(), Vec::new());
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        let before = flags.last_mut();
        match argument.to_str() {
            Some("--") => {
                sql.extend(arguments);
                break;
            }
            Some(text) if begins_with_comment(text) => match before {
                Some(flag) if takes_sql(flag) => {
                    flag.push("=");
                    flag.push(argument);
                }
                _ => sql.push(argument),
            },
            _ => flags.push(argument),
        }
    }
    if !sql.is_empty() {
        flags.push("--".into());
        flags.append(&mut sql);
    }
    flags
}

fn begins_with_comment(argument: &str) -> bool {
    argument
        .strip_prefix("--")
        .is_some_and(|rest| rest.contains('\n') || rest.starts_with(char::is_whitespace))
}

fn takes_sql(flag: &OsStr) -> bool {
    flag == "--merge-sql" || flag == "--param"
}

fn formats() -> impl TypedValueParser<Value = Format> {
    PossibleValuesParser::new([
        PossibleValue::new("table").help("Aligned, for reading"),
        PossibleValue::new("csv").help("What psql --csv prints; NULL is empty, '' is quoted"),
        PossibleValue::new("json").help("One array of objects"),
        PossibleValue::new("ndjson").help("One object per line"),
        PossibleValue::new("arrow").help("Arrow IPC file (Feather 2)"),
        PossibleValue::new("arrow-stream").help("Arrow IPC stream, for a pipe"),
        PossibleValue::new("parquet").help("Apache Parquet"),
        PossibleValue::new("none").help("Nothing: read all rows and count them"),
    ])
    .try_map(|name| name.parse())
}

fn compressions() -> impl TypedValueParser<Value = Compression> {
    PossibleValuesParser::new(["zstd", "snappy", "none"]).try_map(|name| name.parse())
}

fn unrepresentables() -> impl TypedValueParser<Value = Unrepresentable> {
    PossibleValuesParser::new([
        PossibleValue::new("error").help("The query fails, naming the column and the row"),
        PossibleValue::new("null").help("NULL"),
        PossibleValue::new("text").help("The columns of such types become text"),
    ])
    .try_map(|name| name.parse())
}

fn intervals() -> impl TypedValueParser<Value = IntervalAs> {
    PossibleValuesParser::new(["month-day-nano", "text"]).try_map(|name| name.parse())
}

fn duplicates() -> impl TypedValueParser<Value = DuplicateColumns> {
    PossibleValuesParser::new([
        PossibleValue::new("error").help("The query fails before its first row"),
        PossibleValue::new("rename").help("The second id becomes id_2, the third id_3"),
    ])
    .try_map(|name| name.parse())
}

/// Reads a value of the library, whose errors have a hint.
fn parse_hinted<T: FromStr<Err = Error>>(text: &str) -> Result<T, String> {
    text.parse().map_err(hinted)
}

fn parse_timeout(text: &str) -> Result<Duration, String> {
    match parse_duration(text).map_err(hinted)? {
        Duration::ZERO => Err("expected more than 0; leave it out for no limit".to_owned()),
        timeout => Ok(timeout),
    }
}

fn hinted(error: Error) -> String {
    match error.hint() {
        Some(hint) => format!("{}; {hint}", error.message()),
        None => error.message().to_owned(),
    }
}

fn parse_count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count) if count > 0 => Ok(count),
        _ => Err("expected a whole number from 1".to_owned()),
    }
}

fn parse_rows(text: &str) -> Result<u64, String> {
    text.parse()
        .map_err(|_| "expected a whole number".to_owned())
}

fn parse_scale(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(scale) if (0.001..=100.0).contains(&scale) => Ok(scale),
        _ => Err("expected a number from 0.001 to 100".to_owned()),
    }
}

fn parse_shard_key(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((table, column)) if !table.trim().is_empty() && !column.trim().is_empty() => {
            Ok((table.trim().to_owned(), column.trim().to_owned()))
        }
        _ => Err("expected TABLE=COLUMN, such as orders=o_orderkey".to_owned()),
    }
}

const MAIN_HELP: &str = "\
Examples:
  See it work, with servers that it starts and throws away:
    merganser demo

  The rows of three databases as one Parquet file:
    merganser query --fan-out \\
      --shard postgresql://app@db0/sales --shard postgresql://app@db1/sales \\
      --shard postgresql://app@db2/sales \\
      -o orders.parquet 'SELECT * FROM orders'

  Write a topology file once, then ask as if it were one database:
    merganser inspect --shard postgresql://app@db0/sales --shard postgresql://app@db1/sales \\
      --shard-key orders=o_orderkey --write merganser.toml
    merganser query 'SELECT o_orderstatus, count(*) FROM orders GROUP BY 1 ORDER BY 1'
    merganser explain 'SELECT o_orderstatus, count(*) FROM orders GROUP BY 1 ORDER BY 1'

Environment variables:
  PGHOST, PGPORT, PGUSER, PGPASSWORD, PGDATABASE, PGSSLMODE, ...
                       What a URL leaves out, as with psql; ~/.pgpass and the service file too
  ${NAME} in a URL     Any variable, for instance a password in merganser.toml
  MERGANSER_CACHE_DIR  Where catalogs of shards are kept from run to run [default: merganser in
                       $XDG_CACHE_HOME, or in ~/.cache]; empty keeps nothing, as --no-cache
  MERGANSER_PG_BINDIR  The folder of initdb and postgres, for merganser demo

Exit codes:
  0    Done; also when the reader of the output has gone (merganser ... | head)
  1    A shard, the merge or the output failed; merganser inspect: the shards differ
  2    A flag, the topology file or the SQL text is wrong; nothing was run
  3    Refused: the answer would not be exact, or a bound on rows, bytes or memory was met
  4    A shard cannot be reached, was lost, or does not let us in
  5    The time of --timeout is over
  130  Interrupted by Ctrl-C (143 by SIGTERM, 129 by SIGHUP): queries cancelled, no file left
       behind, but in a folder those of complete shards, for --resume
";

const QUERY_HELP: &str = "\
Examples:
  The answer of one database, from a topology file that says how tables are split:
    merganser query -c merganser.toml 'SELECT count(*) AS n FROM orders'

  One count for each shard, and one for all of them:
    merganser query --fan-out 'SELECT count(*) AS n FROM orders'
    merganser query --fan-out 'SELECT count(*) AS n FROM orders' \\
      --merge-sql 'SELECT sum(n) FROM shards'

  A Parquet file, with parameters:
    merganser query --fan-out -o late.parquet --param 1998-01-01 --param F \\
      'SELECT * FROM orders WHERE o_orderdate >= $1 AND o_orderstatus = $2'

  Is it right? Against a database that holds the rows of all shards:
    merganser query --verify postgresql://app@all/sales -f report.sql

  A file for each shard; and folders by a column, which --resume completes if it was interrupted:
    merganser query -o orders/ 'SELECT * FROM orders'
    merganser query -o by-status/ --partition-by o_orderstatus --resume 'SELECT * FROM orders'

  The statement from a file or a pipe:
    merganser query -f report.sql
    sed 's/2024/2025/' report.sql | merganser query

  Into another program:
    merganser query --fan-out --format arrow-stream -f report.sql | python3 report.py

  How fast the shards deliver:
    merganser query --fan-out --format none 'SELECT * FROM lineitem'

Planned queries:
  Without --fan-out the answer is that of one PostgreSQL that holds all rows: values, types,
  names, and the order where the statement orders. Or the query is refused, with the reason and
  exit code 3. merganser explain shows how it would run.

Output:
  Rows go to standard output or to -o FILE. Extensions: .csv .json .ndjson .jsonl .arrow .feather
  .ipc .arrows .parquet .pq. A file appears under its name when its last byte is on the disk; an
  output that is no regular file (a FIFO, /dev/null) is written in place. With -o FOLDER/, many
  files are written, Parquet unless --format says otherwise; _manifest.json tells that they are
  all there. Progress (rows, bytes, rate, each shard's state) is shown on standard error if it is
  a terminal.

Types:
  csv and table show every value as psql does. Other formats, and --merge-sql, have Arrow types:
  see --numeric and --unrepresentable for the values that need a decision.

Exit codes: see merganser --help
";

const EXPLAIN_HELP: &str = "\
Examples:
  How would it run?
    merganser explain 'SELECT o_orderstatus, avg(o_totalprice) FROM orders GROUP BY 1'

  Where does the time go?
    merganser explain --analyze -f report.sql

  Why is that the right answer, and why does it take no cheaper way?
    merganser explain --verbose -f report.sql

What it shows:
  Whether the answer is EXACT, EXACT up to float summation order (PostgreSQL leaves that open
  too), or REFUSED; the merge, from the cheapest: Single, Union, Ordered, Combine, Gather; why no
  cheaper one would be right; then every step with its shards, its SQL, its merge (DataFusion's
  with its plan) and what moves to other servers. With --verbose also what makes each step exact,
  such as that two tables are joined by the equality of their shard keys, and how every merge was
  judged. The plan, or the refusal, goes to standard output. Exit code 3 for a refusal.
";

const PARTITIONS_HELP: &str = "\
Examples:
  Cut a table, and read four parts at a time, here or on other machines with the same topology
  file:
    work=$(mktemp -d)
    merganser partitions -o $work/parts 'SELECT * FROM lineitem' &
    until [ -e $work/parts ]; do kill -0 %1 && sleep 1 || break; done
    split -l 1 -a 5 $work/parts $work/part-
    ls $work/part-* |
      xargs -P 4 -I {} sh -c 'merganser read-partition -o \"$1.parquet\" <\"$1\"' sh {}
    kill %1

What it does:
  A connection to each shard takes a snapshot, locks the table against being rewritten, and stays
  open until Ctrl-C, SIGTERM or the end of --lease. Meanwhile the parts, ranges of the table's
  blocks, have each row once, whatever others write. A statement that cannot be cut so (joins,
  DISTINCT, PostgreSQL before 14) has one part for each shard; one whose rows are merged is
  refused. A descriptor holds the statement with its values, and nothing of a connection. It is
  sealed with MERGANSER_PARTITION_KEY, if that is set: who reads it runs its SQL, so set it where
  others could write descriptors.

Environment variables:
  MERGANSER_PARTITION_KEY  The key of the seal, any text; the same for both commands
";

/// The help on `inspect`, with the reference of the file that it writes.
fn inspect_help() -> String {
    format!(
        "{INSPECT_HELP}\nThe topology file:\n{}",
        Topology::REFERENCE
    )
}

const INSPECT_HELP: &str = "\
Examples:
  What is where:
    merganser inspect --shard postgresql://app@db0/sales --shard postgresql://app@db1/sales

  Write the topology file:
    merganser inspect --shard postgresql://app@db0/sales --shard postgresql://app@db1/sales \\
      --shard-key orders=o_orderkey --shard-key lineitem=l_orderkey --write merganser.toml

  Is the file right, and do the shards still agree? First of all, and after each load:
    merganser inspect -c merganser.toml --verify

Checks:
  Replicated tables have the same rows everywhere; no key of a sharded table is on two shards,
  NULL neither; tables of one colocation group have equal keys on the same shard; every row is on
  the shard that shard_index says. Catalogs are compared where answers depend on them. What is
  wrong is listed under \"drift\", with shards and a few keys, and the exit code is 1; warnings
  leave it at 0.

The written file:
  What nobody declared is guessed, and written only if all rows bear it out; a comment says so.
  The rest is left as comments with the reason. A shard_index is written only if at least 100
  keys, and 10 on each shard, follow it. Where row security hides rows, nothing is guessed.
  A topology is also edited by hand, so a file that exists is replaced only with --force
  (merganser query -o replaces, because a result can be asked for again). A file with a password
  in it is readable for its owner only.
";

const DEMO_HELP: &str = "\
Needs the PostgreSQL server programs (initdb, postgres) on this machine, and nothing else: no
running server, no settings. Everything is removed at the end, on Ctrl-C too, unless --keep is
given.
";

const COMPLETIONS_HELP: &str = "\
Examples:
  bash:  merganser completions bash > ~/.local/share/bash-completion/completions/merganser
  zsh:   merganser completions zsh > ~/.zfunc/_merganser      (a folder in your fpath)
  fish:  merganser completions fish > ~/.config/fish/completions/merganser.fish
";

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn query(line: &str) -> Result<Query, clap::Error> {
        let line = ["merganser", "query"].into_iter().chain(line.split(' '));
        Cli::try_parse_from(line).map(|cli| match cli.command {
            Command::Query(query) => *query,
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn the_flags_do_not_contradict_each_other() {
        Cli::command().debug_assert();
    }

    /// A terminal is narrower than that, or as wide: clap would break the lines once more.
    #[test]
    fn help_that_is_broken_by_hand_is_not_broken_again() {
        let mut command = Cli::command().term_width(100);
        let help = command.find_subcommand_mut("inspect").unwrap();
        let help = help.render_long_help().to_string();
        assert!(help.contains(Topology::REFERENCE), "{help}");
        for text in [
            MAIN_HELP,
            QUERY_HELP,
            EXPLAIN_HELP,
            PARTITIONS_HELP,
            INSPECT_HELP,
            DEMO_HELP,
        ] {
            for line in text.lines() {
                assert!(line.len() < 100, "{line}");
            }
        }
    }

    #[test]
    fn every_format_of_the_library_can_be_named() {
        let command = Cli::command();
        let query = command.find_subcommand("query").unwrap();
        let format = query.get_arguments().find(|arg| arg.get_id() == "format");
        for value in format.unwrap().get_possible_values() {
            assert!(value.get_name().parse::<Format>().is_ok(), "{value:?}");
        }
    }

    #[test]
    fn values_are_checked() {
        let args =
            query("--fan-out --memory 1GiB --timeout 30s --numeric decimal(20,4) q").unwrap();
        assert_eq!(args.memory, Some(1 << 30));
        assert_eq!(args.timeout, Some(Duration::from_secs(30)));
        assert!(args.order.is_none());
        for bad in [
            "--format xml q",
            "--timeout 30 q",
            "--timeout 0 q",
            "--memory lots q",
            "--numeric decimal(99,1) q",
            "--row-group-rows 0 q",
            "-c a --shard b q",
            "-f a q",
            "--merge-sql m q",
            "--fan-out --merge gather q",
            "--fan-out --analyze q",
            "--fan-out --verify postgresql://h/d q",
            "--merge union q",
            "--finish-rows many q",
            "--finish-bytes 0 q",
            "-o out/ --file-rows 0 q",
            "-o out/ --file-bytes none q",
        ] {
            let error = query(bad).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{bad}");
        }
    }

    #[test]
    fn a_statement_that_begins_with_a_comment_is_no_flag() {
        for (line, sql, fan_out) in [
            (
                "-- top customers\nselect 1",
                "-- top customers\nselect 1",
                false,
            ),
            ("--top\nselect 1|--fan-out", "--top\nselect 1", true),
            ("--fan-out|-- x|-c|file", "-- x", true),
            ("--|-- x", "-- x", false),
        ] {
            let line = ["merganser", "query"].into_iter().chain(line.split('|'));
            let cli = Cli::try_parse_from(with_comments(line.map(OsString::from))).unwrap();
            let Command::Query(query) = cli.command else {
                panic!("{sql:?}")
            };
            assert_eq!(query.statement.sql.as_deref(), Some(sql));
            assert_eq!(query.fan_out, fan_out, "{sql:?}");
        }
        let line = [
            "merganser",
            "query",
            "--fan-out",
            "--merge-sql",
            "-- m\nselect 2",
            "q",
        ];
        let cli = Cli::try_parse_from(with_comments(line.map(OsString::from))).unwrap();
        let Command::Query(query) = cli.command else {
            panic!("no query")
        };
        assert_eq!(query.merge_sql.as_deref(), Some("-- m\nselect 2"));
        let flags = ["merganser", "query", "--fanout", "--x=a b", "q"].map(OsString::from);
        assert_eq!(with_comments(flags.clone()), flags);
    }

    #[test]
    fn a_shard_key_is_a_table_and_a_column() {
        let key = parse_shard_key("sales.orders=o_orderkey").unwrap();
        assert_eq!(key, ("sales.orders".to_owned(), "o_orderkey".to_owned()));
        assert!(parse_shard_key("orders").is_err());
        assert!(parse_shard_key("orders=").is_err());
    }
}
