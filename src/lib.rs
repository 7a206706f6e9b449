//! One SQL statement in, many PostgreSQL databases that know nothing of each other, one Apache
//! Arrow table out.
//!
//! ```text
//! config -> plan -> connect -> decode -> merge -> finish -> export
//!    |        |        |          |         |        |         |
//! Topology  Plan   Cluster    COPY BINARY  union,   what is   Parquet, CSV,
//! (shards,  (what  (pools,    to Arrow     k-way    left, in  JSON, Arrow
//!  tables)  runs    TLS)      batches      merge,   Postgre-
//!           where)                         sums of  SQL
//!                                          sums
//! ```
//!
//! Make a [`Topology`] from a file, URLs or a builder; a [`Cluster`] of it; a [`Query`] with
//! [`Cluster::query`] or [`Cluster::fan_out`]; and [`collect`](Query::collect) it, or
//! [`stream`](Query::stream) it into [`export`]:
//!
//! ```no_run
//! use merganser::export::{self, Destination, ExportOptions, Format, Progress};
//! use merganser::{Cluster, Topology};
//!
//! # async fn example() -> merganser::Result<()> {
//! let topology = Topology::from_path("merganser.toml")?;
//! let cluster = Cluster::new(topology)?;
//! let output = Destination::from("orders.parquet").open()?;
//! let rows = cluster.query("SELECT * FROM orders ORDER BY o_orderkey").stream().await?;
//! let options = ExportOptions::new();
//! let done = export::write(rows, output, Format::Parquet, &options, &Progress::default()).await?;
//! println!("{} rows", done.rows);
//! # Ok(())
//! # }
//! ```
//!
//! An answer is complete or it is an error: see [`Error`] for what it tells.
//!
//! # Two ways to ask
//! [`Cluster::query`] gives the answer that one PostgreSQL with all rows would give: its values,
//! types, names and, where the query orders, its order. Or it refuses, with
//! [`ErrorKind::Unsupported`], the reason and a way out. [`Query::plan`] shows the [`Plan`], which
//! takes the first [`Arm`] that is exact; [`Query::analyze`] what each of its steps did;
//! [`Query::verifier`] holds answers against that one PostgreSQL where there is one.
//! [`Cluster::fan_out`] sends the text as it is to every shard, and appends the rows; it needs to
//! know nothing but URLs.
//!
//! # Cargo features
//! - `datafusion` (default): planned queries and re-aggregation. Without it fan-outs and everything
//!   else build, and fast.

pub mod blocking;
// Without planned queries only the inspection reads catalogs.
#[cfg_attr(not(feature = "datafusion"), allow(dead_code))]
mod catalog;
mod cluster;
pub mod config;
mod connect;
mod cursor;
pub mod decode;
mod error;
pub mod export;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
pub mod inspect;
mod merge;
mod missing;
#[cfg(feature = "datafusion")]
mod plan;
mod progress;
#[cfg(feature = "datafusion")]
pub mod provider;
mod query;
mod quote;
#[cfg(feature = "datafusion")]
mod relation;
pub mod runtime;
mod scan;
mod statement;
mod stream;
#[cfg(feature = "datafusion")]
mod tables;
pub mod text;
pub mod types;

pub use cluster::{Cluster, ClusterBuilder, DEFAULT_CONNECTIONS_PER_SHARD};
pub use config::Topology;
pub use cursor::{Cursor, Row};
pub use error::{Error, ErrorKind, Phase, Result, SqlOrigin};
pub use merge::Order;
pub use missing::MissingShards;
#[cfg(feature = "datafusion")]
pub use plan::{Arm, Exactness, MergeMode, Plan};
pub use progress::{Fenced, ScanProgress, ShardProgress, ShardState, StepProgress};
#[cfg(feature = "datafusion")]
pub use query::{
    Analysis, Lease, PartialMerge, PartialPartitions, Partition, PartitionOptions, PartitionRead,
    Partitions, Query, Verified, Verifier,
};
pub use query::{CancelHandle, DEFAULT_MEMORY, FanOut};
#[cfg(feature = "datafusion")]
pub use relation::{DEFAULT_FINISH_BYTES, DEFAULT_FINISH_ROWS, DEFAULT_TEMPORARY_BYTES};
pub use statement::cast_parameters;
pub use stream::QueryStream;
#[cfg(feature = "datafusion")]
pub use tables::{TableColumn, TableInfo};

/// The `arrow` crate whose types this crate's API uses.
pub use arrow;

/// The README's Rust is compiled with the documentation's tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
