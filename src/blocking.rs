//! The same API without async.
//!
//! A thin coat over the rest of the crate: a [`Cluster`] owns a tokio runtime, and each call waits
//! for what its namesake outside this module would await.
//!
//! ```no_run
//! use merganser::{Topology, blocking};
//!
//! # fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let cluster = blocking::Cluster::new(Topology::from_path("merganser.toml")?)?;
//! let query = cluster.query("select * from orders where o_orderdate >= $1");
//! let query = query.with(|query| query.with_params([Some("1998-01-01".to_owned())]));
//! for batch in query.stream()? {
//!     println!("{} rows", batch?.num_rows());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # In async code
//! Every call that would wait gives [`ErrorKind::Usage`] where a tokio runtime is entered, within
//! `spawn_blocking` too: there [`merganser::Cluster`](crate::Cluster) is at hand. To make such a
//! call all the same, start a thread with [`std::thread::spawn`]. Dropping is allowed everywhere.

use std::sync::Arc;
use std::thread;
use std::time::Duration;
#[cfg(feature = "datafusion")]
use std::time::SystemTime;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::record_batch::{RecordBatchReader, RecordBatchWriter};
use futures::TryStreamExt;
use tokio::runtime::{Handle, Runtime};
use tokio::time::timeout;

use crate::cluster::{self, ClusterBuilder};
use crate::config::Topology;
use crate::error::{Error, ErrorKind, Result};
use crate::export::{self, ExportOptions, Format, Output, Progress, Summary};
#[cfg(feature = "datafusion")]
use crate::plan::Plan;
use crate::query::{self, CancelHandle};
#[cfg(feature = "datafusion")]
use crate::query::{Partition, PartitionOptions};
use crate::runtime;
use crate::stream::QueryStream;
#[cfg(feature = "datafusion")]
use crate::tables::TableInfo;

/// All shards of a topology, with a pool of connections for each, and the threads that serve them.
/// Cheap to clone.
///
/// With the last clone, and all queries, readers and cursors made of it, the connections close and
/// the threads end. That waits, for some seconds at most, until queries that were given up are
/// cancelled on their servers; within async code a thread of its own does the waiting.
#[derive(Debug, Clone)]
pub struct Cluster(Arc<Engine>);

impl Cluster {
    /// The cluster of a topology, with the usual options; connects to nothing yet.
    ///
    /// # Errors
    /// As [`ClusterBuilder::build`]; [`ErrorKind::Execute`] when no thread can be started.
    pub fn new(topology: Topology) -> Result<Self> {
        Self::from_builder(cluster::Cluster::builder(topology))
    }

    /// The cluster that a builder, made by [`merganser::Cluster::builder`](crate::Cluster::builder),
    /// describes.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn from_builder(builder: ClusterBuilder) -> Result<Self> {
        Ok(Self(Arc::new(Engine::new(builder.build()?)?)))
    }

    /// What the cluster was made of.
    pub fn topology(&self) -> &Topology {
        self.0.cluster.topology()
    }

    /// The same SQL on every shard; all rows, as by UNION ALL. See
    /// [`merganser::Cluster::fan_out`](crate::Cluster::fan_out).
    pub fn fan_out(&self, sql: impl Into<String>) -> FanOut {
        FanOut {
            fan_out: self.0.cluster.fan_out(sql),
            engine: self.0.clone(),
        }
    }

    /// The SQL as if one PostgreSQL held all rows. See
    /// [`merganser::Cluster::query`](crate::Cluster::query).
    #[cfg(feature = "datafusion")]
    pub fn query(&self, sql: impl Into<String>) -> Query {
        Query {
            query: self.0.cluster.query(sql),
            engine: self.0.clone(),
        }
    }

    /// Reads one part of a query. See
    /// [`merganser::Cluster::read_partition`](crate::Cluster::read_partition).
    #[cfg(feature = "datafusion")]
    pub fn read_partition(&self, partition: &Partition) -> PartitionRead {
        PartitionRead {
            read: self.0.cluster.read_partition(partition),
            engine: self.0.clone(),
        }
    }

    /// Forgets what is known of the shards' tables, views, types, functions and collations. See
    /// [`merganser::Cluster::refresh`](crate::Cluster::refresh).
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] in async code.
    #[cfg(feature = "datafusion")]
    pub fn refresh(&self) -> Result<()> {
        self.0.wait(async {
            self.0.cluster.refresh().await;
            Ok(())
        })
    }

    /// The tables of the topology and the views of the databases. See
    /// [`merganser::Cluster::tables`](crate::Cluster::tables).
    ///
    /// # Errors
    /// As its namesake; and in async code.
    #[cfg(feature = "datafusion")]
    pub fn tables(&self) -> Result<Vec<TableInfo>> {
        self.0.wait(self.0.cluster.tables())
    }

    /// As [`tables`](Self::tables), until the handle is cancelled: then an error of kind
    /// [`ErrorKind::Cancelled`]. For this a new handle is made: `CancelHandle::default()`.
    ///
    /// # Errors
    /// As [`tables`](Self::tables).
    #[cfg(feature = "datafusion")]
    pub fn tables_until(&self, cancel: &CancelHandle) -> Result<Vec<TableInfo>> {
        self.0.wait(async {
            tokio::select! {
                biased;
                error = cancel.cancelled() => Err(error),
                tables = self.0.cluster.tables() => tables,
            }
        })
    }

    /// Waits until queries that were dropped are cancelled on their servers, and closes all
    /// connections. Queries on any clone of this cluster fail from then on.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] in async code.
    pub fn close(&self) -> Result<()> {
        self.0.wait(async {
            self.0.cluster.close().await;
            Ok(())
        })
    }
}

/// The same SQL on every shard, which runs when it is streamed, collected or written; see
/// [`merganser::FanOut`](crate::FanOut).
#[derive(Debug, Clone)]
#[must_use = "a fan-out does nothing until it is streamed, collected or written"]
pub struct FanOut {
    fan_out: query::FanOut,
    engine: Arc<Engine>,
}

impl FanOut {
    /// Sets options: all that [`merganser::FanOut`](crate::FanOut) has, by its own methods.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # fn example(cluster: merganser::blocking::Cluster) -> merganser::Result<()> {
    /// let batches = cluster
    ///     .fan_out("select l_returnflag, count(*) as n from lineitem group by 1")
    ///     .with(|fan_out| {
    ///         fan_out
    ///             .reaggregate("select l_returnflag, sum(n) as n from shards group by 1")
    ///             .with_timeout(Duration::from_secs(60))
    ///     })
    ///     .collect()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn with(mut self, set: impl FnOnce(query::FanOut) -> query::FanOut) -> Self {
        self.fan_out = set(self.fan_out);
        self
    }

    /// What ends this fan-out, and every clone of it, from another thread, also while a call waits.
    pub fn cancel_handle(&self) -> CancelHandle {
        self.fan_out.cancel_handle()
    }

    /// The schema of the shards' rows, without running the query.
    ///
    /// # Errors
    /// As [`FanOut::describe`](crate::FanOut::describe); [`ErrorKind::Usage`] in async code.
    pub fn describe(self) -> Result<SchemaRef> {
        self.engine.wait(self.fan_out.describe())
    }

    /// The parameters `$1`, `$2`, ... as fields.
    ///
    /// # Errors
    /// As [`FanOut::parameters`](crate::FanOut::parameters); [`ErrorKind::Usage`] in async code.
    pub fn parameters(self) -> Result<SchemaRef> {
        self.engine.wait(self.fan_out.parameters())
    }

    /// The SQL text as the first shard would run it, with the values in place of `$1`, `$2`, ...
    ///
    /// # Errors
    /// As [`FanOut::mogrify`](crate::FanOut::mogrify); [`ErrorKind::Usage`] in async code.
    pub fn mogrify(self) -> Result<String> {
        self.engine.wait(self.fan_out.mogrify())
    }

    /// Starts the query; the rows as they come, in bounded memory.
    ///
    /// # Errors
    /// As [`FanOut::stream`](crate::FanOut::stream); [`ErrorKind::Usage`] in async code.
    pub fn stream(self) -> Result<QueryReader> {
        let stream = self.engine.wait(self.fan_out.stream())?;
        Ok(QueryReader::new(stream, self.engine))
    }

    /// Runs the query to its end; all batches.
    ///
    /// # Errors
    /// As [`FanOut::collect`](crate::FanOut::collect); [`ErrorKind::Usage`] in async code. There is
    /// no partial result.
    ///
    /// # Memory
    /// Holds the whole result.
    pub fn collect(self) -> Result<Vec<RecordBatch>> {
        self.engine.wait(self.fan_out.collect())
    }

    /// Runs the query to its end into a writer, which is opened with the schema once that is
    /// known; returns the number of rows. The writer runs on another thread.
    ///
    /// # Errors
    /// As [`FanOut::write`](crate::FanOut::write); [`ErrorKind::Usage`] in async code.
    pub fn write<W>(self, open: impl FnOnce(SchemaRef) -> Result<W> + Send + 'static) -> Result<u64>
    where
        W: RecordBatchWriter + Send + 'static,
    {
        self.engine.wait(self.fan_out.write(open))
    }

    /// Cuts it into parts that can be read elsewhere, and keeps their snapshots.
    ///
    /// # Errors
    /// As [`FanOut::partitions`](crate::FanOut::partitions); [`ErrorKind::Usage`] in async code.
    #[cfg(feature = "datafusion")]
    pub fn partitions(self, options: &PartitionOptions) -> Result<Partitions> {
        let cut = self.engine.wait(self.fan_out.partitions(options))?;
        Ok(Partitions::new(cut, self.engine))
    }
}

/// SQL as if one PostgreSQL held all rows, which runs when it is streamed, collected or written; see
/// [`merganser::Query`](crate::Query).
#[cfg(feature = "datafusion")]
#[derive(Debug, Clone)]
#[must_use = "a query does nothing until it is streamed, collected or written"]
pub struct Query {
    query: query::Query,
    engine: Arc<Engine>,
}

#[cfg(feature = "datafusion")]
impl Query {
    /// Sets options: all that [`merganser::Query`](crate::Query) has, by its own methods.
    pub fn with(mut self, set: impl FnOnce(query::Query) -> query::Query) -> Self {
        self.query = set(self.query);
        self
    }

    /// What ends this query, and every clone of it, from another thread, also while a call waits.
    pub fn cancel_handle(&self) -> CancelHandle {
        self.query.cancel_handle()
    }

    /// The schema of the answer, without running the query.
    ///
    /// # Errors
    /// As [`Query::describe`](crate::Query::describe); [`ErrorKind::Usage`] in async code.
    pub fn describe(self) -> Result<SchemaRef> {
        self.engine.wait(self.query.describe())
    }

    /// The parameters `$1`, `$2`, ... as fields.
    ///
    /// # Errors
    /// As [`Query::parameters`](crate::Query::parameters); [`ErrorKind::Usage`] in async code.
    pub fn parameters(self) -> Result<SchemaRef> {
        self.engine.wait(self.query.parameters())
    }

    /// How the query would run, without running it.
    ///
    /// # Errors
    /// As [`Query::plan`](crate::Query::plan); [`ErrorKind::Usage`] in async code.
    pub fn plan(self) -> Result<Plan> {
        self.engine.wait(self.query.plan())
    }

    /// The same, with how DataFusion plans its merges.
    ///
    /// # Errors
    /// As [`Query::explain`](crate::Query::explain); [`ErrorKind::Usage`] in async code.
    pub fn explain(self) -> Result<Plan> {
        self.engine.wait(self.query.explain())
    }

    /// The statement with its values in place of `$1`, `$2`, ...
    ///
    /// # Errors
    /// As [`Query::mogrify`](crate::Query::mogrify); [`ErrorKind::Usage`] in async code.
    pub fn mogrify(self) -> Result<String> {
        self.engine.wait(self.query.mogrify())
    }

    /// Starts the query; the rows as they come, in bounded memory.
    ///
    /// # Errors
    /// As [`Query::stream`](crate::Query::stream); [`ErrorKind::Usage`] in async code.
    pub fn stream(self) -> Result<QueryReader> {
        let stream = self.engine.wait(self.query.stream())?;
        Ok(QueryReader::new(stream, self.engine))
    }

    /// Runs the query to its end, and drops its rows: EXPLAIN ANALYZE.
    ///
    /// # Errors
    /// As [`Query::analyze`](crate::Query::analyze); [`ErrorKind::Usage`] in async code.
    pub fn analyze(self) -> Result<query::Analysis> {
        self.engine.wait(self.query.analyze())
    }

    /// Runs the query to its end; all batches.
    ///
    /// # Errors
    /// As [`Query::collect`](crate::Query::collect); [`ErrorKind::Usage`] in async code. There is
    /// no partial result.
    ///
    /// # Memory
    /// Holds the whole result.
    pub fn collect(self) -> Result<Vec<RecordBatch>> {
        self.engine.wait(self.query.collect())
    }

    /// Runs the query to its end into a writer, as [`FanOut::write`].
    ///
    /// # Errors
    /// As [`Query::write`](crate::Query::write); [`ErrorKind::Usage`] in async code.
    pub fn write<W>(self, open: impl FnOnce(SchemaRef) -> Result<W> + Send + 'static) -> Result<u64>
    where
        W: RecordBatchWriter + Send + 'static,
    {
        self.engine.wait(self.query.write(open))
    }

    /// Cuts it into parts that can be read elsewhere, and keeps their snapshots.
    ///
    /// # Errors
    /// As [`Query::partitions`](crate::Query::partitions); [`ErrorKind::Usage`] in async code.
    pub fn partitions(self, options: &PartitionOptions) -> Result<Partitions> {
        let cut = self.engine.wait(self.query.partitions(options))?;
        Ok(Partitions::new(cut, self.engine))
    }
}

/// A query in parts; see [`merganser::Partitions`](crate::Partitions).
#[cfg(feature = "datafusion")]
#[derive(Debug)]
#[non_exhaustive]
pub struct Partitions {
    /// The schema of the rows.
    pub schema: SchemaRef,
    /// The parts, in turns of the shards; those of one shard in the order of the table's blocks.
    pub parts: Vec<Partition>,
    /// Why the rows of a shard are in one part, where they are.
    pub whole: Option<String>,
    /// What keeps the snapshots.
    pub lease: Lease,
}

#[cfg(feature = "datafusion")]
impl Partitions {
    fn new(cut: query::Partitions, engine: Arc<Engine>) -> Self {
        Self {
            schema: cut.schema,
            parts: cut.parts,
            whole: cut.whole,
            lease: Lease {
                lease: cut.lease,
                engine,
            },
        }
    }
}

/// Keeps the snapshots of [partitions](Partitions) until it is dropped or its time is over, and the
/// cluster with it; see [`merganser::Lease`](crate::Lease).
#[cfg(feature = "datafusion")]
#[derive(Debug)]
#[must_use = "without the lease, the partitions cannot be read"]
pub struct Lease {
    lease: query::Lease,
    engine: Arc<Engine>,
}

#[cfg(feature = "datafusion")]
impl Lease {
    /// When it ends by itself.
    pub fn expires(&self) -> SystemTime {
        self.lease.expires()
    }

    /// Waits until it ends by itself.
    ///
    /// # Errors
    /// As [`Lease::ended`](crate::Lease::ended); [`ErrorKind::Usage`] in async code.
    pub fn ended(&mut self) -> Result<()> {
        self.engine.wait(self.lease.ended())
    }
}

/// The rows of one [`Partition`], which are read when it is streamed or collected; see
/// [`merganser::PartitionRead`](crate::PartitionRead).
#[cfg(feature = "datafusion")]
#[derive(Debug, Clone)]
#[must_use = "a partition is not read until it is streamed or collected"]
pub struct PartitionRead {
    read: query::PartitionRead,
    engine: Arc<Engine>,
}

#[cfg(feature = "datafusion")]
impl PartitionRead {
    /// Sets options: all that [`merganser::PartitionRead`](crate::PartitionRead) has, by its own methods.
    pub fn with(mut self, set: impl FnOnce(query::PartitionRead) -> query::PartitionRead) -> Self {
        self.read = set(self.read);
        self
    }

    /// What ends the reading, and that of every clone of it, from another thread.
    pub fn cancel_handle(&self) -> CancelHandle {
        self.read.cancel_handle()
    }

    /// The schema of the rows, without reading any.
    ///
    /// # Errors
    /// As [`PartitionRead::describe`](crate::PartitionRead::describe); [`ErrorKind::Usage`] in async code.
    pub fn describe(self) -> Result<SchemaRef> {
        self.engine.wait(self.read.describe())
    }

    /// Starts to read; the rows as they come, in bounded memory.
    ///
    /// # Errors
    /// As [`PartitionRead::stream`](crate::PartitionRead::stream); [`ErrorKind::Usage`] in async code.
    pub fn stream(self) -> Result<QueryReader> {
        let stream = self.engine.wait(self.read.stream())?;
        Ok(QueryReader::new(stream, self.engine))
    }

    /// Reads to the end; all batches.
    ///
    /// # Errors
    /// As [`PartitionRead::collect`](crate::PartitionRead::collect); [`ErrorKind::Usage`] in async code.
    ///
    /// # Memory
    /// Holds all rows.
    pub fn collect(self) -> Result<Vec<RecordBatch>> {
        self.engine.wait(self.read.collect())
    }
}

/// The rows of a query as they arrive: an iterator of [`RecordBatch`]es.
///
/// Arrow's own readers are of this kind too, so it goes wherever a [`RecordBatchReader`] does. For
/// their sake an [`Error`] comes as an [`ArrowError::ExternalError`], and can be taken out again:
///
/// ```no_run
/// use merganser::Error;
/// use merganser::arrow::error::ArrowError;
///
/// # fn example(error: ArrowError) {
/// if let ArrowError::ExternalError(inner) = &error
///     && let Some(error) = inner.downcast_ref::<Error>()
/// {
///     eprintln!("shard {:?}, SQLSTATE {:?}", error.shard(), error.sql_state());
/// }
/// # }
/// ```
///
/// [`next_batch`](Self::next_batch) gives the error as it is. After an error there are no more
/// batches; those that came before it are not an answer. Dropping the reader cancels the query on
/// every shard, and does not wait for that.
#[must_use = "a reader that is dropped cancels its query"]
pub struct QueryReader {
    schema: SchemaRef,
    /// `None` after the end or an error.
    stream: Option<QueryStream>,
    engine: Arc<Engine>,
}

impl QueryReader {
    fn new(stream: QueryStream, engine: Arc<Engine>) -> Self {
        Self {
            schema: stream.schema(),
            stream: Some(stream),
            engine,
        }
    }

    /// The schema of every batch; a result of no rows has it too.
    pub fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    /// Waits for the next batch; `None` when the result is complete, or has failed before.
    ///
    /// # Errors
    /// The first error of any shard or of the merge; [`ErrorKind::Usage`] in async code, which
    /// ends the query too.
    pub fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        let Some(stream) = &mut self.stream else {
            return Ok(None);
        };
        let next = self.engine.wait(stream.try_next());
        if !matches!(next, Ok(Some(_))) {
            self.discard();
        }
        next
    }

    /// Writes the rows that are still to come to an output, in one of the formats of
    /// [`export`](mod@crate::export).
    ///
    /// # Errors
    /// As [`export::write`]; [`ErrorKind::Usage`] in async code, and after an error or the end.
    pub fn export(
        mut self,
        output: Output,
        format: Format,
        options: &ExportOptions,
        progress: &Progress,
    ) -> Result<Summary> {
        let stream = self.stream.take().ok_or_else(|| {
            Error::new(ErrorKind::Usage, "the rows have been read already")
                .with_hint("run the query again to write its rows")
        })?;
        let engine = self.engine.clone();
        engine.wait(export::write(stream, output, format, options, progress))
    }

    fn discard(&mut self) {
        if let Some(stream) = self.stream.take() {
            self.engine.drop_within(stream);
        }
    }
}

impl Iterator for QueryReader {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_batch()
            .map_err(|error| ArrowError::from_external_error(Box::new(error)))
            .transpose()
    }
}

impl std::iter::FusedIterator for QueryReader {}

impl RecordBatchReader for QueryReader {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }
}

impl Drop for QueryReader {
    fn drop(&mut self) {
        self.discard();
    }
}

impl std::fmt::Debug for QueryReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("QueryReader")
            .field("schema", &self.schema)
            .finish_non_exhaustive()
    }
}

/// A cluster and the runtime that all its connections live in.
#[derive(Debug)]
struct Engine {
    cluster: cluster::Cluster,
    handle: Handle,
    runtime: OwnedRuntime,
}

impl Engine {
    fn new(cluster: cluster::Cluster) -> Result<Self> {
        let runtime = runtime::builder().build().map_err(|error| {
            Error::new(ErrorKind::Execute, "cannot start the threads of a cluster")
                .with_source(error)
                .with_hint("check the limits on threads and open files of this process")
        })?;
        Ok(Self {
            cluster,
            handle: runtime.handle().clone(),
            runtime: OwnedRuntime(Some(runtime)),
        })
    }

    /// Waits for work to be done.
    ///
    /// tokio panics when a thread that belongs to a runtime waits like this, so that is refused
    /// before. Whether the thread only lends itself to blocking work cannot be told.
    fn wait<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        match Handle::try_current() {
            Err(error) if error.is_missing_context() => self.handle.block_on(work),
            _ => {
                // Its parts may be streams.
                let _entered = self.handle.enter();
                drop(work);
                Err(Error::new(
                    ErrorKind::Usage,
                    "a blocking call cannot wait inside an async runtime",
                )
                .with_hint(
                    "use merganser::Cluster and await it, or make the call on a thread of its own (std::thread::spawn)",
                ))
            }
        }
    }

    /// Drops a stream where it finds the runtime that cancels its queries.
    fn drop_within(&self, stream: QueryStream) {
        match Handle::try_current() {
            // The thread is ending and can enter nothing.
            Err(error) if error.is_thread_local_destroyed() => {
                self.handle.spawn(async move { drop(stream) });
            }
            _ => {
                let _entered = self.handle.enter();
                drop(stream);
            }
        }
    }
}

impl Drop for Engine {
    /// Readers that were dropped a moment ago may still have cancel requests on their way, which
    /// end with the runtime.
    fn drop(&mut self) {
        let Some(runtime) = self.runtime.0.take() else {
            return;
        };
        let (runtime, cluster) = (OwnedRuntime(Some(runtime)), self.cluster.clone());
        let end = move || {
            if let Some(runtime) = &runtime.0 {
                let ended = async {
                    cluster.pools().idle().await;
                    cluster.close().await;
                };
                // A server that does not answer must not keep the program from ending.
                let _ = runtime.block_on(async { timeout(ENDING_TIMEOUT, ended).await });
            }
        };
        match Handle::try_current() {
            Err(error) if error.is_missing_context() => end(),
            // Waiting is not allowed here. Without a thread nothing is waited for.
            _ => drop(thread::Builder::new().spawn(end)),
        }
    }
}

/// A runtime that may be dropped anywhere: dropping a plain one panics in async code.
#[derive(Debug)]
struct OwnedRuntime(Option<Runtime>);

impl Drop for OwnedRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// As long as a single cancel request may take.
const ENDING_TIMEOUT: Duration = Duration::from_secs(5);
