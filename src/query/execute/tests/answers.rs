//! Order, limits and types of the answer.

use super::*;

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
        (ErrorKind::Internal, Some(Phase::Merge))
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
    // Rows of any shard would do, but not for this test.
    let query = cluster.query("").with_order(Order::Shard);
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
        assert_eq!(error.kind(), ErrorKind::Internal, "{error}");
    }
    assert_idle(&cluster, &databases).await;
}
