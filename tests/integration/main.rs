//! Tests against real PostgreSQL servers, and of the layout of the source.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[cfg(feature = "datafusion")]
mod cancel;
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
mod oracle;
#[cfg(feature = "datafusion")]
mod parallel;
#[cfg(feature = "datafusion")]
mod plans;
#[cfg(feature = "datafusion")]
mod sessions;
mod support;
mod texts;
mod type_values;
mod types;
mod wire;
