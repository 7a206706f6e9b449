//! What the catalog of one database says.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::shards::Shards;
use crate::error::{Error, ErrorKind, Phase, Result};

/// The query behind [`read`].
const QUERY: &str = include_str!("catalog.sql");

/// The facts about one database on which answers depend.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Catalog {
    /// `server_version_num`: 150004 is 15.4.
    pub(super) version: u32,
    pub(super) database: Database,
    /// Settings that queries do not pin.
    pub(super) settings: BTreeMap<String, Option<String>>,
    /// Name to version.
    pub(super) extensions: BTreeMap<String, String>,
    /// The collations of columns, but for the database's own.
    pub(super) collations: BTreeMap<String, Collation>,
    /// Enums, domains, ranges and composite types of users.
    pub(super) types: BTreeMap<String, Type>,
    pub(super) relations: Vec<Relation>,
    /// The schemas of the search path that exist, in its order.
    #[serde(default)]
    pub(super) search_path: Vec<String>,
}

/// `pg_database`: the collation that most text has.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Database {
    pub(super) encoding: String,
    pub(super) collate: Option<String>,
    pub(super) ctype: Option<String>,
    /// `c` is the C library, `i` ICU, `b` PostgreSQL's own.
    pub(super) provider: String,
    pub(super) locale: Option<String>,
    pub(super) version: Option<String>,
}

/// `pg_collation`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Collation {
    pub(super) provider: String,
    pub(super) locale: Option<String>,
    pub(super) deterministic: bool,
    pub(super) version: Option<String>,
}

/// `pg_type`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Type {
    pub(super) kind: String,
    /// An enum's labels in their order, a composite type's attributes, else one base type.
    pub(super) definition: Option<Vec<String>>,
}

/// `pg_class`: anything that a query can read rows from, but for partitions.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Relation {
    pub(super) schema: String,
    pub(super) name: String,
    /// `relkind`.
    pub(super) kind: char,
    /// Whether this role may select from it.
    pub(super) readable: bool,
    pub(super) row_security: bool,
    /// About how many rows it has.
    pub(super) estimate: f64,
    /// The query of a view.
    pub(super) definition: Option<String>,
    pub(super) columns: Vec<Column>,
    /// The columns of unique indexes over all rows, those of the primary key first.
    pub(super) keys: Vec<Vec<String>>,
    pub(super) has_primary_key: bool,
    pub(super) foreign_keys: Vec<ForeignKey>,
}

/// `pg_attribute`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Column {
    pub(super) name: String,
    /// The name as SQL writes it.
    pub(super) quoted: String,
    #[serde(rename = "type")]
    pub(super) data_type: String,
    /// The type without modifiers, below a domain.
    pub(super) base: String,
    #[serde(rename = "enum")]
    pub(super) is_enum: bool,
    pub(super) not_null: bool,
    /// The expression of a generated column.
    pub(super) generated: Option<String>,
    pub(super) collation: Option<String>,
}

/// One column of a foreign key.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct ForeignKey {
    pub(super) column: String,
    pub(super) schema: String,
    pub(super) table: String,
    pub(super) target: String,
}

/// Reads the catalog of one shard.
pub(super) async fn read(shards: &Shards, shard: usize) -> Result<Catalog> {
    // A session of its own: it leaves the search path changed.
    let mut session = shards.open(shard).await?;
    let paths = session
        .query("SELECT pg_catalog.array_to_json(pg_catalog.current_schemas(false))")
        .await?;
    session.query("SET LOCAL search_path = pg_catalog").await?;
    let answer = session.query(QUERY).await?;
    session.finish().await;
    let parse = || -> Result<Catalog, serde_json::Error> {
        let mut catalog: Catalog = serde_json::from_str(first(&answer))?;
        catalog.search_path = serde_json::from_str(first(&paths))?;
        Ok(catalog)
    };
    parse().map_err(|error| {
        Error::new(
            ErrorKind::Decode,
            "the catalog did not have the expected form",
        )
        .with_phase(Phase::Stream)
        .with_shard(shards.name(shard))
        .with_source(error)
    })
}

/// The only value of an answer; empty where there is none.
fn first(rows: &[Vec<Option<String>>]) -> &str {
    rows.first()
        .and_then(|row| row.first())
        .and_then(Option::as_deref)
        .unwrap_or_default()
}
