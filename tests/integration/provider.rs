//! The shards' tables in DataFusion: the same answers as over the same rows in its memory.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use merganser::config::{Shard, TableKind};
use merganser::provider::datafusion::arrow::array::RecordBatch;
use merganser::provider::datafusion::arrow::util::pretty::pretty_format_batches;
use merganser::provider::datafusion::datasource::{MemTable, TableProvider};
use merganser::provider::datafusion::error::DataFusionError;
use merganser::provider::datafusion::prelude::{SessionConfig, SessionContext};
use merganser::provider::{self, ClusterSchema, ClusterTable, QueryTable};
use merganser::{Cluster, ErrorKind, Topology};

use crate::support;

const SHARDS: usize = 3;

/// Values on which PostgreSQL and Arrow are known to agree, and some on which they are not.
const EDGES: &str = "
    create type mood as enum ('high', 'low');
    create domain small as int;
    create collation ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
    create table edge (
        k int, i2 smallint, i8 bigint, b boolean, n numeric(12, 2), f double precision, r real,
        d date, t timestamp, z timestamptz, u uuid, y bytea, s text, v varchar(3), c char(4),
        de text collate \"de-x-icu\", x text collate ci, m mood, q small, j jsonb, a int[]);
    insert into edge select i, i % 7, i * 1000000007::bigint, i % 3 = 0,
        (array[-1.50, 0, 0.05, 99.99])[1 + i % 4],
        (array['-0', '0', 'NaN', 'Infinity', '-Infinity', '1e-300', '0.1'])[1 + i % 7]::float8,
        (array['-0', '0', 'NaN', '0.1'])[1 + i % 4]::real,
        date '1969-12-30' + i, timestamp '1999-12-31 23:59:59.999999' + i * interval '1 microsecond',
        timestamptz '2024-03-31 00:59:59+00' + i * interval '30 minutes',
        md5(i::text)::uuid, decode(lpad(to_hex(i % 256), 2, '0'), 'hex'),
        (array['a', 'B', 'b', 'ä', E'quo\\'te', E'back\\\\slash', '', 'a '])[1 + i % 8],
        (array['a', 'abc', ''])[1 + i % 3], (array['a', 'ab', 'a  '])[1 + i % 3],
        (array['a', 'B', 'ä', 'z'])[1 + i % 4], (array['a', 'A', 'b'])[1 + i % 3],
        (array['high', 'low'])[1 + i % 2]::mood, i % 5, jsonb_build_object('i', i), array[i, null]
    from generate_series(1, 60) i;
    insert into edge (k) values (61), (62);
";

/// Conditions, and whether all rows that they filter are filtered by the shards.
const CONDITIONS: [(&str, bool); 44] = [
    ("k = 7", true),
    ("k <> 7", true),
    ("k in (1, 2, 61)", true),
    ("k not in (1, 2, 61)", true),
    ("k between 3 and 9 or k > 60", true),
    ("not (k < 50)", true),
    ("-k < -50", false),
    ("i2 = 3", true),
    ("i8 >= 30000000210", true),
    ("b", true),
    ("not b", true),
    ("b is null", true),
    ("b is not null and k > 30", true),
    ("b = false", true),
    ("n = 0.05", true),
    ("n < 0", true),
    ("f = 0", false),
    ("f < 0", false),
    ("f <> 0", false),
    ("f in (0, 0.1)", false),
    ("r = 0", false),
    ("isnan(f)", false),
    ("d >= date '1970-01-15'", true),
    ("d between date '1970-01-01' and date '1970-01-03'", true),
    ("t > timestamp '2000-01-01 00:00:00.00001'", true),
    ("z < timestamptz '2024-03-31 04:00:00+02'", true),
    ("y = X'2a'", true),
    ("s = 'b'", true),
    ("s = 'quo''te'", true),
    (r"s = 'back\slash'", true),
    ("s < 'b'", true),
    ("s in ('', 'ä')", true),
    ("s = E'\\0'", false),
    ("s like 'b%'", false),
    ("s is distinct from 'b'", false),
    ("v = 'abcd'", true),
    ("v > 'aa'", true),
    ("c = 'a'", false),
    ("de = 'ä'", true),
    ("de > 'b'", false),
    ("x = 'a'", false),
    ("m = 'low'", false),
    ("q = 3", false),
    ("i2 = k", false),
];

struct Tables {
    urls: Vec<String>,
    cluster: Cluster,
    /// Over the shards.
    shards: SessionContext,
    /// Over the same rows in memory.
    memory: SessionContext,
}

impl Tables {
    async fn new(cluster: Cluster, urls: &[String]) -> Self {
        let (shards, memory) = (context(), context());
        provider::register(&shards, &cluster).await.unwrap();
        for table in ClusterTable::all(&cluster).await.unwrap() {
            let rows = cluster.query(format!("select * from {}", table.name()));
            let rows = rows.collect().await.unwrap();
            let copy = MemTable::try_new(table.schema(), vec![rows]).unwrap();
            memory.register_table(table.name(), Arc::new(copy)).unwrap();
        }
        Self {
            urls: urls.to_vec(),
            cluster,
            shards,
            memory,
        }
    }

    async fn edges() -> Option<Self> {
        let urls = support::shards(SHARDS)?;
        let mut builder = Topology::builder();
        for (number, url) in urls.iter().enumerate() {
            support::execute(url, EDGES);
            support::execute(
                url,
                "create table word as select i, i::text as w from generate_series(1, 9) i",
            );
            support::execute(
                url,
                &format!("delete from edge where k % {SHARDS} <> {number}; analyze"),
            );
            builder = builder.with_shard(Shard::new(&format!("s{number}"), url));
        }
        let sharded = TableKind::Sharded {
            key: "k".to_owned(),
            colocation: None,
            shard_index: Some(format!("((k % {SHARDS}) + {SHARDS}) % {SHARDS}")),
        };
        let topology = builder
            .with_table("edge", sharded)
            .with_table("word", TableKind::Replicated);
        let cluster = Cluster::new(topology.build().unwrap()).unwrap();
        Some(Self::new(cluster, &urls).await)
    }

    /// What is wrong with the answer of a statement, if anything.
    async fn compare(&self, sql: &str) -> Option<String> {
        let expected = answer(&self.memory, sql).await;
        let found = answer(&self.shards, sql).await;
        match (expected, found) {
            (Ok(expected), Ok(found)) if expected == found => None,
            (Err(_), Err(_)) => None,
            (expected, found) => Some(format!("{sql}\nexpected {expected:?}\nfound {found:?}")),
        }
    }
}

fn context() -> SessionContext {
    SessionContext::new_with_config(SessionConfig::new().with_target_partitions(2))
}

async fn collect(context: &SessionContext, sql: &str) -> Result<Vec<RecordBatch>, DataFusionError> {
    context.sql(sql).await?.collect().await
}

/// The rows as text, sorted.
async fn answer(context: &SessionContext, sql: &str) -> Result<Vec<String>, String> {
    let batches = collect(context, sql)
        .await
        .map_err(|error| error.to_string())?;
    let shown = pretty_format_batches(&batches).map_err(|error| error.to_string())?;
    let mut rows: Vec<String> = shown.to_string().lines().map(str::to_owned).collect();
    rows.sort();
    Ok(rows)
}

/// The physical plan as text.
async fn explained(context: &SessionContext, sql: &str) -> String {
    answer(context, &format!("explain {sql}"))
        .await
        .unwrap()
        .join("\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conditions_keep_the_rows_that_datafusion_keeps() {
    let Some(tables) = Tables::edges().await else {
        return;
    };
    let mut wrong = Vec::new();
    for (condition, is_pushed) in CONDITIONS {
        for sql in [
            format!("select * from edge where {condition}"),
            format!("select k from edge where not ({condition})"),
            format!("select count(*), sum(k) from edge where {condition} or k = 1"),
        ] {
            wrong.extend(tables.compare(&sql).await);
        }
        let sql = format!("select k from edge where {condition}");
        let plan = match collect(&tables.memory, &sql).await {
            Ok(_) => explained(&tables.shards, &sql).await,
            Err(_) => continue,
        };
        if plan.contains("FilterExec") == is_pushed {
            wrong.push(format!("{condition}: pushed should be {is_pushed}\n{plan}"));
        }
    }
    tables.cluster.close().await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scan_asks_for_what_is_wanted_and_of_the_shards_that_may_have_it() {
    let Some(tables) = Tables::edges().await else {
        return;
    };
    for (sql, wanted) in [
        ("select s from edge where k = 4", "shards=[s1], sql=SELECT"),
        ("select s from edge where k in (1, 2)", "shards=[s1, s2]"),
        ("select s from edge where k = -4", "shards=["),
        ("select count(*) from edge", "shards=[s0, s1, s2]"),
        ("select k from edge limit 2", "LIMIT 2"),
        ("select w from word where i = 3", "WHERE"),
    ] {
        let plan = explained(&tables.shards, sql).await;
        assert!(plan.contains(wanted), "{sql}: {plan}");
        assert_eq!(
            tables.compare(sql).await.filter(|_| !sql.contains("limit")),
            None
        );
    }
    // A copy of each row is on every shard, and comes once.
    assert_eq!(
        tables.compare("select count(*), sum(i) from word").await,
        None
    );
    assert_eq!(
        tables
            .compare("select count(*) from edge join word on k = i")
            .await,
        None
    );
    let limited = collect(&tables.shards, "select k from edge limit 2")
        .await
        .unwrap();
    assert_eq!(limited.iter().map(RecordBatch::num_rows).sum::<usize>(), 2);
    tables.cluster.close().await;
}

/// A number of rows that were taken for exact would be the answer of a count.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn estimates_are_no_answers() {
    let Some(tables) = Tables::edges().await else {
        return;
    };
    let table = tables.shards.table_provider("edge").await.unwrap();
    let rows = table.statistics().unwrap().num_rows;
    assert_eq!(rows.is_exact(), Some(false), "{rows}");
    assert_eq!(rows.get_value(), Some(&62));
    for url in &tables.urls {
        support::execute(url, "delete from edge where k > 60");
    }
    let counted = answer(&tables.shards, "select count(*) as n from edge")
        .await
        .unwrap();
    assert!(
        counted.iter().any(|row| row.contains("| 60 |")),
        "{counted:?}"
    );
    tables.cluster.close().await;
}

/// Every scan has a connection while others wait for its rows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_of_many_scans_does_not_wait_for_itself() {
    let Some(tables) = Tables::edges().await else {
        return;
    };
    let scans = ["select k, s from edge"; 12].join(" union all ");
    for sql in [
        format!("select * from ({scans}) order by k, s limit 500"),
        "select count(*) from edge a join edge b using (k) join edge c using (k) join edge d \
         using (k) join edge e using (k) join edge f using (k)"
            .to_owned(),
    ] {
        assert_eq!(tables.compare(&sql).await, None);
    }
    tables.cluster.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_answer_of_a_query_is_a_table() {
    let Some(tables) = Tables::edges().await else {
        return;
    };
    let medians = tables.cluster.query(
        "select b, percentile_cont(0.5) within group (order by k) as middle, count(*) as n \
         from edge group by b",
    );
    provider::register_query(&tables.shards, "medians", medians.clone())
        .await
        .unwrap();
    let sql = "select middle from medians where n > 10 and b order by 1";
    let found = answer(&tables.shards, sql).await.unwrap();
    assert!(found.iter().any(|row| row.contains("31.5")), "{found:?}");
    let found = answer(&tables.shards, "select count(*) as rows from medians")
        .await
        .unwrap();
    assert!(found.iter().any(|row| row.contains("| 3 ")), "{found:?}");
    let plan = explained(&tables.shards, sql).await;
    assert!(
        plan.contains("AnswerExec: sql=select b, percentile_cont"),
        "{plan}"
    );

    let taken = provider::register_query(&tables.shards, "edge", medians.clone()).await;
    assert_eq!(taken.unwrap_err().kind(), ErrorKind::Config);
    let refused = QueryTable::try_new(tables.cluster.query("select ctid from edge")).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Unsupported);
    tables.cluster.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_are_those_of_the_databases() {
    let Some(urls) = support::shards(2) else {
        return;
    };
    let mut builder = Topology::builder();
    for (number, url) in urls.iter().enumerate() {
        support::execute(
            url,
            "create schema \"Else\"; create table \"Else\".\"T t\" (\"K k\" int, \"a\"\"b\" text); \
             create table plain (k int); create table \"Else\".plain (k int); \
             insert into \"Else\".\"T t\" values (1, 'x');",
        );
        builder = builder.with_shard(Shard::new(&format!("s{number}"), url));
    }
    let topology = builder
        .with_table("\"Else\".\"T t\"", TableKind::sharded("\"K k\""))
        .with_table("public.plain", TableKind::sharded("k"))
        .with_table("\"Else\".plain", TableKind::sharded("k"));
    let cluster = Cluster::new(topology.build().unwrap()).unwrap();
    let context = context();
    // Two tables of one name.
    let error = provider::register(&context, &cluster).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("\"plain\""), "{error}");
    assert!(!context.table_exist("plain").unwrap());

    let schema = ClusterSchema::try_new(&cluster, "Else").await.unwrap();
    let catalog = context.catalog("datafusion").unwrap();
    catalog.register_schema("else", Arc::new(schema)).unwrap();
    let sql = "select \"a\"\"b\", \"K k\" from \"else\".\"T t\" where \"a\"\"b\" = 'x'";
    let found = answer(&context, sql).await.unwrap();
    assert_eq!(
        found.iter().filter(|row| row.contains("| x ")).count(),
        2,
        "{found:?}"
    );
    assert!(
        answer(&context, "select * from \"else\".nothing")
            .await
            .is_err()
    );
    cluster.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_that_fails_is_named() {
    let Some(tables) = Tables::edges().await else {
        return;
    };
    support::execute(&tables.urls[1], "alter table edge rename to gone");
    let error = answer(&tables.shards, "select sum(k) from edge")
        .await
        .unwrap_err();
    assert!(error.contains("s1"), "{error}");
    tables.cluster.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tpch_equals_itself_over_the_same_rows_in_memory() {
    let Some(data) = support::tpch(4) else {
        return;
    };
    let mut builder = Topology::builder();
    for (number, url) in data.shards.iter().enumerate() {
        builder = builder.with_shard(Shard::new(&format!("s{number}"), url));
    }
    for table in ["lineitem", "orders"] {
        let key = if table == "orders" {
            "o_orderkey"
        } else {
            "l_orderkey"
        };
        builder = builder.with_table(table, TableKind::sharded(key));
    }
    for table in [
        "region", "nation", "supplier", "customer", "part", "partsupp",
    ] {
        builder = builder.with_table(table, TableKind::Replicated);
    }
    let cluster = Cluster::new(builder.build().unwrap()).unwrap();
    let tables = Tables::new(cluster, &data.shards).await;
    let mut wrong = Vec::new();
    let mut answered = 0;
    for number in 1..=22 {
        let path = format!("testdata/tpch/q{number:02}.sql");
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        let sql = fs::read_to_string(path).unwrap();
        let sql = sql.trim().trim_end_matches(';');
        answered += usize::from(answer(&tables.memory, sql).await.is_ok());
        wrong.extend(tables.compare(sql).await);
    }
    tables.cluster.close().await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert!(answered >= 20, "DataFusion answers {answered} of them");
}
