//! What the shards can answer alone: Union, and Ordered where a merge keeps the order.

use datafusion::sql::sqlparser::ast::{Expr, OrderByExpr, Query, Select, SelectItem, SetExpr};

use super::collation::Told;
use super::limit::{limited, take_limit};
use super::{Planner, Result};
use crate::plan::locality::{self, Distribution};
use crate::plan::naming::{self, folded, ident};
use crate::plan::rewrite::item_expr;
use crate::plan::same::normal;
use crate::plan::{Arm, Merge, Place, SortKey, Sql, StepColumn};
use crate::types::Column;

/// A query that gives its sort keys too.
pub(super) struct Sorted {
    pub(super) query: Query,
    pub(super) visible: usize,
    pub(super) hidden: bool,
}

impl Planner<'_> {
    /// One step, if the shards can answer alone and a merge keeps the order.
    pub(super) fn local(
        &mut self,
        query: &Query,
        text: Option<&str>,
        columns: &[StepColumn],
    ) -> Result<Option<usize>> {
        let mut unlimited = query.clone();
        let limit = take_limit(&mut unlimited);
        if let Distribution::Global(reason) = self.unlimited_distribution(&unlimited) {
            self.note(reason);
            return Ok(None);
        }
        let Some(limit) = limit else {
            self.note("the limit is not a plain number");
            return Ok(None);
        };
        let shards = self.shards_for(query)?;
        let uses = self.uses(query);
        let keys = locality::order_keys(query);
        if keys.is_empty() {
            let sql = match limit.is_none() {
                true => text.map_or_else(|| Sql::of(&unlimited), Sql::verbatim),
                false => Sql::of(&limited(unlimited, &limit)),
            };
            let merge = Merge::Concatenate {
                skip: limit.skip,
                fetch: limit.fetch,
            };
            self.at_least(Arm::Union);
            return Ok(Some(self.push(
                sql,
                uses,
                Place::Shards(shards),
                merge,
                columns.to_vec(),
            )));
        }
        if limit.with_ties {
            self.note("WITH TIES: the shards' candidates are ranked again in PostgreSQL");
            return Ok(None);
        }
        let Some((select, sorts)) = self.sort_columns(&unlimited, keys, limit.fetch.is_some())?
        else {
            self.note("the order is one that only PostgreSQL knows");
            return Ok(None);
        };
        let hidden = select.hidden;
        let verbatim = !hidden && limit.skip == 0;
        let sql = match text.filter(|_| verbatim) {
            Some(text) => Sql::verbatim(text),
            None => Sql::of(&limited(select.query, &limit)),
        };
        let merge = Merge::Ordered {
            keys: sorts,
            skip: limit.skip,
            fetch: limit.fetch,
            visible: select.visible,
        };
        self.at_least(Arm::Ordered);
        Ok(Some(self.push(
            sql,
            uses,
            Place::Shards(shards),
            merge,
            columns.to_vec(),
        )))
    }

    /// The distribution of a query without its limit.
    pub(super) fn unlimited_distribution(&self, query: &Query) -> Distribution {
        match self.locality().of(query) {
            Distribution::Replicated | Distribution::Anchored => {
                Distribution::Global("the query reads no sharded table".to_owned())
            }
            other => other,
        }
    }

    /// The query with its sort keys among its columns, and where they are; `None` if a key's order
    /// is one that only PostgreSQL knows.
    fn sort_columns(
        &self,
        query: &Query,
        keys: &[OrderByExpr],
        is_limited: bool,
    ) -> Result<Option<(Sorted, Vec<SortKey>)>> {
        let mut query = query.clone();
        let order_by = query.order_by.clone();
        let width = match &*query.body {
            SetExpr::Select(select) => select.projection.len(),
            _ => {
                let mut body = &*query.body;
                while let SetExpr::SetOperation { left, .. } = body {
                    body = left;
                }
                match body {
                    SetExpr::Select(select) => select.projection.len(),
                    _ => return Ok(None),
                }
            }
        };
        let names: Vec<Option<String>> = match first_select(&query.body) {
            Some(select) => select.projection.iter().map(naming::item_name).collect(),
            None => return Ok(None),
        };
        // Where `*` could not be spelled out, an item's place is not that of its column.
        if names.iter().any(Option::is_none) {
            return Ok(None);
        }
        let mut sorts = Vec::new();
        let mut added: Vec<Expr> = Vec::new();
        for key in keys {
            let Some(index) = output_index(&key.expr, &names, &query.body) else {
                // An expression over FROM.
                let distinct = first_select(&query.body).is_some_and(|s| s.distinct.is_some());
                if !matches!(&*query.body, SetExpr::Select(_)) || distinct {
                    return Ok(None);
                }
                sorts.push((width + added.len(), key));
                added.push(key.expr.clone());
                continue;
            };
            sorts.push((index, key));
        }
        // Its own order is of no account for that.
        query.order_by = None;
        if let SetExpr::Select(select) = &mut *query.body {
            for (index, expr) in added.iter().enumerate() {
                select.projection.push(SelectItem::ExprWithAlias {
                    expr: expr.clone(),
                    alias: ident(&format!("{}s{}", self.prefix, index + 1)),
                });
            }
        }
        let columns = self.describe(&query)?;
        let collations = self.collations(&query, &columns)?;
        let mut sort_keys = Vec::new();
        for (index, key) in sorts {
            match (columns.get(index), collations.get(index)) {
                (Some(column), Some(told)) if self.is_orderable(column, told, is_limited) => {}
                _ => return Ok(None),
            }
            let descending = key.options.asc == Some(false);
            sort_keys.push(SortKey {
                column: index,
                descending,
                nulls_first: key.options.nulls_first.unwrap_or(descending),
            });
        }
        query.order_by = order_by;
        let hidden = !added.is_empty();
        let sorted = Sorted {
            query,
            visible: width,
            hidden,
        };
        Ok(Some((sorted, sort_keys)))
    }

    /// Whether the merge of sorted rows compares the values of a sort key as PostgreSQL does.
    fn is_orderable(&self, column: &Column, told: &Told, limited: bool) -> bool {
        let bytewise = || {
            let default = self.question.catalog.default_collation();
            told.as_ref().is_ok_and(|collation| {
                let collation = collation.as_ref().unwrap_or(default);
                collation.bytewise && collation.difference.is_none()
            })
        };
        match column.pg_type.name() {
            "bool" | "int2" | "int4" | "int8" | "oid" | "xid8" | "float4" | "float8" | "uuid"
            | "bytea" | "bit" | "varbit" | "date" | "time" | "timestamp" | "timestamptz"
            | "interval" => true,
            "text" | "varchar" | "bpchar" => bytewise(),
            // Not every value fits a decimal of Arrow; a few rows are better sorted by PostgreSQL.
            "numeric" if !limited && self.question.decimals => {
                self.decimals.set(true);
                true
            }
            name => {
                name.starts_with("numeric(") && !name.ends_with(']') || column.pg_type.is_enum()
            }
        }
    }
}

/// The column of the output that ORDER BY names: by number, by name, or by the same expression.
pub(super) fn output_index(expr: &Expr, names: &[Option<String>], body: &SetExpr) -> Option<usize> {
    match expr {
        Expr::Value(value) => {
            let number: usize = value.value.to_string().parse().ok()?;
            number.checked_sub(1).filter(|index| *index < names.len())
        }
        Expr::Identifier(name) => {
            let name = folded(name);
            names.iter().position(|known| known.as_ref() == Some(&name))
        }
        other => {
            let SetExpr::Select(select) = body else {
                return None;
            };
            let wanted = normal(other);
            let is_wanted = |item| item_expr(item).is_some_and(|expr| normal(&expr) == wanted);
            select.projection.iter().position(is_wanted)
        }
    }
}

pub(super) fn first_select(body: &SetExpr) -> Option<&Select> {
    match body {
        SetExpr::Select(select) => Some(select),
        SetExpr::Query(query) => first_select(&query.body),
        SetExpr::SetOperation { left, .. } => first_select(left),
        _ => None,
    }
}
