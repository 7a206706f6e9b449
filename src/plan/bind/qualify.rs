//! The query of a view means PostgreSQL's own functions and operators where they have no schema: it
//! was read with a search path that finds no others. Put into a statement, it would find those of
//! users too.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName,
    ObjectNamePart, Query, TableFactor, UnaryOperator, Value, VisitMut, VisitorMut,
};

use crate::catalog::{Catalog, Origin};
use crate::plan::naming::{ident, parts};
use crate::plan::sql;

const SCHEMA: &str = "pg_catalog";

/// Writes the schema wherever the statement's search path finds something of users too.
pub(super) fn qualify(query: &mut Query, catalog: &Catalog) {
    let _ = query.visit(&mut Qualifier { catalog });
}

struct Qualifier<'a> {
    catalog: &'a Catalog,
}

impl VisitorMut for Qualifier<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::Function(function) => {
                // Keywords have no parentheses, and no schema.
                if matches!(function.args, FunctionArguments::List(_)) {
                    self.name(&mut function.name);
                }
            }
            Expr::UnaryOp {
                op: op @ (UnaryOperator::Plus | UnaryOperator::Minus),
                expr: operand,
            } => {
                if let Some(op) = self.qualified(&op.to_string()) {
                    let operand = std::mem::replace(&mut **operand, Expr::value(Value::Null));
                    *expr = Expr::Nested(Box::new(sql::prefixed(op, operand)));
                }
            }
            Expr::BinaryOp { op, .. }
            | Expr::AnyOp { compare_op: op, .. }
            | Expr::AllOp { compare_op: op, .. } => self.operator(op),
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        self.unnest(factor);
        match factor {
            TableFactor::Table {
                name,
                args: Some(_),
                ..
            }
            | TableFactor::Function { name, .. } => self.name(name),
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

impl Qualifier<'_> {
    fn name(&self, name: &mut ObjectName) {
        let [last] = &parts(name)[..] else { return };
        let mut own = self.catalog.functions(Some(SCHEMA), last);
        if self.is_of_users(last) && own.any(|it| it.origin == Origin::System) {
            name.0.insert(0, ObjectNamePart::Identifier(ident(SCHEMA)));
        }
    }

    fn is_of_users(&self, name: &str) -> bool {
        let mut found = self.catalog.functions(None, name);
        found.any(|function| function.origin == Origin::User)
    }

    /// `unnest` has a node of its own, which has no place for a schema.
    fn unnest(&self, factor: &mut TableFactor) {
        if !self.is_of_users("unnest") {
            return;
        }
        let TableFactor::UNNEST {
            alias,
            array_exprs,
            with_ordinality,
            ..
        } = factor
        else {
            return;
        };
        let args = std::mem::take(array_exprs).into_iter();
        *factor = TableFactor::Function {
            lateral: false,
            name: ObjectName(vec![ObjectNamePart::Identifier(Ident::new("unnest"))]),
            args: args
                .map(|expr| FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)))
                .collect(),
            with_ordinality: *with_ordinality,
            alias: alias.take(),
        };
    }

    fn operator(&self, op: &mut BinaryOperator) {
        let symbol = match &*op {
            BinaryOperator::And | BinaryOperator::Or => return,
            BinaryOperator::PGCustomBinaryOperator(parts) => match &parts[..] {
                [symbol] => symbol.clone(),
                _ => return,
            },
            op => op.to_string().trim().to_owned(),
        };
        if let Some(qualified) = self.qualified(&symbol) {
            *op = qualified;
        }
    }

    /// An operator with its schema, if users have one of its symbol.
    fn qualified(&self, symbol: &str) -> Option<BinaryOperator> {
        let mut found = self.catalog.operators(None, symbol);
        let is_own = found.any(|operator| operator.origin == Origin::User);
        is_own.then(|| {
            BinaryOperator::PGCustomBinaryOperator(vec![SCHEMA.to_owned(), symbol.to_owned()])
        })
    }
}
