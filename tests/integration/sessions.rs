//! Settings of one query, against real servers.

use std::time::Duration;

use arrow::array::{AsArray, RecordBatch};
use merganser::config::SessionSettings;
use merganser::{Cluster, ErrorKind, Order, Topology, arrow};

use crate::support;

/// Two shards; `t(n)` is another table in each of the schemas `a` and `b`, sharded in both.
fn cluster() -> Option<Cluster> {
    let urls = support::shards(2)?;
    let mut toml = "[session]\ntimezone = \"Asia/Tokyo\"\nsearch_path = \"a\"\n".to_owned();
    for (shard, url) in urls.iter().enumerate() {
        support::execute(
            url,
            &format!(
                "create schema a; create schema b;
                 create table a.t as select {shard} as n, 'a'::text as x;
                 create table b.t as select {shard} + 10 as n, date '2024-02-01' as x"
            ),
        );
        toml += &format!("[[shard]]\nname = \"s{shard}\"\nurl = \"{url}\"\n");
    }
    toml += "[[table]]\nname = \"a.t\"\nshard_key = \"n\"\n[[table]]\nname = \"b.t\"\nshard_key = \"n\"\n";
    // One connection, so that each query finds what the one before has left in it.
    let builder = Cluster::builder(Topology::from_toml(&toml).unwrap());
    Some(builder.with_connections_per_shard(1).build().unwrap())
}

fn texts(batches: &[RecordBatch], column: usize) -> Vec<String> {
    let of = |batch: &RecordBatch| -> Vec<_> {
        let texts = batch.column(column).as_string::<i32>();
        texts.iter().map(|text| text.unwrap().to_owned()).collect()
    };
    batches.iter().flat_map(of).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_are_those_of_one_query_on_every_connection() {
    let Some(cluster) = cluster() else { return };
    let sql = "select current_setting('timezone'), current_setting('work_mem'), \
        current_setting('search_path') from a.t";
    let own = SessionSettings::default()
        .with_timezone("Europe/Berlin")
        .with_setting("work_mem", "5MB");
    for _ in 0..3 {
        let with = cluster.fan_out(sql).with_session(own.clone());
        let batches = with.collect().await.unwrap();
        assert_eq!(texts(&batches, 0), ["Europe/Berlin"; 2]);
        assert_eq!(texts(&batches, 1), ["5MB"; 2]);
        assert_eq!(texts(&batches, 2), ["a"; 2]);
        let without = cluster.fan_out(sql).collect().await.unwrap();
        assert_eq!(texts(&without, 0), ["Asia/Tokyo"; 2]);
        assert_ne!(texts(&without, 1), ["5MB"; 2]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_planned_query_computes_in_its_time_zone() {
    let Some(cluster) = cluster() else { return };
    let sql = "select timestamptz '2024-02-01 12:00+00' ::timestamp::text as x, count(*) from t group by 1";
    for (zone, expected) in [
        (None, "2024-02-01 21:00:00"),
        (Some("UTC"), "2024-02-01 12:00:00"),
        (Some("America/New_York"), "2024-02-01 07:00:00"),
    ] {
        let mut query = cluster.query(sql);
        if let Some(zone) = zone {
            query = query.with_session(SessionSettings::default().with_timezone(zone));
        }
        assert_eq!(texts(&query.collect().await.unwrap(), 0), [expected]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_looked_up_in_the_search_path_of_the_query() {
    let Some(cluster) = cluster() else { return };
    let in_b = SessionSettings::default().with_search_path("b");
    let sql = "select x::text as x from t where n < 100 order by n";
    let group = "select x, count(*) from t group by x";
    for _ in 0..2 {
        let a = cluster.query(sql).collect().await.unwrap();
        assert_eq!(texts(&a, 0), ["a", "a"]);
        let b = cluster.query(sql).with_session(in_b.clone());
        assert_eq!(texts(&b.collect().await.unwrap(), 0), ["2024-02-01"; 2]);
        // Types are those of the table, too.
        let a = cluster.query(group).describe().await.unwrap();
        let b = cluster.query(group).with_session(in_b.clone());
        assert_ne!(
            a.field(0).data_type(),
            b.describe().await.unwrap().field(0).data_type()
        );
        let b = cluster.query(group).with_session(in_b.clone());
        assert_eq!(b.collect().await.unwrap()[0].num_rows(), 1);
    }
    let nowhere = SessionSettings::default().with_search_path("nowhere");
    let error = cluster.query(sql).with_session(nowhere).plan().await;
    assert_eq!(error.unwrap_err().sql_state(), Some("42P01"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_setting_that_is_wrong_is_named() {
    let Some(cluster) = cluster() else { return };
    let set = SessionSettings::default;
    for (settings, kind, name) in [
        (
            set().with_timezone("Nowhere"),
            ErrorKind::Server,
            "TimeZone",
        ),
        (set().with_timezone(" "), ErrorKind::Config, "timezone"),
        (
            set().with_search_path("a,,b"),
            ErrorKind::Server,
            "search_path",
        ),
        (
            set().with_setting("work_mem", "many"),
            ErrorKind::Server,
            "work_mem",
        ),
        (
            set().with_setting("no_such", "1"),
            ErrorKind::Server,
            "no_such",
        ),
        (
            set().with_setting("datestyle", "SQL"),
            ErrorKind::Config,
            "datestyle",
        ),
        (
            set().with_setting("search_path", "b"),
            ErrorKind::Config,
            "search_path",
        ),
        (
            set().with_statement_timeout(Duration::from_micros(1)),
            ErrorKind::Config,
            "statement_timeout",
        ),
        (
            set().with_connect_timeout(Duration::from_secs(1)),
            ErrorKind::Config,
            "connect_timeout",
        ),
    ] {
        let fan_out = cluster.fan_out("select 1").with_session(settings.clone());
        let query = cluster.query("select n from t").with_session(settings);
        for error in [
            fan_out.clone().collect().await.unwrap_err(),
            fan_out.mogrify().await.unwrap_err(),
            query.clone().plan().await.unwrap_err(),
            query.collect().await.unwrap_err(),
        ] {
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.message().contains(name), "{name}: {error}");
        }
    }
    // The connections are of further use.
    let order = cluster
        .fan_out("select n::text from t")
        .with_order(Order::Shard);
    assert_eq!(texts(&order.collect().await.unwrap(), 0), ["0", "1"]);
}
