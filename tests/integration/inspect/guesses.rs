//! What nobody declared: it is written only where all rows bear it out.

use super::*;

#[tokio::test]
async fn one_stray_row_beyond_the_sample_refutes_a_guess() {
    let Some(urls) = support::shards(2) else {
        return;
    };
    // The first column of the primary key has no value on two shards, but for one.
    execute_all(
        &urls,
        "CREATE TABLE t (a int, b int, PRIMARY KEY (a, b));
         INSERT INTO t SELECT a * $n + $i, b FROM generate_series(1, 20000) a, generate_series(1, 2) b",
    );
    execute(&urls[1], "INSERT INTO t VALUES (4242, 3)");
    for verify in [false, true] {
        let report = Inspector::new(cluster(&urls)).with_verify(verify);
        let report = report.run().await.unwrap();
        let t = table(&report, "t");
        assert_eq!(t.kind, None, "{report}");
        assert!(
            t.why
                .contains("1 of 40001 keys a are on two shards: \"4242\" on s0 and s1"),
            "{}",
            t.why
        );
        assert!(report.topology().unwrap().tables().is_empty());
        let text = report.to_toml().unwrap();
        assert!(
            text.contains("# not decided: rows differ (") && text.contains("\"4242\" on s0 and s1"),
            "{text}"
        );
    }
    // A sample does not see it, so it is no ground for a topology.
    let sampled = Inspector::new(cluster(&urls)).with_sample_above(100);
    let sampled = sampled.run().await.unwrap();
    assert!(sampled.topology().unwrap().tables().is_empty(), "{sampled}");
    assert_loads_again(&sampled);
}

#[tokio::test]
async fn a_rule_needs_many_keys_on_every_shard() {
    let Some(urls) = support::shards(2) else {
        return;
    };
    execute_all(
        &urls,
        "CREATE TABLE crossed AS SELECT 1 - $i AS tenant, x FROM generate_series(1, 500) x;
         CREATE TABLE few AS SELECT k * 2 + $i AS k FROM generate_series(1, 49) k;
         CREATE TABLE many AS SELECT k * 2 + $i AS k FROM generate_series(1, 50) k;
         CREATE TABLE uneven AS SELECT k * 2 + $i AS k FROM generate_series(1, 191 * $i + 9) k;
         CREATE TABLE ruled AS SELECT k * 2 + 1 - $i AS k FROM generate_series(1, 50) k;
         CREATE TABLE almost AS SELECT k * 2 + $i AS k FROM generate_series(1, 500) k",
    );
    execute(&urls[0], "INSERT INTO almost VALUES (20001)");
    let mut inspector = Inspector::new(cluster(&urls)).with_shard_key("crossed", "tenant");
    for name in ["few", "many", "uneven", "ruled", "almost"] {
        inspector = inspector.with_shard_key(name, "k");
    }
    let report = inspector.run().await.unwrap();
    assert_eq!(drift(&report), [""; 0], "{report}");
    let index = |name| match &table(&report, name).kind {
        Some(TableKind::Sharded { shard_index, .. }) => shard_index.clone(),
        kind => panic!("{kind:?}\n{report}"),
    };
    assert_eq!(index("many").as_deref(), Some("k % 2"));
    assert_eq!(index("ruled").as_deref(), Some("(ARRAY[1, 0])[k % 2 + 1]"));
    for name in ["crossed", "few", "uneven", "almost"] {
        assert_eq!(index(name), None, "{name}: {report}");
    }
    let text = report.to_toml().unwrap();
    assert_eq!(
        text.matches("# shard_index = \"k % 2\"\n").count(),
        2,
        "{text}"
    );
    assert!(!text.contains("tenant %"), "{text}");
    assert_loads_again(&report);
}

#[tokio::test]
async fn foreign_keys_tell_the_key_and_the_group() {
    let Some(urls) = support::shards(2) else {
        return;
    };
    // Every id is on one shard only, so that its own primary key might do; it has three orders.
    execute_all(
        &urls,
        "CREATE TABLE orders (id int PRIMARY KEY, x int);
         CREATE TABLE items (id int PRIMARY KEY, x int, order_id int REFERENCES orders);
         CREATE TABLE loose (id int PRIMARY KEY, x int, order_id int);
         ALTER TABLE loose ADD FOREIGN KEY (order_id) REFERENCES orders NOT VALID;
         INSERT INTO orders SELECT k * 10 + $i FROM generate_series(1, 3) k;
         INSERT INTO items SELECT k + 1000 * $i, 1, k % 3 * 10 + 10 + $i FROM generate_series(1, 30) k;
         INSERT INTO loose SELECT k + 1000 * $i, 1, k % 3 * 10 + 10 + $i FROM generate_series(1, 30) k",
    );
    let report = Inspector::new(cluster(&urls)).run().await.unwrap();
    assert_eq!(drift(&report), [""; 0], "{report}");
    assert_eq!(
        table(&report, "items").kind,
        sharded("order_id", Some("orders"), None),
        "{report}"
    );
    assert_eq!(
        table(&report, "orders").kind,
        sharded("id", Some("orders"), None)
    );
    // What a constraint does not hold to is no evidence.
    assert_eq!(table(&report, "loose").kind, sharded("id", None, None));
    let text = report.to_toml().unwrap();
    assert!(
        text.contains("# guessed, and checked over all rows: rows differ; none of all 6 keys"),
        "{text}"
    );
    assert_loads_again(&report);
}

#[tokio::test]
async fn tables_live_together_only_if_all_of_their_keys_do() {
    let Some(urls) = support::shards(2) else {
        return;
    };
    execute_all(
        &urls,
        "CREATE TABLE orders (o_orderkey int PRIMARY KEY);
         CREATE TABLE lineitem (l_orderkey int, l_line int, PRIMARY KEY (l_orderkey, l_line));
         INSERT INTO orders SELECT k FROM generate_series(1, 6000) k WHERE k / 10 % 2 = $i;
         INSERT INTO lineitem SELECT o_orderkey, line FROM orders, generate_series(1, 2) line;",
    );
    let both = async || Inspector::new(cluster(&urls)).run().await.unwrap();
    let report = both().await;
    assert!(
        matches!(
            &table(&report, "lineitem").kind,
            Some(TableKind::Sharded { colocation: Some(group), .. }) if group == "orders"
        ),
        "{report}"
    );
    // An order on one shard, its line on the other.
    execute(&urls[0], "INSERT INTO orders VALUES (777777)");
    execute(&urls[1], "INSERT INTO lineitem VALUES (777777, 1)");
    let report = both().await;
    let lineitem = table(&report, "lineitem");
    assert!(
        matches!(
            &lineitem.kind,
            Some(TableKind::Sharded {
                colocation: None,
                ..
            })
        ),
        "{report}"
    );
    let notes = format!("{:?} {:?}", lineitem.notes, table(&report, "orders").notes);
    assert!(
        notes.contains("not colocated with") && notes.contains("777777"),
        "{report}"
    );
    assert_loads_again(&report);
}

#[tokio::test]
async fn groups_of_equal_names_stay_apart() {
    let Some(urls) = support::shards(2) else {
        return;
    };
    for schema in ["a", "b"] {
        // In b the other way round, so that the keys of the two are on different shards.
        let place = if schema == "a" { "$i" } else { "1 - $i" };
        execute_all(
            &urls,
            &format!(
                "CREATE SCHEMA {schema};
                 CREATE TABLE {schema}.orders (id int PRIMARY KEY);
                 CREATE TABLE {schema}.items (order_id int REFERENCES {schema}.orders, x int);
                 INSERT INTO {schema}.orders SELECT k * 2 + {place} FROM generate_series(1, 60) k;
                 INSERT INTO {schema}.items SELECT id, 1 FROM {schema}.orders"
            ),
        );
    }
    let report = Inspector::new(cluster(&urls)).run().await.unwrap();
    let group = |schema: &str| {
        let found = report.tables().iter();
        let mut groups = found
            .filter(|it| it.schema == schema)
            .map(|it| match &it.kind {
                Some(TableKind::Sharded { colocation, .. }) => colocation.clone(),
                kind => panic!("{kind:?}\n{report}"),
            });
        let first = groups.next().unwrap();
        assert_eq!(groups.next().unwrap(), first, "{report}");
        first.unwrap()
    };
    assert_ne!(group("a"), group("b"), "{report}");
    assert_loads_again(&report);
}

#[tokio::test]
async fn what_tells_nothing_is_not_taken_for_evidence() {
    let Some(urls) = support::shards(2) else {
        return;
    };
    execute_all(
        &urls,
        "CREATE TABLE empty (k int PRIMARY KEY);
         CREATE TABLE lonely (k int PRIMARY KEY);
         CREATE TABLE moody (k jsonb PRIMARY KEY);
         INSERT INTO moody VALUES ('$i'), ('1$i')",
    );
    execute(&urls[0], "INSERT INTO lonely SELECT generate_series(1, 50)");
    let report = Inspector::new(cluster(&urls)).with_verify(true);
    let report = report.run().await.unwrap();
    assert_eq!(drift(&report), [""; 0], "{report}");
    assert!(report.topology().unwrap().tables().is_empty(), "{report}");
    let lonely = &table(&report, "lonely").why;
    assert!(
        lonely.contains("k has all its values on s0, which tells nothing"),
        "{lonely}"
    );
    let text = report.to_toml().unwrap();
    assert_eq!(text.matches("# [[table]]\n").count(), 3, "{text}");
    assert!(
        text.contains("if equal ones of type jsonb have equal texts"),
        "{text}"
    );
}

#[tokio::test]
async fn nothing_is_guessed_of_rows_that_are_hidden() {
    let Some(urls) = support::shards(2) else {
        return;
    };
    let role = format!("visitor_{}", urls[0].rsplit('/').next().unwrap());
    support::execute(&urls[0], &format!("CREATE ROLE {role} LOGIN"));
    // Both shards hold all tenants, but this role sees others on each.
    execute_all(
        &urls,
        &format!(
            "CREATE TABLE visits (tenant int PRIMARY KEY);
             INSERT INTO visits SELECT generate_series(1, 400);
             ALTER TABLE visits ENABLE ROW LEVEL SECURITY;
             CREATE POLICY own ON visits USING (tenant % 2 = $i);
             GRANT SELECT ON visits TO {role}"
        ),
    );
    let hidden: Vec<String> = urls
        .iter()
        .map(|url| url.replace("postgres@", &format!("{role}@")))
        .collect();
    let report = Inspector::new(cluster(&hidden)).run().await.unwrap();
    assert_eq!(table(&report, "visits").kind, None, "{report}");
    assert_eq!(
        report.warnings(),
        [format!(
            "row security hides rows of public.visits from role {role} on s0 and s1: what is said \
             of its rows holds for those that this role sees"
        )]
    );
    assert_eq!(
        drift(&report),
        [
            "Definition: public.visits: list of policies differs: own for public using ((tenant % 2) = 0) \
             on s0; own for public using ((tenant % 2) = 1) on s1"
        ]
    );
    let text = report.to_toml().unwrap();
    assert!(
        text.contains("# not decided: row security hides rows"),
        "{text}"
    );
    // Who says it is believed, as far as the rows can be seen.
    let given = Inspector::new(cluster(&hidden)).with_shard_key("visits", "tenant");
    let given = given.run().await.unwrap();
    assert!(matches!(
        table(&given, "visits").kind,
        Some(TableKind::Sharded { .. })
    ));
    assert_eq!(given.warnings().len(), 1);
    // Superusers see all rows: copies.
    let report = Inspector::new(cluster(&urls)).run().await.unwrap();
    assert_eq!(report.warnings(), [""; 0]);
    assert_eq!(
        table(&report, "visits").kind,
        Some(TableKind::Replicated),
        "{report}"
    );
}
