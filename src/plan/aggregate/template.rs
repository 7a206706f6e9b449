//! SQL with `$1`, `$2`, ... where expressions are to be filled in.
//!
//! The rules for aggregates are written as SQL, which is what people review them against. A
//! placeholder that is an operand stands in parentheses there, so that whatever is filled in keeps
//! its meaning: `($1) * ($1)`.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Function, TableFactor, Value, visit_expressions, visit_expressions_mut,
};

use super::Unsplit;
use crate::plan::{rewrite, sql};

/// Parses one expression.
pub(super) fn parse(sql: &str) -> Result<Expr, Unsplit> {
    Ok(sql::made_expr(sql)?)
}

/// The expression with each `$n` replaced by the n-th of `values`; a placeholder beyond them stays.
pub(super) fn fill(template: &Expr, values: &[Expr]) -> Expr {
    let mut filled = template.clone();
    // Children come before their parents, so what has been filled in is not visited.
    let _ = visit_expressions_mut(&mut filled, |expr| {
        if let Some(value) = placeholder(expr).and_then(|number| values.get(number - 1)) {
            *expr = value.clone();
        }
        ControlFlow::<()>::Continue(())
    });
    filled
}

/// Puts a condition on every aggregate call of a template that holds no other function.
pub(super) fn with_filter(template: &mut Expr, filter: &Expr) {
    let _ = visit_expressions_mut(template, |expr| {
        if let Expr::Function(Function {
            filter: present, ..
        }) = expr
        {
            let condition = match present.take() {
                Some(own) => Expr::BinaryOp {
                    left: own,
                    op: BinaryOperator::And,
                    right: Box::new(Expr::Nested(Box::new(filter.clone()))),
                },
                None => filter.clone(),
            };
            *present = Some(Box::new(condition));
        }
        ControlFlow::<()>::Continue(())
    });
}

/// The functions that a template calls, in lower case.
pub(super) fn calls(template: &Expr) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let _ = visit_expressions(template, |expr| {
        if let Expr::Function(function) = expr {
            found.insert(function.name.to_string().to_lowercase());
        }
        ControlFlow::<()>::Continue(())
    });
    rewrite::factors(template, |factor| match factor {
        TableFactor::UNNEST { .. } => {
            found.insert("unnest".to_owned());
        }
        TableFactor::Function { name, .. } | TableFactor::Table { name, .. } => {
            found.insert(name.to_string().to_lowercase());
        }
        _ => {}
    });
    found
}

/// The n of `$n`.
fn placeholder(expr: &Expr) -> Option<usize> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::Placeholder(text) => text
                .strip_prefix('$')
                .and_then(|number| number.parse().ok())
                .filter(|number| *number > 0),
            _ => None,
        },
        _ => None,
    }
}
