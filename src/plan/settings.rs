//! What a statement reads of the session: settings, and who is connected.

use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, FunctionArguments, TableFactor, Visit,
};

use super::{bind, functions, refused, rewrite};
use crate::catalog::{Catalog, Conditions};
use crate::error::Result;

const READS_SETTING: &str = "current_setting";

/// Functions that tell who is connected.
pub(super) const ROLES: [&str; 4] = ["current_user", "session_user", "user", "current_role"];

/// Refuses what the shards give different answers to.
///
/// # Errors
/// Names the setting or the roles.
pub(super) fn check<T: Visit>(tree: &T, catalog: &Catalog) -> Result<()> {
    let mut faults = Vec::new();
    rewrite::each(tree, |expr| {
        if let Expr::Function(function) = expr {
            let args = match &function.args {
                FunctionArguments::List(list) => &list.args[..],
                _ => &[],
            };
            faults.extend(check_call(&functions::name(function), args, catalog).err());
        }
    });
    rewrite::factors(tree, |factor| {
        let (name, args) = match factor {
            TableFactor::Table {
                name,
                args: Some(args),
                ..
            } => (name, &args.args),
            TableFactor::Function { name, args, .. } => (name, args),
            _ => return,
        };
        let name = bind::parts(name).pop().unwrap_or_default();
        faults.extend(check_call(&name, args, catalog).err());
    });
    faults.into_iter().next().map_or(Ok(()), Err)
}

/// Whether it reads any setting, or who is connected: a server that only finishes has its own.
pub(super) fn reads<T: Visit>(tree: &T) -> bool {
    let is_reader = |name: &str| name == READS_SETTING || ROLES.contains(&name);
    let mut found = rewrite::any(tree, |expr| match expr {
        Expr::Function(function) => is_reader(&functions::name(function)),
        _ => false,
    });
    rewrite::factors(tree, |factor| {
        if let TableFactor::Table { name, .. } | TableFactor::Function { name, .. } = factor {
            found |= bind::parts(name).last().is_some_and(|name| is_reader(name));
        }
    });
    found
}

fn check_call(name: &str, args: &[FunctionArg], catalog: &Catalog) -> Result<()> {
    let conditions = catalog.conditions();
    if ROLES.contains(&name)
        && let Some(difference) = conditions.roles()
    {
        return Err(refused(
            format!("{name}, which is not the same on all shards: {difference}"),
            "connect to all shards as the same role",
        ));
    }
    match name == READS_SETTING {
        true => check_setting(args.first().and_then(text), conditions),
        false => Ok(()),
    }
}

fn check_setting(name: Option<&str>, conditions: &Conditions) -> Result<()> {
    let Some(name) = name else {
        return Err(refused(
            "current_setting of a name that is no literal: some settings are not the same on all \
             shards"
                .to_owned(),
            "write the name of the setting as a literal",
        ));
    };
    let hint = "set it for all sessions, under [session.settings] of the topology";
    match conditions.setting(name) {
        Some(None) => Ok(()),
        Some(Some(difference)) => Err(refused(
            format!("current_setting: the setting {name} differs: {difference}"),
            hint,
        )),
        // PostgreSQL says that there is no such setting.
        None if !name.contains('.') => Ok(()),
        None => Err(refused(
            format!(
                "current_setting: whether all shards have the same value of {name} is not known"
            ),
            hint,
        )),
    }
}

/// The text that an argument is, if it is a literal.
fn text(arg: &FunctionArg) -> Option<&str> {
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
