//! From a statement, the topology and the catalog to what runs where: a pure function.
//!
//! ```text
//! SQL --parse--> AST --names, locality--> steps --print--> shard SQL, merge SQL, finish SQL --check-->
//! ```
//!
//! A [`Plan`] is a list of [`Step`]s. Each runs one SQL text, on some shards or on the server that
//! finishes, merges the rows of those shards, and either hands them to later steps as a relation
//! or, if it is the last, gives the answer. Nothing here touches a socket: what only a server
//! knows (the type of an expression, the shard of a key) is asked for with [`Need`], by way of
//! whoever has the plan made. The answer is waited for where it is needed, so that a statement is
//! planned once.

mod aggregate;
mod alike;
mod answers;
mod argument;
mod arms;
mod bind;
mod build;
mod calls;
mod check;
mod explain;
mod facts;
mod form;
mod from_item;
mod functions;
#[cfg(any(test, fuzzing))]
mod fuzz;
mod handed;
mod home;
mod instant;
mod json;
mod locality;
mod names;
mod naming;
mod order_keys;
mod ranges;
mod rewrite;
mod route;
mod same;
mod settings;
mod sql;
#[cfg(test)]
mod tests;
mod thread;
mod untyped;

use std::fmt;

use datafusion::sql::sqlparser::ast;

use crate::catalog::Catalog;
use crate::config::{Finish, Topology};
use crate::error::{Error, ErrorKind, Phase, Result};
use crate::types::{Column, TypeOptions};

pub(crate) use alike::{finish_is_alike, text_is_alike};
pub(crate) use answers::{Answer, Answers, Need};
pub(crate) use argument::Argument;
pub(crate) use explain::{Surroundings, rows, seconds};
pub(crate) use order_keys::{OrderKeys, order_keys};
pub(crate) use ranges::{Rows, ranged};
pub(crate) use route::about_rule;
pub(crate) use thread::{abandoned, on_deep_stack};

/// What runs where to answer one query.
///
/// [`Display`](fmt::Display) is for people, [`to_json`](Self::to_json) for programs.
#[derive(Debug, Clone)]
pub struct Plan {
    /// In the order in which they run; the last one gives the answer.
    pub(crate) steps: Vec<Step>,
    /// The columns of the answer, as PostgreSQL describes the user's own statement.
    pub(crate) columns: Vec<Column>,
    /// How near the answer is to that of one PostgreSQL.
    pub(crate) exactness: Exactness,
    /// The merge arm, for people and tests.
    pub(crate) arm: Arm,
    /// Why no cheaper arm was taken; one sentence for each.
    pub(crate) reasons: Vec<String>,
    /// What each step rests on, and how the arms were judged.
    pub(crate) argument: Argument,
    /// Whether a merge holds numbers as Arrow's decimals, or other values of which Arrow cannot hold
    /// all: one that does not fit is an error, but not of a plan without them.
    pub(crate) decimals: bool,
    /// What it is about, for people.
    pub(crate) surroundings: Surroundings,
}

/// How near the answer is to that of one PostgreSQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Exactness {
    /// Equal.
    Exact,
    /// Equal but for the order in which floating-point numbers are added, which PostgreSQL leaves
    /// open too.
    ExactUpToFloatOrder,
}

/// The merge arms, from the cheapest to the dearest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Arm {
    /// One shard answers.
    Single,
    /// The rows of each shard are final.
    Union,
    /// Each shard sorts (and limits); a merge keeps the order.
    Ordered,
    /// Each shard computes partial aggregates; the union is aggregated again.
    Combine,
    /// Rows of sharded tables are collected, and the user's own query runs over them.
    Gather,
}

/// One SQL text, where it runs, and how the rows of several shards become one.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    /// The relation that later steps know the rows by: `m1`, `m2`, ...
    pub(crate) name: String,
    /// What runs.
    pub(crate) sql: Sql,
    /// The earlier steps, by index, whose rows `sql` names as relations.
    pub(crate) uses: Vec<usize>,
    pub(crate) place: Place,
    pub(crate) merge: Merge,
    /// The columns of the relation, in order; empty for the last step.
    pub(crate) columns: Vec<StepColumn>,
}

/// A query in parts, so that relations can be put in front of its own common table expressions.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Sql {
    /// `WITH RECURSIVE`.
    pub(crate) recursive: bool,
    /// The common table expressions: `name (columns) AS (query)`.
    pub(crate) with: Vec<String>,
    /// The query behind them.
    pub(crate) body: String,
}

/// A column of a step whose rows later steps read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StepColumn {
    pub(crate) name: String,
    /// The collation, as SQL, if it is not the default of the column's type.
    pub(crate) collation: Option<String>,
}

/// Where a step runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// These shards, by index. With none of them there are no rows.
    Shards(Vec<usize>),
    /// One shard, whichever: what it reads is the same everywhere.
    AnyShard,
    /// The server that finishes: one of the shards, or the topology's `[finish] url`.
    Finish,
}

/// How the rows of the step's shards become one stream.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Merge {
    /// The rows of all shards; `skip` rows are left out, and at most `fetch` given.
    Concatenate { skip: u64, fetch: Option<u64> },
    /// Each shard's rows come sorted; a k-way merge keeps them so.
    Ordered {
        keys: Vec<SortKey>,
        skip: u64,
        fetch: Option<u64>,
        /// The columns behind these are sort keys that the query does not select: dropped.
        visible: usize,
    },
    /// DataFusion aggregates the rows again.
    Aggregate {
        /// SQL over the table `shards`, whose columns are `columns`.
        sql: String,
        /// The names of the columns that the shards give, in order.
        columns: Vec<String>,
    },
}

/// One key of a sort.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SortKey {
    /// The column, by index.
    pub(crate) column: usize,
    pub(crate) descending: bool,
    pub(crate) nulls_first: bool,
}

/// Which merge a query may take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MergeMode {
    /// The cheapest that is exact.
    #[default]
    Auto,
    /// Rows of sharded tables are collected, whatever else were possible, and the query runs over
    /// them as it is written.
    Gather,
}

/// What is to be planned, and all that is known for it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Question<'a> {
    /// One statement, with values in place of its parameters.
    pub(crate) sql: &'a str,
    pub(crate) topology: &'a Topology,
    pub(crate) catalog: &'a Catalog,
    pub(crate) merge: MergeMode,
    /// Whether the first shard answers, of itself, what reads no table of users.
    pub(crate) system_catalogs: bool,
    /// Whether merges may hold numbers as Arrow's decimals, which have no NaN and 76 digits.
    pub(crate) decimals: bool,
    /// How the columns of the answer are read.
    pub(crate) types: &'a TypeOptions,
    /// The statement's columns, as a shard describes them.
    pub(crate) columns: &'a [Column],
    /// What servers have answered so far. Columns are described with the default type options.
    pub(crate) answers: &'a Answers,
}

/// Plans a query. Call it [`on_deep_stack`].
///
/// # Errors
/// [`ErrorKind::Unsupported`] for a query that cannot be answered exactly.
pub(crate) fn plan(question: &Question<'_>) -> Result<Plan> {
    make(question).map_err(|stop| match stop {
        Stop::Need(need) => Error::fault(format!("nobody could be asked: {need:?}")),
        Stop::Refused(error) => error,
    })
}

#[cfg(fuzzing)]
pub(crate) use self::fuzz::fuzz;

/// Why planning stops.
#[derive(Debug)]
enum Stop {
    /// This is not known, and there is nobody to be asked.
    Need(Need),
    /// For good.
    Refused(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

fn make(question: &Question<'_>) -> std::result::Result<Plan, Stop> {
    let mut query = sql::parse(question.sql)?;
    sql::prints_faithfully(question.sql, &query).map_err(|reason| {
        refused(
            format!("the planner cannot read the query exactly: {reason}"),
            build::FAN_OUT_HINT,
        )
    })?;
    if question.system_catalogs
        && let Some(plan) = home::plan(question, &query)?
    {
        return Ok(plan);
    }
    if let Some(difference) = question.catalog.difference() {
        return Err(refused(
            format!("the databases differ: {difference}"),
            "make them alike; `merganser inspect` lists all differences",
        )
        .into());
    }
    if let Some(refusal) = question.catalog.conditions().refusal() {
        return Err(refused(refusal.what.clone(), &refusal.hint).into());
    }
    let mut text = Some(question.sql);
    if pin(question, &mut query)? {
        text = None;
    }
    let mut bound = bind::bind(query, question.topology, question.catalog)?;
    calls::check(
        &bound.query,
        None,
        &bound.relations,
        question.topology,
        question.catalog,
    )?;
    // Views read the clock too, and columns make times of literals.
    untyped::write_types(&mut bound, question.catalog, question.answers)?;
    if pin(question, &mut bound.query)? {
        text = None;
    }
    let reads_session = settings::reads(&bound.query);
    let own = text.map(|_| bound.query.clone());
    let lowered = arms::lower(question, bound, text)?;
    let is_apart = matches!(question.topology.finish(), Finish::Server(_));
    if reads_session && is_apart && lowered.steps.iter().any(|step| step.place == Place::Finish) {
        return Err(refused(
            "settings and roles, which are not those of the shards on the server that finishes"
                .to_owned(),
            "write their values into the query, or let a shard finish: [finish] without url",
        )
        .into());
    }
    let plan = Plan {
        steps: lowered.steps,
        columns: question.columns.to_vec(),
        exactness: match lowered.float_order {
            true => Exactness::ExactUpToFloatOrder,
            false => Exactness::Exact,
        },
        arm: lowered.arm,
        reasons: lowered.reasons,
        argument: lowered.argument,
        decimals: lowered.decimals,
        surroundings: Surroundings::default(),
    };
    check::check(question, &plan, own.as_ref())?;
    Ok(plan)
}

/// Writes the one instant of the query wherever it reads the clock; says whether it does.
fn pin(question: &Question<'_>, query: &mut ast::Query) -> std::result::Result<bool, Stop> {
    if !instant::reads_clock(query) {
        return Ok(false);
    }
    let rows = question.answers.evaluated(NOW.to_owned())?;
    let now = rows.first().and_then(|row| row.first()).cloned().flatten();
    Ok(instant::pin_instant(query, &now.unwrap_or_default())?)
}

/// The moment that all shards take for now.
const NOW: &str = "SELECT pg_catalog.now()";

/// A query that cannot be planned: the construct with the reason, and what to do instead.
fn refused(what: String, hint: &str) -> Error {
    Error::new(ErrorKind::Unsupported, format!("refused: {what}"))
        .with_phase(Phase::Plan)
        .with_hint(hint)
}

impl Sql {
    /// A statement as the user wrote it.
    fn verbatim(text: &str) -> Self {
        Self {
            recursive: false,
            with: Vec::new(),
            body: text.trim().to_owned(),
        }
    }

    /// A query, printed.
    fn of(query: &ast::Query) -> Self {
        let mut query = query.clone();
        let with = query.with.take();
        Self {
            recursive: with.as_ref().is_some_and(|with| with.recursive),
            with: with
                .into_iter()
                .flat_map(|with| with.cte_tables)
                .map(|cte| sql::written(&cte))
                .collect(),
            body: sql::written(&query),
        }
    }
}

impl fmt::Display for Sql {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.with.is_empty() {
            let recursive = if self.recursive { "RECURSIVE " } else { "" };
            write!(f, "WITH {recursive}{} ", self.with.join(", "))?;
        }
        f.write_str(&self.body)
    }
}

impl Merge {
    /// All rows of all shards.
    fn all() -> Self {
        Self::Concatenate {
            skip: 0,
            fetch: None,
        }
    }

    /// Whether the rows of all shards are those of the step.
    pub(crate) fn is_all(&self) -> bool {
        *self == Self::all()
    }
}
