//! Tables whose columns are not the same on all shards, as while a migration goes from one to the next: a
//! statement is refused if it sees the difference, and only then.
//!
//! *Exact because* a statement that is answered means the same by the columns of any shard: a table has the
//! columns of all shards here, and a name that one which differs has in any of the scopes where the name
//! is looked up is refused, though it may be found elsewhere on this shard or that. So is what depends on
//! all columns or on their order: `*`, whole rows, lists of columns behind an alias. What is neither is of
//! columns that every shard has alike.

use std::collections::HashMap;
use std::rc::Rc;

use datafusion::sql::sqlparser::ast::Ident;

use super::Binder;
use super::scope::Visible;
use crate::catalog::{Relation, RelationKind};
use crate::config::{Table, TableKind};
use crate::error::{Error, Result};
use crate::plan::naming::folded;
use crate::plan::refused;

/// How the shards differ on the columns of a table.
#[derive(Debug)]
pub(super) struct Drift {
    /// On all of them, or on their order.
    row: String,
    /// By the name that a column has in the statement.
    columns: HashMap<String, String>,
}

impl Drift {
    /// How the shards differ on the columns of a table whose alias gives its columns these names; `None`
    /// where they do not.
    ///
    /// # Errors
    /// The alias counts columns that are not in the same places everywhere.
    pub(super) fn of(found: &Relation, renamed: &[Ident]) -> Result<Option<Rc<Self>>> {
        let Some(row) = found.row_difference() else {
            return Ok(None);
        };
        if let Some(difference) = &found.list_difference
            && !renamed.is_empty()
        {
            return Err(sees(&found.name, difference));
        }
        let columns = found.columns.iter().enumerate();
        let columns = columns.filter_map(|(index, column)| {
            let name = renamed.get(index).map(folded);
            let name = name.unwrap_or_else(|| column.name.clone());
            Some((name, column.difference.clone()?))
        });
        Ok(Some(Rc::new(Self {
            row: row.to_owned(),
            columns: columns.collect(),
        })))
    }
}

impl Visible {
    /// Refuses what takes all columns, or counts them.
    pub(super) fn check_row(&self) -> Result<()> {
        match &self.drift {
            Some(drift) => Err(sees(&self.name, &drift.row)),
            None => Ok(()),
        }
    }

    /// Refuses the name of a column that differs, whatever has that name too.
    pub(super) fn check_column(&self, name: &str) -> Result<()> {
        let drift = self.drift.as_ref();
        match drift.and_then(|drift| drift.columns.get(name)) {
            Some(difference) => Err(refused(
                format!("the column {name:?}: {difference}"),
                "make the table the same on all shards, or name other columns; where another table's \
                 column is meant, write that table before it; `merganser inspect` lists all differences",
            )),
            None => Ok(()),
        }
    }
}

impl Binder<'_> {
    /// Refuses a view that stays a view on the shards where it makes values of whole rows that differ.
    pub(super) fn check_rows_of_view(&self, view: &Relation) -> Result<()> {
        let RelationKind::View { definition } = &view.kind else {
            return Ok(());
        };
        let access = self.catalog.conditions().access(&view.schema, &view.name);
        for read in access.into_iter().flat_map(|access| &access.reads) {
            let Some(found) = self.catalog.relation(Some(&read.schema), &read.name) else {
                continue;
            };
            match found.any_difference() {
                // A stored query has every column by its name, and a row as `t.*`.
                Some(difference) if definition.contains(".*") => {
                    return Err(differs(&view.name, difference));
                }
                _ => self.check_rows_of_view(found)?,
            }
        }
        Ok(())
    }
}

/// Refuses a table by whose key rows would be looked for where that key differs.
pub(super) fn check_shard_key(found: &Relation, table: &Table) -> Result<()> {
    let TableKind::Sharded { key, .. } = table.kind() else {
        return Ok(());
    };
    let column = found.column(key);
    match column.and_then(|column| column.difference.as_ref()) {
        Some(difference) => Err(differs(&found.name, difference)),
        None => Ok(()),
    }
}

/// A statement that depends on all columns of a table.
fn sees(name: &str, difference: &str) -> Error {
    refused(
        format!("{name:?}: {difference}"),
        "name the columns that all shards have instead of taking all of them, or make the table the same \
         on all shards; `merganser inspect` lists all differences",
    )
}

/// A table that no statement may name.
pub(super) fn differs(name: &str, difference: &str) -> Error {
    refused(
        format!("{name:?}: {difference}"),
        "make the table the same on all shards; `merganser inspect` lists all differences",
    )
}
