//! Dates, times, timestamps and intervals.
//!
//! PostgreSQL counts days and microseconds from 2000-01-01, Arrow from 1970-01-01. Source:
//! `date_send`, `timestamp_send`, `interval_send` in `src/backend/utils/adt/`.

use std::fmt::Write as _;

use arrow::datatypes::{
    DataType, Date32Type, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit,
    Time64MicrosecondType, TimeUnit, TimestampMicrosecondType,
};

use super::array::ArrayDecoder;
use super::fault::Fault;
use super::primitive::{fixed, with};
use crate::types::Unrepresentable;

/// Days from 1970-01-01 to 2000-01-01.
const EPOCH_DAYS: i32 = 10_957;
const MICROS_PER_DAY: i64 = 86_400_000_000;
/// Microseconds from 1970-01-01 to 2000-01-01.
const EPOCH_MICROS: i64 = EPOCH_DAYS as i64 * MICROS_PER_DAY;

pub(crate) fn date(policy: Unrepresentable) -> Box<dyn ArrayDecoder> {
    with::<Date32Type, _>(DataType::Date32, policy, |bytes| {
        match i32::from_be_bytes(fixed(bytes)?) {
            i32::MAX => Err(no_infinity("infinity", "date")),
            i32::MIN => Err(no_infinity("-infinity", "date")),
            days => days
                .checked_add(EPOCH_DAYS)
                .ok_or_else(|| Fault::bad(format!("a date of {days} days after 2000 is invalid"))),
        }
    })
}

pub(crate) fn time(policy: Unrepresentable) -> Box<dyn ArrayDecoder> {
    with::<Time64MicrosecondType, _>(DataType::Time64(TimeUnit::Microsecond), policy, |bytes| {
        match i64::from_be_bytes(fixed(bytes)?) {
            micros @ 0..MICROS_PER_DAY => Ok(micros),
            MICROS_PER_DAY => Err(Fault::unrepresentable(
                "24:00:00 cannot be held by an Arrow time, which ends before 24:00",
            )),
            micros => Err(invalid_time(micros)),
        }
    })
}

pub(crate) fn timestamp(utc: bool, policy: Unrepresentable) -> Box<dyn ArrayDecoder> {
    let data_type = DataType::Timestamp(TimeUnit::Microsecond, utc.then(|| "UTC".into()));
    with::<TimestampMicrosecondType, _>(data_type, policy, |bytes| {
        match i64::from_be_bytes(fixed(bytes)?) {
            i64::MAX => Err(no_infinity("infinity", "timestamp")),
            i64::MIN => Err(no_infinity("-infinity", "timestamp")),
            micros => micros.checked_add(EPOCH_MICROS).ok_or_else(|| {
                Fault::unrepresentable(
                    "a timestamp after the year 294246 cannot be held by Arrow's 64 bits",
                )
            }),
        }
    })
}

/// Months and days as they are; the time part in nanoseconds.
pub(crate) fn interval(policy: Unrepresentable) -> Box<dyn ArrayDecoder> {
    with::<IntervalMonthDayNanoType, _>(
        DataType::Interval(IntervalUnit::MonthDayNano),
        policy,
        |bytes| {
            let [
                m0,
                m1,
                m2,
                m3,
                m4,
                m5,
                m6,
                m7,
                d0,
                d1,
                d2,
                d3,
                n0,
                n1,
                n2,
                n3,
            ] = fixed(bytes)?;
            let micros = i64::from_be_bytes([m0, m1, m2, m3, m4, m5, m6, m7]);
            let days = i32::from_be_bytes([d0, d1, d2, d3]);
            let months = i32::from_be_bytes([n0, n1, n2, n3]);
            // PostgreSQL 17 has infinite intervals: every part at its limit.
            match (months, days, micros) {
                (i32::MAX, i32::MAX, i64::MAX) => return Err(no_infinity("infinity", "interval")),
                (i32::MIN, i32::MIN, i64::MIN) => return Err(no_infinity("-infinity", "interval")),
                _ => {}
            }
            let nanos = micros.checked_mul(1000).ok_or_else(|| {
                Fault::unrepresentable(
                    "an interval with a time part of more than 292 years cannot be held by Arrow's nanoseconds",
                )
            })?;
            Ok(IntervalMonthDayNano::new(months, days, nanos))
        },
    )
}

/// `timetz` as PostgreSQL prints it: the local time, then its zone's offset from UTC, in hours and,
/// where there are any, minutes and seconds. Source: `timetz_send` and `EncodeTimezone`.
pub(crate) fn write_timetz(bytes: &[u8], out: &mut String) -> Result<(), Fault> {
    let [m0, m1, m2, m3, m4, m5, m6, m7, z0, z1, z2, z3] = fixed(bytes)?;
    let micros = i64::from_be_bytes([m0, m1, m2, m3, m4, m5, m6, m7]);
    // Seconds west of Greenwich.
    let west = i32::from_be_bytes([z0, z1, z2, z3]);
    if !(0..=MICROS_PER_DAY).contains(&micros) {
        return Err(invalid_time(micros));
    }
    // TZDISP_LIMIT
    if west.unsigned_abs() >= 16 * 3600 {
        return Err(Fault::bad(format!("invalid time zone offset {west}")));
    }
    let (seconds, fraction) = (micros / 1_000_000, micros % 1_000_000);
    // Writing to a String does not fail.
    let _ = write!(
        out,
        "{:02}:{:02}:{:02}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    );
    if fraction != 0 {
        let digits = format!("{fraction:06}");
        let _ = write!(out, ".{}", digits.trim_end_matches('0'));
    }
    let (sign, offset) = (if west > 0 { '-' } else { '+' }, west.unsigned_abs());
    let _ = write!(out, "{sign}{:02}", offset / 3600);
    if offset % 3600 != 0 {
        let _ = write!(out, ":{:02}", offset / 60 % 60);
    }
    if offset % 60 != 0 {
        let _ = write!(out, ":{:02}", offset % 60);
    }
    Ok(())
}

#[cold]
fn no_infinity(value: &str, pg_type: &str) -> Fault {
    Fault::unrepresentable(format!("{value} cannot be held by an Arrow {pg_type}"))
}

#[cold]
fn invalid_time(micros: i64) -> Fault {
    Fault::bad(format!("{micros} microseconds are no time of day"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timetz(micros: i64, west: i32) -> Result<String, String> {
        let bytes = [&micros.to_be_bytes()[..], &west.to_be_bytes()].concat();
        let mut out = String::new();
        write_timetz(&bytes, &mut out)
            .map(|()| out)
            .map_err(|fault| fault.message().to_owned())
    }

    #[test]
    fn timetz_has_as_much_zone_as_it_needs() {
        assert_eq!(timetz(0, 0).unwrap(), "00:00:00+00");
        assert_eq!(timetz(1_500_000, -19_800).unwrap(), "00:00:01.5+05:30");
        assert_eq!(timetz(MICROS_PER_DAY, 57_599).unwrap(), "24:00:00-15:59:59");
        assert!(timetz(-1, 0).unwrap_err().contains("time of day"));
        assert!(timetz(0, 57_600).unwrap_err().contains("offset"));
    }
}
