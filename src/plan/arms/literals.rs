//! Literals without a type in set operations whose sides run apart.
//!
//! PostgreSQL gives such a literal, or a bare NULL, the type of the column on the other side
//! (`transformSetOperationTree` in `src/backend/parser/analyze.c`, `select_common_type` in
//! `parse_coerce.c`): pair by pair, so in `a UNION b UNION c` the column of c has no say in what a
//! literal of a is. On its own it would be text, so the type is written before a side is cut out.

use datafusion::sql::sqlparser::ast::{
    CastKind, DataType, Distinct, Expr, GroupByExpr, Query, Select, SelectItem, SetExpr, Value,
};

use super::{Planner, Result};
use crate::error::Error;
use crate::plan::facts::types;
use crate::plan::naming::{NAMELESS, folded, ident, item_name};
use crate::plan::rewrite::{self, bare};
use crate::plan::{build, locality, refused, sql};

/// The type of a column of a side: as SQL, without a modifier; `None`: it is a literal without one.
type Typed = Option<String>;

impl Planner<'_> {
    /// Writes the types of literals in the sides of set operations; `false`: they cannot be told.
    pub(super) fn type_literals(&self, body: &mut SetExpr) -> Result<bool> {
        if !has_untyped(body) {
            return Ok(true);
        }
        Ok(self.side_types(body)?.is_some())
    }

    /// The types of the columns of a side; `None`: they cannot be told.
    fn side_types(&self, body: &mut SetExpr) -> Result<Option<Vec<Typed>>> {
        if let SetExpr::Query(query) = body
            && is_bare(query)
            && matches!(*query.body, SetExpr::SetOperation { .. })
        {
            return self.side_types(&mut query.body);
        }
        let SetExpr::SetOperation { left, right, .. } = body else {
            return self.leaf_types(body);
        };
        let (Some(first), Some(second)) = (self.side_types(left)?, self.side_types(right)?) else {
            return Ok(None);
        };
        if first.len() != second.len() {
            return Err(Error::fault("the sides of a set operation differ in width").into());
        }
        let mut types = Vec::new();
        for (index, pair) in first.into_iter().zip(second).enumerate() {
            let is_typed = (pair.0.is_some(), pair.1.is_some());
            let common = self.common_type(pair)?;
            match is_typed {
                (true, true) => {}
                (false, true) => write_type(left, index, &common)?,
                (true, false) => write_type(right, index, &common)?,
                (false, false) => {
                    write_type(left, index, &common)?;
                    write_type(right, index, &common)?;
                }
            }
            types.push(Some(common));
        }
        Ok(Some(types))
    }

    fn leaf_types(&self, body: &SetExpr) -> Result<Option<Vec<Typed>>> {
        let query = match body {
            SetExpr::Query(query) => (**query).clone(),
            other => build::query(other.clone()),
        };
        if self.locality().is_correlated(&query) || self.names_foreign_cte(&query) {
            return Ok(None);
        }
        let width = self.describe(&query)?.len();
        let names: Vec<_> = (1..=width).map(|n| format!("c{n}")).collect();
        let asked = names.iter().map(|name| type_of(&format!("q.{name}")));
        // One row, for which the query is not run.
        let sql = format!(
            "SELECT {} FROM (SELECT 1) AS one LEFT JOIN ({}) AS q ({}) ON false",
            asked.collect::<Vec<_>>().join(", "),
            self.with_stubs(&query),
            names.join(", "),
        );
        let rows = self.question.answers.evaluated(sql)?;
        let mut types = rows.into_iter().next().unwrap_or_default();
        if types.len() != width {
            return Err(Error::fault("the types of a set operation's side are not told").into());
        }
        for (index, told) in types.iter_mut().enumerate() {
            if collated_literal(body, index) {
                return Err(refused(
                    format!(
                        "COLLATE of a literal without a type, in column {} of a set operation \
                             whose sides run apart",
                        index + 1
                    ),
                    "give the literal a type: 'x'::text COLLATE ..",
                )
                .into());
            }
            if untyped_item(body, index) {
                *told = None;
            }
        }
        Ok(Some(types))
    }

    /// The type of the column of a set operation whose sides have these.
    fn common_type(&self, pair: (Typed, Typed)) -> Result<String> {
        let pair = match pair {
            (None, None) => return Ok("text".to_owned()),
            (Some(left), Some(right)) if left == right => return Ok(left),
            // No domain, so that nobody has to be asked.
            (Some(known), None) | (None, Some(known)) if types::is_known(&known) => {
                return Ok(known);
            }
            pair => [pair.0, pair.1],
        };
        // Beside a literal, a domain becomes its base type.
        let nulls = pair.map(|known| match known {
            Some(name) => format!("SELECT NULL::{name}"),
            None => "SELECT NULL".to_owned(),
        });
        let sql = format!(
            "SELECT {} FROM ({}) AS q (c) LIMIT 1",
            type_of("q.c"),
            nulls.join(" UNION ALL ")
        );
        let rows = self.question.answers.evaluated(sql)?;
        let told = rows
            .into_iter()
            .next()
            .and_then(|row| row.into_iter().next());
        let told = told.flatten();
        Ok(told.ok_or_else(|| Error::fault("a set operation has a column without a type"))?)
    }
}

/// What gives the name of an expression's type.
fn type_of(expr: &str) -> String {
    // With -1 as its modifier, bpchar is not called character, which would be one character.
    format!("pg_catalog.format_type(pg_catalog.pg_typeof({expr})::pg_catalog.oid, -1)")
}

fn has_untyped(body: &SetExpr) -> bool {
    let mut pending = vec![body];
    while let Some(body) = pending.pop() {
        match body {
            SetExpr::SetOperation { left, right, .. } => pending.extend([&**left, &**right]),
            SetExpr::Query(query) if is_bare(query) => pending.push(&query.body),
            leaf => {
                let width = select_of(leaf).map_or(0, |select| select.projection.len());
                if (0..width)
                    .any(|index| untyped_item(leaf, index) || collated_literal(leaf, index))
                {
                    return true;
                }
            }
        }
    }
    false
}

/// Whether a query is nothing but its body, in parentheses.
fn is_bare(query: &Query) -> bool {
    query.with.is_none() && query.order_by.is_none() && !locality::is_limited(query)
}

/// The SELECT of a side that is no set operation.
fn select_of(leaf: &SetExpr) -> Option<&Select> {
    match leaf {
        SetExpr::Select(select) => Some(select),
        SetExpr::Query(query) => select_of(&query.body),
        _ => None,
    }
}

/// Whether a column is a literal without a type under COLLATE: PostgreSQL gives it the type of the
/// other side nevertheless (`transformCollateClause` in `src/backend/parser/parse_expr.c`).
fn collated_literal(leaf: &SetExpr, index: usize) -> bool {
    let Some(select) = select_of(leaf) else {
        return false;
    };
    // Where `*` could not be spelled out, it may be any that is behind.
    let items = match select
        .projection
        .iter()
        .position(|item| item_expr(item).is_none())
    {
        Some(unknown) if unknown <= index => select.projection.get(unknown..),
        _ => select.projection.get(index..=index),
    };
    let mut exprs = items.into_iter().flatten().filter_map(item_expr);
    exprs.any(is_collated_literal)
}

fn is_collated_literal(expr: &Expr) -> bool {
    let mut expr = bare(expr);
    let mut is_collated = false;
    while let Expr::Collate { expr: inner, .. } = expr {
        is_collated = true;
        expr = bare(inner);
    }
    let is_untyped = matches!(expr, Expr::Value(value)
        if matches!(value.value, Value::Null) || rewrite::string(&value.value).is_some());
    is_collated && is_untyped
}

/// Whether a column of a side that is no set operation is a literal without a type. What the side
/// sorts or groups by is text already (`addTargetToSortList` in `src/backend/parser/parse_clause.c`).
fn untyped_item(leaf: &SetExpr, index: usize) -> bool {
    let Some(select) = select_of(leaf) else {
        return false;
    };
    // Where `*` could not be spelled out, an item's place is not that of its column.
    let items = select.projection.get(..=index).unwrap_or_default();
    if items.iter().any(|item| item_expr(item).is_none()) {
        return false;
    }
    let Some(item) = items.last() else {
        return false;
    };
    let is_literal = item_expr(item).is_some_and(|expr| match bare(expr) {
        Expr::Value(value) => {
            matches!(value.value, Value::Null) || rewrite::string(&value.value).is_some()
        }
        _ => false,
    });
    let is_meant = |key: &Expr| match bare(key) {
        Expr::Value(value) => value.value.to_string() == (index + 1).to_string(),
        Expr::Identifier(name) => item_name(item).as_ref() == Some(&folded(name)),
        _ => false,
    };
    let groups = match &select.group_by {
        GroupByExpr::Expressions(keys, _) => keys.iter().any(is_meant),
        GroupByExpr::All(_) => true,
    };
    let distinct = match &select.distinct {
        Some(Distinct::On(keys)) => keys.iter().any(is_meant),
        Some(Distinct::Distinct) => true,
        _ => false,
    };
    let mut sorts = false;
    let mut around = leaf;
    while let SetExpr::Query(query) = around {
        sorts |= locality::order_keys(query)
            .iter()
            .any(|key| is_meant(&key.expr));
        around = &query.body;
    }
    is_literal && !groups && !distinct && !sorts
}

fn item_expr(item: &SelectItem) -> Option<&Expr> {
    match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Some(expr),
        _ => None,
    }
}

/// Writes the type of a literal, whose column keeps its name.
fn write_type(side: &mut SetExpr, index: usize, name: &str) -> Result<()> {
    let select = match side {
        SetExpr::Select(select) => select,
        SetExpr::Query(query) => return write_type(&mut query.body, index, name),
        _ => return Err(Error::fault("a literal is not where it was").into()),
    };
    let Some(item) = select.projection.get_mut(index) else {
        return Err(Error::fault("a literal is not where it was").into());
    };
    let alias = match item {
        SelectItem::ExprWithAlias { alias, .. } => alias.clone(),
        _ => ident(NAMELESS),
    };
    let Some(expr) = item_expr(item).cloned() else {
        return Err(Error::fault("a literal is not where it was").into());
    };
    let expr = Expr::Cast {
        kind: CastKind::DoubleColon,
        expr: Box::new(expr),
        data_type: data_type(name)?,
        array: false,
        format: None,
    };
    *item = SelectItem::ExprWithAlias { expr, alias };
    Ok(())
}

/// A type by the name that PostgreSQL gives it.
fn data_type(name: &str) -> Result<DataType> {
    let query = sql::parse(&format!("SELECT NULL::{name}"))?;
    let item = select_of(&query.body).and_then(|select| select.projection.first());
    match item.and_then(item_expr) {
        Some(Expr::Cast { data_type, .. }) => Ok(data_type.clone()),
        _ => Err(Error::fault(format!("{name:?} is not the name of a type")).into()),
    }
}
