//! Reading and printing SQL: the only place that knows the parser.
//!
//! ```text
//! text --parse--> ast::Query --(the planner changes it)--> Display --> text for PostgreSQL
//!   └───────────── prints_faithfully: the unchanged tree prints the same statement ──────┘
//! ```
//!
//! The parser is not PostgreSQL's. What it cannot read is refused, what it groups otherwise is
//! regrouped, and whether it read a statement without losing anything is proven for each statement,
//! token by token.

mod change;
mod clauses;
mod depth;
mod dialect;
mod faithful;
mod marks;
mod names;
mod operators;
mod parentheses;
mod plain;
mod rare;
mod shape;
#[cfg(test)]
pub(crate) mod tests;
pub(in crate::plan) mod tokens;
mod xml;

use datafusion::sql::sqlparser::ast::{
    self, AccessExpr, SelectItem, SelectItemQualifiedWildcardKind, SetExpr, TableFactor, Value,
    ValueWithSpan,
};
use datafusion::sql::sqlparser::ast::{VisitMut, VisitorMut};
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Token;
use std::ops::ControlFlow;

use crate::error::{Error, ErrorKind, Result};
use crate::statement::Statement;
use depth::depth_bound;
pub(crate) use faithful::prints_faithfully;
use marks::ALL_FIELDS;
pub(in crate::plan) use marks::{
    added_columns, alias_of_using, before_using, is_rows_from, listed_columns, order_of_operator,
    take_distinct, without_marks, written,
};
pub(crate) use names::{identifier_name, output_name};
pub(in crate::plan) use operators::prefixed;
pub(in crate::plan) use parentheses::{unwrap_key, unwrap_parentheses};
use plain::Plain;
use tokens::tokens;

/// How deep the parser nests. A subquery takes about four levels of it, parentheses one.
const MOST_NESTED: usize = 300;

/// How deep SQL may nest that the planner has made: views and common table expressions stand in their
/// places there.
const MOST_NESTED_MADE: usize = 20 * MOST_NESTED;

/// How deep a tree may be; see [`depth_bound`].
const MOST_DEEP: usize = 6_000;

/// Reads one query. Call it on a [deep stack](super::thread).
///
/// # Errors
/// [`ErrorKind::Syntax`] for no statement, several, or one whose quotes do not end;
/// [`ErrorKind::Unsupported`] for a statement that is not a plain query, that the parser cannot
/// read, or that nests too deep.
pub(crate) fn parse(text: &str) -> Result<ast::Query> {
    parse_nested(text, MOST_NESTED)
}

/// Reads a query that the planner has made.
///
/// # Errors
/// As [`parse`]; it may nest deeper.
pub(crate) fn parse_made(text: &str) -> Result<ast::Query> {
    parse_nested(text, MOST_NESTED_MADE)
}

fn parse_nested(text: &str, most_nested: usize) -> Result<ast::Query> {
    let statement = Statement::parse(text)?;
    let text = statement.text();
    let syntax = |reason| Error::new(ErrorKind::Syntax, reason);
    let lexed = tokens(text).map_err(syntax)?;
    let depth = depth_bound(&lexed);
    if depth > MOST_DEEP {
        return Err(too_deep());
    }
    drop(lexed);
    let plain = Plain::of(text).map_err(syntax)?;
    let mut query = *read(&plain.text, most_nested, |parser| parser.parse_query())
        .map_err(|error| unreadable(&plain, &error))?;
    match VisitMut::visit(&mut query, &mut Checks) {
        ControlFlow::Break(error) => Err(*error),
        ControlFlow::Continue(()) => Ok(query),
    }
}

/// Reads an expression of SQL that is ours.
///
/// # Errors
/// A fault of ours, of kind [`ErrorKind::Internal`], where it cannot be read.
pub(crate) fn made_expr(sql: &str) -> Result<ast::Expr> {
    let mut expr =
        read(sql, MOST_NESTED, |parser| parser.parse_expr()).map_err(|error| fault(sql, &error))?;
    match VisitMut::visit(&mut expr, &mut Checks) {
        ControlFlow::Break(error) => Err(Error::fault(format!("{}: {sql}", error.message()))),
        ControlFlow::Continue(()) => Ok(expr),
    }
}

/// Reads an expression of a user's outside of a statement; `None` where it cannot be read.
pub(crate) fn expression(sql: &str) -> Option<ast::Expr> {
    let plain = Plain::of(sql).ok()?;
    let mut expr = read(&plain.text, MOST_NESTED, |parser| parser.parse_expr()).ok()?;
    VisitMut::visit(&mut expr, &mut Checks)
        .is_continue()
        .then_some(expr)
}

/// Reads a name that is SQL already, quoted where it has to be.
///
/// # Errors
/// As [`made_expr`].
pub(crate) fn made_name(sql: &str) -> Result<ast::ObjectName> {
    read(sql, MOST_NESTED, |parser| parser.parse_object_name(false))
        .map_err(|error| fault(sql, &error))
}

/// Reads all of a text.
fn read<T>(
    text: &str,
    most_nested: usize,
    what: impl FnOnce(&mut Parser<'_>) -> std::result::Result<T, ParserError>,
) -> std::result::Result<T, ParserError> {
    let dialect = dialect::Dialected;
    let mut parser = Parser::new(&dialect)
        .with_recursion_limit(most_nested)
        .try_with_sql(text)?;
    let found = what(&mut parser)?;
    match *parser.peek_token_ref() == Token::EOF {
        true => Ok(found),
        // What it leaves would be lost.
        false => parser.expected_ref("end of statement", parser.peek_token_ref()),
    }
}

fn fault(sql: &str, error: &ParserError) -> Error {
    Error::fault(format!("SQL that was made cannot be read: {sql}: {error}"))
}

/// Refuses what is no query in any part of the statement, groups expressions as PostgreSQL does, and
/// makes string literals print rightly.
struct Checks;

impl VisitorMut for Checks {
    type Break = Box<Error>;

    fn pre_visit_query(&mut self, query: &mut ast::Query) -> ControlFlow<Box<Error>> {
        if let Some(lock) = query.locks.first() {
            let (what, hint) = (
                format!("row locks are not supported: FOR {}", lock.lock_type),
                "leave the clause out: every shard reads one snapshot, in a transaction that only reads",
            );
            return refuse(what, hint);
        }
        check_body(&query.body)
    }

    fn pre_visit_select(&mut self, select: &mut ast::Select) -> ControlFlow<Box<Error>> {
        if let Some(into) = &select.into {
            return refuse(
                format!("SELECT INTO is not supported: {into}"),
                "leave INTO out and write the answer to a file; Merganser does not change data",
            );
        }
        select.projection.iter_mut().for_each(all_fields);
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Box<Error>> {
        if let TableFactor::Table { name, .. } | TableFactor::Function { name, .. } = factor {
            marks::name_rows_from(name);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut ast::Expr) -> ControlFlow<Box<Error>> {
        if let ast::Expr::CompoundFieldAccess { access_chain, .. } = expr
            && access_chain.iter().any(is_all_fields)
        {
            return refuse(
                "all fields of a row, (x).*, elsewhere than in the list of SELECT".to_owned(),
                "name the fields one by one: (x).a, (x).b",
            );
        }
        // In PostgreSQL no function can have this name; the parser takes `(VALUES (1))` for a call.
        if let ast::Expr::Function(function) = expr
            && let [ast::ObjectNamePart::Identifier(name)] = function.name.0.as_slice()
            && name.quote_style.is_none()
            && name.value.eq_ignore_ascii_case("values")
        {
            return refuse(
                "the planner cannot read VALUES as a subquery in an expression".to_owned(),
                "write (SELECT * FROM (VALUES ...) AS v) in its place, or use --fan-out",
            );
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut ast::Expr) -> ControlFlow<Box<Error>> {
        match shape::regroup(expr) {
            Ok(()) => ControlFlow::Continue(()),
            Err(sql) => refuse(
                format!("the planner does not group these operators as PostgreSQL does: {sql}"),
                "write parentheses to show which operator takes which operands, or use --fan-out",
            ),
        }
    }

    fn pre_visit_value(&mut self, value: &mut ValueWithSpan) -> ControlFlow<Box<Error>> {
        // The parser prints a doubled quote, or one behind a backslash, as if it were escaped
        // already. In the form E'...' it escapes everything.
        if let Value::SingleQuotedString(string) = &mut value.value
            && (string.contains("''") || string.contains("\\'"))
        {
            value.value = Value::EscapedStringLiteral(std::mem::take(string));
        }
        ControlFlow::Continue(())
    }
}

/// `(x).*`, which the parser has read as a field.
fn all_fields(item: &mut SelectItem) {
    let SelectItem::UnnamedExpr(ast::Expr::CompoundFieldAccess { root, access_chain }) = item
    else {
        return;
    };
    if !access_chain.last().is_some_and(is_all_fields) {
        return;
    }
    access_chain.pop();
    let root = std::mem::replace(&mut **root, ast::Expr::Value(Value::Null.into()));
    let row = match access_chain.is_empty() {
        true => root,
        false => ast::Expr::CompoundFieldAccess {
            root: Box::new(root),
            access_chain: std::mem::take(access_chain),
        },
    };
    *item = SelectItem::QualifiedWildcard(
        SelectItemQualifiedWildcardKind::Expr(row),
        Default::default(),
    );
}

fn is_all_fields(access: &AccessExpr) -> bool {
    matches!(access, AccessExpr::Dot(ast::Expr::Identifier(name)) if name.value == ALL_FIELDS)
}

fn check_body(body: &SetExpr) -> ControlFlow<Box<Error>> {
    match body {
        SetExpr::SetOperation { left, right, .. } => {
            check_body(left)?;
            check_body(right)
        }
        SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => {
            let first = body.to_string();
            let first = first.split_whitespace().next().unwrap_or_default();
            refuse(
                format!("not a query: it holds {first}"),
                "only SELECT, WITH, VALUES and TABLE return rows to collect; Merganser does not change data",
            )
        }
        // The parts of a query in parentheses are visited on their own.
        SetExpr::Select(_) | SetExpr::Query(_) | SetExpr::Values(_) | SetExpr::Table(_) => {
            ControlFlow::Continue(())
        }
    }
}

fn refuse(message: String, hint: &str) -> ControlFlow<Box<Error>> {
    let error = Error::new(ErrorKind::Unsupported, message).with_hint(hint);
    ControlFlow::Break(Box::new(error))
}

/// What the way out of a text is that only PostgreSQL understands.
const VERBATIM: &str =
    "write it in another way, or send the text as it is with --fan-out (Cluster::fan_out)";

fn too_deep() -> Error {
    Error::new(
        ErrorKind::Unsupported,
        format!(
            "the query nests too deep: more than {MOST_DEEP} operators in one chain, or more than \
             about {MOST_NESTED} calls or parentheses, or {} subqueries, in each other",
            MOST_NESTED / 5
        ),
    )
    .with_hint(
        "write a long chain of OR as IN (...) or = ANY ('{...}'), and a long UNION ALL as VALUES",
    )
}

/// PostgreSQL may well accept the text, so this is a limit of ours and not a syntax error.
fn unreadable(text: &Plain<'_>, error: &ParserError) -> Error {
    let message = match error {
        ParserError::RecursionLimitExceeded => return too_deep(),
        ParserError::ParserError(message) | ParserError::TokenizerError(message) => message,
    };
    // The parser gives the place as text; at the end of the statement it gives none.
    let place = message.rsplit_once(" at Line: ").and_then(|(what, place)| {
        let (line, column) = place.split_once(", Column: ")?;
        Some((
            what,
            text.place_of(line.parse().ok()?, column.parse().ok()?),
        ))
    });
    let (what, (line, column)) = place.unwrap_or_else(|| {
        let end = text.text.trim_end_matches(['\n', '\r']).len();
        (message, text.place(end))
    });
    let what = what
        .replace("Expected: ", "expected ")
        .replace(", found: EOF", ", found the end");
    let what = what.replace(", found: ", ", found ");
    Error::new(
        ErrorKind::Unsupported,
        format!("the planner cannot read the query at line {line}, column {column}: {what}"),
    )
    .with_hint(VERBATIM)
}
