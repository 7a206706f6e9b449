//! Partial aggregates that DataFusion merges: where that is exact, and how.
//!
//! *Exact because* each part is merged by the same aggregate of DataFusion (sums of integers and of
//! decimals wide enough for them, minima, AND and OR), and values of a key are equal exactly where their
//! Arrow values are. *Does not hold when* equal values differ (`numeric`, `interval`, text under a
//! collation that is not deterministic: trap 8), when a value has no place in Arrow (NaN, infinity: trap
//! 9), or when only PostgreSQL merges the part (floating-point numbers, text).

use datafusion::sql::sqlparser::ast::{Expr, Query, Select};

use super::super::Planner;
use super::super::collation::Told;
use super::parts::Parts;
use crate::plan::aggregate::Reaggregate;
use crate::plan::argument::Premises;
use crate::plan::facts::aggregates::{self, Nothing};
use crate::plan::facts::types::{self, Arrow};
use crate::plan::rewrite::item_expr;
use crate::plan::{Merge, StepColumn, functions, locality};
use crate::types::{Column, Unrepresentable};

impl Planner<'_> {
    /// Whether DataFusion can put the parts of groups together: it has to find keys equal exactly
    /// where PostgreSQL does.
    pub(super) fn parts_in_arrow(&self, parts: &Parts, types: &[Column]) -> InArrow {
        let keys = types.iter().zip(&parts.keys);
        let keys = keys.map(|(column, key)| self.equal_in_arrow(column, &self.told(parts, key)));
        let decimals = match parts.has_decimals() {
            true => self.where_finite(),
            false => InArrow::All,
        };
        keys.fold(decimals, InArrow::min)
    }

    /// Whether values of a key are equal exactly when DataFusion finds them equal.
    fn equal_in_arrow(&self, column: &Column, told: &Told) -> InArrow {
        // DataFusion sees the texts of an enum, in whatever order.
        if column.pg_type.is_enum() || !self.is_identified(column, told) {
            return InArrow::No;
        }
        match (
            types::of(column.pg_type.name()).arrow,
            self.question.types.unrepresentable,
        ) {
            (Arrow::All, _) | (Arrow::Instants, Unrepresentable::Text) => InArrow::All,
            (Arrow::No, _) | (Arrow::Instants, Unrepresentable::Null) => InArrow::No,
            (Arrow::Decimals | Arrow::Instants, _) => self.where_finite(),
        }
    }

    /// Arrow is tried for values of which it cannot hold all: infinity, or NaN. The query is planned
    /// without if there are any.
    fn where_finite(&self) -> InArrow {
        match self.question.decimals {
            true => InArrow::Finite,
            false => InArrow::No,
        }
    }
}

/// Whether Arrow holds all values that PostgreSQL may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum InArrow {
    No,
    /// All but NaN and the infinities, with which the query is planned anew.
    Finite,
    All,
}

impl Parts {
    /// Whether DataFusion can merge the partials before they go on.
    pub(super) fn can_premerge(&self) -> bool {
        !self.partials.is_empty()
            && self.sets.is_empty()
            && self.partials.iter().all(|partial| partial.merge.is_some())
    }

    /// The merge that gives the answer itself: every column is a key or a partial aggregate as it
    /// is, and nothing comes after.
    pub(super) fn answer(
        &self,
        query: &Query,
        replaced: &Select,
        names: &[StepColumn],
    ) -> Option<Merge> {
        if query.order_by.is_some()
            || locality::is_limited(query)
            || replaced.having.is_some()
            || replaced.distinct.is_some()
            || !self.plain
            || self.partials.iter().any(|partial| partial.merge.is_none())
        {
            return None;
        }
        let mut items = Vec::new();
        for item in &replaced.projection {
            let expr = item_expr(item)?;
            let printed = expr.to_string();
            if let Some(index) =
                (0..self.keys.len()).find(|index| self.key(*index).to_string() == printed)
            {
                items.push(quoted(&names.get(index)?.name));
                continue;
            }
            let index = *self.direct.get(&printed)?;
            let partial = self.partials.get(index)?;
            let name = quoted(&names.get(self.keys.len() + index)?.name);
            let merged = reaggregate(partial.merge?, &name);
            items.push(match is_zero_over_nothing(&partial.expr) {
                // Over no rows at all a sum is NULL, but a count is 0.
                true => format!("coalesce({merged}, 0)"),
                false => merged,
            });
        }
        let keys: Vec<_> = names
            .iter()
            .take(self.keys.len())
            .map(|c| quoted(&c.name))
            .collect();
        let items: Vec<_> = items
            .into_iter()
            .enumerate()
            .map(|(index, item)| format!("{item} AS c{}", index + 1))
            .collect();
        let group = match keys.is_empty() {
            true => String::new(),
            false => format!(" GROUP BY {}", keys.join(", ")),
        };
        Some(Merge::Aggregate {
            sql: format!("SELECT {} FROM shards{group}", items.join(", ")),
            columns: names.iter().map(|column| column.name.clone()).collect(),
        })
    }

    /// Says who puts the parts of groups together, and why that is right.
    pub(super) fn say_merge(&self, in_arrow: InArrow, is_merged: bool, premises: &Premises) {
        if !self.sets.is_empty() {
            premises.hold(
                "each grouping set has the distinct values of one aggregate; all others are computed in \
                 the set of the keys alone",
            );
        }
        if !is_merged {
            premises.hold(match self.keys.is_empty() {
                true => "PostgreSQL puts the parts of the one group together",
                false => "PostgreSQL groups the parts again, by its own equality of the keys",
            });
            return;
        }
        if !self.keys.is_empty() {
            premises.hold(
                "values of its keys are equal where their bytes are: DataFusion groups as PostgreSQL \
                 does",
            );
        }
        if in_arrow == InArrow::Finite {
            premises
                .hold("no value that is merged is infinite or NaN, or the query is planned again");
        }
    }

    /// Whether a partial is a decimal: it may be NaN, which Arrow cannot hold but PostgreSQL sums.
    fn has_decimals(&self) -> bool {
        let mut partials = self.partials.iter();
        partials.any(|partial| matches!(partial.expr, Expr::Cast { .. }))
    }

    pub(super) fn premerge(&self, names: &[StepColumn]) -> Merge {
        let keys: Vec<_> = names
            .iter()
            .take(self.keys.len())
            .map(|c| quoted(&c.name))
            .collect();
        let mut items: Vec<_> = keys.clone();
        for (partial, column) in self.partials.iter().zip(names.iter().skip(self.keys.len())) {
            if let Some(merge) = partial.merge {
                let name = quoted(&column.name);
                items.push(format!("{} AS {name}", reaggregate(merge, &name)));
            }
        }
        let group = match keys.is_empty() {
            true => String::new(),
            false => format!(" GROUP BY {}", keys.join(", ")),
        };
        Merge::Aggregate {
            sql: format!("SELECT {} FROM shards{group}", items.join(", ")),
            columns: names.iter().map(|column| column.name.clone()).collect(),
        }
    }
}

fn reaggregate(merge: Reaggregate, column: &str) -> String {
    format!("{}({column})", merge.name())
}

fn is_zero_over_nothing(expr: &Expr) -> bool {
    let known = match expr {
        Expr::Function(function) => aggregates::named(&functions::name(function)),
        _ => None,
    };
    known.is_some_and(|known| known.nothing == Nothing::Zero)
}

fn quoted(name: &str) -> String {
    crate::quote::identifier(name)
}
