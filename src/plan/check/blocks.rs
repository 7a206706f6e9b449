//! What the text of one SELECT says: of its groups, its limit, and the parts that it makes.

use std::collections::HashMap;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Distinct, Expr, Fetch, GroupByExpr, LimitClause, Query, Select, SelectItem,
    SetExpr, TableFactor, TableWithJoins, Value, WindowType,
};

use crate::catalog::{Catalog, Relation};
use crate::config::TableKind;
use crate::plan::facts::aggregates::{self, Part, Reaggregate};
use crate::plan::locality::{factor_alias, is_limited, resolve_key};
use crate::plan::naming::{as_column, folded, parts};
use crate::plan::rewrite::{self, bare};
use crate::plan::{Question, functions};

/// What a column of a part of a group is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// A value that the rows of the part have in common.
    Key,
    /// What one aggregate puts together: a count, a sum, a minimum.
    Merged(Reaggregate),
    /// Of use only beside the counts and means of all parts, which are looked at one by one.
    Moment,
    /// Anything else.
    Other,
}

impl Role {
    /// What an aggregate that a shard has computed is to the whole.
    pub(super) fn of(aggregate: &str) -> Self {
        match aggregates::named(aggregate).map(|known| known.part) {
            Some(Part::Merged(by)) => Self::Merged(by),
            Some(Part::Moment) => Self::Moment,
            Some(Part::None) | None => Self::Other,
        }
    }

    /// Whether an aggregate puts such parts together.
    pub(super) fn is_merged_by(self, aggregate: &str) -> bool {
        match self {
            Self::Key | Self::Other => true,
            Self::Moment => aggregate == "array_agg",
            // The parts one by one, from which moments are computed.
            Self::Merged(_) if aggregate == "array_agg" => true,
            Self::Merged(by) => {
                aggregate == by.name() || by == Reaggregate::BoolAnd && aggregate == "every"
            }
        }
    }
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
        // A name of the output counts, or a column of that name.
        Some(keys) => sets.extend(keys.into_iter().map(|set| {
            let resolved = set.iter().map(|key| resolve_key(key, &select.projection));
            resolved.collect()
        })),
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
        Some(Distinct::On(keys)) => {
            let resolved = keys.iter().map(|key| resolve_key(key, &select.projection));
            sets.push(resolved.collect());
        }
        Some(Distinct::All) | None => {}
    }
    if windows {
        let mut partition = |expr: &Expr| {
            if let Expr::Function(function) = expr
                && let Some(WindowType::WindowSpec(window)) = &function.over
                && window.window_name.is_none()
            {
                sets.push(window.partition_by.clone());
            }
        };
        rewrite::own_expressions(&select.projection, &mut partition);
        rewrite::own_expressions(&select.distinct, &mut partition);
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
        !has_wildcard && !set.iter().any(can_be_key)
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
    rewrite::own_expressions(&select.distinct, &mut look);
    rewrite::own_expressions(&select.having, &mut look);
    rewrite::own_expressions(&select.named_window, &mut look);
    found
}

/// The plain keys of GROUP BY.
pub(super) fn group_keys(select: &Select) -> Option<Vec<Expr>> {
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
    declared(found, question)
}

/// What the topology says of a relation, or of the table whose partition it is.
pub(super) fn declared<'a>(found: &Relation, question: &'a Question<'_>) -> Option<&'a TableKind> {
    let mut found = found;
    loop {
        if let Some(kind) = declared_itself(found, question) {
            return Some(kind);
        }
        let (schema, name) = found.parent.as_ref()?;
        found = question.catalog.relation(Some(schema), name)?;
    }
}

/// What the topology says of a relation; a name without a schema is the one that a bare name finds.
fn declared_itself<'a>(found: &Relation, question: &'a Question<'_>) -> Option<&'a TableKind> {
    let is_bare = || {
        let bare = question.catalog.relation(None, &found.name);
        bare.is_some_and(|bare| bare.schema == found.schema)
    };
    let mut tables = question.topology.tables().iter();
    let table = tables.find(|table| {
        table.name() == found.name
            && match table.schema() {
                Some(schema) => schema == found.schema,
                None => is_bare(),
            }
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

pub(super) fn reads_sharded_anywhere(query: &Query, question: &Question<'_>) -> bool {
    rewrite::any_factor(query, |factor| {
        matches!(
            table_kind(factor, question),
            Some(TableKind::Sharded { .. })
        )
    })
}

pub(super) fn reads_sharded_in_from(query: &Query, question: &Question<'_>) -> bool {
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
            let is_equality = matches!(
                expr,
                Expr::BinaryOp {
                    op: BinaryOperator::Eq,
                    ..
                } | Expr::IsNotDistinctFrom(..)
                    | Expr::InList { .. }
                    | Expr::AnyOp { .. }
            );
            if is_equality {
                // Rows may be compared too: every column in it counts.
                rewrite::own_expressions(expr, |side| equal.extend(as_column(side)));
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
    pub(super) offset: Option<u64>,
    pub(super) with_ties: bool,
}

impl Limit {
    pub(super) fn of(query: &Query) -> Option<Self> {
        if !is_limited(query) {
            return None;
        }
        let is_null = |expr: &Expr| matches!(unguarded(expr), Expr::Value(value) if value.value == Value::Null);
        let is_all =
            |expr: &Expr| matches!(bare(expr), Expr::Identifier(name) if folded(name) == "all");
        // A parameter has become a literal with its type.
        let number = |expr: &Expr| match unguarded(expr) {
            Expr::Value(value) => match &value.value {
                Value::Number(number, _) => number.parse().ok(),
                value => rewrite::string(value).and_then(|number| number.trim().parse().ok()),
            },
            _ => None,
        };
        let is_zero = |expr: &Expr| number(expr) == Some(0);
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
            let rows = rows.as_ref().filter(|rows| !is_null(rows) && !is_all(rows));
            let offset = offset.as_ref().map(|offset| &offset.value);
            let offset = offset.filter(|offset| !is_null(offset));
            if rows.is_none() && offset.is_none_or(is_zero) && query.fetch.is_none() {
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

pub(super) fn is_grouping(condition: &Expr) -> bool {
    rewrite::any(
        condition,
        |expr| matches!(expr, Expr::Function(function) if functions::name(function) == "grouping"),
    )
}

/// An expression without casts, parentheses, and the CASE that says for which grouping set it is.
pub(super) fn unguarded(expr: &Expr) -> &Expr {
    match expr {
        Expr::Nested(inner) | Expr::Cast { expr: inner, .. } => unguarded(inner),
        Expr::Case {
            operand: None,
            conditions,
            else_result: None,
            ..
        } => match &conditions[..] {
            [only] if is_grouping(&only.condition) => unguarded(&only.result),
            _ => expr,
        },
        other => other,
    }
}
