//! A block with aggregates on its way to one over the rows of a step.

use datafusion::sql::sqlparser::ast::{
    Expr, GroupByExpr, OrderBy, Query, Select, SelectItem, SetExpr,
};

use super::super::Result;
use super::super::obstacle::{Judged, Obstacle};
use super::super::steps::step_factor;
use crate::plan::naming::ident;
use crate::plan::rewrite::item_expr;
use crate::plan::rewrite::{Walk, top_down};
use crate::plan::{build, sql};

/// A block with aggregates, without its FROM.
pub(super) struct Replaced {
    pub(super) select: Select,
    pub(super) grouping: Vec<Expr>,
    /// The conditions that name columns of outer queries.
    pub(super) residual: Option<Expr>,
    pub(super) order_by: Option<OrderBy>,
}

impl Replaced {
    /// Gives the step another name.
    pub(super) fn rename(&mut self, from: &str, to: &str) -> Result<()> {
        let mut rename = |expr: &mut Expr| {
            if let Expr::CompoundIdentifier(names) = expr
                && let Some(first) = names.first_mut()
                && first.value == from
            {
                to.clone_into(&mut first.value);
            }
            Ok(Walk::Into)
        };
        top_down(&mut self.residual, &mut rename)?;
        top_down(&mut self.grouping, &mut rename)?;
        top_down(&mut self.select, &mut rename)?;
        top_down(&mut self.order_by, &mut rename)?;
        Ok(())
    }

    /// The block over the rows of a step.
    pub(super) fn over(mut self, query: &Query, step: &str) -> Query {
        self.select.from = vec![build::item(step_factor(step, None))];
        self.select.selection = self.residual;
        self.select.group_by = GroupByExpr::Expressions(self.grouping, Vec::new());
        let mut finished = query.clone();
        finished.order_by = self.order_by;
        *finished.body = SetExpr::Select(Box::new(self.select));
        finished
    }
}

/// A SELECT without FROM and WHERE, whose columns keep their names whatever becomes of their
/// expressions.
pub(super) fn unattached(select: &Select) -> Judged<Select> {
    let mut select = select.clone();
    select.selection = None;
    select.from = Vec::new();
    for item in &mut select.projection {
        if let SelectItem::UnnamedExpr(expr) = item
            && let Some(name) = sql::output_name(expr)
        {
            *item = SelectItem::ExprWithAlias {
                expr: expr.clone(),
                alias: ident(&name),
            };
        }
        if item_expr(item).is_none() {
            return Err(Obstacle::Unfit("`*` stands beside its aggregates"));
        }
    }
    Ok(select)
}
