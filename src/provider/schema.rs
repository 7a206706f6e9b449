//! A schema of the databases as a schema of DataFusion's.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::SchemaProvider;
use datafusion::common::DataFusionError;
use datafusion::datasource::{TableProvider, TableType};

use super::scan::external;
use super::table::ClusterTable;
use crate::cluster::Cluster;
use crate::error::Result;

/// The tables of the topology that are in one schema of the databases, each made when DataFusion first
/// names it.
///
/// Which tables there are is read when it is made; a new one is found after making it anew.
///
/// ```no_run
/// # use std::sync::Arc;
/// # use datafusion::prelude::SessionContext;
/// # use merganser::{Cluster, provider::ClusterSchema};
/// # async fn example(cluster: Cluster, context: SessionContext) -> Result<(), Box<dyn std::error::Error>> {
/// let shop = ClusterSchema::try_new(&cluster, "public").await?;
/// let catalog = context.catalog("datafusion").ok_or("no catalog")?;
/// catalog.register_schema("shop", Arc::new(shop))?;
/// context.sql("SELECT count(*) FROM shop.orders").await?.show().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ClusterSchema {
    cluster: Cluster,
    schema: String,
    tables: Vec<String>,
}

impl ClusterSchema {
    /// The schema of this name, without quotes.
    ///
    /// # Errors
    /// As [`Cluster::tables`].
    pub async fn try_new(cluster: &Cluster, schema: &str) -> Result<Self> {
        let tables = cluster.tables().await?;
        let tables = tables
            .iter()
            .filter(|table| table.schema() == schema && table.kind().is_some())
            .map(|table| table.name().to_owned());
        Ok(Self {
            cluster: cluster.clone(),
            schema: schema.to_owned(),
            tables: tables.collect(),
        })
    }
}

#[async_trait]
impl SchemaProvider for ClusterSchema {
    fn table_names(&self) -> Vec<String> {
        self.tables.clone()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        if !self.table_exist(name) {
            return Ok(None);
        }
        let table = ClusterTable::try_new(&self.cluster, &self.schema, name).await;
        Ok(Some(Arc::new(table.map_err(external)?)))
    }

    async fn table_type(&self, name: &str) -> Result<Option<TableType>, DataFusionError> {
        Ok(self.table_exist(name).then_some(TableType::Base))
    }

    fn table_exist(&self, name: &str) -> bool {
        self.tables.iter().any(|table| table == name)
    }
}
