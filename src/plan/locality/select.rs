//! One SELECT: whether a shard can compute its part of the rows, and of what is made of them.

use datafusion::sql::sqlparser::ast::{
    Distinct, Expr, Function, GroupByExpr, Select, SelectItem, Visit,
};

use super::syntax::{each_condition, partition};
use super::{
    Anchors, Block, Distribution, Equalities, Key, Locality, OutputKey, Side, called, resolve_key,
};
use crate::plan::functions;
use crate::plan::naming::as_column;
use crate::plan::rewrite::{self, bare, conjuncts};

impl Locality<'_> {
    /// What is known of a SELECT whose outer queries give these anchors.
    pub(in crate::plan) fn select(&self, select: &Select, anchors: &Anchors) -> Block {
        let equal = self.exact(Equalities::of(select));
        let side = match self.side(select, &equal, anchors) {
            Ok(side) => side,
            Err(reason) => {
                return Block {
                    rows: Err(reason.clone()),
                    distribution: Distribution::Global(reason),
                };
            }
        };
        let anchored = self.is_anchored(&side, &equal, anchors);
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

    /// The rows of FROM that WHERE lets pass, of a SELECT that stands on its own; `Err`: why no shard
    /// can compute its part of them.
    pub(in crate::plan) fn rows(&self, select: &Select) -> Result<Side, String> {
        let equal = self.exact(Equalities::of(select));
        let anchors = Anchors::default();
        let side = self.side(select, &equal, &anchors)?;
        match self.row_subqueries(select, &side, &equal, &anchors.with(&side)) {
            None => Ok(side),
            Some(reason) => Err(reason),
        }
    }

    /// The rows of FROM.
    fn side(&self, select: &Select, equal: &Equalities, anchors: &Anchors) -> Result<Side, String> {
        match self.from(&select.from, equal, anchors) {
            Side::Global(reason) => Err(reason),
            side => Ok(side.known_not_null(select, equal)),
        }
    }

    /// Whether all rows belong to the row of an outer query, on whose shard they are.
    fn is_anchored(&self, side: &Side, equal: &Equalities, anchors: &Anchors) -> bool {
        let Side::Sharded { group, keys } = side else {
            return false;
        };
        let mut pairs = keys
            .iter()
            .flat_map(|key| anchors.0.iter().map(move |anchor| (key, anchor)));
        let found =
            pairs.find(|(key, (of, anchor))| of == group && equal.same(&key.column, anchor));
        if let Some((key, (_, anchor))) = found {
            self.say(|| {
                format!(
                    "a subquery finds {} by the shard key of the row outside ({} = {}): all of its \
                     rows are on that row's shard",
                    key.column.0,
                    called(&key.column),
                    called(anchor)
                )
            });
        }
        found.is_some()
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
                        self.say(|| {
                            format!(
                                "{expr} IN (..) compares shard keys: a key is listed on its own shard, \
                                 or nowhere"
                            )
                        });
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
            self.say_volatile(conjunct);
        }
        let mut reason = None;
        for item in &select.from {
            each_condition(item, &mut |condition| {
                if reason.is_none() {
                    reason = self.subqueries_of(condition, anchors);
                }
                if reason.is_none() && functions::is_volatile(condition, self.catalog) {
                    reason = Some("a condition of a join is volatile".to_owned());
                }
            });
        }
        reason
    }

    /// Why the subqueries of an expression over the rows of FROM cannot be evaluated on a shard, if so.
    pub(in crate::plan) fn global_beside(&self, select: &Select, expr: &Expr) -> Option<String> {
        let equal = self.exact(Equalities::of(select));
        let anchors = Anchors::default();
        let side = self.from(&select.from, &equal, &anchors);
        self.subqueries_of(expr, &anchors.with(&side))
    }

    /// Why the subqueries inside cannot be evaluated on a shard, if so.
    pub(super) fn subqueries_of<T: Visit>(&self, tree: &T, anchors: &Anchors) -> Option<String> {
        let mut reason = None;
        rewrite::own_queries(tree, |holder, query| {
            if reason.is_none() {
                reason = global_subquery(self.held(holder, query, anchors));
            }
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
        let catalog = self.catalog;
        let depends_on_server = functions::depends_on_server(&select.projection, catalog)
            || functions::depends_on_server(&select.group_by, catalog)
            || functions::depends_on_server(&select.having, catalog)
            || functions::depends_on_server(&select.distinct, catalog)
            || functions::depends_on_server(&select.named_window, catalog)
            || functions::depends_on_server(&select.sort_by, catalog);
        if depends_on_server {
            return Distribution::Global(
                "an expression depends on the server that evaluates it".to_owned(),
            );
        }
        if anchored {
            return Distribution::Anchored;
        }
        let Side::Sharded { group, keys } = side else {
            return self.replicated(select);
        };
        if let Some(reason) = self.across_shards(select, keys, equal) {
            return Distribution::Global(reason);
        }
        self.say_volatile(&select.projection);
        Distribution::Sharded {
            group: group.clone(),
            keys: output_keys(select, keys, equal),
        }
    }

    /// Says why volatile functions may run on shards, if there are any.
    fn say_volatile<T: Visit>(&self, tree: &T) {
        if self.premises.is_some() && functions::is_volatile(tree, self.catalog) {
            self.say(|| {
                "its volatile functions have a value of their own for each row, wherever that is made"
                    .to_owned()
            });
        }
    }

    /// The distribution of a SELECT whose rows every shard has.
    fn replicated(&self, select: &Select) -> Distribution {
        let catalog = self.catalog;
        let is_volatile = functions::is_volatile(&select.projection, catalog)
            || functions::is_volatile(&select.group_by, catalog)
            || functions::is_volatile(&select.having, catalog)
            || functions::is_volatile(&select.distinct, catalog)
            || functions::is_volatile(&select.sort_by, catalog);
        if is_volatile {
            return Distribution::Global("a volatile function over replicated tables".to_owned());
        }
        let depends_on_row_order = functions::depends_on_row_order(&select.projection, catalog)
            || functions::depends_on_row_order(&select.having, catalog)
            || functions::depends_on_row_order(&select.sort_by, catalog)
            || matches!(select.distinct, Some(Distinct::On(_)));
        if depends_on_row_order {
            return Distribution::Global(
                "the order in which a replicated table is read may differ between shards"
                    .to_owned(),
            );
        }
        if let Some(reason) = self.copies_differ(select) {
            return Distribution::Global(reason);
        }
        self.say(|| "what reads nothing sharded has the same rows on every shard".to_owned());
        Distribution::Replicated
    }

    /// Why groups, windows or DISTINCT take rows of several shards together, if they do.
    fn across_shards(&self, select: &Select, keys: &[Key], equal: &Equalities) -> Option<String> {
        let is_key = |expr: &Expr| {
            as_column(expr).is_some_and(|column| {
                keys.iter()
                    .any(|key| key.not_null && equal.same(&key.column, &column))
            })
        };
        if self.aggregates(select) {
            let Some(key) = self.group_key(select, &is_key) else {
                return Some("groups have rows on several shards".to_owned());
            };
            self.say(|| {
                format!(
                    "groups by {key}, the shard key, which is not NULL: a group is on one shard"
                )
            });
        }
        for partition in self.windows(select) {
            match partition.iter().find(|expr| is_key(expr)) {
                Some(key) => self.say(|| {
                    format!(
                        "the partitions of its windows have {key}, the shard key, which is not NULL: a \
                         partition is on one shard"
                    )
                }),
                None if partition.is_empty() => {
                    return Some("a window function sees the rows of all shards".to_owned());
                }
                None => {
                    return Some(
                        "the partitions of a window function have rows on several shards".to_owned(),
                    );
                }
            }
        }
        let (what, key) = match &select.distinct {
            Some(Distinct::Distinct) => {
                let mut items = select.projection.iter().filter_map(item_expr);
                ("DISTINCT", items.find(|expr| is_key(expr)).cloned())
            }
            Some(Distinct::On(exprs)) => {
                let mut exprs = exprs
                    .iter()
                    .map(|expr| resolve_key(expr, &select.projection));
                ("DISTINCT ON", exprs.find(is_key))
            }
            _ => return None,
        };
        match key {
            Some(key) => {
                self.say(|| {
                    format!(
                        "{what} compares {key}, the shard key, which is not NULL: equal rows are on \
                         one shard"
                    )
                });
                None
            }
            None => Some(format!("{what} compares the rows of all shards")),
        }
    }

    /// Whether a SELECT makes groups.
    pub(in crate::plan) fn aggregates(&self, select: &Select) -> bool {
        !matches!(&select.group_by, GroupByExpr::Expressions(keys, _) if keys.is_empty())
            || select.having.is_some()
            || self.calls_aggregate(&select.projection)
            || self.calls_aggregate(&select.distinct)
            || self.calls_aggregate(&select.named_window)
            || self.calls_aggregate(&select.sort_by)
    }

    /// Whether an aggregate is called outside of subqueries.
    pub(in crate::plan) fn calls_aggregate<T: Visit>(&self, tree: &T) -> bool {
        let mut found = false;
        rewrite::own_expressions(tree, |expr| {
            if let Expr::Function(function) = expr {
                found |= functions::is_aggregate(function, self.catalog);
            }
        });
        found
    }

    /// The shard key among the keys of GROUP BY.
    fn group_key(&self, select: &Select, is_key: &dyn Fn(&Expr) -> bool) -> Option<Expr> {
        let GroupByExpr::Expressions(keys, _) = &select.group_by else {
            return None;
        };
        let mut keys = keys.iter().map(|key| resolve_key(key, &select.projection));
        keys.find(|key| is_key(key))
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
        rewrite::own_expressions(&select.projection, &mut collect);
        rewrite::own_expressions(&select.distinct, &mut collect);
        rewrite::own_expressions(&select.sort_by, &mut collect);
        calls
            .into_iter()
            .filter_map(|call| call.over)
            .map(|window| partition(window, select))
            .collect()
    }
}

/// The columns of the output that hold the shard key.
fn output_keys(select: &Select, keys: &[Key], equal: &Equalities) -> Vec<OutputKey> {
    // Where `*` could not be spelled out, positions say nothing.
    if !select.projection.iter().all(|i| item_expr(i).is_some()) {
        return Vec::new();
    }
    let outputs = select
        .projection
        .iter()
        .enumerate()
        .filter_map(|(index, output)| {
            let column = as_column(item_expr(output)?)?;
            let key = keys.iter().find(|key| equal.same(&key.column, &column))?;
            Some(OutputKey {
                index,
                not_null: key.not_null,
            })
        });
    outputs.collect()
}

fn item_expr(item: &SelectItem) -> Option<&Expr> {
    match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Some(expr),
        _ => None,
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
