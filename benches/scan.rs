//! All rows of TPC-H's `lineitem`, all its columns and two of them, from four servers to Arrow, next to
//! four `psql` that throw the same bytes away.
//!
//! What is measured runs in processes of its own, in turns, so that memory and CPU time are its
//! own and a busy machine slows down all alike. An argument picks the statements that contain it. See
//! `benches/README.md`.

#[path = "support/cost.rs"]
mod cost;
#[path = "support/report.rs"]
mod report;
#[path = "support/shards.rs"]
mod shards;

use std::env;

use cost::{Cost, Result};
use futures::TryStreamExt;
use merganser::{Order, ScanProgress};
use shards::Shards;

/// Wide rows and narrow ones.
const STATEMENTS: [&str; 2] = [
    "select * from lineitem",
    "select l_orderkey, l_extendedprice from lineitem",
];
/// The floor, and what is compared with it.
const MODES: [&str; 3] = ["psql", "stream", "collect"];

fn main() -> Result<()> {
    if let Some(arguments) = cost::child_arguments() {
        let [mode, sql, urls @ ..] = &*arguments else {
            return Err("no mode, or no statement".into());
        };
        return cost::runtime()?.block_on(read(mode, sql, urls));
    }
    let filter = env::args().skip(1).find(|arg| !arg.starts_with('-'));
    let filter = filter.unwrap_or_default();
    let shards = Shards::start()?;
    let runs = if report::is_smoke() { 1 } else { 5 };
    for sql in STATEMENTS.iter().filter(|sql| sql.contains(&filter)) {
        // Once unmeasured: from then on the tables are in memory.
        run("psql", sql, &shards.urls)?;
        let mut rounds = Vec::new();
        for _ in 0..runs {
            let costs = MODES.iter().map(|mode| run(mode, sql, &shards.urls));
            rounds.push(costs.collect::<Result<Vec<Cost>>>()?);
        }
        print(sql, &rounds);
    }
    Ok(())
}

fn run(mode: &str, sql: &str, urls: &[String]) -> Result<Cost> {
    if mode != "psql" {
        return cost::measure_child(&[mode, sql], urls);
    }
    let copy = format!("copy ({sql}) to stdout (format binary)");
    let commands: Result<Vec<_>> = urls.iter().map(|url| shards::psql(url, &copy)).collect();
    cost::measure(commands?)
}

/// What the measured process does.
async fn read(mode: &str, sql: &str, urls: &[String]) -> Result<()> {
    let progress = ScanProgress::new();
    let query = shards::cluster(urls)?
        .fan_out(sql)
        .with_progress(progress.clone());
    let rows = match mode {
        "stream" => {
            let mut stream = query.with_order(Order::FirstCome).stream().await?;
            let mut rows = 0;
            while let Some(batch) = stream.try_next().await? {
                rows += batch.num_rows() as u64;
            }
            rows
        }
        "collect" => {
            let batches = query.collect().await?;
            batches.iter().map(|batch| batch.num_rows() as u64).sum()
        }
        other => return Err(format!("no mode {other:?}").into()),
    };
    let bytes = progress.shards().iter().map(|shard| shard.bytes).sum();
    cost::report_work(rows, bytes)
}

fn print(sql: &str, rounds: &[Vec<Cost>]) {
    let rows: Vec<_> = MODES
        .iter()
        .enumerate()
        .map(|(index, mode)| {
            let median = |value: fn(&Cost) -> f64| {
                report::median(rounds.iter().map(|round| value(&round[index])))
            };
            // Of the runs of one round, which were made one after the other.
            let ratio = |value: fn(&Cost) -> f64| {
                let ratios = rounds.iter().map(|r| value(&r[index]) / value(&r[0]));
                format!("{:.2}", report::median(ratios))
            };
            let wall = median(|cost| cost.wall_seconds);
            let work = rounds[0][index].work;
            let per_second = |count: u64, unit: f64| match count {
                0 => String::new(),
                _ => format!("{:.2}", count as f64 / wall / unit),
            };
            vec![
                (*mode).to_owned(),
                format!("{wall:.2}"),
                ratio(|cost| cost.wall_seconds),
                format!("{:.2}", median(|cost| cost.cpu_seconds)),
                ratio(|cost| cost.cpu_seconds),
                per_second(work.rows, 1e6),
                per_second(work.bytes, 1e6),
                match work.peak_memory_kib {
                    0 => String::new(),
                    _ => format!(
                        "{:.0}",
                        median(|cost| cost.work.peak_memory_kib as f64 / 1024.0)
                    ),
                },
            ]
        })
        .collect();
    let work = rounds[0][1].work;
    println!(
        "{sql}: {} rows, {:.0} MB of COPY BINARY from {} servers, {} runs, medians\n",
        work.rows,
        work.bytes as f64 / 1e6,
        shards::SHARDS,
        rounds.len()
    );
    let header = [
        "", "wall s", "/ psql", "CPU s", "/ psql", "M rows/s", "MB/s", "peak MiB",
    ];
    report::print_table(&header, &rows);
    println!();
}
