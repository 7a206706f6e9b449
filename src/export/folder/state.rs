//! How far a folder is: a journal beside the files, until the manifest takes its place.
//!
//! ```text
//! _manifest.partial   {"version":1,"statement":..}       what is exported
//!                     {"shard":{"name":"s1",..},"files":[..]}   this shard is complete
//!                     {"shard":{"name":"s0",..},"files":[..]}
//! ```
//! A line is appended when all files of a shard are on the disk. Files of a shard without a line are
//! not complete, whoever ended the program; the next run removes them and reads the shard again.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Component, Path, PathBuf};

use ring::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};

use super::manifest::{Manifest, ManifestColumn, ManifestFile, ManifestShard};
use crate::error::{Error, ErrorKind, Result};
use crate::export::output::{hex, sync_directory, write_error};
use crate::export::unfinished::TEMPORARY;

pub(super) const MANIFEST: &str = "_manifest.json";
pub(super) const JOURNAL: &str = "_manifest.partial";

/// What is exported, and how: equal for all runs of one export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    pub(super) version: u32,
    pub(super) statement: String,
    /// Over what a shard runs, parameters, settings and types.
    pub(super) fingerprint: String,
    pub(super) topology: String,
    pub(super) format: String,
    pub(super) columns: Vec<ManifestColumn>,
    pub(super) partition_by: Vec<String>,
    /// How rows are spread over files.
    pub(super) layout: String,
    pub(super) shards: Vec<String>,
    /// Why a later run cannot go on where this one stopped.
    pub(super) not_resumable: Option<String>,
}

/// A line of the journal.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Done {
    pub(super) shard: ManifestShard,
    pub(super) files: Vec<ManifestFile>,
}

/// A folder that is ours to write.
pub(super) struct State {
    folder: PathBuf,
    /// Held with a lock as long as this process writes.
    journal: File,
    /// What an earlier run has exported.
    earlier: Option<Identity>,
    /// The shards that are complete.
    done: Vec<Done>,
    /// The folder was made by this run.
    is_new: bool,
    /// All in it is known: what is not of a complete shard can be removed.
    is_clean: bool,
}

/// What is found where an export is to go.
pub(super) enum Found {
    Ours(State),
    /// The export is there already.
    Complete(Manifest, String),
}

impl State {
    /// Takes the folder, which is made if it is not there.
    ///
    /// # Errors
    /// [`ErrorKind::Export`] when it is not empty, unless an export is to be resumed that was begun
    /// there; when another process writes there; when it cannot be written.
    pub(super) fn open(folder: &Path, resume: bool) -> Result<Found> {
        let wrong = |error| about(folder, error);
        let is_new = match fs::create_dir(folder) {
            Ok(()) => {
                sync_directory(folder).map_err(wrong)?;
                true
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(about(folder, error)
                    .with_hint(format!("create the folder first: mkdir -p {folder:?}")));
            }
            Err(error) => return Err(wrong(error)),
        };
        if !folder.is_dir() {
            return Err(wrong(io::ErrorKind::NotADirectory.into())
                .with_hint("give the path of a folder that does not exist, or is empty"));
        }
        let names = names_in(folder).map_err(wrong)?;
        let has = |name: &str| names.iter().any(|known| known == name);
        if has(MANIFEST) && resume {
            let text = fs::read_to_string(folder.join(MANIFEST)).map_err(wrong)?;
            let manifest = serde_json::from_str::<Stored>(&text)
                .map_err(|error| unreadable(folder, MANIFEST).with_source(error))?;
            return Ok(Found::Complete(manifest.manifest, manifest.fingerprint));
        }
        if !(names.is_empty() || resume && has(JOURNAL)) {
            return Err(not_empty(folder, &names, resume));
        }
        let mut journal = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(folder.join(JOURNAL))
            .map_err(wrong)?;
        match journal.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::new(
                    ErrorKind::Export,
                    format!("another process writes into the folder {folder:?}"),
                )
                .with_hint("wait until it has ended"));
            }
            // A file system without locks.
            Err(TryLockError::Error(_)) => {}
        }
        let mut text = String::new();
        journal.read_to_string(&mut text).map_err(wrong)?;
        let (earlier, done) = match read_journal(folder, &text)? {
            Some((identity, done)) => (Some(identity), done),
            None => (None, Vec::new()),
        };
        // Else the next line would go on with one that was never written to its end.
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        journal.set_len(whole as u64).map_err(wrong)?;
        Ok(Found::Ours(Self {
            folder: folder.to_owned(),
            journal,
            is_clean: names.is_empty(),
            earlier,
            done,
            is_new,
        }))
    }

    /// Begins, or goes on: what is complete already. What an earlier run left of shards that are not
    /// complete is removed.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when the earlier run exported something else; [`ErrorKind::Export`] when
    /// its files are not as it left them, or others are there.
    ///
    /// `extension` is that of the files.
    pub(super) fn begin(&mut self, identity: &Identity, extension: &str) -> Result<Vec<Done>> {
        let Some(earlier) = self.earlier.take() else {
            // What is exported is noted before the first file is.
            self.remove_remains(&[], extension, &[])?;
            self.is_clean = true;
            self.append(identity)?;
            sync_directory(&self.folder.join(JOURNAL))
                .map_err(|error| about(&self.folder, error))?;
            return Ok(Vec::new());
        };
        if let Some(difference) = difference(&earlier, identity) {
            return Err(Error::new(
                ErrorKind::Config,
                format!(
                    "the folder {:?} has an export of something else: {difference}",
                    self.folder
                ),
            )
            .with_hint("resume with what was asked then, or choose another folder"));
        }
        if let Some(reason) = &identity.not_resumable
            && !self.done.is_empty()
        {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("the export cannot be resumed: {reason}"),
            )
            .with_hint("remove the folder, and export again"));
        }
        let files = self.done.iter().flat_map(|done| &done.files);
        check_all(&self.folder, files)?;
        self.remove_remains(&identity.shards, extension, &identity.partition_by)?;
        self.is_clean = true;
        Ok(self.done.clone())
    }

    /// Notes that a shard is complete.
    pub(super) fn complete(&mut self, done: Done) -> Result<()> {
        self.append(&done)?;
        self.done.push(done);
        Ok(())
    }

    /// The shards that are complete.
    pub(super) fn done(&self) -> &[Done] {
        &self.done
    }

    /// Puts the manifest in the place of the journal.
    pub(super) fn finish(&mut self, manifest: &Manifest, fingerprint: &str) -> Result<()> {
        let wrong = |error: io::Error| about(&self.folder, error);
        let stored = Stored {
            manifest: manifest.clone(),
            fingerprint: fingerprint.to_owned(),
        };
        let mut text =
            serde_json::to_string_pretty(&stored).map_err(|error| wrong(error.into()))?;
        text.push('\n');
        let path = self.folder.join(MANIFEST);
        let mut file = tempfile::Builder::new()
            .prefix(TEMPORARY.0)
            .suffix(TEMPORARY.1)
            .tempfile_in(&self.folder)
            .map_err(wrong)?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            // As the files have them, and the umask leaves them.
            let mode = self.journal.metadata().map_err(wrong)?.permissions().mode();
            let mode = fs::Permissions::from_mode(mode & 0o666);
            file.as_file().set_permissions(mode).map_err(wrong)?;
        }
        file.write_all(text.as_bytes()).map_err(wrong)?;
        file.as_file().sync_all().map_err(wrong)?;
        file.persist(&path).map_err(|failed| wrong(failed.error))?;
        // From here on the folder is complete, and nothing of it is removed.
        self.is_clean = false;
        sync_directory(&path).map_err(wrong)?;
        fs::remove_file(self.folder.join(JOURNAL)).map_err(wrong)
    }

    /// Whether an export has begun that is not complete.
    pub(super) fn is_unfinished(&self) -> bool {
        self.is_clean
    }

    /// Leaves nothing behind where no shard is complete.
    pub(super) fn give_up(&mut self) {
        if !std::mem::take(&mut self.is_clean) {
            return;
        }
        // What cannot be removed does not look complete either.
        remove_empty_folders(&self.folder);
        if self.done.is_empty() {
            let _ = fs::remove_file(self.folder.join(JOURNAL));
            if self.is_new {
                let _ = fs::remove_dir(&self.folder);
            }
        }
    }

    fn append(&mut self, line: &impl Serialize) -> Result<()> {
        let written = serde_json::to_string(line)
            .map_err(io::Error::from)
            .and_then(|text| self.journal.write_all(format!("{text}\n").as_bytes()))
            .and_then(|()| self.journal.sync_all());
        written.map_err(|error| about(&self.folder, error))
    }

    /// Removes what an earlier run left of shards that are not complete.
    fn remove_remains(
        &self,
        shards: &[String],
        extension: &str,
        partition_by: &[String],
    ) -> Result<()> {
        let is_listed = |path: &str| {
            let mut files = self.done.iter().flat_map(|done| &done.files);
            files.any(|file| file.path == path)
        };
        let is_done = |shard: &str| self.done.iter().any(|done| done.shard.name == shard);
        let unfinished: Vec<_> = shards
            .iter()
            .filter(|shard| !is_done(shard))
            .map(|shard| super::hive::file_name(shard))
            .collect();
        let is_remains = |name: &str| {
            is_temporary(name)
                || unfinished.iter().any(|shard| {
                    let rest = name.strip_prefix(shard.as_str()).unwrap_or_default();
                    let rest = rest.strip_prefix('-').unwrap_or(rest);
                    let rest = rest.trim_start_matches(|c: char| c.is_ascii_digit());
                    rest.strip_prefix('.') == Some(extension)
                })
        };
        // Of each level, how the names of its folders begin.
        let levels: Vec<String> = partition_by
            .iter()
            .map(|column| format!("{}=", super::hive::escaped(column)))
            .collect();
        let mut folders = vec![(String::new(), 0)];
        while let Some((inner, depth)) = folders.pop() {
            let level = levels.get(depth);
            let folder = self.folder.join(&inner);
            for name in names_in(&folder).map_err(|error| about(&folder, error))? {
                let path = match inner.is_empty() {
                    true => name.clone(),
                    false => format!("{inner}/{name}"),
                };
                let full = self.folder.join(&path);
                // A link is followed by nobody: what it leads to is not ours.
                let found = fs::symlink_metadata(&full).map_err(|error| about(&full, error))?;
                let is_level = level.is_some_and(|level| name.starts_with(level.as_str()));
                if found.is_dir() && is_level {
                    folders.push((path, depth + 1));
                } else if path == JOURNAL || is_listed(&path) {
                } else if found.is_file() && is_remains(&name) {
                    fs::remove_file(&full).map_err(|error| about(&full, error))?;
                } else {
                    return Err(Error::new(
                        ErrorKind::Export,
                        format!("{full:?} is not of the export that is to be resumed"),
                    )
                    .with_hint("move it away"));
                }
            }
        }
        Ok(())
    }
}

/// Holds files against what was noted of them.
///
/// # Errors
/// [`ErrorKind::Export`], with the first that is gone or is not as it was written.
pub(super) fn check_all<'a>(
    folder: &Path,
    files: impl IntoIterator<Item = &'a ManifestFile>,
) -> Result<()> {
    files.into_iter().try_for_each(|file| check(folder, file))
}

fn changed(path: &Path, what: &str) -> Error {
    Error::new(ErrorKind::Export, format!("the file {path:?} {what}"))
        .with_hint("it was complete when the export ended: remove the folder, and export again")
}

/// Finds the file that was noted, in the folder and of the size that it had.
pub(super) fn find(folder: &Path, noted: &ManifestFile) -> Result<PathBuf> {
    let path = folder.join(&noted.path);
    // Whoever could write into the folder may have written this: nothing else is looked at.
    let mut parts = Path::new(&noted.path).components();
    if !parts.all(|part| matches!(part, Component::Normal(_))) {
        return Err(changed(&path, "is not in the folder"));
    }
    match fs::symlink_metadata(&path) {
        Ok(found) if !found.is_file() => Err(changed(&path, "is no file any more")),
        Ok(found) if found.len() != noted.bytes => Err(changed(&path, "is not as it was written")),
        Ok(_) => Ok(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(changed(&path, "is gone")),
        Err(error) => Err(about(folder, error)),
    }
}

/// Holds a file against what was noted of it.
fn check(folder: &Path, noted: &ManifestFile) -> Result<()> {
    let path = find(folder, noted)?;
    let file = File::open(&path).map_err(|error| about(folder, error))?;
    let mut file = file.take(noted.bytes.saturating_add(1));
    let mut digest = Context::new(&SHA256);
    let mut buffer = vec![0; 1 << 20];
    let mut bytes = 0;
    loop {
        let read = file
            .read(&mut buffer)
            .map_err(|error| about(folder, error))?;
        if read == 0 {
            break;
        }
        digest.update(buffer.get(..read).unwrap_or_default());
        bytes += read as u64;
    }
    match bytes == noted.bytes && hex(digest.finish().as_ref()) == noted.sha256 {
        true => Ok(()),
        false => Err(changed(&path, "is not as it was written")),
    }
}

impl Drop for State {
    fn drop(&mut self) {
        self.give_up();
    }
}

/// Removes folders of partitions that have no file.
fn remove_empty_folders(folder: &Path) {
    for name in names_in(folder).unwrap_or_default() {
        let inner = folder.join(&name);
        if name.contains('=') && inner.is_dir() {
            remove_empty_folders(&inner);
            // It fails where there is a file.
            let _ = fs::remove_dir(&inner);
        }
    }
}

/// The manifest as it is stored: with what a later `--resume` compares.
#[derive(Serialize, Deserialize)]
struct Stored {
    #[serde(flatten)]
    manifest: Manifest,
    fingerprint: String,
}

pub(super) fn is_temporary(name: &str) -> bool {
    name.starts_with(TEMPORARY.0) && name.ends_with(TEMPORARY.1)
}

pub(super) fn names_in(folder: &Path) -> io::Result<Vec<String>> {
    let entries = fs::read_dir(folder)?;
    let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    names.collect()
}

/// The beginning of a journal and its lines; a last line without an end was being written.
fn read_journal(folder: &Path, text: &str) -> Result<Option<(Identity, Vec<Done>)>> {
    let whole = text.rfind('\n').and_then(|end| text.get(..end));
    let Some(whole) = whole else {
        return Ok(None);
    };
    let mut lines = whole.lines();
    let wrong = |error: serde_json::Error| unreadable(folder, JOURNAL).with_source(error);
    let first = lines.next().unwrap_or_default();
    let identity: Identity = serde_json::from_str(first).map_err(wrong)?;
    let done = lines.map(|line| serde_json::from_str(line).map_err(wrong));
    Ok(Some((identity, done.collect::<Result<_>>()?)))
}

/// What fuzzing begins with.
#[cfg(fuzzing)]
pub(crate) fn fuzz(text: &str) {
    let _ = serde_json::from_str::<Stored>(text);
    if let Ok(Some((identity, done))) = read_journal(Path::new("/nonexistent"), text) {
        // Equal to itself, and none of its files is looked for elsewhere.
        assert!(difference(&identity, &identity).is_none());
        let folder = Path::new("/nonexistent/folder");
        for file in done.iter().flat_map(|done| &done.files) {
            assert!(check(folder, file).is_err());
        }
    }
}

/// In what two exports differ.
fn difference(earlier: &Identity, now: &Identity) -> Option<String> {
    let parts = [
        (
            "another version of merganser",
            earlier.version == now.version,
        ),
        ("another statement", earlier.statement == now.statement),
        (
            "another topology",
            earlier.topology == now.topology && earlier.shards == now.shards,
        ),
        ("another format", earlier.format == now.format),
        ("other columns", earlier.columns == now.columns),
        ("other partitions", earlier.partition_by == now.partition_by),
        (
            "another size of files, or other options of the format",
            earlier.layout == now.layout,
        ),
        (
            "other parameters, settings or types, or the statement reads the clock",
            earlier.fingerprint == now.fingerprint,
        ),
    ];
    let found = parts.into_iter().find(|(_, is_same)| !is_same);
    found.map(|(what, _)| what.to_owned())
}

fn not_empty(folder: &Path, names: &[String], resume: bool) -> Error {
    let has = |name: &str| names.iter().any(|known| known == name);
    let error = Error::new(
        ErrorKind::Export,
        format!("the folder {folder:?} is not empty"),
    );
    error.with_hint(if resume {
        "no export was begun there that could be resumed: choose another folder, or empty it"
    } else if has(JOURNAL) {
        "an export was begun there: --resume goes on where it stopped; else remove the folder, or choose another"
    } else if has(MANIFEST) {
        "it has a complete export: choose another folder, or remove it"
    } else {
        "choose a folder that does not exist, or empty it"
    })
}

fn unreadable(folder: &Path, name: &str) -> Error {
    Error::new(
        ErrorKind::Export,
        format!("{:?} is not what merganser wrote", folder.join(name)),
    )
    .with_hint("choose another folder, or remove it")
}

/// An error of the file system.
pub(super) fn about(path: &Path, error: io::Error) -> Error {
    write_error(format_args!("{path:?}"), error)
}
