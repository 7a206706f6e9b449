//! The role of the scheduler: Ballista's, with our codec. It knows no shard.

use std::net::SocketAddr;
use std::sync::Arc;

use ballista_core::config::TaskSchedulingPolicy;
use ballista_scheduler::cluster::BallistaCluster;
use ballista_scheduler::config::SchedulerConfig;
use ballista_scheduler::scheduler_process::start_server;
use merganser::{Error, ErrorKind};

use crate::codec::Codec;
use crate::{MESSAGE_BYTES, address};

/// How the scheduler runs.
#[derive(Debug, Clone, clap::Args)]
pub struct SchedulerArgs {
    /// Where clients and executors reach it. It asks nobody who they are: whoever reaches it runs plans on
    /// the executors
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:50050")]
    pub bind: String,
    /// The name under which executors reach it [default: that of --bind]
    #[arg(long, value_name = "HOST")]
    pub external_host: Option<String>,
    /// After so many seconds without a sign of life an executor is lost, and what it did runs elsewhere
    #[arg(long, value_name = "SECONDS", default_value_t = 180)]
    pub executor_timeout: u64,
    /// How often that is looked at
    #[arg(long, value_name = "SECONDS", default_value_t = 15)]
    pub dead_after_check: u64,
    /// How long jobs wait for an executor once the last one is lost
    #[arg(long, value_name = "SECONDS", default_value_t = 180)]
    pub no_executors_grace: u64,
}

/// Runs a scheduler until the process is told to end.
///
/// # Errors
/// [`ErrorKind::Config`] for what is no address; [`ErrorKind::Connect`] for one that cannot be had.
pub async fn run(args: SchedulerArgs) -> Result<(), Error> {
    let (host, port) = address(&args.bind)?;
    let socket: SocketAddr = args.bind.parse().map_err(|error| {
        Error::new(
            ErrorKind::Config,
            format!("--bind {:?} is no address", args.bind),
        )
        .with_source(error)
        .with_hint("write the address of an interface and a port, such as 0.0.0.0:50050")
    })?;
    let config = Arc::new(SchedulerConfig {
        external_host: args.external_host.unwrap_or_else(|| host.clone()),
        bind_host: host,
        bind_port: port,
        // The executors have to be reached for a job to be cancelled.
        scheduling_policy: TaskSchedulingPolicy::PushStaged,
        executor_timeout_seconds: args.executor_timeout,
        expire_dead_executor_interval_seconds: args.dead_after_check,
        no_executors_grace_period_seconds: args.no_executors_grace,
        grpc_server_max_decoding_message_size: MESSAGE_BYTES,
        grpc_server_max_encoding_message_size: MESSAGE_BYTES,
        grpc_client_max_message_size: MESSAGE_BYTES,
        override_physical_codec: Some(Arc::new(Codec::new())),
        ..SchedulerConfig::default()
    });
    let failed = |error| {
        Error::new(ErrorKind::Connect, format!("no scheduler at {}", args.bind)).with_source(error)
    };
    let cluster = BallistaCluster::new_from_config(&config).await;
    let cluster = cluster.map_err(|error| failed(error.to_string()))?;
    let serving = start_server(cluster, socket, config).await;
    serving.map_err(|error| failed(error.to_string()))
}
