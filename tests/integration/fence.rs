//! The read fence: when the shards are read, and what ingestion has to have brought by then.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int32Type;
use merganser::config::ReadFence;
use merganser::export::{self, Destination, ExportOptions, Format, Progress};
use merganser::{
    Cluster, ErrorKind, PartitionOptions, Phase, QueryStream, ScanProgress, Topology, arrow,
};
use parquet::file::reader::FileReader;
use parquet::file::serialized_reader::SerializedFileReader;

use crate::support;

const LONG: Duration = Duration::from_secs(30);

/// `t(n)`, sharded by `n`, with 0 and 1; and `w(up_to)`, which is empty.
fn shards() -> Option<Vec<String>> {
    let urls = support::shards(2)?;
    for (n, url) in urls.iter().enumerate() {
        let sql = format!("create table t as select {n} as n; create table w (up_to timestamptz)");
        support::execute(url, &sql);
    }
    Some(urls)
}

fn cluster(urls: &[String], fence: &str) -> Cluster {
    let mut toml = format!("[read_fence]\n{fence}\n");
    for (shard, url) in urls.iter().enumerate() {
        toml += &format!("[[shard]]\nname = \"s{shard}\"\nurl = \"{url}\"\n");
    }
    toml += "[[table]]\nname = \"t\"\nshard_key = \"n\"\n";
    Cluster::new(Topology::from_toml(&toml).unwrap()).unwrap()
}

fn numbers(batches: &[RecordBatch]) -> Vec<i32> {
    let column = |batch: &RecordBatch| {
        let column = batch.column(0).as_primitive::<Int32Type>();
        column.values().to_vec()
    };
    let mut numbers: Vec<_> = batches.iter().flat_map(column).collect();
    numbers.sort_unstable();
    numbers
}

/// What the metadata of a file or stream says of the fence.
fn told_by(path: &Path, format: Format) -> Option<serde_json::Value> {
    let file = std::fs::File::open(path).unwrap();
    let key = "merganser.read_fence";
    let value = match format {
        Format::Parquet => {
            let reader = SerializedFileReader::new(file).unwrap();
            let metadata = reader.metadata().file_metadata().key_value_metadata();
            let mut all = metadata.into_iter().flatten();
            all.find(|one| one.key == key)
                .and_then(|one| one.value.clone())
        }
        Format::Arrow => {
            let reader = arrow::ipc::reader::FileReader::try_new(file, None).unwrap();
            reader.schema().metadata().get(key).cloned()
        }
        _ => {
            let reader = arrow::ipc::reader::StreamReader::try_new(file, None).unwrap();
            reader.schema().metadata().get(key).cloned()
        }
    };
    value.map(|value| serde_json::from_str(&value).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn files_tell_the_skew() {
    let Some(urls) = shards() else { return };
    support::execute(&urls[0], "insert into w values ('2024-01-02 03:04:05+00')");
    support::execute(&urls[1], "insert into w values ('2024-01-02 03:04:05+00')");
    let plain = cluster(&urls, "max_skew = \"20s\"");
    let marked = cluster(
        &urls,
        "max_skew = \"20s\"\nwatermark = \"select max(up_to) from w\"",
    );
    let without = Cluster::new(Topology::from_urls(&urls).unwrap()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for format in [Format::Parquet, Format::Arrow, Format::ArrowStream] {
        for (cluster, is_planned, watermark) in [
            (&plain, true, None),
            (&plain, false, None),
            (&marked, true, Some("2024-01-02 03:04:05+00")),
            (&marked, false, Some("2024-01-02 03:04:05+00")),
        ] {
            let sql = "select n, 'a'::text as a from t";
            let rows = match is_planned {
                true => cluster.query(sql).stream().await,
                false => cluster.fan_out(sql).stream().await,
            };
            let rows = rows.unwrap();
            let fenced = rows.fenced().unwrap().clone();
            assert_eq!(fenced.watermark.as_deref(), watermark);
            let path = write(rows, folder.path(), format).await;
            let told = told_by(&path, format).unwrap();
            let skew = told["skew_ms"].as_f64().unwrap();
            let measured = fenced.skew.as_secs_f64() * 1e3;
            assert!((skew - measured).abs() < 0.001, "{told}, {measured} ms");
            assert_eq!(told["watermark"].as_str(), watermark, "{told}");
        }
        let rows = without.fan_out("select n from t").stream().await.unwrap();
        assert_eq!(rows.fenced(), None);
        assert_eq!(
            told_by(&write(rows, folder.path(), format).await, format),
            None
        );
    }
}

async fn write(rows: QueryStream, folder: &Path, format: Format) -> PathBuf {
    let path = folder.join("rows");
    let output = Destination::from(path.clone()).open().unwrap();
    let options = ExportOptions::new();
    let written = export::write(rows, output, format, &options, &Progress::default()).await;
    assert_eq!(written.unwrap().rows, 2);
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn the_skew_is_told_and_refused_above_its_limit() {
    let Some(urls) = shards() else { return };
    let cluster = cluster(&urls, "max_skew = \"20s\"");
    let progress = ScanProgress::new();
    let before = Instant::now();
    let fan_out = || {
        cluster
            .fan_out("select n from t")
            .with_progress(progress.clone())
    };
    assert_eq!(numbers(&fan_out().collect().await.unwrap()), [0, 1]);
    let fenced = progress.fenced().unwrap();
    assert!(
        fenced.skew > Duration::ZERO && fenced.skew <= before.elapsed(),
        "{fenced:?}"
    );
    assert_eq!(fenced.watermark, None);
    for sql in [
        "select n from t order by n",
        "select sum(n)::int as n from t",
    ] {
        let progress = ScanProgress::new();
        let query = cluster.query(sql).with_progress(progress.clone());
        assert_eq!(
            numbers(&query.collect().await.unwrap()).iter().sum::<i32>(),
            1
        );
        assert!(progress.fenced().unwrap().skew > Duration::ZERO, "{sql}");
    }
    // Nobody is as fast as that.
    let error = fan_out()
        .with_max_skew(Duration::from_nanos(1))
        .collect()
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.phase()),
        (ErrorKind::Limit, Some(Phase::Session))
    );
    assert!(error.message().contains("max_skew is 0 ms"), "{error}");
    let query = cluster
        .query("select n from t")
        .with_max_skew(Duration::from_nanos(1));
    assert_eq!(query.collect().await.unwrap_err().kind(), ErrorKind::Limit);
    // The connections are as good as before.
    assert_eq!(numbers(&fan_out().collect().await.unwrap()), [0, 1]);
    // What needs no rows needs no fence.
    fan_out()
        .with_max_skew(Duration::from_nanos(1))
        .describe()
        .await
        .unwrap();
    let planned = cluster
        .query("select n from t")
        .with_max_skew(Duration::from_nanos(1));
    planned.plan().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_waits_until_every_shard_has_what_the_furthest_has() {
    let Some(urls) = shards() else { return };
    let fence = "max_skew = \"20s\"\nwatermark = \"select max(up_to) from w -- of ingestion\"\n\
                 max_wait = \"25s\"";
    let cluster = cluster(&urls, fence);
    let progress = ScanProgress::new();
    let fan_out = || {
        cluster
            .fan_out("select n from t")
            .with_progress(progress.clone())
    };
    // None is behind the others where all have nothing.
    assert_eq!(numbers(&fan_out().collect().await.unwrap()), [0, 1]);
    assert_eq!(progress.fenced().unwrap().watermark, None);

    for (planned, number, up_to) in [(false, 98, "2026-01-02"), (true, 99, "2026-01-03")] {
        let ahead = format!("insert into w values ('{up_to} 12:00:00.5Z')");
        support::execute(&urls[1], &ahead);
        let progress = ScanProgress::new();
        let cluster = cluster.clone();
        let (seen, began) = (progress.clone(), Instant::now());
        let asked = tokio::spawn(async move {
            match planned {
                true => {
                    cluster
                        .query("select n from t")
                        .with_progress(seen)
                        .collect()
                        .await
                }
                false => {
                    cluster
                        .fan_out("select n from t")
                        .with_progress(seen)
                        .collect()
                        .await
                }
            }
        });
        // It sees what comes with the watermark, though its session began before.
        tokio::time::sleep(Duration::from_millis(400)).await;
        assert!(!asked.is_finished());
        assert_eq!(progress.fenced(), None);
        let arrives = format!("begin; insert into t values ({number}); {ahead}; commit");
        support::execute(&urls[0], &arrives);
        let found = numbers(&asked.await.unwrap().unwrap());
        assert!(
            found.contains(&number),
            "{found:?} after {:?}",
            began.elapsed()
        );
        let watermark = progress.fenced().unwrap().watermark.unwrap();
        assert_eq!(watermark, format!("{up_to} 12:00:00.5+00"));
        assert!(began.elapsed() < LONG);
    }

    let toml = cluster.topology().to_toml().replace("25s", "300ms");
    let hasty = Cluster::new(Topology::from_toml(&toml).unwrap()).unwrap();
    support::execute(&urls[0], "insert into w values ('2026-02-01Z')");
    let error = hasty
        .fan_out("select n from t")
        .collect()
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.shard()),
        (ErrorKind::Timeout, Some("s1"))
    );
    assert_eq!(
        error.message(),
        "after 300 ms it is up to 2026-01-03 12:00:00.5+00, and another shard up to 2026-02-01 00:00:00+00"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fence_that_cannot_hold_is_refused() {
    let Some(urls) = shards() else { return };
    for (watermark, kind, said) in [
        (
            "select 1; select 2",
            ErrorKind::Syntax,
            "read_fence: watermark",
        ),
        (
            "select no_such from w",
            ErrorKind::Server,
            "read_fence: watermark",
        ),
        // No time.
        (
            "select 1::bigint",
            ErrorKind::Server,
            "read_fence: watermark",
        ),
    ] {
        let cluster = cluster(
            &urls,
            &format!("max_skew = \"20s\"\nwatermark = \"{watermark}\""),
        );
        let error = cluster
            .fan_out("select n from t")
            .collect()
            .await
            .unwrap_err();
        assert_eq!(error.kind(), kind, "{watermark}: {error:?}");
        assert!(error.message().contains(said), "{watermark}: {error}");
    }
    for (fence, said) in [
        (
            "max_skew = \"0s\"",
            "read_fence: max_skew: expected more than 0",
        ),
        ("max_skew = \"soon\"", "read_fence: max_skew"),
        ("watermark = \"select now()\"", "max_skew"),
        ("max_skew = \"1s\"\nwatermark = \" \"", "expected a query"),
        (
            "max_skew = \"1s\"\nmax_wait = \"-1s\"",
            "read_fence: max_wait",
        ),
    ] {
        let toml = format!(
            "[read_fence]\n{fence}\n[[shard]]\nname = \"s0\"\nurl = \"{}\"\n",
            urls[0]
        );
        let error = Topology::from_toml(&toml).unwrap_err();
        assert!(error.message().contains(said), "{fence}: {error}");
    }
    let fence = ReadFence::new(LONG);
    let topology = Topology::builder().with_read_fence(fence.clone());
    let shard = merganser::config::Shard::new("s0", &urls[0]);
    let topology = topology.with_shard(shard).build().unwrap();
    assert_eq!(topology.read_fence(), Some(&fence));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_read_shard_by_shard_has_no_fence() {
    let Some(urls) = shards() else { return };
    let cluster = cluster(&urls, "max_skew = \"20s\"");
    let cut = cluster
        .fan_out("select n from t")
        .partitions(&PartitionOptions::new())
        .await;
    let error = cut.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.message().contains("as read_fence asks"), "{error}");
    let cut = cluster
        .query("select n from t")
        .partitions(&PartitionOptions::new())
        .await;
    assert_eq!(cut.unwrap_err().kind(), ErrorKind::Unsupported);
}
