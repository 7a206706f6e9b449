//! What the catalog of one database says.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::shards::Shards;
use crate::catalog::facts::{Collation, Column, Database, Facts, Type};
use crate::catalog::identity::{self, Identity};
use crate::error::{Error, ErrorKind, Phase, Result};

/// The query for what [`Facts`] lack.
const QUERY: &str = include_str!("catalog.sql");

/// The facts about one database that are compared.
#[derive(Debug, Clone)]
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
    pub(super) relations: Vec<InspectedRelation>,
    /// The schemas of the search path that exist, in its order.
    pub(super) search_path: Vec<String>,
    /// Schema and name of each partition, and those of its table.
    pub(super) partitions: BTreeMap<(String, String), (String, String)>,
    /// The role that reads.
    pub(super) role: String,
}

/// `pg_class`: anything that a query can read rows from, but for partitions, sequences, and what
/// belongs to an extension.
#[derive(Debug, Clone)]
pub(super) struct InspectedRelation {
    pub(super) schema: String,
    pub(super) name: String,
    /// `relkind`.
    pub(super) kind: char,
    /// Whether this role may select from it.
    pub(super) readable: bool,
    pub(super) row_security: bool,
    /// Whether row security hides rows from this role.
    pub(super) hides_rows: bool,
    /// The policies that decide which rows are read, each in one line.
    pub(super) policies: Vec<String>,
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

/// One column of a foreign key.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct ForeignKey {
    pub(super) column: String,
    pub(super) schema: String,
    pub(super) table: String,
    pub(super) target: String,
}

/// What [`QUERY`] gives.
#[derive(Deserialize)]
pub(super) struct More {
    role: String,
    settings: BTreeMap<String, Option<String>>,
    extensions: BTreeMap<String, String>,
    relations: Vec<MoreOfRelation>,
}

#[derive(Deserialize)]
struct MoreOfRelation {
    schema: String,
    name: String,
    readable: bool,
    hides_rows: bool,
    policies: Vec<String>,
    estimate: f64,
    foreign_keys: Vec<ForeignKey>,
}

/// Reads the catalog of one shard.
pub(super) async fn read(shards: &Shards, shard: usize) -> Result<(Identity, Facts, More)> {
    // A session of its own: it leaves the search path changed.
    let mut session = shards.open(shard).await?;
    let identity = identity::read(&mut session).await?;
    let facts = crate::catalog::read(&mut session).await?;
    let answer = session.query(QUERY).await?;
    session.finish().await;
    let more = serde_json::from_str(first(&answer)).map_err(|error| {
        Error::new(
            ErrorKind::Decode,
            "the catalog did not have the expected form",
        )
        .with_phase(Phase::Stream)
        .with_shard(shards.name(shard))
        .with_source(error)
    })?;
    Ok((identity, facts, more))
}

/// The facts that are compared.
pub(super) fn join(facts: Facts, more: More) -> Catalog {
    let partitions = facts.relations.iter().filter_map(|relation| {
        let name = (relation.schema.clone(), relation.name.clone());
        Some((name, relation.parent.clone()?))
    });
    let partitions = partitions.collect();
    let mut relations: BTreeMap<(String, String), _> = facts
        .relations
        .into_iter()
        .map(|relation| {
            let name = (relation.schema.clone(), relation.name.clone());
            (name, relation)
        })
        .collect();
    // The second query has those that are inspected.
    let relations = more.relations.into_iter().filter_map(|more| {
        let MoreOfRelation {
            schema,
            name,
            readable,
            hides_rows,
            policies,
            estimate,
            foreign_keys,
        } = more;
        let facts = relations.remove(&(schema, name))?;
        Some(InspectedRelation {
            schema: facts.schema,
            name: facts.name,
            kind: facts.kind,
            readable,
            row_security: facts.row_security,
            hides_rows,
            policies,
            estimate,
            definition: facts.definition,
            columns: facts.columns,
            has_primary_key: facts.keys.iter().any(|key| key.is_primary),
            keys: facts.keys.into_iter().map(|key| key.columns).collect(),
            foreign_keys,
        })
    });
    Catalog {
        relations: relations.collect(),
        partitions,
        role: more.role,
        version: facts.version,
        database: facts.database,
        settings: more.settings,
        extensions: more.extensions,
        collations: only(facts.collations, |collation| collation.is_used),
        // A multirange type comes with its range type.
        types: only(facts.types, |data_type| data_type.kind != 'm'),
        // It is everywhere.
        search_path: facts
            .search_path
            .into_iter()
            .filter(|schema| schema != "pg_catalog")
            .collect(),
    }
}

fn only<T>(mut things: BTreeMap<String, T>, keep: impl Fn(&T) -> bool) -> BTreeMap<String, T> {
    things.retain(|_, thing| keep(thing));
    things
}

/// The only value of an answer; empty where there is none.
fn first(rows: &[Vec<Option<String>>]) -> &str {
    rows.first()
        .and_then(|row| row.first())
        .and_then(Option::as_deref)
        .unwrap_or_default()
}
