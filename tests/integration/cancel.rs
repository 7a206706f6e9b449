//! Ending queries from another task or thread, against real servers.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatchWriter;
use futures::StreamExt;
use merganser::{
    CancelHandle, Cluster, Cursor, Error, ErrorKind, Order, Topology, arrow, blocking,
};

use crate::support;

/// `t(n)`, sharded by `n`, with a row on each shard.
fn topology(urls: &[String]) -> Topology {
    let mut toml = String::new();
    for (shard, url) in urls.iter().enumerate() {
        toml += &format!("[[shard]]\nname = \"s{shard}\"\nurl = \"{url}\"\n");
    }
    toml += "[[table]]\nname = \"t\"\nshard_key = \"n\"\n";
    Topology::from_toml(&toml).unwrap()
}

/// Cancels once so many backends are at work, and looks whether none is left.
fn cancel_when_active(
    handle: CancelHandle,
    urls: Vec<String>,
    active: usize,
) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        for _ in 0..1000 {
            if support::active(&urls) >= active {
                handle.cancel();
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("the query does not begin");
    })
}

fn assert_cancelled<T>(result: Result<T, Error>, urls: &[String]) {
    let error = result.err().expect("a cancelled query has no answer");
    assert_eq!(error.kind(), ErrorKind::Cancelled, "{error}");
    assert!(support::none_active(urls), "queries still run");
}

const SLEEP: &str = "select n, pg_sleep(600) from t";
/// Planning lets only what is the same everywhere be computed by a shard for itself; this is slow
/// by its rows.
const LONG: &str = "select count(*) from t a, generate_series(1, 1000000000) g where g % 7 = a.n";

#[test]
fn a_blocking_call_ends_when_another_thread_cancels() {
    let Some(urls) = support::numbered(&[1, 1, 1]) else {
        return;
    };
    let cluster = blocking::Cluster::new(topology(&urls)).unwrap();
    let fan_out = cluster.fan_out(SLEEP);
    let cancelling = cancel_when_active(fan_out.cancel_handle(), urls.clone(), 3);
    assert_cancelled(fan_out.collect(), &urls);
    cancelling.join().unwrap();

    let fan_out = cluster.fan_out(SLEEP);
    let handle = fan_out.cancel_handle();
    let mut reader = fan_out.stream().unwrap();
    let cancelling = cancel_when_active(handle.clone(), urls.clone(), 3);
    assert_cancelled(reader.next_batch(), &urls);
    cancelling.join().unwrap();
    assert!(reader.next_batch().unwrap().is_none());
    // Again, and after the end.
    handle.cancel();
    handle.cancel();

    let query = cluster.query(LONG);
    let cancelling = cancel_when_active(query.cancel_handle(), urls.clone(), 3);
    assert_cancelled(query.collect(), &urls);
    cancelling.join().unwrap();

    // What runs next is not hit.
    for _ in 0..20 {
        assert_eq!(cluster.fan_out("select 1").collect().unwrap().len(), 3);
    }
}

#[test]
fn a_cursor_has_one_handle_for_all_that_it_executes() {
    let Some(urls) = support::numbered(&[1, 1]) else {
        return;
    };
    let cluster = blocking::Cluster::new(topology(&urls)).unwrap();
    let mut cursor: Cursor = cluster.cursor();
    let handle = cursor.cancel_handle();
    // Nothing is executed.
    handle.cancel();
    for _ in 0..2 {
        cursor.execute_fan_out(cluster.fan_out(SLEEP)).unwrap();
        let cancelling = cancel_when_active(handle.clone(), urls.clone(), 2);
        assert_cancelled(cursor.fetch_one(), &urls);
        cancelling.join().unwrap();
        let again = cursor.fetch_one().unwrap_err();
        assert_eq!(again.kind(), ErrorKind::Cancelled);
    }
    let cancelling = cancel_when_active(handle.clone(), urls.clone(), 2);
    let executed = cursor.execute(LONG).and_then(|()| cursor.fetch_all());
    assert_cancelled(executed, &urls);
    cancelling.join().unwrap();
    cursor.execute("select n from t order by n").unwrap();
    assert_eq!(cursor.fetch_all().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_nobody_polls_is_cancelled_too() {
    let Some(urls) = support::numbered(&[1, 1]) else {
        return;
    };
    let cluster = Cluster::new(topology(&urls)).unwrap();
    let sql = "select n, pg_sleep(case when n < 20000 then 0 else 600 end)::text \
        from generate_series(1, 100000) n";
    let fan_out = cluster.fan_out(sql);
    let handle = fan_out.cancel_handle();
    let mut rows = fan_out.stream().await.unwrap();
    rows.next().await.unwrap().unwrap();
    handle.cancel();
    assert!(support::none_active(&urls), "queries still run");
    let error = rows.next().await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert!(rows.next().await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_cancelled_before_it_begins_does_not_begin() {
    let Some(urls) = support::numbered(&[1, 1]) else {
        return;
    };
    let cluster = Cluster::new(topology(&urls)).unwrap();
    let query = cluster.query("select n from t");
    // Clones are the same query.
    query.clone().cancel_handle().cancel();
    for error in [
        query.clone().plan().await.err(),
        query.clone().describe().await.err(),
        query.clone().mogrify().await.err(),
        query.clone().parameters().await.err(),
        query.collect().await.err(),
    ] {
        assert_eq!(error.unwrap().kind(), ErrorKind::Cancelled);
    }
    let other = cluster.query("select n from t").collect().await;
    assert!(other.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_frees_the_servers_of_a_stream_that_nobody_polls() {
    let Some(urls) = support::shards(2) else {
        return;
    };
    let cluster = Cluster::new(Topology::from_urls(urls.clone()).unwrap()).unwrap();
    let sql = "select n, repeat('x', 1000) from generate_series(1, 10000000) n";
    let query = cluster.fan_out(sql).with_timeout(Duration::from_secs(5));
    let mut rows = query.stream().await.unwrap();
    rows.next().await.unwrap().unwrap();
    // Nothing else ends them: they have far more rows than fit on the way.
    assert!(
        (0..30).any(|_| support::none_active(&urls)),
        "queries still run"
    );
    // Rows are there still, and are no answer any more.
    let error = rows.next().await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
}

/// A writer that is at its first batch until somebody lets it go.
struct Held(mpsc::Receiver<()>);

impl RecordBatchWriter for Held {
    fn write(&mut self, _: &RecordBatch) -> Result<(), ArrowError> {
        let _ = self.0.recv();
        Ok(())
    }

    fn close(self) -> Result<(), ArrowError> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_fails_is_noticed_while_the_writer_is_busy() {
    let Some(urls) = support::numbered(&[1, 1, 1]) else {
        return;
    };
    let cluster = Cluster::new(topology(&urls)).unwrap();
    // The last shard has no row for long, and each of the others more than fit on the way.
    let sql = "select g, repeat('x', 1000) from t, generate_series(1, 100000000) g \
        where n < 2 or pg_sleep(600) is not null";
    for order in [Order::Shard, Order::FirstCome] {
        let (release, held) = mpsc::channel();
        let query = cluster.fan_out(sql).with_order(order);
        let written = tokio::spawn(query.with_memory(16 << 20).write(|_| Ok(Held(held))));
        while support::active(&urls) < urls.len() {
            assert!(!written.is_finished());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // Until all that waits for the writer is full.
        tokio::time::sleep(Duration::from_millis(500)).await;
        let name = urls[2].rsplit('/').next().unwrap();
        let kill = format!(
            "select pg_terminate_backend(pid) from pg_stat_activity \
             where datname = '{name}' and state = 'active'"
        );
        support::server().unwrap().query("postgres", &kill).unwrap();
        let noticed = tokio::time::timeout(Duration::from_secs(30), written).await;
        let error = noticed.expect("it is noticed").unwrap().unwrap_err();
        assert_eq!(error.shard(), Some("s2"), "{error:?}");
        assert_eq!(error.sql_state(), Some("57P01"), "{error:?}");
        assert!(support::none_active(&urls), "queries still run");
        drop(release);
    }
}
