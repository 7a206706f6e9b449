//! Tests against real PostgreSQL servers, and of the layout of the source.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[cfg(feature = "datafusion")]
mod cancel;
mod captures;
mod connect;
mod cursor;
mod examples;
mod fan_out;
#[cfg(feature = "datafusion")]
mod fence;
mod inspect;
mod layering;
#[cfg(feature = "datafusion")]
mod losses;
#[cfg(feature = "datafusion")]
mod merge_sql;
#[cfg(feature = "datafusion")]
mod oracle;
#[cfg(feature = "datafusion")]
mod parallel;
#[cfg(feature = "datafusion")]
mod plans;
mod pooler;
#[cfg(feature = "datafusion")]
mod provider;
mod public_api;
#[cfg(feature = "datafusion")]
mod ranges;
mod replicas;
#[cfg(feature = "datafusion")]
mod secrets;
#[cfg(feature = "datafusion")]
mod sessions;
#[cfg(feature = "datafusion")]
mod tables;
#[cfg(feature = "datafusion")]
mod temporary;
mod texts;
mod type_values;
mod types;
#[cfg(feature = "datafusion")]
mod versions;
#[cfg(feature = "datafusion")]
mod views;
mod wire;

use merganser_local::fixture as support;
