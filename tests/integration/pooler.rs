//! Behind PgBouncer: nothing of a query may be left in a server connection that others are given.
//!
//! Where PgBouncer is not installed, the tests that need it say SKIPPED; one shows without it that no
//! prepared statement outlives a query.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use merganser::{Cluster, ErrorKind, Topology, arrow};
use tokio_postgres::NoTls;

use crate::support;

/// A table with a column of every kind of type that PostgreSQL lets a user make.
const SCHEMA: &str = "
    create type mood as enum ('sad', 'so so', 'happy');
    create domain price as numeric(10, 2);
    create type pair as (first int4, price price, moods mood[]);
    create type span as range (subtype = float8);
    create schema other;
    create type other.mood as enum ('x', 'y');
    create table people (
        id int8 primary key, mood mood, moods mood[], price price, prices price[], pair pair,
        pairs pair[], span span, other other.mood
    );";

/// What is asked, each several times: all of them need the shard's catalog to be read.
const QUERIES: [&str; 9] = [
    "select mood, count(*) from people group by mood order by mood",
    "select id, moods from people order by id",
    "select price, prices from people order by id",
    "select pair from people order by id",
    "select pairs, span from people order by id",
    "select people from people order by id",
    "select other, mood from people where mood = 'happy' order by id",
    "select count(*) from people",
    "select max(id), min(mood) from people",
];

/// Two databases with rows of [`SCHEMA`], and their names.
fn databases() -> Option<Vec<String>> {
    let urls = support::shards(2)?;
    for (shard, url) in urls.iter().enumerate() {
        support::execute(url, SCHEMA);
        support::execute(
            url,
            &format!(
                "insert into people
                 select i, (array['sad', 'happy']::mood[])[1 + i % 2], '{{happy,sad}}', i, array[i, 2],
                        (i, 1.5, '{{sad}}')::pair, array[(i, 2, null)::pair], span(i, i + 1), 'y'
                 from generate_series(1, 10) i where i % 2 = {shard}"
            ),
        );
    }
    let names = urls
        .iter()
        .map(|url| url.rsplit('/').next().unwrap().to_owned());
    Some(names.collect())
}

fn topology(urls: &[String]) -> Topology {
    let shards = Topology::from_urls(urls).unwrap().to_toml();
    Topology::from_toml(&format!(
        "{shards}\n[[table]]\nname = \"people\"\nshard_key = \"id\"\nshard_index = \"id % 2\"\n"
    ))
    .unwrap()
}

/// A PgBouncer before the shared server; it ends when this is dropped.
struct Pooler {
    process: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Pooler {
    /// `None` where PgBouncer is not installed; it says so.
    fn start(mode: &str, pool_size: usize) -> Option<Self> {
        let Some(program) = program() else {
            support::tell("SKIPPED: no pgbouncer for the tests behind a pooler");
            return None;
        };
        let server = support::server()?;
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let ini = folder.path().join("pgbouncer.ini");
        fs::write(
            &ini,
            format!(
                "[databases]\n* = host=127.0.0.1 port={} user=postgres\n\
                 [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
                 auth_type = any\npool_mode = {mode}\ndefault_pool_size = {pool_size}\n",
                server.port()
            ),
        )
        .unwrap();
        let mut command = Command::new(program);
        // It refuses to run as root.
        if Command::new("id").arg("-u").output().unwrap().stdout == b"0\n" {
            command.args(["-u", "nobody"]);
            let readable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            fs::set_permissions(folder.path(), readable).unwrap();
        }
        let process = command.arg(&ini).stderr(Stdio::null()).spawn().unwrap();
        let pooler = Self {
            process,
            port,
            _folder: folder,
        };
        for _ in 0..200 {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Some(pooler);
            }
            std::thread::sleep(Duration::from_millis(25));
        }
        panic!("pgbouncer does not listen");
    }

    fn urls(&self, databases: &[String]) -> Vec<String> {
        let port = self.port;
        let url = |name| format!("postgresql://postgres@127.0.0.1:{port}/{name}?sslmode=disable");
        databases.iter().map(url).collect()
    }
}

fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/usr/local/sbin".into()])
        .map(|folder| folder.join("pgbouncer"))
        .find(|program| program.is_file())
}

fn number(batches: &[RecordBatch]) -> i64 {
    batches[0].column(0).as_primitive::<Int64Type>().value(0)
}

/// The prepared statements in the connections that a fan-out gets.
async fn prepared(cluster: &Cluster) -> i64 {
    let sql = "select count(*) from pg_prepared_statements where name <> 's0' and name <> 's1'";
    let counts = cluster.fan_out(sql).collect().await.unwrap();
    counts
        .iter()
        .map(|batch| number(std::slice::from_ref(batch)))
        .sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_prepared_statement_outlives_a_query() {
    let Some(names) = databases() else { return };
    let server = support::server().unwrap();
    let urls: Vec<_> = names.iter().map(|name| server.url(name)).collect();
    let cluster = Cluster::builder(topology(&urls))
        .with_connections_per_shard(1)
        .build()
        .unwrap();
    for sql in QUERIES {
        cluster.fan_out(sql).collect().await.unwrap();
        assert_eq!(prepared(&cluster).await, 0, "{sql}");
    }
}

#[cfg(feature = "datafusion")]
#[tokio::test(flavor = "multi_thread")]
async fn a_pool_answers_and_is_left_as_it_was() {
    let Some(names) = databases() else { return };
    let modes = ["transaction", "session"];
    for (mode, pool_size) in modes.iter().flat_map(|mode| [(mode, 1), (mode, 2)]) {
        let Some(pooler) = Pooler::start(mode, pool_size) else {
            return;
        };
        let urls = pooler.urls(&names);
        // Statements of other clients, with names that client libraries like.
        for url in &urls {
            for name in ["s0", "s1"] {
                prepare(url, name).await;
            }
        }
        for round in 0..3 {
            // A program that runs once has a cluster of its own. With more connections than the
            // pool has, queries over all shards would wait for each other's in the pooler.
            let cluster = Cluster::builder(topology(&urls))
                .with_connections_per_shard(pool_size)
                .build()
                .unwrap();
            for sql in QUERIES {
                let answer = cluster.query(sql).collect().await;
                let rows: usize = answer
                    .unwrap_or_else(|error| panic!("{mode}, {round}: {sql}: {error}"))
                    .iter()
                    .map(RecordBatch::num_rows)
                    .sum();
                assert!(rows > 0, "{sql}");
                assert_eq!(prepared(&cluster).await, 0, "{sql}");
            }
            let asked = QUERIES.map(|sql| cluster.query(sql).collect());
            for answer in futures::future::join_all(asked).await {
                answer.unwrap();
            }
            cluster.close().await;
        }
        // And the others can still use theirs, or make them anew.
        for url in &urls {
            prepare(url, "s2").await;
        }
    }
}

/// In one transaction, which is one server connection: also the COPY that puts rows into a table.
#[cfg(feature = "datafusion")]
#[tokio::test(flavor = "multi_thread")]
async fn temporary_tables_are_gone_from_a_pool_in_transaction_mode() {
    use merganser::config::FinishRelations;

    let Some(names) = databases() else { return };
    let Some(pooler) = Pooler::start("transaction", 1) else {
        return;
    };
    let cluster = Cluster::builder(topology(&pooler.urls(&names)))
        .with_connections_per_shard(1)
        .build()
        .unwrap();
    for sql in [
        "select percentile_disc(0.5) within group (order by id)::int8 from people",
        "select count(*) over () from people order by moods limit 1",
    ] {
        for _ in 0..4 {
            let query = cluster
                .query(sql)
                .with_finish_relations(FinishRelations::Temporary);
            let plan = query.clone().plan().await.unwrap().to_string();
            assert!(plan.contains("temporary table"), "{plan}");
            assert!(number(&query.collect().await.unwrap()) >= 5, "{sql}");
            assert_eq!(prepared(&cluster).await, 0, "{sql}");
            let sql = "select count(*) from pg_class where relpersistence = 't'";
            for count in cluster.fan_out(sql).collect().await.unwrap() {
                assert_eq!(number(&[count]), 0);
            }
        }
    }
}

/// Leaves a prepared statement behind in a server connection of the pool.
async fn prepare(url: &str, name: &str) {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    let driver = tokio::spawn(connection);
    let sql = format!("prepare {name} as select 1");
    // Where the pool has more than one connection, this may be one that has it already.
    if let Err(error) = client.simple_query(&sql).await {
        assert_eq!(error.code().unwrap().code(), "42P05", "{error}");
    }
    drop(client);
    driver.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_is_cancelled_ends_behind_a_pooler() {
    for mode in ["transaction", "session"] {
        cancel_behind(mode).await;
    }
}

async fn cancel_behind(mode: &str) {
    let Some(names) = databases() else { return };
    let Some(mut pooler) = Pooler::start(mode, 3) else {
        return;
    };
    let server = support::server().unwrap();
    let servers: Vec<_> = names.iter().map(|name| server.url(name)).collect();
    for round in 0..5 {
        // Each as a program that is interrupted, and closes its connections before it ends.
        let cluster = Cluster::new(topology(&pooler.urls(&names))).unwrap();
        let query = cluster.fan_out("select pg_sleep(600)");
        let handle = query.cancel_handle();
        let running = tokio::spawn(query.collect());
        while support::active(&servers) < servers.len() {
            assert!(!running.is_finished(), "{:?}", running.await);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        handle.cancel();
        let error = running.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Cancelled, "{error:?}");
        cluster.close().await;
        assert!(
            support::none_active(&servers),
            "{mode}, {round}: queries still run"
        );
        let ended = pooler.process.try_wait().unwrap();
        assert_eq!(ended, None, "{mode}, {round}: pgbouncer has ended");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_in_statement_mode_is_refused_with_the_cure() {
    let Some(names) = databases() else { return };
    let Some(pooler) = Pooler::start("statement", 2) else {
        return;
    };
    let cluster = Cluster::new(topology(&pooler.urls(&names))).unwrap();
    let error = cluster.fan_out("select 1").collect().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Server, "{error:?}");
    assert!(error.hint().unwrap().contains("pool_mode"), "{error:?}");
}
