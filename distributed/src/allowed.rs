//! Which plans are sent to the engine.
//!
//! ```text
//! PartFile > descriptors
//! ShardRead > descriptors
//! [Projection >] Aggregate Final > Coalesce | Repartition by hash > Aggregate Partial > [Projection >] ShardRead > ..
//! ```
//! An engine has joins, sorts, limits, windows and unions of its own, and ways to cut plans that hold for
//! operators which it knows. None of those is needed here, so none is sent: what is not listed is refused,
//! before anybody has seen it. `tests/engine.rs` shows what becomes of a plan that is not.

use std::sync::Arc;

use datafusion::datasource::memory::{DataSourceExec, MemorySourceConfig};
use datafusion::physical_expr::expressions::{CaseExpr, CastExpr, Column, IsNotNullExpr, Literal};
use datafusion::physical_expr::{Partitioning, PhysicalExpr};
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use merganser::{Error, ErrorKind, PartialMerge, Phase};

use crate::descriptors;
use crate::part_file::PartFileExec;
use crate::read::ShardReadExec;

/// Makes sure that a plan is one of those above.
///
/// # Errors
/// [`ErrorKind::Unsupported`], with the operator.
pub fn check(plan: &Arc<dyn ExecutionPlan>) -> Result<(), Error> {
    match plan.downcast_ref::<PartFileExec>() {
        Some(files) => leaf(only_input(files)?),
        None => rows(plan, Groups::Whole),
    }
}

/// What the operator above makes of the groups of partial aggregates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Groups {
    /// It takes rows for final ones.
    Whole,
    /// It puts the parts of groups together.
    Parts,
}

fn rows(plan: &Arc<dyn ExecutionPlan>, groups: Groups) -> Result<(), Error> {
    let plan = plan.as_ref();
    if plan.is::<ShardReadExec>() {
        return leaf(only_input(plan)?);
    }
    if let Some(projection) = plan.downcast_ref::<ProjectionExec>() {
        projection
            .expr()
            .iter()
            .try_for_each(|column| expression(&column.expr))?;
        return rows(only_input(plan)?, groups);
    }
    if let Some(aggregate) = plan.downcast_ref::<AggregateExec>() {
        return aggregated(aggregate, groups);
    }
    let gathers = match plan.downcast_ref::<RepartitionExec>() {
        Some(repartition) => match repartition.partitioning() {
            Partitioning::Hash(keys, _) => {
                keys.iter().try_for_each(expression)?;
                true
            }
            other => return Err(refused(&format!("{} by {other}", plan.name()))),
        },
        None => plan.is::<CoalescePartitionsExec>(),
    };
    match (gathers, groups) {
        (true, Groups::Parts) => rows(only_input(plan)?, groups),
        (true, Groups::Whole) => Err(refused(&format!("{} of whole rows", plan.name()))),
        (false, _) => Err(refused(plan.name())),
    }
}

fn aggregated(aggregate: &AggregateExec, groups: Groups) -> Result<(), Error> {
    let input = aggregate.input();
    let below = match (aggregate.mode(), groups) {
        (AggregateMode::Final | AggregateMode::FinalPartitioned, Groups::Whole) => {
            has_partial(input)?;
            Groups::Parts
        }
        (AggregateMode::Partial, Groups::Parts) => Groups::Whole,
        // Of all rows, where there is one partition.
        (AggregateMode::Single | AggregateMode::SinglePartitioned, Groups::Whole)
            if input.output_partitioning().partition_count() == 1 =>
        {
            Groups::Whole
        }
        (mode, _) => return Err(refused(&format!("a {mode:?} aggregate here"))),
    };
    let keys = aggregate.group_expr();
    if keys.has_grouping_set() {
        return Err(refused("grouping sets"));
    }
    keys.expr()
        .iter()
        .try_for_each(|(key, _)| expression(key))?;
    if aggregate.filter_expr().iter().any(Option::is_some) || aggregate.limit_options().is_some() {
        return Err(refused("an aggregate with a filter or a limit"));
    }
    for call in aggregate.aggr_expr() {
        let function = call.fun();
        let is_known =
            PartialMerge::payload(function).is_some() || AGGREGATES.contains(&function.name());
        let is_plain = !call.is_distinct() && call.order_bys().is_empty();
        if !(is_known && is_plain) {
            return Err(refused(&format!("the aggregate {}", call.name())));
        }
        call.expressions().iter().try_for_each(expression)?;
    }
    rows(input, below)
}

/// Whether the parts of groups come from a partial aggregate, through exchanges alone.
fn has_partial(plan: &Arc<dyn ExecutionPlan>) -> Result<(), Error> {
    let is_partial = |aggregate: &AggregateExec| *aggregate.mode() == AggregateMode::Partial;
    if plan.downcast_ref::<AggregateExec>().is_some_and(is_partial) {
        return Ok(());
    }
    match plan.is::<RepartitionExec>() || plan.is::<CoalescePartitionsExec>() {
        true => has_partial(only_input(plan.as_ref())?),
        false => Err(refused("a final aggregate without its parts")),
    }
}

/// Of DataFusion's, those that are PostgreSQL's wherever the planner merges by them; its own `sum` is not.
const AGGREGATES: [&str; 7] = [
    "min", "max", "bool_and", "bool_or", "bit_and", "bit_or", "bit_xor",
];

fn expression(expression: &Arc<dyn PhysicalExpr>) -> Result<(), Error> {
    let plain = expression.as_ref();
    // `coalesce(n, 0)`, as of counts over no rows, is planned as CASE.
    let is_known = plain.is::<Column>()
        || plain.is::<Literal>()
        || plain.is::<CastExpr>()
        || plain.is::<CaseExpr>()
        || plain.is::<IsNotNullExpr>();
    match is_known {
        true => expression
            .children()
            .into_iter()
            .try_for_each(self::expression),
        false => Err(refused(&format!("the expression {expression}"))),
    }
}

/// The leaf: descriptors, one in each partition.
fn leaf(plan: &Arc<dyn ExecutionPlan>) -> Result<(), Error> {
    let source = plan.downcast_ref::<DataSourceExec>();
    let table = source.and_then(|source| {
        let source: &dyn std::any::Any = source.data_source().as_ref();
        source.downcast_ref::<MemorySourceConfig>()
    });
    let Some(table) = table else {
        return Err(refused(&format!("the leaf {}", plan.name())));
    };
    let mut partitions = table.partitions().iter();
    let has_one =
        partitions.all(|batches| batches.iter().map(|batch| batch.num_rows()).sum::<usize>() == 1);
    match descriptors::are_given_by(plan.as_ref()) && has_one {
        true => Ok(()),
        false => Err(refused("a table in memory that is not one of descriptors")),
    }
}

fn only_input(plan: &dyn ExecutionPlan) -> Result<&Arc<dyn ExecutionPlan>, Error> {
    match plan.children().as_slice() {
        [input] => Ok(input),
        _ => Err(refused(plan.name())),
    }
}

fn refused(what: &str) -> Error {
    Error::new(
        ErrorKind::Unsupported,
        format!(
            "refused: {what} is not sent to the cluster, which may not do it as PostgreSQL does"
        ),
    )
    .with_phase(Phase::Plan)
    .with_hint("run the query without a cluster")
}
