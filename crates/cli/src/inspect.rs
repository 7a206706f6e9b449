//! `merganser inspect`.

use std::fs::Permissions;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::ExitCode;

use indicatif::ProgressBar;
use merganser::export::write_error;
use merganser::inspect::{Inspector, Report};
use merganser::{Cluster, Error, ErrorKind, Topology};

use crate::args;
use crate::failure::{Outcome, complain, is_watched};
use crate::interrupt::{Signals, clean_up};
use crate::stdout;
use crate::{progress, topology};

pub(crate) async fn run(args: args::Inspect, signals: Signals) -> Outcome<ExitCode> {
    if let Some(path) = &args.write
        && !args.force
        && path.exists()
    {
        // Before a long look at all tables, not after it.
        return Err(exists(path).into());
    }
    let cluster = Cluster::new(topology::load(&args.shards)?)?;
    let line = is_watched().then(progress::line);
    let outcome = signals
        .guard(async { Ok(inspect(&args, cluster.clone(), line.clone()).await?) })
        .await;
    if let Some(line) = line {
        line.finish_and_clear();
    }
    clean_up(cluster.close()).await;
    let report = outcome?;
    stdout::write(report.to_string().as_bytes())?;
    if let Some(path) = &args.write {
        write(path, &report, args.force)?;
        complain(&format!("wrote {}\n", path.display()));
    }
    Ok(match report.drift().is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(1),
    })
}

async fn inspect(
    args: &args::Inspect,
    cluster: Cluster,
    line: Option<ProgressBar>,
) -> Result<Report, Error> {
    // What is written is checked.
    let verify = args.verify || args.write.is_some();
    let mut inspector = Inspector::new(cluster).with_verify(verify);
    if let Some(line) = line {
        inspector = inspector.with_watcher(move |what| line.set_message(what.to_owned()));
    }
    for (table, column) in &args.shard_keys {
        inspector = inspector.with_shard_key(table, column);
    }
    inspector.run().await
}

/// Writes the topology file whole or not at all; readable for its owner only if it holds a password.
fn write(path: &Path, report: &Report, force: bool) -> Result<(), Error> {
    write_text(path, &report.topology()?, &report.to_toml()?, force)
}

fn write_text(path: &Path, topology: &Topology, text: &str, force: bool) -> Result<(), Error> {
    let has_password = topology.shards().iter().any(|shard| {
        shard.primary().has_password() || shard.replicas().iter().any(|url| url.has_password())
    });
    let mode = if has_password { 0o600 } else { 0o666 };
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let written = || -> io::Result<()> {
        let mut file = tempfile::Builder::new()
            .prefix(".merganser-")
            .suffix(".tmp")
            .permissions(Permissions::from_mode(mode))
            .tempfile_in(directory)?;
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        match force {
            true => file.persist(path),
            false => file.persist_noclobber(path),
        }
        .map(drop)
        .map_err(|failed| failed.error)
    };
    written().map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => exists(path),
        _ => write_error(path.display(), error),
    })
}

fn exists(path: &Path) -> Error {
    Error::new(ErrorKind::Config, format!("{} exists", path.display())).with_hint(
        "it may hold what was written by hand: add --force to replace it, or choose another name",
    )
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_with_a_password_is_private_and_none_is_replaced_unasked() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("merganser.toml");
        let topology = |url: &str| Topology::from_urls([url]).unwrap();
        let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        let write =
            |topology: &Topology, force| write_text(&path, topology, &topology.to_toml(), force);
        write(&topology("postgresql://a:secret@h/d"), false).unwrap();
        assert_eq!(mode(), 0o600);
        let error = write(&topology("postgresql://a@h/d"), false).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(fs::read_to_string(&path).unwrap().contains("secret"));
        write(&topology("postgresql://a@h/d"), true).unwrap();
        assert!(!fs::read_to_string(&path).unwrap().contains("secret"));
        assert_ne!(mode(), 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
