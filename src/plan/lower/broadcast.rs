//! Subqueries that shards cannot evaluate, but that blocks over sharded tables need: each is planned
//! on its own, and its rows are read in its place.

use datafusion::sql::sqlparser::ast::{Expr, Query, SetExpr, TableFactor, VisitMut};

use super::outer::{each_side, each_side_mut};
use super::steps::{has_name, step_factor, step_factor_with};
use super::{Planner, Result};
use crate::plan::bind::{Source, folded, ident};
use crate::plan::locality::{self, Anchors, Distribution, Locality, factor_alias};
use crate::plan::rewrite::{self, Walk, top_down};

impl Planner<'_> {
    /// Plans the subqueries that shards cannot evaluate, but that blocks over sharded tables need,
    /// on their own; their rows are read in their place.
    pub(super) fn broadcast(&mut self, mut query: Query) -> Result<Query> {
        // Inner blocks are planned as a part of the query that holds them.
        self.broadcast_expressions(&mut query)?;
        self.broadcast_derived(&mut query)?;
        Ok(query)
    }

    fn broadcast_expressions(&mut self, query: &mut Query) -> Result<()> {
        let mut blocks: Vec<Query> = Vec::new();
        collect_global(
            &mut query.clone(),
            &mut |sub, over_sharded| {
                if over_sharded {
                    blocks.push(sub.clone());
                }
            },
            &self.locality(),
        );
        for sub in blocks {
            let printed = sub.to_string();
            let columns = self.describe(&sub)?;
            if columns.is_empty() || !columns.iter().all(has_name) || self.names_foreign_cte(&sub) {
                continue;
            }
            let index = self.plan_query(sub.clone(), None, false)?;
            let name = self.enter(index, columns, sub);
            let replacement = self.read_step(index, &name);
            rewrite::each_query(query, |inner| {
                if inner.to_string() == printed {
                    *inner = replacement.clone();
                }
            });
        }
        Ok(())
    }

    /// Derived tables that are global, in a FROM that would be local without them.
    fn broadcast_derived(&mut self, query: &mut Query) -> Result<()> {
        let mut candidates = Vec::new();
        let locality = self.locality();
        rewrite::each_query(&mut query.clone(), |inner| {
            let mut bodies = vec![&*inner.body];
            while let Some(body) = bodies.pop() {
                match body {
                    SetExpr::SetOperation { left, right, .. } => bodies.extend([&**left, &**right]),
                    SetExpr::Select(select) => {
                        let mut derived = Vec::new();
                        let mut sharded = false;
                        for tree in &select.from {
                            each_side(tree, &mut |factor| match factor {
                                TableFactor::Derived {
                                    subquery,
                                    alias,
                                    lateral: false,
                                    ..
                                } => match locality.of(subquery) {
                                    Distribution::Global(_)
                                        if !locality.is_correlated(subquery) =>
                                    {
                                        let alias = alias.as_ref().map(|a| folded(&a.name));
                                        derived.push((
                                            alias.unwrap_or_default(),
                                            (**subquery).clone(),
                                        ));
                                    }
                                    Distribution::Sharded { .. } => sharded = true,
                                    _ => {}
                                },
                                other => {
                                    let alias = factor_alias(other).unwrap_or_default();
                                    sharded |= matches!(locality.relations.get(&alias).map(|r| &r.source),
                                        Some(Source::Table(base)) if base.sharding.is_some());
                                }
                            });
                        }
                        if sharded && !derived.is_empty() {
                            candidates.push((derived, (**select).clone()));
                        }
                    }
                    _ => {}
                }
            }
        });
        for (derived, mut select) in candidates {
            // Would it help?
            let mut tried = self.relations.clone();
            for (alias, _) in &derived {
                for tree in &mut select.from {
                    each_side_mut(tree, &mut |factor| {
                        if factor_alias(factor).as_deref() == Some(&**alias) {
                            *factor = step_factor("step", Some(alias));
                        }
                    });
                }
                if let Some(relation) = tried.get_mut(alias) {
                    relation.source = Source::Step;
                }
            }
            let locality = Locality {
                relations: &tried,
                catalog: self.question.catalog,
            };
            if locality.select(&select, &Anchors::default()).rows.is_err() {
                continue;
            }
            for (alias, subquery) in derived {
                let columns = self.describe(&subquery)?;
                if columns.is_empty()
                    || !columns.iter().all(has_name)
                    || self.names_foreign_cte(&subquery)
                {
                    continue;
                }
                let index = self.plan_query(subquery.clone(), None, false)?;
                let names = self.enter(index, columns, subquery);
                let own: Vec<_> = self
                    .relations
                    .get(&alias)
                    .and_then(|r| r.columns.as_ref())
                    .map(|columns| columns.iter().map(|c| ident(&c.name)).collect())
                    .unwrap_or_default();
                if let Some(relation) = self.relations.get_mut(&alias) {
                    relation.source = Source::Step;
                }
                locality::each_factor(query, |factor| {
                    if matches!(factor, TableFactor::Derived { .. })
                        && factor_alias(factor).as_deref() == Some(&*alias)
                    {
                        *factor = step_factor_with(&names, &alias, own.clone());
                    }
                });
            }
        }
        Ok(())
    }
}

/// Finds the subqueries in expressions that shards cannot evaluate and that stand on their own, the
/// outermost of each; with whether their block reads a sharded table.
fn collect_global(query: &mut Query, found: &mut dyn FnMut(&Query, bool), locality: &Locality<'_>) {
    if let Some(with) = &mut query.with {
        for cte in &mut with.cte_tables {
            collect_global(&mut cte.query, found, locality);
        }
    }
    let mut bodies = vec![&mut *query.body];
    while let Some(body) = bodies.pop() {
        match body {
            SetExpr::SetOperation { left, right, .. } => bodies.extend([&mut **left, &mut **right]),
            SetExpr::Query(inner) => collect_global(inner, found, locality),
            SetExpr::Select(select) => {
                let mut over_sharded = false;
                for tree in &mut select.from {
                    each_side_mut(tree, &mut |factor| match factor {
                        TableFactor::Derived { subquery, .. } => {
                            over_sharded |= locality.reads_sharded(subquery);
                            collect_global(subquery, found, locality);
                        }
                        other => {
                            let alias = factor_alias(other).unwrap_or_default();
                            over_sharded |= matches!(locality.relations.get(&alias).map(|r| &r.source),
                                Some(Source::Table(base)) if base.sharding.is_some());
                        }
                    });
                }
                let block = locality.select(select, &Anchors::default());
                // Those beside aggregates run where the aggregates are combined, unless the shards
                // can do all of it.
                let aggregates = locality.aggregates(select);
                let rows_global = block.rows.is_err();
                let all_global = matches!(block.distribution, Distribution::Global(_));
                let mut from = std::mem::take(&mut select.from);
                visit_subqueries(&mut from, &mut |sub| {
                    consider(sub, over_sharded && rows_global, found, locality)
                });
                select.from = from;
                visit_subqueries(&mut select.selection, &mut |sub| {
                    consider(sub, over_sharded && rows_global, found, locality);
                });
                let beside = over_sharded && all_global && !aggregates;
                visit_subqueries(&mut select.projection, &mut |sub| {
                    consider(sub, beside, found, locality)
                });
                visit_subqueries(&mut select.having, &mut |sub| {
                    consider(sub, false, found, locality)
                });
            }
            _ => {}
        }
    }
}

fn consider(
    sub: &mut Query,
    wanted: bool,
    found: &mut dyn FnMut(&Query, bool),
    locality: &Locality<'_>,
) {
    let global = !matches!(locality.of(sub), Distribution::Replicated);
    if wanted && global && !locality.is_correlated(sub) {
        found(sub, true);
    } else {
        collect_global(sub, found, locality);
    }
}

fn visit_subqueries<T: VisitMut>(tree: &mut T, f: &mut dyn FnMut(&mut Query)) {
    let _ = top_down(tree, |expr| {
        if let Expr::InSubquery { expr: left, .. } = expr {
            visit_subqueries(&mut **left, f);
        }
        Ok(match rewrite::subquery(expr) {
            Some(query) => {
                f(query);
                Walk::Done
            }
            None => Walk::Into,
        })
    });
}
