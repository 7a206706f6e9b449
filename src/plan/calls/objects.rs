//! Values that are the number of an object, such as `regclass`: each database numbers its own.
//!
//! Their text is the same everywhere, and so is whether two of them are equal. So a name may be cast
//! to such a type where the value is an item of the outermost select list, is compared by `=` or
//! `<>`, or becomes text at once. Anywhere else the number may come to light: in an order, in an
//! aggregate, by a cast further out.

use std::collections::HashSet;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, DataType, Expr, GroupByExpr, Query, SelectItem, SetExpr, Visit, Visitor,
};

use super::verdict::{ASK, Verdict, Why};
use crate::catalog::type_key;
use crate::plan::functions;
use crate::plan::rewrite::{self, bare, string};

/// Refuses a statement in which the number of an object may come to light.
pub(super) fn check(query: &Query) -> Verdict {
    let mut objects = Objects {
        shown: HashSet::new(),
        is_inside: false,
    };
    match query.visit(&mut objects) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(why) => Err(why),
    }
}

struct Objects {
    /// The expressions of which only the text or the equality shows.
    shown: HashSet<*const Expr>,
    is_inside: bool,
}

impl Visitor for Objects {
    type Break = Why;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Why> {
        if !std::mem::replace(&mut self.is_inside, true)
            && let SetExpr::Select(select) = &*query.body
        {
            for item in &select.projection {
                if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item
                {
                    self.show(expr);
                }
            }
        }
        rewrite::selects(query, |select| {
            if let GroupByExpr::Expressions(keys, _) = &select.group_by {
                keys.iter().for_each(|key| self.show(key));
            }
        });
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Why> {
        match expr {
            Expr::BinaryOp {
                left,
                op: BinaryOperator::Eq | BinaryOperator::NotEq,
                right,
            } => {
                self.show(left);
                self.show(right);
            }
            Expr::Cast {
                expr, data_type, ..
            } if ["text", "varchar"].contains(&&*written(data_type)) => self.show(expr),
            _ => {}
        }
        let is_right = match expr {
            Expr::Function(function) if functions::name(function) == "pg_typeof" => true,
            // A number that is written is a number; another may be one of an object.
            Expr::Cast {
                expr: operand,
                data_type,
                ..
            } if written(data_type) == "oid" => {
                return match bare(operand) {
                    Expr::Value(_) => ControlFlow::Continue(()),
                    _ => ControlFlow::Break(number_of_object(expr)),
                };
            }
            Expr::Cast {
                expr: operand,
                data_type,
                ..
            } if is_number(data_type) => is_name(operand),
            Expr::TypedString(typed) if is_number(&typed.data_type) => {
                string(&typed.value.value).is_some_and(has_letters)
            }
            _ => return ControlFlow::Continue(()),
        };
        match is_right && self.shown.contains(&std::ptr::from_ref(expr)) {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(number_of_object(expr)),
        }
    }
}

impl Objects {
    fn show(&mut self, expr: &Expr) {
        self.shown.insert(std::ptr::from_ref(bare(expr)));
    }
}

/// The name of an object, not its number.
fn is_name(expr: &Expr) -> bool {
    matches!(bare(expr), Expr::Value(value) if string(&value.value).is_some_and(has_letters))
}

fn has_letters(text: &str) -> bool {
    text.chars().any(char::is_alphabetic)
}

/// The types whose values are the number of an object with a name.
pub(super) const TYPES: [&str; 9] = [
    "regclass",
    "regcollation",
    "regnamespace",
    "regoper",
    "regoperator",
    "regproc",
    "regprocedure",
    "regrole",
    "regtype",
];

fn is_number(data_type: &DataType) -> bool {
    TYPES.contains(&&*written(data_type))
}

/// Whether a value is the number of an object, as far as can be seen here.
pub(super) fn is_oid(expr: &Expr) -> bool {
    match bare(expr) {
        Expr::Cast { data_type, .. } => is_number(data_type),
        Expr::TypedString(typed) => is_number(&typed.data_type),
        Expr::Function(function) => functions::name(function) == "pg_typeof",
        _ => false,
    }
}

pub(super) fn number_of_object(expr: &Expr) -> Why {
    Why::new(
        format!("the number of an object in {expr}, which differs between databases"),
        ASK,
    )
}

/// A type as it is written, without the brackets of an array and without modifiers.
pub(super) fn written(data_type: &DataType) -> String {
    let text = data_type.to_string().to_lowercase();
    let name = text.strip_prefix("pg_catalog.").unwrap_or(&text);
    type_key(name)
}
