//! Names in expressions: which column of which relation each means.

use std::collections::HashSet;

use datafusion::sql::sqlparser::ast::{
    AccessExpr, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList,
    FunctionArguments, Ident, ObjectName, ObjectNamePart, VisitMut,
};

use super::Binder;
use super::exists::drop_select_list;
use super::scope::{MergedAlias, Visible};
use crate::error::{Error, Result};
use crate::plan::from_item::Source;
use crate::plan::naming::{as_column, column, folded, ident, parts};
use crate::plan::refused;
use crate::plan::rewrite::{self, Walk, top_down};

/// Columns that every table has beside its own (`src/backend/catalog/heap.c`).
const SYSTEM_COLUMNS: [&str; 6] = ["ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"];

impl Binder<'_> {
    /// Binds what is inside; a query in it sees the scopes of now.
    pub(super) fn expression<T: VisitMut>(&mut self, tree: &mut T) -> Result<()> {
        top_down(tree, |expr| self.step(expr))
    }

    fn step(&mut self, expr: &mut Expr) -> Result<Walk> {
        match expr {
            Expr::Identifier(name) => {
                if let Some(bound) = self.bare(&folded(name))? {
                    *expr = bound;
                }
                return Ok(Walk::Done);
            }
            Expr::CompoundIdentifier(names) => {
                let names: Vec<_> = names.iter().map(folded).collect();
                if let Some(bound) = self.qualified(&names)? {
                    *expr = bound;
                }
                return Ok(Walk::Done);
            }
            Expr::QualifiedWildcard(name, _) => {
                self.row_name(name)?;
                return Ok(Walk::Done);
            }
            Expr::Function(Function {
                args: FunctionArguments::List(FunctionArgumentList { args, .. }),
                ..
            }) => {
                for arg in args {
                    self.argument(arg)?;
                }
            }
            Expr::CompoundFieldAccess { root, access_chain } => {
                // In `a.b[1]` the name is `a.b`, though there may be a column `a`.
                if let Expr::Identifier(first) = &**root {
                    let fields: Vec<_> = access_chain.iter().map_while(field).collect();
                    let names = std::iter::once(first.clone())
                        .chain(fields)
                        .collect::<Vec<_>>();
                    if names.len() > 1 {
                        access_chain.drain(..names.len() - 1);
                        **root = Expr::CompoundIdentifier(names);
                    }
                }
                self.expression(&mut **root)?;
                for access in access_chain {
                    // A field is no column.
                    if let AccessExpr::Subscript(subscript) = access {
                        self.expression(subscript)?;
                    }
                }
                return Ok(Walk::Done);
            }
            Expr::Exists { subquery, .. } => {
                drop_select_list(subquery, self.catalog);
            }
            Expr::InSubquery {
                expr: left,
                subquery,
                ..
            } => {
                self.expression(&mut **left)?;
                self.query(subquery)?;
                return Ok(Walk::Done);
            }
            _ => {}
        }
        match rewrite::subquery(expr) {
            Some(query) => {
                self.query(query)?;
                Ok(Walk::Done)
            }
            None => Ok(Walk::Into),
        }
    }

    /// What in an argument is no expression.
    fn argument(&mut self, arg: &mut FunctionArg) -> Result<()> {
        // The name of an argument is no column.
        if let FunctionArg::ExprNamed {
            name: Expr::Identifier(name),
            arg: value,
            operator,
        } = arg
        {
            *arg = FunctionArg::Named {
                name: name.clone(),
                arg: value.clone(),
                operator: operator.clone(),
            };
        }
        match arg {
            FunctionArg::Unnamed(FunctionArgExpr::QualifiedWildcard(name)) => self.row_name(name),
            _ => Ok(()),
        }
    }

    /// The name before `.*` that stands for a whole row.
    fn row_name(&mut self, name: &mut ObjectName) -> Result<()> {
        if let Some(alias) = self.merged_alias(&parts(name)) {
            return Err(row_of_merged(&alias.name));
        }
        if let Some(visible) = self.relation(&parts(name)) {
            visible.check_row()?;
            *name = ObjectName(vec![ObjectNamePart::Identifier(ident(&visible.alias))]);
            self.rows.insert(visible.alias);
        }
        Ok(())
    }

    /// `ORDER BY t.*`: a key that is a whole row, as that by its name. As a column of a step it would be all
    /// columns.
    ///
    /// # Errors
    /// A row whose name is that of a column, too.
    pub(super) fn whole_row_key(&mut self, key: &mut Expr, output: &HashSet<String>) -> Result<()> {
        let Expr::QualifiedWildcard(name, _) = key else {
            return Ok(());
        };
        let row = match &parts(name)[..] {
            [name] if !output.contains(name) => self.bare(name)?,
            _ => None,
        };
        match row {
            Some(row @ Expr::Identifier(_)) => {
                *key = row;
                Ok(())
            }
            _ => Err(refused(
                format!("sorting or grouping by {key}, a whole row"),
                "name the columns one by one",
            )),
        }
    }

    /// A name without a table before it: a column of the nearest scope that has one, or else a
    /// whole row.
    fn bare(&mut self, name: &str) -> Result<Option<Expr>> {
        for depth in (0..self.scopes.len()).rev() {
            if let Some(found) = self.in_scope(depth, name)? {
                return Ok(Some(found));
            }
        }
        if SYSTEM_COLUMNS.contains(&name) {
            return Err(system_column(name));
        }
        // A row as a whole, or what is no column at all (`current_user`).
        let name = &[name.to_owned()];
        if let Some(alias) = self.merged_alias(name) {
            return Err(row_of_merged(&alias.name));
        }
        let Some(visible) = self.relation(name) else {
            return Ok(None);
        };
        // Its row is its value.
        if let Some(value) = self.values.get(&visible.alias) {
            return Ok(Some(column(&visible.alias, value)));
        }
        visible.check_row()?;
        let row = Expr::Identifier(ident(&visible.alias));
        self.rows.insert(visible.alias);
        Ok(Some(row))
    }

    pub(super) fn in_scope(&self, depth: usize, name: &str) -> Result<Option<Expr>> {
        let Some(scope) = self.scopes.get(depth) else {
            return Ok(None);
        };
        // ON sees its own join only.
        let visible = &scope.relations[scope.from.min(scope.relations.len())..];
        visible.iter().try_for_each(|it| it.check_column(name))?;
        let merged = scope
            .merged
            .iter()
            .find(|merged| merged.name == name && merged.start >= scope.from);
        if let Some(merged) = merged {
            return Ok(Some(merged.expr.clone()));
        }
        let known = visible.iter().find(|relation| {
            let columns = relation.columns.as_ref();
            columns.is_some_and(|columns| columns.iter().any(|c| c == name))
        });
        if let Some(relation) = known {
            return Ok(Some(column(&relation.alias, name)));
        }
        let mut unknown = visible.iter().filter(|relation| relation.columns.is_none());
        // The name is that of the column of a function that gives values, and else of its row.
        if let Some(relation) = unknown.clone().find(|relation| relation.name == name) {
            return Ok(Some(Expr::Identifier(ident(&relation.alias))));
        }
        let Some(only) = unknown.next() else {
            return Ok(None);
        };
        let mut outer = self.scopes.iter().take(depth);
        match unknown.next().is_some() || outer.any(|scope| scope.has(name)) {
            true => Err(of_function(name)),
            false => Ok(Some(column(&only.alias, name))),
        }
    }

    /// Whether a column is that of a function only because nothing else has one of its name.
    pub(super) fn may_be_of_function(&self, found: &Expr) -> bool {
        let Some((alias, name)) = as_column(found) else {
            return false;
        };
        let mut visible = self.scopes.iter().flat_map(|scope| &scope.relations);
        visible.any(|it| it.alias == alias && it.columns.is_none() && it.name != name)
    }

    /// `table.column`, `schema.table.column`.
    fn qualified(&self, names: &[String]) -> Result<Option<Expr>> {
        let Some((name, table)) = names.split_last() else {
            return Ok(None);
        };
        if let Some(alias) = self.merged_alias(table) {
            let mut columns = alias.columns.iter();
            let found = columns.find(|(column, _)| column == name);
            return match found {
                Some((_, expr)) => Ok(Some(expr.clone())),
                None => Err(row_of_merged(&alias.name)),
            };
        }
        let Some(visible) = self.relation(table) else {
            return Ok(None);
        };
        visible.check_column(name)?;
        let relation = self.relations.get(&visible.alias);
        let is_function = relation.is_some_and(|it| matches!(it.source, Source::Function));
        if let Some(columns) = &visible.columns
            && !columns.contains(name)
            // A function of what it gives, `f(x).g` as it were, which is looked at as a call.
            && !is_function
        {
            if SYSTEM_COLUMNS.contains(&&**name) {
                return Err(system_column(name));
            }
            return Err(refused(
                format!("{}.{name}, which is no column", visible.name),
                "write a function of a row as f(row)",
            ));
        }
        Ok(Some(column(&visible.alias, name)))
    }

    pub(super) fn relation(&self, names: &[String]) -> Option<Visible> {
        match self.named_in_scope(names)? {
            Named::Relation(visible) => Some(visible.clone()),
            Named::Merged(_) => None,
        }
    }

    /// The columns that USING has merged under an alias.
    pub(super) fn merged_alias(&self, names: &[String]) -> Option<&MergedAlias> {
        match self.named_in_scope(names)? {
            Named::Relation(_) => None,
            Named::Merged(alias) => Some(alias),
        }
    }

    /// What is called so in the nearest scope that has such a thing.
    fn named_in_scope(&self, names: &[String]) -> Option<Named<'_>> {
        let (name, schema) = names.split_last()?;
        let schema = schema.last();
        self.scopes.iter().rev().find_map(|scope| {
            // ON sees its own join only.
            let mut visible = scope.relations.iter().skip(scope.from);
            let relation = visible.find(|relation| {
                relation.name == *name && (schema.is_none() || relation.schema.as_ref() == schema)
            });
            let mut aliases = scope.aliases.iter();
            let alias = aliases
                .find(|alias| schema.is_none() && alias.name == *name && alias.start >= scope.from);
            let relation = relation.map(Named::Relation);
            relation.or_else(|| alias.map(Named::Merged))
        })
    }
}

/// What a name before a column may be.
enum Named<'a> {
    Relation(&'a Visible),
    Merged(&'a MergedAlias),
}

fn row_of_merged(name: &str) -> Error {
    refused(
        format!("the row of {name}, an alias of the columns that USING merges"),
        "name its columns one by one, as in row(x.a, x.b)",
    )
}

/// The name of a field.
fn field(access: &AccessExpr) -> Option<Ident> {
    match access {
        AccessExpr::Dot(Expr::Identifier(name)) => Some(name.clone()),
        _ => None,
    }
}

fn system_column(name: &str) -> Error {
    refused(
        format!("the system column {name}, which means something else on every shard"),
        "use a column of the table's own",
    )
}

pub(super) fn of_function(name: &str) -> Error {
    refused(
        format!("the column {name:?} may be that of a function in FROM"),
        "write the table before the column, and list the function's columns: AS f(a, b)",
    )
}
