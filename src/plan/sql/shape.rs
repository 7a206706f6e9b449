//! Whether an expression is grouped as PostgreSQL groups it, and repair where it is not.
//!
//! The parser has precedences of its own: it reads `a IS DISTINCT FROM b AND c` with `b AND c` in
//! brackets, and `-2 ^ 2` as `-(2 ^ 2)`. Both print well, but whoever takes the tree apart, say into
//! the terms of an AND, would work on another statement. The precedences here are those of
//! `src/backend/parser/gram.y`, from PostgreSQL 9.5 on.
//!
//! A tree over a given row of tokens is the one that the grammar makes if no operator on the edge
//! of an operand, towards the operator that takes it, binds looser than that operator.

use datafusion::sql::sqlparser::ast::{BinaryOperator, CastKind, Expr, UnaryOperator, Value};

use super::operators::is_nothing;
use crate::plan::rewrite;

/// Groups an expression rightly whose operands are grouped rightly already.
///
/// # Errors
/// What cannot be repaired, as SQL.
pub(super) fn regroup(expr: &mut Expr) -> Result<(), String> {
    let Some(own) = precedence(expr) else {
        return Ok(());
    };
    let mut operand = left(expr);
    while let Some(edge) = operand {
        if takes_to_the_right(edge) && precedence(edge).is_some_and(|edge| edge < own) {
            return Err(expr.to_string());
        }
        operand = right(edge);
    }
    if let Expr::Between { low, .. } = &*expr
        && precedence(rewrite::operand(low)).is_some_and(|low| low <= own)
    {
        return Err(expr.to_string());
    }
    if right(expr).is_some_and(|operand| is_loose(operand, own)) {
        rotate(expr, own);
    }
    Ok(())
}

/// Whether the end of the expression is an operand, and not, as in `a IS NULL`, the end of the
/// operator; then what follows cannot be part of it, whatever its precedence.
fn takes_to_the_right(expr: &Expr) -> bool {
    let has_escape = matches!(
        expr,
        Expr::Like {
            escape_char: Some(_),
            ..
        } | Expr::ILike {
            escape_char: Some(_),
            ..
        } | Expr::SimilarTo {
            escape_char: Some(_),
            ..
        }
    );
    right(expr).is_some() || has_escape || matches!(expr, Expr::Exists { negated: true, .. })
}

/// Whether the operand to the right of an operator does not belong to it as a whole. All operators
/// of PostgreSQL group to the left, or not at all.
fn is_loose(operand: &Expr, own: u8) -> bool {
    left(operand).is_some() && precedence(operand).is_some_and(|edge| edge <= own)
}

/// From `a own (b loose c)` to `(a own b) loose c`. On the left edge of a well grouped operand,
/// operators bind tighter the further down they are.
fn rotate(expr: &mut Expr, own: u8) {
    let Some(slot) = right_mut(expr) else { return };
    let mut root = take(slot);
    let mut edge = &mut root;
    while left(edge).is_some_and(|next| is_loose(next, own)) {
        match left_mut(edge) {
            Some(next) => edge = next,
            None => return,
        }
    }
    let Some(operand) = left_mut(edge) else {
        return;
    };
    let kept = take(operand);
    let mut tight = take(expr);
    if let Some(slot) = right_mut(&mut tight) {
        *slot = kept;
    }
    *operand = tight;
    *expr = root;
}

fn take(expr: &mut Expr) -> Expr {
    std::mem::replace(expr, Expr::Value(Value::Null.into()))
}

/// How tight an operator binds; `None` for what is in brackets of some kind.
fn precedence(expr: &Expr) -> Option<u8> {
    const NOT: u8 = 3;
    const IS: u8 = 4;
    const COMPARISON: u8 = 5;
    const LIKE: u8 = 6;
    const OTHER: u8 = 7;
    Some(match expr {
        Expr::BinaryOp { op, .. }
        | Expr::AnyOp { compare_op: op, .. }
        | Expr::AllOp { compare_op: op, .. } => match op {
            // A named argument, `name := value`.
            BinaryOperator::Assignment => 0,
            BinaryOperator::Or => 1,
            BinaryOperator::And => 2,
            BinaryOperator::Eq
            | BinaryOperator::NotEq
            | BinaryOperator::Lt
            | BinaryOperator::LtEq
            | BinaryOperator::Gt
            | BinaryOperator::GtEq => COMPARISON,
            BinaryOperator::Plus | BinaryOperator::Minus => 8,
            BinaryOperator::Multiply | BinaryOperator::Divide | BinaryOperator::Modulo => 9,
            BinaryOperator::PGExp => 10,
            // IS DOCUMENT.
            BinaryOperator::Custom(symbol) if symbol == "IS" => IS,
            _ => OTHER,
        },
        // NOT EXISTS is one node.
        Expr::UnaryOp {
            op: UnaryOperator::Not,
            ..
        }
        | Expr::Exists { negated: true, .. } => NOT,
        Expr::UnaryOp {
            op: UnaryOperator::Plus | UnaryOperator::Minus,
            ..
        } => 13,
        Expr::UnaryOp { .. } => OTHER,
        Expr::IsFalse(_)
        | Expr::IsNotFalse(_)
        | Expr::IsTrue(_)
        | Expr::IsNotTrue(_)
        | Expr::IsNull(_)
        | Expr::IsNotNull(_)
        | Expr::IsUnknown(_)
        | Expr::IsNotUnknown(_)
        | Expr::IsDistinctFrom(..)
        | Expr::IsNotDistinctFrom(..)
        | Expr::IsNormalized { .. } => IS,
        Expr::InList { .. }
        | Expr::InSubquery { .. }
        | Expr::Between { .. }
        | Expr::Like { .. }
        | Expr::ILike { .. }
        | Expr::SimilarTo { .. } => LIKE,
        Expr::AtTimeZone { .. } => 11,
        Expr::Collate { .. } => 12,
        Expr::CompoundFieldAccess { .. } => 14,
        Expr::Cast {
            kind: CastKind::DoubleColon,
            ..
        } => 15,
        _ => return None,
    })
}

// Macros, because each list is needed for shared and for exclusive references.

/// The operand with which the expression begins.
macro_rules! left {
    ($expr:expr) => {
        match $expr {
            Expr::BinaryOp { left, .. } if is_nothing(left) => None,
            Expr::BinaryOp { left, .. } | Expr::AnyOp { left, .. } | Expr::AllOp { left, .. } => {
                Some(left)
            }
            Expr::IsFalse(expr)
            | Expr::IsNotFalse(expr)
            | Expr::IsTrue(expr)
            | Expr::IsNotTrue(expr)
            | Expr::IsNull(expr)
            | Expr::IsNotNull(expr)
            | Expr::IsUnknown(expr)
            | Expr::IsNotUnknown(expr)
            | Expr::IsDistinctFrom(expr, _)
            | Expr::IsNotDistinctFrom(expr, _)
            | Expr::IsNormalized { expr, .. }
            | Expr::InList { expr, .. }
            | Expr::InSubquery { expr, .. }
            | Expr::Between { expr, .. }
            | Expr::Like { expr, .. }
            | Expr::ILike { expr, .. }
            | Expr::SimilarTo { expr, .. }
            | Expr::AtTimeZone {
                timestamp: expr, ..
            }
            | Expr::Collate { expr, .. }
            | Expr::CompoundFieldAccess { root: expr, .. }
            | Expr::Cast {
                kind: CastKind::DoubleColon,
                expr,
                ..
            } => Some(expr),
            _ => None,
        }
    };
}

/// The operand with which the expression ends.
macro_rules! right {
    ($expr:expr) => {
        match $expr {
            Expr::BinaryOp { right, .. } => Some(right),
            Expr::UnaryOp { expr, .. }
            | Expr::IsDistinctFrom(_, expr)
            | Expr::IsNotDistinctFrom(_, expr)
            | Expr::Between { high: expr, .. }
            | Expr::Like {
                pattern: expr,
                escape_char: None,
                any: false,
                ..
            }
            | Expr::ILike {
                pattern: expr,
                escape_char: None,
                any: false,
                ..
            }
            | Expr::SimilarTo {
                pattern: expr,
                escape_char: None,
                ..
            }
            | Expr::AtTimeZone {
                time_zone: expr, ..
            } => Some(expr),
            _ => None,
        }
    };
}

fn left(expr: &Expr) -> Option<&Expr> {
    left!(expr).map(|operand| &**operand)
}

fn left_mut(expr: &mut Expr) -> Option<&mut Expr> {
    left!(expr).map(|operand| &mut **operand)
}

fn right(expr: &Expr) -> Option<&Expr> {
    right!(expr).map(|operand| &**operand)
}

fn right_mut(expr: &mut Expr) -> Option<&mut Expr> {
    right!(expr).map(|operand| &mut **operand)
}
