//! The keys of the parts of groups: those of GROUP BY, columns that these determine, and what
//! conditions on rows of outer queries ask of the block's own rows. What types they have, PostgreSQL
//! is asked; values that it calls equal become one group there too.

use std::collections::HashSet;

use datafusion::sql::sqlparser::ast::{
    DuplicateTreatment, Expr, FunctionArguments, GroupByExpr, Query, Select, SelectItem, SetExpr,
};

use super::super::collation::Told;
use super::super::obstacle::{Judged, Obstacle};
use super::super::steps::can_be_sent;
use super::super::{Planner, Result};
use super::parts::{Parts, resolve};
use crate::plan::aggregate::{Partial, PartialKind};
use crate::plan::facts::{aggregates, types};
use crate::plan::naming::as_column;
use crate::plan::{StepColumn, build, functions, locality, refused};
use crate::types::Column;

impl Planner<'_> {
    /// GROUP BY, with expressions in place of numbers and names; they are entered as keys.
    pub(super) fn group_keys(&self, select: &Select, parts: &mut Parts) -> Judged<Vec<Expr>> {
        let written = match &select.group_by {
            GroupByExpr::Expressions(written, modifiers) if modifiers.is_empty() => written,
            _ => return Err(Obstacle::Unfit("GROUP BY is not PostgreSQL's")),
        };
        let mut grouping = written.clone();
        for key in &mut grouping {
            resolve(key, &select.projection, parts);
        }
        for key in &parts.keys {
            if matches!(key, Expr::Value(_)) {
                return Err("GROUP BY has a constant".into());
            }
            if functions::is_volatile(key, self.question.catalog) {
                return Err("GROUP BY holds a volatile function".into());
            }
            if let Some(reason) = self.locality().global_beside(select, key) {
                return Err(Obstacle::Reason(reason));
            }
            if self.names_outer(key, &parts.own) {
                return Err("GROUP BY names columns of an outer query".into());
            }
        }
        Ok(grouping)
    }

    /// Asks for the types of the keys, which it returns, and of the arguments of the aggregates,
    /// which it enters: they are PostgreSQL's to tell.
    pub(super) fn ask_types(
        &self,
        query: &Query,
        select: &Select,
        parts: &mut Parts,
    ) -> Judged<Vec<Column>> {
        let calls = self.aggregate_calls(query, select);
        let mut asked: Vec<Expr> = parts.keys.clone();
        for call in &calls {
            let expr = Expr::Function(call.clone());
            if let Some(reason) = self.locality().global_beside(select, &expr) {
                return Err(Obstacle::Reason(reason));
            }
            if self.names_outer(&expr, &parts.own)
                || functions::is_volatile(&expr, self.question.catalog)
            {
                return Err(Obstacle::Reason(format!(
                    "{}: its argument is volatile or of an outer query",
                    functions::name(call)
                )));
            }
            asked.extend(functions::expressions(call).into_iter().cloned());
        }
        if asked.is_empty() {
            return Ok(Vec::new());
        }
        let probe = probe(query, select, &asked);
        let mut types = self.describe(&probe)?;
        let told = self.collations(&probe, &types)?;
        let printed = asked.iter().map(ToString::to_string);
        parts.collations = printed.zip(told).collect();
        let mut of_arguments = types
            .split_off(parts.keys.len().min(types.len()))
            .into_iter();
        if !types.iter().all(can_be_sent) {
            return Err("a group key is a row without a type of its own".into());
        }
        for call in &calls {
            let own = of_arguments
                .by_ref()
                .take(functions::expressions(call).len());
            parts
                .arguments
                .insert(call.to_string(), own.map(|column| column.pg_type).collect());
        }
        Ok(types)
    }

    /// Asks for the types of the keys that no GROUP BY has.
    pub(super) fn ask_found_types(
        &self,
        query: &Query,
        select: &Select,
        parts: &mut Parts,
    ) -> Judged<Vec<Column>> {
        let found = &parts.keys[parts.grouped..];
        if found.is_empty() {
            return Ok(Vec::new());
        }
        let probe = probe(query, select, found);
        let types = self.describe(&probe)?;
        let has_equality = |(key, column): &(&Expr, &Column)| {
            types::can_be_grouped(column.pg_type.name()) && self.has_equality(key)
        };
        if let Some((_, column)) = found.iter().zip(&types).find(|it| !has_equality(it)) {
            return Err(Obstacle::Reason(format!(
                "a group would have to be made of values of type {}",
                column.pg_type.name()
            )));
        }
        let told = self.collations(&probe, &types)?;
        let printed = found.iter().map(ToString::to_string);
        parts.collations.extend(printed.zip(told));
        Ok(types)
    }

    /// The types of what aggregates take once, which the shards group by too.
    pub(super) fn distinct_types(
        &self,
        query: &Query,
        select: &Select,
        parts: &Parts,
    ) -> Vec<String> {
        let calls = self.aggregate_calls(query, select);
        let distinct = calls.iter().filter(|call| {
            matches!(&call.args, FunctionArguments::List(list)
                if list.duplicate_treatment == Some(DuplicateTreatment::Distinct))
        });
        let types = distinct.filter_map(|call| parts.arguments.get(&call.to_string()));
        types
            .flatten()
            .map(|pg_type| pg_type.name().to_owned())
            .collect()
    }

    /// What GROUP BY has to name besides: columns that its keys determine.
    pub(super) fn determined_keys(&self, parts: &Parts) -> Judged<Vec<Expr>> {
        if !parts.beside.is_empty() && !parts.plain {
            return Err("grouping sets with columns that their keys determine".into());
        }
        for key in parts
            .beside
            .iter()
            .filter_map(|index| parts.keys.get(*index))
        {
            if let Some(column) = as_column(key) {
                self.check_determined(&column, &parts.keys[..parts.grouped])?;
            }
            if self.may_differ_in_group(key) {
                return Err(Obstacle::Reason(format!(
                    "tables inherit from that of {key}, and may have its primary key once more"
                )));
            }
            if !self.has_equality(key) {
                return Err(Obstacle::Reason(format!(
                    "a group would have to be made of {key}, whose type has no equality"
                )));
            }
        }
        Ok(parts.beside.iter().map(|index| parts.key(*index)).collect())
    }

    /// Checks that group keys hold a key of the table whose column is selected beside them.
    pub(in crate::plan::arms) fn check_determined(
        &self,
        (alias, name): &locality::ColumnName,
        keys: &[Expr],
    ) -> Result<()> {
        let facts = self.relation_facts(alias);
        let grouped: HashSet<_> = keys
            .iter()
            .filter_map(as_column)
            .filter(|(of, _)| of == alias)
            .map(|(_, column)| column)
            .collect();
        let known = facts.is_some_and(|facts| {
            let renamed = self.is_renamed(alias);
            let mut keys = facts.keys.iter().chain(&facts.primary_key);
            keys.any(|key| renamed || key.iter().all(|column| grouped.contains(column)))
        });
        match known {
            true => Ok(()),
            false => Err(refused(
                format!("{alias}.{name} is selected beside GROUP BY, and no primary key that all shards have would determine it"),
                "add the column to GROUP BY, write the expression as GROUP BY has it, or give all shards the same primary key",
            )
            .into()),
        }
    }

    /// Values that PostgreSQL calls equal may differ in what a condition asks for, such as the scale
    /// of a number: they must not become one group.
    pub(super) fn tell_equal_values_apart(&self, parts: &mut Parts, types: &[Column]) {
        let mut apart = Vec::new();
        for index in &parts.in_conditions {
            let (Some(key), Some(column)) = (parts.keys.get(*index), types.get(*index)) else {
                continue;
            };
            if !self.is_identified(column, &self.told(parts, key)) {
                // The output function keeps all there is: a cast of bpchar to text does not.
                let text = build::call_builtin("concat", vec![key.clone()]);
                apart.push(build::collate(text, "C"));
            }
        }
        parts.keys.extend(apart);
    }

    /// The columns of the partial aggregates' rows: first the keys.
    pub(super) fn partial_columns(&self, parts: &Parts) -> Judged<Vec<StepColumn>> {
        let mut columns = self
            .key_columns(parts)
            .map_err(|()| Obstacle::from("a group key has a collation that cannot be told"))?;
        for (index, partial) in parts.partials.iter().enumerate() {
            let collation = self.partial_collation(parts, partial).map_err(|()| {
                Obstacle::from("min or max of text whose collation cannot be told")
            })?;
            columns.push(self.step_column("a", index + 1, collation));
        }
        if columns.is_empty() {
            // As the shard query has it, which selects something.
            columns.push(self.step_column("c", 1, None));
        }
        Ok(columns)
    }

    /// The columns of the keys; `Err`: a collation cannot be told.
    fn key_columns(&self, parts: &Parts) -> std::result::Result<Vec<StepColumn>, ()> {
        let column = |(index, key)| {
            let collation = self.told(parts, key)?.and_then(|collation| collation.sql);
            Ok(self.step_column("k", index + 1, collation))
        };
        parts.keys.iter().enumerate().map(column).collect()
    }

    /// The collation of a key or an argument.
    pub(super) fn told(&self, parts: &Parts, expr: &Expr) -> Told {
        let known = parts.collations.get(&expr.to_string()).cloned();
        // An argument of which FILTER leaves some out.
        if known.is_none()
            && let Expr::Case {
                conditions,
                else_result: None,
                ..
            } = expr
            && let [when] = &conditions[..]
        {
            return self.told(parts, &when.result);
        }
        known
            .or_else(|| self.written_collation(expr))
            .unwrap_or(Err(()))
    }

    fn partial_collation(
        &self,
        parts: &Parts,
        partial: &Partial,
    ) -> std::result::Result<Option<String>, ()> {
        let expr = match (&partial.kind, &partial.expr) {
            (PartialKind::Distinct, expr) => Some(expr.clone()),
            (PartialKind::Aggregate, Expr::Function(function))
                if aggregates::named(&functions::name(function))
                    .is_some_and(aggregates::Aggregate::gives_back) =>
            {
                functions::expressions(function).first().copied().cloned()
            }
            _ => None,
        };
        match expr {
            Some(expr) => Ok(self.told(parts, &expr)?.and_then(|c| c.sql)),
            None => Ok(None),
        }
    }
}

/// A query for the types of expressions over the FROM of a block.
fn probe(query: &Query, select: &Select, exprs: &[Expr]) -> Query {
    let items = exprs.iter().cloned().map(SelectItem::UnnamedExpr).collect();
    let probe = build::select(items, select.from.clone());
    let mut probe = build::query(SetExpr::Select(Box::new(probe)));
    probe.with.clone_from(&query.with);
    probe
}
