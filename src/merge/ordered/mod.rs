//! The rows of shards that each sort theirs, as one sorted stream.
//!
//! Each shard sends the keys in a form that can be compared here, beside the columns that are read as
//! the user wants them. The keys of each row are encoded as bytes that compare as PostgreSQL compares the keys; by these
//! DataFusion merges. That a shard's rows do come in this order is checked, row by row: a collation
//! or a type that compares otherwise than we think must end in an error, and never in a wrong order.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use arrow::array::{
    ArrayRef, AsArray, BinaryArray, Decimal128Array, RecordBatch, RecordBatchOptions, StringArray,
};
use arrow::compute::{SortOptions, cast};
use arrow::datatypes::{DataType, Field, Float32Type, Float64Type, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::row::{OwnedRow, RowConverter, SortField};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, UnboundedMemoryPool};
use datafusion::physical_expr::expressions::Column as ColumnExpr;
use datafusion::physical_expr::{LexOrdering, PhysicalSortExpr};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet};
use datafusion::physical_plan::sorts::streaming_merge::StreamingMergeBuilder;
use futures::stream::{Stream, StreamExt};
use tokio::sync::mpsc::{self, Receiver};

use super::aggregate::{execution, from_datafusion, to_datafusion};
use super::concatenate::ahead;
use super::{Order, same_schema, union};
use crate::error::{Error, ErrorKind, Phase, Result};
use crate::plan::SortKey;
use crate::stream::QueryStream;
use crate::text::{bytes_of, text_of};
use crate::types::{Column, PgType, Shape};

/// Whether [`ordered`] can compare values of this type, before options, as PostgreSQL does; of text
/// under a collation that compares bytes, which the type does not tell.
#[cfg(test)]
pub(crate) fn is_orderable(pg_type: &PgType) -> bool {
    Form::of(pg_type).is_some()
}

/// What is compared, and what the shards have to send for it.
#[derive(Debug)]
pub(crate) struct Comparison {
    /// Columns that are sent behind those of the query: what is selected, and how it is read.
    pub(crate) extra: Vec<(String, Column)>,
    keys: Vec<Key>,
}

/// A column of what the shards send that is compared.
#[derive(Debug)]
struct Key {
    column: usize,
    form: Form,
    options: SortOptions,
}

impl Comparison {
    /// The comparison of a query's rows by these keys. The columns have these types, and are read as
    /// `read` says.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] for a type whose order only PostgreSQL knows.
    pub(crate) fn try_new(
        types: &[PgType],
        read: &[Column],
        keys: &[SortKey],
        reference: impl Fn(usize) -> String,
    ) -> Result<Self> {
        let mut comparison = Self {
            extra: Vec::new(),
            keys: Vec::new(),
        };
        for key in keys {
            let options = SortOptions::new(key.descending, key.nulls_first);
            let (Some(pg_type), Some(column)) = (types.get(key.column), read.get(key.column))
            else {
                return Err(Error::fault(format!(
                    "sort key {} of a result of {} columns",
                    key.column + 1,
                    read.len()
                ))
                .with_phase(Phase::Merge));
            };
            let form = Form::of(pg_type).ok_or_else(|| {
                Error::new(
                    ErrorKind::Unsupported,
                    format!(
                        "rows cannot be merged in the order of column {:?}: type {pg_type} is not \
                         compared here",
                        column.name
                    ),
                )
                .with_phase(Phase::Merge)
                .with_hint("leave the order to PostgreSQL: --merge gather")
            })?;
            let reference = reference(key.column);
            let mut add = |form, selected: String, pg_type: PgType| {
                comparison.keys.push(Key {
                    column: read.len() + comparison.extra.len(),
                    form,
                    options,
                });
                let column = Column::new("key", pg_type);
                comparison.extra.push((selected, column));
            };
            match form {
                Form::Sent { function } | Form::SentInterval { function } => add(
                    form,
                    format!("pg_catalog.{function}({reference})"),
                    PgType::bytea(),
                ),
                Form::Numeric => {
                    // What no decimal is comes apart. Infinity is no text that all versions read.
                    add(
                        Form::AsIs,
                        format!(
                            "CASE WHEN {reference} IS NOT NULL THEN \
                             CASE {reference}::pg_catalog.text WHEN 'NaN' THEN 2::int2 \
                             WHEN 'Infinity' THEN 1::int2 WHEN '-Infinity' THEN -1::int2 \
                             ELSE 0::int2 END END"
                        ),
                        PgType::int2(),
                    );
                    add(
                        Form::AsIs,
                        format!(
                            "CASE WHEN {reference}::pg_catalog.text NOT IN \
                             ('NaN', 'Infinity', '-Infinity') THEN {reference} END"
                        ),
                        match pg_type.is_decimal() {
                            true => pg_type.clone(),
                            false => PgType::widest_decimal(),
                        },
                    );
                }
                _ if column.pg_type == *pg_type => comparison.keys.push(Key {
                    column: key.column,
                    form,
                    options,
                }),
                _ => add(form, reference, pg_type.clone()),
            }
        }
        Ok(comparison)
    }
}

/// Merges streams that are sorted each; of rows with equal keys those of the first stream
/// come first. Gives the first `visible` columns.
///
/// From the first poll on, every stream is read in a task of its own, which may be ahead of the
/// merge by `queue_bytes`.
///
/// # Errors
/// At once if there is no stream, if their schemas differ. Later the first error of any stream, in time; [`ErrorKind::Internal`] when a stream is not sorted.
///
/// # Cancel safety
/// Dropping the stream aborts the tasks, which drops the streams that they read.
///
/// # Memory
/// `queue_bytes` and two batches for each stream, and a batch of the result.
pub(crate) fn ordered(
    shards: Vec<(String, QueryStream)>,
    comparison: Comparison,
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
    if streams.len() == 1 || comparison.keys.is_empty() {
        // One shard has sorted already. Without keys, any order is right.
        let memory = queue_bytes.saturating_mul(streams.len());
        let rows = union(streams, Order::Shard, memory)?;
        return Ok(project(rows, visible));
    }

    let keys = Arc::new(comparison.keys);
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
    keys: Arc<Vec<Key>>,
    schema: SchemaRef,
) -> Result<QueryStream> {
    let fields = keys
        .iter()
        .map(|key| {
            let field = schema.fields().get(key.column).ok_or_else(changed)?;
            let data_type = key.form.compared(field.data_type());
            Ok(SortField::new_with_options(data_type, key.options))
        })
        .collect::<Result<_>>()?;
    let converter = RowConverter::new(fields).map_err(fault)?;
    let promised = schema.clone();
    let mut last: Option<OwnedRow> = None;
    let batches = rows.map(move |batch| {
        let batch = batch?;
        let mut columns = batch.columns().to_vec();
        let encoded = keys
            .iter()
            .map(|key| {
                let array = columns.get(key.column).ok_or_else(changed)?;
                key.form.normalized(array)
            })
            .collect::<Result<Vec<_>>>()
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
        ErrorKind::Internal,
        "the rows do not come in the order of the sort keys as they are compared here",
    )
    .with_shard(shard)
    .with_phase(Phase::Merge)
    .with_hint(
        "ask for the merge that leaves the order to PostgreSQL: --merge gather; and report this \
         with the query, it is a fault of merganser",
    )
}

/// The form in which values are sent, and how that is made to compare as Arrow's row format does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    AsIs,
    /// NaN is the largest, whatever its sign, and all of them are equal; so are 0 and -0.
    Float4,
    Float8,
    /// By the position of the label.
    Enum,
    /// Without trailing blanks.
    Bpchar,
    /// What is no number apart, and the number.
    Numeric,
    /// The type's binary form, which is one signed number: infinity is the largest or smallest.
    Sent {
        function: &'static str,
    },
    /// The binary form of an interval. A month is 30 days, and a day 24 hours.
    SentInterval {
        function: &'static str,
    },
}

impl Form {
    fn of(pg_type: &PgType) -> Option<Self> {
        Some(match &pg_type.shape {
            Shape::Bool
            | Shape::Int2
            | Shape::Int4
            | Shape::Int8
            | Shape::Oid
            | Shape::Xid8
            | Shape::Bytea
            | Shape::Uuid
            | Shape::Bit => Self::AsIs,
            Shape::Float4 => Self::Float4,
            Shape::Float8 => Self::Float8,
            Shape::Enum { .. } => Self::Enum,
            Shape::Numeric | Shape::Decimal { .. } => Self::Numeric,
            Shape::Date => Self::Sent {
                function: "date_send",
            },
            Shape::Time => Self::Sent {
                function: "time_send",
            },
            Shape::Timestamp { utc: false } => Self::Sent {
                function: "timestamp_send",
            },
            Shape::Timestamp { utc: true } => Self::Sent {
                function: "timestamptz_send",
            },
            Shape::Interval => Self::SentInterval {
                function: "interval_send",
            },
            Shape::Text {
                version: None,
                json: false,
            } => match pg_type.name() {
                "text" | "varchar" | "name" => Self::AsIs,
                "bpchar" => Self::Bpchar,
                _ => return None,
            },
            _ => return None,
        })
    }

    /// The Arrow type that is compared.
    fn compared(self, sent: &DataType) -> DataType {
        match self {
            Self::Enum => DataType::Int32,
            Self::Bpchar => DataType::Utf8,
            Self::Sent { .. } => DataType::Binary,
            Self::SentInterval { .. } => DataType::Decimal128(38, 0),
            _ => sent.clone(),
        }
    }

    fn normalized(self, array: &ArrayRef) -> Result<ArrayRef> {
        Ok(match self {
            Self::AsIs | Self::Numeric => array.clone(),
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
                let text = text_of(array.as_ref()).ok_or_else(changed)?;
                let rows = 0..array.len();
                let trimmed = rows.map(|row| {
                    let is_valid = array.is_valid(row);
                    is_valid.then(|| text(row).trim_end_matches(' '))
                });
                Arc::new(trimmed.collect::<StringArray>())
            }
            Self::Sent { .. } => {
                let sent = bytes_of(array.as_ref()).ok_or_else(changed)?;
                let unsigned = (0..array.len()).map(|row| {
                    let mut bytes = array.is_valid(row).then(|| sent(row).to_vec())?;
                    // Negative numbers before the others.
                    if let Some(first) = bytes.first_mut() {
                        *first ^= 0x80;
                    }
                    Some(bytes)
                });
                Arc::new(unsigned.collect::<BinaryArray>())
            }
            Self::SentInterval { .. } => {
                let sent = bytes_of(array.as_ref()).ok_or_else(changed)?;
                let lengths = (0..array.len())
                    .map(|row| {
                        let bytes = array.is_valid(row).then(|| sent(row));
                        bytes
                            .map(|bytes| length(bytes).ok_or_else(changed))
                            .transpose()
                    })
                    .collect::<Result<Decimal128Array>>()?;
                Arc::new(lengths.with_precision_and_scale(38, 0).map_err(fault)?)
            }
        })
    }
}

/// The microseconds of an interval as PostgreSQL compares it. Its binary form has microseconds, days
/// and months; see `interval_send` and `interval_cmp_value` in `src/backend/utils/adt/timestamp.c`.
fn length(sent: &[u8]) -> Option<i128> {
    const MICROSECONDS_PER_DAY: i128 = 86_400_000_000;
    let (time, rest) = sent.split_first_chunk()?;
    let (days, rest) = rest.split_first_chunk()?;
    let months: [u8; 4] = rest.try_into().ok()?;
    let days = i128::from(i32::from_be_bytes(*days));
    let days = days + i128::from(i32::from_be_bytes(months)) * 30;
    Some(i128::from(i64::from_be_bytes(*time)) + days * MICROSECONDS_PER_DAY)
}

fn changed() -> Error {
    Error::fault("a sort key has another Arrow type than its column").with_phase(Phase::Merge)
}

fn fault(error: ArrowError) -> Error {
    Error::fault("cannot compare the sort keys")
        .with_phase(Phase::Merge)
        .with_source(error)
}

#[cfg(test)]
mod tests;
