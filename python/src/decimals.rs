//! Decimals for Arrow of numbers that came as text.
//!
//! A cursor reads `numeric` as text, so that rows have PostgreSQL's own scale. Whoever then takes the
//! rows as Arrow gets the types that every other query has: what is text here is `Decimal128(38, 20)`
//! there, to the last digit or an error.

use std::sync::Arc;

use merganser::arrow::array::{
    Array, ArrayRef, AsArray, Decimal128Array, ListArray, RecordBatch, RecordBatchOptions,
    StructArray,
};
use merganser::arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use merganser::arrow::error::ArrowError;
use merganser::types::POSTGRES_TYPE;
use merganser::{Error, ErrorKind, Phase};

/// What turns the batches of one schema into those of another.
pub(crate) struct Decimals {
    schema: SchemaRef,
    nan_is_null: bool,
}

impl Decimals {
    /// What is to be done with batches of this schema.
    pub(crate) fn new(schema: &Schema, nan_is_null: bool) -> Self {
        let fields = schema.fields().iter().map(decimal_field);
        let schema = Schema::new_with_metadata(fields.collect::<Vec<_>>(), schema.metadata.clone());
        Self {
            schema: Arc::new(schema),
            nan_is_null,
        }
    }

    /// The schema of the batches that it makes.
    pub(crate) fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    /// The same rows with decimals.
    pub(crate) fn convert(&self, batch: &RecordBatch) -> Result<RecordBatch, Error> {
        let columns = batch
            .columns()
            .iter()
            .zip(self.schema.fields())
            .map(|(array, field)| self.array(array, field, field.name()))
            .collect::<Result<Vec<_>, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(self.schema(), columns, &options)
            .map_err(|error| fault(&error))
    }

    fn array(&self, array: &ArrayRef, field: &Field, column: &str) -> Result<ArrayRef, Error> {
        if array.data_type() == field.data_type() {
            return Ok(array.clone());
        }
        let made: ArrayRef = match (array.data_type(), field.data_type()) {
            (DataType::List(_), DataType::List(item)) => {
                let list = array.as_list::<i32>();
                let values = self.array(list.values(), item, column)?;
                let (offsets, nulls) = (list.offsets().clone(), list.nulls().cloned());
                Arc::new(
                    ListArray::try_new(item.clone(), offsets, values, nulls)
                        .map_err(|error| fault(&error))?,
                )
            }
            (DataType::Struct(_), DataType::Struct(fields)) => {
                let composite = array.as_struct();
                let children = composite
                    .columns()
                    .iter()
                    .zip(fields)
                    .map(|(child, field)| self.array(child, field, column))
                    .collect::<Result<Vec<_>, _>>()?;
                Arc::new(
                    StructArray::try_new(fields.clone(), children, composite.nulls().cloned())
                        .map_err(|error| fault(&error))?,
                )
            }
            _ => Arc::new(self.decimals(array, column)?),
        };
        Ok(made)
    }

    fn decimals(&self, array: &ArrayRef, column: &str) -> Result<Decimal128Array, Error> {
        let values = array
            .as_string::<i32>()
            .iter()
            .map(|text| match text {
                Some("NaN" | "Infinity" | "-Infinity") if self.nan_is_null => Ok(None),
                Some(text) => unscaled(text)
                    .map(Some)
                    .ok_or_else(|| does_not_fit(text, column)),
                None => Ok(None),
            })
            .collect::<Result<Decimal128Array, Error>>()?;
        values
            .with_precision_and_scale(PRECISION, SCALE)
            .map_err(|error| fault(&error))
    }
}

/// The field, with a decimal for every `numeric` that is text.
fn decimal_field(field: &FieldRef) -> FieldRef {
    let data_type = match field.data_type() {
        DataType::Utf8 if is_numeric(field) => {
            let decimal = DataType::Decimal128(PRECISION, SCALE);
            return Arc::new(Field::new(field.name(), decimal, field.is_nullable()));
        }
        DataType::List(item) => DataType::List(decimal_field(item)),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(decimal_field).collect()),
        _ => return field.clone(),
    };
    Arc::new(field.as_ref().clone().with_data_type(data_type))
}

/// Whether the values of a field are the texts of a `numeric`.
pub(crate) fn is_numeric(field: &Field) -> bool {
    field.metadata().get(POSTGRES_TYPE).is_some_and(|name| {
        name == "numeric" || name.starts_with("numeric(") && name.ends_with(')')
    })
}

/// The number that a text of PostgreSQL stands for, times 10 to the scale; `None` if that is no whole
/// number or has too many digits.
fn unscaled(text: &str) -> Option<i128> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let (integer, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let fraction = fraction.trim_end_matches('0');
    let missing = usize::from(SCALE.unsigned_abs()).checked_sub(fraction.len())?;
    let mut value: i128 = 0;
    let zeros = std::iter::repeat_n(b'0', missing);
    for digit in integer.bytes().chain(fraction.bytes()).chain(zeros) {
        let digit = digit.is_ascii_digit().then(|| digit - b'0')?;
        value = value.checked_mul(10)?.checked_add(digit.into())?;
    }
    let fits = value < 10_i128.pow(PRECISION.into());
    fits.then_some(if negative { -value } else { value })
}

fn does_not_fit(text: &str, column: &str) -> Error {
    // A number may have 130,000 digits.
    let shown: String = text.chars().take(60).collect();
    let dots = if shown.len() < text.len() { "..." } else { "" };
    let message = format!(
        "column {column:?}: {shown}{dots} does not fit decimal({PRECISION},{SCALE}) exactly"
    );
    Error::new(ErrorKind::Decode, message)
        .with_phase(Phase::Stream)
        .with_hint(
            "execute with numeric=\"decimal(p,s)\" with room for it, \"text\" or \"float64\", or cast \
             it in the query",
        )
}

fn fault(error: &ArrowError) -> Error {
    Error::new(
        ErrorKind::Internal,
        format!("decimals for text do not fit their schema: {error}"),
    )
}

/// What the library takes where a `numeric` has no scale of its own.
const PRECISION: u8 = 38;
const SCALE: i8 = 20;
