//! Answers whose text and bytes are views, by every way that rows go.

use merganser::arrow::array::{ArrayRef, RecordBatch};
use merganser::arrow::compute::{cast, concat_batches};
use merganser::arrow::datatypes::DataType;
use merganser::config::{Shard, TableKind};
use merganser::types::{TextAs, TypeOptions};
use merganser::{Arm, Cluster, Order, Topology};

use crate::support;

const SCHEMA: &str = "CREATE TABLE t (id int PRIMARY KEY, name text COLLATE \"C\", short bpchar(14) COLLATE \"C\", \
     free text, bytes bytea, day date, span interval)";

const QUERIES: [(&str, Arm); 9] = [
    ("SELECT id, name, bytes FROM t WHERE id > 3", Arm::Union),
    (
        "SELECT name, bytes FROM t ORDER BY name DESC, id",
        Arm::Ordered,
    ),
    (
        "SELECT short, name FROM t ORDER BY short, id LIMIT 9",
        Arm::Ordered,
    ),
    ("SELECT bytes, id FROM t ORDER BY bytes, id", Arm::Ordered),
    ("SELECT name FROM t ORDER BY day, span, id", Arm::Ordered),
    (
        "SELECT name, count(*), max(bytes::text COLLATE \"C\") FROM t GROUP BY name ORDER BY name",
        Arm::Combine,
    ),
    ("SELECT max(name), min(short) FROM t", Arm::Combine),
    (
        "SELECT string_agg(name, ',' ORDER BY id) FROM t",
        Arm::Gather,
    ),
    (
        "SELECT a.name, b.bytes FROM t a JOIN t b ON a.id = b.id + 1 ORDER BY a.id",
        Arm::Gather,
    ),
];

#[tokio::test]
async fn every_arm_gives_the_same_as_views() {
    let Some(urls) = support::shards(2) else {
        return;
    };
    for (shard, url) in urls.iter().enumerate() {
        support::execute(url, SCHEMA);
        let rows = format!(
            "INSERT INTO t SELECT i, CASE WHEN i % 5 > 0 THEN repeat('n' || i % 4, i % 7) END, \
             's' || i % 3, 'f' || i, decode(lpad(to_hex(i), (i % 16) * 2, '0'), 'hex'), \
             date '2024-01-01' + i % 6, make_interval(hours => i % 9) \
             FROM generate_series(1, 40) i WHERE i % 2 = {shard}"
        );
        support::execute(url, &rows);
    }
    let mut topology = Topology::builder().with_table("t", TableKind::sharded("id"));
    for (number, url) in urls.iter().enumerate() {
        topology = topology.with_shard(Shard::new(&format!("s{number}"), url));
    }
    let cluster = Cluster::new(topology.build().unwrap()).unwrap();
    let views = TypeOptions {
        text: TextAs::Views,
        ..TypeOptions::default()
    };
    for (sql, arm) in QUERIES {
        let query = cluster.query(sql).with_order(Order::Shard);
        assert_eq!(query.clone().explain().await.unwrap().arm(), arm, "{sql}");
        let expected = whole(&query.clone().collect().await.unwrap());
        let query = query.with_types(views);
        let schema = query.clone().describe().await.unwrap();
        let found = query.collect().await.unwrap();
        for batch in &found {
            assert_eq!(batch.schema(), schema, "{sql}");
        }
        let found = whole(&found);
        for (expected, found) in expected.columns().iter().zip(found.columns()) {
            let is_text = matches!(expected.data_type(), DataType::Utf8 | DataType::Binary);
            assert_eq!(is_text, expected.data_type() != found.data_type(), "{sql}");
            assert_eq!(expected, &with_offsets(found), "{sql}");
        }
    }
    cluster.close().await;
}

fn whole(batches: &[RecordBatch]) -> RecordBatch {
    concat_batches(&batches[0].schema(), batches).unwrap()
}

fn with_offsets(array: &ArrayRef) -> ArrayRef {
    let data_type = match array.data_type() {
        DataType::Utf8View => &DataType::Utf8,
        DataType::BinaryView => &DataType::Binary,
        other => other,
    };
    cast(array, data_type).unwrap()
}
