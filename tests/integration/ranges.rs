//! Several connections read one shard, in ranges of a table's blocks, while others write to it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{self, AtomicBool};
use std::time::{Duration, Instant};

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type};
use futures::StreamExt;
use merganser::provider::datafusion::datasource::memory::MemorySourceConfig;
use merganser::provider::datafusion::physical_plan;
use merganser::provider::datafusion::prelude::SessionContext;
use merganser::{
    Cluster, ErrorKind, Order, Partition, PartitionOptions, QueryStream, Topology, arrow, blocking,
};

use crate::support;

const ROWS: i32 = 60_000;

/// Two shards with accounts: their numbers, and balances that are 10 each; about 14 MB each. That of the
/// second shard is partitioned, unevenly.
fn accounts() -> Option<Vec<String>> {
    let urls = support::shards(2)?;
    let columns = "n int, balance int, filler text";
    support::execute(&urls[0], &format!("CREATE TABLE t ({columns})"));
    support::execute(
        &urls[1],
        &format!(
            "CREATE TABLE t ({columns}) PARTITION BY RANGE (n);
             CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (80000);
             CREATE TABLE t2 PARTITION OF t FOR VALUES FROM (80000) TO (119000);
             CREATE TABLE t3 PARTITION OF t FOR VALUES FROM (119000) TO (119001);
             CREATE TABLE t4 PARTITION OF t FOR VALUES FROM (119001) TO (200000)"
        ),
    );
    for (shard, url) in urls.iter().enumerate() {
        let first = i32::try_from(shard).unwrap() * ROWS;
        let last = first + ROWS - 1;
        support::execute(
            url,
            &format!(
                "INSERT INTO t SELECT n, 10, repeat('x', 180) FROM generate_series({first}, {last}) n;
                 ANALYZE t"
            ),
        );
    }
    Some(urls)
}

fn cluster(urls: &[String]) -> Cluster {
    let mut toml = "[[table]]\nname = \"t\"\nshard_key = \"n\"\n".to_owned();
    for (shard, url) in urls.iter().enumerate() {
        toml += &format!("[[shard]]\nname = \"s{shard}\"\nurl = \"{url}\"\n");
    }
    let topology = Topology::from_toml(&toml).unwrap();
    Cluster::builder(topology)
        .with_connections_per_shard(3)
        .build()
        .unwrap()
}

fn numbers(batches: &[RecordBatch]) -> Vec<i32> {
    let numbers = batches.iter().flat_map(|batch| {
        batch
            .column(0)
            .as_primitive::<Int32Type>()
            .values()
            .to_vec()
    });
    let mut numbers: Vec<_> = numbers.collect();
    numbers.sort_unstable();
    numbers
}

fn balance(batches: &[RecordBatch]) -> i64 {
    let balances = batches.iter().flat_map(|batch| {
        batch
            .column(1)
            .as_primitive::<Int32Type>()
            .values()
            .to_vec()
    });
    balances.map(i64::from).sum()
}

/// Runs statements again and again until it is told to stop.
struct Writer {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<usize>>,
}

impl Writer {
    fn start(url: &str, statements: impl Fn(usize) -> String + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (url, stopped) = (url.to_owned(), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let mut rounds = 0;
            while !stopped.load(atomic::Ordering::Relaxed) {
                support::execute(&url, &statements(rounds));
                rounds += 1;
            }
            rounds
        });
        Self {
            stop,
            thread: Some(thread),
        }
    }

    fn stop(mut self) -> usize {
        self.stop.store(true, atomic::Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop.store(true, atomic::Ordering::Relaxed);
    }
}

/// How many backends wait for a lock.
async fn waiting(client: &tokio_postgres::Client, word: &str) -> i64 {
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
               AND wait_event_type = 'Lock' AND query LIKE $1";
    let row = client
        .query_one(sql, &[&format!("%{word}%")])
        .await
        .unwrap();
    row.get(0)
}

async fn client(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn no_row_comes_twice_or_is_missing_while_others_write() {
    let Some(urls) = accounts() else { return };
    // Rows move to other places, and money between them; old versions are removed, and their places taken.
    let writers: Vec<_> = urls
        .iter()
        .enumerate()
        .map(|(shard, url)| {
            let first = i32::try_from(shard).unwrap() * ROWS;
            Writer::start(url, move |round| {
                let from = first + (round as i32 * 7_919) % ROWS;
                let to = first + (round as i32 * 104_729 + 1) % ROWS;
                format!(
                    "BEGIN; UPDATE t SET balance = balance - 1 WHERE n = {from};
                     UPDATE t SET balance = balance + 1 WHERE n = {to};
                     UPDATE t SET filler = filler WHERE n % 50 = {}; COMMIT",
                    round % 50
                )
            })
        })
        .collect();
    let vacuums: Vec<_> = urls
        .iter()
        .map(|url| Writer::start(url, |_| "VACUUM t".to_owned()))
        .collect();
    let cluster = cluster(&urls);
    let all: Vec<_> = (0..2 * ROWS).collect();
    for round in 0..6 {
        let batches = match round % 2 {
            0 => {
                let query = cluster.query("SELECT n, balance FROM t");
                query.with_readers_per_shard(3).collect().await.unwrap()
            }
            _ => {
                let query = cluster.fan_out("SELECT n, balance FROM t");
                query.with_readers_per_shard(3).collect().await.unwrap()
            }
        };
        assert!(numbers(&batches) == all, "round {round}");
        // Each shard's money is as it was at one moment.
        assert_eq!(balance(&batches), i64::from(ROWS) * 20, "round {round}");
    }
    // Partial sums of ranges, which are merged.
    let sums = cluster
        .query("SELECT count(*) AS n, sum(balance) AS balance, min(n), max(n) FROM t")
        .with_readers_per_shard(3)
        .collect()
        .await
        .unwrap();
    let value = |column: usize| sums[0].column(column).as_primitive::<Int64Type>().value(0);
    assert_eq!(
        (value(0), value(1)),
        (i64::from(ROWS) * 2, i64::from(ROWS) * 20)
    );
    for writer in writers.into_iter().chain(vacuums) {
        assert!(writer.stop() > 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_connections_read_and_a_truncate_waits_for_them() {
    let Some(urls) = accounts() else { return };
    let cluster = cluster(&urls);
    let observer = client(&urls[0]).await;
    let query = cluster
        .query("SELECT n, balance, filler FROM t")
        .with_memory(1 << 20);
    let mut rows = query.with_readers_per_shard(3).stream().await.unwrap();
    let mut batches = vec![rows.next().await.unwrap().unwrap()];
    let reading = "SELECT count(*) FROM pg_stat_activity \
                   WHERE datname = current_database() AND query LIKE 'COPY%ctid%'";
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let reading: i64 = observer.query_one(reading, &[]).await.unwrap().get(0);
        assert!(reading <= 3, "{reading}");
        if reading >= 2 {
            break;
        }
        // The others have not come that far yet.
        assert!(Instant::now() < deadline, "{reading}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // It has to wait until all ranges are read; so has whoever comes behind it.
    let truncating = client(&urls[0]).await;
    let truncate = tokio::spawn(async move { truncating.batch_execute("TRUNCATE t").await });
    let deadline = Instant::now() + Duration::from_secs(30);
    while waiting(&observer, "TRUNCATE").await == 0 {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    while let Some(batch) = rows.next().await {
        batches.push(batch.unwrap());
    }
    drop(rows);
    assert!(numbers(&batches) == (0..2 * ROWS).collect::<Vec<_>>());
    truncate.await.unwrap().unwrap();
    assert!(support::none_active(&urls));
}

#[tokio::test]
async fn explain_says_who_reads() {
    let Some(urls) = accounts() else { return };
    let cluster = cluster(&urls);
    support::execute(&urls[0], "CREATE INDEX ON t (n)");
    support::execute(&urls[1], "CREATE INDEX ON t (n)");
    let explained = async |sql: &str| {
        let query = cluster.query(sql).with_readers_per_shard(3);
        query.explain().await.unwrap().to_string()
    };
    for (sql, part) in [
        (
            "SELECT n FROM t",
            "read by up to 3 connections for each shard, in ranges of",
        ),
        (
            "SELECT count(*) FROM t",
            "read by up to 3 connections for each shard",
        ),
        (
            "SELECT n FROM t LIMIT 2",
            "read by one connection for each shard: it has LIMIT",
        ),
        (
            "SELECT n FROM t ORDER BY n",
            "read by one connection for each shard: it has ORDER BY",
        ),
        (
            "SELECT a.n FROM t a JOIN t b ON a.n = b.n",
            "read by one connection for each shard: it has a join",
        ),
        ("SELECT n FROM t WHERE n = 5", "finds the rows by an index"),
    ] {
        let text = explained(sql).await;
        assert!(text.contains(part), "{sql}:\n{text}");
    }
    // Nobody asked for several.
    let text = cluster
        .query("SELECT n FROM t")
        .explain()
        .await
        .unwrap()
        .to_string();
    assert!(!text.contains("read by"), "{text}");
    let ordered = cluster.query("SELECT n FROM t").with_readers_per_shard(3);
    let ordered = ordered.with_order(Order::Shard);
    let text = ordered.explain().await.unwrap().to_string();
    assert!(text.contains("in the order of the shard"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_equal_whoever_reads() {
    let Some(urls) = accounts() else { return };
    let cluster = cluster(&urls);
    for sql in [
        "SELECT n, balance FROM t WHERE n % 7 = 3 OR n < 10",
        "SELECT n % 5 AS n, count(*) AS c FROM t GROUP BY 1",
        "SELECT n FROM t ORDER BY n DESC LIMIT 5",
        "SELECT DISTINCT n % 11 AS n FROM t",
        "SELECT count(DISTINCT n)::int AS n FROM t",
        "SELECT max(n) AS n FROM t GROUP BY balance HAVING count(*) > 1",
        "SELECT n FROM t WHERE n IN (SELECT max(n) FROM t)",
    ] {
        let query = cluster.query(sql);
        let one = query.clone().collect().await.unwrap();
        let many = query.with_readers_per_shard(3).collect().await.unwrap();
        assert_eq!(numbers(&one), numbers(&many), "{sql}");
    }
    let names: BTreeSet<_> = ["s0.csv", "s1.csv", "_manifest.json"]
        .map(str::to_owned)
        .into();
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("out");
    let folder = merganser::export::Folder::new(&path, merganser::export::Format::Csv);
    let query = cluster.query("SELECT n FROM t").with_readers_per_shard(2);
    let manifest = query.write_folder(&folder).await.unwrap();
    assert_eq!(manifest.rows, 2 * ROWS as u64);
    let entries = std::fs::read_dir(&path).unwrap();
    let found = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(found.collect::<BTreeSet<_>>(), names);
}

/// The partitions of a query, of about 2 MiB each.
fn small() -> PartitionOptions {
    PartitionOptions::new().with_bytes(2 << 20)
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_have_each_row_once_whoever_reads_and_whatever_others_write() {
    let Some(urls) = accounts() else { return };
    let cut = cluster(&urls)
        .query("SELECT n, balance FROM t")
        .partitions(&small())
        .await
        .unwrap();
    assert!(cut.parts.len() > 8, "{}", cut.parts.len());
    assert_eq!(cut.whole, None);
    assert_eq!(cut.schema.field(0).name(), "n");
    for url in &urls {
        support::execute(
            url,
            "UPDATE t SET balance = 0, n = n; DELETE FROM t WHERE n % 2 = 0",
        );
        support::execute(url, "VACUUM t");
        support::execute(url, "INSERT INTO t SELECT * FROM t");
    }
    // As another process does.
    let sealed: Vec<_> = cut.parts.iter().map(|part| part.seal(b"key")).collect();
    let elsewhere = cluster(&urls);
    let mut all = Vec::new();
    for sealed in &sealed {
        let part = Partition::unseal(sealed, b"key").unwrap();
        let batches = elsewhere.read_partition(&part).collect().await.unwrap();
        let again = elsewhere.read_partition(&part).collect().await.unwrap();
        assert_eq!(numbers(&batches), numbers(&again));
        all.extend(batches);
    }
    assert!(numbers(&all) == (0..2 * ROWS).collect::<Vec<_>>());
    assert_eq!(balance(&all), i64::from(ROWS) * 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn partial_aggregates_of_all_partitions_make_the_answer() {
    let Some(urls) = accounts() else { return };
    let cluster = cluster(&urls);
    for sql in [
        "SELECT n % 7 AS k, sum(balance) AS total, count(*), max(n) FROM t GROUP BY 1",
        "SELECT count(*) AS n, min(n) FROM t WHERE balance > 20",
        "SELECT n % 7 AS k, avg(balance) AS mean FROM t GROUP BY 1 HAVING count(*) > 10 ORDER BY 1 DESC",
    ] {
        let query = cluster.query(sql);
        let cut = query.partial_partitions(&small()).await.unwrap();
        assert!(cut.partitions.parts.len() >= 2);
        let mut rows = Vec::new();
        for part in &cut.partitions.parts {
            let sealed = Partition::unseal(&part.seal(b""), b"").unwrap();
            rows.push(cluster.read_partition(&sealed).collect().await.unwrap());
        }
        let schema = cut.partitions.schema.clone();
        let source = MemorySourceConfig::try_new_exec(&rows, schema, None).unwrap();
        let plan = cut.merge.plan(source, 3).await.unwrap();
        let context = SessionContext::new().task_ctx();
        let merged = physical_plan::collect(plan.clone(), context).await.unwrap();
        let merged = QueryStream::new(plan.schema(), futures::stream::iter(merged).map(Ok));
        let answer = cut.merge.finish(merged).await.unwrap();
        let expected = cluster.query(sql).describe().await.unwrap();
        assert_eq!(answer.schema(), expected);
        assert_eq!(
            sorted(answer.collect().await.unwrap()),
            sorted(cluster.query(sql).collect().await.unwrap()),
            "{sql}"
        );
    }
    for sql in [
        "SELECT n FROM t",
        "SELECT n FROM t ORDER BY n",
        "SELECT a.n FROM t a JOIN t b ON a.n = b.balance",
    ] {
        let query = cluster.query(sql);
        let error = query.partial_partitions(&small()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{sql}");
        assert!(error.hint().is_some(), "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_that_contradict_each_other_have_parts_without_rows() {
    let Some(urls) = support::numbered(&[3, 4]) else {
        return;
    };
    let mut toml =
        "[[table]]\nname = \"t\"\nshard_key = \"n\"\nshard_index = \"n / 3\"\n".to_owned();
    for (shard, url) in urls.iter().enumerate() {
        toml += &format!("[[shard]]\nname = \"s{shard}\"\nurl = \"{url}\"\n");
    }
    let cluster = Cluster::new(Topology::from_toml(&toml).unwrap()).unwrap();
    let none = "FROM t WHERE n = 1 AND n = 4";
    let query = cluster.query(format!("SELECT n {none}"));
    let cut = query.partitions(&small()).await.unwrap();
    for part in &cut.parts {
        let rows = cluster.read_partition(part).collect().await.unwrap();
        assert!(numbers(&rows).is_empty());
    }
    drop(cut);
    let query = cluster.query(format!("SELECT n % 2, count(*) {none} GROUP BY 1"));
    if let Ok(cut) = query.partial_partitions(&small()).await {
        for part in &cut.partitions.parts {
            let rows = cluster.read_partition(part).collect().await.unwrap();
            assert_eq!(rows.iter().map(RecordBatch::num_rows).sum::<usize>(), 0);
        }
    }
    cluster.close().await;
}

/// The rows as text, in an order that does not depend on who was first.
fn sorted(batches: Vec<RecordBatch>) -> Vec<String> {
    let shown = arrow::util::pretty::pretty_format_batches(&batches).unwrap();
    let mut lines: Vec<_> = shown.to_string().lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_that_cannot_be_read_says_why() {
    let Some(urls) = accounts() else { return };
    let first = cluster(&urls);
    let query = first.fan_out("SELECT n FROM t");
    let mut cut = query.partitions(&small()).await.unwrap();
    let part = cut.parts[0].clone();
    assert_eq!((part.shard(), part.blocks().unwrap().start), ("s0", 0));

    let other = Cluster::new(Topology::from_urls(urls.clone()).unwrap()).unwrap();
    let error = other.read_partition(&part).collect().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.message().contains("another topology"), "{error}");

    // Who reads now would wait for whoever waits for the lease.
    let truncating = client(&urls[0]).await;
    let truncate = tokio::spawn(async move { truncating.batch_execute("TRUNCATE t").await });
    let observer = client(&urls[0]).await;
    let deadline = Instant::now() + Duration::from_secs(30);
    while waiting(&observer, "TRUNCATE").await == 0 {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let error = first.read_partition(&part).collect().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Server);
    assert!(
        error
            .message()
            .contains("another session waits for the table"),
        "{error}"
    );

    // The holder of the first shard dies, and with it the lease.
    let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                WHERE datname = current_database() AND state = 'idle in transaction'";
    observer.batch_execute(kill).await.unwrap();
    truncate.await.unwrap().unwrap();
    let error = first.read_partition(&part).collect().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Server);
    assert!(error.message().contains("its holder has ended"), "{error}");
    let error = tokio::time::timeout(Duration::from_secs(60), cut.lease.ended()).await;
    let error = error.unwrap().unwrap_err();
    assert!(
        error.to_string().contains("holder of a snapshot is gone"),
        "{error}"
    );
    drop(cut);

    let short = PartitionOptions::new().with_lease(Duration::from_secs(1));
    let mut cut = first
        .fan_out("SELECT n FROM t")
        .partitions(&short)
        .await
        .unwrap();
    cut.lease.ended().await.unwrap();
    let error = first
        .read_partition(&cut.parts[0])
        .collect()
        .await
        .unwrap_err();
    assert!(
        error.message().contains("lease of the partition is over"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_ranges_is_one_partition_of_each_shard_or_refused() {
    let Some(urls) = accounts() else { return };
    let cluster = cluster(&urls);
    let sql = "SELECT DISTINCT n FROM t";
    let cut = cluster.fan_out(sql).partitions(&small()).await.unwrap();
    assert_eq!(cut.parts.len(), 2);
    assert!(cut.whole.unwrap().contains("DISTINCT"));
    let batches = cluster
        .read_partition(&cut.parts[1])
        .collect()
        .await
        .unwrap();
    assert_eq!(numbers(&batches).first(), Some(&ROWS));
    drop(cut.lease);
    for sql in [
        "SELECT count(*) FROM t",
        "SELECT n FROM t LIMIT 3",
        "SELECT n FROM t ORDER BY n",
    ] {
        let error = cluster.query(sql).partitions(&small()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{sql}");
        assert!(error.hint().is_some(), "{sql}");
    }
    // With the lease, the snapshot goes.
    let cut = cluster
        .fan_out("SELECT n, filler FROM t")
        .partitions(&small())
        .await
        .unwrap();
    let part = cut.parts[0].clone();
    drop(cut);
    // Its transactions end a moment later.
    let mut error = None;
    for _ in 0..500 {
        error = cluster.read_partition(&part).collect().await.err();
        if error.is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let error = error.unwrap();
    assert!(
        error
            .message()
            .contains("snapshot of the partition is not there"),
        "{error}"
    );
}

#[test]
fn partitions_outside_async_code() {
    let Some(urls) = accounts() else { return };
    let toml = cluster(&urls).topology().to_toml();
    let open = || blocking::Cluster::new(Topology::from_toml(&toml).unwrap()).unwrap();
    let first = open();
    let query = first.query("SELECT n FROM t");
    let mut cut = query.partitions(&small()).unwrap();
    assert_eq!(
        (cut.schema.field(0).name().as_str(), &cut.whole),
        ("n", &None)
    );
    // The lease keeps the cluster alive.
    drop(first);
    let second = open();
    let mut all = Vec::new();
    for part in &cut.parts {
        assert_eq!(second.read_partition(part).describe().unwrap(), cut.schema);
        let read = second.read_partition(part);
        let few = read.with(|read| read.with_batch_rows(100));
        let batches: Result<Vec<_>, _> = few.stream().unwrap().collect();
        all.extend(batches.unwrap());
    }
    assert!(all.iter().all(|batch| batch.num_rows() <= 100));
    assert!(numbers(&all) == (0..2 * ROWS).collect::<Vec<_>>());
    support::execute(
        &urls[1],
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle in transaction'",
    );
    let lost = cut.lease.ended().unwrap_err();
    assert_eq!(lost.shard(), Some("s1"));

    let short = PartitionOptions::new().with_lease(Duration::from_millis(10));
    let fan_out = second.fan_out("SELECT DISTINCT n FROM t");
    let mut cut = fan_out.partitions(&short).unwrap();
    assert_eq!(cut.parts.len(), 2);
    cut.lease.ended().unwrap();
    let read = second.read_partition(&cut.parts[0]);
    assert_eq!(read.collect().unwrap_err().kind(), ErrorKind::Config);
}
