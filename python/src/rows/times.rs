//! Dates, times, timestamps and intervals.

use pyo3::prelude::*;

use super::Scope;

impl<'py> Scope<'_, 'py> {
    pub(super) fn date(self, days: i64) -> PyResult<Bound<'py, PyAny>> {
        let ordinal = days + ORDINAL_OF_EPOCH;
        if !(1..=LAST_ORDINAL).contains(&ordinal) {
            return Err(self.out_of_range("a date"));
        }
        self.makers
            .date_from_ordinal
            .bind(self.py)
            .call1((ordinal,))
    }

    pub(super) fn time(self, value: i64, per_second: i64) -> PyResult<Bound<'py, PyAny>> {
        let micros = self.micros(value, per_second)?;
        if !(0..MICROS_PER_DAY).contains(&micros) {
            return Err(self.data_error("a time outside of 00:00 to 24:00", None));
        }
        let (seconds, micros) = (micros / 1_000_000, micros % 1_000_000);
        let clock = (seconds / 3600, seconds / 60 % 60, seconds % 60, micros);
        self.makers.time.bind(self.py).call1(clock)
    }

    pub(super) fn timestamp(
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

    pub(super) fn interval(
        self,
        months: i32,
        days: i32,
        time: i64,
        per_second: i64,
    ) -> PyResult<Bound<'py, PyAny>> {
        if months != 0 {
            return Err(self.data_error(
                "an interval with months, which have no fixed length and no place in a timedelta",
                None,
            ));
        }
        let micros = self.micros(time, per_second)?;
        self.timedelta(days.into(), micros)
            .map_err(|error| self.data_error("an interval longer than a timedelta", Some(error)))
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
                    None,
                )),
            };
        }
        value
            .checked_mul(1_000_000 / per_second)
            .ok_or_else(|| self.out_of_range("a timestamp"))
    }

    fn out_of_range(self, what: &str) -> PyErr {
        let message =
            format!("{what} outside of the years 1 to 9999, which are all that Python has");
        self.data_error(&message, None)
    }
}

/// 1970-01-01 counted from 0001-01-01, which is 1: `date.toordinal` of Python.
const ORDINAL_OF_EPOCH: i64 = 719_163;
/// 9999-12-31.
const LAST_ORDINAL: i64 = 3_652_059;
const MICROS_PER_DAY: i64 = 86_400_000_000;
pub(super) const MILLIS_PER_DAY: i64 = 86_400_000;
