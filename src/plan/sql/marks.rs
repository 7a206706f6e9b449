//! Marks: names that no text can hold, for what the parser has no syntax for.
//!
//! ```text
//! user's text ──Plain──> text with marks ──parse──> tree ──Display──> written ──> text for PostgreSQL
//! ```
//! A mark is written as a quoted name that begins with the character 0. Most become nodes that print what
//! the user wrote ([`Dialected`](super::dialect::Dialected) reads them); those of frames stay marks in the
//! tree, and [`written`] puts the frames back. A mark that were forgotten there would be an error of every
//! server: none takes a text with the character 0.

use std::fmt::Display;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, DataType, Expr, Ident, ObjectName, ObjectNamePart, Value,
};
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Token as ParserToken;

use super::operators::{self, is_word};
use super::tokens::{self, Token};
use crate::plan::facts::types;
use crate::quote;

/// With which every mark begins.
const MARK: char = '\0';

/// The field that stands for all fields of a row.
pub(super) const ALL_FIELDS: &str = "\0*";

/// `AS` before the name of an XML element or attribute.
pub(super) const AS: &str = "\0AS";

/// `AS` before the type of a text made of XML.
pub(super) const AS_TYPE: &str = "\0AS TYPE";

/// `NAME` before the name of an XML element.
pub(super) const NAME: &str = "\0NAME";

/// `VERSION` and `STANDALONE` of an XML document.
pub(super) const VERSION: &str = "\0VERSION";
pub(super) const STANDALONE: &str = "\0STANDALONE";

/// `DOCUMENT` and `CONTENT` before what becomes XML, or text.
pub(super) const DOCUMENT: &str = "\0DOCUMENT";
pub(super) const CONTENT: &str = "\0CONTENT";

/// Nothing: what is behind it is an expression, though it begins as a query or as `t.*` does.
pub(super) const EXPRESSION: &str = "\0EXPRESSION";

/// `AS` before the columns of a call in `ROWS FROM`.
pub(super) const AS_COLUMNS: &str = "\0AS COLUMNS";

/// `USING` before the operator that sorts.
pub(super) const USING: &str = "\0USING";

/// The call that stands for `ROWS FROM (f(x), g(y))`.
pub(super) const ROWS_FROM: &str = "\0ROWS FROM";

/// A frame of a window as a bound: ROWS, RANGE or GROUPS stand before it, and PRECEDING behind it.
const FRAME: &str = "\0 ";

/// The clauses SEARCH and CYCLE of a recursive query, as where it is FROM.
const PATHS: &str = "\0PATHS ";

/// `DISTINCT` of GROUP BY, as the first of its keys.
const GROUPS: &str = "\0BY ";

/// A namespace of XMLTABLE without a name.
const NAMESPACE: &str = "\0NAMESPACE ";

/// The alias of the columns that USING merges, as one more of them.
const USING_ALIAS: &str = "\0AS ";

/// The operator between what ORDER BY sorts and the operator that sorts it, in the tree.
const USING_OPERATOR: &str = "USING";

/// The name that `ROWS FROM` has in the tree.
const ROWS_FROM_NAME: &str = "ROWS FROM";

/// A mark as the parser reads it.
pub(super) fn quoted(mark: &str) -> String {
    quote::identifier(mark)
}

/// The bound that stands for all of a frame behind ROWS, RANGE or GROUPS.
pub(super) fn frame(frame: &str) -> String {
    format!("{} PRECEDING", quoted(&format!("{FRAME}{frame}")))
}

/// What stands for SEARCH and CYCLE behind a common table expression.
pub(super) fn paths(clauses: &str) -> String {
    format!("FROM {}", quoted(&format!("{PATHS}{clauses}")))
}

/// What stands for the DISTINCT of GROUP BY, as a key before the others.
pub(super) fn distinct_groups() -> String {
    format!("{},", quoted(&format!("{GROUPS}DISTINCT ")))
}

/// A namespace without a name, as one with a name.
pub(super) fn default_namespace(item: &str) -> String {
    format!(
        "{} AS {}",
        quoted(&format!("{NAMESPACE}{item}")),
        quoted("\0")
    )
}

/// Takes the DISTINCT of GROUP BY away; says whether it was there.
pub(in crate::plan) fn take_distinct(keys: &mut Vec<Expr>) -> bool {
    let is_there =
        matches!(keys.first(), Some(Expr::Identifier(name)) if name.value.starts_with(GROUPS));
    if is_there {
        keys.remove(0);
    }
    is_there
}

/// The columns that SEARCH and CYCLE add to a common table expression, in order; `None` where their mark is
/// the literal of a type, which may mean an instant.
pub(in crate::plan) fn added_columns(from: &Ident) -> Option<Vec<String>> {
    let clauses = from.value.strip_prefix(PATHS)?;
    let mut tokens = tokens::tokens(clauses).ok()?.into_iter().peekable();
    let mut added = Vec::new();
    while let Some(clause) = tokens.next() {
        if clause.token.is_word("search") {
            // `DEPTH FIRST BY`
            tokens.nth(2)?;
        }
        // The names of columns, and commas between them.
        tokens.next()?;
        while tokens.next_if(|it| it.token.is_symbol(",")).is_some() {
            tokens.next()?;
        }
        tokens.next_if(|it| it.token.is_word("set"))?;
        added.push(name_of(&tokens.next()?.token)?);
        if tokens.next_if(|it| it.token.is_word("to")).is_some() {
            tokens.next()?;
            tokens.next_if(|it| it.token.is_word("default"))?;
            tokens.next()?;
        }
        if clause.token.is_word("cycle") {
            tokens.next_if(|it| it.token.is_word("using"))?;
            added.push(name_of(&tokens.next()?.token)?);
        }
    }
    Some(added)
}

fn name_of(token: &Token<'_>) -> Option<String> {
    match token {
        Token::Word(name) => Some(name.to_string()),
        Token::Quoted(name) => Some(name.clone()),
        _ => None,
    }
}

/// The last column of USING, for the alias behind it.
pub(super) fn using_alias(name: &str) -> String {
    quoted(&format!("{USING_ALIAS}{name}"))
}

/// The alias that a column of USING stands for.
pub(in crate::plan) fn alias_of_using(column: &str) -> Option<&str> {
    column.strip_prefix(USING_ALIAS)
}

/// Gives a call that stands for `ROWS FROM` the name with which it prints so.
pub(super) fn name_rows_from(name: &mut ObjectName) {
    if let [ObjectNamePart::Identifier(name)] = name.0.as_mut_slice()
        && name.value == ROWS_FROM
    {
        *name = Ident::new(ROWS_FROM_NAME);
    }
}

/// Whether a call in FROM stands for those in its parentheses, side by side.
pub(in crate::plan) fn is_rows_from(name: &ObjectName) -> bool {
    matches!(&name.0[..], [ObjectNamePart::Identifier(name)]
        if name.quote_style.is_none() && name.value == ROWS_FROM_NAME)
}

/// What a user has written where a mark stands; `None` for other names, and for marks that are in the
/// tree as well.
pub(super) fn spelled(name: &str) -> Option<Vec<Token<'static>>> {
    let words = match name {
        ALL_FIELDS => return Some(vec![Token::Operator("*")]),
        EXPRESSION => return Some(Vec::new()),
        AS | AS_TYPE | AS_COLUMNS => "as",
        USING => "using",
        NAME | VERSION | STANDALONE | DOCUMENT | CONTENT => name.get(1..)?,
        ROWS_FROM => "rows from",
        _ => return None,
    };
    let words = words.to_ascii_lowercase();
    let words = words
        .split(' ')
        .map(|word| Token::Word(word.to_owned().into()));
    Some(words.collect())
}

/// A tree as PostgreSQL reads it.
pub(in crate::plan) fn written(tree: &impl Display) -> String {
    without_marks(tree.to_string())
}

/// A printed text, with what marks stand for in their places.
pub(in crate::plan) fn without_marks(printed: String) -> String {
    if !printed.contains(MARK) {
        return printed;
    }
    let mut text = printed;
    // With what stands before and behind them.
    let marks = [
        ("", FRAME, " PRECEDING"),
        (", ", USING_ALIAS, ")"),
        ("FROM ", PATHS, ""),
        ("", GROUPS, ", "),
        ("", NAMESPACE, " AS \"\0\""),
    ];
    for (before, mark, behind) in marks {
        let begin = format!("{before}\"{mark}");
        while let Some(from) = text.find(&begin) {
            let at = from + before.len();
            let Ok((name, length)) = tokens::quoted(&text[at..], '"') else {
                break;
            };
            let inside = name.strip_prefix(mark).unwrap_or(&name);
            let rest = &text[at + length..];
            let rest = rest.strip_prefix(behind).unwrap_or(rest);
            let written = match mark {
                USING_ALIAS => format!(") AS {}", quote::identifier(inside)),
                _ => inside.to_owned(),
            };
            text = format!("{}{written}{rest}", &text[..from]);
        }
    }
    text
}

/// The mark that comes next.
fn next<'a>(parser: &'a Parser<'_>) -> Option<&'a str> {
    match &parser.peek_token_ref().token {
        ParserToken::Word(word) if word.quote_style.is_some() => {
            Some(word.value.as_str()).filter(|name| name.starts_with(MARK))
        }
        _ => None,
    }
}

/// Whether a word comes next that goes on with an expression: `AS` or `USING`.
pub(super) fn goes_on(parser: &Parser<'_>) -> bool {
    matches!(next(parser), Some(AS | AS_TYPE | AS_COLUMNS | USING))
}

/// Reads what goes on with an expression.
pub(super) fn parse_infix(parser: &mut Parser<'_>, expr: &Expr) -> Result<Expr, ParserError> {
    match next(parser) {
        Some(USING) => parse_using(parser, expr),
        Some(AS_COLUMNS) => parse_columns(parser, expr),
        _ => parse_as(parser, expr),
    }
}

/// `f(x) AS (a int, b text)`, which prints as it is.
fn parse_columns(parser: &mut Parser<'_>, expr: &Expr) -> Result<Expr, ParserError> {
    parser.advance_token();
    parser.expect_token(&ParserToken::LParen)?;
    let columns = parser.parse_comma_separated(|parser| {
        let name = parser.parse_identifier()?;
        let data_type = parser.parse_data_type()?;
        // No type of users, which would have to be judged.
        let sql = data_type.to_string().to_ascii_lowercase();
        match types::is_known(sql.trim_end_matches("[]")) {
            true => Ok(format!("{name} {data_type}")),
            false => parser.expected_ref("a type of PostgreSQL's own", parser.peek_token_ref()),
        }
    })?;
    parser.expect_token(&ParserToken::RParen)?;
    Ok(Expr::Named {
        expr: Box::new(expr.clone()),
        name: Ident::new(format!("({})", columns.join(", "))),
    })
}

/// The names of the columns that are listed behind a call in `ROWS FROM`.
pub(in crate::plan) fn listed_columns(list: &Ident) -> Option<Vec<String>> {
    let tokens = tokens::tokens(&list.value).ok()?;
    let mut depth = 0_usize;
    let mut names = Vec::new();
    for lexed in &tokens {
        let begins = depth == 1 && names.is_empty();
        match &lexed.token {
            Token::Symbol("(") => depth += 1,
            Token::Symbol(")") => depth = depth.checked_sub(1)?,
            Token::Symbol(",") if depth == 1 => names.push(None),
            token if begins => names.push(Some(name_of(token)?)),
            token => {
                if let Some(last @ None) = names.last_mut() {
                    *last = Some(name_of(token)?);
                }
            }
        }
    }
    names.into_iter().collect()
}

/// `x USING OPERATOR(s.~<~)`: a key of ORDER BY, which prints as it is.
fn parse_using(parser: &mut Parser<'_>, expr: &Expr) -> Result<Expr, ParserError> {
    parser.advance_token();
    let operator = operators::parse_name(parser)?;
    Ok(Expr::BinaryOp {
        left: Box::new(expr.clone()),
        op: BinaryOperator::Custom(USING_OPERATOR.to_owned()),
        right: Box::new(verbatim(operator.to_string())),
    })
}

/// What is before USING in a key of ORDER BY.
pub(in crate::plan) fn before_using(key: &mut Expr) -> Option<&mut Expr> {
    match key {
        Expr::BinaryOp {
            left,
            op: BinaryOperator::Custom(op),
            ..
        } if op == USING_OPERATOR => Some(left),
        _ => None,
    }
}

/// What a key of ORDER BY sorts, and the operator by which it does, with its schema.
pub(in crate::plan) fn order_of_operator(key: &Expr) -> Option<(&Expr, Vec<String>)> {
    match key {
        Expr::BinaryOp {
            left,
            op: BinaryOperator::Custom(op),
            right,
        } if op == USING_OPERATOR => {
            let written = right.to_string();
            let name = written.strip_prefix("OPERATOR(")?.strip_suffix(')')?;
            Some((left, name.split('.').map(str::to_owned).collect()))
        }
        _ => None,
    }
}

/// What begins with a mark.
pub(super) fn parse_prefix(parser: &mut Parser<'_>) -> Option<Result<Expr, ParserError>> {
    let mark = next(parser)?.to_owned();
    let word = &mark[1..];
    match mark.as_str() {
        EXPRESSION => {
            parser.advance_token();
            Some(parser.parse_prefix())
        }
        NAME => {
            parser.advance_token();
            let name = parser.parse_identifier();
            Some(name.map(|name| verbatim(format!("{word} {name}"))))
        }
        VERSION | STANDALONE => {
            parser.advance_token();
            let fixed: &[&[&str]] = match mark.as_str() {
                VERSION => &[&["no", "value"]],
                _ => &[&["no", "value"], &["no"], &["yes"]],
            };
            let is = |words: &&&[&str]| {
                let mut words = words.iter().enumerate();
                words.all(|(ahead, word)| is_word(parser, ahead, word))
            };
            Some(match fixed.iter().find(is) {
                Some(words) => {
                    words.iter().for_each(|_| parser.advance_token());
                    Ok(verbatim(format!(
                        "{word} {}",
                        words.join(" ").to_uppercase()
                    )))
                }
                None => prefixed(parser, word),
            })
        }
        DOCUMENT | CONTENT => {
            parser.advance_token();
            Some(prefixed(parser, word))
        }
        mark if mark.starts_with(FRAME) || mark.starts_with(NAMESPACE) => {
            parser.advance_token();
            Some(Ok(verbatim(quoted(mark))))
        }
        _ => None,
    }
}

/// `x AS name`, `x AS text`.
fn parse_as(parser: &mut Parser<'_>, expr: &Expr) -> Result<Expr, ParserError> {
    let is_type = next(parser) == Some(AS_TYPE);
    parser.advance_token();
    let name = match is_type {
        false => parser.parse_identifier()?,
        // No type of users, which would have to be judged.
        true => match parser.parse_data_type()? {
            text @ (DataType::Text
            | DataType::Varchar(_)
            | DataType::Char(_)
            | DataType::Character(_)
            | DataType::CharacterVarying(_)) => Ident::new(text.to_string()),
            _ => return parser.expected_ref("text, varchar or char", parser.peek_token_ref()),
        },
    };
    Ok(Expr::Named {
        expr: Box::new(expr.clone()),
        name,
    })
}

fn prefixed(parser: &mut Parser<'_>, word: &str) -> Result<Expr, ParserError> {
    let value = Box::new(parser.parse_expr()?);
    let prefix = Ident::new(word);
    Ok(Expr::Prefixed { prefix, value })
}

/// What is no expression, and prints as it is.
fn verbatim(text: String) -> Expr {
    Expr::value(Value::Placeholder(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_put_back_wherever_they_are() {
        let one = frame("BETWEEN 1 PRECEDING AND 2 FOLLOWING EXCLUDE TIES");
        let other = frame("UNBOUNDED PRECEDING EXCLUDE GROUP");
        let printed = format!("sum(a) OVER (ROWS {one}), b, '\" PRECEDING' OVER (w RANGE {other})");
        assert_eq!(
            written(&printed),
            "sum(a) OVER (ROWS BETWEEN 1 PRECEDING AND 2 FOLLOWING EXCLUDE TIES), b, '\" PRECEDING' \
             OVER (w RANGE UNBOUNDED PRECEDING EXCLUDE GROUP)"
        );
        assert_eq!(written(&"\"a\" PRECEDING"), "\"a\" PRECEDING");
        let printed = format!("JOIN a USING(b, {}) WHERE c", using_alias("D\"e"));
        assert_eq!(written(&printed), "JOIN a USING(b) AS \"D\"\"e\" WHERE c");
        let printed = format!("USING(b, {})", using_alias("a\")"));
        assert_eq!(written(&printed), "USING(b) AS \"a\"\")\"");
        let printed = format!("GROUP BY {} ROLLUP (a), b", distinct_groups());
        assert_eq!(written(&printed), "GROUP BY DISTINCT ROLLUP (a), b");
        let printed = format!(
            "XMLNAMESPACES({}, 'a' AS b)",
            default_namespace("default 'c'")
        );
        assert_eq!(written(&printed), "XMLNAMESPACES(default 'c', 'a' AS b)");
        let ident = |clauses: &str| Ident::with_quote('"', format!("{PATHS}{clauses}"));
        for (clauses, expected) in [
            ("search depth first by a, b set O", Some(vec!["o"])),
            ("cycle a set \"C d\" using p", Some(vec!["C d", "p"])),
            (
                "search breadth first by set, \"b\" set o cycle a, to set c to 'y' default null using p",
                Some(vec!["o", "c", "p"]),
            ),
            (
                "cycle a set c to date 'today' default date '2020-01-01' using p",
                None,
            ),
        ] {
            let expected = expected.map(|names| names.into_iter().map(str::to_owned).collect());
            assert_eq!(added_columns(&ident(clauses)), expected, "{clauses}");
        }
        let list = Ident::new("(a NUMERIC(5,2), \"B c\" TEXT[], D DOUBLE PRECISION)");
        let names = ["a", "B c", "d"].map(str::to_owned);
        assert_eq!(listed_columns(&list).unwrap(), names);
        let clauses = "SEARCH DEPTH FIRST BY \"a\"\"b\", c SET o CYCLE c SET d USING \"e\"";
        let printed = format!("(SELECT 1) {} SELECT \"n\" FROM x", paths(clauses));
        let expected = format!("(SELECT 1) {clauses} SELECT \"n\" FROM x");
        assert_eq!(written(&printed), expected);
    }
}
