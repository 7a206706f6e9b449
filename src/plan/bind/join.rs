//! Joins: `USING` and `NATURAL` become `ON`.

use std::ops::Range;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, JoinConstraint, JoinOperator, TableWithJoins, Value,
};

use super::Binder;
use super::scope::{Columns, Merged, chain};
use crate::error::{Error, Result};
use crate::plan::build::FAN_OUT_HINT;
use crate::plan::from_item::{Outer, Source, outer_kind};
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

    /// The merged column of two, by the rules of `buildMergedJoinVar` in `src/backend/parser/parse_clause.c`:
    /// that of the side whose rows are all kept, as the type that both have in common. Of an inner join it is
    /// the one that need not be cast, of two such the left one: values that are equal may be written in
    /// several ways.
    fn merged(&self, one: &Expr, other: &Expr, outer: Outer) -> Expr {
        let types = (self.type_of(one), self.type_of(other));
        let both = match &types {
            (Some(left), Some(right)) if left == right => Merge::Left,
            (Some(left), Some(right)) => Merge::of(left, right),
            _ => Merge::Unknown,
        };
        match (outer, both) {
            (Outer::None | Outer::Left, Merge::Left) => one.clone(),
            (Outer::None, Merge::Right) => other.clone(),
            (Outer::None, Merge::Unknown) => whichever(one, other),
            (Outer::Right, _) if types.0.is_some() && types.0 == types.1 => other.clone(),
            (Outer::Right, _) => coalesce(other.clone(), one.clone()),
            _ => coalesce(one.clone(), other.clone()),
        }
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

    /// The type of a column of a table.
    fn type_of(&self, expr: &Expr) -> Option<ColumnType> {
        let (alias, name) = as_column(expr)?;
        let relation = self.relations.get(&alias)?;
        let Source::Table(base) = &relation.source else {
            return None;
        };
        let columns = relation.columns.as_ref()?;
        let index = columns.iter().position(|column| column.name == name)?;
        let (schema, table) = &base.name;
        let facts = self.catalog.relation(Some(schema), table)?;
        let column = facts.columns.get(index)?;
        let base_type = &column.base_type;
        let is_system = base_type.schema == "pg_catalog";
        Some(ColumnType {
            name: column.type_name.clone(),
            base: is_system.then(|| base_type.name.clone()),
            is_plain: column.domain.is_none() && column.type_modifier < 0,
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct ColumnType {
    /// With what it is limited to, as PostgreSQL writes it.
    name: String,
    /// Of PostgreSQL's own types the name, of a domain over one that one's.
    base: Option<String>,
    /// Whether it is no domain and not limited, as the type is that two others have in common.
    is_plain: bool,
}

/// What an inner join makes of two columns.
enum Merge {
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
    /// Of two types that are not the same.
    fn of(left: &ColumnType, right: &ColumnType) -> Self {
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
    match build::case_when(is_right, other.clone()) {
        Expr::Case {
            case_token,
            end_token,
            operand,
            conditions,
            ..
        } => Expr::Case {
            case_token,
            end_token,
            operand,
            conditions,
            else_result: Some(Box::new(one.clone())),
        },
        other => other,
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
