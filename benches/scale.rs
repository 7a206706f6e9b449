//! One to 256 shards that cost nothing: a server that says from memory what a real one has said, so that
//! what bounds the rate is the client and the kernel. How rate, memory and descriptors grow with the
//! number of shards, next to a thread for each that throws the same bytes away.
//!
//! `--plot FILE` draws what was measured. See `benches/README.md`.

#[path = "support/cost.rs"]
mod cost;
#[path = "support/plot.rs"]
mod plot;
#[path = "support/report.rs"]
mod report;
#[path = "support/tape.rs"]
mod tape;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use cost::{Cost, Result};
use futures::TryStreamExt;
use merganser::{Cluster, Order, ScanProgress, Topology};
use merganser_local::{Server, Tpch};
use plot::Panel;
use tape::Tape;

const STATEMENT: &str = "select * from lineitem";
const DATABASE: &str = "tpch";
/// The floor, and what is compared with it.
const MODES: [&str; 2] = ["drain", "stream"];

fn main() -> Result<()> {
    if let Some(arguments) = cost::child_arguments() {
        return match &*arguments {
            [mode, folder, client, shards] if mode == "drain" => {
                let bytes = tape::drain(Path::new(folder), Path::new(client), shards.parse()?)?;
                cost::report_work(0, bytes)
            }
            [mode, urls @ ..] if mode == "stream" => cost::runtime()?.block_on(stream(urls)),
            _ => Err("no mode".into()),
        };
    }
    let mut arguments = env::args()
        .skip_while(|argument| argument != "--plot")
        .skip(1);
    let plot = arguments.next().map(PathBuf::from);
    let (rows, counts, runs) = match report::is_smoke() {
        true => (20_000, vec![1, 4], 1),
        false => (6_000_000, (0..=8).map(|power| 1 << power).collect(), 3),
    };
    let tape = record()?;
    let folder = tempfile::tempdir()?;
    let client = folder.path().join("client");
    tape.save_client(&client)?;
    let mut measured = Vec::new();
    for shards in counts {
        let socket = folder.path().join(shards.to_string());
        fs::create_dir(&socket)?;
        tape.play(&socket, rows / shards as u64)?;
        let mut rounds = Vec::new();
        for _ in 0..runs {
            let costs = MODES.iter().map(|mode| run(mode, &socket, &client, shards));
            rounds.push(costs.collect::<Result<Vec<Cost>>>()?);
        }
        measured.push(Measured::new(shards, &rounds));
    }
    print(&measured, runs);
    if let Some(path) = plot {
        fs::write(path, draw(&measured))?;
    }
    Ok(())
}

/// What a reader of the table says to a server, and hears.
fn record() -> Result<Tape> {
    let server = Server::builder().start()?;
    let database = server.create_database(DATABASE)?;
    let runtime = cost::runtime()?;
    runtime.block_on(Tpch::new(0.01).load(&[database]))?;
    let socket = server
        .socket_dir()
        .join(format!(".s.PGSQL.{}", server.port()));
    let identifier = server.query(
        DATABASE,
        "SELECT system_identifier FROM pg_control_system()",
    )?;
    let identifier = identifier
        .concat()
        .into_iter()
        .flatten()
        .collect::<String>();
    Tape::record(&socket, identifier, |folder| {
        let urls = [url(folder, 0)];
        runtime.block_on(async {
            let cluster = cluster(&urls)?;
            let query = cluster.fan_out(STATEMENT).with_order(Order::FirstCome);
            query.collect().await?;
            Ok(())
        })
    })
}

/// Shards are databases of one server, which looks at none of their names but when it is recorded.
fn url(folder: &Path, shard: usize) -> String {
    let folder = folder.display().to_string().replace('/', "%2F");
    let database = match shard {
        0 => DATABASE.to_owned(),
        shard => format!("{DATABASE}{shard}"),
    };
    format!("postgresql://postgres@{folder}:{}/{database}", tape::PORT)
}

fn cluster(urls: &[String]) -> Result<Cluster> {
    Ok(Cluster::new(Topology::from_urls(urls)?)?)
}

fn run(mode: &str, folder: &Path, client: &Path, shards: usize) -> Result<Cost> {
    let urls: Vec<String> = match mode {
        "stream" => (0..shards).map(|shard| url(folder, shard)).collect(),
        _ => Vec::new(),
    };
    let (folder, client, shards) = (folder.display(), client.display(), shards);
    let arguments = [folder.to_string(), client.to_string(), shards.to_string()];
    let arguments = match mode {
        "stream" => &arguments[..0],
        _ => &arguments[..],
    };
    let arguments = [mode]
        .into_iter()
        .chain(arguments.iter().map(String::as_str));
    cost::measure_child(&arguments.collect::<Vec<_>>(), &urls)
}

/// What the measured process does. The connections are there until it has told what it has.
async fn stream(urls: &[String]) -> Result<()> {
    let progress = ScanProgress::new();
    let cluster = cluster(urls)?;
    let query = cluster.fan_out(STATEMENT).with_order(Order::FirstCome);
    let mut stream = query.with_progress(progress.clone()).stream().await?;
    let mut rows = 0;
    while let Some(batch) = stream.try_next().await? {
        rows += batch.num_rows() as u64;
    }
    let bytes = progress.shards().iter().map(|shard| shard.bytes).sum();
    cost::report_work(rows, bytes)
}

/// Medians for a number of shards.
struct Measured {
    shards: usize,
    rows: u64,
    bytes: u64,
    wall_seconds: f64,
    cpu_seconds: f64,
    wall_to_drain: f64,
    cpu_to_drain: f64,
    peak_mib: f64,
    descriptors: u64,
}

impl Measured {
    /// Of rounds of [`MODES`].
    fn new(shards: usize, rounds: &[Vec<Cost>]) -> Self {
        let median =
            |value: fn(&Cost) -> f64| report::median(rounds.iter().map(|it| value(&it[1])));
        let ratio = |value: fn(&Cost) -> f64| {
            report::median(rounds.iter().map(|it| value(&it[1]) / value(&it[0])))
        };
        let work = rounds[0][1].work;
        Self {
            shards,
            rows: work.rows,
            bytes: work.bytes,
            wall_seconds: median(|cost| cost.wall_seconds),
            cpu_seconds: median(|cost| cost.cpu_seconds),
            wall_to_drain: ratio(|cost| cost.wall_seconds),
            cpu_to_drain: ratio(|cost| cost.cpu_seconds),
            peak_mib: median(|cost| cost.work.peak_memory_kib as f64 / 1024.0),
            descriptors: work.descriptors,
        }
    }

    fn million_rows_per_second(&self) -> f64 {
        self.rows as f64 / 1e6 / self.wall_seconds
    }
}

fn print(measured: &[Measured], runs: usize) {
    let rows: Vec<_> = measured
        .iter()
        .map(|it| {
            vec![
                it.shards.to_string(),
                format!("{:.2}", it.million_rows_per_second()),
                format!("{:.2}", it.wall_seconds),
                format!("{:.2}", it.wall_to_drain),
                format!("{:.2}", it.cpu_seconds),
                format!("{:.2}", it.cpu_to_drain),
                format!("{:.0}", it.peak_mib),
                it.descriptors.to_string(),
            ]
        })
        .collect();
    println!(
        "{STATEMENT}, replayed: {} rows, {:.0} MB, {runs} runs, medians\n",
        measured[0].rows,
        measured[0].bytes as f64 / 1e6
    );
    let header = [
        "shards",
        "M rows/s",
        "wall s",
        "/ drain",
        "CPU s",
        "/ drain",
        "peak MiB",
        "descriptors",
    ];
    report::print_table(&header, &rows);
}

fn draw(measured: &[Measured]) -> String {
    let line =
        |value: fn(&Measured) -> f64| measured.iter().map(|it| (it.shards, value(it))).collect();
    plot::draw(
        "shards",
        &[
            Panel::new(
                "million rows per second",
                line(Measured::million_rows_per_second),
            ),
            Panel::new(
                "CPU time, of that of a reader that does nothing",
                line(|it| it.cpu_to_drain),
            ),
            Panel::new("peak memory, MiB", line(|it| it.peak_mib)),
        ],
    )
}
