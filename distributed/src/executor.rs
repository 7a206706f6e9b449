//! The role of an executor: Ballista's, with our codec, and with a topology file of its own.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ballista_core::config::TaskSchedulingPolicy;
use ballista_executor::executor_process::{ExecutorProcessConfig, start_executor_process};
use merganser::{Cluster, Error, ErrorKind, Topology};
use uuid::Uuid;

use crate::codec::Codec;
use crate::read::Reader;
use crate::{MESSAGE_BYTES, address, key, work};

/// How an executor runs.
#[derive(Debug, Clone, clap::Args)]
pub struct ExecutorArgs {
    /// What it is called in the cluster
    #[arg(long, value_name = "NAME")]
    pub id: String,
    /// The scheduler
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:50050")]
    pub scheduler: String,
    /// Where clients and other executors fetch rows from it. It asks nobody who they are
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:50051")]
    pub flight: String,
    /// The port on which the scheduler hands it tasks
    #[arg(long, value_name = "PORT", default_value_t = 50052)]
    pub grpc_port: u16,
    /// The name under which others reach it [default: that of --flight]
    #[arg(long, value_name = "HOST")]
    pub external_host: Option<String>,
    /// How many parts it works on at the same time
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub vcores: usize,
    /// How many bytes aggregations may hold, all together; beyond that they go to disk [default: 70 % of
    /// the memory]
    #[arg(long, value_name = "BYTES")]
    pub memory: Option<u64>,
    /// The folder for rows on their way, and for what memory does not hold, which nobody else may use; made
    /// if it is not there
    #[arg(long, value_name = "FOLDER")]
    pub work_dir: PathBuf,
    /// How often it gives a sign of life
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub heartbeat: u64,
    /// The topology file with the shards, as this machine reaches them, and with its own users and passwords
    #[arg(
        short = 'c',
        long,
        value_name = "FILE",
        default_value = "merganser.toml"
    )]
    pub topology: PathBuf,
}

/// Runs an executor until the process is told to end.
///
/// # Errors
/// [`ErrorKind::Config`] for options and the topology; [`ErrorKind::Connect`] where the scheduler cannot be
/// reached.
pub async fn run(args: ExecutorArgs) -> Result<(), Error> {
    let (host, port) = address(&args.flight)?;
    let (scheduler_host, scheduler_port) = address(&args.scheduler)?;
    let cluster = Cluster::builder(Topology::from_path(&args.topology)?)
        .with_connections_per_shard(args.vcores.max(1))
        .build()?;
    let work_dir = private_folder(&args.work_dir)?;
    let reader = Arc::new(Reader::new(&args.id, cluster.clone(), key()));
    let config = Arc::new(ExecutorProcessConfig {
        executor_id: args.id,
        external_host: Some(args.external_host.unwrap_or_else(|| host.clone())),
        bind_host: host,
        port,
        grpc_port: args.grpc_port,
        scheduler_host,
        scheduler_port,
        scheduler_connect_timeout_seconds: 30,
        vcores: args.vcores.max(1),
        task_scheduling_policy: TaskSchedulingPolicy::PushStaged,
        work_dir: Some(work_dir),
        // Of jobs that no scheduler knows any more.
        job_data_clean_up_interval_seconds: 3600,
        grpc_max_decoding_message_size: MESSAGE_BYTES,
        grpc_max_encoding_message_size: MESSAGE_BYTES,
        executor_heartbeat_interval_seconds: args.heartbeat,
        memory_pool_size: args.memory,
        override_physical_codec: Some(Arc::new(Codec::reading(reader))),
        ..ExecutorProcessConfig::default()
    });
    let served = start_executor_process(config).await;
    work::close(cluster).await;
    served.map_err(|error| {
        Error::new(
            ErrorKind::Connect,
            format!(
                "the executor cannot work for the scheduler at {}",
                args.scheduler
            ),
        )
        .with_source(error.to_string())
        .with_hint("is the scheduler running, and are --flight and --grpc-port free?")
    })
}

/// A folder that nobody else may read, since rows are in it: the engine lets everybody read its files.
fn private_folder(path: &Path) -> Result<String, Error> {
    let wrong = |what: String| {
        Error::new(ErrorKind::Config, what)
            .with_hint("give a folder of your own with --work-dir: one that is not there is made")
    };
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|error| wrong(format!("the folder {path:?} cannot be made")).with_source(error))?;
    let about = |error| wrong(format!("the folder {path:?} cannot be used")).with_source(error);
    let found = fs::metadata(path).map_err(about)?;
    let mode = found.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(Error::new(
            ErrorKind::Config,
            format!("others may use the folder {path:?}, whose mode is {mode:03o}: rows would be in it"),
        )
        .with_hint(
            "chmod 700, if it is yours alone; or name a folder in it with --work-dir, which is made",
        ));
    }
    if found.uid() != own_user(path).map_err(about)? {
        return Err(wrong(format!("the folder {path:?} is somebody else's")));
    }
    let name = path.to_str().map(str::to_owned);
    name.ok_or_else(|| wrong(format!("the name of the folder {path:?} is not UTF-8")))
}

/// The user whose files this process makes in a folder.
fn own_user(folder: &Path) -> io::Result<u32> {
    let probe = folder.join(Uuid::new_v4().to_string());
    DirBuilder::new().mode(0o700).create(&probe)?;
    let user = fs::metadata(&probe)?.uid();
    fs::remove_dir(&probe)?;
    Ok(user)
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, chown};

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn a_folder_that_is_made_is_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b");
        for _ in 0..2 {
            assert_eq!(private_folder(&path).unwrap(), path.to_str().unwrap());
        }
        assert_eq!(
            (mode(&path), mode(&folder.path().join("a"))),
            (0o700, 0o700)
        );
        assert_eq!(fs::read_dir(&path).unwrap().count(), 0);
    }

    #[test]
    fn a_folder_that_others_may_use_is_refused_with_the_cure() {
        let folder = tempfile::tempdir().unwrap();
        for wrong in [0o755, 0o711, 0o770, 0o777, 0o702] {
            fs::set_permissions(folder.path(), Permissions::from_mode(wrong)).unwrap();
            let error = private_folder(folder.path()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.message().contains(&format!("{wrong:o}")), "{error}");
            assert!(error.hint().unwrap().contains("chmod 700"));
            // Nobody's folder is changed unasked.
            assert_eq!(mode(folder.path()), wrong);
            private_folder(&folder.path().join(format!("{wrong:o}"))).unwrap();
        }
        fs::set_permissions(folder.path(), Permissions::from_mode(0o700)).unwrap();
        private_folder(folder.path()).unwrap();
    }

    #[test]
    fn a_folder_of_somebody_else_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o700)).unwrap();
        // Only the superuser may give a folder away, and only he could use it then.
        if chown(folder.path(), Some(65_534), None).is_ok() {
            let error = private_folder(folder.path()).unwrap_err();
            assert!(error.message().contains("somebody else"), "{error}");
        }
    }

    #[test]
    fn what_is_no_folder_is_an_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for path in [file.path().to_owned(), file.path().join("in it")] {
            let error = private_folder(&path).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        }
    }
}
