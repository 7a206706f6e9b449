//! The commands of the README make a cluster, and use it.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use merganser_local::fixture;

use crate::export::manifest;
use crate::local::{Done, answers, free_port, tpch};

const README: &str = include_str!("../../README.md");

/// The commands of the program, each on one line.
fn commands() -> Vec<String> {
    let text = README.replace("\\\n", " ");
    let lines = text.lines().map(str::trim);
    let commands = lines.filter(|line| line.starts_with("merganser-ballista "));
    commands.map(str::to_owned).collect()
}

#[test]
fn the_commands_of_the_readme_make_a_cluster_and_use_it() {
    let Some(data) = fixture::tpch_of(10, 4) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("merganser.toml"), tpch(&data.shards)).unwrap();
    let scheduler = format!("127.0.0.1:{}", free_port());
    let flight = format!("127.0.0.1:{}", free_port());
    let commands: Vec<_> = commands()
        .iter()
        .map(|command| {
            command
                .replace("10.0.0.1:50050", &scheduler)
                .replace("10.0.0.2:50051", &flight)
                .replace("/var/lib/merganser", "work")
                .replace("/mnt/shared/lineitem", "lineitem")
        })
        .collect();
    let [scheduling, executing, exporting, querying] = commands.as_slice() else {
        panic!("{commands:?}");
    };
    let _scheduler = Ended(sh(folder.path(), scheduling).spawn().unwrap());
    answers(&scheduler);
    // Others may use the port that it has unless told otherwise.
    let (executing, _) = executing.split_once('#').unwrap();
    let executing = format!("{executing} --grpc-port {}", free_port());
    let _executor = Ended(sh(folder.path(), &executing).spawn().unwrap());
    answers(&flight);
    for command in [exporting, querying] {
        let done: Done = sh(folder.path(), command).output().unwrap().into();
        assert!(done.is_success(), "{command}: {}", done.stderr);
    }
    assert_eq!(manifest(&folder.path().join("lineitem")).rows, 60_175);
    assert!(folder.path().join("groups.parquet").is_file());
}

/// A command, in place of the shell that reads it.
fn sh(folder: &Path, command: &str) -> Command {
    let program = Path::new(env!("CARGO_BIN_EXE_merganser-ballista"));
    let path = std::env::var("PATH").unwrap_or_default();
    let path = format!("{}:{path}", program.parent().unwrap().display());
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("exec {command}")]);
    shell.env("PATH", path).current_dir(folder);
    shell.stdin(Stdio::null());
    shell
}

/// A process that ends with the value.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
