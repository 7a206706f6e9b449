//! The parser's PostgreSQL dialect, without what makes it slow.

use std::any::TypeId;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, DataType, Expr, Ident, TypedString, UnaryOperator, Value,
};
use datafusion::sql::sqlparser::dialect::{Dialect, PostgreSqlDialect, Precedence};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Token;

use super::marks;
use super::operators::{self, is_operator, is_word, prefixed};
use crate::plan::thread;

/// PostgreSQL's dialect, in which the name of an argument is an identifier.
///
/// The parser's own takes any expression for it, and so reads every argument twice: a call nested n
/// deep takes it 2^n steps.
#[derive(Debug)]
pub(crate) struct Dialected;

const POSTGRES: PostgreSqlDialect = PostgreSqlDialect {};

macro_rules! as_postgres {
    ($($name:ident),*) => {$(
        fn $name(&self) -> bool { POSTGRES.$name() }
    )*};
}

impl Dialect for Dialected {
    /// The parser asks whether it is PostgreSQL's.
    fn dialect(&self) -> TypeId {
        POSTGRES.dialect()
    }

    fn supports_named_fn_args_with_expr_name(&self) -> bool {
        false
    }

    fn identifier_quote_style(&self, identifier: &str) -> Option<char> {
        POSTGRES.identifier_quote_style(identifier)
    }

    fn is_delimited_identifier_start(&self, ch: char) -> bool {
        POSTGRES.is_delimited_identifier_start(ch)
    }

    fn is_identifier_start(&self, ch: char) -> bool {
        POSTGRES.is_identifier_start(ch)
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        POSTGRES.is_identifier_part(ch)
    }

    /// What begins with such a word and cannot be read is not read a second time as a column of that
    /// name, which would be 2^n steps too.
    fn is_reserved_for_identifier(&self, kw: Keyword) -> bool {
        matches!(
            kw,
            Keyword::ARRAY | Keyword::CASE | Keyword::CAST | Keyword::NOT
        ) || POSTGRES.is_reserved_for_identifier(kw)
    }

    /// A FROM behind a common table expression is a [mark](marks) for clauses that are refused.
    fn supports_from_first_insert(&self) -> bool {
        true
    }

    fn is_custom_operator_part(&self, ch: char) -> bool {
        POSTGRES.is_custom_operator_part(ch)
    }

    fn get_next_precedence(&self, parser: &Parser<'_>) -> Option<Result<u8, ParserError>> {
        if thread::is_abandoned() {
            // Of all errors the one that the parser does not answer by trying something else.
            return Some(Err(ParserError::RecursionLimitExceeded));
        }
        match () {
            () if is_collate(parser) => Some(Ok(self.prec_value(Precedence::DoubleColon))),
            // It ends a column of XMLTABLE, and is no operator.
            () if is_not(parser, 0) && is_word(parser, 1, "null") => Some(Ok(0)),
            // Looser than any operator.
            () if marks::goes_on(parser) => Some(Ok(1)),
            () => POSTGRES.get_next_precedence(parser),
        }
    }

    fn parse_prefix(&self, parser: &mut Parser<'_>) -> Option<Result<Expr, ParserError>> {
        self.parse_nots(parser)
            .or_else(|| self.parse_marked(parser))
            .or_else(|| marks::parse_prefix(parser))
            .or_else(|| self.parse_prefix_operator(parser))
            .or_else(|| parse_typed_string(parser))
    }

    /// `x::text COLLATE "C"`, where the parser's own reads COLLATE behind names and literals only;
    /// `OPERATOR(s.===)`, of whose symbol it takes the first token; `a @@ ANY (..)`, where it knows a
    /// few operators only.
    fn parse_infix(
        &self,
        parser: &mut Parser<'_>,
        expr: &Expr,
        precedence: u8,
    ) -> Option<Result<Expr, ParserError>> {
        if is_collate(parser) {
            parser.advance_token();
            return Some(
                parser
                    .parse_object_name(false)
                    .map(|collation| Expr::Collate {
                        expr: Box::new(expr.clone()),
                        collation,
                    }),
            );
        }
        if marks::goes_on(parser) {
            return Some(marks::parse_infix(parser, expr));
        }
        if let Some(test) = is_document(parser) {
            test.split(' ').for_each(|_| parser.advance_token());
            return Some(Ok(Expr::BinaryOp {
                left: Box::new(expr.clone()),
                op: BinaryOperator::Custom("IS".to_owned()),
                right: Box::new(Expr::value(Value::Placeholder(test[3..].to_owned()))),
            }));
        }
        if operators::is_next(parser) {
            return Some(parse_operator(parser, expr, precedence));
        }
        let op = of_any(parser)?;
        parser.advance_token();
        Some(parse_quantified(parser, expr, op, precedence))
    }

    fn prec_value(&self, prec: Precedence) -> u8 {
        POSTGRES.prec_value(prec)
    }

    as_postgres!(
        supports_unicode_string_literal,
        supports_filter_during_aggregation,
        supports_group_by_expr,
        allow_extract_custom,
        allow_extract_single_quotes,
        supports_factorial_operator,
        supports_bitwise_shift_operators,
        supports_named_fn_args_with_colon_operator,
        supports_empty_projections,
        supports_nested_comments,
        supports_string_escape_constant,
        supports_numeric_literal_underscores,
        supports_array_typedef_with_brackets,
        supports_geometric_types,
        supports_notnull_operator,
        supports_interval_options,
        supports_select_wildcard_with_alias,
        supports_comma_separated_trim,
        supports_xml_expressions,
        supports_comment_optimizer_hint
    );
}

impl Dialected {
    /// `NOT NOT NOT x`: the parser's own takes a level of its depth for each.
    fn parse_nots(&self, parser: &mut Parser<'_>) -> Option<Result<Expr, ParserError>> {
        let mut count = 0_usize;
        while is_not(parser, 0) && is_not(parser, 1) {
            parser.advance_token();
            count += 1;
        }
        if count == 0 {
            return None;
        }
        let inner = parser.parse_subexpr(self.prec_value(Precedence::UnaryNot));
        Some(inner.map(|inner| {
            (0..count).fold(inner, |expr, _| Expr::UnaryOp {
                op: UnaryOperator::Not,
                expr: Box::new(expr),
            })
        }))
    }

    /// `OPERATOR(s.@) x`: an operation without a left side, whatever the symbol (`qual_Op`).
    fn parse_prefix_operator(&self, parser: &mut Parser<'_>) -> Option<Result<Expr, ParserError>> {
        operators::is_next(parser).then(|| {
            let op = operators::parse_name(parser)?;
            let operand = parser.parse_subexpr(self.prec_value(Precedence::PgOther))?;
            Ok(prefixed(op, operand))
        })
    }

    /// `f(VARIADIC x)`, `BETWEEN SYMMETRIC x AND y`: words that PostgreSQL reserves, so they are no
    /// names.
    fn parse_marked(&self, parser: &mut Parser<'_>) -> Option<Result<Expr, ParserError>> {
        let mark = ["variadic", "symmetric", "asymmetric"]
            .into_iter()
            .find(|mark| is_word(parser, 0, mark))?;
        parser.advance_token();
        let value = match mark {
            "variadic" => parser.parse_expr(),
            _ => parser.parse_subexpr(self.prec_value(Precedence::Between)),
        };
        Some(value.map(|value| Expr::Prefixed {
            prefix: Ident::new(mark.to_ascii_uppercase()),
            value: Box::new(value),
        }))
    }
}

/// `pg_lsn '0/1'`, `s.t 'x'`: a literal of a type that the parser knows nothing of.
fn parse_typed_string(parser: &mut Parser<'_>) -> Option<Result<Expr, ParserError>> {
    let mut ahead = 0;
    loop {
        let Token::Word(word) = &parser.peek_nth_token_ref(ahead).token else {
            return None;
        };
        // With a schema it can be nothing else.
        let is_qualified = ahead > 0 || parser.peek_nth_token_ref(1).token == Token::Period;
        let is_name = is_qualified
            || word.quote_style.is_some()
            || word.keyword == Keyword::NoKeyword
            || TYPES.contains(&&*word.value.to_ascii_lowercase());
        if !is_name {
            return None;
        }
        ahead += 1;
        match &parser.peek_nth_token_ref(ahead).token {
            Token::Period => ahead += 1,
            Token::SingleQuotedString(_)
            | Token::EscapedStringLiteral(_)
            | Token::DollarQuotedString(_) => break,
            _ => return None,
        }
    }
    Some(parser.parse_object_name(false).and_then(|name| {
        Ok(Expr::TypedString(TypedString {
            data_type: DataType::Custom(name, Vec::new()),
            value: parser.parse_value()?,
            uses_odbc_syntax: false,
        }))
    }))
}

/// `a OPERATOR(s.===) b`.
fn parse_operator(
    parser: &mut Parser<'_>,
    left: &Expr,
    precedence: u8,
) -> Result<Expr, ParserError> {
    let op = operators::parse_name(parser)?;
    if is_quantifier(parser, 0) {
        return parse_quantified(parser, left, op, precedence);
    }
    Ok(Expr::BinaryOp {
        left: Box::new(left.clone()),
        op,
        right: Box::new(parser.parse_subexpr(precedence)?),
    })
}

/// The operator of `a @@ ANY (..)`, if it is none of those that the parser takes there.
fn of_any(parser: &Parser<'_>) -> Option<BinaryOperator> {
    let symbol = match &parser.peek_token_ref().token {
        Token::Word(_)
        | Token::Eq
        | Token::Neq
        | Token::Lt
        | Token::LtEq
        | Token::Gt
        | Token::GtEq
        | Token::Tilde
        | Token::TildeAsterisk
        | Token::ExclamationMarkTilde
        | Token::ExclamationMarkTildeAsterisk
        | Token::DoubleTilde
        | Token::DoubleTildeAsterisk
        | Token::ExclamationMarkDoubleTilde
        | Token::ExclamationMarkDoubleTildeAsterisk => return None,
        other => other.to_string(),
    };
    (is_operator(&symbol) && is_quantifier(parser, 1)).then_some(BinaryOperator::Custom(symbol))
}

/// What is behind the operator: `ANY (..)`, `SOME (..)`, `ALL (..)`.
fn parse_quantified(
    parser: &mut Parser<'_>,
    left: &Expr,
    compare_op: BinaryOperator,
    precedence: u8,
) -> Result<Expr, ParserError> {
    let is_all = is_word(parser, 0, "all");
    let is_some = is_word(parser, 0, "some");
    parser.advance_token();
    let is_query = ["select", "with", "values"]
        .iter()
        .any(|word| is_word(parser, 1, word));
    let right = match is_query {
        // With its parentheses.
        true => parser.parse_subexpr(precedence)?,
        false => {
            parser.expect_token(&Token::LParen)?;
            let right = parser.parse_expr()?;
            parser.expect_token(&Token::RParen)?;
            right
        }
    };
    let (left, right) = (Box::new(left.clone()), Box::new(right));
    Ok(match is_all {
        true => Expr::AllOp {
            left,
            compare_op,
            right,
        },
        false => Expr::AnyOp {
            left,
            compare_op,
            right,
            is_some,
        },
    })
}

fn is_quantifier(parser: &Parser<'_>, ahead: usize) -> bool {
    ["any", "some", "all"]
        .iter()
        .any(|word| is_word(parser, ahead, word))
        && parser.peek_nth_token_ref(ahead + 1).token == Token::LParen
}

/// PostgreSQL's types whose names are keywords of the parser, but no types.
const TYPES: [&str; 14] = [
    "box", "cidr", "circle", "inet", "line", "lseg", "macaddr", "money", "name", "path", "point",
    "polygon", "record", "xid",
];

/// `IS DOCUMENT`, `IS NOT DOCUMENT`.
fn is_document(parser: &Parser<'_>) -> Option<&'static str> {
    let tests = ["IS DOCUMENT", "IS NOT DOCUMENT"];
    tests.into_iter().find(|test| {
        let mut words = test.split(' ').enumerate();
        words.all(|(ahead, word)| is_word(parser, ahead, word))
    })
}

fn is_not(parser: &Parser<'_>, ahead: usize) -> bool {
    matches!(&parser.peek_nth_token_ref(ahead).token, Token::Word(word)
        if word.keyword == Keyword::NOT && word.quote_style.is_none())
}

fn is_collate(parser: &Parser<'_>) -> bool {
    matches!(&parser.peek_token_ref().token, Token::Word(word) if word.keyword == Keyword::COLLATE)
}
