//! What a query that succeeds writes.

use std::fs::{self, File};
use std::io::Read;

use merganser::arrow::array::{Array, AsArray, RecordBatch};
use merganser::arrow::datatypes::Int32Type;
use merganser::arrow::ipc::reader::StreamReader;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::{Run, Scene, assert_contains, merganser};
use crate::support;

/// Two shards with a table of three rows.
fn scene() -> Option<Scene> {
    let scene = Scene::new(2)?;
    scene.execute_all("CREATE TABLE t (id int, name text)");
    scene.execute(0, "INSERT INTO t VALUES (1, 'Grüße'), (2, NULL)");
    scene.execute(1, "INSERT INTO t VALUES (3, '')");
    Some(scene)
}

const ALL: &str = "SELECT id, name FROM t ORDER BY id";

#[test]
fn csv_shows_what_psql_shows_in_the_order_of_the_shards() {
    let Some(scene) = scene() else { return };
    assert_eq!(scene.output_of(&[ALL]), "id,name\n1,Grüße\n2,\n3,\"\"\n");
    // The scale of a numeric, what Arrow has no place for, and columns of one name.
    let sql = "SELECT 1.50::numeric, 'NaN'::numeric, date 'infinity' AS d, true AS d LIMIT 1";
    let row = "1.50,NaN,infinity,t\n";
    assert_eq!(
        scene.output_of(&["--format", "csv", sql]),
        format!("numeric,numeric,d,d\n{row}{row}")
    );
}

#[test]
fn formulas_are_escaped_in_csv_where_that_is_asked_for() {
    let Some(scene) = scene() else { return };
    let sql = "SELECT '=1+1' AS a, -5 AS b, '+x' AS \"@c\" LIMIT 1";
    let kept = "=1+1,-5,+x\n".repeat(2);
    assert_eq!(scene.output_of(&[sql]), format!("a,b,@c\n{kept}"));
    let escaped = "\"'=1+1\",-5,\"'+x\"\n".repeat(2);
    assert_eq!(
        scene.output_of(&["--csv-escape-formulas", sql]),
        format!("a,b,\"'@c\"\n{escaped}")
    );
    scene.output_of(&["--csv-escape-formulas", "-o", "a.csv", sql]);
    let file = std::fs::read_to_string(scene.path("a.csv")).unwrap();
    assert_eq!(file, format!("a,b,\"'@c\"\n{escaped}"));
    std::fs::remove_file(scene.path("a.csv")).unwrap();
    let error = scene.failure_of(2, &["--csv-escape-formulas", "-o", "a.parquet", sql]);
    assert_contains(&error, "formulas are escaped in CSV");
}

#[test]
fn a_table_is_aligned_and_counted() {
    let Some(scene) = scene() else { return };
    assert_eq!(
        scene.output_of(&["--format", "table", ALL]),
        " id | name  \n----+-------\n  1 | Grüße\n  2 | NULL\n  3 | \n(3 rows)\n"
    );
}

#[test]
fn json_is_one_array_and_ndjson_one_object_per_line() {
    let Some(scene) = scene() else { return };
    let rows = [
        serde_json::json!({"id": 1, "name": "Grüße"}),
        serde_json::json!({"id": 2, "name": null}),
        serde_json::json!({"id": 3, "name": ""}),
    ];
    let json = scene.output_of(&["--format", "json", ALL]);
    let read: Vec<serde_json::Value> = serde_json::from_str(&json).unwrap();
    assert_eq!(read, rows);
    let lines = scene.output_of(&["--format", "ndjson", ALL]);
    let read = lines
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    assert_eq!(read.collect::<Vec<_>>(), rows);
}

#[test]
fn a_parquet_file_is_named_with_its_size_and_can_be_read() {
    let Some(scene) = scene() else { return };
    for (arguments, summary) in [
        (&[][..], "3 rows, "),
        (
            &["--compression", "snappy", "--row-group-rows", "1"],
            "3 rows, ",
        ),
        (&["--quiet"], ""),
    ] {
        let done = scene
            .query(&[&["-o", "t.parquet", ALL], arguments].concat())
            .run();
        assert_eq!(
            (done.code, done.stdout.as_str()),
            (0, ""),
            "{}",
            done.stderr
        );
        assert!(done.stderr.starts_with(summary), "{}", done.stderr);
        assert_eq!(
            done.stderr.ends_with(" s -> t.parquet\n"),
            !summary.is_empty()
        );
        assert_eq!(
            done.stderr.lines().count(),
            usize::from(!summary.is_empty())
        );
        let file = File::open(scene.path("t.parquet")).unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(file)
            .unwrap()
            .build()
            .unwrap();
        check_rows(&reader.map(Result::unwrap).collect::<Vec<_>>());
        assert_eq!(scene.files(), ["t.parquet"]);
        fs::remove_file(scene.path("t.parquet")).unwrap();
    }
}

#[test]
fn an_arrow_stream_goes_into_a_pipe() {
    let Some(scene) = scene() else { return };
    let output = scene
        .query(&["--format", "arrow-stream", ALL])
        .output()
        .unwrap();
    assert!(output.status.success());
    let reader = StreamReader::try_new(output.stdout.as_slice(), None).unwrap();
    check_rows(&reader.map(Result::unwrap).collect::<Vec<_>>());
}

fn check_rows(batches: &[RecordBatch]) {
    let ids = batches
        .iter()
        .flat_map(|batch| batch.column(0).as_primitive::<Int32Type>().values());
    assert_eq!(ids.copied().collect::<Vec<_>>(), [1, 2, 3]);
    let nulls = batches.iter().map(|batch| batch.column(1).null_count());
    assert_eq!(nulls.sum::<usize>(), 1);
}

#[test]
fn format_none_only_counts() {
    let Some(scene) = scene() else { return };
    let done = scene.query(&["--format", "none", ALL]).run();
    assert_eq!((done.code, done.stdout.as_str()), (0, ""));
    assert!(done.stderr.starts_with("3 rows in "), "{}", done.stderr);
}

#[test]
fn the_flag_wins_over_the_extension_and_a_dash_is_standard_output() {
    let Some(scene) = scene() else { return };
    scene.output_of(&["-o", "t.parquet", "--format", "csv", "--quiet", ALL]);
    let text = fs::read_to_string(scene.path("t.parquet")).unwrap();
    assert_eq!(text, "id,name\n1,Grüße\n2,\n3,\"\"\n");
    assert_eq!(scene.output_of(&["-o", "-", ALL]), text);
    assert_eq!(
        scene.output_of(&["-o", "/dev/stdout", "--format", "csv", ALL]),
        text
    );
}

#[test]
fn no_rows_are_an_answer_too() {
    let Some(scene) = scene() else { return };
    assert_eq!(
        scene.output_of(&["SELECT id, name FROM t WHERE false"]),
        "id,name\n"
    );
    let json = scene.output_of(&["--format", "json", "SELECT id FROM t WHERE false"]);
    assert_eq!(json.split_whitespace().collect::<String>(), "[]");
}

#[cfg(feature = "datafusion")]
#[test]
fn partial_results_are_merged() {
    let Some(scene) = scene() else { return };
    let merged = scene.output_of(&[
        "--merge-sql",
        "SELECT sum(n) AS n, max(last) AS last FROM shards",
        "SELECT count(*) AS n, max(id) AS last FROM t",
    ]);
    assert_eq!(merged, "n,last\n3,3\n");
}

#[test]
fn parameters_are_taken_in_their_order() {
    let Some(scene) = scene() else { return };
    let sql = "SELECT id, $2::text AS b, $3::date AS c FROM t WHERE id >= $1 ORDER BY id";
    let arguments = ["--param", "2", "--param-null", "--param", "2024-12-31", sql];
    assert_eq!(
        scene.output_of(&arguments),
        "id,b,c\n2,,2024-12-31\n3,,2024-12-31\n"
    );
    let negative = scene.output_of(&["--param", "-1", "SELECT count(*) FROM t WHERE id > $1"]);
    assert_eq!(negative, "count\n2\n1\n");
}

#[test]
fn the_statement_may_come_from_a_file_or_standard_input() {
    let Some(scene) = scene() else { return };
    let expected = "id\n1\n2\n3\n";
    let sql = "\u{feff}-- a comment\nSELECT id FROM t\nORDER BY id;\n";
    fs::write(scene.path("q.sql"), sql).unwrap();
    assert_eq!(scene.output_of(&["-f", "q.sql"]), expected);
    for from in [&["-f", "-"][..], &["-"], &[]] {
        let done = scene.query(from).run_with_input(sql);
        assert_eq!(
            (done.code, done.stdout.as_str()),
            (0, expected),
            "{from:?}: {}",
            done.stderr
        );
    }
}

#[test]
fn a_topology_file_in_the_folder_is_found() {
    let Some(scene) = scene() else { return };
    let shards = scene.urls.iter().enumerate();
    let text: String = shards
        .map(|(number, url)| format!("[[shard]]\nname = \"n{number}\"\nurl = \"{url}\"\n"))
        .collect();
    fs::write(scene.path("merganser.toml"), text).unwrap();
    let query = |arguments: &[&str]| {
        let mut command = merganser(scene.folder.path());
        command
            .args([
                "query",
                "--fan-out",
                "SELECT count(*) FROM t",
                "--order",
                "shard",
            ])
            .args(arguments)
            .run()
    };
    let done = query(&[]);
    assert_eq!(
        (done.code, done.stdout.as_str()),
        (0, "count\n2\n1\n"),
        "{}",
        done.stderr
    );
    fs::rename(scene.path("merganser.toml"), scene.path("other.toml")).unwrap();
    assert_eq!(query(&["-c", "other.toml"]).stdout, "count\n2\n1\n");
    assert_eq!(query(&[]).code, 2);
}

#[test]
fn as_they_come_all_rows_are_there() {
    let Some(data) = support::tpch(3) else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut command = merganser(folder.path());
    command.args([
        "query",
        "--fan-out",
        "--order",
        "first-come",
        "SELECT o_orderkey FROM orders",
    ]);
    for url in &data.shards {
        command.args(["--shard", url]);
    }
    let done = command
        .args(["--memory", "64MiB", "--connections-per-shard", "1"])
        .run();
    let mut keys: Vec<u64> = done
        .stdout
        .lines()
        .skip(1)
        .map(|key| key.parse().unwrap())
        .collect();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!((done.code, keys.len()), (0, 1_500), "{}", done.stderr);
}

#[test]
fn a_reader_that_has_enough_is_no_failure() {
    let Some(scene) = Scene::new(2) else { return };
    for format in ["csv", "table", "json", "arrow-stream"] {
        let sql = "SELECT generate_series(1, 10000000) AS a";
        let mut child = scene.query(&["--format", format, sql]).start();
        let mut first = [0; 10];
        child.stdout.take().unwrap().read_exact(&mut first).unwrap();
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(
            (output.status.code(), stderr.as_ref()),
            (Some(0), ""),
            "{format}"
        );
        scene.wait_until_active(0);
    }
}

#[test]
fn help_has_what_a_newcomer_needs() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, parts) in [
        (
            &["--help"][..],
            &[
                "Examples:",
                "Exit codes:",
                "Environment variables:",
                "completions",
            ][..],
        ),
        (
            &["query", "--help"],
            &["Examples:", "--merge-sql", "ndjson", "--param-null"],
        ),
        (&["inspect", "--help"], &["Examples:", "--shard-key"]),
        (&["demo", "--help"], &["--keep", "initdb"]),
        (&["completions", "bash"], &["_merganser"]),
        (&["completions", "zsh"], &["#compdef merganser"]),
        (&["--version"], &["merganser "]),
    ] {
        let done = merganser(folder.path()).args(arguments).run();
        assert_eq!((done.code, done.stderr.as_str()), (0, ""), "{arguments:?}");
        parts
            .iter()
            .for_each(|part| assert_contains(&done.stdout, part));
    }
}

/// The same command, with these redirections of a shell.
#[cfg(target_os = "linux")]
fn redirected(command: &std::process::Command, redirections: &str) -> std::process::Command {
    let mut shell = std::process::Command::new("sh");
    shell
        .args(["-c", &format!("exec \"$0\" \"$@\" {redirections}")])
        .arg(command.get_program())
        .args(command.get_args());
    if let Some(folder) = command.get_current_dir() {
        shell.current_dir(folder);
    }
    shell
}

#[cfg(target_os = "linux")]
#[test]
fn a_standard_output_that_is_closed_is_an_error() {
    let Some(scene) = scene() else { return };
    let query = |arguments: &[&str], to: &str| redirected(&scene.query(arguments), to).run();
    let folder = scene.folder.path();
    let other =
        |arguments: &[&str], to: &str| redirected(merganser(folder).args(arguments), to).run();
    for done in [
        query(&[ALL], ">&-"),
        query(&["--format", "table", ALL], ">&-"),
        query(&["-o", "-", "--format", "arrow", ALL], ">&- <&-"),
        other(&["--help"], ">&-"),
        other(&["query", "--help"], ">&-"),
        other(&["--version"], ">&-"),
        other(&["completions", "bash"], ">&-"),
        other(&["inspect", "--shard", &scene.urls[0]], ">&-"),
    ] {
        assert_eq!(done.code, 1, "{}", done.stderr);
        assert_contains(&done.stderr, "cannot write to standard output");
        assert_contains(&done.stderr, "Bad file descriptor");
        assert_contains(&done.stderr, "--output");
    }
    // Opened for reading, too, it is what others give to programs of which they want no output.
    for to in [">/dev/null", "1<>/dev/null", ">/dev/null 2>&-"] {
        assert_eq!(query(&[ALL], to).code, 0, "{to}");
        assert_eq!(other(&["--help"], to).code, 0, "{to}");
    }
    // There is nothing to be written there.
    assert_eq!(query(&["-o", "a.csv", ALL], ">&-").code, 0);
    assert_eq!(query(&["--format", "none", ALL], ">&-").code, 0);
    let file = fs::read_to_string(scene.path("a.csv")).unwrap();
    assert_eq!(file, "id,name\n1,Grüße\n2,\n3,\"\"\n");
}
