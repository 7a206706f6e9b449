//! Plans made by hand, on one server with a database for each shard.

mod answers;
mod failures;
mod joins;
mod tables;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::*;
use crate::Query;
use crate::config::Topology;
use crate::error::ErrorKind;
use crate::export::{self, Destination, ExportOptions, Format, Progress};
use crate::plan::{Argument, Arm, Exactness, SortKey, StepColumn, Surroundings};
use crate::types::TypeOptions;
use merganser_local::Server as LocalServer;

/// One server for all tests; its watchdog ends it with the process. `None` without PostgreSQL.
fn server() -> Option<&'static LocalServer> {
    static SERVER: OnceLock<Option<LocalServer>> = OnceLock::new();
    let start = || match merganser_local::Binaries::find() {
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
    start_in(query, user, steps, Surroundings::default()).await
}

async fn start_in(
    query: &Query,
    user: &str,
    steps: Vec<Step>,
    surroundings: Surroundings,
) -> Result<QueryStream> {
    let request = &query.request;
    let mut held = Held {
        shard: 0,
        session: request.cluster.session(0).await?,
        common: Vec::new(),
        finish: None,
    };
    let statement = Statement::parse(user)?;
    let reading = Reading::Options(request.options.types);
    let description = scan::describe(
        &mut held.session,
        &statement,
        crate::error::SqlOrigin::User,
        reading,
    )
    .await?;
    let plan = Plan {
        steps,
        columns: description.columns,
        exactness: Exactness::Exact,
        arm: Arm::Gather,
        reasons: Vec::new(),
        argument: Argument::default(),
        decimals: false,
        surroundings,
    };
    run_one(request, &plan, held).await
}

async fn run_one(request: &Request, plan: &Plan, held: Held) -> Result<QueryStream> {
    let deadline = request.options.deadline();
    let parts = run(
        request,
        request.planning,
        plan,
        held,
        &deadline,
        Streams::One,
        None,
    );
    let mut parts = parts.await?;
    assert_eq!(parts.len(), 1);
    Ok(parts.remove(0).rows)
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
                 WHERE datname = '{name}' AND application_name = 'merganser'"
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
        "SELECT g AS v, sum(a)::int8 AS count, sum(b), max(g COLLATE \"C\") FROM m1 GROUP BY g ORDER BY 1",
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
        argument: Argument::default(),
        decimals: false,
        surroundings: Default::default(),
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
