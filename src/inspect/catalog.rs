//! The catalog of one database, as the inspection reads it.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::shards::Shards;
use crate::catalog::facts::{Facts, ShardRelation};
use crate::catalog::identity::{self, Identity};
use crate::error::Result;

/// The query for [`Details`], but for the identity.
const QUERY: &str = include_str!("catalog.sql");

/// What one database has.
#[derive(Debug, Clone)]
pub(super) struct Catalog {
    pub(super) facts: Facts,
    pub(super) details: Details,
}

/// What only the inspection asks.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Details {
    pub(super) identity: Identity,
    /// Settings that queries do not pin.
    pub(super) settings: BTreeMap<String, Option<String>>,
    /// Name to version.
    pub(super) extensions: BTreeMap<String, String>,
    /// By schema and name: anything that a query can read rows from, but for partitions, sequences,
    /// and what belongs to an extension.
    pub(super) relations: BTreeMap<String, BTreeMap<String, RelationDetails>>,
}

/// What only the inspection asks of a relation.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct RelationDetails {
    /// Whether this role may select from it.
    pub(super) readable: bool,
    /// Whether row security hides rows from this role.
    pub(super) hides_rows: bool,
    /// The policies that decide which rows are read, each in one line.
    pub(super) policies: Vec<String>,
    /// About how many rows it has.
    pub(super) estimate: f64,
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

/// A relation of one shard.
#[derive(Debug, Clone, Copy)]
pub(super) struct InspectedRelation<'a> {
    pub(super) facts: &'a ShardRelation,
    pub(super) details: &'a RelationDetails,
}

impl Catalog {
    /// The relations that are inspected.
    pub(super) fn relations(&self) -> impl Iterator<Item = InspectedRelation<'_>> {
        self.facts.relations.iter().filter_map(|facts| {
            let details = self
                .details
                .relations
                .get(&facts.schema)?
                .get(&facts.name)?;
            Some(InspectedRelation { facts, details })
        })
    }

    /// The schemas of the search path that exist, in its order; but for `pg_catalog`, which is
    /// everywhere.
    pub(super) fn search_path(&self) -> impl Iterator<Item = &str> {
        let schemas = self.facts.search_path.iter().map(String::as_str);
        schemas.filter(|schema| *schema != "pg_catalog")
    }

    /// Schema and name of the table of which this is a partition.
    pub(super) fn parent(&self, schema: &str, name: &str) -> Option<&(String, String)> {
        let mut relations = self.facts.relations.iter();
        let partition = relations.find(|it| it.schema == schema && it.name == name)?;
        partition.parent.as_ref()
    }
}

/// Reads the catalog of one shard.
pub(super) async fn read(shards: &Shards, shard: usize) -> Result<Catalog> {
    // A session of its own: it leaves the search path changed.
    let mut session = shards.open(shard).await?;
    let query = QUERY.replace("{identity}", identity::EXPRESSION);
    let (facts, details) = crate::catalog::read(&mut session, &query).await?;
    session.finish().await;
    Ok(Catalog { facts, details })
}

/// Catalogs for tests.
#[cfg(test)]
pub(super) mod fixture {
    use super::*;
    use crate::catalog::facts::fixture::facts;

    /// A database with these relations, of ten rows each.
    pub(in crate::inspect) fn catalog(relations: &[ShardRelation]) -> Catalog {
        let mut details: BTreeMap<String, BTreeMap<String, RelationDetails>> = BTreeMap::new();
        for relation in relations {
            let same = details.entry(relation.schema.clone()).or_default();
            let details = RelationDetails {
                readable: true,
                hides_rows: false,
                policies: Vec::new(),
                estimate: 10.0,
                foreign_keys: Vec::new(),
            };
            same.insert(relation.name.clone(), details);
        }
        Catalog {
            facts: facts(relations),
            details: Details {
                identity: Identity {
                    system: None,
                    database: "5".to_owned(),
                    started: "0".to_owned(),
                    in_recovery: false,
                },
                settings: BTreeMap::new(),
                extensions: BTreeMap::new(),
                relations: details,
            },
        }
    }

    impl Catalog {
        /// The details of a relation in `public`.
        pub(in crate::inspect) fn details_of(&mut self, name: &str) -> &mut RelationDetails {
            let schema = self.details.relations.get_mut("public").unwrap();
            schema.get_mut(name).unwrap()
        }
    }
}
