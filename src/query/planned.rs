//! Queries that are planned: the SQL as if one PostgreSQL held all rows.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::record_batch::RecordBatchWriter;
use futures::FutureExt;
use futures::stream::TryStreamExt;

use super::execute::{self, renamed, schema_of};
use super::options::Options;
use super::partitions::{
    Behind, PartialMerge, PartialPartitions, PartitionOptions, Partitions, ReadFor, Whole,
};
use super::planning::{Held, PlanOptions, Request, about_made_sql};
use super::{Analysis, CancelHandle};
use crate::cluster::Cluster;
use crate::config::{FinishRelations, SessionSettings};
use crate::error::{Error, ErrorKind, Phase, Result, SqlOrigin};
use crate::export::{self, Resumable, Source};
use crate::merge::{self, Order, ReaggregateOptions};
use crate::missing::MissingShards;
use crate::plan::{Merge, MergeMode, Place, Plan, Step};
use crate::progress::ScanProgress;
use crate::scan::{self, Reading};
use crate::statement::Statement;
use crate::stream::QueryStream;
use crate::types::{Column, TypeOptions};

/// SQL as if one PostgreSQL held all rows; planned and run when it is awaited.
///
/// Made by [`Cluster::query`].
///
/// # Cancel safety
/// Dropping any future of a query, or the stream that it gave, cancels it on every server.
#[derive(Debug, Clone)]
#[must_use = "a query does nothing until it is streamed, collected or written"]
pub struct Query {
    pub(super) request: Request,
}

impl Query {
    pub(crate) fn new(cluster: Cluster, sql: String) -> Self {
        Self {
            request: Request {
                cluster,
                sql,
                planning: PlanOptions::default(),
                options: Options::default(),
            },
        }
    }

    /// Which merge the query may take.
    pub fn with_merge(mut self, merge: MergeMode) -> Self {
        self.request.planning.merge = merge;
        self
    }

    /// Whether the first shard of the topology answers, of itself, what reads no table or view of users:
    /// `SELECT version()`, `pg_catalog`, `information_schema`. Such statements are refused unless this is
    /// set, because another shard may tell something else: other sizes, other OIDs, other settings.
    ///
    /// The statement runs as it is written. It may not name tables of users too, nor call functions
    /// that read such tables or change something.
    pub fn with_system_catalogs(mut self, read: bool) -> Self {
        self.request.planning.system_catalogs = read;
        self
    }

    /// The most rows that the query may hand from one of its steps to another server, all steps
    /// together; [`DEFAULT_FINISH_ROWS`](crate::DEFAULT_FINISH_ROWS) unless set. More are an error of
    /// kind [`ErrorKind::Limit`].
    pub fn with_finish_rows(mut self, rows: u64) -> Self {
        self.request.planning.finish_rows = rows;
        self
    }

    /// The most bytes that these rows may take, all together: as SQL text,
    /// [`DEFAULT_FINISH_BYTES`](crate::DEFAULT_FINISH_BYTES) unless set, of which PostgreSQL takes less
    /// than 1 GiB; in temporary tables, [`DEFAULT_TEMPORARY_BYTES`](crate::DEFAULT_TEMPORARY_BYTES).
    ///
    /// # Memory
    /// About three times as many bytes of text are held here, and some more on the server. What goes into
    /// a table is not held.
    pub fn with_finish_bytes(mut self, bytes: u64) -> Self {
        self.request.planning.finish_bytes = Some(bytes);
        self
    }

    /// In which form the server that finishes is handed rows;
    /// [`Topology::finish_relations`](crate::Topology::finish_relations) unless set. Of temporary tables
    /// only the bytes are bounded, not the rows.
    pub fn with_finish_relations(mut self, relations: FinishRelations) -> Self {
        self.request.planning.relations = Some(relations);
        self
    }

    /// As [`FanOut::with_params`](crate::FanOut::with_params).
    pub fn with_params<I>(mut self, values: I) -> Self
    where
        I: IntoIterator<Item = Option<String>>,
    {
        self.request.options.parameters = values.into_iter().collect();
        self
    }

    /// As [`FanOut::with_batch_rows`](crate::FanOut::with_batch_rows).
    pub fn with_batch_rows(mut self, rows: usize) -> Self {
        self.request.options.batch_rows = rows;
        self
    }

    /// As [`FanOut::with_batch_bytes`](crate::FanOut::with_batch_bytes).
    pub fn with_batch_bytes(mut self, bytes: usize) -> Self {
        self.request.options.batch_bytes = bytes;
        self
    }

    /// As [`FanOut::with_types`](crate::FanOut::with_types).
    pub fn with_types(mut self, options: TypeOptions) -> Self {
        self.request.options.types = options;
        self
    }

    /// The order of rows of different shards where the statement leaves it open:
    /// [`Order::FirstCome`] unless set, so that no shard waits for another. Groups without `ORDER BY`
    /// come in any order then, as from PostgreSQL.
    ///
    /// Sums of floating-point numbers, whose last digits depend on the order, are the same each time
    /// unless [`Order::FirstCome`] is set expressly.
    pub fn with_order(mut self, order: Order) -> Self {
        self.request.options.order = Some(order);
        self
    }

    /// As [`FanOut::with_memory`](crate::FanOut::with_memory).
    pub fn with_memory(mut self, bytes: usize) -> Self {
        self.request.options.memory = bytes;
        self
    }

    /// As [`FanOut::with_readers_per_shard`](crate::FanOut::with_readers_per_shard). Partial aggregates that
    /// are merged again are read so, too; [`explain`](Self::explain) says of each step how it is read.
    pub fn with_readers_per_shard(mut self, readers: usize) -> Self {
        self.request.options.readers.most = readers.max(1);
        self
    }

    /// As [`FanOut::with_range_bytes`](crate::FanOut::with_range_bytes).
    pub fn with_range_bytes(mut self, bytes: u64) -> Self {
        self.request.options.readers.range_bytes = bytes;
        self
    }

    /// As [`FanOut::with_timeout`](crate::FanOut::with_timeout).
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.request.options.timeout = Some(timeout);
        self
    }

    /// As [`FanOut::with_progress`](crate::FanOut::with_progress).
    pub fn with_progress(mut self, progress: ScanProgress) -> Self {
        self.request.options.progress = progress;
        self
    }

    /// As [`FanOut::with_missing_shards`](crate::FanOut::with_missing_shards): the answer is that of one
    /// PostgreSQL with the rows of the other shards.
    ///
    /// Only where the rows of each shard are final, which is [`Arm::Union`](crate::Arm::Union) and
    /// [`Arm::Ordered`](crate::Arm::Ordered) in one step: a query that is combined, gathered or finished is
    /// refused with [`ErrorKind::Unsupported`], also if no shard is missing.
    /// [`Arm::Single`](crate::Arm::Single) needs its one shard.
    pub fn with_missing_shards(mut self, missing: &MissingShards) -> Self {
        self.request.options.missing = Some(missing.clone());
        self
    }

    /// As [`FanOut::with_retries`](crate::FanOut::with_retries).
    pub fn with_retries(mut self, retries: u32) -> Self {
        self.request.options.retries = Some(retries);
        self
    }

    /// As [`FanOut::with_max_skew`](crate::FanOut::with_max_skew).
    pub fn with_max_skew(mut self, max_skew: Duration) -> Self {
        self.request.options.max_skew = Some(max_skew);
        self
    }

    /// As [`FanOut::with_session`](crate::FanOut::with_session). Names are looked up in the
    /// `search_path` that is set here; the first query with another one reads the catalogs for it.
    pub fn with_session(mut self, settings: SessionSettings) -> Self {
        self.request.options.session = Some(settings);
        self
    }

    /// The statement.
    pub(crate) fn sql(&self) -> &str {
        &self.request.sql
    }

    /// What ends this query, and every clone of it, from elsewhere.
    pub fn cancel_handle(&self) -> CancelHandle {
        self.request.options.cancel.clone()
    }

    /// The schema of the answer, without running the query.
    ///
    /// # Errors
    /// As [`plan`](Self::plan).
    pub async fn describe(self) -> Result<SchemaRef> {
        let plan = self.plan().await?;
        let fields: Vec<_> = plan.columns.iter().map(Column::to_field).collect();
        Ok(Arc::new(Schema::new(fields)))
    }

    /// As [`FanOut::mogrify`](crate::FanOut::mogrify): the statement with its values in place, before
    /// it is planned.
    ///
    /// # Errors
    /// As [`plan`](Self::plan).
    pub async fn mogrify(self) -> Result<String> {
        let mogrified = self
            .request
            .options
            .mogrify(&self.request.cluster, &self.request.sql);
        self.request.options.deadline().within(mogrified).await
    }

    /// As [`FanOut::parameters`](crate::FanOut::parameters).
    ///
    /// # Errors
    /// As [`FanOut::parameters`](crate::FanOut::parameters).
    pub async fn parameters(self) -> Result<SchemaRef> {
        let parameters = self
            .request
            .options
            .parameters(&self.request.cluster, &self.request.sql);
        self.request.options.deadline().within(parameters).await
    }

    /// How the query would run, without running it. One shard is asked for its columns, and what
    /// else only a server knows.
    ///
    /// # Errors
    /// As [`stream`](Self::stream), before the first row.
    pub async fn plan(self) -> Result<Plan> {
        let deadline = self.request.options.deadline();
        deadline
            .within(async {
                let plan = self.request.plan(self.request.planning, &deadline);
                let (plan, held) = plan.boxed().await?;
                held.session.finish().await;
                Ok(plan)
            })
            .await
    }

    /// The plan as [`plan`](Self::plan) gives it, and with it how DataFusion plans its merges: EXPLAIN.
    /// One shard is asked for the types of what is merged, too.
    ///
    /// # Errors
    /// As [`plan`](Self::plan).
    pub async fn explain(self) -> Result<Plan> {
        let deadline = self.request.options.deadline();
        deadline
            .within(async {
                let plan = self.request.plan(self.request.planning, &deadline);
                let (mut plan, mut held) = plan.boxed().await?;
                plan.surroundings.merges = self.merge_plans(&plan, &mut held).await?;
                plan.surroundings.readers = self.readers(&plan, &mut held).await?;
                held.session.finish().await;
                Ok(plan)
            })
            .await
    }

    /// Starts the query; the rows as they come, in bounded memory. It has run by then up to its last
    /// step.
    ///
    /// # Errors
    /// Those of [`FanOut::stream`](crate::FanOut::stream), and
    /// [`ErrorKind::Unsupported`] for a query whose answer would not be
    /// exact, [`ErrorKind::Limit`] for one that has more intermediate rows
    /// than are allowed.
    pub async fn stream(self) -> Result<QueryStream> {
        let (rows, _) = self.stream_analyzed().await?;
        Ok(rows)
    }

    /// Runs the query as [`stream`](Self::stream) does, and lets its figures be looked at.
    ///
    /// # Errors
    /// As [`stream`](Self::stream).
    pub async fn stream_analyzed(self) -> Result<(QueryStream, Analysis)> {
        let deadline = self.request.options.deadline();
        let (rows, analysis) = deadline
            .within(execute::start(&self.request, &deadline).boxed())
            .await?;
        let remarks = self.request.options.remarks();
        let rows = deadline.bound(rows).with_remarks(remarks);
        Ok((rows, analysis))
    }

    /// Runs the query to its end, and drops its rows: EXPLAIN ANALYZE.
    ///
    /// # Errors
    /// As [`collect`](Self::collect).
    pub async fn analyze(self) -> Result<Analysis> {
        let (rows, analysis) = self.stream_analyzed().await?;
        rows.try_for_each(async |_| Ok(())).await?;
        Ok(analysis)
    }

    /// As [`FanOut::collect`](crate::FanOut::collect).
    ///
    /// # Errors
    /// As [`stream`](Self::stream), and those of reading the rows. There is no partial result.
    pub async fn collect(self) -> Result<Vec<RecordBatch>> {
        self.stream().await?.collect().await
    }

    /// As [`FanOut::write`](crate::FanOut::write).
    ///
    /// # Errors
    /// As [`collect`](Self::collect), and those of the writer.
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

    /// As [`FanOut::write_folder`](crate::FanOut::write_folder): each shard's rows have files of their own
    /// where they are final ([`Arm::Single`](crate::Arm::Single) and [`Arm::Union`](crate::Arm::Union)
    /// without `LIMIT`); else there is `rows.parquet`.
    ///
    /// # Errors
    /// As [`collect`](Self::collect), and those of the folder; see [`export::Folder`].
    pub async fn write_folder(self, folder: &export::Folder) -> Result<export::Manifest> {
        let deadline = self.request.options.deadline();
        let written = async {
            self.request.options.needs_all_shards()?;
            let opened = folder.open().await?;
            let started = execute::start_apart(&self.request, &deadline).boxed();
            let (parts, analysis) = started.await?;
            let plan = &analysis.plan;
            let resumable = match plan.steps.as_slice() {
                [step] if matches!(step.merge, Merge::Concatenate { fetch: None, .. }) => {
                    Resumable::Yes
                }
                [_] => Resumable::No("its rows are merged"),
                _ => Resumable::No(
                    "it has several steps, of which later ones depend on earlier ones",
                ),
            };
            let steps = plan.steps.iter().map(|step| step.sql.to_string());
            let options = &self.request.options;
            let circumstances = (steps.collect::<Vec<_>>(), &options.types, &options.session);
            let topology = self.request.cluster.topology();
            let source = Source::new(&self.request.sql, topology, &circumstances, resumable);
            opened.write(parts, source).await
        };
        deadline.within(written).await
    }

    /// As [`FanOut::partitions`](crate::FanOut::partitions), for a query whose rows each shard gives by
    /// itself ([`Arm::Single`](crate::Arm::Single), or [`Arm::Union`](crate::Arm::Union) without `LIMIT`);
    /// any other is refused.
    ///
    /// # Errors
    /// As [`stream`](Self::stream), before the first row; [`ErrorKind::Unsupported`]
    /// for a query whose rows are merged; [`ErrorKind::Server`] where somebody
    /// waits to rewrite the table.
    pub async fn partitions(self, options: &PartitionOptions) -> Result<Partitions> {
        let deadline = self.request.options.deadline();
        let cut = async {
            let planned = self.request.plan(self.request.planning, &deadline);
            let (plan, held) = planned.boxed().await?;
            let any = held.shard;
            held.session.finish().await;
            let step = match plan.steps.as_slice() {
                [step]
                    if matches!(
                        step.merge,
                        Merge::Concatenate {
                            skip: 0,
                            fetch: None
                        }
                    ) =>
                {
                    step
                }
                _ => {
                    return Err(Error::new(
                        ErrorKind::Unsupported,
                        format!(
                            "refused: the rows of the shards are merged ({}), so there are no partitions \
                             of the answer",
                            plan.arm()
                        ),
                    )
                    .with_phase(Phase::Plan)
                    .with_hint("leave ORDER BY, LIMIT and aggregates over several shards to whoever reads the partitions"));
                }
            };
            let shards = match &step.place {
                Place::Shards(shards) => shards.clone(),
                Place::AnyShard | Place::Finish => vec![any],
            };
            let ranged = execute::ranged(&self.request, &plan).await?;
            let whole = Whole {
                cluster: &self.request.cluster,
                options: &self.request.options,
                text: step.sql.to_string(),
                ranged: ranged
                    .into_iter()
                    .next()
                    .unwrap_or_else(|| Err(String::new())),
                shards,
                columns: Some(plan.columns.clone()),
                read_for: ReadFor::Reader,
            };
            whole.partitions(options).await
        };
        deadline.within(cut.boxed()).await
    }

    /// The query in parts of *partial aggregates*, and the merge that makes the answer of them, for an engine
    /// that runs it over many machines: see [`PartialMerge`]. For a query of [`Arm::Combine`](crate::Arm)
    /// whose groups DataFusion puts together in the first step, with at most one step behind it, which is
    /// handed them in its SQL; any other is refused.
    ///
    /// # Errors
    /// As [`partitions`](Self::partitions).
    pub async fn partial_partitions(self, options: &PartitionOptions) -> Result<PartialPartitions> {
        let deadline = self.request.options.deadline();
        let cut = async {
            let planned = self.request.plan(self.request.planning, &deadline);
            let (plan, held) = planned.boxed().await?;
            let (common, finish) = (held.common, held.finish);
            held.session.finish().await;
            let merged = plan.steps.first().and_then(|step| merged(&plan, step));
            let (step, sql, names, shards) = merged.ok_or_else(|| not_merged(&plan))?;
            let is_answer = plan.steps.len() == 1;
            let ranged = execute::ranged(&self.request, &plan).await?;
            let whole = Whole {
                cluster: &self.request.cluster,
                options: &self.request.options,
                text: step.sql.to_string(),
                ranged: ranged
                    .into_iter()
                    .next()
                    .unwrap_or_else(|| Err(String::new())),
                shards,
                columns: None,
                read_for: match is_answer {
                    true => ReadFor::Answer,
                    false => ReadFor::Step,
                },
            };
            let partitions = whole.partitions(options).await?;
            let merge = PartialMerge {
                sql,
                names,
                columns: plan.columns.clone(),
                behind: (!is_answer).then(|| Behind {
                    request: self.request.clone(),
                    plan: Arc::new(plan),
                    common,
                    finish,
                }),
            };
            Ok(PartialPartitions { partitions, merge })
        };
        deadline.within(cut.boxed()).await
    }

    /// How the steps would be read, by their names; nothing where one reader is asked for.
    async fn readers(&self, plan: &Plan, held: &mut Held) -> Result<BTreeMap<String, String>> {
        let readers = self.request.options.readers;
        let mut found = BTreeMap::new();
        if readers.most < 2 {
            return Ok(found);
        }
        for (step, ranged) in plan
            .steps
            .iter()
            .zip(execute::ranged(&self.request, plan).await?)
        {
            let ranges = match &ranged {
                Ok(ranged) => scan::ranges(&mut held.session, ranged, readers).await?,
                Err(reason) => Err(reason.clone()),
            };
            let text = match (ranges, ranged) {
                (Ok(ranges), Ok(ranged)) => format!(
                    "up to {} connections for each shard, in ranges of {}: {} of them on {:?}",
                    readers.most,
                    ranged.table,
                    ranges.len(),
                    self.request.cluster.pools().name(held.shard),
                ),
                (Err(reason), _) | (_, Err(reason)) => {
                    format!("one connection for each shard: {reason}")
                }
            };
            found.insert(step.name.clone(), text);
        }
        Ok(found)
    }

    /// DataFusion's plans, by step. A step that reads the rows of others cannot be described without
    /// them, and has none.
    async fn merge_plans(&self, plan: &Plan, held: &mut Held) -> Result<BTreeMap<String, String>> {
        let mut plans = BTreeMap::new();
        for step in plan.steps.iter().filter(|step| step.uses.is_empty()) {
            let Merge::Aggregate { sql, columns } = &step.merge else {
                continue;
            };
            let is_last = plan.steps.last().is_some_and(|last| last.name == step.name);
            let reading = Reading::Aggregate(match is_last {
                true => self.request.options.types,
                false => Reading::LOSSLESS,
            });
            let statement = Statement::parse(&step.sql.to_string())?;
            let described = scan::describe(&mut held.session, &statement, SqlOrigin::Made, reading)
                .await
                .map_err(about_made_sql)?;
            let schema = schema_of(&renamed(described.columns, columns)?);
            let options = ReaggregateOptions::new(self.request.options.memory);
            let text = merge::explain(schema, sql, &options).await?;
            plans.insert(step.name.clone(), text);
        }
        Ok(plans)
    }
}

/// The first step, if DataFusion puts its groups together and nothing but one step is behind it: with the
/// merge's SQL, the names of its columns, and the shards.
fn merged<'a>(plan: &Plan, step: &'a Step) -> Option<(&'a Step, String, Vec<String>, Vec<usize>)> {
    let is_alone = match plan.steps.as_slice() {
        [_] => true,
        [_, last] => last.uses == [0] && last.place == Place::Finish && !plan.is_temporary(0),
        _ => false,
    };
    match (&step.merge, &step.place) {
        (Merge::Aggregate { sql, columns }, Place::Shards(shards)) if is_alone => {
            Some((step, sql.clone(), columns.clone(), shards.clone()))
        }
        _ => None,
    }
}

/// Why there are no partial aggregates of a plan.
fn not_merged(plan: &Plan) -> Error {
    let steps = match plan.steps.len() {
        1 => "one step".to_owned(),
        steps => format!("{steps} steps"),
    };
    Error::new(
        ErrorKind::Unsupported,
        format!(
            "refused: the query has no partial aggregates that DataFusion puts together in one place \
             ({}, {steps})",
            plan.arm()
        ),
    )
    .with_phase(Phase::Plan)
    .with_hint(
        "explain shows its merges: group by columns whose equality Arrow shares, and by one SELECT; or run \
         it here",
    )
}
