//! The one place that turns a value into SQL.

use crate::error::{Error, ErrorKind, Result};

/// A string literal that means `value` to PostgreSQL whatever `standard_conforming_strings` is.
///
/// It is of the form `E'...'`, in which a backslash is always an escape, and doubles backslashes
/// and quotes. That is safe because the client encoding is pinned to UTF-8, where no byte of a
/// longer character is a quote or a backslash. Source: PostgreSQL documentation, "String Constants
/// with C-Style Escapes"; libpq's `PQescapeLiteral` does the same.
///
/// # Errors
/// [`ErrorKind::Config`] for a zero byte, which no text in PostgreSQL can hold.
pub(crate) fn literal(value: &str) -> Result<String> {
    if value.contains('\0') {
        return Err(Error::new(
            ErrorKind::Config,
            "the value holds a zero byte, which PostgreSQL's text cannot",
        )
        .with_hint("pass such data as bytea, in the form \\x00"));
    }
    let mut quoted = String::with_capacity(value.len() + 3);
    quoted.push_str("E'");
    for character in value.chars() {
        if matches!(character, '\'' | '\\') {
            quoted.push(character);
        }
        quoted.push(character);
    }
    quoted.push('\'');
    Ok(quoted)
}

/// A quoted identifier.
pub(crate) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The name for people: quoted only where it has to be, or may have to be. Not for SQL that is sent: a
/// keyword needs quotes too.
pub(crate) fn readable(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    match plain {
        true => name.to_owned(),
        false => identifier(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_escape_quotes_and_backslashes() {
        assert_eq!(literal("").unwrap(), "E''");
        assert_eq!(literal("O'Neil").unwrap(), "E'O''Neil'");
        assert_eq!(literal(r"a\'b").unwrap(), r"E'a\\''b'");
        assert_eq!(literal("é\n$1 -- x").unwrap(), "E'é\n$1 -- x'");
        let error = literal("a\0").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.message().contains("zero byte"));
    }

    #[test]
    fn identifiers_double_their_quotes() {
        assert_eq!(identifier("a\"b"), "\"a\"\"b\"");
    }
}
