//! Arrow batches as a common table expression that PostgreSQL reads back as the same values.

use std::fmt::Write as _;

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};

use super::column::{Encoding, RelationColumn, byte_of};
use crate::error::{Error, Phase, Result};
use crate::plan::StepColumn;
use crate::quote;
use crate::scan::SqlType;
use crate::text::TextFormatter;

/// The rows of a step, as SQL.
#[derive(Debug, Clone)]
pub(crate) struct StepRelation {
    name: String,
    columns: Vec<ColumnText>,
    rows: u64,
}

impl StepRelation {
    /// How many there are.
    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    /// Writes `name(columns) AS (query)`; without its rows it is a relation of the same columns,
    /// with the same types.
    pub(crate) fn write_sql(&self, with_rows: bool, sql: &mut String) {
        sql.push_str(&quote::identifier(&self.name));
        if self.columns.is_empty() {
            let rows = if with_rows { self.rows } else { 0 };
            // A list of no columns is no SQL, and `SELECT` of none is. Writing to a String does not
            // fail.
            let _ = write!(
                sql,
                " AS (SELECT FROM pg_catalog.generate_series(1, {rows}))"
            );
            return;
        }
        if with_rows {
            let bytes: usize = self.columns.iter().map(|column| column.values.len()).sum();
            sql.reserve(bytes + 200 * self.columns.len());
        }
        for (index, column) in self.columns.iter().enumerate() {
            sql.push_str(if index == 0 { "(" } else { ", " });
            sql.push_str(&quote::identifier(&column.column.name));
        }
        sql.push_str(") AS (SELECT ");
        for (index, column) in self.columns.iter().enumerate() {
            sql.push_str(if index == 0 { "" } else { ", " });
            let reference = format!("r.c{}", index + 1);
            column.column.write_expression(&reference, sql);
        }
        // In the select list, where unnest gives one column of a composite type too. All arrays are
        // of one length, and go on together.
        sql.push_str(" FROM (SELECT ");
        for (index, column) in self.columns.iter().enumerate() {
            sql.push_str(if index == 0 { "" } else { ", " });
            sql.push_str("pg_catalog.unnest(E'{");
            if with_rows {
                sql.push_str(&column.values);
            }
            let array = column.column.array_element();
            let _ = write!(sql, "}}'::{array}[]) AS c{}", index + 1);
        }
        sql.push_str(") AS r)");
    }
}

/// Collects the rows of a [`StepRelation`] as they arrive.
#[derive(Debug)]
pub(crate) struct StepRelationBuilder(StepRelation);

impl StepRelationBuilder {
    /// A relation of these columns, which have these types.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`](crate::error::ErrorKind::Unsupported) for a column of which no literals can be written;
    /// [`ErrorKind::Internal`](crate::error::ErrorKind::Internal) when there are more or fewer types than columns.
    pub(crate) fn try_new(name: &str, columns: &[StepColumn], types: Vec<SqlType>) -> Result<Self> {
        let columns = RelationColumn::all(name, columns, types)?
            .into_iter()
            .map(|column| ColumnText {
                column,
                values: String::new(),
            })
            .collect();
        Ok(Self(StepRelation {
            name: name.to_owned(),
            columns,
            rows: 0,
        }))
    }

    /// Adds rows; returns how many bytes they take.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`](crate::error::ErrorKind::Internal) for another number of columns; [`ErrorKind::Export`](crate::error::ErrorKind::Export) for an Arrow
    /// type without text form.
    pub(crate) fn push(&mut self, batch: &RecordBatch) -> Result<u64> {
        let relation = &mut self.0;
        if batch.num_columns() != relation.columns.len() {
            return Err(Error::fault(format!(
                "relation {} has {} columns, a batch {}",
                relation.name,
                relation.columns.len(),
                batch.num_columns()
            ))
            .with_phase(Phase::Merge));
        }
        let schema = batch.schema();
        let first = relation.rows == 0;
        let mut bytes = 0;
        for ((column, field), array) in relation
            .columns
            .iter_mut()
            .zip(schema.fields())
            .zip(batch.columns())
        {
            let before = column.values.len();
            column.push(field, array, first)?;
            bytes += column.values.len() - before;
        }
        relation.rows += batch.num_rows() as u64;
        Ok(bytes as u64)
    }

    pub(crate) fn finish(self) -> StepRelation {
        self.0
    }
}

/// The types of what a merge made of columns of these types: DataFusion's sums are wider.
///
/// # Errors
/// [`ErrorKind::Internal`](crate::error::ErrorKind::Internal) for another number of columns, or a type that has changed in another way.
pub(crate) fn aggregated_types(
    shards: &Schema,
    types: Vec<SqlType>,
    merged: &Schema,
) -> Result<Vec<SqlType>> {
    let unexpected = |what: String| Error::fault(what).with_phase(Phase::Merge);
    if types.len() != merged.fields().len() || types.len() != shards.fields().len() {
        return Err(unexpected(format!(
            "the merge gives {} columns of {}",
            merged.fields().len(),
            types.len()
        )));
    }
    types
        .into_iter()
        .zip(shards.fields().iter().zip(merged.fields()))
        .map(|(sql_type, (before, after))| {
            if before.data_type() == after.data_type() {
                return Ok(sql_type);
            }
            let name = match after.data_type() {
                DataType::Int16 => "int2",
                DataType::Int32 => "int4",
                DataType::Int64 => "int8",
                DataType::Float32 => "float4",
                DataType::Float64 => "float8",
                DataType::Boolean => "bool",
                DataType::Decimal128(_, _) | DataType::Decimal256(_, _) => "numeric",
                other => {
                    return Err(unexpected(format!(
                        "column {:?}: the merge makes {other} of {}",
                        after.name(),
                        before.data_type()
                    )));
                }
            };
            Ok(SqlType::builtin(name))
        })
        .collect()
}

/// One column's values, in the form that stands within the braces of `E'{...}'`.
#[derive(Debug, Clone)]
struct ColumnText {
    column: RelationColumn,
    values: String,
}

impl ColumnText {
    fn push(&mut self, field: &Field, array: &dyn Array, first: bool) -> Result<()> {
        let texts =
            TextFormatter::try_new(field, array).map_err(|error| error.with_phase(Phase::Merge))?;
        let plain = is_number(array.data_type());
        let delimiter = self.column.encoding.delimiter();
        let mut scratch = String::new();
        for row in 0..array.len() {
            if !(first && row == 0) {
                self.values.push(delimiter);
            }
            if texts.is_null(row) {
                self.values.push_str("NULL");
                continue;
            }
            if plain {
                texts.write(row, &mut self.values);
                continue;
            }
            scratch.clear();
            texts.write(row, &mut scratch);
            match self.column.encoding {
                Encoding::Byte => {
                    let _ = write!(self.values, "{}", byte_of(&scratch)?);
                }
                Encoding::Own { .. } | Encoding::Text => push_quoted(&scratch, &mut self.values),
            }
        }
        Ok(())
    }
}

/// Numbers have no character that means something within an array or a literal.
fn is_number(data_type: &DataType) -> bool {
    data_type.is_integer() || data_type.is_floating() || data_type.is_decimal()
}

/// An array's element in quotes, as it stands within `E'...'`.
///
/// In the array a backslash and a quotation mark have a backslash before them; in the literal each
/// backslash is doubled, and so is an apostrophe.
fn push_quoted(text: &str, out: &mut String) {
    out.reserve(text.len() + 2);
    out.push('"');
    for character in text.chars() {
        match character {
            '\\' => out.push_str("\\\\\\\\"),
            '"' => out.push_str("\\\\\""),
            '\'' => out.push_str("''"),
            other => out.push(other),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests;
