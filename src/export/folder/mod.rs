//! Many files in one folder, those of each shard written at the same time.
//!
//! ```text
//! shard s0 ──► PartWriter ──► s0.parquet           ─┐
//! shard s1 ──► PartWriter ──► s1.parquet           ─┼─► _manifest.json, when all are complete
//!              (a thread each)                     ─┘
//! ```
//! `hive` names partitions, `part` writes the files of one shard, `state` knows how far the folder is,
//! `shared` has other processes write the files.

mod hive;
mod manifest;
mod part;
mod shared;
mod state;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use arrow::datatypes::Schema;
use futures::future::try_join_all;

pub use self::manifest::{ColumnRange, Manifest, ManifestColumn, ManifestFile, ManifestShard};
use self::part::{Job, PartWriter, Unfinished, lock};
pub use self::shared::SharedFolder;
#[cfg(fuzzing)]
pub(crate) use self::state::fuzz;
use self::state::{Done, Found, Identity, State};
use super::output::hex;
use super::workers::Workers;
use super::{ExportOptions, Format, Progress, check, names, pump};
use crate::config::Topology;
use crate::error::{Error, ErrorKind, Result};
use crate::stream::QueryStream;

/// How many files of one shard may be open unless set otherwise.
const OPEN_FILES: usize = 64;
/// All files together may hold as much as so many row groups.
const ROW_GROUPS: usize = 4;
/// A row group that is never too large: 1 MiB.
const SMALL_ROW_GROUP: usize = 1 << 20;

/// A folder for many files: one for each shard, or as many as are wanted.
///
/// ```no_run
/// # async fn example(cluster: merganser::Cluster) -> merganser::Result<()> {
/// use merganser::export::{Folder, Format};
///
/// let folder = Folder::new("lineitem", Format::Parquet).with_partition_by(["l_shipmode"]);
/// let manifest = cluster.fan_out("SELECT * FROM lineitem").write_folder(&folder).await?;
/// println!("{} rows in {} files", manifest.rows, manifest.files.len());
/// # Ok(())
/// # }
/// ```
///
/// Files of a shard are called `s0.parquet`, or `s0-00000.parquet` and so on where there are several;
/// each is complete or absent. [`Manifest`], `_manifest.json`, is written last, and tells that the
/// folder is complete. Until then `_manifest.partial` lists the shards that are; an export that ends
/// before its time leaves their files, for [`with_resume`](Self::with_resume), and no others.
///
/// # Memory
/// As [`write`](super::write()) for four files, however many there are: row groups are smaller where
/// many files are open.
#[derive(Debug, Clone)]
#[must_use]
pub struct Folder {
    path: PathBuf,
    format: Format,
    options: ExportOptions,
    file_rows: Option<u64>,
    file_bytes: Option<u64>,
    partition_by: Vec<String>,
    open_files: usize,
    resume: bool,
    progress: Progress,
}

/// Whether an export can go on where it stopped: see [`Folder::with_resume`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resumable {
    /// Each shard is read by itself.
    Yes,
    /// What a shard gives depends on others, or all rows are merged: with the reason.
    No(&'static str),
}

/// The rows of one shard, or of all that were merged.
pub(crate) struct Part {
    pub(crate) name: String,
    pub(crate) rows: QueryStream,
}

impl Part {
    /// The rows of all.
    pub(crate) fn merged(rows: QueryStream) -> Self {
        let name = MERGED.to_owned();
        Self { name, rows }
    }
}

/// What files are called that have rows of all shards.
const MERGED: &str = "rows";

/// Where the rows of an export come from.
pub(crate) struct Source {
    /// What the user asked.
    pub(crate) statement: String,
    /// The [fingerprint](crate::Topology::fingerprint) of the topology.
    pub(crate) topology: String,
    /// Over all else on which the rows depend.
    pub(crate) fingerprint: String,
    pub(crate) resumable: Resumable,
}

impl Source {
    /// What a statement gives under these circumstances, and on these shards.
    pub(crate) fn new(
        statement: &str,
        topology: &Topology,
        circumstances: &impl fmt::Debug,
        resumable: Resumable,
    ) -> Self {
        let circumstances = format!("{circumstances:?}");
        let digest = ring::digest::digest(&ring::digest::SHA256, circumstances.as_bytes());
        Self {
            statement: statement.to_owned(),
            topology: topology.fingerprint(),
            fingerprint: hex(digest.as_ref()),
            resumable,
        }
    }
}

impl Folder {
    /// A folder that does not exist, or is empty; the files have this format.
    pub fn new(path: impl Into<PathBuf>, format: Format) -> Self {
        Self {
            path: path.into(),
            format,
            options: ExportOptions::new(),
            file_rows: None,
            file_bytes: None,
            partition_by: Vec::new(),
            open_files: OPEN_FILES,
            resume: false,
            progress: Progress::default(),
        }
    }

    /// How each file is written.
    pub fn with_options(mut self, options: ExportOptions) -> Self {
        self.options = options;
        self
    }

    /// The most rows of a file; a shard that has more gets several. At least 1.
    pub fn with_file_rows(mut self, rows: u64) -> Self {
        self.file_rows = Some(rows.max(1));
        self
    }

    /// About the most bytes of a file: it ends with the batch that reaches them. At least 1.
    pub fn with_file_bytes(mut self, bytes: u64) -> Self {
        self.file_bytes = Some(bytes.max(1));
        self
    }

    /// Folders for the values of these columns, the first outermost, as Hive, Spark, DuckDB and pyarrow
    /// read them: `country=DE/day=2024-01-02/s0-00000.parquet`.
    ///
    /// The files do not have these columns. Values are what PostgreSQL prints, of booleans `true` and
    /// `false`, percent-encoded where they have characters such as `/`; NULL is
    /// `__HIVE_DEFAULT_PARTITION__`, and the empty text is empty, which Spark does not read. A value
    /// whose rows come in between those of more others than files may be [open](Self::with_open_files)
    /// gets several files: order by the columns where there are many values.
    pub fn with_partition_by(
        mut self,
        columns: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        self.partition_by = columns.into_iter().map(Into::into).collect();
        self
    }

    /// How many files of one shard may be open at the same time: 64 unless set, at least 1.
    pub fn with_open_files(mut self, files: usize) -> Self {
        self.open_files = files.max(1);
        self
    }

    /// Goes on where an export of the same statement stopped, killed or failed.
    ///
    /// The unit is the shard: of one that is listed as complete in `_manifest.partial`, nothing is read
    /// again; its files are held against their checksums. What is there of others is removed, and they are
    /// read from the beginning. Shards that were read in different runs show their rows at moments that
    /// may be far apart: `read_at` in the manifest tells. Where nothing was begun, this begins; where all
    /// is complete, it does nothing.
    ///
    /// Refused are an export of something else, files that are not as they were written, files that are
    /// not of the export, and statements whose shards cannot be read by themselves: that are merged, have
    /// several steps, or read the clock.
    pub fn with_resume(mut self, resume: bool) -> Self {
        self.resume = resume;
        self
    }

    /// Counts rows and bytes meanwhile.
    pub fn with_progress(mut self, progress: Progress) -> Self {
        self.progress = progress;
        self
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes sure that the options mean something, before anything is asked.
    ///
    /// # Errors
    /// [`ErrorKind::Config`].
    pub fn check(&self) -> Result<()> {
        if matches!(self.format, Format::Table | Format::None) {
            return Err(Error::new(
                ErrorKind::Config,
                format!("format {} makes no files of a folder", self.format),
            )
            .with_hint("write parquet, csv, ndjson, json, arrow or arrow-stream"));
        }
        self.options.check(self.format)
    }

    /// Takes the folder, before anything is asked.
    pub(crate) async fn open(&self) -> Result<Opened> {
        self.check()?;
        let folder = self.clone();
        let found = blocking(move || State::open(&folder.path, folder.resume)).await?;
        Ok(Opened {
            folder: self.clone(),
            found,
        })
    }
}

/// A folder that is ours to write, or complete.
pub(crate) struct Opened {
    folder: Folder,
    found: Found,
}

impl Opened {
    /// Writes the rows of all parts that are not complete yet; the streams of the others are dropped.
    ///
    /// # Cancel safety
    /// Dropping the future removes what is not complete.
    pub(crate) async fn write(self, parts: Vec<Part>, source: Source) -> Result<Manifest> {
        let Self { folder, found } = self;
        let schema = match parts.first() {
            Some(part) => part.rows.schema(),
            None => return Err(Error::fault("an export of no part")),
        };
        let schema = names::resolve(&schema, folder.format, &folder.options)?;
        let partitioning = hive::Partitioning::try_new(&schema, &folder.partition_by)?;
        let file_schema = Arc::new(partitioning.file_schema(&schema)?);
        check(&file_schema, folder.format, &folder.options)?;
        let shards = parts.iter().map(|part| part.name.clone()).collect();
        let identity = folder.identity(&schema, shards, source);
        let (state, done) = match found {
            Found::Complete(manifest, fingerprint) => {
                let manifest = same(&folder.path, manifest, &fingerprint, &identity)?;
                let path = folder.path.clone();
                let checked = move || {
                    state::check_all(&path, &manifest.files)?;
                    Ok(manifest)
                };
                return blocking(checked).await;
            }
            Found::Ours(mut state) => {
                let identity = identity.clone();
                let extension = part::extension(folder.format);
                let begun = move || {
                    let done = state.begin(&identity, extension)?;
                    Ok((state, done))
                };
                blocking(begun).await?
            }
        };
        let job = Arc::new(folder.job(file_schema, partitioning, state, parts.len()));
        let ending = Ending(Arc::clone(&job));
        let is_done = |part: &Part| done.iter().any(|done| done.shard.name == part.name);
        let writing = parts.into_iter().filter(|part| !is_done(part)).map(|part| {
            let rows = names::rename(part.rows, Arc::clone(&schema));
            let writer = PartWriter::new(Arc::clone(&job), part.name);
            pump(rows, move |_| Ok(writer), &job.progress)
        });
        // The first error ends all.
        try_join_all(writing).await?;
        let finished = move || {
            let manifest = manifest(&identity, lock(&job.state).done());
            let fingerprint = identity.fingerprint;
            lock(&job.state).finish(&manifest, &fingerprint)?;
            Ok(manifest)
        };
        let manifest = blocking(finished).await?;
        drop(ending);
        Ok(manifest)
    }
}

impl Folder {
    fn identity(&self, schema: &Schema, shards: Vec<String>, source: Source) -> Identity {
        let fields = schema.fields().iter();
        Identity {
            version: VERSION,
            statement: source.statement,
            fingerprint: source.fingerprint,
            topology: source.topology,
            format: self.format.to_string(),
            columns: fields
                .map(|field| ManifestColumn {
                    name: field.name().clone(),
                    data_type: field.data_type().to_string(),
                })
                .collect(),
            partition_by: self.partition_by.clone(),
            layout: format!(
                "rows {:?}, bytes {:?}, open {}, {:?}",
                self.file_rows, self.file_bytes, self.open_files, self.options
            ),
            shards,
            not_resumable: match source.resumable {
                Resumable::Yes => None,
                Resumable::No(reason) => Some(reason.to_owned()),
            },
        }
    }

    fn job(
        &self,
        schema: Arc<Schema>,
        partitioning: hive::Partitioning,
        state: State,
        parts: usize,
    ) -> Job {
        let row_group = self.options.row_group_bytes;
        let share = row_group.saturating_mul(ROW_GROUPS) / parts.max(1);
        let held_bytes = share.max(SMALL_ROW_GROUP).min(row_group);
        Job {
            folder: self.path.clone(),
            format: self.format,
            options: self.options.clone().with_row_group_bytes(held_bytes),
            file_rows: self.file_rows,
            file_bytes: self.file_bytes,
            partitioning,
            schema,
            open_files: self.open_files,
            held_bytes,
            progress: self.progress.clone(),
            workers: Arc::new(Workers::for_this_machine()),
            state: Mutex::new(state),
            unfinished: Arc::new(Unfinished::default()),
        }
    }
}

/// The form of manifests and journals.
const VERSION: u32 = 1;

/// Removes what is not complete, when it is dropped.
struct Ending(Arc<Job>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.unfinished.clear();
        lock(&self.0.state).give_up();
    }
}

/// The manifest of what is complete, in the order of the shards.
fn manifest(identity: &Identity, done: &[Done]) -> Manifest {
    let mut done: Vec<_> = done.to_vec();
    done.sort_by_key(|done| {
        let mut shards = identity.shards.iter();
        shards.position(|shard| *shard == done.shard.name)
    });
    let files: Vec<_> = done.iter().flat_map(|done| done.files.clone()).collect();
    Manifest {
        version: VERSION,
        statement: identity.statement.clone(),
        topology: identity.topology.clone(),
        format: identity.format.clone(),
        columns: identity.columns.clone(),
        partition_by: identity.partition_by.clone(),
        rows: done.iter().map(|done| done.shard.rows).sum(),
        bytes: files.iter().map(|file| file.bytes).sum(),
        shards: done.into_iter().map(|done| done.shard).collect(),
        files,
    }
}

/// An export that is complete already, if it is this one.
fn same(
    folder: &Path,
    manifest: Manifest,
    fingerprint: &str,
    identity: &Identity,
) -> Result<Manifest> {
    let is_same = manifest.statement == identity.statement
        && manifest.topology == identity.topology
        && manifest.format == identity.format
        && manifest.columns == identity.columns
        && manifest.partition_by == identity.partition_by
        && fingerprint == identity.fingerprint;
    match is_same {
        true => Ok(manifest),
        false => Err(Error::new(
            ErrorKind::Config,
            format!("the folder {folder:?} has a complete export of something else"),
        )
        .with_hint("choose another folder, or remove it")),
    }
}

/// Runs what waits for the file system where that is allowed.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|failed| {
        Err(Error::fault("a thread that writes has failed").with_source(failed))
    })
}

#[cfg(test)]
mod tests;
