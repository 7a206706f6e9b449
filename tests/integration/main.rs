//! Tests against real PostgreSQL servers, and of the layout of the source.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cursor;
mod examples;
mod fan_out;
mod inspect;
mod layering;
mod local;
mod support;
