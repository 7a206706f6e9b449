//! What the topology says of a table, held against the catalog as far as that shows a contradiction.
//!
//! Rows are not read for it: that all copies are equal, and all rows where their keys belong, only
//! `merganser inspect --verify` can tell.

use super::Binder;
use crate::catalog::{ColumnFacts, Relation};
use crate::config::{Table, TableKind};
use crate::error::{Error, Result};
use crate::plan::refused;

const HINT: &str =
    "correct the topology; `merganser inspect` with --verify compares it with all rows";

impl Binder<'_> {
    /// Refuses a table of which the topology says what cannot be.
    ///
    /// # Errors
    /// Names the table, and what contradicts what.
    pub(super) fn check_declared(&self, found: &Relation, table: &Table) -> Result<()> {
        let whole = format!("{}.{}", found.schema, found.name);
        match table.kind() {
            TableKind::Sharded {
                key, colocation, ..
            } => {
                let Some(column) = found.columns.iter().find(|column| column.name == *key) else {
                    return Err(contradiction(
                        &whole,
                        &format!("is sharded by {key}, which is none of its columns"),
                    ));
                };
                if let Some(group) = colocation {
                    self.check_partners(&whole, column, group)?;
                }
            }
            TableKind::Replicated => self.check_replicated(found, &whole)?,
        }
        self.check_partitions(found, table, &whole)
    }

    /// Keys of one group are compared with each other.
    fn check_partners(&self, whole: &str, column: &ColumnFacts, group: &str) -> Result<()> {
        for other in self.topology.tables() {
            let TableKind::Sharded {
                key,
                colocation: Some(colocation),
                ..
            } = other.kind()
            else {
                continue;
            };
            if colocation != group {
                continue;
            }
            let found = self.catalog.relation(other.schema(), other.name());
            let partner = found.and_then(|it| it.columns.iter().find(|it| it.name == *key));
            if let Some(partner) = partner
                && family(partner) != family(column)
            {
                return Err(contradiction(
                    whole,
                    &format!(
                        "is in the colocation group {group} of {}, but their keys are of the types \
                         {} and {}, which are not compared with each other",
                        other.name(),
                        column.type_name,
                        partner.type_name
                    ),
                ));
            }
        }
        Ok(())
    }

    fn check_replicated(&self, found: &Relation, whole: &str) -> Result<()> {
        let conditions = self.catalog.conditions();
        let Some(access) = conditions.access(&found.schema, &found.name) else {
            return Ok(());
        };
        if self.topology.shards().len() < 2 {
            return Ok(());
        }
        if let Some(sizes) = &access.sizes {
            return Err(contradiction(
                whole,
                &format!("is replicated, but the shards do not have the same rows of it: {sizes}"),
            ));
        }
        let sharded = access.references.iter().find(|(schema, name)| {
            let table = self.declaration(schema, name);
            table.is_some_and(|table| matches!(table.kind(), TableKind::Sharded { .. }))
        });
        match sharded {
            Some((schema, name)) if access.has_rows => Err(contradiction(
                whole,
                &format!(
                    "is replicated, but each of its rows refers to one of {schema}.{name} in the \
                     same database, and that table is sharded"
                ),
            )),
            _ => Ok(()),
        }
    }

    /// A partition holds rows of its table.
    fn check_partitions(&self, found: &Relation, table: &Table, whole: &str) -> Result<()> {
        let parent = found.parent.as_ref();
        let parent = parent.and_then(|(schema, name)| self.declaration(schema, name));
        let is_part = |other: &&Table| {
            let part = self.catalog.relation(other.schema(), other.name());
            let parent = part.and_then(|it| it.parent.as_ref());
            parent.is_some_and(|(schema, name)| *schema == found.schema && *name == found.name)
        };
        let parts = self.topology.tables().iter().filter(is_part);
        let other = parent
            .into_iter()
            .chain(parts)
            .find(|other| !is_alike(other, table));
        match other {
            Some(other) => Err(contradiction(
                whole,
                &format!(
                    "and {}, one of which is a partition of the other, are not spread in the same way",
                    other.name()
                ),
            )),
            None => Ok(()),
        }
    }

    /// What the topology says of the table with this schema.
    pub(super) fn declaration(&self, schema: &str, name: &str) -> Option<&Table> {
        self.declared(schema, name, Some(schema))
            .or_else(|| self.declared(schema, name, None))
    }
}

fn is_alike(one: &Table, other: &Table) -> bool {
    match (one.kind(), other.kind()) {
        (TableKind::Replicated, TableKind::Replicated) => true,
        (TableKind::Sharded { key: one, .. }, TableKind::Sharded { key: other, .. }) => {
            one == other
        }
        _ => false,
    }
}

/// Types whose values PostgreSQL compares with each other.
fn family(column: &ColumnFacts) -> (&str, &str) {
    let base = &column.base_type;
    match (&*base.schema, &*base.name) {
        ("pg_catalog", "int2" | "int4" | "int8" | "numeric" | "float4" | "float8" | "oid") => {
            ("pg_catalog", "number")
        }
        ("pg_catalog", "text" | "varchar" | "bpchar" | "name") => ("pg_catalog", "text"),
        ("pg_catalog", "date" | "timestamp" | "timestamptz") => ("pg_catalog", "timestamp"),
        (schema, name) => (schema, name),
    }
}

fn contradiction(whole: &str, what: &str) -> Error {
    refused(
        format!("the topology says what cannot be: {whole} {what}"),
        HINT,
    )
}
