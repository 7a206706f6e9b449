//! The rows of shards that each sort theirs, as one sorted stream.
//!
//! The keys of each row are encoded as bytes that compare as PostgreSQL compares the keys; by these
//! DataFusion merges. That a shard's rows do come in this order is checked, row by row: a collation
//! or a type that compares otherwise than we think must end in an error, and never in a wrong order.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use arrow::array::{
    ArrayRef, AsArray, Decimal128Array, RecordBatch, RecordBatchOptions, StringArray,
};
use arrow::compute::{SortOptions, cast};
use arrow::datatypes::{
    DataType, Field, Float32Type, Float64Type, IntervalMonthDayNanoType, Schema, SchemaRef,
};
use arrow::error::ArrowError;
use arrow::row::{OwnedRow, RowConverter, SortField};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, UnboundedMemoryPool};
use datafusion::physical_expr::expressions::Column as ColumnExpr;
use datafusion::physical_expr::{LexOrdering, PhysicalSortExpr};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet};
use datafusion::physical_plan::sorts::streaming_merge::StreamingMergeBuilder;
use futures::stream::{Stream, StreamExt};
use tokio::sync::mpsc::{self, Receiver};

use super::reaggregate::{execution, from_datafusion, to_datafusion};
use super::union::ahead;
use super::{Order, same_schema, union};
use crate::error::{Error, ErrorKind, Phase, Result};
use crate::plan::SortKey;
use crate::stream::QueryStream;
use crate::types::{Column, PgType, Shape};

/// Whether [`ordered`] compares values of this type as PostgreSQL does; of text under a collation
/// that compares bytes, which the type does not tell.
pub(crate) fn is_orderable(pg_type: &PgType) -> bool {
    match &pg_type.shape {
        Shape::Bool
        | Shape::Int2
        | Shape::Int4
        | Shape::Int8
        | Shape::Oid
        | Shape::Float4
        | Shape::Float8
        | Shape::Decimal { .. }
        | Shape::Bytea
        | Shape::Uuid
        | Shape::Date
        | Shape::Time
        | Shape::Timestamp { .. }
        | Shape::Interval
        | Shape::Bit
        | Shape::Enum { .. }
        | Shape::Xid8 => true,
        Shape::Text {
            version: None,
            json: false,
        } => matches!(pg_type.name(), "text" | "varchar" | "bpchar" | "name"),
        _ => false,
    }
}

/// Merges streams that are sorted by `keys` each; of rows with equal keys those of the first stream
/// come first. Gives the first `visible` columns.
///
/// From the first poll on, every stream is read in a task of its own, which may be ahead of the
/// merge by `queue_bytes`.
///
/// # Errors
/// At once if there is no stream, if their schemas differ, or if a key cannot be compared. Later the
/// first error of any stream, in time; [`ErrorKind::Execute`] when a stream is not sorted.
///
/// # Cancel safety
/// Dropping the stream aborts the tasks, which drops the streams that they read.
///
/// # Memory
/// `queue_bytes` and two batches for each stream, and a batch of the result.
pub(crate) fn ordered(
    shards: Vec<(String, QueryStream)>,
    columns: &[Column],
    keys: &[SortKey],
    visible: usize,
    queue_bytes: usize,
    batch_rows: usize,
) -> Result<QueryStream> {
    let (names, streams): (Vec<_>, Vec<_>) = shards.into_iter().unzip();
    same_schema(&streams)?;
    let schema = streams.first().map(QueryStream::schema).unwrap_or_else(|| {
        // There is one at least: the check above refuses none.
        Arc::new(Schema::empty())
    });
    let keys = Arc::new(Keys::try_new(columns, keys)?);
    if streams.len() == 1 || keys.fields.is_empty() {
        // One shard has sorted already. Without keys, any order is right.
        let rows = union(streams, Order::Shard, queue_bytes)?;
        return Ok(project(rows, visible));
    }

    let (error_sender, errors) = mpsc::channel(1);
    let merged_schema = with_key(&schema);
    let inputs = names
        .into_iter()
        .zip(streams)
        .map(|(name, stream)| {
            let checked = keyed(name, stream, keys.clone(), merged_schema.clone())?;
            Ok(to_datafusion(ahead(
                checked,
                error_sender.clone(),
                queue_bytes,
            )))
        })
        .collect::<Result<_>>()?;

    let key: Arc<dyn datafusion::physical_plan::PhysicalExpr> =
        Arc::new(ColumnExpr::new(KEY, schema.fields().len()));
    let order: LexOrdering = [PhysicalSortExpr::new(key, SortOptions::new(false, false))].into();
    // What it holds is bounded by the number of streams and the size of their batches.
    let pool: Arc<dyn MemoryPool> = Arc::new(UnboundedMemoryPool::default());
    let merged = StreamingMergeBuilder::new()
        .with_streams(inputs)
        .with_schema(merged_schema)
        .with_expressions(&order)
        .with_metrics(BaselineMetrics::new(&ExecutionPlanMetricsSet::new(), 0))
        .with_batch_size(batch_rows.max(1))
        .with_reservation(MemoryConsumer::new("ordered merge").register(&pool))
        .with_round_robin_tie_breaker(false)
        .build()
        .map_err(execution)?;
    let rows = Merged {
        rows: from_datafusion(merged),
        errors,
    };
    Ok(project(QueryStream::new(schema, rows), visible))
}

/// The merged rows, without their key.
struct Merged {
    rows: QueryStream,
    /// The first error of any shard.
    errors: Receiver<Error>,
}

impl Stream for Merged {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        // First: the merge may wait for a shard while another one has failed.
        if let Poll::Ready(Some(error)) = self.errors.poll_recv(cx) {
            return Poll::Ready(Some(Err(error)));
        }
        self.rows.poll_next_unpin(cx).map_err(|error| {
            // A shard that fails says so before its rows end.
            self.errors.try_recv().unwrap_or(error)
        })
    }
}

/// The first columns of each batch.
fn project(rows: QueryStream, visible: usize) -> QueryStream {
    let schema = rows.schema();
    let visible = visible.min(schema.fields().len());
    let fields: Vec<_> = schema.fields().iter().take(visible).cloned().collect();
    let schema = Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()));
    let projected = schema.clone();
    let batches = rows.map(move |batch| {
        let batch = batch?;
        let columns = batch.columns().iter().take(visible).cloned().collect();
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(projected.clone(), columns, &options).map_err(fault)
    });
    QueryStream::new(schema, batches)
}

/// The name of the column that is merged by; names may repeat.
const KEY: &str = "key";

fn with_key(schema: &Schema) -> SchemaRef {
    let mut fields: Vec<_> = schema.fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new(KEY, DataType::Binary, false)));
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

/// The rows of one shard with their keys as bytes in a last column; an error where they are not
/// sorted.
fn keyed(
    shard: String,
    rows: QueryStream,
    keys: Arc<Keys>,
    schema: SchemaRef,
) -> Result<QueryStream> {
    let converter = RowConverter::new(keys.fields.clone()).map_err(fault)?;
    let promised = schema.clone();
    let mut last: Option<OwnedRow> = None;
    let batches = rows.map(move |batch| {
        let batch = batch?;
        let mut columns = batch.columns().to_vec();
        let encoded = keys
            .normalized(&columns)
            .and_then(|keys| converter.convert_columns(&keys).map_err(fault))
            .map_err(|error| error.with_shard(&shard))?;
        let before = last.iter().map(OwnedRow::row).chain(encoded.iter());
        let after = encoded.iter().skip(usize::from(last.is_none()));
        if before.zip(after).any(|(before, after)| before > after) {
            return Err(not_sorted(&shard));
        }
        if let Some(row) = batch.num_rows().checked_sub(1) {
            last = Some(encoded.row(row).owned());
        }
        columns.push(Arc::new(encoded.try_into_binary().map_err(fault)?));
        RecordBatch::try_new(promised.clone(), columns).map_err(fault)
    });
    Ok(QueryStream::new(schema, batches))
}

fn not_sorted(shard: &str) -> Error {
    Error::new(
        ErrorKind::Execute,
        "the rows do not come in the order of the sort keys as they are compared here",
    )
    .with_shard(shard)
    .with_phase(Phase::Merge)
    .with_hint(
        "ask for the merge that leaves the order to PostgreSQL: --merge gather; and report this \
         with the query, it is a fault of merganser",
    )
}

/// The sort keys, by what is compared.
struct Keys {
    /// Which column, and how its values are made comparable.
    columns: Vec<(usize, Normal)>,
    fields: Vec<SortField>,
}

/// How the values of a key are made to compare as Arrow's row format compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Normal {
    AsIs,
    /// NaN is the largest, whatever its sign, and all of them are equal; so are 0 and -0.
    Float4,
    Float8,
    /// By the position of the label.
    Enum,
    /// Without trailing blanks.
    Bpchar,
    /// A month is 30 days, and a day 24 hours.
    Interval,
}

impl Keys {
    fn try_new(columns: &[Column], keys: &[SortKey]) -> Result<Self> {
        let mut found = Self {
            columns: Vec::with_capacity(keys.len()),
            fields: Vec::with_capacity(keys.len()),
        };
        for key in keys {
            let column = columns.get(key.column).ok_or_else(|| {
                Error::new(
                    ErrorKind::Execute,
                    format!(
                        "sort key {} of a result of {} columns",
                        key.column + 1,
                        columns.len()
                    ),
                )
                .with_phase(Phase::Merge)
            })?;
            if !is_orderable(&column.pg_type) {
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    format!(
                        "rows cannot be merged in the order of column {:?}: type {} is not \
                         compared here",
                        column.name,
                        column.pg_type.name()
                    ),
                )
                .with_phase(Phase::Merge)
                .with_hint("leave the order to PostgreSQL: --merge gather"));
            }
            let normal = match &column.pg_type.shape {
                Shape::Float4 => Normal::Float4,
                Shape::Float8 => Normal::Float8,
                Shape::Enum { .. } => Normal::Enum,
                Shape::Interval => Normal::Interval,
                Shape::Text { .. } if column.pg_type.name() == "bpchar" => Normal::Bpchar,
                _ => Normal::AsIs,
            };
            let data_type = match normal {
                Normal::Enum => DataType::Int32,
                Normal::Interval => DataType::Decimal128(38, 0),
                _ => column.pg_type.data_type(),
            };
            let options = SortOptions::new(key.descending, key.nulls_first);
            found.columns.push((key.column, normal));
            found
                .fields
                .push(SortField::new_with_options(data_type, options));
        }
        Ok(found)
    }

    fn normalized(&self, columns: &[ArrayRef]) -> Result<Vec<ArrayRef>> {
        self.columns
            .iter()
            .map(|(index, normal)| {
                let array = columns.get(*index).ok_or_else(changed)?;
                normal.apply(array)
            })
            .collect()
    }
}

impl Normal {
    fn apply(self, array: &ArrayRef) -> Result<ArrayRef> {
        Ok(match self {
            Self::AsIs => array.clone(),
            Self::Float4 => {
                let values = array
                    .as_primitive_opt::<Float32Type>()
                    .ok_or_else(changed)?;
                let normal = |value: f32| match value {
                    value if value.is_nan() => f32::NAN,
                    0.0 => 0.0,
                    value => value,
                };
                Arc::new(values.unary::<_, Float32Type>(normal)) as ArrayRef
            }
            Self::Float8 => {
                let values = array
                    .as_primitive_opt::<Float64Type>()
                    .ok_or_else(changed)?;
                let normal = |value: f64| match value {
                    value if value.is_nan() => f64::NAN,
                    0.0 => 0.0,
                    value => value,
                };
                Arc::new(values.unary::<_, Float64Type>(normal))
            }
            Self::Enum => {
                let labels = array.as_any_dictionary_opt().ok_or_else(changed)?;
                cast(labels.keys(), &DataType::Int32).map_err(fault)?
            }
            Self::Bpchar => {
                let values = array.as_string_opt::<i32>().ok_or_else(changed)?;
                let trimmed = values
                    .iter()
                    .map(|value| value.map(|text| text.trim_end_matches(' ')));
                Arc::new(trimmed.collect::<StringArray>())
            }
            Self::Interval => {
                let values = array
                    .as_primitive_opt::<IntervalMonthDayNanoType>()
                    .ok_or_else(changed)?;
                let lengths: Decimal128Array = values
                    .iter()
                    .map(|value| {
                        value.map(|value| {
                            let days = i128::from(value.months) * 30 + i128::from(value.days);
                            days * NANOSECONDS_PER_DAY + i128::from(value.nanoseconds)
                        })
                    })
                    .collect();
                Arc::new(lengths.with_precision_and_scale(38, 0).map_err(fault)?)
            }
        })
    }
}

const NANOSECONDS_PER_DAY: i128 = 86_400_000_000_000;

fn changed() -> Error {
    Error::new(
        ErrorKind::Execute,
        "a sort key has another Arrow type than its column",
    )
    .with_phase(Phase::Merge)
}

fn fault(error: ArrowError) -> Error {
    Error::new(ErrorKind::Execute, "cannot compare the sort keys")
        .with_phase(Phase::Merge)
        .with_source(error)
}

#[cfg(test)]
mod tests;
