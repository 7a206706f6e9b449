use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use arrow::array::*;
use arrow::datatypes::*;
use futures::stream;

use super::*;

const FORMATS: [Format; 7] = [
    Format::Table,
    Format::Csv,
    Format::Json,
    Format::Ndjson,
    Format::Arrow,
    Format::ArrowStream,
    Format::Parquet,
];

/// A batch of two rows (the second of NULLs) with a column of each type that the decoder makes.
pub(in crate::export) fn every_type() -> RecordBatch {
    let item = |data_type| Arc::new(Field::new("item", data_type, true));
    let mut lists = ListBuilder::new(ListBuilder::new(Int32Builder::new()));
    lists.append_value([Some(vec![Some(1), None]), Some(vec![Some(3), Some(4)])]);
    lists.append_null();
    let mut maps = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    maps.keys().append_value("k");
    maps.values().append_null();
    maps.append(true).unwrap();
    maps.append(false).unwrap();
    let record = StructArray::new(
        Fields::from(vec![
            Field::new("a", DataType::Int32, true),
            Field::new("b", DataType::Utf8, true),
        ]),
        vec![
            Arc::new(Int32Array::from(vec![Some(1), None])),
            Arc::new(StringArray::from(vec![Some("x y"), None])),
        ],
        Some(vec![true, false].into()),
    );
    let vector = FixedSizeListArray::new(
        item(DataType::Float32),
        2,
        Arc::new(Float32Array::from(vec![1.0, 2.5, 0.0, 0.0])),
        Some(vec![true, false].into()),
    );
    let uuids = [Some([7u8; 16]), None];
    let uuid = FixedSizeBinaryArray::try_from_sparse_iter_with_size(uuids.into_iter(), 16).unwrap();
    let moods: DictionaryArray<Int32Type> = [Some("sad"), None].into_iter().collect();
    let wide = Decimal256Array::from(vec![Some(i256::from_i128(-5)), None])
        .with_precision_and_scale(60, 2)
        .unwrap();
    let decimal = Decimal128Array::from(vec![Some(1_050), None])
        .with_precision_and_scale(15, 2)
        .unwrap();
    let instants = TimestampMicrosecondArray::from(vec![Some(1_704_164_645_678_000), None]);
    let interval = IntervalMonthDayNano::new(14, 3, 1_000);
    let columns: Vec<(&str, ArrayRef, Option<&str>)> = vec![
        (
            "bool",
            Arc::new(BooleanArray::from(vec![Some(true), None])),
            None,
        ),
        (
            "int2",
            Arc::new(Int16Array::from(vec![Some(1), None])),
            None,
        ),
        (
            "int4",
            Arc::new(Int32Array::from(vec![Some(-1), None])),
            None,
        ),
        (
            "int8",
            Arc::new(Int64Array::from(vec![Some(i64::MAX), None])),
            None,
        ),
        (
            "oid",
            Arc::new(UInt32Array::from(vec![Some(u32::MAX), None])),
            None,
        ),
        (
            "xid8",
            Arc::new(UInt64Array::from(vec![Some(u64::MAX), None])),
            None,
        ),
        (
            "float4",
            Arc::new(Float32Array::from(vec![Some(0.1), None])),
            None,
        ),
        (
            "float8",
            Arc::new(Float64Array::from(vec![Some(1e23), None])),
            None,
        ),
        ("numeric", Arc::new(decimal), None),
        ("wide", Arc::new(wide), None),
        (
            "text",
            Arc::new(StringArray::from(vec![Some("a,\"b"), None])),
            None,
        ),
        (
            "json",
            Arc::new(StringArray::from(vec![Some("{\"a\": [1]}"), None])),
            Some("arrow.json"),
        ),
        (
            "bytea",
            Arc::new(BinaryArray::from(vec![Some(&b"\xff"[..]), None])),
            None,
        ),
        ("uuid", Arc::new(uuid), Some("arrow.uuid")),
        (
            "date",
            Arc::new(Date32Array::from(vec![Some(-719_163), None])),
            None,
        ),
        (
            "time",
            Arc::new(Time64MicrosecondArray::from(vec![
                Some(86_400_000_000),
                None,
            ])),
            None,
        ),
        ("timestamp", Arc::new(instants.clone()), None),
        ("timestamptz", Arc::new(instants.with_timezone("UTC")), None),
        (
            "interval",
            Arc::new(IntervalMonthDayNanoArray::from(vec![Some(interval), None])),
            None,
        ),
        ("enum", Arc::new(moods), None),
        ("array", Arc::new(lists.finish()), None),
        ("record", Arc::new(record), None),
        ("hstore", Arc::new(maps.finish()), None),
        ("vector", Arc::new(vector), Some("merganser.vector")),
    ];
    let fields: Vec<_> = columns
        .iter()
        .map(|(name, array, extension)| {
            let known = extension.map(|e| ("ARROW:extension:name".to_owned(), e.to_owned()));
            let empty = ("ARROW:extension:metadata".to_owned(), String::new());
            let arrows = extension.filter(|e| e.starts_with("arrow."));
            let metadata = known.into_iter().chain(arrows.map(|_| empty));
            Field::new(*name, array.data_type().clone(), true)
                .with_metadata(metadata.into_iter().collect::<HashMap<_, _>>())
        })
        .collect();
    let arrays = columns.into_iter().map(|(_, array, _)| array).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap()
}

fn numbers(rows: usize) -> RecordBatch {
    let schema = Schema::new(vec![Field::new("n", DataType::Int64, false)]);
    let array = Int64Array::from_iter_values(0..rows as i64);
    RecordBatch::try_new(Arc::new(schema), vec![Arc::new(array)]).unwrap()
}

fn stream_of(batches: Vec<Result<RecordBatch>>) -> QueryStream {
    let schema = numbers(0).schema();
    QueryStream::new(schema, stream::iter(batches))
}

/// A writer into memory.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl io::Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

async fn write_to(stream: QueryStream, output: Output, format: Format) -> Result<Summary> {
    let (options, progress) = (ExportOptions::new(), Progress::default());
    write(stream, output, format, &options, &progress).await
}

fn open(path: PathBuf) -> Output {
    Destination::Path(path).open().unwrap()
}

/// A directory with a file `out` that holds `old`.
fn old_file() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("out");
    std::fs::write(&path, "old").unwrap();
    (directory, path)
}

#[track_caller]
fn assert_untouched(directory: &tempfile::TempDir, path: &PathBuf) {
    assert_eq!(std::fs::read(path).unwrap(), b"old");
    assert_eq!(std::fs::read_dir(directory).unwrap().count(), 1);
}

fn io_kind(error: &Error) -> Option<io::ErrorKind> {
    let source = std::error::Error::source(error)?;
    source.downcast_ref::<io::Error>().map(io::Error::kind)
}

#[test]
fn formats_have_names_and_extensions() {
    for (format, name) in Format::NAMES {
        assert_eq!(name.parse::<Format>().unwrap(), format);
        assert_eq!(format.to_string(), name);
    }
    let error = "xlsx".parse::<Format>().unwrap_err();
    assert!(error.hint().unwrap().contains("arrow-stream, parquet"));
    for (path, format) in [
        ("a.csv", Format::Csv),
        ("a.b.JSONL", Format::Ndjson),
        ("a.feather", Format::Arrow),
        ("a.arrows", Format::ArrowStream),
        ("a.pq", Format::Parquet),
    ] {
        assert_eq!(Format::from_path(Path::new(path)).unwrap(), format);
    }
    let error = Format::from_path(Path::new("a.txt")).unwrap_err();
    assert!(error.hint().unwrap().contains("--format"));
}

#[test]
fn a_compression_that_a_format_lacks_is_an_error() {
    let check = |name: &str, format| {
        let options = ExportOptions::new().with_compression(name.parse().unwrap());
        options.check(format).map_err(|error| error.to_string())
    };
    assert_eq!(check("snappy", Format::Parquet), Ok(()));
    assert_eq!(check("zstd", Format::Arrow), Ok(()));
    assert_eq!(check("none", Format::Csv), Ok(()));
    assert_eq!(
        check("zstd", Format::Csv),
        Err("format csv has no compression zstd".to_owned())
    );
    assert!(check("snappy", Format::ArrowStream).is_err());
    assert!("lzo".parse::<Compression>().is_err());
}

#[tokio::test]
async fn every_format_writes_every_type() {
    let batch = every_type();
    for format in FORMATS {
        let batch = match format {
            Format::Parquet => {
                let interval = batch.schema().index_of("interval").unwrap();
                let mut batch = batch.clone();
                batch.remove_column(interval);
                batch
            }
            _ => batch.clone(),
        };
        let memory = Memory::default();
        let stream = QueryStream::new(batch.schema(), stream::iter([Ok(batch)]));
        let output = Output::from_writer("memory", memory.clone());
        let summary = write_to(stream, output, format).await.unwrap();
        let written = memory.0.lock().unwrap();
        assert_eq!(summary.rows, 2, "{format}");
        assert_eq!(summary.bytes, written.len() as u64, "{format}");
        if format == Format::Csv {
            let text = String::from_utf8(written.clone()).unwrap();
            assert_eq!(
                text.lines().nth(1).unwrap(),
                "t,1,-1,9223372036854775807,4294967295,18446744073709551615,0.1,\
                 9.999999999999999e+22,10.50,-0.05,\"a,\"\"b\",\"{\"\"a\"\": [1]}\",\\xff,\
                 07070707-0707-0707-0707-070707070707,0001-12-31 BC,24:00:00,\
                 2024-01-02 03:04:05.678,2024-01-02 03:04:05.678+00,\
                 1 year 2 mons 3 days 00:00:00.000001,sad,\"{{1,NULL},{3,4}}\",\
                 \"(1,\"\"x y\"\")\",\"\"\"k\"\"=>NULL\",\"[1,2.5]\""
            );
        }
    }
}

#[tokio::test]
async fn a_file_holds_all_rows_and_progress_counts_them() {
    let (directory, path) = old_file();
    let progress = Progress::default();
    let stream = stream_of(vec![Ok(numbers(3)), Ok(numbers(0)), Ok(numbers(2))]);
    let options = ExportOptions::new();
    let summary = write(stream, open(path.clone()), Format::Csv, &options, &progress);
    let summary = summary.await.unwrap();
    assert_eq!((summary.rows, summary.bytes), (5, 12));
    assert_eq!((progress.rows(), progress.bytes()), (5, 12));
    assert_eq!(std::fs::read(&path).unwrap(), b"n\n0\n1\n2\n0\n1\n");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn no_rows_are_a_complete_file_with_the_schema() {
    for format in FORMATS {
        let memory = Memory::default();
        let output = Output::from_writer("memory", memory.clone());
        let summary = write_to(stream_of(vec![]), output, format).await.unwrap();
        assert_eq!(summary.rows, 0);
        let bytes = memory.0.lock().unwrap().clone();
        let schema = match format {
            Format::Table => {
                assert_eq!(bytes, b" n \n---\n(0 rows)\n");
                continue;
            }
            Format::Csv => {
                assert_eq!(bytes, b"n\n");
                continue;
            }
            Format::Json => {
                assert_eq!(bytes, b"[]\n");
                continue;
            }
            Format::Ndjson => {
                assert_eq!(bytes, b"");
                continue;
            }
            Format::Arrow => {
                let file = io::Cursor::new(bytes);
                arrow::ipc::reader::FileReader::try_new(file, None)
                    .unwrap()
                    .schema()
            }
            Format::ArrowStream => {
                let file = io::Cursor::new(bytes);
                arrow::ipc::reader::StreamReader::try_new(file, None)
                    .unwrap()
                    .schema()
            }
            _ => ::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(
                bytes::Bytes::from(bytes),
            )
            .unwrap()
            .schema()
            .clone(),
        };
        assert_eq!(schema.fields(), numbers(0).schema().fields(), "{format}");
    }
}

#[tokio::test]
async fn a_full_disk_leaves_the_old_file() {
    for format in FORMATS {
        for capacity in [0, 1, 10, 1_000, 300_000] {
            let (directory, path) = old_file();
            let batches = (0..60).map(|_| Ok(numbers(8_192))).collect();
            let output = open(path.clone()).with_capacity(capacity);
            let error = write_to(stream_of(batches), output, format)
                .await
                .unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Export, "{format} {capacity}");
            assert_eq!(error.phase(), Some(Phase::Write));
            assert_eq!(error.message(), format!("cannot write to {path:?}"));
            assert_eq!(io_kind(&error), Some(io::ErrorKind::StorageFull));
            assert!(error.hint().unwrap().contains("free some space"));
            assert_untouched(&directory, &path);
        }
    }
}

#[tokio::test]
async fn what_the_disk_does_not_keep_leaves_the_old_file() {
    for format in FORMATS {
        let (directory, path) = old_file();
        let output = open(path.clone()).forgetful();
        let error = write_to(stream_of(vec![Ok(numbers(9))]), output, format)
            .await
            .unwrap_err();
        assert_eq!(
            (error.kind(), error.phase()),
            (ErrorKind::Export, Some(Phase::Write))
        );
        assert_eq!(
            error.message(),
            format!("cannot write to {path:?}"),
            "{format}"
        );
        assert_untouched(&directory, &path);
    }
}

#[tokio::test]
async fn what_cannot_have_its_name_leaves_what_has_it() {
    for format in FORMATS {
        let (directory, path) = old_file();
        let output = open(path.clone());
        // Somebody makes a folder of it meanwhile.
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        let error = write_to(stream_of(vec![Ok(numbers(9))]), output, format)
            .await
            .unwrap_err();
        assert_eq!(
            (error.kind(), error.phase()),
            (ErrorKind::Export, Some(Phase::Write))
        );
        assert_eq!(
            io_kind(&error),
            Some(io::ErrorKind::IsADirectory),
            "{format}"
        );
        assert!(path.is_dir());
        assert_eq!(
            std::fs::read_dir(&directory).unwrap().count(),
            1,
            "{format}"
        );
    }
}

#[tokio::test]
async fn an_error_of_the_stream_leaves_the_old_file() {
    for format in FORMATS {
        let (directory, path) = old_file();
        let failure = Error::new(ErrorKind::Server, "gone").with_shard("s1");
        let stream = stream_of(vec![Ok(numbers(9)), Err(failure)]);
        let error = write_to(stream, open(path.clone()), format)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Server);
        assert_eq!(error.shard(), Some("s1"));
        assert_untouched(&directory, &path);
    }
}

#[tokio::test]
async fn dropping_the_future_leaves_the_old_file() {
    let (directory, path) = old_file();
    let endless = stream::iter([Ok(numbers(9))]).chain(stream::pending());
    let stream = QueryStream::new(numbers(0).schema(), endless);
    let write = write_to(stream, open(path.clone()), Format::Csv);
    assert!(
        tokio::time::timeout(Duration::from_millis(50), write)
            .await
            .is_err()
    );
    assert_untouched(&directory, &path);
}

#[tokio::test]
async fn a_failed_writer_does_not_wait_for_rows() {
    struct Broken;
    impl io::Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    for format in FORMATS {
        let many = (0..100).map(|_| Ok(numbers(60_000)));
        let endless = stream::iter(many.collect::<Vec<_>>()).chain(stream::pending());
        let stream = QueryStream::new(numbers(0).schema(), endless);
        let write = write_to(stream, Output::from_writer("pipe", Broken), format);
        let result = tokio::time::timeout(Duration::from_secs(30), write).await;
        let error = result
            .unwrap_or_else(|_| panic!("{format} hangs"))
            .unwrap_err();
        assert_eq!(io_kind(&error), Some(io::ErrorKind::BrokenPipe), "{format}");
        assert_eq!(error.kind(), ErrorKind::Export);
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_full_device_is_an_error() {
    for format in FORMATS {
        let output = open(PathBuf::from("/dev/full"));
        let error = write_to(stream_of(vec![Ok(numbers(1))]), output, format).await;
        let error = error.unwrap_err();
        assert_eq!(
            io_kind(&error),
            Some(io::ErrorKind::StorageFull),
            "{format}: {error:?}"
        );
        assert_eq!(error.message(), "cannot write to \"/dev/full\"");
    }
}

#[tokio::test]
async fn a_panic_in_a_writer_is_an_error() {
    struct Panicking;
    impl RecordBatchWriter for Panicking {
        fn write(&mut self, _: &RecordBatch) -> Result<(), ArrowError> {
            panic!("out of luck")
        }
        fn close(self) -> Result<(), ArrowError> {
            Ok(())
        }
    }
    let stream = stream_of(vec![Ok(numbers(1))]);
    let error = pump(stream, |_| Ok(Panicking), &Progress::default())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Export);
    assert_eq!(error.message(), "the writer panicked: out of luck");
}

#[tokio::test]
async fn errors_of_a_foreign_writer_keep_their_source() {
    let stream = stream_of(vec![Ok(numbers(1))]);
    let open = |_| Err::<CountingWriter, _>(Error::new(ErrorKind::Export, "no"));
    let error = pump(stream, open, &Progress::default()).await.unwrap_err();
    assert_eq!(error.message(), "no");
    let error = writer_error(io::Error::from(io::ErrorKind::BrokenPipe).into());
    assert_eq!(io_kind(&error), Some(io::ErrorKind::BrokenPipe));
}

#[tokio::test]
async fn format_none_counts_and_wants_no_file() {
    let (directory, path) = old_file();
    let output = Output::from_writer("nothing", io::sink());
    let summary = write_to(stream_of(vec![Ok(numbers(7))]), output, Format::None);
    assert_eq!(summary.await.unwrap(), Summary { rows: 7, bytes: 0 });
    let error = write_to(stream_of(vec![]), open(path.clone()), Format::None).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Config);
    assert_untouched(&directory, &path);
}

#[tokio::test]
async fn what_a_format_cannot_hold_is_refused_before_any_row() {
    let interval = Field::new("i", DataType::Interval(IntervalUnit::MonthDayNano), true);
    let schema = Arc::new(Schema::new(vec![interval]));
    let stream = QueryStream::new(schema, stream::pending());
    let output = Output::from_writer("memory", io::sink());
    let error = write_to(stream, output, Format::Parquet).await.unwrap_err();
    assert!(error.message().starts_with("column \"i\""));
}
