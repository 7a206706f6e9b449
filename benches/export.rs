//! TPC-H's `lineitem`, from four servers into a file of each format: time, CPU time and, above
//! all, memory, which must not grow with the table. And rows like these without servers, into Parquet
//! on one processor and on two: what encoding alone gains of a second one.
//!
//! The argument `servers` or `replay` picks one of the two. See `benches/README.md`.

#[path = "support/cost.rs"]
mod cost;
#[path = "support/replay.rs"]
mod replay;
#[path = "support/report.rs"]
mod report;
#[path = "support/shards.rs"]
mod shards;

use std::env;
use std::path::Path;
use std::process::{Command, Stdio};

use cost::{Cost, Result};
use merganser::export::{self, Destination, ExportOptions, Format};
use merganser::{Order, QueryStream};
use shards::Shards;

const ONCE: &str = "select * from lineitem";
const THRICE: &str = "select l.* from lineitem l, generate_series(1, 3)";
/// The name of the file, which gives its format, and the query.
const CASES: [(&str, &str); 5] = [
    ("lineitem.parquet", ONCE),
    ("lineitem.csv", ONCE),
    ("lineitem.arrow", ONCE),
    ("lineitem.ndjson", ONCE),
    ("thrice.parquet", THRICE),
];

/// In place of a query: so many rows of the replay.
const REPLAY: &str = "replay";

fn main() -> Result<()> {
    if let Some(arguments) = cost::child_arguments() {
        return match arguments.as_slice() {
            [path, source, rows] if source == REPLAY => {
                let rows = rows.parse()?;
                cost::runtime()?.block_on(write_replay(Path::new(path), rows))
            }
            [path, sql, urls @ ..] => cost::runtime()?.block_on(write(Path::new(path), sql, urls)),
            _ => Err("no path and query".into()),
        };
    }
    let wanted = env::args().skip(1).find(|arg| !arg.starts_with('-'));
    let wanted = |name: &str| wanted.as_deref().is_none_or(|wanted| wanted == name);
    if wanted(REPLAY) {
        on_one_processor_and_on_two()?;
    }
    if wanted("servers") {
        from_servers()?;
    }
    Ok(())
}

/// How long the replay takes on one processor, and on two, in turns.
fn on_one_processor_and_on_two() -> Result<()> {
    let (rows, runs) = match report::is_smoke() {
        true => (200_000, 1),
        false => (6_000_000, 5),
    };
    let folder = folder()?;
    let path = folder.path().join("replay.parquet");
    let path = path.to_str().ok_or("a path that is not UTF-8")?;
    let mut rounds = Vec::new();
    for _ in 0..runs {
        let mut round = Vec::new();
        for processors in ["0", "0,1"] {
            let mut child = Command::new("taskset");
            child.args(["-c", processors]).arg(env::current_exe()?);
            child.args([cost::CHILD, path, REPLAY, &rows.to_string()]);
            child.stdout(Stdio::piped());
            round.push(cost::measure(vec![child])?);
            std::fs::remove_file(path)?;
        }
        rounds.push(round);
    }
    let median = |index: usize, value: fn(&Cost) -> f64| {
        report::median(rounds.iter().map(|round| value(&round[index])))
    };
    let ratio = |value: fn(&Cost) -> f64| {
        report::median(
            rounds
                .iter()
                .map(|round| value(&round[1]) / value(&round[0])),
        )
    };
    let wall: fn(&Cost) -> f64 = |cost| cost.wall_seconds;
    let cpu: fn(&Cost) -> f64 = |cost| cost.cpu_seconds;
    let rows: Vec<_> = ["one", "two"]
        .into_iter()
        .enumerate()
        .map(|(index, name)| {
            let ratio = |value| match index {
                0 => "1.00".to_owned(),
                _ => format!("{:.2}", ratio(value)),
            };
            let work = rounds[0][index].work;
            vec![
                name.to_owned(),
                format!("{:.2}", work.rows as f64 / 1e6),
                format!("{:.0}", work.bytes as f64 / 1e6),
                format!("{:.2}", median(index, wall)),
                ratio(wall),
                format!("{:.2}", median(index, cpu)),
                ratio(cpu),
                format!("{:.0}", work.peak_memory_kib as f64 / 1024.0),
            ]
        })
        .collect();
    println!("rows like lineitem's, without servers, into Parquet, {runs} runs, medians\n");
    let header = [
        "processors",
        "M rows",
        "MB",
        "wall s",
        "/ one",
        "CPU s",
        "/ one",
        "peak MiB",
    ];
    report::print_table(&header, &rows);
    Ok(())
}

fn folder() -> Result<tempfile::TempDir> {
    let parent = env::var_os("MERGANSER_BENCH_DIR").unwrap_or_else(|| env::temp_dir().into());
    Ok(tempfile::tempdir_in(parent)?)
}

fn from_servers() -> Result<()> {
    let shards = Shards::start()?;
    let runs = if report::is_smoke() { 1 } else { 3 };
    let folder = folder()?;
    let mut rounds: Vec<Vec<Cost>> = Vec::new();
    for _ in 0..runs {
        let mut round = Vec::new();
        for (name, sql) in CASES {
            let path = folder.path().join(name);
            let path_text = path.to_str().ok_or("a path that is not UTF-8")?;
            round.push(cost::measure_child(&[path_text, sql], &shards.urls)?);
            std::fs::remove_file(&path)?;
        }
        rounds.push(round);
    }
    print(&rounds);
    Ok(())
}

/// What the measured process does.
async fn write(path: &Path, sql: &str, urls: &[String]) -> Result<()> {
    let query = shards::cluster(urls)?.fan_out(sql);
    write_rows(query.with_order(Order::FirstCome).stream().await?, path).await
}

async fn write_replay(path: &Path, rows: usize) -> Result<()> {
    write_rows(replay::lineitem(rows)?, path).await
}

async fn write_rows(stream: QueryStream, path: &Path) -> Result<()> {
    let format = Format::from_path(path)?;
    let output = Destination::from(path.to_owned()).open()?;
    let progress = export::Progress::default();
    let done = export::write(stream, output, format, &ExportOptions::new(), &progress).await?;
    cost::report_work(done.rows, done.bytes)
}

fn print(rounds: &[Vec<Cost>]) {
    let rows: Vec<_> = CASES
        .iter()
        .enumerate()
        .map(|(index, (name, _))| {
            let median = |value: fn(&Cost) -> f64| {
                report::median(rounds.iter().map(|round| value(&round[index])))
            };
            let wall = median(|cost| cost.wall_seconds);
            let work = rounds[0][index].work;
            vec![
                (*name).to_owned(),
                format!("{:.2}", work.rows as f64 / 1e6),
                format!("{:.0}", work.bytes as f64 / 1e6),
                format!("{wall:.2}"),
                format!("{:.2}", median(|cost| cost.cpu_seconds)),
                format!("{:.2}", work.rows as f64 / wall / 1e6),
                format!(
                    "{:.0}",
                    median(|cost| cost.work.peak_memory_kib as f64 / 1024.0)
                ),
            ]
        })
        .collect();
    println!(
        "lineitem from {} servers into a file, {} runs, medians\n",
        shards::SHARDS,
        rounds.len()
    );
    let header = [
        "", "M rows", "MB", "wall s", "CPU s", "M rows/s", "peak MiB",
    ];
    report::print_table(&header, &rows);
}
