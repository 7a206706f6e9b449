//! Where the bytes of an export go: standard output, a file that appears only when it is complete,
//! or a device that is written in place.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;

use super::Progress;
use super::unfinished::Unfinished;
use crate::error::{Error, ErrorKind, Phase, Result};
use ring::digest::{Context, SHA256};

/// How many bytes are collected before one system call writes them.
const BUFFER_BYTES: usize = 256 * 1024;

/// How many symbolic links are followed to the file that is written, as Linux does.
const MAX_LINKS: usize = 40;

/// Where an export is to go; [`open`](Self::open) makes sure that it can.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Destination {
    /// Standard output.
    Stdout,
    /// A file, a FIFO or a device.
    Path(PathBuf),
}

impl From<&str> for Destination {
    /// As from a path.
    fn from(path: &str) -> Self {
        PathBuf::from(path).into()
    }
}

impl From<PathBuf> for Destination {
    /// `-`, `/dev/stdout` and its other names are [`Stdout`](Self::Stdout): opening them anew would
    /// write over what the shell's `>>` wants kept.
    fn from(path: PathBuf) -> Self {
        match path.to_str() {
            Some("-" | "/dev/stdout" | "/dev/fd/1" | "/proc/self/fd/1") => Self::Stdout,
            _ => Self::Path(path),
        }
    }
}

impl Destination {
    /// Opens the output, so that a wrong path is known before the query is sent.
    ///
    /// A regular file is written without a name on the file system of the final one, with the
    /// permissions of the file it will replace (else those that the umask leaves), and gets its name when
    /// it is complete; so a process that is killed leaves nothing. Where there are no such files
    /// (`O_TMPFILE`: other systems than Linux, NFS), it has a temporary name in the same directory. A
    /// symbolic link is followed, as the `>` of a shell does. Anything else (FIFO,
    /// terminal, `/dev/null`) is written in place, because a rename would replace the device.
    ///
    /// Nobody has to read a FIFO yet: what is written waits for its reader, and the deadline of the
    /// query goes on meanwhile.
    ///
    /// # Errors
    /// [`ErrorKind::Export`] when the path is a directory, its directory does not exist, or may not
    /// be written to. That a FIFO may not be written to is found when its first bytes are.
    pub fn open(&self) -> Result<Output> {
        match self {
            Self::Stdout => open_stdout(),
            Self::Path(path) => open_path(path),
        }
    }
}

/// An open output: takes the bytes of a writer, and becomes visible when it is committed.
///
/// Dropping it before [`write`](super::write) is done removes the temporary file; a file that was
/// at the path before stays as it is.
#[derive(Debug)]
pub struct Output {
    /// How messages name it.
    name: String,
    sink: Arc<Mutex<Sink>>,
    guard: TempGuard,
}

impl Output {
    /// An output that goes into this writer, for instance a `Vec<u8>` behind a lock or a socket.
    pub fn from_writer(name: impl Into<String>, writer: impl Write + Send + 'static) -> Self {
        Self::new(name.into(), Target::InPlace(Box::new(writer)), None)
    }

    fn new(name: String, target: Target, temp: Option<Unfinished>) -> Self {
        Self {
            name,
            sink: Arc::new(Mutex::new(Sink {
                writer: BufWriter::with_capacity(BUFFER_BYTES, Counted::new(target)),
                error: None,
            })),
            guard: TempGuard(Arc::new(Mutex::new(temp))),
        }
    }

    /// Whether a file will appear when the output is complete.
    pub(super) fn is_file(&self) -> bool {
        lock(&self.guard.0).is_some()
    }

    /// Has the bytes digested on their way.
    pub(super) fn with_checksum(self) -> Self {
        lock(&self.sink).writer.get_mut().digest = Some(Context::new(&SHA256));
        self
    }

    /// Splits into the half that writes and commits, and a guard that removes the temporary file
    /// when it is dropped, even while the other half is busy on another thread.
    pub(super) fn split(self, progress: &Progress) -> (OutputWriter, TempGuard) {
        lock(&self.sink).writer.get_mut().progress = progress.clone();
        let writer = OutputWriter {
            name: self.name.into(),
            sink: self.sink,
            temp: Arc::clone(&self.guard.0),
        };
        (writer, self.guard)
    }
}

/// The half of an [`Output`] that writes; clones write to the same place.
#[derive(Debug, Clone)]
pub(super) struct OutputWriter {
    name: Arc<str>,
    sink: Arc<Mutex<Sink>>,
    temp: Arc<Mutex<Option<Unfinished>>>,
}

impl OutputWriter {
    /// Makes the output complete: flushes it and, for a file, forces it to disk and gives it its
    /// final name. Returns the number of bytes written.
    pub(super) fn commit(&self) -> Result<u64> {
        let mut sink = lock(&self.sink);
        let result = sink.writer.flush().and_then(|()| {
            let counted = sink.writer.get_mut();
            if let Target::File { file, path } = &mut counted.target {
                #[cfg(test)]
                if counted.is_forgetful {
                    return Err(io::Error::other("the disk is broken"));
                }
                file.sync_all()?;
                // Under the lock, so that whoever cancels sees the old file or the new one.
                let mut temp = lock(&self.temp);
                let Some(temp) = temp.take() else {
                    return Err(io::Error::other("the export was cancelled"));
                };
                temp.persist(file, path)?;
                sync_directory(path)?;
            }
            Ok(counted.bytes)
        });
        drop(sink);
        result.map_err(|error| write_error(&self.name, error))
    }

    /// Bytes that were written so far.
    pub(super) fn bytes(&self) -> u64 {
        let sink = lock(&self.sink);
        sink.writer.get_ref().bytes + sink.writer.buffer().len() as u64
    }

    /// The SHA-256 of what was committed, in hexadecimal digits, if it was asked for.
    pub(super) fn checksum(&self) -> Option<String> {
        let sink = lock(&self.sink);
        let digest = sink.writer.get_ref().digest.clone();
        digest.map(|digest| hex(digest.finish().as_ref()))
    }

    /// An error of the writer above this output.
    ///
    /// A writer may have turned the error of a system call into text; the original is kept here, so
    /// that a closed pipe can be told from a full disk.
    pub(super) fn error(
        &self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Error {
        let kept = lock(&self.sink).error.take();
        match kept {
            Some(kept) => write_error(&self.name, kept),
            None => new_write_error(&self.name).with_source(source),
        }
    }
}

impl Write for OutputWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut sink = lock(&self.sink);
        let result = sink.writer.write(bytes);
        sink.keep(result)
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut sink = lock(&self.sink);
        let result = sink.writer.flush();
        sink.keep(result)
    }
}

/// Removes the temporary file, if it has not become the final one, when dropped.
#[derive(Debug)]
pub(super) struct TempGuard(Arc<Mutex<Option<Unfinished>>>);

impl Drop for TempGuard {
    fn drop(&mut self) {
        lock(&self.0).take();
    }
}

#[derive(Debug)]
struct Sink {
    writer: BufWriter<Counted>,
    /// The first error of a system call.
    error: Option<io::Error>,
}

impl Sink {
    /// Remembers an error, and passes on one of the same kind.
    fn keep<T>(&mut self, result: io::Result<T>) -> io::Result<T> {
        result.map_err(|error| {
            if error.kind() == io::ErrorKind::Interrupted {
                return error;
            }
            let copy = match error.raw_os_error() {
                Some(code) => io::Error::from_raw_os_error(code),
                None => error.kind().into(),
            };
            self.error.get_or_insert(error);
            copy
        })
    }
}

/// A target, and how many bytes it has taken.
struct Counted {
    target: Target,
    bytes: u64,
    progress: Progress,
    digest: Option<Context>,
    /// Lets tests run out of disk after this many bytes.
    #[cfg(test)]
    capacity: Option<u64>,
    /// Lets tests fail to force it to disk.
    #[cfg(test)]
    is_forgetful: bool,
}

impl Counted {
    fn new(target: Target) -> Self {
        Self {
            target,
            bytes: 0,
            progress: Progress::default(),
            digest: None,
            #[cfg(test)]
            capacity: None,
            #[cfg(test)]
            is_forgetful: false,
        }
    }
}

impl fmt::Debug for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counted")
            .field("target", &self.target)
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        #[cfg(test)]
        if self
            .capacity
            .is_some_and(|capacity| self.bytes + bytes.len() as u64 > capacity)
        {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let written = match &mut self.target {
            Target::File { file, .. } => file.write(bytes)?,
            Target::InPlace(writer) => writer.write(bytes)?,
        };
        self.bytes += written as u64;
        self.progress.add_bytes(written as u64);
        if let Some(digest) = &mut self.digest {
            digest.update(bytes.get(..written).unwrap_or(bytes));
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.target {
            Target::File { file, .. } => file.flush(),
            Target::InPlace(writer) => writer.flush(),
        }
    }
}

enum Target {
    /// A file that will be `path`.
    File { file: File, path: PathBuf },
    /// What is written is out.
    InPlace(Box<dyn Write + Send>),
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, .. } => f.debug_tuple("File").field(path).finish(),
            Self::InPlace(_) => f.write_str("InPlace"),
        }
    }
}

/// A FIFO, which opens when somebody reads it. A thread waits for that, so that a query that ends
/// before is not held up; whoever writes waits for the thread.
enum Fifo {
    Opening(mpsc::Receiver<io::Result<File>>),
    Open(File),
}

impl Fifo {
    fn open(path: PathBuf) -> io::Result<Self> {
        // With room for the file, which is closed where nobody writes to it any more: its reader
        // then sees the end.
        let (sender, receiver) = mpsc::sync_channel(1);
        let open = move || {
            let _ = sender.send(OpenOptions::new().write(true).open(path));
        };
        thread::Builder::new().spawn(open)?;
        Ok(Self::Opening(receiver))
    }

    fn file(&mut self) -> io::Result<&mut File> {
        if let Self::Opening(file) = self {
            *self = Self::Open(file.recv().map_err(io::Error::other)??);
        }
        match self {
            Self::Open(file) => Ok(file),
            Self::Opening(_) => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

impl Write for Fifo {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file()?.write(bytes)
    }

    /// Also of no bytes at all: the reader waits for their end.
    fn flush(&mut self) -> io::Result<()> {
        self.file()?.flush()
    }
}

#[cfg(unix)]
fn is_fifo(existing: &fs::Metadata) -> bool {
    use std::os::unix::fs::FileTypeExt;
    existing.file_type().is_fifo()
}

#[cfg(not(unix))]
fn is_fifo(_: &fs::Metadata) -> bool {
    false
}

/// A standard output that is closed (`>&-`) cannot be told from one that goes to `/dev/null`: Rust opens that
/// in its place, for reading and writing, before `main`; and so do Python, Node and others for a child whose
/// output nobody wants. An error would be wrong for these.
fn open_stdout() -> Result<Output> {
    let name = "standard output";
    let open = || -> io::Result<Box<dyn Write + Send>> {
        #[cfg(unix)]
        {
            use std::os::fd::AsFd;
            // Not `io::stdout()`: it would search every buffer for line ends.
            let stdout = io::stdout().as_fd().try_clone_to_owned()?;
            Ok(Box::new(File::from(stdout)))
        }
        #[cfg(not(unix))]
        Ok(Box::new(io::stdout()))
    };
    let target = open().map_err(|source| {
        Error::new(ErrorKind::Export, format!("cannot write to {name}")).with_source(source)
    })?;
    Ok(Output::new(name.to_owned(), Target::InPlace(target), None))
}

/// What to do about a folder where one file was meant.
const FOLDER_HINT: &str =
    "give the path of a file, not of a directory; `Folder` writes many files into one";

fn open_path(shown: &Path) -> Result<Output> {
    let name = format!("{shown:?}");
    let fail = |source: io::Error, hint: Option<String>| {
        let error = Error::new(ErrorKind::Export, format!("cannot write to {name}"));
        match hint {
            Some(hint) => error.with_source(source).with_hint(hint),
            None => error.with_source(source),
        }
    };
    let permission = |error: io::Error, what: &Path| {
        let hint = (error.kind() == io::ErrorKind::PermissionDenied)
            .then(|| format!("you may not write to {what:?}: choose another path"));
        fail(error, hint)
    };
    let path = resolve(shown).map_err(|error| permission(error, shown))?;
    let existing = match fs::metadata(&path) {
        Ok(metadata) => Some(metadata),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(permission(error, &path)),
    };
    if let Some(existing) = &existing {
        if existing.is_dir() {
            return Err(fail(
                io::ErrorKind::IsADirectory.into(),
                Some(FOLDER_HINT.to_owned()),
            ));
        }
        if is_fifo(existing) {
            let fifo = Fifo::open(path).map_err(|error| fail(error, None))?;
            return Ok(Output::new(name, Target::InPlace(Box::new(fifo)), None));
        }
        // A link in /dev or /proc stands for an open file: what is renamed over it replaces the link.
        let in_place = !existing.is_file() || is_device_link(&path);
        // For a regular file this only asks for the permission, which a rename would not need.
        let file = OpenOptions::new()
            .write(true)
            .truncate(in_place)
            .open(&path)
            .map_err(|error| permission(error, &path))?;
        if in_place {
            return Ok(Output::new(name, Target::InPlace(Box::new(file)), None));
        }
    }
    let directory = directory_of(&path);
    if !directory.is_dir() {
        let cure = format!("create the directory first: mkdir -p {directory:?}");
        let missing = io::Error::new(
            io::ErrorKind::NotFound,
            format!("the directory {directory:?} does not exist"),
        );
        return Err(fail(missing, Some(cure)));
    }
    let (file, temp) =
        Unfinished::create(directory).map_err(|error| permission(error, directory))?;
    if let Some(existing) = existing {
        file.set_permissions(of_rights(&existing))
            .map_err(|error| fail(error, None))?;
    }
    Ok(Output::new(name, Target::File { file, path }, Some(temp)))
}

/// Who may read, write and run a file; not as whom it runs: a write would take that from it too.
fn of_rights(existing: &fs::Metadata) -> fs::Permissions {
    let permissions = existing.permissions();
    #[cfg(unix)]
    let permissions = {
        use std::os::unix::fs::PermissionsExt;
        fs::Permissions::from_mode(permissions.mode() & 0o777)
    };
    permissions
}

/// Follows symbolic links to the file that would be written, which need not exist.
fn resolve(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        if is_device_link(&path) {
            return Ok(path);
        }
        match read_link(&path)? {
            Some(target) => path = directory_of(&path).join(target),
            None => return Ok(path),
        }
    }
    Err(io::Error::other("too many levels of symbolic links"))
}

/// Where a symbolic link leads to. `None`: it is none, or nothing at all, and opening it will tell.
///
/// # Errors
/// Where a file that somebody else has chosen would be written.
#[cfg(target_os = "linux")]
fn read_link(path: &Path) -> io::Result<Option<PathBuf>> {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;

    use rustix::fs::{FileType, Mode, OFlags, fstat, open, readlinkat};

    // Held open, so that the owner who is asked for is that of the link which is read.
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let Ok(link) = open(path, flags, Mode::empty()) else {
        return Ok(None);
    };
    let found = fstat(&link)?;
    if FileType::from_raw_mode(found.st_mode) != FileType::Symlink {
        return Ok(None);
    }
    if !may_follow(found.st_uid, &fs::metadata(directory_of(path))?) {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!(
                "{path:?} is somebody else's symbolic link, in a folder where anybody may make one"
            ),
        ));
    }
    let target = readlinkat(&link, "", Vec::new())?;
    Ok(Some(OsString::from_vec(target.into_bytes()).into()))
}

/// Of links in a folder such as `/tmp`, where anybody may make some and take away no others', only our own
/// and those of the folder's owner: Linux has the rule where fs.protected_symlinks is set, and would ask
/// for it if it followed the link.
#[cfg(target_os = "linux")]
fn may_follow(owner: u32, directory: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;

    /// Sticky, and writable for everybody.
    const SHARED: u32 = 0o1002;
    directory.mode() & SHARED != SHARED
        || directory.uid() == owner
        || fs::metadata("/proc/self").is_ok_and(|process| process.uid() == owner)
}

#[cfg(not(target_os = "linux"))]
fn read_link(path: &Path) -> io::Result<Option<PathBuf>> {
    Ok(fs::read_link(path).ok())
}

/// Whether this is a link such as /dev/stderr or /proc/self/fd/2, whose target may be the name of a
/// pipe, or of a file that was deleted.
fn is_device_link(path: &Path) -> bool {
    (path.starts_with("/dev") || path.starts_with("/proc")) && path.is_symlink()
}

/// The directory that holds a file; `.` for a bare name.
fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) => Path::new("."),
        None => path,
    }
}

/// Bytes in hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Makes a rename survive a crash, where the file system and the permissions of the directory allow
/// that to be asked for.
pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    #[cfg(test)]
    SYNCED.with_borrow_mut(|synced| synced.push(directory_of(path).to_owned()));
    let Ok(directory) = File::open(directory_of(path)) else {
        return Ok(());
    };
    match directory.sync_all() {
        Err(error) if is_unsupported(&error) => Ok(()),
        result => result,
    }
}

fn is_unsupported(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported
    )
}

/// The error of an output that could not be written, which messages call `name`: with what can be done about
/// it, where that is known.
pub fn write_error(name: impl fmt::Display, source: io::Error) -> Error {
    let error = new_write_error(name);
    match hint(&source) {
        Some(hint) => error.with_source(source).with_hint(hint),
        None => error.with_source(source),
    }
}

fn new_write_error(name: impl fmt::Display) -> Error {
    Error::new(ErrorKind::Export, format!("cannot write to {name}")).with_phase(Phase::Write)
}

/// What to do about a failed write.
fn hint(error: &io::Error) -> Option<&'static str> {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Some("free some space on the disk, or write to another one")
        }
        io::ErrorKind::PermissionDenied => Some("choose a path that you may write to"),
        io::ErrorKind::FileTooLarge => Some("raise the limit of the file size (ulimit -f)"),
        _ => None,
    }
}

/// Locks, even after a panic elsewhere: what is guarded here is valid at any time.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
std::thread_local! {
    static SYNCED: std::cell::RefCell<Vec<PathBuf>> = const { std::cell::RefCell::new(Vec::new()) };
}

/// The directories that this thread has forced to disk since it was last asked.
#[cfg(test)]
pub(super) fn synced() -> Vec<PathBuf> {
    SYNCED.take()
}

#[cfg(test)]
impl Output {
    /// Lets writing fail as a full disk does, at the first write that goes beyond `bytes`.
    pub(super) fn with_capacity(self, bytes: u64) -> Self {
        lock(&self.sink).writer.get_mut().capacity = Some(bytes);
        self
    }

    /// Lets forcing it to disk fail as on a broken one.
    pub(super) fn forgetful(self) -> Self {
        lock(&self.sink).writer.get_mut().is_forgetful = true;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names_in(directory: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn split(path: &Path) -> (OutputWriter, TempGuard) {
        let output = Destination::from(path.to_owned()).open().unwrap();
        output.split(&Progress::default())
    }

    #[test]
    fn a_file_appears_only_when_it_is_complete() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.csv");
        fs::write(&path, "old").unwrap();
        let (mut writer, guard) = split(&path);
        writer.write_all(b"new!").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(writer.commit().unwrap(), 4);
        drop(guard);
        assert_eq!(fs::read(&path).unwrap(), b"new!");
        assert_eq!(names_in(directory.path()), ["a.csv"]);
    }

    #[test]
    fn dropping_the_guard_removes_the_file_and_stops_the_commit() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.csv");
        let (mut writer, guard) = split(&path);
        writer.write_all(b"new").unwrap();
        drop(guard);
        assert_eq!(names_in(directory.path()).len(), 0);
        let error = writer.commit().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Export);
        assert_eq!(names_in(directory.path()).len(), 0);
        // So does dropping an output that was never written to.
        drop(Destination::Path(path).open().unwrap());
        assert_eq!(names_in(directory.path()).len(), 0);
    }

    #[test]
    fn paths_that_cannot_be_written_say_why_and_what_to_do() {
        let directory = tempfile::tempdir().unwrap();
        let open = |path: &Path| Destination::Path(path.to_owned()).open().unwrap_err();
        let error = open(directory.path());
        assert_eq!(error.kind(), ErrorKind::Export);
        assert!(error.message().contains(&format!("{:?}", directory.path())));
        assert!(error.hint().unwrap().contains("not of a directory"));
        let error = open(&directory.path().join("none/a.csv"));
        assert!(error.hint().unwrap().contains("mkdir -p"));
        let file = directory.path().join("file");
        fs::write(&file, "").unwrap();
        assert_eq!(open(&file.join("a.csv")).kind(), ErrorKind::Export);
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_and_permissions_kept() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let directory = tempfile::tempdir().unwrap();
        let (real, link) = (directory.path().join("real"), directory.path().join("link"));
        symlink("real", &link).unwrap();
        // A dangling link first: the shell would create its target.
        for content in ["one", "two"] {
            let (mut writer, _guard) = split(&link);
            writer.write_all(content.as_bytes()).unwrap();
            writer.commit().unwrap();
            assert_eq!(fs::read_to_string(&real).unwrap(), content);
            assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
            fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
        }
        let (writer, _guard) = split(&link);
        writer.commit().unwrap();
        let mode = fs::metadata(&real).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
        assert_eq!(names_in(directory.path()), ["link", "real"]);
        symlink("loop", directory.path().join("loop")).unwrap();
        let error = Destination::Path(directory.path().join("loop")).open();
        assert_eq!(error.unwrap_err().kind(), ErrorKind::Export);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn nobody_chooses_the_file_of_somebody_else() {
        use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown, symlink};
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("target.csv");
        let shared = directory.path().join("shared");
        fs::create_dir(&shared).unwrap();
        let link = shared.join("a.csv");
        symlink(&target, &link).unwrap();
        let us = fs::symlink_metadata(&link).unwrap().uid();
        let other = us + 1;
        // Sticky and for everybody; the owner of the folder, and whose links may be followed then.
        for (mode, of_folder, trusts_others) in [
            (0o1777, us, false),
            (0o1777, other, true),
            (0o777, us, true),
            (0o1775, us, true),
        ] {
            fs::set_permissions(&shared, fs::Permissions::from_mode(mode)).unwrap();
            // Only root gives a folder away.
            if std::os::unix::fs::chown(&shared, Some(of_folder), None).is_err() {
                continue;
            }
            let folder = fs::metadata(&shared).unwrap();
            assert!(may_follow(us, &folder), "{mode:o}");
            assert_eq!(may_follow(other, &folder), trusts_others, "{mode:o}");
            assert_eq!(resolve(&link).unwrap(), target, "{mode:o}");
            if lchown(&link, Some(other), None).is_ok() {
                let opened = Destination::Path(link.clone()).open();
                assert_eq!(opened.is_ok(), trusts_others, "{mode:o}");
                if let Err(error) = opened {
                    let told = std::error::Error::source(&error).unwrap().to_string();
                    assert!(told.contains("somebody else's symbolic link"), "{told}");
                    assert!(error.hint().unwrap().contains("another path"), "{error:?}");
                }
                lchown(&link, Some(us), None).unwrap();
            }
        }
        assert!(!target.exists());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn devices_are_written_in_place() {
        let (mut writer, _guard) = split(Path::new("/dev/null"));
        writer.write_all(b"gone").unwrap();
        assert_eq!(writer.commit().unwrap(), 4);
        let (mut writer, _guard) = split(Path::new("/dev/full"));
        writer.write_all(b"x").unwrap();
        let error = writer.commit().unwrap_err();
        assert_eq!(error.message(), "cannot write to \"/dev/full\"");
    }

    #[cfg(unix)]
    #[test]
    fn a_new_file_has_the_permissions_of_the_umask() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let (plain, ours) = (
            directory.path().join("plain"),
            directory.path().join("ours"),
        );
        fs::write(&plain, "").unwrap();
        let (writer, _guard) = split(&ours);
        writer.commit().unwrap();
        let mode = |path| fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&ours), mode(&plain));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_fifo_is_written_in_place() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("fifo");
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.unwrap().success());
        let reader = std::thread::spawn({
            let path = path.clone();
            move || fs::read(path).unwrap()
        });
        let (mut writer, _guard) = split(&path);
        writer.write_all(b"rows").unwrap();
        writer.commit().unwrap();
        drop(writer);
        assert_eq!(reader.join().unwrap(), b"rows");
        assert_eq!(names_in(directory.path()), ["fifo"]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn an_open_file_is_written_in_place() {
        use std::os::fd::AsRawFd;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.csv");
        fs::write(&path, "something longer").unwrap();
        let file = File::open(&path).unwrap();
        let link = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
        let (mut writer, _guard) = split(&link);
        writer.write_all(b"new").unwrap();
        writer.commit().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert!(link.is_symlink());
    }

    #[test]
    fn names_of_standard_output() {
        for name in ["-", "/dev/stdout", "/dev/fd/1"] {
            assert_eq!(Destination::from(PathBuf::from(name)), Destination::Stdout);
        }
    }
}
