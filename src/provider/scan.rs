//! What DataFusion runs to read the shards.

use std::fmt;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result, Statistics};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties,
    ReplaceChildrenOptions,
};
use futures::stream::{self, StreamExt, TryStreamExt};

use crate::connect::Pools;
use crate::error::Error;
use crate::query::{Parts, Query};
use crate::stream::QueryStream;

/// Reads shards, for one of two purposes.
pub(super) struct ReadExec {
    source: Source,
    properties: Arc<PlanProperties>,
}

/// Where the rows come from.
enum Source {
    /// A table: a partition for each shard that may have rows of it.
    Table {
        pools: Arc<Pools>,
        parts: Parts,
        /// The names of the shards, by partition.
        shards: Vec<String>,
        rows: Option<usize>,
    },
    /// The answer of a planned query: one partition.
    Answer {
        query: Query,
        /// The columns that are wanted of it.
        projection: Vec<usize>,
    },
}

impl ReadExec {
    /// The rows of a table, of which there are about so many.
    pub(super) fn table(
        pools: Arc<Pools>,
        parts: Parts,
        shards: Vec<String>,
        schema: SchemaRef,
        rows: Option<usize>,
    ) -> Self {
        Self {
            properties: properties(schema, shards.len()),
            source: Source::Table {
                pools,
                parts,
                shards,
                rows,
            },
        }
    }

    /// Columns of the answer of a query.
    pub(super) fn answer(
        query: Query,
        schema: &SchemaRef,
        projection: Option<&Vec<usize>>,
    ) -> Result<Self> {
        let all = || (0..schema.fields().len()).collect();
        let projection = projection.cloned().unwrap_or_else(all);
        Ok(Self {
            properties: properties(Arc::new(schema.project(&projection)?), 1),
            source: Source::Answer { query, projection },
        })
    }
}

impl DisplayAs for ReadExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Source::Table { parts, shards, .. } => {
                let shards = shards.join(", ");
                write!(f, "{}: shards=[{shards}], sql={}", self.name(), parts.sql())
            }
            Source::Answer { query, .. } => write!(f, "{}: sql={}", self.name(), query.sql()),
        }
    }
}

impl fmt::Debug for ReadExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fmt_as(DisplayFormatType::Default, f)
    }
}

impl ExecutionPlan for ReadExec {
    fn name(&self) -> &str {
        match self.source {
            Source::Table { .. } => "ShardsExec",
            Source::Answer { .. } => "AnswerExec",
        }
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match children.is_empty() {
            true => Ok(self),
            false => Err(DataFusionError::Internal(format!(
                "{} has no inputs",
                self.name()
            ))),
        }
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(
            children,
            ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute),
        )
    }

    fn execute(&self, partition: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let (query, projection) = match &self.source {
            Source::Table { pools, parts, .. } => {
                return Ok(as_asked(parts.read(pools, partition), self.schema()));
            }
            Source::Answer { query, projection } => (query.clone(), projection.clone()),
        };
        let rows = stream::once(async move { query.stream().await.map_err(external) })
            .map_ok(|rows| rows.map_err(external))
            .try_flatten()
            .map(move |batch| Ok(batch?.project(&projection)?));
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), rows)))
    }

    /// Of one partition nothing is known: shards need not have as many rows as each other.
    fn partition_statistics(&self, partition: Option<usize>) -> Result<Arc<Statistics>> {
        let rows = match self.source {
            Source::Table { rows, .. } => rows.filter(|_| partition.is_none()),
            Source::Answer { .. } => None,
        };
        Ok(Arc::new(estimated(&self.schema(), rows)))
    }
}

/// What there is to say of a table with about so many rows.
pub(super) fn estimated(schema: &Schema, rows: Option<usize>) -> Statistics {
    Statistics {
        num_rows: rows.map_or(Precision::Absent, Precision::Inexact),
        ..Statistics::new_unknown(schema)
    }
}

/// Our errors travel inside DataFusion's.
pub(super) fn external(error: Error) -> DataFusionError {
    DataFusionError::External(error.into())
}

/// What all reads of shards have in common: nothing is known of the order of rows, nor of where a row is.
fn properties(schema: SchemaRef, partitions: usize) -> Arc<PlanProperties> {
    Arc::new(PlanProperties::new(
        EquivalenceProperties::new(schema),
        Partitioning::UnknownPartitioning(partitions),
        EmissionType::Incremental,
        Boundedness::Bounded,
    ))
}

/// The rows with the schema that was asked for: without the column that stands for none.
fn as_asked(rows: QueryStream, schema: SchemaRef) -> SendableRecordBatchStream {
    let wanted = schema.clone();
    let batches = rows.map_err(external).map(move |batch| {
        let batch = batch?;
        match wanted.fields().is_empty() {
            false => Ok(batch),
            true => {
                let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
                let empty = RecordBatch::try_new_with_options(wanted.clone(), Vec::new(), &options);
                Ok(empty?)
            }
        }
    });
    Box::pin(RecordBatchStreamAdapter::new(schema, batches))
}
