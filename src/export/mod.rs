//! One stream of rows into one output: a table to read, CSV, JSON, Arrow IPC or Parquet.
//!
//! ```text
//!  QueryStream ──► bounded channel ──► blocking thread: RecordBatchWriter ──► Output
//!  (shards go on decoding)             (encodes, compresses, writes)         (stdout, file, device)
//! ```
//!
//! [`write()`] does all of it for a [`Format`] and an [`Output`]; [`pump`] drives any
//! [`RecordBatchWriter`]. Every format here is such a writer. A [`Folder`] takes many files, of each
//! shard at the same time.

mod csv;
mod folder;
mod ipc;
mod json;
mod names;
mod output;
mod parquet;
mod table;
mod unfinished;
mod workers;

use std::any::Any;
use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{RecordBatch, new_empty_array};
use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatchWriter;
use futures::StreamExt;
use tokio::sync::mpsc;

pub use self::csv::CsvWriter;
#[cfg(fuzzing)]
pub(crate) use self::folder::fuzz;
pub use self::folder::{
    ColumnRange, Folder, Manifest, ManifestColumn, ManifestFile, ManifestShard, SharedFolder,
};
pub(crate) use self::folder::{Part, Resumable, Source};
pub use self::json::{JsonLayout, JsonWriter};
use self::output::OutputWriter;
pub use self::output::{Destination, Output, write_error};
pub use self::table::TableWriter;
use self::workers::Workers;
use crate::error::{Error, ErrorKind, Phase, Result};
use crate::missing::MissingShards;
use crate::stream::{QueryStream, Remarks};
use crate::text::TextFormatter;

/// How many batches may wait for the writer; while they do, the shards are not read further.
const QUEUED_BATCHES: usize = 2;

/// How much text a writer collects before it hands it on.
const FLUSH_BYTES: usize = 64 * 1024;

/// The form of an output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// An aligned table for reading.
    Table,
    /// What `psql --csv` prints, with the empty text quoted.
    Csv,
    /// One array of objects.
    Json,
    /// One object per line.
    Ndjson,
    /// The Arrow IPC file format (Feather version 2).
    Arrow,
    /// The Arrow IPC stream format.
    ArrowStream,
    /// Apache Parquet.
    ///
    /// Decimals of any precision are written exactly. Of those of more than 38 digits DuckDB makes
    /// doubles, and Polars does not open the file. Parquet has no interval that PostgreSQL's fit into:
    /// have intervals read [as text](crate::types::IntervalAs::Text).
    Parquet,
    /// Nothing: the rows are counted.
    None,
}

impl Format {
    /// Every format with its name.
    const NAMES: [(Self, &'static str); 8] = [
        (Self::Table, "table"),
        (Self::Csv, "csv"),
        (Self::Json, "json"),
        (Self::Ndjson, "ndjson"),
        (Self::Arrow, "arrow"),
        (Self::ArrowStream, "arrow-stream"),
        (Self::Parquet, "parquet"),
        (Self::None, "none"),
    ];

    /// The format that a file's extension stands for, in upper or lower case.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for any other extension.
    pub fn from_path(path: &Path) -> Result<Self> {
        let extension = path.extension().and_then(|extension| extension.to_str());
        let extension = extension.map(str::to_ascii_lowercase);
        match extension.as_deref() {
            Some("csv") => Ok(Self::Csv),
            Some("json") => Ok(Self::Json),
            Some("ndjson" | "jsonl") => Ok(Self::Ndjson),
            Some("arrow" | "feather" | "ipc") => Ok(Self::Arrow),
            Some("arrows") => Ok(Self::ArrowStream),
            Some("parquet" | "pq") => Ok(Self::Parquet),
            _ => Err(Error::new(
                ErrorKind::Config,
                format!("cannot tell the format of {path:?} from its extension"),
            )
            .with_hint(format!("name it with --format: {}", Self::names()))),
        }
    }

    fn names() -> String {
        Self::NAMES.map(|(_, name)| name).join(", ")
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = Self::NAMES.iter().find(|(format, _)| format == self);
        f.write_str(named.map_or("none", |(_, name)| name))
    }
}

impl FromStr for Format {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let named = Self::NAMES.iter().find(|(_, known)| *known == name);
        named.map(|(format, _)| *format).ok_or_else(|| {
            Error::new(ErrorKind::Config, format!("unknown format {name:?}"))
                .with_hint(format!("the formats are {}", Self::names()))
        })
    }
}

/// How the bytes of a binary format are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Compression {
    /// Not at all.
    None,
    /// Snappy, which Parquet has.
    Snappy,
    /// Zstandard, which Parquet and Arrow have.
    Zstd,
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Snappy => "snappy",
            Self::Zstd => "zstd",
        })
    }
}

impl FromStr for Compression {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "none" => Ok(Self::None),
            "snappy" => Ok(Self::Snappy),
            "zstd" => Ok(Self::Zstd),
            _ => Err(
                Error::new(ErrorKind::Config, format!("unknown compression {name:?}"))
                    .with_hint("the compressions are zstd, snappy, none"),
            ),
        }
    }
}

/// For what a Parquet file keeps least and greatest values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Statistics {
    /// For nothing.
    None,
    /// For each column of a row group.
    RowGroup,
    /// For each page as well, so that a reader can skip pages.
    Page,
}

/// What becomes of columns that have the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DuplicateColumns {
    /// An error before the first row.
    Error,
    /// The second `id` becomes `id_2`, the third `id_3`, past names that other columns have.
    Rename,
}

impl FromStr for DuplicateColumns {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "error" => Ok(Self::Error),
            "rename" => Ok(Self::Rename),
            _ => Err(Error::new(
                ErrorKind::Config,
                format!("invalid option for columns of one name {name:?}"),
            )
            .with_hint("write error or rename")),
        }
    }
}

/// What becomes of texts that a spreadsheet would compute when it opens a CSV file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum CsvFormulas {
    /// They stay as they are.
    #[default]
    Keep,
    /// A value or a name of a column that begins with `=`, `+`, `-`, `@`, a tab, CR or LF, and is no
    /// number, gets a `'` before it, and quotes: OWASP, "CSV Injection". That changes the data: for
    /// files that people open, not for programs.
    Escape,
}

/// How to write a format; the defaults suit most readers.
#[derive(Debug, Clone)]
#[must_use]
pub struct ExportOptions {
    compression: Option<Compression>,
    row_group_rows: usize,
    row_group_bytes: usize,
    statistics: Statistics,
    duplicate_columns: Option<DuplicateColumns>,
    csv_formulas: CsvFormulas,
}

impl Default for ExportOptions {
    fn default() -> Self {
        Self {
            compression: None,
            row_group_rows: 1 << 20,
            row_group_bytes: 64 << 20,
            statistics: Statistics::Page,
            duplicate_columns: None,
            csv_formulas: CsvFormulas::Keep,
        }
    }
}

impl ExportOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// The compression; by default zstd (level 1) for Parquet, and none for anything else.
    pub fn with_compression(mut self, compression: Compression) -> Self {
        self.compression = Some(compression);
        self
    }

    /// The most rows of one Parquet row group; 1,048,576 by default, at least 1.
    pub fn with_row_group_rows(mut self, rows: usize) -> Self {
        self.row_group_rows = rows.max(1);
        self
    }

    /// About the most bytes of one Parquet row group, which is held in memory until it is full;
    /// 64 MiB by default, at least 1.
    pub fn with_row_group_bytes(mut self, bytes: usize) -> Self {
        self.row_group_bytes = bytes.max(1);
        self
    }

    /// The statistics of a Parquet file; [`Statistics::Page`] by default.
    pub fn with_statistics(mut self, statistics: Statistics) -> Self {
        self.statistics = statistics;
        self
    }

    /// What becomes of columns that have the same name; by default they are an error in JSON and
    /// Parquet, whose readers go by names, and stay as they are in Arrow, CSV and tables.
    pub fn with_duplicate_columns(mut self, duplicates: DuplicateColumns) -> Self {
        self.duplicate_columns = Some(duplicates);
        self
    }

    /// What becomes of formulas in CSV; [`CsvFormulas::Keep`] by default.
    pub fn with_csv_formulas(mut self, formulas: CsvFormulas) -> Self {
        self.csv_formulas = formulas;
        self
    }

    /// Makes sure that these options mean something for a format; needs no schema.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for a compression that the format does not have, and for formulas that are to
    /// be escaped in another format than CSV.
    pub fn check(&self, format: Format) -> Result<()> {
        if self.csv_formulas == CsvFormulas::Escape && format != Format::Csv {
            let what = format!("formulas are escaped in CSV, and the format is {format}");
            return Err(Error::new(ErrorKind::Config, what)
                .with_hint("leave --csv-escape-formulas out, or choose --format csv"));
        }
        let Some(compression) = self.compression else {
            return Ok(());
        };
        let cure = match (format, compression) {
            (_, Compression::None) | (Format::Parquet, _) => return Ok(()),
            (Format::Arrow | Format::ArrowStream, Compression::Zstd) => return Ok(()),
            (Format::Arrow | Format::ArrowStream, _) => "Arrow has zstd and none",
            _ => "leave it out, or pipe the output into a program that compresses",
        };
        Err(Error::new(
            ErrorKind::Config,
            format!("format {format} has no compression {compression}"),
        )
        .with_hint(cure))
    }
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// Rows of the result.
    pub rows: u64,
    /// Bytes that the output took.
    pub bytes: u64,
}

/// How far an export has come; clones share the counters, so that one can be shown meanwhile.
#[derive(Debug, Clone, Default)]
pub struct Progress(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    rows: AtomicU64,
    bytes: AtomicU64,
}

impl Progress {
    /// Rows handed to the writer so far.
    pub fn rows(&self) -> u64 {
        self.0.rows.load(Ordering::Relaxed)
    }

    /// Bytes that the output has taken so far.
    pub fn bytes(&self) -> u64 {
        self.0.bytes.load(Ordering::Relaxed)
    }

    fn add_rows(&self, rows: u64) {
        self.0.rows.fetch_add(rows, Ordering::Relaxed);
    }

    fn add_bytes(&self, bytes: u64) {
        self.0.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// Makes sure that a format can hold a result of this schema, before its first row is read.
///
/// # Errors
/// [`ErrorKind::Export`] for a type or a name that the format cannot hold, naming the column and a
/// cure; [`ErrorKind::Config`] as [`ExportOptions::check`].
pub fn check(schema: &Schema, format: Format, options: &ExportOptions) -> Result<()> {
    options.check(format)?;
    let schema = names::resolve(&Arc::new(schema.clone()), format, options)?;
    match format {
        Format::Table | Format::Csv => {
            for field in schema.fields() {
                TextFormatter::try_new(field, new_empty_array(field.data_type()).as_ref())?;
            }
            Ok(())
        }
        Format::Json | Format::Ndjson => json::check(&schema),
        Format::Parquet => parquet::check(&schema, options),
        // The writers of these find fault with the schema when they are opened.
        Format::Arrow | Format::ArrowStream | Format::None => Ok(()),
    }
}

/// Writes all rows of a stream to an output.
///
/// A file appears under its name only after its last byte is on the disk. Where shards were allowed to
/// be missing and are, Parquet and Arrow files have their names in the metadata: a JSON array under the
/// key `merganser.missing_shards`. Where all were read behind a [fence](crate::config::ReadFence), the
/// metadata of a Parquet file and of the schema in Arrow files and streams says how nearly:
/// `{"skew_ms":1.5,"watermark":null}` under the key `merganser.read_fence`.
///
/// # Errors
/// Those of the stream, unchanged; those of [`check`]; and [`ErrorKind::Export`] when the output
/// cannot be written, with the [`std::io::Error`] as its source: of kind
/// [`BrokenPipe`](std::io::ErrorKind::BrokenPipe) when the reader of a pipe has gone, which a
/// command line takes for the end, and [`FileTooLarge`](std::io::ErrorKind::FileTooLarge) beyond what a file may
/// have (`ulimit -f`): unless nothing takes SIGXFSZ, which ends the process then.
///
/// # Cancel safety
/// Dropping the future removes the temporary file and leaves a file that was there before as it
/// is. The writing thread ends with the batch that it is at; only a pipe that nobody reads can hold
/// it longer.
///
/// # Memory
/// A few batches, and what the format needs: for a table 1,000 rows, for Parquet one row group, up to
/// two more that are being written, and 16 MiB of rows that wait. As many threads as there are
/// processors encode Parquet, each a column of its own.
pub async fn write(
    stream: QueryStream,
    output: Output,
    format: Format,
    options: &ExportOptions,
    progress: &Progress,
) -> Result<Summary> {
    check(&stream.schema(), format, options)?;
    let schema = names::resolve(&stream.schema(), format, options)?;
    let stream = names::rename(stream, schema);
    if format == Format::None && output.is_file() {
        return Err(Error::new(
            ErrorKind::Config,
            "format none writes nothing, so it needs no file",
        )
        .with_hint("leave the output file out, or choose another format"));
    }
    let before = (progress.rows(), progress.bytes());
    let (to, _guard) = output.split(progress);
    let options = options.clone();
    let remarks = stream.remarks().clone();
    let workers = Arc::new(Workers::for_this_machine());
    if format == Format::None {
        pump(stream, |_| Ok(CountingWriter), progress).await?;
    } else {
        let open = move |schema| {
            let inner = open_writer(format, &to, schema, &options, &workers, remarks)?;
            Ok(Committed::new(inner, to))
        };
        pump(stream, open, progress).await?;
    }
    Ok(Summary {
        rows: progress.rows() - before.0,
        bytes: progress.bytes() - before.1,
    })
}

/// A writer of one file.
trait FileWriter: Send {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), ArrowError>;

    /// Writes the end; what is known of the columns then.
    fn finish(self: Box<Self>) -> Result<Vec<ColumnRange>, ArrowError>;

    /// About how many bytes it holds until it ends a row group.
    fn held_bytes(&self) -> usize {
        0
    }

    /// Writes what it holds.
    fn end_row_group(&mut self) -> Result<(), ArrowError> {
        Ok(())
    }

    /// About how many bytes the file would have if it ended here; `None` where the output knows.
    fn file_bytes(&mut self) -> Result<Option<u64>, ArrowError> {
        Ok(None)
    }
}

/// A writer of a format that tells nothing of columns, and holds little.
struct Plain<W>(W);

impl<W: RecordBatchWriter + Send> FileWriter for Plain<W> {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        self.0.write(batch)
    }

    fn finish(self: Box<Self>) -> Result<Vec<ColumnRange>, ArrowError> {
        self.0.close().map(|()| Vec::new())
    }
}

/// The writer of a format; `None` is a format that nothing writes. Metadata says what is to be known of the
/// rows.
fn open_writer(
    format: Format,
    to: &OutputWriter,
    schema: SchemaRef,
    options: &ExportOptions,
    workers: &Arc<Workers>,
    remarks: Remarks,
) -> Result<Box<dyn FileWriter>> {
    let out = to.clone();
    Ok(match format {
        Format::Table => Box::new(Plain(TableWriter::new(out, schema))),
        Format::Csv => {
            let inner = CsvWriter::with_formulas(out, schema, options.csv_formulas);
            Box::new(Plain(inner))
        }
        Format::Json => Box::new(Plain(JsonWriter::try_new(out, schema, JsonLayout::Array)?)),
        Format::Ndjson => Box::new(Plain(JsonWriter::try_new(out, schema, JsonLayout::Lines)?)),
        Format::Arrow => {
            let schema = fenced(schema, &remarks);
            let inner = ipc::IpcFileWriter::try_new(out, schema, options);
            let inner = inner.map_err(|error| to.error(error))?;
            Box::new(Plain(inner.without(remarks.missing)))
        }
        Format::ArrowStream => {
            let schema = fenced(schema, &remarks);
            let inner = ipc::stream_writer(out, &schema, options);
            Box::new(Plain(inner.map_err(|error| to.error(error))?))
        }
        Format::Parquet => {
            let workers = Arc::clone(workers);
            let inner = parquet::ParquetWriter::try_new(out, schema, options, workers);
            let inner = inner.map_err(|error| to.error(error))?;
            Box::new(inner.with_remarks(remarks))
        }
        Format::None => Box::new(Plain(CountingWriter)),
    })
}

/// Drives a writer with all rows of a stream on a thread of its own, and closes it after the last.
///
/// The writer is closed only when the stream has ended without an error; else it is dropped.
/// Returns the number of rows.
///
/// # Errors
/// Those of the stream, unchanged; its deadline, and that one of its shards fails, also while the
/// writer is at work; else
/// [`ErrorKind::Export`] for those of `open` and of the writer, and for a panic in it.
///
/// # Cancel safety
/// Dropping the future drops the stream at once, and the writer, without closing it, as soon as it
/// returns from the batch that it is at.
pub async fn pump<W, F>(stream: QueryStream, open: F, progress: &Progress) -> Result<u64>
where
    W: RecordBatchWriter,
    F: FnOnce(SchemaRef) -> Result<W> + Send + 'static,
{
    // Also while the writer waits for its reader, and nobody asks the stream.
    let interruption = stream.interruption();
    tokio::select! {
        biased;
        // What is written is written, and an error of the stream itself has its source.
        written = drive(stream, open, progress) => written,
        error = interruption => Err(error),
    }
}

async fn drive<W, F>(mut stream: QueryStream, open: F, progress: &Progress) -> Result<u64>
where
    W: RecordBatchWriter,
    F: FnOnce(SchemaRef) -> Result<W> + Send + 'static,
{
    let (sender, mut receiver) = mpsc::channel(QUEUED_BATCHES);
    let (schema, progress) = (stream.schema(), progress.clone());
    let writing = tokio::task::spawn_blocking(move || {
        let mut writer = open(schema)?;
        let mut rows = 0;
        while let Some(message) = receiver.blocking_recv() {
            match message {
                Message::Batch(batch) => {
                    write_batch(&mut writer, &batch)?;
                    rows += batch.num_rows() as u64;
                    progress.add_rows(batch.num_rows() as u64);
                }
                Message::End => {
                    writer.close().map_err(writer_error)?;
                    return Ok(rows);
                }
            }
        }
        // The sender has gone before the end: the writer is dropped without being closed.
        Err(Error::new(ErrorKind::Cancelled, "the export was cancelled"))
    });
    loop {
        let message = tokio::select! {
            biased;
            // The writer has failed; its error is awaited below.
            () = sender.closed() => break,
            next = stream.next() => match next {
                Some(Ok(batch)) => Message::Batch(batch),
                Some(Err(error)) => return Err(error),
                None => Message::End,
            },
        };
        let is_end = matches!(message, Message::End);
        if sender.send(message).await.is_err() || is_end {
            break;
        }
    }
    // Whatever the writer does now, no shard has to wait for it.
    drop(stream);
    writing.await.unwrap_or_else(|failed| {
        Err(match failed.try_into_panic() {
            Ok(panic) => Error::new(
                ErrorKind::Export,
                format!("the writer panicked: {}", panic_message(panic.as_ref())),
            )
            .with_phase(Phase::Write),
            Err(_) => Error::new(ErrorKind::Cancelled, "the export was cancelled"),
        })
    })
}

/// What the writing thread is told; without an `End` the rows are not all there.
enum Message {
    Batch(RecordBatch),
    End,
}

fn write_batch<W: RecordBatchWriter>(writer: &mut W, batch: &RecordBatch) -> Result<()> {
    writer.write(batch).map_err(writer_error)
}

/// Turns an error of a writer into ours, or finds ours in it.
fn writer_error(error: ArrowError) -> Error {
    let source = match error {
        ArrowError::ExternalError(source) => match source.downcast::<Error>() {
            Ok(error) => return error.with_phase(Phase::Write),
            Err(source) => source,
        },
        ArrowError::IoError(_, source) => source.into(),
        other => other.into(),
    };
    Error::new(ErrorKind::Export, "cannot write the result")
        .with_phase(Phase::Write)
        .with_source(source)
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(message), _) => message,
        (None, Some(message)) => message,
        (None, None) => "no message",
    }
}

/// A writer into an [`Output`] that commits it when it is closed, and names it in its errors.
struct Committed {
    inner: Box<dyn FileWriter>,
    output: OutputWriter,
}

impl Committed {
    fn new(inner: Box<dyn FileWriter>, output: OutputWriter) -> Self {
        Self { inner, output }
    }

    /// Completes the output; its bytes, and what is known of its columns.
    fn finish(self) -> Result<(u64, Vec<ColumnRange>), ArrowError> {
        let finished = self.inner.finish();
        let columns = finished.map_err(|error| name_output(error, &self.output))?;
        match self.output.commit() {
            Ok(bytes) => Ok((bytes, columns)),
            Err(error) => Err(ArrowError::ExternalError(error.into())),
        }
    }
}

impl RecordBatchWriter for Committed {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        self.inner
            .write(batch)
            .map_err(|error| name_output(error, &self.output))
    }

    fn close(self) -> Result<(), ArrowError> {
        self.finish().map(drop)
    }
}

/// Turns an error of a writer into one that names the output, unless it is one of ours.
fn name_output(error: ArrowError, output: &OutputWriter) -> ArrowError {
    match error {
        ArrowError::ExternalError(source) if source.is::<Error>() => {
            ArrowError::ExternalError(source)
        }
        error => ArrowError::ExternalError(output.error(error).into()),
    }
}

/// The key and the value of a file's metadata that names the shards which are missing in it; `None`
/// where none is.
fn missing_metadata(missing: Option<&MissingShards>) -> Option<(&'static str, String)> {
    let names = missing?.names();
    let quoted = names.into_iter().map(serde_json::Value::String);
    let value = serde_json::Value::Array(quoted.collect());
    let is_empty = value.as_array().is_none_or(Vec::is_empty);
    (!is_empty).then(|| ("merganser.missing_shards", value.to_string()))
}

/// The key and the value of metadata that says when the shards were read; `None` without a fence.
fn fence_metadata(remarks: &Remarks) -> Option<(&'static str, String)> {
    let fenced = remarks.fenced.as_ref()?;
    let micros = (fenced.skew.as_secs_f64() * 1e6).round();
    let value = serde_json::json!({ "skew_ms": micros / 1e3, "watermark": fenced.watermark });
    Some(("merganser.read_fence", value.to_string()))
}

/// The schema with that in its metadata.
fn fenced(schema: SchemaRef, remarks: &Remarks) -> SchemaRef {
    let Some((key, value)) = fence_metadata(remarks) else {
        return schema;
    };
    let mut metadata = schema.metadata().clone();
    metadata.insert(key.to_owned(), value);
    Arc::new(Schema::new_with_metadata(schema.fields().clone(), metadata))
}

/// Takes rows and writes nothing; the pump counts them.
struct CountingWriter;

impl RecordBatchWriter for CountingWriter {
    fn write(&mut self, _: &RecordBatch) -> Result<(), ArrowError> {
        Ok(())
    }

    fn close(self) -> Result<(), ArrowError> {
        Ok(())
    }
}

/// The text formatters of a batch's columns.
fn formatters<'a>(
    schema: &Schema,
    batch: &'a RecordBatch,
) -> Result<Vec<TextFormatter<'a>>, ArrowError> {
    let columns = schema.fields().iter().zip(batch.columns());
    columns
        .map(|(field, array)| TextFormatter::try_new(field, array.as_ref()))
        .collect::<Result<_>>()
        .map_err(|error| ArrowError::ExternalError(error.into()))
}

#[cfg(test)]
mod tests;
