//! Tests against real PostgreSQL servers, and of the layout of the source.

mod layering;
mod local;
mod support;
