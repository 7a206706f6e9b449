//! Durations as text, in PostgreSQL's units.

use std::time::Duration;

use super::invalid;
use crate::error::Result;

/// The units, from the longest to the shortest, with their length in microseconds.
const UNITS: [(&str, u64); 6] = [
    ("d", 86_400_000_000),
    ("h", 3_600_000_000),
    ("min", 60_000_000),
    ("s", 1_000_000),
    ("ms", 1_000),
    ("us", 1),
];

/// Reads a duration such as `500ms`, `30s` or `5min`: a whole number and one of PostgreSQL's units
/// `us`, `ms`, `s`, `min`, `h`, `d`.
///
/// `0` needs no unit. `m` is refused, because it may be read as minutes or months.
///
/// # Errors
/// [`Config`](crate::ErrorKind::Config) for anything else, and for a value of more than 2^64
/// microseconds.
pub fn parse_duration(text: &str) -> Result<Duration> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim_start();
    let is_zero = digits > 0 && number.bytes().all(|digit| digit == b'0');
    let length = match UNITS.iter().find(|(name, _)| *name == unit) {
        Some((_, length)) if digits > 0 => *length,
        _ if is_zero && unit.is_empty() => 1,
        _ => {
            return Err(
                invalid("invalid duration: expected a whole number and a unit").with_hint(
                    "write it like 500ms, 30s or 5min; the units are us, ms, s, min, h and d",
                ),
            );
        }
    };
    let number = number.parse::<u64>().ok();
    let micros = number.and_then(|number| number.checked_mul(length));
    micros.map(Duration::from_micros).ok_or_else(|| {
        invalid("invalid duration: too long").with_hint("the longest is 213503982d, 584,000 years")
    })
}

/// Writes a duration so that [`parse_duration`] reads it again; what is shorter than a
/// microsecond is cut off.
pub(super) fn format_duration(duration: Duration) -> String {
    let micros = duration.as_micros();
    if micros == 0 {
        return "0s".to_owned();
    }
    UNITS
        .iter()
        .find(|(_, length)| micros.is_multiple_of(u128::from(*length)))
        .map(|(name, length)| format!("{}{name}", micros / u128::from(*length)))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_postgresql_units() {
        for (text, micros) in [
            ("0", 0),
            ("250us", 250),
            ("500ms", 500_000),
            (" 30 s ", 30_000_000),
            ("5min", 300_000_000),
            ("2h", 7_200_000_000),
            ("1d", 86_400_000_000),
        ] {
            assert_eq!(
                parse_duration(text).unwrap(),
                Duration::from_micros(micros),
                "{text}"
            );
        }
    }

    #[test]
    fn refuses_what_may_be_misread() {
        for text in [
            "",
            "30",
            "s",
            "5m",
            "5M",
            "1.5s",
            "-1s",
            "1h30min",
            "99999999999999999999",
        ] {
            let error = parse_duration(text).unwrap_err();
            assert_eq!(
                error.message(),
                "invalid duration: expected a whole number and a unit"
            );
        }
    }

    #[test]
    fn refuses_what_is_too_long() {
        for text in ["99999999999999999999s", "999999999999999999d", "213503983d"] {
            let error = parse_duration(text).unwrap_err();
            assert_eq!(error.message(), "invalid duration: too long");
        }
        assert!(parse_duration("213503982d").is_ok());
    }

    #[test]
    fn writes_what_it_reads() {
        for text in ["0s", "1us", "1500ms", "30s", "5min", "36h", "2d"] {
            assert_eq!(format_duration(parse_duration(text).unwrap()), text);
        }
    }
}
