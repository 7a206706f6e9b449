//! Joins: `USING` and `NATURAL` become `ON`.

use std::ops::Range;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, JoinConstraint, JoinOperator, TableWithJoins, Value,
};

use super::Binder;
use super::scope::{Columns, Merged, chain};
use crate::error::{Error, Result};
use crate::plan::build::FAN_OUT_HINT;
use crate::plan::from_item::{Outer, outer_kind};
use crate::plan::naming::{as_column, column, parts};
use crate::plan::{build, refused, rewrite};

impl Binder<'_> {
    pub(super) fn join_tree(&mut self, tree: &mut TableWithJoins) -> Result<Columns> {
        let start = self.scope().relations.len();
        let mut columns = self.item(&mut tree.relation)?;
        for join in &mut tree.joins {
            let middle = self.scope().relations.len();
            let right = self.item(&mut join.relation)?;
            let outer = outer_kind(&join.join_operator)?;
            let constraint = match &mut join.join_operator {
                JoinOperator::Join(c)
                | JoinOperator::Inner(c)
                | JoinOperator::Left(c)
                | JoinOperator::LeftOuter(c)
                | JoinOperator::Right(c)
                | JoinOperator::RightOuter(c)
                | JoinOperator::FullOuter(c)
                | JoinOperator::CrossJoin(c) => c,
                _ => return Err(refused("this kind of join".to_owned(), FAN_OUT_HINT)),
            };
            columns = match std::mem::replace(constraint, JoinConstraint::None) {
                JoinConstraint::On(mut expr) => {
                    let from = std::mem::replace(&mut self.scope().from, start);
                    let bound = self.expression(&mut expr);
                    self.scope().from = from;
                    bound?;
                    *constraint = JoinConstraint::On(expr);
                    chain(columns, right)
                }
                JoinConstraint::Using(names) => {
                    let names = names.iter().filter_map(|n| parts(n).pop()).collect();
                    let sides = (columns, right);
                    let (on, columns) = self.using((start, middle), sides, names, outer)?;
                    *constraint = on;
                    columns
                }
                JoinConstraint::Natural => {
                    let names = match (&columns, &right) {
                        (Some(left), Some(right)) => left
                            .iter()
                            .filter(|(name, _)| right.iter().any(|(other, _)| other == name))
                            .map(|(name, _)| name.clone())
                            .collect(),
                        _ => return Err(unknown_columns()),
                    };
                    let sides = (columns, right);
                    let (on, columns) = self.using((start, middle), sides, names, outer)?;
                    *constraint = on;
                    if matches!(constraint, JoinConstraint::None) {
                        let always = Expr::value(Value::Boolean(true));
                        *constraint = JoinConstraint::On(always);
                    }
                    columns
                }
                JoinConstraint::None => chain(columns, right),
            };
        }
        Ok(columns)
    }

    /// USING as ON, and the columns of the join: those merged, then the others of either side.
    ///
    /// The relations of the left side begin at `start` in the scope, those of the right at `middle`.
    fn using(
        &mut self,
        (start, middle): (usize, usize),
        (mut left, mut right): (Columns, Columns),
        names: Vec<String>,
        outer: Outer,
    ) -> Result<(JoinConstraint, Columns)> {
        let end = self.scope().relations.len();
        let mut equal = Vec::new();
        let mut merged = Vec::new();
        for name in names {
            let one = self.take(&mut left, start..middle, &name)?;
            let other = self.take(&mut right, middle..end, &name)?;
            let same_type =
                self.type_of(&one).is_some() && self.type_of(&one) == self.type_of(&other);
            let value = match outer {
                Outer::None | Outer::Left if same_type => one.clone(),
                Outer::Right if same_type => other.clone(),
                Outer::Right => coalesce(other.clone(), one.clone()),
                _ => coalesce(one.clone(), other.clone()),
            };
            let scope = self.scope();
            scope
                .merged
                .retain(|known| known.name != name || known.start < start);
            scope.merged.push(Merged {
                name: name.clone(),
                expr: value.clone(),
                start,
            });
            merged.push((name, value));
            equal.push(Expr::BinaryOp {
                left: Box::new(one),
                op: BinaryOperator::Eq,
                right: Box::new(other),
            });
        }
        let others = chain(left, right);
        let on = match rewrite::all_of(equal) {
            Some(expr) => JoinConstraint::On(expr),
            None => JoinConstraint::None,
        };
        Ok((on, chain(Some(merged), others)))
    }

    /// The column that one side of a join has by this name, taken from those of the side.
    ///
    /// Where the columns of a function are not known, one of the relations that are known has to have
    /// it: PostgreSQL has accepted the name, so no other has it too.
    fn take(&mut self, side: &mut Columns, relations: Range<usize>, name: &str) -> Result<Expr> {
        if let Some(columns) = side {
            let index = columns.iter().position(|(known, _)| known == name);
            return match index {
                Some(index) => Ok(columns.remove(index).1),
                None => Err(refused(
                    format!("JOIN USING ({name})"),
                    "name the columns with ON",
                )),
            };
        }
        let scope = self.scope();
        let mut merged = scope.merged.iter().rev();
        if let Some(merged) =
            merged.find(|merged| merged.name == name && relations.contains(&merged.start))
        {
            return Ok(merged.expr.clone());
        }
        let known = scope.relations.get(relations).unwrap_or_default();
        let has_it = known.iter().find(|relation| {
            let mut columns = relation.columns.iter().flatten();
            columns.any(|column| column == name)
        });
        match has_it {
            Some(relation) => Ok(column(&relation.alias, name)),
            None => Err(unknown_columns()),
        }
    }

    fn type_of(&self, expr: &Expr) -> Option<String> {
        let (alias, name) = as_column(expr)?;
        let columns = self.relations.get(&alias)?.columns.as_ref()?;
        columns
            .iter()
            .find(|column| column.name == name)?
            .type_name
            .clone()
    }
}

pub(super) fn unknown_columns() -> Error {
    refused(
        "a join by the names of columns of a function, which only the server knows".to_owned(),
        "list the function's columns, AS f(a, b), or join with ON",
    )
}

fn coalesce(first: Expr, second: Expr) -> Expr {
    build::call("coalesce", vec![first, second])
}
