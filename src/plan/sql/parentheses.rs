//! Parentheses that the grammar of PostgreSQL drops: around a whole query, and around names and constants.

use datafusion::sql::sqlparser::ast::{Expr, LimitClause, Query, SetExpr};

use crate::plan::rewrite::bare;

/// Takes the parentheses off a query that stands in them as a whole.
///
/// What is written behind them belongs to the query inside: `(SELECT .. ORDER BY k) LIMIT 3` is
/// `SELECT .. ORDER BY k LIMIT 3` (`insertSelectOptions` in `src/backend/parser/gram.y`), and not some
/// three rows of a query with an order of its own. Where both have a clause, PostgreSQL takes neither.
pub(in crate::plan) fn unwrap_parentheses(query: &mut Query) {
    while let SetExpr::Query(inner) = &mut *query.body {
        let has_both = query.with.is_some() && inner.with.is_some()
            || query.order_by.is_some() && inner.order_by.is_some();
        if has_both {
            return;
        }
        let mut inner = inner.clone();
        let outer_limit = query.limit_clause.take();
        query.limit_clause = merged(outer_limit, inner.limit_clause.take());
        query.with = query.with.take().or(inner.with.take());
        query.order_by = query.order_by.take().or(inner.order_by.take());
        query.fetch = query.fetch.take().or(inner.fetch.take());
        query.locks.append(&mut inner.locks);
        query.body = inner.body;
    }
}

/// Takes the parentheses off a key that PostgreSQL's grammar sees nothing else in: `ORDER BY (a)` names a column
/// of the output, and `ORDER BY (1)` is its first (`findTargetlistEntrySQL92` in
/// `src/backend/parser/parse_clause.c` finds no parentheses left).
pub(in crate::plan) fn unwrap_key(key: &mut Expr) {
    if let Expr::Nested(_) = key
        && let inner @ (Expr::Identifier(_) | Expr::Value(_) | Expr::QualifiedWildcard(..)) =
            bare(key)
    {
        *key = inner.clone();
    }
}

/// A number of rows may be inside, and how many are left out behind, or the other way round.
fn merged(outer: Option<LimitClause>, inner: Option<LimitClause>) -> Option<LimitClause> {
    match (outer, inner) {
        (
            Some(LimitClause::LimitOffset {
                limit,
                offset,
                limit_by,
            }),
            Some(LimitClause::LimitOffset {
                limit: inner_limit,
                offset: inner_offset,
                ..
            }),
        ) => Some(LimitClause::LimitOffset {
            limit: limit.or(inner_limit),
            offset: offset.or(inner_offset),
            limit_by,
        }),
        (outer, inner) => outer.or(inner),
    }
}
