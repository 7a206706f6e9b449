//! Merganser's exports and aggregations on a Ballista cluster.
//!
//! ```text
//! client                                scheduler            executor 1..n
//! plan, cut into parts, keep snapshots
//!   └─ plan of operators ── allowed? ──► decodes, cuts ────► PartFile, or ShardRead > Aggregate
//!                                        into tasks           each with its own topology file
//!   manifest, or rows ◄────────────────── where they are ◄──── files in a shared folder, or rows
//! ```
//! Everything that decides whether an answer is right happens on the client, as without a cluster: what is
//! planned, cut and merged is the library's. The engine moves descriptors and rows, and runs the few
//! operators that [`allowed`] lists.
//!
//! - [`descriptors`]: sealed parts of a query as the rows of a plan's only leaf
//! - [`read`]: the operator that turns descriptors into rows, and whoever reads for it
//! - [`part_file`]: the operator that turns descriptors into Parquet files
//! - [`codec`]: how the operators, and the library's aggregates, travel
//! - [`allowed`]: which plans are sent
//! - [`failure`]: the library's errors, through an engine that knows texts alone
//! - [`client`]: submits a plan, waits for it, cancels it, fetches its rows
//! - [`query`], [`export`]: what users ask for; [`work`]: what both have in common; [`interruption`]: what
//!   ends them early

pub mod allowed;
pub mod client;
pub mod codec;
pub mod descriptors;
pub mod executor;
pub mod export;
pub mod failure;
pub mod interruption;
pub mod logging;
pub mod part_file;
pub mod query;
pub mod read;
pub mod scheduler;
pub mod work;

use datafusion::common::DataFusionError;
use merganser::{Error, ErrorKind};

/// The largest message between the parts of a cluster: a plan with its descriptors, a batch of rows.
pub(crate) const MESSAGE_BYTES: u32 = 256 << 20;

/// The variable that holds the key of the seals, as for `merganser partitions`.
const KEY: &str = "MERGANSER_PARTITION_KEY";

/// The key with which descriptors are sealed; empty where none is set.
pub(crate) fn key() -> Vec<u8> {
    std::env::var_os(KEY)
        .unwrap_or_default()
        .into_encoded_bytes()
}

/// `HOST:PORT`.
pub(crate) fn address(text: &str) -> Result<(String, u16), Error> {
    let parts = text.rsplit_once(':');
    let parts = parts.and_then(|(host, port)| Some((host.to_owned(), port.parse().ok()?)));
    parts.ok_or_else(|| {
        Error::new(ErrorKind::Config, format!("{text:?} is no address"))
            .with_hint("write HOST:PORT")
    })
}

/// What DataFusion finds wrong with a plan of ours.
pub(crate) fn engine(error: DataFusionError) -> Error {
    Error::new(
        ErrorKind::Internal,
        "the plan for the cluster cannot be made",
    )
    .with_source(error)
}
