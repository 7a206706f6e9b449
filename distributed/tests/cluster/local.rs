//! A cluster on this machine: a scheduler and executors as processes, and a topology file for them.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdout, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use merganser_local::fixture;
use tempfile::TempDir;

/// Long enough for a machine that does other things, too.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Processes that end with the value.
pub(crate) struct Cluster {
    pub(crate) folder: TempDir,
    pub(crate) scheduler: String,
    pub(crate) executors: Vec<Executor>,
    scheduling: Child,
    log: &'static str,
}

pub(crate) struct Executor {
    pub(crate) name: String,
    process: Child,
}

/// What an executor is started with that others are not.
#[derive(Default, Clone, Copy)]
pub(crate) struct Particulars<'a> {
    pub(crate) vcores: usize,
    pub(crate) topology: Option<&'a str>,
    pub(crate) key: &'a str,
    pub(crate) memory: Option<&'a str>,
}

impl Cluster {
    /// A cluster with these executors; the shards are as this topology says.
    pub(crate) fn start(topology: &str, executors: &[Particulars<'_>]) -> Self {
        Self::start_logging("warn", topology, executors)
    }

    pub(crate) fn start_logging(
        log: &'static str,
        topology: &str,
        executors: &[Particulars<'_>],
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("merganser.toml"), topology).unwrap();
        let scheduler = format!("127.0.0.1:{}", free_port());
        let mut command = program(folder.path(), "scheduler.log");
        command.args(["--log", log, "scheduler", "--bind", &scheduler]);
        command.args(["--executor-timeout", "6", "--dead-after-check", "1"]);
        command.args(["--no-executors-grace", "6"]);
        let scheduling = command.spawn().unwrap();
        answers(&scheduler);
        let mut cluster = Self {
            folder,
            scheduler,
            executors: Vec::new(),
            scheduling,
            log,
        };
        for particulars in executors {
            cluster.add(*particulars);
        }
        cluster
    }

    /// Starts an executor, and waits until the scheduler knows it.
    pub(crate) fn add(&mut self, particulars: Particulars<'_>) {
        let name = format!("e{}", self.executors.len() + 1);
        let path = self.path(&format!("{name}.toml"));
        let shared = fs::read_to_string(self.path("merganser.toml")).unwrap();
        fs::write(&path, particulars.topology.unwrap_or(&shared)).unwrap();
        let flight = format!("127.0.0.1:{}", free_port());
        let mut command = program(self.folder.path(), &format!("{name}.log"));
        command.env("MERGANSER_PARTITION_KEY", particulars.key);
        command.args(["--log", self.log, "executor", "--id", &name]);
        command.args(["--scheduler", &self.scheduler, "--flight", &flight]);
        command.args(["--grpc-port", &free_port().to_string(), "--heartbeat", "1"]);
        command.args(["--vcores", &particulars.vcores.max(1).to_string()]);
        command.args(["--memory", particulars.memory.unwrap_or("268435456")]);
        command.arg("--work-dir").arg(self.path(&name));
        command.arg("--topology").arg(&path);
        let process = command.spawn().unwrap();
        answers(&flight);
        self.executors.push(Executor { name, process });
    }

    pub(crate) fn signal_scheduler(&self, name: &str) {
        signal(&self.scheduling, name);
    }

    pub(crate) fn kill_scheduler(&mut self) {
        self.scheduling.kill().unwrap();
        self.scheduling.wait().unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A client in this role, with arguments that all have.
    pub(crate) fn client(&self, role: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_merganser-ballista"));
        command.current_dir(self.folder.path());
        command.env_remove("MERGANSER_PARTITION_KEY");
        command.args(["--log", self.log, role, "--scheduler", &self.scheduler]);
        command.args(["--part-mib", "1"]);
        command
    }

    /// The client's answer, which has to be one.
    pub(crate) fn answer(&self, arguments: &[&str]) -> Done {
        let done = self.run(arguments);
        assert!(done.is_success(), "{arguments:?}: {}", done.stderr);
        done
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Done {
        let (role, rest) = arguments.split_first().unwrap();
        self.client(role).args(rest).output().unwrap().into()
    }

    /// What the scheduler and the executors have logged.
    pub(crate) fn logs(&self) -> String {
        let names = self.executors.iter().map(|executor| executor.name.as_str());
        let logs = ["scheduler"].into_iter().chain(names).map(|name| {
            let text = fs::read_to_string(self.path(&format!("{name}.log")));
            format!("== {name}\n{}\n", text.unwrap_or_default())
        });
        logs.collect()
    }
}

impl Executor {
    pub(crate) fn signal(&self, name: &str) {
        signal(&self.process, name);
    }

    /// As `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if thread::panicking() {
            fixture::tell(&self.logs());
        }
        for executor in &mut self.executors {
            let _ = executor.process.kill();
            let _ = executor.process.wait();
        }
        let _ = self.scheduling.kill();
        let _ = self.scheduling.wait();
    }
}

/// A client that runs while something happens, and ends with the value.
pub(crate) struct Running {
    client: Child,
    said: BufReader<ChildStderr>,
}

impl Running {
    pub(crate) fn start(cluster: &Cluster, arguments: &[&str]) -> Self {
        let (role, rest) = arguments.split_first().unwrap();
        let mut command = cluster.client(role);
        command.args(rest).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut client = command.spawn().unwrap();
        let said = BufReader::new(client.stderr.take().unwrap());
        Self { client, said }
    }

    /// Waits until its snapshots are taken.
    pub(crate) fn has_begun(&mut self) {
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        assert!(line.ends_with(" parts\n"), "{line}");
    }

    /// Waits until some parts are written, and others are not.
    pub(crate) fn under_way(&mut self, folder: &Path) {
        assert!(until(|| files(folder, "part-", ".parquet").len() >= 2));
        assert!(self.client.try_wait().unwrap().is_none(), "it was too fast");
    }

    /// What it prints, which waits until somebody reads it.
    pub(crate) fn stdout(&mut self) -> &mut ChildStdout {
        self.client.stdout.as_mut().unwrap()
    }

    pub(crate) fn signal(&self, name: &str) {
        signal(&self.client, name);
    }

    /// Waits for its end, and reads nothing of its answer.
    pub(crate) fn ended(mut self) -> Done {
        let mut ended = None;
        assert!(until(|| {
            ended = self.client.try_wait().unwrap();
            ended.is_some()
        }));
        let mut stderr = String::new();
        self.said.read_to_string(&mut stderr).unwrap();
        Done {
            code: ended.unwrap().code(),
            stdout: String::new(),
            stderr,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.client.kill();
        let _ = self.client.wait();
    }
}

/// What a client printed.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Done {
    pub(crate) fn is_success(&self) -> bool {
        self.code == Some(0)
    }

    /// In how many parts the shards were read.
    pub(crate) fn parts(&self) -> usize {
        let line = self
            .stderr
            .lines()
            .find_map(|line| line.strip_suffix(" parts"));
        line.expect("the number of parts")
            .parse()
            .expect("a number")
    }

    /// What it answered, without the names of the columns.
    pub(crate) fn rows(&self) -> Vec<&str> {
        self.stdout.lines().skip(1).collect()
    }
}

impl From<Output> for Done {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// A topology file of TPC-H over these databases.
pub(crate) fn tpch(urls: &[String]) -> String {
    let mut text = shards(urls);
    for table in &merganser_local::TABLES {
        text.push_str(&match table.shard_key {
            Some(key) => format!(
                "[[table]]\nname = {:?}\nshard_key = {key:?}\ncolocation = \"order\"\n",
                table.name
            ),
            None => format!("[[table]]\nname = {:?}\nreplicated = true\n", table.name),
        });
    }
    text
}

pub(crate) fn shards(urls: &[String]) -> String {
    let shards = urls.iter().enumerate();
    let shards =
        shards.map(|(number, url)| format!("[[shard]]\nname = \"s{number}\"\nurl = {url:?}\n"));
    shards.collect()
}

/// Databases whose shards have the table `events` with numbers that follow each other, `rows` on each, and
/// about 300 bytes in each row; and their topology.
pub(crate) fn events(shards: usize, rows: usize) -> Option<(Vec<String>, String)> {
    let urls = fixture::shards(shards)?;
    for (number, url) in urls.iter().enumerate() {
        let (from, to) = (number * rows, (number + 1) * rows - 1);
        fixture::execute(
            url,
            &format!(
                "create table events as select n::int8 as id, repeat(md5(n::text), 8) as filler \
                 from generate_series({from}, {to}) n"
            ),
        );
        fixture::execute(url, "analyze events");
    }
    let topology = format!(
        "{}[[table]]\nname = \"events\"\nshard_key = \"id\"\n",
        self::shards(&urls)
    );
    Some((urls, topology))
}

/// The name of the database that a URL leads to.
pub(crate) fn database(url: &str) -> &str {
    let (_, name) = url.rsplit_once('/').unwrap();
    name
}

/// The rows that one PostgreSQL gives, as CSV without names.
pub(crate) fn oracle(url: &str, sql: &str) -> Vec<String> {
    let server = fixture::server().unwrap();
    let rows = server.query(database(url), sql).unwrap();
    let rows = rows.into_iter().map(|row| {
        let values: Vec<_> = row.into_iter().map(Option::unwrap_or_default).collect();
        values.join(",")
    });
    rows.collect()
}

fn signal(process: &Child, name: &str) {
    let id = process.id().to_string();
    let status = Command::new("kill").args(["-s", name, &id]).status();
    assert!(status.unwrap().success());
}

pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// Waits until somebody listens there.
pub(crate) fn answers(address: &str) {
    let is_there = until(|| TcpStream::connect(address).is_ok());
    assert!(is_there, "nobody listens at {address}");
}

/// Whether that comes true in time.
pub(crate) fn until(mut is_true: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        if is_true() {
            return true;
        }
        thread::sleep(Duration::from_millis(50));
    }
    false
}

/// The files in a folder whose names begin and end so; none where there is no folder.
pub(crate) fn files(folder: &Path, begin: &str, end: &str) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names
        .filter(|name| name.starts_with(begin) && name.ends_with(end))
        .collect()
}

/// The files in a folder and in those below it.
pub(crate) fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.path().is_dir() {
                true => folders.push(entry.path()),
                false => found.push(entry.path()),
            }
        }
    }
    found
}

fn program(folder: &Path, log: &str) -> Command {
    let log = File::create(folder.join(log)).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_merganser-ballista"));
    command.env_remove("MERGANSER_PARTITION_KEY");
    command.stdin(Stdio::null());
    command.stdout(log.try_clone().unwrap());
    command.stderr(log);
    command
}
