//! Parentheses around a whole query.

use datafusion::sql::sqlparser::ast::{LimitClause, Query, SetExpr};

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
