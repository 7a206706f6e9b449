//! Blocks whose own rows are a step, and that are repeated over them.
//!
//! *Exact because* the rows of all shards together are those of the block before DISTINCT, ORDER BY and
//! LIMIT ([`locality`]), and these are repeated over them by PostgreSQL, which compares values as it
//! does in tables: texts by their own collation, which the step's columns keep (traps 10, 11, 13). Of a
//! limit, each shard gives its first rows, ties too: the first rows of all are among them (trap 12).
//! Where a row counts once however often it comes, equal rows are left out if they are the same.
//!
//! *Does not hold when* the block names rows outside, or a common table expression; when its values
//! cannot be sent (rows without a type), or are compared later under a collation that nobody can tell;
//! or when GROUP BY may mean the name of a column that gets another name here.

use datafusion::sql::sqlparser::ast::{
    Distinct, Expr, GroupByExpr, OrderBy, OrderByKind, Query, SelectItem, SetExpr,
};

use super::collation::Told;
use super::limit::{Limit, limited, take_limit};
use super::local::{first_select, output_index};
use super::obstacle::{Judged, Obstacle};
use super::steps::{can_be_sent, step_factor};
use super::{Planner, Result};
use crate::plan::argument::Premises;
use crate::plan::facts::types;
use crate::plan::locality::{self, Distribution};
use crate::plan::naming::{self, ident};
use crate::plan::rewrite::bare;
use crate::plan::rewrite::item_expr;
use crate::plan::same::normal;
use crate::plan::{Arm, Merge, Place, Sql, StepColumn, build};
use crate::types::Column;

/// A block whose own rows can be a step, with all that building needs.
pub(super) struct OwnRows {
    rows: Rows,
    /// What the shards run.
    step: Query,
    shards: Vec<usize>,
    uses: Vec<usize>,
    columns: Vec<StepColumn>,
    /// The columns, as PostgreSQL describes them.
    described: Vec<Column>,
    arm: Arm,
    premises: Premises,
}

/// A block, and where its columns, sort keys and keys of DISTINCT ON are among those of its step.
struct Rows {
    /// Without order and limit.
    unlimited: Query,
    /// `None`: it is not a plain number.
    limit: Option<Limit>,
    distinct: Option<Distinct>,
    names: Vec<Option<String>>,
    /// The columns of the step: first those of the block, then keys that it does not select.
    exprs: Vec<Expr>,
    order: Vec<usize>,
    on: Vec<usize>,
}

impl Rows {
    /// `None` if the block has no columns that can be named anew.
    fn of(query: &Query) -> Option<Self> {
        let mut unlimited = query.clone();
        let limit = take_limit(&mut unlimited);
        let first = first_select(&unlimited.body)?;
        // The columns get other names, but GROUP BY may know one by its own.
        if let GroupByExpr::Expressions(keys, _) = &first.group_by
            && keys
                .iter()
                .any(|key| matches!(bare(key), Expr::Identifier(_)))
        {
            return None;
        }
        let mut rows = Self {
            limit,
            distinct: None,
            names: first.projection.iter().map(naming::item_name).collect(),
            exprs: first
                .projection
                .iter()
                .map(item_expr)
                .collect::<Option<_>>()?,
            order: Vec::new(),
            on: Vec::new(),
            unlimited,
        };
        let width = rows.names.len();
        if let SetExpr::Select(select) = &*rows.unlimited.body {
            rows.distinct.clone_from(&select.distinct);
        }
        for key in locality::order_keys(query) {
            let index = rows.place(&key.expr);
            rows.order.push(index);
        }
        if let Some(Distinct::On(exprs)) = rows.distinct.clone() {
            for expr in &exprs {
                let index = rows.place(expr);
                rows.on.push(index);
            }
        }
        let has_added = rows.exprs.len() > width;
        let may_add = rows.is_select() && !rows.only_distinct();
        (width > 0 && (may_add || !has_added)).then_some(rows)
    }

    /// The index of a key's column, which is added if there is none.
    fn place(&mut self, expr: &Expr) -> usize {
        if let Some(index) = output_index(expr, &self.names, &self.unlimited.body) {
            return index;
        }
        let width = self.names.len();
        let wanted = normal(expr);
        let known = self.exprs[width..]
            .iter()
            .position(|known| normal(known) == wanted);
        known.map_or_else(
            || {
                self.exprs.push(expr.clone());
                self.exprs.len() - 1
            },
            |index| width + index,
        )
    }

    fn is_select(&self) -> bool {
        matches!(&*self.unlimited.body, SetExpr::Select(_))
    }

    fn is_distinct_on(&self) -> bool {
        matches!(self.distinct, Some(Distinct::On(_)))
    }

    fn only_distinct(&self) -> bool {
        matches!(self.distinct, Some(Distinct::Distinct))
    }

    /// What the shards run, without an order; `name` gives the names of columns. The keys of DISTINCT ON are
    /// told by the numbers of columns: their names are others now, and a constant would be a number itself.
    fn shard_query(&self, name: impl Fn(usize) -> String) -> Query {
        let mut query = self.unlimited.clone();
        query.order_by = None;
        if let SetExpr::Select(select) = &mut *query.body {
            select.projection = self
                .exprs
                .iter()
                .enumerate()
                .map(|(index, expr)| SelectItem::ExprWithAlias {
                    expr: expr.clone(),
                    alias: ident(&name(index)),
                })
                .collect();
            if self.is_distinct_on() {
                let on = self.on.iter().map(|index| position(*index));
                select.distinct = Some(Distinct::On(on.collect()));
            }
        }
        query
    }

    /// Leaves out rows of a shard that cannot be rows of the answer: the first rows of each shard
    /// hold the first rows of all, and so do those with ties.
    fn limit_shard(&self, mut query: Query) -> Query {
        if self.is_distinct_on() {
            query.order_by = reordered(&self.unlimited, &self.order);
            return query;
        }
        match &self.limit {
            Some(limit) if !limit.is_none() && (!self.order.is_empty() || !limit.with_ties) => {
                query.order_by = reordered(&self.unlimited, &self.order);
                limited(query, limit)
            }
            _ => query,
        }
    }

    /// The block over the rows of the step; `column` gives the columns of the step.
    fn over(self, query: &Query, step: &str, column: impl Fn(usize) -> Expr) -> Query {
        let items = self
            .names
            .into_iter()
            .enumerate()
            .map(|(index, name)| match name {
                Some(alias) => SelectItem::ExprWithAlias {
                    expr: column(index),
                    alias: ident(&alias),
                },
                None => SelectItem::UnnamedExpr(column(index)),
            })
            .collect();
        let mut select = build::select(items, vec![build::item(step_factor(step, None))]);
        select.distinct = match self.distinct {
            Some(Distinct::On(_)) => Some(Distinct::On(
                self.on.iter().map(|index| column(*index)).collect(),
            )),
            other => other,
        };
        let mut finished = query.clone();
        finished.with = None;
        finished.body = Box::new(SetExpr::Select(Box::new(select)));
        if let Some(order_by) = &mut finished.order_by
            && let OrderByKind::Expressions(keys) = &mut order_by.kind
        {
            for (key, index) in keys.iter_mut().zip(&self.order) {
                key.expr = column(*index);
            }
        }
        finished
    }
}

impl Planner<'_> {
    /// Whether the shards can answer but for the order and the limit, and for DISTINCT.
    ///
    /// `once`: whether a row counts once however often it comes.
    pub(super) fn judge_rows(&self, query: &Query, once: bool, top: bool) -> Judged<OwnRows> {
        if self.locality().is_correlated(query) || self.names_foreign_cte(query) {
            return Err(Obstacle::Unfit("it names rows of an outer query"));
        }
        let Some(rows) = Rows::of(query) else {
            return Err(Obstacle::Unfit("its columns cannot be named anew"));
        };
        let premises = Premises::default();
        let mut step = rows.shard_query(|n| self.step_column("c", n + 1, None).name);
        if let Distribution::Global(_) = self.unlimited_distribution(&relaxed(&step), &premises) {
            return Err(Obstacle::Unfit("no shard can compute its part of the rows"));
        }
        let described = self.describe(&step)?;
        if !described.iter().all(can_be_sent) {
            return Err(Obstacle::Unfit(
                "a column is a row without a type of its own",
            ));
        }
        let collations = self.collations(&step, &described)?;
        if let SetExpr::Select(select) = &mut *step.body
            && once
            && rows.distinct.is_none()
            && !locality::is_limited(query)
            && !self.locality().aggregates(select)
            && self.are_identified(&rows.exprs, &described, &collations)
        {
            select.distinct = Some(Distinct::Distinct);
            premises.hold("a row counts once however often it comes, and equal rows are the same");
        }
        let Some(columns) = self.row_columns(&rows, &described, &collations, top && !once) else {
            return Err(Obstacle::Unfit(
                "a text has a collation that cannot be told",
            ));
        };
        let unlimited = step.clone();
        let step = rows.limit_shard(step);
        if step != unlimited {
            premises.hold(
                "the first rows of all are among the first rows of each shard, which are sorted and \
                 counted again",
            );
        }
        Ok(OwnRows {
            shards: self.shards_for(query, &premises)?,
            uses: self.uses(&step),
            arm: arm(&rows, once, top),
            rows,
            step,
            columns,
            described,
            premises,
        })
    }

    /// Makes the step, and gives the block over its rows, whose ORDER BY and LIMIT are still to be
    /// lowered.
    pub(super) fn build_rows(&mut self, query: &Query, found: OwnRows) -> Result<Query> {
        let place = Place::Shards(found.shards);
        let sql = Sql::of(&found.step);
        let index = self.push(sql, found.uses, place, Merge::all(), found.columns);
        self.rests_on(index, found.premises.into_sentences());
        let name = self.enter(index, found.described, found.step)?;
        self.at_least(found.arm);
        Ok(found.rows.over(query, &name, |n| {
            naming::column(&name, &self.step_column("c", n + 1, None).name)
        }))
    }

    /// Whether rows that PostgreSQL calls equal are the same.
    fn are_identified(&self, exprs: &[Expr], described: &[Column], collations: &[Told]) -> bool {
        let mut columns = exprs.iter().zip(described.iter().zip(collations));
        columns.all(|(expr, (column, told))| {
            self.is_identified(column, told)
                || self
                    .relation_column(expr)
                    .is_some_and(|column| self.is_identified_column(column))
        })
    }

    /// The columns of the step; `None` if a collation cannot be told of a text that is compared
    /// later. `only_read`: the block's own columns are not.
    fn row_columns(
        &self,
        rows: &Rows,
        described: &[Column],
        collations: &[Told],
        only_read: bool,
    ) -> Option<Vec<StepColumn>> {
        let mut columns = Vec::new();
        for (index, (column, told)) in described.iter().zip(collations).enumerate() {
            let compared = !only_read
                || rows.order.contains(&index)
                || rows.on.contains(&index)
                || rows.only_distinct();
            let is_compared = compared && types::is_collatable(column.pg_type.name());
            let collation = match (is_compared, told) {
                (false, _) => None,
                (true, Ok(collation)) => collation.clone().and_then(|c| c.sql),
                (true, Err(())) => return None,
            };
            columns.push(self.step_column("c", index + 1, collation));
        }
        Some(columns)
    }
}

/// What the block does to its rows, by what moves: all of them, or less.
fn arm(rows: &Rows, once: bool, top: bool) -> Arm {
    let is_less = once
        || rows.distinct.is_some()
        || rows
            .limit
            .as_ref()
            .is_some_and(|limit| limit.fetch.is_some());
    match (top, rows.order.is_empty()) {
        (false, _) if is_less => Arm::Combine,
        (false, _) => Arm::Gather,
        (true, _) if rows.distinct.is_some() => Arm::Combine,
        (true, false) => Arm::Ordered,
        (true, true) if once => Arm::Combine,
        (true, true) => Arm::Union,
    }
}

/// The ORDER BY of a query, by the numbers of columns.
fn reordered(query: &Query, columns: &[usize]) -> Option<OrderBy> {
    let mut order_by = query.order_by.clone()?;
    if let OrderByKind::Expressions(exprs) = &mut order_by.kind {
        for (key, index) in exprs.iter_mut().zip(columns) {
            key.expr = position(*index);
        }
    }
    Some(order_by)
}

/// A column of the output by its number, from 1, which nothing else can mean.
fn position(index: usize) -> Expr {
    build::number(index as u64 + 1)
}

/// A block without DISTINCT, which is repeated, so that the shards need not agree on it.
fn relaxed(query: &Query) -> Query {
    let mut relaxed = query.clone();
    if let SetExpr::Select(select) = &mut *relaxed.body {
        select.distinct = None;
    }
    relaxed
}
