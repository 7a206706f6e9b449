//! What is lost while a job runs: executors, snapshots, the client. Either the answer is that of the
//! snapshot, or there is none.

use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use merganser_local::fixture;

use crate::export::{ids, listed_ids, manifest};
use crate::local::{
    Cluster, Done, Particulars, Running, database, events, files, files_below, free_port, oracle,
    until,
};

/// An export that takes long enough for something to happen, and whose snapshots are taken.
fn exporting(cluster: &Cluster) -> Running {
    let mut running = Running::start(cluster, &["export", "--to", "out", "TABLE events"]);
    running.has_begun();
    running
}

const SHARDS: usize = 4;
const ROWS: usize = 60_000;

#[test]
fn an_executor_that_is_killed_loses_nothing_while_others_write() {
    let Some((urls, topology)) = events(SHARDS, ROWS) else {
        return;
    };
    let mut cluster = Cluster::start(&topology, &[Particulars::default(); 2]);
    let folder = cluster.path("out");
    let mut running = exporting(&cluster);
    for (number, url) in urls.iter().enumerate() {
        let shard = number * ROWS;
        for sql in [
            format!("delete from events where id % 3 = 0 and id > {shard}"),
            "update events set id = -id where id % 3 = 1".to_owned(),
            "insert into events select n, 'new' from generate_series(1000000, 1001000) n"
                .to_owned(),
        ] {
            fixture::execute(url, &sql);
        }
    }
    running.under_way(&folder);
    cluster.executors[0].kill();
    let done = running.ended();
    assert!(done.is_success(), "{}", done.stderr);
    let rows = i64::try_from(SHARDS * ROWS).unwrap();
    assert_eq!(ids(&folder), (0..rows).collect::<Vec<_>>());
    assert!(done.stderr.contains("e2: "), "{}", done.stderr);
}

#[test]
fn an_executor_that_was_taken_for_dead_and_lives_adds_no_row() {
    let Some((_, topology)) = events(SHARDS, ROWS) else {
        return;
    };
    let cluster = Cluster::start(&topology, &[Particulars::default(); 2]);
    let folder = cluster.path("out");
    let mut running = exporting(&cluster);
    running.under_way(&folder);
    cluster.executors[0].signal("STOP");
    // Until the scheduler has given it up, and what it did is done again.
    assert!(until(|| cluster.logs().contains("Reset ")));
    cluster.executors[0].signal("CONT");
    let done = running.ended();
    assert!(done.is_success(), "{}", done.stderr);
    let rows = i64::try_from(SHARDS * ROWS).unwrap();
    // It may name a file in the moment in which the manifest gets its name, which does not list it.
    assert_eq!(listed_ids(&folder), (0..rows).collect::<Vec<_>>());
}

#[test]
fn an_executor_that_is_lost_with_partial_aggregates_is_counted_once() {
    let Some((urls, topology)) = events(SHARDS, ROWS) else {
        return;
    };
    // Slow enough, and in many parts.
    let sql = "SELECT count(*), sum(id), sum(length(md5(repeat(filler, 60)))) FROM events";
    let rows = i64::try_from(SHARDS * ROWS).unwrap();
    let expected = format!("{rows},{},{}", rows * (rows - 1) / 2, rows * 32);
    for signals in [&["KILL"][..], &["STOP", "CONT"]] {
        let cluster = Cluster::start(&topology, &[Particulars::default(); 2]);
        let mut command = cluster.client("query");
        let asking = command
            .arg(sql)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut asking = asking.spawn().unwrap();
        // Some of its parts are done, and where others look for them.
        assert!(until(|| !files_below(&cluster.path("e1")).is_empty()));
        thread::sleep(Duration::from_millis(500));
        assert!(asking.try_wait().unwrap().is_none(), "it was too fast");
        cluster.executors[0].signal(signals[0]);
        assert!(until(|| cluster.logs().contains("Reset ")));
        if let Some(signal) = signals.get(1) {
            cluster.executors[0].signal(signal);
        }
        let done = Done::from(asking.wait_with_output().unwrap());
        assert!(done.parts() > 20, "{}", done.stderr);
        assert_eq!(done.rows(), [&expected], "{signals:?}: {}", done.stderr);
    }
    assert!(fixture::none_active(&urls));
}

#[test]
fn without_its_snapshots_an_export_is_an_error_without_manifest() {
    let Some((urls, topology)) = events(SHARDS, ROWS) else {
        return;
    };
    let cluster = Cluster::start(&topology, &[Particulars::default(); 2]);
    let folder = cluster.path("out");
    let mut running = exporting(&cluster);
    running.under_way(&folder);
    let database = database(&urls[2]);
    let holders = oracle(
        &urls[2],
        &format!(
            "select pg_terminate_backend(pid) from pg_stat_activity \
             where datname = '{database}' and state = 'idle in transaction'"
        ),
    );
    assert!(!holders.is_empty());
    let done = running.ended();
    assert_ne!(done.code, Some(0), "{}", done.stderr);
    assert!(done.stderr.contains("snapshot"), "{}", done.stderr);
    assert!(done.stderr.contains("\"s2\""), "{}", done.stderr);
    assert!(!folder.exists(), "{:?}", files(&folder, "", ""));
    assert!(fixture::none_active(&urls));
}

#[test]
fn without_executors_a_job_is_an_error_and_no_hang() {
    let Some((urls, topology)) = events(SHARDS, ROWS) else {
        return;
    };
    let mut cluster = Cluster::start(&topology, &[Particulars::default(); 2]);
    let folder = cluster.path("out");
    let mut running = exporting(&cluster);
    running.under_way(&folder);
    for executor in &mut cluster.executors {
        executor.kill();
    }
    let done = running.ended();
    assert_eq!(done.code, Some(1), "{}", done.stderr);
    assert!(done.stderr.contains("executor"), "{}", done.stderr);
    assert!(!folder.exists(), "{:?}", files(&folder, "", ""));
    assert!(fixture::none_active(&urls));
}

#[test]
fn with_its_scheduler_a_job_ends() {
    let Some((_, topology)) = events(SHARDS, ROWS) else {
        return;
    };
    let mut cluster = Cluster::start(&topology, &[Particulars::default(); 2]);
    let folder = cluster.path("out");
    let mut running = exporting(&cluster);
    running.under_way(&folder);
    cluster.kill_scheduler();
    let done = running.ended();
    assert_eq!(done.code, Some(4), "{}", done.stderr);
    assert!(done.stderr.contains("scheduler"), "{}", done.stderr);
    assert!(!folder.join("_manifest.json").exists());
    let none = cluster.run(&["query", "SELECT count(*) FROM events"]);
    assert_eq!(none.code, Some(4), "{}", none.stderr);
    assert!(
        none.stderr.contains("no scheduler answers"),
        "{}",
        none.stderr
    );
}

#[test]
fn an_interrupt_reaches_the_shards_and_leaves_the_executors_usable() {
    let Some((urls, topology)) = events(SHARDS, ROWS) else {
        return;
    };
    let cluster = Cluster::start(&topology, &[Particulars::default(); 2]);
    let folder = cluster.path("out");
    // More often than there are vcores: none is lost.
    for _ in 0..3 {
        let mut running = exporting(&cluster);
        running.under_way(&folder);
        running.signal("INT");
        let done = running.ended();
        assert_eq!(done.code, Some(130), "{}", done.stderr);
        assert!(done.stderr.contains("interrupted"), "{}", done.stderr);
        // Two seconds at most.
        assert!(fixture::none_active(&urls));
        assert!(!folder.join("_manifest.json").exists());
        // An executor may have been about to name a file.
        thread::sleep(Duration::from_millis(500));
        let _ = std::fs::remove_dir_all(&folder);
    }
    cluster.answer(&["export", "--to", "out", "TABLE events"]);
    assert_eq!(manifest(&folder).rows as usize, SHARDS * ROWS);
}

#[test]
fn an_executor_with_another_topology_or_key_is_named() {
    let Some((_, topology)) = events(2, 10) else {
        return;
    };
    let Some((_, other)) = events(3, 10) else {
        return;
    };
    let cluster = Cluster::start(
        &topology,
        &[Particulars {
            topology: Some(&other),
            ..Particulars::default()
        }],
    );
    let done = cluster.run(&["export", "--to", "out", "TABLE events"]);
    assert_eq!(done.code, Some(2), "{}", done.stderr);
    assert!(done.stderr.contains("another topology"), "{}", done.stderr);
    assert!(done.stderr.contains("hint: "), "{}", done.stderr);
    assert!(!cluster.path("out").exists());
    drop(cluster);

    let cluster = Cluster::start(
        &topology,
        &[Particulars {
            key: "a key that the client has not",
            ..Particulars::default()
        }],
    );
    let done = cluster.run(&["export", "--to", "out", "TABLE events"]);
    assert_eq!(done.code, Some(2), "{}", done.stderr);
    assert!(done.stderr.contains("seal"), "{}", done.stderr);
    assert!(!cluster.path("out").exists());
    let mut command = cluster.client("export");
    command.env("MERGANSER_PARTITION_KEY", "a key that the client has not");
    let done: Done = command
        .args(["--to", "out", "TABLE events"])
        .output()
        .unwrap()
        .into();
    assert!(done.is_success(), "{}", done.stderr);
}

#[test]
fn a_shard_that_is_not_reached_at_once_is_asked_again_and_one_that_never_is_is_named() {
    let Some((urls, topology)) = events(1, 100) else {
        return;
    };
    let port = free_port();
    let server = fixture::server().unwrap().port();
    let through = topology.replace(&format!(":{server}/"), &format!(":{port}/"));
    assert_ne!(through, topology);
    let cluster = Cluster::start(
        &topology,
        &[Particulars {
            topology: Some(&through),
            ..Particulars::default()
        }],
    );
    let sql = "SELECT count(*), sum(id) FROM events";
    let done = cluster.run(&["query", "--partitions", "1", sql]);
    assert_eq!(done.code, Some(4), "{}", done.stderr);
    assert!(
        done.stderr.contains(&format!("127.0.0.1:{port}")),
        "{}",
        done.stderr
    );
    assert!(fixture::none_active(&urls));

    let mut command = cluster.client("query");
    let asking = command
        .arg(sql)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let asking = asking.spawn().unwrap();
    assert!(until(|| cluster.logs().matches("asking again").count() > 20));
    forward(port, server);
    let done = Done::from(asking.wait_with_output().unwrap());
    assert_eq!(done.rows(), ["100,4950"], "{}", done.stderr);
}

/// Hands on what comes to a port, as long as the process lives.
fn forward(from: u16, to: u16) {
    let listener = TcpListener::bind(("127.0.0.1", from)).unwrap();
    thread::spawn(move || {
        for client in listener.incoming() {
            let client = client.unwrap();
            let server = TcpStream::connect(("127.0.0.1", to)).unwrap();
            let ways = [
                (client.try_clone().unwrap(), server.try_clone().unwrap()),
                (server, client),
            ];
            for (mut from, mut to) in ways {
                thread::spawn(move || {
                    // Either side may end it.
                    let _ = io::copy(&mut from, &mut to);
                    let _ = to.shutdown(Shutdown::Both);
                });
            }
        }
    });
}
