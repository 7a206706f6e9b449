//! A query to come: what to run, and how.

#[cfg(feature = "datafusion")]
mod analysis;
#[cfg(feature = "datafusion")]
mod answer;
mod deadline;
#[cfg(feature = "datafusion")]
mod execute;
mod fan_out;
#[cfg(feature = "datafusion")]
mod planned;
mod settle;
#[cfg(feature = "datafusion")]
mod verify;

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::record_batch::RecordBatchWriter;

#[cfg(feature = "datafusion")]
pub use self::analysis::Analysis;
use self::deadline::Deadline;
use self::settle::settle;
#[cfg(feature = "datafusion")]
pub use self::verify::{Verified, Verifier};
use crate::cluster::Cluster;
use crate::decode::{DEFAULT_BATCH_BYTES, DEFAULT_BATCH_ROWS};
use crate::error::{Error, ErrorKind, Result};
use crate::export;
use crate::merge::{self, Order};
#[cfg(feature = "datafusion")]
use crate::plan::MergeMode;
use crate::progress::ScanProgress;
use crate::scan::{self, Reading};
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
    #[cfg(feature = "datafusion")]
    planning: Option<Planning>,
    parameters: Vec<Option<String>>,
    merge_sql: Option<String>,
    types: TypeOptions,
    /// `None`: the user leaves it open.
    order: Option<Order>,
    batch_rows: usize,
    batch_bytes: usize,
    memory: usize,
    timeout: Option<Duration>,
    progress: ScanProgress,
}

/// How a query is planned.
#[cfg(feature = "datafusion")]
#[derive(Debug, Clone, Copy)]
struct Planning {
    merge: MergeMode,
    finish_rows: u64,
    finish_bytes: u64,
    /// Whether merges may hold numbers as Arrow's decimals.
    decimals: bool,
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
            #[cfg(feature = "datafusion")]
            planning: None,
            parameters: Vec::new(),
            merge_sql: None,
            types: TypeOptions::default(),
            order: None,
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
    /// The SQL is one SELECT of DataFusion's, read by PostgreSQL's rules: names are folded to lower
    /// case, NULLs sort as the largest value, literals have the types that they have there, an
    /// overflow is an error, casts round and print as there, and dates, timestamps and intervals add
    /// up as there. What cannot be read so is refused: `to_char` and its like, `AT TIME ZONE`,
    /// `SIMILAR TO`, casts to `varchar(n)`, `char(n)` and `timestamp(p)`, comparisons of json. What
    /// differs from PostgreSQL all the same:
    ///
    /// - `sum` of `bigint` is a `bigint`, and an error if it does not fit; `sum(x::decimal(38))`
    ///   gives more room. `sum` of a decimal has ten digits more, up to 38.
    /// - `avg` of integers is a double, and `avg` of a decimal has four digits more, the last of
    ///   them cut; `sum(total) / sum(count)` of decimals says what is meant. `stddev` and `variance`
    ///   are doubles, and so are roots, powers and logarithms of decimals.
    /// - `real` is summed as `double`. A double divided by zero, or too large, gives infinity, and a
    ///   function outside of its domain NaN. The sign of a zero may be lost.
    /// - Text and enum labels are compared by their bytes (collation "C"), intervals field by field,
    ///   and json is sorted and grouped by its text. An unknown label of an enum equals no other.
    ///   `char(n)` comes with its trailing blanks, and is equal only to text that has them: compare
    ///   `rtrim(x)`. `upper`, `lower` and ILIKE know all letters of Unicode.
    /// - A division of decimals gives four digits more than the dividend has, the last cut, where
    ///   PostgreSQL gives sixteen significant ones, rounded.
    /// - A date beyond the range of PostgreSQL's is no error.
    /// - Functions are DataFusion's, also those with a name that PostgreSQL has, and there are
    ///   functions, operators and pairs of types that PostgreSQL refuses (`median`, `max` of a
    ///   `boolean`, a UNION of text and numbers). Leave expressions to the shards where they can
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

    /// The order of rows of different shards, where the statement leaves it open: [`Order::Shard`]
    /// unless set.
    ///
    /// Only the groups of a planned `GROUP BY` without `ORDER BY` come in any order unless this is
    /// set, as they do from PostgreSQL: that is faster where there are many. Sums of floating-point
    /// numbers, whose last digits depend on the order, are the same each time nevertheless.
    pub fn with_order(mut self, order: Order) -> Self {
        self.order = Some(order);
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

    /// The schema of the rows, without running the query. For a fan-out every shard is asked, and a
    /// planned query is planned.
    ///
    /// # Errors
    /// As [`stream`](Self::stream), before the first row.
    pub async fn describe(self) -> Result<SchemaRef> {
        let deadline = self.deadline();
        deadline
            .within(async {
                #[cfg(feature = "datafusion")]
                if let Some(planning) = self.planning {
                    return self.planned_schema(planning).await;
                }
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
                let reading = Reading::Options(self.types);
                let description = scan::describe(&mut session, &statement, reading).await?;
                session.finish().await;
                scan::with_values(&statement, &description, &self.parameters)
            })
            .await
    }

    /// Starts the query; the rows as they come, in bounded memory.
    ///
    /// Every shard is asked for its columns first; only when all agree does the query run. A planned
    /// query has run by then up to its last step.
    ///
    /// # Errors
    /// - [`ErrorKind::Syntax`]: no statement, or several; or DataFusion does not understand the
    ///   merge's SQL.
    /// - [`ErrorKind::Config`]: the number of parameters is not that of the values.
    /// - [`ErrorKind::Connect`]: a shard cannot be reached or does not let us in; where several
    ///   fail, all are named.
    /// - [`ErrorKind::Server`]: a shard does not accept the SQL.
    /// - [`ErrorKind::Unsupported`]: not a query; or the shards disagree on its columns; or a planned
    ///   query whose answer would not be exact, or that has more intermediate rows than are allowed.
    /// - [`ErrorKind::Timeout`]: the deadline passed.
    pub async fn stream(self) -> Result<QueryStream> {
        let deadline = self.deadline();
        #[cfg(feature = "datafusion")]
        if let Some(planning) = self.planning {
            if self.merge_sql.is_some() {
                return Err(Error::new(
                    ErrorKind::Config,
                    "a planned query has no merge SQL of its own",
                )
                .with_hint("use merge SQL with a fan-out, or write it into the query"));
            }
            let (rows, _) = deadline.within(self.start_planned(planning)).await?;
            return Ok(deadline.bound(rows));
        }
        let (order, memory) = (self.order.unwrap_or_default(), self.memory);
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
        #[cfg(feature = "datafusion")]
        if self.planning.is_some() {
            return self.stream().await?.collect().await;
        }
        if self.merge_sql.is_some() {
            return self.stream().await?.collect().await;
        }
        let (deadline, order) = (self.deadline(), self.order.unwrap_or_default());
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
        Deadline::new(self.timeout, self.progress.clone())
    }
}
