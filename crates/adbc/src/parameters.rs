//! Bound Arrow data as values of `$1`, `$2`, ...

use adbc_core::error::{Error, Result, Status};
use arrow::array::{Array, ArrowPrimitiveType, AsArray, RecordBatch, types};
use arrow::datatypes::{DataType, IntervalUnit, TimeUnit};
use merganser::arrow;
use merganser::text::TextFormatter;

use crate::error::{from_library, refusal};

/// A value for each parameter, as PostgreSQL writes it; `None` is NULL.
pub(crate) type Values = Vec<Option<String>>;

/// What is bound.
#[derive(Debug, Default)]
pub(crate) struct Bound {
    /// Of each parameter, the type that it is cast to; `None`: PostgreSQL finds it.
    types: Vec<Option<&'static str>>,
    pub(crate) rows: Vec<Values>,
}

impl Bound {
    /// Adds the rows of a batch.
    ///
    /// # Errors
    /// As [`rows_of`].
    pub(crate) fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        self.rows.append(&mut rows_of(batch)?);
        for (index, (field, column)) in batch
            .schema()
            .fields()
            .iter()
            .zip(batch.columns())
            .enumerate()
        {
            let found = match field.extension_type_name() {
                Some("arrow.uuid") => Some("uuid"),
                _ => type_of(column),
            };
            match self.types.get_mut(index) {
                Some(known) => *known = wider(*known, found),
                None => self.types.push(found),
            }
        }
        Ok(())
    }

    /// The query with its parameters cast, so that they mean what was bound: a timestamp that is compared with
    /// a date keeps its time.
    ///
    /// # Errors
    /// A text that is no statement.
    pub(crate) fn cast(&self, sql: &str) -> Result<String> {
        merganser::cast_parameters(sql, &self.types).map_err(from_library)
    }
}

/// The type of values: of whole numbers, the one that they would have as numbers in SQL. `None` for texts, which
/// may be of any type, and for what has no counterpart.
fn type_of(array: &dyn Array) -> Option<&'static str> {
    Some(match array.data_type() {
        DataType::Boolean => "bool",
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::UInt8 | DataType::UInt16 => {
            "int4"
        }
        DataType::Int64 => match any::<types::Int64Type>(array, |it| i32::try_from(it).is_err()) {
            true => "int8",
            false => "int4",
        },
        DataType::UInt32 => {
            match any::<types::UInt32Type>(array, |it| i32::try_from(it).is_err()) {
                true => "int8",
                false => "int4",
            }
        }
        DataType::UInt64 => {
            match any::<types::UInt64Type>(array, |it| i64::try_from(it).is_err()) {
                true => "numeric",
                false => "int8",
            }
        }
        DataType::Float32 => "float4",
        DataType::Float64 => "float8",
        DataType::Decimal32(..)
        | DataType::Decimal64(..)
        | DataType::Decimal128(..)
        | DataType::Decimal256(..) => "numeric",
        DataType::Date32 | DataType::Date64 => "date",
        DataType::Time32(_) | DataType::Time64(_) => "time",
        DataType::Timestamp(_, None) => "timestamp",
        DataType::Timestamp(_, Some(_)) => "timestamptz",
        DataType::Duration(_) | DataType::Interval(_) => "interval",
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_) => "bytea",
        DataType::Dictionary(_, _) => return type_of(array.as_any_dictionary().values()),
        DataType::List(_) => return array_of(type_of(array.as_list::<i32>().values())?),
        DataType::LargeList(_) => return array_of(type_of(array.as_list::<i64>().values())?),
        DataType::FixedSizeList(_, _) => {
            return array_of(type_of(array.as_fixed_size_list().values())?);
        }
        _ => return None,
    })
}

fn array_of(element: &str) -> Option<&'static str> {
    Some(match element {
        "bool" => "bool[]",
        "int4" => "int4[]",
        "int8" => "int8[]",
        "numeric" => "numeric[]",
        "float4" => "float4[]",
        "float8" => "float8[]",
        "date" => "date[]",
        "time" => "time[]",
        "timestamp" => "timestamp[]",
        "timestamptz" => "timestamptz[]",
        "interval" => "interval[]",
        "bytea" => "bytea[]",
        // Of more dimensions it is the same.
        _ => WHOLE_ARRAYS.into_iter().find(|it| *it == element)?,
    })
}

const WHOLE: [&str; 3] = ["int4", "int8", "numeric"];
const WHOLE_ARRAYS: [&str; 3] = ["int4[]", "int8[]", "numeric[]"];

/// A type that has the values of both; `None`: PostgreSQL finds one.
fn wider(one: Option<&'static str>, other: Option<&'static str>) -> Option<&'static str> {
    let (one, other) = (one?, other?);
    let widest = |types: [&'static str; 3]| {
        let place = |name: &str| types.iter().position(|it| *it == name);
        types.get(place(one)?.max(place(other)?)).copied()
    };
    match one == other {
        true => Some(one),
        false => widest(WHOLE).or_else(|| widest(WHOLE_ARRAYS)),
    }
}

/// The rows of a batch: its columns are `$1`, `$2`, ... in their order.
///
/// # Errors
/// A column named `$n` that is not the nth; a type that PostgreSQL has no form of; a time that is
/// finer than PostgreSQL's microseconds.
fn rows_of(batch: &RecordBatch) -> Result<Vec<Values>> {
    let schema = batch.schema();
    let mut rows = vec![Values::with_capacity(batch.num_columns()); batch.num_rows()];
    for (index, (field, column)) in schema.fields().iter().zip(batch.columns()).enumerate() {
        let parameter = index + 1;
        if let Some(number) = field.name().strip_prefix('$')
            && number != parameter.to_string()
        {
            return Err(wrong(
                parameter,
                &format!("column {:?} is bound in its place", field.name()),
                "bind the columns in the order of the parameters",
            ));
        }
        if let Some(what) = inexact(column) {
            return Err(wrong(
                parameter,
                &format!("it has {what}, which PostgreSQL would round"),
                "cast it to microseconds",
            ));
        }
        let formatter = TextFormatter::try_new(field, column).map_err(|_| {
            wrong(
                parameter,
                &format!(
                    "PostgreSQL has no value of the Arrow type {}",
                    field.data_type()
                ),
                "cast it to another type, such as a text in PostgreSQL's form",
            )
        })?;
        for (row, values) in rows.iter_mut().enumerate() {
            values.push((!formatter.is_null(row)).then(|| {
                let mut text = String::new();
                formatter.write(row, &mut text);
                text
            }));
        }
    }
    Ok(rows)
}

fn wrong(parameter: usize, what: &str, cure: &str) -> Error {
    refusal(
        Status::InvalidArguments,
        format!("parameter ${parameter}: {what}\nhint: {cure}"),
    )
}

/// What of these values PostgreSQL has no place for: nothing below a microsecond, no hour of a day.
fn inexact(array: &dyn Array) -> Option<&'static str> {
    use types::*;
    const NANOSECONDS: &str = "nanoseconds";
    match array.data_type() {
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            any::<TimestampNanosecondType>(array, |value| value % 1000 != 0).then_some(NANOSECONDS)
        }
        DataType::Time64(TimeUnit::Nanosecond) => {
            any::<Time64NanosecondType>(array, |value| value % 1000 != 0).then_some(NANOSECONDS)
        }
        DataType::Duration(TimeUnit::Nanosecond) => {
            any::<DurationNanosecondType>(array, |value| value % 1000 != 0).then_some(NANOSECONDS)
        }
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            any::<IntervalMonthDayNanoType>(array, |value| value.nanoseconds % 1000 != 0)
                .then_some(NANOSECONDS)
        }
        DataType::Date64 => any::<Date64Type>(array, |millis| millis % 86_400_000 != 0)
            .then_some("a date with a time of day"),
        DataType::Dictionary(_, _) => inexact(array.as_any_dictionary().values()),
        DataType::List(_) => inexact(array.as_list::<i32>().values()),
        DataType::LargeList(_) => inexact(array.as_list::<i64>().values()),
        DataType::FixedSizeList(_, _) => inexact(array.as_fixed_size_list().values()),
        DataType::Struct(_) => array
            .as_struct()
            .columns()
            .iter()
            .find_map(|it| inexact(it)),
        _ => None,
    }
}

fn any<T: ArrowPrimitiveType>(array: &dyn Array, is_so: impl Fn(T::Native) -> bool) -> bool {
    array.as_primitive::<T>().iter().flatten().any(is_so)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{
        ArrayRef, BooleanArray, Decimal128Array, Float16Array, Int64Array, ListArray, StringArray,
        TimestampNanosecondArray,
    };
    use std::sync::Arc;

    fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
        RecordBatch::try_from_iter(columns).unwrap()
    }

    fn message(columns: Vec<(&str, ArrayRef)>) -> String {
        let error = rows_of(&batch(columns)).unwrap_err();
        assert_eq!(error.status, Status::InvalidArguments);
        error.message
    }

    #[test]
    fn values_are_written_as_postgresql_writes_them() {
        let decimals = Decimal128Array::from(vec![Some(-150), None]);
        let decimals = decimals.with_precision_and_scale(10, 2).unwrap();
        let lists = ListArray::from_iter_primitive::<types::Int32Type, _, _>([
            Some(vec![Some(1), None]),
            Some(vec![]),
        ]);
        let times = TimestampNanosecondArray::from(vec![Some(1_000), Some(0)]);
        let rows = rows_of(&batch(vec![
            ("0", Arc::new(Int64Array::from(vec![Some(1), None]))),
            (
                "1",
                Arc::new(StringArray::from(vec![Some("it's"), Some("")])),
            ),
            ("2", Arc::new(BooleanArray::from(vec![true, false]))),
            ("3", Arc::new(decimals)),
            ("4", Arc::new(lists)),
            ("5", Arc::new(times)),
        ]))
        .unwrap();
        let text = |text: &str| Some(text.to_owned());
        let first = [
            text("1"),
            text("it's"),
            text("t"),
            text("-1.50"),
            text("{1,NULL}"),
            text("1970-01-01 00:00:00.000001"),
        ];
        let second = [
            None,
            text(""),
            text("f"),
            None,
            text("{}"),
            text("1970-01-01 00:00:00"),
        ];
        assert_eq!(rows, [first.to_vec(), second.to_vec()]);
    }

    #[test]
    fn parameters_have_the_types_of_what_is_bound() {
        let mut bound = Bound::default();
        let small = batch(vec![
            ("a", Arc::new(Int64Array::from(vec![Some(-5), None]))),
            ("b", Arc::new(StringArray::from(vec!["x", "y"]))),
            ("c", Arc::new(TimestampNanosecondArray::from(vec![0, 1000]))),
        ]);
        bound.add(&small).unwrap();
        let sql = "select $3, abs($1), $2, '$1', $4";
        let cast = "select ($3::timestamp), abs(($1::int4)), ($2), '$1', ($4)";
        assert_eq!(bound.cast(sql).unwrap(), cast);
        let great = batch(vec![
            ("a", Arc::new(Int64Array::from(vec![1_i64 << 40, 1]))),
            ("b", Arc::new(StringArray::from(vec!["x", "y"]))),
            ("c", Arc::new(Int64Array::from(vec![1, 2]))),
        ]);
        bound.add(&great).unwrap();
        assert_eq!(
            bound.cast("select $1, $3").unwrap(),
            "select ($1::int8), ($3)"
        );
        assert_eq!(bound.rows.len(), 4);
        let lists = ListArray::from_iter_primitive::<types::Int32Type, _, _>([Some(vec![Some(1)])]);
        let mut bound = Bound::default();
        bound.add(&batch(vec![("a", Arc::new(lists))])).unwrap();
        assert_eq!(
            bound.cast("select 1 = any ($1)").unwrap(),
            "select 1 = any (($1::int4[]))"
        );
    }

    #[test]
    fn what_cannot_be_bound_names_the_parameter_and_the_cure() {
        let number = || Arc::new(Int64Array::from(vec![1])) as ArrayRef;
        let swapped = message(vec![("$2", number()), ("$1", number())]);
        assert!(
            swapped.starts_with("parameter $1: column \"$2\""),
            "{swapped}"
        );
        let nanoseconds = TimestampNanosecondArray::from(vec![1]);
        let fine = message(vec![("a", number()), ("b", Arc::new(nanoseconds))]);
        let expected = "parameter $2: it has nanoseconds, which PostgreSQL would round\n\
            hint: cast it to microseconds";
        assert_eq!(fine, expected);
        let half = Float16Array::from(vec![None]);
        let half = message(vec![("a", Arc::new(half))]);
        assert!(
            half.contains("no value of the Arrow type Float16"),
            "{half}"
        );
    }
}
