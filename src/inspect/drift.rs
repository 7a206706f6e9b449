//! In what shards differ from each other, or from what was declared.

use std::fmt;

/// What a relation is, PostgreSQL's `relkind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RelationKind {
    /// An ordinary table.
    Table,
    /// A table with partitions, which are not reported by themselves.
    PartitionedTable,
    /// A materialized view: treated as the table that it is on disk.
    MaterializedView,
    /// A table of a foreign data wrapper: treated as a table, whatever server its rows come from.
    ForeignTable,
    /// A view: its query is compared, but it is no part of a topology, because a query on each shard
    /// may give other rows than the query on all of them.
    View,
}

impl RelationKind {
    pub(super) fn from_relkind(kind: char) -> Self {
        match kind {
            'p' => Self::PartitionedTable,
            'm' => Self::MaterializedView,
            'f' => Self::ForeignTable,
            'v' => Self::View,
            _ => Self::Table,
        }
    }
}

impl fmt::Display for RelationKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Table => "table",
            Self::PartitionedTable => "partitioned table",
            Self::MaterializedView => "materialized view",
            Self::ForeignTable => "foreign table",
            Self::View => "view",
        })
    }
}

/// One way in which the shards differ from each other, or from what was declared.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Drift {
    /// What differs.
    pub kind: DriftKind,
    /// The table, with its schema; `None` for what concerns whole databases.
    pub table: Option<String>,
    /// Which shards differ how, in one line.
    pub message: String,
}

impl Drift {
    pub(super) fn new(kind: DriftKind, table: Option<&str>, message: impl Into<String>) -> Self {
        Self {
            kind,
            table: table.map(str::to_owned),
            message: message.into(),
        }
    }
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(table) = &self.table {
            write!(f, "{}: ", printable(table))?;
        }
        f.write_str(&printable(&self.message))
    }
}

/// What a [`Drift`] is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DriftKind {
    /// The major version of a server, or the encoding of a database.
    Server,
    /// A setting that queries do not pin, or the schemas of the search path.
    Setting,
    /// An extension that is missing or has another version.
    Extension,
    /// A collation, or its version: text sorts and compares otherwise.
    Collation,
    /// The labels of an enum or their order, or what a domain, range or composite type is made of.
    Type,
    /// A table that some shards lack, or that a topology names and no shard has.
    MissingTable,
    /// A column: missing, or with another type, nullability, expression or place.
    Column,
    /// Another kind of relation, query of a view, row security, policies for reading or set of
    /// unique keys.
    Definition,
    /// A function of users that is missing or defined otherwise.
    Function,
    /// Contents: a replicated table whose rows differ, or a sharded one whose rows are everywhere.
    Rows,
    /// Keys of a sharded table that more than one shard has, or a key column that is missing.
    Key,
    /// Rows with equal keys, in tables of one colocation group, on different shards.
    Colocation,
    /// Rows that are not on the shard that `shard_index` says.
    ShardIndex,
    /// What was declared could not be checked: a table that may not be read, say.
    Unchecked,
}

/// A text in which nothing moves the cursor of a terminal: names and keys come from the databases.
pub(super) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            // The query of a view has several lines.
            '\n' => shown.push(' '),
            c if c.is_control() => shown.extend(c.escape_default()),
            c => shown.push(c),
        }
    }
    shown
}
