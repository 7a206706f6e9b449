//! Blocks of a query, from the outside in: each becomes one over the rows of steps.

use datafusion::sql::sqlparser::ast::{Expr, Query, SetExpr, SetOperator, SetQuantifier, VisitMut};

use super::steps::no_values;
use super::{COMBINE, Planner, ROWS, Result};
use crate::plan::rewrite::{self, Walk, top_down};
use crate::plan::{MergeMode, build, locality, thread};

/// How many set operations stay together of which no part may be cut out.
const NOWHERE: usize = usize::MAX;

impl Planner<'_> {
    /// The query over the rows of steps. `once`: whether a row counts once however often it comes.
    pub(super) fn lower_query(&mut self, query: Query, once: bool, top: bool) -> Result<Query> {
        self.lower_known(query, once, top, None)
    }

    /// `apart`: how many set operations, from this query on by way of their left sides, are known to
    /// be none that the shards can compute.
    fn lower_known(
        &mut self,
        mut query: Query,
        once: bool,
        top: bool,
        apart: Option<usize>,
    ) -> Result<Query> {
        thread::check()?;
        if !self.locality().reads_sharded(&query) {
            return Ok(query);
        }
        if self.merge == MergeMode::Auto && apart.unwrap_or(0) == 0 {
            let judged = self.judge_rows(&query, once, top);
            if let Some(found) = self.unless_obstacle(&query, ROWS, judged)? {
                let mut block = self.build_rows(&query, found)?;
                self.lower_beside(&mut block)?;
                return Ok(block);
            }
        }
        if let Some(with) = &mut query.with {
            for cte in &mut with.cte_tables {
                let inner =
                    std::mem::replace(&mut *cte.query, build::query(SetExpr::Values(no_values())));
                *cte.query = self.lower_query(inner, false, false)?;
            }
        }
        let body = std::mem::replace(&mut *query.body, SetExpr::Values(no_values()));
        match body {
            SetExpr::Select(select) => {
                *query.body = SetExpr::Select(select);
                self.lower_select(query, once)
            }
            SetExpr::Query(inner) => {
                *query.body = SetExpr::Query(Box::new(self.lower_query(*inner, false, false)?));
                self.lower_beside(&mut query)?;
                Ok(query)
            }
            SetExpr::SetOperation {
                op,
                set_quantifier,
                left,
                right,
            } => {
                let all = matches!(
                    set_quantifier,
                    SetQuantifier::All | SetQuantifier::AllByName
                );
                // Whether nothing compares the rows of the sides.
                let top = top && op == SetOperator::Union && all && query.order_by.is_none();
                let mut sides = SetExpr::SetOperation {
                    op,
                    set_quantifier,
                    left,
                    right,
                };
                let (left_apart, right_apart) = self.sides_apart(&mut sides, apart)?;
                if let SetExpr::SetOperation { left, right, .. } = &mut sides {
                    self.lower_side(left, !all, top, left_apart)?;
                    self.lower_side(right, !all, top, right_apart)?;
                }
                *query.body = sides;
                self.lower_beside(&mut query)?;
                Ok(query)
            }
            mut other => {
                if let SetExpr::Values(values) = &mut other {
                    self.lower_subqueries(values)?;
                }
                *query.body = other;
                self.lower_beside(&mut query)?;
                Ok(query)
            }
        }
    }

    /// What is known of the sides of a set operation, whose literals have their types then.
    fn sides_apart(
        &self,
        sides: &mut SetExpr,
        apart: Option<usize>,
    ) -> Result<(Option<usize>, Option<usize>)> {
        match apart {
            // Only tables are cut out.
            None if self.merge != MergeMode::Auto => Ok((None, None)),
            // Nothing of it may be cut out.
            Some(NOWHERE) => Ok((apart, apart)),
            Some(levels) => Ok((Some(levels.saturating_sub(1)), None)),
            None if self.type_literals(sides)? => {
                let levels = self.locality().global_levels(sides);
                Ok((Some(levels.saturating_sub(1)), None))
            }
            None => Ok((Some(NOWHERE), Some(NOWHERE))),
        }
    }

    fn lower_side(
        &mut self,
        side: &mut SetExpr,
        once: bool,
        top: bool,
        apart: Option<usize>,
    ) -> Result<()> {
        let taken = std::mem::replace(side, SetExpr::Values(no_values()));
        *side = match taken {
            SetExpr::Query(query) => {
                // In parentheses another chain begins.
                let apart = apart.filter(|levels| *levels == NOWHERE);
                SetExpr::Query(Box::new(self.lower_known(*query, once, top, apart)?))
            }
            other => {
                let lowered = self.lower_known(build::query(other), once, top, apart)?;
                let plain = lowered.with.is_none()
                    && lowered.order_by.is_none()
                    && !locality::is_limited(&lowered);
                match plain {
                    true => *lowered.body,
                    false => SetExpr::Query(Box::new(lowered)),
                }
            }
        };
        Ok(())
    }

    /// A SELECT that the shards cannot answer alone.
    fn lower_select(&mut self, query: Query, once: bool) -> Result<Query> {
        if self.merge == MergeMode::Auto {
            let judged = self.judge_combine(&query);
            if let Some(found) = self.unless_obstacle(&query, COMBINE, judged)? {
                let block = self.build_combine(&query, found)?;
                return self.lower_beside_aggregates(block);
            }
        }
        self.gather(query, once)
    }

    /// Lowers the queries in ORDER BY and LIMIT.
    pub(super) fn lower_beside(&mut self, query: &mut Query) -> Result<()> {
        let mut order_by = query.order_by.take();
        self.lower_subqueries(&mut order_by)?;
        query.order_by = order_by;
        let mut limit = query.limit_clause.take();
        self.lower_subqueries(&mut limit)?;
        query.limit_clause = limit;
        let mut fetch = query.fetch.take();
        self.lower_subqueries(&mut fetch)?;
        query.fetch = fetch;
        Ok(())
    }

    /// Lowers the queries inside expressions.
    pub(super) fn lower_subqueries<T: VisitMut>(&mut self, tree: &mut T) -> Result<()> {
        let mut stop = None;
        let _ = top_down(tree, |expr| {
            if stop.is_some() {
                return Ok(Walk::Done);
            }
            let once = matches!(expr, Expr::Exists { .. } | Expr::InSubquery { .. });
            if let Expr::InSubquery { expr: left, .. } = expr
                && let Err(error) = self.lower_subqueries(&mut **left)
            {
                stop = Some(error);
            }
            let Some(query) = rewrite::subquery(expr) else {
                return Ok(Walk::Into);
            };
            match self.lower_subquery(query, once) {
                Ok(lowered) => *query = lowered,
                Err(error) => stop = Some(error),
            }
            Ok(Walk::Done)
        });
        stop.map_or(Ok(()), Err)
    }

    /// A query inside an expression over the rows of steps: the same for each that [is the
    /// same](crate::plan::bind), as expressions that are the same have to stay so.
    fn lower_subquery(&mut self, query: &Query, once: bool) -> Result<Query> {
        if let Some(lowered) = self.lowered.get(query) {
            return Ok(lowered.clone());
        }
        let lowered = self.lower_query(query.clone(), once, false)?;
        if lowered != *query {
            self.lowered.insert(query.clone(), lowered.clone());
        }
        Ok(lowered)
    }
}
