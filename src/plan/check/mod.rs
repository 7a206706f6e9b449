//! A second opinion on a finished plan, which knows nothing of how it was made.
//!
//! The planner argues that its steps give the answer of one PostgreSQL. This reads the steps as the
//! servers will, and holds them against what cannot be otherwise in any exact plan. What does not hold
//! is a fault of the planner: an error, and never another plan.
//!
//! | what is read | what has to hold | where |
//! |---|---|---|
//! | names | each is a step that `uses` lists, a table of the topology, a view or a common table expression; and none is read where it is not whole | [`reads`] |
//! | functions | the catalog clears each, and the clock is stopped | [`reads`] |
//! | steps | they use earlier ones | here |
//! | columns | as many as the merge, the next step or the answer takes | here |
//! | several shards | each gives rows of its own, cuts and sorts them as the merge expects, and calls no part of a group a group | [`shards`] |
//! | parts of groups | counts are summed, minima minimised and so on; nothing counts them as rows | [`parts`] |
//! | first rows | who reads the first rows of each shard takes no more of them | [`parts`] |
//! | the statement | its ORDER BY and its LIMIT are somewhere in the last step | here |
//!
//! It errs on one side: what it cannot tell, it lets pass. The oracle is what tells the rest.

mod blocks;
mod parts;
mod reads;
mod shards;
#[cfg(test)]
mod tests;

use datafusion::sql::sqlparser::ast::{Query, SelectItem, SetExpr};

use self::blocks::Limit;
use self::parts::Given;
use self::reads::{Facts, Reader};
use super::locality::order_keys;
use super::{Merge, Place, Plan, Question, Sql, Step, rewrite, sql};
use crate::config::Finish;
use crate::error::{Error, Result};

/// Holds a plan against what every exact plan has.
///
/// # Errors
/// [`ErrorKind::Internal`](crate::ErrorKind::Internal): a fault of the planner.
///
/// `bound` is the statement with its names bound, for a step that has the user's own text.
pub(super) fn check(question: &Question<'_>, plan: &Plan, bound: Option<&Query>) -> Result<()> {
    let mut given: Vec<Given> = Vec::with_capacity(plan.steps.len());
    let mut last = None;
    for (index, step) in plan.steps.iter().enumerate() {
        let is_last = index + 1 == plan.steps.len();
        let checked = Checked {
            question,
            earlier: plan.steps.get(..index).unwrap_or_default(),
            step,
            is_last,
        };
        let mut query = match bound {
            Some(bound) if step.sql == Sql::verbatim(question.sql) => bound.clone(),
            _ => sql::parse_made(&step.sql.to_string())
                .map_err(|error| wrong(step, &format!("its SQL cannot be read: {error}")))?,
        };
        rewrite::each_query(&mut query, sql::unwrap_parentheses);
        if step.uses.iter().any(|used| *used >= index) {
            return Err(wrong(step, "it uses a step that does not come before it"));
        }
        let facts = checked.reads(&query)?;
        checked.place(&facts)?;
        checked.width(&query, plan)?;
        if let Place::Shards(shards) = &step.place
            && shards.len() > 1
        {
            checked.several(&query, &facts)?;
        }
        checked.taken(&query, &given)?;
        given.push(checked.given(&query, &facts));
        last = Some(query);
    }
    let mut user = sql::parse(question.sql)?;
    sql::unwrap_parentheses(&mut user);
    answer(&user, plan, last.as_ref())
}

/// A step, and what is known around it.
struct Checked<'a> {
    question: &'a Question<'a>,
    /// The steps before it.
    earlier: &'a [Step],
    step: &'a Step,
    is_last: bool,
}

impl Checked<'_> {
    fn wrong(&self, what: &str) -> Error {
        wrong(self.step, what)
    }

    /// What the step reads: all of it is named, and known.
    fn reads(&self, query: &Query) -> Result<Facts> {
        let names: Vec<&str> = self.earlier.iter().map(|step| step.name.as_str()).collect();
        let reader = Reader::new(self.question, &names);
        let facts = reader.statement(query).map_err(|what| self.wrong(&what))?;
        let named: Vec<usize> = facts.steps.iter().copied().collect();
        let uses = &self.step.uses;
        match named.iter().all(|step| uses.contains(step)) {
            true => Ok(facts),
            false => Err(self.wrong(&format!(
                "its SQL reads the steps {named:?}, and it is handed {uses:?}"
            ))),
        }
    }

    /// A step reads what is whole where it runs.
    fn place(&self, facts: &Facts) -> Result<()> {
        let one = match &self.step.place {
            Place::Shards(shards) => {
                let count = self.question.topology.shards().len();
                let mut seen = vec![false; count];
                for shard in shards {
                    match seen.get_mut(*shard) {
                        Some(seen) if !*seen => *seen = true,
                        _ => {
                            return Err(self.wrong("it runs on a shard twice, or on none there is"));
                        }
                    }
                }
                return Ok(());
            }
            Place::AnyShard => "any one shard",
            Place::Finish => "the server that finishes",
        };
        if let Some(table) = facts.sharded.first() {
            return Err(self.wrong(&format!(
                "it reads the sharded table {table} on {one}, which has a part of it"
            )));
        }
        let has_tables = !matches!(
            (&self.step.place, self.question.topology.finish()),
            (Place::Finish, Finish::Server(_))
        );
        match facts.replicated.first() {
            Some(table) if !has_tables => Err(self.wrong(&format!(
                "it reads the table {table} on {one}, which has no tables"
            ))),
            _ => Ok(()),
        }
    }

    /// As many columns as whoever takes the rows expects.
    fn width(&self, query: &Query, plan: &Plan) -> Result<()> {
        let Some(width) = width(&query.body) else {
            return Ok(());
        };
        let given = match &self.step.merge {
            Merge::Concatenate { .. } => width,
            Merge::Ordered { visible, keys, .. } => {
                if *visible > width || keys.iter().any(|key| key.column >= width) {
                    return Err(self.wrong("it is merged by columns that it does not select"));
                }
                *visible
            }
            Merge::Aggregate { sql, columns } => {
                if columns.len() != width {
                    return Err(self.wrong("its merge names another number of columns"));
                }
                shards::merge_width(sql).map_err(|what| self.wrong(&what))?
            }
        };
        let wanted = match self.is_last {
            true => plan.columns.len(),
            false => self.step.columns.len(),
        };
        match given == wanted {
            true => Ok(()),
            false => Err(self.wrong(&format!(
                "it gives {given} columns where {wanted} are taken"
            ))),
        }
    }
}

/// What the statement says of its rows as a whole is somewhere in the last step.
fn answer(user: &Query, plan: &Plan, last: Option<&Query>) -> Result<()> {
    let (Some(step), Some(last)) = (plan.steps.last(), last) else {
        return Err(Error::fault("the plan has no step"));
    };
    if !order_keys(user).is_empty() && order_keys(last).is_empty() {
        return Err(wrong(
            step,
            "the ORDER BY of the statement is in none of it",
        ));
    }
    let merge_limits = match &step.merge {
        Merge::Concatenate { skip, fetch } | Merge::Ordered { skip, fetch, .. } => {
            *skip > 0 || fetch.is_some()
        }
        Merge::Aggregate { .. } => false,
    };
    match Limit::of(user).is_some() && !merge_limits && Limit::of(last).is_none() {
        true => Err(wrong(step, "the LIMIT of the statement is in none of it")),
        false => Ok(()),
    }
}

/// How many columns a query selects; `None` where a wildcard stands.
pub(super) fn width(body: &SetExpr) -> Option<usize> {
    match body {
        SetExpr::Select(select) => {
            let plain = select.projection.iter().all(|item| {
                matches!(
                    item,
                    SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. }
                )
            });
            plain.then_some(select.projection.len())
        }
        SetExpr::Query(query) => width(&query.body),
        SetExpr::SetOperation { left, right, .. } => width(left).or_else(|| width(right)),
        SetExpr::Values(values) => values.rows.first().map(|row| row.content.len()),
        _ => None,
    }
}

fn wrong(step: &Step, what: &str) -> Error {
    Error::fault(format!(
        "the plan does not hold: step {}: {what}",
        step.name
    ))
}
