//! Correlated subqueries over the rows of a step, as joins.
//!
//! ```sql
//! WHERE x < (SELECT 2 * sum(m1.ma1) FROM m1 WHERE m1.mk1 = t.a)
//! -- for each row of t all rows of m1; better:
//! FROM t LEFT JOIN (SELECT m1.mk1, sum(m1.ma1) AS ma1 FROM m1 GROUP BY m1.mk1) AS mj1 ON mj1.mk1 = t.a
//! WHERE x < (2 * mj1.ma1)
//! ```
//!
//! PostgreSQL does not do this by itself: it reads the rows of a common table expression, which has no
//! index, once for each row of the outer query.
//!
//! *Exact because* for every row outside at most one group of the step has keys equal to it, so that
//! LEFT JOIN repeats no row; where there is none, its columns are NULL as the aggregates over no rows
//! are. *Does not hold when* an aggregate is not NULL over no rows (`count`: trap 6), when `=` on the
//! keys may find several groups equal to one value (trap 8), or when the subquery is more than a lookup:
//! then it stays as it is.

use std::collections::HashSet;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Function, GroupByExpr, Join, JoinConstraint, JoinOperator, Query, Select,
    SelectItem, SetExpr, TableFactor,
};

use super::Planner;
use super::outer::each_side;
use super::steps::step_factor;
use crate::plan::facts::aggregates::{self, Nothing};
use crate::plan::facts::{self, types};
use crate::plan::locality::{self, factor_alias};
use crate::plan::naming::{self, as_column, ident};
use crate::plan::rewrite::item_expr;
use crate::plan::rewrite::{self, Walk, bare, conjuncts, top_down};
use crate::plan::{build, functions};

/// A subquery that looks a value up by keys.
struct Lookup {
    step: String,
    /// Columns of the step, and what they are equal to.
    keys: Vec<(Expr, Expr)>,
    /// The aggregates of the step's rows that the value is made of.
    aggregates: Vec<Expr>,
    /// Over those, which are columns of the relation `alias`.
    value: Expr,
    alias: String,
    /// The item of FROM that all keys name, by index.
    from: usize,
}

impl Planner<'_> {
    /// Replaces the subqueries of WHERE that look up rows of a step.
    pub(super) fn join_lookups(&mut self, select: &mut Select) {
        // It would take in the columns of what is joined.
        let is_wild = |item: &SelectItem| matches!(item, SelectItem::Wildcard(_));
        if select.projection.iter().any(is_wild) {
            return;
        }
        let mut selection = select.selection.take();
        let _ = top_down(&mut selection, |expr| {
            if let Expr::Subquery(query) = expr
                && let Some(lookup) = self.judge_lookup(query, select)
                && let Some(value) = self.build_lookup(lookup, select)
            {
                *expr = Expr::Nested(Box::new(value));
                return Ok(Walk::Done);
            }
            // Subqueries of subqueries see another FROM, and those of ANY and ALL are no values.
            Ok(match expr {
                Expr::AnyOp { .. } | Expr::AllOp { .. } => Walk::Done,
                expr if rewrite::held_query(expr).is_some() => Walk::Done,
                _ => Walk::Into,
            })
        });
        select.selection = selection;
    }

    /// Whether a subquery of a SELECT is a lookup in the rows of a step.
    fn judge_lookup(&self, query: &Query, outside: &Select) -> Option<Lookup> {
        let SetExpr::Select(select) = &*query.body else {
            return None;
        };
        let is_plain = query.with.is_none()
            && query.order_by.is_none()
            && !locality::is_limited(query)
            && select.having.is_none()
            && select.distinct.is_none()
            && select.group_by == GroupByExpr::Expressions(Vec::new(), Vec::new());
        let ([item], [from]) = (&select.projection[..], &select.from[..]) else {
            return None;
        };
        let step = factor_alias(&from.relation)?;
        if !is_plain || !from.joins.is_empty() || !self.key_types.contains_key(&step) {
            return None;
        }
        let value = item_expr(item)?;
        if rewrite::has_query(&value) {
            return None;
        }
        let keys: Option<Vec<_>> = select
            .selection
            .iter()
            .flat_map(conjuncts)
            .map(|conjunct| self.looked_up(conjunct, &step))
            .collect();
        let keys = keys.filter(|keys| !keys.is_empty())?;
        let wanted: HashSet<_> = keys
            .iter()
            .filter_map(|(_, other)| as_column(other))
            .map(|(alias, _)| alias)
            .collect();
        let from = outside.from.iter().position(|tree| {
            let mut names = HashSet::new();
            each_side(tree, &mut |factor| names.extend(factor_alias(factor)));
            wanted.is_subset(&names)
        })?;
        let alias = format!("{}j{}", self.prefix, self.joined + 1);
        let (value, aggregates) = self.looked_up_value(value, &step, &alias)?;
        Some(Lookup {
            step,
            keys,
            aggregates,
            value,
            alias,
            from,
        })
    }

    /// A value over the rows of a step as one over the columns of `alias`, and the aggregates that
    /// these are; `None`: it is not NULL where there are no rows.
    fn looked_up_value(
        &self,
        mut value: Expr,
        step: &str,
        alias: &str,
    ) -> Option<(Expr, Vec<Expr>)> {
        let mut aggregates: Vec<Expr> = Vec::new();
        let mut fits = true;
        let _ = top_down(&mut value, |expr| {
            if let Expr::Function(call) = expr
                && functions::is_aggregate(call, self.question.catalog)
            {
                fits &= self.is_null_over_nothing(call)
                    && functions::expressions(call).len() == 1
                    && call.filter.is_none();
                let index = aggregates.iter().position(|known| known == expr);
                let index = index.unwrap_or(aggregates.len());
                if index == aggregates.len() {
                    aggregates.push(expr.clone());
                }
                *expr = naming::column(alias, &format!("{}a{}", self.prefix, index + 1));
                return Ok(Walk::Done);
            }
            // Others may be window functions, or give several rows.
            if let Expr::Function(call) = expr {
                fits &= call.over.is_none() && self.is_of_values(call);
            }
            fits &= as_column(expr).is_none_or(|(alias, _)| alias != step);
            Ok(Walk::Into)
        });
        // Without an aggregate there is no row where no key matches.
        (fits && !aggregates.is_empty()).then_some((value, aggregates))
    }

    /// Whether an aggregate is NULL over no rows, as the columns of a LEFT JOIN without a match are.
    fn is_null_over_nothing(&self, call: &Function) -> bool {
        let name = functions::system_name(call, self.question.catalog);
        let known = name.and_then(|name| aggregates::named(&name));
        known.is_some_and(|known| known.nothing == Nothing::Null)
    }

    /// Whether a function makes one value of its values.
    fn is_of_values(&self, call: &Function) -> bool {
        functions::system_name(call, self.question.catalog)
            .is_some_and(|name| facts::functions::OF_VALUES.contains(&&*name))
    }

    /// A condition `step.key = column` of which at most one group is true for any column: the types
    /// have to have one equality.
    fn looked_up(&self, conjunct: &Expr, step: &str) -> Option<(Expr, Expr)> {
        let Expr::BinaryOp {
            left,
            op: BinaryOperator::Eq,
            right,
        } = bare(conjunct)
        else {
            return None;
        };
        let is_key = |expr: &Expr| as_column(expr).is_some_and(|(alias, _)| alias == step);
        let (key, other) = match is_key(left) {
            true => (&**left, &**right),
            false => (&**right, &**left),
        };
        let (alias, name) = as_column(key)?;
        let number = name.strip_prefix(&self.prefix)?.strip_prefix('k')?;
        let index = number.parse::<usize>().ok()?.checked_sub(1)?;
        let key_type = self.key_types.get(&alias)?.get(index)?.as_deref()?;
        let column = self.relation_column(other)?;
        let other_type = column.type_name.as_deref()?;
        let is_one = alias == step
            && self.is_identified_column(column)
            && types::equality(key_type) == types::equality(other_type);
        is_one.then(|| (bare(key).clone(), bare(other).clone()))
    }

    /// Joins the groups of a step to the item of FROM that the keys name; the value over their
    /// columns.
    fn build_lookup(&mut self, lookup: Lookup, select: &mut Select) -> Option<Expr> {
        let Lookup {
            step,
            keys,
            aggregates,
            value,
            alias,
            from,
        } = lookup;
        let named = |kind: &str, (index, expr): (usize, Expr)| SelectItem::ExprWithAlias {
            expr,
            alias: ident(&format!("{}{kind}{}", self.prefix, index + 1)),
        };
        let (columns, others): (Vec<_>, Vec<_>) = keys.into_iter().unzip();
        let items = columns.iter().cloned().enumerate();
        let items = items.map(|item| named("k", item));
        let aggregates = aggregates.into_iter().enumerate();
        let items = items.chain(aggregates.map(|item| named("a", item)));
        let mut groups =
            build::select(items.collect(), vec![build::item(step_factor(&step, None))]);
        groups.group_by = GroupByExpr::Expressions(columns, Vec::new());
        let on = others
            .into_iter()
            .enumerate()
            .map(|(index, other)| Expr::BinaryOp {
                left: Box::new(naming::column(
                    &alias,
                    &format!("{}k{}", self.prefix, index + 1),
                )),
                op: BinaryOperator::Eq,
                right: Box::new(other),
            });
        let on = rewrite::all_of(on)?;
        self.joined += 1;
        select.from.get_mut(from)?.joins.push(Join {
            relation: TableFactor::Derived {
                lateral: false,
                subquery: Box::new(build::query(SetExpr::Select(Box::new(groups)))),
                alias: Some(naming::table_alias(&alias)),
                sample: None,
            },
            global: false,
            join_operator: JoinOperator::LeftOuter(JoinConstraint::On(on)),
        });
        Some(value)
    }
}
