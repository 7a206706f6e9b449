//! The shards' tables as tables of DataFusion: for plans, joins and sources that only DataFusion knows.
//!
//! ```no_run
//! use datafusion::prelude::SessionContext;
//! use merganser::{Cluster, Topology, provider};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let cluster = Cluster::new(Topology::from_path("merganser.toml")?)?;
//! let context = SessionContext::new();
//! provider::register(&context, &cluster).await?;
//! context.sql("SELECT o_orderpriority, count(*) FROM orders GROUP BY 1").await?.show().await?;
//!
//! // The answer of a whole statement, as one PostgreSQL gives it.
//! let customers = cluster.query("SELECT c_custkey, avg(o_totalprice) AS mean FROM customer \
//!                                JOIN orders ON o_custkey = c_custkey GROUP BY 1");
//! provider::register_query(&context, "customers", customers).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Whose answer it is
//! A statement over these tables is DataFusion's: its functions, its division, its order of text. Only
//! what the shards are asked for (see [`ClusterTable`]) is as in PostgreSQL, and as exact as
//! [`Cluster::query`](crate::Cluster::query). Where joins and aggregates are to be PostgreSQL's,
//! [`register_query`] gives the answer of a statement as a table.
//!
//! # Snapshots
//! Each shard of each scan is read in a transaction of its own, which begins when DataFusion asks for the
//! first row of it. A statement that names a table twice may see it at two moments.

mod filter;
mod scan;
mod schema;
mod table;

use std::sync::Arc;

use datafusion::prelude::SessionContext;

pub use self::schema::ClusterSchema;
pub use self::table::{ClusterTable, QueryTable};
use crate::cluster::Cluster;
use crate::error::{Error, ErrorKind, Result};
use crate::query::Query;

/// The `datafusion` crate whose types this module's API uses.
pub use datafusion;

/// Registers every table of the topology under its own name, without its schema.
///
/// # Errors
/// As [`Cluster::tables`](crate::Cluster::tables) and [`Query::plan`]; [`ErrorKind::Config`] for a name
/// that the context has already, or that two tables have in different schemas: nothing is registered then.
/// A [`ClusterSchema`] keeps the schemas apart.
pub async fn register(context: &SessionContext, cluster: &Cluster) -> Result<()> {
    let mut tables: Vec<ClusterTable> = Vec::new();
    for table in ClusterTable::all(cluster).await? {
        let name = table.name();
        let taken = context.table_exist(identifier(name)).map_err(refused)?;
        if taken || tables.iter().any(|other| other.name() == name) {
            return Err(Error::new(
                ErrorKind::Config,
                format!("DataFusion's context has a table {name:?} already"),
            )
            .with_hint("register a ClusterSchema for each schema of the databases, under a name that is free"));
        }
        tables.push(table);
    }
    for table in tables {
        let name = identifier(table.name());
        context
            .register_table(name, Arc::new(table))
            .map_err(refused)?;
    }
    Ok(())
}

/// Registers the answer of a planned query under a name: PostgreSQL's own answer, computed by the shards,
/// each time that DataFusion reads the table.
///
/// # Errors
/// As [`Query::plan`]; [`ErrorKind::Config`] for a name that the context has already.
pub async fn register_query(context: &SessionContext, name: &str, query: Query) -> Result<()> {
    if context.table_exist(identifier(name)).map_err(refused)? {
        return Err(Error::new(
            ErrorKind::Config,
            format!("DataFusion's context has a table {name:?} already"),
        )
        .with_hint("give it another name, or deregister that table"));
    }
    let table = QueryTable::try_new(query).await?;
    context
        .register_table(identifier(name), Arc::new(table))
        .map_err(refused)?;
    Ok(())
}

/// A name as it is, without schema, whatever letters it has.
fn identifier(name: &str) -> datafusion::common::TableReference {
    datafusion::common::TableReference::bare(name)
}

fn refused(error: datafusion::common::DataFusionError) -> Error {
    Error::new(ErrorKind::Config, "DataFusion does not take the table").with_source(error)
}
