//! Which names belong to which query.

use std::collections::{HashMap, HashSet};

use datafusion::sql::sqlparser::ast::{Expr, Query, Select, SetExpr, TableFactor, TableWithJoins};

use super::Planner;
use crate::plan::from_item::{FromItem, Source};
use crate::plan::locality::factor_alias;
use crate::plan::names::Names;
use crate::plan::naming::{self, folded};
use crate::plan::{Question, functions, rewrite};

impl Planner<'_> {
    /// Whether a query reads a common table expression that it does not hold itself.
    pub(super) fn names_foreign_cte(&self, query: &Query) -> bool {
        let mut defined = HashSet::new();
        rewrite::queries(query, |query| {
            let ctes = query.with.iter().flat_map(|with| &with.cte_tables);
            defined.extend(ctes.map(|cte| folded(&cte.alias.name)));
        });
        let mut foreign = false;
        rewrite::factors(query, |factor| {
            let alias = factor_alias(factor).unwrap_or_default();
            if let TableFactor::Table { name, .. } = factor
                && let Some(Source::Cte) = self.relations.get(&alias).map(|r| &r.source)
            {
                foreign |= !naming::parts(name)
                    .pop()
                    .is_some_and(|name| defined.contains(&name));
            }
        });
        foreign
    }

    pub(super) fn has_correlated_from(&self, select: &Select) -> bool {
        !Names::of(&select.from).free(&self.relations).is_empty()
    }

    /// Whether an expression names neither these relations alone nor those inside it.
    pub(super) fn names_outer(&self, expr: &Expr, own: &HashSet<String>) -> bool {
        !Names::of(expr).free(&self.relations).is_subset(own)
    }
}

/// Whether a subquery holds an aggregate of an outer query: one whose arguments name columns of
/// outer queries only (`src/backend/parser/parse_agg.c`).
pub(super) fn has_outer_aggregate(
    query: &Query,
    relations: &HashMap<String, FromItem>,
    question: &Question<'_>,
) -> bool {
    let mut found = false;
    let mut is_outer = |expr: &Expr, own: &HashSet<String>| {
        if let Expr::Function(function) = expr
            && functions::is_aggregate(function, question.catalog)
        {
            let names = Names::of(expr).free(relations);
            found |= !names.is_empty() && names.is_disjoint(own);
        }
    };
    rewrite::queries(query, |query| {
        let nothing = HashSet::new();
        for select in rewrite::operands(&query.body) {
            let own = names_of_from(select);
            rewrite::own_expressions(select, |expr| is_outer(expr, &own));
            rewrite::own_expressions(&query.order_by, |expr| is_outer(expr, &own));
        }
        // These see no FROM of their own.
        if let SetExpr::Values(values) = &*query.body {
            rewrite::own_expressions(values, |expr| is_outer(expr, &nothing));
        }
        rewrite::own_expressions(&query.limit_clause, |expr| is_outer(expr, &nothing));
        rewrite::own_expressions(&query.fetch, |expr| is_outer(expr, &nothing));
    });
    found
}

/// What the items of FROM are called.
pub(super) fn names_of_from(select: &Select) -> HashSet<String> {
    let mut names = HashSet::new();
    for tree in &select.from {
        each_side(tree, &mut |factor| names.extend(factor_alias(factor)));
    }
    names
}

/// Calls `f` for the items of a join tree.
pub(super) fn each_side(tree: &TableWithJoins, f: &mut dyn FnMut(&TableFactor)) {
    let mut visit = |factor: &TableFactor| match factor {
        TableFactor::NestedJoin {
            table_with_joins, ..
        } => each_side(table_with_joins, f),
        other => f(other),
    };
    visit(&tree.relation);
    for join in &tree.joins {
        visit(&join.relation);
    }
}

pub(super) fn each_side_mut(tree: &mut TableWithJoins, f: &mut dyn FnMut(&mut TableFactor)) {
    let mut visit = |factor: &mut TableFactor| match factor {
        TableFactor::NestedJoin {
            table_with_joins, ..
        } => each_side_mut(table_with_joins, f),
        other => f(other),
    };
    visit(&mut tree.relation);
    for join in &mut tree.joins {
        visit(&mut join.relation);
    }
}
