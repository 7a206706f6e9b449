//! EXISTS: what it selects does not matter, and should not be fetched.

use datafusion::sql::sqlparser::ast::{Distinct, GroupByExpr, Query, Select, SelectItem, SetExpr};

use crate::catalog::Catalog;
use crate::plan::locality::{self, order_keys};
use crate::plan::{build, functions};

/// Takes the select list of an EXISTS away where it makes no difference, as PostgreSQL does, which
/// then never evaluates it (`simplify_EXISTS_query` in `src/backend/optimizer/plan/subselect.c`).
///
/// It makes one where it may aggregate or return sets, where other clauses name its columns, and where it
/// names what some shards may not have.
pub(super) fn drop_select_list(query: &mut Query, catalog: &Catalog) {
    let is_limited = locality::is_limited(query);
    let keys = order_keys(query);
    if keys.iter().any(|key| functions::may_call(&key.expr)) || is_limited && !keys.is_empty() {
        return;
    }
    if let SetExpr::Select(select) = &mut *query.body
        && has_idle_list(select)
        && (is_star(select) || !catalog.has_columns_that_differ())
        && (select.distinct.is_none() || !is_limited)
    {
        select.projection = vec![SelectItem::UnnamedExpr(build::number(1))];
        select.distinct = None;
        query.order_by = None;
    }
}

fn has_idle_list(select: &Select) -> bool {
    // Keys of groups may be names and numbers of columns, but no name stands for those of `*`.
    let is_ungrouped = matches!(&select.group_by, GroupByExpr::Expressions(keys, modifiers)
        if keys.is_empty() && modifiers.is_empty());
    (is_star(select) || is_ungrouped && !functions::may_call(&select.projection))
        && !matches!(select.distinct, Some(Distinct::On(_)))
}

fn is_star(select: &Select) -> bool {
    matches!(&select.projection[..], [] | [SelectItem::Wildcard(_)])
}
