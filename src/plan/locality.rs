//! What the shards can compute on their own: the distribution of every relation, bottom up.
//!
//! A relation is *replicated* (every shard has all of its rows), *sharded* (each row is on one
//! shard, which its key columns decide), or *global*: no shard can compute its part of it. The rows
//! of a query that is sharded are the rows of all shards together.
//!
//! The analysis reads a bound statement (see [`bind`]) and nothing else.

use std::collections::HashMap;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Distinct, Expr, Function, GroupByExpr, Ident, JoinConstraint, JoinOperator,
    LimitClause, OrderByKind, Query, Select, SelectItem, SetExpr, SetOperator, SetQuantifier,
    TableFactor, TableWithJoins, WindowType,
};

use super::bind::{self, Outer, Relation, Source, as_column, folded};
use super::functions;
use super::rewrite::{self, bare, conjuncts};
use crate::catalog::Catalog;

/// `alias.column`.
pub(super) type ColumnName = (String, String);

/// How the rows of a query are spread.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Distribution {
    /// Every shard gives the same rows, all of them.
    Replicated,
    /// Every shard gives the rows that belong to the row of an outer query that it has: all of
    /// them.
    Anchored,
    /// Each shard gives its part.
    Sharded {
        group: String,
        /// The columns of the output that hold the shard key.
        keys: Vec<OutputKey>,
    },
    /// No shard can compute its part; why.
    Global(String),
}

/// A column of a query's output that holds the shard key.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct OutputKey {
    pub(super) index: usize,
    pub(super) not_null: bool,
}

/// The rows of FROM, or of a part of it.
#[derive(Debug, Clone)]
pub(super) enum Side {
    Replicated,
    Sharded { group: String, keys: Vec<Key> },
    Global(String),
}

/// A column that holds the shard key, or NULL.
#[derive(Debug, Clone)]
pub(super) struct Key {
    pub(super) column: ColumnName,
    pub(super) not_null: bool,
}

/// The keys of the rows of outer queries, for whose sake a subquery runs.
#[derive(Debug, Clone, Default)]
pub(super) struct Anchors(Vec<(String, ColumnName)>);

impl Anchors {
    fn with(&self, side: &Side) -> Self {
        let mut anchors = self.clone();
        if let Side::Sharded { group, keys } = side {
            let own = keys.iter().map(|key| (group.clone(), key.column.clone()));
            anchors.0.extend(own);
        }
        anchors
    }
}

/// What is known of a SELECT.
pub(super) struct Block {
    /// The rows of FROM that WHERE lets pass; `Err`: why no shard can compute its part of them.
    pub(super) rows: Result<Side, String>,
    /// The whole of it, but for ORDER BY and LIMIT.
    pub(super) distribution: Distribution,
}

/// Looks at queries.
#[derive(Clone, Copy)]
pub(super) struct Locality<'a> {
    pub(super) relations: &'a HashMap<String, Relation>,
    pub(super) catalog: &'a Catalog,
}

impl Locality<'_> {
    /// The distribution of a query that stands on its own.
    pub(super) fn of(&self, query: &Query) -> Distribution {
        self.query(query, &Anchors::default())
    }

    /// Whether a table that is sharded is read anywhere inside.
    pub(super) fn reads_sharded(&self, query: &Query) -> bool {
        !self.sharded_tables(query).is_empty()
    }

    /// The aliases of the sharded tables inside.
    pub(super) fn sharded_tables(&self, query: &Query) -> Vec<String> {
        let mut found = Vec::new();
        each_factor(&mut query.clone(), |factor| {
            if matches!(factor, TableFactor::Table { args: None, .. })
                && let Some(alias) = factor_alias(factor)
                && let Some(Source::Table(base)) = self.relations.get(&alias).map(|r| &r.source)
                && base.sharding.is_some()
            {
                found.push(alias);
            }
        });
        found
    }

    /// Why the common table expressions of a query cannot be evaluated on every shard, if so.
    pub(super) fn global_with(&self, query: &Query) -> Option<String> {
        let ctes = query.with.iter().flat_map(|with| &with.cte_tables);
        ctes.into_iter().find_map(|cte| {
            let name = &cte.alias.name;
            if self.reads_sharded(&cte.query) {
                Some(format!(
                    "the common table expression {name} is recursive or volatile, and reads a sharded table"
                ))
            } else if functions::is_volatile(&*cte.query, self.catalog) {
                Some(format!("the common table expression {name} is volatile"))
            } else if depends_on_ties(&cte.query, self.catalog) {
                Some(format!(
                    "the common table expression {name} may give other rows on each shard"
                ))
            } else {
                None
            }
        })
    }

    fn query(&self, query: &Query, anchors: &Anchors) -> Distribution {
        let beside = self
            .global_with(query)
            .or_else(|| self.subqueries_of(&query.limit_clause, anchors))
            .or_else(|| self.subqueries_of(&query.fetch, anchors))
            .or_else(|| match &*query.body {
                // Its subqueries see the rows of FROM, and are looked at with them.
                SetExpr::Select(_) => None,
                _ => self.subqueries_of(&query.order_by, anchors),
            });
        if let Some(reason) = beside {
            return Distribution::Global(reason);
        }
        let body = match &*query.body {
            SetExpr::Select(select) => {
                self.select(&with_order(select, query), anchors)
                    .distribution
            }
            body => self.body(body, anchors),
        };
        if !is_limited(query) {
            return body;
        }
        match body {
            Distribution::Sharded { .. } => {
                Distribution::Global("LIMIT counts the rows of all shards".to_owned())
            }
            Distribution::Replicated if !self.is_correlated(query) => Distribution::Global(
                "LIMIT may choose other rows of a replicated table on each shard".to_owned(),
            ),
            other => other,
        }
    }

    fn exact(&self, equal: Equalities) -> Equalities {
        equal.exact(self.relations)
    }

    /// Whether a query names columns of an outer one.
    pub(super) fn is_correlated(&self, query: &Query) -> bool {
        let own = aliases(query);
        rewrite::any(query, |expr| match expr {
            Expr::CompoundIdentifier(parts) => parts.first().is_some_and(|alias| {
                let alias = folded(alias);
                self.relations.contains_key(&alias) && !own.contains(&alias)
            }),
            Expr::Identifier(name) => {
                let alias = folded(name);
                self.relations.contains_key(&alias) && !own.contains(&alias)
            }
            _ => false,
        })
    }

    fn body(&self, body: &SetExpr, anchors: &Anchors) -> Distribution {
        match body {
            SetExpr::Select(select) => self.select(select, anchors).distribution,
            SetExpr::Query(query) => self.query(query, anchors),
            SetExpr::Values(values) => {
                if functions::is_volatile(values, self.catalog) {
                    return Distribution::Global("VALUES with a volatile function".to_owned());
                }
                match self.subqueries_of(values, anchors) {
                    Some(reason) => Distribution::Global(reason),
                    None => Distribution::Replicated,
                }
            }
            SetExpr::SetOperation {
                op,
                set_quantifier,
                left,
                right,
            } => {
                let left = self.body(left, anchors);
                let right = self.body(right, anchors);
                set_operation(*op, *set_quantifier, left, right)
            }
            _ => Distribution::Global("a statement that changes data".to_owned()),
        }
    }

    /// What is known of a SELECT whose outer queries give these anchors.
    pub(super) fn select(&self, select: &Select, anchors: &Anchors) -> Block {
        let equal = self.exact(Equalities::of(select));
        let side = self.from(&select.from, &equal, anchors);
        let side = match side {
            Side::Global(reason) => {
                return Block {
                    rows: Err(reason.clone()),
                    distribution: Distribution::Global(reason),
                };
            }
            side => side.known_not_null(select, &equal),
        };
        let anchored = match &side {
            Side::Sharded { group, keys } => keys.iter().any(|key| {
                anchors
                    .0
                    .iter()
                    .any(|(of, anchor)| of == group && equal.same(&key.column, anchor))
            }),
            _ => false,
        };
        let inner = anchors.with(&side);
        let before = self.row_subqueries(select, &side, &equal, &inner);
        let rows = match before {
            None => Ok(side.clone()),
            Some(reason) => Err(reason),
        };
        let reason = rows.as_ref().err().cloned().or_else(|| {
            self.subqueries_of(&select.projection, &inner)
                .or_else(|| self.subqueries_of(&select.having, &inner))
                .or_else(|| self.subqueries_of(&select.group_by, &inner))
                .or_else(|| self.subqueries_of(&select.distinct, &inner))
                .or_else(|| self.subqueries_of(&select.named_window, &inner))
                .or_else(|| self.subqueries_of(&select.sort_by, &inner))
        });
        let distribution = match reason {
            Some(reason) => Distribution::Global(reason),
            None => self.result(select, &side, anchored, &equal),
        };
        Block { rows, distribution }
    }

    /// Why FROM and WHERE cannot be evaluated row by row on a shard, if so.
    fn row_subqueries(
        &self,
        select: &Select,
        side: &Side,
        equal: &Equalities,
        anchors: &Anchors,
    ) -> Option<String> {
        for conjunct in select.selection.iter().flat_map(conjuncts) {
            let reason = match bare(conjunct) {
                // Each query is looked at once: twice on every level would be 2^n.
                Expr::InSubquery {
                    expr,
                    subquery,
                    negated,
                } => match self.query(subquery, anchors) {
                    Distribution::Sharded { group, keys }
                        if is_key_in(expr, *negated, (&group, &keys), side, equal) =>
                    {
                        self.subqueries_of(&**expr, anchors)
                    }
                    listed => {
                        global_subquery(listed).or_else(|| self.subqueries_of(&**expr, anchors))
                    }
                },
                conjunct => self.subqueries_of(conjunct, anchors),
            };
            if reason.is_some() {
                return reason;
            }
            if functions::depends_on_server(conjunct, self.catalog) {
                return Some("a condition depends on the server that evaluates it".to_owned());
            }
            if matches!(side, Side::Replicated) && functions::is_volatile(conjunct, self.catalog) {
                return Some("a condition on replicated tables is volatile".to_owned());
            }
        }
        let mut reason = None;
        for item in &select.from {
            each_condition(item, &mut |condition| {
                if reason.is_none() {
                    reason = self.subqueries_of(condition, anchors);
                }
            });
        }
        reason
    }

    /// Why the subqueries of an expression over the rows of FROM cannot be evaluated on a shard, if so.
    pub(super) fn global_beside(&self, select: &Select, expr: &Expr) -> Option<String> {
        let equal = self.exact(Equalities::of(select));
        let anchors = Anchors::default();
        let side = self.from(&select.from, &equal, &anchors);
        self.subqueries_of(expr, &anchors.with(&side))
    }

    /// Why the subqueries inside cannot be evaluated on a shard, if so.
    fn subqueries_of<T>(&self, tree: &T, anchors: &Anchors) -> Option<String>
    where
        T: datafusion::sql::sqlparser::ast::VisitMut + Clone,
    {
        let mut reason = None;
        let mut tree = tree.clone();
        let _ = rewrite::top_down(&mut tree, |expr| {
            if let Expr::InSubquery { expr: left, .. } = expr {
                let left = left.clone();
                reason = reason.take().or_else(|| self.subqueries_of(&left, anchors));
            }
            if let Some(query) = rewrite::subquery(expr) {
                if reason.is_none() {
                    reason = global_subquery(self.query(query, anchors));
                }
                return Ok(rewrite::Walk::Done);
            }
            Ok(rewrite::Walk::Into)
        });
        reason
    }

    /// The distribution of what SELECT makes of its rows.
    fn result(
        &self,
        select: &Select,
        side: &Side,
        anchored: bool,
        equal: &Equalities,
    ) -> Distribution {
        if functions::depends_on_server(&select.projection, self.catalog) {
            return Distribution::Global(
                "an expression depends on the server that evaluates it".to_owned(),
            );
        }
        if anchored {
            return Distribution::Anchored;
        }
        let (group, keys) = match side {
            Side::Sharded { group, keys } => (group, keys),
            _ => {
                return if functions::is_volatile(&select.projection, self.catalog) {
                    Distribution::Global("a volatile function over replicated tables".to_owned())
                } else if functions::depends_on_row_order(&select.projection, self.catalog)
                    || matches!(select.distinct, Some(Distinct::On(_)))
                {
                    Distribution::Global(
                        "the order in which a replicated table is read may differ between shards"
                            .to_owned(),
                    )
                } else {
                    Distribution::Replicated
                };
            }
        };
        let is_key = |expr: &Expr| {
            as_column(expr).is_some_and(|column| {
                keys.iter()
                    .any(|key| key.not_null && equal.same(&key.column, &column))
            })
        };
        if self.aggregates(select) && !self.groups_by(select, &is_key) {
            return Distribution::Global("groups have rows on several shards".to_owned());
        }
        if let Some(window) = self
            .windows(select)
            .iter()
            .find(|partition| !partition.iter().any(is_key))
        {
            return Distribution::Global(match window.is_empty() {
                true => "a window function sees the rows of all shards".to_owned(),
                false => {
                    "the partitions of a window function have rows on several shards".to_owned()
                }
            });
        }
        let item = |item: &SelectItem| match item {
            SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
                Some(expr.clone())
            }
            _ => None,
        };
        match &select.distinct {
            Some(Distinct::Distinct)
                if !select
                    .projection
                    .iter()
                    .filter_map(item)
                    .any(|e| is_key(&e)) =>
            {
                return Distribution::Global("DISTINCT compares the rows of all shards".to_owned());
            }
            Some(Distinct::On(exprs))
                if !exprs
                    .iter()
                    .any(|expr| is_key(&resolve_key(expr, &select.projection))) =>
            {
                return Distribution::Global(
                    "DISTINCT ON compares the rows of all shards".to_owned(),
                );
            }
            _ => {}
        }
        let outputs = select
            .projection
            .iter()
            .enumerate()
            .filter_map(|(index, output)| {
                let column = as_column(&item(output)?)?;
                let key = keys.iter().find(|key| equal.same(&key.column, &column))?;
                Some(OutputKey {
                    index,
                    not_null: key.not_null,
                })
            });
        // Where `*` could not be spelled out, positions say nothing.
        let spelled = select.projection.iter().all(|i| item(i).is_some());
        Distribution::Sharded {
            group: group.clone(),
            keys: match spelled {
                true => outputs.collect(),
                false => Vec::new(),
            },
        }
    }

    /// Whether a SELECT makes groups.
    pub(super) fn aggregates(&self, select: &Select) -> bool {
        !matches!(&select.group_by, GroupByExpr::Expressions(keys, _) if keys.is_empty())
            || select.having.is_some()
            || self.calls_aggregate(&select.projection)
            || self.calls_aggregate(&select.sort_by)
    }

    /// Whether an aggregate is called outside of subqueries.
    pub(super) fn calls_aggregate<T>(&self, tree: &T) -> bool
    where
        T: datafusion::sql::sqlparser::ast::VisitMut + Clone,
    {
        let mut found = false;
        own_expressions(tree, |expr| {
            if let Expr::Function(function) = expr {
                found |= functions::is_aggregate(function, self.catalog);
            }
        });
        found
    }

    fn groups_by(&self, select: &Select, is_key: &dyn Fn(&Expr) -> bool) -> bool {
        let GroupByExpr::Expressions(keys, _) = &select.group_by else {
            return false;
        };
        keys.iter()
            .any(|key| is_key(&resolve_key(key, &select.projection)))
    }

    /// The PARTITION BY of every window.
    fn windows(&self, select: &Select) -> Vec<Vec<Expr>> {
        let mut calls: Vec<Function> = Vec::new();
        let mut collect = |expr: &Expr| {
            if let Expr::Function(function) = expr
                && function.over.is_some()
            {
                calls.push(function.clone());
            }
        };
        own_expressions(&select.projection, &mut collect);
        own_expressions(&select.sort_by, &mut collect);
        calls
            .into_iter()
            .filter_map(|call| call.over)
            .map(|window| partition(window, select))
            .collect()
    }

    fn from(&self, from: &[TableWithJoins], equal: &Equalities, anchors: &Anchors) -> Side {
        let mut whole: Option<Side> = None;
        for tree in from {
            let before = whole.clone().unwrap_or(Side::Replicated);
            let side = self.tree(tree, equal, &anchors.with(&before));
            whole = Some(match whole {
                None => side,
                Some(left) => inner(left, side, equal),
            });
        }
        whole.unwrap_or(Side::Replicated)
    }

    fn tree(&self, tree: &TableWithJoins, equal: &Equalities, anchors: &Anchors) -> Side {
        let mut left = self.factor(&tree.relation, equal, anchors);
        for join in &tree.joins {
            let Ok(kind) = bind::outer_kind(&join.join_operator) else {
                return Side::Global("this kind of join".to_owned());
            };
            // What WHERE and other joins say is not known of rows that this join completes with NULLs.
            let condition = self.exact(Equalities::of_condition(condition(&join.join_operator)));
            let right_equal = match kind {
                Outer::Left | Outer::Full => &condition,
                _ => equal,
            };
            let right = self.factor(&join.relation, right_equal, &anchors.with(&left));
            let inside = self.exact(Equalities::inside(&tree.relation, &tree.joins));
            let on = condition.and(&inside);
            left = match kind {
                Outer::None => inner(left, right, &equal.and(&on)),
                Outer::Left => left_join(left, right, &on),
                Outer::Right => left_join(right, left, &on),
                Outer::Full => full_join(left, right, &on),
            };
        }
        left
    }

    fn factor(&self, factor: &TableFactor, equal: &Equalities, anchors: &Anchors) -> Side {
        match factor {
            TableFactor::NestedJoin {
                table_with_joins, ..
            } => self.tree(table_with_joins, equal, anchors),
            TableFactor::Derived {
                subquery, lateral, ..
            } => {
                let alias = factor_alias(factor).unwrap_or_default();
                // Only LATERAL sees the rows beside it.
                let _ = lateral;
                match self.query(subquery, anchors) {
                    Distribution::Replicated | Distribution::Anchored => Side::Replicated,
                    Distribution::Global(reason) => Side::Global(reason),
                    Distribution::Sharded { group, keys } => {
                        let columns = self.relations.get(&alias).and_then(|r| r.columns.as_ref());
                        let keys = keys.iter().filter_map(|key| {
                            Some(Key {
                                column: (alias.clone(), columns?.get(key.index)?.name.clone()),
                                not_null: key.not_null,
                            })
                        });
                        Side::Sharded {
                            group,
                            keys: keys.collect(),
                        }
                    }
                }
            }
            TableFactor::Table { args: None, .. } => {
                let alias = factor_alias(factor).unwrap_or_default();
                match self.relations.get(&alias).map(|relation| &relation.source) {
                    Some(Source::Table(base)) => match &base.sharding {
                        None => Side::Replicated,
                        Some(sharding) => Side::Sharded {
                            group: sharding.group.clone(),
                            keys: vec![Key {
                                column: (alias, sharding.key.clone()),
                                not_null: sharding.key_not_null,
                            }],
                        },
                    },
                    Some(Source::Cte | Source::Step | Source::Function) => Side::Replicated,
                    _ => Side::Global(format!("{alias}: not a table")),
                }
            }
            other => {
                if functions::is_volatile(other, self.catalog) {
                    return Side::Global("a volatile function in FROM".to_owned());
                }
                match self.subqueries_of(other, anchors) {
                    Some(reason) => Side::Global(reason),
                    None => Side::Replicated,
                }
            }
        }
    }
}

/// Why a subquery cannot be evaluated on a shard, if so.
fn global_subquery(distribution: Distribution) -> Option<String> {
    match distribution {
        Distribution::Replicated | Distribution::Anchored => None,
        Distribution::Sharded { .. } => Some("a subquery reads rows of all shards".to_owned()),
        Distribution::Global(reason) => Some(reason),
    }
}

/// `key IN (SELECT key ...)`: what the whole list says of a key, the part of it on the key's shard
/// says too.
fn is_key_in(
    expr: &Expr,
    negated: bool,
    (listed, outputs): (&str, &[OutputKey]),
    side: &Side,
    equal: &Equalities,
) -> bool {
    let Side::Sharded { group, keys } = side else {
        return false;
    };
    let items: Vec<&Expr> = match bare(expr) {
        Expr::Tuple(items) => items.iter().collect(),
        one => vec![one],
    };
    group == listed
        && items.iter().enumerate().any(|(index, item)| {
            let Some(column) = as_column(item) else {
                return false;
            };
            let Some(key) = keys.iter().find(|key| equal.same(&key.column, &column)) else {
                return false;
            };
            let Some(output) = outputs.iter().find(|output| output.index == index) else {
                return false;
            };
            // A NULL in the list, on whichever shard, makes NOT IN unknown.
            !negated || items.len() == 1 && key.not_null && output.not_null
        })
}

impl Side {
    /// Keys that a condition lets no NULL of pass.
    fn known_not_null(self, select: &Select, equal: &Equalities) -> Self {
        let Self::Sharded { group, mut keys } = self else {
            return self;
        };
        for key in &mut keys {
            key.not_null |= equal.mentions(&key.column)
                || select.selection.iter().flat_map(conjuncts).any(|conjunct| {
                    matches!(bare(conjunct), Expr::IsNotNull(inner)
                        if as_column(inner).is_some_and(|column| column == key.column))
                });
        }
        Self::Sharded { group, keys }
    }

    fn nullable(self) -> Self {
        match self {
            Self::Sharded { group, keys } => Self::Sharded {
                group,
                keys: keys
                    .into_iter()
                    .map(|key| Key {
                        not_null: false,
                        ..key
                    })
                    .collect(),
            },
            other => other,
        }
    }
}

fn inner(left: Side, right: Side, equal: &Equalities) -> Side {
    match (left, right) {
        (Side::Global(reason), _) | (_, Side::Global(reason)) => Side::Global(reason),
        (Side::Replicated, other) | (other, Side::Replicated) => other,
        (left, right) => colocated(left, right, equal),
    }
}

fn left_join(kept: Side, other: Side, on: &Equalities) -> Side {
    match (kept, other) {
        (Side::Global(reason), _) | (_, Side::Global(reason)) => Side::Global(reason),
        (kept, Side::Replicated) => kept,
        (Side::Replicated, _) => Side::Global(
            "an outer join keeps all rows of a replicated table, whose matches are on several shards"
                .to_owned(),
        ),
        (kept, other) => colocated(kept, other.nullable(), on),
    }
}

fn full_join(left: Side, right: Side, on: &Equalities) -> Side {
    match (left, right) {
        (Side::Global(reason), _) | (_, Side::Global(reason)) => Side::Global(reason),
        (Side::Replicated, Side::Replicated) => Side::Replicated,
        (Side::Replicated, _) | (_, Side::Replicated) => Side::Global(
            "a full join keeps all rows of a replicated table, whose matches are on several shards"
                .to_owned(),
        ),
        (left, right) => colocated(left.nullable(), right.nullable(), on),
    }
}

/// Two sharded sides, whose matches are on one shard if their keys are equal.
fn colocated(left: Side, right: Side, equal: &Equalities) -> Side {
    let (
        Side::Sharded { group, mut keys },
        Side::Sharded {
            group: other,
            keys: more,
        },
    ) = (left, right)
    else {
        return Side::Global("not two sharded tables".to_owned());
    };
    let matched = group == other
        && keys.iter().any(|key| {
            more.iter()
                .any(|right| equal.same(&key.column, &right.column))
        });
    if !matched {
        return Side::Global(match group == other {
            true => {
                "two sharded tables are joined other than by the equality of their keys".to_owned()
            }
            false => "two sharded tables of different colocation groups are joined".to_owned(),
        });
    }
    keys.extend(more);
    Side::Sharded { group, keys }
}

fn set_operation(
    op: SetOperator,
    quantifier: SetQuantifier,
    left: Distribution,
    right: Distribution,
) -> Distribution {
    use Distribution::{Anchored, Global, Replicated, Sharded};
    match (left, right) {
        (Global(reason), _) | (_, Global(reason)) => Global(reason),
        (Replicated, Replicated) => Replicated,
        (Replicated | Anchored, Replicated | Anchored) => Anchored,
        (
            Sharded { group, keys },
            Sharded {
                group: other,
                keys: more,
            },
        ) => {
            let common: Vec<_> = keys
                .iter()
                .filter_map(|key| {
                    let same = more.iter().find(|other| other.index == key.index)?;
                    Some(OutputKey {
                        index: key.index,
                        not_null: key.not_null && same.not_null,
                    })
                })
                .filter(|_| group == other)
                .collect();
            let all = matches!((op, quantifier), (SetOperator::Union, SetQuantifier::All));
            if all || common.iter().any(|key| key.not_null) {
                return Sharded {
                    group,
                    keys: common,
                };
            }
            Global(format!("{op} compares the rows of all shards"))
        }
        _ => Global(format!("{op} of sharded and replicated rows")),
    }
}

/// A SELECT that also says by which expressions its query sorts: of those that are no columns of
/// the output, in a clause that PostgreSQL does not have.
fn with_order(select: &Select, query: &Query) -> Select {
    let mut whole = select.clone();
    let keys = order_keys(query).iter();
    whole.sort_by = keys
        .filter(|key| !is_output(&key.expr, select))
        .cloned()
        .collect();
    whole
}

/// Whether ORDER BY means a column of the output by this.
pub(super) fn is_output(expr: &Expr, select: &Select) -> bool {
    match bare(expr) {
        Expr::Identifier(name) => {
            let name = folded(name);
            select
                .projection
                .iter()
                .any(|item| bind::item_name(item).as_ref() == Some(&name))
        }
        Expr::Value(value) => {
            matches!(
                value.value,
                datafusion::sql::sqlparser::ast::Value::Number(..)
            )
        }
        _ => false,
    }
}

/// Which columns conditions say are equal.
#[derive(Debug, Clone, Default)]
pub(super) struct Equalities(Vec<(ColumnName, ColumnName)>);

impl Equalities {
    /// Those that hold for every row of a SELECT: of WHERE and of inner joins.
    pub(super) fn of(select: &Select) -> Self {
        let mut found = Self::default();
        for conjunct in select.selection.iter().flat_map(conjuncts) {
            found.add(conjunct);
        }
        for tree in &select.from {
            found.inner_joins(tree);
        }
        found
    }

    pub(super) fn one(left: ColumnName, right: ColumnName) -> Self {
        Self(vec![(left, right)])
    }

    fn of_condition(condition: Option<&Expr>) -> Self {
        let mut found = Self::default();
        for conjunct in condition.into_iter().flat_map(conjuncts) {
            found.add(conjunct);
        }
        found
    }

    /// Those of the inner joins on the left of a join.
    fn inside(first: &TableFactor, joins: &[datafusion::sql::sqlparser::ast::Join]) -> Self {
        let mut found = Self::default();
        found.inner_joins(&TableWithJoins {
            relation: first.clone(),
            joins: joins.to_vec(),
        });
        found
    }

    /// Adds what the joins of a tree say of all of its rows.
    fn inner_joins(&mut self, tree: &TableWithJoins) {
        // A later RIGHT or FULL join adds rows of which the earlier conditions say nothing.
        let from = tree
            .joins
            .iter()
            .rposition(|join| {
                matches!(
                    bind::outer_kind(&join.join_operator),
                    Ok(Outer::Right | Outer::Full) | Err(_)
                )
            })
            .map_or(0, |last| last + 1);
        if from == 0
            && let TableFactor::NestedJoin {
                table_with_joins, ..
            } = &tree.relation
        {
            self.inner_joins(table_with_joins);
        }
        for join in &tree.joins[from..] {
            if matches!(bind::outer_kind(&join.join_operator), Ok(Outer::None)) {
                if let TableFactor::NestedJoin {
                    table_with_joins, ..
                } = &join.relation
                {
                    self.inner_joins(table_with_joins);
                }
                for conjunct in condition(&join.join_operator)
                    .into_iter()
                    .flat_map(conjuncts)
                {
                    self.add(conjunct);
                }
            }
        }
    }

    /// Those by way of which keys are the same value.
    ///
    /// `a = b AND b = c` says that a is c only if both mean the same `=`: a float equals several
    /// integers, and a text under a collation that is not deterministic several texts.
    pub(super) fn exact(mut self, relations: &HashMap<String, Relation>) -> Self {
        let family = |(alias, name): &ColumnName| {
            let relation = relations.get(alias)?;
            let column = relation
                .columns
                .as_ref()?
                .iter()
                .find(|column| column.name == *name)?;
            let is_key = matches!(&relation.source, Source::Table(base)
                if base.sharding.as_ref().is_some_and(|sharding| sharding.key == *name));
            let collation = column.collation.as_ref();
            if !is_key && collation.is_some_and(|collation| !collation.deterministic) {
                return None;
            }
            let type_name = column.type_name.as_ref()?;
            let family = match type_name.split('(').next().unwrap_or(type_name) {
                "smallint" | "integer" | "bigint" | "int2" | "int4" | "int8" => "integer",
                "text" | "character varying" | "varchar" => "text",
                other => other,
            };
            Some(family.to_owned())
        };
        self.0.retain(|(left, right)| {
            let left = family(left);
            left.is_some() && left == family(right)
        });
        self
    }

    fn add(&mut self, conjunct: &Expr) {
        if let Expr::BinaryOp {
            left,
            op: BinaryOperator::Eq,
            right,
        } = bare(conjunct)
        {
            if let (Some(left), Some(right)) = (as_column(left), as_column(right)) {
                self.0.push((left, right));
            }
            if let (Expr::Tuple(left), Expr::Tuple(right)) = (bare(left), bare(right)) {
                let pairs = left.iter().zip(right);
                self.0
                    .extend(pairs.filter_map(|(l, r)| Some((as_column(l)?, as_column(r)?))));
            }
        }
    }

    fn and(&self, other: &Self) -> Self {
        Self(self.0.iter().chain(&other.0).cloned().collect())
    }

    fn mentions(&self, column: &ColumnName) -> bool {
        self.0.iter().any(|(l, r)| l == column || r == column)
    }

    /// Whether two columns are the same, or equal by way of others.
    pub(super) fn same(&self, left: &ColumnName, right: &ColumnName) -> bool {
        self.class(left).contains(right)
    }

    /// All columns that are equal to one, itself among them.
    pub(super) fn class(&self, column: &ColumnName) -> Vec<ColumnName> {
        let mut class = vec![column.clone()];
        let mut next = 0;
        while let Some(current) = class.get(next).cloned() {
            for (left, right) in &self.0 {
                let other = match () {
                    () if *left == current => right,
                    () if *right == current => left,
                    () => continue,
                };
                if !class.contains(other) {
                    class.push(other.clone());
                }
            }
            next += 1;
        }
        class
    }
}

/// The condition of a join.
pub(super) fn condition(operator: &JoinOperator) -> Option<&Expr> {
    match operator {
        JoinOperator::Join(JoinConstraint::On(expr))
        | JoinOperator::Inner(JoinConstraint::On(expr))
        | JoinOperator::Left(JoinConstraint::On(expr))
        | JoinOperator::LeftOuter(JoinConstraint::On(expr))
        | JoinOperator::Right(JoinConstraint::On(expr))
        | JoinOperator::RightOuter(JoinConstraint::On(expr))
        | JoinOperator::FullOuter(JoinConstraint::On(expr)) => Some(expr),
        _ => None,
    }
}

fn each_condition(tree: &TableWithJoins, f: &mut dyn FnMut(&Expr)) {
    if let TableFactor::NestedJoin {
        table_with_joins, ..
    } = &tree.relation
    {
        each_condition(table_with_joins, f);
    }
    for join in &tree.joins {
        if let TableFactor::NestedJoin {
            table_with_joins, ..
        } = &join.relation
        {
            each_condition(table_with_joins, f);
        }
        if let Some(expr) = condition(&join.join_operator) {
            f(expr);
        }
    }
}

/// GROUP BY may name a column of the output, by number or by name.
pub(super) fn resolve_key(key: &Expr, projection: &[SelectItem]) -> Expr {
    let expr_of = |item: &SelectItem| match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
            Some(expr.clone())
        }
        _ => None,
    };
    match bare(key) {
        Expr::Value(value) => {
            let number = value.value.to_string().parse::<usize>().ok();
            number
                .and_then(|number| projection.get(number.checked_sub(1)?))
                .and_then(expr_of)
                .unwrap_or_else(|| key.clone())
        }
        Expr::Identifier(name) => projection
            .iter()
            .find(|item| bind::item_name(item).as_deref() == Some(&folded(name)))
            .and_then(expr_of)
            .unwrap_or_else(|| key.clone()),
        _ => key.clone(),
    }
}

fn partition(window: WindowType, select: &Select) -> Vec<Expr> {
    let named = |name: &Ident| {
        select
            .named_window
            .iter()
            .find(|definition| folded(&definition.0) == folded(name))
    };
    use datafusion::sql::sqlparser::ast::NamedWindowExpr;
    let of = |name: &Ident, depth: usize| -> Vec<Expr> {
        let mut name = name.clone();
        for _ in 0..depth {
            match named(&name).map(|definition| &definition.1) {
                Some(NamedWindowExpr::NamedWindow(other)) => name = other.clone(),
                Some(NamedWindowExpr::WindowSpec(spec)) => match &spec.window_name {
                    Some(base) if spec.partition_by.is_empty() => name = base.clone(),
                    _ => return spec.partition_by.clone(),
                },
                None => return Vec::new(),
            }
        }
        Vec::new()
    };
    let depth = select.named_window.len() + 1;
    match window {
        WindowType::WindowSpec(spec) => match &spec.window_name {
            Some(base) if spec.partition_by.is_empty() => of(base, depth),
            _ => spec.partition_by,
        },
        WindowType::NamedWindow(name) => of(&name, depth),
    }
}

/// Calls `f` for every expression but those inside subqueries.
pub(super) fn own_expressions<T>(tree: &T, mut f: impl FnMut(&Expr))
where
    T: datafusion::sql::sqlparser::ast::VisitMut + Clone,
{
    fn visit<T: datafusion::sql::sqlparser::ast::VisitMut>(tree: &mut T, f: &mut dyn FnMut(&Expr)) {
        let _ = rewrite::top_down(tree, |expr| {
            f(expr);
            if let Expr::InSubquery { expr: left, .. } = expr {
                visit(&mut **left, f);
            }
            Ok(match rewrite::subquery(expr) {
                Some(_) => rewrite::Walk::Done,
                None => rewrite::Walk::Into,
            })
        });
    }
    visit(&mut tree.clone(), &mut f);
}

/// Whether two runs of a query may give different rows though the data is the same: because it takes
/// some of several rows that are equal in its order, or numbers them.
pub(super) fn depends_on_ties(query: &Query, catalog: &Catalog) -> bool {
    let mut found = functions::depends_on_row_order(query, catalog);
    rewrite::each_query(&mut query.clone(), |inner| {
        found |= is_limited(inner);
        let mut bodies = vec![&*inner.body];
        while let Some(body) = bodies.pop() {
            match body {
                SetExpr::SetOperation { left, right, .. } => bodies.extend([&**left, &**right]),
                SetExpr::Select(select) => {
                    found |= matches!(select.distinct, Some(Distinct::On(_)))
                }
                _ => {}
            }
        }
    });
    found
}

/// Whether a query gives only some of its rows.
pub(super) fn is_limited(query: &Query) -> bool {
    query.fetch.is_some()
        || match &query.limit_clause {
            None => false,
            Some(LimitClause::LimitOffset { limit, offset, .. }) => {
                limit.is_some() || offset.is_some()
            }
            Some(LimitClause::OffsetCommaLimit { .. }) => true,
        }
}

/// The alias by which a bound statement knows an item of FROM.
pub(super) fn factor_alias(factor: &TableFactor) -> Option<String> {
    match factor {
        TableFactor::Table { alias, name, .. } => match alias {
            Some(alias) => Some(folded(&alias.name)),
            None => bind::parts(name).pop(),
        },
        TableFactor::Derived { alias, .. }
        | TableFactor::Function { alias, .. }
        | TableFactor::UNNEST { alias, .. }
        | TableFactor::TableFunction { alias, .. } => alias.as_ref().map(|a| folded(&a.name)),
        _ => None,
    }
}

/// Calls `f` for every item of FROM, those of queries inside too.
pub(super) fn each_factor(query: &mut Query, f: impl FnMut(&mut TableFactor)) {
    use datafusion::sql::sqlparser::ast::{VisitMut, VisitorMut};
    use std::ops::ControlFlow;
    struct Factors<F>(F);
    impl<F: FnMut(&mut TableFactor)> VisitorMut for Factors<F> {
        type Break = ();
        fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
            (self.0)(factor);
            ControlFlow::Continue(())
        }
    }
    let _ = query.visit(&mut Factors(f));
}

/// The aliases of all items of FROM inside.
pub(super) fn aliases(query: &Query) -> std::collections::HashSet<String> {
    let mut found = std::collections::HashSet::new();
    each_factor(&mut query.clone(), |factor| {
        found.extend(factor_alias(factor));
    });
    found
}

/// The keys of ORDER BY.
pub(super) fn order_keys(query: &Query) -> &[datafusion::sql::sqlparser::ast::OrderByExpr] {
    match query.order_by.as_ref().map(|order_by| &order_by.kind) {
        Some(OrderByKind::Expressions(keys)) => keys,
        _ => &[],
    }
}
