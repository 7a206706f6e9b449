//! The rows of a plan's last step as the answer that PostgreSQL would have described.

use std::sync::Arc;

use arrow::array::{Array, RecordBatch, RecordBatchOptions};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Schema};
use futures::stream::StreamExt;

use crate::error::{Error, ErrorKind, Phase, Result};
use crate::stream::QueryStream;
use crate::types::Column;

/// How the columns of the last step are read.
#[derive(Debug)]
pub(super) struct Fitted {
    /// The user's columns, and behind them those that are only sorted by.
    pub(super) columns: Vec<Column>,
    /// What each is cast to before it is read, where its text depends on that.
    pub(super) casts: Vec<Option<String>>,
}

/// Holds the columns of the last step against those of the user's statement.
///
/// Types may differ in their modifiers: `numeric` where the statement has `numeric(15,2)`, because
/// the column came through a relation. Read as the statement's type, a value either is the same or
/// does not fit, which is an error.
///
/// # Errors
/// [`ErrorKind::Internal`] when they differ in more.
pub(super) fn fitted(user: &[Column], last: &[Column], visible: usize) -> Result<Fitted> {
    let hidden = last.get(visible..).unwrap_or_default();
    let shown = last.get(..visible).unwrap_or(last);
    if shown.len() != user.len() {
        return Err(other(format!(
            "the plan gives {} columns, the query has {}",
            shown.len(),
            user.len()
        )));
    }
    let names: Vec<_> = user.iter().map(|column| column.name.as_str()).collect();
    let mut columns = Vec::with_capacity(last.len());
    let mut casts = Vec::with_capacity(last.len());
    for (index, (user, last)) in user.iter().zip(shown).enumerate() {
        if is_whole_row(last, user) {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "refused: column {} {:?} is a whole row of type {}, which has no name any more where the query is finished",
                    index + 1,
                    user.name,
                    user.pg_type.name()
                ),
            )
            .with_phase(Phase::Plan)
            .with_hint("select its columns, or write ROW(column, ..)::type"));
        }
        // Columns of one type could otherwise change places unnoticed. What an expression is called
        // does change, where a column stands for it.
        if user.name != last.name && names.contains(&last.name.as_str()) {
            return Err(other(format!(
                "column {}: the plan calls it {:?}, the query {:?}",
                index + 1,
                last.name,
                user.name
            )));
        }
        if !user.pg_type.is_same_but_for_modifiers(&last.pg_type) {
            return Err(other(format!(
                "column {} {:?}: the plan gives {}, the query has {}",
                index + 1,
                user.name,
                last.pg_type.details(),
                user.pg_type.details()
            )));
        }
        let needs_cast = user.pg_type.is_read_as_text() && user.pg_type != last.pg_type;
        casts.push(needs_cast.then(|| user.pg_type.name().to_owned()));
        columns.push(user.clone());
    }
    casts.resize(last.len(), None);
    columns.extend(hidden.iter().cloned());
    Ok(Fitted { columns, casts })
}

/// Whether a row of a table has become one of a relation that is no table.
fn is_whole_row(last: &Column, user: &Column) -> bool {
    ["record", "record[]", "_record"].contains(&last.pg_type.name())
        && last.pg_type.name() != user.pg_type.name()
}

/// Gives what DataFusion has aggregated the names and types of the user's statement.
///
/// # Errors
/// [`ErrorKind::Internal`] when the types are others; later, [`ErrorKind::Decode`] when a decimal
/// does not fit.
pub(super) fn aggregated(rows: QueryStream, user: &[Column]) -> Result<QueryStream> {
    let found = rows.schema();
    if found.fields().len() != user.len() {
        return Err(other(format!(
            "the plan gives {} columns, the query has {}",
            found.fields().len(),
            user.len()
        )));
    }
    let fields: Vec<_> = user
        .iter()
        .map(|column| Arc::new(column.to_field()))
        .collect();
    for (found, wanted) in found.fields().iter().zip(&fields) {
        if !is_lossless(found.data_type(), wanted.data_type()) {
            return Err(other(format!(
                "column {:?}: the merge gives {}, the query has {}",
                wanted.name(),
                found.data_type(),
                wanted.data_type()
            )));
        }
    }
    let schema = Arc::new(Schema::new(fields));
    let promised = schema.clone();
    let batches = rows.map(move |batch| {
        let batch = batch?;
        let options = CastOptions {
            safe: false,
            ..CastOptions::default()
        };
        let columns = batch
            .columns()
            .iter()
            .zip(promised.fields())
            .map(|(array, field)| {
                if array.data_type() == field.data_type() {
                    return Ok(array.clone());
                }
                cast_with_options(array, field.data_type(), &options).map_err(|error| {
                    Error::new(
                        ErrorKind::Decode,
                        format!(
                            "column {:?}: a value does not fit {}",
                            field.name(),
                            field.data_type()
                        ),
                    )
                    .with_phase(Phase::Merge)
                    .with_source(error)
                    .with_unrepresentable()
                    .with_hint(
                        "set the numeric option to decimal(p,s) with more digits, or to text",
                    )
                })
            })
            .collect::<Result<_>>()?;
        let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(promised.clone(), columns, &rows)
            .map_err(|error| other("the merge broke its promise".to_owned()).with_source(error))
    });
    Ok(QueryStream::new(schema, batches))
}

/// Whether a cast keeps every value that it does not refuse.
fn is_lossless(found: &DataType, wanted: &DataType) -> bool {
    use DataType::{Binary, BinaryView, Decimal128, Decimal256, Float64, Utf8, Utf8View};
    match (found, wanted) {
        (
            Decimal128(_, found) | Decimal256(_, found),
            Decimal128(_, wanted) | Decimal256(_, wanted),
        ) => found <= wanted,
        // As the options ask for unconstrained `numeric`.
        (Decimal128(_, _) | Decimal256(_, _), Utf8 | Utf8View | Float64) => true,
        (Utf8, Utf8View) | (Binary, BinaryView) => true,
        (found, wanted) => found == wanted,
    }
}

fn other(message: String) -> Error {
    Error::fault(message)
}
