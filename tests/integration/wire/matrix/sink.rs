//! What reads the rows of a case: sinks, ways into them, and their speed.

use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use arrow::ipc::reader::FileReader;
use arrow::ipc::writer::FileWriter;
use arrow::record_batch::RecordBatchWriter;
use futures::stream::StreamExt;
use merganser::export::{self, CsvWriter, Destination, ExportOptions, Format, Progress};
use merganser::{Error, FanOut, QueryStream, arrow};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use rustix::fs::{CWD, FileType, mknodat};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, spawn_blocking};

use super::case::Case;
use super::{DEADLINE, GRACE};
use crate::wire::values;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Sink {
    Collect,
    Csv,
    Parquet,
    Arrow,
}

pub(super) const SINKS: [Sink; 4] = [Sink::Collect, Sink::Csv, Sink::Parquet, Sink::Arrow];

/// How what is written gets there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Into a file, which has its name when it is complete. Who is slow stands between rows and writer.
    File,
    /// Into a FIFO, whose reader is slow.
    Fifo,
    /// By a writer of our own, which is slow.
    Writer,
}

pub(super) const WAYS: [Way; 3] = [Way::File, Way::Fifo, Way::Writer];

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Speed {
    Fast,
    /// A pause behind each batch.
    Slow,
    /// It takes its first batch and does not come back; a FIFO has no reader. A stream of batches is not
    /// asked for the second one for a while, beyond the deadline if that is what ends the query.
    Stuck,
}

pub(super) const SPEEDS: [Speed; 3] = [Speed::Fast, Speed::Slow, Speed::Stuck];

/// What is at the path before.
pub(super) const OLD: &str = "of yesterday";
pub(super) const FILE: &str = "rows";
const PIPE: &str = "pipe";

/// What is wrong with what is left in a folder.
pub(super) fn left_in(folder: &Path, is_replaced: bool) -> Option<String> {
    let names = folder.read_dir().unwrap();
    let mut names = names.map(|entry| entry.unwrap().file_name());
    if let Some(name) = names.find(|name| name != FILE && name != PIPE) {
        return Some(format!("{name:?} is left"));
    }
    let is_old = fs::read(folder.join(FILE)).unwrap() == OLD.as_bytes();
    (is_old == is_replaced).then(|| format!("the old file is there: {is_old}"))
}

impl Case {
    /// Reads all rows; what they are, if there is an answer, and how long that took.
    pub(super) async fn read(
        &self,
        query: FanOut,
        folder: &Path,
    ) -> (Result<Vec<i32>, Error>, Duration) {
        let started = Instant::now();
        let format = match self.sink {
            Sink::Collect => {
                let rows = self.collect(query).await;
                return (rows, started.elapsed());
            }
            Sink::Csv => Format::Csv,
            Sink::Parquet => Format::Parquet,
            Sink::Arrow => Format::Arrow,
        };
        let (done, bytes) = match self.way {
            Way::File => {
                let path = folder.join(FILE);
                let done = self.export(query, &path, format).await;
                (done, fs::read(&path).unwrap())
            }
            Way::Fifo => {
                let path = folder.join(PIPE);
                let pipe = Pipe::new(&path, self.speed);
                let done = self.export(query, &path, format).await;
                let elapsed = started.elapsed();
                let bytes = pipe.end().await;
                return (done.map(|()| read_back(self.sink, bytes)), elapsed);
            }
            Way::Writer => self.write(query).await,
        };
        let elapsed = started.elapsed();
        (done.map(|()| read_back(self.sink, bytes)), elapsed)
    }

    async fn collect(&self, query: FanOut) -> Result<Vec<i32>, Error> {
        if self.speed == Speed::Fast {
            return Ok(values(&query.collect().await?));
        }
        let mut rows = query.stream().await?;
        let mut read = Vec::new();
        while let Some(batch) = rows.next().await {
            read.push(batch?);
            let pause = match (self.speed, read.len(), self.is_patient()) {
                (Speed::Stuck, 1, true) => DEADLINE + GRACE / 4,
                (Speed::Stuck, 1, false) => GRACE / 4,
                _ => PAUSE,
            };
            tokio::time::sleep(pause).await;
        }
        Ok(values(&read))
    }

    /// Into what is at a path, by the library's own writers.
    async fn export(&self, query: FanOut, path: &Path, format: Format) -> Result<(), Error> {
        let output = Destination::from(path.to_path_buf()).open()?;
        let mut rows = query.stream().await?;
        if self.way == Way::File && self.speed != Speed::Fast {
            rows = hesitant(rows, self.speed == Speed::Stuck, path);
        }
        let options = ExportOptions::new();
        let progress = Progress::default();
        let written = export::write(rows, output, format, &options, &progress).await;
        written.map(drop)
    }

    /// By a writer of our own; and what it has written.
    async fn write(&self, query: FanOut) -> (Result<(), Error>, Vec<u8>) {
        let written = Buffer::default();
        // Dropped once the answer is there.
        let (_release, stuck) = mpsc::channel();
        let (sink, speed, to) = (self.sink, self.speed, written.clone());
        let open = move |schema: arrow::datatypes::SchemaRef| {
            let inner: Box<dyn Batches + Send> = match sink {
                Sink::Csv | Sink::Collect => Box::new(Some(CsvWriter::new(to, schema))),
                Sink::Parquet => Box::new(Some(ArrowWriter::try_new(to, schema, None).unwrap())),
                Sink::Arrow => Box::new(Some(FileWriter::try_new(to, &schema).unwrap())),
            };
            Ok(Reluctant {
                inner,
                speed,
                stuck,
            })
        };
        let done = query.write(open).await;
        let bytes = std::mem::take(&mut *written.0.lock().unwrap());
        (done.map(drop), bytes)
    }
}

/// The same rows with a pause behind each batch, or none behind the first; meanwhile the old file is there.
fn hesitant(rows: QueryStream, is_stuck: bool, path: &Path) -> QueryStream {
    let (schema, path) = (rows.schema(), path.to_path_buf());
    rows.transform(schema, move |rows| {
        rows.enumerate().then(move |(at, batch)| {
            let path = path.clone();
            async move {
                if is_stuck && at > 0 {
                    std::future::pending::<()>().await;
                }
                tokio::time::sleep(PAUSE).await;
                assert_eq!(fs::read(path).unwrap(), OLD.as_bytes());
                batch
            }
        })
    })
}

/// A FIFO and who reads it; nobody if that is stuck.
struct Pipe {
    path: PathBuf,
    /// Whether it was opened to be read, and what was.
    reader: Option<(oneshot::Receiver<()>, JoinHandle<Vec<u8>>)>,
}

impl Pipe {
    fn new(path: &Path, speed: Speed) -> Self {
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        mknodat(CWD, path, FileType::Fifo, mode, 0).unwrap();
        let (opened, is_open) = oneshot::channel();
        let at = path.to_path_buf();
        let read = move || {
            let mut pipe = OpenOptions::new().read(true).open(at).unwrap();
            let _ = opened.send(());
            let mut read = Vec::new();
            let mut piece = [0; 500];
            loop {
                if speed == Speed::Slow {
                    std::thread::sleep(PAUSE);
                }
                match pipe.read(&mut piece).unwrap() {
                    0 => return read,
                    length => read.extend(&piece[..length]),
                }
            }
        };
        let reader = (speed != Speed::Stuck).then(|| (is_open, spawn_blocking(read)));
        Self {
            path: path.to_path_buf(),
            reader,
        }
    }

    /// All that came out of it.
    async fn end(self) -> Vec<u8> {
        // Whoever still waits for the other side, to write or to read, has it now.
        let mut both = OpenOptions::new();
        let both = both.read(true).write(true).open(self.path).unwrap();
        let Some((is_open, reader)) = self.reader else {
            return Vec::new();
        };
        is_open.await.unwrap();
        drop(both);
        reader.await.unwrap()
    }
}

/// Of a slow sink, behind each batch.
const PAUSE: Duration = Duration::from_millis(5);

fn read_back(sink: Sink, bytes: Vec<u8>) -> Vec<i32> {
    match sink {
        Sink::Csv | Sink::Collect => {
            let text = String::from_utf8(bytes).unwrap();
            let lines = text.lines().skip(1);
            lines.map(|line| line.parse().unwrap()).collect()
        }
        Sink::Parquet => {
            let reader = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(bytes));
            let batches: Result<Vec<_>, _> = reader.unwrap().build().unwrap().collect();
            values(&batches.unwrap())
        }
        Sink::Arrow => {
            let reader = FileReader::try_new(std::io::Cursor::new(bytes), None).unwrap();
            values(&reader.collect::<Result<Vec<_>, _>>().unwrap())
        }
    }
}

#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Any writer of batches.
trait Batches {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), ArrowError>;
    fn close(&mut self) -> Result<(), ArrowError>;
}

impl<W: RecordBatchWriter> Batches for Option<W> {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        self.as_mut().unwrap().write(batch)
    }

    fn close(&mut self) -> Result<(), ArrowError> {
        self.take().unwrap().close()
    }
}

/// A sink that is in no hurry.
struct Reluctant {
    inner: Box<dyn Batches + Send>,
    speed: Speed,
    stuck: mpsc::Receiver<()>,
}

impl RecordBatchWriter for Reluctant {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        self.inner.write(batch)?;
        match self.speed {
            // Until whoever waits for the answer has it.
            Speed::Stuck => drop(self.stuck.recv()),
            Speed::Slow => std::thread::sleep(PAUSE),
            Speed::Fast => {}
        }
        Ok(())
    }

    fn close(mut self) -> Result<(), ArrowError> {
        self.inner.close()
    }
}
