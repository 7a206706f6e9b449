//! What the shards can answer alone: Union, and Ordered where a merge keeps the order.
//!
//! *Exact because* the rows of all shards together are the rows of one PostgreSQL ([`locality`] says
//! why: groups, windows, DISTINCT, joins and subqueries find all that they look at on the shard of a
//! row; traps 13 to 16). LIMIT without ORDER BY may take any rows; with it, the first rows of all are
//! among the first of each shard (trap 12). Rows that come sorted stay so where the merge compares the
//! values of the sort keys as PostgreSQL does (traps 9 to 11).
//!
//! *Does not hold when* no shard can compute its part; when the limit is no number that is known here,
//! or counts ties, of which a shard does not know all (`order_limit.sql`); or when the order is one that
//! only PostgreSQL knows: of text under any collation but "C", of types that are not sorted here (trap
//! 10).

use datafusion::sql::sqlparser::ast::{Expr, OrderByExpr, Query, Select, SelectItem, SetExpr};

use super::collation::Told;
use super::limit::{limited, take_limit};
use super::obstacle::Judged;
use super::{Planner, Result};
use crate::plan::argument::Premises;
use crate::plan::facts::types::{self, Order};
use crate::plan::locality::{self, Distribution};
use crate::plan::naming::{self, folded, ident};
use crate::plan::rewrite::item_expr;
use crate::plan::same::normal;
use crate::plan::{Arm, Merge, Place, SortKey, Sql, StepColumn};
use crate::types::Column;

/// A query that gives its sort keys too.
struct Sorted {
    query: Query,
    /// Where the keys are among its columns.
    keys: Vec<SortKey>,
    /// How many columns are its own.
    visible: usize,
    /// Whether there are others behind.
    hidden: bool,
    /// Whether a key is merged as a decimal.
    decimals: bool,
}

/// A query that the shards answer alone, with all that building needs.
pub(super) struct Local {
    sql: Sql,
    uses: Vec<usize>,
    shards: Vec<usize>,
    merge: Merge,
    arm: Arm,
    /// Whether the merge holds numbers as decimals.
    decimals: bool,
    premises: Premises,
}

impl Planner<'_> {
    /// Whether the shards can answer alone, and a merge keeps the order.
    pub(super) fn judge_local(&self, query: &Query, text: Option<&str>) -> Judged<Local> {
        let mut unlimited = query.clone();
        let limit = take_limit(&mut unlimited);
        let premises = Premises::default();
        if let Distribution::Global(reason) = self.unlimited_distribution(&unlimited, &premises) {
            return Err(reason.into());
        }
        let Some(limit) = limit else {
            return Err("the limit is not a plain number".into());
        };
        let local = |sql, merge, arm, premises| -> Judged<Local> {
            Ok(Local {
                sql,
                uses: self.uses(query),
                shards: self.shards_for(query, &premises)?,
                merge,
                arm,
                decimals: false,
                premises,
            })
        };
        let keys = locality::order_keys(query);
        if keys.is_empty() {
            let sql = match limit.is_none() {
                true => text.map_or_else(|| Sql::of(&unlimited), Sql::verbatim),
                false => Sql::of(&limited(unlimited, &limit)),
            };
            let merge = Merge::Concatenate {
                skip: limit.skip,
                fetch: limit.fetch,
            };
            if !limit.is_none() {
                premises.hold("LIMIT without ORDER BY may take any rows");
            }
            return local(sql, merge, Arm::Union, premises);
        }
        if limit.with_ties {
            return Err("WITH TIES: the shards' candidates are ranked again in PostgreSQL".into());
        }
        let Some(sorted) = self.sort_columns(&unlimited, keys, limit.fetch.is_some())? else {
            return Err("the order is one that only PostgreSQL knows".into());
        };
        for (column, key) in sorted.keys.iter().zip(keys) {
            premises.hold(format!(
                "the merge compares column {} ({}) as PostgreSQL does",
                column.column + 1,
                key.expr
            ));
        }
        if !limit.is_none() {
            premises.hold("the first rows of all are among the first rows of each shard");
        }
        let verbatim = !sorted.hidden && limit.skip == 0;
        let sql = match text.filter(|_| verbatim) {
            Some(text) => Sql::verbatim(text),
            None => Sql::of(&limited(sorted.query, &limit)),
        };
        let merge = Merge::Ordered {
            keys: sorted.keys,
            skip: limit.skip,
            fetch: limit.fetch,
            visible: sorted.visible,
        };
        Ok(Local {
            decimals: sorted.decimals,
            ..local(sql, merge, Arm::Ordered, premises)?
        })
    }

    /// Makes the one step.
    pub(super) fn build_local(&mut self, found: Local, columns: Vec<StepColumn>) -> usize {
        self.at_least(found.arm);
        self.decimals |= found.decimals;
        let place = Place::Shards(found.shards);
        let index = self.push(found.sql, found.uses, place, found.merge, columns);
        self.rests_on(index, found.premises.into_sentences());
        index
    }

    /// The distribution of a query without its limit, and what it rests on.
    pub(super) fn unlimited_distribution(
        &self,
        query: &Query,
        premises: &Premises,
    ) -> Distribution {
        match self.locality().saying(premises).of(query) {
            Distribution::Replicated | Distribution::Anchored => {
                Distribution::Global("the query reads no sharded table".to_owned())
            }
            other => other,
        }
    }

    /// The query with its sort keys among its columns, and where they are; `None` if a key's order
    /// is one that only PostgreSQL knows.
    fn sort_columns(
        &self,
        query: &Query,
        keys: &[OrderByExpr],
        is_limited: bool,
    ) -> Result<Option<Sorted>> {
        let mut query = query.clone();
        let order_by = query.order_by.clone();
        let width = match &*query.body {
            SetExpr::Select(select) => select.projection.len(),
            _ => {
                let mut body = &*query.body;
                while let SetExpr::SetOperation { left, .. } = body {
                    body = left;
                }
                match body {
                    SetExpr::Select(select) => select.projection.len(),
                    _ => return Ok(None),
                }
            }
        };
        let names: Vec<Option<String>> = match first_select(&query.body) {
            Some(select) => select.projection.iter().map(naming::item_name).collect(),
            None => return Ok(None),
        };
        // Where `*` could not be spelled out, an item's place is not that of its column.
        if names.iter().any(Option::is_none) {
            return Ok(None);
        }
        let mut sorts = Vec::new();
        let mut added: Vec<Expr> = Vec::new();
        for key in keys {
            let Some(index) = output_index(&key.expr, &names, &query.body) else {
                // An expression over FROM.
                let distinct = first_select(&query.body).is_some_and(|s| s.distinct.is_some());
                if !matches!(&*query.body, SetExpr::Select(_)) || distinct {
                    return Ok(None);
                }
                sorts.push((width + added.len(), key));
                added.push(key.expr.clone());
                continue;
            };
            sorts.push((index, key));
        }
        // Its own order is of no account for that.
        query.order_by = None;
        if let SetExpr::Select(select) = &mut *query.body {
            for (index, expr) in added.iter().enumerate() {
                select.projection.push(SelectItem::ExprWithAlias {
                    expr: expr.clone(),
                    alias: ident(&format!("{}s{}", self.prefix, index + 1)),
                });
            }
        }
        let columns = self.describe(&query)?;
        let collations = self.collations(&query, &columns)?;
        let mut sort_keys = Vec::new();
        let mut decimals = false;
        for (index, key) in sorts {
            match (columns.get(index), collations.get(index)) {
                (Some(column), Some(told)) if self.is_orderable(column, told, is_limited) => {
                    decimals |= is_numeric(column);
                }
                _ => return Ok(None),
            }
            let descending = key.options.asc == Some(false);
            sort_keys.push(SortKey {
                column: index,
                descending,
                nulls_first: key.options.nulls_first.unwrap_or(descending),
            });
        }
        query.order_by = order_by;
        let hidden = !added.is_empty();
        Ok(Some(Sorted {
            query,
            keys: sort_keys,
            visible: width,
            hidden,
            decimals,
        }))
    }

    /// Whether the merge of sorted rows compares the values of a sort key as PostgreSQL does.
    fn is_orderable(&self, column: &Column, told: &Told, limited: bool) -> bool {
        let bytewise = || {
            let default = self.question.catalog.default_collation();
            told.as_ref().is_ok_and(|collation| {
                let collation = collation.as_ref().unwrap_or(default);
                collation.bytewise && collation.difference.is_none()
            })
        };
        let name = column.pg_type.name();
        match types::of(name).order {
            Order::Always => true,
            Order::Bytewise => bytewise(),
            // Not every value fits a decimal of Arrow; a few rows are better sorted by PostgreSQL.
            Order::Decimal => !is_numeric(column) || !limited && self.question.decimals,
            Order::No => column.pg_type.is_enum(),
        }
    }
}

/// Whether values are numbers of which not all fit a decimal of Arrow.
fn is_numeric(column: &Column) -> bool {
    column.pg_type.name() == "numeric"
}

/// The column of the output that ORDER BY names: by number, by name, or by the same expression.
pub(super) fn output_index(expr: &Expr, names: &[Option<String>], body: &SetExpr) -> Option<usize> {
    match expr {
        Expr::Value(value) => {
            let number: usize = value.value.to_string().parse().ok()?;
            number.checked_sub(1).filter(|index| *index < names.len())
        }
        Expr::Identifier(name) => {
            let name = folded(name);
            names.iter().position(|known| known.as_ref() == Some(&name))
        }
        other => {
            let SetExpr::Select(select) = body else {
                return None;
            };
            let wanted = normal(other);
            let is_wanted = |item| item_expr(item).is_some_and(|expr| normal(&expr) == wanted);
            select.projection.iter().position(is_wanted)
        }
    }
}

pub(super) fn first_select(body: &SetExpr) -> Option<&Select> {
    match body {
        SetExpr::Select(select) => Some(select),
        SetExpr::Query(query) => first_select(&query.body),
        SetExpr::SetOperation { left, .. } => first_select(left),
        _ => None,
    }
}
