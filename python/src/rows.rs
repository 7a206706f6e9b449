//! Rows of Python objects, made of batches.
//!
//! How a column becomes objects is decided once per batch, so the loop over rows does not look at
//! types. `merganser/cursor.py` tells users which class each type becomes.

use std::cell::RefCell;
use std::fmt::Display;
use std::ops::Range;

use merganser::arrow::array::{
    Array, ArrowPrimitiveType, AsArray, PrimitiveArray, RecordBatch, StructArray,
};
use merganser::arrow::buffer::NullBuffer;
use merganser::arrow::datatypes::{self as arrow_types, Field, Fields, Schema};
use merganser::text::TextFormatter;
use merganser::types::{self, EXTENSION_NAME, POSTGRES_TYPE};
use pyo3::IntoPyObjectExt as _;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};

use crate::decimals::is_numeric;
use crate::error::raised;

/// What turns the columns of one schema into Python objects; made once per result.
pub(crate) struct RowMaker {
    fields: Fields,
    makers: Makers,
}

impl RowMaker {
    /// Finds the classes of Python that the values become.
    pub(crate) fn new(py: Python<'_>, schema: &Schema) -> PyResult<Self> {
        Ok(Self {
            fields: schema.fields().clone(),
            makers: Makers::new(py)?,
        })
    }

    /// Appends one tuple for each of these rows of the batch.
    pub(crate) fn append<'py>(
        &self,
        py: Python<'py>,
        batch: &RecordBatch,
        rows: Range<usize>,
        to: &Bound<'py, PyList>,
    ) -> PyResult<()> {
        let columns = self
            .fields
            .iter()
            .zip(batch.columns())
            .map(|(field, array)| {
                let scope = Scope {
                    py,
                    makers: &self.makers,
                    column: field.name(),
                };
                scope.column(field, array.as_ref())
            })
            .collect::<PyResult<Vec<_>>>()?;
        let mut values = Vec::with_capacity(columns.len());
        for row in rows {
            for column in &columns {
                values.push(column.value(row)?);
            }
            to.append(PyTuple::new(py, values.drain(..))?)?;
        }
        Ok(())
    }
}

/// The classes and functions of Python that make values.
struct Makers {
    decimal: Py<PyAny>,
    uuid: Py<PyAny>,
    parse_json: Py<PyAny>,
    date_from_ordinal: Py<PyAny>,
    time: Py<PyAny>,
    time_from_text: Py<PyAny>,
    timedelta: Py<PyAny>,
    epoch: Py<PyAny>,
    epoch_utc: Py<PyAny>,
    range: Py<PyAny>,
    row_type: Py<PyAny>,
    data_error: Py<PyAny>,
}

impl Makers {
    fn new(py: Python<'_>) -> PyResult<Self> {
        let find = |module: &str, name: &str| -> PyResult<Py<PyAny>> {
            let mut found = py.import(module)?.into_any();
            for part in name.split('.') {
                found = found.getattr(part)?;
            }
            Ok(found.unbind())
        };
        Ok(Self {
            decimal: find("decimal", "Decimal")?,
            uuid: find("uuid", "UUID")?,
            parse_json: find("merganser.types", "parse_json")?,
            date_from_ordinal: find("datetime", "date.fromordinal")?,
            time: find("datetime", "time")?,
            time_from_text: find("datetime", "time.fromisoformat")?,
            timedelta: find("datetime", "timedelta")?,
            epoch: find("merganser.types", "EPOCH")?,
            epoch_utc: find("merganser.types", "EPOCH_UTC")?,
            range: find("merganser.types", "Range")?,
            row_type: find("merganser.types", "row_type")?,
            data_error: find("merganser.errors", "DataError")?,
        })
    }
}

/// One column of one batch, ready to give its values.
struct Column<'a, 'py> {
    nulls: Option<NullBuffer>,
    none: Bound<'py, PyAny>,
    convert: Convert<'a, 'py>,
}

/// Makes the value of one row; called only for rows that are not NULL.
type Convert<'a, 'py> = Box<dyn Fn(usize) -> PyResult<Bound<'py, PyAny>> + 'a>;

impl<'py> Column<'_, 'py> {
    fn value(&self, row: usize) -> PyResult<Bound<'py, PyAny>> {
        match &self.nulls {
            Some(nulls) if nulls.is_null(row) => Ok(self.none.clone()),
            _ => (self.convert)(row),
        }
    }
}

/// What is at hand while one column is converted, with all that is nested in it.
#[derive(Clone, Copy)]
struct Scope<'a, 'py> {
    py: Python<'py>,
    makers: &'a Makers,
    /// The name of the column, for errors.
    column: &'a str,
}

impl<'a, 'py: 'a> Scope<'a, 'py> {
    fn column(self, field: &'a Field, array: &'a dyn Array) -> PyResult<Column<'a, 'py>> {
        Ok(Column {
            // Logical: a dictionary's value, not only its key, may be NULL.
            nulls: array.logical_nulls(),
            none: self.py.None().into_bound(self.py),
            convert: self.converter(field, array)?,
        })
    }

    fn converter(self, field: &'a Field, array: &'a dyn Array) -> PyResult<Convert<'a, 'py>> {
        use arrow_types::*;
        let py = self.py;
        let extension = field.metadata().get(EXTENSION_NAME).map(String::as_str);
        let pg_type = field.metadata().get(POSTGRES_TYPE).map(String::as_str);
        match (extension, array.data_type()) {
            (Some(types::RANGE_EXTENSION), DataType::Struct(_)) => {
                return self.range(array.as_struct());
            }
            (Some(types::UUID_EXTENSION), DataType::FixedSizeBinary(16)) => {
                return Ok(self.uuid(array));
            }
            _ => {}
        }
        if let Some(text) = text_of(array) {
            if extension == Some(types::JSON_EXTENSION) {
                return Ok(self.parsed(&self.makers.parse_json, "JSON", text));
            }
            if is_numeric(field) {
                return Ok(self.parsed(&self.makers.decimal, "a decimal number", text));
            }
            return Ok(match pg_type {
                Some("timetz") => self.parsed(&self.makers.time_from_text, "a time of day", text),
                _ => Box::new(move |row| Ok(PyString::new(py, text(row)).into_any())),
            });
        }
        if let Some(bytes) = bytes_of(array) {
            return Ok(Box::new(move |row| {
                Ok(PyBytes::new(py, bytes(row)).into_any())
            }));
        }
        Ok(match array.data_type() {
            DataType::Null => Box::new(move |_| Ok(py.None().into_bound(py))),
            DataType::Boolean => {
                let values = array.as_boolean();
                Box::new(move |row| values.value(row).into_bound_py_any(py))
            }
            DataType::Int8 => self.number::<Int8Type>(array),
            DataType::Int16 => self.number::<Int16Type>(array),
            DataType::Int32 => self.number::<Int32Type>(array),
            DataType::Int64 => self.number::<Int64Type>(array),
            DataType::UInt8 => self.number::<UInt8Type>(array),
            DataType::UInt16 => self.number::<UInt16Type>(array),
            DataType::UInt32 => self.number::<UInt32Type>(array),
            DataType::UInt64 => self.number::<UInt64Type>(array),
            DataType::Float64 => self.number::<Float64Type>(array),
            DataType::Float32 => self.float4(field, array)?,
            DataType::Decimal32(..)
            | DataType::Decimal64(..)
            | DataType::Decimal128(..)
            | DataType::Decimal256(..) => self.decimal(field, array)?,
            DataType::Date32 => self.each::<Date32Type>(array, move |days| self.date(days.into())),
            DataType::Date64 => self.each::<Date64Type>(array, move |millis| {
                self.date(millis.div_euclid(MILLIS_PER_DAY))
            }),
            DataType::Time32(TimeUnit::Second) => {
                self.each::<Time32SecondType>(array, move |value| self.time(value.into(), 1))
            }
            DataType::Time32(_) => self
                .each::<Time32MillisecondType>(array, move |value| self.time(value.into(), 1_000)),
            DataType::Time64(TimeUnit::Nanosecond) => self
                .each::<Time64NanosecondType>(array, move |value| self.time(value, 1_000_000_000)),
            DataType::Time64(_) => {
                self.each::<Time64MicrosecondType>(array, move |value| self.time(value, 1_000_000))
            }
            DataType::Timestamp(unit, zone) => {
                let epoch = match zone {
                    Some(_) => self.makers.epoch_utc.bind(py),
                    None => self.makers.epoch.bind(py),
                };
                let make = move |value, per_second| self.timestamp(epoch, value, per_second);
                match unit {
                    TimeUnit::Second => {
                        self.each::<TimestampSecondType>(array, move |value| make(value, 1))
                    }
                    TimeUnit::Millisecond => self
                        .each::<TimestampMillisecondType>(array, move |value| make(value, 1_000)),
                    TimeUnit::Microsecond => self
                        .each::<TimestampMicrosecondType>(array, move |value| {
                            make(value, 1_000_000)
                        }),
                    TimeUnit::Nanosecond => self
                        .each::<TimestampNanosecondType>(array, move |value| {
                            make(value, 1_000_000_000)
                        }),
                }
            }
            DataType::Interval(IntervalUnit::MonthDayNano) => self
                .each::<IntervalMonthDayNanoType>(array, move |value| {
                    self.interval(value.months, value.days, value.nanoseconds, 1_000_000_000)
                }),
            DataType::Interval(IntervalUnit::DayTime) => self
                .each::<IntervalDayTimeType>(array, move |value| {
                    self.interval(0, value.days, value.milliseconds.into(), 1_000)
                }),
            DataType::Interval(IntervalUnit::YearMonth) => self
                .each::<IntervalYearMonthType>(array, move |months| self.interval(months, 0, 0, 1)),
            DataType::Dictionary(..) => self.dictionary(field, array)?,
            DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
                self.list(item, array)?
            }
            DataType::Struct(_) => self.composite(array.as_struct())?,
            DataType::Map(..) => self.map(array)?,
            _ => self.text(field, array)?,
        })
    }

    /// Every value of a primitive array, by the same function.
    fn each<T: ArrowPrimitiveType>(
        self,
        array: &'a dyn Array,
        make: impl Fn(T::Native) -> PyResult<Bound<'py, PyAny>> + 'a,
    ) -> Convert<'a, 'py> {
        let values: &PrimitiveArray<T> = array.as_primitive();
        Box::new(move |row| make(values.value(row)))
    }

    fn number<T: ArrowPrimitiveType>(self, array: &'a dyn Array) -> Convert<'a, 'py>
    where
        T::Native: IntoPyObject<'py>,
    {
        self.each::<T>(array, move |value| value.into_bound_py_any(self.py))
    }

    /// The double that is nearest to what PostgreSQL prints: 0.1 of a float4 is 0.1.
    fn float4(self, field: &'a Field, array: &'a dyn Array) -> PyResult<Convert<'a, 'py>> {
        let values = array.as_primitive::<arrow_types::Float32Type>();
        let printed = self.printer(field, array)?;
        Ok(Box::new(move |row| {
            let value = values.value(row);
            let number: f64 = match value.is_finite() {
                true => printed(row, &mut |text| text.parse().unwrap_or(value.into())),
                false => value.into(),
            };
            number.into_bound_py_any(self.py)
        }))
    }

    fn decimal(self, field: &'a Field, array: &'a dyn Array) -> PyResult<Convert<'a, 'py>> {
        let decimal = self.makers.decimal.bind(self.py);
        let printed = self.printer(field, array)?;
        Ok(Box::new(move |row| {
            let text = printed(row, &mut |text| PyString::new(self.py, text));
            decimal.call1((text,))
        }))
    }

    /// What PostgreSQL prints for the value.
    fn text(self, field: &'a Field, array: &'a dyn Array) -> PyResult<Convert<'a, 'py>> {
        let printed = self.printer(field, array)?;
        Ok(Box::new(move |row| {
            Ok(printed(row, &mut |text| PyString::new(self.py, text)).into_any())
        }))
    }

    /// A function that hands what PostgreSQL prints for a row to a function.
    #[allow(clippy::type_complexity)]
    fn printer<T: 'a>(
        self,
        field: &'a Field,
        array: &'a dyn Array,
    ) -> PyResult<impl Fn(usize, &mut dyn FnMut(&str) -> T) -> T + 'a> {
        let formatter =
            TextFormatter::try_new(field, array).map_err(|error| raised(self.py, &error))?;
        let buffer = RefCell::new(String::new());
        Ok(move |row, take: &mut dyn FnMut(&str) -> T| {
            let mut buffer = buffer.borrow_mut();
            buffer.clear();
            formatter.write(row, &mut buffer);
            take(&buffer)
        })
    }

    /// What a function of Python makes of texts.
    fn parsed(self, parse: &'a Py<PyAny>, what: &'static str, text: Text<'a>) -> Convert<'a, 'py> {
        let parse = parse.bind(self.py);
        Box::new(move |row| {
            parse.call1((text(row),)).map_err(|error| {
                let message = format!("a value that Python does not read as {what}");
                self.data_error(&message, "::text", Some(error))
            })
        })
    }

    fn uuid(self, array: &'a dyn Array) -> Convert<'a, 'py> {
        let values = array.as_fixed_size_binary();
        let uuid = self.makers.uuid.bind(self.py);
        Box::new(move |row| {
            let arguments = PyDict::new(self.py);
            arguments.set_item(
                intern!(self.py, "bytes"),
                PyBytes::new(self.py, values.value(row)),
            )?;
            uuid.call((), Some(&arguments))
        })
    }

    fn date(self, days: i64) -> PyResult<Bound<'py, PyAny>> {
        let ordinal = days + ORDINAL_OF_EPOCH;
        if !(1..=LAST_ORDINAL).contains(&ordinal) {
            return Err(self.out_of_range("a date"));
        }
        self.makers
            .date_from_ordinal
            .bind(self.py)
            .call1((ordinal,))
    }

    fn time(self, value: i64, per_second: i64) -> PyResult<Bound<'py, PyAny>> {
        let micros = self.micros(value, per_second)?;
        if !(0..MICROS_PER_DAY).contains(&micros) {
            return Err(self.data_error("a time outside of 00:00 to 24:00", "::text", None));
        }
        let (seconds, micros) = (micros / 1_000_000, micros % 1_000_000);
        let clock = (seconds / 3600, seconds / 60 % 60, seconds % 60, micros);
        self.makers.time.bind(self.py).call1(clock)
    }

    fn timestamp(
        self,
        epoch: &Bound<'py, PyAny>,
        value: i64,
        per_second: i64,
    ) -> PyResult<Bound<'py, PyAny>> {
        let micros = self.micros(value, per_second)?;
        let (days, micros) = (
            micros.div_euclid(MICROS_PER_DAY),
            micros.rem_euclid(MICROS_PER_DAY),
        );
        if !(1..=LAST_ORDINAL).contains(&(days + ORDINAL_OF_EPOCH)) {
            return Err(self.out_of_range("a timestamp"));
        }
        epoch.add(self.timedelta(days, micros)?)
    }

    fn interval(
        self,
        months: i32,
        days: i32,
        time: i64,
        per_second: i64,
    ) -> PyResult<Bound<'py, PyAny>> {
        if months != 0 {
            return Err(self.data_error(
                "an interval with months, which have no fixed length and no place in a timedelta",
                "::text",
                None,
            ));
        }
        let micros = self.micros(time, per_second)?;
        self.timedelta(days.into(), micros).map_err(|error| {
            self.data_error("an interval longer than a timedelta", "::text", Some(error))
        })
    }

    fn timedelta(self, days: i64, micros: i64) -> PyResult<Bound<'py, PyAny>> {
        let (seconds, micros) = (micros / 1_000_000, micros % 1_000_000);
        let timedelta = self.makers.timedelta.bind(self.py);
        timedelta.call1((days, seconds, micros))
    }

    fn micros(self, value: i64, per_second: i64) -> PyResult<i64> {
        let finer = per_second / 1_000_000;
        if finer > 1 {
            return match value % finer {
                0 => Ok(value / finer),
                _ => Err(self.data_error(
                    "a time with nanoseconds, where Python's times end at microseconds",
                    "",
                    None,
                )),
            };
        }
        value
            .checked_mul(1_000_000 / per_second)
            .ok_or_else(|| self.out_of_range("a timestamp"))
    }

    /// Each label is made once.
    fn dictionary(self, field: &'a Field, array: &'a dyn Array) -> PyResult<Convert<'a, 'py>> {
        let dictionary = array.as_any_dictionary();
        if dictionary.values().is_empty() {
            // Every row is NULL, and there is no key to normalize.
            return Ok(Box::new(move |_| Ok(self.py.None().into_bound(self.py))));
        }
        let values = self.column(field, dictionary.values().as_ref())?;
        let values = (0..dictionary.values().len())
            .map(|row| values.value(row))
            .collect::<PyResult<Vec<_>>>()?;
        let keys = dictionary.normalized_keys();
        Ok(Box::new(move |row| Ok(values[keys[row]].clone())))
    }

    fn list(self, item: &'a Field, array: &'a dyn Array) -> PyResult<Convert<'a, 'py>> {
        let (values, bounds) = items_of(array);
        let items = self.column(item, values)?;
        Ok(Box::new(move |row| {
            let list = PyList::empty(self.py);
            for item in bounds(row) {
                list.append(items.value(item)?)?;
            }
            Ok(list.into_any())
        }))
    }

    fn composite(self, array: &'a StructArray) -> PyResult<Convert<'a, 'py>> {
        let names = PyTuple::new(self.py, array.fields().iter().map(|field| field.name()))?;
        let row_type = self.makers.row_type.bind(self.py);
        let row_type = row_type.call1((intern!(self.py, "Composite"), names))?;
        let fields = self.children(array)?;
        Ok(Box::new(move |row| {
            let values = fields
                .iter()
                .map(|field| field.value(row))
                .collect::<PyResult<Vec<_>>>()?;
            row_type.call1(PyTuple::new(self.py, values)?)
        }))
    }

    fn children(self, array: &'a StructArray) -> PyResult<Vec<Column<'a, 'py>>> {
        let fields = array.fields().iter().zip(array.columns());
        fields
            .map(|(field, child)| self.column(field, child.as_ref()))
            .collect()
    }

    fn range(self, array: &'a StructArray) -> PyResult<Convert<'a, 'py>> {
        let range = self.makers.range.bind(self.py);
        let children = self.children(array)?;
        let [lower, upper, lower_inclusive, upper_inclusive, empty] =
            <[Column<'_, '_>; 5]>::try_from(children).map_err(|children| {
                let message = format!("a range of {} fields instead of 5", children.len());
                self.data_error(&message, "::text", None)
            })?;
        Ok(Box::new(move |row| {
            if empty.value(row)?.is_truthy()? {
                return range.call1((self.py.None(), self.py.None(), intern!(self.py, ""), true));
            }
            let bounds = match (
                lower_inclusive.value(row)?.is_truthy()?,
                upper_inclusive.value(row)?.is_truthy()?,
            ) {
                (true, true) => intern!(self.py, "[]"),
                (true, false) => intern!(self.py, "[)"),
                (false, true) => intern!(self.py, "(]"),
                (false, false) => intern!(self.py, "()"),
            };
            range.call1((lower.value(row)?, upper.value(row)?, bounds, false))
        }))
    }

    fn map(self, array: &'a dyn Array) -> PyResult<Convert<'a, 'py>> {
        let map = array.as_map();
        let offsets = map.value_offsets();
        let [keys, values] = <[Column<'_, '_>; 2]>::try_from(self.children(map.entries())?)
            .map_err(|_| self.data_error("a map without keys and values", "::text", None))?;
        Ok(Box::new(move |row| {
            let dict = PyDict::new(self.py);
            for item in offsets[row] as usize..offsets[row + 1] as usize {
                dict.set_item(keys.value(item)?, values.value(item)?)?;
            }
            Ok(dict.into_any())
        }))
    }

    fn out_of_range(self, what: &str) -> PyErr {
        let message =
            format!("{what} outside of the years 1 to 9999, which are all that Python has");
        self.data_error(&message, "::text", None)
    }

    /// `cast` is what the query can do about it.
    fn data_error(self, what: impl Display, cast: &str, source: Option<PyErr>) -> PyErr {
        let message = format!("column {:?}: {what}", self.column);
        let column = self.column;
        let cure = match cast {
            "" => "take the rows as Arrow instead, with fetch_arrow_table()".to_owned(),
            _ => format!(
                "cast the column in the query, \"{column}\"{cast}, or take the rows as Arrow, \
                 with fetch_arrow_table()"
            ),
        };
        let made = || -> PyResult<Bound<'_, PyAny>> {
            let more = PyDict::new(self.py);
            more.set_item("hint", cure)?;
            self.makers
                .data_error
                .bind(self.py)
                .call((message,), Some(&more))
        };
        match made() {
            Ok(exception) => {
                let error = PyErr::from_value(exception);
                error.set_cause(self.py, source);
                error
            }
            Err(error) => error,
        }
    }
}

/// Reads a string of a row.
type Text<'a> = Box<dyn Fn(usize) -> &'a str + 'a>;

/// Reads the strings of an array of one of the three string types; `None` for any other.
fn text_of(array: &dyn Array) -> Option<Text<'_>> {
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
fn bytes_of<'a>(array: &'a dyn Array) -> Option<Box<dyn Fn(usize) -> &'a [u8] + 'a>> {
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

/// The items of a list array of any kind, and which of them a row has.
fn items_of(array: &dyn Array) -> (&dyn Array, Box<dyn Fn(usize) -> Range<usize> + '_>) {
    if let Some(list) = array.as_list_opt::<i32>() {
        let offsets = list.value_offsets();
        let bounds = |row| offsets[row] as usize..offsets[row + 1] as usize;
        return (list.values().as_ref(), Box::new(bounds));
    }
    if let Some(list) = array.as_list_opt::<i64>() {
        let offsets = list.value_offsets();
        let bounds = |row| offsets[row] as usize..offsets[row + 1] as usize;
        return (list.values().as_ref(), Box::new(bounds));
    }
    let list = array.as_fixed_size_list();
    let size = list.value_length() as usize;
    let bounds = move |row| {
        let start = list.value_offset(row) as usize;
        start..start + size
    };
    (list.values().as_ref(), Box::new(bounds))
}

/// 1970-01-01 counted from 0001-01-01, which is 1: `date.toordinal` of Python.
const ORDINAL_OF_EPOCH: i64 = 719_163;
/// 9999-12-31.
const LAST_ORDINAL: i64 = 3_652_059;
const MICROS_PER_DAY: i64 = 86_400_000_000;
const MILLIS_PER_DAY: i64 = 86_400_000;
