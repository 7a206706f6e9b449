//! CSV: what `psql --csv` prints, value by value, except that an empty text is quoted.

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatchWriter;

use super::{FLUSH_BYTES, formatters};

/// Writes CSV: a header line, then one line per row, fields separated by commas, lines ended by LF.
///
/// Values have PostgreSQL's text form. A field is quoted when it holds a comma, a double quote, CR
/// or LF, or is `\.` (which `COPY` would take for the end). NULL is an empty field and the empty
/// text is `""`: psql prints both as an empty field, which cannot be read back. As with psql, rows
/// without columns leave no trace but the empty header line.
#[derive(Debug)]
pub struct CsvWriter<W> {
    writer: W,
    schema: SchemaRef,
    buffer: String,
}

impl<W: Write> CsvWriter<W> {
    /// Starts the output with its header line.
    pub fn new(writer: W, schema: SchemaRef) -> Self {
        let mut buffer = String::new();
        for (index, field) in schema.fields().iter().enumerate() {
            if index > 0 {
                buffer.push(',');
            }
            let begin = buffer.len();
            buffer.push_str(field.name());
            if needs_quotes(field.name()) {
                quote(&mut buffer, begin);
            }
        }
        buffer.push('\n');
        Self {
            writer,
            schema,
            buffer,
        }
    }

    fn write_out(&mut self) -> Result<(), ArrowError> {
        self.writer.write_all(self.buffer.as_bytes())?;
        self.buffer.clear();
        Ok(())
    }
}

impl<W: Write> RecordBatchWriter for CsvWriter<W> {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        let columns = formatters(&self.schema, batch)?;
        if columns.is_empty() {
            return Ok(());
        }
        for row in 0..batch.num_rows() {
            for (index, column) in columns.iter().enumerate() {
                if index > 0 {
                    self.buffer.push(',');
                }
                if column.is_null(row) {
                    continue;
                }
                let begin = self.buffer.len();
                column.write(row, &mut self.buffer);
                let value = &self.buffer[begin..];
                if value.is_empty() || needs_quotes(value) {
                    quote(&mut self.buffer, begin);
                }
            }
            self.buffer.push('\n');
            if self.buffer.len() >= FLUSH_BYTES {
                self.write_out()?;
            }
        }
        Ok(())
    }

    fn close(mut self) -> Result<(), ArrowError> {
        self.write_out()?;
        Ok(self.writer.flush()?)
    }
}

/// The rule of `csv_print_field` in PostgreSQL's `src/fe_utils/print.c`.
fn needs_quotes(value: &str) -> bool {
    value
        .bytes()
        .any(|byte| matches!(byte, b',' | b'"' | b'\r' | b'\n'))
        || value == "\\."
}

/// Puts double quotes around what `out` holds from `begin` on, and doubles those inside.
fn quote(out: &mut String, begin: usize) {
    let value = out.split_off(begin);
    out.push('"');
    for (index, part) in value.split('"').enumerate() {
        if index > 0 {
            out.push_str("\"\"");
        }
        out.push_str(part);
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int32Array, RecordBatchOptions, StringArray};
    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;

    fn csv(batch: &RecordBatch) -> String {
        let mut out = Vec::new();
        let mut writer = CsvWriter::new(&mut out, batch.schema());
        writer.write(batch).unwrap();
        writer.close().unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn values_are_quoted_as_psql_does() {
        let column = |name: &str, value: &str| {
            let field = Field::new(name, DataType::Utf8, true);
            (field, Arc::new(StringArray::from(vec![value])) as ArrayRef)
        };
        let (fields, arrays): (Vec<_>, Vec<_>) = [
            column("a,b", "1"),
            column("q\"r", "x\"y"),
            column("p", "\\."),
            column("nl", "a\nb"),
            column("cr", "a\rb"),
            column("sp", " x "),
            column("semi", "a;b"),
            column("bs", "\\.x"),
        ]
        .into_iter()
        .unzip();
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap();
        assert_eq!(
            csv(&batch),
            "\"a,b\",\"q\"\"r\",p,nl,cr,sp,semi,bs\n\
             1,\"x\"\"y\",\"\\.\",\"a\nb\",\"a\rb\", x ,a;b,\\.x\n"
        );
    }

    #[test]
    fn null_and_empty_text_can_be_told_apart() {
        // Two columns of one name, too.
        let schema = Schema::new(vec![
            Field::new("n", DataType::Int32, true),
            Field::new("n", DataType::Utf8, true),
        ]);
        let batch = RecordBatch::try_new(
            Arc::new(schema),
            vec![
                Arc::new(Int32Array::from(vec![Some(1), None])),
                Arc::new(StringArray::from(vec![Some(""), None])),
            ],
        )
        .unwrap();
        assert_eq!(csv(&batch), "n,n\n1,\"\"\n,\n");
    }

    #[test]
    fn rows_without_columns_are_one_empty_line() {
        let options = RecordBatchOptions::new().with_row_count(Some(3));
        let batch =
            RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options).unwrap();
        assert_eq!(csv(&batch), "\n");
    }
}
