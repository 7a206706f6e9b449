//! Joins: `USING` and `NATURAL` become `ON`.

use std::ops::Range;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, JoinConstraint, JoinOperator, TableWithJoins, Value,
};

use super::Binder;
use super::scope::{Columns, Merged, MergedAlias, chain};
use crate::error::{Error, Result};
use crate::plan::build::FAN_OUT_HINT;
use crate::plan::from_item::{FromColumn, Outer, outer_kind};
use crate::plan::naming::{as_column, column, parts};
use crate::plan::{build, refused, rewrite, sql};

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
                    let mut names: Vec<_> = names.iter().filter_map(|n| parts(n).pop()).collect();
                    let alias = names.last().and_then(|name| sql::alias_of_using(name));
                    let alias = alias.map(str::to_owned);
                    if alias.is_some() {
                        names.pop();
                    }
                    let sides = (columns, right);
                    let (on, columns) = self.using((start, middle), sides, names.clone(), outer)?;
                    *constraint = on;
                    if let Some(name) = alias {
                        self.add_merged(name, &names, start);
                    }
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
            let value = self.merged(&one, &other, outer);
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

    /// Enters the alias of the columns that USING has merged.
    fn add_merged(&mut self, name: String, columns: &[String], start: usize) {
        let scope = self.scope();
        let merged = columns.iter().filter_map(|column| {
            let mut all = scope.merged.iter().rev();
            let found = all.find(|merged| merged.name == *column && merged.start == start)?;
            Some((column.clone(), found.expr.clone()))
        });
        let columns = merged.collect();
        scope.aliases.push(MergedAlias {
            name,
            columns,
            start,
        });
    }

    /// The merged column of two, by the rules of `buildMergedJoinVar` in `src/backend/parser/parse_clause.c`:
    /// that of the side whose rows are all kept, as the type that both have in common. Of an inner join it is
    /// the one that need not be cast, of two such the left one: values that are equal may be written in
    /// several ways.
    fn merged(&self, one: &Expr, other: &Expr, outer: Outer) -> Expr {
        let both = match (self.column_of(one), self.column_of(other)) {
            (Some(left), Some(right)) => Merge::of(left, right),
            _ => Merge::Unknown,
        };
        match (outer, both) {
            (Outer::None | Outer::Left, Merge::Same | Merge::Left) => one.clone(),
            (Outer::Right, Merge::Same | Merge::Right) | (Outer::None, Merge::Right) => {
                other.clone()
            }
            (Outer::None, Merge::Unknown) => whichever(one, other),
            (Outer::Right, _) => coalesce(other.clone(), one.clone()),
            _ => coalesce(one.clone(), other.clone()),
        }
    }

    /// The column that one side of a join has by this name, taken from those of the side.
    ///
    /// Where the columns of a function are not known, one of the relations that are known has to have
    /// it: PostgreSQL has accepted the name, so no other has it too.
    fn take(&mut self, side: &mut Columns, relations: Range<usize>, name: &str) -> Result<Expr> {
        let of_side = self.scope().relations.get(relations.clone());
        let mut of_side = of_side.into_iter().flatten();
        of_side.try_for_each(|relation| relation.check_column(name))?;
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

    fn column_of(&self, expr: &Expr) -> Option<&FromColumn> {
        let (alias, name) = as_column(expr)?;
        let columns = self.relations.get(&alias)?.columns.as_ref()?;
        columns.iter().find(|column| column.name == name)
    }
}

/// What an inner join makes of two columns.
enum Merge {
    /// Either, as they are of one type: the left one.
    Same,
    /// The left one as it is.
    Left,
    /// The right one as it is.
    Right,
    /// The left one as another type.
    Cast,
    /// Only the server knows.
    Unknown,
}

/// Numbers, each of which is cast to those behind it.
const NUMBERS: [&str; 6] = ["int2", "int4", "int8", "numeric", "float4", "float8"];
/// Of these, values that are equal are the same once they are cast.
const SAME: [&[&str]; 2] = [
    &["text", "varchar", "name"],
    &["date", "timestamp", "timestamptz"],
];

impl Merge {
    fn of(left: &FromColumn, right: &FromColumn) -> Self {
        if left.type_name.is_some() && left.type_name == right.type_name {
            return Self::Same;
        }
        let (Some(left), Some(right)) = (&left.declared, &right.declared) else {
            return Self::Unknown;
        };
        let (Some(one), Some(other)) = (&left.base, &right.base) else {
            return Self::Unknown;
        };
        let rank = |name: &String| NUMBERS.iter().position(|number| number == name);
        let (is_left, is_right) = match (rank(one), rank(other)) {
            _ if one == other => (true, true),
            (Some(one), Some(other)) => (one > other, other > one),
            _ if SAME
                .iter()
                .any(|same| same.contains(&&**one) && same.contains(&&**other)) =>
            {
                return Self::Cast;
            }
            _ => return Self::Unknown,
        };
        if is_left && left.is_plain {
            Self::Left
        } else if is_right && right.is_plain {
            Self::Right
        } else {
            Self::Cast
        }
    }
}

/// The right one of two columns if the left one has to be cast and it has not, else the left one, as the
/// server finds. How values of one type are limited is not seen.
fn whichever(one: &Expr, other: &Expr) -> Expr {
    let type_of = |expr: Expr| build::call_builtin("pg_typeof", vec![expr]);
    let common = || type_of(coalesce(one.clone(), other.clone()));
    let is_right = Expr::BinaryOp {
        left: Box::new(Expr::BinaryOp {
            left: Box::new(type_of(one.clone())),
            op: BinaryOperator::NotEq,
            right: Box::new(common()),
        }),
        op: BinaryOperator::And,
        right: Box::new(build::equal(type_of(other.clone()), common())),
    };
    let mut choice = build::case_when(is_right, other.clone());
    if let Expr::Case { else_result, .. } = &mut choice {
        *else_result = Some(Box::new(one.clone()));
    }
    choice
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
