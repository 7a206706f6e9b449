//! The files of one shard: which rows go to which, and when one is complete.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatchWriter;

use super::hive::{self, Key, Partitioning};
use super::manifest::{ManifestFile, ManifestShard};
use super::state::{Done, State, about};
use crate::error::{Error, ErrorKind, Phase, Result};
use crate::export::output::{OutputWriter, TempGuard, sync_directory};
use crate::export::workers::Workers;
use crate::export::{Committed, Destination, ExportOptions, Format, Progress, open_writer};
use crate::stream::Remarks;
use crate::text::{Suffix, write_timestamp};

/// What the writers of all shards share.
pub(super) struct Job {
    pub(super) folder: PathBuf,
    pub(super) format: Format,
    pub(super) options: ExportOptions,
    pub(super) file_rows: Option<u64>,
    pub(super) file_bytes: Option<u64>,
    pub(super) partitioning: Partitioning,
    /// The schema of the files.
    pub(super) schema: SchemaRef,
    /// How many files a shard may have open, at least 1.
    pub(super) open_files: usize,
    /// How many bytes the open files of a shard may hold.
    pub(super) held_bytes: usize,
    pub(super) progress: Progress,
    pub(super) workers: Arc<Workers>,
    pub(super) state: Mutex<State>,
    pub(super) unfinished: Arc<Unfinished>,
}

/// Files that are not complete, and complete ones of shards that are not: removed where the export ends
/// before its time.
#[derive(Default)]
pub(super) struct Unfinished(Mutex<Remains>);

#[derive(Default)]
struct Remains {
    is_over: bool,
    guards: HashMap<PathBuf, TempGuard>,
    files: HashMap<String, Vec<PathBuf>>,
}

impl Unfinished {
    fn lock(&self) -> MutexGuard<'_, Remains> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a file; nothing is made once all is over.
    fn begin(
        &self,
        shard: &str,
        path: PathBuf,
        make: impl FnOnce() -> Result<(OutputWriter, TempGuard)>,
    ) -> Result<OutputWriter> {
        let mut remains = self.lock();
        if remains.is_over {
            return Err(Error::new(ErrorKind::Cancelled, "the export was cancelled"));
        }
        let (output, guard) = make()?;
        let files = remains.files.entry(shard.to_owned()).or_default();
        files.push(path.clone());
        remains.guards.insert(path, guard);
        Ok(output)
    }

    fn written(&self, path: &PathBuf) {
        self.lock().guards.remove(path);
    }

    /// The files of a shard are all there, and stay.
    fn complete(&self, shard: &str) -> Result<()> {
        let mut remains = self.lock();
        remains.files.remove(shard);
        match remains.is_over {
            true => Err(Error::new(ErrorKind::Cancelled, "the export was cancelled")),
            false => Ok(()),
        }
    }

    /// Removes what is not complete, and lets nothing more begin.
    pub(super) fn clear(&self) {
        let mut remains = self.lock();
        remains.is_over = true;
        // First these: what is not committed by now never will be.
        remains.guards.clear();
        for path in remains.files.drain().flat_map(|(_, files)| files) {
            // It may not have been committed.
            let _ = fs::remove_file(path);
        }
    }
}

/// Writes the rows of one shard.
pub(super) struct PartWriter {
    job: Arc<Job>,
    shard: String,
    began: SystemTime,
    open: HashMap<Key, OpenFile>,
    /// Counts what is done to files, so that the one is known that had no rows for longest.
    turn: u64,
    created: u64,
    rows: u64,
    files: Vec<ManifestFile>,
}

struct OpenFile {
    writer: Committed,
    output: OutputWriter,
    path: String,
    full_path: PathBuf,
    rows: u64,
    turn: u64,
}

impl PartWriter {
    pub(super) fn new(job: Arc<Job>, shard: String) -> Self {
        Self {
            job,
            shard,
            began: SystemTime::now(),
            open: HashMap::new(),
            turn: 0,
            created: 0,
            rows: 0,
            files: Vec::new(),
        }
    }

    fn take(&mut self, batch: &RecordBatch) -> Result<()> {
        let job = Arc::clone(&self.job);
        for (key, rows) in job.partitioning.split(batch)? {
            self.write_rows(&key, &rows)?;
        }
        self.rows += batch.num_rows() as u64;
        self.bound_memory()
    }

    fn write_rows(&mut self, key: &Key, batch: &RecordBatch) -> Result<()> {
        let mut from = 0;
        while from < batch.num_rows() {
            self.turn += 1;
            let turn = self.turn;
            let most = self.job.file_rows.unwrap_or(u64::MAX);
            let bytes = self.job.file_bytes;
            let file = self.file(key)?;
            let left = usize::try_from(most - file.rows).unwrap_or(usize::MAX);
            let taken = left.min(batch.num_rows() - from);
            let rows = batch.slice(from, taken);
            file.writer.write(&rows).map_err(writer_error)?;
            file.turn = turn;
            file.rows += taken as u64;
            from += taken;
            let is_full = file.rows >= most
                || match bytes {
                    Some(bytes) => file.bytes()? >= bytes,
                    None => false,
                };
            if is_full {
                self.complete(key)?;
            }
        }
        Ok(())
    }

    /// The file that takes the rows of a partition.
    fn file(&mut self, key: &Key) -> Result<&mut OpenFile> {
        if !self.open.contains_key(key) {
            if self.open.len() >= self.job.open_files {
                let oldest = self.open.iter().min_by_key(|(_, file)| file.turn);
                if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                    self.complete(&oldest)?;
                }
            }
            let file = self.open_file(key)?;
            self.open.insert(key.clone(), file);
        }
        let file = self.open.get_mut(key);
        file.ok_or_else(|| Error::fault("a file that was opened is gone"))
    }

    fn open_file(&mut self, key: &Key) -> Result<OpenFile> {
        let job = &self.job;
        let is_only = job.partitioning.is_none() && job.file_rows.or(job.file_bytes).is_none();
        let number = match is_only {
            true => String::new(),
            false => format!("-{:05}", self.created),
        };
        let extension = extension(job.format);
        let name = format!("{}{number}.{extension}", hive::file_name(&self.shard));
        let inner = job.partitioning.folder(key);
        let path = match inner.is_empty() {
            true => name,
            false => format!("{inner}/{name}"),
        };
        self.created += 1;
        let full_path = job.folder.join(&path);
        let make = || {
            if !inner.is_empty() {
                make_folders(&job.folder, &inner).map_err(|error| match error.kind() {
                    io::ErrorKind::InvalidFilename => hive::too_long(&inner),
                    _ => about(&job.folder.join(&inner), error),
                })?;
            }
            let output = Destination::Path(full_path.clone()).open()?;
            Ok(output.with_checksum().split(&job.progress))
        };
        let output = job.unfinished.begin(&self.shard, full_path.clone(), make)?;
        let schema = Arc::clone(&job.schema);
        let writer = open_writer(
            job.format,
            &output,
            schema,
            &job.options,
            &job.workers,
            Remarks::default(),
        )?;
        Ok(OpenFile {
            writer: Committed::new(writer, output.clone()),
            output,
            path,
            full_path,
            rows: 0,
            turn: self.turn,
        })
    }

    /// Writes the end of a file.
    fn complete(&mut self, key: &Key) -> Result<()> {
        let Some(file) = self.open.remove(key) else {
            return Ok(());
        };
        let (bytes, columns) = file.writer.finish().map_err(writer_error)?;
        self.job.unfinished.written(&file.full_path);
        let partition = self.job.partitioning.named(key);
        self.files.push(ManifestFile {
            path: file.path,
            shard: self.shard.clone(),
            rows: file.rows,
            bytes,
            sha256: file.output.checksum().unwrap_or_default(),
            partition: partition.into_iter().collect::<BTreeMap<_, _>>(),
            columns,
        });
        Ok(())
    }

    /// Ends row groups while the open files hold too much.
    fn bound_memory(&mut self) -> Result<()> {
        if self.open.len() < 2 {
            return Ok(());
        }
        loop {
            let held = |file: &OpenFile| file.writer.inner.held_bytes();
            let all: usize = self.open.values().map(held).sum();
            if all <= self.job.held_bytes {
                return Ok(());
            }
            let largest = self
                .open
                .values_mut()
                .max_by_key(|file| (held(file), file.turn));
            let Some(largest) = largest.filter(|file| held(file) > 0) else {
                return Ok(());
            };
            let ended = largest.writer.inner.end_row_group();
            ended.map_err(|error| largest.error(error))?;
        }
    }

    fn finish(mut self) -> Result<()> {
        if self.created == 0 && self.job.partitioning.is_none() {
            // No rows have columns, too.
            self.file(&Key::new())?;
        }
        let mut left: Vec<_> = self
            .open
            .iter()
            .map(|(key, file)| (file.path.clone(), key))
            .collect();
        left.sort();
        let left: Vec<_> = left.into_iter().map(|(_, key)| key.clone()).collect();
        for key in left {
            self.complete(&key)?;
        }
        self.files.sort_by(|left, right| left.path.cmp(&right.path));
        let done = Done {
            shard: ManifestShard {
                name: self.shard.clone(),
                rows: self.rows,
                read_at: shown(self.began),
            },
            files: self.files,
        };
        let mut state = lock(&self.job.state);
        self.job.unfinished.complete(&self.shard)?;
        state.complete(done)
    }
}

impl RecordBatchWriter for PartWriter {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        self.take(batch)
            .map_err(|error| ArrowError::ExternalError(error.into()))
    }

    fn close(self) -> Result<(), ArrowError> {
        self.finish()
            .map_err(|error| ArrowError::ExternalError(error.into()))
    }
}

impl OpenFile {
    /// About how many bytes it would have if it ended here.
    fn bytes(&mut self) -> Result<u64> {
        let known = self.writer.inner.file_bytes();
        let known = known.map_err(|error| self.error(error))?;
        Ok(known.unwrap_or_else(|| self.output.bytes()))
    }

    fn error(&self, error: ArrowError) -> Error {
        writer_error(crate::export::name_output(error, &self.output))
    }
}

/// Makes the folders of a path below one that is there. Their names survive a crash as the files in them do.
fn make_folders(below: &Path, path: &str) -> io::Result<()> {
    let mut folder = below.to_owned();
    for name in path.split('/') {
        folder.push(name);
        match fs::create_dir(&folder) {
            Ok(()) => sync_directory(&folder)?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn writer_error(error: ArrowError) -> Error {
    crate::export::writer_error(error).with_phase(Phase::Write)
}

/// What the names of files of a format end with.
pub(super) fn extension(format: Format) -> &'static str {
    match format {
        Format::ArrowStream => "arrows",
        Format::Csv => "csv",
        Format::Json => "json",
        Format::Ndjson => "ndjson",
        Format::Arrow => "arrow",
        Format::Parquet => "parquet",
        Format::Table | Format::None => "txt",
    }
}

/// A moment in UTC: `2024-01-02T03:04:05Z`.
pub(super) fn shown(moment: SystemTime) -> String {
    let since = moment
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let mut text = String::new();
    let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
    write_timestamp(seconds, 1, 'T', Suffix::Zulu, &mut text);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::output::synced;

    #[test]
    fn new_folders_survive_a_crash_as_their_files_do() {
        let root = tempfile::tempdir().unwrap();
        let below = root.path();
        let inner = below.join("a=1");
        for (path, expected) in [
            ("a=1/b=2", vec![below.to_owned(), inner.clone()]),
            ("a=1/b=3", vec![inner.clone()]),
            ("a=1/b=2", vec![]),
        ] {
            synced();
            make_folders(below, path).unwrap();
            assert!(below.join(path).is_dir());
            assert_eq!(synced(), expected, "{path}");
        }
        fs::write(below.join("a=2"), "a file").unwrap();
        let error = make_folders(below, "a=2/b=2").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
    }
}
