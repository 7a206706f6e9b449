//! The 22 queries of TPC-H on four shards, equal to the same on one database however they run.

use std::fs;
use std::path::Path;

use futures::future::join_all;
use merganser::{Cluster, MergeMode, Topology};
use merganser_local::tpch_topology;

use super::case::{Case, Expect};
use super::compare::{self, Answer};
use super::planned::{self, Running};
use super::{READERS, many_are_seen};
use crate::support;

/// The scale factor in thousandths.
const THOUSANDTHS: u32 = 10;

/// How many of the queries may be answered by collecting rows.
const MOST_GATHERED: usize = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tpch_equals_the_oracle_and_is_hardly_gathered() {
    let Some(data) = support::tpch_of(THOUSANDTHS, 4) else {
        return;
    };
    let oracle = Cluster::new(Topology::from_urls([&data.oracle]).unwrap()).unwrap();
    let topology = Topology::from_toml(&tpch_topology(&data.shards)).unwrap();
    let cluster = Cluster::builder(topology)
        .with_connections_per_shard(READERS + 2)
        .build()
        .unwrap();
    let mut seen = [0; Running::ALL.len()];
    let mut failures = Vec::new();
    let mut gathered = Vec::new();
    for case in queries() {
        let expected = Answer::of(oracle.fan_out(&case.sql)).await;
        let expected = expected.unwrap_or_else(|error| panic!("{}: {error}", case.file));
        let query = planned::query(&cluster, &case.sql, MergeMode::Auto);
        let found = Running::ALL.map(|running| Answer::of(running.of(query.clone())));
        for (running, found) in Running::ALL.into_iter().zip(join_all(found).await) {
            let verdict = found
                .map_err(|error| error.to_string())
                .and_then(|found| compare::compare(&case, &expected, &found));
            if let Err(difference) = verdict {
                failures.push(format!("{}, {running:?}: {difference}", case.file));
            }
            seen[running as usize] += usize::from(running.is_seen(query.clone()).await);
        }
        match planned::arm(query).await {
            Ok(arm) if arm == "gather" => gathered.push(case.file),
            Ok(_) => {}
            Err(error) => failures.push(format!("{}: no plan: {error}", case.file)),
        }
    }
    oracle.close().await;
    cluster.close().await;
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    assert!(gathered.len() <= MOST_GATHERED, "gathered: {gathered:?}");
    many_are_seen("TPC-H", seen, [12, 2]);
}

fn queries() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/tpch");
    (1..=22)
        .map(|number| {
            let file = format!("q{number:02}");
            let sql = fs::read_to_string(folder.join(format!("{file}.sql"))).expect("a query");
            Case {
                file,
                number: 1,
                line: 1,
                ordered: sql.contains("\norder by"),
                sql,
                arm: None,
                expect: Expect::Answer,
                representative: false,
                superset: None,
                tolerance: 0.0,
                comments: Vec::new(),
            }
        })
        .collect()
}
