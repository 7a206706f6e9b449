//! Keeps the order of the shards where DataFusion would take partitions as they come.

use std::fmt;
use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::limit::GlobalLimitExec;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties,
    ReplaceChildrenOptions, execute_stream_partitioned,
};

use super::source::{from_datafusion, to_datafusion};
use crate::merge::{Order, union};

/// Replaces what merges partitions as they come by what appends them.
///
/// Partitions still run at the same time, a task each. The last rule of all, as others look for the
/// operator that it replaces.
#[derive(Debug)]
pub(super) struct KeepShardOrder {
    /// How many bytes partitions whose turn has not come may be ahead, all together.
    pub(super) memory: usize,
}

impl PhysicalOptimizerRule for KeepShardOrder {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|node| {
            let Some(coalesce) = node.downcast_ref::<CoalescePartitionsExec>() else {
                return Ok(Transformed::no(node));
            };
            let appended: Arc<dyn ExecutionPlan> = Arc::new(AppendExec {
                input: Arc::clone(coalesce.input()),
                properties: Arc::clone(coalesce.properties()),
                memory: self.memory,
            });
            Ok(Transformed::yes(match coalesce.fetch() {
                Some(rows) => Arc::new(GlobalLimitExec::new(appended, 0, Some(rows))),
                None => appended,
            }))
        })
        .data()
    }

    fn name(&self) -> &str {
        "keep_shard_order"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// All partitions of its input as one, in their order.
#[derive(Debug)]
struct AppendExec {
    input: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
    memory: usize,
}

impl DisplayAs for AppendExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AppendExec")
    }
}

impl ExecutionPlan for AppendExec {
    fn name(&self) -> &str {
        "AppendExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
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
        let [input] = <[_; 1]>::try_from(children).map_err(|children| {
            DataFusionError::Internal(format!("AppendExec with {} inputs", children.len()))
        })?;
        // What the operator in whose place this stands says of itself.
        let properties = Arc::clone(CoalescePartitionsExec::new(Arc::clone(&input)).properties());
        Ok(Arc::new(Self {
            input,
            properties,
            memory: self.memory,
        }))
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

    fn execute(&self, _: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let streams = execute_stream_partitioned(Arc::clone(&self.input), context)?;
        let streams = streams.into_iter().map(from_datafusion).collect();
        union(streams, Order::Shard, self.memory)
            .map(to_datafusion)
            .map_err(|error| DataFusionError::External(error.into()))
    }
}
