//! Subqueries that shards cannot evaluate, but that blocks over sharded tables need: each is planned
//! on its own, and its rows are read in its place.
//!
//! *Exact because* such a query names no row outside: it has the same rows for every row of the block,
//! so that PostgreSQL computes it once too, and every shard is handed all of them (trap 14). *Does not
//! hold when* it is correlated, names a common table expression of another query, or has values that
//! cannot be sent: then the block is lowered in other ways (`subqueries.sql`, `lateral.sql`).

use std::collections::{HashMap, HashSet};

use datafusion::sql::sqlparser::ast::{Expr, Query, Select, SetExpr, TableFactor};

use super::outer::{each_side, each_side_mut};
use super::steps::{can_be_sent, step_factor, step_factor_with};
use super::{Planner, Result};
use crate::plan::from_item::Source;
use crate::plan::locality::{Anchors, Distribution, Locality, factor_alias};
use crate::plan::naming::{folded, ident};
use crate::plan::{functions, rewrite};
use crate::types::Column;

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
        let mut found = Vec::new();
        collect_global(query, &mut found, &self.locality());
        let mut replacements = Vec::new();
        for sub in found {
            let is_known = replacements.iter().any(|(known, _)| *known == sub);
            if is_known && !functions::is_volatile(&sub, self.question.catalog) {
                continue;
            }
            let Some(columns) = self.judge_broadcast(&sub)? else {
                continue;
            };
            let (index, name) = self.build_broadcast(sub.clone(), columns)?;
            replacements.push((sub, self.read_step(index, &name)));
        }
        rewrite::each_query(query, |inner| {
            let Some(found) = replacements.iter().position(|(sub, _)| sub == inner) else {
                return;
            };
            // Another that is volatile was found by itself.
            *inner = match functions::is_volatile(inner, self.question.catalog) {
                true => replacements.remove(found).1,
                false => replacements[found].1.clone(),
            };
        });
        Ok(())
    }

    /// The columns of a query whose rows can be handed to every shard; `None`: they cannot.
    fn judge_broadcast(&self, query: &Query) -> Result<Option<Vec<Column>>> {
        let columns = self.describe(query)?;
        let can_move = columns_can_move(&columns) && !self.names_foreign_cte(query);
        Ok(can_move.then_some(columns))
    }

    /// Plans a query on its own; its last step, and the name that its rows have.
    fn build_broadcast(&mut self, query: Query, columns: Vec<Column>) -> Result<(usize, String)> {
        let index = self.plan_query(query.clone(), None, false)?;
        self.rests_on(index, [RUNS_ONCE.to_owned()]);
        let name = self.enter(index, columns, query)?;
        Ok((index, name))
    }

    /// Derived tables that are global, in a FROM that would be local without them.
    fn broadcast_derived(&mut self, query: &mut Query) -> Result<()> {
        let mut candidates = Vec::new();
        let locality = self.locality();
        rewrite::selects(query, |select| {
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
                        Distribution::Global(_) if !locality.is_correlated(subquery) => {
                            let alias = alias.as_ref().map(|a| folded(&a.name));
                            derived.push((alias.unwrap_or_default(), (**subquery).clone()));
                        }
                        Distribution::Sharded { .. } => sharded = true,
                        _ => {}
                    },
                    other => sharded |= is_sharded_table(other, &locality),
                });
            }
            // A subquery may be written twice.
            let is_known = || candidates.iter().any(|(_, known)| known == select);
            if sharded && !derived.is_empty() && !is_known() {
                candidates.push((derived, select.clone()));
            }
        });
        let mut replacements = HashMap::new();
        // What is inside a derived table that has become a step is planned with it.
        let mut inside = HashSet::new();
        for (derived, select) in candidates {
            if derived.iter().any(|(alias, _)| inside.contains(alias))
                || !self.helps_to_broadcast(&select, &derived)
            {
                continue;
            }
            for (alias, subquery) in derived {
                let Some(columns) = self.judge_broadcast(&subquery)? else {
                    continue;
                };
                rewrite::factors(&subquery, |factor| inside.extend(factor_alias(factor)));
                let (_, name) = self.build_broadcast(subquery, columns)?;
                let own: Vec<_> = self
                    .relations
                    .get(&alias)
                    .and_then(|r| r.columns.as_ref())
                    .map(|columns| columns.iter().map(|c| ident(&c.name)).collect())
                    .unwrap_or_default();
                if let Some(relation) = self.relations.get_mut(&alias) {
                    relation.source = Source::Step;
                }
                let rows = step_factor_with(&name, &alias, own);
                replacements.insert(alias, rows);
            }
        }
        rewrite::each_factor(query, |factor| {
            if matches!(factor, TableFactor::Derived { .. })
                && let Some(rows) = factor_alias(factor).and_then(|alias| replacements.get(&alias))
            {
                factor.clone_from(rows);
            }
        });
        Ok(())
    }

    /// Whether the shards could compute their parts of a SELECT's rows if these derived tables of it
    /// were rows of steps.
    fn helps_to_broadcast(&self, select: &Select, derived: &[(String, Query)]) -> bool {
        let is_derived = |alias: &str| derived.iter().any(|(name, _)| name == alias);
        let mut select = select.clone();
        for tree in &mut select.from {
            each_side_mut(tree, &mut |factor| {
                if let Some(alias) = factor_alias(factor).filter(|alias| is_derived(alias)) {
                    *factor = step_factor("step", Some(&alias));
                }
            });
        }
        let mut relations = self.relations.clone();
        for (alias, relation) in &mut relations {
            if is_derived(alias) {
                relation.source = Source::Step;
            }
        }
        let locality = Locality {
            relations: &relations,
            catalog: self.question.catalog,
            premises: None,
        };
        locality.select(&select, &Anchors::default()).rows.is_ok()
    }
}

/// What a step rests on whose rows are read in several places.
pub(super) const RUNS_ONCE: &str =
    "it names no row outside, so that its rows are the same wherever they are read";

/// Finds the subqueries in expressions that shards cannot evaluate though their block over sharded
/// tables needs them, and that stand on their own: the outermost of each.
fn collect_global(query: &Query, found: &mut Vec<Query>, locality: &Locality<'_>) {
    for cte in query.with.iter().flat_map(|with| &with.cte_tables) {
        collect_global(&cte.query, found, locality);
    }
    let mut bodies = vec![&*query.body];
    while let Some(body) = bodies.pop() {
        match body {
            SetExpr::SetOperation { left, right, .. } => bodies.extend([&**left, &**right]),
            SetExpr::Query(inner) => collect_global(inner, found, locality),
            SetExpr::Select(select) => collect_in_select(select, found, locality),
            _ => {}
        }
    }
}

fn collect_in_select(select: &Select, found: &mut Vec<Query>, locality: &Locality<'_>) {
    let mut over_sharded = false;
    for tree in &select.from {
        each_side(tree, &mut |factor| match factor {
            TableFactor::Derived { subquery, .. } => {
                over_sharded |= locality.reads_sharded(subquery);
                collect_global(subquery, found, locality);
            }
            other => over_sharded |= is_sharded_table(other, locality),
        });
    }
    let block = locality.select(select, &Anchors::default());
    let for_rows = over_sharded && block.rows.is_err();
    // Those beside aggregates run where the aggregates are combined, unless the shards can do all of
    // it.
    let for_columns = over_sharded
        && matches!(block.distribution, Distribution::Global(_))
        && !locality.aggregates(select);
    let mut consider = |holder: &Expr, sub: &Query, wanted: bool| {
        let distribution = locality.held(holder, sub, &Anchors::default());
        let is_global = !matches!(distribution, Distribution::Replicated);
        match wanted && is_global && !locality.is_correlated(sub) {
            true => found.push(sub.clone()),
            false => collect_global(sub, found, locality),
        }
    };
    rewrite::own_queries(&select.from, |holder, sub| {
        consider(holder, sub, for_rows);
    });
    rewrite::own_queries(&select.selection, |holder, sub| {
        consider(holder, sub, for_rows);
    });
    rewrite::own_queries(&select.projection, |holder, sub| {
        consider(holder, sub, for_columns);
    });
    rewrite::own_queries(&select.having, |holder, sub| {
        consider(holder, sub, false);
    });
}

fn is_sharded_table(factor: &TableFactor, locality: &Locality<'_>) -> bool {
    let source = factor_alias(factor)
        .and_then(|alias| locality.relations.get(&alias))
        .map(|relation| &relation.source);
    matches!(source, Some(Source::Table(base)) if base.sharding.is_some())
}

/// Whether the rows of a query can be handed to another server.
pub(super) fn columns_can_move(columns: &[Column]) -> bool {
    !columns.is_empty() && columns.iter().all(can_be_sent)
}
