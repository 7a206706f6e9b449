//! Functions of a merge's SQL: those that are PostgreSQL's under the name that DataFusion knows,
//! and those that only DataFusion means.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, IntervalMonthDayNanoArray, StringBuilder};
use arrow::datatypes::{
    DataType, DurationMicrosecondType, Float32Type, Float64Type, IntervalMonthDayNano,
    IntervalUnit, TimeUnit,
};
use datafusion::common::{
    DFSchema, Result, ScalarValue, exec_datafusion_err, internal_err, not_impl_err,
};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility, cast, lit,
};

use crate::error::Result as OurResult;
use crate::text::TextFormatter;

/// A call as PostgreSQL means it.
///
/// # Errors
/// For a function that shares nothing but its name.
pub(super) fn read(call: ScalarFunction, schema: &DFSchema) -> Result<Expr> {
    let name = call.func.name().to_owned();
    let types = call.args.iter().map(|arg| arg.get_type(schema));
    let types: Vec<_> = types.collect::<Result<_>>()?;
    Ok(
        match (name.as_str(), types.as_slice(), call.args.as_slice()) {
            // Their patterns are PostgreSQL's in name only.
            ("to_char" | "date_format" | "to_date", _, _) | ("to_timestamp", [_, _, ..], _) => {
                return not_impl_err!(
                    "{name}, whose patterns differ: call it in the shards' query"
                );
            }
            ("round", [DataType::Float32 | DataType::Float64], [arg]) => {
                Function::HalfEven.call(vec![cast(arg.clone(), DataType::Float64)])
            }
            // A timestamptz in the session's zone. Source: `date_trunc` in `pg_proc.dat`.
            ("date_trunc", [_, DataType::Date32], [unit, date]) => {
                let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
                call.func.call(vec![unit.clone(), cast(date.clone(), utc)])
            }
            ("date_part", _, [Expr::Literal(unit, _), moment]) => {
                let unit = unit
                    .try_as_str()
                    .flatten()
                    .unwrap_or_default()
                    .to_ascii_lowercase();
                match micros_of(&unit) {
                    None => Expr::ScalarFunction(call),
                    Some(factor) => {
                        let whole = call.func.call(vec![lit("microsecond"), moment.clone()]);
                        cast(whole, DataType::Decimal128(18, 0)) * factor
                    }
                }
            }
            ("to_hex", [DataType::Int16 | DataType::Int32], [number]) => {
                let bits = cast(number.clone(), DataType::Int64) & lit(i64::from(u32::MAX));
                call.func.call(vec![bits])
            }
            // What the type's output function prints, which for bool is one letter.
            ("concat" | "concat_ws", _, args) => {
                let texts = args.iter().zip(&types);
                let texts = texts.map(|(arg, from)| match from {
                    DataType::Boolean => Function::Text.call(vec![arg.clone()]),
                    _ => text(arg.clone(), from),
                });
                call.func.call(texts.collect())
            }
            _ => Expr::ScalarFunction(call),
        },
    )
}

/// What a part of a second, which is a fraction to PostgreSQL, is of a microsecond.
fn micros_of(unit: &str) -> Option<Expr> {
    let factor = |scale| lit(ScalarValue::Decimal128(Some(1), 7, scale));
    match unit {
        "second" | "seconds" | "sec" | "secs" | "s" => Some(factor(6)),
        "millisecond" | "milliseconds" | "msec" | "msecs" | "ms" => Some(factor(3)),
        _ => None,
    }
}

/// The expression cast to text, as PostgreSQL prints a value of its type.
pub(super) fn text(expr: Expr, from: &DataType) -> Expr {
    match from {
        DataType::Null => expr,
        DataType::Boolean => cast(expr, DataType::Utf8),
        text if is_text(text) => expr,
        _ => Function::Text.call(vec![expr]),
    }
}

pub(super) fn is_text(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
    )
}

/// Functions that DataFusion does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Function {
    /// A value's text.
    Text,
    /// The nearest whole number, the even one of two that are equally near.
    HalfEven,
    /// A duration as an interval of days and a time of less than a day.
    Days,
}

impl Function {
    pub(super) fn call(self, args: Vec<Expr>) -> Expr {
        Arc::new(ScalarUDF::new_from_impl(Udf {
            function: self,
            signature: Signature::any(1, Volatility::Immutable),
        }))
        .call(args)
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Udf {
    function: Function,
    signature: Signature,
}

impl ScalarUDFImpl for Udf {
    fn name(&self) -> &str {
        match self.function {
            Function::Text => "postgres_text",
            Function::HalfEven => "round_half_even",
            Function::Days => "days_of_duration",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match (self.function, types) {
            (Function::Text, _) => Ok(DataType::Utf8),
            (Function::Days, _) => Ok(DataType::Interval(IntervalUnit::MonthDayNano)),
            (Function::HalfEven, [float]) => Ok(float.clone()),
            (Function::HalfEven, other) => internal_err!("rounding {} numbers", other.len()),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let ([value], [field]) = (args.args.as_slice(), args.arg_fields.as_slice()) else {
            return internal_err!("{} of {} values", self.name(), args.args.len());
        };
        let rows = match value {
            ColumnarValue::Array(_) => args.number_rows,
            ColumnarValue::Scalar(_) => 1,
        };
        let array = value.to_array(rows)?;
        let answer = match self.function {
            Function::Text => {
                texts(field, &array).map_err(|error| exec_datafusion_err!("{}", error.message()))?
            }
            Function::HalfEven => half_even(&array)?,
            Function::Days => days(&array)?,
        };
        match value {
            ColumnarValue::Array(_) => Ok(ColumnarValue::Array(answer)),
            ColumnarValue::Scalar(_) => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(
                &answer, 0,
            )?)),
        }
    }
}

fn texts(field: &arrow::datatypes::Field, array: &ArrayRef) -> OurResult<ArrayRef> {
    let formatter = TextFormatter::try_new(field, array)?;
    let mut builder = StringBuilder::new();
    let mut text = String::new();
    for row in 0..array.len() {
        if formatter.is_null(row) {
            builder.append_null();
            continue;
        }
        text.clear();
        formatter.write(row, &mut text);
        builder.append_value(&text);
    }
    Ok(Arc::new(builder.finish()))
}

fn half_even(array: &ArrayRef) -> Result<ArrayRef> {
    match array.data_type() {
        DataType::Float32 => {
            let array = array.as_primitive::<Float32Type>();
            Ok(Arc::new(
                array.unary::<_, Float32Type>(f32::round_ties_even),
            ))
        }
        DataType::Float64 => {
            let array = array.as_primitive::<Float64Type>();
            Ok(Arc::new(
                array.unary::<_, Float64Type>(f64::round_ties_even),
            ))
        }
        other => internal_err!("rounding {other}"),
    }
}

/// Source: `timestamp_mi` in `src/backend/utils/adt/timestamp.c`, which justifies the hours.
fn days(array: &ArrayRef) -> Result<ArrayRef> {
    const MICROS_PER_DAY: i64 = 86_400_000_000;
    let Some(durations) = array.as_primitive_opt::<DurationMicrosecondType>() else {
        return internal_err!("an interval of {}", array.data_type());
    };
    let intervals = durations.iter().map(|micros| {
        micros
            .map(|micros| {
                let days = i32::try_from(micros / MICROS_PER_DAY)
                    .map_err(|_| exec_datafusion_err!("interval out of range"))?;
                let rest = micros % MICROS_PER_DAY * 1_000;
                Ok(IntervalMonthDayNano::new(0, days, rest))
            })
            .transpose()
    });
    let intervals = intervals.collect::<Result<IntervalMonthDayNanoArray>>()?;
    Ok(Arc::new(intervals))
}
