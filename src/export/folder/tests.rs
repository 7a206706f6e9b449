use std::fs;

use arrow::array::{AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type};
use futures::stream;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::*;

fn schema() -> Arc<Schema> {
    Arc::new(Schema::new(vec![
        Field::new("n", DataType::Int64, true),
        Field::new("place", DataType::Utf8, true),
    ]))
}

/// Numbers, and for each one of three places.
fn batch(numbers: std::ops::Range<i64>) -> RecordBatch {
    let places = numbers
        .clone()
        .map(|n| ["a/b", "c", ""].get(n as usize % 3).copied());
    let places = StringArray::from_iter(places);
    let numbers = Int64Array::from_iter_values(numbers);
    RecordBatch::try_new(schema(), vec![Arc::new(numbers), Arc::new(places)]).unwrap()
}

fn part(name: &str, batches: Vec<Result<RecordBatch>>) -> Part {
    Part {
        name: name.to_owned(),
        rows: QueryStream::new(schema(), stream::iter(batches)),
    }
}

fn source(statement: &str) -> Source {
    Source {
        statement: statement.to_owned(),
        topology: "t".to_owned(),
        fingerprint: "f".to_owned(),
        resumable: Resumable::Yes,
    }
}

async fn export(folder: &Folder, parts: Vec<Part>) -> Result<Manifest> {
    folder.open().await?.write(parts, source("q")).await
}

/// All files below a folder, with `/`.
fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        match entry.path().is_dir() {
            true => {
                let inner = files(&entry.path());
                assert!(!inner.is_empty(), "{name} is empty");
                found.extend(inner.into_iter().map(|path| format!("{name}/{path}")));
            }
            false => found.push(name),
        }
    }
    found.sort();
    found
}

fn numbers(path: &Path) -> Vec<i64> {
    let file = fs::File::open(path).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    let batches = reader.build().unwrap().map(Result::unwrap);
    let numbers = batches.flat_map(|batch| {
        let numbers = batch.column_by_name("n").unwrap();
        numbers.as_primitive::<Int64Type>().values().to_vec()
    });
    numbers.collect()
}

fn new_folder() -> (tempfile::TempDir, PathBuf) {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("out");
    (parent, path)
}

fn failed() -> Error {
    Error::new(ErrorKind::Server, "the shard has failed")
}

/// A shard that fails when the others are complete.
fn failing_late(name: &str) -> Part {
    let rows = stream::once(async {
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        Err(failed())
    });
    Part {
        name: name.to_owned(),
        rows: QueryStream::new(schema(), rows),
    }
}

#[tokio::test]
async fn each_shard_has_a_file_and_the_manifest_tells_of_them() {
    let (_parent, path) = new_folder();
    let folder = Folder::new(&path, Format::Parquet);
    let parts = vec![
        part("s0", vec![Ok(batch(0..5)), Ok(batch(5..6))]),
        part("s/1", vec![]),
    ];
    let manifest = export(&folder, parts).await.unwrap();
    assert_eq!(
        files(&path),
        ["_manifest.json", "s%2F1.parquet", "s0.parquet"]
    );
    assert_eq!(numbers(&path.join("s0.parquet")), [0, 1, 2, 3, 4, 5]);
    assert_eq!(numbers(&path.join("s%2F1.parquet")), [0; 0]);
    assert_eq!((manifest.rows, manifest.files.len()), (6, 2));
    let first = &manifest.files[0];
    assert_eq!((first.path.as_str(), first.rows), ("s0.parquet", 6));
    let bytes = fs::read(path.join("s0.parquet")).unwrap();
    assert_eq!(first.bytes, bytes.len() as u64);
    let digest = ring::digest::digest(&ring::digest::SHA256, &bytes);
    assert_eq!(first.sha256, crate::export::output::hex(digest.as_ref()));
    let range = |name: &str| first.columns.iter().find(|column| column.name == name);
    let number = range("n").unwrap();
    assert_eq!(
        (number.min.as_deref(), number.max.as_deref()),
        (Some("0"), Some("5"))
    );
    let place = range("place").unwrap();
    assert_eq!(
        (place.min.as_deref(), place.max.as_deref()),
        (Some(""), Some("c"))
    );
    let stored = fs::read_to_string(path.join("_manifest.json")).unwrap();
    assert_eq!(serde_json::from_str::<Manifest>(&stored).unwrap(), manifest);
}

#[tokio::test]
async fn files_are_bounded_in_rows_and_bytes_in_every_format() {
    for format in [
        Format::Csv,
        Format::Json,
        Format::Ndjson,
        Format::Arrow,
        Format::ArrowStream,
        Format::Parquet,
    ] {
        let (_parent, path) = new_folder();
        let folder = Folder::new(&path, format).with_file_rows(4);
        let manifest = export(&folder, vec![part("s0", vec![Ok(batch(0..10))])])
            .await
            .unwrap();
        let rows: Vec<_> = manifest.files.iter().map(|file| file.rows).collect();
        assert_eq!(rows, [4, 4, 2], "{format}");
        assert!(manifest.files[1].path.starts_with("s0-00001."), "{format}");

        let (_parent, path) = new_folder();
        let folder = Folder::new(&path, format).with_file_bytes(200_000);
        let batches = (0..20)
            .map(|n| Ok(batch(n * 20_000..n * 20_000 + 20_000)))
            .collect();
        let manifest = export(&folder, vec![part("s0", batches)]).await.unwrap();
        assert!(
            manifest.files.len() > 3,
            "{format}: {}",
            manifest.files.len()
        );
        assert_eq!(manifest.rows, 400_000, "{format}");
    }
}

#[tokio::test]
async fn partitions_are_folders_and_few_files_are_open() {
    let (_parent, path) = new_folder();
    let folder = Folder::new(&path, Format::Parquet).with_partition_by(["place"]);
    let batches = || vec![Ok(batch(0..4)), Ok(batch(4..9))];
    let manifest = export(&folder, vec![part("s0", batches())]).await.unwrap();
    assert_eq!(
        files(&path),
        [
            "_manifest.json",
            "place=/s0-00002.parquet",
            "place=a%2Fb/s0-00000.parquet",
            "place=c/s0-00001.parquet"
        ]
    );
    assert_eq!(
        numbers(&path.join("place=a%2Fb/s0-00000.parquet")),
        [0, 3, 6]
    );
    let file = &manifest.files[1];
    assert_eq!(file.partition["place"].as_deref(), Some("a/b"));
    assert_eq!(manifest.columns.len(), 2);

    let (_parent, path) = new_folder();
    let folder = Folder::new(&path, Format::Parquet).with_partition_by(["place"]);
    let folder = folder.with_open_files(2);
    let manifest = export(&folder, vec![part("s0", batches())]).await.unwrap();
    assert!(manifest.files.len() > 3);
    let mut all: Vec<_> = manifest
        .files
        .iter()
        .flat_map(|file| numbers(&path.join(&file.path)))
        .collect();
    all.sort_unstable();
    assert_eq!(all, (0..9).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_failure_leaves_nothing_or_what_is_complete() {
    let (_parent, path) = new_folder();
    let folder = Folder::new(&path, Format::Parquet).with_partition_by(["place"]);
    let parts = vec![part("s0", vec![Ok(batch(0..3)), Err(failed())])];
    let error = export(&folder, parts).await.unwrap_err();
    assert_eq!(error.message(), "the shard has failed");
    assert!(!path.exists());

    let folder = Folder::new(&path, Format::Csv);
    let parts = vec![part("s0", vec![Ok(batch(0..3))]), failing_late("s1")];
    let error = export(&folder, parts).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Server);
    assert_eq!(files(&path), ["_manifest.partial", "s0.csv"]);
    // Without being asked, nothing goes on there.
    let error = export(&folder, vec![]).await.unwrap_err();
    assert!(error.hint().unwrap().contains("--resume"), "{error:?}");

    // What is left of a killed run.
    fs::write(path.join(".merganser-x1.tmp"), "half").unwrap();
    fs::write(path.join("s1.csv"), "not listed").unwrap();
    let resumed = folder.clone().with_resume(true);
    let again = |statement: &'static str| {
        let unread = part("s0", vec![Err(failed())]);
        let parts = vec![unread, part("s1", vec![Ok(batch(3..4))])];
        let resumed = resumed.clone();
        async move { resumed.open().await?.write(parts, source(statement)).await }
    };
    let error = again("another").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.message().contains("another statement"), "{error}");
    fs::write(path.join("mine.txt"), "mine").unwrap();
    let error = again("q").await.unwrap_err();
    assert!(error.message().contains("mine.txt"), "{error}");
    fs::remove_file(path.join("mine.txt")).unwrap();
    let complete = fs::read(path.join("s0.csv")).unwrap();
    fs::write(path.join("s0.csv"), "n,place\n9,c\n").unwrap();
    let error = again("q").await.unwrap_err();
    assert!(
        error.message().contains("is not as it was written"),
        "{error}"
    );
    fs::write(path.join("s0.csv"), complete).unwrap();
    let manifest = again("q").await.unwrap();
    assert_eq!(files(&path), ["_manifest.json", "s0.csv", "s1.csv"]);
    assert_eq!(manifest.rows, 4);
    assert_eq!(
        fs::read_to_string(path.join("s1.csv")).unwrap(),
        "n,place\n3,a/b\n"
    );
    // Complete: nothing is read.
    assert_eq!(again("q").await.unwrap(), manifest);
    assert_eq!(
        again("another").await.unwrap_err().kind(),
        ErrorKind::Config
    );
}

#[tokio::test]
async fn folders_that_are_not_empty_or_in_use_say_what_to_do() {
    let (_parent, path) = new_folder();
    fs::create_dir(&path).unwrap();
    fs::write(path.join("mine.txt"), "mine").unwrap();
    let folder = Folder::new(&path, Format::Parquet);
    let error = folder.open().await.err().unwrap();
    assert!(error.message().contains("is not empty"), "{error}");
    assert!(
        error
            .hint()
            .unwrap()
            .contains("does not exist, or empty it")
    );
    let error = folder.clone().with_resume(true).open().await.err().unwrap();
    assert!(error.hint().unwrap().contains("no export was begun"));
    assert_eq!(files(&path), ["mine.txt"]);
    let error = Folder::new(path.join("mine.txt"), Format::Csv)
        .open()
        .await
        .err();
    assert!(error.unwrap().hint().unwrap().contains("folder"));
    let error = Folder::new(path.join("a/b"), Format::Csv)
        .open()
        .await
        .err();
    assert!(error.unwrap().hint().unwrap().contains("mkdir -p"));
    let error = Folder::new(&path, Format::Table)
        .open()
        .await
        .err()
        .unwrap();
    assert_eq!(error.kind(), ErrorKind::Config);

    fs::remove_file(path.join("mine.txt")).unwrap();
    let first = folder.open().await.unwrap();
    let error = folder.clone().with_resume(true).open().await.err().unwrap();
    assert!(error.message().contains("another process"), "{error}");
    drop(first);
    assert_eq!(files(&path), [""; 0]);
}

#[tokio::test]
async fn what_cannot_be_read_apart_is_not_resumed() {
    let (_parent, path) = new_folder();
    let folder = Folder::new(&path, Format::Csv);
    let merged = || Source {
        resumable: Resumable::No("its rows are merged"),
        ..source("q")
    };
    {
        let mut opened = match folder.open().await.unwrap().found {
            Found::Ours(state) => state,
            Found::Complete(..) => panic!("complete"),
        };
        let shards = vec!["rows".to_owned()];
        opened
            .begin(&folder.identity(&schema(), shards, merged()), "parquet")
            .unwrap();
        fs::write(path.join("rows.csv"), "").unwrap();
        let shard = ManifestShard {
            name: "rows".to_owned(),
            rows: 0,
            read_at: String::new(),
        };
        opened
            .complete(Done {
                shard,
                files: vec![],
            })
            .unwrap();
    }
    let resumed = folder.with_resume(true).open().await.unwrap();
    let error = resumed
        .write(vec![part("rows", vec![])], merged())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.message().contains("its rows are merged"), "{error}");
}

/// Readers pass over such names, and one is the manifest's.
#[tokio::test]
async fn no_name_of_a_shard_hides_its_rows() {
    let (_parent, path) = new_folder();
    let folder = Folder::new(&path, Format::Json);
    let parts = vec![
        part("_manifest", vec![Ok(batch(0..2))]),
        part(".hidden", vec![Ok(batch(2..3))]),
    ];
    let manifest = export(&folder, parts).await.unwrap();
    assert_eq!(manifest.rows, 3);
    assert_eq!(
        files(&path),
        ["%2Ehidden.json", "%5Fmanifest.json", "_manifest.json"]
    );
}

#[tokio::test]
async fn a_complete_export_is_complete_only_with_its_files() {
    let (_parent, path) = new_folder();
    let folder = Folder::new(&path, Format::Csv);
    let parts = || vec![part("s0", vec![Ok(batch(0..2))]), part("s1", vec![])];
    export(&folder, parts()).await.unwrap();
    let again = folder.clone().with_resume(true);
    assert_eq!(export(&again, parts()).await.unwrap().rows, 2);
    let whole = fs::read(path.join("s0.csv")).unwrap();
    fs::write(path.join("s0.csv"), "n,place\n9,c\n").unwrap();
    let error = export(&again, parts()).await.unwrap_err();
    assert!(
        error.message().contains("is not as it was written"),
        "{error}"
    );
    fs::write(path.join("s0.csv"), whole).unwrap();
    fs::remove_file(path.join("s1.csv")).unwrap();
    let error = export(&again, parts()).await.unwrap_err();
    assert!(error.message().contains("is gone"), "{error}");
}

/// Goes on; the thread that wrote before may have the folder for a moment yet.
async fn resumed(folder: &Folder, parts: &dyn Fn() -> Vec<Part>) -> Result<Manifest> {
    loop {
        match export(folder, parts()).await {
            Err(error) if error.message().contains("another process writes") => {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
            ended => return ended,
        }
    }
}

/// What an earlier run has left is removed, and nothing else.
#[tokio::test]
async fn files_of_others_are_not_removed() {
    let (parent, path) = new_folder();
    let folder = Folder::new(&path, Format::Csv);
    let again = folder.clone().with_resume(true);
    let begun = vec![part("s0", vec![Ok(batch(0..2))]), failing_late("s1")];
    export(&folder, begun).await.unwrap_err();
    assert_eq!(files(&path), ["_manifest.partial", "s0.csv"]);
    let parts = || vec![part("s0", vec![]), part("s1", vec![])];
    // Of another format, in a folder that names no partition, behind a link.
    let outside = parent.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("s1.csv"), "mine").unwrap();
    fs::write(path.join("s1.txt"), "mine").unwrap();
    let error = resumed(&again, &parts).await.unwrap_err();
    assert!(error.message().contains("s1.txt"), "{error}");
    fs::remove_file(path.join("s1.txt")).unwrap();
    fs::create_dir(path.join("a=b")).unwrap();
    let error = resumed(&again, &parts).await.unwrap_err();
    assert!(error.message().contains("a=b"), "{error}");
    fs::remove_dir(path.join("a=b")).unwrap();
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(&outside, path.join("place=c")).unwrap();
        let error = resumed(&again, &parts).await.unwrap_err();
        assert!(error.message().contains("place=c"), "{error}");
        fs::remove_file(path.join("place=c")).unwrap();
    }
    assert_eq!(files(&outside), ["s1.csv"]);
    // What is its own goes.
    fs::write(path.join("s1.csv"), "half").unwrap();
    assert_eq!(resumed(&again, &parts).await.unwrap().rows, 2);
    assert_eq!(files(&path), ["_manifest.json", "s0.csv", "s1.csv"]);
    assert_eq!(
        fs::read_to_string(path.join("s1.csv")).unwrap(),
        "n,place\n"
    );

    // Nor are they read, whatever a journal says.
    let (_parent, path) = new_folder();
    let folder = Folder::new(&path, Format::Csv);
    let begun = vec![part("s0", vec![Ok(batch(0..2))]), failing_late("s1")];
    export(&folder, begun).await.unwrap_err();
    let journal = path.join("_manifest.partial");
    let text = fs::read_to_string(&journal).unwrap();
    for (named, said) in [
        ("../outside/s1.csv", "is not in the folder"),
        ("/dev/zero", "is not in the folder"),
        ("place=c", "is no file any more"),
    ] {
        fs::create_dir_all(path.join("place=c")).unwrap();
        let named = text.replace("\"path\":\"s0.csv\"", &format!("\"path\":\"{named}\""));
        assert_ne!(named, text);
        fs::write(&journal, named).unwrap();
        let again = folder.clone().with_resume(true);
        let error = resumed(&again, &parts).await.unwrap_err();
        assert!(error.message().contains(said), "{error}");
    }

    // A journal without a line has no files yet.
    let other = parent.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("_manifest.partial"), "").unwrap();
    fs::write(other.join("s0.csv"), "mine").unwrap();
    let again = Folder::new(&other, Format::Csv).with_resume(true);
    let error = resumed(&again, &parts).await.unwrap_err();
    assert!(error.message().contains("s0.csv"), "{error}");
    assert_eq!(fs::read_to_string(other.join("s0.csv")).unwrap(), "mine");
}

#[tokio::test]
async fn files_of_several_processes_have_one_manifest() {
    let (_parent, path) = new_folder();
    let folder = Folder::new(&path, Format::Parquet);
    let topology = Topology::from_urls(["postgresql://h/a", "postgresql://h/b"]).unwrap();
    let names: Vec<_> = topology.shards().iter().map(|shard| shard.name()).collect();
    let rows = |numbers| part("", vec![Ok(batch(numbers))]).rows;

    let shared = folder.begin("q", &topology, schema()).await.unwrap();
    let second = folder.write_file(rows(3..7), names[1], "b").await.unwrap();
    let first = folder.write_file(rows(0..3), names[0], "a").await.unwrap();
    // That of an attempt of which nobody heard again.
    folder.write_file(rows(0..3), names[0], "c").await.unwrap();
    assert_eq!(first.path, "a.parquet");
    assert_eq!((first.rows, first.sha256.len()), (3, 64));
    assert_eq!(first.columns[0].max.as_deref(), Some("2"));
    let files_given = vec![second, first];
    let manifest = shared.finish(std::time::SystemTime::UNIX_EPOCH, files_given.clone());
    let manifest = manifest.await.unwrap();
    assert_eq!(files(&path), ["_manifest.json", "a.parquet", "b.parquet"]);
    assert_eq!(manifest.rows, 7);
    assert_eq!(manifest.shards[1].rows, 4);
    assert_eq!(manifest.shards[0].read_at, "1970-01-01T00:00:00Z");
    assert_eq!(numbers(&path.join("b.parquet")), [3, 4, 5, 6]);

    // It is complete: nobody begins there again.
    let error = folder.begin("q", &topology, schema()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Export);
    assert!(error.message().contains("is not empty"), "{error}");

    let (_parent, path) = new_folder();
    let folder = Folder::new(&path, Format::Parquet);
    // A file that is not there, and one that is not as it was written.
    for shorten in [false, true] {
        let shared = folder.begin("q", &topology, schema()).await.unwrap();
        if shorten {
            fs::write(path.join("b.parquet"), "half").unwrap();
        }
        let finished = shared.finish(std::time::SystemTime::now(), files_given.clone());
        let error = finished.await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Export);
        assert!(error.message().contains("b.parquet"), "{error}");
        assert!(!path.exists());
    }
    // Given up: nothing is left.
    let shared = folder.begin("q", &topology, schema()).await.unwrap();
    folder.write_file(rows(0..3), names[0], "a").await.unwrap();
    let failing = part(
        "",
        vec![Ok(batch(0..3)), Err(Error::new(ErrorKind::Server, "lost"))],
    );
    let error = folder
        .write_file(failing.rows, names[0], "b")
        .await
        .unwrap_err();
    assert_eq!(error.message(), "lost");
    assert_eq!(files(&path), ["_manifest.partial", "a.parquet"]);
    drop(shared);
    assert!(!path.exists());
}

#[tokio::test]
async fn each_file_of_several_processes_is_listed_once_or_not_there() {
    let topology = Topology::from_urls(["postgresql://h/a"]).unwrap();
    let shard = topology.shards()[0].name();
    let rows = || part("", vec![Ok(batch(0..3))]).rows;
    let now = std::time::SystemTime::now;

    // Twice, of an unknown shard, and of another folder.
    type Change = fn(&mut Vec<ManifestFile>);
    let changes: [(Change, &str); 3] = [
        (|files| files.push(files[0].clone()), "listed twice"),
        (
            |files| files[0].shard = "S0".to_owned(),
            "no shard has that name",
        ),
        (
            |files| files[0].path = "../a.csv".to_owned(),
            "is not in the folder",
        ),
    ];
    for (change, why) in changes {
        let (_parent, path) = new_folder();
        let folder = Folder::new(&path, Format::Csv);
        let shared = folder.begin("q", &topology, schema()).await.unwrap();
        let mut listed = vec![folder.write_file(rows(), shard, "a").await.unwrap()];
        change(&mut listed);
        let error = shared.finish(now(), listed).await.unwrap_err();
        assert!(error.message().contains(why), "{error}");
        assert!(error.hint().is_some() && !path.exists());
    }

    // The journal is gone: the manifest stands, and with it its file.
    let (_parent, path) = new_folder();
    let folder = Folder::new(&path, Format::Csv);
    let shared = folder.begin("q", &topology, schema()).await.unwrap();
    let listed = vec![folder.write_file(rows(), shard, "a").await.unwrap()];
    fs::remove_file(path.join("_manifest.partial")).unwrap();
    let error = shared.finish(now(), listed).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Export);
    assert_eq!(files(&path), ["_manifest.json", "a.csv"]);

    // Who comes too late, or to a folder that nobody has taken, leaves nothing.
    for (path, why) in [
        (path.clone(), "is complete"),
        (path.join("b"), "was not taken"),
    ] {
        let late = Folder::new(&path, Format::Csv);
        let error = late.write_file(rows(), shard, "b").await.unwrap_err();
        assert!(error.message().contains(why), "{error}");
    }
    assert_eq!(files(&path), ["_manifest.json", "a.csv"]);
    let (_parent, path) = new_folder();
    let folder = Folder::new(&path, Format::Csv);
    let shared = folder.begin("q", &topology, schema()).await.unwrap();
    let mut given_up = Some(shared);
    let batches = [batch(0..3), batch(3..4)].into_iter().map(move |batch| {
        drop(given_up.take());
        Ok(batch)
    });
    let slow = QueryStream::new(schema(), stream::iter(batches));
    folder.write_file(slow, shard, "b").await.unwrap_err();
    assert!(!path.join("b.csv").exists());
}

#[tokio::test]
async fn what_files_of_several_processes_do_not_have_is_refused() {
    let (_parent, path) = new_folder();
    let topology = Topology::from_urls(["postgresql://h/a"]).unwrap();
    let folder = || Folder::new(&path, Format::Csv);
    for folder in [
        folder().with_partition_by(["n"]),
        folder().with_file_rows(1),
        folder().with_file_bytes(1),
        folder().with_resume(true),
    ] {
        let error = folder.begin("q", &topology, schema()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage);
        assert!(!path.exists());
    }
    let _shared = folder().begin("q", &topology, schema()).await.unwrap();
    for name in ["", "/etc/x", "../x", "a/b", "a/", "_manifest", ".x"] {
        let rows = part("", Vec::new()).rows;
        let error = folder().write_file(rows, "s0", name).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage, "{name:?}");
    }
}
