//! Sizes as text.

/// The units, with their length in bytes. `kB` and its like are decimal, as the SI has them.
const UNITS: [(&str, u64); 9] = [
    ("", 1),
    ("b", 1),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
];

/// Reads a number of bytes such as `1GiB`, `256MB` or `1048576`; the unit in upper or lower case.
pub(crate) fn parse_bytes(text: &str) -> Result<usize, String> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim_start().to_ascii_lowercase();
    let bytes = number.parse::<u64>().ok().and_then(|number| {
        let (_, length) = UNITS.iter().find(|(name, _)| *name == unit)?;
        usize::try_from(number.checked_mul(*length)?).ok()
    });
    match bytes {
        Some(0) => Err("expected more than 0 bytes".to_owned()),
        Some(bytes) => Ok(bytes),
        None => Err("expected a whole number and a unit, such as 1GiB, 256MB or 64KiB".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_decimal_and_binary_units() {
        for (text, bytes) in [
            ("1048576", 1 << 20),
            ("1B", 1),
            ("256MB", 256_000_000),
            ("64 KiB", 64 << 10),
            ("1gib", 1 << 30),
        ] {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
        for text in ["", "MB", "1.5GiB", "-1", "1 XB", "0", "99999999999TiB"] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
    }
}
