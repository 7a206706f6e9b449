//! Subqueries that a SELECT holds twice: the very same, the aliases inside too.
//!
//! `SELECT (SELECT name FROM r WHERE r.id = t.g) .. GROUP BY (SELECT name FROM r WHERE r.id = t.g)`:
//! PostgreSQL takes these for one expression, and so must all that ask later whether two expressions are equal:
//! the planner, and PostgreSQL when it is sent one of each (`equal()` compares aliases). But binding has given
//! `r` two aliases.
//!
//! What the texts say is compared *after* names are bound, when a column is the same wherever it is written:
//! a name that ORDER BY takes for a column of the output, or that means another table in another place, is
//! another one by then. *Exact because* either is the value of the same rows, whichever is computed, unless it
//! is volatile: two calls are two calls. WHERE and FROM, whose subqueries no other clause is compared with, keep
//! their own: what is known of the rows there differs.

use std::collections::HashMap;
use std::mem::{Discriminant, discriminant};

use datafusion::sql::sqlparser::ast::{Expr, OrderBy, Query, Select, SetExpr, VisitMut};

use crate::catalog::Catalog;
use crate::error::Result;
use crate::plan::form::form;
use crate::plan::functions;
use crate::plan::rewrite::{self, Walk, top_down};
use crate::plan::same::normal;

/// Makes the very same of all subqueries that are the same, in each SELECT of a bound statement.
pub(super) fn unify(query: &mut Query, catalog: &Catalog) -> Result<()> {
    let mut unified = Ok(());
    rewrite::each_query(query, |query| {
        let Query { body, order_by, .. } = query;
        let unify = match &mut **body {
            SetExpr::Select(select) => unify_in(select, order_by.as_mut(), catalog),
            operands => unify_in_each(operands, catalog),
        };
        if unify.is_err() {
            unified = unify;
        }
    });
    unified
}

/// In each SELECT that set operations connect.
fn unify_in_each(body: &mut SetExpr, catalog: &Catalog) -> Result<()> {
    let mut pending = vec![body];
    while let Some(body) = pending.pop() {
        match body {
            SetExpr::SetOperation { left, right, .. } => {
                pending.extend([&mut **left, &mut **right])
            }
            SetExpr::Select(select) => unify_in(select, None, catalog)?,
            _ => {}
        }
    }
    Ok(())
}

fn unify_in(select: &mut Select, order_by: Option<&mut OrderBy>, catalog: &Catalog) -> Result<()> {
    let mut known = Known {
        catalog,
        queries: HashMap::new(),
    };
    known.unify(&mut select.projection)?;
    known.unify(&mut select.group_by)?;
    known.unify(&mut select.having)?;
    known.unify(&mut select.distinct)?;
    known.unify(&mut select.named_window)?;
    order_by.map_or(Ok(()), |order_by| known.unify(order_by))
}

/// The subqueries of a SELECT, by what holds them and by their forms.
struct Known<'a> {
    catalog: &'a Catalog,
    queries: HashMap<(Discriminant<Expr>, String), Query>,
}

impl Known<'_> {
    fn unify<T: VisitMut>(&mut self, tree: &mut T) -> Result<()> {
        top_down(tree, |expr| {
            if let Expr::InSubquery { expr: left, .. } = expr {
                self.unify(&mut **left)?;
            }
            // What becomes of the rows depends on what they are for.
            let holder = discriminant(expr);
            let Some(query) = rewrite::subquery(expr) else {
                return Ok(Walk::Into);
            };
            if !functions::is_volatile(query, self.catalog)
                && let Some(form) = form(normal(query))
            {
                let known = self.queries.entry((holder, form));
                query.clone_from(known.or_insert_with(|| query.clone()));
            }
            Ok(Walk::Done)
        })
    }
}
