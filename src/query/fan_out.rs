//! The same SQL on every shard.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::record_batch::RecordBatchWriter;
use futures::FutureExt;
use futures::stream::StreamExt;

use super::deadline::Deadline;
use super::fence::Fence;
use super::options::Options;
#[cfg(feature = "datafusion")]
use super::partitions::{PartitionOptions, Partitions, ReadFor, Whole};
use super::{CancelHandle, distinct, settle};
use crate::catalog::identity;
use crate::cluster::Cluster;
use crate::config::SessionSettings;
use crate::connect::{Opening, Permit, Session};
use crate::error::{Error, ErrorKind, Result, SqlOrigin};
use crate::export::{self, Part, Resumable, Source};
use crate::merge::{self, Order};
use crate::missing::MissingShards;
#[cfg(feature = "datafusion")]
use crate::plan;
use crate::progress::{Counters, ScanProgress, ShardState};
#[cfg(feature = "datafusion")]
use crate::scan::Split;
use crate::scan::{self, Description, Reading, Retry};
#[cfg(feature = "datafusion")]
use crate::statement::Ranged;
use crate::statement::Statement;
use crate::stream::QueryStream;
use crate::types::{Column, TypeOptions};

/// The same SQL on every shard, with the rows of all of them; runs when it is awaited.
///
/// Made by [`Cluster::fan_out`].
///
/// # Cancel safety
/// Dropping any future of a fan-out, or the stream that it gave, cancels it on every shard.
#[derive(Debug, Clone)]
#[must_use = "a fan-out does nothing until it is streamed, collected or written"]
pub struct FanOut {
    pub(super) cluster: Cluster,
    sql: String,
    merge_sql: Option<String>,
    options: Options,
}

impl FanOut {
    pub(crate) fn new(cluster: Cluster, sql: String) -> Self {
        Self {
            cluster,
            sql,
            merge_sql: None,
            options: Options::default(),
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
    /// Unless an order is set, shards are merged as their rows arrive, or if the SQL aggregates floats
    /// in shard order, which keeps their sums the same each time.
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
        self.options.parameters = values.into_iter().collect();
        self
    }

    /// The most rows in a batch; 8192 unless set.
    pub fn with_batch_rows(mut self, rows: usize) -> Self {
        self.options.batch_rows = rows;
        self
    }

    /// The most bytes of a batch, as they come from the server, unless one row alone has more;
    /// 16 MiB unless set.
    pub fn with_batch_bytes(mut self, bytes: usize) -> Self {
        self.options.batch_bytes = bytes;
        self
    }

    /// How types with more than one mapping are read.
    pub fn with_types(mut self, options: TypeOptions) -> Self {
        self.options.types = options;
        self
    }

    /// The order of rows of different shards: [`Order::FirstCome`] unless set, so that no shard waits
    /// for another. Rows of one shard stay in its order.
    pub fn with_order(mut self, order: Order) -> Self {
        self.options.order = Some(order);
        self
    }

    /// How many bytes the query may hold: batches that wait, and the state of a merge, which
    /// spills to disk beyond. 1 GiB unless set.
    ///
    /// An eighth of it is for batches that wait for their reader; under [`Order::Shard`] all of it,
    /// and shards whose turn has not come wait when it is full. A row that is longer than a quarter of
    /// it, and than 1 MiB, is refused ([`ErrorKind::Limit`]), because it is
    /// held several times over while it becomes output; several shards with such rows hold one each.
    /// A quarter is for what comes from the servers and is not decoded, and a quarter for batches that are
    /// being made, divided among the shards: with many of them batches are smaller. Some 160 KiB for each
    /// shard are taken in any case. A row group of Parquet comes on top
    /// ([`ExportOptions::with_row_group_bytes`](export::ExportOptions::with_row_group_bytes)).
    pub fn with_memory(mut self, bytes: usize) -> Self {
        self.options.memory = bytes;
        self
    }

    /// How many connections read one shard at the same time: 1 unless set, and no more than the cluster
    /// [has](crate::ClusterBuilder::with_connections_per_shard).
    ///
    /// Each reads ranges of the blocks of the table, all under one snapshot, and takes the next when it is
    /// done with one; no row comes twice or is missing, whatever others write meanwhile. That is worth it
    /// where a shard has cores to spare. One connection reads, as before, where ranges would not be exact or
    /// not pay: anything but one SELECT of one plain or partitioned table without subqueries, `GROUP BY`,
    /// `DISTINCT`, `ORDER BY` or `LIMIT`; [`Order::Shard`]; [re-aggregation](Self::reaggregate); a table of
    /// a few MiB, or whose rows the server finds by an index; a server before PostgreSQL 14; and where no
    /// second connection is to be had. The rows of a shard then come in any order.
    #[cfg(feature = "datafusion")]
    pub fn with_readers_per_shard(mut self, readers: usize) -> Self {
        self.options.readers.most = readers.max(1);
        self
    }

    /// About the most bytes of a table that one of [several readers](Self::with_readers_per_shard) takes at
    /// a time: 32 MiB unless set. At least a block; where it is below 1 MiB, also smaller tables are read by
    /// several.
    #[cfg(feature = "datafusion")]
    pub fn with_range_bytes(mut self, bytes: u64) -> Self {
        self.options.readers.range_bytes = bytes;
        self
    }

    /// The longest that the whole query may take, from the call until the last row is taken, and by
    /// [`write`](Self::write) or [`export::write`] written.
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.options.timeout = Some(timeout);
        self
    }

    /// Lets `progress` see how far the shards are.
    pub fn with_progress(mut self, progress: ScanProgress) -> Self {
        self.options.progress = progress;
        self
    }

    /// Lets shards be missing from the answer, and tells which were; see [`MissingShards`] for what that
    /// means.
    ///
    /// Not together with [`reaggregate`](Self::reaggregate): the sum over some of the shards looks like
    /// that over all; nor with [`write_folder`](Self::write_folder), which is complete or says nothing.
    /// One connection reads each shard then.
    pub fn with_missing_shards(mut self, missing: &MissingShards) -> Self {
        self.options.missing = Some(missing.clone());
        self
    }

    /// How often a shard's query may run again when its connection is lost, the server restarts, or a
    /// conflict with replay on a replica ends it, after pauses of up to 100 ms, 200 ms, 400 ms, ...
    ///
    /// Never unless set: the text of a fan-out may call functions with an effect that no read-only
    /// transaction prevents, such as `pg_logical_slot_get_changes`, and the rows of a first run are lost.
    /// A planned query calls none of these, and runs again 3 times unless set.
    ///
    /// Only while none of its rows was handed on, in a new transaction, and on another of the shard's
    /// servers if it has others; that has to describe the query alike. A server that is told to end the
    /// session (57P01) is not asked again, only another. What ran again is seen in
    /// [`ScanProgress::retries`]. Shards that several connections read are not asked again, nor servers
    /// that an earlier step of a planned query has used, whose snapshot is gone; nor is what planning asks,
    /// or what cannot be connected to in the first place.
    pub fn with_retries(mut self, retries: u32) -> Self {
        self.options.retries = Some(retries);
        self
    }

    /// Asks that all shards are read within this time, whatever the topology says of that; see
    /// [`ReadFence`](crate::config::ReadFence) for what it means. More is an error of kind
    /// [`ErrorKind::Limit`].
    pub fn with_max_skew(mut self, max_skew: Duration) -> Self {
        self.options.max_skew = Some(max_skew);
        self
    }

    /// Settings for this query alone, on every server that it uses. What they leave open is as the
    /// topology has it.
    ///
    /// They are checked when the query begins: a name or value that is invalid is an error of kind
    /// [`ErrorKind::Config`], or [`ErrorKind::Server`]
    /// where only PostgreSQL can tell, and names the setting. A `connect_timeout` is refused, because
    /// connections serve many queries.
    ///
    /// ```no_run
    /// # async fn example(cluster: merganser::Cluster) -> merganser::Result<()> {
    /// use merganser::config::SessionSettings;
    ///
    /// let berlin = SessionSettings::default().with_timezone("Europe/Berlin");
    /// let batches = cluster.fan_out("select now()::date").with_session(berlin).collect().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn with_session(mut self, settings: SessionSettings) -> Self {
        self.options.session = Some(settings);
        self
    }

    /// What ends this query, and every clone of it, from elsewhere.
    pub fn cancel_handle(&self) -> CancelHandle {
        self.options.cancel.clone()
    }

    /// The schema of the shards' rows, without running the query. Every shard is asked.
    ///
    /// # Errors
    /// As [`stream`](Self::stream), before the first row.
    pub async fn describe(self) -> Result<SchemaRef> {
        self.options
            .deadline()
            .within(async {
                let prepared = self.prepare(None).await?;
                for (session, _, _) in prepared.shards {
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
        let mogrified = self.options.mogrify(&self.cluster, &self.sql);
        self.options.deadline().within(mogrified).await
    }

    /// The parameters: a field for each of `$1`, `$2`, ..., with that name and in this order. Its type
    /// is the Arrow type of a column that has the parameter's type, which the first shard finds out.
    /// No values are needed, and the query does not run.
    ///
    /// # Errors
    /// As [`stream`](Self::stream), before the first row, but of the first shard alone.
    pub async fn parameters(self) -> Result<SchemaRef> {
        let parameters = self.options.parameters(&self.cluster, &self.sql);
        self.options.deadline().within(parameters).await
    }

    /// Starts the query; the rows as they come, in bounded memory.
    ///
    /// Every shard is asked for its columns first; only when all agree does the query run.
    ///
    /// # Errors
    /// - [`ErrorKind::Syntax`]: no statement, or several; or DataFusion
    ///   does not understand the merge's SQL.
    /// - [`ErrorKind::Config`]: the number of parameters is not that of the
    ///   values, a setting is invalid, or two shards are one database, to which the same role logs in with
    ///   the same options.
    /// - [`ErrorKind::Connect`]: a shard cannot be reached or does not let
    ///   us in; where several fail, all are named.
    /// - [`ErrorKind::Server`]: a shard does not accept the SQL.
    /// - [`ErrorKind::Unsupported`]: not a query; or the shards
    ///   disagree on its columns.
    /// - [`ErrorKind::Timeout`]: the deadline passed.
    /// - [`ErrorKind::Cancelled`]: somebody called
    ///   [`CancelHandle::cancel`].
    pub async fn stream(self) -> Result<QueryStream> {
        let deadline = self.options.deadline();
        let rows = deadline.within(self.start(&deadline).boxed()).await?;
        Ok(deadline.bound(rows).with_remarks(self.options.remarks()))
    }

    /// Runs the query to its end; the batches in the order of [`with_order`](Self::with_order).
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
        let order = self.options.order.unwrap_or_default();
        let deadline = self.options.deadline();
        let collected = async {
            let streams = self.scan(&deadline).boxed().await?;
            merge::collect(flat(streams), order).await
        };
        deadline.within(collected).await
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

    /// Runs the query to its end into a folder of files, those of each shard at the same time; or
    /// `rows.parquet` where the rows are [re-aggregated](Self::reaggregate).
    ///
    /// The folder is taken before any shard is asked.
    ///
    /// # Errors
    /// As [`collect`](Self::collect), and those of the folder; see [`export::Folder`].
    ///
    /// # Cancel safety
    /// Dropping the future leaves the files of shards that are complete, and no others.
    pub async fn write_folder(self, folder: &export::Folder) -> Result<export::Manifest> {
        let deadline = self.options.deadline();
        let written = async {
            self.options.needs_all_shards()?;
            let opened = folder.open().await?;
            let (parts, resumable) = match &self.merge_sql {
                Some(_) => {
                    let rows = self.start(&deadline).boxed().await?;
                    (
                        vec![Part::merged(rows)],
                        Resumable::No("its rows are merged"),
                    )
                }
                None => (self.parts(&deadline).boxed().await?, Resumable::Yes),
            };
            let options = &self.options;
            let circumstances = (
                &options.parameters,
                &options.types,
                &options.session,
                &self.merge_sql,
            );
            let topology = self.cluster.topology();
            let source = Source::new(&self.sql, topology, &circumstances, resumable);
            opened.write(parts, source).await
        };
        deadline.within(written).await
    }

    /// Cuts the query into parts that can be read in other processes, or other threads, each by itself:
    /// ranges of the table's blocks where [one SELECT](Self::with_readers_per_shard) allows that, else a
    /// part for each shard. Together they have each row once, as a snapshot shows it that is taken of each
    /// shard now, and kept by the [lease](crate::Lease).
    ///
    /// ```no_run
    /// # async fn example(cluster: merganser::Cluster) -> merganser::Result<()> {
    /// use merganser::{Partition, PartitionOptions};
    ///
    /// let cut = cluster.fan_out("SELECT * FROM lineitem").partitions(&PartitionOptions::new()).await?;
    /// let sealed: Vec<Vec<u8>> = cut.parts.iter().map(|part| part.seal(b"key")).collect();
    /// // Elsewhere, with a topology of the same shards, while `cut.lease` lasts:
    /// let part = Partition::unseal(&sealed[0], b"key")?;
    /// let batches = cluster.read_partition(&part).collect().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`stream`](Self::stream), before the first row; [`ErrorKind::Unsupported`]
    /// for a [re-aggregation](Self::reaggregate); [`ErrorKind::Server`] where
    /// somebody waits to rewrite the table.
    #[cfg(feature = "datafusion")]
    pub async fn partitions(self, options: &PartitionOptions) -> Result<Partitions> {
        if self.merge_sql.is_some() {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "the rows of a re-aggregation cannot be cut into partitions",
            )
            .with_hint("cut the fan-out alone, and aggregate what the partitions give"));
        }
        let cut = async {
            let text = self.options.mogrify(&self.cluster, &self.sql).await?;
            let read = text.clone();
            let ranged = plan::on_deep_stack(move || Ok(plan::ranged(&read, plan::Rows::Final)));
            let whole = Whole {
                cluster: &self.cluster,
                options: &self.options,
                text,
                ranged: ranged.await?,
                shards: (0..self.cluster.pools().len()).collect(),
                columns: None,
                read_for: ReadFor::Reader,
            };
            whole.partitions(options).await
        };
        self.options.deadline().within(cut.boxed()).await
    }

    async fn parts(&self, deadline: &Deadline) -> Result<Vec<Part>> {
        let shards = self.scan(deadline).await?;
        let order = Order::FirstCome;
        let queue = self.options.queue_bytes(order) / shards.len().max(1);
        let pools = self.cluster.pools();
        let parts = shards.into_iter().enumerate().map(|(shard, streams)| {
            Ok(Part {
                name: pools.name(shard).to_string(),
                rows: merge::union(streams, order, queue)?,
            })
        });
        parts.collect()
    }

    async fn start(&self, deadline: &Deadline) -> Result<QueryStream> {
        let streams = flat(self.scan(deadline).await?);
        #[cfg(feature = "datafusion")]
        if let Some(sql) = &self.merge_sql {
            return self.merge(streams, sql).await;
        }
        let order = self.options.order.unwrap_or_default();
        merge::union(streams, order, self.options.queue_bytes(order))
    }

    #[cfg(feature = "datafusion")]
    async fn merge(&self, streams: Vec<QueryStream>, sql: &str) -> Result<QueryStream> {
        let mut options = merge::ReaggregateOptions {
            batch_rows: self.options.batch_rows,
            ..merge::ReaggregateOptions::new(self.options.memory)
        };
        options.order = match self.options.order {
            Some(order) => order,
            None => merge::best_order(&streams, sql, &options).await?,
        };
        merge::reaggregate(streams, sql, options).await
    }

    /// The streams of each shard, ready to be read; several where several connections read it.
    async fn scan(&self, deadline: &Deadline) -> Result<Vec<Vec<QueryStream>>> {
        let fence = Fence::new(&self.options, self.cluster.topology())?;
        let prepared = &mut self.prepare(fence).await?;
        let shards = std::mem::take(&mut prepared.shards);
        let prepared = &*prepared;
        #[cfg(feature = "datafusion")]
        let ranged = &self.ranged(prepared).await?;
        let options = &self
            .options
            .batches(self.options.types.unrepresentable, shards.len());
        let streams = shards.into_iter().zip(&prepared.descriptions).enumerate();
        let streams = streams.map(
            |(shard, ((session, counters, retry), description))| async move {
                let columns = &prepared.columns;
                #[cfg(feature = "datafusion")]
                let session = match ranged {
                    None => session,
                    Some(ranged) => match self.share(shard, session, ranged).await? {
                        Split::One(session, reason) => {
                            tracing::debug!(shard, reason, "one connection reads");
                            session
                        }
                        Split::Many(shared) => {
                            let selected = scan::selections(columns, &[]);
                            let (before, after) = scan::copy_frame(columns.len(), &selected);
                            let copy =
                                |(from, to)| format!("{before}{}{after}", ranged.sql(from, to));
                            let rows =
                                scan::range_rows(shared, copy, columns, options, &counters, None);
                            return Ok(rows
                                .into_iter()
                                .map(|rows| users(rows, deadline))
                                .collect());
                        }
                    },
                };
                #[cfg(not(feature = "datafusion"))]
                let _ = shard;
                let sql =
                    scan::copy_sql(&prepared.statement, description, &self.options.parameters)?;
                let columns = columns.clone();
                let rows = scan::rows(session, sql, columns, options, counters, None, Some(retry));
                Ok(vec![users(self.options.rows_of_shard(rows), deadline)])
            },
        );
        settle(streams).await
    }

    /// Sessions of all shards behind the fence; `None` for those that are missing.
    async fn behind(
        &self,
        fence: &Fence,
        permits: Vec<Permit>,
        opening: &Opening,
    ) -> Result<Vec<Option<Opened>>> {
        let pools = self.cluster.pools();
        let opened = permits.into_iter().map(|permit| async move {
            match pools.session(permit, opening).await {
                Ok(session) => Ok(Some(session)),
                Err(error) => self.options.go_without(error).map(|()| None),
            }
        });
        let mut sessions = settle(opened).await?;
        let present = sessions.iter_mut().flatten();
        let fenced = fence.pass(present.map(|session| (session, opening)).collect());
        self.options.progress.set_fenced(fenced.await?);
        let places = sessions.into_iter();
        Ok(places.map(|session| session.map(Opened::Session)).collect())
    }

    /// How the statement is read in ranges, where several connections to a shard are asked for.
    #[cfg(feature = "datafusion")]
    async fn ranged(&self, prepared: &Prepared) -> Result<Option<Ranged>> {
        // A shard that is lost is lost as a whole, so one connection tells.
        let is_wanted = self.options.readers.most > 1
            && self.options.missing.is_none()
            && self.merge_sql.is_none()
            && self.options.order != Some(Order::Shard);
        let Some(description) = prepared.descriptions.first().filter(|_| is_wanted) else {
            return Ok(None);
        };
        let text = scan::with_values(&prepared.statement, description, &self.options.parameters)?;
        plan::on_deep_stack(move || Ok(plan::ranged(&text, plan::Rows::Final).ok())).await
    }

    #[cfg(feature = "datafusion")]
    async fn share(&self, shard: usize, session: Session, ranged: &Ranged) -> Result<Split> {
        let opening = self.cluster.opening(self.options.session.as_ref())?;
        let pools = self.cluster.pools();
        let readers = self.options.readers;
        scan::share(pools, &opening, shard, session, ranged, readers).await
    }

    /// Connects to all shards, describes the statement on each, and compares.
    async fn prepare(&self, fence: Option<Fence>) -> Result<Prepared> {
        let statement = Arc::new(Statement::parse(&self.sql)?);
        let opening = self.cluster.opening(self.options.session.as_ref())?;
        let opening = &opening.identifying(identity::EXPRESSION);
        let pools = self.cluster.pools();
        if let Some(missing) = &self.options.missing {
            if self.merge_sql.is_some() {
                return Err(Error::new(
                    ErrorKind::Config,
                    "shards may not be missing where their rows are aggregated again",
                )
                .with_hint(
                    "leave out --merge-sql (reaggregate), or --allow-missing-shards \
                     (with_missing_shards)",
                ));
            }
            missing.begin(pools.len());
        }
        let names: Vec<_> = (0..pools.len())
            .map(|shard| pools.name(shard).clone())
            .collect();
        let counters = self
            .options
            .progress
            .begin(names.iter().map(|name| &**name));
        let permits = pools.permits(0..pools.len()).await?;
        let places = match &fence {
            None => permits
                .into_iter()
                .map(Some)
                .map(|it| it.map(Opened::Permit))
                .collect(),
            Some(fence) => self.behind(fence, permits, opening).await?,
        };
        // A snapshot of later would be behind the fence.
        let most = if fence.is_some() {
            0
        } else {
            self.options.retries.unwrap_or(0)
        };
        let described = places
            .into_iter()
            .zip(&counters)
            .filter_map(|(place, counters)| Some((place?, counters)))
            .map(|(place, counters)| {
                let statement = &statement;
                let reading = Reading::Options(self.options.types);
                async move {
                    counters.set(ShardState::Connecting);
                    let reading = (SqlOrigin::User, reading);
                    let mut retry =
                        Retry::new((pools, opening), statement, reading, counters, most);
                    let described = async {
                        let session = match place {
                            Opened::Permit(permit) => pools.session(permit, opening).await?,
                            Opened::Session(session) => session,
                        };
                        let described = retry.describe(session).await?;
                        counters.set(ShardState::Ready);
                        Ok(described)
                    };
                    let (session, description) = match described.await {
                        Ok(described) => described,
                        Err(error) => {
                            counters.set(ShardState::Failed);
                            return self.options.go_without(error).map(|()| None);
                        }
                    };
                    let name = session.shard().to_owned();
                    let opened = (session, counters.clone(), retry);
                    Ok(Some((opened, (name, description))))
                }
            });
        let (shards, named): (Vec<_>, Vec<_>) =
            settle(described).await?.into_iter().flatten().unzip();
        distinct::check(shards.iter().map(|(session, ..)| session))?;
        let columns = scan::agree(&named)?;
        Ok(Prepared {
            statement,
            columns,
            shards,
            descriptions: named
                .into_iter()
                .map(|(_, description)| description)
                .collect(),
        })
    }
}

/// The way to a shard.
#[expect(clippy::large_enum_variant, reason = "one for each shard")]
enum Opened {
    Permit(Permit),
    Session(Session),
}

/// The rows of a shard, whose errors are about the user's own text, and end the query.
fn users(rows: QueryStream, deadline: &Deadline) -> QueryStream {
    let schema = rows.schema();
    let deadline = deadline.clone();
    let rows = rows.map(move |batch| {
        batch
            .map_err(|error| error.with_sql_origin(SqlOrigin::User))
            .inspect_err(|error| deadline.failed(error))
    });
    QueryStream::new(schema, rows)
}

fn flat(shards: Vec<Vec<QueryStream>>) -> Vec<QueryStream> {
    shards.into_iter().flatten().collect()
}

/// A query that every shard has described.
struct Prepared {
    statement: Arc<Statement>,
    columns: Vec<Column>,
    shards: Vec<(Session, Arc<Counters>, Retry)>,
    descriptions: Vec<Description>,
}
