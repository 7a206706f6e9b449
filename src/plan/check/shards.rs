//! A step that several shards run: each gives rows of its own, and the merge makes of them what one
//! server would have given.

use std::collections::HashMap;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Distinct, Expr, Fetch, FunctionArg, FunctionArgExpr, GroupByExpr, LimitClause,
    OrderByExpr, Query, Select, SelectItem, SetExpr, TableFactor, TableWithJoins, Value,
    WindowType,
};

use super::Checked;
use super::parts::{Role, unguarded};
use super::reads::Facts;
use crate::catalog::Catalog;
use crate::config::TableKind;
use crate::error::Result;
use crate::plan::locality::{factor_alias, is_limited, order_keys, resolve_key};
use crate::plan::naming::{as_column, folded, item_name, parts};
use crate::plan::rewrite::{self, bare};
use crate::plan::same::normal;
use crate::plan::{Merge, Question, SortKey, functions, sql};

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
                        && Role::of(&functions::name(function)) != Role::Other
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
fn is_mergeable(function: &datafusion::sql::sqlparser::ast::Function) -> bool {
    use datafusion::sql::sqlparser::ast::{DuplicateTreatment, FunctionArguments};
    let is_distinct = matches!(&function.args, FunctionArguments::List(list)
        if list.duplicate_treatment == Some(DuplicateTreatment::Distinct));
    let is_idempotent = !matches!(
        Role::of(&functions::name(function)),
        Role::Sum | Role::BitXor
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
        SetExpr::Select(select)
            if query.with.is_none() && !is_limited_or_ordered(&query.order_by) =>
        {
            Ok(*select)
        }
        _ => Err("its merge is no plain SELECT".to_owned()),
    }
}

fn is_limited_or_ordered<T>(order_by: &Option<T>) -> bool {
    order_by.is_some()
}

/// How many columns a merge's SQL gives.
pub(super) fn merge_width(text: &str) -> std::result::Result<usize, String> {
    merge_select(text).map(|select| select.projection.len())
}

/// Whether the groups of a SELECT are whole on each shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finality {
    /// They cannot be: no key that they are told apart by can be a shard key.
    Never,
    /// It has no groups, or they may be.
    Perhaps,
}

/// Whether a SELECT over rows of shards can give groups that are whole. With `windows`, window
/// functions are looked at too.
pub(super) fn finality(select: &Select, question: &Question<'_>, windows: bool) -> Finality {
    if !select.from.iter().any(|tree| reads_sharded(tree, question)) {
        return Finality::Perhaps;
    }
    let aliases = Aliases::of(select, question);
    let can_be_key = |expr: &Expr| {
        let mut found = false;
        rewrite::own_expressions(expr, |expr| found |= aliases.can_be_key(expr));
        found
    };
    let mut sets: Vec<Vec<Expr>> = Vec::new();
    match group_sets(select) {
        Some(keys) => sets.extend(keys),
        None => return Finality::Perhaps,
    }
    match &select.distinct {
        Some(Distinct::Distinct) => sets.push(
            select
                .projection
                .iter()
                .filter_map(rewrite::item_expr)
                .collect(),
        ),
        Some(Distinct::On(keys)) => sets.push(keys.clone()),
        Some(Distinct::All) | None => {}
    }
    if windows {
        rewrite::own_expressions(&select.projection, |expr| {
            if let Expr::Function(function) = expr
                && let Some(WindowType::WindowSpec(window)) = &function.over
                && window.window_name.is_none()
            {
                sets.push(window.partition_by.clone());
            }
        });
    }
    if sets.is_empty() && has_aggregate(select, question.catalog) {
        return Finality::Never;
    }
    let is_never = |set: &Vec<Expr>| {
        let has_wildcard = select.projection.iter().any(|item| {
            !matches!(
                item,
                SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. }
            )
        });
        !has_wildcard
            && !set
                .iter()
                .any(|key| can_be_key(&resolve_key(key, &select.projection)))
    };
    match sets.iter().any(is_never) {
        true => Finality::Never,
        false => Finality::Perhaps,
    }
}

/// Whether an aggregate makes one group of all rows.
pub(super) fn has_aggregate(select: &Select, catalog: &Catalog) -> bool {
    let mut found = false;
    let mut look = |expr: &Expr| {
        found |= matches!(expr, Expr::Function(function)
            if functions::is_aggregate(function, catalog));
    };
    rewrite::own_expressions(&select.projection, &mut look);
    rewrite::own_expressions(&select.having, &mut look);
    found
}

/// The plain keys of GROUP BY.
fn group_keys(select: &Select) -> Option<Vec<Expr>> {
    match &select.group_by {
        GroupByExpr::Expressions(keys, _) => Some(keys.clone()),
        GroupByExpr::All(_) => None,
    }
}

/// The sets of keys by which rows are grouped; none without GROUP BY, `None` where that is not known.
fn group_sets(select: &Select) -> Option<Vec<Vec<Expr>>> {
    let keys = group_keys(select)?;
    if keys.is_empty() {
        return Some(Vec::new());
    }
    let mut plain = Vec::new();
    let mut sets: Vec<Vec<Expr>> = vec![Vec::new()];
    for key in keys {
        match key {
            // All of them together are one more key of every set.
            Expr::GroupingSets(own) if sets == [Vec::new()] => sets = own,
            // The smallest of their sets has none of the keys.
            Expr::Rollup(_) | Expr::Cube(_) => {}
            Expr::GroupingSets(_) => return None,
            other => plain.push(other),
        }
    }
    for set in &mut sets {
        set.extend(plain.iter().cloned());
    }
    Some(sets)
}

pub(super) fn has_grouping_sets(select: &Select) -> bool {
    group_keys(select)
        .unwrap_or_default()
        .iter()
        .any(|key| matches!(key, Expr::GroupingSets(_) | Expr::Rollup(_) | Expr::Cube(_)))
}

pub(super) fn factors(tree: &TableWithJoins) -> Vec<&TableFactor> {
    let mut found = Vec::new();
    let all = std::iter::once(&tree.relation).chain(tree.joins.iter().map(|join| &join.relation));
    for factor in all {
        match factor {
            TableFactor::NestedJoin {
                table_with_joins, ..
            } => found.extend(factors(table_with_joins)),
            other => found.push(other),
        }
    }
    found
}

/// The table of the topology that a name means, if it means one.
fn table_kind<'a>(factor: &TableFactor, question: &'a Question<'_>) -> Option<&'a TableKind> {
    let TableFactor::Table {
        name, args: None, ..
    } = factor
    else {
        return None;
    };
    let (schema, name) = match &parts(name)[..] {
        [name] => (None, name.clone()),
        [schema, name] => (Some(schema.clone()), name.clone()),
        _ => return None,
    };
    let found = question.catalog.relation(schema.as_deref(), &name)?;
    let mut tables = question.topology.tables().iter();
    let table = tables.find(|table| {
        table.name() == found.name
            && table
                .schema()
                .is_none_or(|declared| declared == found.schema)
    })?;
    Some(table.kind())
}

/// Whether a sharded table stands there as itself. A common table expression of its name does not.
fn reads_sharded(tree: &TableWithJoins, question: &Question<'_>) -> bool {
    factors(tree).iter().any(|factor| {
        matches!(
            table_kind(factor, question),
            Some(TableKind::Sharded { .. })
        )
    })
}

fn reads_sharded_in_from(query: &Query, question: &Question<'_>) -> bool {
    match &*query.body {
        SetExpr::Select(select) => select.from.iter().any(|tree| reads_sharded(tree, question)),
        _ => false,
    }
}

/// What the aliases of one FROM may have as a shard key.
struct Aliases {
    /// By alias: the shard key; `None` where any column may be equal to one.
    known: HashMap<String, Option<String>>,
    /// Columns that a condition makes equal to another.
    equal: Vec<(String, String)>,
}

impl Aliases {
    fn of(select: &Select, question: &Question<'_>) -> Self {
        let mut known = HashMap::new();
        for tree in &select.from {
            for factor in factors(tree) {
                let Some(alias) = factor_alias(factor) else {
                    continue;
                };
                let is_renamed = matches!(factor, TableFactor::Table { alias: Some(alias), .. }
                    if !alias.columns.is_empty());
                let key = match table_kind(factor, question) {
                    Some(TableKind::Sharded { key, .. }) if !is_renamed => Some(key.clone()),
                    Some(TableKind::Replicated) if !is_renamed => Some(String::new()),
                    _ => None,
                };
                known.insert(alias, key);
            }
        }
        let mut equal = Vec::new();
        rewrite::own_expressions(select, |expr| {
            if let Expr::BinaryOp {
                left,
                op: BinaryOperator::Eq,
                right,
            } = expr
            {
                equal.extend([left, right].into_iter().filter_map(|side| as_column(side)));
            }
        });
        Self { known, equal }
    }

    /// Whether an expression may be a shard key, or equal to one. A name alone may be anything.
    fn can_be_key(&self, expr: &Expr) -> bool {
        match expr {
            Expr::Identifier(_) => true,
            Expr::CompoundIdentifier(_) => match as_column(expr) {
                Some((alias, column)) => match self.known.get(&alias) {
                    Some(Some(key)) => *key == column || self.equal.contains(&(alias, column)),
                    Some(None) | None => true,
                },
                None => true,
            },
            _ => false,
        }
    }
}

/// LIMIT, OFFSET and FETCH FIRST.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limit {
    /// `None` where the number is not written.
    pub(super) rows: Option<u64>,
    /// How many rows are left out first; `None` where the number is not written.
    offset: Option<u64>,
    pub(super) with_ties: bool,
}

impl Limit {
    pub(super) fn of(query: &Query) -> Option<Self> {
        if !is_limited(query) {
            return None;
        }
        let is_null = |expr: &Expr| matches!(unguarded(expr), Expr::Value(value) if value.value == Value::Null);
        let number = |expr: &Expr| match unguarded(expr) {
            Expr::Value(value) => match &value.value {
                Value::Number(number, _) => number.parse().ok(),
                _ => None,
            },
            _ => None,
        };
        let mut limit = Self {
            rows: None,
            offset: Some(0),
            with_ties: false,
        };
        if let Some(LimitClause::LimitOffset {
            limit: rows,
            offset,
            ..
        }) = &query.limit_clause
        {
            // NULL is no limit.
            let rows = rows.as_ref().filter(|rows| !is_null(rows));
            let offset = offset.as_ref().map(|offset| &offset.value);
            let offset = offset.filter(|offset| !is_null(offset));
            if rows.is_none() && offset.is_none() && query.fetch.is_none() {
                return None;
            }
            limit.rows = rows.and_then(number);
            limit.offset = offset.map_or(Some(0), number);
        }
        if let Some(Fetch {
            with_ties,
            percent: false,
            quantity,
        }) = &query.fetch
        {
            limit.rows = quantity.as_ref().map_or(Some(1), number);
            limit.with_ties = *with_ties;
        }
        Some(limit)
    }

    /// How many rows there have to be for it to take all that it wants.
    pub(super) fn wanted(self) -> Option<u64> {
        self.rows?.checked_add(self.offset?)
    }
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
