//! Partial aggregates that DataFusion merges: where that is exact, and how.

use datafusion::sql::sqlparser::ast::{Expr, Query, Select};

use super::Planner;
use super::collation::Told;
use super::parts::Parts;
use crate::plan::aggregate::Reaggregate;
use crate::plan::rewrite::item_expr;
use crate::plan::{Merge, StepColumn, functions, locality};
use crate::types::{Column, Unrepresentable};

impl Planner<'_> {
    /// Whether values of a key are equal exactly when DataFusion finds them equal.
    pub(super) fn groups_as_bytes(&self, column: &Column, told: &Told) -> bool {
        match column.pg_type.name() {
            "date" | "timestamp" | "timestamptz" => match self.question.types.unrepresentable {
                Unrepresentable::Null => false,
                Unrepresentable::Text => true,
                _ => self.tries_arrow(),
            },
            name if name.starts_with("numeric(") => {
                self.is_identified(column, told) && self.tries_arrow()
            }
            "time" | "char" => false,
            _ => !column.pg_type.is_enum() && self.is_identified(column, told),
        }
    }

    /// Whether Arrow is tried for values of which it cannot hold all: infinity, or NaN. The query is
    /// planned without if there are any.
    fn tries_arrow(&self) -> bool {
        if self.question.decimals {
            self.decimals.set(true);
        }
        self.question.decimals
    }

    /// Whether DataFusion can merge the partials before they go on.
    pub(super) fn can_premerge(&self, parts: &Parts) -> bool {
        !parts.partials.is_empty()
            && parts.sets.is_empty()
            && parts.partials.iter().all(|partial| partial.merge.is_some())
            && (!parts.has_decimals() || self.tries_arrow())
    }

    /// The merge that gives the answer itself: every column is a key or a partial aggregate as it
    /// is, and nothing comes after.
    pub(super) fn direct(
        &self,
        query: &Query,
        replaced: &Select,
        parts: &Parts,
        names: &[StepColumn],
    ) -> Option<Merge> {
        if query.order_by.is_some()
            || locality::is_limited(query)
            || replaced.having.is_some()
            || replaced.distinct.is_some()
            || !parts.plain
            || parts.partials.iter().any(|partial| partial.merge.is_none())
        {
            return None;
        }
        if parts.has_decimals() && !self.tries_arrow() {
            return None;
        }
        let mut items = Vec::new();
        for item in &replaced.projection {
            let expr = item_expr(item)?;
            let printed = expr.to_string();
            if let Some(index) =
                (0..parts.keys.len()).find(|index| parts.key(*index).to_string() == printed)
            {
                items.push(quoted(&names.get(index)?.name));
                continue;
            }
            let index = *parts.direct.get(&printed)?;
            let partial = parts.partials.get(index)?;
            let name = quoted(&names.get(parts.keys.len() + index)?.name);
            let merged = reaggregate(partial.merge?, &name);
            items.push(match is_count(&partial.expr) {
                // Over no rows at all a sum is NULL, but a count is 0.
                true => format!("coalesce({merged}, 0)"),
                false => merged,
            });
        }
        let keys: Vec<_> = names
            .iter()
            .take(parts.keys.len())
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
}

impl Parts {
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
    let name = match merge {
        Reaggregate::Sum => "sum",
        Reaggregate::Min => "min",
        Reaggregate::Max => "max",
        Reaggregate::BoolAnd => "bool_and",
        Reaggregate::BoolOr => "bool_or",
        Reaggregate::BitAnd => "bit_and",
        Reaggregate::BitOr => "bit_or",
        Reaggregate::BitXor => "bit_xor",
    };
    format!("{name}({column})")
}

fn is_count(expr: &Expr) -> bool {
    matches!(expr, Expr::Function(function)
        if ["count", "regr_count"].contains(&&*functions::name(function)))
}

fn quoted(name: &str) -> String {
    crate::quote::identifier(name)
}
