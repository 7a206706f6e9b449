//! Gather: the filtered rows of sharded tables in place of the tables.

use datafusion::sql::sqlparser::ast::{
    Distinct, Expr, GroupByExpr, JoinConstraint, JoinOperator, OrderBy, Query, Select, SetExpr,
    TableFactor, TableWithJoins,
};

use super::outer::names_of_from;
use super::steps::{no_values, step_factor};
use super::{Planner, Result};
use crate::plan::from_item::Source;
use crate::plan::locality::{self, factor_alias};
use crate::plan::naming::as_column;
use crate::plan::rewrite::{self, Walk, top_down};
use crate::plan::same::normal;
use crate::plan::{Arm, Place, build, functions, instant};

impl Planner<'_> {
    /// The query with the filtered rows of its sharded tables in place of them.
    pub(super) fn gather(&mut self, mut query: Query, once: bool) -> Result<Query> {
        let is_limited = locality::is_limited(&query);
        let SetExpr::Select(select) = &mut *query.body else {
            return Ok(query);
        };
        let once = once
            && !is_limited
            && !self.locality().aggregates(select)
            && !rewrite::any(
                &select.projection,
                |expr| matches!(expr, Expr::Function(function) if function.over.is_some()),
            )
            && !matches!(select.distinct, Some(Distinct::On(_)));
        let original = select.clone();
        let determined = self.determined_columns(query.order_by.as_ref(), &original)?;
        let mut from = std::mem::take(&mut select.from);
        // Rows of FROM are wanted also where WHERE does not hold.
        let outer = std::mem::take(&mut self.outer);
        for tree in &mut from {
            self.gather_tree(tree, &original, once)?;
        }
        select.from = from;
        self.outer.clone_from(&outer);
        let mut taken = std::mem::replace(&mut *query.body, SetExpr::Values(no_values()));
        if let SetExpr::Select(select) = &mut taken {
            // A scalar subquery is called as its column is.
            let names = instant::names(select);
            self.outer.push((*original).clone());
            self.lower_subqueries(&mut select.selection)?;
            // The NULLs of grouping sets do not meet WHERE.
            if has_grouping_sets(select) {
                self.outer.clear();
            }
            self.join_lookups(select);
            self.lower_subqueries(&mut select.projection)?;
            instant::keep_names(select, names);
            self.lower_subqueries(&mut select.having)?;
            self.lower_subqueries(&mut select.group_by)?;
            self.lower_subqueries(&mut select.distinct)?;
            self.lower_subqueries(&mut select.named_window)?;
        }
        *query.body = taken;
        self.lower_beside(&mut query)?;
        self.outer = outer;
        if let SetExpr::Select(select) = &mut *query.body
            && let GroupByExpr::Expressions(keys, _) = &mut select.group_by
        {
            // PostgreSQL knows of no primary key of the rows of a step.
            keys.extend(determined);
        }
        Ok(query)
    }

    fn gather_tree(
        &mut self,
        tree: &mut TableWithJoins,
        select: &Select,
        once: bool,
    ) -> Result<()> {
        self.gather_factor(&mut tree.relation, select, once)?;
        for join in &mut tree.joins {
            self.gather_factor(&mut join.relation, select, once)?;
            if let JoinOperator::Join(JoinConstraint::On(expr))
            | JoinOperator::Inner(JoinConstraint::On(expr))
            | JoinOperator::Left(JoinConstraint::On(expr))
            | JoinOperator::LeftOuter(JoinConstraint::On(expr))
            | JoinOperator::Right(JoinConstraint::On(expr))
            | JoinOperator::RightOuter(JoinConstraint::On(expr))
            | JoinOperator::FullOuter(JoinConstraint::On(expr)) = &mut join.join_operator
            {
                self.lower_subqueries(expr)?;
            }
        }
        Ok(())
    }

    fn gather_factor(
        &mut self,
        factor: &mut TableFactor,
        select: &Select,
        once: bool,
    ) -> Result<()> {
        match factor {
            TableFactor::NestedJoin {
                table_with_joins, ..
            } => self.gather_tree(table_with_joins, select, once),
            TableFactor::Derived { subquery, .. } => {
                let inner =
                    std::mem::replace(&mut **subquery, build::query(SetExpr::Values(no_values())));
                **subquery = self.lower_query(inner, once, false)?;
                Ok(())
            }
            TableFactor::Table { args: None, .. } => {
                let alias = factor_alias(factor).unwrap_or_default();
                let Some(Source::Table(base)) =
                    self.relations.get(&alias).map(|r| r.source.clone())
                else {
                    return Ok(());
                };
                if base.sharding.is_none() {
                    return Ok(());
                }
                let filters = self.filters(select, &alias);
                let shards = match self.router().of_table(select, &alias)? {
                    Some(shards) => shards.into_iter().collect(),
                    None => self.all_shards(),
                };
                let name = self.table_step(&alias, &base, filters, Place::Shards(shards), once)?;
                self.at_least(Arm::Gather);
                if let Some(relation) = self.relations.get_mut(&alias) {
                    relation.source = Source::Step;
                }
                *factor = step_factor(&name, Some(&alias));
                Ok(())
            }
            other => self.lower_subqueries(other),
        }
    }

    /// The columns that a SELECT names beside its aggregates and that are none of its group keys:
    /// those that a primary key among the keys determines.
    fn determined_columns(&self, order_by: Option<&OrderBy>, select: &Select) -> Result<Vec<Expr>> {
        let GroupByExpr::Expressions(keys, modifiers) = &select.group_by else {
            return Ok(Vec::new());
        };
        let plain =
            |key: &Expr| !matches!(key, Expr::GroupingSets(_) | Expr::Cube(_) | Expr::Rollup(_));
        if keys.is_empty() || !modifiers.is_empty() || !keys.iter().all(plain) {
            return Ok(Vec::new());
        }
        let keys: Vec<_> = keys
            .iter()
            .map(|key| normal(&locality::resolve_key(key, &select.projection)))
            .collect();
        let own = names_of_from(select);
        let catalog = self.question.catalog;
        let mut found: Vec<Expr> = Vec::new();
        let mut step = |expr: &mut Expr| {
            let form = normal(expr);
            let aggregate = matches!(expr, Expr::Function(function) if functions::is_aggregate(function, catalog));
            if aggregate || keys.contains(&form) {
                return Ok(Walk::Done);
            }
            if let Some((alias, _)) = as_column(expr)
                && own.contains(&alias)
                && !found.contains(&form)
            {
                found.push(form);
            }
            Ok(Walk::Into)
        };
        let mut parts = (select.projection.clone(), select.having.clone());
        top_down(&mut parts.0, &mut step)?;
        top_down(&mut parts.1, &mut step)?;
        top_down(&mut order_by.cloned(), &mut step)?;
        for column in found.iter().filter_map(as_column) {
            self.check_determined(&column, &keys)?;
        }
        Ok(found)
    }
}

fn has_grouping_sets(select: &Select) -> bool {
    match &select.group_by {
        GroupByExpr::Expressions(keys, modifiers) => {
            let is_set = |key: &Expr| {
                matches!(
                    rewrite::bare(key),
                    Expr::GroupingSets(_) | Expr::Cube(_) | Expr::Rollup(_)
                )
            };
            !modifiers.is_empty() || keys.iter().any(is_set)
        }
        GroupByExpr::All(_) => true,
    }
}
