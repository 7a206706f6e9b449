//! Rows of Python objects, made of batches.
//!
//! How a column becomes objects is decided once per batch, so the loop over rows does not look at
//! types. `merganser/cursor.py` tells users which class each type becomes.

mod nested;
mod times;

use std::cell::{RefCell, RefMut};
use std::ops::Range;

use merganser::arrow::array::{Array, ArrowPrimitiveType, AsArray, PrimitiveArray, RecordBatch};
use merganser::arrow::buffer::NullBuffer;
use merganser::arrow::datatypes::{self as arrow_types, Field, Fields, Schema};
use merganser::text::TextFormatter;
use merganser::types::{self, EXTENSION_NAME, POSTGRES_TYPE};
use pyo3::IntoPyObjectExt as _;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};

use self::times::MILLIS_PER_DAY;
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
        // So that one row of a large batch costs no more than it has to.
        let batch = batch.slice(rows.start, rows.len());
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
        for row in 0..batch.num_rows() {
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
            uuid: find("merganser.types", "uuid_of")?,
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
        let printer = self.printer(field, array)?;
        Ok(Box::new(move |row| {
            let value = values.value(row);
            let number: f64 = match value.is_finite() {
                true => printer.print(row).parse().unwrap_or(value.into()),
                false => value.into(),
            };
            number.into_bound_py_any(self.py)
        }))
    }

    fn decimal(self, field: &'a Field, array: &'a dyn Array) -> PyResult<Convert<'a, 'py>> {
        let decimal = self.makers.decimal.bind(self.py);
        let printer = self.printer(field, array)?;
        Ok(Box::new(move |row| {
            decimal.call1((printer.print(row).as_str(),))
        }))
    }

    /// What PostgreSQL prints for the value.
    fn text(self, field: &'a Field, array: &'a dyn Array) -> PyResult<Convert<'a, 'py>> {
        let printer = self.printer(field, array)?;
        Ok(Box::new(move |row| {
            Ok(PyString::new(self.py, &printer.print(row)).into_any())
        }))
    }

    fn printer(self, field: &'a Field, array: &'a dyn Array) -> PyResult<Printer<'a>> {
        let formatter = TextFormatter::try_new(field, array);
        Ok(Printer {
            formatter: formatter.map_err(|error| raised(self.py, &error))?,
            buffer: RefCell::default(),
        })
    }

    fn uuid(self, array: &'a dyn Array) -> Convert<'a, 'py> {
        let values = array.as_fixed_size_binary();
        let uuid = self.makers.uuid.bind(self.py);
        Box::new(move |row| uuid.call1((PyBytes::new(self.py, values.value(row)),)))
    }

    /// What a function of Python makes of texts.
    fn parsed(self, parse: &'a Py<PyAny>, what: &'static str, text: Text<'a>) -> Convert<'a, 'py> {
        let parse = parse.bind(self.py);
        Box::new(move |row| {
            parse.call1((text(row),)).map_err(|error| {
                let message = format!("a value that Python does not read as {what}");
                self.data_error(&message, Some(error))
            })
        })
    }

    /// Each label is made once.
    fn dictionary(self, field: &'a Field, array: &'a dyn Array) -> PyResult<Convert<'a, 'py>> {
        let dictionary = array.as_any_dictionary();
        if dictionary.values().is_empty() {
            // Every row is NULL, and there is no key to normalize.
            return Ok(Box::new(move |_| Ok(self.py.None().into_bound(self.py))));
        }
        let values = self.column(field, dictionary.values().as_ref())?;
        let made = RefCell::new(vec![None; dictionary.values().len()]);
        let keys = dictionary.normalized_keys();
        Ok(Box::new(move |row| {
            let place = &mut made.borrow_mut()[keys[row]];
            let value = match place.take() {
                Some(value) => value,
                None => values.value(keys[row])?,
            };
            Ok(place.insert(value).clone())
        }))
    }

    fn data_error(self, what: &str, source: Option<PyErr>) -> PyErr {
        let column = self.column;
        let message = format!("column {column:?}: {what}");
        let cure = format!(
            "cast the column in the query, \"{column}\"::text, or take the rows as Arrow, with \
             fetch_arrow_table()"
        );
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

/// Prints values as PostgreSQL does, each into the same buffer.
struct Printer<'a> {
    formatter: TextFormatter<'a>,
    buffer: RefCell<String>,
}

impl Printer<'_> {
    fn print(&self, row: usize) -> RefMut<'_, String> {
        let mut buffer = self.buffer.borrow_mut();
        buffer.clear();
        self.formatter.write(row, &mut buffer);
        buffer
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
