//! What a statement reads of the session: settings, and who is connected.

use datafusion::sql::sqlparser::ast::{Expr, FunctionArg, FunctionArgExpr, TableFactor, Visit};

use super::{functions, naming, rewrite};

const READS_SETTING: &str = "current_setting";

/// Functions that tell who is connected.
pub(super) const ROLES: [&str; 4] = ["current_user", "session_user", "user", "current_role"];

/// Whether it reads any setting, or who is connected: a server that only finishes has its own.
pub(super) fn reads<T: Visit>(tree: &T) -> bool {
    let is_reader = |name: &str| name == READS_SETTING || ROLES.contains(&name);
    let mut found = rewrite::any(tree, |expr| match expr {
        Expr::Function(function) => is_reader(&functions::name(function)),
        _ => false,
    });
    rewrite::factors(tree, |factor| {
        if let TableFactor::Table { name, .. } | TableFactor::Function { name, .. } = factor {
            found |= naming::parts(name)
                .last()
                .is_some_and(|name| is_reader(name));
        }
    });
    found
}

/// The text that an argument is, if it is a literal.
pub(super) fn text(arg: &FunctionArg) -> Option<&str> {
    let FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) = arg else {
        return None;
    };
    let mut expr = expr;
    while let Expr::Cast { expr: inner, .. } | Expr::Nested(inner) = expr {
        expr = inner;
    }
    match expr {
        Expr::Value(value) => rewrite::string(&value.value),
        _ => None,
    }
}
