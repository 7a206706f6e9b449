//! Servers with TPC-H data, and clients of theirs.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use merganser::{Cluster, Topology};
use merganser_local::{Binaries, Server, Tpch, tpch_topology};

use super::cost::{Result, runtime};
use super::report;

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

#[allow(dead_code)] // Not every benchmark has a use for it.
pub(crate) fn cluster(urls: &[String]) -> Result<Cluster> {
    Ok(Cluster::new(Topology::from_urls(urls)?)?)
}

/// The servers' topology, as a user would write it.
#[allow(dead_code)] // Not every benchmark has a use for it.
pub(crate) fn topology(urls: &[String]) -> Result<Topology> {
    Ok(Topology::from_toml(&tpch_topology(urls))?)
}
