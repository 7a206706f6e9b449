//! SQL over the rows of all shards: the second half of an aggregation whose first half ran on them.

mod arithmetic;
mod elsewhere;
mod error;
mod floats;
mod functions;
mod literals;
mod meaning;
mod shard_order;
mod source;
mod sql_types;
mod sum;
mod wide;

use std::collections::HashSet;
use std::num::NonZero;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{Array, RecordBatch, RecordBatchOptions};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Decimal128Type, Decimal256Type, DecimalType, Field, Schema, SchemaRef,
};
use datafusion::catalog::streaming::StreamingTable;
use datafusion::catalog::{MemTable, TableProvider};
use datafusion::common::config::Dialect;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::context::{SQLOptions, SessionContext};
use datafusion::execution::memory_pool::{FairSpillPool, MemoryConsumer, MemoryReservation};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::logical_expr::{AggregateUDF, LogicalPlan};
use datafusion::optimizer::Analyzer;
use datafusion::physical_plan::execute_stream_partitioned;
use datafusion::prelude::SessionConfig;
use datafusion::sql::parser::{DFParserBuilder, Statement};
use datafusion::sql::sqlparser::ast::{Expr, Statement as SqlStatement, visit_expressions};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use futures::stream::StreamExt;

pub(crate) use self::elsewhere::{checked_sum, finished, is_checked_sum, physical};
pub(super) use self::error::execution;
use self::error::planning;
pub(crate) use self::floats::best_order;
pub(super) use self::source::{from_datafusion, to_datafusion};
use super::{Order, same_schema, union};
use crate::error::{Error, ErrorKind, Phase, Result};
use crate::stream::QueryStream;

/// What bounds a [`reaggregate`], and in which order it takes the shards.
#[derive(Debug, Clone)]
pub(crate) struct ReaggregateOptions {
    /// Bytes that sorts, groups, joins and a table that is read twice may hold together; what
    /// exceeds it goes to disk where the operator can do that (sorts, groups), and is an error where
    /// it cannot (joins, the table). DataFusion does not count the rows of a window function.
    /// Default: 1 GiB.
    pub(crate) memory_bytes: usize,
    /// The folder of the files that hold what exceeds the memory; they are deleted with the stream.
    /// At most 100 GiB are written. `None`, the default, is the system's folder for temporary files.
    pub(crate) spill_dir: Option<PathBuf>,
    /// With [`Order::Shard`], the default, the same answers of the shards give the same rows in the
    /// same order each time, and the same floating-point sums to the last bit. With
    /// [`Order::FirstCome`] groups are also spread over the processors, and neither holds: faster
    /// where there are many groups.
    pub(crate) order: Order,
    /// Partitions of the merge under [`Order::FirstCome`]. Default: the number of processors.
    pub(crate) target_partitions: usize,
    /// Rows of a batch of the result. Default: 8192.
    pub(crate) batch_rows: usize,
}

impl ReaggregateOptions {
    /// The defaults, within this many bytes.
    pub(crate) fn new(memory_bytes: usize) -> Self {
        Self {
            memory_bytes,
            ..Self::default()
        }
    }
}

impl Default for ReaggregateOptions {
    fn default() -> Self {
        Self {
            memory_bytes: 1 << 30,
            spill_dir: None,
            order: Order::Shard,
            target_partitions: std::thread::available_parallelism().map_or(1, NonZero::get),
            batch_rows: 8192,
        }
    }
}

/// Runs one SELECT over a table named `shards`, which holds the rows of all streams.
///
/// Every stream is a partition of that table and is aggregated in a task of its own; what the
/// partitions have in common is merged afterwards. Nothing is read before the returned stream is
/// polled, unless the SQL names `shards` more than once (a self-join, a UNION, a common table
/// expression used twice): then all rows are first held in memory, within
/// [`memory_bytes`](ReaggregateOptions::memory_bytes). SQL without an ORDER BY gives its rows in
/// shard order if [`order`](ReaggregateOptions::order) is [`Order::Shard`].
///
/// The SQL is DataFusion's with PostgreSQL's grammar. As in PostgreSQL, unquoted names are lower
/// case, NULLs sort as the largest value, a literal with a point is a decimal, integers that are
/// divided give an integer, and a number that overflows is an error. What differs is told where
/// users read it, at [`FanOut::reaggregate`](crate::FanOut::reaggregate).
///
/// Fields keep their metadata (such as `arrow.uuid`) where the SQL passes a column on or groups by
/// it, and lose it in expressions, `min` and `max` among them.
///
/// # Errors
/// [`ErrorKind::Syntax`] if the SQL is wrong; [`ErrorKind::Unsupported`] if it is anything but one
/// SELECT, or if two columns of the shards have the same name; [`ErrorKind::Execute`] if the merge
/// fails, for want of memory for instance. An error of a shard comes out as it went in.
///
/// # Cancel safety
/// Dropping the future or the stream drops all inputs, which cancels their queries.
///
/// # Memory
/// [`memory_bytes`](ReaggregateOptions::memory_bytes), and the batches on their way.
pub(crate) async fn reaggregate(
    inputs: Vec<QueryStream>,
    merge_sql: &str,
    options: ReaggregateOptions,
) -> Result<QueryStream> {
    let schema = check_columns(&inputs)?;
    check_one_select(merge_sql)?;
    let context = session(&options).map_err(|error| {
        execution(error).with_hint("check the folder for temporary files and the memory budget")
    })?;
    let source = source::OneShot::partitions(&schema, inputs);
    let streaming = StreamingTable::try_new(schema.clone(), source.clone())
        .map_err(|error| planning(error, &schema))?;
    let mut plan = plan(&context, merge_sql, Arc::new(streaming), &schema).await?;

    let mut held = None;
    if reads_twice(&plan).map_err(|error| planning(error, &schema))? {
        let (table, reservation) = hold(&context, &schema, source, &options).await?;
        plan = self::plan(&context, merge_sql, table, &schema).await?;
        held = Some(reservation);
    }

    let physical = context
        .state()
        .create_physical_plan(&plan)
        .await
        .map_err(|error| planning(error, &schema))?;
    // One stream a partition: they are put in order here, as no operator of the plan needed to.
    let streams = execute_stream_partitioned(physical, context.task_ctx())
        .map_err(execution)?
        .into_iter()
        .map(source::from_datafusion)
        .collect();
    let rows = union(streams, options.order, options.memory_bytes / 8)?;
    Ok(conform_all(rows, held))
}

/// DataFusion's optimised plan of the SELECT, for rows of shards with this schema.
///
/// # Errors
/// As [`reaggregate`], for the SQL.
pub(crate) async fn explain(
    schema: Schema,
    merge_sql: &str,
    options: &ReaggregateOptions,
) -> Result<String> {
    let schema = Arc::new(schema);
    let context = session(options).map_err(execution)?;
    let table = MemTable::try_new(schema.clone(), vec![Vec::new()])
        .map_err(|error| planning(error, &schema))?;
    let plan = plan(&context, merge_sql, Arc::new(table), &schema).await?;
    let plan = context.state().optimize(&plan);
    let plan = plan.map_err(|error| planning(error, &schema))?;
    Ok(plan.display_indent().to_string())
}

/// The schema of `shards`, in which every name is found once.
fn check_columns(inputs: &[QueryStream]) -> Result<SchemaRef> {
    same_schema(inputs)?;
    let schema = match inputs.first() {
        Some(input) => input.schema(),
        None => Arc::new(Schema::empty()),
    };
    let mut names = HashSet::new();
    let mut twice: Vec<_> = schema
        .fields()
        .iter()
        .filter(|field| !names.insert(field.name().as_str()))
        .map(|field| format!("{:?}", field.name()))
        .collect();
    if twice.is_empty() {
        return Ok(schema);
    }
    twice.dedup();
    Err(Error::new(
        ErrorKind::Unsupported,
        format!(
            "the shards' query has more than one column named {}",
            twice.join(", ")
        ),
    )
    .with_phase(Phase::Merge)
    .with_hint("give each column of the shards' query a name of its own with AS"))
}

/// Only a query may run: it cannot change the session, make tables or write files.
fn check_one_select(sql: &str) -> Result<()> {
    let statements = DFParserBuilder::new(sql)
        .with_dialect(&PostgreSqlDialect {})
        .build()
        .and_then(|mut parser| parser.parse_statements())
        .map_err(|error| planning(error, &Schema::empty()))?;
    let refuse = |kind, found: String| {
        Err(Error::new(
            kind,
            format!("the merge SQL has to be one SELECT, found {found}"),
        )
        .with_phase(Phase::Merge)
        .with_hint("write one SELECT over the table shards, without a second statement"))
    };
    if statements.len() > 1 {
        return refuse(
            ErrorKind::Unsupported,
            format!("{} statements", statements.len()),
        );
    }
    match statements.front() {
        None => refuse(ErrorKind::Syntax, "no statement".to_owned()),
        Some(Statement::Statement(statement)) if matches!(**statement, SqlStatement::Query(_)) => {
            check_constructs(statement)
        }
        Some(other) => {
            let text = other.to_string();
            let verb = text.split_whitespace().next().unwrap_or_default();
            refuse(ErrorKind::Unsupported, verb.to_uppercase())
        }
    }
}

/// Refuses what DataFusion plans as something else, which its plan does not show any more.
fn check_constructs(statement: &SqlStatement) -> Result<()> {
    let found = visit_expressions(statement, |expr| match expr {
        Expr::AtTimeZone { .. } => ControlFlow::Break("AT TIME ZONE"),
        Expr::SimilarTo { .. } => ControlFlow::Break("SIMILAR TO"),
        _ => ControlFlow::Continue(()),
    });
    match found {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(construct) => Err(Error::new(
            ErrorKind::Unsupported,
            format!("{construct} in the merge SQL means another thing to DataFusion"),
        )
        .with_phase(Phase::Merge)
        .with_hint("leave it to the shards' query")),
    }
}

fn session(options: &ReaggregateOptions) -> datafusion::common::Result<SessionContext> {
    let mut config = SessionConfig::new()
        .with_batch_size(options.batch_rows.max(1))
        .with_target_partitions(match options.order {
            // Any exchange between partitions would mix the order of their rows.
            Order::Shard => 1,
            Order::FirstCome => options.target_partitions.max(1),
        });
    let settings = config.options_mut();
    settings.sql_parser.dialect = Dialect::PostgreSQL;
    settings.sql_parser.parse_float_as_decimal = true;
    settings.sql_parser.map_string_types_to_utf8view = false;
    "nulls_max".clone_into(&mut settings.sql_parser.default_null_ordering);
    settings.execution.time_zone = Some("UTC".to_owned());
    // One sort of all rows, not one for each shard: those would share the memory, and leave none to
    // merge them.
    settings.optimizer.repartition_sorts = false;
    // Set aside for merging what was spilled; DataFusion's default may be more than there is.
    settings.execution.sort_spill_reservation_bytes = settings
        .execution
        .sort_spill_reservation_bytes
        .min(options.memory_bytes / 8);

    let mut runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(FairSpillPool::new(options.memory_bytes)));
    if let Some(folder) = &options.spill_dir {
        runtime = runtime.with_temp_file_path(folder);
    }
    let mut state = SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(runtime.build_arc()?)
        .with_default_features();
    if options.order == Order::Shard {
        let rules = state.physical_optimizer_rules().take();
        let mut rules = rules.unwrap_or_else(|| {
            datafusion::physical_optimizer::optimizer::PhysicalOptimizer::new().rules
        });
        rules.push(Arc::new(shard_order::KeepShardOrder {
            memory: options.memory_bytes / 8,
        }));
        state = state.with_physical_optimizer_rules(rules);
    }
    let mut analysis = Analyzer::new().rules;
    analysis.insert(0, Arc::new(meaning::PostgresMeaning));
    analysis.push(Arc::new(arithmetic::CheckedIntegers));
    let state = state
        .with_analyzer_rules(analysis)
        .with_type_planner(Arc::new(sql_types::PostgresTypes));
    let context = SessionContext::new_with_state(state.build());
    context.register_udaf(AggregateUDF::new_from_impl(sum::CheckedSum::default()));
    Ok(context)
}

/// Plans the SQL over this table as `shards`.
async fn plan(
    context: &SessionContext,
    sql: &str,
    table: Arc<dyn TableProvider>,
    schema: &Schema,
) -> Result<LogicalPlan> {
    let planned = async {
        context.deregister_table(TABLE)?;
        context.register_table(TABLE, table)?;
        let plan = context.state().create_logical_plan(sql).await?;
        SQLOptions::new()
            .with_allow_ddl(false)
            .with_allow_dml(false)
            .with_allow_statements(false)
            .verify_plan(&plan)?;
        Ok(plan)
    };
    planned.await.map_err(|error| planning(error, schema))
}

/// Whether the plan reads `shards` more than once, which the streams of the shards cannot serve.
fn reads_twice(plan: &LogicalPlan) -> datafusion::common::Result<bool> {
    let mut scans = 0;
    plan.apply_with_subqueries(|node| {
        match node {
            LogicalPlan::TableScan(_) => scans += 1,
            // Its recursive half is executed again and again.
            LogicalPlan::RecursiveQuery(_) => scans += 2,
            _ => {}
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(scans > 1)
}

/// Reads all rows into a table that may be read often; the reservation counts its bytes.
async fn hold(
    context: &SessionContext,
    schema: &SchemaRef,
    source: Vec<Arc<dyn datafusion::physical_plan::streaming::PartitionStream>>,
    options: &ReaggregateOptions,
) -> Result<(Arc<dyn TableProvider>, MemoryReservation)> {
    let pool = &context.runtime_env().memory_pool;
    let reservation = MemoryConsumer::new("the rows of shards").register(pool);
    let streams = source
        .iter()
        .map(|partition| source::from_datafusion(partition.execute(context.task_ctx())))
        .collect();
    let mut rows = union(streams, options.order, options.memory_bytes / 8)?;
    let mut batches = Vec::new();
    while let Some(batch) = rows.next().await {
        let batch = batch?;
        reservation
            .try_grow(batch.get_array_memory_size())
            .map_err(|error| {
                execution(error).with_hint(
                    "the merge SQL names shards more than once, so all its rows are held in \
                     memory: raise --memory, or name it once",
                )
            })?;
        batches.push(batch);
    }
    let table = MemTable::try_new(schema.clone(), vec![batches])
        .map_err(|error| planning(error, schema))?;
    Ok((Arc::new(table), reservation))
}

/// Gives the batches the one schema that was promised, and refuses decimals of too many digits.
fn conform_all(rows: QueryStream, held: Option<MemoryReservation>) -> QueryStream {
    let fields: Vec<_> = rows
        .schema()
        .fields()
        .iter()
        .map(|field| {
            let known = match field.data_type() {
                // Some functions answer with views, which few readers of files know.
                DataType::Utf8View => DataType::Utf8,
                DataType::BinaryView => DataType::Binary,
                other => other.clone(),
            };
            Arc::new(Field::clone(field).with_data_type(known))
        })
        .collect();
    let schema = Arc::new(Schema::new_with_metadata(
        fields,
        rows.schema().metadata().clone(),
    ));
    let promised = schema.clone();
    let batches = rows.map(move |batch| {
        // Lives as long as the rows that it counts.
        let _held = &held;
        conform(&batch?, &promised)
    });
    QueryStream::new(schema, batches)
}

fn conform(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let columns = batch
        .columns()
        .iter()
        .zip(schema.fields())
        .map(|(column, field)| {
            check_digits(column, field)?;
            if column.data_type() == field.data_type() {
                return Ok(Arc::clone(column));
            }
            cast(column, field.data_type()).map_err(|error| execution(error.into()))
        })
        .collect::<Result<_>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(schema.clone(), columns, &options)
        .map_err(|error| execution(error.into()))
}

/// Arithmetic on decimals of the largest precision may leave a digit more than the type has.
fn check_digits(column: &dyn Array, field: &Field) -> Result<()> {
    fn fits<T: DecimalType>(column: &dyn Array, precision: u8) -> bool {
        use arrow::array::AsArray;
        let column = column.as_primitive::<T>();
        column
            .iter()
            .flatten()
            .all(|value| T::is_valid_decimal_precision(value, precision))
    }
    let fits = match *column.data_type() {
        DataType::Decimal128(precision @ 38, _) => fits::<Decimal128Type>(column, precision),
        DataType::Decimal256(precision @ 76, _) => fits::<Decimal256Type>(column, precision),
        _ => true,
    };
    if fits {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Execute,
        format!(
            "column {:?}: a value has more digits than {} holds",
            field.name(),
            column.data_type()
        ),
    )
    .with_phase(Phase::Merge)
    .with_hint("cast the operands to a decimal with fewer digits behind the point"))
}

/// The name of the one table that there is.
const TABLE: &str = "shards";

#[cfg(test)]
mod tests;
