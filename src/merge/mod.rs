//! N shard streams to one stream.

use arrow::array::RecordBatch;
use futures::StreamExt;

use crate::error::{Error, ErrorKind, Result};
use crate::stream::QueryStream;

/// The order of rows of different shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// The first shard's rows, then the second's.
    #[default]
    Shard,
    /// As they come.
    FirstCome,
}

pub(crate) struct ReaggregateOptions;
impl ReaggregateOptions {
    pub(crate) fn new(_memory: usize) -> Self {
        Self
    }
}
pub(crate) async fn reaggregate(
    _s: Vec<QueryStream>,
    _sql: &str,
    _o: ReaggregateOptions,
) -> Result<QueryStream> {
    Err(Error::new(ErrorKind::Unsupported, "not merged yet"))
}
pub(crate) fn union(
    streams: Vec<QueryStream>,
    _order: Order,
    _bytes: usize,
) -> Result<QueryStream> {
    let schema = streams[0].schema();
    Ok(QueryStream::new(
        schema,
        futures::stream::iter(streams).flatten(),
    ))
}
pub(crate) async fn collect(streams: Vec<QueryStream>, order: Order) -> Result<Vec<RecordBatch>> {
    union(streams, order, 0)?.collect().await
}
