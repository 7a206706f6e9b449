//! What an inspection found, as values, as text and as a topology.

use std::fmt;

use crate::config::{TableKind, Topology};
use crate::error::Result;
use crate::quote::identifier;

/// What an inspection found. `Display` writes it for people, over several lines.
#[derive(Debug, Clone)]
pub struct Report {
    /// What was given, for shards and session.
    pub(super) given: Topology,
    pub(super) tables: Vec<TableReport>,
    pub(super) drift: Vec<Drift>,
}

impl Report {
    /// The topology that the shards have: shards, session and finish as they were given, and every
    /// table of which it is known how its rows are spread.
    ///
    /// Declarations that were given stay, also those that [`drift`](Self::drift) contradicts; only
    /// tables that no shard has any more are left out.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) for a name that a topology cannot hold.
    pub fn topology(&self) -> Result<Topology> {
        let tables = self.tables.iter().filter_map(|table| {
            let kind = match table.kind.clone()? {
                TableKind::Sharded {
                    key,
                    colocation,
                    shard_index,
                } => TableKind::Sharded {
                    key: identifier(&key),
                    colocation,
                    shard_index,
                },
                kind => kind,
            };
            let name = match table.is_qualified {
                true => format!("{}.{}", identifier(&table.schema), identifier(&table.name)),
                false => identifier(&table.name),
            };
            Some((name, kind))
        });
        self.given.clone().with_tables(tables)
    }

    /// How the shards differ where they should not, or differ from what was declared; empty when
    /// all is well.
    pub fn drift(&self) -> &[Drift] {
        &self.drift
    }

    /// The tables and views of all shards by name, but for partitions and for what belongs to
    /// extensions.
    pub fn tables(&self) -> &[TableReport] {
        &self.tables
    }
}

/// What was found out about one table.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TableReport {
    /// Its schema.
    pub schema: String,
    /// Its name without the schema.
    pub name: String,
    /// What it is on the shards.
    pub relation: RelationKind,
    /// How its rows are spread; the key is the column's name in the catalog. `None` when that is
    /// not known: then [`Report::topology`] leaves the table out, and `why` says what is missing.
    pub kind: Option<TableKind>,
    /// How many rows each shard has, in the order of the shards.
    pub rows: Vec<Rows>,
    /// Where the knowledge comes from, or why there is none.
    pub why: String,
    /// Whether its name in a topology needs the schema.
    pub(super) is_qualified: bool,
}

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

/// The number of rows of one table on one shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rows {
    /// Counted.
    Exact(u64),
    /// As the server's statistics have it.
    Estimate(u64),
    /// Not read.
    Unknown,
}

impl fmt::Display for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(rows) => write!(f, "{rows}"),
            Self::Estimate(rows) => write!(f, "about {rows}"),
            Self::Unknown => f.write_str("?"),
        }
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
    /// Another kind of relation, query of a view, row security or set of unique keys.
    Definition,
    /// Contents: a replicated table whose rows differ, or a sharded one whose rows are everywhere.
    Rows,
    /// Keys of a sharded table that more than one shard has, or a key column that is missing.
    Key,
    /// Rows with equal keys, in tables of one colocation group, on different shards.
    Colocation,
    /// Rows that are not on the shard that `shard_index` says.
    ShardIndex,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self
            .given
            .shards()
            .iter()
            .map(|shard| shard.name())
            .collect();
        let count = match names.len() {
            1 => "1 shard".to_owned(),
            count => format!("{count} shards"),
        };
        writeln!(f, "{count}: {}", printable(&names.join(", ")))?;
        for table in &self.tables {
            writeln!(f)?;
            let name = format!("{}.{}", table.schema, table.name);
            writeln!(f, "{}: {}", printable(&name), printable(&table.headline()))?;
            if table.rows.iter().any(|rows| *rows != Rows::Unknown) {
                let rows = names.iter().zip(&table.rows);
                let rows: Vec<String> = rows.map(|(name, rows)| format!("{name} {rows}")).collect();
                writeln!(f, "    rows: {}", printable(&rows.join(", ")))?;
            }
            writeln!(f, "    why: {}", printable(&table.why))?;
        }
        writeln!(f)?;
        if self.drift.is_empty() {
            return writeln!(f, "no drift");
        }
        writeln!(f, "drift:")?;
        self.drift
            .iter()
            .try_for_each(|drift| writeln!(f, "    {drift}"))
    }
}

impl TableReport {
    fn headline(&self) -> String {
        let mut text = match &self.kind {
            Some(TableKind::Replicated) => "replicated".to_owned(),
            Some(TableKind::Sharded {
                key,
                colocation,
                shard_index,
            }) => {
                let mut text = format!("sharded by {key}");
                if let Some(group) = colocation {
                    text.push_str(&format!(", colocated in {group}"));
                }
                if let Some(index) = shard_index {
                    text.push_str(&format!(", on shard {index}"));
                }
                text
            }
            None if self.relation == RelationKind::View => return "view".to_owned(),
            None => "unknown".to_owned(),
        };
        if self.relation != RelationKind::Table {
            text.push_str(&format!(" ({})", self.relation));
        }
        text
    }
}

/// `1 row`, `2 rows`.
pub(super) fn count_rows(rows: impl fmt::Display) -> String {
    match rows.to_string() {
        one if one == "1" => "1 row".to_owned(),
        rows => format!("{rows} rows"),
    }
}

/// A text in which nothing moves the cursor of a terminal: names and keys come from the databases.
fn printable(text: &str) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn table(name: &str, kind: Option<TableKind>, relation: RelationKind) -> TableReport {
        TableReport {
            schema: "public".to_owned(),
            name: name.to_owned(),
            relation,
            kind,
            rows: vec![Rows::Exact(3), Rows::Estimate(4)],
            why: "a reason".to_owned(),
            is_qualified: name == "Orders",
        }
    }

    fn report() -> Report {
        let key = TableKind::Sharded {
            key: "Key".to_owned(),
            colocation: Some("orders".to_owned()),
            shard_index: Some("\"Key\" % 2".to_owned()),
        };
        Report {
            given: Topology::from_urls(["postgresql://app@db0/x", "postgresql://app@db1/x"])
                .unwrap(),
            tables: vec![
                table("Orders", Some(key), RelationKind::Table),
                table(
                    "nation",
                    Some(TableKind::Replicated),
                    RelationKind::MaterializedView,
                ),
                table("other\u{1b}", None, RelationKind::Table),
                table("v", None, RelationKind::View),
            ],
            drift: vec![Drift::new(DriftKind::Rows, Some("public.x"), "a\u{7}\nb")],
        }
    }

    #[test]
    fn the_text_says_everything_and_cannot_move_the_cursor() {
        assert_eq!(
            report().to_string(),
            "2 shards: s0, s1\n\
             \n\
             public.Orders: sharded by Key, colocated in orders, on shard \"Key\" % 2\n    \
             rows: s0 3, s1 about 4\n    \
             why: a reason\n\
             \n\
             public.nation: replicated (materialized view)\n    \
             rows: s0 3, s1 about 4\n    \
             why: a reason\n\
             \n\
             public.other\\u{1b}: unknown\n    \
             rows: s0 3, s1 about 4\n    \
             why: a reason\n\
             \n\
             public.v: view\n    \
             rows: s0 3, s1 about 4\n    \
             why: a reason\n\
             \n\
             drift:\n    \
             public.x: a\\u{7} b\n"
        );
    }

    #[test]
    fn the_topology_has_what_is_known_and_loads_again() {
        let topology = report().topology().unwrap();
        let tables: Vec<_> = topology.tables().iter().map(|table| table.name()).collect();
        assert_eq!(tables, ["Orders", "nation"]);
        assert_eq!(topology.tables()[0].schema(), Some("public"));
        assert_eq!(topology.tables()[1].schema(), None);
        assert_eq!(Topology::from_toml(&topology.to_toml()).unwrap(), topology);
    }
}
