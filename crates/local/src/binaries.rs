//! Where the PostgreSQL server programs of this machine are.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Error, ErrorKind, Result};

/// The environment variable that names the folder of `initdb` and `postgres`, before any search.
const BINDIR_VARIABLE: &str = "MERGANSER_PG_BINDIR";

/// The server programs of one PostgreSQL installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binaries {
    dir: PathBuf,
    version: String,
    major: u32,
}

impl Binaries {
    /// Finds an installation: `MERGANSER_PG_BINDIR`, then `PATH`, then `pg_config --bindir`, then
    /// the usual folders of Debian, RHEL, Homebrew and Postgres.app, the newest version first.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when `MERGANSER_PG_BINDIR` names a folder without the programs, or
    /// when there is no installation; the hint says how to install one on this platform.
    pub fn find() -> Result<Self> {
        if let Some(dir) = env::var_os(BINDIR_VARIABLE).filter(|dir| !dir.is_empty()) {
            return Self::at(&dir).map_err(|error| {
                error.with_hint(format!(
                    "set {BINDIR_VARIABLE} to the folder of initdb and postgres, or unset it"
                ))
            });
        }
        candidates()
            .iter()
            .find_map(|dir| Self::at(dir).ok())
            .ok_or_else(not_installed)
    }

    /// The installation whose programs are in this folder, which may hold symlinks to them.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when `initdb` or `postgres` is not there or does not run.
    pub fn at(dir: impl AsRef<Path>) -> Result<Self> {
        let dir = dir.as_ref();
        let missing = |program: &str| {
            Error::new(
                ErrorKind::Config,
                format!("{} holds no usable {program}", dir.display()),
            )
        };
        // initdb looks for its share folder relative to where it really is.
        let postgres = fs::canonicalize(dir.join("postgres"))
            .map_err(|error| missing("postgres").with_source(error))?;
        let real = postgres.parent().ok_or_else(|| missing("postgres"))?;
        if !real.join("initdb").is_file() {
            return Err(missing("initdb"));
        }
        let output = Command::new(&postgres)
            .arg("--version")
            .output()
            .map_err(|error| missing("postgres").with_source(error))?;
        let version = parse_version(&String::from_utf8_lossy(&output.stdout))
            .filter(|_| output.status.success())
            .ok_or_else(|| missing("postgres"))?;
        let major = leading_number(&version).ok_or_else(|| missing("postgres"))?;
        Ok(Self {
            dir: real.to_path_buf(),
            version,
            major,
        })
    }

    /// The folder of the programs, with symlinks resolved.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The version as the server says it, such as `15.8` or `18beta1`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The major version, such as 15.
    pub fn major_version(&self) -> u32 {
        self.major
    }

    /// The path of one program, such as `initdb`; nothing says that it exists.
    pub fn program(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

/// Every folder in which to look, most wanted first.
fn candidates() -> Vec<PathBuf> {
    let mut dirs: Vec<PathBuf> = env::var_os("PATH")
        .map(|path| env::split_paths(&path).collect())
        .unwrap_or_default();
    if let Ok(output) = Command::new("pg_config").arg("--bindir").output()
        && output.status.success()
    {
        dirs.push(String::from_utf8_lossy(&output.stdout).trim().into());
    }
    // Folders whose children carry a version in their name, the path from the child to its
    // programs, and what the child's name begins with.
    const VERSIONED: [(&str, &str, &str); 6] = [
        ("/usr/lib/postgresql", "", "bin"),
        ("/usr", "pgsql-", "bin"),
        ("/opt/homebrew/opt", "postgresql", "bin"),
        ("/usr/local/opt", "postgresql", "bin"),
        ("/home/linuxbrew/.linuxbrew/opt", "postgresql", "bin"),
        ("/Applications/Postgres.app/Contents/Versions", "", "bin"),
    ];
    for (parent, prefix, below) in VERSIONED {
        dirs.extend(newest_first(Path::new(parent), prefix).map(|dir| dir.join(below)));
    }
    dirs.push("/usr/local/pgsql/bin".into());
    dirs
}

/// The children of `parent` whose name is `prefix` and a version, the highest version first.
fn newest_first(parent: &Path, prefix: &str) -> impl Iterator<Item = PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = fs::read_dir(parent)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name();
            let rest = name.to_str()?.strip_prefix(prefix)?;
            // Homebrew's `postgresql` without a version is a link to its default version.
            let version = leading_number(rest.trim_start_matches('@'));
            Some((version.or(rest.is_empty().then_some(0))?, entry.path()))
        })
        .collect();
    found.sort_by(|a, b| b.cmp(a));
    found.into_iter().map(|(_, path)| path)
}

/// `postgres (PostgreSQL) 15.8 (Debian 15.8-0+deb12u1)` -> `15.8`.
fn parse_version(line: &str) -> Option<String> {
    let (_, rest) = line.split_once("(PostgreSQL) ")?;
    rest.split_whitespace().next().map(str::to_owned)
}

/// `15.8` -> 15, `18beta1` -> 18.
fn leading_number(text: &str) -> Option<u32> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    text.get(..end)?.parse().ok()
}

fn not_installed() -> Error {
    let install = match env::consts::OS {
        "macos" => "brew install postgresql@17",
        _ if Path::new("/usr/bin/apt-get").exists() => "sudo apt-get install postgresql",
        _ if Path::new("/usr/bin/dnf").exists() => "sudo dnf install postgresql-server",
        _ => "install the PostgreSQL server package of this system",
    };
    Error::new(
        ErrorKind::Config,
        "no PostgreSQL server programs (initdb, postgres) on this machine",
    )
    .with_hint(format!(
        "`{install}`, or let `./dev demo` do it, or set {BINDIR_VARIABLE} to their folder"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_every_vendor_are_understood() {
        for (line, version, major) in [
            (
                "postgres (PostgreSQL) 15.8 (Debian 15.8-0+deb12u1)\n",
                "15.8",
                15,
            ),
            ("postgres (PostgreSQL) 17.2 (Homebrew)\n", "17.2", 17),
            ("postgres (PostgreSQL) 18beta1\n", "18beta1", 18),
        ] {
            let found = parse_version(line);
            assert_eq!(found.as_deref(), Some(version));
            assert_eq!(leading_number(version), Some(major));
        }
        assert_eq!(parse_version("postgres: command not found"), None);
    }

    #[test]
    fn the_newest_version_comes_first_by_number() {
        let parent = tempfile::tempdir().unwrap();
        for name in [
            "postgresql@9",
            "postgresql@17",
            "postgresql",
            "postgis",
            "postgresql@15",
        ] {
            fs::create_dir(parent.path().join(name)).unwrap();
        }
        let names: Vec<_> = newest_first(parent.path(), "postgresql")
            .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
            .collect();
        assert_eq!(
            names,
            [
                "postgresql@17",
                "postgresql@15",
                "postgresql@9",
                "postgresql"
            ]
        );
    }

    #[test]
    fn a_folder_without_the_programs_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let error = Binaries::at(dir.path()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert_eq!(
            error.message(),
            format!("{} holds no usable postgres", dir.path().display())
        );
    }

    #[test]
    fn what_is_missing_can_be_installed() {
        let error = not_installed();
        assert!(error.hint().unwrap().contains("install"), "{error:?}");
    }
}
