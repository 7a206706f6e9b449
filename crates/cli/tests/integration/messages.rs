//! What a newcomer gets wrong: each message says what, where, and what to do instead.

use std::fs;

use super::{Done, Run, Scene, assert_contains, merganser};

/// Two shards with `orders`, `"Product"` and a table of another schema, and a topology file.
fn scene() -> Option<Scene> {
    let scene = Scene::new(2)?;
    scene.execute_all(
        "create table orders (id int8, \"Price\" numeric(10, 2));
         create schema sales;
         create table sales.\"Product\" (id int8);
         create schema archive;
         create table archive.invoice (id int8)",
    );
    let mut topology = String::new();
    for (number, url) in scene.urls.iter().enumerate() {
        topology.push_str(&format!(
            "[[shard]]\nname = \"s{number}\"\nurl = \"{url}\"\n"
        ));
    }
    topology.push_str(
        "[[table]]\nname = \"orders\"\nshard_key = \"id\"\n\
         [[table]]\nname = \"sales.Product\"\nreplicated = true\n",
    );
    fs::write(scene.path("merganser.toml"), topology).unwrap();
    Some(scene)
}

fn query(scene: &Scene, sql: &str) -> Done {
    merganser(scene.folder.path()).args(["query", sql]).run()
}

#[cfg(feature = "datafusion")]
#[test]
fn a_name_that_is_not_found_is_guessed() {
    let Some(scene) = scene() else { return };
    for (sql, place, hint) in [
        (
            "select *\nfrom Product",
            "line 2, column 6",
            "did you mean sales.\"Product\"? a name with capitals needs quotes",
        ),
        ("select * from ordesr", "column 15", "did you mean orders?"),
        (
            "select * from invoice",
            "column 15",
            "did you mean archive.invoice? the schema archive is not in the search_path",
        ),
        (
            "select Price from orders",
            "column 8",
            "a name with capitals needs quotes",
        ),
        ("select idd from orders", "column 8", "orders.id"),
        (
            "select id from orders where id::text = \"F\"",
            "column 40",
            "text stands in single quotes",
        ),
    ] {
        let done = query(&scene, sql);
        // Nothing was run: the SQL text is wrong.
        assert_eq!(done.code, 2, "{sql}: {}", done.stderr);
        assert_contains(&done.stderr, place);
        assert_contains(&done.stderr, hint);
        assert_contains(&done.stderr, "^");
    }
}

#[test]
fn in_a_fan_out_capitals_are_explained_too() {
    let Some(scene) = scene() else { return };
    let told = scene.query(&["select id from sales.Product"]).run();
    assert_eq!(told.code, 2, "{}", told.stderr);
    assert_contains(
        &told.stderr,
        "a name with capitals needs quotes: \"Product\"",
    );
    let told = scene.query(&["selec 1"]).run();
    assert_eq!(told.code, 2, "{}", told.stderr);
    assert_contains(&told.stderr, "did you mean SELECT?");
    let literal = scene.query(&["select 'x'::int"]).run();
    assert_eq!(literal.code, 2, "{}", literal.stderr);
    // What arises while rows are read is no fault of the text.
    let division = scene
        .query(&["select 1 / (id - id) from sales.\"Product\", (values (1)) v(id)"])
        .run();
    assert_ne!(division.code, 0, "{}", division.stderr);
}

#[test]
fn statements_that_are_no_queries_have_their_ways_out() {
    let folder = tempfile::tempdir().unwrap();
    let shard = [
        "--fan-out",
        "--shard",
        "postgresql://nobody@127.0.0.1:1/none",
    ];
    for (sql, way_out) in [
        ("\\d orders", "merganser inspect"),
        ("EXPLAIN SELECT 1", "merganser explain"),
        ("SHOW work_mem", "current_setting"),
        ("SET work_mem = '1GB'; SELECT 1", "[session.settings]"),
        ("BEGIN; SELECT 1; COMMIT", "read-only transaction"),
        ("COPY orders TO STDOUT", "-o FILE"),
        ("INSERT INTO orders VALUES (1)", "psql"),
        ("CREATE TABLE t ()", "psql on every shard"),
        ("CALL p()", "procedure"),
        ("PREPARE q AS SELECT 1", "--param"),
        ("VACUUM", "psql on every shard"),
        ("SELECT 1; SELECT 2", "one SELECT"),
    ] {
        let done = merganser(folder.path())
            .arg("query")
            .args(shard)
            .arg(sql)
            .run();
        assert!([2, 3].contains(&done.code), "{sql}: {}", done.stderr);
        assert_contains(&done.stderr, way_out);
    }
    for (sql, place) in [
        ("select 'it''s", "opened in line 1, column 8"),
        ("select 1\n  /* to do", "opened in line 2, column 3"),
        ("select $a$ x $b$", "opened in line 1, column 8"),
        ("select 1,\n\"Pro", "opened in line 2, column 1"),
    ] {
        let done = merganser(folder.path())
            .arg("query")
            .args(shard)
            .arg(sql)
            .run();
        assert_eq!(done.code, 2, "{sql}: {}", done.stderr);
        assert_contains(&done.stderr, place);
    }
}

#[test]
fn the_statement_comes_as_one_would_give_it() {
    let Some(scene) = scene() else { return };
    let answer = "n\n7\n7\n";
    for sql in [
        "-- a comment\nselect 7 as n",
        "--x\nselect 7 as n",
        "/* x */ select 7 as n;",
    ] {
        assert_eq!(scene.output_of(&[sql]), answer, "{sql}");
        assert_eq!(scene.output_of(&["--", sql]), answer, "{sql}");
    }
    let piped = scene.query(&[]).run_with_input("-- piped\nselect 7 as n\n");
    assert_eq!(
        (piped.code, &*piped.stdout),
        (0, answer),
        "{}",
        piped.stderr
    );
    // Without a terminal, and with nothing in the pipe.
    let nothing = scene.query(&[]).run();
    assert_eq!(nothing.code, 2);
    assert_contains(&nothing.stderr, "no SQL text came from standard input");
    let warned = scene
        .query(&["-o", "n.csv", "--format", "json", "select 7 as n"])
        .run();
    assert_eq!(warned.code, 0);
    assert_contains(&warned.stderr, "n.csv is written as json, not csv");
    // A flag that is misspelt is still one.
    let flag = scene.query(&["--ordr", "shard", "select 1"]).run();
    assert_eq!(flag.code, 2);
    assert_contains(&flag.stderr, "--ordr");
}

#[test]
fn bytes_that_are_no_utf8_are_named() {
    let Some(scene) = scene() else { return };
    fs::write(scene.path("q.sql"), b"select 1\nas \"caf\xe9\"").unwrap();
    let done = scene.query(&["-f", "q.sql"]).run();
    assert_eq!(done.code, 2);
    assert_contains(&done.stderr, "q.sql is not UTF-8: line 2, byte 8 of it");
    fs::write(scene.path("t.toml"), b"# shards of K\xf6ln\n").unwrap();
    let done = merganser(scene.folder.path())
        .args(["query", "-c", "t.toml", "select 1"])
        .run();
    assert_eq!(done.code, 2);
    assert_contains(&done.stderr, "t.toml:1: not UTF-8");
    assert_contains(&done.stderr, "byte 14");
}

#[test]
fn a_missing_right_is_told_as_a_grant() {
    let Some(scene) = scene() else { return };
    let role = format!("reader_{}", scene.database(0));
    scene.execute(0, &format!("create role {role} login"));
    let url = scene.urls[0].replace("://postgres@", &format!("://{role}@"));
    assert!(url.contains(&role), "{url}");
    let done = merganser(scene.folder.path())
        .args([
            "query",
            "--fan-out",
            "--shard",
            &url,
            "select id from orders",
        ])
        .run();
    assert_eq!(done.code, 1, "{}", done.stderr);
    assert_contains(&done.stderr, "shard \"s0\"");
    assert_contains(&done.stderr, &format!("GRANT SELECT ON orders TO {role}"));
}

#[test]
fn a_password_file_that_others_can_read_is_not_ignored_in_silence() {
    use std::os::unix::fs::PermissionsExt;

    let Some(scene) = Scene::new(2) else { return };
    let file = scene.path("pgpass");
    fs::write(&file, "*:*:*:*:canary").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let done = scene.query(&["select 1"]).env("PGPASSFILE", &file).run();
    assert_eq!(done.code, 0, "{}", done.stderr);
    let warnings = done.stderr.matches("has group or world access").count();
    // Once, not once for each shard.
    assert_eq!(warnings, 1, "{}", done.stderr);
    assert!(!done.stderr.contains("canary"));
}
