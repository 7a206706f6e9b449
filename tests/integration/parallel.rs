//! Every shard streams at its own speed, against real servers.

use std::time::Duration;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int32Type;
use futures::StreamExt;
use merganser::{Cluster, Order, QueryStream, ScanProgress, ShardState, Topology, arrow, blocking};

use crate::support;

/// Rows per shard: far more than waits on the way, so that whoever is not read is not done.
const ROWS: i32 = 100_000;

/// The first shard stops in the middle of its rows as long as somebody else has the lock there.
const STOPPING: &str = "select n, case when n = 50000 \
    then pg_catalog.pg_advisory_xact_lock_shared(7)::text else repeat('x', 100) end from t";

fn ints(batch: &RecordBatch) -> &[i32] {
    batch.column(0).as_primitive::<Int32Type>().values()
}

/// A session of its own in the database of a URL, which has the lock until it is dropped.
async fn lock(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    client
        .simple_query("select pg_advisory_lock(7)")
        .await
        .unwrap();
    client
}

/// Reads until all rows of the last shard are there.
async fn until_the_last_shard_is_read(rows: &mut QueryStream) -> usize {
    let (mut count, mut of_last) = (0, 0);
    while of_last < ROWS {
        let batch = rows.next().await.unwrap().unwrap();
        count += batch.num_rows();
        let last = ints(&batch).iter().filter(|n| **n >= 2 * ROWS).count();
        of_last += i32::try_from(last).unwrap();
    }
    count
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_shard_is_read_while_the_first_has_rows_still() {
    let Some(urls) = support::numbered(&[ROWS; 3]) else {
        return;
    };
    let cluster = Cluster::new(Topology::from_urls(urls.clone()).unwrap()).unwrap();
    let lock = lock(&urls[0]).await;
    let mut rows = cluster.fan_out(STOPPING).stream().await.unwrap();
    let before = until_the_last_shard_is_read(&mut rows).await;
    // The first shard cannot be done; now it can go on.
    drop(lock);
    let rest: Vec<_> = rows.map(Result::unwrap).collect().await;
    let after: usize = rest.iter().map(RecordBatch::num_rows).sum();
    assert_eq!(before + after, 300_000);
    assert!(after >= 50_000, "{after}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_planned_query_whose_order_is_open_does_not_wait_either() {
    let sizes = [400_000, 1, 1000];
    let Some(urls) = support::numbered(&sizes) else {
        return;
    };
    let mut toml = "[[table]]\nname = \"t\"\nshard_key = \"n\"\n".to_owned();
    for (shard, url) in urls.iter().enumerate() {
        toml += &format!("[[shard]]\nname = \"s{shard}\"\nurl = \"{url}\"\n");
    }
    let cluster = Cluster::new(Topology::from_toml(&toml).unwrap()).unwrap();
    let progress = ScanProgress::new();
    // What waits on the way is a small part of the first shard's rows.
    let query = cluster
        .query("select n, repeat('x', 100) as x from t")
        .with_memory(1 << 20);
    let is_last = |n: &i32| *n > sizes[0];
    let mut rows = query
        .clone()
        .with_progress(progress.clone())
        .stream()
        .await
        .unwrap();
    let mut seen = ints(&rows.next().await.unwrap().unwrap()).to_vec();
    for _ in 0..1000 {
        if progress.shards().last().unwrap().state == ShardState::Done {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    while seen.iter().filter(|n| is_last(n)).count() < 1000 {
        seen.extend(ints(&rows.next().await.unwrap().unwrap()));
    }
    assert!(seen.len() < 300_000, "{} rows came first", seen.len());
    while let Some(batch) = rows.next().await {
        seen.extend(ints(&batch.unwrap()));
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..401_001).collect::<Vec<_>>());

    let ordered = query.with_order(Order::Shard).collect().await.unwrap();
    let ordered: Vec<_> = ordered
        .iter()
        .flat_map(|batch| ints(batch).to_vec())
        .collect();
    assert_eq!(ordered.iter().position(is_last), Some(400_001));
}

#[test]
fn a_cursor_and_a_reader_do_not_wait_for_the_first_shard() {
    let Some(urls) = support::numbered(&[ROWS; 3]) else {
        return;
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let cluster = blocking::Cluster::new(Topology::from_urls(urls.clone()).unwrap()).unwrap();
    let held = runtime.block_on(lock(&urls[0]));
    let mut cursor = cluster.cursor();
    cursor.execute_fan_out(cluster.fan_out(STOPPING)).unwrap();
    let mut of_last = 0;
    while of_last < ROWS {
        let batch = cursor.fetch_batch().unwrap().unwrap();
        let last = ints(&batch).iter().filter(|n| **n >= 2 * ROWS).count();
        of_last += i32::try_from(last).unwrap();
    }
    assert_eq!(cursor.rowcount(), None);
    drop(held);
    while cursor.fetch_batch().unwrap().is_some() {}
    assert_eq!(cursor.rowcount(), Some(300_000));
}
