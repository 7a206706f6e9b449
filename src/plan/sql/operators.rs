//! Operators by their names: `a OPERATOR(s.===) b`, and `OPERATOR(s.@) a`, where nothing is on the left.

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, Value};
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Token;

/// An operator before its only operand. No node of the parser's own has a place for all symbols, and a
/// schema.
pub(in crate::plan) fn prefixed(op: BinaryOperator, operand: Expr) -> Expr {
    Expr::BinaryOp {
        left: Box::new(Expr::value(Value::Placeholder(String::new()))),
        op,
        right: Box::new(operand),
    }
}

/// Whether this is what stands on the left of an operator [before its only operand](prefixed).
pub(super) fn is_nothing(left: &Expr) -> bool {
    matches!(left, Expr::Value(value)
        if matches!(&value.value, Value::Placeholder(text) if text.is_empty()))
}

/// Whether this is the symbol of an operator.
pub(super) fn is_operator(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| "+-*/<>=~!@#%^&|`?".contains(c))
}

/// Whether `OPERATOR(..)` comes next, and no function of that name.
pub(super) fn is_next(parser: &Parser<'_>) -> bool {
    let token = |ahead: usize| &parser.peek_nth_token_ref(ahead).token;
    let is_symbol = |ahead: usize| is_operator(&token(ahead).to_string());
    is_word(parser, 0, "operator")
        && *token(1) == Token::LParen
        && (is_symbol(2) || *token(3) == Token::Period && is_symbol(4))
}

/// `OPERATOR(s.===)`.
pub(super) fn parse_name(parser: &mut Parser<'_>) -> Result<BinaryOperator, ParserError> {
    parser.advance_token();
    parser.expect_token(&Token::LParen)?;
    let mut parts = vec![String::new()];
    loop {
        let token = parser.next_token();
        match token.token {
            Token::RParen => break,
            Token::EOF => return parser.expected("an operator", token),
            Token::Period => parts.push(String::new()),
            token => {
                if let Some(part) = parts.last_mut() {
                    part.push_str(&token.to_string());
                }
            }
        }
    }
    Ok(BinaryOperator::PGCustomBinaryOperator(parts))
}

/// Whether a token is this word, without quotes.
pub(super) fn is_word(parser: &Parser<'_>, ahead: usize, expected: &str) -> bool {
    matches!(&parser.peek_nth_token_ref(ahead).token, Token::Word(word)
        if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(expected))
}
