//! One SQL statement in, many PostgreSQL databases that know nothing of each other, one Apache
//! Arrow table out.

pub mod blocking;
mod cluster;
pub mod config;
mod connect;
mod cursor;
pub mod decode;
mod error;
pub mod export;
pub mod inspect;
#[cfg(feature = "local")]
pub mod local;
mod merge;
mod progress;
mod query;
mod quote;
mod scan;
mod statement;
mod stream;
#[doc(hidden)]
pub mod text;
pub mod types;

pub use cluster::{Cluster, ClusterBuilder, DEFAULT_CONNECTIONS_PER_SHARD};
pub use config::Topology;
pub use cursor::{Cursor, Row};
pub use error::{Error, ErrorKind, Phase, Result};
pub use merge::Order;
pub use progress::{ScanProgress, ShardProgress, ShardState};
pub use query::{DEFAULT_MEMORY, Query};
pub use stream::QueryStream;

/// The `arrow` crate whose types this crate's API uses.
pub use arrow;
