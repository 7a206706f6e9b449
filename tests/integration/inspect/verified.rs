//! What a topology declares, checked over all rows.

use super::*;

/// What a verification of these tables finds.
async fn verified(urls: &[String], tables: &str) -> Report {
    let inspector = Inspector::new(declared(urls, tables)).with_verify(true);
    inspector.run().await.unwrap()
}

#[track_caller]
fn assert_found(report: &Report, expected: &[&str]) {
    let mut found = drift(report);
    found.sort();
    assert_eq!(found.len(), expected.len(), "{report}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}\n{expected}");
    }
}

#[tokio::test]
async fn one_database_is_no_two_shards() {
    let Some(urls) = support::shards(2) else {
        return;
    };
    execute_all(&urls, "CREATE TABLE t AS SELECT 1 AS a");
    // The same URL twice is seen without asking anybody.
    let twice = [&urls[0], &urls[1], &urls[0]].map(|url| url.to_owned());
    let error = Cluster::new(Topology::from_urls(twice).unwrap()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert_eq!(error.message(), "the shards s0 and s2 have the same URL");
    // Another way to write the same database.
    let other = [
        urls[0].clone(),
        format!(
            "{}?application_name=x",
            urls[0].replace("127.0.0.1", "localhost")
        ),
    ];
    let error = Inspector::new(cluster(&other)).run().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert_eq!(
        error.message(),
        "shards s0 and s1 are one database: each of its rows would be read 2 times"
    );
}

#[tokio::test]
async fn a_sound_topology_has_no_drift() {
    let Some(urls) = support::shards(3) else {
        return;
    };
    execute_all(
        &urls,
        r#"CREATE SCHEMA "S"; CREATE TYPE mood AS ENUM ('a', 'b');
           CREATE TABLE "S"."T" ("K" bigint, part text, PRIMARY KEY ("K", part)) PARTITION BY LIST (part);
           CREATE TABLE "S"."T a" PARTITION OF "S"."T" FOR VALUES IN ('a');
           CREATE TABLE "S"."T b" PARTITION OF "S"."T" DEFAULT;
           INSERT INTO "S"."T" SELECT k * 3 + $i, p FROM generate_series(1, 200) k, unnest('{a,b}'::text[]) p;
           CREATE TABLE child (k int, x float8);
           INSERT INTO child SELECT k * 3 + $i, 0.1 FROM generate_series(1, 300) k;
           CREATE TABLE optional (k uuid, x int);
           INSERT INTO optional SELECT md5('$i' || k)::uuid, k FROM generate_series(1, 100) k;
           CREATE TABLE reals (k float8);
           INSERT INTO reals SELECT k + $i / 3.0::float8 FROM generate_series(1, 100) k;
           CREATE TABLE empty (k int);
           CREATE TABLE copies (m mood, n numeric, t timestamptz, j jsonb, b bytea, a int[]);
           INSERT INTO copies SELECT 'a', 1.50, '2000-01-01', '{"a": 1}', '\x00', '{1,NULL}'
               FROM generate_series(1, 3)"#,
    );
    execute(&urls[1], "INSERT INTO optional VALUES (NULL, 1), (NULL, 2)");
    let tables = r#"
        [[table]]
        name = '"S"."T"'
        shard_key = '"K"'
        colocation = "T"
        shard_index = '"K" % 3'
        [[table]]
        name = "child"
        shard_key = "k"
        colocation = "T"
        [[table]]
        name = "optional"
        shard_key = "k"
        [[table]]
        name = "reals"
        shard_key = "k"
        [[table]]
        name = "empty"
        shard_key = "k"
        [[table]]
        name = "copies"
        replicated = true
    "#;
    let report = verified(&urls, tables).await;
    assert_found(&report, &[]);
    assert_eq!(report.warnings(), [""; 0]);
    assert!(
        report.tables().iter().all(|table| table.is_checked),
        "{report}"
    );
    assert!(
        table(&report, "optional")
            .why
            .ends_with("none of all 300 keys is on two shards; 2 rows without a key, on s1 only"),
        "{report}"
    );
    assert_loads_again(&report);
}

/// Keys are compared as their type does: joins trust that equal ones are on one shard, however they are written.
#[tokio::test]
async fn equal_keys_are_found_whose_texts_differ() {
    let Some(urls) = support::shards(2) else {
        return;
    };
    execute_all(
        &urls,
        "CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
         CREATE TABLE written (k text COLLATE ci); CREATE TABLE spans (k interval);
         CREATE TABLE documents (k jsonb); CREATE TABLE apart (k text COLLATE ci)",
    );
    let rows = [("a", "1 mon", "1.0", "a"), ("A", "30 days", "1.00", "b")];
    for (url, (text, span, number, apart)) in urls.iter().zip(rows) {
        execute(
            url,
            &format!(
                "INSERT INTO written VALUES ('{text}'); INSERT INTO spans VALUES ('{span}');
                 INSERT INTO documents VALUES ('{number}'); INSERT INTO apart VALUES ('{apart}')"
            ),
        );
    }
    let table = |name: &str| format!("[[table]]\nname = '{name}'\nshard_key = 'k'\n");
    let tables = ["written", "spans", "documents", "apart"]
        .map(table)
        .concat();
    let report = verified(&urls, &tables).await;
    let drift: Vec<_> = report.drift().iter().map(ToString::to_string).collect();
    for name in ["written", "spans", "documents"] {
        let of_it = drift.iter().filter(|it| it.contains(name));
        assert_eq!(of_it.count(), 1, "{name}: {report}");
    }
    assert!(!drift.iter().any(|it| it.contains("apart")), "{report}");
}

#[tokio::test]
async fn everything_that_is_wrong_is_said_once_with_examples() {
    let Some(urls) = support::shards(2) else {
        return;
    };
    execute_all(
        &urls,
        "CREATE TABLE parent (k int); CREATE TABLE child (k int); CREATE TABLE typed (k text);
         CREATE TABLE often (a int); CREATE TABLE keyed (id int PRIMARY KEY, x int);
         CREATE TABLE nulls (k int); CREATE TABLE parts (k int) PARTITION BY RANGE (k);
         CREATE TABLE part PARTITION OF parts DEFAULT;
         INSERT INTO parent SELECT k * 2 + $i FROM generate_series(1, 3000) k;
         INSERT INTO child SELECT k * 2 + $i FROM generate_series(1, 3000) k;
         INSERT INTO typed SELECT k * 2 + $i FROM generate_series(1, 20) k;
         INSERT INTO often SELECT 1 FROM generate_series(0, $i);
         INSERT INTO keyed SELECT k, CASE WHEN k = 5 THEN $i ELSE 0 END FROM generate_series(1, 9) k;
         INSERT INTO keyed SELECT 100 + $i;
         INSERT INTO nulls VALUES (NULL), ($i)",
    );
    // One orphan on the wrong shard: its number tells, and so does its twin in the parent.
    execute(&urls[0], "INSERT INTO child VALUES (9001)");
    execute(&urls[1], "INSERT INTO parent VALUES (9001)");
    let tables = r#"
        [[table]]
        name = "parent"
        shard_key = "k"
        colocation = "g"
        [[table]]
        name = "child"
        shard_key = "k"
        colocation = "g"
        shard_index = "k % 2"
        [[table]]
        name = "typed"
        shard_key = "k"
        colocation = "g"
        [[table]]
        name = "often"
        replicated = true
        [[table]]
        name = "keyed"
        replicated = true
        [[table]]
        name = "nulls"
        shard_key = "k"
        [[table]]
        name = "part"
        shard_key = "k"
    "#;
    assert_found(
        &verified(&urls, tables).await,
        &[
            "Colocation: public.child: in colocation group g with public.parent, but not on the same \
             shards: key \"9001\" on s0 in public.child and on s1 in public.parent; take one",
            "Colocation: public.child: in colocation group g with public.typed, but their keys have \
             different types, integer and text",
            "Key: public.nulls: 1 of 2 keys k are on two shards: NULL on s0 and s1; move",
            "MissingTable: part: the topology names it, but it is a partition of public.parts",
            "Rows: public.keyed: declared replicated, but rows differ: 10 rows on s0; 10 rows (version 2) \
             on s1; (id) = (100) only on s0, (id) = (101) only on s1, (id) = (5) other on s0 than on s1; make",
            "Rows: public.often: declared replicated, but rows differ: 1 row on s0; 2 rows on s1; the same \
             rows, but not equally often; make",
            "ShardIndex: public.child: rows that are not on the shard k % 2: 1 row on s0 (\"9001\" belongs \
             on s1); mend",
        ],
    );
}

#[tokio::test]
async fn what_was_declared_and_cannot_be_checked_is_no_success() {
    let Some(urls) = support::shards(2) else {
        return;
    };
    let role = format!("guest_{}", urls[0].rsplit('/').next().unwrap());
    support::execute(&urls[0], &format!("CREATE ROLE {role} LOGIN"));
    execute_all(
        &urls,
        &format!(
            "CREATE TABLE secret AS SELECT $i AS k;
             CREATE MATERIALIZED VIEW unfilled AS SELECT 1 AS k WITH NO DATA;
             GRANT SELECT ON unfilled TO {role}"
        ),
    );
    let urls: Vec<String> = urls
        .iter()
        .map(|url| url.replace("postgres@", &format!("{role}@")))
        .collect();
    let tables = r#"
        [[table]]
        name = "secret"
        shard_key = "k"
        [[table]]
        name = "unfilled"
        replicated = true
    "#;
    assert_found(
        &verified(&urls, tables).await,
        &[
            "Unchecked: public.secret: declared, but not checked: permission denied on s0 and s1",
            "Unchecked: public.unfilled: declared, but not checked: shard \"s0\"",
        ],
    );
}

#[tokio::test]
async fn functions_are_compared_but_for_those_of_triggers() {
    let Some(urls) = support::shards(2) else {
        return;
    };
    execute_all(
        &urls,
        "CREATE FUNCTION same(int) RETURNS int LANGUAGE sql AS 'SELECT $1';
         CREATE FUNCTION other(int) RETURNS int LANGUAGE sql AS 'SELECT $i';
         CREATE FUNCTION on_write() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; /* $i */ END';
         CREATE PROCEDURE does() LANGUAGE sql AS 'SELECT $i'",
    );
    execute(
        &urls[1],
        "CREATE FUNCTION more() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    );
    let report = Inspector::new(cluster(&urls)).run().await.unwrap();
    assert_found(
        &report,
        &[
            "Function: definition of function public.other differs: hash ",
            "Function: function public.more is missing on s0",
        ],
    );
    assert!(
        report.to_string().contains("not compared, because"),
        "{report}"
    );
}

#[tokio::test]
async fn a_given_key_says_what_it_replaces() {
    let Some(urls) = support::shards(2) else {
        return;
    };
    execute_all(
        &urls,
        "CREATE TABLE t AS SELECT k * 2 + $i AS a, k * 2 + $i AS b FROM generate_series(1, 20) k",
    );
    let tables =
        "[[table]]\nname = \"t\"\nshard_key = \"a\"\ncolocation = \"g\"\nshard_index = \"a % 2\"";
    let notes = async |key: &str| {
        let inspector = Inspector::new(declared(&urls, tables)).with_shard_key("t", key);
        let report = inspector.run().await.unwrap();
        assert_eq!(drift(&report), [""; 0]);
        (table(&report, "t").notes.clone(), report)
    };
    assert!(notes("a").await.0.is_empty());
    let (notes, report) = notes("b").await;
    let note = "the key that was given replaces a of the topology, and with it colocation g and \
                shard_index a % 2";
    assert_eq!(notes, [note]);
    assert!(report.to_toml().unwrap().contains(note));
}

#[tokio::test]
async fn a_shard_that_dies_meanwhile_is_named() {
    let Some(urls) = support::shards(2) else {
        return;
    };
    let role = format!("mortal_{}", urls[0].rsplit('/').next().unwrap());
    support::execute(&urls[0], &format!("CREATE ROLE {role} LOGIN"));
    execute_all(
        &urls,
        &format!(
            "CREATE TABLE t AS SELECT k * 2 + $i AS k FROM generate_series(1, 20) k;
             GRANT SELECT ON t TO {role}"
        ),
    );
    // Whoever reads a row there ends the connection.
    execute(
        &urls[1],
        "ALTER TABLE t ENABLE ROW LEVEL SECURITY;
         CREATE POLICY p ON t USING (pg_terminate_backend(pg_backend_pid()))",
    );
    let urls: Vec<String> = urls
        .iter()
        .map(|url| url.replace("postgres@", &format!("{role}@")))
        .collect();
    let inspector = Inspector::new(cluster(&urls)).with_shard_key("t", "k");
    let error = inspector.run().await.unwrap_err();
    assert_eq!(error.shard(), Some("s1"), "{error}");
}

#[tokio::test]
async fn who_watches_hears_of_each_table() {
    let Some(urls) = support::shards(2) else {
        return;
    };
    execute_all(
        &urls,
        "CREATE TABLE t AS SELECT k * 2 + $i AS k FROM generate_series(1, 20) k",
    );
    let heard = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let inspector = Inspector::new(cluster(&urls)).with_shard_key("t", "k");
    let lines = heard.clone();
    let inspector = inspector.with_watcher(move |line| lines.lock().unwrap().push(line.to_owned()));
    inspector.run().await.unwrap();
    assert_eq!(
        *heard.lock().unwrap(),
        [
            "reading the catalogs",
            "public.t: comparing rows",
            "public.t: looking at k",
            "public.t: comparing all k"
        ]
    );
}
