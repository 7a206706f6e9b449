//! Ctrl-C and SIGTERM, whatever a client is at: `losses` has those while a job runs.

use std::io::Read;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use merganser_local::fixture;

use crate::local::{Cluster, Particulars, Running, database, events, files_below, oracle, until};

const SIGNALS: [&str; 2] = ["INT", "TERM"];
const GROUPS: &str = "SELECT id + 1 AS k, count(*) FROM events GROUP BY 1";

/// A table that nobody can read until the value is dropped.
struct Locked<'a> {
    url: &'a str,
    holder: Option<JoinHandle<()>>,
}

impl<'a> Locked<'a> {
    fn new(url: &'a str, table: &str) -> Self {
        let name = database(url).to_owned();
        let sql = format!("begin; lock table {table}; select pg_sleep(600)");
        let holder = thread::spawn(move || {
            // It ends with an error, when it is told to.
            let _ = fixture::server().unwrap().execute(&name, &sql);
        });
        assert!(until(|| backends(url, "wait_event = 'PgSleep'") == 1));
        Self {
            url,
            holder: Some(holder),
        }
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        let sql = format!(
            "select pg_terminate_backend(pid) from pg_stat_activity \
             where datname = '{}' and wait_event = 'PgSleep'",
            database(self.url)
        );
        oracle(self.url, &sql);
        let _ = self.holder.take().map(JoinHandle::join);
    }
}

/// How many backends of a database are so.
fn backends(url: &str, condition: &str) -> usize {
    let sql = format!(
        "select count(*) from pg_stat_activity where datname = '{}' and {condition}",
        database(url)
    );
    oracle(url, &sql)[0].parse().unwrap()
}

#[test]
fn a_client_that_waits_for_a_shard_ends() {
    let Some((urls, topology)) = events(2, 10) else {
        return;
    };
    let cluster = Cluster::start(&topology, &[]);
    let _locked = Locked::new(&urls[1], "events");
    for arguments in [
        &["export", "--to", "out", "TABLE events"][..],
        &["query", GROUPS],
    ] {
        for signal in SIGNALS {
            let running = Running::start(&cluster, arguments);
            assert!(until(|| backends(&urls[1], "wait_event_type = 'Lock'") == 1));
            running.signal(signal);
            let done = running.ended();
            assert_eq!(done.code, Some(130), "{signal}: {}", done.stderr);
            assert!(done.stderr.contains("interrupted"), "{}", done.stderr);
            // Nor does the shard go on waiting.
            assert!(until(|| backends(&urls[1], "wait_event_type = 'Lock'") == 0));
            assert!(fixture::none_active(&urls));
            assert!(!cluster.path("out").exists());
        }
    }
}

#[test]
fn a_client_whose_reader_stands_still_ends_and_leaves_no_rows_on_executors() {
    let Some((urls, topology)) = events(2, 30_000) else {
        return;
    };
    let cluster = Cluster::start(&topology, &[Particulars::default()]);
    for signal in SIGNALS {
        let mut running = Running::start(&cluster, &["query", GROUPS]);
        // More than a pipe holds: after the first byte nobody takes any.
        running.stdout().read_exact(&mut [0]).unwrap();
        running.signal(signal);
        let done = running.ended();
        assert_eq!(done.code, Some(130), "{signal}: {}", done.stderr);
        assert!(done.stderr.contains("interrupted"), "{}", done.stderr);
        assert!(fixture::none_active(&urls));
        let work_dir = cluster.path("e1");
        assert!(until(|| files_below(&work_dir).is_empty()));
    }
    // All of them, for somebody who reads.
    let done = cluster.answer(&["query", GROUPS]);
    assert_eq!(done.rows().len(), 60_000);
    assert!(done.stdout.len() > 256 << 10);
}

#[test]
fn a_client_whose_scheduler_stands_still_ends_and_at_once_if_it_is_told_twice() {
    let Some((urls, topology)) = events(2, 10) else {
        return;
    };
    let cluster = Cluster::start(&topology, &[]);
    cluster.signal_scheduler("STOP");
    for signals in [&["INT"][..], &["INT", "TERM"]] {
        let mut running = Running::start(&cluster, &["query", GROUPS]);
        running.has_begun();
        for signal in signals {
            running.signal(signal);
            // Two that come together are one.
            thread::sleep(Duration::from_millis(500));
        }
        let done = running.ended();
        assert_eq!(done.code, Some(130), "{signals:?}: {}", done.stderr);
        // The second one waits for nothing, so nobody is left who could say so.
        let is_told = done.stderr.contains("interrupted");
        assert_eq!(is_told, signals.len() == 1, "{}", done.stderr);
        assert!(fixture::none_active(&urls));
    }
}
