//! `-o FOLDER/`: many files, and what is left of them when the program is killed.

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, Instant};

use merganser::arrow::array::AsArray;
use merganser::arrow::datatypes::Int32Type;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::{Run, Scene, assert_contains, names_in, signal};

/// Two shards: numbers 1 to 4, and 5 to 6.
fn scene() -> Option<Scene> {
    let scene = Scene::new(2)?;
    scene.execute_all("CREATE TABLE t (id int, kind text)");
    scene.execute(
        0,
        "INSERT INTO t SELECT n, 'k' || n % 2 FROM generate_series(1, 4) n",
    );
    scene.execute(1, "INSERT INTO t VALUES (5, NULL), (6, 'k0')");
    Some(scene)
}

fn ids(path: &Path) -> Vec<i32> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap();
    let batches = reader.build().unwrap().map(Result::unwrap);
    let ids = batches.flat_map(|batch| {
        let ids = batch.column_by_name("id").unwrap();
        ids.as_primitive::<Int32Type>().values().to_vec()
    });
    ids.collect()
}

fn manifest(folder: &Path) -> serde_json::Value {
    let text = fs::read_to_string(folder.join("_manifest.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

#[test]
fn each_shard_has_a_file_and_a_manifest_lists_them() {
    let Some(scene) = scene() else { return };
    let folder = scene.path("out");
    let done = scene.query(&["-o", "out/", "TABLE t"]).run();
    assert_eq!(
        (done.code, done.stdout.as_str()),
        (0, ""),
        "{}",
        done.stderr
    );
    assert_contains(&done.stderr, "6 rows, ");
    assert_contains(&done.stderr, ", 2 files in ");
    assert_contains(&done.stderr, "-> out/");
    assert_eq!(
        names_in(&folder),
        ["_manifest.json", "s0.parquet", "s1.parquet"]
    );
    assert_eq!(ids(&folder.join("s0.parquet")), [1, 2, 3, 4]);
    assert_eq!(ids(&folder.join("s1.parquet")), [5, 6]);
    let manifest = manifest(&folder);
    assert_eq!(manifest["rows"], 6);
    assert_eq!(manifest["statement"], "TABLE t");
    assert_eq!(manifest["files"][1]["columns"][0]["max"], "6");
    assert_eq!(manifest["files"][1]["columns"][1]["nulls"], 1);
    // Once more: no file is replaced.
    let done = scene.query(&["-o", "out", "TABLE t"]).run();
    assert_eq!(done.code, 1);
    assert_contains(&done.stderr, "is not empty");
    assert_contains(&done.stderr, "it has a complete export");
}

#[test]
fn partitions_rows_and_formats() {
    let Some(scene) = scene() else { return };
    let arguments = [
        "-o",
        "by/",
        "--partition-by",
        "kind",
        "--format",
        "csv",
        "TABLE t",
    ];
    scene.output_of(&arguments);
    let folder = scene.path("by");
    assert_eq!(
        names_in(&folder),
        [
            "_manifest.json",
            "kind=__HIVE_DEFAULT_PARTITION__",
            "kind=k0",
            "kind=k1"
        ]
    );
    let text = fs::read_to_string(folder.join("kind=k0/s0-00001.csv")).unwrap();
    assert_eq!(text, "id\n2\n4\n");
    scene.output_of(&["-o", "few/", "--file-rows", "3", "TABLE t"]);
    assert_eq!(
        names_in(&scene.path("few")),
        [
            "_manifest.json",
            "s0-00000.parquet",
            "s0-00001.parquet",
            "s1-00000.parquet"
        ]
    );
}

#[test]
fn flags_of_folders_need_one() {
    let Some(scene) = scene() else { return };
    for (arguments, message) in [
        (
            &["-o", "t.parquet", "--resume", "TABLE t"][..],
            "--resume is for a folder",
        ),
        (
            &["--partition-by", "kind", "TABLE t"],
            "--partition-by is for a folder",
        ),
        (
            &["-o", "out/", "--format", "table", "TABLE t"],
            "makes no files of a folder",
        ),
    ] {
        assert_contains(&scene.failure_of(2, arguments), message);
    }
    let arguments = ["-o", "out/", "--partition-by", "nothing", "TABLE t"];
    assert_contains(&scene.failure_of(2, &arguments), "[\"id\", \"kind\"]");
    // A shard that fails leaves no folder either.
    let arguments = ["-o", "out/", "SELECT 1 / (id - id) AS x FROM t"];
    assert_contains(&scene.failure_of(1, &arguments), "division by zero");
}

#[test]
fn what_was_complete_when_the_program_was_killed_is_not_read_again() {
    let Some(scene) = scene() else { return };
    // The second shard gives rows, and no end.
    scene.execute(
        1,
        "ALTER TABLE t RENAME TO good;
         CREATE VIEW t AS SELECT n AS id, 'k'::text AS kind FROM generate_series(1, 100000) n
         UNION ALL SELECT 0, pg_sleep(300)::text",
    );
    let folder = scene.path("out");
    let arguments = ["-o", "out/", "SELECT id, kind FROM t"];
    let mut child = scene.query(&arguments).start();
    let is_half_done = || {
        let journal = fs::read_to_string(folder.join("_manifest.partial")).unwrap_or_default();
        journal.lines().count() == 2 && scene.active() == 1
    };
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_half_done() {
        assert!(Instant::now() < deadline, "{:?}", names_in(&folder));
        std::thread::sleep(Duration::from_millis(20));
    }
    signal(&child, "KILL");
    child.wait().unwrap();
    // What the second shard gave had no name yet.
    assert_eq!(names_in(&folder), ["_manifest.partial", "s0.parquet"]);

    let done = scene.query(&arguments).run();
    assert_eq!(done.code, 1);
    assert_contains(&done.stderr, "--resume goes on where it stopped");
    scene.execute(1, "DROP VIEW t; ALTER TABLE good RENAME TO t");
    // What the first shard has by now is not asked for.
    let first = fs::read(folder.join("s0.parquet")).unwrap();
    scene.execute(0, "DELETE FROM t");
    let resume = ["--resume", "-o", "out/"];
    let done = scene
        .query(&[&resume[..], &["SELECT id FROM t"]].concat())
        .run();
    assert_eq!(done.code, 2);
    assert_contains(&done.stderr, "another statement");
    scene.output_of(&[&resume[..], &["SELECT id, kind FROM t"]].concat());
    assert_eq!(
        names_in(&folder),
        ["_manifest.json", "s0.parquet", "s1.parquet"]
    );
    assert_eq!(fs::read(folder.join("s0.parquet")).unwrap(), first);
    assert_eq!(ids(&folder.join("s1.parquet")), [5, 6]);
    assert_eq!(manifest(&folder)["rows"], 6);
    // There is nothing left to do.
    scene.output_of(&[&resume[..], &["SELECT id, kind FROM t"]].concat());
}

#[test]
fn an_interrupt_leaves_complete_shards_for_the_next_run() {
    let Some(scene) = scene() else { return };
    scene.execute(
        1,
        "DROP TABLE t; CREATE VIEW t AS SELECT 1 AS id, pg_sleep(300)::text AS kind",
    );
    let folder = scene.path("out");
    let child = scene.query(&["-o", "out/", "TABLE t"]).start();
    scene.wait_until_active(1);
    let deadline = Instant::now() + Duration::from_secs(60);
    let journal = || fs::read_to_string(folder.join("_manifest.partial")).unwrap_or_default();
    while journal().lines().count() < 2 {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(20));
    }
    signal(&child, "INT");
    let done = super::Done::from(child.wait_with_output().unwrap());
    assert_eq!(done.code, 130, "{}", done.stderr);
    assert_eq!(names_in(&folder), ["_manifest.partial", "s0.parquet"]);
}

#[cfg(feature = "datafusion")]
#[test]
fn partitions_are_read_by_other_processes_while_the_first_lives() {
    use std::process::Command;

    let Some(scene) = scene() else { return };
    let shards = |command: &mut Command| {
        for url in &scene.urls {
            command.args(["--shard", url]);
        }
    };
    let mut cutting = super::merganser(scene.folder.path());
    cutting.args(["partitions", "--fan-out", "-o", "parts.txt", "TABLE t"]);
    cutting.env("MERGANSER_PARTITION_KEY", "k");
    shards(&mut cutting);
    let cutting = cutting.start();
    let deadline = Instant::now() + Duration::from_secs(60);
    while !scene.path("parts.txt").exists() {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(20));
    }
    let parts = fs::read_to_string(scene.path("parts.txt")).unwrap();
    assert_eq!(parts.lines().count(), 2);
    assert!(!parts.contains("postgresql://"), "{parts}");
    scene.execute_all("DELETE FROM t");
    let read = |line: &str, key: &str| {
        let mut reading = super::merganser(scene.folder.path());
        reading
            .args(["read-partition", line])
            .env("MERGANSER_PARTITION_KEY", key);
        shards(&mut reading);
        reading.run()
    };
    let rows: Vec<_> = parts.lines().map(|line| read(line, "k").stdout).collect();
    assert_eq!(
        rows,
        ["id,kind\n1,k1\n2,k0\n3,k1\n4,k0\n", "id,kind\n5,\n6,k0\n"]
    );
    let first = parts.lines().next().unwrap();
    let done = read(first, "other");
    assert_eq!(done.code, 2);
    assert_contains(&done.stderr, "MERGANSER_PARTITION_KEY");
    signal(&cutting, "TERM");
    let done = super::Done::from(cutting.wait_with_output().unwrap());
    assert_eq!(done.code, 143, "{}", done.stderr);
    assert_contains(&done.stderr, "2 partitions; their snapshots are kept");
    assert_contains(&done.stderr, "one for each shard: ");
    let done = read(first, "k");
    assert_eq!(done.code, 1);
    assert_contains(&done.stderr, "its holder has ended");
}
