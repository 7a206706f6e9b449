//! Plans made by hand, on one server with a database for each shard.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::*;
use crate::config::Topology;
use crate::export::{self, Destination, ExportOptions, Format, Progress};
use crate::local::Server as LocalServer;
use crate::plan::{Arm, Exactness, SortKey, StepColumn};
use crate::types::TypeOptions;

/// One server for all tests; its watchdog ends it with the process. `None` without PostgreSQL.
fn server() -> Option<&'static LocalServer> {
    static SERVER: OnceLock<Option<LocalServer>> = OnceLock::new();
    let start = || match crate::local::Binaries::find() {
        Ok(_) => Some(LocalServer::builder().start().unwrap()),
        Err(_) => None,
    };
    SERVER.get_or_init(start).as_ref()
}

/// The names and URLs of new databases, each of which has run this SQL; `{shard}` is its number.
fn databases(count: usize, sql: &str) -> Option<Vec<(String, String)>> {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let server = server()?;
    let made = (0..count).map(|shard| {
        let name = format!("execute{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let url = server.create_database(&name).unwrap();
        server
            .execute(&name, &sql.replace("{shard}", &shard.to_string()))
            .unwrap();
        (name, url)
    });
    Some(made.collect())
}

/// Three shards; `t(k, v, x)` has the ten rows whose `k % 3` is the shard's number.
const NUMBERS: &str = "CREATE TABLE t AS SELECT k, 'v' || k % 4 AS v, k::numeric(10,2) / 4 AS x \
                       FROM generate_series(0, 29) k WHERE k % 3 = {shard};
                       CREATE TABLE names AS SELECT 'v' || n AS v, n FROM generate_series(0, 2) n";

fn cluster(databases: &[(String, String)]) -> Cluster {
    let urls = databases.iter().map(|(_, url)| url.clone());
    Cluster::new(Topology::from_urls(urls).unwrap()).unwrap()
}

fn sql(body: &str) -> Sql {
    Sql {
        recursive: false,
        with: Vec::new(),
        body: body.to_owned(),
    }
}

fn union() -> Merge {
    Merge::Concatenate {
        skip: 0,
        fetch: None,
    }
}

fn step(name: &str, body: &str, place: Place, merge: Merge, columns: &[&str]) -> Step {
    Step {
        name: name.to_owned(),
        sql: sql(body),
        uses: Vec::new(),
        place,
        merge,
        columns: columns
            .iter()
            .map(|name| StepColumn {
                name: (*name).to_owned(),
                collation: None,
            })
            .collect(),
    }
}

fn all() -> Place {
    Place::Shards(vec![0, 1, 2])
}

/// Runs a plan as the answer to `user`, which shard 0 describes.
async fn start(query: &Query, user: &str, steps: Vec<Step>) -> Result<QueryStream> {
    let planning = query.planning.unwrap();
    let mut held = Held {
        shard: 0,
        session: query.cluster.session(0).await?,
    };
    let statement = Statement::parse(user)?;
    let reading = Reading::Options(query.types);
    let description = scan::describe(&mut held.session, &statement, reading).await?;
    let plan = Plan {
        steps,
        columns: description.columns,
        exactness: Exactness::Exact,
        arm: Arm::Gather,
        reasons: Vec::new(),
    };
    run(query, planning, &plan, held).await
}

async fn csv(rows: QueryStream) -> Result<String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.csv");
    let output = Destination::from(path.to_str().unwrap()).open()?;
    let options = ExportOptions::new();
    export::write(rows, output, Format::Csv, &options, &Progress::default()).await?;
    Ok(std::fs::read_to_string(&path).unwrap())
}

async fn answer(query: &Query, user: &str, steps: Vec<Step>) -> Result<String> {
    csv(start(query, user, steps).await?).await
}

/// All connections are back in their pools, and no query runs.
async fn assert_idle(cluster: &Cluster, databases: &[(String, String)]) {
    tokio::time::timeout(Duration::from_secs(5), cluster.pools().idle())
        .await
        .expect("a session is still out");
    let until = Instant::now() + Duration::from_secs(5);
    for (name, _) in databases {
        let active = format!(
            "SELECT query FROM pg_stat_activity WHERE datname = '{name}' AND state <> 'idle' \
             AND pid <> pg_backend_pid()"
        );
        loop {
            let rows = server().unwrap().query(name, &active).unwrap();
            if rows.is_empty() {
                break;
            }
            assert!(Instant::now() < until, "{rows:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn connections(databases: &[(String, String)]) -> Vec<Option<String>> {
    let server = server().unwrap();
    databases
        .iter()
        .flat_map(|(name, _)| {
            let pids = format!(
                "SELECT string_agg(pid::text, ' ' ORDER BY pid) FROM pg_stat_activity \
                 WHERE datname = '{name}' AND pid <> pg_backend_pid()"
            );
            server.query(name, &pids).unwrap().remove(0)
        })
        .collect()
}

#[tokio::test]
async fn a_query_reaches_the_planner_and_gives_its_session_back() {
    let Some(databases) = databases(3, NUMBERS) else {
        return;
    };
    let cluster = cluster(&databases);
    let error = cluster.query("SELECT 1 WHERE").collect().await.unwrap_err();
    assert_eq!(
        (error.kind(), error.phase()),
        (ErrorKind::Server, Some(Phase::Describe))
    );
    assert_idle(&cluster, &databases).await;
}

#[tokio::test]
async fn rows_of_all_shards_become_a_relation_of_the_finish() {
    let Some(databases) = databases(3, NUMBERS) else {
        return;
    };
    let cluster = cluster(&databases);
    let user = "SELECT v, count(*), sum(x), max(v COLLATE \"C\") FROM t GROUP BY v ORDER BY 1";
    let gather = step("m1", "SELECT v, x FROM t", all(), union(), &["v", "x"]);
    let mut finish = step(
        "m2",
        "SELECT v, count(*), sum(x), max(v COLLATE \"C\") FROM m1 AS t GROUP BY v ORDER BY 1",
        Place::Finish,
        union(),
        &[],
    );
    finish.uses = vec![0];
    let query = cluster.query("");
    let gathered = answer(&query, user, vec![gather, finish]).await.unwrap();
    let expected = "v,count,sum,max\n\
                    v0,8,28.00000000000000000000,v0\n\
                    v1,8,30.00000000000000000000,v1\n\
                    v2,7,24.50000000000000000000,v2\n\
                    v3,7,26.25000000000000000000,v3\n";
    assert_eq!(gathered, expected);
    assert_idle(&cluster, &databases).await;
    let before = connections(&databases);

    let partial = step(
        "m1",
        "SELECT v, count(*), sum(x)::numeric(30,2) FROM t GROUP BY v",
        all(),
        Merge::Aggregate {
            sql: "SELECT g, sum(a) AS a, sum(b) AS b FROM shards GROUP BY g".to_owned(),
            columns: ["g", "a", "b"].map(str::to_owned).to_vec(),
        },
        &["g", "a", "b"],
    );
    let mut finish = step(
        "m2",
        "SELECT g AS v, sum(a)::int8, sum(b), max(g COLLATE \"C\") FROM m1 GROUP BY g ORDER BY 1",
        Place::Finish,
        union(),
        &[],
    );
    finish.uses = vec![0];
    let combined = answer(&query, user, vec![partial, finish]).await.unwrap();
    assert_eq!(combined, expected);
    assert_idle(&cluster, &databases).await;
    assert_eq!(
        connections(&databases),
        before,
        "connections are used again"
    );
}

#[tokio::test]
async fn rows_of_a_step_go_into_the_sql_of_shards() {
    let Some(databases) = databases(3, NUMBERS) else {
        return;
    };
    let cluster = cluster(&databases);
    let user =
        "SELECT k FROM t WHERE k > (SELECT avg(k) + 12 FROM t) ORDER BY k DESC LIMIT 2 OFFSET 1";
    let partial = step(
        "m1",
        "SELECT sum(k), count(*) FROM t",
        all(),
        union(),
        &["s", "n"],
    );
    let mut main = step(
        "m2",
        "SELECT k FROM t WHERE k > (SELECT sum(s) / sum(n) + 12 FROM m1) ORDER BY k DESC LIMIT 3",
        all(),
        Merge::Ordered {
            keys: vec![SortKey {
                column: 0,
                descending: true,
                nulls_first: true,
            }],
            skip: 1,
            fetch: Some(2),
            visible: 1,
        },
        &[],
    );
    main.uses = vec![0];
    let query = cluster.query("");
    let rows = answer(&query, user, vec![partial, main]).await.unwrap();
    assert_eq!(rows, "k\n28\n27\n");
    assert_idle(&cluster, &databases).await;
}

#[tokio::test]
async fn a_step_without_shards_has_no_rows_but_types() {
    let Some(databases) = databases(2, NUMBERS) else {
        return;
    };
    let cluster = cluster(&databases);
    let query = cluster.query("");
    let user = "SELECT count(*), max(x) FROM t WHERE false";
    let nothing = step(
        "m1",
        "SELECT x FROM t",
        Place::Shards(vec![]),
        union(),
        &["x"],
    );
    let mut finish = step(
        "m2",
        "SELECT count(*), max(x) FROM m1",
        Place::Finish,
        union(),
        &[],
    );
    finish.uses = vec![0];
    assert_eq!(
        answer(&query, user, vec![nothing, finish]).await.unwrap(),
        "count,max\n0,\n"
    );
    let last = step(
        "m1",
        "SELECT v, v FROM t",
        Place::Shards(vec![]),
        union(),
        &[],
    );
    assert_eq!(
        answer(&query, "SELECT v, v FROM t", vec![last])
            .await
            .unwrap(),
        "v,v\n"
    );
    assert_idle(&cluster, &databases).await;
}

#[tokio::test]
async fn more_rows_than_are_allowed_are_an_error_that_names_the_option() {
    let Some(databases) = databases(3, NUMBERS) else {
        return;
    };
    let cluster = cluster(&databases);
    let steps = || {
        let rows = step(
            "m1",
            "SELECT repeat('x', 100) AS v, generate_series(1, 100000000) AS k",
            all(),
            union(),
            &["v", "k"],
        );
        let mut finish = step("m2", "SELECT count(*) FROM m1", Place::Finish, union(), &[]);
        finish.uses = vec![0];
        vec![rows, finish]
    };
    for (query, option) in [
        (cluster.query("").with_finish_rows(50_000), "--finish-rows"),
        (
            cluster.query("").with_finish_bytes(1 << 20),
            "--finish-bytes",
        ),
    ] {
        let error = answer(&query, "SELECT count(*) FROM t", steps())
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.message().contains("relation m1"), "{error}");
        assert!(error.hint().unwrap().contains(option), "{error:?}");
        // The shards do not go on.
        assert_idle(&cluster, &databases).await;
    }
}

#[tokio::test]
async fn an_error_in_a_later_step_ends_all_and_says_where() {
    let Some(databases) = databases(3, NUMBERS) else {
        return;
    };
    let cluster = cluster(&databases);
    let query = cluster.query("");
    let user = "SELECT k FROM t";
    let first = || step("m1", "SELECT k FROM t", all(), union(), &["k"]);
    let second = |body: &str, place: Place| {
        let mut step = step("m2", body, place, union(), &[]);
        step.uses = vec![0];
        step
    };

    // One shard divides by zero while the others would go on for long.
    let body = "SELECT CASE WHEN t.k % 3 = 1 THEN 1 / (t.k % 3 - 1) \
                            ELSE t.k + length(pg_sleep(60)::text) END AS k \
                FROM m1, t WHERE t.k = m1.k";
    let error = answer(&query, user, vec![first(), second(body, all())])
        .await
        .unwrap_err();
    assert_eq!(
        (error.shard(), error.phase(), error.sql_state()),
        (Some("s1"), Some(Phase::Stream), Some("22012"))
    );
    assert_idle(&cluster, &databases).await;

    // On the server that finishes: while it is described, and while it runs.
    for (body, state) in [
        ("SELECT nothing FROM m1", "42703"),
        ("SELECT 1 / (k - 5) AS k FROM m1", "22012"),
    ] {
        let error = answer(&query, user, vec![first(), second(body, Place::Finish)])
            .await
            .unwrap_err();
        assert_eq!(
            (error.phase(), error.sql_state()),
            (Some(Phase::Finish), Some(state))
        );
        assert_idle(&cluster, &databases).await;
    }

    // A server that ends the session in a later step.
    let body = "SELECT k FROM m1 WHERE k = 4 AND pg_terminate_backend(pg_backend_pid())";
    let error = answer(
        &query,
        user,
        vec![first(), second(body, Place::Shards(vec![2]))],
    )
    .await
    .unwrap_err();
    assert_eq!(error.shard(), Some("s2"));
    assert!(error.is_retryable(), "{error:?}");
    assert_idle(&cluster, &databases).await;

    // Another answer than the query's.
    for body in ["SELECT k::int8 AS k FROM m1", "SELECT k, k FROM m1"] {
        let error = answer(&query, user, vec![first(), second(body, Place::Finish)])
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Execute, "{error}");
        assert!(error.message().contains("the query has"), "{error}");
    }
    assert_idle(&cluster, &databases).await;
}

#[tokio::test]
async fn a_query_that_is_dropped_in_any_step_leaves_nothing_running() {
    let Some(databases) = databases(3, NUMBERS) else {
        return;
    };
    let cluster = cluster(&databases);
    let query = cluster.query("");
    let slow = |name: &str, place: Place| {
        let mut slow = step(
            name,
            "SELECT 1 AS k FROM pg_sleep(60)",
            place,
            union(),
            &["k"],
        );
        if name != "m1" {
            slow.uses = vec![0];
        }
        slow
    };
    let quick = || step("m1", "SELECT k FROM t", all(), union(), &["k"]);
    let last = || step("m3", "SELECT 1 AS k", Place::AnyShard, union(), &[]);
    for steps in [
        vec![slow("m1", all()), last()],
        vec![quick(), slow("m2", all()), last()],
        vec![quick(), slow("m2", Place::Finish)],
    ] {
        let deadline = Duration::from_millis(600);
        let given_up = tokio::time::timeout(deadline, answer(&query, "SELECT 1 AS k", steps));
        assert!(given_up.await.is_err());
        assert_idle(&cluster, &databases).await;
    }
}

#[tokio::test]
async fn many_queries_share_few_connections_without_waiting_for_each_other() {
    let Some(databases) = databases(3, NUMBERS) else {
        return;
    };
    let urls = databases.iter().map(|(_, url)| url.clone());
    let cluster = Cluster::builder(Topology::from_urls(urls).unwrap())
        .with_connections_per_shard(2)
        .build()
        .unwrap();
    let queries = (0..24).map(|number| {
        let cluster = cluster.clone();
        async move {
            let query = cluster.query("");
            // As planning does, in turns.
            let held = Held {
                shard: number % 3,
                session: cluster.session(number % 3).await?,
            };
            let mut finish = step("m2", "SELECT count(*) FROM m1", Place::Finish, union(), &[]);
            finish.uses = vec![0];
            let plan = Plan {
                steps: vec![
                    step("m1", "SELECT k FROM t", all(), union(), &["k"]),
                    finish,
                ],
                columns: vec![Column::new("count", "int8".parse()?)],
                exactness: Exactness::Exact,
                arm: Arm::Gather,
                reasons: Vec::new(),
            };
            let rows = run(&query, query.planning.unwrap(), &plan, held).await?;
            csv(rows).await
        }
    });
    let all = futures::future::join_all(queries);
    let answers = tokio::time::timeout(Duration::from_secs(60), all)
        .await
        .expect("no query waits for ever");
    for answer in answers {
        assert_eq!(answer.unwrap(), "count\n30\n");
    }
    assert_idle(&cluster, &databases).await;
}

#[tokio::test]
async fn rows_are_sorted_limited_and_relieved_of_their_keys() {
    let Some(databases) = databases(3, NUMBERS) else {
        return;
    };
    let cluster = cluster(&databases);
    let key = |column| SortKey {
        column,
        descending: false,
        nulls_first: false,
    };
    let sorted = |body: &str, fetch, names: &[&str]| {
        let merge = Merge::Ordered {
            keys: vec![key(2), key(1)],
            skip: 2,
            fetch,
            visible: 2,
        };
        step("m1", body, all(), merge, names)
    };
    let query = cluster.query("").with_batch_rows(2);
    let user = "SELECT v, k FROM t ORDER BY v, k OFFSET 2 LIMIT 5";
    let body = "SELECT v, k, v COLLATE \"C\" AS key FROM t ORDER BY 3, 2 LIMIT 7";
    let expected = "v,k\nv0,8\nv0,12\nv0,16\nv0,20\nv0,24\n";
    let rows = answer(&query, user, vec![sorted(body, Some(5), &[])]).await;
    assert_eq!(rows.unwrap(), expected);
    assert_idle(&cluster, &databases).await;
    // The same as a relation; its shards are asked again.
    let before = connections(&databases);
    let mut last = step("m2", "SELECT v, k FROM m1", Place::Finish, union(), &[]);
    last.uses = vec![0];
    let steps = vec![sorted(body, Some(5), &["v", "k"]), last];
    assert_eq!(answer(&query, user, steps).await.unwrap(), expected);
    assert_idle(&cluster, &databases).await;
    assert_eq!(connections(&databases), before);

    // In another order than we compare by.
    let unsorted = "SELECT v, k, k % 5 FROM t ORDER BY k";
    let error = answer(&query, user, vec![sorted(unsorted, None, &[])])
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.phase()),
        (ErrorKind::Execute, Some(Phase::Merge))
    );
    assert!(error.shard().is_some());
    assert_idle(&cluster, &databases).await;
}

#[tokio::test]
async fn every_type_sorts_as_postgresql_sorts_it_however_it_is_read() {
    let values = [
        ("bool", "true, false"),
        ("int2", "-32768, 0, 5"),
        ("int8", "-1, 0, 9223372036854775807"),
        ("oid", "0, 4294967295"),
        ("float4", "'-Infinity', -1, '-0', 0, 'Infinity', 'NaN'"),
        ("float8", "'-Infinity', -1, '-0', 0, 'Infinity', 'NaN'"),
        (
            "numeric",
            "'-Infinity', -1, 0.0, 1, 1.00, 1e30, 'Infinity', 'NaN'",
        ),
        ("numeric(20,2)", "-1.5, 0, 1.25, 'NaN'"),
        ("text COLLATE \"C\"", "'', '_', 'B', 'a', 'ab', 'é', 'Ω'"),
        ("char(3) COLLATE \"C\"", "'', 'a', E'a\\t', 'ab'"),
        ("bytea", "'', '\\x00', '\\x0001', '\\xff'"),
        (
            "uuid",
            "'00000000-0000-0000-0000-000000000000', 'ffffffff-0000-0000-0000-000000000000'",
        ),
        (
            "date",
            "'-infinity', '0044-03-15 BC', '1999-01-01', '2001-01-01', 'infinity'",
        ),
        ("time", "'00:00', '12:00:00.000001', '24:00'"),
        (
            "timestamp",
            "'-infinity', '0044-03-15 BC', '1999-01-01', '294276-12-31', 'infinity'",
        ),
        (
            "timestamptz",
            "'-infinity', '1999-01-01', '2001-01-01', 'infinity'",
        ),
        (
            "interval",
            "'-1 mon', '29 days 23:59', '30 days', '1 mon', '720:00', '178000000 years'",
        ),
        ("varbit", "'', '0', '1', '10', '100', '11'"),
        ("mood", "'z', 'm', 'a'"),
    ];
    // Each shard has some of the values, and a NULL.
    let mut setup = "CREATE TYPE mood AS ENUM ('z', 'm', 'a');".to_owned();
    for (index, (name, list)) in values.iter().enumerate() {
        setup.push_str(&format!(
            "CREATE TABLE o{index} (v {name}, n int, i int); \
             INSERT INTO o{index} SELECT v, n, n + 100 * s.s \
             FROM unnest(ARRAY[{list}, NULL]::{}[]) WITH ORDINALITY AS u(v, n), \
                  generate_series(0, 2) s(s) \
             WHERE s = {{shard}} AND (v IS NULL OR n % 3 <> s);",
            name.replace(" COLLATE \"C\"", "")
        ));
    }
    let Some(databases) = databases(3, &setup) else {
        return;
    };
    let cluster = cluster(&databases);
    for (index, (name, _)) in values.iter().enumerate() {
        for (descending, nulls_first) in [(false, false), (true, true), (false, true)] {
            let direction = if descending { "DESC" } else { "ASC" };
            let nulls = if nulls_first { "FIRST" } else { "LAST" };
            let order = format!("v {direction} NULLS {nulls}, i");
            let key = |column| SortKey {
                column,
                descending: descending && column == 2,
                nulls_first: nulls_first && column == 2,
            };
            let merged = |fetch| {
                let merge = Merge::Ordered {
                    keys: vec![key(2), key(1)],
                    skip: 1,
                    fetch,
                    visible: 2,
                };
                let body = format!("SELECT v, i, v FROM o{index} ORDER BY {order}");
                step("m1", &body, all(), merge, &["v", "i"])
            };
            // What PostgreSQL makes of the same rows.
            let mut sorted = step(
                "m2",
                &format!("SELECT v, i FROM m1 ORDER BY {order} OFFSET 1"),
                Place::Finish,
                union(),
                &[],
            );
            sorted.uses = vec![0];
            let body = format!("SELECT v, i FROM o{index}");
            let mut gathered = step("m1", &body, all(), union(), &["v", "i"]);
            if name.contains("COLLATE") {
                gathered.columns[0].collation = Some("\"C\"".to_owned());
            }
            for options in [Reading::LOSSLESS, TypeOptions::default()] {
                let query = cluster.query("").with_types(options);
                let user = format!("SELECT v, i FROM o{index}");
                let expected = answer(&query, &user, vec![gathered.clone(), sorted.clone()]).await;
                let found = answer(&query, &user, vec![merged(None)]).await;
                match expected {
                    Ok(expected) => assert_eq!(found.unwrap(), expected, "{name} {order}"),
                    // Not representable.
                    Err(_) => assert!(options != Reading::LOSSLESS && found.is_err(), "{name}"),
                }
            }
            // As a relation, all is read without loss.
            let mut last = step("m2", "SELECT i FROM m1", Place::Finish, union(), &[]);
            last.uses = vec![0];
            let user = format!("SELECT i FROM o{index}");
            let rows = answer(&cluster.query(""), &user, vec![merged(Some(4)), last]).await;
            assert_eq!(rows.unwrap().lines().count(), 5, "{name}");
        }
    }
    assert_idle(&cluster, &databases).await;
}

#[tokio::test]
async fn a_limit_takes_rows_of_as_many_shards_as_it_needs() {
    let Some(databases) = databases(3, NUMBERS) else {
        return;
    };
    let cluster = cluster(&databases);
    let query = cluster.query("");
    let limited = |body: &str| {
        let merge = Merge::Concatenate {
            skip: 1,
            fetch: Some(3),
        };
        step("m1", body, all(), merge, &[])
    };
    let user = "SELECT k FROM t";
    let rows = answer(
        &query,
        user,
        vec![limited("SELECT k FROM t ORDER BY k LIMIT 4")],
    )
    .await;
    assert_eq!(rows.unwrap(), "k\n3\n6\n9\n");
    assert_idle(&cluster, &databases).await;
    // Shards that would go on are cancelled.
    let endless = limited("SELECT generate_series(1, 1000000000) AS k");
    let started = Instant::now();
    let rows = answer(&query, user, vec![endless]).await;
    assert_eq!(rows.unwrap().lines().count(), 4);
    assert!(started.elapsed() < Duration::from_secs(20));
    assert_idle(&cluster, &databases).await;
}

#[tokio::test]
async fn the_answer_has_the_types_and_names_that_the_query_has() {
    let setup = "CREATE DOMAIN price AS numeric(8,2); \
                 CREATE TABLE g (p numeric(15,2), l numeric(5,1)[], d int4[][], b char(4), \
                                 s price, at date, x numeric); \
                 INSERT INTO g VALUES (1.5, '{1.5}', '{{1,2}}', 'ab', 3, 'infinity', 'NaN')";
    let Some(databases) = databases(2, setup) else {
        return;
    };
    let cluster = cluster(&databases);
    let names = ["p", "l", "d", "b", "s", "at", "x"];
    let steps = |changed: &str| {
        let gather = step(
            "m1",
            "SELECT p, l, d, b, s, at, x FROM g",
            Place::Shards(vec![0]),
            union(),
            &names,
        );
        let mut last = step("m2", changed, Place::Finish, union(), &[]);
        last.uses = vec![0];
        vec![gather, last]
    };
    let user = "SELECT p, l, d, b, s, at, x, p FROM g";
    let same = "SELECT p, l, d, b, s, at, x, p FROM m1";
    // Without modifiers, as expressions have none.
    let bare = "SELECT p::numeric, l::numeric[], d, b::bpchar, s::numeric, at, x, +p FROM m1";
    for options in [
        TypeOptions {
            unrepresentable: Unrepresentable::Text,
            ..TypeOptions::default()
        },
        Reading::LOSSLESS,
        TypeOptions {
            unrepresentable: Unrepresentable::Null,
            ..TypeOptions::default()
        },
    ] {
        let query = cluster.query("").with_types(options);
        let fanned = cluster.fan_out(user).with_types(options);
        let one = Cluster::new(Topology::from_urls([databases[0].1.clone()]).unwrap()).unwrap();
        let expected = one.fan_out(user).with_types(options);
        let schema = fanned.describe().await.unwrap();
        let expected = csv(expected.stream().await.unwrap()).await.unwrap();
        for body in [same, bare] {
            let rows = start(&query, user, steps(body)).await.unwrap();
            assert_eq!(rows.schema(), schema);
            assert_eq!(csv(rows).await.unwrap(), expected, "{body} {options:?}");
        }
    }
    // What does not fit is no answer.
    let query = cluster.query("").with_types(TypeOptions {
        unrepresentable: Unrepresentable::Null,
        ..TypeOptions::default()
    });
    let finer = bare.replace("p::numeric", "p + 0.001");
    let error = answer(&query, user, steps(&finer)).await.unwrap_err();
    assert!(error.message().contains("does not fit"), "{error}");
    assert_eq!(error.phase(), Some(Phase::Finish));
    assert_idle(&cluster, &databases).await;
}

#[tokio::test]
async fn aggregates_without_a_finish_have_the_types_of_the_query() {
    let Some(databases) = databases(3, NUMBERS) else {
        return;
    };
    let cluster = cluster(&databases);
    let combined = |columns: &[&str], merge: &str| {
        let merge = Merge::Aggregate {
            sql: merge.to_owned(),
            columns: columns.iter().map(|name| (*name).to_owned()).collect(),
        };
        let body = "SELECT v, count(*), sum(x)::numeric(20,2) FROM t GROUP BY v";
        vec![step("m1", body, all(), merge, &[])]
    };
    let user = "SELECT v AS \"same\", count(*) AS \"same\", sum(x) FROM t GROUP BY v";
    let merge = "SELECT a, sum(b), sum(c) FROM shards GROUP BY a ORDER BY a";
    let query = cluster.query("");
    let rows = start(&query, user, combined(&["a", "b", "c"], merge))
        .await
        .unwrap();
    assert_eq!(
        rows.schema(),
        cluster.fan_out(user).describe().await.unwrap()
    );
    let rows = csv(rows).await.unwrap();
    assert_eq!(rows.lines().nth(1), Some("v0,8,28.00000000000000000000"));
    assert_eq!(rows.lines().count(), 5);
    for (columns, merge) in [
        (
            &["a", "b", "c"][..],
            "SELECT a, sum(b) FROM shards GROUP BY a",
        ),
        (&["a", "b", "c"], "SELECT b, a, c FROM shards"),
        (&["a", "b"], "SELECT a, b, b FROM shards"),
    ] {
        let error = start(&query, user, combined(columns, merge))
            .await
            .err()
            .unwrap();
        assert_eq!(error.kind(), ErrorKind::Execute, "{error}");
    }
    assert_idle(&cluster, &databases).await;
}

#[tokio::test]
async fn a_server_of_its_own_finishes_or_none_does() {
    let Some(databases) = databases(3, NUMBERS) else {
        return;
    };
    let toml = |finish: &str| {
        let mut text = format!("[finish]\n{finish}\n");
        for (index, (_, url)) in databases.iter().take(2).enumerate() {
            text.push_str(&format!(
                "[[shard]]\nname = \"s{index}\"\nurl = \"{url}\"\n"
            ));
        }
        Topology::from_toml(&text).unwrap()
    };
    let steps = || {
        let gather = step(
            "m1",
            "SELECT k FROM t",
            Place::Shards(vec![0, 1]),
            union(),
            &["k"],
        );
        let body = "SELECT count(*), max(current_database()) FROM m1";
        let mut last = step("m2", body, Place::Finish, union(), &[]);
        last.uses = vec![0];
        vec![gather, last]
    };
    let user = "SELECT count(*), max(current_database()) FROM t";
    let (name, url) = &databases[2];
    let apart = Cluster::new(toml(&format!("url = \"{url}\""))).unwrap();
    let progress = crate::progress::ScanProgress::new();
    let query = apart.query("").with_progress(progress.clone());
    let rows = answer(&query, user, steps()).await.unwrap();
    assert_eq!(rows, format!("count,max\n20,{name}\n"));
    let seen: Vec<_> = progress
        .shards()
        .into_iter()
        .map(|shard| (shard.shard, shard.state, shard.rows))
        .collect();
    assert_eq!(
        seen,
        [
            ("s0".to_owned(), ShardState::Done, 10),
            ("s1".to_owned(), ShardState::Done, 10),
            ("finish".to_owned(), ShardState::Done, 1)
        ]
    );
    assert_idle(&apart, &databases).await;
    apart.close().await;

    let never = Cluster::new(toml("mode = \"off\"")).unwrap();
    let error = answer(&never.query(""), user, steps()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.message().contains("mode = \"off\""));
    assert_idle(&never, &databases).await;
}

#[tokio::test]
async fn all_steps_see_one_snapshot() {
    let Some(databases) = databases(3, NUMBERS) else {
        return;
    };
    let cluster = cluster(&databases);
    // The second step of each shard would see the row that comes in between.
    let server = server().unwrap();
    let names: Vec<_> = databases.iter().map(|(name, _)| name.clone()).collect();
    let slow = step(
        "m1",
        "SELECT count(*) AS n FROM t, pg_sleep(1)",
        all(),
        union(),
        &["n"],
    );
    let mut last = step(
        "m2",
        "SELECT (SELECT sum(n) FROM m1)::int8 AS a, count(*) AS b FROM t",
        all(),
        union(),
        &[],
    );
    last.uses = vec![0];
    let query = cluster.query("");
    let insert = tokio::task::spawn_blocking(move || {
        std::thread::sleep(Duration::from_millis(500));
        for name in names {
            server
                .execute(&name, "INSERT INTO t VALUES (100, 'late')")
                .unwrap();
        }
    });
    let rows = answer(
        &query,
        "SELECT 1::int8 AS a, 2::int8 AS b",
        vec![slow, last],
    )
    .await
    .unwrap();
    insert.await.unwrap();
    assert_eq!(rows, "a,b\n30,10\n30,10\n30,10\n");
}

#[test]
fn what_any_shard_can_do_is_done_by_one_that_takes_part() {
    let topology = Topology::from_urls(["host=a", "host=b", "host=c", "host=d"]).unwrap();
    let plan = |places: Vec<Place>| Plan {
        steps: places
            .into_iter()
            .map(|place| step("m", "SELECT", place, union(), &[]))
            .collect(),
        columns: Vec::new(),
        exactness: Exactness::Exact,
        arm: Arm::Gather,
        reasons: Vec::new(),
    };
    let runs = |places: Vec<Place>, preferred| {
        let step = places.len() - 1;
        Route::new(&plan(places), &topology, preferred)
            .unwrap()
            .runs(step)
            .to_vec()
    };
    let some = || Place::Shards(vec![1, 3]);
    let chosen: Vec<_> = (0..4)
        .map(|preferred| runs(vec![some(), Place::Finish], preferred))
        .collect();
    let expected = [1, 1, 1, 3].map(|shard| vec![Server::Shard(shard)]);
    assert_eq!(chosen, expected);
    for preferred in 0..4 {
        let any = runs(vec![Place::AnyShard], preferred);
        assert_eq!(any, [Server::Shard(preferred)]);
        assert!(runs(vec![some(), Place::Shards(vec![])], preferred).is_empty());
    }
    let missing = plan(vec![Place::Shards(vec![4])]);
    assert!(Route::new(&missing, &topology, 0).is_err());
}
