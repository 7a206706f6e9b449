//! Throw-away PostgreSQL servers with TPC-H data, for `merganser demo` and for tests.
//!
//! ```text
//! Binaries::find() ── initdb, postgres of this machine
//!        │
//! ServerBuilder::start() ── folder under the temporary folder, free loopback port, ready to use
//!        │
//! Tpch::new(0.01).load(urls) ── orders and lineitem split by key, the other tables on every shard
//! ```
//!
//! A [`Server`] trades durability for speed (`fsync=off`) and trusts whoever can reach its port,
//! unless it was given a password. It ends with the value that stands for it; should the process
//! end first, even by SIGKILL, a watchdog process ends the server and removes its folder.
//!
//! ```no_run
//! # async fn example() -> merganser_local::Result<()> {
//! use merganser_local::{Server, Tpch};
//!
//! let server = tokio::task::spawn_blocking(|| Server::builder().start()).await.expect("no panic")?;
//! let shards: Vec<String> = (0..3).map(|i| server.create_database(&format!("s{i}"))).collect::<Result<_, _>>()?;
//! Tpch::new(0.01).load(&shards).await?;
//! # Ok(())
//! # }
//! ```

mod binaries;
mod error;
pub mod fixture;
mod process;
mod schema;
mod server;
mod session;
mod tpch;

pub use binaries::Binaries;
pub use error::{Error, ErrorKind, Result};
pub use schema::{TABLES, Table, tpch_topology};
pub use server::{Server, ServerBuilder};
pub use tpch::{Loaded, Progress, Tpch};
