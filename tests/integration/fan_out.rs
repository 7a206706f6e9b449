//! The same SQL on every shard, through the public API.

use std::time::Duration;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type};
use futures::StreamExt;
use merganser::{
    Cluster, ErrorKind, FanOut, Order, Phase, ScanProgress, ShardState, Topology, arrow,
};

use crate::support;

fn cluster(urls: &[String]) -> Cluster {
    Cluster::new(Topology::from_urls(urls.iter().cloned()).unwrap()).unwrap()
}

fn rows(batches: &[RecordBatch]) -> usize {
    batches.iter().map(RecordBatch::num_rows).sum()
}

fn ints(batches: &[RecordBatch]) -> Vec<i32> {
    batches
        .iter()
        .flat_map(|batch| {
            batch
                .column(0)
                .as_primitive::<Int32Type>()
                .values()
                .to_vec()
        })
        .collect()
}

/// Shards where `t(n)` holds `n` from `sizes` before it up to its own.
fn numbered(sizes: &[i32]) -> Option<Cluster> {
    Some(cluster(&support::numbered(sizes)?))
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_come_in_shard_order_from_1_2_3_and_64_shards() {
    for sizes in [vec![10], vec![5, 7], vec![20_000, 0, 9], vec![3; 64]] {
        let Some(cluster) = numbered(&sizes) else {
            return;
        };
        let total: i32 = sizes.iter().sum();
        let expected: Vec<i32> = (0..total).collect();
        let query = || {
            cluster
                .fan_out("select n from t order by n")
                .with_order(Order::Shard)
        };
        assert_eq!(ints(&query().collect().await.unwrap()), expected);
        let streamed = query().stream().await.unwrap().collect().await.unwrap();
        assert_eq!(ints(&streamed), expected);
        let first_come = cluster.fan_out("select n from t").collect().await.unwrap();
        let mut values = ints(&first_come);
        values.sort_unstable();
        assert_eq!(values, expected);
        cluster.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_rows_still_have_a_schema() {
    let Some(cluster) = numbered(&[0, 0, 0]) else {
        return;
    };
    let stream = cluster
        .fan_out("select n, 'x' as x from t")
        .stream()
        .await
        .unwrap();
    let schema = stream.schema();
    let names: Vec<_> = schema
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .collect();
    assert_eq!(names, ["n", "x"]);
    assert_eq!(rows(&stream.collect().await.unwrap()), 0);
    let described = cluster
        .fan_out("select n, 'x' as x from t")
        .describe()
        .await
        .unwrap();
    assert_eq!(described, schema);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_columns_still_have_rows_and_names_may_repeat() {
    let Some(cluster) = numbered(&[3, 2]) else {
        return;
    };
    let batches = cluster.fan_out("select from t").collect().await.unwrap();
    assert_eq!((rows(&batches), batches[0].num_columns()), (5, 0));
    let batches = cluster
        .fan_out("select n, n, 1, 2 from t")
        .collect()
        .await
        .unwrap();
    let schema = batches[0].schema();
    let names: Vec<_> = schema
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .collect();
    assert_eq!(names, ["n", "n", "?column?", "?column?"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_are_typed_by_postgresql() {
    let Some(cluster) = numbered(&[10]) else {
        return;
    };
    let run = |sql: &str, values: &[Option<&str>]| {
        let values: Vec<_> = values
            .iter()
            .map(|value| value.map(str::to_owned))
            .collect();
        cluster.fan_out(sql).with_params(values).collect()
    };
    let batches = run(
        "select n from t where n between $1 and $2 order by n",
        &[Some("3"), Some("5")],
    );
    assert_eq!(ints(&batches.await.unwrap()), [3, 4, 5]);
    let nasty = "a'b\\c\"d;--$1\né$$x";
    let batches = run(
        "select $1::text, $2::text is null, $1 || '$1' -- $1",
        &[Some(nasty), None],
    )
    .await
    .unwrap();
    assert_eq!(batches[0].column(0).as_string::<i32>().value(0), nasty);
    assert!(batches[0].column(1).as_boolean().value(0));
    assert_eq!(
        batches[0].column(2).as_string::<i32>().value(0),
        format!("{nasty}$1")
    );
    let batches = run("select n from t where n = any($1)", &[Some("{1,2}")]);
    assert_eq!(ints(&batches.await.unwrap()), [1, 2]);

    let error = run("select $1::int4 + $2::int4", &[Some("1")])
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(
        error.message().contains("2 parameters, but 1 values"),
        "{error}"
    );
    let error = run("select $1::int4", &[Some("x; drop table t")])
        .await
        .unwrap_err();
    assert_eq!(error.sql_state(), Some("22P02"));
    let error = run("select $1::text", &[Some("a\0b")]).await.unwrap_err();
    assert!(
        error.message().contains("$1") && error.message().contains("zero byte"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_survive_standard_conforming_strings_off() {
    let Some(urls) = support::shards(1) else {
        return;
    };
    let name = urls[0].rsplit('/').next().unwrap();
    support::execute(
        &urls[0],
        &format!("alter database {name} set standard_conforming_strings = off"),
    );
    let cluster = cluster(&urls);
    let values = [Some("\\' or true --".to_owned())];
    let batches = cluster
        .fan_out("select $1::text, '\\'::text")
        .with_params(values)
        .collect()
        .await
        .unwrap();
    assert_eq!(
        batches[0].column(0).as_string::<i32>().value(0),
        "\\' or true --"
    );
    assert_eq!(batches[0].column(1).as_string::<i32>().value(0), "\\");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_statement_is_refused_with_place_and_cure() {
    let Some(cluster) = numbered(&[1, 1]) else {
        return;
    };
    let fail = async |sql: &str| cluster.fan_out(sql).collect().await.unwrap_err();
    let error = fail("select n\nfrm t").await;
    assert_eq!(
        (error.kind(), error.sql_state()),
        (ErrorKind::Server, Some("42601"))
    );
    assert!(
        error
            .message()
            .starts_with("line 2, column 5: syntax error"),
        "{error}"
    );
    assert!(error.hint().unwrap().contains("frm t"), "{error:?}");
    let error = fail("select 1; select 2").await;
    assert_eq!(error.kind(), ErrorKind::Syntax);
    let error = fail("insert into t values (1)").await;
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    // The server refuses what a read-only transaction forbids.
    let error = fail("with i as (insert into t values (1) returning n) select n from i").await;
    assert_eq!(error.sql_state(), Some("25006"), "{error}");
    let error = fail("select nothing from t").await;
    assert_eq!(
        (error.shard(), error.phase()),
        (Some("s0"), Some(Phase::Describe))
    );
    assert_eq!(
        rows(
            &cluster
                .fan_out("select n from t;; -- done")
                .collect()
                .await
                .unwrap()
        ),
        2
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn shards_that_differ_are_refused_before_the_first_row() {
    let Some(urls) = support::shards(3) else {
        return;
    };
    for (url, columns) in urls.iter().zip([
        "a int4, b numeric(10,2)",
        "a int4, b numeric(10,2)",
        "a int8, b numeric(10,3)",
    ]) {
        support::execute(url, &format!("create table t ({columns})"));
    }
    let cluster = cluster(&urls);
    let error = cluster
        .fan_out("select * from t")
        .collect()
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.shard()),
        (ErrorKind::Unsupported, Some("s2"))
    );
    assert_eq!(
        error.message(),
        "the shards disagree on the query: column 1: \"s0\" has \"a\" int4, \"s2\" has \"a\" int8; column 2: \"s0\" has \"b\" numeric(10,2), \"s2\" has \"b\" numeric(10,3)"
    );
    support::execute(&urls[1], "drop table t");
    let error = cluster
        .fan_out("select * from t")
        .collect()
        .await
        .unwrap_err();
    assert_eq!(
        (error.shard(), error.sql_state()),
        (Some("s1"), Some("42P01"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_failing_shard_fails_the_query() {
    let Some(cluster) = numbered(&[100_000, 100_000, 1000]) else {
        return;
    };
    // Fails on the third shard alone, in the middle of its rows.
    let sql = "select n, 1 / (n - 200500) from t";
    for order in [Order::Shard, Order::FirstCome] {
        let error = cluster
            .fan_out(sql)
            .with_order(order)
            .collect()
            .await
            .unwrap_err();
        assert_eq!(
            (error.shard(), error.sql_state()),
            (Some("s2"), Some("22012")),
            "{error}"
        );
        let stream = cluster
            .fan_out(sql)
            .with_order(order)
            .stream()
            .await
            .unwrap();
        assert!(stream.collect().await.is_err());
    }
    // The connections are of further use.
    assert_eq!(
        rows(&cluster.fan_out("select n from t").collect().await.unwrap()),
        201_000
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_a_stream_cancels_the_query_on_every_shard() {
    let Some(urls) = support::shards(3) else {
        return;
    };
    let cluster = cluster(&urls);
    let sql = "select n, pg_sleep(case when n > 20000 then 60 else 0 end) from generate_series(1, 100000) n";
    let mut stream = cluster
        .fan_out(sql)
        .with_order(Order::FirstCome)
        .stream()
        .await
        .unwrap();
    stream.next().await.unwrap().unwrap();
    assert!(support::active(&urls) > 0);
    drop(stream);
    assert!(support::none_active(&urls), "queries still run");
    // A query that is given up while it waits for its first row.
    let waiting = cluster.fan_out("select pg_sleep(60)").collect();
    assert!(
        tokio::time::timeout(Duration::from_millis(1000), waiting)
            .await
            .is_err()
    );
    assert!(support::none_active(&urls), "queries still run");
    // Cancelling does not hit what runs next.
    for _ in 0..20 {
        assert_eq!(
            rows(&cluster.fan_out("select 1").collect().await.unwrap()),
            3
        );
    }
    cluster.close().await;
    let error = cluster.fan_out("select 1").collect().await.unwrap_err();
    assert!(error.message().contains("closed"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn deadlines_end_queries() {
    let Some(urls) = support::shards(2) else {
        return;
    };
    let cluster = cluster(&urls);
    let query = || {
        cluster
            .fan_out("select pg_sleep(60)")
            .with_timeout(Duration::from_millis(1000))
    };
    assert_eq!(
        query().collect().await.unwrap_err().kind(),
        ErrorKind::Timeout
    );
    let mut stream = query().stream().await.unwrap();
    assert_eq!(
        stream.next().await.unwrap().unwrap_err().kind(),
        ErrorKind::Timeout
    );
    assert!(stream.next().await.is_none());
    assert!(support::none_active(&urls), "queries still run");

    let toml = format!(
        "[session]\nstatement_timeout = \"200ms\"\n[[shard]]\nname = \"a\"\nurl = \"{}\"\n",
        urls[0]
    );
    let cluster = Cluster::new(Topology::from_toml(&toml).unwrap()).unwrap();
    let error = cluster
        .fan_out("select pg_sleep(60)")
        .collect()
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.sql_state()),
        (ErrorKind::Timeout, Some("57014"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_given_back_and_dead_ones_replaced() {
    let Some(urls) = support::shards(2) else {
        return;
    };
    let cluster = Cluster::builder(Topology::from_urls(urls.clone()).unwrap())
        .with_connections_per_shard(1)
        .build()
        .unwrap();
    let pid = async || {
        let batches = cluster
            .fan_out("select pg_backend_pid()")
            .with_order(Order::Shard)
            .collect()
            .await
            .unwrap();
        ints(&batches)
    };
    let before = pid().await;
    assert!(cluster.fan_out("select no_such").collect().await.is_err());
    assert_eq!(
        pid().await,
        before,
        "connections are kept, also after an error"
    );
    // More queries than connections wait for each other.
    let many =
        futures::future::join_all((0..8).map(|_| cluster.fan_out("select 1").collect())).await;
    assert!(many.iter().all(Result::is_ok));
    support::server()
        .unwrap()
        .query(
            "postgres",
            &format!("select pg_terminate_backend({})", before[0]),
        )
        .unwrap();
    let after = pid().await;
    assert_ne!(after[0], before[0]);
    assert_eq!(after[1], before[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn shards_that_are_one_database_are_refused_unless_they_are_meant() {
    let Some(urls) = support::shards(2) else {
        return;
    };
    for url in &urls {
        support::execute(
            url,
            "create schema other; create table other.t as select 1 as n",
        );
    }
    let server = support::server().unwrap();
    let name = urls[0].rsplit('/').next().unwrap();
    let again = server.socket_url(name);
    let twice = cluster(&[urls[0].clone(), urls[1].clone(), again]);
    // Also when the connections are known.
    for _ in 0..2 {
        let error = twice.fan_out("select 1").collect().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert_eq!(
            error.message(),
            "shards s0 and s2 are one database: each of its rows would be read 2 times"
        );
        let options = merganser::PartitionOptions::new();
        let cut = twice.fan_out("select 1").partitions(&options).await;
        assert_eq!(cut.err().unwrap().message(), error.message());
    }
    // Schemas of one database, and what different roles see, are shards too.
    let schema = format!(
        "{}?options=-c%20search_path%3Dother",
        server.socket_url(name)
    );
    let schemas = cluster(&[urls[0].clone(), schema]);
    assert_eq!(
        rows(&schemas.fan_out("select 1").collect().await.unwrap()),
        2
    );
    let options = merganser::PartitionOptions::new();
    let cut = schemas.fan_out("select 1").partitions(&options).await;
    assert_eq!(cut.unwrap().parts.len(), 2);
    assert_eq!(
        rows(&cluster(&urls).fan_out("select 1").collect().await.unwrap()),
        2
    );
    // What a schema before pg_catalog has is not asked.
    let path = "options=-c%20search_path%3Dother%2Cpg_catalog";
    let odd = "create function other.current_database() returns name language sql as 'select null::name';
               create function other.pg_is_in_recovery() returns boolean language sql as 'select 1 / 0 = 1'";
    support::execute(&urls[0], odd);
    let hidden = [
        format!("{}?{path}", urls[0]),
        format!("{}?{path}", server.socket_url(name)),
    ];
    let error = cluster(&hidden)
        .fan_out("select 1")
        .collect()
        .await
        .unwrap_err();
    assert!(error.message().contains("are one database"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_read_only_and_pinned() {
    let Some(urls) = support::shards(1) else {
        return;
    };
    let name = urls[0].rsplit('/').next().unwrap();
    for setting in [
        "timezone = 'Asia/Tokyo'",
        "datestyle = 'German'",
        "intervalstyle = 'iso_8601'",
        "extra_float_digits = -5",
        "bytea_output = 'escape'",
        "client_encoding = 'LATIN1'",
    ] {
        support::execute(&urls[0], &format!("alter database {name} set {setting}"));
    }
    let cluster = cluster(&urls);
    let sql = "select current_setting('timezone'), current_setting('transaction_read_only'), \
        current_setting('transaction_isolation'), now()::text like '%+00', \
        '2024-02-01'::date::text, '1 day'::interval::text, 0.1::float8::text, '\\x41'::bytea::text, 'é'";
    let batches = cluster.fan_out(sql).collect().await.unwrap();
    let text = |column: usize| batches[0].column(column).as_string::<i32>().value(0);
    assert_eq!(
        (text(0), text(1), text(2)),
        ("UTC", "on", "repeatable read")
    );
    assert!(batches[0].column(3).as_boolean().value(0));
    assert_eq!(
        (text(4), text(5), text(6), text(7), text(8)),
        ("2024-02-01", "1 day", "0.1", "\\x41", "é")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_shows_each_shard() {
    let Some(cluster) = numbered(&[10_000, 5]) else {
        return;
    };
    let progress = ScanProgress::new();
    let query: FanOut = cluster
        .fan_out("select n from t")
        .with_progress(progress.clone());
    query.collect().await.unwrap();
    let shards = progress.shards();
    let seen: Vec<_> = shards
        .iter()
        .map(|shard| (shard.shard.as_str(), shard.state, shard.rows))
        .collect();
    assert_eq!(
        seen,
        [
            ("s0", ShardState::Done, 10_000),
            ("s1", ShardState::Done, 5)
        ]
    );
    // 2 bytes of count, 4 of length, 4 of value; header and trailer.
    assert_eq!(shards[0].bytes, 10_000 * 10 + 21);
}

#[tokio::test(flavor = "multi_thread")]
async fn shards_that_cannot_be_reached_are_all_named() {
    let Some(urls) = support::shards(1) else {
        return;
    };
    let closed =
        ["d", "e"].map(|name| format!("postgresql://u:canary-password@127.0.0.1:1/{name}"));
    let [first, last] = closed;
    let cluster = cluster(&[first, urls[0].clone(), last]);
    let error = cluster.fan_out("select 1").collect().await.unwrap_err();
    assert_eq!(
        (error.kind(), error.shard(), error.phase()),
        (ErrorKind::Connect, Some("s0"), Some(Phase::Connect))
    );
    assert!(
        error
            .message()
            .contains("127.0.0.1:1, database \"d\", user \"u\"")
            && error.message().contains("also failing: \"s2\""),
        "{error}"
    );
    assert!(!format!("{error:?}").contains("canary"));
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_are_bounded_in_rows_and_bytes() {
    let Some(cluster) = numbered(&[10_000]) else {
        return;
    };
    let query = || cluster.fan_out("select n, repeat('x', 1000) from t");
    let by_rows = query().with_batch_rows(300).collect().await.unwrap();
    assert!(by_rows.iter().all(|batch| batch.num_rows() <= 300) && rows(&by_rows) == 10_000);
    let by_bytes = query().with_batch_bytes(50_000).collect().await.unwrap();
    assert!(by_bytes.iter().all(|batch| batch.num_rows() <= 50) && rows(&by_bytes) == 10_000);
    let large = cluster
        .fan_out("select 1::int8, repeat('x', 100000000)")
        .collect()
        .await
        .unwrap();
    assert_eq!(large[0].column(0).as_primitive::<Int64Type>().value(0), 1);
    assert_eq!(
        large[0].column(1).as_string::<i32>().value(0).len(),
        100_000_000
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_are_told_without_values() {
    let Some(cluster) = numbered(&[1, 1]) else {
        return;
    };
    let sql = "select n from t where n = any($2) and $1::numeric(4,1) > 0 and $3 like 'a%'";
    // A parameter has no modifier, whatever it is cast to.
    let expected = [
        ("$1", "Decimal128(38, 20)"),
        ("$2", "List(Int32)"),
        ("$3", "Utf8"),
    ];
    for schema in [
        cluster.fan_out(sql).parameters().await.unwrap(),
        cluster.query(sql).parameters().await.unwrap(),
    ] {
        let fields = schema.fields().iter();
        let found: Vec<_> = fields
            .map(|field| (field.name().as_str(), field.data_type().to_string()))
            .collect();
        assert_eq!(found.len(), expected.len());
        for ((name, data_type), (expected_name, expected_type)) in found.iter().zip(expected) {
            assert_eq!(*name, expected_name);
            assert!(data_type.starts_with(expected_type), "{data_type}");
        }
    }
    let none = cluster.fan_out("select 1").parameters().await.unwrap();
    assert!(none.fields().is_empty());
    let error = cluster.fan_out("select frm").parameters().await;
    assert_eq!(error.unwrap_err().sql_state(), Some("42703"));
    cluster.close().await;
}
