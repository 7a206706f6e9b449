//! The choices that the mapping of types leaves open.

use std::str::FromStr;

use super::DECIMAL256_PRECISION;
use crate::error::{Error, ErrorKind, Result};

/// How a `numeric` becomes an Arrow value where its column declares no precision and scale.
///
/// The protocol does not tell the scale of `sum(x)` or `a * b`, so one has to be chosen before the
/// first row. It decides also about `numeric(p,s)` that needs more than 76 digits, which no Arrow
/// type has; other columns declared `numeric(p,s)` are decimals of that precision and scale, or text
/// under [`Unrepresentable::Text`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum NumericAs {
    /// `Decimal128(38, 20)`, or text under [`Unrepresentable::Text`].
    #[default]
    Auto,
    /// `Decimal128(precision, scale)`, or `Decimal256` where the precision is above 38. A value
    /// that would have to be rounded, or that is too large, is an error.
    Decimal {
        /// Digits in all, 1 to 76.
        precision: u8,
        /// Digits after the point, at most `precision`.
        scale: u8,
    },
    /// `Utf8`, the digits as PostgreSQL prints them. NaN and infinity are representable.
    Text,
    /// `Utf8`, the digits as PostgreSQL prints them. NaN and infinity are unrepresentable, so that
    /// [`Unrepresentable`] decides about them although text could hold them.
    FiniteText,
    /// `Float64`, rounded to the nearest double. NaN and infinity are representable.
    Float64,
}

impl FromStr for NumericAs {
    type Err = Error;

    /// Reads `decimal(p,s)`, `text` or `float64`.
    fn from_str(text: &str) -> Result<Self> {
        let invalid = || {
            Error::new(
                ErrorKind::Config,
                format!("invalid numeric option {text:?}"),
            )
            .with_hint("write decimal(p,s) with 1 <= p <= 76 and s <= p, text, or float64")
        };
        match text.trim() {
            "text" => Ok(Self::Text),
            "float64" => Ok(Self::Float64),
            other => {
                let (precision, scale) = other
                    .strip_prefix("decimal(")
                    .and_then(|rest| rest.strip_suffix(')'))
                    .and_then(|rest| rest.split_once(','))
                    .and_then(|(p, s)| Some((p.trim().parse().ok()?, s.trim().parse().ok()?)))
                    .ok_or_else(invalid)?;
                if precision == 0 || precision > DECIMAL256_PRECISION || scale > precision {
                    return Err(invalid());
                }
                Ok(Self::Decimal { precision, scale })
            }
        }
    }
}

/// What becomes of a value that its Arrow type cannot hold: numeric NaN and infinity, infinite
/// dates and timestamps, `24:00`, an interval or year out of range, an array with a lower bound
/// other than 1 or with other dimensions than declared.
///
/// Not among them, and always an error: a number that would have to be rounded, for which
/// [`NumericAs`] is the option; and, unless they are text, ranges with a bound that Arrow cannot
/// hold, since a bound that is NULL is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Unrepresentable {
    /// An error that names the column and the row.
    #[default]
    Error,
    /// NULL.
    Null,
    /// Columns of types that have such values become `Utf8`, PostgreSQL's text of every value; so do
    /// arrays, composites and ranges of them. Not so a `numeric` for which [`NumericAs`] names
    /// another type, as `float64`: what that type cannot hold is an error.
    Text,
}

impl FromStr for Unrepresentable {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "error" => Ok(Self::Error),
            "null" => Ok(Self::Null),
            "text" => Ok(Self::Text),
            _ => Err(Error::new(
                ErrorKind::Config,
                format!("invalid option for unrepresentable values {text:?}"),
            )
            .with_hint("write error, null or text")),
        }
    }
}

/// How an `interval` becomes an Arrow value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum IntervalAs {
    /// `Interval(MonthDayNano)`, which Parquet does not have.
    #[default]
    MonthDayNano,
    /// `Utf8`, PostgreSQL's text of every value; so do arrays and composites of them.
    Text,
}

impl FromStr for IntervalAs {
    type Err = Error;

    /// Reads `month-day-nano` or `text`.
    fn from_str(text: &str) -> Result<Self> {
        match text {
            "month-day-nano" => Ok(Self::MonthDayNano),
            "text" => Ok(Self::Text),
            _ => Err(Error::new(
                ErrorKind::Config,
                format!("invalid option for intervals {text:?}"),
            )
            .with_hint("write month-day-nano or text")),
        }
    }
}

/// How text and bytes become Arrow values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum TextAs {
    /// `Utf8` and `Binary`: offsets of 32 bits into one buffer.
    #[default]
    Offsets,
    /// `Utf8View` and `BinaryView`: 16 bytes for each value, which hold it themselves up to a length of
    /// 12 bytes. Polars and DataFusion compute with these, and have to make them of the others.
    ///
    /// The labels of enums, and keys and values of `hstore`, stay as they are.
    Views,
}

/// The choices that the mapping of types leaves open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TypeOptions {
    /// Unconstrained `numeric`.
    pub numeric: NumericAs,
    /// Values that Arrow cannot hold.
    pub unrepresentable: Unrepresentable,
    /// Intervals.
    pub interval: IntervalAs,
    /// Text and bytes.
    pub text: TextAs,
}

impl TypeOptions {
    /// Every value as text that PostgreSQL's type may hold and Arrow's may not: nothing is an error,
    /// and nothing is lost.
    pub const LOSSLESS: Self = Self {
        numeric: NumericAs::Text,
        unrepresentable: Unrepresentable::Text,
        interval: IntervalAs::MonthDayNano,
        text: TextAs::Offsets,
    };
}
