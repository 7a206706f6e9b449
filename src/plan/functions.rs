//! What the functions that a statement calls mean for where its parts may run; whether they may run
//! at all is asked in [`calls`](super::calls).

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    AccessExpr, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, ObjectName,
    TableFactor, Visit, Visitor,
};

use super::facts::aggregates::{self, Order};
use super::facts::functions::INDEPENDENT;
use super::{naming, rewrite};
use crate::catalog::{Catalog, FunctionKind, Origin, Volatility};

/// Whether two evaluations may give different values.
pub(super) fn is_volatile<T: Visit>(tree: &T, catalog: &Catalog) -> bool {
    any_call(tree, |schema, name, count| {
        volatility(schema, name, count, catalog) == Volatility::Volatile
    })
}

/// Whether the value may depend on which server evaluates it, beyond chance: what is volatile but
/// for functions like `random`.
pub(super) fn depends_on_server<T: Visit>(tree: &T, catalog: &Catalog) -> bool {
    any_call(tree, |schema, name, count| {
        volatility(schema, name, count, catalog) == Volatility::Volatile
            && !INDEPENDENT.contains(&name)
    })
}

/// Whether there is such a call, by schema, name and number of arguments: in an expression, in FROM,
/// or of an attribute.
fn any_call<T: Visit>(tree: &T, f: impl FnMut(Option<&str>, &str, Option<usize>) -> bool) -> bool {
    tree.visit(&mut AnyCall(f)).is_break()
}

struct AnyCall<F>(F);

impl<F: FnMut(Option<&str>, &str, Option<usize>) -> bool> AnyCall<F> {
    fn ask(&mut self, name: &ObjectName, count: Option<usize>) -> ControlFlow<()> {
        let mut parts = naming::parts(name);
        let name = parts.pop().unwrap_or_default();
        stop_if((self.0)(parts.pop().as_deref(), &name, count))
    }
}

fn stop_if(is_found: bool) -> ControlFlow<()> {
    match is_found {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(()),
    }
}

impl<F: FnMut(Option<&str>, &str, Option<usize>) -> bool> Visitor for AnyCall<F> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::Function(function) => self.ask(&function.name, argument_count(function)),
            Expr::CompoundFieldAccess { access_chain, .. } => {
                let found = access_chain.iter().any(|access| match access {
                    AccessExpr::Dot(Expr::Identifier(name)) => {
                        (self.0)(None, &naming::folded(name), Some(1))
                    }
                    _ => false,
                });
                stop_if(found)
            }
            _ => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        match factor {
            TableFactor::Table {
                name,
                args: Some(args),
                ..
            } => self.ask(name, Some(args.args.len())),
            TableFactor::Function { name, args, .. } => self.ask(name, Some(args.len())),
            _ => ControlFlow::Continue(()),
        }
    }
}

/// The most that a call may be. What no function is called is a keyword or a cast, and as these are
/// IMMUTABLE: a name that means nothing is [refused](super::calls::check) before anybody asks here.
fn volatility(
    schema: Option<&str>,
    name: &str,
    count: Option<usize>,
    catalog: &Catalog,
) -> Volatility {
    let most = |count: Option<usize>| {
        let found = catalog.functions(schema, name);
        found
            .filter(|function| function.takes(count))
            .map(|function| function.volatility)
            .max()
    };
    most(count)
        .or_else(|| most(None))
        .unwrap_or(Volatility::Immutable)
}

/// What is in the parentheses of a call.
pub(super) fn arguments(function: &Function) -> &[FunctionArg] {
    match &function.args {
        FunctionArguments::List(list) => &list.args,
        FunctionArguments::None | FunctionArguments::Subquery(_) => &[],
    }
}

/// Those of them that are expressions, with or without names.
pub(super) fn expressions(function: &Function) -> Vec<&Expr> {
    arguments(function).iter().filter_map(expression).collect()
}

/// The expression of an argument, with or without a name; `None` for `*` and the like.
pub(super) fn expression(argument: &FunctionArg) -> Option<&Expr> {
    match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr))
        | FunctionArg::Named {
            arg: FunctionArgExpr::Expr(expr),
            ..
        }
        | FunctionArg::ExprNamed {
            arg: FunctionArgExpr::Expr(expr),
            ..
        } => Some(expr),
        _ => None,
    }
}

/// How many arguments PostgreSQL sees in a call; `None` where that is not certain.
pub(super) fn argument_count(function: &Function) -> Option<usize> {
    let args = arguments(function);
    match args {
        [FunctionArg::Unnamed(FunctionArgExpr::Wildcard)] => Some(0),
        _ => Some(args.len() + function.within_group.len()),
    }
}

/// The name of one of PostgreSQL's own functions, or of a keyword; `None` where users have a function
/// of that name which may be meant.
pub(super) fn system_name(function: &Function, catalog: &Catalog) -> Option<String> {
    let (schema, name) = name_of(function);
    let count = argument_count(function);
    let is_system = schema.as_ref().is_none_or(|schema| schema == "pg_catalog");
    let may_be_own = catalog
        .functions(schema.as_deref(), &name)
        .any(|it| it.origin == Origin::User && it.takes(count));
    (is_system && !may_be_own).then_some(name)
}

/// Whether users have a function of a name, which SQL of ours could mean if it calls PostgreSQL's own so.
pub(super) fn is_shadowed(name: &str, catalog: &Catalog) -> bool {
    let mut found = catalog.functions(None, name);
    found.any(|function| function.origin == Origin::User)
}

/// Whether the function may be one that neither PostgreSQL nor an extension brings.
pub(super) fn is_user_defined(function: &Function, catalog: &Catalog) -> bool {
    let (schema, name) = name_of(function);
    let mut found = catalog.functions(schema.as_deref(), &name);
    found.any(|function| function.origin == Origin::User)
}

/// Whether a call aggregates the rows of its query.
pub(super) fn is_aggregate(function: &Function, catalog: &Catalog) -> bool {
    function.over.is_none() && is_aggregate_name(function, catalog)
}

/// Whether the function is an aggregate, were it not for an OVER.
pub(super) fn is_aggregate_name(function: &Function, catalog: &Catalog) -> bool {
    let (schema, name) = name_of(function);
    let mut found = catalog.functions(schema.as_deref(), &name);
    found.any(|function| function.kind == FunctionKind::Aggregate)
}

/// Whether any function may be called, which may be an aggregate, or return a set.
pub(super) fn may_call<T: Visit>(tree: &T) -> bool {
    rewrite::any(tree, |expr| {
        // `(row).name` may be a call too.
        matches!(expr, Expr::Function(_) | Expr::CompoundFieldAccess { .. })
    })
}

/// Whether an expression is `ARRAY(SELECT ..)`.
pub(super) fn is_array_of_rows(expr: &Expr) -> bool {
    matches!(expr, Expr::Function(function)
        if matches!(function.args, FunctionArguments::Subquery(_)))
}

/// Whether the result depends on the order in which rows are read, as that of `array_agg`.
pub(super) fn depends_on_row_order<T: Visit>(tree: &T, catalog: &Catalog) -> bool {
    rewrite::any(tree, |expr| match expr {
        Expr::Function(function) if function.over.is_some() => true,
        Expr::Function(function) if is_aggregate_name(function, catalog) => {
            let name = system_name(function, catalog);
            let known = name.and_then(|name| aggregates::named(&name));
            known.is_none_or(|known| known.order == Order::Matters)
        }
        _ => false,
    })
}

fn name_of(function: &Function) -> (Option<String>, String) {
    let mut parts = naming::parts(&function.name);
    let name = parts.pop().unwrap_or_default();
    (parts.pop(), name)
}

/// The name of a function, without its schema.
pub(super) fn name(function: &Function) -> String {
    name_of(function).1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::bind::tests::{bound, catalog, topology};
    use crate::plan::{calls, sql};

    #[test]
    fn what_is_no_function_is_taken_for_a_keyword_and_refused_before() {
        let query = sql::parse("SELECT coalesce(a, b), no_such(a), x::no_type FROM r").unwrap();
        assert!(!is_volatile(&query, &catalog()));
        assert!(!depends_on_server(&query, &catalog()));
        for (text, is_refused) in [
            ("select coalesce(k, 1) from t", false),
            ("select no_such(k) from t", true),
            ("select k from t where no_such(k)", true),
            ("select k from no_such(1) as k", true),
        ] {
            let checked = bound(text, |bound, catalog| {
                calls::check(&bound.query, None, &bound.relations, &topology(), catalog)
            });
            assert_eq!(checked.is_err(), is_refused, "{text}: {checked:?}");
        }
    }
}
