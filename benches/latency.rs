//! What small queries take: by the program, connection included, next to `psql`; and on a `Cluster` that
//! is connected, one after the other and 200 at the same time, next to a plain client.
//!
//! Two parts, of which an argument picks one: `program`, `cluster`. See `benches/README.md`.

#[allow(dead_code, reason = "other benchmarks measure children of their own")]
#[path = "support/cost.rs"]
mod cost;
#[path = "support/report.rs"]
mod report;
#[path = "support/shards.rs"]
mod shards;

use std::env;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use cost::{Cost, Result};
use futures::future::try_join_all;
use merganser::{Cluster, DEFAULT_CONNECTIONS_PER_SHARD};
use shards::Shards;
use tokio_postgres::{Client, NoTls};

/// A row of the first server, and seven of all servers.
const STATEMENTS: [&str; 2] = [
    "select * from orders where o_orderkey = 4",
    "select * from orders where o_orderkey < 8",
];
/// So many queries at the same time.
const CROWD: usize = 200;

fn main() -> Result<()> {
    let filter = env::args().skip(1).find(|arg| !arg.starts_with('-'));
    let is_wanted = |part: &str| filter.as_deref().is_none_or(|wanted| part.contains(wanted));
    let shards = Shards::start()?;
    if is_wanted("program") {
        program(&shards.urls)?;
    }
    if is_wanted("cluster") {
        cost::runtime()?.block_on(cluster(&shards.urls))?;
    }
    Ok(())
}

/// The program and `psql`, from start to end, in turns.
fn program(urls: &[String]) -> Result<()> {
    let runs = if report::is_smoke() { 1 } else { 51 };
    let folder = tempfile::tempdir()?;
    let topology = folder.path().join("merganser.toml");
    fs::write(&topology, shards::topology(urls)?.to_toml())?;
    let first = urls.first().ok_or("no server")?;
    for sql in STATEMENTS {
        let modes = || -> Result<_> {
            Ok([
                ("psql, one server", vec![shards::psql(first, sql)?]),
                (
                    "psql, each server",
                    urls.iter()
                        .map(|url| shards::psql(url, sql))
                        .collect::<Result<_>>()?,
                ),
                ("planned", vec![merganser(folder.path(), &[], sql)]),
                (
                    "planned, --no-cache",
                    vec![merganser(folder.path(), &["--no-cache"], sql)],
                ),
                (
                    "--fan-out",
                    vec![merganser(folder.path(), &["--fan-out"], sql)],
                ),
            ])
        };
        let mut rounds: Vec<Vec<Cost>> = Vec::new();
        // Once more, unmeasured, at the start: it fills the cache.
        for _ in 0..=runs {
            let costs = modes()?.into_iter();
            let costs = costs.map(|(_, commands)| cost::measure(commands));
            rounds.push(costs.collect::<Result<_>>()?);
        }
        rounds.remove(0);
        let rows = modes()?.into_iter().enumerate().map(|(mode, (name, _))| {
            let times = rounds.iter().map(|round| round[mode].wall_seconds);
            let ratios = rounds
                .iter()
                .map(|round| round[mode].wall_seconds / round[0].wall_seconds);
            let cpu = rounds
                .iter()
                .map(|round| round[mode].cpu_seconds)
                .sum::<f64>();
            let mut row = row(name, times.collect());
            row.push(format!("{:.2}", report::median(ratios)));
            row.push(format!("{:.0}", cpu / rounds.len() as f64 * 1e3));
            row
        });
        println!("{sql}: by the program, {runs} runs, milliseconds\n");
        let header = ["", "p50", "p95", "p99", "/ psql", "CPU of the client"];
        report::print_table(&header, &rows.collect::<Vec<_>>());
    }
    Ok(())
}

/// The program, which keeps catalogs in that folder.
fn merganser(folder: &Path, flags: &[&str], sql: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_merganser"));
    command
        .env("MERGANSER_CACHE_DIR", folder.join("cache"))
        .args(["query", "--quiet", "--config"])
        .arg(folder.join("merganser.toml"))
        .args(flags)
        .arg(sql)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command
}

/// One query after the other, and many at the same time.
async fn cluster(urls: &[String]) -> Result<()> {
    let runs: usize = if report::is_smoke() { 3 } else { 1001 };
    let cluster = Cluster::new(shards::topology(urls)?)?;
    let first = urls.first().ok_or("no server")?;
    // As many as the cluster has to that server.
    let clients = (0..DEFAULT_CONNECTIONS_PER_SHARD).map(|_| connect(first));
    let clients = try_join_all(clients).await?;
    for sql in STATEMENTS {
        let mut times = vec![Vec::new(); MODES.len()];
        // Once more, unmeasured, at the start: it connects, and reads the catalogs.
        for run in 0..=runs {
            for (mode, times) in MODES.into_iter().zip(&mut times) {
                let time = timed(Instant::now(), mode, sql, &cluster, &clients[0]).await?;
                if run > 0 {
                    times.push(time);
                }
            }
        }
        println!("{sql}: one after the other, {runs} runs, milliseconds\n");
        print(&times);

        let rounds = runs.div_ceil(100);
        let mut times = vec![Vec::new(); MODES.len()];
        let mut walls = vec![Duration::ZERO; MODES.len()];
        // Once more, unmeasured, at the start: it opens all connections.
        for round in 0..=rounds {
            for (index, mode) in MODES.into_iter().enumerate() {
                let start = Instant::now();
                let crowd = (0..CROWD).map(|number| {
                    let client = &clients[number % clients.len()];
                    timed(start, mode, sql, &cluster, client)
                });
                let found = try_join_all(crowd).await?;
                if round > 0 {
                    times[index].extend(found);
                    walls[index] += start.elapsed();
                }
            }
        }
        println!(
            "{sql}: {CROWD} at the same time, {rounds} rounds, milliseconds from the common start\n"
        );
        print(&times);
        for (mode, wall) in MODES.iter().zip(walls) {
            let each = (CROWD * rounds) as f64 / wall.as_secs_f64();
            println!("{}: {each:.0} queries/s", mode.name());
        }
        println!();
    }
    cluster.close().await;
    Ok(())
}

#[derive(Clone, Copy)]
enum Mode {
    /// The plainest there is, on one server.
    Client,
    FanOut,
    Planned,
}

const MODES: [Mode; 3] = [Mode::Client, Mode::FanOut, Mode::Planned];

impl Mode {
    fn name(self) -> &'static str {
        match self {
            Self::Client => "plain client, one server",
            Self::FanOut => "fan-out",
            Self::Planned => "planned",
        }
    }
}

/// Runs the statement; the seconds since `start`.
async fn timed(
    start: Instant,
    mode: Mode,
    sql: &str,
    cluster: &Cluster,
    client: &Client,
) -> Result<f64> {
    match mode {
        Mode::Client => drop(client.simple_query(sql).await?),
        Mode::FanOut => drop(cluster.fan_out(sql).collect().await?),
        Mode::Planned => drop(cluster.query(sql).collect().await?),
    }
    Ok(start.elapsed().as_secs_f64())
}

async fn connect(url: &str) -> Result<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// A table of the modes' times, with ratios to the first.
fn print(times: &[Vec<f64>]) {
    let floor = report::median(times[0].iter().copied());
    let rows = MODES.iter().zip(times).map(|(mode, times)| {
        let median = report::median(times.iter().copied());
        let mut row = row(mode.name(), times.clone());
        row.push(format!("{:.2}", median / floor));
        row
    });
    let header = ["", "p50", "p95", "p99", "/ client"];
    report::print_table(&header, &rows.collect::<Vec<_>>());
}

/// A name, and percentiles in milliseconds.
fn row(name: &str, mut times: Vec<f64>) -> Vec<String> {
    times.sort_by(f64::total_cmp);
    let percentile = |percent: usize| {
        let at = (times.len() * percent).div_ceil(100).saturating_sub(1);
        times.get(at).copied().unwrap_or(f64::NAN)
    };
    let times = [50, 95, 99].map(|percent| format!("{:.2}", percentile(percent) * 1e3));
    [name.to_owned()].into_iter().chain(times).collect()
}
