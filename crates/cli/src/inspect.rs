//! `merganser inspect`.

use std::fs::Permissions;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::ExitCode;

use merganser::inspect::{Inspector, Report};
use merganser::{Cluster, Error, ErrorKind, Phase, Topology};

use crate::args;
use crate::failure::{Outcome, complain, write_stdout};
use crate::interrupt::{Signals, clean_up};
use crate::topology;

pub(crate) async fn run(args: args::Inspect, signals: Signals) -> Outcome<ExitCode> {
    if let Some(path) = &args.write
        && !args.force
        && path.exists()
    {
        // Before a long look at all tables, not after it.
        return Err(exists(path).into());
    }
    let cluster = Cluster::new(topology::load(&args.shards)?)?;
    let outcome = signals
        .guard(async { Ok(inspect(&args, cluster.clone()).await?) })
        .await;
    clean_up(cluster.close()).await;
    let report = outcome?;
    write_stdout(report.to_string().as_bytes())?;
    if let Some(path) = &args.write {
        write(path, &report.topology()?, args.force)?;
        complain(&format!("wrote {}\n", path.display()));
    }
    Ok(match report.drift().is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(1),
    })
}

async fn inspect(args: &args::Inspect, cluster: Cluster) -> Result<Report, Error> {
    let mut inspector = Inspector::new(cluster).with_verify(args.verify);
    for (table, column) in &args.shard_keys {
        inspector = inspector.with_shard_key(table, column);
    }
    inspector.run().await
}

/// Writes the topology file whole or not at all; readable for its owner only if it holds a password.
fn write(path: &Path, topology: &Topology, force: bool) -> Result<(), Error> {
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
        file.write_all(topology.to_toml().as_bytes())?;
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
        _ => Error::new(
            ErrorKind::Export,
            format!("cannot write {}", path.display()),
        )
        .with_phase(Phase::Write)
        .with_source(error),
    })
}

fn exists(path: &Path) -> Error {
    Error::new(ErrorKind::Config, format!("{} exists", path.display()))
        .with_hint("add --force to replace it, or choose another name")
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
        write(&path, &topology("postgresql://a:secret@h/d"), false).unwrap();
        assert_eq!(mode(), 0o600);
        let error = write(&path, &topology("postgresql://a@h/d"), false).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(fs::read_to_string(&path).unwrap().contains("secret"));
        write(&path, &topology("postgresql://a@h/d"), true).unwrap();
        assert!(!fs::read_to_string(&path).unwrap().contains("secret"));
        assert_ne!(mode(), 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
