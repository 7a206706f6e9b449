//! Rows that are handed over as temporary tables: what they need, and that nothing is left of them.

use std::time::Duration;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use merganser::config::{ConnectionString, Finish, FinishRelations, Shard, TableKind};
use merganser::{Cluster, Error, ErrorKind, Phase, ScanProgress, Topology, arrow};

use crate::support;

/// More rows than one batch has, of which none can be told to a shard alone.
const ROWS: i32 = 20_000;

/// The median is of all rows, so all are handed over.
const MEDIAN: &str = "select percentile_disc(0.5) within group (order by n)::int8 from t";

/// Shards where `t(n)` holds numbers, and a server that finishes; their URLs.
struct Scene {
    shards: Vec<String>,
    finish: String,
}

impl Scene {
    /// `None` without PostgreSQL.
    fn new() -> Option<Self> {
        Some(Self {
            shards: support::numbered(&[ROWS, 1, ROWS])?,
            finish: support::database()?,
        })
    }

    /// A cluster that finishes on a server of its own.
    fn apart(&self) -> Cluster {
        self.finishing(&self.finish)
    }

    fn finishing(&self, url: &str) -> Cluster {
        let finish = Finish::Server(ConnectionString::new(url));
        cluster(topology(&self.shards).with_finish(finish))
    }

    /// A cluster that finishes on a shard.
    fn on_a_shard(&self) -> Cluster {
        cluster(topology(&self.shards).with_finish_relations(FinishRelations::Temporary))
    }

    /// All databases.
    fn urls(&self) -> Vec<String> {
        let finish = std::iter::once(&self.finish);
        self.shards.iter().chain(finish).cloned().collect()
    }

    /// No query runs, no table is there, and none has been.
    fn assert_nothing_is_left(&self) {
        let urls = self.urls();
        assert!(support::none_active(&urls), "a query goes on");
        for url in &urls {
            let (_, name) = url.rsplit_once('/').unwrap();
            let sql = "select relname from pg_class where relpersistence = 't'";
            let found = support::server().unwrap().query(name, sql).unwrap();
            assert!(found.is_empty(), "{name}: {found:?}");
        }
    }
}

fn topology(shards: &[String]) -> merganser::config::TopologyBuilder {
    let mut builder = Topology::builder().with_table("t", TableKind::sharded("n"));
    for (number, url) in shards.iter().enumerate() {
        builder = builder.with_shard(Shard::new(&format!("s{number}"), url));
    }
    builder
}

fn cluster(topology: merganser::config::TopologyBuilder) -> Cluster {
    Cluster::new(topology.build().unwrap()).unwrap()
}

fn number(batches: &[RecordBatch]) -> i64 {
    batches[0].column(0).as_primitive::<Int64Type>().value(0)
}

async fn failure(cluster: &Cluster, sql: &str) -> Error {
    let answer = cluster.query(sql).collect().await;
    answer.map(|rows| format!("{rows:?}")).unwrap_err()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_its_own_is_handed_tables_and_a_shard_if_it_is_asked_for() {
    let Some(scene) = Scene::new() else { return };
    for cluster in [scene.apart(), scene.on_a_shard()] {
        // As often as there are shards, so that each of them finishes once.
        for _ in 0..3 {
            // The number of rows is not what is bounded.
            let query = cluster.query(MEDIAN).with_finish_rows(1);
            let analysis = query.clone().analyze().await.unwrap();
            let text = analysis.to_string();
            assert!(text.contains("as a temporary table\n"), "{text}");
            assert!(text.contains("in all: 40,001 rows, "), "{text}");
            assert!(text.contains(" into a temporary table, "), "{text}");
            assert_eq!(number(&query.collect().await.unwrap()), i64::from(ROWS));
        }
        let text = cluster
            .query(MEDIAN)
            .with_finish_relations(FinishRelations::Text);
        let plan = text.clone().plan().await.unwrap().to_string();
        assert!(!plan.contains("temporary"), "{plan}");
        assert_eq!(number(&text.collect().await.unwrap()), i64::from(ROWS));
        cluster.close().await;
        scene.assert_nothing_is_left();
    }
    // By itself a shard is only read.
    let plain = Cluster::new(topology(&scene.shards).build().unwrap()).unwrap();
    let plan = plain.query(MEDIAN).plan().await.unwrap().to_string();
    assert!(!plan.contains("temporary"), "{plan}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_go_over_whatever_their_types_are_and_are_what_they_were() {
    let Some(scene) = Scene::new() else { return };
    // Other OIDs on each server, and one value that no text in UTF-8 has.
    for (number, url) in scene.urls().iter().enumerate() {
        for filler in 0..number {
            support::execute(url, &format!("create type filler{filler} as (x int)"));
        }
        support::execute(
            url,
            "create type mood as enum ('sad', 'so so', 'happy');
             create type pair as (a int, m mood);
             create domain price as numeric(10, 2) not null;
             create table typed (n int, m mood, ms mood[], p pair, ps pair[], d price, ds price[],
                c \"char\", t text collate \"C\", v varchar(5), b char(4), x int[][], r int4range,
                j jsonb, s interval, f float8)",
        );
    }
    support::execute(
        &scene.shards[1],
        "insert into typed values
            (1, 'happy', '{sad,\"so so\"}', (1, 'sad'), array[(2, 'happy')::pair], 1.5, array[2.5],
             '\\377', E'a\\tb\\\\N\\n', 'xyz', 'ab', '{{1,2},{3,4}}', '[1,5)', '{\"a\": [1, null]}',
             '1 mon -2 days 3.5 s', 'NaN'),
            (2, null, null, null, null, 0, null, null, '', '', '', '[0:1]={7,8}', 'empty', 'null',
             null, '-0')",
    );
    // The first has a type that only its text tells, the second none.
    for columns in [
        "n, m, ms, p::text as p, ps::text as ps, d, ds::text as ds, c, t, v, b, x::text as x, r, j, s, f",
        "n, m, p, d, c, t, v",
        "n, d, c, t, v, b, r, j, s, f, m",
    ] {
        // A window over all rows.
        let sql = format!("select {columns}, count(*) over () as all_rows from typed order by n");
        let one = Cluster::new(Topology::from_urls([&scene.shards[1]]).unwrap()).unwrap();
        let expected = one.fan_out(&sql).collect().await.unwrap();
        let with_table = |builder: merganser::config::TopologyBuilder| {
            builder.with_table("typed", TableKind::sharded("n"))
        };
        let finish = Finish::Server(ConnectionString::new(&scene.finish));
        let topologies = [
            with_table(topology(&scene.shards)).with_finish(finish),
            with_table(topology(&scene.shards)).with_finish_relations(FinishRelations::Temporary),
        ];
        for topology in topologies {
            let cluster = cluster(topology);
            for _ in 0..3 {
                let plan = cluster.query(&sql).plan().await.unwrap().to_string();
                assert!(plan.contains("as a temporary table"), "{plan}");
                let found = cluster.query(&sql).collect().await;
                let found = found.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
                assert_eq!(found, expected, "{sql}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_that_is_missing_is_named_with_the_cure() {
    let Some(scene) = Scene::new() else { return };
    let (_, name) = scene.finish.rsplit_once('/').unwrap();
    support::execute(
        &scene.finish,
        &format!(
            "create role {name}_reader login; revoke temporary on database {name} from public"
        ),
    );
    let (_, host) = scene.finish.split_once('@').unwrap();
    let cluster = scene.finishing(&format!("postgresql://{name}_reader@{host}"));
    let error = failure(&cluster, MEDIAN).await;
    assert_eq!(error.sql_state(), Some("42501"), "{error:?}");
    assert_eq!(error.shard(), Some("finish"));
    assert_eq!(error.phase(), Some(Phase::Finish));
    let hint = error.hint().unwrap();
    assert!(hint.contains("GRANT TEMPORARY ON DATABASE"), "{hint}");
    assert!(hint.contains("--finish-relations text"), "{hint}");
    let text = cluster
        .query(MEDIAN)
        .with_finish_relations(FinishRelations::Text);
    assert_eq!(number(&text.collect().await.unwrap()), i64::from(ROWS));
}

#[tokio::test(flavor = "multi_thread")]
async fn types_that_the_server_lacks_and_rows_too_wide_for_a_table_are_said() {
    let Some(scene) = Scene::new() else { return };
    for url in &scene.shards {
        support::execute(url, "create type mood as enum ('sad', 'happy')");
    }
    let cluster = scene.apart();
    let sql = "select distinct count(*) over (), m from (select n, 'sad'::mood as m from t) x";
    let error = failure(&cluster, sql).await;
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
    let said = "type public.mood is missing on finish";
    assert!(error.message().contains(said), "{error:?}");

    // 1,100 numbers of eight bytes, each in a row of its own page, and more.
    let columns: Vec<_> = (0..1100)
        .map(|i| format!("n + {i}::int8 as c{i}"))
        .collect();
    let names: Vec<_> = (0..1100).map(|i| format!("max(c{i}) over ()")).collect();
    let sql = format!(
        "select {} from (select {} from t offset 0) x limit 1",
        names.join(", "),
        columns.join(", ")
    );
    let error = failure(&cluster, &sql).await;
    assert_eq!(error.sql_state(), Some("54000"), "{error:?}");
    assert!(
        error.hint().unwrap().contains("--finish-relations text"),
        "{error:?}"
    );
    cluster.close().await;
    scene.assert_nothing_is_left();
}

#[tokio::test(flavor = "multi_thread")]
async fn more_bytes_than_are_allowed_and_errors_of_shards_leave_nothing() {
    let Some(scene) = Scene::new() else { return };
    for cluster in [scene.apart(), scene.on_a_shard()] {
        for _ in 0..3 {
            let query = cluster.query(MEDIAN).with_finish_bytes(10_000);
            let error = query.collect().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Limit, "{error:?}");
            assert!(
                error.hint().unwrap().contains("--finish-bytes"),
                "{error:?}"
            );

            // In the middle of the rows of the last shard.
            let sql = "select percentile_disc(0.5) within group (order by 1 / (30000 - n)) from t";
            let plan = cluster.query(sql).plan().await.unwrap().to_string();
            assert!(plan.contains("as a temporary table"), "{plan}");
            let error = failure(&cluster, sql).await;
            assert_eq!(error.sql_state(), Some("22012"), "{error:?}");
        }
        cluster.close().await;
        scene.assert_nothing_is_left();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_fails_ends_a_copy_that_has_begun() {
    let Some(scene) = Scene::new() else { return };
    // A view divides on its shard, in the middle of its rows.
    let sql = "select percentile_disc(0.5) within group (order by k) from \
               (select 1 / (30000 - n) as k from t offset 0) x";
    for cluster in [scene.apart(), scene.on_a_shard()] {
        for _ in 0..3 {
            let error = failure(&cluster, sql).await;
            assert_eq!(error.sql_state(), Some("22012"), "{error:?}");
            // And the next query has all connections.
            assert_eq!(
                number(&cluster.query(MEDIAN).collect().await.unwrap()),
                i64::from(ROWS)
            );
        }
        cluster.close().await;
        scene.assert_nothing_is_left();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_is_given_up_leaves_no_table() {
    let Some(scene) = Scene::new() else { return };
    let slow = "select percentile_disc(0.5) within group (order by length(pg_sleep(60)::text) + n) \
                from (select n from t offset 0) x";
    for cluster in [scene.apart(), scene.on_a_shard()] {
        let late = cluster.query(slow).with_timeout(Duration::from_secs(2));
        let error = late.collect().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
        let progress = ScanProgress::new();
        let query = cluster.query(slow).with_progress(progress.clone());
        let cancel = query.cancel_handle();
        let running = tokio::spawn(query.collect());
        // Its rows are in the table.
        while progress
            .steps()
            .first()
            .is_none_or(|step| step.rows < 40_001)
        {
            assert!(!running.is_finished(), "{:?}", running.await);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        cancel.cancel();
        let error = running.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Cancelled, "{error:?}");
        cluster.close().await;
        scene.assert_nothing_is_left();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_of_the_server_that_finishes_is_said_with_the_cure() {
    let Some(scene) = Scene::new() else { return };
    let (_, name) = scene.finish.rsplit_once('/').unwrap();
    support::execute(
        &scene.finish,
        &format!(
            "alter database {name} set temp_file_limit = '64kB'; alter database {name} set work_mem = '64kB'"
        ),
    );
    let cluster = scene.apart();
    let error = failure(&cluster, MEDIAN).await;
    assert_eq!(error.sql_state(), Some("53400"), "{error:?}");
    assert!(error.hint().unwrap().contains("work_mem"), "{error:?}");
    cluster.close().await;
    scene.assert_nothing_is_left();
}
