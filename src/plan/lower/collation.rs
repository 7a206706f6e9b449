//! The collations of texts that steps hand on, as far as they can be told without asking.

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, DataType, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Query,
};

use super::local::{first_select, item_expr};
use super::{Planner, Result};
use crate::catalog::Collation;
use crate::plan::bind::{self, as_column};
use crate::plan::rewrite::{self, bare};
use crate::plan::{StepColumn, functions, refused};
use crate::types::Column;

impl Planner<'_> {
    /// The collation of an expression of a collatable type, if it is not the default; `Err`: it
    /// cannot be told.
    pub(super) fn collation(&self, expr: &Expr) -> std::result::Result<Option<Collation>, ()> {
        let expr = bare(expr);
        if self.not_text.contains(&expr.to_string()) {
            return Ok(None);
        }
        if let Expr::Collate { collation, .. } = expr {
            let mut parts = bind::parts(collation);
            let name = parts.pop().ok_or(())?;
            let found = self
                .question
                .catalog
                .collation(parts.pop().as_deref(), &name)
                .ok_or(())?;
            return Ok(Some(found.clone()).filter(|c| c.sql.is_some()));
        }
        if let Some((alias, name)) = as_column(expr) {
            let relation = self.relations.get(&alias).ok_or(())?;
            let columns = relation.columns.as_ref().ok_or(())?;
            let column = columns.iter().find(|c| c.name == name).ok_or(())?;
            // Of a query's expressions only PostgreSQL knows the collation.
            return match (&column.collation, &column.type_name, &relation.source) {
                (Some(collation), _, _) => Ok(Some(collation.clone())),
                (None, Some(_), _) => Ok(None),
                (None, None, _) => match self.any_collation() {
                    true => Err(()),
                    false => Ok(None),
                },
            };
        }
        if let Some(parts) = text_parts(expr) {
            return self.common_collation(&parts);
        }
        // An expression has the collation of its parts, which is the default if theirs is.
        let mut plain = true;
        rewrite::each(expr, |part| match part {
            Expr::Collate { .. } => plain = false,
            Expr::CompoundIdentifier(_) => {
                plain &= matches!(self.collation(part), Ok(None));
            }
            Expr::Subquery(_) => plain &= !self.any_collation(),
            _ => {}
        });
        match plain {
            true => Ok(None),
            false => Err(()),
        }
    }

    pub(super) fn remember_not_text(&mut self, exprs: &[Expr], columns: &[Column]) {
        for (expr, column) in exprs.iter().zip(columns) {
            if !is_collatable(column) {
                self.not_text.insert(bare(expr).to_string());
            }
        }
    }

    /// The collation that PostgreSQL derives for an operation on texts: that of the parts which have
    /// one other than the default (`src/backend/parser/parse_collate.c`).
    fn common_collation(&self, parts: &[&Expr]) -> std::result::Result<Option<Collation>, ()> {
        let mut common: Option<Collation> = None;
        for part in parts {
            let Some(found) = self.collation(part)? else {
                continue;
            };
            match &common {
                Some(known) if known.sql != found.sql => return Err(()),
                _ => common = Some(found),
            }
        }
        Ok(common)
    }

    /// Whether any column of the statement has another collation than the default.
    pub(super) fn any_collation(&self) -> bool {
        self.relations.values().any(|relation| {
            let columns = relation.columns.iter().flatten();
            columns.into_iter().any(|column| column.collation.is_some())
        })
    }

    pub(super) fn named_collation(&self, column: &StepColumn) -> Option<Collation> {
        let wanted = column.collation.as_ref()?;
        self.relations
            .values()
            .flat_map(|relation| relation.columns.iter().flatten())
            .filter_map(|column| column.collation.as_ref())
            .find(|collation| collation.sql.as_ref() == Some(wanted))
            .cloned()
    }

    /// The columns of a query whose rows become a relation.
    pub(super) fn step_columns(&self, query: &Query) -> Result<Vec<StepColumn>> {
        let Some(select) = first_select(&query.body) else {
            // VALUES.
            let columns = self.describe(query)?;
            return Ok((1..=columns.len())
                .map(|n| self.step_column("c", n, None))
                .collect());
        };
        let described = self.describe(query)?;
        let mut columns = Vec::new();
        for (index, column) in described.iter().enumerate() {
            let expr = select.projection.get(index).and_then(item_expr);
            let collation = match expr {
                Some(expr) if is_collatable(column) => match self.collation(&expr) {
                    Ok(collation) => collation.and_then(|c| c.sql),
                    Err(()) => {
                        return Err(refused(
                            "a subquery whose text has a collation that cannot be told".to_owned(),
                            "name the collation: (expression) COLLATE \"...\"",
                        )
                        .into());
                    }
                },
                _ => None,
            };
            columns.push(self.step_column("c", index + 1, collation));
        }
        Ok(columns)
    }
}

pub(super) fn is_collatable(column: &Column) -> bool {
    let name = column.pg_type.name().trim_end_matches("[]");
    ["text", "varchar", "bpchar", "citext"].contains(&name) || name.contains("char")
}

/// The texts that an operation makes a text of, if it is one that is known to do so.
fn text_parts(expr: &Expr) -> Option<Vec<&Expr>> {
    const TEXT_TO_TEXT: [&str; 14] = [
        "upper",
        "lower",
        "initcap",
        "btrim",
        "ltrim",
        "rtrim",
        "replace",
        "reverse",
        "translate",
        "split_part",
        "regexp_replace",
        "coalesce",
        "nullif",
        "concat",
    ];
    const FIRST_IS_TEXT: [&str; 7] = [
        "substr",
        "substring",
        "left",
        "right",
        "lpad",
        "rpad",
        "repeat",
    ];
    match expr {
        Expr::Function(function) => {
            let FunctionArguments::List(list) = &function.args else {
                return None;
            };
            let mut args = Vec::new();
            for arg in &list.args {
                match arg {
                    FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => args.push(expr),
                    _ => return None,
                }
            }
            let name = functions::name(function);
            if FIRST_IS_TEXT.contains(&&*name) {
                args.truncate(1);
                return Some(args);
            }
            TEXT_TO_TEXT.contains(&&*name).then_some(args)
        }
        Expr::BinaryOp {
            left,
            op: BinaryOperator::StringConcat,
            right,
        } => Some(vec![left, right]),
        Expr::Trim { expr, .. } | Expr::Substring { expr, .. } => Some(vec![expr]),
        Expr::Cast {
            expr,
            data_type: DataType::Text | DataType::Varchar(_) | DataType::CharacterVarying(_),
            ..
        } => Some(vec![expr]),
        Expr::Case {
            conditions,
            else_result,
            ..
        } => {
            let mut parts: Vec<&Expr> = conditions.iter().map(|when| &when.result).collect();
            parts.extend(else_result.as_deref());
            Some(parts)
        }
        Expr::Value(_) => Some(Vec::new()),
        _ => None,
    }
}
