//! Tests against real PostgreSQL servers, and of the layout of the source.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod captures;
mod connect;
mod cursor;
mod examples;
mod fan_out;
mod inspect;
mod layering;
#[cfg(feature = "datafusion")]
mod oracle;
#[cfg(feature = "datafusion")]
mod plans;
mod pooler;
mod texts;
mod type_values;
mod types;
mod wire;

use merganser_local::fixture as support;
