//! TPC-H's `lineitem`, from four servers into a file of each format: time, CPU time and, above
//! all, memory, which must not grow with the table.
//!
//! See `benches/README.md`.

#[path = "support/report.rs"]
mod report;
#[path = "support/shards.rs"]
mod shards;

use std::env;
use std::path::Path;

use merganser::Order;
use merganser::export::{self, Destination, ExportOptions, Format};
use shards::{Cost, Result, Shards};

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

fn main() -> Result<()> {
    if let Some(arguments) = shards::child_arguments() {
        let [path, sql, urls @ ..] = arguments.as_slice() else {
            return Err("no path and query".into());
        };
        return shards::runtime()?.block_on(write(Path::new(path), sql, urls));
    }
    let shards = Shards::start()?;
    let runs = if report::is_smoke() { 1 } else { 3 };
    let parent = env::var_os("MERGANSER_BENCH_DIR").unwrap_or_else(|| env::temp_dir().into());
    let folder = tempfile::tempdir_in(parent)?;
    let mut rounds: Vec<Vec<Cost>> = Vec::new();
    for _ in 0..runs {
        let mut round = Vec::new();
        for (name, sql) in CASES {
            let path = folder.path().join(name);
            let path_text = path.to_str().ok_or("a path that is not UTF-8")?;
            round.push(shards::measure_child(&[path_text, sql], &shards.urls)?);
            std::fs::remove_file(&path)?;
        }
        rounds.push(round);
    }
    print(&rounds);
    Ok(())
}

/// What the measured process does.
async fn write(path: &Path, sql: &str, urls: &[String]) -> Result<()> {
    let format = Format::from_path(path)?;
    let output = Destination::from(path.to_owned()).open()?;
    let stream = shards::cluster(urls)?
        .fan_out(sql)
        .with_order(Order::FirstCome)
        .stream()
        .await?;
    let progress = export::Progress::default();
    let done = export::write(stream, output, format, &ExportOptions::new(), &progress).await?;
    shards::report_work(done.rows, done.bytes)
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
