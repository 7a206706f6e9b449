//! Tests against real PostgreSQL servers, and of the layout of the source.

mod local;
mod support;
