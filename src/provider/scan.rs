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
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, ReplaceChildrenOptions,
};
use futures::stream::{self, StreamExt, TryStreamExt};

use crate::connect::Pools;
use crate::error::Error;
use crate::query::{Parts, Query};
use crate::stream::QueryStream;

/// Reads a table: a partition for each shard that may have rows of it.
pub(super) struct ShardsExec {
    pools: Arc<Pools>,
    parts: Parts,
    /// The names of the shards, by partition.
    shards: Vec<String>,
    rows: Option<usize>,
    properties: Arc<PlanProperties>,
}

impl ShardsExec {
    pub(super) fn new(
        pools: Arc<Pools>,
        parts: Parts,
        shards: Vec<String>,
        schema: SchemaRef,
        rows: Option<usize>,
    ) -> Self {
        Self {
            pools,
            properties: properties(schema, shards.len()),
            parts,
            shards,
            rows,
        }
    }
}

impl DisplayAs for ShardsExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shards = self.shards.join(", ");
        write!(f, "ShardsExec: shards=[{shards}], sql={}", self.parts.sql())
    }
}

impl fmt::Debug for ShardsExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShardsExec")
            .field("shards", &self.shards)
            .field("sql", &self.parts.sql())
            .finish_non_exhaustive()
    }
}

impl ExecutionPlan for ShardsExec {
    fn name(&self) -> &str {
        "ShardsExec"
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
        leaf(self, &children)
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        leaf(self, &children)
    }

    fn execute(&self, partition: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let rows = self.parts.read(&self.pools, partition);
        Ok(as_asked(rows, self.schema()))
    }

    /// Of one partition as of all: shards need not have as many rows as each other.
    fn partition_statistics(&self, partition: Option<usize>) -> Result<Arc<Statistics>> {
        let rows = self.rows.filter(|_| partition.is_none());
        Ok(Arc::new(estimated(&self.schema(), rows)))
    }
}

/// Computes the answer of a planned query: one partition.
pub(super) struct AnswerExec {
    query: Query,
    /// The columns that are wanted of it.
    projection: Vec<usize>,
    properties: Arc<PlanProperties>,
}

impl AnswerExec {
    pub(super) fn try_new(
        query: Query,
        schema: &SchemaRef,
        projection: Option<&Vec<usize>>,
    ) -> Result<Self> {
        let all = || (0..schema.fields().len()).collect();
        let projection = projection.cloned().unwrap_or_else(all);
        Ok(Self {
            query,
            properties: properties(Arc::new(schema.project(&projection)?), 1),
            projection,
        })
    }
}

impl DisplayAs for AnswerExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AnswerExec: sql={}", self.query.sql())
    }
}

impl fmt::Debug for AnswerExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnswerExec")
            .field("query", &self.query)
            .finish_non_exhaustive()
    }
}

impl ExecutionPlan for AnswerExec {
    fn name(&self) -> &str {
        "AnswerExec"
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
        leaf(self, &children)
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        leaf(self, &children)
    }

    fn execute(&self, _: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let (query, projection) = (self.query.clone(), self.projection.clone());
        let schema = self.schema();
        let rows = stream::once(async move { query.stream().await.map_err(external) })
            .map_ok(|rows| rows.map_err(external))
            .try_flatten()
            .map(move |batch| Ok(batch?.project(&projection)?));
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows)))
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

fn leaf<T: ExecutionPlan>(
    this: Arc<T>,
    children: &[Arc<dyn ExecutionPlan>],
) -> Result<Arc<dyn ExecutionPlan>> {
    match children {
        [] => Ok(this),
        _ => Err(DataFusionError::Internal(format!(
            "{} has no inputs",
            this.name()
        ))),
    }
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
