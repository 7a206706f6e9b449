//! Whether the order of the rows shows in the result.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::catalog::MemTable;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::logical_expr::LogicalPlan;

use super::error::{execution, planning};
use super::{Order, ReaggregateOptions, check_columns, check_one_select, plan, session};
use crate::error::Result;
use crate::stream::QueryStream;

/// The order in which streams are best merged by this SQL: as they come, unless it aggregates
/// floating-point numbers, the last digits of whose sums depend on the order.
///
/// # Errors
/// As [`reaggregate`](super::reaggregate), before the first row.
pub(crate) async fn best_order(
    inputs: &[QueryStream],
    merge_sql: &str,
    options: &ReaggregateOptions,
) -> Result<Order> {
    let schema = check_columns(inputs)?;
    check_one_select(merge_sql)?;
    let context = session(options).map_err(execution)?;
    let table = MemTable::try_new(schema.clone(), vec![Vec::new()])
        .map_err(|error| planning(error, &schema))?;
    let plan = plan(&context, merge_sql, Arc::new(table), &schema).await?;
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        let computed = match node {
            LogicalPlan::Aggregate(aggregate) => aggregate.aggr_expr.len(),
            LogicalPlan::Window(window) => window.window_expr.len(),
            _ => 0,
        };
        // What is computed stands behind what is grouped by, or passed on.
        let fields = node.schema().fields().iter().rev().take(computed);
        found |= fields
            .into_iter()
            .any(|field| holds_floats(field.data_type()));
        Ok(TreeNodeRecursion::Continue)
    })
    .map_err(|error| planning(error, &schema))?;
    Ok(match found {
        true => Order::Shard,
        false => Order::FirstCome,
    })
}

fn holds_floats(data_type: &DataType) -> bool {
    match data_type {
        DataType::List(field) | DataType::LargeList(field) | DataType::FixedSizeList(field, _) => {
            holds_floats(field.data_type())
        }
        DataType::Struct(fields) => fields.iter().any(|field| holds_floats(field.data_type())),
        other => other.is_floating(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merge::scripted::{Watch, numbers, source};

    #[tokio::test]
    async fn only_sums_of_floats_need_an_order() {
        for (sql, expected) in [
            ("SELECT n FROM shards", Order::FirstCome),
            ("SELECT n::float8 * 2 AS x FROM shards", Order::FirstCome),
            (
                "SELECT n::float8 AS g, count(*) FROM shards GROUP BY 1",
                Order::FirstCome,
            ),
            ("SELECT sum(n), max(n) FROM shards", Order::FirstCome),
            ("SELECT avg(n) FROM shards", Order::Shard),
            ("SELECT sum(n::float8)::int8 FROM shards", Order::Shard),
            (
                "SELECT x FROM (SELECT sum(n::real) AS x FROM shards) t",
                Order::Shard,
            ),
            (
                "SELECT n FROM shards WHERE n < (SELECT avg(n) FROM shards)",
                Order::Shard,
            ),
            ("SELECT sum(n::float8) OVER () FROM shards", Order::Shard),
        ] {
            let inputs = [source(numbers([]).schema(), vec![], &Watch::default())];
            let options = ReaggregateOptions::default();
            let order = best_order(&inputs, sql, &options).await.unwrap();
            assert_eq!(order, expected, "{sql}");
        }
    }
}
