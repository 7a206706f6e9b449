//! What a text that is computed may be made of: `coalesce(t.note, 'now')::timestamptz`.
//!
//! PostgreSQL reads such a text where it is cast, on each shard at its own moment. What a column of a table
//! holds is not known, and is left to its owner.

use std::collections::HashSet;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, Query, SetExpr, TableFactor, XmlTableColumnOption,
};

use super::types::{Kind, of_name};
use super::{Stop, Writer, is_special, is_special_of_type};
use crate::plan::functions;
use crate::plan::locality::factor_alias;
use crate::plan::naming::as_column;
use crate::plan::rewrite::{self, bare, item_expr};

impl Writer<'_> {
    /// A literal that may mean an instant and may become a part of an expression's text.
    pub(super) fn special_source(&self, expr: &Expr) -> Result<Option<Expr>, Stop> {
        let mut seen = HashSet::new();
        let mut pending = vec![expr.clone()];
        while let Some(expr) = pending.pop() {
            match &expr {
                expr if is_special(expr) => return Ok(Some(expr.clone())),
                // `jsonb '{"at": "now"}'`; of an instant, the literal itself tells.
                Expr::TypedString(typed)
                    if is_special_of_type(&expr)
                        && !matches!(
                            of_name(&typed.data_type.to_string()),
                            Some(Kind::Instant(_))
                        ) =>
                {
                    return Ok(Some(expr.clone()));
                }
                Expr::Subquery(query) => pending.extend(column_of(query, 0)),
                expr => match as_column(expr) {
                    Some(column) => {
                        // Literals beside instants have become some.
                        let made_of = self.made_of(&column);
                        if seen.insert(column)
                            && made_of.iter().any(|part| rewrite::any(part, is_special))
                            && !matches!(self.types.of(expr)?, Kind::Instant(_))
                        {
                            pending.extend(made_of);
                        }
                    }
                    None => pending.extend(sources(expr).into_iter().cloned()),
                },
            }
        }
        Ok(None)
    }

    /// What a column of a query in FROM is, or what the rows of a function there are made of.
    fn made_of(&self, (alias, name): &(String, String)) -> Vec<Expr> {
        let relation = self.types.relations.get(alias);
        let columns = relation.and_then(|it| it.columns.as_ref());
        let index = columns.and_then(|all| all.iter().position(|column| column.name == *name));
        let mut found = Vec::new();
        rewrite::factors(self.types.whole, |factor| {
            if found.is_empty() && factor_alias(factor).as_ref() == Some(alias) {
                found = match (factor, index) {
                    (TableFactor::Derived { subquery, .. }, Some(index)) => {
                        column_of(subquery, index)
                    }
                    (TableFactor::Function { args, .. }, _) => expressions(args),
                    (TableFactor::Table { args, .. }, _) => {
                        args.iter().flat_map(|it| expressions(&it.args)).collect()
                    }
                    (TableFactor::UNNEST { array_exprs, .. }, _) => array_exprs.clone(),
                    (TableFactor::XmlTable { .. }, _) => {
                        of_xml(factor).into_iter().cloned().collect()
                    }
                    _ => Vec::new(),
                };
            }
        });
        found
    }
}

/// What the rows of XMLTABLE are made of.
pub(super) fn of_xml(factor: &TableFactor) -> Vec<&Expr> {
    let TableFactor::XmlTable {
        row_expression,
        passing,
        columns,
        ..
    } = factor
    else {
        return Vec::new();
    };
    let options = columns.iter().flat_map(|column| match &column.option {
        XmlTableColumnOption::NamedInfo { path, default, .. } => [path.as_ref(), default.as_ref()],
        XmlTableColumnOption::ForOrdinality => [None, None],
    });
    let documents = passing.arguments.iter().map(|argument| &argument.expr);
    let exprs = std::iter::once(row_expression).chain(documents);
    exprs.chain(options.flatten()).collect()
}

fn expressions(arguments: &[FunctionArg]) -> Vec<Expr> {
    let expressions = arguments.iter().filter_map(functions::expression);
    expressions.cloned().collect()
}

/// What a column of a query is in each of its parts.
fn column_of(query: &Query, index: usize) -> Vec<Expr> {
    let mut found = Vec::new();
    let mut pending = vec![&*query.body];
    while let Some(body) = pending.pop() {
        match body {
            SetExpr::SetOperation { left, right, .. } => pending.extend([&**left, &**right]),
            SetExpr::Query(query) => pending.push(&query.body),
            SetExpr::Select(select) => {
                found.extend(select.projection.get(index).and_then(item_expr));
            }
            SetExpr::Values(values) => {
                let rows = values.rows.iter();
                found.extend(rows.filter_map(|row| row.content.get(index).cloned()));
            }
            _ => {}
        }
    }
    found
}

/// The parts of an expression whose texts may become a part of its own: not those that it is compared with.
fn sources(expr: &Expr) -> Vec<&Expr> {
    use BinaryOperator as Op;
    match bare(expr) {
        Expr::Array(array) => array.elem.iter().collect(),
        Expr::Tuple(items) => items.iter().collect(),
        Expr::Function(call) => sources_of_call(call),
        Expr::BinaryOp {
            left,
            op: Op::StringConcat,
            right,
        } => vec![left, right],
        Expr::BinaryOp {
            left,
            op: Op::Arrow | Op::LongArrow | Op::HashArrow | Op::HashLongArrow,
            ..
        } => vec![left],
        // What is cast to an instant is one by then.
        Expr::Cast {
            expr, data_type, ..
        } => match of_name(&data_type.to_string()) {
            Some(Kind::Instant(_)) => Vec::new(),
            _ => vec![expr],
        },
        // `(ARRAY['now'])[1]`
        Expr::CompoundFieldAccess { root: expr, .. } | Expr::JsonAccess { value: expr, .. } => {
            vec![expr]
        }
        Expr::Overlay {
            expr, overlay_what, ..
        } => vec![expr, overlay_what],
        Expr::Collate { expr, .. } | Expr::Trim { expr, .. } | Expr::Substring { expr, .. } => {
            vec![expr]
        }
        Expr::Case {
            conditions,
            else_result,
            ..
        } => {
            let results = conditions.iter().map(|when| &when.result);
            results.chain(else_result.as_deref()).collect()
        }
        _ => Vec::new(),
    }
}

fn sources_of_call(call: &Function) -> Vec<&Expr> {
    let arguments = functions::expressions(call).into_iter();
    match &*functions::name(call) {
        "nullif"
        | "split_part"
        | "substr"
        | "substring"
        | "btrim"
        | "ltrim"
        | "rtrim"
        | "json_extract_path_text"
        | "jsonb_extract_path_text" => arguments.take(1).collect(),
        "replace" | "regexp_replace" => arguments.step_by(2).collect(),
        _ => arguments.collect(),
    }
}
