//! What a Parquet file says of its columns: least and greatest values, and how many are NULL.

use arrow::array::{Array, ArrayRef, BooleanArray, UInt64Array};
use arrow::compute::{SortOptions, sort_to_indices};
use arrow::datatypes::{DataType, Field, Schema};
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use parquet::errors::Result;
use parquet::file::metadata::ParquetMetaData;

use crate::export::ColumnRange;
use crate::text::TextFormatter;

/// The ranges of those columns for which the row groups have statistics.
pub(super) fn of_columns(metadata: &ParquetMetaData, schema: &Schema) -> Result<Vec<ColumnRange>> {
    let fields = schema.fields().iter().filter(|field| is_ordered(field));
    let ranges = fields.map(|field| of_column(metadata, schema, field));
    Ok(ranges
        .collect::<Result<Vec<_>>>()?
        .into_iter()
        .flatten()
        .collect())
}

/// Whether the order of Parquet's statistics is that of the values, NaN included.
fn is_ordered(field: &Field) -> bool {
    match field.data_type() {
        DataType::Boolean
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::UInt32
        | DataType::UInt64
        | DataType::Decimal128(_, _)
        | DataType::Date32
        | DataType::Time64(_)
        | DataType::Timestamp(_, _) => true,
        // Of its bytes.
        DataType::Utf8 | DataType::Utf8View => field.metadata().is_empty(),
        _ => false,
    }
}

fn of_column(
    metadata: &ParquetMetaData,
    schema: &Schema,
    field: &Field,
) -> Result<Option<ColumnRange>> {
    let parquet = metadata.file_metadata().schema_descr();
    let statistics = StatisticsConverter::try_new(field.name(), schema, parquet)?;
    let groups = || metadata.row_groups().iter();
    let nulls = statistics.row_group_null_counts(groups())?;
    if nulls.null_count() > 0 {
        return Ok(None);
    }
    let counts: Vec<_> = groups().map(|group| group.num_rows()).collect();
    let least = statistics.row_group_mins(groups())?;
    let is_exact = statistics.row_group_is_min_value_exact(groups())?;
    let min = outermost(field, &least, &is_exact, &nulls, &counts, false);
    let greatest = statistics.row_group_maxes(groups())?;
    let is_exact = statistics.row_group_is_max_value_exact(groups())?;
    let max = outermost(field, &greatest, &is_exact, &nulls, &counts, true);
    Ok(Some(ColumnRange {
        name: field.name().clone(),
        nulls: nulls.values().iter().sum(),
        min,
        max,
    }))
}

/// The least or greatest of the row groups' values, as PostgreSQL prints it; `None` where one of them
/// is not known, or there is none.
fn outermost(
    field: &Field,
    values: &ArrayRef,
    is_exact: &BooleanArray,
    nulls: &UInt64Array,
    counts: &[i64],
    descending: bool,
) -> Option<String> {
    let is_known = |(group, rows): (usize, &i64)| {
        let is_all_null = i64::try_from(nulls.value(group)) == Ok(*rows);
        is_all_null || values.is_valid(group) && is_exact.is_valid(group) && is_exact.value(group)
    };
    if !counts.iter().enumerate().all(is_known) {
        return None;
    }
    let options = SortOptions {
        descending,
        nulls_first: false,
    };
    let first = sort_to_indices(values, Some(options), Some(1)).ok()?;
    let first = *first.values().first()? as usize;
    if values.is_null(first) {
        return None;
    }
    let mut text = String::new();
    TextFormatter::try_new(field, values.as_ref())
        .ok()?
        .write(first, &mut text);
    Some(text)
}
