//! Tests against real PostgreSQL servers, and of the layout of the source.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod captures;
#[cfg(feature = "cli")]
mod cli;
mod connect;
mod cursor;
mod examples;
mod fan_out;
mod inspect;
mod layering;
mod local;
#[cfg(feature = "datafusion")]
mod merge_sql;
#[cfg(feature = "datafusion")]
mod oracle;
#[cfg(feature = "datafusion")]
mod plans;
mod support;
mod texts;
mod type_values;
mod types;
mod wire;
