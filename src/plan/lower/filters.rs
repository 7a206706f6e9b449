//! Which rows of a table a query can need.

use std::collections::HashSet;

use datafusion::sql::sqlparser::ast::{
    Expr, Select, SelectItem, SetExpr, TableFactor, TableWithJoins,
};

use super::Planner;
use super::outer::aliases_in;
use super::steps::raw_name;
use crate::plan::bind::{self, Outer, Source, folded};
use crate::plan::locality::{self, factor_alias};
use crate::plan::rewrite::{self, conjuncts};
use crate::plan::{build, functions};

impl Planner<'_> {
    /// Conditions that all rows of a table meet which the query can need: its own, and that rows of
    /// replicated tables match it.
    pub(super) fn filters(&self, select: &Select, alias: &str) -> Vec<Expr> {
        let catalog = self.question.catalog;
        let mut inner = HashSet::new();
        let mut conditions: Vec<Expr> = Vec::new();
        let mut own: Vec<Expr> = Vec::new();
        let mut reachable = false;
        for tree in &select.from {
            inner_side(
                tree,
                alias,
                &mut inner,
                &mut conditions,
                &mut own,
                &mut reachable,
            );
        }
        let is_simple = |expr: &Expr| {
            !functions::is_volatile(expr, catalog)
                && !functions::depends_on_server(expr, catalog)
                && !rewrite::has_query(expr)
                && !rewrite::any(
                    expr,
                    |part| matches!(part, Expr::Identifier(name) if self.relations.contains_key(&folded(name))),
                )
        };
        let only = |expr: &Expr, allowed: &dyn Fn(&str) -> bool| {
            let mut ok = true;
            rewrite::each(expr, |part| match part {
                Expr::CompoundIdentifier(parts) => {
                    ok &= parts.first().is_some_and(|alias| allowed(&folded(alias)));
                }
                Expr::QualifiedWildcard(..) => ok = false,
                _ => {}
            });
            ok && is_simple(expr)
        };
        let mut filters: Vec<_> = own
            .into_iter()
            .filter(|expr| only(expr, &|name| name == alias))
            .collect();
        if !reachable {
            return filters;
        }
        conditions.extend(select.selection.iter().flat_map(conjuncts).cloned());
        filters.extend(
            conditions
                .iter()
                .filter(|expr| only(expr, &|name| name == alias))
                .cloned(),
        );
        // Replicated tables that are joined to it, directly or by way of others.
        let replicated: HashSet<_> = inner
            .iter()
            .filter(|name| {
                matches!(self.relations.get(*name).map(|r| &r.source),
                    Some(Source::Table(base)) if base.sharding.is_none())
            })
            .cloned()
            .collect();
        let joins: Vec<_> = conditions
            .iter()
            .filter(|expr| only(expr, &|name| name == alias || replicated.contains(name)))
            .filter(|expr| !only(expr, &|name| name == alias))
            .cloned()
            .collect();
        let mut linked: HashSet<String> = HashSet::from([alias.to_owned()]);
        loop {
            let before = linked.len();
            for condition in &joins {
                let names = aliases_in(condition);
                if names.len() > 1 && names.iter().any(|name| linked.contains(name)) {
                    linked.extend(names);
                }
            }
            if linked.len() == before {
                break;
            }
        }
        linked.remove(alias);
        // Without a condition on the others, a match says little.
        let narrows = joins
            .iter()
            .any(|condition| aliases_in(condition).len() == 1);
        if linked.is_empty() || !narrows {
            return filters;
        }
        let mut names: Vec<_> = linked.iter().cloned().collect();
        names.sort();
        let mut from = Vec::new();
        for name in &names {
            if let Some(Source::Table(base)) = self.relations.get(name).map(|r| &r.source) {
                if self.is_renamed(name) {
                    return filters;
                }
                from.push(build::item(build::table(
                    raw_name(&base.sql),
                    Some(bind::table_alias(name)),
                )));
            }
        }
        let used = joins.into_iter().filter(|condition| {
            let names = aliases_in(condition);
            names
                .iter()
                .all(|name| name == alias || linked.contains(name))
        });
        let mut exists = build::select(vec![SelectItem::UnnamedExpr(build::number(1))], from);
        exists.selection = rewrite::all_of(used);
        filters.push(Expr::Exists {
            subquery: Box::new(build::query(SetExpr::Select(Box::new(exists)))),
            negated: false,
        });
        filters
    }
}

/// Finds what holds for the rows of one item of FROM: `inner` are the items whose rows are in every
/// row of the result, `conditions` those of joins between them, and `own` conditions of outer joins
/// on the side that may be missing. `reachable`: the item is one of `inner`.
fn inner_side(
    tree: &TableWithJoins,
    alias: &str,
    inner: &mut HashSet<String>,
    conditions: &mut Vec<Expr>,
    own: &mut Vec<Expr>,
    reachable: &mut bool,
) {
    let plain = tree.joins.iter().all(|join| {
        matches!(
            bind::outer_kind(&join.join_operator),
            Ok(Outer::None | Outer::Left)
        )
    });
    if !plain {
        return;
    }
    let mut enter =
        |factor: &TableFactor, conditions: &mut Vec<Expr>, own: &mut Vec<Expr>| match factor {
            TableFactor::NestedJoin {
                table_with_joins, ..
            } => {
                inner_side(table_with_joins, alias, inner, conditions, own, reachable);
            }
            other => {
                if let Some(name) = factor_alias(other) {
                    *reachable |= name == alias;
                    inner.insert(name);
                }
            }
        };
    enter(&tree.relation, conditions, own);
    for join in &tree.joins {
        let found = locality::condition(&join.join_operator)
            .into_iter()
            .flat_map(conjuncts)
            .cloned();
        match bind::outer_kind(&join.join_operator) {
            Ok(Outer::None) => {
                enter(&join.relation, conditions, own);
                conditions.extend(found);
            }
            _ => {
                if factor_alias(&join.relation).as_deref() == Some(alias) {
                    own.extend(found);
                }
            }
        }
    }
}
