//! Which columns are equal in every row.

use std::collections::HashMap;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Join, Select, TableFactor, TableWithJoins,
};

use super::{ColumnName, condition};
use crate::plan::facts::types;
use crate::plan::from_item::{self, FromItem, Outer, Source};
use crate::plan::naming::as_column;
use crate::plan::rewrite::{bare, conjuncts};

/// Which columns conditions say are equal.
#[derive(Debug, Clone, Default)]
pub(in crate::plan) struct Equalities(Vec<(ColumnName, ColumnName)>);

impl Equalities {
    /// Those that hold for every row of a SELECT: of WHERE and of inner joins.
    pub(in crate::plan) fn of(select: &Select) -> Self {
        let mut found = Self::default();
        for conjunct in select.selection.iter().flat_map(conjuncts) {
            found.add(conjunct);
        }
        for tree in &select.from {
            found.inner_joins(tree);
        }
        found
    }

    pub(in crate::plan) fn one(left: ColumnName, right: ColumnName) -> Self {
        Self(vec![(left, right)])
    }

    pub(super) fn of_condition(condition: Option<&Expr>) -> Self {
        let mut found = Self::default();
        for conjunct in condition.into_iter().flat_map(conjuncts) {
            found.add(conjunct);
        }
        found
    }

    /// Those of the inner joins on the left of a join.
    pub(super) fn inside(first: &TableFactor, joins: &[Join]) -> Self {
        let mut found = Self::default();
        found.inner_joins(&TableWithJoins {
            relation: first.clone(),
            joins: joins.to_vec(),
        });
        found
    }

    /// Adds what the joins of a tree say of all of its rows.
    fn inner_joins(&mut self, tree: &TableWithJoins) {
        // A later RIGHT or FULL join adds rows of which the earlier conditions say nothing.
        let from = tree
            .joins
            .iter()
            .rposition(|join| {
                matches!(
                    from_item::outer_kind(&join.join_operator),
                    Ok(Outer::Right | Outer::Full) | Err(_)
                )
            })
            .map_or(0, |last| last + 1);
        if from == 0
            && let TableFactor::NestedJoin {
                table_with_joins, ..
            } = &tree.relation
        {
            self.inner_joins(table_with_joins);
        }
        for join in &tree.joins[from..] {
            if matches!(from_item::outer_kind(&join.join_operator), Ok(Outer::None)) {
                if let TableFactor::NestedJoin {
                    table_with_joins, ..
                } = &join.relation
                {
                    self.inner_joins(table_with_joins);
                }
                for conjunct in condition(&join.join_operator)
                    .into_iter()
                    .flat_map(conjuncts)
                {
                    self.add(conjunct);
                }
            }
        }
    }

    /// Those by way of which keys are the same value.
    ///
    /// `a = b AND b = c` says that a is c only if both mean the same `=`: a float equals several
    /// integers, and a text under a collation that is not deterministic several texts.
    pub(in crate::plan) fn exact(mut self, relations: &HashMap<String, FromItem>) -> Self {
        let family = |(alias, name): &ColumnName| {
            let relation = relations.get(alias)?;
            let column = relation
                .columns
                .as_ref()?
                .iter()
                .find(|column| column.name == *name)?;
            let is_key = matches!(&relation.source, Source::Table(base)
                if base.sharding.as_ref().is_some_and(|sharding| sharding.key == *name));
            let collation = column.collation.as_ref();
            if !is_key && collation.is_some_and(|collation| !collation.deterministic) {
                return None;
            }
            Some(types::equality(column.type_name.as_ref()?))
        };
        self.0.retain(|(left, right)| {
            let left = family(left);
            left.is_some() && left == family(right)
        });
        self
    }

    fn add(&mut self, conjunct: &Expr) {
        if let Expr::BinaryOp {
            left,
            op: BinaryOperator::Eq,
            right,
        } = bare(conjunct)
        {
            if let (Some(left), Some(right)) = (as_column(left), as_column(right)) {
                self.0.push((left, right));
            }
            if let (Expr::Tuple(left), Expr::Tuple(right)) = (bare(left), bare(right)) {
                let pairs = left.iter().zip(right);
                self.0
                    .extend(pairs.filter_map(|(l, r)| Some((as_column(l)?, as_column(r)?))));
            }
        }
    }

    pub(super) fn and(&self, other: &Self) -> Self {
        Self(self.0.iter().chain(&other.0).cloned().collect())
    }

    pub(super) fn mentions(&self, column: &ColumnName) -> bool {
        self.0.iter().any(|(l, r)| l == column || r == column)
    }

    /// Whether two columns are the same, or equal by way of others.
    pub(in crate::plan) fn same(&self, left: &ColumnName, right: &ColumnName) -> bool {
        self.class(left).contains(right)
    }

    /// All columns that are equal to one, itself among them.
    pub(in crate::plan) fn class(&self, column: &ColumnName) -> Vec<ColumnName> {
        let mut class = vec![column.clone()];
        let mut next = 0;
        while let Some(current) = class.get(next).cloned() {
            for (left, right) in &self.0 {
                let other = match () {
                    () if *left == current => right,
                    () if *right == current => left,
                    () => continue,
                };
                if !class.contains(other) {
                    class.push(other.clone());
                }
            }
            next += 1;
        }
        class
    }
}
