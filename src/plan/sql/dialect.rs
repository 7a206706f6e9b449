//! The parser's PostgreSQL dialect, without what makes it slow.

use std::any::TypeId;

use datafusion::sql::sqlparser::ast::{Expr, UnaryOperator};
use datafusion::sql::sqlparser::dialect::{Dialect, PostgreSqlDialect, Precedence};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Token;

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

    fn is_custom_operator_part(&self, ch: char) -> bool {
        POSTGRES.is_custom_operator_part(ch)
    }

    fn get_next_precedence(&self, parser: &Parser<'_>) -> Option<Result<u8, ParserError>> {
        if thread::is_abandoned() {
            // Of all errors the one that the parser does not answer by trying something else.
            return Some(Err(ParserError::RecursionLimitExceeded));
        }
        match is_collate(parser) {
            true => Some(Ok(self.prec_value(Precedence::DoubleColon))),
            false => POSTGRES.get_next_precedence(parser),
        }
    }

    /// `NOT NOT NOT x`: the parser's own takes a level of its depth for each.
    fn parse_prefix(&self, parser: &mut Parser<'_>) -> Option<Result<Expr, ParserError>> {
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

    /// `x::text COLLATE "C"`: the parser's own reads COLLATE behind names and literals only.
    fn parse_infix(
        &self,
        parser: &mut Parser<'_>,
        expr: &Expr,
        _precedence: u8,
    ) -> Option<Result<Expr, ParserError>> {
        if !is_collate(parser) {
            return None;
        }
        parser.advance_token();
        Some(
            parser
                .parse_object_name(false)
                .map(|collation| Expr::Collate {
                    expr: Box::new(expr.clone()),
                    collation,
                }),
        )
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

fn is_not(parser: &Parser<'_>, ahead: usize) -> bool {
    matches!(&parser.peek_nth_token_ref(ahead).token, Token::Word(word)
        if word.keyword == Keyword::NOT && word.quote_style.is_none())
}

fn is_collate(parser: &Parser<'_>) -> bool {
    matches!(&parser.peek_token_ref().token, Token::Word(word) if word.keyword == Keyword::COLLATE)
}
