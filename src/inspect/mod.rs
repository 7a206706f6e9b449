//! Finds out how tables are spread over shards, and where the shards differ.
//!
//! ```text
//! catalog ── one document per shard: tables, types, collations, settings
//! compare ── what all have in common, and what not
//! contents ─ equal rows everywhere: replicated; others: sharded
//! meet ───── what all shards have, as sorted hashes, a block at a time
//! keys ───── by which column, and with which other tables
//! rule ───── which remainder of the key is on which shard
//! judge ──── all of this put together, table by table
//! report ─── text for people, and a topology
//! ```
//! What is declared already, in the cluster's topology or with
//! [`with_shard_key`](Inspector::with_shard_key), is checked; what is not declared is guessed from
//! the data. Samples refute a guess; a topology has it only when all rows bear it out.
//!
//! ```no_run
//! use merganser::inspect::Inspector;
//! use merganser::{Cluster, Topology};
//!
//! # async fn example() -> merganser::Result<()> {
//! let shards = Topology::from_urls(["postgresql://app@db0/sales", "postgresql://app@db1/sales"])?;
//! let report = Inspector::new(Cluster::new(shards)?).with_verify(true).run().await?;
//! eprintln!("{report}");
//! println!("{}", report.topology()?.to_toml());
//! # Ok(())
//! # }
//! ```

mod catalog;
mod compare;
mod contents;
mod drift;
mod judge;
mod keys;
mod meet;
mod merged;
mod report;
mod rule;
mod shards;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use drift::{Drift, DriftKind, RelationKind};
pub use report::{Origin, Report, Rows, TableReport};

use crate::catalog::identity;
use crate::cluster::Cluster;
use crate::config::{Table, TableKind, Topology};
use crate::error::{Error, ErrorKind, Result};
use catalog::Catalog;
use contents::Reading;
use judge::{Declared, Judge};
use merged::Merged;
use shards::{Shards, Watcher};

/// Above this number of rows tables are sampled, unless told otherwise.
const DEFAULT_SAMPLE_ABOVE: u64 = 1_000_000;

/// Compares the databases of a cluster. Nothing runs until [`run`](Self::run).
#[derive(Debug, Clone)]
#[must_use = "nothing is read before `run` is awaited"]
pub struct Inspector {
    cluster: Cluster,
    shard_keys: Vec<(String, String)>,
    verify: bool,
    sample_above: u64,
    watcher: Watcher,
}

impl Inspector {
    /// An inspection of these shards.
    pub fn new(cluster: Cluster) -> Self {
        Self {
            cluster,
            shard_keys: Vec::new(),
            verify: false,
            sample_above: DEFAULT_SAMPLE_ABOVE,
            watcher: Watcher::default(),
        }
    }

    /// Says that a table is sharded by a column; both are read as SQL does, and the table may have
    /// a schema. Comes before what the cluster's topology says of the table.
    pub fn with_shard_key(mut self, table: &str, column: &str) -> Self {
        self.shard_keys.push((table.to_owned(), column.to_owned()));
        self
    }

    /// Reads all rows and compares all keys of every table, where otherwise samples have to do for
    /// large ones. [`Report::topology`] leaves guesses out that were not checked so.
    pub fn with_verify(mut self, verify: bool) -> Self {
        self.verify = verify;
        self
    }

    /// Samples tables that have more rows than this, on any shard and by the server's estimate;
    /// 1,000,000 by default. Has no effect together with verification.
    pub fn with_sample_above(mut self, rows: u64) -> Self {
        self.sample_above = rows;
        self
    }

    /// Tells what is being read, in a line each time; from the task that awaits [`run`](Self::run).
    pub fn with_watcher(mut self, watcher: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.watcher = Watcher(Some(Arc::new(watcher)));
        self
    }

    /// Reads and compares everything.
    ///
    /// Every shard is read in a read-only transaction with the pinned settings. Row counts and sums
    /// of hashes come here, and so do up to 1,000 keys of every table and shard, which the other
    /// shards are then asked for. Of tables whose rows are all looked at, sorted hashes of all keys
    /// come here; the servers sort them. A table that may not be read is reported as such.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when two shards are one database, or when
    /// [`with_shard_key`](Self::with_shard_key) names a table or column that is not there; what
    /// connecting to a shard or reading its catalog fails with.
    ///
    /// # Cancel safety
    /// Dropping the future cancels what runs on the shards.
    ///
    /// # Memory
    /// All catalogs, up to 20,000 sampled keys, and 20,000 hashes of each shard at a time.
    pub async fn run(self) -> Result<Report> {
        let given = self.cluster.topology().clone();
        let wanted = self.wanted_keys(&given)?;
        let shards = Shards::new(self.cluster.clone(), self.watcher.clone());
        shards.tell(|| "reading the catalogs".to_owned());
        let names = shards.names();
        let catalogs = shards.each(catalog::read).await?;
        let identities = catalogs.iter().map(|it| &it.details.identity);
        identity::check(&names, &identities.collect::<Vec<_>>())?;
        let tables = merged::merge(&catalogs);
        let mut drift = compare::drift(&names, &catalogs);
        let declared = declared(&given, &wanted, &tables, &catalogs, &mut drift)?;
        let reading = Reading {
            sample_above: self.sample_above,
            verify: self.verify,
            transcode: differ(
                catalogs
                    .iter()
                    .map(|catalog| &catalog.facts.database.encoding),
            ),
        };
        let role = catalogs.first().map(|catalog| catalog.facts.role.0.clone());
        let role = role.unwrap_or_default();
        let judge = Judge::new(&shards, role, reading, &tables, declared);
        let mut findings = judge.run().await?;
        shards.finish().await;
        drift.append(&mut findings.drift);
        qualify(&mut findings.reports, &given, &catalogs);
        Ok(Report {
            given,
            tables: findings.reports,
            drift,
            warnings: findings.warnings,
        })
    }

    /// The tables and keys that were given, as a topology reads them.
    fn wanted_keys(&self, given: &Topology) -> Result<Topology> {
        let tables = self
            .shard_keys
            .iter()
            .map(|(table, column)| (table.clone(), TableKind::sharded(column)));
        given.clone().with_tables(tables)
    }
}

/// What was declared of which table, by its place in `tables`. Declared tables that are nowhere
/// are drift.
fn declared(
    given: &Topology,
    wanted: &Topology,
    tables: &[Merged],
    catalogs: &[Catalog],
    drift: &mut Vec<Drift>,
) -> Result<BTreeMap<usize, Declared>> {
    let mut declared = BTreeMap::new();
    for table in given.tables() {
        match find(table.schema(), table.name(), tables, catalogs) {
            Some(place) => {
                let kind = table.kind().clone();
                declared.insert(
                    place,
                    Declared {
                        kind,
                        is_new: false,
                        replaced: None,
                    },
                );
            }
            None => {
                let name = match table.schema() {
                    Some(schema) => format!("{schema}.{}", table.name()),
                    None => table.name().to_owned(),
                };
                let message = match partitioned(table, catalogs) {
                    Some((schema, parent)) => format!(
                        "the topology names it, but it is a partition of {schema}.{parent}: declare \
                         that table"
                    ),
                    None => "the topology names it, but no shard has it".to_owned(),
                };
                drift.push(Drift::new(DriftKind::MissingTable, Some(&name), message));
            }
        }
    }
    for table in wanted.tables() {
        let TableKind::Sharded { key, .. } = table.kind() else {
            continue;
        };
        let place = find(table.schema(), table.name(), tables, catalogs);
        let known = place.and_then(|place| Some((place, tables.get(place)?)));
        let Some((place, merged)) = known else {
            let error = invalid(format!(
                "shard key: no shard has a table {:?}",
                table.name()
            ));
            // The right name in a schema that has to be said.
            let same = tables.iter().find(|other| other.name == table.name());
            return Err(match same {
                Some(same) => error.with_hint(format!("did you mean {}?", same.label())),
                None => {
                    let names = tables.iter().map(|table| table.name.as_str());
                    suggest(error, table.name(), names)
                }
            });
        };
        if merged.kind == RelationKind::View {
            return Err(invalid(format!(
                "shard key: {:?} is a view; give the keys of the tables that it reads",
                merged.label()
            )));
        }
        if merged.column(key).is_none() {
            let columns = merged.columns.iter().map(|column| column.name.as_str());
            let error = invalid(format!(
                "shard key: table {:?} has no column {key:?} on all shards",
                merged.label()
            ));
            return Err(suggest(error, key, columns));
        }
        // The rest of a declaration stays when it names the same key.
        let same = declared.get(&place).filter(|declared| {
            matches!(&declared.kind, TableKind::Sharded { key: other, .. } if other == key)
        });
        if same.is_none() {
            let kind = table.kind().clone();
            let replaced = declared.remove(&place).map(|declared| declared.kind);
            let new = Declared {
                kind,
                is_new: true,
                replaced,
            };
            declared.insert(place, new);
        }
    }
    Ok(declared)
}

/// The place of the table that a name means: without a schema, by the search paths of the shards.
fn find(
    schema: Option<&str>,
    name: &str,
    tables: &[Merged],
    catalogs: &[Catalog],
) -> Option<usize> {
    let position = |schema: &str| {
        tables
            .iter()
            .position(|table| table.schema == schema && table.name == name)
    };
    match schema {
        Some(schema) => position(schema),
        None => {
            let mut path = catalogs.iter().flat_map(Catalog::search_path);
            path.find_map(position)
        }
    }
}

/// The table of which a declared one is a partition.
fn partitioned<'a>(table: &Table, catalogs: &'a [Catalog]) -> Option<&'a (String, String)> {
    catalogs.iter().find_map(|catalog| match table.schema() {
        Some(schema) => catalog.parent(schema, table.name()),
        None => catalog
            .search_path()
            .find_map(|schema| catalog.parent(schema, table.name())),
    })
}

/// Gives names a schema where they need it: where the search path of a shard does not lead to the
/// table, where another table has the same name, or where the topology did.
fn qualify(reports: &mut [TableReport], given: &Topology, catalogs: &[Catalog]) {
    let mut seen: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for report in reports.iter() {
        let schemas = seen.entry(report.name.clone()).or_default();
        schemas.insert(report.schema.clone());
    }
    for report in reports.iter_mut() {
        let is_alone = seen
            .get(&report.name)
            .is_some_and(|schemas| schemas.len() == 1);
        let is_visible = catalogs
            .iter()
            .all(|catalog| catalog.search_path().any(|schema| schema == report.schema));
        let was_qualified = given.tables().iter().any(|table| {
            table.name() == report.name && table.schema() == Some(report.schema.as_str())
        });
        report.is_qualified = !is_alone || !is_visible || was_qualified;
    }
}

fn suggest<'a>(error: Error, name: &str, others: impl Iterator<Item = &'a str>) -> Error {
    let nearest = others
        .map(|other| (strsim::damerau_levenshtein(other, name), other))
        .min();
    match nearest {
        Some((distance, other)) if distance <= 3 => {
            error.with_hint(format!("did you mean {other}?"))
        }
        _ => error,
    }
}

fn differ<T: PartialEq>(values: impl Iterator<Item = T>) -> bool {
    let values: Vec<T> = values.collect();
    values.windows(2).any(|pair| pair[0] != pair[1])
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Config, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::facts::fixture::{column, relation};
    use catalog::fixture::catalog;

    #[test]
    fn names_without_a_schema_follow_the_search_path() {
        let mut other = relation("t", &[]);
        other.schema = "app".to_owned();
        let mut here = catalog(&[relation("t", &[]), other]);
        here.facts.search_path = vec!["public".to_owned(), "app".to_owned()];
        let tables = merged::merge(std::slice::from_ref(&here));
        let place = |schema, name| {
            find(schema, name, &tables, std::slice::from_ref(&here))
                .map(|place| tables[place].label())
        };
        assert_eq!(place(None, "t").as_deref(), Some("public.t"));
        assert_eq!(place(Some("app"), "t").as_deref(), Some("app.t"));
        assert_eq!(place(None, "u"), None);
    }

    #[test]
    fn wrong_tables_and_columns_are_refused_with_the_nearest_name() {
        let here = catalog(&[relation("orders", &[column("o_orderkey", "bigint")])]);
        let tables = merged::merge(std::slice::from_ref(&here));
        let given = Topology::from_urls(["postgresql://app@db0/x"]).unwrap();
        let with = |table: &str, key: &str| {
            let wanted = given
                .clone()
                .with_tables([(table.to_owned(), TableKind::sharded(key))])
                .unwrap();
            declared(
                &given,
                &wanted,
                &tables,
                std::slice::from_ref(&here),
                &mut Vec::new(),
            )
        };
        let error = with("order", "k").unwrap_err();
        assert_eq!(error.message(), "shard key: no shard has a table \"order\"");
        assert_eq!(error.hint(), Some("did you mean orders?"));
        let error = with("orders", "orderkey").unwrap_err();
        assert_eq!(
            error.message(),
            "shard key: table \"public.orders\" has no column \"orderkey\" on all shards"
        );
        assert_eq!(error.hint(), Some("did you mean o_orderkey?"));
        assert_eq!(with("Orders", "O_ORDERKEY").unwrap().len(), 1);
    }
}
