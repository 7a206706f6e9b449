//! Queries: what is around and between their SELECTs.

use std::collections::HashSet;

use datafusion::sql::sqlparser::ast::{
    Expr, Ident, ObjectName, ObjectNamePart, OrderByKind, Query, SelectItem, SetExpr, With,
};

use super::scope::Scope;
use super::{Binder, Output, with};
use crate::error::Result;
use crate::plan::from_item::FromColumn;
use crate::plan::naming::{folded, item_name};
use crate::plan::{build, refused, sql, thread};

impl Binder<'_> {
    pub(super) fn query(&mut self, query: &mut Query) -> Result<Output> {
        thread::check()?;
        sql::unwrap_parentheses(query);
        let ctes = self.ctes.len();
        if let Some(with) = query.with.take() {
            let runs = with::runs(&with.cte_tables, query);
            let kept = self.with(with.recursive, with.cte_tables, &runs)?;
            if !kept.is_empty() {
                query.with = Some(With {
                    with_token: with.with_token,
                    recursive: with.recursive,
                    cte_tables: kept,
                });
            }
        }
        // What ORDER BY names is a column of the output, or an expression over FROM.
        let (output, scope) = self.body(&mut query.body)?;
        let keys = match query.order_by.as_mut().map(|order_by| &mut order_by.kind) {
            Some(OrderByKind::Expressions(keys)) => &mut keys[..],
            _ => &mut [],
        };
        for key in &mut *keys {
            sql::unwrap_key(&mut key.expr);
        }
        if let Some(scope) = scope.filter(|_| !keys.is_empty()) {
            let named = match &*query.body {
                SetExpr::Select(select) => select.projection.iter().filter_map(item_name).collect(),
                _ => output_names(&output),
            };
            self.scopes.push(scope);
            for order in keys {
                let is_output = matches!(&order.expr, Expr::Identifier(ident)
                    if named.contains(&folded(ident)));
                if is_output {
                    continue;
                }
                self.whole_row_key(&mut order.expr, &named)?;
                if !self.output_before_using(&mut order.expr, &query.body)? {
                    self.expression(&mut order.expr)?;
                }
            }
            self.scopes.pop();
        }
        if let Some(limit) = &mut query.limit_clause {
            self.expression(limit)?;
        }
        if let Some(fetch) = &mut query.fetch {
            self.expression(fetch)?;
        }
        self.ctes.truncate(ctes);
        Ok(output)
    }

    /// The columns, and the scope of ORDER BY where it may hold expressions.
    fn body(&mut self, body: &mut SetExpr) -> Result<(Output, Option<Scope>)> {
        match body {
            SetExpr::Select(select) => {
                let (output, scope) = self.select(select)?;
                Ok((output, Some(scope)))
            }
            SetExpr::Query(query) => Ok((self.query(query)?, None)),
            SetExpr::SetOperation { left, right, .. } => {
                let (output, _) = self.body(left)?;
                self.body(right)?;
                // The type and collation of such a column are PostgreSQL's to find.
                let output = output.map(|columns| {
                    columns
                        .into_iter()
                        .map(|column| FromColumn {
                            name: column.name,
                            ..FromColumn::unknown()
                        })
                        .collect()
                });
                Ok((output, None))
            }
            SetExpr::Values(values) => {
                let mut width = 0;
                self.scopes.push(Scope::default());
                for row in &mut values.rows {
                    width = row.content.len();
                    for expr in &mut row.content {
                        self.expression(expr)?;
                    }
                }
                self.scopes.pop();
                let columns = (1..=width).map(|n| FromColumn {
                    name: format!("column{n}"),
                    ..FromColumn::unknown()
                });
                Ok((Some(columns.collect()), None))
            }
            SetExpr::Table(table) => {
                // TABLE t is SELECT * FROM t.
                let name: Vec<_> = [&table.schema_name, &table.table_name]
                    .into_iter()
                    .flatten()
                    .map(|part| ObjectNamePart::Identifier(Ident::new(part)))
                    .collect();
                let from = build::item(build::table(ObjectName(name), None));
                let select =
                    build::select(vec![SelectItem::Wildcard(Default::default())], vec![from]);
                *body = SetExpr::Select(Box::new(select));
                self.body(body)
            }
            _ => Err(refused(
                "a statement that changes data".to_owned(),
                "Merganser only reads: take the INSERT, UPDATE or DELETE out of the query",
            )),
        }
    }

    pub(super) fn renamed(output: Output, columns: &[Ident]) -> Output {
        if columns.is_empty() {
            return output;
        }
        let mut known = output.unwrap_or_default().into_iter();
        let mut renamed: Vec<_> = columns
            .iter()
            .map(|name| FromColumn {
                name: folded(name),
                ..known.next().unwrap_or_else(FromColumn::unknown)
            })
            .collect();
        renamed.extend(known);
        Some(renamed)
    }
}

fn output_names(output: &Output) -> HashSet<String> {
    let columns = output.iter().flatten();
    columns.map(|column| column.name.clone()).collect()
}
