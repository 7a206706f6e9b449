//! The rows of FROM: which joins find all matches of a row on its shard.

use datafusion::sql::sqlparser::ast::{Expr, Select, TableFactor, TableWithJoins};

use super::{
    Anchors, Distribution, Equalities, Key, Locality, Side, called, condition, factor_alias,
};
use crate::plan::from_item::{self, Outer, Source};
use crate::plan::functions;
use crate::plan::naming::as_column;
use crate::plan::rewrite::{bare, conjuncts};

impl Locality<'_> {
    pub(super) fn from(
        &self,
        from: &[TableWithJoins],
        equal: &Equalities,
        anchors: &Anchors,
    ) -> Side {
        let mut whole: Option<Side> = None;
        for tree in from {
            let before = whole.clone().unwrap_or(Side::Replicated);
            let side = self.tree(tree, equal, &anchors.with(&before));
            whole = Some(match whole {
                None => side,
                Some(left) => self.inner(left, side, equal),
            });
        }
        whole.unwrap_or(Side::Replicated)
    }

    fn tree(&self, tree: &TableWithJoins, equal: &Equalities, anchors: &Anchors) -> Side {
        let mut left = self.factor(&tree.relation, equal, anchors);
        for join in &tree.joins {
            let Ok(kind) = from_item::outer_kind(&join.join_operator) else {
                return Side::Global("this kind of join".to_owned());
            };
            // What WHERE and other joins say is not known of rows that this join completes with NULLs.
            let condition = self.exact(Equalities::of_condition(condition(&join.join_operator)));
            let right_equal = match kind {
                Outer::Left | Outer::Full => &condition,
                _ => equal,
            };
            let right = self.factor(&join.relation, right_equal, &anchors.with(&left));
            let inside = self.exact(Equalities::inside(&tree.relation, &tree.joins));
            let on = condition.and(&inside);
            left = match kind {
                Outer::None => self.inner(left, right, &equal.and(&on)),
                Outer::Left => self.left_join(left, right, &on),
                Outer::Right => self.left_join(right, left, &on),
                Outer::Full => self.full_join(left, right, &on),
            };
        }
        left
    }

    fn factor(&self, factor: &TableFactor, equal: &Equalities, anchors: &Anchors) -> Side {
        match factor {
            TableFactor::NestedJoin {
                table_with_joins, ..
            } => self.tree(table_with_joins, equal, anchors),
            TableFactor::Derived { subquery, .. } => {
                let alias = factor_alias(factor).unwrap_or_default();
                // Without LATERAL it names nothing of the rows beside it, and anchors do no harm.
                match self.query(subquery, anchors) {
                    Distribution::Replicated | Distribution::Anchored => Side::Replicated,
                    Distribution::Global(reason) => Side::Global(reason),
                    Distribution::Sharded { group, keys } => {
                        let columns = self.relations.get(&alias).and_then(|r| r.columns.as_ref());
                        let keys = keys.iter().filter_map(|key| {
                            Some(Key {
                                column: (alias.clone(), columns?.get(key.index)?.name.clone()),
                                not_null: key.not_null,
                            })
                        });
                        Side::Sharded {
                            group,
                            keys: keys.collect(),
                        }
                    }
                }
            }
            TableFactor::Table { args: None, .. } => {
                let alias = factor_alias(factor).unwrap_or_default();
                match self.relations.get(&alias).map(|relation| &relation.source) {
                    Some(Source::Table(base)) => match &base.sharding {
                        None => {
                            self.say(|| format!("every shard has all rows of {alias}"));
                            Side::Replicated
                        }
                        Some(sharding) => {
                            self.say(|| format!("each row of {alias} is on one shard"));
                            Side::Sharded {
                                group: sharding.group.clone(),
                                keys: vec![Key {
                                    column: (alias, sharding.key.clone()),
                                    not_null: sharding.key_not_null,
                                }],
                            }
                        }
                    },
                    Some(Source::Cte | Source::Step | Source::Function) => Side::Replicated,
                    _ => Side::Global(format!("{alias}: not a table")),
                }
            }
            other => {
                if functions::is_volatile(other, self.catalog) {
                    return Side::Global("a volatile function in FROM".to_owned());
                }
                match self.subqueries_of(other, anchors) {
                    Some(reason) => Side::Global(reason),
                    None => Side::Replicated,
                }
            }
        }
    }
}

impl Side {
    /// Keys that a condition lets no NULL of pass.
    pub(super) fn known_not_null(self, select: &Select, equal: &Equalities) -> Self {
        let Self::Sharded { group, mut keys } = self else {
            return self;
        };
        for key in &mut keys {
            key.not_null |= equal.mentions(&key.column)
                || select.selection.iter().flat_map(conjuncts).any(|conjunct| {
                    matches!(bare(conjunct), Expr::IsNotNull(inner)
                        if as_column(inner).is_some_and(|column| column == key.column))
                });
        }
        Self::Sharded { group, keys }
    }

    fn nullable(self) -> Self {
        match self {
            Self::Sharded { group, keys } => Self::Sharded {
                group,
                keys: keys
                    .into_iter()
                    .map(|key| Key {
                        not_null: false,
                        ..key
                    })
                    .collect(),
            },
            other => other,
        }
    }
}

impl Locality<'_> {
    fn inner(&self, left: Side, right: Side, equal: &Equalities) -> Side {
        match (left, right) {
            (Side::Global(reason), _) | (_, Side::Global(reason)) => Side::Global(reason),
            (Side::Replicated, other) | (other, Side::Replicated) => other,
            (left, right) => self.colocated(left, right, equal),
        }
    }

    fn left_join(&self, kept: Side, other: Side, on: &Equalities) -> Side {
        match (kept, other) {
            (Side::Global(reason), _) | (_, Side::Global(reason)) => Side::Global(reason),
            (kept, Side::Replicated) => kept,
            (Side::Replicated, _) => Side::Global(
                "an outer join keeps all rows of a replicated table, whose matches are on several shards"
                    .to_owned(),
            ),
            (kept, other) => self.colocated(kept, other.nullable(), on),
        }
    }

    fn full_join(&self, left: Side, right: Side, on: &Equalities) -> Side {
        match (left, right) {
            (Side::Global(reason), _) | (_, Side::Global(reason)) => Side::Global(reason),
            (Side::Replicated, Side::Replicated) => Side::Replicated,
            (Side::Replicated, _) | (_, Side::Replicated) => Side::Global(
                "a full join keeps all rows of a replicated table, whose matches are on several shards"
                    .to_owned(),
            ),
            (left, right) => self.colocated(left.nullable(), right.nullable(), on),
        }
    }

    /// Two sharded sides, whose matches are on one shard if their keys are equal.
    fn colocated(&self, left: Side, right: Side, equal: &Equalities) -> Side {
        let (
            Side::Sharded { group, mut keys },
            Side::Sharded {
                group: other,
                keys: more,
            },
        ) = (left, right)
        else {
            return Side::Global("not two sharded tables".to_owned());
        };
        if group != other {
            return Side::Global(
                "two sharded tables of different colocation groups are joined".to_owned(),
            );
        }
        let mut pairs = keys
            .iter()
            .flat_map(|key| more.iter().map(move |to| (key, to)));
        let matched = pairs.find(|(key, to)| equal.same(&key.column, &to.column));
        let Some((key, to)) = matched else {
            return Side::Global(
                "two sharded tables are joined other than by the equality of their keys".to_owned(),
            );
        };
        self.say(|| {
            format!(
                "{} and {} are joined by the equality of their shard keys ({} = {}): all matches of \
                 a row are on its shard",
                key.column.0,
                to.column.0,
                called(&key.column),
                called(&to.column)
            )
        });
        keys.extend(more);
        Side::Sharded { group, keys }
    }
}
