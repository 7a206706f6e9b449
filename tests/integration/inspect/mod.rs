//! What `inspect` finds out about databases.

mod guesses;
mod verified;

use merganser::config::TableKind;
use merganser::inspect::{DriftKind, Inspector, RelationKind, Report, Rows, TableReport};
use merganser::{Cluster, ErrorKind, Topology};

use crate::support;

fn cluster(urls: &[String]) -> Cluster {
    Cluster::new(Topology::from_urls(urls).unwrap()).unwrap()
}

/// A cluster whose topology has these tables.
fn declared(urls: &[String], tables: &str) -> Cluster {
    let shards = Topology::from_urls(urls).unwrap().to_toml();
    Cluster::new(Topology::from_toml(&format!("{shards}\n{tables}")).unwrap()).unwrap()
}

/// Runs SQL in the database of a URL.
fn execute(url: &str, sql: &str) {
    let database = url.rsplit('/').next().unwrap();
    let server = support::server().unwrap();
    if let Err(error) = server.execute(database, sql) {
        panic!("{error}: {sql}");
    }
}

/// Runs SQL in each database, with `$i` for its number and `$n` for how many there are.
fn execute_all(urls: &[String], sql: &str) {
    for (i, url) in urls.iter().enumerate() {
        let sql = sql.replace("$i", &i.to_string());
        execute(url, &sql.replace("$n", &urls.len().to_string()));
    }
}

#[track_caller]
fn table<'a>(report: &'a Report, name: &str) -> &'a TableReport {
    let found = report.tables().iter().find(|table| table.name == name);
    found.unwrap_or_else(|| panic!("no table {name} in\n{report}"))
}

fn sharded(key: &str, colocation: Option<&str>, shard_index: Option<&str>) -> Option<TableKind> {
    Some(TableKind::Sharded {
        key: key.to_owned(),
        colocation: colocation.map(str::to_owned),
        shard_index: shard_index.map(str::to_owned),
    })
}

fn drift(report: &Report) -> Vec<String> {
    let drift = report.drift().iter();
    drift
        .map(|drift| format!("{:?}: {drift}", drift.kind))
        .collect()
}

#[track_caller]
fn assert_loads_again(report: &Report) {
    let topology = report.topology().unwrap();
    assert_eq!(
        Topology::from_toml(&topology.to_toml()).unwrap(),
        topology,
        "{}",
        topology.to_toml()
    );
}

#[tokio::test]
async fn tpch_is_understood() {
    let Some(data) = support::tpch(3) else { return };
    for verify in [false, true] {
        let inspector = Inspector::new(cluster(&data.shards)).with_verify(verify);
        let report = inspector.run().await.unwrap();
        assert_eq!(drift(&report), [""; 0], "{report}");
        assert_eq!(report.tables().len(), 8);
        for (name, key) in [("orders", "o_orderkey"), ("lineitem", "l_orderkey")] {
            assert_eq!(
                table(&report, name).kind,
                sharded(key, Some("orders"), Some(&format!("{key} % 3"))),
                "{report}"
            );
        }
        let replicated = report.tables().iter();
        let replicated = replicated.filter(|table| table.kind == Some(TableKind::Replicated));
        assert_eq!(replicated.count(), 6, "{report}");
        assert_eq!(table(&report, "nation").rows, [Rows::Exact(25); 3]);
        let text = report.to_string();
        assert!(text.contains("no drift"), "{text}");
        // Tables of this size are always read in full.
        let checked = "none of all 1500 keys is on two shards";
        assert!(table(&report, "orders").why.contains(checked), "{text}");
        assert_loads_again(&report);
        // What was written is confirmed.
        let again = Cluster::new(report.topology().unwrap()).unwrap();
        let again = Inspector::new(again).run().await.unwrap();
        assert_eq!(drift(&again), [""; 0], "{again}");
        assert_eq!(again.topology().unwrap(), report.topology().unwrap());
    }
}

#[tokio::test]
async fn large_tables_are_sampled() {
    let Some(data) = support::tpch(3) else { return };
    let inspector = Inspector::new(cluster(&data.shards)).with_sample_above(20);
    let report = inspector.run().await.unwrap();
    assert_eq!(drift(&report), [""; 0], "{report}");
    assert_eq!(
        table(&report, "lineitem").kind,
        sharded("l_orderkey", Some("orders"), None),
        "{report}"
    );
    // A guess from a sample is told, but no topology has it.
    let topology = report.topology().unwrap();
    for name in ["orders", "lineitem", "nation"] {
        assert!(!table(&report, name).is_checked, "{report}");
        let mut tables = topology.tables().iter();
        assert!(tables.all(|table| table.name() != name), "{topology:?}");
    }
    let text = report.to_toml().unwrap();
    assert_eq!(Topology::from_toml(&text).unwrap(), topology);
    assert!(
        text.contains("# not checked over all rows: rows differ; none of")
            && text.contains("# shard_key = \"l_orderkey\"\n# colocation = \"orders\"\n"),
        "{text}"
    );
    assert_eq!(
        table(&report, "nation").why,
        "all shards hold the same rows, by their number and a sample"
    );
    assert!(matches!(
        table(&report, "orders").rows[0],
        Rows::Estimate(_)
    ));
    // Above the limit of no table: read in full.
    assert_eq!(
        table(&report, "region").why,
        "all shards hold the same rows"
    );
}

#[tokio::test]
async fn odd_names_and_values_pass_through() {
    let Some(urls) = support::shards(3) else {
        return;
    };
    // Keys by hash, with quotes and backslashes; a column named as our own aliases; a reserved word.
    execute_all(
        &urls,
        r#"CREATE SCHEMA "S""x";
           CREATE TABLE "S""x"."T'x" ("user" text PRIMARY KEY, t int, s int, u int, v int, h int, k int, r int);
           INSERT INTO "S""x"."T'x" SELECT e'a\'\\"' || i || e'\u00e9', i FROM generate_series(1, 300) i
               WHERE abs(hashtext('x' || i)::bigint) % $n = $i;
           CREATE TABLE child ("user" varchar(40) NOT NULL, x int);
           INSERT INTO child SELECT "user", j FROM "S""x"."T'x", generate_series(1, 2) j;
           CREATE TABLE "order" ("order" int PRIMARY KEY, x text);
           INSERT INTO "order" SELECT (i * $n + $i) - 100, 'x' FROM generate_series(1, 100) i;"#,
    );
    for verify in [false, true] {
        let inspector = Inspector::new(cluster(&urls)).with_verify(verify);
        let report = inspector
            .with_shard_key("child", "\"user\"")
            .run()
            .await
            .unwrap();
        assert_eq!(drift(&report), [""; 0], "{report}");
        assert_eq!(
            table(&report, "T'x").kind,
            sharded("user", Some("T'x"), None),
            "{report}"
        );
        assert_eq!(
            table(&report, "child").kind,
            sharded("user", Some("T'x"), None),
            "{report}"
        );
        let negative = "(ARRAY[1, 2, 0])[(\"order\" % 3 + 3) % 3 + 1]";
        assert_eq!(
            table(&report, "order").kind,
            sharded("order", None, Some(negative))
        );
        assert_loads_again(&report);
        let topology = report.topology().unwrap();
        let odd = topology.tables().iter().find(|table| table.name() == "T'x");
        assert_eq!(odd.unwrap().schema(), Some("S\"x"));
    }
}

#[tokio::test]
async fn drift_is_found_and_named() {
    let Some(urls) = support::shards(3) else {
        return;
    };
    execute_all(
        &urls,
        "CREATE TYPE mood AS ENUM ('a', 'b'); CREATE TABLE moods (m mood);
         CREATE TABLE nation (id int PRIMARY KEY, name text);
         INSERT INTO nation SELECT i, 'n' || i FROM generate_series(1, 20) i;
         CREATE TABLE columns (a int, b int, c text); CREATE VIEW v AS SELECT a FROM columns;",
    );
    execute(
        &urls[1],
        "UPDATE nation SET name = 'x' WHERE id = 7;
         ALTER TYPE mood ADD VALUE 'c';
         ALTER TABLE columns ALTER b TYPE bigint, ALTER c SET NOT NULL, ALTER c TYPE text COLLATE \"C\";
         CREATE TABLE extra (); CREATE OR REPLACE VIEW v AS SELECT b::int AS a FROM columns",
    );
    execute(
        &urls[2],
        "ALTER TABLE columns DROP a CASCADE; CREATE EXTENSION citext",
    );
    let report = Inspector::new(cluster(&urls)).run().await.unwrap();
    assert_eq!(
        drift(&report),
        [
            "Extension: extension citext differs: missing on s0 and s1; version 1.6 on s2",
            "Type: type public.mood differs: enum a, b on s0 and s2; enum a, b, c on s1",
            "Column: public.columns: column a is missing on s2",
            "Column: public.columns: type of column b differs: integer on s0 and s2; bigint on s1",
            "Column: public.columns: nullability of column c differs: nullable on s0 and s2; not null on s1",
            "Collation: public.columns: collation of column c differs: \"default\" on s0 and s2; \"C\" on s1",
            "MissingTable: public.extra: missing on s0 and s2",
            "MissingTable: public.v: missing on s2",
            "Definition: public.v: query of the view differs:  SELECT columns.a    FROM public.columns; on s0;  \
             SELECT (columns.b)::integer AS a    FROM public.columns; on s1",
            "Rows: public.nation: looks replicated, but rows differ: 20 rows on s0 and s2; 20 rows (version 2) on s1; \
             (id) = (7) other on s0 and s2 than on s1",
        ],
        "{report}"
    );
    assert_eq!(table(&report, "nation").kind, None);
    assert_eq!(table(&report, "extra").kind, None);
    assert_eq!(table(&report, "v").relation, RelationKind::View);
    assert_eq!(table(&report, "columns").kind, None);
    assert_loads_again(&report);
}

#[tokio::test]
async fn declarations_are_checked() {
    let Some(urls) = support::shards(2) else {
        return;
    };
    execute_all(
        &urls,
        "CREATE TABLE copied AS SELECT 1 AS a;
         CREATE TABLE differs AS SELECT $i AS a;
         CREATE TABLE good AS SELECT i * 2 + $i AS k FROM generate_series(1, 100) i;
         CREATE TABLE astray AS SELECT i + $i * 99 AS k FROM generate_series(1, 100) i;
         CREATE TABLE indexed AS SELECT i * 2 + $i AS k FROM generate_series(1, 100) i;
         CREATE TABLE elsewhere AS SELECT i * 2 + 1 - $i AS k FROM generate_series(1, 100) i;
         CREATE TABLE nulls AS SELECT nullif(i * 2 + $i, 4 + $i) AS k FROM generate_series(1, 100) i;
         CREATE TABLE renamed (id int);",
    );
    let tables = r#"
        [[table]]
        name = "copied"
        shard_key = "a"
        [[table]]
        name = "differs"
        replicated = true
        [[table]]
        name = "public.good"
        shard_key = "k"
        colocation = "g"
        shard_index = "k % 2"
        [[table]]
        name = "astray"
        shard_key = "k"
        [[table]]
        name = "indexed"
        shard_key = "k"
        shard_index = "(k + 1) % 2"
        [[table]]
        name = "elsewhere"
        shard_key = "k"
        colocation = "g"
        [[table]]
        name = "nulls"
        shard_key = "k"
        [[table]]
        name = "renamed"
        shard_key = "k"
        [[table]]
        name = "gone"
        replicated = true
    "#;
    for verify in [false, true] {
        let inspector = Inspector::new(declared(&urls, tables)).with_verify(verify);
        let report = inspector.run().await.unwrap();
        let mut found = drift(&report);
        found.sort();
        let text = found.join("\n");
        let expected = [
            "Colocation: public.elsewhere: in colocation group g with public.good, but not on the same shards: key \"",
            "Key: public.astray: 1 of 200 keys k are on two shards: \"100\" on s0 and s1",
            "Key: public.nulls: 1 of 198 keys k are on two shards: NULL on s0 and s1",
            "Key: public.renamed: the shard key k is not a column on all shards",
            "MissingTable: gone: the topology names it, but no shard has it",
            "Rows: public.copied: declared sharded, but all shards hold the same rows: answers would count each of them 2 times",
            "Rows: public.differs: declared replicated, but rows differ: 1 row on s0; 1 row (version 2) on s1; row (0) only on s0, row (1) only on s1",
            "ShardIndex: public.indexed: rows that are not on the shard (k + 1) % 2: 100 rows on s0 (\"",
        ];
        assert_eq!(found.len(), expected.len(), "{text}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.starts_with(expected), "{found}\n{text}");
        }
        assert!(
            table(&report, "good")
                .why
                .ends_with("every row is where shard_index says"),
            "{report}"
        );
        let topology = report.topology().unwrap();
        assert_eq!(topology.tables().len(), 8);
        let good = topology
            .tables()
            .iter()
            .find(|table| table.name() == "good");
        assert_eq!(good.unwrap().schema(), Some("public"));
        assert_loads_again(&report);
    }
}

#[tokio::test]
async fn a_key_that_is_given_is_checked_and_none_is_made_up() {
    let Some(urls) = support::shards(2) else {
        return;
    };
    // Numbered on each shard by itself: the tenant is the key, but nothing says so.
    execute_all(
        &urls,
        "CREATE TABLE visits (id int PRIMARY KEY, tenant int NOT NULL, at timestamptz);
         INSERT INTO visits SELECT i, (i % 5) * 2 + $i, now() FROM generate_series(1, 200) i",
    );
    let report = Inspector::new(cluster(&urls)).run().await.unwrap();
    let visits = table(&report, "visits");
    assert_eq!(visits.kind, None);
    assert!(
        visits.why.contains("200 of 400 keys id are on two shards")
            && visits.why.ends_with("--shard-key public.visits=COLUMN"),
        "{}",
        visits.why
    );
    let given = |column: &'static str| {
        Inspector::new(cluster(&urls))
            .with_verify(true)
            .with_shard_key("visits", column)
            .run()
    };
    let report = given("tenant").await.unwrap();
    assert_eq!(drift(&report), [""; 0]);
    assert_eq!(table(&report, "visits").kind, sharded("tenant", None, None));
    let text = report.to_toml().unwrap();
    assert!(
        text.contains("# not decided: only 10 distinct keys on 2 shards")
            && text.contains("# shard_index = \"tenant % 2\"\n"),
        "{text}"
    );
    let report = given("id").await.unwrap();
    assert_eq!(report.drift().len(), 1, "{report}");
    assert_eq!(report.drift()[0].kind, DriftKind::Key);
    // The wrong key is not written.
    assert!(report.topology().unwrap().tables().is_empty());
    let text = report.to_toml().unwrap();
    assert!(
        text.contains(
            "# not decided: keys id are on two shards\n# [[table]]\n# name = \"visits\"\n"
        ),
        "{text}"
    );
    let error = given("tenants").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert_eq!(error.hint(), Some("did you mean tenant?"));
}

#[tokio::test]
async fn verification_finds_the_one_key_that_a_sample_misses() {
    let Some(urls) = support::shards(2) else {
        return;
    };
    execute_all(
        &urls,
        "CREATE TABLE t (k numeric PRIMARY KEY);
         INSERT INTO t SELECT i + $i * 100000 + 0.50 FROM generate_series(1, 20000) i",
    );
    let sampled = Inspector::new(cluster(&urls))
        .with_sample_above(1000)
        .with_shard_key("t", "k");
    let sampled = sampled.run().await.unwrap();
    assert_eq!(drift(&sampled), [""; 0]);
    // The same number with another scale.
    execute(&urls[1], "INSERT INTO t VALUES (777.5)");
    let verified = Inspector::new(cluster(&urls))
        .with_verify(true)
        .with_shard_key("t", "k");
    assert_eq!(
        drift(&verified.run().await.unwrap()),
        [
            "Key: public.t: 1 of 40001 keys k are on two shards: \"777.5\" on s0 and s1; \
             move the rows of each key to one shard, or declare another key"
        ]
    );
}

#[tokio::test]
async fn what_may_not_be_read_is_reported_and_the_rest_is_read() {
    let Some(urls) = support::shards(2) else {
        return;
    };
    let role = format!("reader_{}", urls[0].rsplit('/').next().unwrap());
    support::server()
        .unwrap()
        .execute("postgres", &format!("CREATE ROLE {role} LOGIN"))
        .unwrap();
    execute_all(
        &urls,
        &format!(
            "CREATE TABLE secret (a int); CREATE TABLE open AS SELECT 1 AS a;
             GRANT SELECT ON open TO {role};
             CREATE MATERIALIZED VIEW empty AS SELECT 1 AS a WITH NO DATA;
             GRANT SELECT ON empty TO {role};"
        ),
    );
    let urls: Vec<String> = urls
        .iter()
        .map(|url| url.replace("postgres@", &format!("{role}@")))
        .collect();
    let report = Inspector::new(cluster(&urls)).run().await.unwrap();
    assert_eq!(
        table(&report, "secret").why,
        "permission denied on s0 and s1: grant SELECT on it and USAGE on its schema"
    );
    let unread = table(&report, "empty");
    assert_eq!(unread.relation, RelationKind::MaterializedView);
    assert!(
        unread.why.contains("could not be read: shard \"s0\"") && unread.why.contains("55000"),
        "{}",
        unread.why
    );
    assert_eq!(unread.rows, [Rows::Unknown; 2]);
    assert_eq!(table(&report, "open").kind, Some(TableKind::Replicated));
}

#[tokio::test]
async fn databases_with_other_encodings_and_column_orders_hold_the_same_rows() {
    let Some(mut urls) = support::shards(2) else {
        return;
    };
    let server = support::server().unwrap();
    let name = format!("{}_latin1", urls[1].rsplit('/').next().unwrap());
    server
        .execute(
            "postgres",
            &format!(
                "CREATE DATABASE {name} TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'"
            ),
        )
        .unwrap();
    urls[1] = server.url(&name);
    execute(&urls[0], "CREATE TABLE t (a text, b int, c int)");
    execute(
        &urls[1],
        "CREATE TABLE t (dropped int, b int, a text, c int); ALTER TABLE t DROP dropped",
    );
    execute_all(
        &urls,
        "INSERT INTO t (a, b) VALUES ('é', 1), (NULL, 2), ('', NULL), ('', NULL)",
    );
    let report = Inspector::new(cluster(&urls)).run().await.unwrap();
    assert_eq!(
        table(&report, "t").kind,
        Some(TableKind::Replicated),
        "{report}"
    );
    let drift = drift(&report).join("\n");
    assert!(
        drift.contains("Server: encoding of the database differs: UTF8 on s0; LATIN1 on s1")
            && drift.contains(
                "Column: public.t: order of columns differs: a, b, c on s0; b, a, c on s1"
            ),
        "{drift}"
    );
}

#[tokio::test]
async fn one_shard_and_equal_tables_are_replicated_and_empty_ones_undecided() {
    let Some(urls) = support::shards(2) else {
        return;
    };
    execute_all(
        &urls,
        "CREATE TABLE e (k int PRIMARY KEY); CREATE TABLE none ();
         CREATE SCHEMA app; CREATE TABLE app.e AS SELECT 1 AS x; INSERT INTO e VALUES (1);
         CREATE TABLE parts (k int) PARTITION BY RANGE (k);
         CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (10);
         INSERT INTO parts VALUES (1);",
    );
    let report = Inspector::new(cluster(&urls)).run().await.unwrap();
    assert_eq!(drift(&report), [""; 0]);
    let names: Vec<&str> = report.tables().iter().map(|table| &*table.name).collect();
    assert_eq!(names, ["e", "e", "none", "parts"]);
    assert!(table(&report, "none").why.starts_with("no shard has a row"));
    assert_eq!(
        table(&report, "parts").relation,
        RelationKind::PartitionedTable
    );
    assert_eq!(table(&report, "none").kind, None);
    let text = report.to_toml().unwrap();
    assert!(
        text.contains(
            "# [[table]]\n# name = \"none\"\n# shard_key = \"\"  # or: replicated = true\n"
        ),
        "{text}"
    );
    let topology = report.topology().unwrap();
    let schemas: Vec<_> = topology
        .tables()
        .iter()
        .map(|table| table.schema())
        .collect();
    assert_eq!(schemas, [Some("app"), Some("public"), None]);
    assert_loads_again(&report);

    let one = Inspector::new(cluster(&urls[..1])).with_shard_key("parts", "k");
    let one = one.run().await.unwrap();
    assert_eq!(table(&one, "none").why, "there is only one shard");
    assert_eq!(table(&one, "parts").kind, sharded("k", None, None));
}

#[tokio::test]
async fn a_shard_that_is_down_is_named() {
    let Some(mut urls) = support::shards(1) else {
        return;
    };
    urls.push("postgresql://postgres@127.0.0.1:1/none?sslmode=disable".to_owned());
    let error = Inspector::new(cluster(&urls)).run().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connect);
    assert_eq!(error.shard(), Some("s1"));
}
