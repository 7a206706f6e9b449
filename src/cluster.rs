//! The handle on all shards.

use std::collections::HashMap;
use std::sync::Arc;

use crate::config::{ConnectParams, Environment, ReadFrom, SessionSettings, Shard, Topology};
use crate::connect::{Opening, Pools, Servers, Session};
use crate::error::{Error, ErrorKind, Result};
use crate::query::FanOut;
#[cfg(feature = "datafusion")]
use crate::{
    catalog::{self, Catalog},
    config::Finish,
    missing::MissingShards,
    query::{Partition, PartitionRead, Query},
    types::Column,
};
#[cfg(feature = "datafusion")]
use futures::FutureExt;
#[cfg(feature = "datafusion")]
use std::{
    path::PathBuf,
    sync::atomic::{AtomicUsize, Ordering},
    sync::{Mutex, MutexGuard, PoisonError},
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
    #[cfg(feature = "datafusion")]
    planning: Arc<Planning>,
}

/// What planned queries share.
#[cfg(feature = "datafusion")]
#[derive(Default)]
struct Planning {
    /// The pool of the server of `[finish] url`.
    finish: Option<Arc<Pools>>,
    /// Where the facts of catalogs are kept for other processes.
    cache: Option<Arc<catalog::Cache>>,
    /// What is known of the shards, by the settings under which names are looked up; emptied with
    /// every [`Cluster::refresh`].
    known: Mutex<HashMap<Arc<str>, Arc<Known>>>,
    /// How many queries there were, so that they take turns with the shards.
    turn: AtomicUsize,
}

/// What planning has asked of the shards.
#[cfg(feature = "datafusion")]
#[derive(Default)]
struct Known {
    catalog: tokio::sync::OnceCell<Arc<Catalog>>,
    /// The shards and the server that finishes side by side.
    finish: tokio::sync::OnceCell<Arc<Catalog>>,
    /// The columns of statements.
    described: Mutex<Arc<HashMap<String, Vec<Column>>>>,
}

/// For as many settings that is kept.
#[cfg(feature = "datafusion")]
const MOST_KNOWN: usize = 16;

/// As many descriptions are kept.
#[cfg(feature = "datafusion")]
const MOST_DESCRIBED: usize = 1000;

/// Makes a [`Cluster`] with other than the usual options.
#[derive(Debug, Clone)]
#[must_use]
pub struct ClusterBuilder {
    topology: Topology,
    environment: Option<Environment>,
    connections_per_shard: usize,
    #[cfg(feature = "datafusion")]
    catalog_cache: Option<PathBuf>,
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

    /// Keeps what the shards' catalogs say in files of this folder, also for other processes: the first
    /// planned query then asks each shard for a fingerprint of its catalogs, and reads only those that have
    /// changed. That takes some ten milliseconds of a server instead of sixty and more; an answer never
    /// depends on it. Off unless set.
    ///
    /// The folder is made if need be. Where others than the user of the process may write to it, it is not
    /// used, and a warning (`tracing`) says so; what cannot be read or written is read from the shards, without
    /// a word. The files hold names, types and definitions of tables, views, functions and policies, no rows and
    /// nothing of connection strings, and only this user may read them. What was not used for 30 days is removed,
    /// and the oldest above 256 MiB.
    ///
    /// A file is of one database as one role sees it with the same settings, and holds until a transaction
    /// changes the catalogs, be it by a temporary table or a role, or the server is started anew.
    #[cfg(feature = "datafusion")]
    pub fn with_catalog_cache(mut self, folder: impl Into<PathBuf>) -> Self {
        self.catalog_cache = Some(folder.into());
        self
    }

    /// The cluster. Reads password and service files, and connects to nothing yet.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for a connection string that is invalid or names a missing service,
    /// variable or file; for two shards that would be the same session of the same database.
    pub fn build(self) -> Result<Cluster> {
        let environment = self.environment.unwrap_or_else(Environment::from_process);
        let session = self.topology.session();
        let shards = self
            .topology
            .shards()
            .iter()
            .map(|shard| {
                let servers = servers(shard, session, &environment)
                    .map_err(|error| error.with_shard(shard.name()))?;
                Ok((shard.name().to_owned(), servers))
            })
            .collect::<Result<Vec<_>>>()?;
        check_distinct(&shards)?;
        keep_heap();
        let pools = Pools::new(shards, self.connections_per_shard, session)?;
        #[cfg(feature = "datafusion")]
        let finish = match self.topology.finish() {
            Finish::Server(url) => {
                let params = url
                    .resolve(&environment)
                    .map_err(|error| error.with_shard(FINISH))?;
                let server = [(FINISH.to_owned(), params.into())];
                let pools = Pools::new(server, self.connections_per_shard, session)?;
                Some(Arc::new(pools))
            }
            Finish::AnyShard | Finish::Off => None,
        };
        Ok(Cluster {
            topology: Arc::new(self.topology),
            pools: Arc::new(pools),
            #[cfg(feature = "datafusion")]
            planning: Arc::new(Planning {
                finish,
                cache: self
                    .catalog_cache
                    .map(|it| Arc::new(catalog::Cache::new(it))),
                ..Planning::default()
            }),
        })
    }
}

/// Lets the allocator of glibc keep the memory of batches that were dropped for the next ones.
///
/// Free memory at the end of a heap goes back to the system when it is more than twice as long as the longest
/// block that had a mapping of its own and was freed (mallopt(3), `M_MMAP_THRESHOLD`): a quarter of a
/// megabyte, where a batch has more than one. Each batch would be page faults anew. So such a block is freed
/// here; no page of it is ever touched. Other allocators do not care.
fn keep_heap() {
    drop(std::hint::black_box(Vec::<u8>::with_capacity(KEPT / 2)));
}

/// How much free memory the end of a heap may keep: a few batches.
const KEPT: usize = 8 << 20;

/// The servers from which a shard is read.
fn servers(shard: &Shard, session: &SessionSettings, environment: &Environment) -> Result<Servers> {
    let primary = shard.primary().resolve(environment)?;
    let read_from = session.read_from();
    if read_from == ReadFrom::Primary {
        return Ok(primary.into());
    }
    if read_from == ReadFrom::Replica && shard.replicas().is_empty() {
        return Err(Error::new(
            ErrorKind::Config,
            "session: read_from is \"replica\", and the shard has none",
        )
        .with_hint("name its replicas = [\"URL\"], or set read_from = \"any\""));
    }
    let replicas = shard.replicas().iter();
    let replicas = replicas.map(|url| url.resolve(environment).map(Arc::new));
    Ok(Servers {
        replicas: replicas.collect::<Result<_>>()?,
        max_replay_lag: session.max_replay_lag(),
        primary: (read_from == ReadFrom::Any).then(|| Arc::new(primary)),
        lost: Arc::default(),
    })
}

/// A shard that is given twice is a slip of the pen: its rows would come twice. Other options, say
/// another `search_path`, make another shard of one database.
fn check_distinct(shards: &[(String, Servers)]) -> Result<()> {
    let target = |params: &ConnectParams| {
        let endpoints: Vec<String> = params.endpoints.iter().map(ToString::to_string).collect();
        (
            endpoints,
            params.dbname.clone(),
            params.user.clone(),
            params.options.clone(),
            params.target_session_attrs,
        )
    };
    let mut seen = HashMap::new();
    let all = shards.iter().flat_map(|(name, servers)| {
        let params = servers.replicas.iter().chain(&servers.primary);
        params.map(move |params| (name, params))
    });
    for (name, params) in all {
        if let Some(other) = seen.insert(target(params), name)
            && other != name
        {
            return Err(Error::new(
                ErrorKind::Config,
                format!("the shards {other} and {name} have the same URL"),
            )
            .with_hint("give each shard the URL of its own database"));
        }
    }
    Ok(())
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
            #[cfg(feature = "datafusion")]
            catalog_cache: None,
        }
    }

    /// What the cluster was made of.
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// The same SQL on every shard; all rows, as by UNION ALL, in the order in which they arrive.
    ///
    /// The text is sent as it is: the answer is that of n databases, not of one. A table that every
    /// shard has a copy of counts n times, and a `GROUP BY` gives a group once for each shard that
    /// has it; [`FanOut::reaggregate`] combines such parts.
    pub fn fan_out(&self, sql: impl Into<String>) -> FanOut {
        FanOut::new(self.clone(), sql.into())
    }

    /// Forgets what is known of the shards' tables, views, types, functions and collations, and
    /// of their settings, policies and rights.
    ///
    /// It is read once, for the first planned query of this cluster or of any clone of it, and once
    /// more for each `search_path` that queries set. After `CREATE`, `ALTER`, `DROP` or `GRANT` on the
    /// shards, this lets the next query read it again; queries
    /// that are being planned meanwhile may still go by what was known before.
    #[cfg(feature = "datafusion")]
    pub async fn refresh(&self) {
        self.all_known().clear();
    }

    /// The SQL as if one PostgreSQL held all rows: what is sent to which shard, and how the answers
    /// become one, is planned.
    ///
    /// The answer has the values, NULLs, types, names and, where the query orders, the order of that
    /// one PostgreSQL; or the query is refused with [`ErrorKind::Unsupported`] and the reason. The
    /// shards do not share a snapshot: each gives the rows that it has at the moment of its first
    /// step.
    ///
    /// What is left of a query after the merge runs on one shard, or on the server of the
    /// topology's `[finish]`: that server sees rows of the others.
    #[cfg(feature = "datafusion")]
    pub fn query(&self, sql: impl Into<String>) -> Query {
        Query::new(self.clone(), sql.into())
    }

    /// Reads one part of a query that [`Query::partitions`] or [`FanOut::partitions`] cut, in this process
    /// or another: under the snapshot that its [`Lease`](crate::Lease) keeps.
    #[cfg(feature = "datafusion")]
    pub fn read_partition(&self, partition: &Partition) -> PartitionRead {
        PartitionRead::new(self.clone(), partition.clone())
    }

    /// Closes all connections, once queries that were dropped are cancelled on their servers and
    /// streams that still run have come to their end. New queries, on any clone of this cluster,
    /// fail from the call on.
    ///
    /// # Cancel safety
    /// May be dropped and called again; what is under way goes on.
    pub async fn close(&self) {
        self.pools.close().await;
        #[cfg(feature = "datafusion")]
        if let Some(finish) = &self.planning.finish {
            finish.close().await;
        }
    }

    pub(crate) fn pools(&self) -> &Arc<Pools> {
        &self.pools
    }

    /// A connection of one shard, by its index, in a read-only transaction with the pinned
    /// settings.
    pub(crate) async fn session(&self, shard: usize) -> Result<Session> {
        self.session_with(shard, self.pools.opening()).await
    }

    /// The same, with the settings of a query.
    pub(crate) async fn session_with(&self, shard: usize, opening: &Opening) -> Result<Session> {
        match self.pools.permits([shard]).await?.pop() {
            Some(permit) => self.pools.session(permit, opening).await,
            None => Err(Error::new(ErrorKind::Config, "no such shard")),
        }
    }

    /// How the sessions of a query begin that has these settings on top of the topology's.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for a setting that is invalid, or that no query can have for itself.
    pub(crate) fn opening(&self, own: Option<&SessionSettings>) -> Result<Opening> {
        let Some(own) = own else {
            return Ok(self.pools.opening().clone());
        };
        if let Some(key) = own.of_connections() {
            return Err(Error::new(
                ErrorKind::Config,
                format!("session: {key} cannot be set for one query"),
            )
            .with_hint("connections serve many queries: set it in the topology"));
        }
        own.check()?;
        Opening::new(&own.over(self.topology.session()))
    }
}

/// For planned queries.
#[cfg(feature = "datafusion")]
impl Cluster {
    /// The pool of the server that finishes, if it is none of the shards.
    pub(crate) fn finish_pool(&self) -> Option<&Arc<Pools>> {
        self.planning.finish.as_ref()
    }

    /// Where facts of catalogs are kept.
    pub(crate) fn catalog_cache(&self) -> Option<&Arc<catalog::Cache>> {
        self.planning.cache.as_ref()
    }

    /// The shard whose turn it is to do what any of them can do.
    pub(crate) fn next_shard(&self) -> usize {
        self.planning.turn.fetch_add(1, Ordering::Relaxed) % self.pools.len().max(1)
    }

    /// The catalog that all shards have in common, as sessions that begin like this see it: read
    /// when first asked for; those who ask meanwhile wait for the same reading. Nobody may hold a
    /// session while waiting for it. An error is not kept.
    pub(crate) async fn catalog(&self, opening: &Opening) -> Result<Arc<Catalog>> {
        let known = self.known(opening);
        let load = async || {
            // Boxed: the type of a future holds those of all that it waits for.
            let settings = self.topology.session();
            let is_apart = self.planning.finish.is_some();
            let cache = self.catalog_cache();
            let load = catalog::load(&self.pools, opening, settings, is_apart, cache, &Err);
            load.boxed().await.map(Arc::new)
        };
        known.catalog.get_or_try_init(load).await.cloned()
    }

    /// The shards and the server that finishes side by side, in such sessions: loaded when first asked
    /// for. An error is not kept.
    pub(crate) async fn finish_catalog(
        &self,
        opening: &Opening,
        load: impl AsyncFnOnce() -> Result<Catalog>,
    ) -> Result<Arc<Catalog>> {
        let known = self.known(opening);
        let load = async || load().await.map(Arc::new);
        known.finish.get_or_try_init(load).await.cloned()
    }

    /// The catalog, but without the shards that may be missing; then it is not kept.
    pub(crate) async fn catalog_without(
        &self,
        opening: &Opening,
        missing: &MissingShards,
    ) -> Result<Arc<Catalog>> {
        let known = self.known(opening);
        if let Some(catalog) = known.catalog.get() {
            return Ok(catalog.clone());
        }
        let go_without = |error| missing.admit(error);
        let session = self.topology.session();
        let is_apart = self.planning.finish.is_some();
        let cache = self.catalog_cache();
        let load = catalog::load(&self.pools, opening, session, is_apart, cache, &go_without);
        let catalog = Arc::new(load.boxed().await?);
        if missing.names().is_empty() {
            // Somebody else may have been faster.
            let _ = known.catalog.set(catalog.clone());
        }
        Ok(catalog)
    }

    /// The columns of statements that planning asked about before, in such sessions.
    pub(crate) fn described(&self, opening: &Opening) -> Arc<HashMap<String, Vec<Column>>> {
        Arc::clone(&lock(&self.known(opening).described))
    }

    /// Remembers what planning a query had to ask for.
    pub(crate) fn remember_described(&self, opening: &Opening, more: Vec<(String, Vec<Column>)>) {
        if more.is_empty() {
            return;
        }
        let known = self.known(opening);
        let mut described = lock(&known.described);
        // Copied only if another query looks at it.
        let described = Arc::make_mut(&mut described);
        if described.len() + more.len() > MOST_DESCRIBED {
            described.clear();
        }
        described.extend(more.into_iter().take(MOST_DESCRIBED));
    }

    fn known(&self, opening: &Opening) -> Arc<Known> {
        let mut all = self.all_known();
        if all.len() >= MOST_KNOWN && !all.contains_key(opening.names()) {
            all.clear();
        }
        all.entry(opening.names().clone()).or_default().clone()
    }

    fn all_known(&self) -> MutexGuard<'_, HashMap<Arc<str>, Arc<Known>>> {
        lock(&self.planning.known)
    }
}

#[cfg(feature = "datafusion")]
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What errors call the server of `[finish] url`.
#[cfg(feature = "datafusion")]
const FINISH: &str = "finish";

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster")
            .field("topology", &self.topology)
            .finish_non_exhaustive()
    }
}
