//! Literals that PostgreSQL reads as values of the type that they meet.

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{DFSchema, Result, ScalarValue, not_impl_err, plan_err};
use datafusion::logical_expr::expr::Cast;
use datafusion::logical_expr::{Expr, ExprSchemable};

use super::functions::is_text;

/// A side of a comparison, of which the other side has this type.
pub(super) fn read(side: Expr, other: &DataType, schema: &DFSchema) -> Result<Expr> {
    if !is_text(&side.get_type(schema)?) {
        return Ok(side);
    }
    match other {
        DataType::Boolean
        | DataType::Binary
        | DataType::FixedSizeBinary(16)
        | DataType::Timestamp(_, None) => {
            let field = Field::new("", other.clone(), true);
            cast(side, field.into())
        }
        _ => Ok(side),
    }
}

/// A text as a value of this type.
pub(super) fn cast(text: Expr, to: FieldRef) -> Result<Expr> {
    let literal = match &text {
        Expr::Literal(value, _) => value.try_as_str().flatten(),
        _ => None,
    };
    match (to.data_type(), literal) {
        (DataType::Binary, Some(literal)) => Ok(value(ScalarValue::Binary(Some(bytea(literal)?)))),
        (DataType::FixedSizeBinary(16), Some(literal)) => Ok(value(ScalarValue::FixedSizeBinary(
            16,
            Some(uuid(literal)?),
        ))),
        (DataType::Binary | DataType::FixedSizeBinary(_), None) => not_impl_err!(
            "a cast of text to {}: cast it in the shards' query",
            match to.data_type() {
                DataType::Binary => "bytea",
                _ => "uuid",
            }
        ),
        // PostgreSQL leaves a zone in it aside, DataFusion moves the time by it.
        (DataType::Timestamp(_, None), Some(literal)) if has_zone(literal) => not_impl_err!(
            "a timestamp without time zone of {literal:?}, which has one: leave the zone out, or \
             cast to timestamptz"
        ),
        (DataType::Timestamp(_, None), None) => {
            not_impl_err!("a cast of text to timestamp: cast it in the shards' query")
        }
        _ => Ok(Expr::Cast(Cast::new_from_field(Box::new(text), to))),
    }
}

/// Makes sure that a pattern of LIKE does not end in the middle of an escape.
/// Source: `MatchText` in `src/backend/utils/adt/like_match.c`.
pub(super) fn check_pattern(pattern: &Expr) -> Result<()> {
    let Expr::Literal(value, _) = pattern else {
        return Ok(());
    };
    let pattern = value.try_as_str().flatten().unwrap_or_default();
    let escapes = pattern.len() - pattern.trim_end_matches('\\').len();
    match escapes % 2 {
        0 => Ok(()),
        _ => plan_err!("a LIKE pattern must not end with the escape character"),
    }
}

fn value(value: ScalarValue) -> Expr {
    Expr::Literal(value, None)
}

/// `\x` and hexadecimal digits, or bytes with escapes `\\` and `\ooo`.
/// Source: `byteain` in `src/backend/utils/adt/varlena.c`.
fn bytea(text: &str) -> Result<Vec<u8>> {
    let invalid = || plan_err!("invalid input syntax for type bytea: {text:?}");
    if let Some(digits) = text.strip_prefix("\\x") {
        let digits: Vec<_> = digits
            .bytes()
            .filter(|c| !c.is_ascii_whitespace())
            .collect();
        return hexadecimal(&digits).map_or_else(invalid, Ok);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = match (first, after) {
            (b'\\', [b'\\', after @ ..]) => {
                bytes.push(b'\\');
                after
            }
            (
                b'\\',
                [
                    a @ b'0'..=b'3',
                    b @ b'0'..=b'7',
                    c @ b'0'..=b'7',
                    after @ ..,
                ],
            ) => {
                bytes.push((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'));
                after
            }
            (b'\\', _) => return invalid(),
            (byte, after) => {
                bytes.push(*byte);
                after
            }
        };
    }
    Ok(bytes)
}

/// 32 hexadecimal digits, a hyphen allowed behind each group of four, all in braces or not.
/// Source: `string_to_uuid` in `src/backend/utils/adt/uuid.c`.
fn uuid(text: &str) -> Result<Vec<u8>> {
    let invalid = || plan_err!("invalid input syntax for type uuid: {text:?}");
    let inner = match text.strip_prefix('{') {
        Some(rest) => rest.strip_suffix('}'),
        None => Some(text),
    };
    let Some(inner) = inner else {
        return invalid();
    };
    let mut digits = Vec::with_capacity(32);
    let mut after_hyphen = false;
    for c in inner.bytes() {
        match c {
            b'-' if digits.len() % 4 == 0 && !after_hyphen && (1..32).contains(&digits.len()) => {
                after_hyphen = true;
            }
            b'-' => return invalid(),
            digit => {
                digits.push(digit);
                after_hyphen = false;
            }
        }
    }
    match hexadecimal(&digits) {
        Some(bytes) if bytes.len() == 16 => Ok(bytes),
        _ => invalid(),
    }
}

fn hexadecimal(digits: &[u8]) -> Option<Vec<u8>> {
    let digit = |c: u8| {
        char::from(c)
            .to_digit(16)
            .and_then(|d| u8::try_from(d).ok())
    };
    let (pairs, odd) = digits.as_chunks::<2>();
    let bytes = pairs
        .iter()
        .map(|[high, low]| Some(digit(*high)? * 16 + digit(*low)?))
        .collect::<Option<Vec<_>>>();
    bytes.filter(|_| odd.is_empty())
}

/// Whether a zone stands behind the time of day.
fn has_zone(text: &str) -> bool {
    let time = text.trim().get(10..).unwrap_or_default();
    time.contains(['+', '-', 'Z', 'z'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytea_is_read_as_postgres_reads_it() {
        for (text, bytes) in [
            ("", &b""[..]),
            ("\\x", b""),
            ("\\xfF00", b"\xff\0"),
            ("\\x de ad", b"\xde\xad"),
            ("abc", b"abc"),
            ("a\\\\b\\000\\377", b"a\\b\0\xff"),
        ] {
            assert_eq!(bytea(text).unwrap(), bytes, "{text}");
        }
        for text in ["\\xf", "\\xfg", "\\", "\\400", "\\12", "a\\b"] {
            assert!(bytea(text).is_err(), "{text}");
        }
    }

    #[test]
    fn uuid_is_read_as_postgres_reads_it() {
        let expected = uuid("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11").unwrap();
        for text in [
            "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11",
            "{a0eebc99-9c0b4ef8-bb6d6bb9-bd380a11}",
            "a0ee-bc99-9c0b-4ef8-bb6d-6bb9-bd38-0a11",
            "a0eebc999c0b4ef8bb6d6bb9bd380a11",
        ] {
            assert_eq!(uuid(text).unwrap(), expected, "{text}");
        }
        for text in [
            "",
            "a0eebc99",
            "{a0eebc999c0b4ef8bb6d6bb9bd380a11",
            "a0-eebc999c0b4ef8bb6d6bb9bd380a11",
        ] {
            assert!(uuid(text).is_err(), "{text}");
        }
    }

    #[test]
    fn zones_are_seen_behind_the_time() {
        for text in [
            "2024-02-29 12:00+02",
            "2024-02-29T12:00:00Z",
            "2024-02-29 12:00 -5",
        ] {
            assert!(has_zone(text), "{text}");
        }
        for text in ["2024-02-29", "2024-02-29 12:00:00", "infinity", ""] {
            assert!(!has_zone(text), "{text}");
        }
    }
}
