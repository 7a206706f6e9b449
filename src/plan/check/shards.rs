//! A step that several shards run: each gives rows of its own, and the merge makes of them what one
//! server would have given.

use std::collections::{HashMap, HashSet};
use std::ptr;

use datafusion::sql::sqlparser::ast::{
    DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments,
    OrderByExpr, Query, Select, SelectItem, SetExpr, TableFactor, Value,
};

use super::Checked;
use super::blocks::{
    Finality, Limit, Role, factors, finality, group_keys, has_grouping_sets,
    reads_sharded_anywhere, reads_sharded_in_from, unguarded,
};
use super::reads::Facts;
use crate::error::Result;
use crate::plan::facts::aggregates::Reaggregate;
use crate::plan::locality::{is_limited, order_keys, resolve_key};
use crate::plan::names::Names;
use crate::plan::naming::{folded, item_name, parts};
use crate::plan::rewrite::{self, bare};
use crate::plan::same::normal;
use crate::plan::{Merge, SortKey, functions, sql};

impl Checked<'_> {
    /// Holds a step on several shards against its merge.
    pub(super) fn several(&self, query: &Query, facts: &Facts) -> Result<()> {
        if !facts.of_shard {
            return Err(self.wrong(
                "it runs on several shards, and each would give rows that the others give too",
            ));
        }
        if let SetExpr::Select(select) = &*query.body {
            self.guarded(select)?;
            self.groups(select)?;
        }
        self.blocks(query, true)?;
        self.subqueries(query)?;
        self.limit(query)?;
        self.order(query)
    }

    /// The last step gives groups, not parts of them, unless the merge aggregates.
    fn groups(&self, select: &Select) -> Result<()> {
        match &self.step.merge {
            Merge::Aggregate { sql, columns } => self.merge(select, sql, columns),
            _ if self.is_last && finality(select, self.question, true) == Finality::Never => {
                Err(self.wrong("it gives parts of groups that other shards have parts of"))
            }
            _ => Ok(()),
        }
    }

    /// Queries in FROM are not put together: their groups and their rows are final on the shard.
    fn blocks(&self, query: &Query, is_top: bool) -> Result<()> {
        if !is_top {
            if let SetExpr::Select(select) = &*query.body
                && finality(select, self.question, false) == Finality::Never
            {
                return Err(self.wrong("a query inside groups rows that several shards have"));
            }
            if is_limited(query) && reads_sharded_in_from(query, self.question) {
                return Err(self.wrong("a query inside takes some rows of each shard"));
            }
        }
        for cte in query.with.iter().flat_map(|with| &with.cte_tables) {
            let name = folded(&cte.alias.name);
            let is_named = rewrite::any_factor(
                query,
                |factor| matches!(factor, TableFactor::Table { name: it, .. } if parts(it) == [name.as_str()]),
            );
            // One that nobody names does not run.
            if is_named {
                self.blocks(&cte.query, false)?;
            }
        }
        self.blocks_of(&query.body)
    }

    fn blocks_of(&self, body: &SetExpr) -> Result<()> {
        match body {
            SetExpr::Select(select) => select.from.iter().try_for_each(|tree| {
                factors(tree)
                    .into_iter()
                    .try_for_each(|factor| match factor {
                        TableFactor::Derived {
                            lateral: false,
                            subquery,
                            ..
                        } => self.blocks(subquery, false),
                        _ => Ok(()),
                    })
            }),
            SetExpr::Query(query) => self.blocks(query, false),
            SetExpr::SetOperation { left, right, .. } => {
                self.blocks_of(left)?;
                self.blocks_of(right)
            }
            _ => Ok(()),
        }
    }

    /// A subquery that names no row outside would see the rows of one shard alone. What is listed for a key
    /// may be what its shard has: IN and ANY are not looked at, nor is what nobody can tell the names of.
    fn subqueries(&self, query: &Query) -> Result<()> {
        let mut has_with = false;
        rewrite::queries(query, |inner| has_with |= inner.with.is_some());
        if has_with {
            return Ok(());
        }
        let mut found = None;
        let mut look = |holder: &Expr, inner: &Query| {
            let names = Names::of(inner);
            let stands_alone = matches!(holder, Expr::Subquery(_) | Expr::Exists { .. })
                && names.alone().is_empty()
                && names.of_columns().is_subset(names.inside());
            if stands_alone && reads_sharded_anywhere(inner, self.question) {
                found.get_or_insert_with(|| inner.to_string());
            }
        };
        rewrite::selects(query, |select| {
            let mut listed = HashSet::new();
            rewrite::own_expressions(select, |expr| {
                if let Expr::AnyOp { right, .. } | Expr::AllOp { right, .. } = expr {
                    listed.insert(ptr::from_ref(bare(right)));
                }
            });
            rewrite::own_queries(select, |holder, inner| {
                if !listed.contains(&ptr::from_ref(holder)) {
                    look(holder, inner);
                }
            });
        });
        rewrite::own_queries(&query.order_by, look);
        match found {
            Some(inner) => {
                Err(self.wrong(&format!("each shard would compute {inner} of its own rows")))
            }
            None => Ok(()),
        }
    }

    /// A shard leaves out no row that the merge would give.
    fn limit(&self, query: &Query) -> Result<()> {
        let Some(limit) = Limit::of(query) else {
            return Ok(());
        };
        if limit.offset != Some(0) {
            return Err(self.wrong("each shard leaves out its first rows"));
        }
        let (skip, fetch) = match &self.step.merge {
            Merge::Concatenate { skip, fetch } | Merge::Ordered { skip, fetch, .. } => {
                (*skip, *fetch)
            }
            Merge::Aggregate { .. } => {
                return Err(self.wrong("each shard limits what is aggregated"));
            }
        };
        match (limit.rows, fetch) {
            (Some(rows), Some(fetch)) if skip.saturating_add(fetch) <= rows && !limit.with_ties => {
                Ok(())
            }
            // Whoever reads the rows has to limit them again.
            (Some(_), None) if skip == 0 && !self.is_last => Ok(()),
            _ => Err(self.wrong("each shard limits its rows to fewer than the merge may give")),
        }
    }

    /// The merge keeps the order in which the shards send.
    fn order(&self, query: &Query) -> Result<()> {
        let keys = order_keys(query);
        let Merge::Ordered { keys: merged, .. } = &self.step.merge else {
            // The rows of a relation have no order, whatever a shard sorts for.
            return match keys.is_empty() || !self.is_last {
                true => Ok(()),
                false => {
                    Err(self.wrong("the shards sort, and the merge does not keep their order"))
                }
            };
        };
        if keys.len() != merged.len() {
            return Err(self.wrong("the merge has another number of sort keys than the shards"));
        }
        let select = match &*query.body {
            SetExpr::Select(select) => Some(&**select),
            _ => None,
        };
        for (key, merged) in keys.iter().zip(merged) {
            let (descending, nulls_first) = direction(key);
            let is_same = descending == merged.descending
                && nulls_first == merged.nulls_first
                && is_column(key, merged, select);
            if !is_same {
                return Err(self.wrong(&format!("the merge sorts otherwise than by {key}")));
            }
        }
        Ok(())
    }

    /// A merge of partial aggregates groups by their keys, and puts each part together as its
    /// aggregate asks.
    fn merge(&self, select: &Select, sql: &str, columns: &[String]) -> Result<()> {
        let merge = merge_select(sql).map_err(|what| self.wrong(&what))?;
        if select.distinct.is_some() || has_grouping_sets(select) {
            return Err(self.wrong("its merge does not know of DISTINCT, or of grouping sets"));
        }
        let shard: HashMap<&str, Expr> = columns
            .iter()
            .zip(&select.projection)
            .filter_map(|(name, item)| Some((name.as_str(), rewrite::item_expr(item)?)))
            .collect();
        let keys: Vec<String> = group_keys(&merge)
            .unwrap_or_default()
            .iter()
            .filter_map(name_of)
            .collect();
        let shard_keys = group_keys(select).unwrap_or_default();
        for key in &keys {
            let given = shard.get(key.as_str()).map(|expr| normal(bare(expr)));
            let is_key = shard_keys.iter().any(|it| {
                let resolved = resolve_key(it, &select.projection);
                Some(normal(bare(&resolved))) == given
            });
            if !is_key {
                return Err(
                    self.wrong(&format!("its merge groups by {key}, and the shards do not"))
                );
            }
        }
        if shard_keys.len() != keys.len() {
            return Err(self.wrong("its merge groups by other keys than the shards"));
        }
        for item in &merge.projection {
            let expr = rewrite::item_expr(item)
                .ok_or_else(|| self.wrong("its merge selects a wildcard"))?;
            if name_of(&expr).is_some_and(|name| keys.contains(&name)) {
                continue;
            }
            let merged = aggregated(&expr).is_some_and(|(aggregate, column)| {
                let part = shard.get(column.as_str()).map(unguarded);
                matches!(part, Some(Expr::Function(function))
                    if is_mergeable(function)
                        && matches!(Role::of(&functions::name(function)), Role::Merged(_))
                        && Role::of(&functions::name(function)).is_merged_by(&aggregate))
            });
            if !merged {
                return Err(self.wrong(&format!(
                    "its merge has {expr}, which puts no part together"
                )));
            }
        }
        Ok(())
    }
}

/// What each shard counts of its own, no other shard counts too.
fn is_mergeable(function: &Function) -> bool {
    let is_distinct = matches!(&function.args, FunctionArguments::List(list)
        if list.duplicate_treatment == Some(DuplicateTreatment::Distinct));
    let is_idempotent = !matches!(
        Role::of(&functions::name(function)),
        Role::Merged(Reaggregate::Sum | Reaggregate::BitXor)
    );
    function.over.is_none() && (!is_distinct || is_idempotent)
}

/// The aggregate of a merge and its column: `sum("a")`, `coalesce(sum("a"), 0)`.
fn aggregated(expr: &Expr) -> Option<(String, String)> {
    let Expr::Function(function) = bare(expr) else {
        return None;
    };
    let name = functions::name(function);
    let first = match functions::arguments(function).first()? {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(first)) => first,
        _ => return None,
    };
    match name.as_str() {
        "coalesce" => aggregated(first),
        _ => Some((name, name_of(first)?)),
    }
}

fn name_of(expr: &Expr) -> Option<String> {
    match bare(expr) {
        Expr::Identifier(name) => Some(folded(name)),
        _ => None,
    }
}

fn merge_select(text: &str) -> std::result::Result<Select, String> {
    let query =
        sql::parse(text).map_err(|error| format!("its merge's SQL cannot be read: {error}"))?;
    match *query.body {
        SetExpr::Select(select) if query.with.is_none() && query.order_by.is_none() => Ok(*select),
        _ => Err("its merge is no plain SELECT".to_owned()),
    }
}

/// How many columns a merge's SQL gives.
pub(super) fn merge_width(text: &str) -> std::result::Result<usize, String> {
    merge_select(text).map(|select| select.projection.len())
}

/// Whether a key is sorted downwards, and whether NULL comes first.
fn direction(key: &OrderByExpr) -> (bool, bool) {
    let descending = key.options.asc == Some(false);
    (descending, key.options.nulls_first.unwrap_or(descending))
}

/// Whether the merge compares the column that a shard sorts by.
fn is_column(key: &OrderByExpr, merged: &SortKey, select: Option<&Select>) -> bool {
    if let Expr::Value(value) = bare(&key.expr)
        && let Value::Number(number, _) = &value.value
    {
        return number.parse::<usize>().ok() == merged.column.checked_add(1);
    }
    // Of set operations only the server knows what the names are.
    let Some(select) = select else { return true };
    let has_wildcard = select.projection.iter().any(|item| {
        !matches!(
            item,
            SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. }
        )
    });
    let Some(item) = select.projection.get(merged.column) else {
        return has_wildcard;
    };
    let is_named = matches!(bare(&key.expr), Expr::Identifier(name)
        if item_name(item).as_ref() == Some(&folded(name)));
    let is_written =
        rewrite::item_expr(item).is_some_and(|expr| normal(bare(&expr)) == normal(bare(&key.expr)));
    has_wildcard || is_named || is_written
}
