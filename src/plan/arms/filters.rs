//! Which rows of a table a query can need.
//!
//! *Exact because* what is left out meets not all conditions that every row of the result meets. *Does
//! not hold when* a row counts though a condition does not hold: on the kept side of an outer join (trap
//! 15; `outer_joins.sql`); or when a condition is volatile, or not the same on every shard.

use std::collections::{BTreeSet, HashSet};

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Select, SelectItem, SetExpr, TableFactor, TableWithJoins,
};

use super::Planner;
use crate::plan::from_item::{self, Outer, Source};
use crate::plan::locality::{self, Distribution, factor_alias};
use crate::plan::names::Names;
use crate::plan::naming::{self};
use crate::plan::rewrite::{self, conjuncts};
use crate::plan::{build, functions};

impl Planner<'_> {
    /// Conditions that all rows of a table meet which the query can need: its own, and that rows of
    /// replicated tables match it.
    pub(super) fn filters(&self, select: &Select, alias: &str) -> Vec<Expr> {
        let known = Known::of(select, alias);
        let own = HashSet::from([alias.to_owned()]);
        let is_own = |expr: &&Expr| self.is_test_of(expr, &|name| name == alias);
        let mut filters: Vec<_> = known.optional.iter().filter(is_own).cloned().collect();
        if known.inner.contains(alias) {
            filters.extend(known.conditions.iter().filter(is_own).cloned());
            filters.extend(self.matching(&own, &known.inner, &known.conditions));
        }
        filters
    }

    /// That rows of the replicated tables of outer queries match a block, for whose sake it runs:
    /// `conditions` are those that connect it with them, `own` its own items of FROM.
    pub(super) fn outer_match(&self, own: &HashSet<String>, conditions: &[Expr]) -> Vec<Expr> {
        let mut inner = HashSet::new();
        let mut conditions = conditions.to_vec();
        for select in &self.outer {
            let known = Known::of(select, "");
            inner.extend(known.inner);
            conditions.extend(known.conditions);
        }
        self.matching(own, &inner, &conditions)
    }

    /// `EXISTS (SELECT 1 FROM replicated tables WHERE conditions)`, where `conditions` connect `own` with
    /// replicated tables of `inner` and leave out some rows of those.
    ///
    /// PostgreSQL joins all tables of one EXISTS before it looks at the rows outside: so there is one for
    /// each group of tables that are joined by equality to each other. What connects groups in other ways
    /// is left out: a row that meets all conditions meets these.
    fn matching(
        &self,
        own: &HashSet<String>,
        inner: &HashSet<String>,
        conditions: &[Expr],
    ) -> Vec<Expr> {
        let is_replicated = |name: &str| {
            let source = self.relations.get(name).map(|relation| &relation.source);
            matches!(source, Some(Source::Table(base)) if base.sharding.is_none())
        };
        let replicated: HashSet<_> = inner.iter().filter(|name| is_replicated(name)).collect();
        let others: Vec<_> = conditions
            .iter()
            .filter(|expr| {
                self.is_test_of(expr, &|name| {
                    own.contains(name) || replicated.iter().any(|known| *known == name)
                })
            })
            .map(|expr| (expr, Names::beside_queries(expr).of_columns()))
            .filter(|(_, names)| !names.is_subset(own))
            .collect();
        let equalities = others.iter().filter(|(expr, _)| is_equality(expr));
        let tables = others.iter().flat_map(|(_, names)| names.difference(own));
        let tables: BTreeSet<_> = tables.cloned().collect();
        let mut groups: Vec<_> = tables
            .into_iter()
            .map(|table| BTreeSet::from([table]))
            .collect();
        for (_, names) in equalities {
            let mut group: BTreeSet<_> = names.difference(own).cloned().collect();
            // With all that its tables are connected with already.
            let (joined, apart) = groups
                .into_iter()
                .partition(|known: &BTreeSet<_>| !known.is_disjoint(&group));
            groups = apart;
            group.extend(Vec::into_iter(joined).flatten());
            groups.push(group);
        }
        groups.sort();
        let matches = groups.iter().filter_map(|group| {
            let is_within = |names: &HashSet<String>| {
                let mut names = names.difference(own).peekable();
                names.peek().is_some() && names.all(|name| group.contains(name))
            };
            let used: Vec<_> = others
                .iter()
                .filter(|(_, names)| is_within(names))
                .collect();
            let is_linked = used.iter().any(|(_, names)| !names.is_disjoint(own));
            // Without a condition on the others alone, a match says little.
            let is_limited = used.iter().any(|(_, names)| names.is_disjoint(own));
            let used = used.into_iter().map(|(expr, _)| (*expr).clone());
            match is_linked && is_limited {
                true => self.exists(group, used),
                false => None,
            }
        });
        matches.collect()
    }

    /// `EXISTS (SELECT 1 FROM tables WHERE conditions)`.
    fn exists(
        &self,
        tables: &BTreeSet<String>,
        conditions: impl Iterator<Item = Expr>,
    ) -> Option<Expr> {
        let mut from = Vec::new();
        for name in tables {
            let Some(Source::Table(base)) = self.relations.get(name).map(|r| &r.source) else {
                return None;
            };
            if self.is_renamed(name) {
                return None;
            }
            let alias = Some(naming::table_alias(name));
            from.push(build::item(build::table(base.object_name(), alias)));
        }
        let mut exists = build::select(vec![SelectItem::UnnamedExpr(build::number(1))], from);
        exists.selection = rewrite::all_of(conditions);
        Some(Expr::Exists {
            subquery: Box::new(build::query(SetExpr::Select(Box::new(exists)))),
            negated: false,
        })
    }

    /// Whether an expression gives the same on every shard for the same rows of the allowed items of
    /// FROM, and names no others.
    fn is_test_of(&self, expr: &Expr, allowed: &dyn Fn(&str) -> bool) -> bool {
        let catalog = self.question.catalog;
        let mut ok =
            !functions::is_volatile(expr, catalog) && !functions::depends_on_server(expr, catalog);
        let names = Names::beside_queries(expr);
        ok &= names.of_columns().iter().all(|alias| allowed(alias));
        // A row as a whole has columns that are not fetched.
        ok &= !names
            .alone()
            .iter()
            .any(|name| self.relations.contains_key(name));
        rewrite::outermost_queries(expr, |query| {
            ok &= self.locality().of(query) == Distribution::Replicated
                && !self.locality().is_correlated(query)
                && self.uses(query).is_empty()
                && !self.names_foreign_cte(query);
        });
        ok
    }
}

fn is_equality(expr: &Expr) -> bool {
    let op = match rewrite::bare(expr) {
        Expr::BinaryOp { op, .. } => op,
        _ => return false,
    };
    *op == BinaryOperator::Eq
}

/// What holds for the rows that a SELECT takes from FROM.
#[derive(Default)]
struct Known {
    /// The items whose rows are in every row of the result.
    inner: HashSet<String>,
    /// WHERE, and the conditions of joins between the items in `inner`.
    conditions: Vec<Expr>,
    /// The conditions of an outer join on the item that is asked for, if it may be missing.
    optional: Vec<Expr>,
}

impl Known {
    fn of(select: &Select, alias: &str) -> Self {
        let mut known = Self::default();
        for tree in &select.from {
            known.enter_tree(tree, alias);
        }
        let filters = select.selection.iter().flat_map(conjuncts);
        known.conditions.extend(filters.cloned());
        known
    }

    fn enter_tree(&mut self, tree: &TableWithJoins, alias: &str) {
        let is_plain = tree.joins.iter().all(|join| {
            let kind = from_item::outer_kind(&join.join_operator);
            matches!(kind, Ok(Outer::None | Outer::Left))
        });
        if !is_plain {
            return;
        }
        self.enter(&tree.relation, alias);
        for join in &tree.joins {
            let found = locality::condition(&join.join_operator)
                .into_iter()
                .flat_map(conjuncts)
                .cloned();
            match from_item::outer_kind(&join.join_operator) {
                Ok(Outer::None) => {
                    self.enter(&join.relation, alias);
                    self.conditions.extend(found);
                }
                _ if factor_alias(&join.relation).as_deref() == Some(alias) => {
                    self.optional.extend(found);
                }
                _ => {}
            }
        }
    }

    fn enter(&mut self, factor: &TableFactor, alias: &str) {
        match factor {
            TableFactor::NestedJoin {
                table_with_joins, ..
            } => self.enter_tree(table_with_joins, alias),
            other => self.inner.extend(factor_alias(other)),
        }
    }
}
