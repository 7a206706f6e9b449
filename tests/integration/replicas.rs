//! Reading from replicas: a real standby that falls behind, is killed, and is promoted.

use std::time::{Duration, Instant};

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int32Type;
use futures::StreamExt;
use merganser::{Cluster, Error, ErrorKind, Phase, ScanProgress, Topology, arrow};
use merganser_local::{Server, ServerBuilder};
use tokio::time::timeout;

use crate::support;

const BOUND: Duration = Duration::from_secs(30);

fn builder() -> Option<ServerBuilder> {
    let builder = Server::builder().with_binaries(support::binaries()?.clone());
    let builder = builder.with_setting("wal_level", "replica");
    Some(builder.with_setting("max_wal_senders", "4"))
}

struct Scene {
    primary: Server,
    standby: Server,
}

impl Scene {
    /// A primary and its standby; `t(n)` has one row.
    fn start() -> Option<Self> {
        let primary = builder()?.start().unwrap();
        primary
            .execute("postgres", "create table t as select 1 as n")
            .unwrap();
        let standby = builder()?.start_standby_of(&primary).unwrap();
        Some(Self { primary, standby })
    }

    fn cluster(&self, session: &str) -> Cluster {
        let (primary, standby) = (self.primary.url("postgres"), self.standby.url("postgres"));
        let toml = format!(
            "[session]\n{session}\n[[shard]]\nname = \"s0\"\nurl = \"{primary}\"\n\
             replicas = [\"{standby}\"]\n[[table]]\nname = \"t\"\nshard_key = \"n\"\n"
        );
        let builder = Cluster::builder(Topology::from_toml(&toml).unwrap());
        builder.with_connections_per_shard(1).build().unwrap()
    }

    /// The name of the server at this port.
    fn name(&self, port: &str) -> &'static str {
        match port.parse::<u16>() {
            Ok(port) if port == self.primary.port() => "primary",
            Ok(port) if port == self.standby.port() => "standby",
            _ => panic!("port {port}"),
        }
    }

    /// Which server answers a fan-out.
    async fn answers(&self, cluster: &Cluster) -> Result<&'static str, Error> {
        let asked = cluster.fan_out("select current_setting('port')").collect();
        let batches = timeout(BOUND, asked).await.expect("an end in time")?;
        Ok(self.name(batches[0].column(0).as_string::<i32>().value(0)))
    }

    /// Waits until a fan-out is answered by this server.
    async fn answered_by(&self, cluster: &Cluster, server: &str) {
        let began = Instant::now();
        loop {
            match self.answers(cluster).await {
                Ok(found) if found == server => return,
                other => assert!(began.elapsed() < BOUND, "{other:?}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

fn numbers(batches: &[RecordBatch]) -> Vec<i32> {
    let column = |batch: &RecordBatch| {
        batch
            .column(0)
            .as_primitive::<Int32Type>()
            .values()
            .to_vec()
    };
    batches.iter().flat_map(column).collect()
}

async fn count(cluster: &Cluster) -> usize {
    let batches = cluster.query("select n from t order by n").collect().await;
    numbers(&batches.unwrap()).len()
}

/// Rows for minutes, a few at a time.
const SLOW: &str = "select n, pg_sleep(0.001)::text from generate_series(1, 200000) n";

#[tokio::test(flavor = "multi_thread")]
async fn replicas_are_read_from_while_they_are_near_and_alive() {
    let Some(mut scene) = Scene::start() else {
        return;
    };
    let primary = scene.cluster("read_from = \"primary\"");
    let replica = scene.cluster("read_from = \"replica\"\nmax_replay_lag = \"1s\"");
    let any = scene.cluster("read_from = \"any\"\nmax_replay_lag = \"1s\"");
    assert_eq!(scene.answers(&primary).await.unwrap(), "primary");
    scene.answered_by(&replica, "standby").await;
    scene.answered_by(&any, "standby").await;
    assert_eq!(count(&any).await, 1);
    // It shows an earlier moment than now.
    let fenced = any
        .query("select n from t")
        .with_max_skew(BOUND)
        .collect()
        .await;
    let error = fenced.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert!(error.message().contains("is a replica"), "{error}");

    // Only what it has replayed tells it the time.
    scene
        .primary
        .execute("postgres", "create table u ()")
        .unwrap();
    let replayed = "select 1 where pg_last_xact_replay_timestamp() is not null";
    while scene
        .standby
        .query("postgres", replayed)
        .unwrap()
        .is_empty()
    {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // It receives, and does not replay: the rows of its primary are missing.
    scene
        .standby
        .execute("postgres", "select pg_wal_replay_pause()")
        .unwrap();
    scene
        .primary
        .execute("postgres", "insert into t values (2)")
        .unwrap();
    scene.answered_by(&any, "primary").await;
    assert_eq!(count(&any).await, 2);
    let began = Instant::now();
    let error = loop {
        match scene.answers(&replica).await {
            Err(error) => break error,
            Ok(_) => assert!(began.elapsed() < BOUND),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(
        (error.kind(), error.shard()),
        (ErrorKind::Connect, Some("s0"))
    );
    assert!(error.message().contains("max_replay_lag is 1 s"), "{error}");
    assert!(error.hint().unwrap().contains("read_from"), "{error:?}");
    scene
        .standby
        .execute("postgres", "select pg_wal_replay_resume()")
        .unwrap();
    scene.answered_by(&replica, "standby").await;
    assert_eq!(count(&replica).await, 2);

    // Killed in the middle of a query: that fails, and the next one is answered by the primary.
    let any = scene.cluster("read_from = \"any\"");
    scene.answered_by(&any, "standby").await;
    let mut rows = any
        .fan_out(SLOW)
        .with_batch_rows(10)
        .stream()
        .await
        .unwrap();
    rows.next().await.unwrap().unwrap();
    scene.standby.kill_hard().unwrap();
    let error = loop {
        match timeout(BOUND, rows.next()).await.unwrap().unwrap() {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(
        (error.shard(), error.phase()),
        (Some("s0"), Some(Phase::Stream))
    );
    assert!(error.is_retryable(), "{error:?}");
    assert_eq!(scene.answers(&any).await.unwrap(), "primary");
    assert_eq!(count(&any).await, 2);
    let error = scene.answers(&replica).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connect, "{error}");
    scene.standby.restart().unwrap();
    scene.answered_by(&replica, "standby").await;

    // Promoted in the middle of a query, which ends well; then it is a replica no more.
    let some = "select n, pg_sleep(0.001)::text from generate_series(1, 3000) n";
    let mut rows = replica
        .fan_out(some)
        .with_batch_rows(10)
        .stream()
        .await
        .unwrap();
    let first = rows.next().await.unwrap().unwrap();
    scene
        .standby
        .execute("postgres", "select pg_promote()")
        .unwrap();
    let rest = timeout(BOUND, rows.collect()).await.unwrap().unwrap();
    let all: Vec<_> = numbers(&[first])
        .into_iter()
        .chain(numbers(&rest))
        .collect();
    assert_eq!(all, (1..=3000).collect::<Vec<_>>());
    let error = scene.answers(&replica).await.unwrap_err();
    assert!(error.message().contains("is no replica"), "{error}");
    let any = scene.cluster("read_from = \"any\"");
    assert_eq!(scene.answers(&any).await.unwrap(), "primary");

    // Both as hosts of the shard's URL: the first that is what is asked for.
    let (one, two) = (scene.standby.port(), scene.primary.port());
    for (attrs, expected) in [
        ("primary", "standby"),
        ("read-write", "standby"),
        ("any", "standby"),
    ] {
        let url = format!(
            "host=127.0.0.1,127.0.0.1 port={one},{two} user=postgres dbname=postgres \
             target_session_attrs={attrs}"
        );
        let cluster = Cluster::new(Topology::from_urls([url]).unwrap()).unwrap();
        assert_eq!(scene.answers(&cluster).await.unwrap(), expected, "{attrs}");
    }
}

/// Waits until somebody is at work on this server.
async fn working(server: &Server) {
    let working = "select 1 from pg_stat_activity where state = 'active' and query like '%pg_sleep(%' \
                   and pid <> pg_backend_pid()";
    let began = Instant::now();
    while server.query("postgres", working).unwrap().is_empty() {
        assert!(began.elapsed() < BOUND);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_goes_on_elsewhere_when_its_server_is_lost_before_its_first_row() {
    let Some(mut scene) = Scene::start() else {
        return;
    };
    let any = scene.cluster("read_from = \"any\"");
    scene.answered_by(&any, "standby").await;
    let port = |batches: Vec<RecordBatch>| {
        let port = batches[0].column(0).as_string::<i32>().value(0).to_owned();
        port.parse::<u16>().unwrap()
    };
    let slow = "select current_setting('port') from pg_sleep(2)";
    let progress = ScanProgress::new();
    let query = |cluster: &Cluster| {
        let query = cluster.fan_out(slow).with_progress(progress.clone());
        tokio::spawn(query.with_retries(10).collect())
    };
    // The session of the replica is ended there, and the primary asked: not the replica once more.
    let asked = query(&any);
    working(&scene.standby).await;
    let end = "select pg_terminate_backend(pid) from pg_stat_activity \
               where query like '%pg_sleep(%' and pid <> pg_backend_pid()";
    scene.standby.query("postgres", end).unwrap();
    let batches = timeout(BOUND, asked).await.unwrap().unwrap().unwrap();
    assert_eq!(port(batches), scene.primary.port());
    let told = progress.retries();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(
        (told[0].shard(), told[0].sql_state()),
        (Some("s0"), Some("57P01"))
    );

    // The replica dies.
    let again = scene.cluster("read_from = \"any\"");
    scene.answered_by(&again, "standby").await;
    let asked = query(&again);
    working(&scene.standby).await;
    scene.standby.kill_hard().unwrap();
    let batches = timeout(BOUND, asked).await.unwrap().unwrap().unwrap();
    assert_eq!(port(batches), scene.primary.port());
    assert_eq!(progress.retries().len(), 1);
    scene.standby.restart().unwrap();

    // The primary dies, and the replica becomes one.
    let (one, two) = (scene.primary.port(), scene.standby.port());
    let url = format!(
        "host=127.0.0.1,127.0.0.1 port={one},{two} user=postgres dbname=postgres \
         target_session_attrs=primary"
    );
    let primary = Cluster::new(Topology::from_urls([url]).unwrap()).unwrap();
    let asked = query(&primary);
    working(&scene.primary).await;
    scene.primary.kill_hard().unwrap();
    scene
        .standby
        .execute("postgres", "select pg_promote()")
        .unwrap();
    let batches = timeout(BOUND, asked).await.unwrap().unwrap().unwrap();
    assert_eq!(port(batches), two);
    assert!(!progress.retries().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_are_chosen_by_what_they_are_and_by_chance() {
    let Some(scene) = Scene::start() else { return };
    let (primary, standby) = (scene.primary.port(), scene.standby.port());
    let cluster = |more: &str| {
        let url = format!(
            "host=127.0.0.1,127.0.0.1 port={primary},{standby} user=postgres dbname=postgres {more}"
        );
        Cluster::new(Topology::from_urls([url]).unwrap()).unwrap()
    };
    for (attrs, expected) in [
        ("any", "primary"),
        ("read-write", "primary"),
        ("read-only", "standby"),
        ("primary", "primary"),
        ("standby", "standby"),
        ("prefer-standby", "standby"),
    ] {
        let cluster = cluster(&format!("target_session_attrs={attrs}"));
        assert_eq!(scene.answers(&cluster).await.unwrap(), expected, "{attrs}");
    }
    // Each cluster connects once; that twenty times the same comes by chance is not to be feared.
    let mut found = std::collections::BTreeSet::new();
    for _ in 0..20 {
        let cluster = cluster("load_balance_hosts=random");
        found.insert(scene.answers(&cluster).await.unwrap());
    }
    assert_eq!(found.len(), 2);
    // A refused login is the last word there, too.
    let session = "read_from = \"any\"";
    let toml = format!(
        "[session]\n{session}\n[[shard]]\nname = \"s0\"\nurl = \"{}\"\nreplicas = [\"{}\"]\n",
        scene.primary.url("postgres"),
        scene.standby.url("no_such"),
    );
    let refused = Cluster::new(Topology::from_toml(&toml).unwrap()).unwrap();
    let error = scene.answers(&refused).await.unwrap_err();
    assert_eq!(
        (error.phase(), error.sql_state()),
        (Some(Phase::Auth), Some("3D000"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_are_spread_over_all_replicas() {
    let Some(scene) = Scene::start() else { return };
    let second = builder().unwrap().start_standby_of(&scene.primary).unwrap();
    let servers = [&scene.primary, &scene.standby, &second];
    let [primary, one, two] = servers.map(|server| server.url("postgres"));
    let toml = format!(
        "[session]\nread_from = \"replica\"\n[[shard]]\nname = \"s0\"\nurl = \"{primary}\"\n\
         replicas = [\"{one}\", \"{two}\"]\n"
    );
    let mut found = std::collections::BTreeSet::new();
    let began = Instant::now();
    // Each cluster connects once; at first a replica may not know yet how far it is.
    while found.len() < 2 {
        assert!(began.elapsed() < BOUND, "{found:?}");
        let cluster = Cluster::new(Topology::from_toml(&toml).unwrap()).unwrap();
        let asked = cluster.fan_out("select current_setting('port')").collect();
        if let Ok(batches) = timeout(BOUND, asked).await.expect("an end in time") {
            found.insert(batches[0].column(0).as_string::<i32>().value(0).to_owned());
        }
        cluster.close().await;
    }
    let replicas = [&scene.standby, &second].map(|server| server.port().to_string());
    assert_eq!(found, replicas.into());
}

/// Waits until a standby has this table.
async fn replayed(standby: &Server, database: &str, table: &str) {
    let began = Instant::now();
    let sql = format!("select n from {table}");
    while !standby
        .query(database, &sql)
        .is_ok_and(|rows| !rows.is_empty())
    {
        assert!(began.elapsed() < BOUND);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_is_in_the_way_of_a_standby_is_told_what_helps() {
    let Some(builder) = builder() else { return };
    let scene = Scene::start().unwrap();
    let standby = builder.with_setting("max_standby_streaming_delay", "0");
    let standby = standby.start_standby_of(&scene.primary).unwrap();
    let topology = Topology::from_urls([standby.url("postgres")]).unwrap();
    let cluster = Cluster::new(topology).unwrap();
    // Rows that are still seen, and a table that is still read.
    for (table, conflict) in [
        ("a", &["delete from a", "vacuum a"][..]),
        ("b", &["drop table b"]),
    ] {
        let create = format!("create table {table} as select n from generate_series(1, 1000) n");
        scene.primary.execute("postgres", &create).unwrap();
        replayed(&standby, "postgres", table).await;
        let sql = format!("select n, pg_sleep(0.01)::text from {table}, generate_series(1, 100)");
        let asked = cluster.fan_out(sql).with_batch_rows(10);
        let mut rows = asked.stream().await.unwrap();
        rows.next().await.unwrap().unwrap();
        for sql in conflict {
            scene.primary.execute("postgres", sql).unwrap();
        }
        let error = loop {
            match timeout(BOUND, rows.next()).await.unwrap().unwrap() {
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        assert_eq!(
            (error.shard(), error.sql_state()),
            (Some("s0"), Some("40001")),
            "{error:?}"
        );
        assert!(error.is_retryable());
        let hint = error.hint().unwrap();
        assert!(
            hint.contains("standby") && hint.contains("hot_standby_feedback"),
            "{hint}"
        );
        let answer = cluster.fan_out("select n from t").collect().await.unwrap();
        assert_eq!(numbers(&answer), [1]);
    }
}

/// What a server without temporary tables can do, and what it says of the rest.
#[cfg(feature = "datafusion")]
#[tokio::test(flavor = "multi_thread")]
async fn a_standby_finishes_with_texts_and_says_that_it_makes_no_tables() {
    use arrow::datatypes::Int64Type;
    use merganser::config::FinishRelations;

    let Some(scene) = Scene::start() else { return };
    scene.primary.create_database("other").unwrap();
    scene
        .primary
        .execute("other", "create table t as select 2 as n")
        .unwrap();
    replayed(&scene.standby, "other", "t").await;
    let (primary, standby) = (&scene.primary, &scene.standby);
    let finish = format!("url = \"{}\"\n", standby.url("postgres"));
    for (shards, finish, named) in [
        (primary, &*finish, "finish"),
        // One of the shards.
        (standby, "relations = \"temporary\"\n", "s"),
    ] {
        let shard = |name: &str, database: &str| {
            format!(
                "[[shard]]\nname = \"{name}\"\nurl = \"{}\"\n",
                shards.url(database)
            )
        };
        let toml = format!(
            "[finish]\n{finish}{}{}[[table]]\nname = \"t\"\nshard_key = \"n\"\n",
            shard("s0", "postgres"),
            shard("s1", "other"),
        );
        let cluster = Cluster::new(Topology::from_toml(&toml).unwrap()).unwrap();
        let median = "select percentile_disc(0.5) within group (order by n)::int8 from t";
        let error = cluster.query(median).collect().await.unwrap_err();
        assert!(error.shard().unwrap().starts_with(named), "{error:?}");
        assert_eq!(
            (error.kind(), error.sql_state()),
            (ErrorKind::Server, Some("0A000"))
        );
        let message = error.message();
        assert!(
            message.starts_with("a standby makes no temporary tables: "),
            "{error}"
        );
        let hint = error.hint().unwrap();
        assert!(hint.contains("--finish-relations text"), "{hint}");
        let text = cluster
            .query(median)
            .with_finish_relations(FinishRelations::Text);
        let answer = text.collect().await.unwrap();
        assert_eq!(answer[0].column(0).as_primitive::<Int64Type>().value(0), 1);
        cluster.close().await;
    }
}

#[test]
fn what_cannot_be_read_from_is_refused() {
    let shard = "[[shard]]\nname = \"s0\"\nurl = \"postgresql://u@127.0.0.1:1/d\"\n";
    let build = |text: String| Topology::from_toml(&text).and_then(Cluster::new);
    let error = build(format!("[session]\nread_from = \"replica\"\n{shard}")).unwrap_err();
    assert!(error.message().contains("the shard has none"), "{error}");
    let error = build(format!("[session]\nread_from = \"nearest\"\n{shard}")).unwrap_err();
    assert!(error.message().contains("expected one of"), "{error}");
    let error = build(format!("[session]\nmax_replay_lag = \"soon\"\n{shard}")).unwrap_err();
    assert!(error.message().contains("max_replay_lag"), "{error}");
    // One replica of two shards would give its rows twice.
    let same = "replicas = [\"postgresql://u@127.0.0.1:2/d\"]\n";
    let two = shard.replace("s0", "s1").replace(":1/", ":3/");
    let text = format!("[session]\nread_from = \"any\"\n{shard}{same}{two}{same}");
    let error = build(text).unwrap_err();
    assert!(error.message().contains("have the same URL"), "{error}");
}
