//! `./dev cluster`: PostgreSQL servers, a scheduler and executors on this machine, TPC-H on them, and who did
//! what. All of it ends with this program.

use std::error::Error;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use merganser::Topology;
use merganser::config::{Shard, TableKind};
use merganser_local::{Server, TABLES, Tpch};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Shows exports and aggregations on a cluster of this machine
#[derive(Debug, Parser)]
struct Cli {
    /// How many PostgreSQL servers
    #[arg(long, value_name = "N", default_value_t = 4)]
    shards: usize,
    /// How many executors
    #[arg(long, value_name = "N", default_value_t = 2)]
    executors: usize,
    /// The scale factor of TPC-H
    #[arg(long, value_name = "FACTOR", default_value_t = 0.05)]
    scale: f64,
}

/// What the cluster answers, and what each is.
const QUERIES: [(&str, &str); 3] = [
    (
        "the revenue of TPC-H query 15, the greatest first",
        "SELECT l_suppkey AS supplier_no, sum(l_extendedprice * (1 - l_discount)) AS total_revenue \
         FROM lineitem WHERE l_shipdate >= date '1996-01-01' AND l_shipdate < date '1996-04-01' \
         GROUP BY l_suppkey ORDER BY total_revenue DESC",
    ),
    (
        "TPC-H query 6",
        "SELECT sum(l_extendedprice * l_discount) AS revenue FROM lineitem \
         WHERE l_shipdate >= date '1994-01-01' AND l_shipdate < date '1995-01-01' \
         AND l_discount BETWEEN 0.05 AND 0.07 AND l_quantity < 24",
    ),
    (
        "one group for each part and supplier",
        "SELECT l_partkey, l_suppkey, sum(l_quantity) AS quantity, count(*) AS lines \
         FROM lineitem GROUP BY l_partkey, l_suppkey",
    ),
];

fn main() -> Outcome<()> {
    let cli = Cli::parse();
    let folder = tempfile::tempdir()?;
    println!("starting {} PostgreSQL servers ...", cli.shards);
    let servers: Vec<_> = (0..cli.shards)
        .map(|_| Server::builder().start())
        .collect::<Result<_, _>>()?;
    let urls: Vec<_> = servers
        .iter()
        .map(|server| server.create_database("tpch"))
        .collect::<Result<_, _>>()?;
    println!("loading TPC-H at scale factor {} ...", cli.scale);
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(Tpch::new(cli.scale).load(&urls))?;
    let topology = folder.path().join("merganser.toml");
    fs::write(&topology, topology_of(&urls)?.to_toml())?;

    let cluster = Cluster::start(folder.path(), &topology, cli.executors)?;
    println!(
        "a scheduler at {}, and {} executors\n",
        cluster.scheduler, cli.executors
    );
    for (what, sql) in QUERIES {
        let answer = folder.path().join("answer.parquet");
        let began = Instant::now();
        println!("{what}");
        cluster.run("query", &["-o", text(&answer)?], sql)?;
        println!("  {:.1} s\n", began.elapsed().as_secs_f64());
    }
    let out = folder.path().join("lineitem");
    let began = Instant::now();
    println!("an export: TABLE lineitem");
    cluster.run("export", &["--to", text(&out)?], "TABLE lineitem")?;
    println!("  {:.1} s", began.elapsed().as_secs_f64());
    println!(
        "  {} files, and _manifest.json",
        fs::read_dir(&out)?.count() - 1
    );
    println!("\nservers, cluster and files are removed now");
    Ok(())
}

fn topology_of(urls: &[String]) -> Outcome<Topology> {
    let mut builder = Topology::builder();
    for (number, url) in urls.iter().enumerate() {
        builder = builder.with_shard(Shard::new(&format!("s{number}"), url));
    }
    for table in &TABLES {
        let kind = match table.shard_key {
            Some(key) => TableKind::Sharded {
                key: key.to_owned(),
                colocation: Some("order".to_owned()),
                shard_index: None,
            },
            None => TableKind::Replicated,
        };
        builder = builder.with_table(table.name, kind);
    }
    Ok(builder.build()?)
}

/// Processes that end with the value.
struct Cluster {
    scheduler: String,
    topology: PathBuf,
    processes: Vec<Child>,
}

impl Cluster {
    fn start(folder: &Path, topology: &Path, executors: usize) -> Outcome<Self> {
        let scheduler = format!("127.0.0.1:{}", free_port()?);
        let mut cluster = Self {
            scheduler: scheduler.clone(),
            topology: topology.to_owned(),
            processes: Vec::new(),
        };
        let scheduling = program()?
            .args(["scheduler", "--bind", &scheduler])
            .spawn()?;
        cluster.processes.push(scheduling);
        listens(&scheduler)?;
        for number in 1..=executors {
            let name = format!("e{number}");
            let flight = format!("127.0.0.1:{}", free_port()?);
            let executor = program()?
                .args(["executor", "--id", &name, "--scheduler", &scheduler])
                .args([
                    "--flight",
                    &flight,
                    "--grpc-port",
                    &free_port()?.to_string(),
                ])
                .args(["--work-dir", text(&folder.join(name.as_str()))?])
                .args(["--topology", text(topology)?])
                .spawn()?;
            cluster.processes.push(executor);
            listens(&flight)?;
        }
        Ok(cluster)
    }

    fn run(&self, role: &str, arguments: &[&str], sql: &str) -> Outcome<()> {
        let output = program()?
            .args([role, "--scheduler", &self.scheduler, "--part-mib", "2"])
            .args(["--topology", text(&self.topology)?])
            .args(arguments)
            .arg(sql)
            .stderr(Stdio::piped())
            .output()?;
        for line in String::from_utf8_lossy(&output.stderr).lines() {
            println!("  {line}");
        }
        match output.status.success() {
            true => Ok(()),
            false => Err(format!("{role} has failed").into()),
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for process in &mut self.processes {
            // It may have ended by itself.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// The program, which cargo puts beside the folder of the examples.
fn program() -> Outcome<Command> {
    let own = std::env::current_exe()?;
    let folder = own.parent().and_then(Path::parent);
    let program = folder.ok_or("no folder")?.join("merganser-ballista");
    if !program.is_file() {
        return Err(format!("{} is not built: run ./dev cluster", program.display()).into());
    }
    Ok(Command::new(program))
}

fn free_port() -> Outcome<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn listens(address: &str) -> Outcome<()> {
    let end = Instant::now() + Duration::from_secs(60);
    while TcpStream::connect(address).is_err() {
        if Instant::now() > end {
            return Err(format!("nobody listens at {address}").into());
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

fn text(path: &Path) -> Outcome<&str> {
    path.to_str().ok_or_else(|| "a path is not UTF-8".into())
}
