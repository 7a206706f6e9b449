//! A query to come: what to run, and how.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::record_batch::RecordBatchWriter;
use futures::StreamExt;
use futures::stream::{self, FuturesUnordered};
use tokio::time::{Instant, timeout_at};

use crate::cluster::Cluster;
use crate::connect::Session;
use crate::decode::{DEFAULT_BATCH_BYTES, DEFAULT_BATCH_ROWS};
use crate::error::{Error, ErrorKind, Result};
use crate::export;
use crate::merge::{self, Order};
use crate::progress::{Counters, ScanProgress, ShardState};
use crate::scan::{self, BatchOptions, Description};
use crate::statement::Statement;
use crate::stream::QueryStream;
use crate::types::{Column, TypeOptions};

/// A query that runs when it is awaited.
///
/// # Cancel safety
/// Dropping any future of a query, or the stream that it gave, cancels it on every shard.
#[derive(Debug, Clone)]
#[must_use = "a query does nothing until it is streamed, collected or written"]
pub struct Query {
    cluster: Cluster,
    sql: String,
    parameters: Vec<Option<String>>,
    merge_sql: Option<String>,
    types: TypeOptions,
    order: Order,
    batch_rows: usize,
    batch_bytes: usize,
    memory: usize,
    timeout: Option<Duration>,
    progress: ScanProgress,
}

/// The memory budget unless set otherwise: 1 GiB.
pub const DEFAULT_MEMORY: usize = 1 << 30;
/// How much of the budget batches that wait to be merged may take.
const QUEUE_SHARE: usize = 8;

impl Query {
    pub(crate) fn new(cluster: Cluster, sql: String) -> Self {
        Self {
            cluster,
            sql,
            parameters: Vec::new(),
            merge_sql: None,
            types: TypeOptions::default(),
            order: Order::default(),
            batch_rows: DEFAULT_BATCH_ROWS,
            batch_bytes: DEFAULT_BATCH_BYTES,
            memory: DEFAULT_MEMORY,
            timeout: None,
            progress: ScanProgress::new(),
        }
    }

    /// Runs DataFusion SQL over the rows of all shards, which are the table `shards`.
    ///
    /// This is how partial aggregates combine: each shard groups its rows, and the merge groups the
    /// groups. Sums and counts are summed, minima and maxima are taken again; an average is a sum
    /// divided by a count, both summed.
    ///
    /// The SQL is one SELECT, read by PostgreSQL's rules where DataFusion can be told them: names
    /// are folded to lower case, NULLs sort as the largest value, a literal with a point is a
    /// decimal, an overflow is an error. What differs from PostgreSQL:
    ///
    /// - `sum` of `bigint` is a `bigint`, and an error if it does not fit; `sum(x::decimal(38))`
    ///   gives more room. `sum` of a decimal has ten digits more, up to 38.
    /// - `avg` of integers is a double, and `avg` of a decimal has four digits more, the last of
    ///   them cut; `sum(total) / sum(count)` of decimals says what is meant.
    /// - `real` is summed as `double`. Division of a double by zero gives infinity.
    /// - Text and enum labels are compared by their bytes (collation "C"), intervals field by field.
    ///   `char(n)` comes with its trailing blanks, and is equal only to text that has them: compare
    ///   `rtrim(x)`.
    /// - A division of decimals gives four digits more than the dividend has, the last cut, where
    ///   PostgreSQL gives sixteen significant ones, rounded; a cast of a fraction to an integer cuts
    ///   it off, where PostgreSQL rounds. Functions are DataFusion's, also those with a name that
    ///   PostgreSQL has (`to_char`, `round`). Leave such expressions to the shards where they can
    ///   compute them.
    /// - A result column without a name of its own is called as DataFusion calls it: use `AS`.
    ///
    /// Two columns of the shards with the same name are an error, and so is any other table.
    ///
    /// ```no_run
    /// # async fn example(cluster: merganser::Cluster) -> merganser::Result<()> {
    /// let batches = cluster
    ///     .fan_out("select l_returnflag, count(*) as n from lineitem group by 1")
    ///     .reaggregate("select l_returnflag, sum(n) as n from shards group by 1 order by 1")
    ///     .collect()
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "datafusion")]
    pub fn reaggregate(mut self, merge_sql: impl Into<String>) -> Self {
        self.merge_sql = Some(merge_sql.into());
        self
    }

    /// The values of `$1`, `$2`, ... in PostgreSQL's text form; `None` is NULL. PostgreSQL itself
    /// finds their types.
    pub fn with_params<I>(mut self, values: I) -> Self
    where
        I: IntoIterator<Item = Option<String>>,
    {
        self.parameters = values.into_iter().collect();
        self
    }

    /// The most rows in a batch; 8192 unless set.
    pub fn with_batch_rows(mut self, rows: usize) -> Self {
        self.batch_rows = rows;
        self
    }

    /// The most bytes of a batch, as they come from the server, unless one row alone has more;
    /// 16 MiB unless set.
    pub fn with_batch_bytes(mut self, bytes: usize) -> Self {
        self.batch_bytes = bytes;
        self
    }

    /// How types with more than one mapping are read.
    pub fn with_types(mut self, options: TypeOptions) -> Self {
        self.types = options;
        self
    }

    /// The order of rows of different shards.
    pub fn with_order(mut self, order: Order) -> Self {
        self.order = order;
        self
    }

    /// How many bytes the query may hold: batches that wait, and the state of a merge, which
    /// spills to disk beyond. 1 GiB unless set.
    pub fn with_memory(mut self, bytes: usize) -> Self {
        self.memory = bytes;
        self
    }

    /// The longest that the whole query may take, from the call to the last row.
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Lets `progress` see how far the shards are.
    pub fn with_progress(mut self, progress: ScanProgress) -> Self {
        self.progress = progress;
        self
    }

    /// The schema of the shards' rows, without running the query; every shard is asked.
    ///
    /// # Errors
    /// As [`stream`](Self::stream), before the first row.
    pub async fn describe(self) -> Result<SchemaRef> {
        let deadline = self.deadline();
        deadline
            .within(async {
                let prepared = self.prepare().await?;
                for (session, _) in prepared.shards {
                    session.finish().await;
                }
                let fields: Vec<_> = prepared.columns.iter().map(Column::to_field).collect();
                Ok(Arc::new(Schema::new(fields)))
            })
            .await
    }

    /// The SQL text as the first shard would run it, with the values in place of `$1`, `$2`, ...
    ///
    /// The shard is asked for the types of the parameters; each value is a literal that is cast to
    /// its type. The query does not run.
    ///
    /// # Errors
    /// As [`stream`](Self::stream), before the first row, but of the first shard alone.
    pub async fn mogrify(self) -> Result<String> {
        self.deadline()
            .within(async {
                let statement = Statement::parse(&self.sql)?;
                let mut session = self.cluster.session(0).await?;
                let description = scan::describe(&mut session, &statement, &self.types).await?;
                session.finish().await;
                scan::with_values(&statement, &description, &self.parameters)
            })
            .await
    }

    /// Starts the query; the rows as they come, in bounded memory.
    ///
    /// Every shard is asked for its columns first; only when all agree does the query run.
    ///
    /// # Errors
    /// - [`ErrorKind::Syntax`]: no statement, or several; or DataFusion does not understand the
    ///   merge's SQL.
    /// - [`ErrorKind::Config`]: the number of parameters is not that of the values.
    /// - [`ErrorKind::Connect`]: a shard cannot be reached or does not let us in; where several
    ///   fail, all are named.
    /// - [`ErrorKind::Server`]: a shard does not accept the SQL.
    /// - [`ErrorKind::Unsupported`]: not a query; or the shards disagree on its columns.
    /// - [`ErrorKind::Timeout`]: the deadline passed.
    pub async fn stream(self) -> Result<QueryStream> {
        let deadline = self.deadline();
        let (order, memory) = (self.order, self.memory);
        let count = self.cluster.pools().len();
        #[cfg(feature = "datafusion")]
        let merge_options = merge::ReaggregateOptions {
            order,
            batch_rows: self.batch_rows,
            ..merge::ReaggregateOptions::new(memory)
        };
        let merge_sql = self.merge_sql.clone();
        let streams = deadline.within(self.scan()).await?;
        let merged = match merge_sql {
            #[cfg(feature = "datafusion")]
            Some(sql) => {
                deadline
                    .within(merge::reaggregate(streams, &sql, merge_options))
                    .await?
            }
            #[cfg(not(feature = "datafusion"))]
            Some(_) => return Err(Error::new(ErrorKind::Config, "built without DataFusion")),
            None => merge::union(streams, order, memory / QUEUE_SHARE / count.max(1))?,
        };
        Ok(deadline.bound(merged))
    }

    /// Runs the query to its end; the batches, those of the first shard first.
    ///
    /// # Errors
    /// As [`stream`](Self::stream), and those of reading the rows. There is no partial result.
    ///
    /// # Memory
    /// Holds the whole result.
    pub async fn collect(self) -> Result<Vec<RecordBatch>> {
        if self.merge_sql.is_some() {
            return self.stream().await?.collect().await;
        }
        let (deadline, order) = (self.deadline(), self.order);
        deadline
            .within(async {
                let streams = self.scan().await?;
                merge::collect(streams, order).await
            })
            .await
    }

    /// Runs the query to its end into a writer, which is opened with the schema once that is
    /// known; returns the number of rows.
    ///
    /// # Errors
    /// As [`collect`](Self::collect), and those of the writer. What was written by then is for the
    /// caller to discard; [`export::write`] does that for files.
    ///
    /// # Memory
    /// Bounded by [`with_memory`](Self::with_memory) and what the writer holds.
    pub async fn write<W>(
        self,
        open: impl FnOnce(SchemaRef) -> Result<W> + Send + 'static,
    ) -> Result<u64>
    where
        W: RecordBatchWriter + Send + 'static,
    {
        let stream = self.stream().await?;
        export::pump(stream, open, &export::Progress::default()).await
    }

    fn deadline(&self) -> Deadline {
        Deadline {
            end: self
                .timeout
                .map(|timeout| (Instant::now() + timeout, timeout)),
            progress: self.progress.clone(),
        }
    }

    /// The rows of each shard, ready to be read.
    async fn scan(self) -> Result<Vec<QueryStream>> {
        let prepared = self.prepare().await?;
        let options = BatchOptions {
            rows: self.batch_rows,
            bytes: self.batch_bytes,
            unrepresentable: self.types.unrepresentable,
        };
        let statement = &prepared.statement;
        prepared
            .shards
            .into_iter()
            .zip(prepared.descriptions)
            .map(|((session, counters), description)| {
                let sql = scan::copy_sql(statement, &description, &self.parameters)?;
                let columns = prepared.columns.clone();
                Ok(scan::rows(session, sql, columns, &options, counters))
            })
            .collect()
    }

    /// Connects to all shards, describes the statement on each, and compares.
    async fn prepare(&self) -> Result<Prepared> {
        let statement = Statement::parse(&self.sql)?;
        let pools = self.cluster.pools();
        let names: Vec<_> = (0..pools.len())
            .map(|shard| pools.name(shard).clone())
            .collect();
        let counters = self.progress.begin(names.iter().map(|name| &**name));
        let permits = pools.permits(0..pools.len()).await?;
        let described = permits
            .into_iter()
            .zip(&counters)
            .map(|(permit, counters)| {
                let statement = &statement;
                async move {
                    counters.set(ShardState::Connecting);
                    let described = async {
                        let mut session = pools.session(permit).await?;
                        let description =
                            scan::describe(&mut session, statement, &self.types).await?;
                        Ok((session, description))
                    };
                    let result = described.await;
                    if result.is_err() {
                        counters.set(ShardState::Failed);
                    }
                    result
                }
            });
        let (sessions, descriptions): (Vec<_>, Vec<_>) =
            settle(described).await?.into_iter().unzip();
        let named: Vec<_> = names
            .iter()
            .map(|name| name.to_string())
            .zip(descriptions)
            .collect();
        let columns = scan::agree(&named)?;
        Ok(Prepared {
            statement,
            columns,
            shards: sessions.into_iter().zip(counters).collect(),
            descriptions: named
                .into_iter()
                .map(|(_, description)| description)
                .collect(),
        })
    }
}

/// A query that every shard has described.
struct Prepared {
    statement: Statement,
    columns: Vec<Column>,
    shards: Vec<(Session, Arc<Counters>)>,
    descriptions: Vec<Description>,
}

/// All values, or the first shard's error; where several could not be reached, it names them.
fn all_or_first_error<T>(results: impl Iterator<Item = Result<T>>) -> Result<Vec<T>> {
    let mut values = Vec::new();
    let mut errors = Vec::new();
    for result in results {
        match result {
            Ok(value) => values.push(value),
            Err(error) => errors.push(error),
        }
    }
    let others: Vec<_> = errors
        .iter()
        .skip(1)
        .filter(|error| error.kind() == ErrorKind::Connect)
        .filter_map(Error::shard)
        .map(|shard| format!("{shard:?}"))
        .collect();
    match errors.into_iter().next() {
        None => Ok(values),
        Some(first) if others.is_empty() || first.kind() != ErrorKind::Connect => Err(first),
        Some(first) => Err(first.with_more(&format!("also failing: {}", others.join(", ")))),
    }
}

/// When the query has to be done.
#[derive(Clone)]
struct Deadline {
    /// The moment, and the time that was given.
    end: Option<(Instant, Duration)>,
    /// Tells which shards were late.
    progress: ScanProgress,
}

impl Deadline {
    async fn within<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let Some((at, limit)) = self.end else {
            return work.await;
        };
        match timeout_at(at, work).await {
            Ok(result) => result,
            Err(_) => Err(self.passed(limit)),
        }
    }

    fn passed(&self, limit: Duration) -> Error {
        let late: Vec<_> = self
            .progress
            .shards()
            .into_iter()
            .filter(|shard| shard.state != ShardState::Done)
            .map(|shard| format!("{:?}", shard.shard))
            .collect();
        let waiting = match late.is_empty() {
            true => String::new(),
            false => format!("; not done: {}", late.join(", ")),
        };
        Error::new(
            ErrorKind::Timeout,
            format!(
                "the query did not end within {} s{waiting}",
                limit.as_secs_f64()
            ),
        )
        .with_hint("give it more time (--timeout on the command line), or ask for less")
    }

    /// The stream, with an error in place of what does not come in time.
    fn bound(self, stream: QueryStream) -> QueryStream {
        if self.end.is_none() {
            return stream;
        }
        let schema = stream.schema();
        let batches = stream::unfold(Some((stream, self)), |state| async move {
            let (mut stream, deadline) = state?;
            let next = deadline
                .within(async { stream.next().await.transpose() })
                .await;
            match next.transpose()? {
                Ok(batch) => Some((Ok(batch), Some((stream, deadline)))),
                Err(error) => Some((Err(error), None)),
            }
        });
        QueryStream::new(schema, batches)
    }
}

/// Waits for all shards; once one has failed, for the others only so long.
///
/// Long enough that shards which fail in the same way are all known, so that the first of them is
/// named, and those that cannot be reached are all listed; but a shard that hangs does not hide the
/// error of another.
async fn settle<T>(
    work: impl IntoIterator<Item = impl Future<Output = Result<T>>>,
) -> Result<Vec<T>> {
    let mut pending: FuturesUnordered<_> = work
        .into_iter()
        .enumerate()
        .map(|(index, work)| async move { (index, work.await) })
        .collect();
    let mut results = Vec::new();
    let mut until: Option<Instant> = None;
    loop {
        let next = match until {
            None => pending.next().await,
            // Whoever is late is given up.
            Some(until) => timeout_at(until, pending.next()).await.unwrap_or(None),
        };
        let Some((index, result)) = next else { break };
        if let Err(error) = &result {
            let patience = match error.kind() {
                ErrorKind::Connect => UNREACHABLE_PATIENCE,
                _ => FAILED_PATIENCE,
            };
            until.get_or_insert(Instant::now() + patience);
        }
        results.push((index, result));
    }
    results.sort_by_key(|(index, _)| *index);
    all_or_first_error(results.into_iter().map(|(_, result)| result))
}

/// How long the other shards are waited for when one could not be reached: the usual limit on
/// connecting.
const UNREACHABLE_PATIENCE: Duration = Duration::from_secs(10);
/// How long the other shards are waited for when one does not accept the query.
const FAILED_PATIENCE: Duration = Duration::from_secs(1);
