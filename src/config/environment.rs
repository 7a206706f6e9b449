//! The part of a process that connection strings depend on, as a value.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use super::invalid;
use crate::error::Result;

/// Where PostgreSQL servers put their Unix socket, by distribution: Debian and Fedora, then
/// PostgreSQL's own default.
const SOCKET_DIRECTORIES: [&str; 2] = ["/var/run/postgresql", "/tmp"];

/// Environment variables, home directory and user name, from which defaults are taken.
///
/// Everything that reads a connection string takes one of these, so that what it does can be
/// tested, and repeated for another user, without touching the process.
#[derive(Clone, Default)]
pub struct Environment {
    variables: BTreeMap<String, OsString>,
    home: Option<PathBuf>,
    user: Option<String>,
    socket_directory: Option<PathBuf>,
}

impl Environment {
    /// Reads the environment of this process.
    pub fn from_process() -> Self {
        Self {
            variables: std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
                .collect(),
            home: std::env::home_dir(),
            user: whoami::username().ok(),
            socket_directory: SOCKET_DIRECTORIES
                .iter()
                .map(PathBuf::from)
                .find(|directory| cfg!(unix) && directory.is_dir()),
        }
    }

    /// Sets one environment variable.
    #[must_use]
    pub fn with_variable(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.into());
        self
    }

    /// Sets the home directory, in which `.pgpass`, `.pg_service.conf` and, in `.postgresql`,
    /// `root.crt`, `root.crl`, `postgresql.crt` and `postgresql.key` are looked for.
    #[must_use]
    pub fn with_home(mut self, directory: impl Into<PathBuf>) -> Self {
        self.home = Some(directory.into());
        self
    }

    /// Sets the name of the operating system's user: the default for `user`.
    #[must_use]
    pub fn with_user(mut self, user: &str) -> Self {
        self.user = Some(user.to_owned());
        self
    }

    /// Sets the directory of the Unix socket that is used when no host is given; without it that
    /// is TCP to `localhost`.
    #[must_use]
    pub fn with_socket_directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.socket_directory = Some(directory.into());
        self
    }

    /// The value of a variable; `None` when it is not set.
    ///
    /// # Errors
    /// [`Config`](crate::ErrorKind::Config) when the value is not UTF-8.
    pub fn variable(&self, name: &str) -> Result<Option<&str>> {
        self.variables
            .get(name)
            .map(|value| {
                value.to_str().ok_or_else(|| {
                    invalid(format!("environment variable {name} is not valid UTF-8"))
                })
            })
            .transpose()
    }

    /// The home directory.
    pub fn home(&self) -> Option<&Path> {
        self.home.as_deref()
    }

    /// The name of the operating system's user.
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// The directory of the Unix socket that is used when no host is given.
    pub fn socket_directory(&self) -> Option<&Path> {
        self.socket_directory.as_deref()
    }
}

/// Values of variables are left out: `PGPASSWORD` is one of them.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment")
            .field("home", &self.home)
            .field("user", &self.user)
            .field("socket_directory", &self.socket_directory)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_variable() {
        let environment = Environment::default()
            .with_variable("PGPASSWORD", "canary")
            .with_user("ann");
        assert!(!format!("{environment:?}").contains("canary"));
        assert_eq!(environment.variable("PGPASSWORD").unwrap(), Some("canary"));
        assert_eq!(environment.variable("PGUSER").unwrap(), None);
    }

    #[test]
    fn the_process_has_variables_and_a_user() {
        let environment = Environment::from_process();
        assert!(environment.variable("PATH").unwrap().is_some());
        assert!(environment.user().is_some());
    }
}
