//! Dates, times, timestamps and intervals.

use std::fmt::Write as _;

use arrow::datatypes::TimeUnit;

const SECONDS_PER_DAY: i64 = 86_400;

/// What follows the seconds of a timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Suffix {
    /// Nothing: a timestamp without time zone.
    None,
    /// `+00`, as PostgreSQL prints UTC.
    Utc,
    /// `Z`, as ISO 8601 writes UTC.
    Zulu,
}

/// How many of this unit are one second.
pub(crate) fn per_second(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    }
}

/// A date from days since 1970-01-01: `2024-01-02`, `0001-12-31 BC`.
pub(crate) fn write_date(days: i64, out: &mut String) {
    let before_christ = write_year_month_day(days, out);
    if before_christ {
        out.push_str(" BC");
    }
}

/// A time of day: `12:34:56.789`; 24:00:00 is one too.
pub(super) fn write_time(value: i64, per_second: i64, out: &mut String) {
    if value < 0 {
        // No time of PostgreSQL; an honest text is better than a panic.
        out.push('-');
    }
    write_clock(value.unsigned_abs(), per_second, out);
}

/// A timestamp from units since 1970-01-01 00:00:00: date, separator, time, suffix, `BC`.
pub(crate) fn write_timestamp(
    value: i64,
    per_second: i64,
    separator: char,
    suffix: Suffix,
    out: &mut String,
) {
    let per_day = SECONDS_PER_DAY * per_second;
    let before_christ = write_year_month_day(value.div_euclid(per_day), out);
    out.push(separator);
    write_clock(value.rem_euclid(per_day).unsigned_abs(), per_second, out);
    out.push_str(match suffix {
        Suffix::None => "",
        Suffix::Utc => "+00",
        Suffix::Zulu => "Z",
    });
    if before_christ {
        out.push_str(" BC");
    }
}

/// An interval in `IntervalStyle` postgres: `-1 years -2 mons +3 days -04:05:06`.
///
/// See `EncodeInterval` in PostgreSQL's `src/backend/utils/adt/datetime.c`: a positive field gets
/// a `+` only when the field before it was negative.
pub(super) fn write_interval(months: i64, days: i64, time: i64, per_second: i64, out: &mut String) {
    let start = out.len();
    let mut after_negative = false;
    for (value, unit) in [(months / 12, "year"), (months % 12, "mon"), (days, "day")] {
        if value == 0 {
            continue;
        }
        let space = if out.len() > start { " " } else { "" };
        let plus = if after_negative && value > 0 { "+" } else { "" };
        let plural = if value == 1 { "" } else { "s" };
        // Writing to a `String` cannot fail.
        let _ = write!(out, "{space}{plus}{value} {unit}{plural}");
        after_negative = value < 0;
    }
    if out.len() > start {
        if time == 0 {
            return;
        }
        out.push(' ');
    }
    if time < 0 {
        out.push('-');
    } else if after_negative {
        out.push('+');
    }
    write_clock(time.unsigned_abs(), per_second, out);
}

/// Writes the date, of the year's absolute value; true if it is before Christ.
fn write_year_month_day(days: i64, out: &mut String) -> bool {
    let (year, month, day) = civil(days);
    let before_christ = year <= 0;
    let year = if before_christ { 1 - year } else { year };
    let _ = write!(out, "{year:04}-{month:02}-{day:02}");
    before_christ
}

/// Writes hours, minutes, seconds and the fraction without its trailing zeros.
fn write_clock(value: u64, per_second: i64, out: &mut String) {
    let per_second = per_second.unsigned_abs();
    let (seconds, fraction) = (value / per_second, value % per_second);
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    let _ = write!(out, "{hours:02}:{minutes:02}:{:02}", seconds % 60);
    if fraction != 0 {
        let width = per_second.ilog10() as usize;
        let _ = write!(out, ".{fraction:0width$}");
        let end = out.trim_end_matches('0').len();
        out.truncate(end);
    }
}

/// Year (0 is 1 BC), month and day of the proleptic Gregorian calendar, from days since
/// 1970-01-01.
///
/// Years are counted from March here, so that the leap day is a year's last.
fn civil(days: i64) -> (i64, i64, i64) {
    const DAYS_PER_ERA: i64 = 146_097; // 400 years
    let days = days + 719_468; // since 0000-03-01
    let era = days.div_euclid(DAYS_PER_ERA);
    let day_of_era = days.rem_euclid(DAYS_PER_ERA);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day)
}
