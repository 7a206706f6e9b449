//! Bounds, errors, queries that are dropped.

use super::*;
use crate::error::SqlOrigin;

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
        assert_eq!(error.kind(), ErrorKind::Limit);
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
        ("SELECT ('NaN'::numeric + k)::int AS k FROM m1", "0A000"),
        ("SELECT ('no' || k)::regclass::int AS k FROM m1", "42P01"),
    ] {
        let error = answer(&query, user, vec![first(), second(body, Place::Finish)])
            .await
            .unwrap_err();
        assert_eq!(
            (error.phase(), error.sql_state(), error.sql_origin()),
            (Some(Phase::Finish), Some(state), Some(SqlOrigin::Made))
        );
        // Its place is none in the user's text, and only what no data raises is a fault of ours.
        assert!(!error.message().contains("line "), "{error}");
        let hint = error.hint().unwrap_or_default();
        assert_eq!(
            hint.contains("fault of merganser"),
            state == "42703",
            "{hint}"
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
        assert_eq!(error.kind(), ErrorKind::Internal, "{error}");
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
                common: Vec::new(),
                finish: None,
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
                argument: Argument::default(),
                decimals: false,
                surroundings: Default::default(),
            };
            let rows = run_one(&query.request, &plan, held).await?;
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
