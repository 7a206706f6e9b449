//! The file of an export that is not complete.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use tempfile::TempPath;

/// What the names of files begin and end with that are not complete.
pub(super) const TEMPORARY: (&str, &str) = (".merganser-", ".tmp");

/// How a file that is not complete stays apart from those that are.
#[derive(Debug)]
pub(super) enum Unfinished {
    /// It has no name, so that it is gone with the process, however that ends (`O_TMPFILE`).
    #[cfg(target_os = "linux")]
    Unnamed,
    /// It has a name of its own, and is removed when this is dropped.
    Named(TempPath),
}

impl Unfinished {
    /// A new file for this directory, with the permissions that the umask leaves.
    ///
    /// # Errors
    /// What the directory or its file system says.
    pub(super) fn create(directory: &Path) -> io::Result<(File, Self)> {
        #[cfg(target_os = "linux")]
        if let Some(file) = linux::unnamed(directory) {
            return Ok((file, Self::Unnamed));
        }
        let (file, path) = named().tempfile_in(directory)?.into_parts();
        Ok((file, Self::Named(path)))
    }

    /// Gives the file its final name, in one step: who looks sees what was there before, or all of it.
    ///
    /// # Errors
    /// What the file system says; the file is gone then.
    pub(super) fn persist(self, file: &File, path: &Path) -> io::Result<()> {
        #[cfg(not(target_os = "linux"))]
        let _ = file;
        match self {
            #[cfg(target_os = "linux")]
            Self::Unnamed => linux::link(file, path),
            Self::Named(temp) => temp.persist(path).map_err(|failed| failed.error),
        }
    }
}

fn named<'a>() -> tempfile::Builder<'a, 'a> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(TEMPORARY.0).suffix(TEMPORARY.1);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // The default of `tempfile` is 0600; this leaves it to the umask.
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    builder
}

#[cfg(target_os = "linux")]
mod linux {
    use std::os::fd::AsRawFd;

    use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat, open};
    use rustix::io::Errno;

    use super::{File, Path, fs, io, named};

    /// A file without a name; `None` where the file system has none, or it could not be given one later.
    pub(super) fn unnamed(directory: &Path) -> Option<File> {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let file = open(directory, flags, Mode::from_raw_mode(0o666)).ok()?;
        let file = File::from(file);
        // Without /proc there is no way from the open file to a name, unless one is root.
        fs::metadata(link_to(&file)).ok()?;
        Some(file)
    }

    pub(super) fn link(file: &File, path: &Path) -> io::Result<()> {
        let from = link_to(file);
        let link = |to: &Path| linkat(CWD, &from, CWD, to, AtFlags::SYMLINK_FOLLOW);
        match link(path) {
            // A link replaces nothing, but a rename does: for that moment it has a name.
            Err(Errno::EXIST) => {
                let directory = path.parent().filter(|it| !it.as_os_str().is_empty());
                let directory = directory.unwrap_or(Path::new("."));
                let linked = named().make_in(directory, |to| Ok(link(to)?))?;
                let renamed = linked.into_temp_path().persist(path);
                renamed.map_err(|failed| failed.error)
            }
            linked => Ok(linked?),
        }
    }

    fn link_to(file: &File) -> String {
        format!("/proc/self/fd/{}", file.as_raw_fd())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn names_in(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.collect()
    }

    #[test]
    fn a_file_replaces_what_was_there_whether_or_not_it_had_a_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        let by_name = || {
            let (file, temp) = named().tempfile_in(directory.path()).unwrap().into_parts();
            (file, Unfinished::Named(temp))
        };
        let any = || Unfinished::create(directory.path()).unwrap();
        for (round, make) in [&by_name as &dyn Fn() -> (File, Unfinished), &any]
            .into_iter()
            .enumerate()
        {
            for content in ["new", "newer"] {
                let content = format!("{content} {round}");
                let (mut file, unfinished) = make();
                file.write_all(content.as_bytes()).unwrap();
                unfinished.persist(&file, &path).unwrap();
                assert_eq!(fs::read_to_string(&path).unwrap(), content);
                assert_eq!(names_in(directory.path()), ["a"]);
            }
            fs::remove_file(&path).unwrap();
            // What is not persisted leaves nothing.
            drop(make());
            assert_eq!(names_in(directory.path()), [""; 0]);
        }
        let (file, unfinished) = any();
        let missing = directory.path().join("none").join("a");
        let error = unfinished.persist(&file, &missing).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    /// The file systems of machines that tests run on have such files.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_file_has_no_name_before_it_is_complete() {
        let directory = tempfile::tempdir().unwrap();
        let (_file, unfinished) = Unfinished::create(directory.path()).unwrap();
        assert!(matches!(unfinished, Unfinished::Unnamed));
        assert_eq!(names_in(directory.path()), [""; 0]);
    }
}
