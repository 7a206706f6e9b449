//! `merganser demo`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::{Run, assert_contains, merganser, names_in, signal};
use crate::support;

/// A small demo, whose temporary files all go into this folder.
fn demo(folder: &Path, scale: &str, arguments: &[&str]) -> Option<Command> {
    let mut command = full_demo(folder, arguments)?;
    command.args(["--shards", "2", "--scale", scale]);
    Some(command)
}

/// The demo as it is without flags, whose temporary files all go into this folder.
fn full_demo(folder: &Path, arguments: &[&str]) -> Option<Command> {
    let binaries = support::binaries()?;
    // The account of the servers must be able to enter it.
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = merganser(folder);
    command
        .env("TMPDIR", folder)
        .env("MERGANSER_PG_BINDIR", binaries.dir())
        .arg("demo")
        .args(arguments);
    Some(command)
}

fn folder() -> TempDir {
    // Short: the path of a Unix socket goes below it.
    tempfile::Builder::new()
        .prefix("m-")
        .tempdir_in("/tmp")
        .unwrap()
}

#[test]
fn the_demo_answers_and_leaves_nothing() {
    let folder = folder();
    let Some(mut demo) = demo(folder.path(), "0.001", &[]) else {
        return;
    };
    let done = demo.run();
    assert_eq!(done.code, 0, "{}", done.stderr);
    for part in [
        "2 PostgreSQL databases",
        "750",
        "FROM lineitem",
        "lineitem.parquet",
        "B/s",
    ] {
        assert_contains(&done.stdout, part);
    }
    if cfg!(feature = "datafusion") {
        assert_contains(&done.stdout, "1500");
        assert_contains(&done.stdout, "revenue");
    }
    wait_until_empty(folder.path());
}

#[test]
fn a_kept_demo_can_be_used_and_stopped_as_it_says() {
    let folder = folder();
    let Some(mut demo) = demo(folder.path(), "0.001", &["--keep"]) else {
        return;
    };
    let done = demo.run();
    assert_eq!(done.code, 0, "{}", done.stderr);
    let (before, after) = done.stdout.split_once("\nStop them").unwrap();
    let (_, commands) = before.split_once("Try:\n").unwrap();
    let run = |line: &str| {
        let output = Command::new("sh").args(["-c", line]).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{line}: {stderr}");
    };
    let commands = commands.lines().map(str::trim);
    let queries: Vec<_> = commands
        .filter(|line| line.contains(" query ") || line.contains(" explain "))
        .collect();
    assert!(queries.len() >= 2, "{}", done.stdout);
    queries.iter().for_each(|line| run(line));
    let stop = after
        .lines()
        .map(str::trim)
        .find(|line| line.starts_with("sh "))
        .unwrap();
    run(stop);
    wait_until_empty(folder.path());
}

#[cfg(feature = "datafusion")]
#[test]
fn the_session_in_the_readme_can_be_repeated_word_for_word() {
    let folder = folder();
    let path = folder.path().to_str().unwrap();
    let Some(mut demo) = full_demo(folder.path(), &["--keep", "--dir", path]) else {
        return;
    };
    let done = demo.run();
    assert_eq!(done.code, 0, "{}", done.stderr);
    let bin = Path::new(env!("CARGO_BIN_EXE_merganser")).parent().unwrap();
    let search = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let mut commands = 0;
    for (command, expected) in readme_session() {
        let output = Command::new("sh")
            .args(["-c", &command])
            .current_dir(folder.path())
            .env("PATH", &search)
            .env("MERGANSER_CACHE_DIR", super::CACHE)
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{command}: {stderr}");
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            expected,
            "{command}"
        );
        commands += 1;
    }
    assert_eq!(commands, 6);
    assert!(folder.path().join("orders.parquet").exists());
    let stopped = Command::new("sh")
        .arg(folder.path().join("stop.sh"))
        .output()
        .unwrap();
    assert!(stopped.status.success());
}

/// The commands behind `$ ` in the README's console blocks, and what follows each.
#[cfg(feature = "datafusion")]
fn readme_session() -> Vec<(String, String)> {
    let readme = include_str!("../../../../README.md");
    let mut session: Vec<(String, String)> = Vec::new();
    let mut inside = false;
    for line in readme.lines() {
        if line.starts_with("```") {
            inside = line == "```console";
        } else if let (true, Some(command)) = (inside, line.strip_prefix("$ ")) {
            session.push((command.to_owned(), String::new()));
        } else if let (true, Some((_, output))) = (inside, session.last_mut()) {
            output.push_str(line);
            output.push('\n');
        }
    }
    session
}

#[test]
fn an_interrupted_demo_leaves_nothing() {
    let folder = folder();
    let Some(mut demo) = demo(folder.path(), "1", &[]) else {
        return;
    };
    let child = demo.start();
    // At least one server is there.
    let deadline = Instant::now() + Duration::from_secs(30);
    while !names_in(folder.path())
        .iter()
        .any(|name| folder.path().join(name).join("data").exists())
    {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(20));
    }
    signal(&child, "INT");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    wait_until_empty(folder.path());
}

#[test]
fn without_postgresql_it_says_what_to_install() {
    let folder = folder();
    let mut demo = merganser(folder.path());
    let done = demo
        .arg("demo")
        .env("MERGANSER_PG_BINDIR", folder.path())
        .run();
    assert_eq!(done.code, 2);
    assert_contains(&done.stderr, "MERGANSER_PG_BINDIR");
    assert_eq!(names_in(folder.path()), [""; 0]);
}

/// The watchdog of a server may need a moment after the end of the program.
fn wait_until_empty(folder: &Path) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !names_in(folder).is_empty() {
        assert!(Instant::now() < deadline, "{:?}", names_in(folder));
        std::thread::sleep(Duration::from_millis(50));
    }
}
