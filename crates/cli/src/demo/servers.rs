//! The throw-away servers of the demonstration.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use merganser::{Error, ErrorKind};
use merganser_local::{Binaries, Server};

use super::{cannot_write, quote, seconds};
use crate::failure::complain;

/// Running servers, which end when this is dropped.
pub(super) struct Servers(Vec<Server>);

impl Servers {
    /// Starts `n` servers at the same time.
    pub(super) async fn start(n: u8) -> Result<Self, Error> {
        let started = Instant::now();
        let binaries = threads([Binaries::find]).await?.remove(0);
        let version = binaries.version().to_owned();
        let servers = if n == 1 { "server" } else { "servers" };
        complain(&format!(
            "starting {n} PostgreSQL {version} {servers} ...\n"
        ));
        let servers = threads((0..n).map(|_| {
            let builder = Server::builder().with_binaries(binaries.clone());
            move || builder.start()
        }))
        .await?;
        complain(&format!("started in {}\n", seconds(started.elapsed())));
        Ok(Self(servers))
    }

    /// Creates a database of this name on each, and returns their URLs.
    pub(super) async fn create_databases(&self, name: &str) -> Result<Vec<String>, Error> {
        // Short, and the servers are ours: not worth a thread.
        self.0
            .iter()
            .map(|server| server.create_database(name).map_err(of_local))
            .collect()
    }

    /// Leaves the servers running when this process ends, and returns the command that stops them
    /// and removes their folders, and this folder too if it is ours to remove.
    pub(super) fn keep(self, folder: &Path, is_ours: bool) -> Result<String, Error> {
        let script = folder.join("stop.sh");
        let folders: Vec<PathBuf> = self
            .0
            .iter()
            .map(|server| server.socket_dir().to_owned())
            .collect();
        let own = if is_ours { folder } else { &script };
        // Before they are kept: a server that nobody can stop should not go on.
        fs::write(&script, stop_script(&folders, own))
            .map_err(|error| cannot_write(&script, error))?;
        for server in self.0 {
            server.keep();
        }
        Ok(format!("sh {}", quote(&script.to_string_lossy())))
    }
}

/// A script that works for root, under whom the servers have an account of their own, as well as
/// for their owner: both may send signals and remove the folders.
fn stop_script(folders: &[PathBuf], own: &Path) -> String {
    let mut script =
        "#!/bin/sh\n# Stops the servers of `merganser demo --keep`, and removes their data.\n"
            .to_owned();
    for folder in folders {
        let pid_file = quote(&folder.join("data/postmaster.pid").to_string_lossy());
        let folder = quote(&folder.to_string_lossy());
        // SIGINT is PostgreSQL's fast shutdown. The end of the file is the end of the server; that of
        // the process may not be seen where nobody waits for orphans, as in many containers.
        script.push_str(&format!(
            "if [ -f {pid_file} ]; then\n  pid=$(head -n 1 {pid_file})\n  \
             kill -INT \"$pid\" 2>/dev/null\n  \
             while [ -f {pid_file} ] && kill -0 \"$pid\" 2>/dev/null; do sleep 0.1; done\n\
             fi\nrm -rf {folder}\n"
        ));
    }
    script.push_str(&format!("rm -rf {}\n", quote(&own.to_string_lossy())));
    script
}

/// Runs each piece of work on a thread of its own; they block.
async fn threads<T: Send + 'static, W>(work: impl IntoIterator<Item = W>) -> Result<Vec<T>, Error>
where
    W: FnOnce() -> merganser_local::Result<T> + Send + 'static,
{
    let running: Vec<_> = work.into_iter().map(tokio::task::spawn_blocking).collect();
    let mut done = Vec::new();
    for thread in running {
        let result = thread.await.map_err(|panic| {
            Error::new(ErrorKind::Connect, "a thread of the demo failed").with_source(panic)
        })?;
        done.push(result.map_err(of_local)?);
    }
    Ok(done)
}

/// An error of the throw-away servers as one of the library, which the program prints.
pub(super) fn of_local(error: merganser_local::Error) -> Error {
    let kind = match error.kind() {
        merganser_local::ErrorKind::Config => ErrorKind::Config,
        merganser_local::ErrorKind::Server => ErrorKind::Server,
        merganser_local::ErrorKind::Timeout => ErrorKind::Timeout,
        // And what later versions add.
        _ => ErrorKind::Connect,
    };
    let mut ours = Error::new(kind, error.message());
    if let Some(database) = error.database() {
        ours = ours.with_shard(database);
    }
    if let Some(code) = error.sql_state() {
        ours = ours.with_sql_state(code);
    }
    if let Some(hint) = error.hint() {
        ours = ours.with_hint(hint);
    }
    match std::error::Error::source(&error).map(ToString::to_string) {
        Some(source) => ours.with_source(source),
        None => ours,
    }
}
