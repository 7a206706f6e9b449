//! Gather: the filtered rows of sharded tables in place of the tables.
//!
//! *Exact because* the user's own query runs, in one PostgreSQL, over the rows of the tables; left out
//! are rows that it cannot need: those that conditions on the table alone do not let pass, and those
//! that no rows of replicated tables match ([`filters`](super::filters)). Where a row counts once
//! however often it comes, equal rows are left out if they are the same.
//!
//! *Does not hold when* the query asks more of a table than its rows: of its primary key, which
//! `determined_columns` writes into GROUP BY, or takes from any row of the group where a type has no equality or
//! rows of tables that inherit may have the key once more, as PostgreSQL does (`group_by.sql`); of a column that is compared under
//! another collation, which the step's columns keep (trap 10); of the order in which rows lie, which
//! PostgreSQL leaves open too.

use datafusion::sql::sqlparser::ast::{
    AccessExpr, Distinct, Expr, GroupByExpr, JoinConstraint, JoinOperator, OrderBy, Query, Select,
    SelectItem, SetExpr, Subscript, TableFactor, TableWithJoins,
};

use super::outer::names_of_from;
use super::steps::{no_values, step_factor};
use super::{GATHER, Planner, Result};
use crate::catalog::{ColumnFacts, Relation, type_key};
use crate::plan::facts::types;
use crate::plan::from_item::{Base, Source};
use crate::plan::locality::{self, factor_alias};
use crate::plan::naming::{self, as_column};
use crate::plan::rewrite::{self, Walk, top_down};
use crate::plan::same::normal;
use crate::plan::{Arm, Place, build, functions, refused};

/// What is known of a SELECT whose tables are gathered.
struct Gather {
    /// Whether a row of it counts once however often it comes.
    once: bool,
    /// The columns that the keys of GROUP BY determine: those that can be keys, too, and others, of which
    /// that of any row is taken.
    determined: Vec<Expr>,
    of_any_row: Vec<Expr>,
}

/// What is known of a sharded table whose rows are gathered.
struct Gathered {
    base: Base,
    /// What all rows meet that the query can need.
    filters: Vec<Expr>,
    shards: Vec<usize>,
    /// Whether a condition says which shards.
    is_pinned: bool,
}

impl Planner<'_> {
    /// What has to be known of a SELECT whose tables are gathered.
    fn judge_gather(&self, query: &Query, select: &Select, once: bool) -> Result<Gather> {
        let once = once
            && !locality::is_limited(query)
            && !self.locality().aggregates(select)
            && !rewrite::any(
                &select.projection,
                |expr| matches!(expr, Expr::Function(function) if function.over.is_some()),
            )
            && !matches!(select.distinct, Some(Distinct::On(_)));
        let determined = self.determined_columns(query.order_by.as_ref(), select)?;
        let (determined, of_any_row): (Vec<_>, Vec<_>) = determined
            .into_iter()
            .partition(|column| self.has_equality(column) && !self.may_differ_in_group(column));
        // An array of arrays is one with more dimensions.
        let is_array = |column: &&Expr| {
            let facts = self.facts_of(column);
            facts.is_some_and(|facts| facts.element.is_some())
        };
        if let Some(array) = of_any_row.iter().find(is_array) {
            let why = match self.has_equality(array) {
                true => {
                    "is an array of a table that others inherit from, whose rows may differ in it"
                }
                false => "arrays of its type have no equality",
            };
            return Err(refused(
                format!("{array} is selected beside GROUP BY, and {why}"),
                "leave it out, or join the groups with the table again to select it",
            )
            .into());
        }
        Ok(Gather {
            once,
            determined,
            of_any_row,
        })
    }

    /// The query with the filtered rows of its sharded tables in place of them.
    pub(super) fn gather(&mut self, mut query: Query, once: bool) -> Result<Query> {
        let SetExpr::Select(select) = &*query.body else {
            return Ok(query);
        };
        let original = select.clone();
        self.judged(&query, GATHER, None);
        let Gather {
            once,
            determined,
            of_any_row,
        } = self.judge_gather(&query, &original, once)?;
        let SetExpr::Select(select) = &mut *query.body else {
            return Ok(query);
        };
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
            self.outer.push((*original).clone());
            self.lower_subqueries(&mut select.selection)?;
            // The NULLs of grouping sets do not meet WHERE.
            if has_grouping_sets(select) {
                self.outer.clear();
            }
            self.join_lookups(select);
            self.lower_subqueries(&mut select.projection)?;
            self.lower_subqueries(&mut select.having)?;
            self.lower_subqueries(&mut select.group_by)?;
            self.lower_subqueries(&mut select.distinct)?;
            self.lower_subqueries(&mut select.named_window)?;
        }
        *query.body = taken;
        self.lower_beside(&mut query)?;
        self.outer = outer;
        self.determine(&mut query, determined, &of_any_row)?;
        Ok(query)
    }

    /// Has PostgreSQL know what it would know of a primary key, of which the rows of a step have none: the
    /// columns that it determines are keys, too. Of the others, PostgreSQL takes that of any row of the group.
    fn determine(&self, query: &mut Query, keys: Vec<Expr>, others: &[Expr]) -> Result<()> {
        let SetExpr::Select(select) = &mut *query.body else {
            return Ok(());
        };
        if let GroupByExpr::Expressions(known, _) = &mut select.group_by {
            known.extend(keys);
        }
        if others.is_empty() {
            return Ok(());
        }
        for item in &mut select.projection {
            if let SelectItem::UnnamedExpr(expr) = item
                && let Some(name) = naming::item_name(&SelectItem::UnnamedExpr(expr.clone()))
            {
                *item = SelectItem::ExprWithAlias {
                    expr: expr.clone(),
                    alias: naming::ident(&name),
                };
            }
        }
        let catalog = self.question.catalog;
        let mut step = |expr: &mut Expr| {
            let is_aggregate = matches!(expr, Expr::Function(function) if functions::is_aggregate(function, catalog));
            if is_aggregate {
                return Ok(Walk::Done);
            }
            if others.contains(&normal(expr)) {
                *expr = any_of_group(expr.clone());
                return Ok(Walk::Done);
            }
            Ok(Walk::Into)
        };
        top_down(&mut select.projection, &mut step)?;
        top_down(&mut select.having, &mut step)?;
        top_down(&mut select.distinct, &mut step)?;
        top_down(&mut select.named_window, &mut step)?;
        top_down(&mut query.order_by, &mut step)?;
        Ok(())
    }

    /// Whether values of a column can be told apart by GROUP BY, as far as that is known.
    pub(super) fn has_equality(&self, column: &Expr) -> bool {
        self.facts_of(column)
            .is_none_or(|facts| self.type_has_equality(&facts.type_name))
    }

    /// Whether values of a type can be told apart, as far as that is known: those of a type of users where
    /// those of all types can that it is made of.
    fn type_has_equality(&self, name: &str) -> bool {
        match self.question.catalog.type_calls.get(&type_key(name)) {
            Some(of_users) => of_users
                .parts
                .iter()
                .all(|part| self.type_has_equality(part)),
            None => types::can_be_grouped(name),
        }
    }

    /// Whether rows with the same primary key may differ in a column: the key says nothing of rows of tables that
    /// inherit, though PostgreSQL takes its word for it (`check_functional_grouping` in
    /// `src/backend/catalog/pg_constraint.c`).
    pub(super) fn may_differ_in_group(&self, column: &Expr) -> bool {
        let relation = as_column(column).and_then(|(alias, _)| self.relation_facts(&alias));
        relation.is_some_and(|relation| relation.has_children && relation.keys.is_empty())
    }

    /// What is known of a column of a table in FROM.
    fn facts_of(&self, column: &Expr) -> Option<&ColumnFacts> {
        let (alias, name) = as_column(column)?;
        let columns = self.relations.get(&alias)?.columns.as_ref()?;
        let index = columns.iter().position(|column| column.name == name)?;
        self.relation_facts(&alias)?.columns.get(index)
    }

    /// What is known of a table in FROM.
    pub(super) fn relation_facts(&self, alias: &str) -> Option<&Relation> {
        let Source::Table(base) = &self.relations.get(alias)?.source else {
            return None;
        };
        let (schema, table) = &base.name;
        self.question.catalog.relation(Some(schema), table)
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
                if let Some(found) = self.judge_table(select, &alias)? {
                    let name = self.build_table(&alias, found, once)?;
                    *factor = step_factor(&name, Some(&alias));
                }
                Ok(())
            }
            other => self.lower_subqueries(other),
        }
    }

    /// Which rows of a table are gathered; `None`: it is not sharded.
    fn judge_table(&self, select: &Select, alias: &str) -> Result<Option<Gathered>> {
        let base = match self.relations.get(alias).map(|relation| &relation.source) {
            Some(Source::Table(base)) if base.sharding.is_some() => base.clone(),
            _ => return Ok(None),
        };
        let pinned = self.router().of_table(select, alias)?;
        Ok(Some(Gathered {
            base,
            filters: self.filters(select, alias),
            is_pinned: pinned.is_some(),
            shards: match pinned {
                Some(shards) => shards.into_iter().collect(),
                None => self.all_shards(),
            },
        }))
    }

    /// Makes the step with the rows of a table, which stands for the table from now on.
    fn build_table(&mut self, alias: &str, found: Gathered, once: bool) -> Result<String> {
        let place = Place::Shards(found.shards);
        let mut premises = vec![match found.filters.is_empty() {
            true => format!("all rows of {alias} are collected"),
            false => format!(
                "the query needs no rows of {alias} but those that these conditions let pass"
            ),
        }];
        if found.is_pinned {
            premises.push(format!(
                "a condition pins the key of {alias}: other shards have no such rows"
            ));
        }
        let name = self.table_step(alias, &found.base, found.filters, place, once)?;
        if let Some(index) = self.steps.iter().position(|step| step.name == name) {
            self.rests_on(index, premises);
        }
        self.at_least(Arm::Gather);
        if let Some(relation) = self.relations.get_mut(alias) {
            relation.source = Source::Step;
        }
        Ok(name)
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
        let mut select = select.clone();
        top_down(&mut select.projection, &mut step)?;
        top_down(&mut select.having, &mut step)?;
        top_down(&mut select.distinct, &mut step)?;
        top_down(&mut select.named_window, &mut step)?;
        top_down(&mut order_by.cloned(), &mut step)?;
        for column in found.iter().filter_map(as_column) {
            self.check_determined(&column, &keys)?;
        }
        Ok(found)
    }
}

/// The value of a column in one row of a group, whichever: `(array_agg(column))[1]`.
fn any_of_group(column: Expr) -> Expr {
    let all = build::call_builtin("array_agg", vec![column]);
    Expr::CompoundFieldAccess {
        root: Box::new(Expr::Nested(Box::new(all))),
        access_chain: vec![AccessExpr::Subscript(Subscript::Index {
            index: build::number(1),
        })],
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
