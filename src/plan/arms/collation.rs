//! The collations of texts that steps hand on, or that a merge compares.

use std::collections::HashMap;

use datafusion::sql::sqlparser::ast::{DataType, Expr, ObjectName, Query, SetExpr};

use super::{Planner, Result};
use crate::catalog::{Catalog, Collation};
use crate::error::Error;
use crate::plan::facts::types;
use crate::plan::from_item::{FromColumn, FromItem, Source};
use crate::plan::naming::{self, as_column};
use crate::plan::rewrite;
use crate::plan::rewrite::item_expr;
use crate::plan::{StepColumn, Stop, functions, refused, sql};
use crate::types::Column;

/// A collation, `None` for the default one or no text; `Err`: nobody can tell it.
pub(super) type Told = std::result::Result<Option<Collation>, ()>;

/// Whether a statement may give texts any other collation than the default.
pub(super) fn has_other_collations(
    query: &Query,
    relations: &HashMap<String, FromItem>,
    catalog: &Catalog,
) -> bool {
    relations.values().any(|relation| {
        let mut columns = relation.columns.iter().flatten();
        matches!(relation.source, Source::Function) || columns.any(|c| c.collation.is_some())
    }) || rewrite::any(query, |expr| match expr {
        Expr::Collate { .. } => true,
        // A domain has a collation of its own, and so has the type name.
        Expr::Cast { data_type, .. } => is_custom(data_type),
        Expr::Function(function) => functions::is_user_defined(function, catalog),
        _ => false,
    })
}

fn is_custom(data_type: &DataType) -> bool {
    match data_type {
        DataType::Custom(..) => true,
        DataType::Array(element) => {
            use datafusion::sql::sqlparser::ast::ArrayElemTypeDef;
            match element {
                ArrayElemTypeDef::AngleBracket(element)
                | ArrayElemTypeDef::SquareBracket(element, _)
                | ArrayElemTypeDef::Parenthesis(element) => is_custom(element),
                ArrayElemTypeDef::None => false,
            }
        }
        _ => false,
    }
}

impl Planner<'_> {
    /// The collations of the columns of a query. What the query does not say, PostgreSQL is asked
    /// for: its rules are its own (`src/backend/parser/parse_collate.c`).
    pub(super) fn collations(&self, query: &Query, columns: &[Column]) -> Result<Vec<Told>> {
        let items = match &*query.body {
            SetExpr::Select(select) => Some(&select.projection),
            _ => None,
        };
        let known =
            |(index, column): (usize, &Column)| match types::is_collatable(column.pg_type.name()) {
                true => {
                    let item = items.and_then(|items| items.get(index));
                    let expr = item.and_then(item_expr);
                    match expr {
                        Some(expr) => self.written_collation(&expr),
                        None => (!self.other_collations).then_some(Ok(None)),
                    }
                }
                false => Some(Ok(None)),
            };
        let known: Vec<Option<Told>> = columns.iter().enumerate().map(known).collect();
        let asked = known.iter().enumerate().filter(|(_, told)| told.is_none());
        let asked: Vec<_> = asked
            .map(|(index, _)| format!("q.c{}", index + 1))
            .collect();
        if asked.is_empty() {
            return Ok(known.into_iter().flatten().collect());
        }
        let names: Vec<_> = (1..=columns.len()).map(|n| format!("c{n}")).collect();
        // One row, for which the query is not run.
        let sql = format!(
            "SELECT {} FROM (SELECT 1) AS one LEFT JOIN ({}) AS q ({}) ON false",
            asked
                .iter()
                .map(|column| format!("pg_catalog.pg_collation_for({column})"))
                .collect::<Vec<_>>()
                .join(", "),
            self.with_stubs(query),
            names.join(", "),
        );
        let rows = self.question.answers.evaluated(sql)?;
        let mut answers = rows.into_iter().next().unwrap_or_default().into_iter();
        let mut answer = || match answers.next().flatten() {
            Some(name) => Ok::<_, Stop>(self.called(&sql::made_name(&name)?)),
            None => Ok(Err(())),
        };
        let told = known
            .into_iter()
            .map(|told| told.map_or_else(&mut answer, Ok))
            .collect::<Result<Vec<_>>>()?;
        let told = told
            .into_iter()
            .zip(columns)
            .map(|(told, column)| match told {
                // Without a word about it, that of the type is "C".
                Ok(None) if column.pg_type.name() == "name" => Ok(Some(Collation {
                    sql: Some("pg_catalog.\"default\"".to_owned()),
                    ..self.question.catalog.default_collation().clone()
                })),
                told => told,
            });
        Ok(told.collect())
    }

    /// The collation of an expression of a collatable type, as far as the expression itself tells.
    pub(super) fn written_collation(&self, expr: &Expr) -> Option<Told> {
        if !self.other_collations {
            return Some(Ok(None));
        }
        let expr = rewrite::bare(expr);
        if let Expr::Collate { collation, .. } = expr {
            return Some(self.called(collation));
        }
        let column = self.relation_column(expr)?;
        // Where the type is not known, nothing is.
        column.type_name.as_ref()?;
        Some(Ok(column.collation.clone()))
    }

    /// The collation of this name, as SQL has it.
    fn called(&self, name: &ObjectName) -> Told {
        let mut parts = naming::parts(name);
        let name = parts.pop().ok_or(())?;
        let catalog = self.question.catalog;
        let found = catalog.collation(parts.pop().as_deref(), &name).ok_or(())?;
        Ok(Some(found.clone()).filter(|collation| collation.sql.is_some()))
    }

    pub(super) fn collation_of(&self, column: &StepColumn) -> Result<Option<Collation>> {
        Ok(match &column.collation {
            // Another collation in its place would be another order.
            Some(name) => self.called(&sql::made_name(name)?).map_err(|()| {
                Error::fault(format!(
                    "the collation {name} of a step is not in the catalog"
                ))
            })?,
            None => None,
        })
    }

    /// The columns of a query whose rows become a relation.
    pub(super) fn step_columns(&self, query: &Query) -> Result<Vec<StepColumn>> {
        let described = self.describe(query)?;
        let mut columns = Vec::new();
        for (index, told) in self.collations(query, &described)?.into_iter().enumerate() {
            let Ok(collation) = told else {
                return Err(refused(
                    "a subquery whose text has a collation that cannot be told".to_owned(),
                    "name the collation: (expression) COLLATE \"...\"",
                )
                .into());
            };
            columns.push(self.step_column("c", index + 1, collation.and_then(|c| c.sql)));
        }
        Ok(columns)
    }

    /// Whether values of a column are the same wherever PostgreSQL calls them equal.
    pub(super) fn is_identified(&self, column: &Column, told: &Told) -> bool {
        column.pg_type.is_enum() || self.is_identified_type(column.pg_type.name(), told)
    }

    /// The same of a type as RowDescription or `format_type` has it.
    fn is_identified_type(&self, name: &str, told: &Told) -> bool {
        let is_deterministic = match told {
            Ok(None) => self.question.catalog.default_collation().deterministic,
            Ok(Some(collation)) => collation.deterministic,
            Err(()) => false,
        };
        types::is_identified(name, is_deterministic)
    }

    /// The same of a column of a relation, whose declaration is known.
    pub(super) fn is_identified_column(&self, column: &FromColumn) -> bool {
        let name = column.type_name.as_deref().unwrap_or_default();
        self.is_identified_type(name, &Ok(column.collation.clone()))
    }

    /// What an expression names, if it is a column of a relation.
    pub(super) fn relation_column(&self, expr: &Expr) -> Option<&FromColumn> {
        let (alias, name) = as_column(expr)?;
        let columns = self.relations.get(&alias)?.columns.as_ref()?;
        columns.iter().find(|column| column.name == name)
    }
}
