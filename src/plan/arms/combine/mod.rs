//! Combine: the shards compute partial aggregates, and the SELECT is repeated over them with
//! aggregates that combine them.
//!
//! ```text
//! SELECT g, avg(x) FROM t GROUP BY g HAVING count(*) > 1 ORDER BY 2
//!   on each shard   SELECT g AS mk1, count(x) AS ma1, sum(x) AS ma2, count(*) AS ma3 FROM t GROUP BY g
//!   over their rows SELECT mk1 AS g, sum(ma2) / sum(ma1) AS avg FROM m1 GROUP BY mk1
//!                   HAVING coalesce(sum(ma3), 0) > 1 ORDER BY 2
//! ```
//!
//! *Exact because*
//!
//! 1. Each row that is aggregated is in the FROM and WHERE of one shard, and of no other
//!    ([`locality`]): together the shards aggregate the rows of one PostgreSQL (traps 14, 16).
//! 2. Each aggregate is made of what it is over the parts of its group, whatever the parts are, and
//!    of none ([`aggregate`](crate::plan::aggregate) has a rule for each; traps 1 to 6, 9, 17).
//! 3. The parts of a group are found by the equality of its keys that GROUP BY has: the repeated
//!    SELECT groups the rows again in PostgreSQL, or DataFusion does where equal values are equal
//!    bytes ([`merge`]; traps 7, 8, 18).
//! 4. All else stands in the repeated SELECT and sees whole groups: HAVING, windows, DISTINCT, ORDER
//!    BY, LIMIT (traps 12, 13, 19).
//! 5. What stands beside the aggregates is a key or is made a key ([`keys`]).
//!
//! *Does not hold when*
//!
//! - a shard cannot compute its part of the rows (`joins.sql`, `subqueries.sql`);
//! - an argument or a key is volatile, as it is computed again, or names rows of an outer query, which
//!   no shard has (trap 20, `volatile.sql`);
//! - an aggregate has no rule, or may be one of users' (trap 19; `aggregates.sql`);
//! - a key has no equality, or a collation that nobody can tell (traps 8, 10; `group_by.sql`);
//! - a whole row, or a subquery that names FROM, stands beside the aggregates (`subqueries.sql`).

mod keys;
mod merge;
mod parts;
mod replaced;

use std::collections::HashSet;

use datafusion::sql::sqlparser::ast::{
    Distinct, Expr, Function, Ident, OrderByKind, Query, Select, SetExpr,
};

use self::merge::InArrow;
use self::parts::Parts;
use self::replaced::{Replaced, unattached};
use super::obstacle::{Judged, Obstacle};
use super::outer::names_of_from;
use super::{Planner, Result};
use crate::plan::argument::Premises;
use crate::plan::facts::types;
use crate::plan::from_item::{FromItem, Source};
use crate::plan::locality::{self, Side};
use crate::plan::names::Names;
use crate::plan::naming::folded;
use crate::plan::rewrite::{self, conjuncts, top_down};
use crate::plan::{Arm, Merge, Place, Sql, StepColumn, functions};

/// A block that can be combined, with all that building needs.
pub(super) struct Combine {
    /// What the shards run.
    step: Query,
    shards: Vec<usize>,
    uses: Vec<usize>,
    /// Of the step: first the keys.
    columns: Vec<StepColumn>,
    /// How the parts of groups become fewer, or one, before they go on.
    merge: Merge,
    /// The merge that gives the answer itself, if nothing is left to finish.
    pub(super) answer: Option<Merge>,
    /// Whether these merges hold values of which Arrow cannot hold all.
    decimals: bool,
    /// The block over the rows of the step, and the name that the step has in it.
    block: Replaced,
    name: String,
    /// The types of the keys, as far as values are the same wherever they are equal.
    key_types: Vec<Option<String>>,
    float_order: bool,
    premises: Premises,
}

impl Planner<'_> {
    /// Whether a SELECT with aggregates can be combined.
    pub(super) fn judge_combine(&self, query: &Query) -> Judged<Combine> {
        let premises = Premises::default();
        let select = self.combinable(query, &premises)?;
        let own = names_of_from(select);
        let conditions = self.split_where(select, &own)?;
        let mut parts = Parts::new(&self.prefix, self.steps.len() + 1, own);
        let mut block = Replaced {
            grouping: self.group_keys(select, &mut parts)?,
            select: unattached(select)?,
            residual: rewrite::all_of(conditions.outer.clone()),
            order_by: query.order_by.clone(),
        };
        parts.grouped = parts.keys.len();
        let mut described = self.ask_types(query, select, &mut parts)?;
        let subqueries = self.replace(&mut block, select, &mut parts)?;
        block.grouping.extend(self.determined_keys(&parts)?);
        described.extend(self.ask_found_types(query, select, &mut parts)?);
        let mut compared = self.distinct_types(query, select, &parts);
        compared.extend(
            described
                .iter()
                .map(|column| column.pg_type.name().to_owned()),
        );
        if !types::can_be_grouped_together(compared.iter().map(String::as_str)) {
            return Err(
                "its groups are of types of which one only sorts and one only hashes".into(),
            );
        }
        self.tell_equal_values_apart(&mut parts, &described);
        let columns = self.partial_columns(&parts)?;

        let mut pushed = conditions.pushed;
        pushed.extend(self.outer_match(&parts.own, &conditions.outer));
        let mut step = parts.shard_query(select, pushed);
        step.with.clone_from(&query.with);
        for because in &parts.because {
            premises.hold(because.clone());
        }
        let in_arrow = match parts.grouped == parts.keys.len() {
            true => self.parts_in_arrow(&parts, &described),
            false => InArrow::No,
        };
        let is_exact = in_arrow != InArrow::No;
        let answer = match is_exact && block.residual.is_none() && subqueries == 0 {
            true => parts.answer(query, &block.select, &columns),
            false => None,
        };
        let merge = match is_exact && parts.can_premerge() {
            true => parts.premerge(&columns),
            false => Merge::all(),
        };
        let is_merged = answer.is_some() || !merge.is_all();
        parts.say_merge(in_arrow, is_merged, &premises);
        if !parts.beside.is_empty() {
            premises
                .hold("a primary key among the keys determines the columns beside the aggregates");
        }
        if !conditions.outer.is_empty() {
            premises.hold(
                "conditions on rows of outer queries stay with the block; what they ask of its rows is \
                 a key",
            );
        }
        let key_types = described.iter().zip(&parts.keys).map(|(column, key)| {
            let is_identified = self.is_identified(column, &self.told(&parts, key));
            is_identified.then(|| column.pg_type.name().to_owned())
        });
        Ok(Combine {
            shards: self.shards_for(&step, &premises)?,
            uses: self.uses(&step),
            step,
            columns,
            decimals: in_arrow == InArrow::Finite && is_merged,
            merge,
            answer,
            key_types: key_types.collect(),
            name: parts.name,
            float_order: parts.float_order,
            block,
            premises,
        })
    }

    /// Makes the step, and gives the block over its rows, whose subqueries are still to be lowered.
    pub(super) fn build_combine(&mut self, query: &Query, found: Combine) -> Result<Query> {
        let Combine { mut block, .. } = found;
        let place = Place::Shards(found.shards);
        let sql = Sql::of(&found.step);
        let index = self.push(sql, found.uses, place, found.merge, found.columns);
        self.rests_on(index, found.premises.into_sentences());
        let name = self.steps[index].name.clone();
        if name != found.name {
            // An equal step was there before; its name is another.
            block.rename(&found.name, &name)?;
        }
        self.relations.insert(
            name.clone(),
            FromItem {
                source: Source::Step,
                columns: None,
            },
        );
        self.key_types.insert(name.clone(), found.key_types);
        self.at_least(Arm::Combine);
        self.float_order |= found.float_order;
        self.decimals |= found.decimals;
        Ok(block.over(query, &name))
    }

    /// Makes the step whose merge gives the answer.
    pub(super) fn build_answer(&mut self, found: Combine, merge: Merge) -> usize {
        self.at_least(Arm::Combine);
        self.float_order |= found.float_order;
        self.decimals |= found.decimals;
        let place = Place::Shards(found.shards);
        let sql = Sql::of(&found.step);
        let index = self.push(sql, found.uses, place, merge, Vec::new());
        self.rests_on(index, found.premises.into_sentences());
        index
    }

    /// Lowers what stands beside the aggregates of a combined block: it runs where the block does.
    pub(super) fn lower_beside_aggregates(&mut self, mut block: Query) -> Result<Query> {
        if let SetExpr::Select(select) = &mut *block.body {
            self.lower_subqueries(&mut **select)?;
        }
        self.lower_beside(&mut block)?;
        Ok(block)
    }

    /// The SELECT of a query with aggregates, if the shards can compute the rows that it aggregates.
    fn combinable<'a>(&self, query: &'a Query, premises: &Premises) -> Judged<&'a Select> {
        let SetExpr::Select(select) = &*query.body else {
            return Err(Obstacle::Unfit("it is no SELECT"));
        };
        let order = order_exprs(query);
        if !self.locality().aggregates(select) && !self.locality().calls_aggregate(&order) {
            return Err(Obstacle::Unfit("it aggregates nothing"));
        }
        if let Some(reason) = self.locality().global_with(query) {
            return Err(Obstacle::Reason(reason));
        }
        if self.names_foreign_cte(query) {
            return Err("a common table expression of an outer query is read".into());
        }
        let mut with = query.with.iter().flat_map(|with| &with.cte_tables);
        if with.any(|cte| self.locality().is_correlated(&cte.query)) {
            return Err("a common table expression names columns of an outer query".into());
        }
        match self.locality().saying(premises).rows(select) {
            Ok(Side::Sharded { .. }) => {}
            Ok(_) => {
                return Err(Obstacle::Unfit(
                    "every shard has the rows that it aggregates",
                ));
            }
            Err(reason) => return Err(Obstacle::Reason(reason)),
        }
        if self.has_correlated_from(select) {
            return Err("FROM names columns of an outer query".into());
        }
        Ok(select)
    }

    /// WHERE: what names columns of outer queries is left for later.
    fn split_where(&self, select: &Select, own: &HashSet<String>) -> Judged<Conditions> {
        let (outer, pushed): (Vec<_>, Vec<_>) = select
            .selection
            .iter()
            .flat_map(conjuncts)
            .cloned()
            .partition(|conjunct| self.names_outer(conjunct, own));
        if outer.iter().any(rewrite::has_query) {
            return Err("a correlated condition holds a subquery".into());
        }
        Ok(Conditions { pushed, outer })
    }

    /// The aggregates of a block, but for those inside its subqueries.
    fn aggregate_calls(&self, query: &Query, select: &Select) -> Vec<Function> {
        let mut calls = Vec::new();
        let mut collect = |expr: &Expr| {
            if let Expr::Function(function) = expr
                && functions::is_aggregate(function, self.question.catalog)
            {
                calls.push(function.clone());
            }
        };
        rewrite::own_expressions(&select.projection, &mut collect);
        rewrite::own_expressions(&select.having, &mut collect);
        rewrite::own_expressions(&select.named_window, &mut collect);
        rewrite::own_expressions(&order_exprs(query), &mut collect);
        if let Some(Distinct::On(exprs)) = &select.distinct {
            rewrite::own_expressions(exprs, &mut collect);
        }
        calls
    }

    /// Puts what stands for keys and aggregates over the merged rows in place of them; returns how
    /// many subqueries stand beside them.
    fn replace(&self, block: &mut Replaced, select: &Select, parts: &mut Parts) -> Judged<usize> {
        let catalog = self.question.catalog;
        let columns = |idents: &[Ident]| match idents {
            [alias, column] => {
                let columns = self.relations.get(&folded(alias))?.columns.as_ref()?;
                let name = folded(column);
                columns.iter().find(|c| c.name == name)?.type_name.clone()
            }
            _ => None,
        };
        let mut failed: Option<String> = None;
        let mut subqueries: Vec<Query> = Vec::new();
        top_down(&mut block.residual, |expr| {
            Ok(parts.condition_step(expr, catalog, &mut failed))
        })?;
        let mut step =
            |expr: &mut Expr| parts.step(expr, catalog, &columns, &mut failed, &mut subqueries);
        top_down(&mut block.grouping, &mut step)?;
        top_down(&mut block.select.projection, &mut step)?;
        top_down(&mut block.select.having, &mut step)?;
        top_down(&mut block.select.named_window, &mut step)?;
        let on = match &mut block.select.distinct {
            Some(Distinct::On(exprs)) => exprs.iter_mut().collect(),
            _ => Vec::new(),
        };
        let keys = match block.order_by.as_mut().map(|order_by| &mut order_by.kind) {
            Some(OrderByKind::Expressions(keys)) => keys.as_mut_slice(),
            _ => &mut [],
        };
        for expr in on
            .into_iter()
            .chain(keys.iter_mut().map(|key| &mut key.expr))
        {
            if !locality::is_output(expr, select) {
                top_down(expr, &mut step)?;
            }
        }
        if let Some(reason) = failed {
            return Err(Obstacle::Reason(reason));
        }
        if subqueries
            .iter()
            .any(|sub| Names::of(sub).any_of(&parts.own))
        {
            return Err("a subquery beside the aggregates names columns of FROM".into());
        }
        Ok(subqueries.len())
    }
}

/// The conjuncts of WHERE.
struct Conditions {
    pushed: Vec<Expr>,
    /// Those that name columns of outer queries.
    outer: Vec<Expr>,
}

fn order_exprs(query: &Query) -> Vec<Expr> {
    let keys = locality::order_keys(query);
    keys.iter().map(|key| key.expr.clone()).collect()
}
