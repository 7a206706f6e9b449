//! An aligned table for reading, as psql prints one.

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatchWriter;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::{FLUSH_BYTES, formatters};
use crate::types::holds_numeric_text;

/// How many rows at most decide how wide the columns are.
const SAMPLE_ROWS: usize = 1_000;

/// How many bytes of text at most decide it.
const SAMPLE_BYTES: usize = 4 << 20;

/// The widest that a column is made; longer values stick out.
const MAX_WIDTH: usize = 256;

/// Writes a table with a header, aligned columns and the number of rows, for a person to read.
///
/// NULL is shown as `NULL`. Control characters, and characters that change the direction of text or
/// take no space, are shown as `\n`, `\x1B` or `\u202E`: no value can move the cursor of a terminal.
///
/// # Memory
/// The columns are as wide as the first 1,000 rows (or 4 MiB of them) need, so not more than these
/// are held; a later, longer value sticks out. All rows are printed.
#[derive(Debug)]
pub struct TableWriter<W> {
    writer: W,
    schema: SchemaRef,
    right_aligned: Vec<bool>,
    widths: Vec<usize>,
    /// The cells that wait until the widths are known, row by row.
    sample: Vec<String>,
    sample_bytes: usize,
    widths_known: bool,
    rows: u64,
    buffer: String,
}

impl<W: Write> TableWriter<W> {
    /// Starts a table; nothing is written before the first rows have come.
    pub fn new(writer: W, schema: SchemaRef) -> Self {
        let right_aligned = schema
            .fields()
            .iter()
            .map(|field| field.data_type().is_numeric() || holds_numeric_text(field));
        Self {
            writer,
            right_aligned: right_aligned.collect(),
            widths: vec![0; schema.fields().len()],
            schema,
            sample: Vec::new(),
            sample_bytes: 0,
            widths_known: false,
            rows: 0,
            buffer: String::new(),
        }
    }

    /// Decides the widths, and prints the header and the rows that waited.
    fn end_sample(&mut self) -> Result<(), ArrowError> {
        self.widths_known = true;
        let columns = self.widths.len();
        let names: Vec<String> = self
            .schema
            .fields()
            .iter()
            .map(|f| visible(f.name()))
            .collect();
        let sample = std::mem::take(&mut self.sample);
        for (index, cell) in names.iter().chain(&sample).enumerate() {
            let width = &mut self.widths[index % columns];
            *width = (*width).max(cell.width().min(MAX_WIDTH));
        }
        for (index, (name, width)) in names.iter().zip(&self.widths).enumerate() {
            if index > 0 {
                self.buffer.push('|');
            }
            let space = width.saturating_sub(name.width());
            pad(&mut self.buffer, 1 + space / 2);
            self.buffer.push_str(name);
            pad(&mut self.buffer, 1 + space - space / 2);
        }
        if columns > 0 {
            self.buffer.push('\n');
        }
        for (index, width) in self.widths.iter().enumerate() {
            if index > 0 {
                self.buffer.push('+');
            }
            self.buffer.extend(std::iter::repeat_n('-', width + 2));
        }
        if columns == 0 {
            self.buffer.push_str("--");
        }
        self.buffer.push('\n');
        if columns > 0 {
            for row in sample.chunks(columns) {
                self.write_row(row)?;
            }
        }
        Ok(())
    }

    fn write_row(&mut self, cells: &[String]) -> Result<(), ArrowError> {
        for (index, cell) in cells.iter().enumerate() {
            self.buffer.push_str(if index == 0 { " " } else { " | " });
            let space = self.widths[index].saturating_sub(cell.width());
            if self.right_aligned[index] {
                pad(&mut self.buffer, space);
            }
            self.buffer.push_str(cell);
            if !self.right_aligned[index] && index + 1 < cells.len() {
                pad(&mut self.buffer, space);
            }
        }
        self.buffer.push('\n');
        if self.buffer.len() >= FLUSH_BYTES {
            self.write_out()?;
        }
        Ok(())
    }

    fn write_out(&mut self) -> Result<(), ArrowError> {
        self.writer.write_all(self.buffer.as_bytes())?;
        self.buffer.clear();
        Ok(())
    }
}

impl<W: Write> RecordBatchWriter for TableWriter<W> {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        self.rows += batch.num_rows() as u64;
        let columns = formatters(&self.schema, batch)?;
        if columns.is_empty() {
            return Ok(());
        }
        let mut text = String::new();
        let mut cells = Vec::with_capacity(columns.len());
        for row in 0..batch.num_rows() {
            for column in &columns {
                text.clear();
                if column.is_null(row) {
                    text.push_str("NULL");
                } else {
                    column.write(row, &mut text);
                }
                cells.push(visible(&text));
            }
            if self.widths_known {
                self.write_row(&cells)?;
                cells.clear();
                continue;
            }
            self.sample_bytes += cells.iter().map(String::len).sum::<usize>();
            self.sample.append(&mut cells);
            if self.sample.len() >= SAMPLE_ROWS * columns.len() || self.sample_bytes >= SAMPLE_BYTES
            {
                self.end_sample()?;
            }
        }
        Ok(())
    }

    fn close(mut self) -> Result<(), ArrowError> {
        if !self.widths_known {
            self.end_sample()?;
        }
        let plural = if self.rows == 1 { "row" } else { "rows" };
        self.buffer.push_str(&format!("({} {plural})\n", self.rows));
        self.write_out()?;
        Ok(self.writer.flush()?)
    }
}

fn pad(out: &mut String, spaces: usize) {
    out.extend(std::iter::repeat_n(' ', spaces));
}

/// A text in which every character takes space and none is an order to the terminal.
fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\0'..='\x1f' | '\x7f' => out.push_str(&format!("\\x{:02X}", u32::from(c))),
            '\u{80}'..='\u{9f}'
            | '\u{2028}'
            | '\u{2029}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}'
            | '\u{200b}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{61c}'
            | '\u{feff}'
            | '\u{e0000}'..='\u{e007f}' => {
                out.push_str(&format!("\\u{:04X}", u32::from(c)));
            }
            // Combining characters belong to the one before them.
            _ if c.width().is_some() => out.push(c),
            _ => out.push('\u{fffd}'),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int32Array, RecordBatchOptions, StringArray};
    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;

    fn table(schema: SchemaRef, batches: &[RecordBatch]) -> String {
        let mut out = Vec::new();
        let mut writer = TableWriter::new(&mut out, schema);
        for batch in batches {
            writer.write(batch).unwrap();
        }
        writer.close().unwrap();
        String::from_utf8(out).unwrap()
    }

    fn batch(numbers: Vec<Option<i32>>, texts: Vec<Option<&str>>) -> RecordBatch {
        let schema = Schema::new(vec![
            Field::new("n", DataType::Int32, true),
            Field::new("long name", DataType::Utf8, true),
        ]);
        RecordBatch::try_new(
            Arc::new(schema),
            vec![
                Arc::new(Int32Array::from(numbers)),
                Arc::new(StringArray::from(texts)),
            ],
        )
        .unwrap()
    }

    #[test]
    fn columns_are_aligned_as_psql_does() {
        let batch = batch(
            vec![Some(1), Some(22), None],
            vec![Some("x"), Some("é漢"), None],
        );
        assert_eq!(
            table(batch.schema(), &[batch]),
            "  n   | long name \n\
             ------+-----------\n    1 | x\n   22 | é漢\n NULL | NULL\n(3 rows)\n"
        );
    }

    #[test]
    fn no_rows_and_no_columns() {
        let empty = batch(vec![], vec![]);
        assert_eq!(
            table(empty.schema(), &[]),
            " n | long name \n---+-----------\n(0 rows)\n"
        );
        let schema = Arc::new(Schema::empty());
        let options = RecordBatchOptions::new().with_row_count(Some(1));
        let batch =
            RecordBatch::try_new_with_options(Arc::clone(&schema), vec![], &options).unwrap();
        assert_eq!(table(schema, &[batch]), "--\n(1 row)\n");
    }

    #[test]
    fn data_cannot_reach_the_terminal() {
        let nasty = "a\n\t\x1b[31m\u{9b}\u{202e}\u{feff}\x7f";
        let batch = batch(vec![Some(1)], vec![Some(nasty)]);
        let text = table(batch.schema(), &[batch]);
        assert!(
            text.contains("a\\n\\t\\x1B[31m\\u009B\\u202E\\uFEFF\\x7F\n"),
            "{text}"
        );
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()));
    }

    #[test]
    fn later_rows_keep_the_widths_of_the_first() {
        let first = batch(vec![Some(1); SAMPLE_ROWS], vec![Some("x"); SAMPLE_ROWS]);
        let second = batch(vec![Some(123_456)], vec![Some("a text that is longer")]);
        let text = table(first.schema(), &[first, second]);
        let mut lines = text.lines().rev();
        assert_eq!(lines.next(), Some("(1001 rows)"));
        assert_eq!(lines.next(), Some(" 123456 | a text that is longer"));
        assert_eq!(lines.next(), Some(" 1 | x"));
    }
}
