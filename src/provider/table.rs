//! Tables and answers as DataFusion's tables.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::{Float64Type, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::{DataFusionError, Statistics};
use datafusion::datasource::{TableProvider, TableType};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;

use super::filter::{self, Comparing};
use super::scan::{ReadExec, estimated, external};
use crate::catalog::{Catalog, Relation};
use crate::cluster::Cluster;
use crate::config::TableKind;
use crate::connect::Pools;
use crate::error::{Error, Result};
use crate::query::Query;
use crate::quote;
use crate::types::Column;

/// A table of the topology, as DataFusion reads it.
///
/// | DataFusion wants | a shard is asked for |
/// |---|---|
/// | some columns | these |
/// | no column, for `count(*)` | one value for each row |
/// | `=`, `<>`, `IN`, `IS [NOT] NULL`, and `AND`, `OR`, `NOT` of them | the same, where PostgreSQL and Arrow agree on the rows: on integers, `boolean`, `numeric(p,s)`, dates, timestamps, `uuid`, `bytea`, and text of a deterministic collation |
/// | `<`, `<=`, `>`, `>=`, `BETWEEN` | the same; text only if its collation compares bytes |
/// | `=`, `IN` of a `real` or `double precision` | the same; DataFusion filters once more, as only PostgreSQL takes `-0` for `0` |
/// | a limit | that many rows of each shard; DataFusion takes the first |
///
/// All else DataFusion does itself, with rows as they come. A sharded table is a partition for each shard
/// that may have such rows: a condition on the shard key asks only its shards, if the topology has a
/// `shard_index`. A replicated table is one partition, of a shard whose turn it is.
///
/// Every part is planned as [`Cluster::query`] plans a query, so that policies, and differences between
/// shards, are refused as there.
///
/// What it says of itself is never more than it knows: the number of rows is an estimate
/// (`pg_class.reltuples`), the rows come in no order, and partitions are by no hash of DataFusion's.
#[derive(Clone)]
pub struct ClusterTable {
    cluster: Cluster,
    pools: Arc<Pools>,
    name: String,
    /// The name as SQL writes it.
    reference: String,
    schema: SchemaRef,
    comparing: Vec<Comparing>,
    /// About so many rows, if the table was ever analyzed.
    rows: Option<usize>,
}

impl ClusterTable {
    /// The table of this name, without quotes, of the topology.
    ///
    /// # Errors
    /// As [`Cluster::tables`] and [`Query::plan`].
    pub async fn try_new(cluster: &Cluster, schema: &str, name: &str) -> Result<Self> {
        let reader = Reader::new(cluster).await?;
        reader.table(schema, name).await
    }

    /// All tables of the topology, by schema and name.
    ///
    /// # Errors
    /// As [`try_new`](Self::try_new).
    pub async fn all(cluster: &Cluster) -> Result<Vec<Self>> {
        let reader = Reader::new(cluster).await?;
        let mut tables = Vec::new();
        for table in cluster.tables().await? {
            if table.kind().is_some() {
                tables.push(reader.table(table.schema(), table.name()).await?);
            }
        }
        Ok(tables)
    }

    /// The name, without schema and quotes.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn sql(&self, columns: &[usize], filters: &[Expr], limit: Option<usize>) -> String {
        let fields = self.schema.fields();
        let names = columns.iter().filter_map(|index| fields.get(*index));
        let mut list: Vec<String> = names.map(|it| quote::identifier(it.name())).collect();
        if list.is_empty() {
            list.push("true".to_owned());
        }
        let mut sql = format!("SELECT {} FROM {}", list.join(", "), self.reference);
        let conditions: Vec<String> = filters
            .iter()
            .filter_map(|filter| Some(filter::written(filter, &self.comparing)?.sql))
            .collect();
        if !conditions.is_empty() {
            sql += &format!(" WHERE {}", conditions.join(" AND "));
        }
        if let Some(limit) = limit {
            sql += &format!(" LIMIT {limit}");
        }
        sql
    }
}

#[async_trait]
impl TableProvider for ClusterTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        let all: Vec<usize> = (0..self.schema.fields().len()).collect();
        let columns = projection.unwrap_or(&all);
        let sql = self.sql(columns, filters, limit);
        let parts = self.cluster.query(sql).parts().await;
        let parts = parts
            .and_then(|parts| parts.ok_or_else(|| Error::fault("a scan is not planned as one")))
            .map_err(external)?;
        let schema = Arc::new(self.schema.project(columns)?);
        let names = parts
            .shards()
            .iter()
            .map(|shard| self.cluster.pools().name(*shard));
        let names = names.map(|name| name.to_string()).collect();
        let pools = self.pools.clone();
        Ok(Arc::new(ReadExec::table(
            pools, parts, names, schema, self.rows,
        )))
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>, DataFusionError> {
        let pushed = filters
            .iter()
            .map(|filter| match filter::written(filter, &self.comparing) {
                Some(written) if written.is_exact => TableProviderFilterPushDown::Exact,
                Some(_) => TableProviderFilterPushDown::Inexact,
                None => TableProviderFilterPushDown::Unsupported,
            });
        Ok(pushed.collect())
    }

    fn statistics(&self) -> Option<Statistics> {
        Some(estimated(&self.schema, self.rows))
    }
}

impl fmt::Debug for ClusterTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterTable")
            .field("table", &self.reference)
            .finish_non_exhaustive()
    }
}

/// What tables are made from.
struct Reader<'a> {
    cluster: &'a Cluster,
    catalog: Arc<Catalog>,
    pools: Arc<Pools>,
    /// Of each table, how many rows the shards say that they have.
    estimates: HashMap<(String, String), Vec<f64>>,
}

impl<'a> Reader<'a> {
    async fn new(cluster: &'a Cluster) -> Result<Self> {
        Ok(Self {
            cluster,
            catalog: cluster.catalog(cluster.pools().opening()).await?,
            pools: cluster.pools_of_readers()?,
            estimates: estimates(cluster).await?,
        })
    }

    async fn table(&self, schema: &str, name: &str) -> Result<ClusterTable> {
        let reference = format!("{}.{}", quote::identifier(schema), quote::identifier(name));
        let all = self.cluster.query(format!("SELECT * FROM {reference}"));
        let plan = all.plan().await?;
        let columns = &plan.columns;
        let relation = self.catalog.relation(Some(schema), name);
        let relation =
            relation.ok_or_else(|| Error::fault("a table was planned and is not there"))?;
        let fields: Vec<_> = columns.iter().map(Column::to_field).collect();
        Ok(ClusterTable {
            cluster: self.cluster.clone(),
            pools: self.pools.clone(),
            name: name.to_owned(),
            reference,
            schema: Arc::new(Schema::new(fields)),
            comparing: comparing(columns, relation),
            rows: self.rows(schema, name),
        })
    }

    /// About how many rows a table has; `None` where a shard does not know.
    fn rows(&self, schema: &str, name: &str) -> Option<usize> {
        let shards = self.estimates.get(&(schema.to_owned(), name.to_owned()))?;
        let topology = self.cluster.topology();
        let mut tables = topology.tables().iter();
        let found =
            tables.find(|it| it.name() == name && it.schema().is_none_or(|it| it == schema))?;
        if shards.iter().any(|rows| *rows < 0.0) {
            return None;
        }
        let rows: f64 = match found.kind() {
            TableKind::Replicated => shards.iter().copied().fold(0.0, f64::max),
            _ => shards.iter().sum(),
        };
        Some(rows as usize)
    }
}

fn comparing(columns: &[Column], relation: &Relation) -> Vec<Comparing> {
    columns
        .iter()
        .map(|column| {
            let facts = relation.columns.iter().find(|it| it.name == column.name);
            Comparing::of(column, facts)
        })
        .collect()
}

/// `pg_class.reltuples` of all tables, by schema and name; -1 where nobody has counted.
async fn estimates(cluster: &Cluster) -> Result<HashMap<(String, String), Vec<f64>>> {
    let sql = "SELECT n.nspname::text, c.relname::text, c.reltuples::float8 \
               FROM pg_catalog.pg_class c \
               JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
               WHERE c.relkind IN ('r', 'p', 'm', 'f')";
    let mut found: HashMap<_, Vec<f64>> = HashMap::new();
    for batch in cluster.fan_out(sql).collect().await? {
        let (schemas, names) = (
            batch.column(0).as_string::<i32>(),
            batch.column(1).as_string::<i32>(),
        );
        let rows = batch.column(2).as_primitive::<Float64Type>();
        for row in 0..batch.num_rows() {
            let key = (schemas.value(row).to_owned(), names.value(row).to_owned());
            found.entry(key).or_default().push(rows.value(row));
        }
    }
    Ok(found)
}

/// The answer of a planned query, as DataFusion reads it: one partition, computed anew for each scan.
///
/// Nothing of DataFusion's statement goes into the query, whose answer is PostgreSQL's as it stands.
#[derive(Debug, Clone)]
pub struct QueryTable {
    query: Query,
    schema: SchemaRef,
}

impl QueryTable {
    /// The answer of a query. It is planned once here for its columns, and again whenever it runs.
    ///
    /// # Errors
    /// As [`Query::plan`].
    pub async fn try_new(query: Query) -> Result<Self> {
        let schema = query.clone().describe().await?;
        Ok(Self { query, schema })
    }
}

#[async_trait]
impl TableProvider for QueryTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        _: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        let exec = ReadExec::answer(self.query.clone(), &self.schema, projection)?;
        Ok(Arc::new(exec))
    }
}
