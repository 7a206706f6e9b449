//! `ORDER BY x USING ~<~`: the order of an operator, as one that all servers and merges know.
//!
//! `~<~` and `~>~` compare the bytes of texts, as `<` and `>` do under the collation `"C"`
//! (`text_pattern_ops`, `bpchar_pattern_ops`): *exact because* both call the same rows equal too. *Does not hold
//! when* the operator is one of users or of an extension, or when the key has to be a column of the output as it
//! stands: under DISTINCT, or behind a set operation.

use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    DuplicateTreatment, Expr, Function, FunctionArgumentClause, FunctionArguments, Ident,
    NamedWindowExpr, ObjectName, OrderByExpr, OrderByKind, Query, Select, SelectItem, SetExpr,
    VisitMut, VisitorMut, WindowType,
};

use super::Binder;
use super::select::may_be_written_out;
use crate::catalog::{Catalog, Origin};
use crate::error::{Error, Result};
use crate::plan::from_item::FromItem;
use crate::plan::naming::{as_column, folded, ident, item_name};
use crate::plan::rewrite::{bare, item_expr};
use crate::plan::{refused, sql};

impl Binder<'_> {
    /// Puts the expression of a column of the output in place of its name or number, before USING: no operator
    /// can be written behind that.
    pub(super) fn output_before_using(&self, key: &mut Expr, body: &SetExpr) -> Result<bool> {
        let Some(sorted) = sql::before_using(key) else {
            return Ok(false);
        };
        let output = match body {
            SetExpr::Select(select) => output(sorted, &select.projection),
            _ => Some(None),
        };
        match output {
            None => Ok(false),
            Some(Some(expr)) if may_be_written_out(&expr, self.catalog) => {
                *sorted = expr;
                Ok(true)
            }
            Some(_) => Err(of_output(sorted)),
        }
    }
}

/// The column of the output that a key of ORDER BY stands for, as far as it is known.
fn output(key: &Expr, projection: &[SelectItem]) -> Option<Option<Expr>> {
    let found = match bare(key) {
        Expr::Identifier(name) => {
            let name = folded(name);
            let mut items = projection.iter();
            items.find(|item| item_name(item).as_deref() == Some(&name))?
        }
        Expr::Value(value) => {
            let number: usize = value.to_string().parse().ok()?;
            number.checked_sub(1).and_then(|at| projection.get(at))?
        }
        _ => return None,
    };
    Some(item_expr(found))
}

/// Writes all such orders of a bound statement.
///
/// # Errors
/// An operator whose order is no other's.
pub(super) fn write_orders(
    query: &mut Query,
    relations: &HashMap<String, FromItem>,
    catalog: &Catalog,
) -> Result<()> {
    match query.visit(&mut Orders { relations, catalog }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(*error),
    }
}

struct Orders<'a> {
    relations: &'a HashMap<String, FromItem>,
    catalog: &'a Catalog,
}

impl VisitorMut for Orders<'_> {
    type Break = Box<Error>;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Box<Error>> {
        let is_distinct = match &*query.body {
            SetExpr::Select(select) => select.distinct.is_some(),
            _ => true,
        };
        let kind = query.order_by.as_mut().map(|order_by| &mut order_by.kind);
        match kind {
            Some(OrderByKind::Expressions(keys)) => self.keys(keys, is_distinct),
            _ => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Box<Error>> {
        for window in &mut select.named_window {
            if let NamedWindowExpr::WindowSpec(window) = &mut window.1 {
                self.keys(&mut window.order_by, false)?;
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Box<Error>> {
        let Expr::Function(Function {
            args,
            within_group,
            over,
            ..
        }) = expr
        else {
            return ControlFlow::Continue(());
        };
        self.keys(within_group, false)?;
        if let Some(WindowType::WindowSpec(window)) = over {
            self.keys(&mut window.order_by, false)?;
        }
        if let FunctionArguments::List(list) = args {
            let is_distinct = list.duplicate_treatment == Some(DuplicateTreatment::Distinct);
            for clause in &mut list.clauses {
                if let FunctionArgumentClause::OrderBy(keys) = clause {
                    self.keys(keys, is_distinct)?;
                }
            }
        }
        ControlFlow::Continue(())
    }
}

impl Orders<'_> {
    fn keys(&self, keys: &mut [OrderByExpr], is_distinct: bool) -> ControlFlow<Box<Error>> {
        for key in keys {
            if let Err(error) = self.key(key, is_distinct) {
                return ControlFlow::Break(Box::new(error));
            }
        }
        ControlFlow::Continue(())
    }

    fn key(&self, key: &mut OrderByExpr, is_distinct: bool) -> Result<()> {
        let Some((sorted, operator)) = sql::order_of_operator(&key.expr) else {
            return Ok(());
        };
        let (schema, symbol) = match &operator[..] {
            [symbol] => (None, symbol),
            [.., schema, symbol] => (Some(schema.as_str()), symbol),
            [] => return Ok(()),
        };
        let is_ascending = match symbol.as_str() {
            "~<~" => true,
            "~>~" => false,
            _ => return Err(of_operator(symbol)),
        };
        let mut found = self.catalog.operators(schema, symbol);
        if !found.all(|it| it.origin == Origin::System) && !self.is_text(sorted) {
            return Err(of_operator(symbol));
        }
        if is_distinct {
            return Err(of_output(sorted));
        }
        let sorted = match sorted {
            Expr::CompoundIdentifier(_) | Expr::Nested(_) => sorted.clone(),
            other => Expr::Nested(Box::new(other.clone())),
        };
        key.expr = Expr::Collate {
            expr: Box::new(sorted),
            collation: ObjectName::from(vec![ident("pg_catalog"), Ident::with_quote('"', "C")]),
        };
        key.options.asc = Some(is_ascending);
        Ok(())
    }

    /// Whether an expression is a column of one of PostgreSQL's own types of texts.
    fn is_text(&self, expr: &Expr) -> bool {
        let column = as_column(expr).and_then(|(alias, name)| {
            let columns = self.relations.get(&alias)?.columns.as_ref()?;
            columns.iter().find(|column| column.name == name)
        });
        let declared = column.and_then(|column| column.declared.as_ref()?.base.as_deref());
        declared.is_some_and(|base| ["text", "varchar", "bpchar"].contains(&base))
    }
}

fn of_operator(symbol: &str) -> Error {
    refused(
        format!("ORDER BY .. USING {symbol}: the order of an operator"),
        "sort by an expression with ASC or DESC, by a text COLLATE \"C\" for ~<~, or use --fan-out",
    )
}

fn of_output(key: &Expr) -> Error {
    refused(
        format!("ORDER BY {key} USING an operator, by a column of the output"),
        "sort by ASC or DESC, or select the column in a query in FROM and sort outside, by x COLLATE \"C\" for ~<~",
    )
}
