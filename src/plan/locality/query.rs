//! Queries: set operations, LIMIT, and what is beside their SELECTs.

use datafusion::sql::sqlparser::ast::{Expr, Query, Select, SetExpr, SetOperator, SetQuantifier};

use super::{
    Anchors, Distribution, Locality, OutputKey, aliases, is_limited, is_output, order_keys,
};
use crate::plan::bind::folded;
use crate::plan::{functions, rewrite};

impl Locality<'_> {
    pub(super) fn query(&self, query: &Query, anchors: &Anchors) -> Distribution {
        let beside = self
            .global_with(query)
            .or_else(|| self.subqueries_of(&query.limit_clause, anchors))
            .or_else(|| self.subqueries_of(&query.fetch, anchors))
            .or_else(|| match &*query.body {
                // Its subqueries see the rows of FROM, and are looked at with them.
                SetExpr::Select(_) => None,
                _ => self.subqueries_of(&query.order_by, anchors),
            });
        if let Some(reason) = beside {
            return Distribution::Global(reason);
        }
        let body = match &*query.body {
            SetExpr::Select(select) => {
                self.select(&with_order(select, query), anchors)
                    .distribution
            }
            body => self.body(body, anchors),
        };
        if !is_limited(query) {
            return body;
        }
        match body {
            Distribution::Sharded { .. } => {
                Distribution::Global("LIMIT counts the rows of all shards".to_owned())
            }
            Distribution::Replicated if !self.is_correlated(query) => Distribution::Global(
                "LIMIT may choose other rows of a replicated table on each shard".to_owned(),
            ),
            other => other,
        }
    }

    fn body(&self, body: &SetExpr, anchors: &Anchors) -> Distribution {
        match body {
            SetExpr::Select(select) => self.select(select, anchors).distribution,
            SetExpr::Query(query) => self.query(query, anchors),
            SetExpr::Values(values) => {
                if functions::is_volatile(values, self.catalog) {
                    return Distribution::Global("VALUES with a volatile function".to_owned());
                }
                match self.subqueries_of(values, anchors) {
                    Some(reason) => Distribution::Global(reason),
                    None => Distribution::Replicated,
                }
            }
            SetExpr::SetOperation {
                op,
                set_quantifier,
                left,
                right,
            } => {
                let left = self.body(left, anchors);
                let right = self.body(right, anchors);
                set_operation(*op, *set_quantifier, left, right)
            }
            _ => Distribution::Global("a statement that changes data".to_owned()),
        }
    }

    /// Whether a query names columns of an outer one.
    pub(in crate::plan) fn is_correlated(&self, query: &Query) -> bool {
        let own = aliases(query);
        rewrite::any(query, |expr| match expr {
            Expr::CompoundIdentifier(parts) => parts.first().is_some_and(|alias| {
                let alias = folded(alias);
                self.relations.contains_key(&alias) && !own.contains(&alias)
            }),
            Expr::Identifier(name) => {
                let alias = folded(name);
                self.relations.contains_key(&alias) && !own.contains(&alias)
            }
            _ => false,
        })
    }
}

fn set_operation(
    op: SetOperator,
    quantifier: SetQuantifier,
    left: Distribution,
    right: Distribution,
) -> Distribution {
    use Distribution::{Anchored, Global, Replicated, Sharded};
    match (left, right) {
        (Global(reason), _) | (_, Global(reason)) => Global(reason),
        (Replicated, Replicated) => Replicated,
        (Replicated | Anchored, Replicated | Anchored) => Anchored,
        (
            Sharded { group, keys },
            Sharded {
                group: other,
                keys: more,
            },
        ) => {
            let common: Vec<_> = keys
                .iter()
                .filter_map(|key| {
                    let same = more.iter().find(|other| other.index == key.index)?;
                    Some(OutputKey {
                        index: key.index,
                        not_null: key.not_null && same.not_null,
                    })
                })
                .filter(|_| group == other)
                .collect();
            let all = matches!((op, quantifier), (SetOperator::Union, SetQuantifier::All));
            if all || common.iter().any(|key| key.not_null) {
                return Sharded {
                    group,
                    keys: common,
                };
            }
            Global(format!("{op} compares the rows of all shards"))
        }
        _ => Global(format!("{op} of sharded and replicated rows")),
    }
}

/// A SELECT that also says by which expressions its query sorts: of those that are no columns of
/// the output, in a clause that PostgreSQL does not have.
fn with_order(select: &Select, query: &Query) -> Select {
    let mut whole = select.clone();
    let keys = order_keys(query).iter();
    whole.sort_by = keys
        .filter(|key| !is_output(&key.expr, select))
        .cloned()
        .collect();
    whole
}
