//! A password is in the topology files, and nowhere else.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::local::{Cluster, Done, Particulars, events, until};

const CANARY: &str = "canary-4711";

#[test]
fn a_password_is_in_no_plan_log_file_or_list_of_processes() {
    let Some((_, topology)) = events(2, 20_000) else {
        return;
    };
    // The servers trust everybody: what is sent is looked at, not whether it helps.
    let topology = topology.replace("@127.0.0.1", &format!(":{CANARY}@127.0.0.1"));
    assert_eq!(topology.matches(CANARY).count(), 2, "{topology}");
    let cluster = Cluster::start_logging("trace", &topology, &[Particulars::default(); 2]);
    let folder = cluster.path("out");
    let mut command = cluster.client("export");
    command.args(["--to", "out", "TABLE events"]);
    let log = cluster.path("client.log");
    command.stderr(File::create(&log).unwrap());
    let mut client = command.spawn().unwrap();
    assert!(until(|| folder.exists()));
    let processes = Command::new("ps").args(["axeww"]).output().unwrap();
    let processes = String::from_utf8_lossy(&processes.stdout).into_owned();
    assert!(processes.contains("merganser-ballista"), "{processes}");
    assert!(!processes.contains(CANARY), "{processes}");
    let is_success = client.wait().unwrap().success();
    let said = fs::read_to_string(&log).unwrap();
    assert!(is_success, "{said}");
    assert!(said.contains("TRACE"), "{said}");
    assert!(!said.contains(CANARY));
    // With an error, too.
    let sql = "SELECT id, count(*), min(1 / (id - 7)) FROM events GROUP BY id";
    let failed = cluster.run(&["query", sql]);
    assert_ne!(failed.code, Some(0), "{}", failed.stdout);
    assert!(!failed.stderr.contains(CANARY));

    let logs = cluster.logs();
    assert!(logs.contains("TRACE"), "{logs}");
    let mut looked_at = 0;
    search(cluster.folder.path(), &mut looked_at);
    assert!(looked_at > 5, "{looked_at} files");
}

#[test]
fn an_executor_takes_no_folder_that_others_may_use() {
    let folder = tempfile::tempdir().unwrap();
    let topology = "[[shard]]\nname = \"s0\"\nurl = \"postgresql://127.0.0.1:1/none\"\n";
    fs::write(folder.path().join("merganser.toml"), topology).unwrap();
    fs::create_dir(folder.path().join("work")).unwrap();
    fs::set_permissions(folder.path().join("work"), Permissions::from_mode(0o755)).unwrap();
    let mut executor = Command::new(env!("CARGO_BIN_EXE_merganser-ballista"));
    executor.current_dir(folder.path());
    executor.args(["executor", "--id", "e1", "--work-dir", "work"]);
    let done: Done = executor.output().unwrap().into();
    assert_eq!(done.code, Some(2), "{}", done.stderr);
    assert!(done.stderr.contains("others may use"), "{}", done.stderr);
    assert!(done.stderr.contains("hint: chmod 700"), "{}", done.stderr);
}

/// Looks into all files but the topology files.
fn search(folder: &Path, looked_at: &mut usize) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            search(&path, looked_at);
        } else if path.extension().is_none_or(|extension| extension != "toml") {
            let bytes = fs::read(&path).unwrap();
            let found = bytes
                .windows(CANARY.len())
                .any(|bytes| bytes == CANARY.as_bytes());
            assert!(!found, "{path:?}");
            *looked_at += 1;
        }
    }
}
