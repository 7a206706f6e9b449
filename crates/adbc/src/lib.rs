//! Merganser as an [ADBC](https://arrow.apache.org/adbc/) driver: shards of PostgreSQL for Python, R,
//! Go, Java, DuckDB and whatever else has a driver manager.
//!
//! ```text
//! driver manager ─> export ─> Driver ─> Database ─> Connection ─> Statement ─> Reader
//!  of a language    C symbols            a cluster   catalog,      one query    its batches
//!                                                    defaults
//! ```
//!
//! A thin coat over [`merganser::blocking`]; what a query means, and what its errors say, is told
//! there. The crate's README is for those who use the driver.
//!
//! # The symbols in another library
//! `AdbcMerganserInit` and `AdbcDriverInit` are exported by every shared library that links this
//! crate: a `use merganser_adbc as _;` in it is enough.

mod connection;
mod database;
mod engine;
mod error;
mod export;
mod info;
pub mod manifest;
mod objects;
mod options;
mod parameters;
mod partition;
mod reader;
mod request;
mod running;
mod statement;

pub use connection::Connection;
pub use database::{Database, Driver};
pub use statement::Statement;

/// The README's Rust is compiled with the documentation's tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
