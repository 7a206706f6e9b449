//! The same merge as a plan that an engine runs elsewhere, in parts, over rows that a plan of its own gives.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result as EngineResult;
use datafusion::logical_expr::{AggregateUDF, Expr, TableType};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};
use datafusion::prelude::{SessionConfig, SessionContext};

use super::error::{execution, planning};
use super::sum::CheckedSum;
use super::{Order, ReaggregateOptions, check_one_select, conform_all, plan, session};
use crate::error::Result;
use crate::stream::QueryStream;

/// DataFusion's physical plan of the SELECT over the rows of another plan, as the table `shards`; groups are
/// spread over this many partitions.
///
/// Nothing in it depends on the process that made it: no filter that one operator leaves to another while
/// both run, and no exchange but by the hash of the groups.
///
/// # Errors
/// As [`reaggregate`](super::reaggregate), for the SQL.
pub(crate) async fn physical(
    input: Arc<dyn ExecutionPlan>,
    merge_sql: &str,
    partitions: usize,
) -> Result<Arc<dyn ExecutionPlan>> {
    check_one_select(merge_sql)?;
    let options = ReaggregateOptions {
        order: Order::FirstCome,
        target_partitions: partitions,
        ..ReaggregateOptions::default()
    };
    let mut state = session(&options).map_err(execution)?.state();
    portable(state.config_mut());
    let context = SessionContext::new_with_state(state);
    let schema = input.schema();
    let logical = plan(&context, merge_sql, Arc::new(Given(input)), &schema).await?;
    let physical = context.state().create_physical_plan(&logical).await;
    physical.map_err(|error| planning(error, &schema))
}

fn portable(config: &mut SessionConfig) {
    let optimizer = &mut config.options_mut().optimizer;
    optimizer.enable_round_robin_repartition = false;
    optimizer.enable_dynamic_filter_pushdown = false;
}

/// What the engine gives for that plan, as [`reaggregate`](super::reaggregate) gives it.
pub(crate) fn finished(rows: QueryStream) -> QueryStream {
    conform_all(rows, None)
}

/// The `sum` of such plans, which is right or an error; it has DataFusion's name.
pub(crate) fn checked_sum() -> AggregateUDF {
    AggregateUDF::new_from_impl(CheckedSum::default())
}

/// Whether it is that, and not DataFusion's, which wraps around.
pub(crate) fn is_checked_sum(aggregate: &AggregateUDF) -> bool {
    aggregate.inner().is::<CheckedSum>()
}

/// The rows of a plan as a table.
#[derive(Debug)]
struct Given(Arc<dyn ExecutionPlan>);

#[async_trait]
impl TableProvider for Given {
    fn schema(&self) -> SchemaRef {
        self.0.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        _: Option<usize>,
    ) -> EngineResult<Arc<dyn ExecutionPlan>> {
        let schema = self.0.schema();
        let all: Vec<_> = (0..schema.fields().len()).collect();
        let wanted = projection.unwrap_or(&all);
        if *wanted == all {
            return Ok(Arc::clone(&self.0));
        }
        let columns = wanted.iter().map(|&index| {
            let name = schema.field(index).name();
            ProjectionExpr::new(Arc::new(Column::new(name, index)), name.clone())
        });
        let columns: Vec<_> = columns.collect();
        Ok(Arc::new(ProjectionExec::try_new(
            columns,
            Arc::clone(&self.0),
        )?))
    }
}
