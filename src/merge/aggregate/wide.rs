//! The types in which sums are added up: wider than those of the values.

use std::marker::PhantomData;

use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Decimal128Type, Decimal256Type, DecimalType,
    IntervalMonthDayNano, IntervalMonthDayNanoType, i256,
};

/// How one type is summed in another.
pub(super) trait Wide: Send + Sync + 'static {
    type In: ArrowPrimitiveType;
    type Sum: ArrowPrimitiveType;

    fn widen(value: Native<Self::In>) -> Native<Self::Sum>;
    fn add(left: Native<Self::Sum>, right: Native<Self::Sum>) -> Option<Native<Self::Sum>>;
    fn subtract(left: Native<Self::Sum>, right: Native<Self::Sum>) -> Option<Native<Self::Sum>>;
    /// `None` if the sum does not fit the type of the result.
    fn narrow(sum: Native<Self::Sum>, result: &DataType) -> Option<Native<Self::In>>;
    fn state_type(result: &DataType) -> DataType;
}

pub(super) type Native<T> = <T as ArrowPrimitiveType>::Native;

pub(super) struct By128<T>(PhantomData<fn() -> T>);

impl<T> Wide for By128<T>
where
    T: ArrowPrimitiveType,
    T::Native: Into<i128> + TryFrom<i128>,
{
    type In = T;
    type Sum = Decimal128Type;

    fn widen(value: T::Native) -> i128 {
        value.into()
    }

    fn add(left: i128, right: i128) -> Option<i128> {
        left.checked_add(right)
    }

    fn subtract(left: i128, right: i128) -> Option<i128> {
        left.checked_sub(right)
    }

    fn narrow(sum: i128, result: &DataType) -> Option<T::Native> {
        let fits = match *result {
            DataType::Decimal32(precision, _)
            | DataType::Decimal64(precision, _)
            | DataType::Decimal128(precision, _) => {
                Decimal128Type::is_valid_decimal_precision(sum, precision)
            }
            _ => true,
        };
        fits.then(|| sum.try_into().ok()).flatten()
    }

    fn state_type(result: &DataType) -> DataType {
        DataType::Decimal128(38, scale(result))
    }
}

pub(super) struct By256<T>(PhantomData<fn() -> T>);

impl<T> Wide for By256<T>
where
    T: DecimalType,
    T::Native: Into<i256> + FromI256,
{
    type In = T;
    type Sum = Decimal256Type;

    fn widen(value: T::Native) -> i256 {
        value.into()
    }

    fn add(left: i256, right: i256) -> Option<i256> {
        left.checked_add(right)
    }

    fn subtract(left: i256, right: i256) -> Option<i256> {
        left.checked_sub(right)
    }

    fn narrow(sum: i256, result: &DataType) -> Option<T::Native> {
        let (DataType::Decimal128(precision, _) | DataType::Decimal256(precision, _)) = *result
        else {
            return None;
        };
        let fits = Decimal256Type::is_valid_decimal_precision(sum, precision);
        fits.then(|| T::Native::from_i256(sum)).flatten()
    }

    fn state_type(result: &DataType) -> DataType {
        DataType::Decimal256(76, scale(result))
    }
}

pub(super) trait FromI256: Sized {
    fn from_i256(value: i256) -> Option<Self>;
}

impl FromI256 for i128 {
    fn from_i256(value: i256) -> Option<Self> {
        value.to_i128()
    }
}

impl FromI256 for i256 {
    fn from_i256(value: i256) -> Option<Self> {
        Some(value)
    }
}

/// Months, days and nanoseconds each for themselves, like PostgreSQL. There is no wider type.
pub(super) struct ByField;

impl Wide for ByField {
    type In = IntervalMonthDayNanoType;
    type Sum = IntervalMonthDayNanoType;

    fn widen(value: IntervalMonthDayNano) -> IntervalMonthDayNano {
        value
    }

    fn add(l: IntervalMonthDayNano, r: IntervalMonthDayNano) -> Option<IntervalMonthDayNano> {
        Some(IntervalMonthDayNano::new(
            l.months.checked_add(r.months)?,
            l.days.checked_add(r.days)?,
            l.nanoseconds.checked_add(r.nanoseconds)?,
        ))
    }

    fn subtract(l: IntervalMonthDayNano, r: IntervalMonthDayNano) -> Option<IntervalMonthDayNano> {
        Some(IntervalMonthDayNano::new(
            l.months.checked_sub(r.months)?,
            l.days.checked_sub(r.days)?,
            l.nanoseconds.checked_sub(r.nanoseconds)?,
        ))
    }

    fn narrow(sum: IntervalMonthDayNano, _: &DataType) -> Option<IntervalMonthDayNano> {
        Some(sum)
    }

    fn state_type(result: &DataType) -> DataType {
        result.clone()
    }
}

fn scale(data_type: &DataType) -> i8 {
    match *data_type {
        DataType::Decimal32(_, scale)
        | DataType::Decimal64(_, scale)
        | DataType::Decimal128(_, scale)
        | DataType::Decimal256(_, scale) => scale,
        _ => 0,
    }
}
