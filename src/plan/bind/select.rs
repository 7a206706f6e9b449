//! One SELECT: its FROM, the columns that it gives, and the clauses that may name those.

use std::collections::HashSet;

use datafusion::sql::sqlparser::ast::{
    Distinct, Expr, GroupByExpr, ObjectName, ObjectNamePart, Select, SelectItem,
    SelectItemQualifiedWildcardKind,
};

use super::columns::of_function;
use super::grouping::distinct_sets;
use super::join::unknown_columns;
use super::scope::{Scope, Visible, chain};
use super::{Binder, Output};
use crate::catalog::Catalog;
use crate::error::Result;
use crate::plan::build::FAN_OUT_HINT;
use crate::plan::from_item::FromColumn;
use crate::plan::naming::{NAMELESS, as_column, folded, ident, item_name, parts};
use crate::plan::{functions, refused, rewrite, sql};

impl Binder<'_> {
    pub(super) fn select(&mut self, select: &mut Select) -> Result<(Output, Scope)> {
        self.scopes.push(Scope::default());
        let output = self.select_in_scope(select);
        let scope = self.scopes.pop().unwrap_or_default();
        Ok((output?, scope))
    }

    fn select_in_scope(&mut self, select: &mut Select) -> Result<Output> {
        let mut from = std::mem::take(&mut select.from);
        for item in &mut from {
            let columns = self.join_tree(item)?;
            let star = self.scope().star.take();
            self.scope().star = chain(star, columns);
        }
        select.from = from;
        let items = std::mem::take(&mut select.projection);
        for item in items {
            self.select_item(item, &mut select.projection)?;
        }
        let named: Vec<_> = select
            .projection
            .iter()
            .map(|item| match item {
                SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
                    (item_name(item), Some(expr.clone()))
                }
                _ => (None, None),
            })
            .collect();
        if let Some(expr) = &mut select.selection {
            self.expression(expr)?;
        }
        if let GroupByExpr::Expressions(exprs, _) = &mut select.group_by {
            let are_distinct = sql::take_distinct(exprs);
            for expr in exprs.iter_mut() {
                self.group_key(expr, &named)?;
            }
            if are_distinct {
                self.check_distinct_keys()?;
                *exprs = distinct_sets(std::mem::take(exprs), &select.projection)?;
            }
        }
        if let Some(expr) = &mut select.having {
            self.expression(expr)?;
        }
        if let Some(Distinct::On(exprs)) = &mut select.distinct {
            let named: HashSet<_> = named.into_iter().filter_map(|(name, _)| name).collect();
            for expr in exprs {
                sql::unwrap_key(expr);
                // As in ORDER BY, a bare name is one of the output if there is one.
                let is_output = matches!(expr, Expr::Identifier(ident)
                    if named.contains(&folded(ident)));
                if !is_output {
                    self.whole_row_key(expr, &named)?;
                    self.expression(expr)?;
                }
            }
        }
        self.expression(&mut select.named_window)?;
        self.output(&select.projection)
    }

    /// PostgreSQL takes a column that USING merges, and the one that it is made of, for two keys.
    fn check_distinct_keys(&mut self) -> Result<()> {
        match self.scope().merged.is_empty() {
            true => Ok(()),
            false => Err(refused(
                "GROUP BY DISTINCT over columns that USING or NATURAL merges".to_owned(),
                "join with ON, or write the sets without DISTINCT, each once",
            )),
        }
    }

    /// GROUP BY: a bare name is a column of FROM, or else one of the output.
    fn group_key(
        &mut self,
        expr: &mut Expr,
        named: &[(Option<String>, Option<Expr>)],
    ) -> Result<()> {
        sql::unwrap_key(expr);
        self.whole_row_key(expr, &HashSet::new())?;
        match expr {
            Expr::GroupingSets(sets) | Expr::Cube(sets) | Expr::Rollup(sets) => {
                for key in sets.iter_mut().flatten() {
                    self.group_key(key, named)?;
                }
                Ok(())
            }
            Expr::Tuple(keys) => {
                for key in keys {
                    self.group_key(key, named)?;
                }
                Ok(())
            }
            Expr::Identifier(name) => {
                let folded = folded(name);
                let output = named
                    .iter()
                    .find(|(name, _)| name.as_ref() == Some(&folded));
                match (self.in_scope(self.scopes.len() - 1, &folded)?, output) {
                    (Some(column), Some(_)) if self.may_be_of_function(&column) => {
                        return Err(of_function(&folded));
                    }
                    (Some(column), _) => *expr = column,
                    (None, Some((_, Some(output)))) if may_be_written_out(output, self.catalog) => {
                        *expr = output.clone();
                    }
                    (None, Some(_)) => {}
                    (None, None) => self.expression(expr)?,
                }
                Ok(())
            }
            other => self.expression(other),
        }
    }

    fn select_item(&mut self, item: SelectItem, into: &mut Vec<SelectItem>) -> Result<()> {
        match item {
            SelectItem::Wildcard(options) => {
                let items = self.all_columns(None)?;
                match items {
                    Some(items) => into.extend(items),
                    None => into.push(SelectItem::Wildcard(options)),
                }
            }
            SelectItem::QualifiedWildcard(kind, options) => match kind {
                SelectItemQualifiedWildcardKind::ObjectName(name) => {
                    let parts = parts(&name);
                    if let Some(alias) = self.merged_alias(&parts) {
                        let columns = alias.columns.iter();
                        into.extend(columns.map(|(name, expr)| named_item(expr.clone(), name)));
                        return Ok(());
                    }
                    let visible = self.relation(&parts);
                    let alias = visible.map_or_else(|| name.to_string(), |v| v.alias);
                    match self.all_columns(Some(&alias))? {
                        Some(items) => into.extend(items),
                        None => into.push(SelectItem::QualifiedWildcard(
                            SelectItemQualifiedWildcardKind::ObjectName(ObjectName(vec![
                                ObjectNamePart::Identifier(ident(&alias)),
                            ])),
                            options,
                        )),
                    }
                }
                SelectItemQualifiedWildcardKind::Expr(row) if self.row_of(&row)?.is_some() => {
                    let name = self.row_of(&row)?.unwrap_or_default();
                    let kind = SelectItemQualifiedWildcardKind::ObjectName(ObjectName(vec![
                        ObjectNamePart::Identifier(ident(&name)),
                    ]));
                    self.select_item(SelectItem::QualifiedWildcard(kind, options), into)?;
                }
                SelectItemQualifiedWildcardKind::Expr(mut expr) => {
                    self.expression(&mut expr)?;
                    into.push(SelectItem::QualifiedWildcard(
                        SelectItemQualifiedWildcardKind::Expr(expr),
                        options,
                    ));
                }
            },
            SelectItem::UnnamedExpr(mut expr) => {
                let name = sql::output_name(&expr);
                self.expression(&mut expr)?;
                into.push(match name {
                    Some(name)
                        if name != NAMELESS && sql::output_name(&expr).as_ref() != Some(&name) =>
                    {
                        SelectItem::ExprWithAlias {
                            expr,
                            alias: ident(&name),
                        }
                    }
                    _ => SelectItem::UnnamedExpr(expr),
                });
            }
            SelectItem::ExprWithAlias { mut expr, alias } => {
                self.expression(&mut expr)?;
                into.push(SelectItem::ExprWithAlias { expr, alias });
            }
            SelectItem::ExprWithAliases { .. } => {
                return Err(refused(
                    "several aliases for one expression".to_owned(),
                    FAN_OUT_HINT,
                ));
            }
        }
        Ok(())
    }

    /// The relation whose row `(name)` is; `None` where it is a column, or anything else.
    fn row_of(&self, row: &Expr) -> Result<Option<String>> {
        let Expr::Identifier(name) = rewrite::bare(row) else {
            return Ok(None);
        };
        let name = folded(name);
        for depth in 0..self.scopes.len() {
            if self.in_scope(depth, &name)?.is_some() {
                return Ok(None);
            }
        }
        let found = self.relation(std::slice::from_ref(&name));
        Ok(found
            .filter(|visible| !self.values.contains_key(&visible.alias))
            .map(|_| name))
    }

    /// What `*` or `alias.*` stands for; `None` where a relation's columns are not known.
    fn all_columns(&mut self, only: Option<&str>) -> Result<Option<Vec<SelectItem>>> {
        let columns = match only {
            // ON does not merge columns, as USING did.
            None if self.scope().star.is_none() && !self.scope().merged.is_empty() => {
                return Err(unknown_columns());
            }
            None => {
                let scope = self.scope();
                scope.relations.iter().try_for_each(Visible::check_row)?;
                scope.star.clone()
            }
            Some(alias) => {
                let mut scopes = self.scopes.iter().rev();
                let found =
                    scopes.find_map(|scope| scope.relations.iter().find(|r| r.alias == alias));
                if let Some(visible) = found {
                    visible.check_row()?;
                }
                found.and_then(Visible::all)
            }
        };
        for (_, expr) in columns.iter().flatten() {
            if let Some((alias, _)) = as_column(expr) {
                self.distinguish(&alias);
            }
        }
        Ok(columns.map(|columns| {
            let items = columns
                .into_iter()
                .map(|(name, expr)| named_item(expr, &name));
            items.collect()
        }))
    }

    fn output(&self, items: &[SelectItem]) -> Result<Output> {
        let mut columns = Vec::new();
        for item in items {
            let (expr, name) = match item {
                SelectItem::UnnamedExpr(expr) => (expr, sql::output_name(expr).unwrap_or_default()),
                SelectItem::ExprWithAlias { expr, alias } => (expr, folded(alias)),
                _ => return Ok(None),
            };
            let origin = as_column(expr).and_then(|(alias, column)| {
                let relation = self.relations.get(&alias)?;
                let columns = relation.columns.as_ref()?;
                columns.iter().find(|c| c.name == column).cloned()
            });
            columns.push(FromColumn {
                name,
                ..origin.unwrap_or_else(FromColumn::unknown)
            });
        }
        Ok(Some(columns))
    }
}

fn named_item(expr: Expr, name: &str) -> SelectItem {
    match sql::output_name(&expr).as_deref() == Some(name) {
        true => SelectItem::UnnamedExpr(expr),
        false => SelectItem::ExprWithAlias {
            expr,
            alias: ident(name),
        },
    }
}

/// Whether an expression of the output may stand where its name does: a constant has another meaning there, and
/// a volatile query would run once more.
pub(super) fn may_be_written_out(output: &Expr, catalog: &Catalog) -> bool {
    let is_constant = matches!(rewrite::bare(output), Expr::Value(_));
    let runs_again = rewrite::has_query(output) && functions::is_volatile(output, catalog);
    !is_constant && !runs_again
}
