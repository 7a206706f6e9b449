//! Arrays, composites, ranges, multiranges, hstore and pgvector: text inside text.
//!
//! Each container writes an item at the end of the output, then looks at what was written and
//! quotes it where PostgreSQL would; each has its own rule for that.

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Field, FieldRef};

use super::{Extension, TextFormatter, WriteFn, number, unprintable, writer};
use crate::error::{Error, ErrorKind, Result};

/// The items of a list array, whatever its kind.
pub(crate) struct List<'a> {
    pub(crate) values: &'a dyn Array,
    /// First item of a row, and the first after it.
    pub(crate) bounds: Box<dyn Fn(usize) -> (usize, usize) + 'a>,
}

impl<'a> List<'a> {
    /// The items of an array; `None` if it is not a list.
    pub(crate) fn of(array: &'a dyn Array) -> Option<Self> {
        if let Some(list) = array.as_list_opt::<i32>() {
            let offsets = list.value_offsets();
            return Some(Self {
                values: list.values().as_ref(),
                bounds: Box::new(|row| (offsets[row] as usize, offsets[row + 1] as usize)),
            });
        }
        if let Some(list) = array.as_list_opt::<i64>() {
            let offsets = list.value_offsets();
            return Some(Self {
                values: list.values().as_ref(),
                bounds: Box::new(|row| (offsets[row] as usize, offsets[row + 1] as usize)),
            });
        }
        let list = array.as_fixed_size_list_opt()?;
        let size = list.value_length() as usize;
        Some(Self {
            values: list.values().as_ref(),
            bounds: Box::new(move |row| {
                let start = list.value_offset(row) as usize;
                (start, start + size)
            }),
        })
    }
}

/// The field of a list's items.
pub(crate) fn child_field(list: &DataType) -> Option<&FieldRef> {
    match list {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            Some(item)
        }
        _ => None,
    }
}

/// `array_out`: `{1,2,NULL}`, `{{1,2},{3,4}}`, `{"a b",""}`.
pub(super) fn list<'a>(column: &str, array: &'a dyn Array) -> Result<WriteFn<'a>> {
    let (field, list) = list_of(column, array)?;
    let items = TextFormatter::nested(column, field, list.values)?;
    // A list of plain lists is one array of more dimensions; its inner braces are not an item's
    // text. An array inside an array, by way of a domain, has an extension type.
    let is_dimension = child_field(field.data_type()).is_some() && Extension::of(field).is_none();
    let bounds = list.bounds;
    Ok(Box::new(move |row, out| {
        out.push('{');
        let (start, end) = bounds(row);
        for item in start..end {
            if item > start {
                out.push(',');
            }
            if items.is_null(item) {
                out.push_str("NULL");
                continue;
            }
            let begin = out.len();
            items.write(item, out);
            if !is_dimension && array_item_needs_quotes(&out[begin..]) {
                quote(out, begin, &Escape::Backslash);
            }
        }
        out.push('}');
    }))
}

/// `record_out`: `(1,"a b",)`.
pub(super) fn composite<'a>(column: &str, array: &'a dyn Array) -> Result<WriteFn<'a>> {
    let array = array.as_struct();
    let fields = array
        .fields()
        .iter()
        .zip(array.columns())
        .map(|(field, child)| TextFormatter::nested(column, field, child.as_ref()))
        .collect::<Result<Vec<_>>>()?;
    Ok(Box::new(move |row, out| {
        out.push('(');
        for (index, field) in fields.iter().enumerate() {
            if index > 0 {
                out.push(',');
            }
            if !field.is_null(row) {
                let begin = out.len();
                field.write(row, out);
                if needs_quotes(&out[begin..], b"(),\"\\") {
                    quote(out, begin, &Escape::Double);
                }
            }
        }
        out.push(')');
    }))
}

/// `range_out`: `[1,10)`, `(,5]`, `empty`.
pub(super) fn range<'a>(column: &str, array: &'a dyn Array) -> Result<WriteFn<'a>> {
    let malformed = || {
        Error::new(
            ErrorKind::Export,
            format!(
                "column {column:?}: a range is expected to be a struct of lower, upper, \
                 lower_inclusive, upper_inclusive and empty, found {}",
                array.data_type()
            ),
        )
    };
    let fields = array.as_struct_opt().ok_or_else(malformed)?;
    let child = |name: &str| {
        let (index, field) = fields.fields().find(name).ok_or_else(malformed)?;
        Ok((field, fields.column(index)))
    };
    let bound = |name| {
        let (field, values): (&FieldRef, _) = child(name)?;
        TextFormatter::nested(column, field, values.as_ref())
    };
    let flag = |name| child(name)?.1.as_boolean_opt().ok_or_else(malformed);
    let (lower, upper) = (bound("lower")?, bound("upper")?);
    let (lower_inclusive, upper_inclusive) = (flag("lower_inclusive")?, flag("upper_inclusive")?);
    let empty = flag("empty")?;
    let write_bound = |bound: &TextFormatter<'_>, row, out: &mut String| {
        if !bound.is_null(row) {
            let begin = out.len();
            bound.write(row, out);
            if needs_quotes(&out[begin..], b"()[],\"\\") {
                quote(out, begin, &Escape::Double);
            }
        }
    };
    Ok(Box::new(move |row, out| {
        if empty.value(row) {
            out.push_str("empty");
            return;
        }
        out.push(if lower_inclusive.value(row) { '[' } else { '(' });
        write_bound(&lower, row, out);
        out.push(',');
        write_bound(&upper, row, out);
        out.push(if upper_inclusive.value(row) { ']' } else { ')' });
    }))
}

/// `multirange_out`: `{[1,3),[5,9)}`.
pub(super) fn multirange<'a>(column: &str, array: &'a dyn Array) -> Result<WriteFn<'a>> {
    let (_, list) = list_of(column, array)?;
    let ranges = range(column, list.values)?;
    let bounds = list.bounds;
    Ok(Box::new(move |row, out| {
        out.push('{');
        let (start, end) = bounds(row);
        for item in start..end {
            if item > start {
                out.push(',');
            }
            ranges(item, out);
        }
        out.push('}');
    }))
}

/// `hstore_out`: `"a"=>"1", "b"=>NULL`.
pub(super) fn hstore<'a>(column: &str, array: &'a dyn Array) -> Result<WriteFn<'a>> {
    let map = array.as_map();
    let (key_field, value_field) = match map.entries().fields().as_ref() {
        [key, value] => (key, value),
        _ => return Err(unprintable(column, array.data_type())),
    };
    let keys = TextFormatter::nested(column, key_field, map.keys().as_ref())?;
    let values = TextFormatter::nested(column, value_field, map.values().as_ref())?;
    let offsets = map.value_offsets();
    Ok(Box::new(move |row, out| {
        let (start, end) = (offsets[row] as usize, offsets[row + 1] as usize);
        for item in start..end {
            if item > start {
                out.push_str(", ");
            }
            let begin = out.len();
            keys.write(item, out);
            quote(out, begin, &Escape::Backslash);
            out.push_str("=>");
            if values.is_null(item) {
                out.push_str("NULL");
            } else {
                let begin = out.len();
                values.write(item, out);
                quote(out, begin, &Escape::Backslash);
            }
        }
    }))
}

/// pgvector's `vector_out`: `[1,2.5,3]`.
pub(super) fn vector<'a>(column: &str, array: &'a dyn Array) -> Result<WriteFn<'a>> {
    let (field, list) = list_of(column, array)?;
    let write: WriteFn<'a> = match list.values.data_type() {
        DataType::Float32 => {
            super::primitive::<arrow::datatypes::Float32Type>(list.values, number::write_float4)
        }
        _ => writer(column, field, list.values)?,
    };
    let bounds = list.bounds;
    Ok(Box::new(move |row, out| {
        out.push('[');
        let (start, end) = bounds(row);
        for item in start..end {
            if item > start {
                out.push(',');
            }
            write(item, out);
        }
        out.push(']');
    }))
}

/// `int2vectorout` and `oidvectorout`: `1 2 3`.
pub(super) fn catalog_vector<'a>(column: &str, array: &'a dyn Array) -> Result<WriteFn<'a>> {
    let (field, list) = list_of(column, array)?;
    let write = writer(column, field, list.values)?;
    let bounds = list.bounds;
    Ok(Box::new(move |row, out| {
        let (start, end) = bounds(row);
        for item in start..end {
            if item > start {
                out.push(' ');
            }
            write(item, out);
        }
    }))
}

fn list_of<'a>(column: &str, array: &'a dyn Array) -> Result<(&'a Field, List<'a>)> {
    child_field(array.data_type())
        .map(AsRef::as_ref)
        .zip(List::of(array))
        .ok_or_else(|| unprintable(column, array.data_type()))
}

/// How a quote or a backslash is written inside double quotes.
enum Escape {
    /// A backslash before it: `\"`, `\\`.
    Backslash,
    /// Twice: `""`, `\\`.
    Double,
}

/// Puts double quotes around what `out` holds from `begin` on.
fn quote(out: &mut String, begin: usize, escape: &Escape) {
    if !out.as_bytes()[begin..]
        .iter()
        .any(|b| matches!(b, b'"' | b'\\'))
    {
        out.insert(begin, '"');
        out.push('"');
        return;
    }
    let text = out.split_off(begin);
    out.reserve(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match (c, escape) {
            ('\\', _) => out.push('\\'),
            ('"', Escape::Backslash) => out.push('\\'),
            ('"', Escape::Double) => out.push('"'),
            _ => {}
        }
        out.push(c);
    }
    out.push('"');
}

fn array_item_needs_quotes(text: &str) -> bool {
    needs_quotes(text, b"{},\"\\") || text.eq_ignore_ascii_case("NULL")
}

/// Whether a text is empty, or holds white space (C's `isspace`) or one of these characters.
fn needs_quotes(text: &str, special: &[u8]) -> bool {
    let is_special = |byte| matches!(byte, b' ' | b'\t'..=b'\r') || special.contains(&byte);
    text.is_empty() || text.bytes().any(is_special)
}
