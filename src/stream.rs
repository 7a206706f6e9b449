//! A stream of record batches with a schema: what every stage hands to the next.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use futures::future::{BoxFuture, FutureExt, Shared};
use futures::stream::{BoxStream, Stream, StreamExt, TryStreamExt};
use tokio_util::task::AbortOnDropHandle;

use crate::error::{Error, Result};
use crate::missing::MissingShards;
use crate::progress::Fenced;

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
    /// `None` after the end.
    batches: Arc<Mutex<Option<Batches>>>,
    interrupt: Option<Interrupt>,
    failure: Option<Interrupt>,
    remarks: Remarks,
    ended: bool,
    /// Drops the batches once the interrupt comes, also while nobody asks for one.
    _watcher: Option<AbortOnDropHandle<()>>,
}

/// What is to be known of an answer beside its rows.
#[derive(Debug, Clone, Default)]
pub(crate) struct Remarks {
    /// The shards that they go without.
    pub(crate) missing: Option<MissingShards>,
    /// When the shards were read.
    pub(crate) fenced: Option<Fenced>,
}

type Batches = BoxStream<'static, Result<RecordBatch>>;

/// Ends a stream before its time: gives the error when that has to happen.
pub(crate) type Interrupt = Shared<BoxFuture<'static, Arc<Error>>>;

impl QueryStream {
    /// Joins a schema and the batches that have it.
    pub fn new(
        schema: SchemaRef,
        batches: impl Stream<Item = Result<RecordBatch>> + Send + 'static,
    ) -> Self {
        Self {
            schema,
            batches: Arc::new(Mutex::new(Some(batches.boxed()))),
            interrupt: None,
            failure: None,
            remarks: Remarks::default(),
            ended: false,
            _watcher: None,
        }
    }

    /// The schema of every batch, known before the first one; a result of no rows has it too.
    pub fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    /// The shards that these rows go without, where that was allowed; complete at the end of the stream.
    pub fn missing_shards(&self) -> Option<&MissingShards> {
        self.remarks.missing.as_ref()
    }

    /// When the shards were read, if the query has a [fence](crate::config::ReadFence).
    pub fn fenced(&self) -> Option<&Fenced> {
        self.remarks.fenced.as_ref()
    }

    pub(crate) fn remarks(&self) -> &Remarks {
        &self.remarks
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

    /// What is made of these rows, in a stream that still ends when this one has to: by its deadline or
    /// its [`CancelHandle`](crate::CancelHandle), also while nobody asks for the next batch.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use arrow::datatypes::Schema;
    /// # use futures::{StreamExt, stream};
    /// # use merganser::{QueryStream, arrow};
    /// let rows = QueryStream::new(Arc::new(Schema::empty()), stream::empty());
    /// let schema = rows.schema();
    /// let counted = rows.transform(schema, |rows| {
    ///     rows.inspect(|batch| eprintln!("{:?}", batch.as_ref().map(|batch| batch.num_rows())))
    /// });
    /// # drop(counted);
    /// ```
    pub fn transform<S>(self, schema: SchemaRef, transform: impl FnOnce(Self) -> S) -> Self
    where
        S: Stream<Item = Result<RecordBatch>> + Send + 'static,
    {
        let (interrupt, failure) = (self.interrupt.clone(), self.failure.clone());
        let remarks = self.remarks.clone();
        Self {
            interrupt,
            failure,
            remarks,
            ..Self::new(schema, transform(self))
        }
    }

    /// The same rows, unless the interrupt comes before their end: then its error, whether or not
    /// rows are there, and the query is cancelled even if nobody asks for the next batch.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub(crate) fn interrupted_by(self, interrupt: Interrupt) -> Self {
        let (schema, interrupting) = (self.schema(), interrupt.clone());
        let failure = self.failure.clone();
        let mut stream = Self::new(schema, self);
        stream.failure = failure;
        // Not held: with the stream its batches go, at once.
        let batches = Arc::downgrade(&stream.batches);
        let watcher = tokio::spawn(async move {
            interrupting.await;
            let given_up = batches.upgrade().and_then(|batches| lock(&batches).take());
            drop(given_up);
        });
        stream._watcher = Some(AbortOnDropHandle::new(watcher));
        stream.interrupt = Some(interrupt);
        stream
    }

    /// The same rows, of which this is to be known.
    pub(crate) fn with_remarks(self, remarks: Remarks) -> Self {
        Self { remarks, ..self }
    }

    /// The same rows, of which this tells when they fail: whoever asks for them hears of it anyway, but
    /// not whoever is busy with the last batch.
    pub(crate) fn failing_with(self, failure: Interrupt) -> Self {
        Self {
            failure: Some(failure),
            ..self
        }
    }

    /// Waits for what ends this stream early, also while nobody asks for a batch; for ever if nothing
    /// does.
    pub(crate) fn interruption(&self) -> impl Future<Output = Error> + Send + 'static {
        let (interrupt, failure) = (self.interrupt.clone(), self.failure.clone());
        async move {
            tokio::select! {
                biased;
                error = happens(interrupt) => error,
                error = happens(failure) => error,
            }
        }
    }
}

async fn happens(interrupt: Option<Interrupt>) -> Error {
    match interrupt {
        Some(interrupt) => interrupt.await.copy(),
        None => std::future::pending().await,
    }
}

impl Stream for QueryStream {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.ended {
            return Poll::Ready(None);
        }
        // Held until the batch is there, so that batches which are gone are never taken for the end.
        let mut batches = lock(&this.batches);
        let interrupted = match &mut this.interrupt {
            Some(interrupt) => interrupt.poll_unpin(cx).map(|error| error.copy()),
            None => Poll::Pending,
        };
        let next = match (interrupted, batches.as_mut()) {
            (Poll::Ready(error), _) => Poll::Ready(Some(Err(error))),
            (Poll::Pending, Some(batches)) => batches.poll_next_unpin(cx),
            (Poll::Pending, None) => {
                Poll::Ready(Some(Err(Error::fault("the rows of a stream are gone"))))
            }
        };
        if let Poll::Ready(None | Some(Err(_))) = &next {
            this.ended = true;
            *batches = None;
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

/// Locks, also after a panic: a stream that panicked is not asked again.
fn lock(batches: &Mutex<Option<Batches>>) -> std::sync::MutexGuard<'_, Option<Batches>> {
    batches.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::Schema;
    use futures::stream;
    use tokio::sync::oneshot;

    use super::*;
    use crate::error::ErrorKind;

    #[tokio::test]
    async fn what_is_made_of_a_stream_ends_when_that_has_to() {
        let schema = Arc::new(Schema::empty());
        let batch = RecordBatch::new_empty(schema.clone());
        let rows = QueryStream::new(
            schema.clone(),
            stream::repeat_with(move || Ok(batch.clone())),
        );
        let (end, ended) = oneshot::channel::<()>();
        let interrupt = async {
            let _ = ended.await;
            Arc::new(Error::new(ErrorKind::Timeout, "late"))
        };
        let rows = rows.interrupted_by(interrupt.boxed().shared());
        let mut made = rows.transform(schema, |rows| rows.map(|batch| batch));
        made.next().await.unwrap().unwrap();
        let interruption = made.interruption();
        end.send(()).unwrap();
        assert_eq!(interruption.await.kind(), ErrorKind::Timeout);
        let error = made.next().await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert!(made.next().await.is_none());
    }
}
