//! LIMIT, OFFSET and FETCH.

use datafusion::sql::sqlparser::ast::{Expr, Fetch, LimitClause, Offset, Query, Value};

use crate::plan::build;
use crate::plan::naming::folded;
use crate::plan::rewrite::bare;

/// How many rows a query leaves out and gives.
#[derive(Debug, Clone, Default)]
pub(super) struct Limit {
    pub(super) skip: u64,
    pub(super) fetch: Option<u64>,
    pub(super) with_ties: bool,
}

impl Limit {
    pub(super) fn is_none(&self) -> bool {
        self.skip == 0 && self.fetch.is_none()
    }
}

/// Takes LIMIT, OFFSET and FETCH off a query; `None` if they are not plain numbers.
pub(super) fn take_limit(query: &mut Query) -> Option<Limit> {
    let plain = |expr: &Expr| match bare(expr) {
        Expr::Value(value) => match &value.value {
            Value::Number(digits, _) => digits.parse::<u64>().ok().map(Some),
            Value::Null => Some(None),
            _ => None,
        },
        // A parameter that has become a literal.
        Expr::Cast { expr, .. } => match bare(expr) {
            Expr::Value(value) => match &value.value {
                Value::SingleQuotedString(digits) | Value::EscapedStringLiteral(digits) => {
                    digits.trim().parse::<u64>().ok().map(Some)
                }
                Value::Null => Some(None),
                _ => None,
            },
            _ => None,
        },
        Expr::Identifier(name) if folded(name) == "all" => Some(None),
        _ => None,
    };
    let clause = query.limit_clause.take();
    let fetch = query.fetch.take();
    let mut limit = Limit::default();
    match clause {
        None => {}
        Some(LimitClause::LimitOffset {
            limit: count,
            offset,
            limit_by,
        }) => {
            if !limit_by.is_empty() {
                return None;
            }
            if let Some(count) = count {
                limit.fetch = plain(&count)?;
            }
            if let Some(offset) = offset {
                limit.skip = plain(&offset.value)?.unwrap_or(0);
            }
        }
        Some(LimitClause::OffsetCommaLimit { .. }) => return None,
    }
    if let Some(fetch) = fetch {
        if fetch.percent {
            return None;
        }
        limit.with_ties = fetch.with_ties;
        limit.fetch = match fetch.quantity {
            None => Some(1),
            Some(quantity) => plain(&quantity)?,
        };
    }
    Some(limit)
}

/// A query that gives as many rows as a merge may need of one shard.
pub(super) fn limited(mut query: Query, limit: &Limit) -> Query {
    // PostgreSQL counts to 2^63 - 1, and no table has more rows.
    let fetch = limit.fetch.and_then(|fetch| fetch.checked_add(limit.skip));
    let Some(fetch) = fetch.filter(|fetch| i64::try_from(*fetch).is_ok()) else {
        return query;
    };
    if limit.with_ties {
        query.fetch = Some(Fetch {
            with_ties: true,
            percent: false,
            quantity: Some(build::number(fetch)),
        });
        return query;
    }
    query.limit_clause = Some(LimitClause::LimitOffset {
        limit: Some(build::number(fetch)),
        offset: None::<Offset>,
        limit_by: Vec::new(),
    });
    query
}
