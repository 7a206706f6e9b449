//! The rows of a step as a temporary table of the session that runs the later steps.
//!
//! ```text
//! CREATE TEMPORARY TABLE pg_temp."merganser 9f3c.. 1" ON COMMIT DROP AS SELECT NULL::int8 AS c1, ..
//! COPY pg_temp."merganser 9f3c.. 1" FROM STDIN    binary: rows of shards as they came; or text
//! ANALYZE pg_temp."merganser 9f3c.. 1"
//! WITH m1(k, n) AS NOT MATERIALIZED (SELECT r.c1::int8, .. FROM pg_temp."merganser 9f3c.. 1" AS r) ..
//! ```
//! Later steps know the rows by the same name, columns, types and collations as if they were written
//! into their text, so that nothing else has to know. `pg_temp` is searched before all other schemas:
//! the name of the table is one that nobody else gives to theirs.

use std::collections::hash_map::RandomState;
use std::fmt::Write as _;
use std::hash::{BuildHasher, Hasher};

use arrow::array::RecordBatch;

use super::column::{Encoding, RelationColumn, byte_of};
use crate::decode::{COPY_HEADER, COPY_TRAILER, undecoded_bytes};
use crate::error::{Error, Phase, Result};
use crate::plan::StepColumn;
use crate::quote;
use crate::scan::SqlType;
use crate::text::TextFormatter;

/// The table of a step's rows.
#[derive(Debug, Clone)]
pub(crate) struct TemporaryRelation {
    name: String,
    /// As SQL.
    table: String,
    columns: Vec<RelationColumn>,
    content: Content,
    rows: u64,
}

/// In which form rows are put into the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    /// As shards send them: their types are the same here.
    Undecoded,
    /// As the text that the types read.
    Text,
}

impl TemporaryRelation {
    /// A table for these columns, which have these types.
    ///
    /// # Errors
    /// As [`StepRelationBuilder::try_new`](super::StepRelationBuilder::try_new).
    pub(crate) fn try_new(
        name: &str,
        columns: &[StepColumn],
        types: Vec<SqlType>,
        content: Content,
    ) -> Result<Self> {
        // Keyed with what nobody can guess.
        let number = RandomState::new().build_hasher().finish();
        let table = quote::identifier(&format!("merganser {number:016x} {name}"));
        Ok(Self {
            name: name.to_owned(),
            table: format!("pg_temp.{table}"),
            columns: RelationColumn::all(name, columns, types)?,
            content,
            rows: 0,
        })
    }

    /// What SQL calls the rows.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// How many rows are there.
    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    /// So many rows have been put into the table.
    pub(crate) fn count(&mut self, rows: u64) {
        self.rows += rows;
    }

    /// Makes the table. Made of a query, its columns declare nothing but type, modifier and collation.
    pub(crate) fn create_sql(&self) -> String {
        let mut sql = format!(
            "CREATE TEMPORARY TABLE {} ON COMMIT DROP AS SELECT ",
            self.table
        );
        for (number, column) in (1..).zip(&self.columns) {
            let comma = if number == 1 { "" } else { ", " };
            let stored = match self.content {
                Content::Undecoded => &column.sql_type.name,
                Content::Text => column.stored_type(),
            };
            // Writing to a String does not fail.
            let _ = write!(sql, "{comma}NULL::{stored}");
            if let Some(collation) = &column.collation {
                let _ = write!(sql, " COLLATE {collation}");
            }
            let _ = write!(sql, " AS c{number}");
        }
        sql.push_str(" WITH NO DATA");
        sql
    }

    /// Reads rows from the client.
    pub(crate) fn copy_sql(&self) -> String {
        let format = match self.content {
            Content::Undecoded => "binary",
            Content::Text => "text",
        };
        format!("COPY {} FROM STDIN (FORMAT {format})", self.table)
    }

    /// Takes the rows of a query that runs in the same session.
    pub(crate) fn insert_sql(&self, query: &str) -> String {
        let mut sql = format!("INSERT INTO {} SELECT ", self.table);
        let mut names = String::new();
        for (number, column) in (1..).zip(&self.columns) {
            let comma = if number == 1 { "" } else { ", " };
            let _ = write!(names, "{comma}c{number}");
            let _ = write!(sql, "{comma}q.c{number}");
            if self.content == Content::Text && column.encoding == Encoding::Byte {
                let _ = write!(sql, "::{}", column.stored_type());
            }
        }
        // The query may end in a comment of one line.
        let _ = write!(sql, " FROM (\n{query}\n) AS q({names})");
        sql
    }

    /// Tells the planner what the rows are like.
    pub(crate) fn analyze_sql(&self) -> String {
        format!("ANALYZE {}", self.table)
    }

    /// How many bytes the rows take on the disk.
    pub(crate) fn size_sql(&self) -> Result<String> {
        let table = quote::literal(&self.table)?;
        Ok(format!("SELECT pg_catalog.pg_table_size({table})"))
    }

    /// Writes `name(columns) AS (query)`. Not as a relation of its own, of which PostgreSQL would not
    /// know what it knows of the table.
    pub(crate) fn write_sql(&self, sql: &mut String) {
        sql.push_str(&quote::identifier(&self.name));
        for (index, column) in self.columns.iter().enumerate() {
            sql.push_str(if index == 0 { "(" } else { ", " });
            sql.push_str(&quote::identifier(&column.name));
        }
        sql.push_str(") AS NOT MATERIALIZED (SELECT ");
        for (index, column) in self.columns.iter().enumerate() {
            sql.push_str(if index == 0 { "" } else { ", " });
            column.write_expression(&format!("r.c{}", index + 1), sql);
        }
        let _ = write!(sql, " FROM {} AS r)", self.table);
    }

    /// What stands before the first row that is sent.
    pub(crate) fn head(&self) -> &'static [u8] {
        match self.content {
            Content::Undecoded => COPY_HEADER,
            Content::Text => b"",
        }
    }

    /// What stands behind the last one.
    pub(crate) fn tail(&self) -> &'static [u8] {
        match self.content {
            Content::Undecoded => COPY_TRAILER,
            Content::Text => b"",
        }
    }

    /// Rows as they are sent.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`](crate::ErrorKind::Internal) for other columns than those of the table;
    /// [`ErrorKind::Export`](crate::ErrorKind::Export) for an Arrow type without text form.
    pub(crate) fn encode(&self, batch: &RecordBatch) -> Result<Vec<u8>> {
        let unexpected = || {
            let found = batch.num_columns();
            Error::fault(format!(
                "a batch of {found} columns is no part of {}",
                self.name
            ))
            .with_phase(Phase::Merge)
        };
        match self.content {
            Content::Undecoded => undecoded_bytes(batch)
                .map(<[u8]>::to_vec)
                .ok_or_else(unexpected),
            Content::Text if batch.num_columns() == self.columns.len() => self.text_of(batch),
            Content::Text => Err(unexpected()),
        }
    }

    /// Rows in COPY's text format: fields between tabs, each row in a line.
    fn text_of(&self, batch: &RecordBatch) -> Result<Vec<u8>> {
        let schema = batch.schema();
        let fields = schema.fields().iter().zip(batch.columns());
        let texts = fields
            .map(|(field, array)| TextFormatter::try_new(field, array))
            .collect::<Result<Vec<_>>>()
            .map_err(|error| error.with_phase(Phase::Merge))?;
        let mut lines = String::new();
        let mut value = String::new();
        for row in 0..batch.num_rows() {
            for (index, (text, column)) in texts.iter().zip(&self.columns).enumerate() {
                if index > 0 {
                    lines.push('\t');
                }
                if text.is_null(row) {
                    lines.push_str("\\N");
                    continue;
                }
                value.clear();
                text.write(row, &mut value);
                match column.encoding {
                    Encoding::Byte => {
                        let _ = write!(lines, "{}", byte_of(&value)?);
                    }
                    Encoding::Own { .. } | Encoding::Text => push_escaped(&value, &mut lines),
                }
            }
            lines.push('\n');
        }
        Ok(lines.into_bytes())
    }
}

/// A field of COPY's text format: what separates fields and rows, and the escape itself, are escaped.
fn push_escaped(text: &str, out: &mut String) {
    for character in text.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            other => out.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, StringArray};

    use super::*;

    fn relation(content: Content) -> TemporaryRelation {
        let columns = [("k", Some("\"C\"")), ("b", None)].map(|(name, collation)| StepColumn {
            name: name.to_owned(),
            collation: collation.map(str::to_owned),
        });
        let types = ["text", "\"char\""].map(SqlType::builtin).to_vec();
        TemporaryRelation::try_new("m1", &columns, types, content).unwrap()
    }

    #[test]
    fn a_table_is_made_of_types_and_read_under_the_name_of_the_step() {
        let relation = relation(Content::Text);
        let table = &relation.table;
        assert!(
            table.starts_with("pg_temp.\"merganser ") && table.ends_with(" m1\""),
            "{table}"
        );
        assert_eq!(
            relation.create_sql(),
            format!(
                "CREATE TEMPORARY TABLE {table} ON COMMIT DROP AS SELECT NULL::text COLLATE \"C\" AS c1, \
                 NULL::pg_catalog.int4 AS c2 WITH NO DATA"
            )
        );
        assert_eq!(
            relation.insert_sql("SELECT 1 --"),
            format!(
                "INSERT INTO {table} SELECT q.c1, q.c2::pg_catalog.int4 FROM (\nSELECT 1 --\n) AS q(c1, c2)"
            )
        );
        let mut sql = String::new();
        relation.write_sql(&mut sql);
        assert_eq!(
            sql,
            format!(
                "\"m1\"(\"k\", \"b\") AS NOT MATERIALIZED (SELECT r.c1::text COLLATE \"C\", \
                 r.c2::\"char\" FROM {table} AS r)"
            )
        );
        assert!(
            super::tests::relation(Content::Undecoded)
                .create_sql()
                .contains("NULL::\"char\" AS c2")
        );
    }

    #[test]
    fn two_tables_have_two_names() {
        assert_ne!(relation(Content::Text).table, relation(Content::Text).table);
    }

    #[test]
    fn text_is_escaped_as_copy_reads_it() {
        let texts = StringArray::from(vec![Some("a\tb\\N\r\n"), None, Some("")]);
        let chars = StringArray::from(vec![Some(""), Some("\\377"), None]);
        let batch = RecordBatch::try_from_iter_with_nullable([
            ("k", Arc::new(texts) as ArrayRef, true),
            ("b", Arc::new(chars) as ArrayRef, true),
        ])
        .unwrap();
        let relation = relation(Content::Text);
        let text = String::from_utf8(relation.encode(&batch).unwrap()).unwrap();
        assert_eq!(text, "a\\tb\\\\N\\r\\n\t0\n\\N\t-1\n\t\\N\n");
        let numbers = Arc::new(Int64Array::from(vec![1])) as ArrayRef;
        let other = RecordBatch::try_from_iter([("n", numbers)]).unwrap();
        assert!(relation.encode(&other).is_err());
        assert!(
            super::tests::relation(Content::Undecoded)
                .encode(&other)
                .is_err()
        );
    }
}
