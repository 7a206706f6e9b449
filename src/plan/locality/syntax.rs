//! What the tree of a bound statement says of itself, without the catalog's help.

use datafusion::sql::sqlparser::ast::{
    Distinct, Expr, Ident, JoinConstraint, JoinOperator, LimitClause, NamedWindowExpr, OrderByExpr,
    OrderByKind, Query, Select, SelectItem, SetExpr, TableFactor, TableWithJoins, Value,
    WindowType,
};

use crate::catalog::Catalog;
use crate::plan::functions;
use crate::plan::naming::{self, folded};
use crate::plan::rewrite::{self, bare};

/// The alias by which a bound statement knows an item of FROM.
pub(in crate::plan) fn factor_alias(factor: &TableFactor) -> Option<String> {
    match factor {
        TableFactor::Table { alias, name, .. } => match alias {
            Some(alias) => Some(folded(&alias.name)),
            None => naming::parts(name).pop(),
        },
        TableFactor::Derived { alias, .. }
        | TableFactor::Function { alias, .. }
        | TableFactor::UNNEST { alias, .. }
        | TableFactor::TableFunction { alias, .. }
        | TableFactor::XmlTable { alias, .. } => alias.as_ref().map(|a| folded(&a.name)),
        _ => None,
    }
}

/// The condition of a join.
pub(in crate::plan) fn condition(operator: &JoinOperator) -> Option<&Expr> {
    match operator {
        JoinOperator::Join(JoinConstraint::On(expr))
        | JoinOperator::Inner(JoinConstraint::On(expr))
        | JoinOperator::Left(JoinConstraint::On(expr))
        | JoinOperator::LeftOuter(JoinConstraint::On(expr))
        | JoinOperator::Right(JoinConstraint::On(expr))
        | JoinOperator::RightOuter(JoinConstraint::On(expr))
        | JoinOperator::FullOuter(JoinConstraint::On(expr)) => Some(expr),
        _ => None,
    }
}

pub(super) fn each_condition(tree: &TableWithJoins, f: &mut dyn FnMut(&Expr)) {
    if let TableFactor::NestedJoin {
        table_with_joins, ..
    } = &tree.relation
    {
        each_condition(table_with_joins, f);
    }
    for join in &tree.joins {
        if let TableFactor::NestedJoin {
            table_with_joins, ..
        } = &join.relation
        {
            each_condition(table_with_joins, f);
        }
        if let Some(expr) = condition(&join.join_operator) {
            f(expr);
        }
    }
}

/// The keys of ORDER BY.
pub(in crate::plan) fn order_keys(query: &Query) -> &[OrderByExpr] {
    match query.order_by.as_ref().map(|order_by| &order_by.kind) {
        Some(OrderByKind::Expressions(keys)) => keys,
        _ => &[],
    }
}

/// Whether a query gives only some of its rows.
pub(in crate::plan) fn is_limited(query: &Query) -> bool {
    query.fetch.is_some()
        || match &query.limit_clause {
            None => false,
            Some(LimitClause::LimitOffset { limit, offset, .. }) => {
                limit.is_some() || offset.is_some()
            }
            Some(LimitClause::OffsetCommaLimit { .. }) => true,
        }
}

/// Whether ORDER BY means a column of the output by this.
pub(in crate::plan) fn is_output(expr: &Expr, select: &Select) -> bool {
    match bare(expr) {
        Expr::Identifier(name) => {
            let name = folded(name);
            select
                .projection
                .iter()
                .any(|item| naming::item_name(item).as_ref() == Some(&name))
        }
        Expr::Value(value) => {
            matches!(value.value, Value::Number(..))
        }
        _ => false,
    }
}

/// GROUP BY may name a column of the output, by number or by name. Which column a number behind a
/// wildcard means is not known here: such a key stays a number.
pub(in crate::plan) fn resolve_key(key: &Expr, projection: &[SelectItem]) -> Expr {
    let expr_of = |item: &SelectItem| match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
            Some(expr.clone())
        }
        _ => None,
    };
    match bare(key) {
        Expr::Value(value) => {
            let number = value.value.to_string().parse::<usize>().ok();
            number
                .and_then(|number| {
                    let items: Option<Vec<_>> =
                        projection.get(..number)?.iter().map(expr_of).collect();
                    items?.pop()
                })
                .unwrap_or_else(|| key.clone())
        }
        Expr::Identifier(name) => projection
            .iter()
            .find(|item| naming::item_name(item).as_deref() == Some(&folded(name)))
            .and_then(expr_of)
            .unwrap_or_else(|| key.clone()),
        _ => key.clone(),
    }
}

pub(super) fn partition(window: WindowType, select: &Select) -> Vec<Expr> {
    let named = |name: &Ident| {
        select
            .named_window
            .iter()
            .find(|definition| folded(&definition.0) == folded(name))
    };
    let of = |name: &Ident, depth: usize| -> Vec<Expr> {
        let mut name = name.clone();
        for _ in 0..depth {
            match named(&name).map(|definition| &definition.1) {
                Some(NamedWindowExpr::NamedWindow(other)) => name = other.clone(),
                Some(NamedWindowExpr::WindowSpec(spec)) => match &spec.window_name {
                    Some(base) if spec.partition_by.is_empty() => name = base.clone(),
                    _ => return spec.partition_by.clone(),
                },
                None => return Vec::new(),
            }
        }
        Vec::new()
    };
    let depth = select.named_window.len() + 1;
    match window {
        WindowType::WindowSpec(spec) => match &spec.window_name {
            Some(base) if spec.partition_by.is_empty() => of(base, depth),
            _ => spec.partition_by,
        },
        WindowType::NamedWindow(name) => of(&name, depth),
    }
}

/// Whether two runs of a query may give different rows though the data is the same: because it takes
/// some of several rows that are equal in its order, or numbers them.
pub(in crate::plan) fn depends_on_ties(query: &Query, catalog: &Catalog) -> bool {
    let mut found = functions::depends_on_row_order(query, catalog)
        || rewrite::any(query, functions::is_array_of_rows);
    rewrite::queries(query, |inner| {
        found |= is_limited(inner);
        let mut bodies = vec![&*inner.body];
        while let Some(body) = bodies.pop() {
            match body {
                SetExpr::SetOperation { left, right, .. } => bodies.extend([&**left, &**right]),
                SetExpr::Select(select) => {
                    found |= matches!(select.distinct, Some(Distinct::On(_)))
                }
                _ => {}
            }
        }
    });
    found
}
