//! Streams that stand in for servers in the tests of this folder.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Schema, SchemaRef};
use futures::stream::{self, StreamExt};
use tokio::sync::Notify;

use crate::error::{Error, ErrorKind, Phase, Result};
use crate::stream::QueryStream;

/// What a source does next.
pub(crate) enum Step {
    Batch(RecordBatch),
    Wait(Duration),
    /// Goes on when somebody says so.
    Until(Arc<Notify>),
    Fail(Error),
    Panic,
    /// Never goes on.
    Hang,
}

/// Counts the sources that were dropped, and the batches that were taken from them.
#[derive(Clone, Default)]
pub(crate) struct Watch {
    dropped: Arc<AtomicUsize>,
    taken: Arc<AtomicUsize>,
}

impl Watch {
    pub(crate) fn dropped(&self) -> usize {
        self.dropped.load(Ordering::SeqCst)
    }

    pub(crate) fn taken(&self) -> usize {
        self.taken.load(Ordering::SeqCst)
    }

    /// Waits until `count` sources were dropped; aborted tasks drop theirs a little later.
    pub(crate) async fn until_dropped(&self, count: usize) {
        until(|| self.dropped() == count, "the sources are not dropped").await;
    }

    /// Waits until `count` batches were taken.
    pub(crate) async fn until_taken(&self, count: usize) {
        until(|| self.taken() == count, "the batches are not taken").await;
    }
}

async fn until(done: impl Fn() -> bool, fault: &str) {
    for _ in 0..500 {
        if done() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    panic!("{fault}");
}

struct OnDrop(Watch);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.dropped.fetch_add(1, Ordering::SeqCst);
    }
}

pub(crate) fn source(schema: SchemaRef, steps: Vec<Step>, watch: &Watch) -> QueryStream {
    let state = (steps.into_iter(), OnDrop(watch.clone()));
    let batches = stream::unfold(state, |(mut steps, guard)| async move {
        loop {
            let item = match steps.next()? {
                Step::Batch(batch) => {
                    guard.0.taken.fetch_add(1, Ordering::SeqCst);
                    Ok(batch)
                }
                Step::Fail(error) => Err(error),
                Step::Panic => panic!("scripted"),
                Step::Hang => std::future::pending().await,
                Step::Until(signal) => {
                    signal.notified().await;
                    continue;
                }
                Step::Wait(time) => {
                    tokio::time::sleep(time).await;
                    continue;
                }
            };
            return Some((item, (steps, guard)));
        }
    });
    QueryStream::new(schema, batches.boxed())
}

/// A batch of named columns, all nullable.
pub(crate) fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(
        columns.into_iter().map(|(name, array)| (name, array, true)),
    )
    .unwrap()
}

/// One column `n`.
pub(crate) fn numbers(values: impl IntoIterator<Item = i64>) -> RecordBatch {
    batch(vec![("n", Arc::new(Int64Array::from_iter_values(values)))])
}

/// Rows of no columns.
pub(crate) fn no_columns(rows: usize) -> RecordBatch {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options).unwrap()
}

/// What a server says when its connection is ended.
pub(crate) fn failure(shard: &str) -> Error {
    Error::new(ErrorKind::Server, "terminating connection")
        .with_shard(shard)
        .with_phase(Phase::Stream)
        .with_sql_state("57P01")
}

pub(crate) fn values(batches: &Result<Vec<RecordBatch>>) -> Vec<i64> {
    use arrow::array::AsArray;
    let column = |batch: &RecordBatch| {
        let column = batch.column(0);
        column.as_primitive::<arrow::datatypes::Int64Type>().clone()
    };
    batches
        .as_ref()
        .unwrap()
        .iter()
        .flat_map(|batch| column(batch).values().to_vec())
        .collect()
}
