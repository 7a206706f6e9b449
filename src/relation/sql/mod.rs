//! Arrow batches as a common table expression that PostgreSQL reads back as the same values.

use std::fmt::Write as _;

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};

use crate::error::{Error, ErrorKind, Phase, Result};
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
            sql.push_str(&quote::identifier(&column.name));
        }
        sql.push_str(") AS (SELECT ");
        for (index, column) in self.columns.iter().enumerate() {
            sql.push_str(if index == 0 { "" } else { ", " });
            column.write_expression(&format!("r.c{}", index + 1), sql);
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
            let array = column.encoding.array_of(&column.sql_type);
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
    /// [`ErrorKind::Unsupported`] for a column of which no literals can be written;
    /// [`ErrorKind::Internal`] when there are more or fewer types than columns.
    pub(crate) fn try_new(name: &str, columns: &[StepColumn], types: Vec<SqlType>) -> Result<Self> {
        if columns.len() != types.len() {
            return Err(Error::fault(format!(
                "relation {name} is planned with {} columns, and has {}",
                columns.len(),
                types.len()
            ))
            .with_phase(Phase::Merge));
        }
        let columns = columns
            .iter()
            .zip(types)
            .map(|(column, sql_type)| ColumnText::try_new(name, column, sql_type))
            .collect::<Result<_>>()?;
        Ok(Self(StepRelation {
            name: name.to_owned(),
            columns,
            rows: 0,
        }))
    }

    /// Adds rows; returns how many bytes they take.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] for another number of columns; [`ErrorKind::Export`] for an Arrow
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
/// [`ErrorKind::Internal`] for another number of columns, or a type that has changed in another way.
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
    name: String,
    collation: Option<String>,
    sql_type: SqlType,
    encoding: Encoding,
    values: String,
}

/// How the values of a column are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    /// As an array of the column's type.
    Own { delimiter: char },
    /// As texts that are cast: PostgreSQL has no array of the column's type.
    Text,
    /// As numbers: a `"char"` is one byte, and those above 127 are no text in UTF-8.
    Byte,
}

impl Encoding {
    fn delimiter(self) -> char {
        match self {
            Self::Own { delimiter } => delimiter,
            Self::Text | Self::Byte => ',',
        }
    }

    /// The type of the elements of the array.
    fn array_of(self, sql_type: &SqlType) -> &str {
        match self {
            Self::Own { .. } => &sql_type.name,
            Self::Text => "pg_catalog.text",
            Self::Byte => "pg_catalog.int4",
        }
    }
}

impl ColumnText {
    fn try_new(relation: &str, column: &StepColumn, sql_type: SqlType) -> Result<Self> {
        if sql_type.pseudo {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "column {:?} of relation {relation} has type {}, whose values cannot be \
                     handed to another server",
                    column.name, sql_type.name
                ),
            )
            .with_phase(Phase::Merge)
            .with_hint("cast it to a type that has a name: a composite type, or text"));
        }
        let encoding = match sql_type.delimiter {
            _ if sql_type.name == "\"char\"" => Encoding::Byte,
            Some(delimiter) => Encoding::Own { delimiter },
            None => Encoding::Text,
        };
        Ok(Self {
            name: column.name.clone(),
            collation: column.collation.clone(),
            sql_type,
            encoding,
            values: String::new(),
        })
    }

    /// The column as it was, with type modifier, domain and collation, which an array's elements
    /// do not have.
    fn write_expression(&self, reference: &str, sql: &mut String) {
        let name = &self.sql_type.name;
        let _ = match &self.sql_type.domain {
            // A column can be NULL where its domain does not allow that, behind an outer join. A
            // cast would check it, and the NULL that a subquery of no rows gives is not checked.
            Some(domain) => write!(
                sql,
                "(SELECT {reference}::{name}::{domain} \
                 WHERE pg_catalog.num_nulls({reference}) = 0)"
            ),
            None => write!(sql, "{reference}::{name}"),
        };
        if let Some(collation) = &self.collation {
            let _ = write!(sql, " COLLATE {collation}");
        }
    }

    fn push(&mut self, field: &Field, array: &dyn Array, first: bool) -> Result<()> {
        let texts =
            TextFormatter::try_new(field, array).map_err(|error| error.with_phase(Phase::Merge))?;
        let plain = is_number(array.data_type());
        let delimiter = self.encoding.delimiter();
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
            match self.encoding {
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

/// The byte of a `"char"`, as PostgreSQL's signed number; its text is empty for zero, and `\377`
/// for what is not ASCII.
fn byte_of(text: &str) -> Result<i8> {
    let byte = match text.as_bytes() {
        [] => Some(0),
        [byte] if byte.is_ascii() => Some(*byte),
        [b'\\', ..] => u8::from_str_radix(&text[1..], 8).ok(),
        _ => None,
    };
    byte.map(u8::cast_signed)
        .ok_or_else(|| Error::fault(format!("{text:?} is no \"char\"")).with_phase(Phase::Merge))
}

#[cfg(test)]
mod tests;
