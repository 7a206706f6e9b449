//! From a statement, the topology and the catalog to what runs where: a pure function.
//!
//! ```text
//! SQL --parse--> AST --names, locality--> steps --print--> shard SQL, merge SQL, finish SQL
//! ```
//!
//! A [`Plan`] is a list of [`Step`]s. Each runs one SQL text, on some shards or on the server that
//! finishes, merges the rows of those shards, and either hands them to later steps as a relation
//! or, if it is the last, gives the answer. Nothing here touches a socket: what only a server
//! knows (the type of an expression, the shard of a key) is asked for with [`Need`], and planning
//! starts again with the answer.

use std::collections::HashMap;

use crate::catalog::Catalog;
use crate::config::Topology;
use crate::error::{Error, ErrorKind, Result};
use crate::types::{Column, TypeOptions};

/// What runs where to answer one query.
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
}

/// How near the answer is to that of one PostgreSQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exactness {
    /// Equal.
    Exact,
    /// Equal but for the order in which floating-point numbers are added, which PostgreSQL leaves
    /// open too.
    ExactUpToFloatOrder,
}

/// The merge arms, from the cheapest to the dearest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
    /// One shard after the other; `skip` rows are left out, and at most `fetch` given.
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

/// A question that only a server can answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Need {
    /// The columns of a statement, from any shard.
    Describe(String),
    /// The rows of a statement that reads no table, as text.
    Evaluate(String),
}

/// What servers have answered.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answers {
    pub(crate) described: HashMap<String, Vec<Column>>,
    pub(crate) evaluated: HashMap<String, Vec<Vec<Option<String>>>>,
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
    /// How the columns of the answer are read.
    pub(crate) types: &'a TypeOptions,
    /// The statement's columns, as a shard describes them.
    pub(crate) columns: &'a [Column],
    /// What servers have answered so far. Columns are described with the default type options.
    pub(crate) answers: &'a Answers,
}

/// A plan, or what has to be known for one.
#[derive(Debug, Clone)]
pub(crate) enum Planned {
    Plan(Plan),
    Need(Need),
}

/// Plans a query.
///
/// # Errors
/// [`ErrorKind::Unsupported`] for a query that cannot be answered exactly.
pub(crate) fn plan(_question: &Question<'_>) -> Result<Planned> {
    Err(Error::new(
        ErrorKind::Unsupported,
        "no query can be planned",
    ))
}
