//! What a step's SQL says, whatever its relations are called.
//!
//! A common table expression that is named six times stands in six places, and binding has given the
//! relations of each other aliases: `orders`, `orders_2`. Such steps are one and the same. *Exact because*
//! a step names no relation but its own, and aliases are numbered one for one wherever they stand: what
//! is equal then differs in nothing but how the aliases are spelled. *Does not hold when* an alias is
//! a word anywhere else, where it may stand for a row as a whole or for a column of the output: then
//! there is no form, and only equal texts are equal.

use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Ident, ObjectNamePart, Query, TableFactor, visit_expressions_mut,
};

use crate::plan::locality::factor_alias;
use crate::plan::naming::{folded, table_alias};
use crate::plan::sql::tokens::{Token, tokens};
use crate::plan::{Sql, rewrite, sql};

/// The SQL with numbers in place of the aliases of its relations; `None` where that may mean
/// something else.
pub(super) fn form(sql: &Sql) -> Option<String> {
    let mut query = sql::parse_made(&sql.to_string()).ok()?;
    let numbers = numbers(&query);
    rewrite::each_factor(&mut query, |factor| number_factor(factor, &numbers));
    let _ = visit_expressions_mut(&mut query, |expr| {
        if let Expr::CompoundIdentifier(parts) = expr
            && let [alias, column] = &mut parts[..]
            && let Some(number) = numbers.get(&folded(alias))
        {
            *alias = numbered(*number);
            *column = kept(column);
        }
        ControlFlow::<()>::Continue(())
    });
    let text = query.to_string();
    let stands_elsewhere = tokens(&text).ok()?.iter().any(|lexed| match &lexed.token {
        Token::Word(word) => numbers.contains_key(&**word),
        Token::Quoted(name) => numbers.contains_key(name),
        _ => false,
    });
    (!stands_elsewhere).then_some(text)
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

fn number_factor(factor: &mut TableFactor, numbers: &HashMap<String, usize>) {
    let Some(number) = factor_alias(factor).and_then(|alias| numbers.get(&alias)) else {
        return;
    };
    if let TableFactor::Table { name, alias, .. } = factor {
        // A table without an alias is called by its name, and so gets one.
        alias.get_or_insert_with(|| table_alias(""));
        for part in &mut name.0 {
            if let ObjectNamePart::Identifier(name) = part {
                *name = kept(name);
            }
        }
    }
    if let TableFactor::Table { alias, .. }
    | TableFactor::Derived { alias, .. }
    | TableFactor::Function { alias, .. }
    | TableFactor::UNNEST { alias, .. }
    | TableFactor::TableFunction { alias, .. } = factor
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

/// A name that is no alias, however it is spelled.
fn kept(name: &Ident) -> Ident {
    Ident::with_quote('"', format!("\0.{}", folded(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form_of(text: &str) -> Option<String> {
        form(&Sql::of(&sql::parse(text).unwrap()))
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
            ("SELECT t.b FROM t AS t(b, c)", "SELECT t.b FROM t"),
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
            "SELECT a.x AS a FROM t a ORDER BY a",
            "SELECT b FROM t b",
            "SELECT count(b.*) FROM t b",
            "SELECT \"B\" FROM t \"B\"",
            "SELECT lower.x FROM t lower WHERE lower(lower.x) = ''",
            "WITH c AS (SELECT 1 AS x) SELECT c.x FROM c",
        ] {
            assert_eq!(form_of(text), None, "{text}");
        }
    }
}
