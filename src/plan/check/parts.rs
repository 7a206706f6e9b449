//! Groups that have rows on several shards: a step gives parts of them, and whoever reads it puts the
//! parts together.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::ptr;

use datafusion::sql::sqlparser::ast::{
    self, DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments,
    GroupByExpr, Query, Select, SetExpr, SetOperator, SetQuantifier, TableFactor, Visit, Visitor,
};

use super::Checked;
use super::blocks::{
    Finality, Limit, Role, factors, finality, has_aggregate, has_grouping_sets, is_grouping,
    unguarded,
};
use super::reads::Facts;
use crate::error::Result;
use crate::plan::facts::aggregates::{self, Distinct};
use crate::plan::naming::{as_column, folded, parts};
use crate::plan::rewrite::{self, bare};
use crate::plan::{Merge, Place, Question, Step, functions, locality};

/// What whoever reads a step has to know of its rows.
#[derive(Debug, Clone, Default)]
pub(super) struct Given {
    /// By column, where the rows are parts of groups of which other shards may have others.
    parts: Option<Vec<Role>>,
    /// Where they are the first rows of each shard: as many as these.
    first: Option<Limit>,
}

impl Checked<'_> {
    /// What whoever reads the step has to know.
    pub(super) fn given(&self, query: &Query, facts: &Facts) -> Given {
        let is_apart = matches!(&self.step.place, Place::Shards(shards) if shards.len() > 1);
        let (true, Merge::Concatenate { fetch: None, .. }) = (
            is_apart && facts.of_shard && !self.is_last,
            &self.step.merge,
        ) else {
            return Given::default();
        };
        Given {
            parts: match &*query.body {
                SetExpr::Select(select) => self.parts(select),
                _ => None,
            },
            first: Limit::of(query),
        }
    }

    fn parts(&self, select: &Select) -> Option<Vec<Role>> {
        if finality(select, self.question, true) != Finality::Never {
            return None;
        }
        // What is whole on its shard and only compared with rows of others is no part of anything.
        let mut grouped = select.clone();
        grouped.distinct = None;
        let is_whole = finality(&grouped, self.question, true) != Finality::Never;
        let items = select.projection.iter().map(rewrite::item_expr);
        let role = |expr: Option<Expr>| match (is_whole, expr) {
            (true, _) => Role::Key,
            (false, expr) => expr.map_or(Role::Other, |expr| self.role(&expr)),
        };
        Some(items.map(role).collect())
    }

    fn role(&self, expr: &Expr) -> Role {
        match unguarded(expr) {
            Expr::Function(function)
                if functions::is_aggregate(function, self.question.catalog) =>
            {
                Role::of(&functions::name(function))
            }
            other => match contains_aggregate(other, self.question) {
                true => Role::Other,
                false => Role::Key,
            },
        }
    }

    /// Behind grouping sets, each part of a group says for which of them it is: the sets repeat the
    /// rows.
    pub(super) fn guarded(&self, select: &Select) -> Result<()> {
        let is_whole = finality(select, self.question, false) != Finality::Never;
        if is_whole || !has_grouping_sets(select) {
            return Ok(());
        }
        for item in &select.projection {
            let Some(expr) = rewrite::item_expr(item) else {
                continue;
            };
            let is_guarded = matches!(bare(&expr), Expr::Case { conditions, .. }
                if conditions.iter().all(|when| is_grouping(&when.condition)));
            if !is_guarded && contains_aggregate(&expr, self.question) {
                return Err(self.wrong(&format!(
                    "{expr} is computed once for each of several grouping sets"
                )));
            }
        }
        Ok(())
    }
}

fn contains_aggregate(expr: &Expr, question: &Question<'_>) -> bool {
    let mut found = false;
    rewrite::own_expressions(expr, |expr| {
        found |= matches!(expr, Expr::Function(function)
            if functions::is_aggregate(function, question.catalog));
    });
    found
}

impl Checked<'_> {
    /// Whoever reads parts of groups puts them together, and whoever reads the first rows of each
    /// shard takes the first of those.
    pub(super) fn taken(&self, query: &Query, given: &[Given]) -> Result<()> {
        let used: Vec<Used<'_>> = self
            .step
            .uses
            .iter()
            .filter_map(|used| {
                Some(Used {
                    step: self.earlier.get(*used)?,
                    given: given.get(*used)?,
                })
            })
            .filter(|used| used.given.parts.is_some() || used.given.first.is_some())
            .collect();
        if used.is_empty() {
            return Ok(());
        }
        let mut consumer = Consumer {
            checked: self,
            used,
            // The rows of the step may be read as a set themselves.
            is_set: vec![false],
            sets: HashSet::new(),
            wrong: None,
        };
        let _ = query.visit(&mut consumer);
        consumer.wrong.map_or(Ok(()), |what| Err(self.wrong(&what)))
    }
}

/// An earlier step whose rows are not all that there is to know.
struct Used<'a> {
    step: &'a Step,
    given: &'a Given,
}

struct Consumer<'a> {
    checked: &'a Checked<'a>,
    used: Vec<Used<'a>>,
    /// For each expression and query around: whether only which rows the query in it has matters, and
    /// not how often.
    is_set: Vec<bool>,
    /// SELECTs and queries, by their place in memory, of which that is so.
    sets: HashSet<*const ()>,
    wrong: Option<String>,
}

impl Visitor for Consumer<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        // What is asked of these is the same however often a row comes.
        if let Expr::InSubquery { .. }
        | Expr::Exists { .. }
        | Expr::AnyOp { .. }
        | Expr::AllOp { .. } = expr
        {
            self.is_set.push(true);
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if let Expr::InSubquery { .. }
        | Expr::Exists { .. }
        | Expr::AnyOp { .. }
        | Expr::AllOp { .. } = expr
        {
            self.is_set.pop();
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let around = self.is_set.last().copied().unwrap_or(false);
        let is_operand = self.sets.contains(&ptr::from_ref(query).cast());
        // A limit counts.
        let is_set = (around || is_operand) && !locality::is_limited(query);
        self.mark(&query.body, is_set);
        self.is_set.push(false);
        match self.first_rows(query) {
            Some(what) => {
                self.wrong = Some(what);
                ControlFlow::Break(())
            }
            None => ControlFlow::Continue(()),
        }
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.is_set.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        let is_set =
            self.sets.contains(&ptr::from_ref(select).cast()) && self.gives_row_for_row(select);
        if is_set {
            let factors = select.from.iter().flat_map(factors);
            self.sets.extend(factors.filter_map(|factor| match factor {
                TableFactor::Derived { subquery, .. } => Some(ptr::from_ref(&**subquery).cast()),
                _ => None,
            }));
        }
        match self.block(select, is_set) {
            Some(what) => {
                self.wrong = Some(what);
                ControlFlow::Break(())
            }
            None => ControlFlow::Continue(()),
        }
    }
}

impl Consumer<'_> {
    /// Notes of which parts of a body only the set of rows matters: operands of UNION, INTERSECT and
    /// EXCEPT without ALL, however deep.
    fn mark(&mut self, body: &SetExpr, is_set: bool) {
        match body {
            SetExpr::SetOperation {
                op,
                left,
                right,
                set_quantifier,
            } => {
                // EXCEPT ALL and INTERSECT ALL count, also where only the set of what they give matters.
                let counts = matches!(set_quantifier, SetQuantifier::All);
                let is_set = match op {
                    SetOperator::Union => is_set || !counts,
                    _ => !counts,
                };
                self.mark(left, is_set);
                self.mark(right, is_set);
            }
            SetExpr::Select(select) if is_set => {
                self.sets.insert(ptr::from_ref(&**select).cast());
            }
            SetExpr::Query(query) if is_set => {
                self.sets.insert(ptr::from_ref(&**query).cast());
            }
            _ => {}
        }
    }

    /// Whether a SELECT counts nothing: then the set of its rows is made of the sets of those that it reads.
    fn gives_row_for_row(&self, select: &Select) -> bool {
        let mut has_window = false;
        rewrite::own_expressions(&select.projection, |expr| {
            has_window |= matches!(expr, Expr::Function(function) if function.over.is_some());
        });
        !has_window
            && !is_grouped(select, self.checked.question)
            && !matches!(select.distinct, Some(ast::Distinct::On(_)))
    }

    /// What is wrong with a query that reads the first rows of each shard.
    fn first_rows(&self, query: &Query) -> Option<String> {
        let SetExpr::Select(select) = &*query.body else {
            return None;
        };
        let of = Limit::of(query);
        self.read_by(select).find_map(|(used, _)| {
            let first = used.given.first?;
            let is_enough = match of.map(|of| (of, of.wanted())) {
                Some((of, Some(wanted))) => {
                    first.rows.is_some_and(|rows| wanted <= rows)
                        && (!of.with_ties || first.with_ties)
                }
                _ => false,
            };
            (!is_enough).then(|| {
                format!(
                    "it takes more than the first rows that each shard gives of {}",
                    used.step.name
                )
            })
        })
    }

    /// What is wrong with a SELECT that may read parts in its FROM.
    fn block(&self, select: &Select, is_set: bool) -> Option<String> {
        self.read_by(select).find_map(|(used, factor)| {
            let roles = used.given.parts.as_ref()?;
            let alias = locality::factor_alias(factor)?;
            let names = columns(factor, used.step);
            one_relation(select, self.checked.question, is_set, &alias, &names, roles)
        })
    }

    /// The steps in the FROM of a SELECT.
    fn read_by<'b>(
        &'b self,
        select: &'b Select,
    ) -> impl Iterator<Item = (&'b Used<'b>, &'b TableFactor)> {
        select.from.iter().flat_map(factors).filter_map(|factor| {
            let TableFactor::Table {
                name, args: None, ..
            } = factor
            else {
                return None;
            };
            let name = parts(name);
            let used = self
                .used
                .iter()
                .find(|used| name == [used.step.name.as_str()])?;
            Some((used, factor))
        })
    }
}

/// What the columns of a step are called in FROM.
fn columns(factor: &TableFactor, step: &Step) -> Vec<String> {
    let own = step.columns.iter().map(|column| column.name.clone());
    let mut names: Vec<String> = own.collect();
    if let TableFactor::Table {
        alias: Some(alias), ..
    } = factor
    {
        for (name, renamed) in names.iter_mut().zip(&alias.columns) {
            *name = folded(&renamed.name);
        }
    }
    names
}

/// Whether an aggregate gives the same however often a row comes.
fn is_idempotent(aggregate: &str) -> bool {
    aggregates::named(aggregate).is_some_and(|known| known.distinct == Distinct::Idempotent)
}

fn one_relation(
    select: &Select,
    question: &Question<'_>,
    is_set: bool,
    alias: &str,
    names: &[String],
    roles: &[Role],
) -> Option<String> {
    let role = |expr: &Expr| {
        let (of, name) = as_column(expr)?;
        let position = (of == alias).then(|| names.iter().position(|it| *it == name))??;
        roles.get(position).copied()
    };
    let mut uses = Uses {
        question,
        role: &role,
        found: 0,
        merged: 0,
        wrong: None,
    };
    let _ = select.visit(&mut uses);
    if let Some(what) = uses.wrong {
        return Some(what);
    }
    if uses.found != uses.merged {
        return Some(format!(
            "it takes a part of a group from {alias} for the whole"
        ));
    }
    let is_merged = uses.merged > 0;
    let is_joined = is_merged || is_grouped(select, question) || select.distinct.is_some();
    match is_set || is_joined {
        true => None,
        false => Some(format!(
            "it reads groups from {alias} that come from several shards, and does not join them"
        )),
    }
}

/// Whether a SELECT has GROUP BY, or an aggregate that makes one group of all rows.
fn is_grouped(select: &Select, question: &Question<'_>) -> bool {
    !matches!(&select.group_by, GroupByExpr::Expressions(keys, _) if keys.is_empty())
        || select.having.is_some()
        || has_aggregate(select, question.catalog)
}

/// Counts how columns that are parts are used.
struct Uses<'a, F> {
    question: &'a Question<'a>,
    role: &'a F,
    /// References to parts.
    found: usize,
    /// References that are the argument of the aggregate which puts them together.
    merged: usize,
    wrong: Option<String>,
}

impl<F: Fn(&Expr) -> Option<Role>> Visitor for Uses<'_, F> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if let Expr::CompoundIdentifier(_) = expr
            && (self.role)(expr).is_some_and(|role| !matches!(role, Role::Key | Role::Other))
        {
            self.found += 1;
        }
        if let Expr::Function(function) = expr
            && function.over.is_none()
        {
            self.function(function);
        }
        match self.wrong {
            Some(_) => ControlFlow::Break(()),
            None => ControlFlow::Continue(()),
        }
    }
}

impl<F: Fn(&Expr) -> Option<Role>> Uses<'_, F> {
    fn function(&mut self, function: &Function) {
        let name = functions::name(function);
        let is_distinct = matches!(&function.args, FunctionArguments::List(list)
            if list.duplicate_treatment == Some(DuplicateTreatment::Distinct));
        for arg in functions::arguments(function) {
            let FunctionArg::Unnamed(FunctionArgExpr::Expr(arg)) = arg else {
                continue;
            };
            let arg = unguarded(arg);
            match (self.role)(arg) {
                Some(Role::Key)
                    if !is_distinct
                        && functions::is_aggregate(function, self.question.catalog)
                        && !is_idempotent(&name) =>
                {
                    self.wrong = Some(format!(
                        "{name} counts {arg} once for each shard, and not for each row"
                    ));
                }
                Some(Role::Key | Role::Other) | None => {}
                Some(role) if role.is_merged_by(&name) && !is_distinct => self.merged += 1,
                Some(_) => {
                    self.wrong = Some(format!("{name} does not put {arg} together"));
                }
            }
        }
    }
}
