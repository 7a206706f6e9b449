//! Planned queries, `merganser explain`, `--analyze` and `--verify`.

use std::fs;

use super::{Done, Run, Scene, assert_contains, merganser};
use crate::support;

/// `t(id, kind, x)`, of which even numbers are on shard 0 and odd ones on shard 1; `kinds`, which
/// both have; and a topology file that says so.
pub(super) fn scene() -> Option<Scene> {
    let scene = Scene::new(2)?;
    for shard in 0..2 {
        scene.execute(
            shard,
            &format!("{TABLES} DELETE FROM t WHERE id % 2 <> {shard};"),
        );
    }
    write_topology(&scene, "");
    Some(scene)
}

const TABLES: &str = "CREATE TABLE t AS SELECT id, 'k' || id % 3 AS kind, id / 10.0::float8 AS x
                      FROM generate_series(1, 10) id;
                      CREATE TABLE kinds AS SELECT 'k' || n AS kind FROM generate_series(0, 3) n;";

fn write_topology(scene: &Scene, more: &str) {
    let mut topology = String::new();
    for (number, url) in scene.urls.iter().enumerate() {
        topology.push_str(&format!(
            "[[shard]]\nname = \"s{number}\"\nurl = \"{url}\"\n"
        ));
    }
    topology.push_str(
        "[[table]]\nname = \"t\"\nshard_key = \"id\"\nshard_index = \"id % 2\"\n\
         [[table]]\nname = \"kinds\"\nreplicated = true\n",
    );
    fs::write(scene.path("merganser.toml"), topology + more).unwrap();
}

fn run(scene: &Scene, arguments: &[&str]) -> Done {
    merganser(scene.folder.path()).args(arguments).run()
}

#[track_caller]
fn output_of(scene: &Scene, arguments: &[&str]) -> String {
    let done = run(scene, arguments);
    assert_eq!(done.code, 0, "{arguments:?}: {}", done.stderr);
    done.stdout
}

const GROUPS: &str = "SELECT kind, count(*) AS n FROM t GROUP BY kind ORDER BY kind";

#[test]
fn a_query_is_answered_as_by_one_database() {
    let Some(scene) = scene() else { return };
    let answer = "kind,n\nk0,3\nk1,4\nk2,3\n";
    assert_eq!(output_of(&scene, &["query", GROUPS]), answer);
    let gathered = ["query", "-c", "merganser.toml", "--merge", "gather", GROUPS];
    assert_eq!(output_of(&scene, &gathered), answer);
    let parameters = [
        "query",
        "--param",
        "7",
        "--param",
        "k1",
        "--format",
        "ndjson",
        "SELECT id FROM t WHERE id <= $1 AND kind = $2 ORDER BY id DESC LIMIT 2",
    ];
    assert_eq!(output_of(&scene, &parameters), "{\"id\":7}\n{\"id\":4}\n");
    // A replicated table is there once.
    assert_eq!(
        output_of(&scene, &["query", "SELECT count(*) FROM kinds"]),
        "count\n4\n"
    );
    let done = run(&scene, &["query", "-o", "rows.parquet", "TABLE t"]);
    // A form of the statement that is not supported is refused, and leaves no file.
    if done.code != 0 {
        assert_eq!(
            (done.code, scene.files()),
            (3, vec!["merganser.toml".to_owned()])
        );
    }
    let done = run(&scene, &["query", "-o", "rows.parquet", "SELECT * FROM t"]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert_contains(&done.stderr, "10 rows, ");
    assert_eq!(scene.files(), ["merganser.toml", "rows.parquet"]);
}

#[test]
fn without_tables_it_says_what_a_planned_query_needs() {
    let Some(scene) = scene() else { return };
    for command in ["query", "explain"] {
        let done = run(&scene, &[command, "--shard", &scene.urls[0], "SELECT 1"]);
        assert_eq!((done.code, &*done.stdout), (2, ""));
        assert_contains(&done.stderr, "a topology file");
        assert_contains(&done.stderr, "merganser inspect --shard");
        assert_contains(&done.stderr, "--fan-out");
    }
}

#[test]
fn a_table_that_the_topology_does_not_name_is_refused() {
    let Some(scene) = scene() else { return };
    scene.execute_all("CREATE TABLE other (a int)");
    let done = run(&scene, &["query", "-o", "a.csv", "SELECT * FROM other"]);
    assert_eq!((done.code, scene.files().len()), (3, 1), "{}", done.stderr);
    assert_contains(&done.stderr, "other");
    assert_contains(&done.stderr, "hint: add it to the topology");
}

#[test]
fn one_shard_answers_of_itself_where_that_is_asked_for() {
    let Some(scene) = scene() else { return };
    let sql = "SELECT relname AS name FROM pg_class WHERE oid = 't'::regclass";
    let done = run(&scene, &["query", sql]);
    assert_eq!(done.code, 3, "{}", done.stderr);
    assert_contains(&done.stderr, "--system-catalogs");
    let asked = ["query", "--system-catalogs", sql];
    assert_eq!(output_of(&scene, &asked), "name\nt\n");
    let explained = output_of(
        &scene,
        &["explain", "--system-catalogs", "SELECT version()"],
    );
    assert_contains(&explained, "s0 answers, of itself");
    let mixed = "SELECT count(*) FROM t, pg_class";
    let done = run(&scene, &["query", "--system-catalogs", mixed]);
    assert_eq!(done.code, 3, "{}", done.stderr);
    assert_contains(&done.stderr, "pg_class");
}

#[test]
fn explain_shows_shards_steps_and_reasons() {
    let Some(scene) = scene() else { return };
    let text = output_of(&scene, &["explain", GROUPS]);
    for part in [
        "EXACT\nCombine: ",
        "  because: ",
        "\nStep 1, on all 2 shards: s0, s1\n",
        "FROM t",
        "  the rows are the relation m1(",
        "\nStep 2, the finish, ",
        "= the rows of step 1\n",
        "  the rows are the answer\n",
        "1,000,000 rows and 256 MiB",
    ] {
        assert_contains(&text, part);
    }
    // What DataFusion makes of its part.
    let text = output_of(&scene, &["explain", "SELECT count(*) FROM t"]);
    for part in [
        "  merge: DataFusion, over shards(ma1)\n",
        "  which it plans as\n",
        "Aggregate: groupBy=[[]], aggr=[[sum(shards.ma1)",
        "TableScan: shards",
    ] {
        assert_contains(&text, part);
    }
    assert!(!text.contains("exact because"), "{text}");
    // What it rests on, with figures too.
    for arguments in [
        &["explain", "--verbose"][..],
        &["explain", "--verbose", "--analyze"],
    ] {
        let text = output_of(&scene, &[arguments, &[GROUPS]].concat());
        for part in [
            "  exact because\n    each row of t is on one shard\n",
            "\nArms, from the cheapest on\n",
            "    combine: taken\n",
        ] {
            assert_contains(&text, part);
        }
    }
    // Bounds that are given are shown.
    let bounds = [
        "explain",
        "--finish-rows",
        "7",
        "--finish-bytes",
        "1KiB",
        GROUPS,
    ];
    assert_contains(&output_of(&scene, &bounds), "7 rows and 1 KiB of SQL text");
    let pinned = ["explain", "--param", "4", "SELECT x FROM t WHERE id = $1"];
    let text = output_of(&scene, &pinned);
    assert_contains(&text, "\nSingle: ");
    assert_contains(&text, "on 1 of 2 shards: s0; the key is pinned");
    let file = scene.path("q.sql");
    fs::write(&file, "SELECT avg(x) FROM t").unwrap();
    let text = output_of(&scene, &["explain", "-f", "q.sql"]);
    assert_contains(&text, "EXACT up to float summation order\n");
    assert!(!text.contains("postgresql://"), "{text}");
}

#[test]
fn explain_gives_json_for_programs() {
    let Some(scene) = scene() else { return };
    let read = |arguments: &[&str]| -> serde_json::Value {
        serde_json::from_str(&output_of(&scene, arguments)).unwrap()
    };
    let plan = read(&["explain", "--format", "json", GROUPS]);
    assert_eq!(plan["exactness"], "exact");
    assert_eq!(plan["arm"], "combine");
    assert_eq!(plan["columns"][1]["name"], "n");
    assert_eq!(plan["shards"], serde_json::json!(["s0", "s1"]));
    assert_eq!(plan["steps"][0]["place"]["shards"][1], "s1");
    assert!(plan["steps"][0].get("analysis").is_none());
    let plan = read(&["explain", "--format", "json", "SELECT count(*) FROM t"]);
    assert_eq!(plan["steps"][0]["merge"]["kind"], "aggregate");
    assert_contains(
        plan["steps"][0]["merge"]["plan"].as_str().unwrap(),
        "TableScan: shards",
    );
    let plan = read(&["explain", "--format", "json", "--analyze", GROUPS]);
    let last = plan["steps"].as_array().unwrap().last().unwrap();
    assert_eq!(last["analysis"]["rows"], 3);
    assert_eq!(plan["steps"][0]["analysis"]["shards"][0]["shard"], "s0");
    assert!(
        plan["steps"][0]["analysis"]["handed_bytes"]
            .as_u64()
            .unwrap()
            > 0
    );
}

#[test]
fn a_refusal_is_an_answer_of_explain() {
    let Some(scene) = scene() else { return };
    let sql = "SELECT ctid FROM t";
    let done = run(&scene, &["explain", sql]);
    assert_eq!((done.code, &*done.stderr), (3, ""));
    assert!(done.stdout.starts_with("REFUSED: "), "{}", done.stdout);
    assert_contains(&done.stdout, "\n  hint: ");
    let done = run(&scene, &["explain", "--format", "json", sql]);
    assert_eq!(done.code, 3);
    let object: serde_json::Value = serde_json::from_str(&done.stdout).unwrap();
    assert_contains(object["refused"].as_str().unwrap(), "ctid");
    assert!(object["hint"].is_string());
    let done = run(&scene, &["query", sql]);
    assert_eq!((done.code, &*done.stdout), (3, ""));
    assert_contains(&done.stderr, "refused: ");
    // A mistake is no refusal.
    let done = run(&scene, &["explain", "SELECT nothing FROM t"]);
    assert_eq!((done.code, &*done.stdout), (2, ""));
    assert_contains(&done.stderr, "nothing");
}

#[test]
fn a_finish_that_is_off_is_a_reason_to_refuse() {
    let Some(scene) = scene() else { return };
    write_topology(&scene, "[finish]\nmode = \"off\"\n");
    let done = run(&scene, &["explain", "--merge", "gather", GROUPS]);
    assert_eq!(done.code, 3, "{}", done.stdout);
    assert_contains(&done.stdout, "[finish]");
}

#[test]
fn analyze_shows_what_each_step_moved() {
    let Some(scene) = scene() else { return };
    let text = output_of(
        &scene,
        &["explain", "--analyze", "--merge", "gather", GROUPS],
    );
    for part in [
        "\n  s0: 5 rows, ",
        "\n  s1: 5 rows, ",
        "\n  in all: 10 rows, ",
        " of SQL text, ",
        "\n  in all: 3 rows, ",
        "\nPlanned in ",
    ] {
        assert_contains(&text, part);
    }
    let done = run(&scene, &["query", "--analyze", GROUPS]);
    assert_eq!(done.stdout, "kind,n\nk0,3\nk1,4\nk2,3\n");
    assert_contains(&done.stderr, "\n  in all: 3 rows, ");
}

#[test]
fn too_many_rows_for_the_finish_are_refused() {
    let Some(scene) = scene() else { return };
    for flags in [["--finish-rows", "9"], ["--finish-bytes", "10"]] {
        let arguments = [&["query", "--merge", "gather"], &flags[..], &[GROUPS]].concat();
        let done = run(&scene, &arguments);
        assert_eq!((done.code, &*done.stdout), (3, ""), "{}", done.stderr);
        assert_contains(&done.stderr, flags[0]);
    }
    let enough = ["query", "--merge", "gather", "--finish-rows", "10", GROUPS];
    output_of(&scene, &enough);
}

#[test]
fn an_answer_is_verified_against_one_database() {
    let Some(scene) = scene() else { return };
    let all = support::database().unwrap();
    support::execute(&all, TABLES);
    for (sql, verdict) in [
        (GROUPS, "verified: 3 rows equal, in order\n"),
        ("SELECT id, x FROM t", "verified: 10 rows equal\n"),
        ("SELECT id FROM t ORDER BY kind", "verified: 10 rows equal"),
        ("SELECT sum(x) FROM t", "verified: 1 row equal"),
        ("SELECT id FROM t WHERE false", "verified: 0 rows equal\n"),
    ] {
        let done = run(&scene, &["query", "--verify", &all, sql]);
        assert_eq!(done.code, 0, "{sql}: {}", done.stderr);
        assert!(done.stderr.contains(verdict), "{sql}: {}", done.stderr);
    }

    support::execute(
        &all,
        "UPDATE t SET x = 0 WHERE id = 4; INSERT INTO t VALUES (11, NULL, 1)",
    );
    let into_file = [
        "query",
        "--verify",
        &all,
        "-o",
        "t.csv",
        "SELECT id, kind, x FROM t",
    ];
    let done = run(&scene, &into_file);
    assert_eq!(done.code, 1, "{}", done.stderr);
    for part in [
        "2 missing, 1 too many",
        "missing: (\"4\", \"k1\", \"0\")",
        "missing: (\"11\", NULL, \"1\")",
        "too many: (\"4\", \"k1\", \"0.4\")",
        "hint: ",
    ] {
        assert_contains(&done.stderr, part);
    }
    assert_eq!(scene.files(), ["merganser.toml"]);

    support::execute(&all, "ALTER TABLE t ALTER id TYPE int8");
    let done = run(&scene, &["query", "--verify", &all, "SELECT id FROM t"]);
    assert_eq!((done.code, &*done.stdout), (1, ""));
    assert_contains(&done.stderr, "column 1 is ");
    let closed = "postgresql://u:canary@127.0.0.1:1/d";
    let done = run(&scene, &["query", "--verify", closed, "SELECT id FROM t"]);
    assert_eq!((done.code, &*done.stdout), (4, ""));
    assert_contains(&done.stderr, "\"verify\"");
    assert!(!done.stderr.contains("canary"), "{}", done.stderr);
}

#[test]
fn flags_of_planned_queries_are_checked() {
    let Some(scene) = scene() else { return };
    for (arguments, part) in [
        (
            &["query", "--merge", "union", "SELECT 1"][..],
            "possible values",
        ),
        (
            &["query", "--finish-rows", "many", "SELECT 1"],
            "--finish-rows",
        ),
        (
            &["query", "--fan-out", "--merge", "gather", "SELECT 1"],
            "cannot be used with",
        ),
        (
            &[
                "query",
                "--fan-out",
                "--verify",
                "postgresql://u:canary@h/d",
                "q",
            ],
            "cannot be used",
        ),
        (&["explain"], "no SQL text came from standard input"),
        (
            &["explain", "--format", "yaml", "SELECT 1"],
            "possible values",
        ),
        (
            &["explain", "--param", "1", "SELECT id FROM t"],
            "parameters",
        ),
        (&["explain", "-c", "none.toml", "SELECT 1"], "none.toml"),
    ] {
        let done = run(&scene, arguments);
        assert_eq!(done.code, 2, "{arguments:?}: {}", done.stderr);
        assert_eq!(done.stdout, "");
        assert_contains(&done.stderr, part);
        assert!(!done.stderr.contains("canary"), "{}", done.stderr);
    }
}

#[test]
fn a_folder_has_a_file_for_each_shard_or_one_of_merged_rows() {
    let Some(scene) = scene() else { return };
    let names = |folder: &str| super::names_in(&scene.path(folder));
    for (folder, sql, files) in [
        ("all", "SELECT id FROM t", &["s0.csv", "s1.csv"][..]),
        ("one", "SELECT id FROM t WHERE id = 3", &["s1.csv"]),
        ("limit", "SELECT id FROM t LIMIT 3", &["rows.csv"]),
        ("order", "SELECT id FROM t ORDER BY id", &["rows.csv"]),
        ("count", "SELECT count(*) FROM t", &["rows.csv"]),
    ] {
        let output = format!("{folder}/");
        output_of(&scene, &["query", "-o", &output, "--format", "csv", sql]);
        assert_eq!(
            names(folder),
            [&["_manifest.json"], files].concat(),
            "{sql}"
        );
    }
    let text = fs::read_to_string(scene.path("order/rows.csv")).unwrap();
    assert_eq!(text.lines().nth(10), Some("10"));
    // Complete, but its clock has gone on.
    let clock = ["query", "-o", "clock/", "SELECT id, now() AS at FROM t"];
    output_of(&scene, &clock);
    let done = run(&scene, &[&clock[..], &["--resume"]].concat());
    assert_eq!(done.code, 2, "{}", done.stderr);
    assert_contains(&done.stderr, "something else");
}
