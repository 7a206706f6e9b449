//! The tables that planned queries can name, as the shards have them.

use crate::catalog::{Relation, RelationKind};
use crate::cluster::Cluster;
use crate::config::TableKind;
use crate::error::{Error, ErrorKind, Result};

/// A table of the topology, or a view, as all shards have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableInfo {
    schema: String,
    name: String,
    kind: Option<TableKind>,
    columns: Vec<TableColumn>,
    difference: Option<String>,
}

impl TableInfo {
    /// The schema, as the catalog has it: without quotes.
    pub fn schema(&self) -> &str {
        &self.schema
    }

    /// The name, as the catalog has it: without schema and quotes.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How the rows are spread over the shards; `None` for a view, whose tables tell.
    pub fn kind(&self) -> Option<&TableKind> {
        self.kind.as_ref()
    }

    /// The columns in their order, without system columns; also those that some shards lack, which
    /// have a [difference](TableColumn::difference).
    pub fn columns(&self) -> &[TableColumn] {
        &self.columns
    }

    /// How the shards differ on it, as a sentence. A query that takes all of its columns is refused
    /// with this; one that names it at all, unless that is a difference of
    /// [columns](TableColumn::difference) or of their order.
    pub fn difference(&self) -> Option<&str> {
        self.difference.as_deref()
    }

    fn new(relation: &Relation, kind: Option<TableKind>) -> Self {
        let columns = relation.columns.iter().map(|column| TableColumn {
            name: column.name.clone(),
            type_name: column.type_name.clone(),
            is_nullable: !column.not_null,
            difference: column.difference.clone(),
        });
        Self {
            schema: relation.schema.clone(),
            name: relation.name.clone(),
            kind,
            columns: columns.collect(),
            difference: relation.any_difference().map(str::to_owned),
        }
    }
}

/// A column of a [`TableInfo`].
///
/// Its Arrow type is that of a query of it: `cluster.query("SELECT * FROM t").describe()`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableColumn {
    name: String,
    type_name: String,
    is_nullable: bool,
    difference: Option<String>,
}

impl TableColumn {
    /// The name, as the catalog has it: without quotes.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The type with its modifiers, as SQL writes it: `numeric(15,2)`. Types outside `pg_catalog`
    /// have their schema.
    pub fn type_name(&self) -> &str {
        &self.type_name
    }

    /// Whether any shard allows NULL in it.
    pub fn is_nullable(&self) -> bool {
        self.is_nullable
    }

    /// How the shards differ on it, as a sentence; a query that names it, or may mean it by a name, is
    /// refused with this. Name and type are those of the first shard that has it.
    pub fn difference(&self) -> Option<&str> {
        self.difference.as_deref()
    }
}

impl Cluster {
    /// The tables of the topology and the views of the databases, by schema and name: what planned
    /// queries can name.
    ///
    /// The catalogs of all shards are read when first asked for, and again after
    /// [`refresh`](Self::refresh).
    ///
    /// # Errors
    /// What connecting to a shard or reading its catalog fails with; [`ErrorKind::Config`] for a
    /// table of the topology that the databases do not have.
    pub async fn tables(&self) -> Result<Vec<TableInfo>> {
        let catalog = self.catalog(self.pools().opening()).await?;
        let mut tables = Vec::new();
        for table in self.topology().tables() {
            let found = catalog.relation(table.schema(), table.name());
            let relation = found.ok_or_else(|| missing(table.schema(), table.name()))?;
            tables.push(TableInfo::new(relation, Some(table.kind().clone())));
        }
        let views = catalog.relations().filter(|relation| {
            matches!(relation.kind, RelationKind::View { .. })
                && !tables
                    .iter()
                    .any(|table| (&table.schema, &table.name) == (&relation.schema, &relation.name))
        });
        let views: Vec<_> = views.map(|view| TableInfo::new(view, None)).collect();
        tables.extend(views);
        tables.sort_by(|a, b| (&a.schema, &a.name).cmp(&(&b.schema, &b.name)));
        Ok(tables)
    }
}

fn missing(schema: Option<&str>, name: &str) -> Error {
    let place = match schema {
        Some(schema) => format!("in schema {schema:?}"),
        None => "on the search path".to_owned(),
    };
    Error::new(
        ErrorKind::Config,
        format!("the topology declares the table {name:?}, which the shards do not have {place}"),
    )
    .with_hint("correct the topology file; `merganser inspect` shows what each shard has")
}
