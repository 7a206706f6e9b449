//! Relations of the catalog: tables of the topology, and views as the queries that they stand for.

use datafusion::sql::sqlparser::ast::{Ident, Query, TableAliasColumnDef, TableFactor};

use super::Binder;
use super::drift::{self, Drift};
use super::qualify::qualify;
use crate::catalog::{self, ColumnFacts, RelationKind};
use crate::config::{Table, TableKind};
use crate::error::Result;
use crate::plan::build::FAN_OUT_HINT;
use crate::plan::facts::types;
use crate::plan::from_item::{Base, Declared, FromColumn, Sharding, Source};
use crate::plan::naming::{folded, ident, table_alias};
use crate::plan::{calls, refused, sql};

/// The most views and common table expressions that are put in place, over all.
const EXPANSIONS: usize = 1000;

impl Binder<'_> {
    pub(super) fn table(
        &mut self,
        schema: Option<&str>,
        name: &str,
        factor: &mut TableFactor,
        called: &str,
    ) -> Result<()> {
        let TableFactor::Table { alias, .. } = factor else {
            return Ok(());
        };
        let Some(found) = self.catalog.relation(schema, name) else {
            return Err(refused(
                format!("the table {name:?}, which is not in the catalog as it was read"),
                "a table made after the first query is seen after `Cluster::refresh`",
            ));
        };
        if let Some(difference) = &found.difference {
            return Err(drift::differs(name, difference));
        }
        let renamed: Vec<Ident> = alias
            .iter()
            .flat_map(|alias| alias.columns.iter().map(|c| c.name.clone()))
            .collect();
        let declared = self.declared_or_parent(found, schema);
        if declared.is_none() {
            if let RelationKind::View { definition } = &found.kind {
                self.check_rights(found)?;
                let definition = definition.clone();
                let whole = format!("{}.{}", found.schema, found.name);
                return self.view(&whole, &definition, factor, called, &renamed);
            }
            let whole = format!("{}.{}", found.schema, found.name);
            if ["pg_catalog", "information_schema"].contains(&&*found.schema) {
                return Err(refused(
                    format!("{whole}: each shard has its own catalog"),
                    "read it in a statement without tables: the first shard answers with \
                     --system-catalogs (Query::with_system_catalogs), each shard with --fan-out",
                ));
            }
            return Err(refused(
                format!(
                    "the topology does not say how the table {whole} is spread over the shards"
                ),
                "add it to the topology as sharded or replicated; `merganser inspect` writes such a file",
            ));
        }
        if let Some(table) = declared {
            self.check_declared(found, table)?;
            drift::check_shard_key(found, table)?;
            self.check_rows_of_view(found)?;
            self.check_row_security(found)?;
        }
        let base = declared.map(|table| self.base(found, table, &renamed));
        let columns: Vec<_> = found
            .columns
            .iter()
            .enumerate()
            .map(|(index, column)| FromColumn {
                name: renamed
                    .get(index)
                    .map_or_else(|| column.name.clone(), folded),
                type_name: Some(column.type_name.clone()),
                declared: Some(Declared {
                    base: Some(&column.base_type)
                        .filter(|base| base.schema == "pg_catalog")
                        .map(|base| base.name.clone()),
                    is_plain: column.domain.is_none() && column.type_modifier < 0,
                }),
                collation: column.collation.clone().filter(|c| c.sql.is_some()),
            })
            .collect();
        let Some(base) = base else { return Ok(()) };
        let drift = Drift::of(found, &renamed)?;
        let schema = found.schema.clone();
        let unique = self.add(called, Some(schema), Some(columns), Source::Table(base));
        if let Some(visible) = self.scope().relations.last_mut() {
            visible.drift = drift;
        }
        if !renamed.is_empty() {
            self.renamed.insert(unique.clone());
        }
        if unique != name || alias.is_some() {
            let mut with_columns = alias.clone().unwrap_or_else(|| table_alias(&unique));
            with_columns.name = ident(&unique);
            *alias = Some(with_columns);
        }
        Ok(())
    }

    fn base(&self, found: &catalog::Relation, table: &Table, renamed: &[Ident]) -> Base {
        let sharding = match table.kind() {
            TableKind::Replicated => None,
            TableKind::Sharded {
                key,
                colocation,
                shard_index,
            } => {
                let index = found.columns.iter().position(|column| column.name == *key);
                let column = index.and_then(|index| found.columns.get(index));
                let key_type = column.map_or_else(String::new, |c| c.type_name.clone());
                // A name that no group can have: tables of no group are their own.
                let group = colocation
                    .clone()
                    .unwrap_or_else(|| format!("\0{}.{}", found.schema, found.name));
                Some(Sharding {
                    // That equal keys are together is said of keys that one `=` compares: a date and the
                    // timestamp of its midnight are spread by texts, or hashes, of their own.
                    group: format!("{group}\0{}", types::equality(&key_type)),
                    key: index
                        .and_then(|index| renamed.get(index))
                        .map_or_else(|| key.clone(), folded),
                    key_column: key.clone(),
                    key_type,
                    key_collation: column
                        .and_then(|c| c.collation.as_ref())
                        .and_then(|collation| collation.sql.clone()),
                    key_not_null: column.is_some_and(|c| c.not_null),
                    key_is_exact: column.is_some_and(is_exact),
                    shard_index: shard_index.clone(),
                })
            }
        };
        Base {
            name: (found.schema.clone(), found.name.clone()),
            sharding,
        }
    }

    /// What the topology says of a table, or of the table that it is a partition of: its rows are
    /// rows of that table.
    fn declared_or_parent(
        &self,
        found: &catalog::Relation,
        written: Option<&str>,
    ) -> Option<&Table> {
        if let Some(table) = self.declared(&found.schema, &found.name, written) {
            return Some(table);
        }
        let mut parent = found.parent.as_ref();
        while let Some((schema, name)) = parent {
            if let Some(table) = self.declaration(schema, name) {
                return Some(table);
            }
            parent = self.catalog.relation(Some(schema), name)?.parent.as_ref();
        }
        None
    }

    /// What the topology says of a table.
    pub(super) fn declared(
        &self,
        schema: &str,
        name: &str,
        written: Option<&str>,
    ) -> Option<&Table> {
        let mut found = self.topology.tables().iter().filter(|table| {
            table.name() == name
                && match table.schema() {
                    Some(declared) => declared == schema,
                    // Left to the search path: it is the one that a bare name finds.
                    None => {
                        written.is_none()
                            || self
                                .catalog
                                .relation(None, name)
                                .is_some_and(|found| found.schema == schema)
                    }
                }
        });
        found.next()
    }

    /// A view, as the query that it stands for.
    fn view(
        &mut self,
        whole: &str,
        definition: &str,
        factor: &mut TableFactor,
        called: &str,
        renamed: &[Ident],
    ) -> Result<()> {
        self.count_expansion()?;
        if self.views.iter().any(|view| view == whole) {
            return Err(refused(
                format!("the view {whole} holds itself"),
                FAN_OUT_HINT,
            ));
        }
        let text = definition.trim().trim_end_matches(';');
        let mut query = sql::parse(text)
            .map_err(|error| error.with_context(&format!("the definition of the view {whole}")))?;
        sql::prints_faithfully(text, &query)
            .map_err(|reason| refused(format!("the view {whole}: {reason}"), FAN_OUT_HINT))?;
        qualify(&mut query, self.catalog);
        self.views.push(whole.to_owned());
        let ctes = std::mem::take(&mut self.ctes);
        let scopes = std::mem::take(&mut self.scopes);
        let output = self.query(&mut query);
        self.scopes = scopes;
        self.ctes = ctes;
        self.views.pop();
        // A view's columns have names of their own where the definition's differ.
        let names: Vec<Ident> = self
            .view_columns(whole)
            .iter()
            .enumerate()
            .map(|(index, name)| renamed.get(index).cloned().unwrap_or_else(|| ident(name)))
            .collect();
        let output = Self::renamed(output?, &names);
        // It is checked with the whole statement too, where nobody would know which view it was.
        calls::check(
            &query,
            Some(whole),
            &self.relations,
            self.topology,
            self.catalog,
        )?;
        let schema = whole.split_once('.').map(|(schema, _)| schema.to_owned());
        let unique = self.add(called, schema, output, Source::Derived);
        if !renamed.is_empty() {
            self.renamed.insert(unique.clone());
        }
        *factor = derived(query, &unique, names);
        Ok(())
    }

    fn view_columns(&self, whole: &str) -> Vec<String> {
        let (schema, name) = whole.split_once('.').unwrap_or(("", whole));
        self.catalog
            .relation(Some(schema), name)
            .map(|found| found.columns.iter().map(|c| c.name.clone()).collect())
            .unwrap_or_default()
    }

    pub(super) fn count_expansion(&mut self) -> Result<()> {
        self.expanded += 1;
        match self.expanded > EXPANSIONS {
            true => Err(refused(
                format!("more than {EXPANSIONS} uses of views and common table expressions"),
                "split the query",
            )),
            false => Ok(()),
        }
    }
}

pub(super) fn derived(query: Query, alias: &str, columns: Vec<Ident>) -> TableFactor {
    let mut alias = table_alias(alias);
    alias.columns = columns
        .into_iter()
        .map(|name| TableAliasColumnDef {
            name,
            data_type: None,
        })
        .collect();
    TableFactor::Derived {
        lateral: false,
        subquery: Box::new(query),
        alias: Some(alias),
        sample: None,
    }
}

/// Whether values of the column's type that `=` calls equal are one and the same. What a domain
/// declares of its base type is not known.
fn is_exact(column: &ColumnFacts) -> bool {
    let base = &column.base_type;
    let collation = column.collation.as_ref();
    let is_deterministic = collation.is_none_or(|collation| collation.deterministic);
    let mut names = [&column.type_name, &base.name].into_iter();
    base.kind == 'e'
        || base.schema == "pg_catalog"
            && names.any(|name| types::is_identified(name, is_deterministic))
}
