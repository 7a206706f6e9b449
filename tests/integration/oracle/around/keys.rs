//! Which shard a key pins, where several keys are equal.

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use merganser::config::{Shard, TableKind};
use merganser::{Cluster, Topology};

use crate::support;

const SHARDS: usize = 2;

/// The type of a key, the shard of a key `k`, keys, one that is asked for, and whether it has one shard.
type Keys = (
    &'static str,
    &'static str,
    &'static [&'static str],
    &'static str,
    bool,
);

/// An index may tell equal keys apart, by their blanks or their digits: they are on several shards then.
const KEYS: [Keys; 7] = [
    (
        "bpchar",
        "octet_length(k) % 2",
        &["a", "a ", "b"],
        "a",
        false,
    ),
    ("character(3)", "ascii(k) % 2", &["a", "b", "c"], "a", true),
    (
        "numeric",
        "length(k::text) % 2",
        &["1.0", "1.00", "2.0"],
        "1.0",
        false,
    ),
    (
        "numeric(6,2)",
        "length(k::text) % 2",
        &["1.0", "10.0", "1.00"],
        "1.0",
        true,
    ),
    (
        "interval",
        "length(k::text) % 2",
        &["1 mon", "30 days", "1 day"],
        "1 mon",
        false,
    ),
    (
        "time",
        "extract(minute from k)::int % 2",
        &["10:00", "10:01", "24:00"],
        "10:01",
        true,
    ),
    ("text", "ascii(k) % 2", &["a", "b", "a "], "a", true),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_pinned_only_where_equal_keys_are_the_same() {
    let (Some(whole), Some(urls)) = (support::database(), support::shards(SHARDS)) else {
        return;
    };
    let mut builder = Topology::builder();
    for (number, url) in urls.iter().enumerate() {
        builder = builder.with_shard(Shard::new(&format!("s{number}"), url));
    }
    for (number, (key, index, values, _, _)) in KEYS.iter().enumerate() {
        let table = format!("t{number}");
        let rows: Vec<_> = values.iter().map(|value| format!("('{value}')")).collect();
        let sql = format!(
            "create table {table} (k {key}); insert into {table} values {}",
            rows.join(", ")
        );
        support::execute(&whole, &sql);
        for (shard, url) in urls.iter().enumerate() {
            let keep = format!("{sql}; delete from {table} where {index} <> {shard}");
            support::execute(url, &keep);
        }
        let kind = TableKind::Sharded {
            key: "k".to_owned(),
            colocation: None,
            shard_index: Some((*index).to_owned()),
        };
        builder = builder.with_table(&table, kind);
    }
    let cluster = Cluster::new(builder.build().unwrap()).unwrap();
    let (_, database) = whole.rsplit_once('/').unwrap();
    for (number, (key, _, _, asked, is_pinned)) in KEYS.iter().enumerate() {
        let sql = format!("select count(*) from t{number} where k = '{asked}'");
        let expected = support::server().unwrap().query(database, &sql).unwrap();
        let found = cluster.query(&sql).collect().await.unwrap();
        assert_eq!(Some(count(&found)), expected[0][0], "{key}");
        let plan = cluster.query(&sql).plan().await.unwrap().to_string();
        assert_eq!(
            plan.contains("; the key is pinned"),
            *is_pinned,
            "{key}: {plan}"
        );
    }
    cluster.close().await;
}

/// The one count of an answer.
fn count(batches: &[RecordBatch]) -> String {
    let counts = batches.iter().flat_map(|batch| {
        let column = batch.column(0).as_primitive::<Int64Type>();
        column.values().to_vec()
    });
    counts.map(|count| count.to_string()).collect()
}
