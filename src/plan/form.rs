//! What a query says, whatever its relations are called.
//!
//! A common table expression that is named six times stands in six places, and binding has given the
//! relations of each other aliases: `orders`, `orders_2`. So it has those of a subquery that is written
//! twice. Such queries are one and the same. *Exact because* aliases of relations inside are numbered one for
//! one wherever they stand, and those of relations around mean the same in all of a statement: what is equal
//! then differs in nothing but how the aliases are spelled. *Does not hold when* a row is named as a whole and
//! a column of an output, or a field, has the name of an alias, or where an alias stands that is not known: then
//! there is no form, and only equal texts are equal.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    AccessExpr, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident,
    ObjectNamePart, Query, TableFactor, visit_expressions_mut,
};

use super::locality::factor_alias;
use super::names::Names;
use super::naming::{folded, item_name, table_alias};
use super::rewrite;

/// The query with numbers in place of the aliases of its relations; `None` where that may mean
/// something else.
pub(super) fn form(mut query: Query) -> Option<String> {
    let names = Names::of(&query);
    let inside = names.inside();
    let names_rows = names.has_row_of(inside);
    if names_rows && may_be_no_row(&query, inside) {
        return None;
    }
    let numbers = numbers(&query);
    rewrite::each_factor(&mut query, |factor| number_factor(factor, &numbers));
    let _ = visit_expressions_mut(&mut query, |expr| {
        match expr {
            Expr::CompoundIdentifier(parts) => {
                if let [alias, _] = &mut parts[..] {
                    number(alias, &numbers);
                }
            }
            Expr::Identifier(name) if names_rows => number(name, &numbers),
            Expr::Function(call) if names_rows => number_rows(call, &numbers),
            _ => {}
        }
        ControlFlow::<()>::Continue(())
    });
    let is_left = names_rows && Names::of(&query).has_row_of(inside);
    (!is_left).then(|| query.to_string())
}

/// Whether what is written as a row of these relations may be a column of an output, or a field.
fn may_be_no_row(query: &Query, relations: &HashSet<String>) -> bool {
    let is_known = |name: &Ident| relations.contains(&folded(name));
    let mut gives_one = false;
    rewrite::selects(query, |select| {
        let mut names = select.projection.iter().filter_map(item_name);
        gives_one |= names.any(|name| relations.contains(&name));
    });
    gives_one
        || rewrite::any(query, |expr| {
            matches!(expr, Expr::CompoundFieldAccess { access_chain, .. } if access_chain.iter().any(
                |access| matches!(access, AccessExpr::Dot(Expr::Identifier(name)) if is_known(name))
            ))
        })
}

/// The aliases of all relations, numbered as they come.
fn numbers(query: &Query) -> HashMap<String, usize> {
    let mut numbers = HashMap::new();
    rewrite::factors(query, |factor| {
        if let Some(alias) = factor_alias(factor) {
            let next = numbers.len();
            numbers.entry(alias).or_insert(next);
        }
    });
    numbers
}

fn number(alias: &mut Ident, numbers: &HashMap<String, usize>) {
    if let Some(number) = numbers.get(&folded(alias)) {
        *alias = numbered(*number);
    }
}

/// Numbers the rows that a call is given as `a.*`.
fn number_rows(call: &mut Function, numbers: &HashMap<String, usize>) {
    let FunctionArguments::List(list) = &mut call.args else {
        return;
    };
    for arg in &mut list.args {
        if let FunctionArg::Named { arg, .. }
        | FunctionArg::ExprNamed { arg, .. }
        | FunctionArg::Unnamed(arg) = arg
            && let FunctionArgExpr::QualifiedWildcard(name) = arg
            && let Some(ObjectNamePart::Identifier(alias)) = name.0.first_mut()
        {
            number(alias, numbers);
        }
    }
}

fn number_factor(factor: &mut TableFactor, numbers: &HashMap<String, usize>) {
    let Some(number) = factor_alias(factor).and_then(|alias| numbers.get(&alias)) else {
        return;
    };
    if let TableFactor::Table { alias, .. } = factor {
        // A table without an alias is called by its name, and so gets one.
        alias.get_or_insert_with(|| table_alias(""));
    }
    if let TableFactor::Table { alias, .. }
    | TableFactor::Derived { alias, .. }
    | TableFactor::Function { alias, .. }
    | TableFactor::UNNEST { alias, .. }
    | TableFactor::TableFunction { alias, .. }
    | TableFactor::XmlTable { alias, .. } = factor
        && let Some(alias) = alias
    {
        alias.name = numbered(*number);
        alias.explicit = true;
    }
}

/// What stands for an alias; no name of a statement has a zero byte.
fn numbered(number: usize) -> Ident {
    Ident::with_quote('"', format!("\0{number}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::sql;

    fn form_of(text: &str) -> Option<String> {
        form(sql::parse(text).unwrap())
    }

    #[test]
    fn aliases_make_no_difference() {
        for (left, right) in [
            (
                "SELECT t.a AS k FROM t WHERE t.b > 0 GROUP BY t.a",
                "SELECT t_2.a AS k FROM t AS t_2 WHERE t_2.b > 0 GROUP BY t_2.a",
            ),
            (
                "SELECT t.a FROM t JOIN u ON u.a = t.a",
                "SELECT t_3.a FROM t AS t_3 JOIN u u_2 ON u_2.a = t_3.a",
            ),
            (
                "SELECT d.n FROM (SELECT t.a AS n FROM t) AS d WHERE EXISTS (SELECT 1 FROM u WHERE u.a = d.n)",
                "SELECT e.n FROM (SELECT x.a AS n FROM t x) AS e WHERE EXISTS (SELECT 1 FROM u v WHERE v.a = e.n)",
            ),
            // Two aliases change places.
            (
                "SELECT a.x, b.y FROM t a, t b",
                "SELECT b.x, a.y FROM t b, t a",
            ),
            // A column, or a table, that is called as an alias is.
            ("SELECT a.a FROM t a", "SELECT b.a FROM t b"),
            ("SELECT \"A b\".x FROM t \"A b\"", "SELECT b.x FROM t b"),
            ("SELECT t.a FROM t, m1", "SELECT t_2.a FROM t t_2, m1"),
            (
                "SELECT lower.x FROM t lower WHERE lower(lower.x) = ''",
                "SELECT u.x FROM t u WHERE lower(u.x) = ''",
            ),
            (
                "SELECT b.x AS c FROM t b ORDER BY c",
                "SELECT c.x AS c FROM t c ORDER BY c",
            ),
            (
                "WITH c AS (SELECT 1 AS x) SELECT c.x FROM c",
                "WITH c AS (SELECT 1 AS x) SELECT d.x FROM c d",
            ),
            // Rows as a whole.
            (
                "SELECT count(b), count(b.*), (b).x FROM t b",
                "SELECT count(c), count(c.*), (c).x FROM t c",
            ),
            // Of a relation around.
            (
                "SELECT g.a FROM t g WHERE g.b = u.g",
                "SELECT g_2.a FROM t g_2 WHERE g_2.b = u.g",
            ),
        ] {
            let form = form_of(left);
            assert!(form.is_some(), "{left}");
            assert_eq!(form, form_of(right), "{left} and {right}");
        }
    }

    #[test]
    fn what_means_something_else_has_another_form() {
        for (left, right) in [
            ("SELECT t.a FROM t", "SELECT u.a FROM u"),
            ("SELECT t.a FROM t", "SELECT t.b FROM t"),
            ("SELECT t.a FROM s.t", "SELECT t.a FROM t"),
            ("SELECT a.x FROM t a, t b", "SELECT b.x FROM t a, t b"),
            ("SELECT 'a' FROM t a", "SELECT 'b' FROM t b"),
            ("SELECT t.a FROM t", "SELECT t.a FROM m1 t"),
            (
                "SELECT a.x AS a FROM t a ORDER BY a",
                "SELECT b.x AS b FROM t b ORDER BY b",
            ),
            (
                "SELECT count(a) FROM t a, t b",
                "SELECT count(b) FROM t a, t b",
            ),
            ("SELECT t.b FROM t AS t(b, c)", "SELECT t.b FROM t"),
            (
                "SELECT t.a FROM t WHERE t.b = u.a",
                "SELECT t.a FROM t WHERE t.b = v.a",
            ),
            // One relation, or two.
            (
                "SELECT a.x FROM t a WHERE a.x IN (SELECT a.y FROM t a)",
                "SELECT a.x FROM t a WHERE a.x IN (SELECT b.y FROM t b)",
            ),
            (
                "SELECT a.x FROM t a WHERE a.x IN (SELECT a.y FROM t b)",
                "SELECT a.x FROM t a WHERE a.x IN (SELECT b.y FROM t b)",
            ),
        ] {
            let form = form_of(left);
            assert!(form.is_some(), "{left}");
            assert_ne!(form, form_of(right), "{left} and {right}");
        }
    }

    #[test]
    fn there_is_none_where_an_alias_may_stand_for_something_else() {
        for text in [
            // The row, or the column of the output?
            "SELECT b FROM t b",
            "SELECT \"B\" FROM t \"B\"",
            "SELECT count(b), b.x AS b FROM t b",
            // The row, or the field?
            "SELECT count(b), (b.x).b FROM t b",
            "SELECT b.* FROM t b",
            "SELECT 1 FROM t b, f(b.*) c",
        ] {
            assert_eq!(form_of(text), None, "{text}");
        }
    }
}
