//! Aggregations: the answer of one PostgreSQL, however many executors there are.

use std::process::Stdio;

use merganser_local::fixture;

use crate::local::{Cluster, Done, Particulars, events, oracle, tpch};

/// Answered by partial aggregates that DataFusion puts together, and by PostgreSQL what is left then.
const ANSWERED: [&str; 8] = [
    "SELECT count(*), sum(l_orderkey), min(l_linenumber), max(l_orderkey) FROM lineitem",
    // TPC-H query 6.
    "SELECT sum(l_extendedprice * l_discount) AS revenue FROM lineitem \
     WHERE l_shipdate >= date '1994-01-01' AND l_shipdate < date '1995-01-01' \
     AND l_discount BETWEEN 0.05 AND 0.07 AND l_quantity < 24",
    "SELECT l_partkey, l_suppkey, sum(l_quantity) AS quantity, count(*) AS lines, max(l_orderkey) AS last \
     FROM lineitem GROUP BY l_partkey, l_suppkey",
    "SELECT l_suppkey, bool_or(l_quantity > 49), bool_and(l_quantity > 1), bit_or(l_linenumber) \
     FROM lineitem GROUP BY 1",
    "SELECT o_custkey, count(*) AS orders, sum(o_totalprice) AS total FROM orders \
     JOIN lineitem ON l_orderkey = o_orderkey WHERE l_shipdate < date '1995-01-01' GROUP BY o_custkey",
    // The revenue of TPC-H query 15, with averages, and an order.
    "SELECT l_suppkey, sum(l_extendedprice * (1 - l_discount)) AS revenue, avg(l_discount) AS discount, \
     avg(l_partkey) FROM lineitem WHERE l_shipdate >= date '1996-01-01' GROUP BY l_suppkey ORDER BY l_suppkey",
    "SELECT l_partkey, sum(l_quantity) AS quantity FROM lineitem GROUP BY l_partkey \
     HAVING count(*) > 35 ORDER BY quantity DESC, l_partkey LIMIT 10",
    // No rows at all.
    "SELECT count(*), sum(l_quantity) FROM lineitem WHERE l_quantity < 0",
];

#[test]
fn counts_are_right_with_one_and_two_executors_of_one_and_two_vcores() {
    let Some(data) = fixture::tpch_of(10, 4) else {
        return;
    };
    let sql = ANSWERED[0];
    let expected = oracle(&data.oracle, sql);
    for (executors, vcores) in [(1, 1), (2, 1), (1, 2), (2, 2)] {
        let particulars = Particulars {
            vcores,
            ..Particulars::default()
        };
        let cluster = Cluster::start(&tpch(&data.shards), &vec![particulars; executors]);
        let done = cluster.answer(&["query", sql]);
        assert!(done.parts() > 2 * executors * vcores, "{}", done.stderr);
        assert_eq!(
            done.rows(),
            expected,
            "{executors} executors of {vcores} vcores"
        );
    }
}

#[test]
fn aggregations_are_those_of_one_postgresql() {
    let Some(data) = fixture::tpch_of(10, 4) else {
        return;
    };
    // Too little for all groups of one partition.
    let particulars = Particulars {
        vcores: 2,
        memory: Some("8388608"),
        ..Particulars::default()
    };
    let cluster = Cluster::start(&tpch(&data.shards), &[particulars; 2]);
    for sql in ANSWERED {
        for partitions in ["1", "5"] {
            let arguments = [
                "query",
                "--partitions",
                partitions,
                "--verify",
                &data.oracle,
                sql,
            ];
            let done = cluster.answer(&arguments);
            assert!(done.stderr.contains("verified"), "{}", done.stderr);
        }
    }
    // Into a file, of a format that keeps the types.
    let arguments = ["query", "-o", "answer.parquet", ANSWERED[2]];
    cluster.answer(&arguments);
    assert!(cluster.path("answer.parquet").is_file());
}

#[test]
fn a_client_whose_standard_error_is_closed_answers() {
    let Some((_, topology)) = events(2, 10) else {
        return;
    };
    let cluster = Cluster::start(&topology, &[Particulars::default()]);
    let mut command = cluster.client("query");
    command.arg("SELECT count(*), sum(id) FROM events");
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut client = command.spawn().unwrap();
    drop(client.stderr.take());
    let done: Done = client.wait_with_output().unwrap().into();
    assert!(done.is_success(), "{:?}", done.code);
    assert_eq!(done.rows(), ["20,190"]);
}

#[test]
fn what_executors_cannot_put_together_is_refused_with_the_reason() {
    let Some(data) = fixture::tpch_of(10, 4) else {
        return;
    };
    let cluster = Cluster::start(&tpch(&data.shards), &[]);
    for sql in [
        "SELECT * FROM lineitem",
        "SELECT l_orderkey FROM lineitem ORDER BY 1 LIMIT 3",
        // Only PostgreSQL knows the order of text, and when values of char(n) are equal.
        "SELECT l_returnflag, count(*) FROM lineitem GROUP BY 1",
        "SELECT l_suppkey, max(l_comment) FROM lineitem GROUP BY 1",
        "SELECT count(*) FROM lineitem a JOIN lineitem b ON a.l_partkey = b.l_suppkey",
        "SELECT l_suppkey, percentile_cont(0.5) WITHIN GROUP (ORDER BY l_quantity) FROM lineitem GROUP BY 1",
    ] {
        let done = cluster.run(&["query", sql]);
        assert_eq!(done.code, Some(3), "{sql}: {}", done.stderr);
        assert!(done.stderr.contains("refused: "), "{}", done.stderr);
        assert!(done.stderr.contains("hint: "), "{}", done.stderr);
    }
}

#[test]
fn groups_that_memory_does_not_hold_go_to_disk() {
    let Some(data) = fixture::tpch_of(10, 4) else {
        return;
    };
    let particulars = Particulars {
        memory: Some("2000000"),
        ..Particulars::default()
    };
    let topology = tpch(&data.shards);
    let cluster = Cluster::start_logging("debug", &topology, &[particulars; 2]);
    // Nearly as many groups as rows.
    let sql = "SELECT l_partkey, l_suppkey, l_quantity, l_linenumber, count(*), sum(l_extendedprice), \
               max(l_orderkey) FROM lineitem GROUP BY 1, 2, 3, 4";
    let done = cluster.answer(&["query", "--partitions", "2", "--verify", &data.oracle, sql]);
    assert!(done.stderr.contains("verified"), "{}", done.stderr);
    let logs = cluster.logs();
    let has_spilled = |line: &str| {
        let count = line.split_once("spill_count=").map(|(_, count)| count);
        line.contains("mode=FinalPartitioned") && count.is_some_and(|count| !count.starts_with('0'))
    };
    assert!(logs.lines().any(has_spilled), "{logs}");
}
