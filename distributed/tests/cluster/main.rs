//! Clusters of real processes against real servers.
//!
//! `engine` runs the engine by itself, and shows why plans are as they are; `export` and `query` hold what comes
//! against PostgreSQL, `oracle` all statements of the library's suites; `losses` kills processes, `interrupts` tells clients
//! to end; `secrets` looks for a password everywhere; `readme` does what the README says.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod engine;
mod export;
mod interrupts;
mod local;
mod losses;
mod oracle;
mod query;
mod readme;
mod secrets;
