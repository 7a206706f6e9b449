//! Whether something may be used, and why not.

use crate::catalog::{Catalog, Collation, Function, Operator};
use crate::plan::facts::functions::Class;

/// Why something may not be used, or nothing.
pub(in crate::plan) type Verdict = Result<(), Why>;

/// Why something may not be used: a noun phrase, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::plan) struct Why {
    pub(in crate::plan) what: String,
    pub(in crate::plan) hint: &'static str,
}

impl Why {
    pub(super) fn new(what: String, hint: &'static str) -> Self {
        Self { what, hint }
    }

    /// It is called by something else.
    pub(super) fn within(self, caller: &str) -> Self {
        Self {
            what: format!("{caller}, which calls {}", self.what),
            hint: self.hint,
        }
    }
}

pub(super) const READS: &str = "write what it reads as a part of the query";
pub(super) const ASK: &str = "ask a shard for it, in a statement without tables: the first one with \
    --system-catalogs (Query::with_system_catalogs), each one with --fan-out";

const UNKNOWN: &str = "--fan-out (Cluster::fan_out) sends the text to every shard as it is; please report the function";
const CLOCK: &str = "give it the time as an argument";

/// Why a function of such a class may not be called.
pub(super) fn why(name: &str, class: Class) -> Why {
    match class {
        Class::Reads => Why::new(
            format!(
                "the function {name}, which reads tables itself: each shard would read its own \
                 rows only"
            ),
            READS,
        ),
        Class::Server => Why::new(
            format!(
                "the function {name}, which tells of the server or the session, not of the data"
            ),
            ASK,
        ),
        Class::Clock => Why::new(
            format!(
                "the function {name}, which reads the clock where it cannot be stopped for all shards"
            ),
            CLOCK,
        ),
        Class::Chance => Why::new(
            format!("the function {name}, which gives something else each time"),
            "write what it does into the query",
        ),
        Class::Plain | Class::Unknown => Why::new(
            format!(
                "the function {name}, which is not declared IMMUTABLE and not known to read no \
                 table and to be the same on every server"
            ),
            UNKNOWN,
        ),
    }
}

/// Who judges what a text calls.
///
/// A function is judged by its text, and a text by the functions that it calls.
pub(super) trait Judges {
    fn catalog(&self) -> &Catalog;

    /// Functions of a name in a text that is not ours to change: the clock cannot be stopped for it.
    fn in_text(&self, name: &str, functions: &[&Function]) -> Verdict;

    /// The operators of a symbol.
    fn operators(&self, symbol: &str, operators: &[&Operator]) -> Verdict;

    /// The casts of users to a type, by its name in SQL or in `pg_type`.
    fn cast_to(&self, sql: &str) -> Verdict;

    /// Casts that PostgreSQL may apply to any expression, since both types are its own.
    fn casts_of_anything(&self) -> Verdict;

    /// A collation that is named.
    fn collation(&self, collation: &Collation) -> Verdict;

    /// A type, by its name in SQL: what its values call, and the casts that they may meet.
    fn data_type(&self, sql: &str) -> Verdict;
}
