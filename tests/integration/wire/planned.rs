//! Planned queries whose connections fail at every point, by way of a proxy before a real server; and
//! how many round trips a query takes.

use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use merganser::{
    Arm, Cluster, ClusterBuilder, Error, MergeMode, Query, ScanProgress, Topology, arrow,
};

use super::proxy::Proxy;
use super::server::{Fault, Point};
use crate::support;

const SHARDS: usize = 3;

/// A cluster whose connections all go through proxies.
struct Proxied {
    cluster: Cluster,
    proxies: Vec<Proxy>,
}

impl Proxied {
    /// `t(n, v)`, sharded by `n`, with 500 rows on each shard.
    async fn start() -> Option<Self> {
        let urls = support::shards(SHARDS)?;
        let server = support::server()?.port();
        let (mut proxies, mut toml) = (Vec::new(), String::new());
        for (shard, url) in urls.iter().enumerate() {
            support::execute(
                url,
                &format!(
                    "create table t as select n, n % 7 as v from generate_series({shard}, 1499, 3) n"
                ),
            );
            let proxy = Proxy::start(server).await;
            let url = proxy.url(url, server);
            toml += &format!("[[shard]]\nname = \"s{shard}\"\nurl = \"{url}\"\n");
            proxies.push(proxy);
        }
        toml += "[[table]]\nname = \"t\"\nshard_key = \"n\"\n";
        let builder = Cluster::builder(Topology::from_toml(&toml).unwrap());
        let cluster = builder.with_connections_per_shard(1).build().unwrap();
        Some(Self { cluster, proxies })
    }
}

/// A query of each arm, which runs on all shards.
const QUERIES: [(Arm, MergeMode, &str); 4] = [
    (Arm::Union, MergeMode::Auto, "select n, v from t"),
    (
        Arm::Ordered,
        MergeMode::Auto,
        "select n, v from t order by n",
    ),
    (
        Arm::Combine,
        MergeMode::Auto,
        "select v, count(*), sum(n) from t group by v",
    ),
    (
        Arm::Gather,
        MergeMode::Gather,
        "select v, count(*), sum(n) from t group by v",
    ),
];

/// The rows as text, sorted.
fn rows(batches: &[RecordBatch]) -> Vec<String> {
    let Some(first) = batches.first() else {
        return Vec::new();
    };
    let all = concat_batches(&first.schema(), batches).unwrap();
    let options = FormatOptions::default();
    let columns = all.columns().iter();
    let columns: Vec<_> = columns
        .map(|it| ArrayFormatter::try_new(it, &options).unwrap())
        .collect();
    let row = |at| {
        columns
            .iter()
            .map(|it| it.value(at).to_string())
            .collect::<Vec<_>>()
            .join(",")
    };
    let mut rows: Vec<_> = (0..all.num_rows()).map(row).collect();
    rows.sort();
    rows
}

async fn answer(query: Query) -> Result<Vec<String>, Error> {
    Ok(rows(&query.with_batch_rows(100).collect().await?))
}

/// All cases of one arm; how many there were, how many of them were answered all the same, and in how
/// many the connection came to the point.
async fn fail_everywhere(arm: Arm, merge: MergeMode, sql: &str) -> Option<(usize, usize, usize)> {
    let proxied = Proxied::start().await?;
    let query = || proxied.cluster.query(sql).with_merge(merge);
    assert_eq!(query().plan().await.unwrap().arm(), arm, "{sql}");
    let expected = answer(query()).await.unwrap();
    let (mut cases, mut answered, mut hit) = (0, 0, 0);
    for point in [
        Point::Begin,
        Point::Describe,
        Point::Execute,
        Point::Copy,
        Point::FirstRow,
        Point::LastRow,
        Point::Trailer,
        Point::Done,
        Point::Complete,
    ] {
        for fault in [
            Fault::Close,
            Fault::Reset,
            Fault::Fatal("57P01"),
            Fault::Hang,
        ] {
            for shard in 0..SHARDS {
                let case = format!("{arm:?}: {fault:?} at {point:?}, shard {shard}");
                let hangs = fault == Fault::Hang;
                // Each takes its time.
                if hangs && shard != cases % SHARDS {
                    continue;
                }
                cases += 1;
                proxied.proxies[shard].arm(point, fault.clone());
                let timeout = Duration::from_secs(if hangs { 1 } else { 60 });
                let answer = answer(query().with_timeout(timeout).with_retries(0)).await;
                hit += usize::from(!proxied.proxies[shard].disarm());
                match answer {
                    Ok(rows) => {
                        assert_eq!(rows, expected, "{case}");
                        answered += 1;
                    }
                    Err(error) if hangs => {
                        assert!(
                            error.message().contains("did not end within 1 s"),
                            "{case}: {error}"
                        );
                    }
                    Err(error) => {
                        let name = format!("s{shard}");
                        assert_eq!(error.shard(), Some(&*name), "{case}: {error:?}");
                        assert!(error.is_retryable(), "{case}: {error:?}");
                        if fault == Fault::Fatal("57P01") {
                            assert_eq!(error.sql_state(), Some("57P01"), "{case}: {error:?}");
                        }
                    }
                }
                // And the next query finds everything in order.
                let again = self::answer(query()).await;
                assert_eq!(
                    again.unwrap_or_else(|error| panic!("{case}: then {error:?}")),
                    expected
                );
            }
        }
    }
    Some((cases, answered, hit))
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_fail_anywhere_fail_planned_queries_or_are_replaced() {
    let all = QUERIES.map(|(arm, merge, sql)| fail_everywhere(arm, merge, sql));
    let done = futures::future::join_all(all).await;
    if done.iter().any(Option::is_none) {
        return;
    }
    let sum =
        |of: fn(&(usize, usize, usize)) -> usize| done.iter().flatten().map(of).sum::<usize>();
    let (cases, answered, hit) = (sum(|it| it.0), sum(|it| it.1), sum(|it| it.2));
    support::tell(&format!(
        "planned queries behind a proxy: {cases} of {cases} cases hold ({hit} met their fault, \
         {answered} answers)"
    ));
    assert!(hit * 10 > cases * 9, "{hit} of {cases}");
    assert!(answered < cases);
}

/// Points before all rows of a shard are there.
const BEFORE_THE_END: [Point; 6] = [
    Point::Execute,
    Point::Copy,
    Point::FirstRow,
    Point::LastRow,
    Point::Trailer,
    Point::Done,
];

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_is_lost_before_its_first_rows_is_asked_again() {
    let Some(Proxied { cluster, proxies }) = Proxied::start().await else {
        return;
    };
    let mut cases = 0;
    for (arm, merge, sql) in QUERIES {
        let query = || cluster.query(sql).with_merge(merge);
        let expected = answer(query()).await.unwrap();
        for point in BEFORE_THE_END {
            for fault in [Fault::Close, Fault::Reset, Fault::Fatal("57P02")] {
                cases += 1;
                let shard = cases % SHARDS;
                let case = format!("{arm:?}: {fault:?} at {point:?}, shard {shard}");
                proxies[shard].arm(point, fault);
                let progress = ScanProgress::new();
                // All rows of a shard are one batch.
                let asked = query().with_progress(progress.clone()).collect().await;
                let was_hit = !proxies[shard].disarm();
                let asked = asked.unwrap_or_else(|error| panic!("{case}: {error:?}"));
                assert_eq!(rows(&asked), expected, "{case}");
                let told = progress.retries();
                let shards: Vec<_> = told.iter().filter_map(Error::shard).collect();
                assert!(was_hit, "{case}");
                assert_eq!(shards, [format!("s{shard}")], "{case}: {told:?}");
                if arm == Arm::Union {
                    // What came twice is counted once.
                    let counted: u64 = progress.shards().iter().map(|it| it.rows).sum();
                    assert_eq!(counted, 1500, "{case}");
                }
            }
        }
    }
    support::tell(&format!(
        "queries that ran again: {cases} of {cases} answers are right"
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_were_given_and_sessions_that_were_ended_are_not_asked_for_again() {
    let Some(Proxied { cluster, proxies }) = Proxied::start().await else {
        return;
    };
    cluster.query("select n from t").collect().await.unwrap();
    let progress = ScanProgress::new();
    let query = || {
        let query = cluster.fan_out("select n from t").with_retries(3);
        query.with_batch_rows(100).with_progress(progress.clone())
    };
    // Four batches were given, unless the loss has overtaken them: then none was.
    proxies[1].arm(Point::LastRow, Fault::Close);
    match query().collect().await {
        Err(error) => {
            assert_eq!(error.shard(), Some("s1"));
            assert!(progress.retries().is_empty());
        }
        Ok(batches) => {
            let seen = (rows(&batches).len(), progress.retries().len());
            assert_eq!(seen, (1500, 1));
        }
    }
    // Somebody has ended it, and there is no other server.
    proxies[1].arm(Point::Copy, Fault::Fatal("57P01"));
    let error = query().collect().await.unwrap_err();
    assert_eq!(
        (error.shard(), error.sql_state()),
        (Some("s1"), Some("57P01"))
    );
    assert!(progress.retries().is_empty());
    // It is not wanted.
    proxies[1].arm(Point::Copy, Fault::Reset);
    let error = query().with_retries(0).collect().await.unwrap_err();
    assert_eq!(error.shard(), Some("s1"));
    assert!(progress.retries().is_empty());
    for point in [Point::Describe, Point::Copy] {
        proxies[1].arm(point, Fault::Reset);
        let batches = query().collect().await.unwrap();
        assert_eq!(rows(&batches).len(), 1500);
        assert_eq!(progress.retries().len(), 1, "{point:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_takes_few_round_trips() {
    let Some(proxied) = Proxied::start().await else {
        return;
    };
    let Proxied { cluster, proxies } = &proxied;
    // The first connects, and reads the catalogs.
    cluster.query("select n from t").collect().await.unwrap();
    let trips = || proxies.iter().map(Proxy::trips).max().unwrap();
    trips();
    cluster
        .fan_out("select n, v from t")
        .collect()
        .await
        .unwrap();
    let fan_out = trips();
    let mut told = vec![format!("fan-out {fan_out}")];
    // BEGIN is answered before the description is asked for: what is lost behind it may be tried again. The end of
    // the transaction is asked for behind the rows.
    assert_eq!(fan_out, 3);
    for (arm, merge, sql) in QUERIES {
        let query = || cluster.query(sql).with_merge(merge);
        query().collect().await.unwrap();
        trips();
        query().collect().await.unwrap();
        let trips = trips();
        told.push(format!("{arm:?} {trips}"));
        let expected = match arm {
            Arm::Gather => 5,
            _ => 3,
        };
        assert_eq!(trips, expected, "{arm:?}");
    }
    support::tell(&format!("round trips to a shard: {}", told.join(", ")));
    assert!(proxies.iter().all(|proxy| proxy.connections() == 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn catalogs_that_are_kept_take_no_round_trip_more() {
    let Some(proxied) = Proxied::start().await else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let trips = || proxied.proxies.iter().map(Proxy::trips).max().unwrap();
    let first = async |builder: ClusterBuilder| {
        let cluster = builder.build().unwrap();
        trips();
        cluster.query("select n from t").collect().await.unwrap();
        let trips = trips();
        cluster.close().await;
        trips
    };
    let builder = || Cluster::builder(proxied.cluster.topology().clone());
    let cached = || builder().with_catalog_cache(folder.path());
    let without = first(builder()).await;
    // Nothing was kept: the facts, and whether they still hold.
    assert_eq!(first(cached()).await, without + 2);
    assert_eq!(first(cached()).await, without);
}
