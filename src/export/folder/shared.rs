//! One folder that several processes fill: each writes files of its own, and one of them, who has taken the
//! folder, the manifest.
//!
//! ```text
//! Folder::begin ──► SharedFolder ─────────────────────────────────► finish: _manifest.json
//!                      │   descriptions of files, however they come    ▲
//!                      └─► elsewhere: Folder::write_file ──► ManifestFile
//! ```

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatchWriter;

use super::manifest::{ColumnRange, Manifest, ManifestFile, ManifestShard};
use super::part::{extension, lock, shown};
use super::state::{
    Done, Found, Identity, JOURNAL, MANIFEST, State, about, find, is_temporary, names_in,
};
use super::{Folder, Resumable, Source, blocking, manifest};
use crate::config::Topology;
use crate::error::{Error, ErrorKind, Phase, Result};
use crate::export::workers::Workers;
use crate::export::{Committed, Destination, check, names, open_writer, pump};
use crate::stream::{QueryStream, Remarks};

/// A folder that was taken with [`Folder::begin`], and whose files others write.
///
/// Dropped before [`finish`](Self::finish) it removes the files that are there by then, and the folder, if
/// it was made for this.
#[must_use = "without its manifest a folder is not complete, and its files are removed"]
pub struct SharedFolder {
    folder: Folder,
    identity: Identity,
    state: State,
}

impl Folder {
    /// Takes the folder for files that other processes [write](Self::write_file), and that hold the rows of
    /// a statement.
    ///
    /// # Errors
    /// As of any export into a folder: [`ErrorKind::Export`] where it is not empty, and
    /// [`ErrorKind::Config`] for what a format does not have; [`ErrorKind::Usage`] for
    /// [columns that name folders](Self::with_partition_by), for a [bound](Self::with_file_rows) on files,
    /// and to [resume](Self::with_resume).
    pub async fn begin(
        &self,
        statement: &str,
        topology: &Topology,
        schema: SchemaRef,
    ) -> Result<SharedFolder> {
        self.check_shared()?;
        let Found::Ours(mut state) = self.open().await?.found else {
            return Err(Error::fault("an export that nobody resumes is complete"));
        };
        let schema = names::resolve(&schema, self.format, &self.options)?;
        check(&schema, self.format, &self.options)?;
        let resumable = Resumable::No("its files were written by several processes");
        let source = Source::new(statement, topology, &"shared", resumable);
        let shards = topology.shards().iter();
        let shards = shards.map(|shard| shard.name().to_owned()).collect();
        let identity = self.identity(&schema, shards, source);
        let extension = extension(self.format);
        let begun = identity.clone();
        let state = blocking(move || {
            state.begin(&begun, extension)?;
            Ok(state)
        });
        Ok(SharedFolder {
            folder: self.clone(),
            identity,
            state: state.await?,
        })
    }

    /// Writes the rows of a shard, or of a part of one, into one file of a folder that was
    /// [taken](Self::begin), by this process or another. The file has this name and the extension of the
    /// format, and is complete or absent.
    ///
    /// # Errors
    /// As [`write`](crate::export::write()); [`ErrorKind::Usage`] for a name with a folder in it, or one of
    /// the folder's own, which begin with `_` or `.`; as [`begin`](Self::begin); and [`ErrorKind::Export`]
    /// where nobody has taken the folder, or it is complete: before the rows are read, and before the file
    /// has its name.
    ///
    /// # Cancel safety
    /// Dropping the future leaves no file.
    ///
    /// # Memory
    /// As [`write`](crate::export::write()).
    pub async fn write_file(
        &self,
        rows: QueryStream,
        shard: &str,
        name: &str,
    ) -> Result<ManifestFile> {
        self.check_shared()?;
        self.check()?;
        let path = format!("{name}.{}", extension(self.format));
        let mut parts = Path::new(&path).components();
        let is_one = matches!(
            (parts.next(), parts.next()),
            (Some(Component::Normal(_)), None)
        );
        if !is_one || name.is_empty() || name.starts_with(['_', '.']) {
            return Err(Error::new(
                ErrorKind::Usage,
                format!("{name:?} is no name of a file in a folder"),
            )
            .with_hint("give a name without /, which does not begin with _ or ."));
        }
        let folder = self.path.clone();
        blocking(move || check_taken(&folder)).await?;
        let schema = names::resolve(&rows.schema(), self.format, &self.options)?;
        check(&schema, self.format, &self.options)?;
        let rows = names::rename(rows, schema);
        let full_path = self.path.join(&path);
        let output = blocking(move || Destination::Path(full_path).open()).await?;
        let (output, _guard) = output.with_checksum().split(&self.progress);
        let complete = Arc::new(Mutex::new(None));
        let open = {
            let (to, complete) = (output.clone(), Arc::clone(&complete));
            let (format, options) = (self.format, self.options.clone());
            let folder = self.path.clone();
            move |schema| {
                let workers = Arc::new(Workers::for_this_machine());
                let none = Remarks::default();
                let inner = open_writer(format, &to, schema, &options, &workers, none)?;
                Ok(OneFile {
                    folder,
                    writer: Committed::new(inner, to),
                    complete,
                })
            }
        };
        let rows = pump(rows, open, &self.progress).await?;
        let Some((bytes, columns)) = lock(&complete).take() else {
            return Err(Error::fault("a file was written that is not complete"));
        };
        Ok(ManifestFile {
            path,
            shard: shard.to_owned(),
            rows,
            bytes,
            sha256: output.checksum().unwrap_or_default(),
            partition: BTreeMap::new(),
            columns,
        })
    }

    fn check_shared(&self) -> Result<()> {
        let what = if !self.partition_by.is_empty() {
            "columns that name folders"
        } else if self.file_rows.is_some() || self.file_bytes.is_some() {
            "a bound on files"
        } else if self.resume {
            "to resume"
        } else {
            return Ok(());
        };
        Err(Error::new(
            ErrorKind::Usage,
            format!("a folder that several processes write does not have {what}"),
        )
        .with_hint("leave it out, or export with one process"))
    }
}

/// Whether files may come into a folder: after its manifest they would be rows that it does not list.
fn check_taken(folder: &Path) -> Result<()> {
    let has = |name: &str| folder.join(name).exists();
    let what = match (has(MANIFEST), has(JOURNAL)) {
        (true, _) => "is complete",
        (false, false) => "was not taken, or was given up",
        (false, true) => return Ok(()),
    };
    Err(
        Error::new(ErrorKind::Export, format!("the folder {folder:?} {what}"))
            .with_phase(Phase::Write)
            .with_hint(
                "all processes need the same folder under this path, while the export lasts",
            ),
    )
}

/// What is known of a complete file: its bytes, and the ranges of its columns.
type Complete = Arc<Mutex<Option<(u64, Vec<ColumnRange>)>>>;

/// Tells what is known of the file once it is complete.
struct OneFile {
    folder: PathBuf,
    writer: Committed,
    complete: Complete,
}

impl RecordBatchWriter for OneFile {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        self.writer.write(batch)
    }

    fn close(self) -> Result<(), ArrowError> {
        // Whoever was taken for dead comes too late.
        check_taken(&self.folder).map_err(|error| ArrowError::ExternalError(Box::new(error)))?;
        let known = self.writer.finish()?;
        *lock(&self.complete) = Some(known);
        Ok(())
    }
}

impl SharedFolder {
    /// Writes the manifest over these files, whose rows were read as of this moment. Other files of the
    /// export, such as those of attempts that failed, are removed first.
    ///
    /// # Errors
    /// [`ErrorKind::Export`] where a file is not there, or has another size than it is said to have; and
    /// where the folder cannot be written. [`ErrorKind::Usage`] for a file that is listed twice, or of a
    /// shard that the topology does not have. The files are removed then, unless the manifest is there.
    ///
    /// # Cancel safety
    /// Once it is awaited it may not be dropped: whether there is a manifest is open then.
    pub async fn finish(self, read_at: SystemTime, files: Vec<ManifestFile>) -> Result<Manifest> {
        blocking(move || self.finish_blocking(read_at, files)).await
    }

    fn finish_blocking(
        mut self,
        read_at: SystemTime,
        files: Vec<ManifestFile>,
    ) -> Result<Manifest> {
        self.check_files(&files)?;
        self.remove_all_but(&files)?;
        let manifest = manifest(&self.identity, &self.done(read_at, files));
        self.state.finish(&manifest, &self.identity.fingerprint)?;
        Ok(manifest)
    }

    fn check_files(&self, files: &[ManifestFile]) -> Result<()> {
        let mut paths = HashSet::new();
        for file in files {
            let ManifestFile { path, shard, .. } = file;
            find(&self.folder.path, file)?;
            let (what, hint) = if !paths.insert(path) {
                (
                    format!("the file {path:?} is listed twice"),
                    "list what each file is written with once, also where it was told several times",
                )
            } else if !self.identity.shards.contains(shard) {
                (
                    format!("the file {path:?} is of {shard:?}, and no shard has that name"),
                    "write each file with the name that its shard has in the topology",
                )
            } else {
                continue;
            };
            return Err(Error::new(ErrorKind::Usage, what).with_hint(hint));
        }
        Ok(())
    }

    /// Removes what looks like a file of the export and is not listed. All that can be, whatever cannot.
    fn remove_all_but(&self, files: &[ManifestFile]) -> Result<()> {
        let folder = &self.folder.path;
        let extension = format!(".{}", extension(self.folder.format));
        let mut failed = None;
        for name in names_in(folder).map_err(|error| about(folder, error))? {
            let is_listed = files.iter().any(|file| file.path == name);
            let is_rest = is_temporary(&name) || (name.ends_with(&extension) && !is_listed);
            let path = folder.join(&name);
            if !is_rest || path.is_dir() {
                continue;
            }
            match fs::remove_file(&path) {
                // Whoever writes it removes it, too.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => failed = failed.or_else(|| Some(about(&path, error))),
                Ok(()) => {}
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// The files as those of their shards.
    fn done(&self, read_at: SystemTime, mut files: Vec<ManifestFile>) -> Vec<Done> {
        files.sort_by(|left, right| left.path.cmp(&right.path));
        let shards = self.identity.shards.iter().map(|name| {
            let of_shard = |file: &&ManifestFile| file.shard == *name;
            let files: Vec<_> = files.iter().filter(of_shard).cloned().collect();
            Done {
                shard: ManifestShard {
                    name: name.clone(),
                    rows: files.iter().map(|file| file.rows).sum(),
                    read_at: shown(read_at),
                },
                files,
            }
        });
        // A shard that a query need not ask has no file.
        shards.filter(|done| !done.files.is_empty()).collect()
    }
}

impl fmt::Debug for SharedFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedFolder")
            .field("path", &self.folder.path)
            .finish_non_exhaustive()
    }
}

impl Drop for SharedFolder {
    fn drop(&mut self) {
        if self.state.is_unfinished() {
            // What cannot be removed does not look complete either.
            let _ = self.remove_all_but(&[]);
        }
    }
}
