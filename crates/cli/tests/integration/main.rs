//! The program as a user meets it: output, standard error, exit code, and what it leaves behind.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[cfg(feature = "datafusion")]
mod cache;
mod demo;
mod faults;
mod folder;
mod hostile;
mod inspect;
mod messages;
mod output;
#[cfg(feature = "datafusion")]
mod planned;
mod secrets;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use merganser_local::Server;
use tempfile::TempDir;

use merganser_local::fixture as support;

/// Databases of a test's own, and a folder in which the program runs.
struct Scene {
    server: &'static Server,
    urls: Vec<String>,
    folder: TempDir,
}

impl Scene {
    /// `n` empty databases; `None` where there is no PostgreSQL.
    fn new(n: usize) -> Option<Self> {
        Some(Self {
            server: support::server()?,
            urls: support::shards(n)?,
            folder: tempfile::tempdir().unwrap(),
        })
    }

    /// Runs SQL in the database of one shard.
    fn execute(&self, shard: usize, sql: &str) {
        self.server.execute(self.database(shard), sql).unwrap();
    }

    /// Runs SQL in the databases of all shards.
    fn execute_all(&self, sql: &str) {
        (0..self.urls.len()).for_each(|shard| self.execute(shard, sql));
    }

    fn database(&self, shard: usize) -> &str {
        self.urls[shard].rsplit('/').next().unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The files in the folder.
    fn files(&self) -> Vec<String> {
        names_in(self.folder.path())
    }

    /// `merganser query --fan-out` on all shards, with these further arguments; in shard order unless
    /// they say otherwise.
    fn query(&self, arguments: &[&str]) -> Command {
        let mut command = merganser(self.folder.path());
        command.args(["query", "--fan-out"]);
        if !arguments.contains(&"--order") {
            command.args(["--order", "shard"]);
        }
        for url in &self.urls {
            command.args(["--shard", url]);
        }
        command.args(arguments);
        command
    }

    /// Runs such a query, which must succeed, and returns standard output.
    fn output_of(&self, arguments: &[&str]) -> String {
        let done = self.query(arguments).run();
        assert_eq!(done.code, 0, "{}", done.stderr);
        done.stdout
    }

    /// Runs such a query, which must fail with this code and leave no file; returns standard error.
    fn failure_of(&self, code: i32, arguments: &[&str]) -> String {
        let done = self.query(arguments).run();
        assert_eq!(done.code, code, "{arguments:?}: {}", done.stderr);
        assert_eq!(self.files(), [""; 0], "{arguments:?}");
        done.stderr
    }

    /// How many backends of these databases run a statement, other than ours.
    fn active(&self) -> usize {
        let names: Vec<_> = (0..self.urls.len())
            .map(|shard| format!("'{}'", self.database(shard)))
            .collect();
        let sql = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND datname IN ({})",
            names.join(", ")
        );
        let rows = self.server.query("postgres", &sql).unwrap();
        rows[0][0].as_deref().unwrap().parse().unwrap()
    }

    fn wait_until_active(&self, count: usize) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.active() != count {
            assert!(Instant::now() < deadline, "{} are active", self.active());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// How a run of the program ended.
#[derive(Debug)]
struct Done {
    /// -1 when a signal ended it.
    code: i32,
    stdout: String,
    stderr: String,
}

impl From<Output> for Done {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

trait Run {
    /// Runs to the end.
    fn run(&mut self) -> Done;
    /// Runs with this on standard input.
    fn run_with_input(&mut self, input: &str) -> Done;
    /// Starts with all of its streams as pipes.
    fn start(&mut self) -> Child;
}

impl Run for Command {
    fn run(&mut self) -> Done {
        let done: Done = self.output().unwrap().into();
        // Never a panic, and never anything of a terminal into a pipe.
        assert!(!done.stderr.contains("panicked"), "{}", done.stderr);
        assert!(!done.stderr.contains('\u{1b}'), "{}", done.stderr);
        done
    }

    fn run_with_input(&mut self, input: &str) -> Done {
        let mut child = self.start();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(input.as_bytes())
            .unwrap();
        child.wait_with_output().unwrap().into()
    }

    fn start(&mut self) -> Child {
        self.stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }
}

/// The program, in a folder, without what the environment could tell it. All runs share what they keep.
fn merganser(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_merganser"));
    command.current_dir(folder).stdin(Stdio::null());
    command.env("MERGANSER_CACHE_DIR", CACHE);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PG") {
            command.env_remove(name);
        }
    }
    command
}

/// Where runs of these tests keep catalogs.
const CACHE: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/cache");

fn signal(child: &Child, name: &str) {
    let mut kill = Command::new("kill");
    let status = kill
        .args([format!("-{name}"), child.id().to_string()])
        .status();
    assert!(status.unwrap().success());
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[track_caller]
fn assert_contains(text: &str, part: &str) {
    assert!(text.contains(part), "no {part:?} in:\n{text}");
}
