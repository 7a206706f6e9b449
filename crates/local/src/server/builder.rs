//! How a server is described, and its folder filled, before it starts.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use super::{SUPERUSER, Secret, Server};
use crate::binaries::Binaries;
use crate::error::Result;
use crate::process::{self, Account, Watchdog};
use crate::session::failure;

/// The longest path of a Unix socket that macOS takes, less one for its final NUL; Linux takes 107.
const SOCKET_PATH_MAX_BYTES: usize = 103;

/// How to start a [`Server`]; [`Server::builder`] makes one.
#[derive(Debug, Clone)]
pub struct ServerBuilder {
    binaries: Option<Binaries>,
    parent: Option<PathBuf>,
    locale: String,
    password: Option<Secret>,
    tls: Option<(String, Secret)>,
    hba: Vec<String>,
    settings: Vec<(String, String)>,
    timeout: Duration,
}

impl ServerBuilder {
    pub(super) fn new() -> Self {
        Self {
            binaries: None,
            parent: None,
            locale: "C".into(),
            password: None,
            tls: None,
            hba: Vec::new(),
            settings: Vec::new(),
            timeout: Duration::from_secs(60),
        }
    }

    /// Takes this installation instead of [`Binaries::find`].
    #[must_use]
    pub fn with_binaries(mut self, binaries: Binaries) -> Self {
        self.binaries = Some(binaries);
        self
    }

    /// Makes the server's folder inside this one instead of the temporary folder of the system.
    ///
    /// Either gives way to `/tmp` when its path is too long for a Unix socket, or when the account
    /// of the server may not enter it.
    #[must_use]
    pub fn with_parent_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.parent = Some(dir.into());
        self
    }

    /// The locale of the databases; `C` when not set. The encoding is always UTF8.
    #[must_use]
    pub fn with_locale(mut self, locale: impl Into<String>) -> Self {
        self.locale = locale.into();
        self
    }

    /// Lets nobody in without this password (SCRAM-SHA-256); without it the server trusts everybody
    /// who reaches its loopback port or its socket.
    #[must_use]
    pub fn with_password(mut self, password: impl Into<String>) -> Self {
        self.password = Some(Secret(password.into()));
        self
    }

    /// Offers TLS with this certificate (chain) and its key, both as PEM text. Connections without
    /// TLS stay possible unless a line of [`with_hba`](Self::with_hba) rejects them.
    #[must_use]
    pub fn with_tls(mut self, certificate: impl Into<String>, key: impl Into<String>) -> Self {
        self.tls = Some((certificate.into(), Secret(key.into())));
        self
    }

    /// Puts a line into `pg_hba.conf` before the ones of this crate, after those given before it.
    ///
    /// [`Server::execute`] and its like log in through the Unix socket, so leave that open.
    #[must_use]
    pub fn with_hba(mut self, line: impl Into<String>) -> Self {
        self.hba.push(line.into());
        self
    }

    /// Sets a configuration parameter of the server, such as `max_connections` (200 when not set).
    #[must_use]
    pub fn with_setting(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.push((name.into(), value.into()));
        self
    }

    /// How long the server may take until it accepts connections; 60 s when not set.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Makes the server and returns when it accepts connections, which takes about two seconds.
    ///
    /// Blocks; needs no runtime. Run as root, the server runs as `postgres` or `nobody`.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when there is no installation; [`ErrorKind::Timeout`] when the server
    /// takes too long; [`ErrorKind::Connect`] for everything else, with the end of the server's log.
    ///
    /// [`ErrorKind::Config`]: crate::ErrorKind::Config
    /// [`ErrorKind::Timeout`]: crate::ErrorKind::Timeout
    /// [`ErrorKind::Connect`]: crate::ErrorKind::Connect
    pub fn start(self) -> Result<Server> {
        let binaries = self.binaries.clone().map_or_else(Binaries::find, Ok)?;
        self.start_with(binaries, Self::init)
    }

    /// Makes a streaming standby of a running server, and returns when it can be read from. Both need
    /// the settings `wal_level = replica` and `max_wal_senders = 4`, say; locale, password and lines of
    /// `pg_hba.conf` are those of the primary.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_standby_of(self, primary: &Server) -> Result<Server> {
        self.start_with(primary.binaries.clone(), |_, server| {
            let mut backup = server.command("pg_basebackup");
            backup.arg("-D").arg(server.data_dir());
            backup.args([
                "-X",
                "stream",
                "-c",
                "fast",
                "--write-recovery-conf",
                "--no-sync",
            ]);
            backup.args(["-U", SUPERUSER, "-p", &primary.port.to_string(), "-h"]);
            server.fill(backup.arg(&primary.folder), "pg_basebackup")
        })
    }

    fn start_with(
        self,
        binaries: Binaries,
        fill: impl FnOnce(&Self, &mut Server) -> Result<()>,
    ) -> Result<Server> {
        let account = Account::unprivileged()
            .map_err(|error| failure("no account to run the server").with_source(error))?;
        let folder = self.make_folder(account)?;
        // From here on the folder is the watchdog's to remove, also when this function fails.
        let watchdog = Watchdog::start(&folder).map_err(|error| {
            let _ = fs::remove_dir_all(&folder);
            failure("cannot start the watchdog of the server").with_source(error)
        })?;
        let mut server = Server {
            binaries,
            account,
            folder,
            port: 0,
            password: self.password.clone(),
            settings: self.settings.clone(),
            timeout: self.timeout,
            process: None,
            watchdog: Some(watchdog),
        };
        fill(&self, &mut server)?;
        server.start_on_a_free_port()?;
        Ok(server)
    }

    /// A new folder that only the server's account can enter.
    fn make_folder(&self, account: Option<Account>) -> Result<PathBuf> {
        let parent = self.parent.clone().unwrap_or_else(env::temp_dir);
        // Room for `/merganser-XXXXXX/.s.PGSQL.65535`.
        let too_long = parent.as_os_str().len() + 33 > SOCKET_PATH_MAX_BYTES;
        let closed = account.is_some() && !process::is_traversable_by_all(&parent);
        let parent = match too_long || closed {
            true => PathBuf::from("/tmp"),
            false => parent,
        };
        let cannot = |error| {
            failure(format!("cannot make a folder in {}", parent.display())).with_source(error)
        };
        let folder = tempfile::Builder::new()
            .prefix("merganser-")
            .permissions(fs::Permissions::from_mode(0o700))
            .tempdir_in(&parent)
            .map_err(cannot)?;
        if let Some(account) = account {
            account.give(folder.path()).map_err(cannot)?;
        }
        Ok(folder.keep())
    }

    /// Runs initdb and writes the files that the server reads at its start.
    fn init(&self, server: &mut Server) -> Result<()> {
        let mut initdb = server.command("initdb");
        initdb
            .arg("-D")
            .arg(server.data_dir())
            .args(["-U", SUPERUSER, "--encoding=UTF8", "--no-sync"])
            .arg(format!("--locale={}", self.locale))
            .arg("--lc-messages=C");
        match &self.password {
            Some(Secret(password)) => {
                let file = server.folder.join("password");
                server.write_private(&file, &format!("{password}\n"))?;
                initdb.arg("--auth=scram-sha-256").arg("--pwfile").arg(file);
            }
            None => {
                initdb.arg("--auth=trust");
            }
        }
        let filled = server.fill(&mut initdb, "initdb");
        let _ = fs::remove_file(server.folder.join("password"));
        filled?;
        if let Some((certificate, Secret(key))) = &self.tls {
            for (name, text) in [("server.crt", certificate), ("server.key", key)] {
                server.write_private(&server.data_dir().join(name), text)?;
            }
            server.settings.insert(0, ("ssl".into(), "on".into()));
        }
        if !self.hba.is_empty() {
            let path = server.data_dir().join("pg_hba.conf");
            let ours = fs::read_to_string(&path)
                .map_err(|error| failure("cannot read pg_hba.conf").with_source(error))?;
            server.write_private(&path, &format!("{}\n{ours}", self.hba.join("\n")))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_stay_out_of_debug() {
        let builder = Server::builder()
            .with_password("hunter2")
            .with_tls("cert", "hunter2");
        assert!(!format!("{builder:?}").contains("hunter2"));
    }

    #[test]
    fn a_folder_too_long_for_a_socket_gives_way_to_tmp() {
        let parent = tempfile::tempdir().unwrap();
        let long = parent.path().join("x".repeat(80));
        fs::create_dir(&long).unwrap();
        let builder = Server::builder().with_parent_dir(&long);
        let folder = builder.make_folder(None).unwrap();
        fs::remove_dir(&folder).unwrap();
        assert_eq!(folder.parent(), Some(std::path::Path::new("/tmp")));
        let folder = Server::builder()
            .with_parent_dir(parent.path())
            .make_folder(None)
            .unwrap();
        assert_eq!(folder.parent(), Some(parent.path()));
    }
}
