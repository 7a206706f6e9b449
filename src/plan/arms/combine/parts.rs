//! The keys and partial aggregates of a block, and what the shards run to compute them.

use std::collections::{BTreeSet, HashMap, HashSet};

use datafusion::sql::sqlparser::ast::{
    AccessExpr, BinaryOperator, DataType, Expr, GroupByExpr, Query, Select, SelectItem, SetExpr,
    Value,
};

use super::super::collation::Told;
use crate::catalog::Catalog;
use crate::plan::aggregate::{self, Partial, PartialKind, Unsplit};
use crate::plan::argument::add;
use crate::plan::facts::functions::never_fails_called;
use crate::plan::names::{self, Names};
use crate::plan::naming::{self, as_column, folded, ident};
use crate::plan::rewrite::{self, Walk, bare, top_down};
use crate::plan::same::normal;
use crate::plan::{build, functions, locality};
use crate::types::PgType;

/// The keys and partial aggregates of a block.
pub(super) struct Parts {
    pub(super) prefix: String,
    /// Of the step.
    pub(super) name: String,
    /// The relations of FROM.
    pub(super) own: HashSet<String>,
    pub(super) keys: Vec<Expr>,
    /// The keys as they are compared; those that only tell equal values apart are not here.
    forms: Vec<Expr>,
    /// How many keys GROUP BY has; those behind were found elsewhere.
    pub(super) grouped: usize,
    /// The keys, by index, that conditions on rows of outer queries use.
    pub(super) in_conditions: BTreeSet<usize>,
    /// The keys, by index, that no GROUP BY has and that stand beside the aggregates.
    pub(super) beside: BTreeSet<usize>,
    pub(super) partials: Vec<Partial>,
    /// The partials that make a grouping set together.
    pub(super) sets: Vec<Vec<usize>>,
    /// No ROLLUP, CUBE or GROUPING SETS.
    pub(super) plain: bool,
    pub(super) float_order: bool,
    /// Why each aggregate is made of its parts, for people.
    pub(super) because: Vec<String>,
    /// Of each call, as printed: the types of its arguments.
    pub(super) arguments: HashMap<String, Vec<PgType>>,
    /// Of each key of GROUP BY and argument, as printed.
    pub(super) collations: HashMap<String, Told>,
    /// What combines a partial that is its call's value, as printed.
    pub(super) direct: HashMap<String, usize>,
}

impl Parts {
    /// None yet, of a block over `own`; `step` is the number that their step will have.
    pub(super) fn new(prefix: &str, step: usize, own: HashSet<String>) -> Self {
        Self {
            prefix: prefix.to_owned(),
            name: format!("{prefix}{step}"),
            own,
            keys: Vec::new(),
            forms: Vec::new(),
            grouped: 0,
            in_conditions: BTreeSet::new(),
            beside: BTreeSet::new(),
            partials: Vec::new(),
            sets: Vec::new(),
            plain: true,
            float_order: false,
            because: Vec::new(),
            arguments: HashMap::new(),
            collations: HashMap::new(),
            direct: HashMap::new(),
        }
    }

    pub(super) fn key(&self, index: usize) -> Expr {
        naming::column(&self.name, &format!("{}k{}", self.prefix, index + 1))
    }

    fn find_key(&self, expr: &Expr) -> Option<usize> {
        let wanted = normal(expr);
        self.forms.iter().position(|form| *form == wanted)
    }

    fn add_key(&mut self, expr: &Expr) -> usize {
        self.find_key(expr).unwrap_or_else(|| {
            self.keys.push(bare(expr).clone());
            self.forms.push(normal(expr));
            self.keys.len() - 1
        })
    }

    /// Makes keys of what a condition on rows of outer queries says of the block's own rows.
    pub(super) fn condition_step(
        &mut self,
        expr: &mut Expr,
        catalog: &Catalog,
        failed: &mut Option<String>,
    ) -> Walk {
        let found = Names::beside_queries(expr);
        if found.has_row_of(&self.own) {
            *failed = Some("a condition names a whole row".to_owned());
            return Walk::Done;
        }
        let names = found.of_columns();
        // What stands alone may be the row of an outer query, and functions like random() are called
        // for each of those.
        if names.is_empty()
            || !names.is_subset(&self.own)
            || !found.alone().is_empty()
            || functions::is_volatile(expr, catalog)
        {
            return Walk::Into;
        }
        // It is computed for rows too that a CASE or an AND keeps it from.
        if as_column(expr).is_none() && !never_fails(expr, catalog) {
            return Walk::Into;
        }
        let index = self.add_key(expr);
        self.in_conditions.insert(index);
        *expr = self.key(index);
        Walk::Done
    }

    /// Replaces keys and aggregates by what stands for them over the merged rows.
    pub(super) fn step(
        &mut self,
        expr: &mut Expr,
        catalog: &Catalog,
        columns: &aggregate::Columns<'_>,
        failed: &mut Option<String>,
        subqueries: &mut Vec<Query>,
    ) -> crate::error::Result<Walk> {
        if failed.is_some() {
            return Ok(Walk::Done);
        }
        if let Some(index) = self.find_key(expr) {
            if index >= self.grouped {
                self.beside.insert(index);
            }
            *expr = self.key(index);
            return Ok(Walk::Done);
        }
        // `(key).field`: with its parentheses, or it would be the field of a table.
        if let Expr::CompoundFieldAccess { root, access_chain } = expr
            && let Some(index) = self.find_key(root)
            && access_chain
                .iter()
                .all(|it| matches!(it, AccessExpr::Dot(_)))
        {
            if index >= self.grouped {
                self.beside.insert(index);
            }
            **root = Expr::Nested(Box::new(self.key(index)));
            return Ok(Walk::Done);
        }
        if let Expr::InSubquery { expr: left, .. } = expr {
            let mut inner = (**left).clone();
            top_down(&mut inner, |expr| {
                self.step(expr, catalog, columns, failed, subqueries)
            })?;
            **left = inner;
        }
        if let Some(query) = rewrite::subquery(expr) {
            subqueries.push(query.clone());
            return Ok(Walk::Done);
        }
        match expr {
            Expr::Function(function) if functions::is_aggregate(function, catalog) => {
                let types = self
                    .arguments
                    .get(&function.to_string())
                    .cloned()
                    .unwrap_or_default();
                let name = functions::name(function);
                if functions::system_name(function, catalog).is_none() {
                    *failed = Some(format!(
                        "{name} may be an aggregate of the database's users"
                    ));
                    return Ok(Walk::Done);
                }
                match aggregate::split(function, &types, columns) {
                    Err(Unsplit::Fault(error)) => return Err(error),
                    Err(Unsplit::Reason(reason)) => *failed = Some(reason),
                    Ok(split) => {
                        let mut calls = split.calls.iter();
                        if let Some(shadowed) =
                            calls.find(|call| functions::is_shadowed(call, catalog))
                        {
                            *failed = Some(format!(
                                "{name} is taken apart with {shadowed}, which the database's users \
                                 have a function of"
                            ));
                            return Ok(Walk::Done);
                        }
                        let mut names = Vec::new();
                        let mut set = Vec::new();
                        for partial in &split.partials {
                            let known = self.partials.iter().position(|known| {
                                known.kind == partial.kind
                                    && known.expr.to_string() == partial.expr.to_string()
                            });
                            let index = known.unwrap_or_else(|| {
                                self.partials.push(partial.clone());
                                self.partials.len() - 1
                            });
                            if partial.kind == PartialKind::Distinct {
                                set.push(index);
                            }
                            names.push(naming::column(
                                &self.name,
                                &format!("{}a{}", self.prefix, index + 1),
                            ));
                        }
                        if !set.is_empty() && !self.sets.contains(&set) {
                            self.sets.push(set);
                        }
                        self.float_order |= split.float_order;
                        add(&mut self.because, split.because.clone());
                        *expr = split.combine(&names);
                        if split.direct
                            && let [partial] = &split.partials[..]
                            && let Some(index) = self.partials.iter().position(|known| {
                                known.expr.to_string() == partial.expr.to_string()
                            })
                        {
                            self.direct.insert(expr.to_string(), index);
                        }
                    }
                }
                Ok(Walk::Done)
            }
            // A column that the group keys determine.
            Expr::CompoundIdentifier(_) => {
                if let Some((alias, _)) = as_column(expr)
                    && self.own.contains(&alias)
                {
                    let index = self.add_key(expr);
                    self.beside.insert(index);
                    *expr = self.key(index);
                }
                Ok(Walk::Done)
            }
            Expr::Identifier(name) if self.own.contains(&folded(name)) => {
                *failed = Some("a whole row beside aggregates".to_owned());
                Ok(Walk::Done)
            }
            Expr::Function(function) if !names::rows_given(function).is_disjoint(&self.own) => {
                *failed = Some("a whole row beside aggregates".to_owned());
                Ok(Walk::Done)
            }
            _ => Ok(Walk::Into),
        }
    }

    /// What the shards run.
    pub(super) fn shard_query(&self, select: &Select, pushed: Vec<Expr>) -> Query {
        let name = |kind: &str, index: usize| ident(&format!("{}{kind}{}", self.prefix, index + 1));
        let mut items: Vec<_> = self
            .keys
            .iter()
            .enumerate()
            .map(|(index, key)| SelectItem::ExprWithAlias {
                expr: key.clone(),
                alias: name("k", index),
            })
            .collect();
        // Of each set, what is not a key: only that tells its rows from others.
        let sets: Vec<Vec<Expr>> = self
            .sets
            .iter()
            .map(|set| {
                let exprs = set.iter().filter_map(|index| self.partials.get(*index));
                exprs
                    .map(|partial| partial.expr.clone())
                    .filter(|expr| self.find_key(expr).is_none())
                    .collect::<Vec<_>>()
            })
            .filter(|set| !set.is_empty())
            .collect();
        let mut kinds = self.partials.iter().map(|partial| partial.kind);
        let marked = !sets.is_empty() && kinds.any(|kind| kind == PartialKind::Aggregate);
        let mark = self.mark();
        for (index, partial) in self.partials.iter().enumerate() {
            let expr = match partial.kind {
                // Every set counts all rows: only the keys' own set does it for all.
                PartialKind::Aggregate if marked => build::case_when(
                    build::equal(
                        build::call("GROUPING", vec![mark.clone()]),
                        build::number(1),
                    ),
                    partial.expr.clone(),
                ),
                _ => partial.expr.clone(),
            };
            items.push(SelectItem::ExprWithAlias {
                expr,
                alias: name("a", index),
            });
        }
        if items.is_empty() {
            // `SELECT 1 FROM t HAVING true`
            items.push(SelectItem::ExprWithAlias {
                expr: Expr::value(Value::Boolean(true)),
                alias: name("c", 0),
            });
        }
        let mut shard = build::select(items, select.from.clone());
        shard.selection = rewrite::all_of(pushed);
        let grouping = match sets.is_empty() {
            true => self.keys.clone(),
            false => {
                let mut all = vec![self.keys.clone()];
                for set in sets {
                    let mut set_keys = self.keys.clone();
                    set_keys.extend(set);
                    let printed: Vec<_> = set_keys.iter().map(ToString::to_string).collect();
                    let known = all.iter().any(|known| {
                        known.iter().map(ToString::to_string).collect::<Vec<_>>() == printed
                    });
                    if !known {
                        all.push(set_keys);
                    }
                }
                for set in all.iter_mut().skip(1).filter(|_| marked) {
                    set.push(mark.clone());
                }
                vec![Expr::GroupingSets(all)]
            }
        };
        shard.group_by = GroupByExpr::Expressions(grouping, Vec::new());
        build::query(SetExpr::Select(Box::new(shard)))
    }

    /// What all grouping sets but that of the keys alone have beside plain aggregates: a constant, so it makes no groups.
    ///
    /// The distinct values themselves do not tell the sets apart: PostgreSQL may find one equal to a
    /// key that is written in another way, as `x::int` is to `x`. No key has this text in it.
    fn mark(&self) -> Expr {
        let keys: String = self.keys.iter().map(ToString::to_string).collect();
        let mut text = "distinct".to_owned();
        while keys.contains(&text) {
            text.push('_');
        }
        build::text(&text)
    }
}

/// Whether an expression has a value for all values of its columns: no division by zero, no text that
/// is no number.
fn never_fails(expr: &Expr, catalog: &Catalog) -> bool {
    let mut ok = true;
    rewrite::own_expressions(expr, |part| {
        ok &= match part {
            Expr::CompoundIdentifier(_)
            | Expr::Value(_)
            | Expr::Nested(_)
            | Expr::IsNull(_)
            | Expr::IsNotNull(_)
            | Expr::Collate { .. }
            | Expr::Trim { .. } => true,
            Expr::BinaryOp { op, .. } => matches!(
                op,
                BinaryOperator::Eq
                    | BinaryOperator::NotEq
                    | BinaryOperator::Lt
                    | BinaryOperator::LtEq
                    | BinaryOperator::Gt
                    | BinaryOperator::GtEq
                    | BinaryOperator::Arrow
                    | BinaryOperator::LongArrow
                    | BinaryOperator::StringConcat
            ),
            Expr::Cast { data_type, .. } => {
                matches!(data_type, DataType::Text | DataType::Varchar(None))
            }
            Expr::Function(call) => functions::system_name(call, catalog)
                .is_some_and(|name| never_fails_called(&name, functions::arguments(call).len())),
            _ => false,
        };
    });
    ok
}

/// Puts expressions in place of the numbers and names by which GROUP BY calls columns of the
/// output, and enters them as keys.
pub(super) fn resolve(key: &mut Expr, projection: &[SelectItem], parts: &mut Parts) {
    match key {
        Expr::GroupingSets(sets) | Expr::Cube(sets) | Expr::Rollup(sets) => {
            parts.plain = false;
            for inner in sets.iter_mut().flatten() {
                resolve(inner, projection, parts);
            }
        }
        Expr::Tuple(keys) => {
            for inner in keys {
                resolve(inner, projection, parts);
            }
        }
        Expr::Nested(inner)
            if matches!(
                **inner,
                Expr::GroupingSets(_) | Expr::Cube(_) | Expr::Rollup(_)
            ) =>
        {
            resolve(inner, projection, parts);
        }
        other => {
            *other = locality::resolve_key(other, projection);
            parts.add_key(other);
        }
    }
}
