//! Exports: each row of a snapshot is in one file of the manifest.

use std::fs::{self, File};
use std::path::Path;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use merganser::export::Manifest;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::local::{Cluster, Particulars, events, files};

/// The manifest of a folder.
fn read_manifest(folder: &Path) -> Manifest {
    let text = fs::read_to_string(folder.join("_manifest.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// What the manifest of a complete folder lists, which has nothing else in it.
pub(crate) fn manifest(folder: &Path) -> Manifest {
    let manifest = read_manifest(folder);
    let mut listed: Vec<_> = manifest
        .files
        .iter()
        .map(|file| file.path.clone())
        .collect();
    listed.sort();
    let mut found = files(folder, "", "");
    found.retain(|name| name != "_manifest.json");
    found.sort();
    assert_eq!(found, listed);
    manifest
}

/// The values of the first column in the files of a folder, which has no others, sorted.
pub(crate) fn ids(folder: &Path) -> Vec<i64> {
    manifest(folder);
    listed_ids(folder)
}

/// The values of the first column in the files that the manifest lists, sorted.
pub(crate) fn listed_ids(folder: &Path) -> Vec<i64> {
    let mut ids = Vec::new();
    for file in &read_manifest(folder).files {
        let path = folder.join(&file.path);
        assert_eq!(fs::metadata(&path).unwrap().len(), file.bytes);
        let opened = File::open(&path).unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(opened).unwrap();
        let before = ids.len();
        for batch in reader.build().unwrap() {
            let batch = batch.unwrap();
            ids.extend(batch.column(0).as_primitive::<Int64Type>().values());
        }
        assert_eq!((ids.len() - before) as u64, file.rows);
    }
    ids.sort_unstable();
    ids
}

#[test]
fn each_row_is_in_one_file_and_every_executor_writes_some() {
    let Some((_, topology)) = events(3, 12_000) else {
        return;
    };
    let cluster = Cluster::start(&topology, &[Particulars::default(), Particulars::default()]);
    let done = cluster.answer(&["export", "--to", "out", "TABLE events"]);
    // More than vcores: only then does a task get a share of the parts.
    assert!(done.parts() > 6, "{}", done.stderr);
    let folder = cluster.path("out");
    assert_eq!(ids(&folder), (0..36_000).collect::<Vec<_>>());
    let manifest = manifest(&folder);
    assert_eq!(manifest.rows, 36_000);
    assert_eq!(manifest.files.len(), done.parts());
    assert_eq!(manifest.statement, "TABLE events");
    assert_eq!(manifest.format, "parquet");
    let names: Vec<_> = manifest
        .shards
        .iter()
        .map(|shard| shard.name.as_str())
        .collect();
    assert_eq!(names, ["s0", "s1", "s2"]);
    assert!(manifest.shards.iter().all(|shard| shard.rows == 12_000));
    for file in &manifest.files {
        assert_eq!(file.sha256.len(), 64);
        let id = file
            .columns
            .iter()
            .find(|column| column.name == "id")
            .unwrap();
        let shard: i64 = file.shard[1..].parse().unwrap();
        let least: i64 = id.min.as_deref().unwrap().parse().unwrap();
        assert_eq!(least / 12_000, shard);
    }
    for executor in ["e1: ", "e2: "] {
        let line = done.stderr.lines().find(|line| line.starts_with(executor));
        let line = line.unwrap_or_else(|| panic!("{executor} wrote nothing: {}", done.stderr));
        assert!(!line.contains(" 0 files"), "{line}");
    }
    // Nothing of the rows stays on the executors.
    for executor in &cluster.executors {
        let left = files(&cluster.path(&executor.name), "", ".arrow");
        assert_eq!(left, Vec::<String>::new());
    }

    // A folder that has something is not written into.
    let again = cluster.run(&["export", "--to", "out", "TABLE events"]);
    assert_eq!(again.code, Some(1), "{}", again.stderr);
    assert!(again.stderr.contains("is not empty"), "{}", again.stderr);
    assert_eq!(ids(&folder).len(), 36_000);
}

#[test]
fn what_is_no_export_of_parts_is_refused_and_leaves_no_folder() {
    let Some((_, topology)) = events(2, 10) else {
        return;
    };
    let cluster = Cluster::start(&topology, &[]);
    for sql in [
        "SELECT count(*) FROM events",
        "SELECT id FROM events ORDER BY id",
    ] {
        let done = cluster.run(&["export", "--to", "out", sql]);
        assert_eq!(done.code, Some(3), "{}", done.stderr);
        assert!(done.stderr.contains("refused"), "{}", done.stderr);
        assert!(!cluster.path("out").exists());
    }
    let done = cluster.run(&["export", "--to", "out", "SELECT nothing FROM events"]);
    assert!(done.stderr.contains("nothing"), "{}", done.stderr);
    assert!(!cluster.path("out").exists());
}

#[test]
fn a_shard_without_rows_has_a_file_with_columns() {
    let Some((urls, topology)) = events(2, 10) else {
        return;
    };
    merganser_local::fixture::execute(&urls[1], "truncate events");
    let cluster = Cluster::start(&topology, &[Particulars::default()]);
    cluster.answer(&["export", "--to", "out", "TABLE events"]);
    let folder = cluster.path("out");
    assert_eq!(ids(&folder), (0..10).collect::<Vec<_>>());
    assert_eq!(manifest(&folder).files.len(), 2);
}
