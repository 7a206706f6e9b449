//! EXISTS that is the same for all rows: one row of each shard tells.
//!
//! *Exact because* EXISTS asks no more than whether there is a row, so that the first of each shard, or
//! of each side of UNION, says as much as all. *Does not hold when* its own LIMIT or OFFSET may leave
//! none, or an aggregate in ORDER BY makes one row of all: these stay (`exists_in.sql`).

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, LimitClause, Query, SetExpr, SetOperator, visit_expressions_mut,
};

use super::Planner;
use super::steps::no_values;
use crate::plan::locality::{self, Distribution, order_keys};
use crate::plan::{build, functions};

impl Planner<'_> {
    /// Writes `LIMIT 1` into each EXISTS that names nothing outside and that no shard can answer
    /// alone: its rows would all be collected otherwise.
    pub(super) fn ask_for_one_row(&self, query: &mut Query) {
        let _ = visit_expressions_mut(query, |expr| {
            if let Expr::Exists { subquery, .. } = expr
                && !self.locality().is_correlated(subquery)
                && self.locality().of(subquery) != Distribution::Replicated
            {
                first_row(subquery);
            }
            ControlFlow::<()>::Continue(())
        });
    }
}

/// Limits a query of which only matters whether it has a row.
fn first_row(query: &mut Query) {
    // LIMIT and OFFSET may leave none, so they stay as they are.
    if locality::is_limited(query) {
        return;
    }
    // An aggregate there makes one row of all.
    if !order_keys(query)
        .iter()
        .any(|key| functions::may_call(&key.expr))
    {
        query.order_by = None;
    }
    match &mut *query.body {
        SetExpr::Query(inner) => first_row(inner),
        // There is a row if one of the sides has one.
        SetExpr::SetOperation {
            op: SetOperator::Union,
            left,
            right,
            ..
        } => {
            first_row_of_side(left);
            first_row_of_side(right);
        }
        _ => {}
    }
    query.limit_clause = Some(LimitClause::LimitOffset {
        limit: Some(build::number(1)),
        offset: None,
        limit_by: Vec::new(),
    });
}

fn first_row_of_side(side: &mut SetExpr) {
    match side {
        SetExpr::SetOperation {
            op: SetOperator::Union,
            left,
            right,
            ..
        } => {
            first_row_of_side(left);
            first_row_of_side(right);
        }
        SetExpr::Query(query) => first_row(query),
        SetExpr::Select(_) => {
            let body = std::mem::replace(side, SetExpr::Values(no_values()));
            let mut query = build::query(body);
            first_row(&mut query);
            *side = SetExpr::Query(Box::new(query));
        }
        _ => {}
    }
}
