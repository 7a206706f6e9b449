//! Servers with TPC-H data, and what a program costs that reads from them.

use std::env;
use std::error::Error;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use merganser::config::{Shard, TableKind};
use merganser::{Cluster, Topology};
use merganser_local::{Binaries, Server, TABLES, Tpch};

use super::report;

pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// How many servers share the rows.
pub(crate) const SHARDS: usize = 4;
const DATABASE: &str = "tpch";

/// Running servers with TPC-H: its `orders` and `lineitem` are split, the other tables are on each.
pub(crate) struct Shards {
    /// Over Unix sockets.
    pub(crate) urls: Vec<String>,
    /// Ended at the end of the benchmark, unless they are kept.
    _servers: Vec<Server>,
}

impl Shards {
    /// Starts and fills the servers, about 45 s at scale 1. With `MERGANSER_BENCH_DIR` they are
    /// left running, and found there by the next benchmark.
    pub(crate) fn start() -> Result<Self> {
        Self::start_some(SHARDS, "servers")
    }

    /// One server that has all rows, as [`start`](Self::start) starts several.
    #[allow(dead_code)] // Not every benchmark has a use for it.
    pub(crate) fn start_whole() -> Result<Self> {
        Self::start_some(1, "whole")
    }

    fn start_some(count: usize, name: &str) -> Result<Self> {
        let scale = scale()?;
        let Some(kept) = env::var_os("MERGANSER_BENCH_DIR").map(PathBuf::from) else {
            let servers = start_servers(count, scale, None)?;
            return Ok(Self {
                urls: urls(&servers),
                _servers: servers,
            });
        };
        let list = kept.join(format!("{name}-scale-{scale}"));
        let urls = match fs::read_to_string(&list) {
            Ok(text) if text.lines().filter(|url| answers(url)).count() == count => {
                text.lines().map(str::to_owned).collect()
            }
            _ => {
                fs::create_dir_all(&kept)?;
                let servers = start_servers(count, scale, Some(&kept))?;
                let urls = urls(&servers);
                for server in servers {
                    eprintln!("kept running: {}", server.keep().display());
                }
                fs::write(&list, urls.join("\n"))?;
                urls
            }
        };
        Ok(Self {
            urls,
            _servers: Vec::new(),
        })
    }
}

/// The scale of TPC-H.
pub(crate) fn scale() -> Result<f64> {
    match env::var("MERGANSER_BENCH_SCALE") {
        Ok(scale) => Ok(scale.parse()?),
        Err(_) if report::is_smoke() => Ok(0.01),
        Err(_) => Ok(1.0),
    }
}

fn start_servers(count: usize, scale: f64, parent: Option<&Path>) -> Result<Vec<Server>> {
    eprintln!("starting {count} servers and loading TPC-H at scale {scale}");
    let mut servers = Vec::new();
    let mut urls = Vec::new();
    for _ in 0..count {
        let mut builder = Server::builder()
            // Nothing else may be at work while we measure.
            .with_setting("autovacuum", "off")
            // One process for a query of one server: what is compared is one server with several.
            .with_setting("max_parallel_workers_per_gather", "0");
        if let Some(parent) = parent {
            builder = builder.with_parent_dir(parent);
        }
        let server = builder.start()?;
        urls.push(server.create_database(DATABASE)?);
        servers.push(server);
    }
    runtime()?.block_on(Tpch::new(scale).load(&urls))?;
    for server in &servers {
        // Else the first query of all would write to every page.
        server.execute(DATABASE, "vacuum lineitem")?;
    }
    Ok(servers)
}

fn urls(servers: &[Server]) -> Vec<String> {
    let urls = servers.iter().map(|server| server.socket_url(DATABASE));
    urls.collect()
}

fn answers(url: &str) -> bool {
    let status = psql(url, "select").and_then(|mut psql| Ok(psql.status()?));
    status.is_ok_and(|status| status.success())
}

/// PostgreSQL's own client, its answer thrown away. Not the wrapper that Debian has in the PATH.
pub(crate) fn psql(url: &str, sql: &str) -> Result<Command> {
    let mut psql = Command::new(Binaries::find()?.program("psql"));
    psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-c", sql, url])
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    Ok(psql)
}

/// What some programs, run at the same time, cost in all.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) wall_seconds: f64,
    /// Of the programs, not of the servers that they ask.
    pub(crate) cpu_seconds: f64,
    pub(crate) work: Work,
}

/// What a child says it did.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Work {
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    pub(crate) peak_memory_kib: u64,
}

/// Runs this benchmark's program anew with these arguments, see [`child_arguments`].
pub(crate) fn measure_child(arguments: &[&str], urls: &[String]) -> Result<Cost> {
    let mut child = Command::new(env::current_exe()?);
    child
        .arg(CHILD)
        .args(arguments)
        .args(urls)
        .stdout(Stdio::piped());
    measure(vec![child])
}

/// Runs programs at the same time, to their ends.
pub(crate) fn measure(commands: Vec<Command>) -> Result<Cost> {
    let cpu_before = cpu_seconds_of_children()?;
    let start = Instant::now();
    let mut children = Vec::new();
    for mut command in commands {
        children.push(command.spawn()?);
    }
    let mut said = String::new();
    for child in &mut children {
        if let Some(mut stdout) = child.stdout.take() {
            stdout.read_to_string(&mut said)?;
        }
        let status = child.wait()?;
        if !status.success() {
            return Err(format!("a measured program failed: {status}").into());
        }
    }
    let numbers: Vec<u64> = said.split_whitespace().flat_map(str::parse).collect();
    Ok(Cost {
        wall_seconds: start.elapsed().as_secs_f64(),
        cpu_seconds: cpu_seconds_of_children()? - cpu_before,
        work: match numbers[..] {
            [rows, bytes, peak_memory_kib] => Work {
                rows,
                bytes,
                peak_memory_kib,
            },
            _ => Work::default(),
        },
    })
}

/// The first argument of a process that is measured.
pub(crate) const CHILD: &str = "child";

/// The arguments after [`CHILD`] where this process is one that is measured.
pub(crate) fn child_arguments() -> Option<Vec<String>> {
    let mut arguments = env::args().skip(1);
    (arguments.next().as_deref() == Some(CHILD)).then(|| arguments.collect())
}

/// Tells the parent what was done.
pub(crate) fn report_work(rows: u64, bytes: u64) -> Result<()> {
    let status = fs::read_to_string("/proc/self/status")?;
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .and_then(|rest| rest.split_whitespace().next())
        .ok_or("no VmHWM in /proc/self/status")?;
    println!("{rows} {bytes} {peak}");
    Ok(())
}

pub(crate) fn cluster(urls: &[String]) -> Result<Cluster> {
    Ok(Cluster::new(Topology::from_urls(urls)?)?)
}

/// The servers' topology, as a user would write it.
#[allow(dead_code)] // Not every benchmark has a use for it.
pub(crate) fn topology(urls: &[String]) -> Result<Topology> {
    let mut builder = Topology::builder();
    for (number, url) in urls.iter().enumerate() {
        builder = builder.with_shard(Shard::new(&format!("s{number}"), url));
    }
    for table in &TABLES {
        let kind = match table.shard_key {
            Some(key) => TableKind::Sharded {
                key: key.to_owned(),
                colocation: Some("order".to_owned()),
                shard_index: Some(format!("{key} % {}", urls.len())),
            },
            None => TableKind::Replicated,
        };
        builder = builder.with_table(table.name, kind);
    }
    Ok(builder.build()?)
}

pub(crate) fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Runtime::new()?)
}

/// CPU time, user and system, of the children that have ended.
fn cpu_seconds_of_children() -> Result<f64> {
    // Linux counts these in hundredths of a second on every machine (USER_HZ).
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = fs::read_to_string("/proc/self/stat")
        .map_err(|error| format!("/proc is needed, which Linux has: {error}"))?;
    // The name of the program, in parentheses, may hold spaces; cutime and cstime are the fields 16
    // and 17 of `man 5 proc`, and the state behind the name is field 3.
    let (_, fields) = stat.rsplit_once(')').ok_or("unexpected /proc/self/stat")?;
    let ticks = fields.split_whitespace().skip(16 - 3).take(2);
    let sum: f64 = ticks.flat_map(str::parse::<f64>).sum();
    Ok(sum / TICKS_PER_SECOND)
}
