//! The items of FROM, as binding finds them: where their rows come from, and how they are joined.

use datafusion::sql::sqlparser::ast::{JoinOperator, ObjectName, ObjectNamePart};

use super::build::FAN_OUT_HINT;
use super::naming::ident;
use super::refused;
use crate::catalog::Collation;
use crate::error::Result;

/// An item of FROM: a relation of the statement.
#[derive(Debug, Clone)]
pub(super) struct FromItem {
    pub(super) source: Source,
    /// In order; `None` where only the server knows them.
    pub(super) columns: Option<Vec<FromColumn>>,
}

/// Where the rows of a relation come from.
#[derive(Debug, Clone)]
pub(super) enum Source {
    /// A table of the topology.
    Table(Base),
    /// A query in FROM, a view, or a common table expression.
    Derived,
    /// A common table expression that names itself, or that has to run just once.
    Cte,
    /// A function in FROM.
    Function,
    /// The rows of an earlier step.
    Step,
}

/// A table of the topology.
#[derive(Debug, Clone)]
pub(super) struct Base {
    /// Schema and name.
    pub(super) name: (String, String),
    /// `None` for a replicated table.
    pub(super) sharding: Option<Sharding>,
}

impl Base {
    /// The name as SQL has it.
    pub(super) fn object_name(&self) -> ObjectName {
        let (schema, table) = &self.name;
        let parts = [ident(schema), ident(table)];
        ObjectName(parts.map(ObjectNamePart::Identifier).into())
    }
}

/// How a table is sharded.
#[derive(Debug, Clone)]
pub(super) struct Sharding {
    /// What tables have in common whose rows of equal keys are on one shard.
    pub(super) group: String,
    /// The key, as this relation calls it.
    pub(super) key: String,
    /// The key, as the table calls it.
    pub(super) key_column: String,
    pub(super) key_type: String,
    /// The collation of the column, in SQL, where it has one.
    pub(super) key_collation: Option<String>,
    pub(super) key_not_null: bool,
    /// Whether values that the key's `=` calls equal are the same value.
    pub(super) key_is_exact: bool,
    pub(super) shard_index: Option<String>,
}

/// How a column of a table was declared.
#[derive(Debug, Clone)]
pub(super) struct Declared {
    /// The name of PostgreSQL's own type below all domains; `None` where that is none of its own.
    pub(super) base: Option<String>,
    /// Whether it is that type itself: no domain, and without a length or the like.
    pub(super) is_plain: bool,
}

/// A column of a relation.
#[derive(Debug, Clone)]
pub(super) struct FromColumn {
    pub(super) name: String,
    pub(super) type_name: Option<String>,
    /// What that is made of, of a column of a table.
    pub(super) declared: Option<Declared>,
    /// Other than the default.
    pub(super) collation: Option<Collation>,
}

impl FromColumn {
    pub(super) fn unknown() -> Self {
        Self {
            name: String::new(),
            type_name: None,
            declared: None,
            collation: None,
        }
    }
}

/// Which side of a join is kept whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outer {
    None,
    Left,
    Right,
    Full,
}

/// Which side of a join is kept whole.
pub(super) fn outer_kind(operator: &JoinOperator) -> Result<Outer> {
    match operator {
        JoinOperator::Join(_) | JoinOperator::Inner(_) | JoinOperator::CrossJoin(_) => {
            Ok(Outer::None)
        }
        JoinOperator::Left(_) | JoinOperator::LeftOuter(_) => Ok(Outer::Left),
        JoinOperator::Right(_) | JoinOperator::RightOuter(_) => Ok(Outer::Right),
        JoinOperator::FullOuter(_) => Ok(Outer::Full),
        _ => Err(refused("this kind of join".to_owned(), FAN_OUT_HINT)),
    }
}
