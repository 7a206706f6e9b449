//! What the shards can compute on their own: the distribution of every relation, bottom up.
//!
//! A relation is *replicated* (every shard has all of its rows), *sharded* (each row is on one
//! shard, which its key columns decide), or *global*: no shard can compute its part of it. The rows
//! of a query that is sharded are the rows of all shards together.
//!
//! The analysis reads a bound statement (see [`bind`](super::bind)) and nothing else. It says, to who
//! asks, what its findings rest on: [`Premises`].
//!
//! ```text
//! query ── select ── from: joins, where equalities of keys decide
//! ```

mod copies;
mod equalities;
mod from;
mod query;
mod select;
mod syntax;

use std::collections::HashMap;

use datafusion::sql::sqlparser::ast::{Query, TableFactor};

use super::argument::Premises;
use super::from_item::{FromItem, Source};
use super::{functions, rewrite};
use crate::catalog::Catalog;

pub(super) use self::equalities::Equalities;
pub(super) use self::syntax::{
    condition, depends_on_ties, factor_alias, is_limited, is_output, order_keys, resolve_key,
};

/// `alias.column`.
pub(super) type ColumnName = (String, String);

/// A column as people know it.
fn called((alias, name): &ColumnName) -> String {
    format!("{alias}.{name}")
}

/// How the rows of a query are spread.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Distribution {
    /// Every shard gives the same rows, all of them.
    Replicated,
    /// Every shard gives the rows that belong to the row of an outer query that it has: all of
    /// them.
    Anchored,
    /// Each shard gives its part.
    Sharded {
        group: String,
        /// The columns of the output that hold the shard key.
        keys: Vec<OutputKey>,
    },
    /// No shard can compute its part; why.
    Global(String),
}

/// A column of a query's output that holds the shard key.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct OutputKey {
    pub(super) index: usize,
    pub(super) not_null: bool,
}

/// The rows of FROM, or of a part of it.
#[derive(Debug, Clone)]
pub(super) enum Side {
    Replicated,
    Sharded { group: String, keys: Vec<Key> },
    Global(String),
}

/// A column that holds the shard key, or NULL.
#[derive(Debug, Clone)]
pub(super) struct Key {
    pub(super) column: ColumnName,
    pub(super) not_null: bool,
}

/// The keys of the rows of outer queries, for whose sake a subquery runs.
#[derive(Debug, Clone, Default)]
pub(super) struct Anchors(Vec<(String, ColumnName)>);

impl Anchors {
    fn with(&self, side: &Side) -> Self {
        let mut anchors = self.clone();
        if let Side::Sharded { group, keys } = side {
            let own = keys.iter().map(|key| (group.clone(), key.column.clone()));
            anchors.0.extend(own);
        }
        anchors
    }
}

/// What is known of a SELECT.
pub(super) struct Block {
    /// The rows of FROM that WHERE lets pass; `Err`: why no shard can compute its part of them.
    pub(super) rows: Result<Side, String>,
    /// The whole of it, but for ORDER BY and LIMIT.
    pub(super) distribution: Distribution,
}

/// Looks at queries.
#[derive(Clone, Copy)]
pub(super) struct Locality<'a> {
    pub(super) relations: &'a HashMap<String, FromItem>,
    pub(super) catalog: &'a Catalog,
    /// Where it is said what makes a relation replicated or sharded, for people. What is said of a
    /// relation that is global in the end means nothing.
    pub(super) premises: Option<&'a Premises>,
}

impl<'a> Locality<'a> {
    /// The same, that says what it rests on.
    pub(super) fn saying(self, premises: &'a Premises) -> Self {
        Self {
            premises: Some(premises),
            ..self
        }
    }
}

impl Locality<'_> {
    /// Says what holds.
    fn say(&self, premise: impl FnOnce() -> String) {
        if let Some(premises) = self.premises {
            premises.hold(premise());
        }
    }

    /// The distribution of a query that stands on its own.
    pub(super) fn of(&self, query: &Query) -> Distribution {
        self.query(query, &Anchors::default())
    }

    /// Whether a table that is sharded is read anywhere inside.
    pub(super) fn reads_sharded(&self, query: &Query) -> bool {
        rewrite::any_factor(query, |factor| self.is_sharded(factor))
    }

    fn is_sharded(&self, factor: &TableFactor) -> bool {
        if !matches!(factor, TableFactor::Table { args: None, .. }) {
            return false;
        }
        let relation = factor_alias(factor).and_then(|alias| self.relations.get(&alias));
        let source = relation.map(|relation| &relation.source);
        matches!(source, Some(Source::Table(base)) if base.sharding.is_some())
    }

    /// The aliases of the sharded tables inside.
    pub(super) fn sharded_tables(&self, query: &Query) -> Vec<String> {
        let mut found = Vec::new();
        rewrite::factors(query, |factor| {
            if self.is_sharded(factor) {
                found.extend(factor_alias(factor));
            }
        });
        found
    }

    /// Why the common table expressions of a query cannot be evaluated on every shard, if so.
    pub(super) fn global_with(&self, query: &Query) -> Option<String> {
        let ctes = query.with.iter().flat_map(|with| &with.cte_tables);
        ctes.into_iter().find_map(|cte| {
            let name = &cte.alias.name;
            if self.reads_sharded(&cte.query) {
                Some(format!(
                    "the common table expression {name} is recursive or volatile, and reads a sharded table"
                ))
            } else if functions::is_volatile(&*cte.query, self.catalog) {
                Some(format!("the common table expression {name} is volatile"))
            } else if depends_on_ties(&cte.query, self.catalog) {
                Some(format!(
                    "the common table expression {name} may give other rows on each shard"
                ))
            } else {
                if let Distribution::Global(reason) = self.of(&cte.query) {
                    return Some(reason);
                }
                self.say(|| {
                    format!("the common table expression {name} has the same rows on every shard")
                });
                None
            }
        })
    }

    fn exact(&self, equal: Equalities) -> Equalities {
        equal.exact(self.relations)
    }
}
