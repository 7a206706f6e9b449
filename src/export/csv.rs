//! CSV: what `psql --csv` prints, value by value, except that an empty text is quoted.

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatchWriter;

use super::{CsvFormulas, FLUSH_BYTES, formatters};

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
    formulas: CsvFormulas,
    buffer: String,
}

impl<W: Write> CsvWriter<W> {
    /// Starts the output with its header line; formulas are kept.
    pub fn new(writer: W, schema: SchemaRef) -> Self {
        Self::with_formulas(writer, schema, CsvFormulas::Keep)
    }

    /// Starts the output with its header line.
    pub fn with_formulas(writer: W, schema: SchemaRef, formulas: CsvFormulas) -> Self {
        let mut csv = Self {
            writer,
            schema: SchemaRef::clone(&schema),
            formulas,
            buffer: String::new(),
        };
        for (index, field) in schema.fields().iter().enumerate() {
            if index > 0 {
                csv.buffer.push(',');
            }
            let begin = csv.buffer.len();
            csv.buffer.push_str(field.name());
            csv.end_field(begin);
        }
        csv.buffer.push('\n');
        csv
    }

    /// Quotes and escapes what the buffer holds from `begin` on, where that is needed.
    fn end_field(&mut self, begin: usize) {
        let value = &self.buffer[begin..];
        let is_formula = self.formulas == CsvFormulas::Escape && is_formula(value);
        let quoted = is_formula || needs_quotes(value);
        if is_formula {
            self.buffer.insert(begin, '\'');
        }
        if quoted {
            quote(&mut self.buffer, begin);
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
                match self.buffer.len() == begin {
                    true => quote(&mut self.buffer, begin),
                    false => self.end_field(begin),
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

/// Whether a spreadsheet may compute this: OWASP, "CSV Injection". A number is none, whatever its sign, and
/// nor are PostgreSQL's infinities.
fn is_formula(value: &str) -> bool {
    // As they stand, and as some spreadsheets take them in East Asian text.
    let begins = ['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠'];
    let digits = value.trim_start_matches(['+', '-']);
    let is_number = value.len() - digits.len() <= 1
        && (digits == "Infinity" || digits == "infinity" || is_decimal(digits));
    value.starts_with(begins) && !is_number
}

/// `12`, `1.5`, `.5`, `1e-7`; a sign stands before it.
fn is_decimal(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'))
        && text.parse::<f64>().is_ok()
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
    fn what_a_spreadsheet_would_compute_is_text_where_that_is_asked_for() {
        let formulas = [
            "=1+1",
            "+1+1",
            "-2+3",
            "@SUM(A1)",
            "\t=1",
            "\r=1",
            "\n=1",
            "＝1",
            "-",
            "--1",
            "-1-",
            "=cmd|' /C calc'!A0",
            "-1e",
        ];
        let harmless = [
            "a=1",
            "-1",
            "+1.50",
            "-.5",
            "-1e-7",
            "-Infinity",
            "-infinity",
            "1-1",
            "'=1",
            " =1",
            "",
        ];
        let all: Vec<_> = formulas.iter().chain(&harmless).copied().collect();
        let schema = Arc::new(Schema::new(vec![Field::new("=name", DataType::Utf8, true)]));
        let column = Arc::new(StringArray::from(all)) as ArrayRef;
        let batch = RecordBatch::try_new(schema.clone(), vec![column]).unwrap();
        let written = |formulas| {
            let mut out = Vec::new();
            let mut writer = CsvWriter::with_formulas(&mut out, schema.clone(), formulas);
            writer.write(&batch).unwrap();
            writer.close().unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(written(CsvFormulas::Keep), csv(&batch));
        let mut expected = String::from("\"'=name\"\n");
        for formula in formulas {
            expected.push_str(&format!("\"'{formula}\"\n"));
        }
        expected.push_str(&harmless.join("\n"));
        expected.push_str("\"\"\n");
        assert_eq!(written(CsvFormulas::Escape), expected);
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
