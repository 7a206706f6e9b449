//! Our streams as DataFusion's, and back.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::datatypes::SchemaRef;
use datafusion::common::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use futures::stream::{self, StreamExt, TryStreamExt};

use super::error::execution;
use crate::error::{Error, ErrorKind, Phase};
use crate::stream::QueryStream;

/// One shard's rows as a partition of a table. A query can be read once: reading it a second time is
/// an error, not an empty answer.
pub(super) struct OneShot {
    schema: SchemaRef,
    stream: Mutex<Option<QueryStream>>,
}

impl OneShot {
    pub(super) fn partitions(
        schema: &SchemaRef,
        streams: Vec<QueryStream>,
    ) -> Vec<Arc<dyn PartitionStream>> {
        streams
            .into_iter()
            .map(|stream| {
                Arc::new(Self {
                    schema: schema.clone(),
                    stream: Mutex::new(Some(stream)),
                }) as _
            })
            .collect()
    }
}

impl PartitionStream for OneShot {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let mut stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        match stream.take() {
            Some(stream) => to_datafusion(stream),
            None => {
                let error = Error::new(
                    ErrorKind::Unsupported,
                    "the merge SQL reads the table shards a second time",
                )
                .with_phase(Phase::Merge)
                .with_hint("write the merge SQL so that it names shards once");
                let failed = stream::once(async { Err(DataFusionError::External(error.into())) });
                Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), failed))
            }
        }
    }
}

impl fmt::Debug for OneShot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OneShot").finish_non_exhaustive()
    }
}

/// Our errors travel inside DataFusion's; [`execution`] takes them out again.
pub(in crate::merge) fn to_datafusion(stream: QueryStream) -> SendableRecordBatchStream {
    let schema = stream.schema();
    let batches = stream.map_err(|error| DataFusionError::External(error.into()));
    Box::pin(RecordBatchStreamAdapter::new(schema, batches))
}

pub(in crate::merge) fn from_datafusion(stream: SendableRecordBatchStream) -> QueryStream {
    QueryStream::new(
        stream.schema(),
        stream.map(|batch| batch.map_err(execution)),
    )
}
