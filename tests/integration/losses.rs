//! Shards that are lost while a planned query runs, and queries that may go without them.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatchWriter;
use merganser::export::{self, Destination, ExportOptions, Format, Progress};
use merganser::{
    Arm, Cluster, Error, ErrorKind, MergeMode, MissingShards, Phase, Query, ScanProgress, Topology,
    arrow,
};

use crate::support;

/// Far longer than a failure takes to be told, and far shorter than the queries run.
const BOUND: Duration = Duration::from_secs(10);

/// `t(n)`, sharded by `n`. Shard 2 has a number that no other meets in what follows, so that it works
/// without sending anything; the others have `1` and `2`.
fn topology(urls: &[String]) -> Topology {
    let mut toml = String::new();
    for (shard, url) in urls.iter().enumerate() {
        toml += &format!("[[shard]]\nname = \"s{shard}\"\nurl = \"{url}\"\n");
    }
    toml +=
        "[[table]]\nname = \"t\"\nshard_key = \"n\"\n[[table]]\nname = \"many\"\nshard_key = \"n\"\n
          [[table]]\nname = \"r\"\nreplicated = true\n";
    Topology::from_toml(&toml).unwrap()
}

fn shards() -> Option<Vec<String>> {
    let urls = support::shards(3)?;
    for (url, n) in urls.iter().zip([1, 2, 1_000_000_007]) {
        support::execute(
            url,
            &format!(
                "create table t as select {n} as n, 0 as k; create table r as select 1 as x;
                 create table many as select {n} as n, k from generate_series(1, 5000) k"
            ),
        );
    }
    Some(urls)
}

/// Pairs of numbers of which those meet `n` that follow: of shards 0 and 1 one in `step`, of shard 2
/// none. A single series of so many would be written to the server's disk first.
fn met(step: u32) -> String {
    format!(
        "t a, generate_series(1, 30000) x, generate_series(1, 30000) y \
         where (x * 30000 + y) % {step} = a.n"
    )
}

/// Takes its first batch and never comes back, until it is let go.
struct Stuck(mpsc::Receiver<()>);

impl RecordBatchWriter for Stuck {
    fn write(&mut self, _: &RecordBatch) -> Result<(), ArrowError> {
        let _ = self.0.recv();
        Ok(())
    }

    fn close(self) -> Result<(), ArrowError> {
        Ok(())
    }
}

/// Ends the backends of a database, once one is at work.
fn kill(url: &str) -> thread::JoinHandle<Option<Instant>> {
    let urls = [url.to_owned()];
    kill_when(url, move || support::active(&urls) > 0)
}

/// Ends the backends of a database, a moment after this is so; `None` if it never is.
fn kill_when(
    url: &str,
    is_time: impl Fn() -> bool + Send + 'static,
) -> thread::JoinHandle<Option<Instant>> {
    let url = url.to_owned();
    thread::spawn(move || {
        let began = Instant::now();
        while !is_time() {
            if began.elapsed() > Duration::from_secs(30) {
                return None;
            }
            thread::sleep(Duration::from_millis(20));
        }
        // The others are to be in the middle of their rows.
        thread::sleep(Duration::from_millis(500));
        let killed = Instant::now();
        support::execute(
            &url,
            "select pg_terminate_backend(pid) from pg_stat_activity \
             where datname = current_database() and pid <> pg_backend_pid()",
        );
        Some(killed)
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_shard_s_end_is_told_at_once_whatever_the_others_do() {
    let Some(urls) = shards() else { return };
    let cluster = Cluster::new(topology(&urls)).unwrap();
    let rows = format!("select a.n, x, y from {}", met(7));
    let few = format!("select a.n, x, y from {}", met(50_000_000));
    let ordered = format!("{few} order by x, y, n");
    let count = format!("select n, count(*) from {} group by n", met(7));
    // A step that collects has no more than the filter of its table.
    let gather = "select count(*) from many where md5(repeat(k::text, 2000000)) <> ''".to_owned();
    for (sql, merge, arm, slow) in [
        (&rows, MergeMode::Auto, Arm::Union, true),
        (&ordered, MergeMode::Auto, Arm::Ordered, false),
        (&count, MergeMode::Auto, Arm::Combine, false),
        (&gather, MergeMode::Gather, Arm::Gather, false),
    ] {
        let query = || cluster.query(sql).with_merge(merge);
        assert_eq!(query().plan().await.unwrap().arm(), arm, "{sql}");
        let killing = kill(&urls[2]);
        let error = match slow {
            // The sink is at its first batch.
            true => {
                let (go, stuck) = mpsc::channel();
                let written = query().write(move |_| Ok(Stuck(stuck))).await;
                drop(go);
                written.unwrap_err()
            }
            false => query().collect().await.unwrap_err(),
        };
        let told = Instant::now();
        let Some(killed) = killing.join().unwrap() else {
            panic!("{arm:?}: nothing was at work, but {error:?}");
        };
        let after = told.saturating_duration_since(killed);
        assert!(after < BOUND, "{arm:?}: only after {after:?}");
        assert_eq!(
            (error.shard(), error.sql_state(), error.phase()),
            (Some("s2"), Some("57P01"), Some(Phase::Stream)),
            "{arm:?}: {error:?}"
        );
        assert!(error.is_retryable(), "{error:?}");
        assert!(support::none_active(&urls), "{arm:?}: queries still run");
    }
}

fn numbers(batches: &[RecordBatch]) -> Vec<i32> {
    let values = |batch: &RecordBatch| {
        batch
            .column(0)
            .as_primitive::<Int32Type>()
            .values()
            .to_vec()
    };
    let mut numbers: Vec<_> = batches.iter().flat_map(values).collect();
    numbers.sort_unstable();
    numbers
}

/// The URL of a database that is not there to be reached. A port that was free a moment ago may be taken by
/// another test.
const NOWHERE: &str = "postgresql://u@127.0.0.1:1/d";

async fn refused(query: Query) -> Error {
    query.collect().await.unwrap_err()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_reached_may_be_missing_where_rows_are_final() {
    let Some(mut urls) = shards() else { return };
    urls[1] = NOWHERE.to_owned();
    let cluster = Cluster::new(topology(&urls)).unwrap();
    let alive = [1, 1_000_000_007];
    let missing = MissingShards::new();

    let fan_out = cluster
        .fan_out("select n from t")
        .with_missing_shards(&missing);
    assert_eq!(numbers(&fan_out.collect().await.unwrap()), alive);
    assert_eq!(missing.names(), ["s1"]);
    assert_eq!(missing.errors()[0].phase(), Some(Phase::Connect));

    for sql in [
        "select n from t",
        "select n from t order by n",
        "select n from t where n > 0",
        "select n from t limit 5",
    ] {
        let query = cluster.query(sql).with_missing_shards(&missing);
        assert_eq!(numbers(&query.collect().await.unwrap()), alive, "{sql}");
        assert_eq!(missing.names(), ["s1"], "{sql}");
    }
    // A copy of it is on every shard, whichever is asked.
    for _ in 0..3 {
        let query = cluster
            .query("select x from r")
            .with_missing_shards(&missing);
        assert_eq!(numbers(&query.collect().await.unwrap()), [1]);
        assert!(missing.names().is_empty());
    }
    // The shard that is away may have what is left out, counted, ordered before or joined.
    for (sql, merge) in [
        ("select count(*) from t", MergeMode::Auto),
        ("select n from t union select n from t", MergeMode::Auto),
        ("select n from t order by n limit 1", MergeMode::Auto),
        ("select n from t order by n offset 1", MergeMode::Auto),
        ("select n from t offset 1", MergeMode::Auto),
        (
            "select n, row_number() over (order by n) from t",
            MergeMode::Auto,
        ),
        ("select n, sum(n) over () from t", MergeMode::Auto),
        (
            "select t.n from t join many on many.k = t.n",
            MergeMode::Auto,
        ),
        (
            "select percentile_disc(0.5) within group (order by n) from t",
            MergeMode::Auto,
        ),
        ("select n from t", MergeMode::Gather),
        ("select n from t where n > 0 order by n", MergeMode::Gather),
    ] {
        let query = cluster.query(sql).with_merge(merge);
        let error = refused(query.with_missing_shards(&missing)).await;
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{sql}: {error}");
        assert!(
            error.message().contains("shards may not be missing"),
            "{sql}: {error}"
        );
        assert!(error.hint().unwrap().contains("--allow-missing-shards"));
    }
    let error = refused(cluster.query("select n from t")).await;
    assert_eq!(
        (error.kind(), error.shard()),
        (ErrorKind::Connect, Some("s1"))
    );
    let merged = cluster
        .fan_out("select n from t")
        .reaggregate("select count(*) from shards")
        .with_missing_shards(&missing);
    assert_eq!(
        merged.collect().await.unwrap_err().kind(),
        ErrorKind::Config
    );

    // The files say it too.
    let folder = tempfile::tempdir().unwrap();
    for (name, format) in [("a.parquet", Format::Parquet), ("a.arrow", Format::Arrow)] {
        let path = folder.path().join(name);
        let output = Destination::from(path.to_str().unwrap()).open().unwrap();
        let query = cluster
            .query("select n from t")
            .with_missing_shards(&missing);
        let options = ExportOptions::new();
        let rows = query.stream().await.unwrap();
        export::write(rows, output, format, &options, &Progress::default())
            .await
            .unwrap();
        let file = std::fs::File::open(&path).unwrap();
        let value = match format {
            Format::Parquet => {
                let reader =
                    parquet::file::serialized_reader::SerializedFileReader::new(file).unwrap();
                let metadata = parquet::file::reader::FileReader::metadata(&reader).file_metadata();
                let all = metadata.key_value_metadata().unwrap().iter();
                let mut found = all.filter(|one| one.key == "merganser.missing_shards");
                found.next().and_then(|one| one.value.clone())
            }
            _ => {
                let reader = arrow::ipc::reader::FileReader::try_new(file, None).unwrap();
                reader
                    .custom_metadata()
                    .get("merganser.missing_shards")
                    .cloned()
            }
        };
        assert_eq!(value.as_deref(), Some("[\"s1\"]"), "{name}");
    }

    // A shard that will never be there is no shard that is missing: a slip in its URL.
    let web = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = web.local_addr().unwrap().port();
    thread::spawn(move || {
        for socket in web.incoming() {
            let answer = b"HTTP/1.1 400 Bad Request\r\n\r\n";
            let _ = std::io::Write::write_all(&mut socket.unwrap(), answer);
        }
    });
    for (url, kind, said) in [
        (
            format!("postgresql://u@127.0.0.1:{port}/d?sslmode=disable"),
            ErrorKind::Decode,
            "not in PostgreSQL's protocol",
        ),
        (
            "postgresql://u@no-such-host.invalid/d".to_owned(),
            ErrorKind::Config,
            "cannot look up the host \"no-such-host.invalid\"",
        ),
    ] {
        let found = std::net::ToSocketAddrs::to_socket_addrs("no-such-host.invalid:1");
        let has_resolver = !found.unwrap_err().to_string().contains("emporary failure");
        if kind == ErrorKind::Config && !has_resolver {
            support::tell("SKIPPED a name that does not exist: nobody can be asked about it");
            continue;
        }
        let cluster = Cluster::new(topology(&[urls[0].clone(), url])).unwrap();
        let fan_out = cluster
            .fan_out("select n from t")
            .with_missing_shards(&missing);
        let error = fan_out.collect().await.unwrap_err();
        assert_eq!(
            (error.kind(), error.shard()),
            (kind, Some("s1")),
            "{error:?}"
        );
        assert!(error.message().contains(said), "{error}");
        let query = cluster
            .query("select n from t")
            .with_missing_shards(&missing);
        assert_eq!(refused(query).await.kind(), kind);
    }

    // None may be missing in an answer of none.
    let all = ["d", "e"].map(|name| NOWHERE.replace("/d", &format!("/{name}?connect_timeout=2")));
    let cluster = Cluster::new(Topology::from_urls(all).unwrap()).unwrap();
    let fan_out = cluster.fan_out("select 1").with_missing_shards(&missing);
    let error = fan_out.collect().await.unwrap_err();
    assert!(error.message().contains("no shard is left"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_is_lost_while_it_works_is_missing_up_to_its_first_row() {
    let Some(urls) = shards() else { return };
    let cluster = Cluster::new(topology(&urls)).unwrap();
    let missing = MissingShards::new();
    let waits = "select n, case when n > 2 then pg_sleep(600)::text end from t";
    let counted = &format!("select count(*) from {} and n > 2", met(7));
    let killing = kill(&urls[2]);
    let fan_out = cluster.fan_out(waits).with_missing_shards(&missing);
    assert_eq!(numbers(&fan_out.collect().await.unwrap()), [1, 2]);
    killing.join().unwrap();
    assert_eq!(missing.names(), ["s2"]);
    assert_eq!(missing.errors()[0].sql_state(), Some("57P01"));
    let killing = kill(&urls[2]);
    let fan_out = cluster.fan_out(counted).with_missing_shards(&missing);
    let counts = fan_out.collect().await.unwrap();
    killing.join().unwrap();
    let count = |batch: &RecordBatch| batch.column(0).as_primitive::<Int64Type>().value(0);
    assert_eq!(counts.iter().map(count).collect::<Vec<_>>(), [0, 0]);

    // Rows that were given are not taken back.
    let late = "select n, case when g = 50001 and n > 2 then pg_sleep(600)::text end \
                from t, generate_series(1, 50001) g";
    let progress = ScanProgress::new();
    let seen = progress.clone();
    // Behind more than two batches.
    let killing = kill_when(&urls[2], move || {
        seen.shards()
            .get(2)
            .is_some_and(|shard| shard.rows > 20_000)
    });
    let fan_out = cluster.fan_out(late).with_missing_shards(&missing);
    let error = fan_out.with_progress(progress).collect().await.unwrap_err();
    killing.join().unwrap();
    assert_eq!(
        (error.shard(), error.sql_state()),
        (Some("s2"), Some("57P01"))
    );
    assert!(missing.names().is_empty());

    // What another try does not cure is an error, whoever may be missing.
    for sql in ["select nothing from t", "select 1 / (n - 1) from t"] {
        let fan_out = cluster.fan_out(sql).with_missing_shards(&missing);
        let error = fan_out.collect().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Server, "{error}");
    }
}
