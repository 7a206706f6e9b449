//! The handle on all shards.

use std::sync::Arc;

use crate::config::{Environment, Topology};
use crate::connect::{Pools, Session};
use crate::error::{Error, ErrorKind, Result};
use crate::query::Query;

#[cfg(feature = "datafusion")]
use {
    crate::catalog::{self, Catalog},
    tokio::sync::{Mutex, OnceCell},
};

/// All shards of a topology, with a pool of connections for each. Cheap to clone.
///
/// ```no_run
/// use merganser::{Cluster, Topology};
///
/// # async fn example() -> merganser::Result<()> {
/// let cluster = Cluster::new(Topology::from_path("merganser.toml")?)?;
/// let batches = cluster.fan_out("select * from orders").collect().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Cluster {
    topology: Arc<Topology>,
    pools: Arc<Pools>,
    /// What is known of the shards' catalogs; a new cell with every [`Cluster::refresh`].
    #[cfg(feature = "datafusion")]
    catalog: Arc<Mutex<Arc<OnceCell<Arc<Catalog>>>>>,
}

/// Makes a [`Cluster`] with other than the usual options.
#[derive(Debug, Clone)]
#[must_use]
pub struct ClusterBuilder {
    topology: Topology,
    environment: Option<Environment>,
    connections_per_shard: usize,
}

/// Connections per shard unless set otherwise: as many queries run at once.
pub const DEFAULT_CONNECTIONS_PER_SHARD: usize = 4;

impl ClusterBuilder {
    /// The most connections to open to each shard, at least 1; a query takes one, and waits while
    /// all are taken.
    pub fn with_connections_per_shard(mut self, connections: usize) -> Self {
        self.connections_per_shard = connections.max(1);
        self
    }

    /// Where `PG*` variables and the home directory come from, instead of the process.
    pub fn with_environment(mut self, environment: Environment) -> Self {
        self.environment = Some(environment);
        self
    }

    /// The cluster. Reads password and service files, and connects to nothing yet.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for a connection string that is invalid or names a missing service,
    /// variable or file.
    pub fn build(self) -> Result<Cluster> {
        let environment = self.environment.unwrap_or_else(Environment::from_process);
        let session = self.topology.session();
        let shards = self
            .topology
            .shards()
            .iter()
            .map(|shard| {
                let params = shard
                    .primary()
                    .resolve(&environment)
                    .map_err(|error| error.with_shard(shard.name()))?;
                Ok((shard.name().to_owned(), params))
            })
            .collect::<Result<Vec<_>>>()?;
        let pools = Pools::new(shards, self.connections_per_shard, session)?;
        Ok(Cluster {
            topology: Arc::new(self.topology),
            pools: Arc::new(pools),
            #[cfg(feature = "datafusion")]
            catalog: Arc::default(),
        })
    }
}

impl Cluster {
    /// The cluster of a topology, with the usual options; connects to nothing yet.
    ///
    /// # Errors
    /// As [`ClusterBuilder::build`].
    pub fn new(topology: Topology) -> Result<Self> {
        Self::builder(topology).build()
    }

    /// A cluster with other options.
    pub fn builder(topology: Topology) -> ClusterBuilder {
        ClusterBuilder {
            topology,
            environment: None,
            connections_per_shard: DEFAULT_CONNECTIONS_PER_SHARD,
        }
    }

    /// What the cluster was made of.
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// The same SQL on every shard; the rows one shard after the other, as by UNION ALL.
    ///
    /// The text is sent as it is: the answer is that of n databases, not of one. A table that every
    /// shard has a copy of counts n times, and a `GROUP BY` gives a group once for each shard that
    /// has it; [`Query::reaggregate`] combines such parts.
    pub fn fan_out(&self, sql: impl Into<String>) -> Query {
        Query::new(self.clone(), sql.into())
    }

    /// Forgets what is known of the shards' tables, views, types, functions and collations.
    ///
    /// It is read once, for the first planned query of this cluster or of any clone of it. After
    /// `CREATE`, `ALTER` or `DROP` on the shards, this lets the next query read it again; queries
    /// that are being planned meanwhile may still go by what was known before.
    #[cfg(feature = "datafusion")]
    pub async fn refresh(&self) {
        *self.catalog.lock().await = Arc::default();
    }

    /// The catalog that all shards have in common, read when first asked for; those who ask
    /// meanwhile wait for the same reading. Nobody may hold a session while waiting for it. An
    /// error is not kept.
    #[cfg(feature = "datafusion")]
    pub(crate) async fn catalog(&self) -> Result<Arc<Catalog>> {
        let cell = self.catalog.lock().await.clone();
        let load = async || catalog::load(&self.pools).await.map(Arc::new);
        cell.get_or_try_init(load).await.cloned()
    }

    /// Closes all connections, once queries that were dropped are cancelled on their servers and
    /// streams that still run have come to their end. New queries, on any clone of this cluster,
    /// fail from the call on.
    ///
    /// # Cancel safety
    /// May be dropped and called again; what is under way goes on.
    pub async fn close(&self) {
        self.pools.close().await;
    }

    pub(crate) fn pools(&self) -> &Arc<Pools> {
        &self.pools
    }

    /// A connection of one shard, by its index, in a read-only transaction with the pinned
    /// settings.
    pub(crate) async fn session(&self, shard: usize) -> Result<Session> {
        match self.pools.permits([shard]).await?.pop() {
            Some(permit) => self.pools.session(permit).await,
            None => Err(Error::new(ErrorKind::Config, "no such shard")),
        }
    }
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster")
            .field("topology", &self.topology)
            .finish_non_exhaustive()
    }
}
