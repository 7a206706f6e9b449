//! JSON and NDJSON: one object per row, every value exact.

use std::io::Write;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, Float32Type, Float64Type, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatchWriter;
use serde::de::IgnoredAny;

use super::{FLUSH_BYTES, Format, names};
use crate::error::Result;
use crate::text::{
    Extension, List, Suffix, TextFormatter, WriteFn, child_field, text_of, timestamp,
    write_timestamp,
};
use crate::types::holds_numeric_text;

/// How the objects of the rows are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum JsonLayout {
    /// One array of objects.
    Array,
    /// One object per line (NDJSON, JSON Lines).
    Lines,
}

/// Writes one JSON object per row, with a key for every column.
///
/// - Integers, floats and decimals are numbers with all their digits; a reader that parses numbers
///   as float64 loses some. NaN and the infinities, which JSON lacks, are the strings `"NaN"`,
///   `"Infinity"` and `"-Infinity"`.
/// - `json` and `jsonb` values stand as they are; only a line break between their tokens becomes a
///   space.
/// - A timestamp is ISO 8601, `2024-01-02T03:04:05.678`, with `Z` if it has a time zone. As in
///   PostgreSQL's own `to_json`, a year before Christ has ` BC` at its end.
/// - Arrays are arrays, composites are objects, hstore is an object, pgvector is an array. Whatever
///   else there is (dates, intervals, ranges, bytea, uuid) is a string of PostgreSQL's text form.
/// - NULL is `null`, with its key.
#[derive(Debug)]
pub struct JsonWriter<W> {
    writer: W,
    schema: SchemaRef,
    layout: JsonLayout,
    keys: Vec<String>,
    any_row: bool,
    buffer: String,
}

impl<W: Write> JsonWriter<W> {
    /// Starts the output.
    ///
    /// # Errors
    /// [`ErrorKind::Export`](crate::ErrorKind::Export) when two columns have one name: an object with equal keys is read
    /// differently by every reader.
    pub fn try_new(writer: W, schema: SchemaRef, layout: JsonLayout) -> Result<Self> {
        names::check(&schema, Format::Json)?;
        let keys = schema.fields().iter().map(|field| key(field.name()));
        Ok(Self {
            writer,
            keys: keys.collect(),
            schema,
            layout,
            any_row: false,
            buffer: String::new(),
        })
    }

    fn write_out(&mut self) -> Result<(), ArrowError> {
        self.writer.write_all(self.buffer.as_bytes())?;
        self.buffer.clear();
        Ok(())
    }
}

impl<W: Write> RecordBatchWriter for JsonWriter<W> {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        let columns = self
            .schema
            .fields()
            .iter()
            .zip(batch.columns())
            .map(|(field, array)| Encoder::try_new(field.name(), field, array))
            .collect::<Result<Vec<_>>>()
            .map_err(|error| ArrowError::ExternalError(error.into()))?;
        for row in 0..batch.num_rows() {
            match (self.layout, self.any_row) {
                (JsonLayout::Lines, _) => {}
                (JsonLayout::Array, false) => self.buffer.push_str("[\n"),
                (JsonLayout::Array, true) => self.buffer.push_str(",\n"),
            }
            self.any_row = true;
            write_object(&self.keys, &columns, row, &mut self.buffer);
            if self.layout == JsonLayout::Lines {
                self.buffer.push('\n');
            }
            if self.buffer.len() >= FLUSH_BYTES {
                self.write_out()?;
            }
        }
        Ok(())
    }

    fn close(mut self) -> Result<(), ArrowError> {
        match (self.layout, self.any_row) {
            (JsonLayout::Lines, _) => {}
            (JsonLayout::Array, false) => self.buffer.push_str("[]\n"),
            (JsonLayout::Array, true) => self.buffer.push_str("\n]\n"),
        }
        self.write_out()?;
        Ok(self.writer.flush()?)
    }
}

/// Makes sure that every type can be written.
pub(super) fn check(schema: &Schema) -> Result<()> {
    for field in schema.fields() {
        let array = arrow::array::new_empty_array(field.data_type());
        Encoder::try_new(field.name(), field, &array)?;
    }
    Ok(())
}

/// Writes the values of one array as JSON.
struct Encoder<'a> {
    nulls: Option<NullBuffer>,
    write: WriteFn<'a>,
}

impl<'a> Encoder<'a> {
    fn try_new(column: &str, field: &Field, array: &'a ArrayRef) -> Result<Self> {
        Self::of(column, field, array.as_ref())
    }

    fn of(column: &str, field: &Field, array: &'a dyn Array) -> Result<Self> {
        Ok(Self {
            nulls: array.logical_nulls(),
            write: writer(column, field, array)?,
        })
    }

    fn write(&self, row: usize, out: &mut String) {
        if self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            out.push_str("null");
        } else {
            (self.write)(row, out);
        }
    }
}

/// Decides how an array is written.
fn writer<'a>(column: &str, field: &Field, array: &'a dyn Array) -> Result<WriteFn<'a>> {
    match Extension::of(field) {
        Some(Extension::Json) => {
            if let Some(text) = text_of(array) {
                return Ok(Box::new(move |row, out| push_json(text(row), out)));
            }
        }
        Some(Extension::Range | Extension::Multirange | Extension::Uuid | Extension::Wkb) => {
            return quoted(column, field, array);
        }
        Some(Extension::Array | Extension::CatalogVector | Extension::Vector) | None => {}
    }
    if let Some(text) = text_of(array) {
        return Ok(match holds_numeric_text(field) {
            true => Box::new(move |row, out| push_number(text(row), out)),
            false => Box::new(move |row, out| push_string(text(row), out)),
        });
    }
    match array.data_type() {
        DataType::Null => Ok(Box::new(|_, out| out.push_str("null"))),
        DataType::Boolean => {
            let values = array.as_boolean();
            Ok(Box::new(|row, out| {
                out.push_str(if values.value(row) { "true" } else { "false" });
            }))
        }
        DataType::Float32 => {
            let values = array.as_primitive::<Float32Type>();
            number(column, field, array, |row| values.value(row).is_finite())
        }
        DataType::Float64 => {
            let values = array.as_primitive::<Float64Type>();
            number(column, field, array, |row| values.value(row).is_finite())
        }
        data_type if data_type.is_integer() || data_type.is_decimal() => {
            number(column, field, array, |_| true)
        }
        DataType::Timestamp(unit, zone) => {
            let suffix = if zone.is_some() {
                Suffix::Zulu
            } else {
                Suffix::None
            };
            Ok(timestamp(array, *unit, move |value, per_second, out| {
                out.push('"');
                write_timestamp(value, per_second, 'T', suffix, out);
                out.push('"');
            }))
        }
        DataType::Dictionary(_, _) => {
            let dictionary = array.as_any_dictionary();
            if dictionary.values().is_empty() {
                return Ok(Box::new(|_, out| out.push_str("null")));
            }
            let keys = dictionary.normalized_keys();
            let values = writer(column, field, dictionary.values().as_ref())?;
            Ok(Box::new(move |row, out| values(keys[row], out)))
        }
        DataType::Struct(fields) => {
            let array = array.as_struct();
            let names: Vec<_> = fields.iter().map(|field| key(field.name())).collect();
            let children = fields
                .iter()
                .zip(array.columns())
                .map(|(field, child)| Encoder::try_new(column, field, child))
                .collect::<Result<Vec<_>>>()?;
            Ok(Box::new(move |row, out| {
                write_object(&names, &children, row, out)
            }))
        }
        DataType::Map(_, _) => map(column, array),
        data_type => match (List::of(array), child_field(data_type)) {
            (Some(list), Some(item)) => {
                let items = Encoder::of(column, item, list.values)?;
                let bounds = list.bounds;
                Ok(Box::new(move |row, out| {
                    let (start, end) = bounds(row);
                    out.push('[');
                    for item in start..end {
                        if item > start {
                            out.push(',');
                        }
                        items.write(item, out);
                    }
                    out.push(']');
                }))
            }
            _ => quoted(column, field, array),
        },
    }
}

/// Writes numbers in PostgreSQL's text form, and those that are none as strings of it.
fn number<'a>(
    column: &str,
    field: &Field,
    array: &'a dyn Array,
    is_number: impl Fn(usize) -> bool + 'a,
) -> Result<WriteFn<'a>> {
    let text = TextFormatter::nested(column, field, array)?;
    Ok(Box::new(move |row, out| {
        if is_number(row) {
            text.write(row, out);
        } else {
            out.push('"');
            text.write(row, out);
            out.push('"');
        }
    }))
}

/// Writes strings of PostgreSQL's text form.
fn quoted<'a>(column: &str, field: &Field, array: &'a dyn Array) -> Result<WriteFn<'a>> {
    let text = TextFormatter::nested(column, field, array)?;
    Ok(Box::new(move |row, out| {
        let begin = out.len();
        text.write(row, out);
        let value = out.split_off(begin);
        push_string(&value, out);
    }))
}

fn map<'a>(column: &str, array: &'a dyn Array) -> Result<WriteFn<'a>> {
    let map = array.as_map();
    let [key_field, value_field] = map.entries().fields().as_ref() else {
        return Err(crate::text::unprintable(column, array.data_type()));
    };
    let keys = quoted(column, key_field, map.keys().as_ref())?;
    let values = Encoder::try_new(column, value_field, map.values())?;
    let offsets = map.value_offsets();
    Ok(Box::new(move |row, out| {
        let (start, end) = (offsets[row] as usize, offsets[row + 1] as usize);
        out.push('{');
        for item in start..end {
            if item > start {
                out.push(',');
            }
            keys(item, out);
            out.push(':');
            values.write(item, out);
        }
        out.push('}');
    }))
}

/// Writes an object; each key is already quoted and has its colon.
fn write_object(keys: &[String], values: &[Encoder<'_>], row: usize, out: &mut String) {
    out.push('{');
    for (index, (key, value)) in keys.iter().zip(values).enumerate() {
        if index > 0 {
            out.push(',');
        }
        out.push_str(key);
        value.write(row, out);
    }
    out.push('}');
}

fn key(name: &str) -> String {
    let mut key = String::new();
    push_string(name, &mut key);
    key.push(':');
    key
}

/// Writes the digits of a numeric as they are, and NaN and the infinities as strings.
fn push_number(text: &str, out: &mut String) {
    match text.ends_with(|last: char| last.is_ascii_digit()) {
        true => out.push_str(text),
        false => push_string(text, out),
    }
}

fn push_string(text: &str, out: &mut String) {
    let is_special = |byte| matches!(byte, 0..=0x1f | b'"' | b'\\');
    if !text.bytes().any(is_special) {
        out.push('"');
        out.push_str(text);
        out.push('"');
        return;
    }
    out.push_str(&serde_json::Value::from(text).to_string());
}

/// Embeds a JSON text.
///
/// Inside its strings a line break is always escaped, so the others only separate tokens, and a
/// space in their place keeps NDJSON to one line per row. A text that is not JSON at all (nothing
/// PostgreSQL would send) becomes a string, so that the output stays valid.
fn push_json(text: &str, out: &mut String) {
    if serde_json::from_str::<IgnoredAny>(text).is_err() {
        push_string(text, out);
    } else if text.contains(['\n', '\r']) {
        out.push_str(&text.replace(['\n', '\r'], " "));
    } else {
        out.push_str(text);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Arc;

    use arrow::array::*;
    use arrow::datatypes::*;

    use super::*;
    use crate::error::ErrorKind;

    fn json(batch: &RecordBatch, layout: JsonLayout) -> String {
        let mut out = Vec::new();
        let mut writer = JsonWriter::try_new(&mut out, batch.schema(), layout).unwrap();
        writer.write(batch).unwrap();
        writer.close().unwrap();
        String::from_utf8(out).unwrap()
    }

    fn field(name: &str, array: &dyn Array, extension: Option<&str>) -> Field {
        let metadata = extension.map(|e| ("ARROW:extension:name".to_owned(), e.to_owned()));
        Field::new(name, array.data_type().clone(), true)
            .with_metadata(metadata.into_iter().collect::<HashMap<_, _>>())
    }

    /// The JSON of a column `c`, row by row.
    fn column(array: impl Array + 'static, extension: Option<&str>) -> Vec<String> {
        let schema = Arc::new(Schema::new(vec![field("c", &array, extension)]));
        let batch = RecordBatch::try_new(schema, vec![Arc::new(array)]).unwrap();
        let text = json(&batch, JsonLayout::Lines);
        let value = |line: &str| {
            serde_json::from_str::<IgnoredAny>(line).unwrap();
            line.strip_prefix("{\"c\":")
                .unwrap()
                .strip_suffix('}')
                .unwrap()
                .to_owned()
        };
        text.lines().map(value).collect()
    }

    #[test]
    fn a_numeric_that_is_read_as_text_is_a_number() {
        for (text, json) in [
            ("1.500", "1.500"),
            ("-0.1", "-0.1"),
            ("NaN", "\"NaN\""),
            ("-Infinity", "\"-Infinity\""),
        ] {
            let mut out = String::new();
            push_number(text, &mut out);
            assert_eq!(out, json);
        }
    }

    #[test]
    fn numbers_keep_all_digits() {
        assert_eq!(
            column(Int64Array::from(vec![Some(i64::MIN), None]), None),
            ["-9223372036854775808", "null"]
        );
        assert_eq!(
            column(
                Float64Array::from(vec![1e20, 1e-5, -0.0, 0.1, f64::NAN, f64::NEG_INFINITY]),
                None
            ),
            ["1e+20", "1e-05", "-0", "0.1", "\"NaN\"", "\"-Infinity\""]
        );
        let decimals = Decimal128Array::from(vec![12345678901234567890123456789, -5])
            .with_precision_and_scale(38, 3)
            .unwrap();
        assert_eq!(
            column(decimals, None),
            ["12345678901234567890123456.789", "-0.005"]
        );
    }

    #[test]
    fn scalars() {
        assert_eq!(column(BooleanArray::from(vec![true]), None), ["true"]);
        assert_eq!(
            column(StringArray::from(vec!["a\"\\\n\u{1}é", ""]), None),
            ["\"a\\\"\\\\\\n\\u0001é\"", "\"\""]
        );
        assert_eq!(
            column(BinaryArray::from(vec![&b"\xff"[..]]), None),
            ["\"\\\\xff\""]
        );
        assert_eq!(column(Date32Array::from(vec![0]), None), ["\"1970-01-01\""]);
        let micros = vec![1_704_164_645_678_000, -62_167_219_200_000_000];
        assert_eq!(
            column(TimestampMicrosecondArray::from(micros.clone()), None),
            ["\"2024-01-02T03:04:05.678\"", "\"0001-01-01T00:00:00 BC\""]
        );
        assert_eq!(
            column(
                TimestampMicrosecondArray::from(micros).with_timezone("UTC"),
                None
            ),
            [
                "\"2024-01-02T03:04:05.678Z\"",
                "\"0001-01-01T00:00:00Z BC\""
            ]
        );
        let interval = IntervalMonthDayNanoArray::from(vec![IntervalMonthDayNano::new(1, 2, 0)]);
        assert_eq!(column(interval, None), ["\"1 mon 2 days\""]);
        assert_eq!(column(NullArray::new(1), None), ["null"]);
    }

    #[test]
    fn json_is_embedded_on_one_line() {
        let texts = StringArray::from(vec![
            Some("{\"a\": 1.50,\r\n \"b\": \"x\\ny\"}"),
            Some("null"),
            None,
            Some("not json"),
        ]);
        assert_eq!(
            column(texts, Some("arrow.json")),
            [
                "{\"a\": 1.50,   \"b\": \"x\\ny\"}",
                "null",
                "null",
                "\"not json\""
            ]
        );
    }

    #[test]
    fn nested_values() {
        let mut lists = ListBuilder::new(Int32Builder::new());
        lists.append_value([Some(1), None]);
        lists.append_value([]);
        lists.append_null();
        assert_eq!(column(lists.finish(), None), ["[1,null]", "[]", "null"]);
        let struct_field = Arc::new(Field::new("f\"1", DataType::Int32, true));
        let record = StructArray::from(vec![(
            struct_field,
            Arc::new(Int32Array::from(vec![Some(1), None])) as ArrayRef,
        )]);
        assert_eq!(
            column(record, None),
            ["{\"f\\\"1\":1}", "{\"f\\\"1\":null}"]
        );
        let mut maps = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
        maps.keys().append_value("a");
        maps.values().append_value("1");
        maps.keys().append_value("b");
        maps.values().append_null();
        maps.append(true).unwrap();
        assert_eq!(column(maps.finish(), None), ["{\"a\":\"1\",\"b\":null}"]);
        let moods: DictionaryArray<Int32Type> = [Some("sad"), None].into_iter().collect();
        assert_eq!(column(moods, None), ["\"sad\"", "null"]);
        let item = Arc::new(Field::new("item", DataType::Float32, true));
        let values = Arc::new(Float32Array::from(vec![1.0, 2.5]));
        let vector = FixedSizeListArray::new(item, 2, values, None);
        assert_eq!(column(vector, Some("merganser.vector")), ["[1,2.5]"]);
    }

    #[test]
    fn layouts() {
        let array = Int32Array::from(vec![1, 2]);
        let schema = Arc::new(Schema::new(vec![field("a", &array, None)]));
        let batch = RecordBatch::try_new(schema, vec![Arc::new(array)]).unwrap();
        assert_eq!(
            json(&batch, JsonLayout::Array),
            "[\n{\"a\":1},\n{\"a\":2}\n]\n"
        );
        assert_eq!(json(&batch, JsonLayout::Lines), "{\"a\":1}\n{\"a\":2}\n");
        assert_eq!(json(&batch.slice(0, 0), JsonLayout::Array), "[]\n");
        assert_eq!(json(&batch.slice(0, 0), JsonLayout::Lines), "");
        let options = RecordBatchOptions::new().with_row_count(Some(2));
        let batch =
            RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options).unwrap();
        assert_eq!(json(&batch, JsonLayout::Lines), "{}\n{}\n");
    }

    #[test]
    fn a_name_twice_is_an_error_with_a_cure() {
        let column = Field::new("count", DataType::Int64, true);
        let schema = Schema::new(vec![column.clone(), column]);
        let opened = JsonWriter::try_new(Vec::new(), Arc::new(schema), JsonLayout::Lines);
        let error = opened.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Export);
        assert!(error.message().contains("\"count\""));
        assert!(error.hint().unwrap().contains("AS"));
    }
}
