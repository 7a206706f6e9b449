//! One throw-away PostgreSQL server.

mod builder;

use std::env;
use std::fmt;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio_postgres::{Config, SimpleQueryMessage};

use super::binaries::Binaries;
use super::process::{self, Account, Watchdog};
use super::session::{self, Session, failure, sql_error};
use crate::error::{Error, ErrorKind, Result};

pub use builder::ServerBuilder;

/// The name of the superuser that every local server has.
const SUPERUSER: &str = "postgres";

/// How often another port is tried when the first one was taken between our look and the server's.
const PORT_ATTEMPTS: usize = 10;

/// How many bytes at the end of the log an error shows.
const LOG_TAIL_BYTES: u64 = 4 * 1024;

/// Settings of every local server; what the caller sets comes later and wins.
const SETTINGS: [(&str, &str); 10] = [
    // The data is thrown away, so it need not survive a crash of the machine.
    ("fsync", "off"),
    ("full_page_writes", "off"),
    ("synchronous_commit", "off"),
    // A table that is made and filled in one transaction is then not written twice.
    ("wal_level", "minimal"),
    ("max_wal_senders", "0"),
    ("shared_buffers", "64MB"),
    ("max_connections", "200"),
    // Errors are compared with texts, and start-up faults are recognised by them.
    ("lc_messages", "C"),
    ("timezone", "UTC"),
    ("log_timezone", "UTC"),
];

/// A running PostgreSQL server that nobody else knows of. Dropping it ends it at once and removes
/// its folder; so does the end of this process.
///
/// It listens on 127.0.0.1 (and ::1 where there is one) and on a Unix socket, has a superuser
/// `postgres`, and accepts 200 connections at a time. All methods block and need no runtime; those
/// that talk to the server open a connection of their own and may be called inside a runtime too.
#[derive(Debug)]
pub struct Server {
    binaries: Binaries,
    account: Option<Account>,
    folder: PathBuf,
    port: u16,
    password: Option<Secret>,
    settings: Vec<(String, String)>,
    timeout: Duration,
    /// `None` while the server is down.
    process: Option<Child>,
    /// `None` only when the server was kept.
    watchdog: Option<Watchdog>,
}

impl Server {
    /// Describes a server before it is started.
    pub fn builder() -> ServerBuilder {
        ServerBuilder::new()
    }

    /// The installation that runs.
    pub fn binaries(&self) -> &Binaries {
        &self.binaries
    }

    /// The loopback TCP port; it stays the same over [`restart`](Self::restart).
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process number of the postmaster; `None` while the server is down.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
    }

    /// The folder of the Unix socket, short enough for the limit of 107 bytes on socket paths.
    pub fn socket_dir(&self) -> &Path {
        &self.folder
    }

    /// The data directory.
    pub fn data_dir(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// A libpq URL of a database over TCP to 127.0.0.1, with the password if there is one.
    pub fn url(&self, database: &str) -> String {
        self.url_at(&format!("127.0.0.1:{}", self.port), database)
    }

    /// A libpq URL of a database over the Unix socket, with the password if there is one.
    pub fn socket_url(&self, database: &str) -> String {
        let dir = encode(&self.folder.to_string_lossy());
        self.url_at(&format!("{dir}:{}", self.port), database)
    }

    fn url_at(&self, host: &str, database: &str) -> String {
        let password = match &self.password {
            Some(Secret(password)) => format!(":{}", encode(password)),
            None => String::new(),
        };
        format!(
            "postgresql://{SUPERUSER}{password}@{host}/{}",
            encode(database)
        )
    }

    /// Creates an empty database and returns its [`url`](Self::url).
    ///
    /// # Errors
    /// [`ErrorKind::Server`] when it exists already, and when the server is down.
    pub fn create_database(&self, name: &str) -> Result<String> {
        // template0: nobody ever holds a connection to it that would be in the way.
        let quoted = name.replace('"', "\"\"");
        self.execute(
            "postgres",
            &format!("CREATE DATABASE \"{quoted}\" TEMPLATE template0"),
        )?;
        Ok(self.url(name))
    }

    /// Runs SQL statements, separated by semicolons, in a database.
    ///
    /// # Errors
    /// [`ErrorKind::Server`] with the SQLSTATE of the first statement that fails;
    /// [`ErrorKind::Connect`] when the server is down.
    pub fn execute(&self, database: &str, sql: &str) -> Result<()> {
        self.query(database, sql).map(drop)
    }

    /// Runs SQL statements and returns the rows of all of them as psql would show the values;
    /// `None` is NULL.
    ///
    /// # Errors
    /// As [`execute`](Self::execute).
    ///
    /// # Memory
    /// Holds all rows.
    pub fn query(&self, database: &str, sql: &str) -> Result<Vec<Vec<Option<String>>>> {
        let mut config = Config::new();
        config
            .host_path(&self.folder)
            .port(self.port)
            .user(SUPERUSER)
            .dbname(database);
        if let Some(Secret(password)) = &self.password {
            config.password(password);
        }
        session::block_on(async {
            let session = Session::open(&config).await?;
            let messages = session.client.simple_query(sql).await.map_err(sql_error)?;
            Ok(messages
                .iter()
                .filter_map(|message| match message {
                    SimpleQueryMessage::Row(row) => Some(row),
                    _ => None,
                })
                .map(|row| {
                    (0..row.len())
                        .map(|i| row.get(i).map(str::to_owned))
                        .collect()
                })
                .collect())
        })
    }

    /// Shuts the server down and starts it again on the same port and data; open connections are
    /// ended with SQLSTATE 57P01. Also starts a server that was killed.
    ///
    /// # Errors
    /// As [`ServerBuilder::start`].
    pub fn restart(&mut self) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            // SIGINT: fast shutdown.
            let _ = process::signal("INT", &[process.id()]);
            if !wait_for(&mut process, self.timeout) {
                let _ = process.kill();
                let _ = process.wait();
            }
            self.watch(None)?;
        }
        self.start_process()
    }

    /// Ends the postmaster and all of its processes by SIGKILL, as a crash of the machine would.
    /// The data stays for [`restart`](Self::restart), which then has to recover it.
    ///
    /// # Errors
    /// [`ErrorKind::Connect`] when the processes cannot be listed or signalled.
    pub fn kill_hard(&mut self) -> Result<()> {
        let Some(mut process) = self.process.take() else {
            return Ok(());
        };
        let pid = process.id();
        let kill = || -> std::io::Result<()> {
            // Stopped first, so that it makes no new processes while the others are looked up.
            process::signal("STOP", &[pid])?;
            let children = process::children(pid)?;
            process::signal("KILL", &[pid])?;
            process::signal("KILL", &children)?;
            // They hold its shared memory, with which no other server starts on the data.
            let killed = Instant::now();
            while children.iter().any(|child| process::is_running(*child))
                && killed.elapsed() < self.timeout
            {
                thread::sleep(Duration::from_millis(5));
            }
            Ok(())
        };
        let killed = kill();
        let _ = process.kill();
        let _ = process.wait();
        self.watch(None)?;
        killed.map_err(|error| failure("cannot kill the server").with_source(error))
    }

    /// Ends the server and removes its folder, as dropping it does.
    pub fn stop(self) {}

    /// Leaves the server running and its folder in place when this process ends, and returns the
    /// folder. `pg_ctl stop -D FOLDER/data`, as the account that owns it, then ends the server.
    pub fn keep(mut self) -> PathBuf {
        if let Some(watchdog) = self.watchdog.take() {
            watchdog.keep();
        }
        self.folder.clone()
    }

    /// The end of the server's log, at most 4 KiB.
    pub fn log_tail(&self) -> String {
        let read = || -> std::io::Result<String> {
            let mut file = File::open(self.log_path())?;
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL_BYTES)))?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        read().unwrap_or_default()
    }

    fn log_path(&self) -> PathBuf {
        self.folder.join("log")
    }

    fn start_on_a_free_port(&mut self) -> Result<()> {
        let mut attempts = 1;
        loop {
            self.port = free_port()?;
            match self.start_process() {
                // Between our look at the port and the server's bind another program took it.
                Err(_) if attempts < PORT_ATTEMPTS && self.log_says_port_taken() => attempts += 1,
                result => return result,
            }
        }
    }

    /// Starts `postgres` and waits until it accepts connections.
    fn start_process(&mut self) -> Result<()> {
        let cannot = |error| failure("cannot start postgres").with_source(error);
        let log = File::create(self.log_path()).map_err(cannot)?;
        let mut command = self.command("postgres");
        command
            .arg("-D")
            .arg(self.data_dir())
            .args(["-p", &self.port.to_string()])
            .arg("-k")
            .arg(&self.folder)
            .args(["-c", &format!("listen_addresses={}", listen_addresses())]);
        for (name, value) in SETTINGS {
            command.args(["-c", &format!("{name}={value}")]);
        }
        for (name, value) in &self.settings {
            command.args(["-c", &format!("{name}={value}")]);
        }
        command.stdout(log.try_clone().map_err(cannot)?).stderr(log);
        let process = command.spawn().map_err(cannot)?;
        let pid = process.id();
        self.process = Some(process);
        self.watch(Some(pid))?;
        let result = self.wait_until_ready(pid);
        if result.is_err()
            && let Some(mut process) = self.process.take()
        {
            let _ = process::signal("QUIT", &[pid]);
            if !wait_for(&mut process, Duration::from_secs(5)) {
                let _ = process.kill();
                let _ = process.wait();
            }
            self.watch(None)?;
        }
        result
    }

    fn wait_until_ready(&mut self, pid: u32) -> Result<()> {
        let deadline = Instant::now() + self.timeout;
        loop {
            if let Some(process) = &mut self.process
                && let Ok(Some(status)) = process.try_wait()
            {
                return Err(self.start_error(format!("postgres ended at once ({status})")));
            }
            if is_ready(&self.data_dir().join("postmaster.pid"), pid) {
                break;
            }
            if Instant::now() > deadline {
                let waited = self.timeout.as_secs_f64();
                let message = format!("postgres accepts no connections after {waited} s");
                let error = Error::new(ErrorKind::Timeout, self.with_log(message));
                return Err(error.with_hint("give it more time, or look for the cause in the log"));
            }
            thread::sleep(Duration::from_millis(10));
        }
        // With two addresses the server is content with one of them. We are not.
        match self.log_says_port_taken() {
            true => Err(self.start_error(format!("port {} is taken", self.port))),
            false => Ok(()),
        }
    }

    fn log_says_port_taken(&self) -> bool {
        let log = self.log_tail();
        log.contains("could not bind") || log.contains("could not create any TCP/IP sockets")
    }

    fn start_error(&self, message: String) -> Error {
        failure(self.with_log(message))
    }

    fn with_log(&self, message: String) -> String {
        let log = self.log_tail();
        match log.trim_end() {
            "" => message,
            log => format!("{message}; its log ends with:\n{log}"),
        }
    }

    fn watch(&mut self, pid: Option<u32>) -> Result<()> {
        match &mut self.watchdog {
            Some(watchdog) => watchdog
                .watch(pid)
                .map_err(|error| failure("the watchdog of the server is gone").with_source(error)),
            None => Ok(()),
        }
    }

    /// A server program under the server's account, free of settings that libpq or PostgreSQL
    /// would take from our environment.
    fn command(&self, program: &str) -> Command {
        use std::os::unix::process::CommandExt;

        let mut command = Command::new(self.binaries.program(program));
        for (name, _) in env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("PG") || text.starts_with("LC_") || text == "LANGUAGE" {
                command.env_remove(&name);
            }
        }
        command
            .env("LC_ALL", "C")
            .env("LANG", "C")
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            // A Ctrl-C at the terminal is for us, who then end the server.
            .process_group(0);
        if let Some(account) = self.account {
            account.apply(&mut command);
        }
        command
    }

    /// Lets a program fill the data directory.
    fn fill(&mut self, command: &mut Command, name: &str) -> Result<()> {
        let cannot = |error| failure(format!("cannot run {name}")).with_source(error);
        let process = command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(cannot)?;
        // Should we be killed now, it must not go on filling a folder that is being removed.
        self.watch(Some(process.id()))?;
        let output = process.wait_with_output().map_err(cannot)?;
        self.watch(None)?;
        match output.status.success() {
            true => Ok(()),
            false => {
                let (status, said) = (output.status, String::from_utf8_lossy(&output.stderr));
                let said = said.trim_end();
                Err(failure(format!("{name} failed ({status}): {said}")))
            }
        }
    }

    /// Writes a file that only the server's account can read, as it demands of its key.
    fn write_private(&self, path: &Path, text: &str) -> Result<()> {
        use std::io::Write;

        let write = || {
            fs::OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(path)?
                .write_all(text.as_bytes())?;
            self.account.map_or(Ok(()), |account| account.give(path))
        };
        write()
            .map_err(|error| failure(format!("cannot write {}", path.display())).with_source(error))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(watchdog) = self.watchdog.take() {
            watchdog.stop(self.process.as_mut());
        }
    }
}

/// Whether the lock file of a data directory says that this postmaster accepts connections.
///
/// Its first line is the process number and its eighth the state; see PostgreSQL's
/// `src/include/utils/pidfile.h`. This is what `pg_ctl start --wait` looks at.
fn is_ready(lock_file: &Path, pid: u32) -> bool {
    let Ok(text) = fs::read_to_string(lock_file) else {
        return false;
    };
    let mut lines = text.lines();
    lines.next().and_then(|line| line.trim().parse().ok()) == Some(pid)
        && lines.nth(6).is_some_and(|state| state.trim() == "ready")
}

/// A port that no program on this machine listens on at this moment.
fn free_port() -> Result<u16> {
    let look = || -> std::io::Result<u16> {
        let v4 = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        Ok(v4.local_addr()?.port())
    };
    look().map_err(|error| failure("no free port on 127.0.0.1").with_source(error))
}

fn listen_addresses() -> &'static str {
    match TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) {
        Ok(_) => "127.0.0.1,::1",
        Err(_) => "127.0.0.1",
    }
}

/// Whether the process ends in time.
fn wait_for(process: &mut Child, timeout: Duration) -> bool {
    let deadline = Instant::now() + timeout;
    loop {
        match process.try_wait() {
            Ok(Some(_)) => return true,
            _ if Instant::now() > deadline => return false,
            _ => thread::sleep(Duration::from_millis(10)),
        }
    }
}

fn encode(text: &str) -> String {
    const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
        .remove(b'-')
        .remove(b'.')
        .remove(b'_')
        .remove(b'~');
    utf8_percent_encode(text, RESERVED).to_string()
}

/// A password or key, which stays out of `Debug`.
#[derive(Clone)]
struct Secret(String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_eighth_line_of_our_own_lock_file_means_ready() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("postmaster.pid");
        assert!(!is_ready(&file, 7));
        let lock =
            |state: &str| format!("7\n/d\n1700000000\n5432\n/tmp\n127.0.0.1\n 1 2\n{state}\n");
        fs::write(&file, lock("starting")).unwrap();
        assert!(!is_ready(&file, 7));
        fs::write(&file, lock("ready   ")).unwrap();
        assert!(is_ready(&file, 7));
        assert!(!is_ready(&file, 8));
    }

    #[test]
    fn urls_keep_what_would_end_a_part_of_them() {
        assert_eq!(encode("a-b/é%"), "a-b%2F%C3%A9%25");
    }
}
