//! A stream of record batches with a schema: what every stage hands to the next.

use std::pin::Pin;
use std::task::{Context, Poll};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use futures::stream::{BoxStream, Stream, StreamExt, TryStreamExt};

use crate::error::Result;

/// The rows of a query as they arrive: a [`Stream`] of [`RecordBatch`]es that all have
/// [`schema`](Self::schema).
///
/// Merge and export take any such stream, so a scripted source, or another database, can stand in
/// for a PostgreSQL server. After the first error the stream ends: rows that came before an error
/// are not an answer.
///
/// # Cancel safety
/// `next()` may be dropped and called again; no row is lost. Dropping the stream cancels the query
/// on every shard.
#[must_use = "streams do nothing unless polled"]
pub struct QueryStream {
    schema: SchemaRef,
    inner: BoxStream<'static, Result<RecordBatch>>,
    ended: bool,
}

impl QueryStream {
    /// Joins a schema and the batches that have it.
    pub fn new(
        schema: SchemaRef,
        batches: impl Stream<Item = Result<RecordBatch>> + Send + 'static,
    ) -> Self {
        Self {
            schema,
            inner: batches.boxed(),
            ended: false,
        }
    }

    /// The schema of every batch, known before the first one; a result of no rows has it too.
    pub fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    /// Reads the stream to its end.
    ///
    /// # Errors
    /// The first error of any shard or of the merge; the rows read until then are dropped.
    ///
    /// # Memory
    /// Holds the whole result.
    pub async fn collect(self) -> Result<Vec<RecordBatch>> {
        self.try_collect().await
    }
}

impl Stream for QueryStream {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let next = self.inner.poll_next_unpin(cx);
        if let Poll::Ready(None | Some(Err(_))) = &next {
            self.ended = true;
        }
        next
    }
}

impl std::fmt::Debug for QueryStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("QueryStream")
            .field("schema", &self.schema)
            .finish_non_exhaustive()
    }
}
