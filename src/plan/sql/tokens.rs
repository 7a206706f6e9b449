//! The tokens of a SQL text, as PostgreSQL's own scanner sees them.
//!
//! This follows `src/backend/parser/scan.l` (and, for `UESCAPE`, `parser.c`) with
//! `standard_conforming_strings` on, as it is pinned. Literals come with their value decoded, so
//! that `'a'`, `E'\x61'` and `$$a$$` are one token: the grammar cannot tell them apart either.

use std::borrow::Cow;
use std::fmt;

use crate::statement::{continuation, is_space, is_word_start};

/// A token and where it begins, as a byte offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::plan) struct Lexed<'a> {
    pub(in crate::plan) token: Token<'a>,
    pub(in crate::plan) at: usize,
    /// Where it ends, the escape character of a `U&'...'` included.
    pub(in crate::plan) end: usize,
}

/// What PostgreSQL's scanner hands to its grammar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::plan) enum Token<'a> {
    /// A keyword or an unquoted identifier, in lower case.
    Word(Cow<'a, str>),
    /// A quoted identifier.
    Quoted(String),
    /// A string; bytes, because `E'\xff'` may spell any.
    String(Vec<u8>),
    /// `B'...'` or `X'...'`, with the letter in lower case in front.
    Bits(String),
    /// A number, in lower case.
    Number(Cow<'a, str>),
    /// An operator; also one of a single character, and `=>`. `!=` comes as `<>`.
    Operator(&'a str),
    /// A bracket, comma, semicolon, full stop, colon, or `::`, `:=`, `..`.
    Symbol(&'a str),
    /// `$1`.
    Parameter(&'a str),
}

impl Token<'_> {
    /// Whether it is this keyword (in lower case) or an identifier spelled so.
    pub(in crate::plan) fn is_word(&self, word: &str) -> bool {
        matches!(self, Self::Word(found) if found == word)
    }

    pub(in crate::plan) fn is_symbol(&self, symbol: &str) -> bool {
        matches!(self, Self::Symbol(found) if *found == symbol)
    }
}

impl fmt::Display for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Word(word) | Self::Number(word) => f.write_str(word),
            Self::Quoted(name) => write!(f, "{name:?}"),
            Self::String(value) => write!(f, "'{}'", String::from_utf8_lossy(value)),
            Self::Bits(bits) => f.write_str(bits),
            Self::Operator(text) | Self::Symbol(text) | Self::Parameter(text) => f.write_str(text),
        }
    }
}

/// Takes a text apart; white space and comments are left out.
///
/// # Errors
/// Where the text does not lex, with a sentence for people.
pub(in crate::plan) fn tokens(sql: &str) -> Result<Vec<Lexed<'_>>, String> {
    let mut lexer = Lexer { sql, at: 0 };
    let mut tokens = Vec::new();
    while lexer.skip_blank()? {
        let at = lexer.at;
        lexer.token(at, &mut tokens)?;
    }
    Ok(tokens)
}

struct Lexer<'a> {
    sql: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.sql[self.at..]
    }

    /// Whether there is more.
    fn skip_blank(&mut self) -> Result<bool, String> {
        loop {
            let rest = self.rest();
            match rest.chars().next() {
                None => return Ok(false),
                Some(c) if is_space(c) => self.at += 1,
                _ if rest.starts_with("--") => {
                    self.at += rest.find(['\n', '\r']).unwrap_or(rest.len());
                }
                _ if rest.starts_with("/*") => self.skip_comment()?,
                _ => return Ok(true),
            }
        }
    }

    /// Comments nest.
    fn skip_comment(&mut self) -> Result<(), String> {
        let bytes = self.rest().as_bytes();
        let (mut at, mut depth) = (2, 1_usize);
        while depth > 0 {
            match bytes.get(at..at + 2) {
                Some(b"/*") => (at, depth) = (at + 2, depth + 1),
                Some(b"*/") => (at, depth) = (at + 2, depth - 1),
                Some(_) => at += 1,
                None => return Err("unterminated comment".to_owned()),
            }
        }
        self.at += at;
        Ok(())
    }

    fn token(&mut self, at: usize, tokens: &mut Vec<Lexed<'a>>) -> Result<(), String> {
        let rest = self.rest();
        let mut second = rest.chars();
        let first = second.next().unwrap_or_default();
        let second = second.next().unwrap_or_default();
        let token = match first {
            '\'' => Token::String(self.string(0, Escapes::None)?),
            'e' | 'E' if second == '\'' => Token::String(self.string(1, Escapes::Backslash)?),
            'b' | 'B' | 'x' | 'X' if second == '\'' => {
                let mut bits = first.to_ascii_lowercase().to_string();
                bits.push_str(&text(self.string(1, Escapes::None)?)?);
                Token::Bits(bits)
            }
            'n' | 'N' if second == '\'' => {
                self.at += 1;
                Token::Word("nchar".into())
            }
            'u' | 'U' if rest[1..].starts_with("&'") => {
                let raw = text(self.string(2, Escapes::None)?)?;
                let escape = self.uescape()?;
                Token::String(unicode(&raw, escape)?.into_bytes())
            }
            'u' | 'U' if rest[1..].starts_with("&\"") => {
                self.at += 2;
                let raw = self.identifier()?;
                let escape = self.uescape()?;
                Token::Quoted(unicode(&raw, escape)?)
            }
            '"' => Token::Quoted(self.identifier()?),
            '$' if second.is_ascii_digit() => {
                Token::Parameter(self.take(|c, _| c.is_ascii_digit(), 1))
            }
            '$' => Token::String(self.dollar()?),
            c if is_word_start(c) => Token::Word(lower(self.take(is_word_part, 0))),
            c if c.is_ascii_digit() || (c == '.' && second.is_ascii_digit()) => {
                Token::Number(lower(self.number()))
            }
            c if is_operator_part(c) => Token::Operator(self.operator()),
            c => {
                let len = match rest.get(..2) {
                    Some("::" | ":=" | "..") => 2,
                    _ => c.len_utf8(),
                };
                self.at += len;
                Token::Symbol(&rest[..len])
            }
        };
        let end = self.at;
        tokens.push(Lexed { token, at, end });
        Ok(())
    }

    /// As many characters as `accept` takes (it is given each with its offset), behind `skip` bytes.
    fn take(&mut self, accept: impl Fn(char, usize) -> bool, skip: usize) -> &'a str {
        let rest = self.rest();
        let len = rest[skip..]
            .char_indices()
            .find(|(at, c)| !accept(*c, skip + at))
            .map_or(rest.len(), |(at, _)| skip + at);
        self.at += len;
        &rest[..len]
    }

    /// `1`, `1.5`, `.5e-3`, `1_000`, `0x1f`. What PostgreSQL before 15 reads as a number with a word
    /// right behind it is one token.
    fn number(&mut self) -> &'a str {
        let bytes = self.rest().as_bytes();
        let digits = |mut at: usize| {
            while bytes
                .get(at)
                .is_some_and(|b| b.is_ascii_digit() || *b == b'_')
            {
                at += 1;
            }
            at
        };
        let mut at = digits(0);
        // In `1..2` the number ends before both full stops.
        if bytes.get(at) == Some(&b'.') && bytes.get(at + 1) != Some(&b'.') {
            at = digits(at + 1);
        }
        if matches!(bytes.get(at), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
            if bytes.get(at + 1 + sign).is_some_and(u8::is_ascii_digit) {
                at = digits(at + 1 + sign);
            }
        }
        self.take(|c, offset| offset < at || is_word_part(c, offset), 0)
    }

    /// The longest run of operator characters, less what begins a comment, and less signs at its end
    /// unless one of `~!@#^&|?%` and the back quote is in front: `a*-b` is `a * -b`.
    fn operator(&mut self) -> &'a str {
        let rest = self.rest();
        let mut len = rest
            .find(|c: char| !is_operator_part(c))
            .unwrap_or(rest.len());
        for comment in ["/*", "--"] {
            len = rest[..len].find(comment).unwrap_or(len);
        }
        while len > 1
            && rest[..len].ends_with(['+', '-'])
            && !rest[..len - 1].contains(['~', '!', '@', '#', '^', '&', '|', '`', '?', '%'])
        {
            len -= 1;
        }
        self.at += len;
        match &rest[..len] {
            "!=" => "<>",
            operator => operator,
        }
    }

    /// A quoted identifier.
    fn identifier(&mut self) -> Result<String, String> {
        let (value, len) = quoted(self.rest(), '"')?;
        self.at += len;
        Ok(value)
    }

    /// A literal behind `prefix` bytes; after a line break it may go on with another quote.
    fn string(&mut self, prefix: usize, escapes: Escapes) -> Result<Vec<u8>, String> {
        self.at += prefix;
        let mut value = Vec::new();
        loop {
            let rest = self.rest();
            let len = match escapes {
                Escapes::None => {
                    let (part, len) = quoted(rest, '\'')?;
                    value.extend_from_slice(part.as_bytes());
                    len
                }
                Escapes::Backslash => escaped(rest, &mut value)?,
            };
            self.at += len;
            match continuation(self.rest()) {
                Some(blank) => self.at += blank,
                None => return Ok(value),
            }
        }
    }

    /// `$tag$...$tag$`.
    fn dollar(&mut self) -> Result<Vec<u8>, String> {
        let rest = self.rest();
        let tag = rest[1..]
            .find(|c: char| !is_word_start(c) && !c.is_ascii_digit())
            .filter(|len| rest[1 + len..].starts_with('$'))
            .filter(|_| !rest[1..].starts_with(|c: char| c.is_ascii_digit()))
            .ok_or("a dollar sign that begins nothing")?;
        let (delimiter, body) = rest.split_at(tag + 2);
        let end = body
            .find(delimiter)
            .ok_or("unterminated dollar-quoted text")?;
        self.at += delimiter.len() + end + delimiter.len();
        Ok(body.as_bytes()[..end].to_vec())
    }

    /// The escape character of a `U&'...'` before the current place.
    fn uescape(&mut self) -> Result<char, String> {
        let end = self.at;
        self.skip_blank()?;
        let rest = self.rest();
        let word = rest
            .find(|c| !is_word_part(c, 1))
            .map_or(rest, |len| &rest[..len]);
        if !word.eq_ignore_ascii_case("uescape") {
            self.at = end;
            return Ok('\\');
        }
        self.at += word.len();
        self.skip_blank()?;
        if !self.rest().starts_with('\'') {
            return Err("UESCAPE without a string behind it".to_owned());
        }
        let escape = text(self.string(0, Escapes::None)?)?;
        let mut characters = escape.chars();
        match (characters.next(), characters.next()) {
            (Some(escape), None) => Ok(escape),
            _ => Err("UESCAPE with more or less than one character".to_owned()),
        }
    }
}

#[derive(Clone, Copy)]
enum Escapes {
    None,
    Backslash,
}

/// The value of a text in quotes, which are doubled inside, and its length with them.
pub(super) fn quoted(rest: &str, quote: char) -> Result<(String, usize), String> {
    let mut value = String::new();
    let mut characters = rest.char_indices().skip(1).peekable();
    while let Some((at, character)) = characters.next() {
        if character == quote && characters.next_if(|(_, next)| *next == quote).is_none() {
            return Ok((value, at + 1));
        }
        value.push(character);
    }
    Err("unterminated quoted text".to_owned())
}

/// Adds the value of `'...'` with backslashes, and gives its length.
pub(super) fn escaped(rest: &str, value: &mut Vec<u8>) -> Result<usize, String> {
    let mut characters = rest.char_indices().skip(1).peekable();
    let mut surrogate: Option<u32> = None;
    while let Some((at, character)) = characters.next() {
        let mut utf8 = [0; 4];
        if surrogate.is_some() && character != '\\' {
            return Err(HALF_A_PAIR.to_owned());
        }
        match character {
            '\'' if characters.next_if(|(_, next)| *next == '\'').is_none() => return Ok(at + 1),
            '\\' => {
                let (_, escape) = characters.next().ok_or("unterminated quoted text")?;
                let mut digits = |radix: u32, most: usize, mut number: u32| {
                    let mut count = 0;
                    while count < most {
                        let Some((_, digit)) = characters.next_if(|(_, c)| c.is_digit(radix))
                        else {
                            break;
                        };
                        number = number * radix + digit.to_digit(radix).unwrap_or_default();
                        count += 1;
                    }
                    (number, count)
                };
                match escape {
                    'b' => value.push(8),
                    'f' => value.push(12),
                    'n' => value.push(b'\n'),
                    'r' => value.push(b'\r'),
                    't' => value.push(b'\t'),
                    'v' => value.push(11),
                    '0'..='7' => {
                        let first = escape.to_digit(8).unwrap_or_default();
                        // As PostgreSQL's `strtoul` into one byte.
                        value.push((digits(8, 2, first).0 & 0xff) as u8);
                    }
                    'x' => match digits(16, 2, 0) {
                        (_, 0) => value.push(b'x'),
                        (number, _) => value.push(number as u8),
                    },
                    'u' | 'U' => {
                        let expected = if escape == 'u' { 4 } else { 8 };
                        let (number, count) = digits(16, expected, 0);
                        if count != expected {
                            return Err("an incomplete Unicode escape".to_owned());
                        }
                        if let Some(character) = code_point(number, &mut surrogate)? {
                            value.extend_from_slice(character.encode_utf8(&mut utf8).as_bytes());
                        }
                    }
                    other => value.extend_from_slice(other.encode_utf8(&mut utf8).as_bytes()),
                }
            }
            other => value.extend_from_slice(other.encode_utf8(&mut utf8).as_bytes()),
        }
    }
    Err("unterminated quoted text".to_owned())
}

/// The value of what stands in `U&'...'`.
fn unicode(raw: &str, escape: char) -> Result<String, String> {
    let mut value = String::new();
    let mut surrogate = None;
    let mut rest = raw;
    while let Some(character) = rest.chars().next() {
        rest = &rest[character.len_utf8()..];
        if surrogate.is_some() && character != escape {
            return Err(HALF_A_PAIR.to_owned());
        }
        if character != escape {
            value.push(character);
        } else if let Some(behind) = rest.strip_prefix(escape) {
            value.push(escape);
            rest = behind;
        } else {
            let (digits, count) = match rest.strip_prefix('+') {
                Some(digits) => (digits, 6),
                None => (rest, 4),
            };
            let number = digits
                .get(..count)
                .filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))
                .and_then(|digits| u32::from_str_radix(digits, 16).ok())
                .ok_or("an incomplete Unicode escape")?;
            value.extend(code_point(number, &mut surrogate)?);
            rest = &digits[count..];
        }
    }
    match surrogate {
        None => Ok(value),
        Some(_) => Err(HALF_A_PAIR.to_owned()),
    }
}

/// The character of an escape; `None` for the first half of a surrogate pair.
fn code_point(number: u32, surrogate: &mut Option<u32>) -> Result<Option<char>, String> {
    match (surrogate.take(), number) {
        (None, 0xd800..=0xdbff) => {
            *surrogate = Some(number);
            Ok(None)
        }
        (Some(high), 0xdc00..=0xdfff) => Ok(char::from_u32(
            0x1_0000 + ((high - 0xd800) << 10) + (number - 0xdc00),
        )),
        (None, _) => match char::from_u32(number) {
            Some('\0') | None => Err("a Unicode escape of no character".to_owned()),
            character => Ok(character),
        },
        (Some(_), _) => Err(HALF_A_PAIR.to_owned()),
    }
}

const HALF_A_PAIR: &str = "half of a Unicode surrogate pair";

fn is_operator_part(c: char) -> bool {
    "~!@#^&|`?+-*/%<>=".contains(c)
}

fn is_word_part(c: char, offset: usize) -> bool {
    is_word_start(c) || (offset > 0 && (c.is_ascii_digit() || c == '$'))
}

/// PostgreSQL folds only ASCII letters when the encoding is UTF-8.
fn lower(word: &str) -> Cow<'_, str> {
    match word.bytes().any(|byte| byte.is_ascii_uppercase()) {
        true => word.to_ascii_lowercase().into(),
        false => word.into(),
    }
}

fn text(bytes: Vec<u8>) -> Result<String, String> {
    String::from_utf8(bytes).map_err(|_| "text that is not UTF-8".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(sql: &str) -> String {
        let tokens = tokens(sql).unwrap();
        let tokens: Vec<_> = tokens.iter().map(|lexed| lexed.token.to_string()).collect();
        tokens.join("|")
    }

    #[test]
    fn tokens_are_those_of_the_scanner() {
        for (sql, expected) in [
            (
                "SELECT É.\"a\"\"B\" -- x\n/* /* y */ */ , b$1",
                r#"select|É|.|"a\"B"|,|b$1"#,
            ),
            (
                "1 1.5 .5 1. 1e5 1.5E-3 0x1F 1_000 1..2",
                "1|1.5|.5|1.|1e5|1.5e-3|0x1f|1_000|1|..|2",
            ),
            (
                "a*-b a<-b a<@-b @- - a--b",
                "a|*|-|b|a|<|-|b|a|<@-|b|@-|-|a",
            ),
            (
                "a!=b a<>b a=>b a>=-1 a=-1 ~-1",
                "a|<>|b|a|<>|b|a|=>|b|a|>=|-|1|a|=|-|1|~-|1",
            ),
            (
                "a::int[1:2] a:=b $1 a+/*c*/b",
                "a|::|int|[|1|:|2|]|a|:=|b|$1|a|+|b",
            ),
            (
                "'a''b' 'a\\' E'a\\'b' E'\\x41\\102\\u0043\\n'",
                "'a'b'|'a\\'|'a'b'|'ABC\n'",
            ),
            ("'a'\n 'b' E'a' -- c\n '\\t' 'a' 'b'", "'ab'|'a\t'|'a'|'b'"),
            (
                "$$a'b$$ $x$ $$ $x$ n'a' b'01' X'fF'",
                "'a'b'|' $$ '|nchar|'a'|b01|xfF",
            ),
            (
                "U&'d\\0061t\\+000061' U&'!0041' uescape '!' U&\"\\0061\"",
                "'data'|'A'|\"a\"",
            ),
            ("U&'\\D83D\\DE00' E'\\uD83D\\uDE00'", "'😀'|'😀'"),
        ] {
            assert_eq!(shown(sql), expected, "{sql}");
        }
    }

    #[test]
    fn what_does_not_lex_is_an_error() {
        for sql in [
            "'a",
            "\"a",
            "/* /* */",
            "$x$ $y$",
            "E'\\u12'",
            "U&'\\12'",
            "U&'\\D800x'",
            "$",
        ] {
            assert!(tokens(sql).is_err(), "{sql}");
        }
    }
}
