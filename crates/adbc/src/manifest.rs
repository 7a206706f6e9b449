//! The manifest: a file by which driver managers find the driver by its name, `merganser`, and by the
//! scheme of URIs.

use std::env;
use std::fs;
use std::io::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};

/// Where driver managers search for manifests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// An environment of Python: the folder that is its `sys.prefix`.
    Environment(PathBuf),
    /// Whatever this user runs.
    User,
    /// Whatever anybody runs on this machine.
    System,
}

impl Place {
    /// The folder of the manifests.
    ///
    /// # Errors
    /// The environment is no folder; the user has no home; the system is Windows, where manifests of
    /// users and machines are in the registry.
    pub fn folder(&self) -> Result<PathBuf> {
        match self {
            Self::Environment(prefix) if prefix.is_dir() => Ok(prefix.join("etc/adbc/drivers")),
            Self::Environment(prefix) => Err(Error::new(
                ErrorKind::NotFound,
                format!("{} is not a folder", prefix.display()),
            )),
            Self::User if cfg!(target_os = "macos") => {
                Ok(home()?.join("Library/Application Support/ADBC/Drivers"))
            }
            Self::System if cfg!(target_os = "macos") => {
                Ok(PathBuf::from("/Library/Application Support/ADBC/Drivers"))
            }
            Self::User if cfg!(unix) => {
                let configuration = env::var_os("XDG_CONFIG_HOME").map(PathBuf::from);
                let configuration = match configuration {
                    Some(folder) => folder,
                    None => home()?.join(".config"),
                };
                Ok(configuration.join("adbc/drivers"))
            }
            Self::System if cfg!(unix) => Ok(PathBuf::from("/etc/adbc/drivers")),
            Self::User | Self::System => Err(Error::new(
                ErrorKind::Unsupported,
                "on Windows a manifest can be installed for an environment of Python only",
            )),
        }
    }
}

/// Writes the manifest of the driver in this library, over one that is there already, and makes the
/// folder that it belongs to; returns its path. The library stays where it is.
///
/// # Errors
/// There is no such library; its path is not UTF-8 or has control characters; the place has no folder
/// that can be written.
pub fn install(place: &Place, library: &Path) -> Result<PathBuf> {
    let within = |error: Error, path: &Path| {
        Error::new(error.kind(), format!("{}: {error}", path.display()))
    };
    // Absolute: managers do not say what a relative path is relative to.
    let library = library
        .canonicalize()
        .map_err(|error| within(error, library))?;
    let text = text(&library)?;
    let folder = place.folder()?;
    fs::create_dir_all(&folder).map_err(|error| within(error, &folder))?;
    let path = folder.join("merganser.toml");
    // Whoever reads it meanwhile finds the old or the new one.
    let new = folder.join("merganser.toml.new");
    fs::write(&new, text).map_err(|error| within(error, &new))?;
    fs::rename(&new, &path).map_err(|error| within(error, &path))?;
    Ok(path)
}

fn text(library: &Path) -> Result<String> {
    let path = library
        .to_str()
        .filter(|path| !path.contains(char::is_control));
    let path = path.ok_or_else(|| {
        Error::new(
            ErrorKind::InvalidInput,
            format!("{}: a manifest cannot name this path", library.display()),
        )
    })?;
    Ok(format!(
        r#"manifest_version = 1

name = "Merganser"
version = "{}"
license = "{}"

[ADBC]
version = "v1.1.0"

[Driver]
entrypoint = "AdbcMerganserInit"
shared = "{}"
"#,
        env!("CARGO_PKG_VERSION"),
        env!("CARGO_PKG_LICENSE"),
        path.replace('\\', "\\\\").replace('"', "\\\"")
    ))
}

fn home() -> Result<PathBuf> {
    env::home_dir().ok_or_else(|| Error::new(ErrorKind::NotFound, "this user has no home folder"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_shows_it() {
        let text = text(Path::new("/usr/local/lib/libmerganser_adbc.so")).unwrap();
        let readme = include_str!("../README.md");
        assert!(readme.contains(&format!("```toml\n{text}```")), "{text}");
    }

    #[test]
    fn a_path_is_written_as_toml() {
        let text = text(Path::new("/a\\b \"c\".so")).unwrap();
        assert!(text.contains(r#"shared = "/a\\b \"c\".so""#), "{text}");
        assert!(super::text(Path::new("/a\nb.so")).is_err());
    }
}
