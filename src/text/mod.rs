//! The text that a PostgreSQL server prints for a value, made from the Arrow value.
//!
//! [`TextFormatter`] is the inverse of the decoder: whatever Arrow array a column of PostgreSQL
//! became, it prints what the server's own output function would have printed, under `DateStyle`
//! ISO, `IntervalStyle` postgres, `TimeZone` UTC and the default `extra_float_digits`. CSV and
//! table output are built on it.

mod datetime;
mod nested;
mod number;

use std::fmt::Write as _;

use arrow::array::{
    Array, ArrowPrimitiveType, AsArray, FixedSizeBinaryArray, PrimitiveArray, types as arrow_types,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, IntervalUnit, TimeUnit};

use crate::error::{Error, ErrorKind, Result};
use crate::types;

pub(crate) use datetime::{Suffix, per_second, write_date, write_timestamp};
pub(crate) use nested::{List, child_field};
pub(crate) use number::write_decimal;

/// An extension type that changes how a value is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extension {
    Array,
    CatalogVector,
    Json,
    Multirange,
    Range,
    Uuid,
    Vector,
    Wkb,
}

impl Extension {
    /// The extension type of a field; `None` for a plain field, and for one that prints like its
    /// storage type.
    pub(crate) fn of(field: &Field) -> Option<Self> {
        match field.metadata().get(types::EXTENSION_NAME)?.as_str() {
            types::JSON_EXTENSION => Some(Self::Json),
            types::UUID_EXTENSION => Some(Self::Uuid),
            types::WKB_EXTENSION => Some(Self::Wkb),
            types::ARRAY_EXTENSION => Some(Self::Array),
            types::CATALOG_VECTOR_EXTENSION => Some(Self::CatalogVector),
            types::MULTIRANGE_EXTENSION => Some(Self::Multirange),
            types::RANGE_EXTENSION => Some(Self::Range),
            types::VECTOR_EXTENSION => Some(Self::Vector),
            _ => None,
        }
    }
}

/// Writes one row's value at the end of a text; called only for rows that are not NULL.
pub(crate) type WriteFn<'a> = Box<dyn Fn(usize, &mut String) + 'a>;

/// Prints the values of one Arrow array as PostgreSQL prints them.
///
/// How to print is decided once per array, so [`write`](Self::write) does not look at types.
pub struct TextFormatter<'a> {
    nulls: Option<NullBuffer>,
    write: WriteFn<'a>,
}

impl<'a> TextFormatter<'a> {
    /// A formatter of this array; the field's metadata tells a range from any other struct, and
    /// so on.
    ///
    /// # Errors
    /// [`ErrorKind::Export`] when the type has no PostgreSQL text form here; it names the column.
    pub fn try_new(field: &Field, array: &'a dyn Array) -> Result<Self> {
        Self::nested(field.name(), field, array)
    }

    /// A formatter of an array inside the column of this name.
    pub(crate) fn nested(column: &str, field: &Field, array: &'a dyn Array) -> Result<Self> {
        Ok(Self {
            // Logical: a dictionary's value, not only its key, may be NULL.
            nulls: array.logical_nulls(),
            write: writer(column, field, array)?,
        })
    }

    /// Whether this row is NULL.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn is_null(&self, row: usize) -> bool {
        self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row))
    }

    /// Appends the text of this row's value to `out`.
    ///
    /// NULL has no text of its own: ask [`is_null`](Self::is_null) first, else what is appended for
    /// such a row is meaningless.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn write(&self, row: usize, out: &mut String) {
        (self.write)(row, out);
    }
}

impl std::fmt::Debug for TextFormatter<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TextFormatter")
            .field("nulls", &self.nulls)
            .finish_non_exhaustive()
    }
}

/// Decides how an array is printed.
fn writer<'a>(column: &str, field: &Field, array: &'a dyn Array) -> Result<WriteFn<'a>> {
    use arrow_types::*;
    match Extension::of(field) {
        Some(Extension::CatalogVector) => return nested::catalog_vector(column, array),
        Some(Extension::Range) => return nested::range(column, array),
        Some(Extension::Multirange) => return nested::multirange(column, array),
        Some(Extension::Vector) => return nested::vector(column, array),
        Some(Extension::Wkb) => {
            if let Some(bytes) = bytes_of(array) {
                return Ok(Box::new(move |row, out| write_hex_upper(bytes(row), out)));
            }
        }
        Some(Extension::Uuid) => {
            if let Some(uuids) = array.as_fixed_size_binary_opt().filter(is_uuid) {
                return Ok(Box::new(|row, out| write_uuid(uuids.value(row), out)));
            }
        }
        Some(Extension::Array | Extension::Json) | None => {}
    }
    if let Some(text) = text_of(array) {
        return Ok(Box::new(move |row, out| out.push_str(text(row))));
    }
    if let Some(bytes) = bytes_of(array) {
        return Ok(Box::new(move |row, out| {
            out.push_str("\\x");
            write_hex(bytes(row), out);
        }));
    }
    Ok(match array.data_type() {
        DataType::Null => Box::new(|_, _| {}),
        DataType::Boolean => {
            let values = array.as_boolean();
            Box::new(|row, out| out.push(if values.value(row) { 't' } else { 'f' }))
        }
        DataType::Int8 => display::<Int8Type>(array),
        DataType::Int16 => display::<Int16Type>(array),
        DataType::Int32 => display::<Int32Type>(array),
        DataType::Int64 => display::<Int64Type>(array),
        DataType::UInt8 => display::<UInt8Type>(array),
        DataType::UInt16 => display::<UInt16Type>(array),
        DataType::UInt32 => display::<UInt32Type>(array),
        DataType::UInt64 => display::<UInt64Type>(array),
        DataType::Float32 => primitive::<Float32Type>(array, number::write_float4),
        DataType::Float64 => primitive::<Float64Type>(array, number::write_float8),
        DataType::Decimal32(_, scale) => decimal::<Decimal32Type>(array, *scale),
        DataType::Decimal64(_, scale) => decimal::<Decimal64Type>(array, *scale),
        DataType::Decimal128(_, scale) => decimal::<Decimal128Type>(array, *scale),
        DataType::Decimal256(_, scale) => decimal::<Decimal256Type>(array, *scale),
        DataType::Date32 => primitive::<Date32Type>(array, |days, out| {
            write_date(i64::from(days), out);
        }),
        DataType::Date64 => primitive::<Date64Type>(array, |millis, out| {
            write_date(millis.div_euclid(86_400_000), out);
        }),
        DataType::Time32(unit) => {
            let per_second = per_second(*unit);
            match unit {
                TimeUnit::Second => primitive::<Time32SecondType>(array, move |value, out| {
                    datetime::write_time(i64::from(value), per_second, out);
                }),
                _ => primitive::<Time32MillisecondType>(array, move |value, out| {
                    datetime::write_time(i64::from(value), per_second, out);
                }),
            }
        }
        DataType::Time64(unit) => {
            let per_second = per_second(*unit);
            let write = move |value, out: &mut String| {
                datetime::write_time(value, per_second, out);
            };
            match unit {
                TimeUnit::Nanosecond => primitive::<Time64NanosecondType>(array, write),
                _ => primitive::<Time64MicrosecondType>(array, write),
            }
        }
        DataType::Timestamp(unit, zone) => {
            // Arrow keeps the instant in UTC whatever the zone says, and so does `+00`: an array
            // with another zone prints another text of the same instant, never another instant.
            let suffix = if zone.is_some() {
                Suffix::Utc
            } else {
                Suffix::None
            };
            timestamp(array, *unit, move |value, per_second, out| {
                write_timestamp(value, per_second, ' ', suffix, out);
            })
        }
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            primitive::<IntervalMonthDayNanoType>(array, |value, out| {
                let (months, days) = (i64::from(value.months), i64::from(value.days));
                datetime::write_interval(months, days, value.nanoseconds, 1_000_000_000, out);
            })
        }
        DataType::Interval(IntervalUnit::DayTime) => {
            primitive::<IntervalDayTimeType>(array, |value, out| {
                let (days, millis) = (i64::from(value.days), i64::from(value.milliseconds));
                datetime::write_interval(0, days, millis, 1_000, out);
            })
        }
        DataType::Interval(IntervalUnit::YearMonth) => {
            primitive::<IntervalYearMonthType>(array, |months, out| {
                datetime::write_interval(i64::from(months), 0, 0, 1, out);
            })
        }
        DataType::Duration(unit) => {
            let per_second = per_second(*unit);
            let write = move |value, out: &mut String| {
                datetime::write_interval(0, 0, value, per_second, out);
            };
            match unit {
                TimeUnit::Second => primitive::<DurationSecondType>(array, write),
                TimeUnit::Millisecond => primitive::<DurationMillisecondType>(array, write),
                TimeUnit::Microsecond => primitive::<DurationMicrosecondType>(array, write),
                TimeUnit::Nanosecond => primitive::<DurationNanosecondType>(array, write),
            }
        }
        DataType::Dictionary(_, _) => {
            let dictionary = array.as_any_dictionary();
            if dictionary.values().is_empty() {
                // Every row is NULL, and there is no key to normalize.
                return Ok(Box::new(|_, _| {}));
            }
            let keys = dictionary.normalized_keys();
            let write = writer(column, field, dictionary.values().as_ref())?;
            Box::new(move |row, out| write(keys[row], out))
        }
        DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(_, _) => {
            nested::list(column, array)?
        }
        DataType::Struct(_) => nested::composite(column, array)?,
        DataType::Map(_, _) => nested::hstore(column, array)?,
        _ => return Err(unprintable(column, array.data_type())),
    })
}

/// The error for a type without a text form.
pub(crate) fn unprintable(column: &str, data_type: &DataType) -> Error {
    Error::new(
        ErrorKind::Export,
        format!("column {column:?}: Arrow type {data_type} has no text form"),
    )
    .with_hint(format!(
        "cast the column to text in the query, or write Arrow or Parquet instead: {column:?}::text"
    ))
}

/// Reads the strings of an array of one of the three string types; `None` for any other.
pub(crate) fn text_of<'a>(array: &'a dyn Array) -> Option<Box<dyn Fn(usize) -> &'a str + 'a>> {
    if let Some(strings) = array.as_string_opt::<i32>() {
        return Some(Box::new(|row| strings.value(row)));
    }
    if let Some(strings) = array.as_string_opt::<i64>() {
        return Some(Box::new(|row| strings.value(row)));
    }
    let strings = array.as_string_view_opt()?;
    Some(Box::new(|row| strings.value(row)))
}

/// Reads the bytes of an array of one of the four binary types; `None` for any other.
pub(crate) fn bytes_of<'a>(array: &'a dyn Array) -> Option<Box<dyn Fn(usize) -> &'a [u8] + 'a>> {
    if let Some(values) = array.as_binary_opt::<i32>() {
        return Some(Box::new(|row| values.value(row)));
    }
    if let Some(values) = array.as_binary_opt::<i64>() {
        return Some(Box::new(|row| values.value(row)));
    }
    if let Some(values) = array.as_fixed_size_binary_opt() {
        return Some(Box::new(|row| values.value(row)));
    }
    let values = array.as_binary_view_opt()?;
    Some(Box::new(|row| values.value(row)))
}

/// Prints every value of a primitive array with the same function.
pub(crate) fn primitive<'a, T: ArrowPrimitiveType>(
    array: &'a dyn Array,
    write: impl Fn(T::Native, &mut String) + 'a,
) -> WriteFn<'a> {
    let values: &PrimitiveArray<T> = array.as_primitive();
    Box::new(move |row, out| write(values.value(row), out))
}

/// Prints a timestamp array of any unit; `write` gets the value and its units per second.
pub(crate) fn timestamp<'a>(
    array: &'a dyn Array,
    unit: TimeUnit,
    write: impl Fn(i64, i64, &mut String) + 'a,
) -> WriteFn<'a> {
    use arrow_types::*;
    let per_second = per_second(unit);
    let write = move |value, out: &mut String| write(value, per_second, out);
    match unit {
        TimeUnit::Second => primitive::<TimestampSecondType>(array, write),
        TimeUnit::Millisecond => primitive::<TimestampMillisecondType>(array, write),
        TimeUnit::Microsecond => primitive::<TimestampMicrosecondType>(array, write),
        TimeUnit::Nanosecond => primitive::<TimestampNanosecondType>(array, write),
    }
}

/// Prints every value of a primitive array by its `Display`.
fn display<'a, T: ArrowPrimitiveType>(array: &'a dyn Array) -> WriteFn<'a>
where
    T::Native: std::fmt::Display,
{
    primitive::<T>(array, write_display)
}

/// Prints a decimal array of any width.
pub(crate) fn decimal<'a, T: ArrowPrimitiveType>(array: &'a dyn Array, scale: i8) -> WriteFn<'a>
where
    T::Native: std::fmt::Display,
{
    primitive::<T>(array, move |value, out| write_decimal(value, scale, out))
}

fn write_display(value: impl std::fmt::Display, out: &mut String) {
    // Writing to a `String` cannot fail.
    let _ = write!(out, "{value}");
}

fn is_uuid(array: &&FixedSizeBinaryArray) -> bool {
    array.value_length() == 16
}

fn write_uuid(bytes: &[u8], out: &mut String) {
    for (index, byte) in bytes.chunks(2).enumerate() {
        if (2..=5).contains(&index) {
            out.push('-');
        }
        write_hex(byte, out);
    }
}

pub(crate) fn write_hex(bytes: &[u8], out: &mut String) {
    push_hex(bytes, b"0123456789abcdef", out);
}

fn write_hex_upper(bytes: &[u8], out: &mut String) {
    push_hex(bytes, b"0123456789ABCDEF", out);
}

fn push_hex(bytes: &[u8], digits: &[u8; 16], out: &mut String) {
    out.reserve(bytes.len() * 2);
    for byte in bytes {
        out.push(char::from(digits[usize::from(byte >> 4)]));
        out.push(char::from(digits[usize::from(byte & 15)]));
    }
}

#[cfg(test)]
mod tests;
