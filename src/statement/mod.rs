//! What has to be known of a SQL text that is sent verbatim: where its statement ends, what it
//! begins with, and where its parameters are.
//!
//! Not a parser: PostgreSQL is asked what the text means. This follows the lexical rules of
//! `src/backend/parser/scan.l`, with `standard_conforming_strings` on, as it is pinned.

mod no_query;
#[cfg(feature = "datafusion")]
mod ranged;

use std::collections::BTreeSet;
use std::ops::Range;

use crate::error::{Error, ErrorKind, Result};
#[cfg(feature = "datafusion")]
pub(crate) use ranged::{END, Ranged};

/// What a query begins with, in lower case.
const QUERIES: [&str; 4] = ["select", "with", "values", "table"];

/// A single statement, as the user wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Statement {
    text: String,
    /// Where each `$n` is in the text, and n.
    parameters: Vec<(Range<usize>, usize)>,
}

impl Statement {
    /// Takes a text apart.
    ///
    /// # Errors
    /// [`ErrorKind::Syntax`] for no statement or several, and for a quote or comment that does not
    /// end; [`ErrorKind::Unsupported`] for a statement that is no query.
    pub(crate) fn parse(sql: &str) -> Result<Self> {
        if let Some(at) = sql.find('\0') {
            return Err(Error::new(
                ErrorKind::Syntax,
                format!("the text has a zero byte: {}", excerpt(sql, at)),
            ));
        }
        let mut lexer = Lexer { sql, at: 0 };
        let mut parameters = Vec::new();
        let mut first: Option<Range<usize>> = None;
        let mut end: Option<usize> = None;
        while let Some((token, range)) = lexer.next()? {
            match (token, end) {
                (Token::Blank, _) => {}
                (Token::Semicolon, None) => end = Some(range.start),
                (Token::Semicolon, Some(_)) => {}
                (_, Some(_)) => {
                    // What is no query has a way out of its own: `SET x = 1; SELECT ...`.
                    check_query(sql, first)?;
                    return Err(Error::new(
                        ErrorKind::Syntax,
                        format!(
                            "the text has more than one statement: {}",
                            excerpt(sql, range.start)
                        ),
                    )
                    .with_hint("give one SELECT statement; run the others on their own"));
                }
                (token, None) => {
                    if first.is_none() && sql[range.clone()] != *"(" {
                        // Behind the parentheses of `(SELECT ...) UNION ...`.
                        first = Some(range.clone());
                    }
                    if let Token::Parameter(number) = token {
                        parameters.push((range, number));
                    }
                }
            }
        }
        check_query(sql, first)?;
        Ok(Self {
            text: sql[..end.unwrap_or(sql.len())].to_owned(),
            parameters,
        })
    }

    /// The statement without the semicolon behind it.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Checks that PostgreSQL sees as many parameters as were found in the text. Should the two ever
    /// read the text differently, no value is written into it.
    ///
    /// # Errors
    /// [`ErrorKind::Syntax`] if they differ.
    pub(crate) fn check_parameters(&self, count: usize) -> Result<()> {
        let found: BTreeSet<_> = self.parameters.iter().map(|(_, number)| *number).collect();
        match found.into_iter().eq(1..=count) {
            true => Ok(()),
            false => Err(Error::new(
                ErrorKind::Syntax,
                format!("the query has {count} parameters, but they cannot be found in its text"),
            )
            .with_hint("write the query without unusual quoting near $1, $2, ...")),
        }
    }

    /// The statement with each `$n` replaced by `values[n - 1]`, in parentheses.
    pub(crate) fn with_parameters(&self, values: &[String]) -> Result<String> {
        self.replaced(|number| {
            let value = number.checked_sub(1).and_then(|index| values.get(index));
            value
                .cloned()
                .ok_or_else(|| Error::new(ErrorKind::Config, format!("no value for ${number}")))
        })
    }

    fn replaced(&self, by: impl Fn(usize) -> Result<String>) -> Result<String> {
        let mut text = String::with_capacity(self.text.len());
        let mut copied = 0;
        for (range, number) in &self.parameters {
            text.push_str(&self.text[copied..range.start]);
            text.push('(');
            text.push_str(&by(*number)?);
            text.push(')');
            copied = range.end;
        }
        text.push_str(&self.text[copied..]);
        Ok(text)
    }
}

/// The statement with each parameter `$n` cast to `types[n - 1]`, so that its value is of that type wherever it
/// stands; of `None`, and of those beyond, PostgreSQL finds the type. The types are written as they stand in SQL.
///
/// ```
/// let sql = merganser::cast_parameters("select $1, $2", &[Some("int8"), None])?;
/// assert_eq!(sql, "select ($1::int8), ($2)");
/// # Ok::<(), merganser::Error>(())
/// ```
///
/// # Errors
/// [`ErrorKind::Syntax`] for no statement, several, or one whose quotes do not end.
pub fn cast_parameters(sql: &str, types: &[Option<&str>]) -> Result<String> {
    let statement = Statement::parse(sql)?;
    statement.replaced(|number| {
        let name = number.checked_sub(1).and_then(|index| types.get(index));
        Ok(match name.copied().flatten() {
            Some(name) => format!("${number}::{name}"),
            None => format!("${number}"),
        })
    })
}

/// Line and column, both from 1, of the character at `position` (from 1), and that line.
pub(crate) fn locate(sql: &str, position: u32) -> Option<(usize, usize, &str)> {
    let before = usize::try_from(position).ok()?.checked_sub(1)?;
    let offset = sql
        .char_indices()
        .nth(before)
        .map_or(sql.len(), |(at, _)| at);
    let start = sql[..offset].rfind('\n').map_or(0, |at| at + 1);
    let line = sql[..offset].matches('\n').count() + 1;
    let column = sql[start..offset].chars().count() + 1;
    Some((
        line,
        column,
        sql[start..].lines().next().unwrap_or_default(),
    ))
}

/// The name at this column (from 1) of a line, as it is written, if it is folded to small letters;
/// of a qualified name the part that has capitals.
pub(crate) fn folded_name(line: &str, column: usize) -> Option<&str> {
    let (start, _) = line.char_indices().nth(column.checked_sub(1)?)?;
    let rest = &line[start..];
    let end = rest
        .find(|c: char| !is_word_start(c) && !c.is_ascii_digit() && !matches!(c, '$' | '.'))
        .unwrap_or(rest.len());
    rest[..end]
        .split('.')
        .rfind(|part| part.bytes().any(|byte| byte.is_ascii_uppercase()))
}

/// Whether the statement is a query, by its first token.
fn check_query(sql: &str, first: Option<Range<usize>>) -> Result<()> {
    let Some(range) = first else {
        return Err(Error::new(ErrorKind::Syntax, "the text has no statement")
            .with_hint("give one SELECT statement"));
    };
    let (first, rest) = (&sql[range.clone()], &sql[range.end..]);
    match QUERIES.iter().any(|it| first.eq_ignore_ascii_case(it)) {
        true => Ok(()),
        false => Err(no_query::refusal(first, rest)),
    }
}

/// The place at `offset`, for a message; line and column from 1.
fn excerpt(sql: &str, offset: usize) -> String {
    let before = &sql[..offset];
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    let start: String = sql[offset..].chars().take(30).collect();
    format!("line {line}, column {column}, at {start:?}")
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    /// White space or a comment.
    Blank,
    Semicolon,
    Parameter(usize),
    Word,
    Other,
}

struct Lexer<'a> {
    sql: &'a str,
    at: usize,
}

impl Lexer<'_> {
    fn next(&mut self) -> Result<Option<(Token, Range<usize>)>> {
        let start = self.at;
        let rest = &self.sql[start..];
        let Some(first) = rest.chars().next() else {
            return Ok(None);
        };
        let (token, len) = match first {
            c if is_space(c) => (Token::Blank, 1),
            '-' if rest.starts_with("--") => {
                let len = rest.find(['\n', '\r']).unwrap_or(rest.len());
                (Token::Blank, len)
            }
            '/' if rest.starts_with("/*") => (Token::Blank, self.comment(rest)?),
            ';' => (Token::Semicolon, 1),
            '\'' => (Token::Other, self.quoted(rest, '\'', false)?),
            '"' => (Token::Other, self.quoted(rest, '"', false)?),
            '$' => self.dollar(rest)?,
            'e' | 'E' if rest[1..].starts_with('\'') => (Token::Other, self.escaped(rest)?),
            c if is_word_start(c) || c.is_ascii_digit() => {
                // A number such as 1e5, or an identifier; $ may be inside an identifier.
                let len = rest
                    .find(|c: char| !is_word_start(c) && !c.is_ascii_digit() && c != '$')
                    .unwrap_or(rest.len());
                (Token::Word, len)
            }
            c => (Token::Other, c.len_utf8()),
        };
        self.at += len;
        Ok(Some((token, start..self.at)))
    }

    /// The length of a quoted text; its quote is doubled inside.
    fn quoted(&self, rest: &str, quote: char, backslashes: bool) -> Result<usize> {
        let mut characters = rest.char_indices().skip(1).peekable();
        while let Some((at, character)) = characters.next() {
            if backslashes && character == '\\' {
                characters.next();
            } else if character == quote {
                match characters.peek() {
                    Some((_, next)) if *next == quote => {
                        characters.next();
                    }
                    _ => return Ok(at + 1),
                }
            }
        }
        Err(match quote {
            '"' => self.unterminated(
                "quoted name",
                "a name ends with another \"; a \" within it is doubled",
            ),
            _ => self.unterminated(
                "quoted text",
                "a text ends with another '; a ' within it is doubled: 'O''Brien'",
            ),
        })
    }

    /// The length of an `E'...'`; after a line break it may go on with another quote, and with it
    /// the meaning of backslashes.
    fn escaped(&self, rest: &str) -> Result<usize> {
        let mut len = 1;
        loop {
            len += self.quoted(&rest[len..], '\'', true)?;
            match continuation(&rest[len..]) {
                Some(blank) => len += blank,
                None => return Ok(len),
            }
        }
    }

    /// The length of a comment; comments nest.
    fn comment(&self, rest: &str) -> Result<usize> {
        let bytes = rest.as_bytes();
        let (mut at, mut depth) = (2, 1_usize);
        while depth > 0 {
            match bytes.get(at..at + 2) {
                Some(b"/*") => (at, depth) = (at + 2, depth + 1),
                Some(b"*/") => (at, depth) = (at + 2, depth - 1),
                Some(_) => at += 1,
                None => {
                    return Err(self.unterminated(
                        "comment",
                        "it ends with */, once for each /* within it: comments nest",
                    ));
                }
            }
        }
        Ok(at)
    }

    /// A parameter, a dollar-quoted text, or just the sign.
    fn dollar(&self, rest: &str) -> Result<(Token, usize)> {
        let digits = rest[1..].bytes().take_while(u8::is_ascii_digit).count();
        if digits > 0 {
            let number = rest[1..=digits].parse().map_err(|_| {
                Error::new(
                    ErrorKind::Syntax,
                    format!("no such parameter {}", &rest[..=digits]),
                )
            })?;
            return Ok((Token::Parameter(number), 1 + digits));
        }
        let tag = rest[1..]
            .find(|c: char| !is_word_start(c) && !c.is_ascii_digit())
            .filter(|len| rest[1 + len..].starts_with('$'));
        let Some(tag) = tag else {
            return Ok((Token::Other, 1));
        };
        let (delimiter, body) = rest.split_at(tag + 2);
        match body.find(delimiter) {
            Some(end) => Ok((Token::Other, delimiter.len() + end + delimiter.len())),
            None => Err(self.unterminated(
                "dollar-quoted text",
                &format!("it ends with another {delimiter}, spelt the same"),
            )),
        }
    }

    /// `self.at` is where it was opened.
    fn unterminated(&self, what: &str, cure: &str) -> Error {
        Error::new(
            ErrorKind::Syntax,
            format!(
                "unterminated {what}, opened in {}",
                excerpt(self.sql, self.at)
            ),
        )
        .with_hint(cure)
    }
}

/// `space` of `scan.l`.
pub(crate) fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c')
}

/// How many blanks and comments lie between a literal's end and the quote with which it goes on:
/// there has to be a line break among them (`quotecontinue` in `scan.l`).
pub(crate) fn continuation(behind: &str) -> Option<usize> {
    let (mut at, mut line_break) = (0, false);
    loop {
        let rest = &behind[at..];
        match rest.chars().next()? {
            c if is_space(c) => {
                line_break |= matches!(c, '\n' | '\r');
                at += 1;
            }
            '-' if rest.starts_with("--") => at += rest.find(['\n', '\r'])?,
            '\'' if line_break => return Some(at),
            _ => return None,
        }
    }
}

pub(crate) fn is_word_start(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_' || !c.is_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(sql: &str) -> String {
        Statement::parse(sql).unwrap().text
    }

    fn error(sql: &str) -> Error {
        Statement::parse(sql).unwrap_err()
    }

    #[test]
    fn a_statement_ends_at_its_semicolon() {
        assert_eq!(text("select 1"), "select 1");
        assert_eq!(text("select 1 ; -- done\n;"), "select 1 ");
        assert_eq!(text("(select ';')"), "(select ';')");
        assert_eq!(
            text("/* ; /* ; */ */ VALUES (1);"),
            "/* ; /* ; */ */ VALUES (1)"
        );
        assert_eq!(text("select $a$ ; $b$ ; $a$"), "select $a$ ; $b$ ; $a$");
        assert_eq!(text(r"select E'\';', ';'"), r"select E'\';', ';'");
        assert_eq!(text(r"select '\' ;"), r"select '\' ");
        let continued = "select E'a' \n '\\';', $x$;$x$";
        assert_eq!(text(&format!("{continued};")), continued);
        assert_eq!(text("table t -- all of it"), "table t -- all of it");
    }

    #[test]
    fn an_escaping_literal_goes_on_over_lines_and_comments() {
        for between in ["\n", " \t\r\n ", " -- c\n", "\n-- c\n", "-- a\n -- b\n\n"] {
            let sql = format!(r"select E'a'{between}'\' $1 \'', $1");
            let parameters = Statement::parse(&sql).unwrap().parameters;
            assert_eq!(parameters.len(), 1, "{sql}");
            assert_eq!(parameters[0].0.end, sql.len(), "{sql}");
        }
        // Without a line break it has ended, and the backslash in the next is none.
        let other = Statement::parse(r"select E'a' '\' $1 \'', $1").unwrap();
        assert_eq!(other.parameters.len(), 2);
    }

    #[test]
    fn a_text_that_postgresql_reads_otherwise_takes_no_values() {
        let statement = Statement::parse("select $1, $3").unwrap();
        assert!(statement.check_parameters(3).is_err());
        assert!(statement.check_parameters(2).is_err());
        let statement = Statement::parse("select $2, $1, $2").unwrap();
        assert!(statement.check_parameters(2).is_ok());
    }

    #[test]
    fn several_statements_and_none_are_refused() {
        let several = error("select 1;\nselect 2");
        assert_eq!(several.kind(), ErrorKind::Syntax);
        assert!(
            several
                .message()
                .contains("line 2, column 1, at \"select 2\""),
            "{several}"
        );
        let first = error("set work_mem = '1GB'; select 1");
        assert!(first.hint().unwrap().contains("[session"), "{first:?}");
        for nothing in ["", " ; ", "-- x", "/* y */", ";select 1"] {
            assert!(
                error(nothing).message().contains("no statement"),
                "{nothing:?}"
            );
        }
        assert!(error("select '\0'").message().contains("zero byte"));
        for open in [
            "select 'a",
            "select \"a",
            "select /* /* */",
            "select $x$ $y$",
        ] {
            assert!(error(open).message().contains("unterminated"), "{open:?}");
        }
        for (open, what, place) in [
            (
                "select 1,\n  'a",
                "quoted text",
                "line 2, column 3, at \"'a\"",
            ),
            ("select \"é\", \"A", "quoted name", "line 1, column 13"),
            ("select 1 /* /* */\n", "comment", "line 1, column 10"),
            ("select\n$x$ $y$", "dollar-quoted text", "line 2, column 1"),
            ("select E'\\'", "quoted text", "line 1, column 8"),
        ] {
            let error = error(open);
            let message = error.message();
            assert!(
                message.contains(what) && message.contains(place),
                "{message}"
            );
            assert!(error.hint().is_some());
        }
    }

    #[test]
    fn what_is_no_query_is_refused() {
        for sql in [
            "insert into t values (1)",
            "-- x\ncopy t to stdout",
            "explain select 1",
        ] {
            let error = error(sql);
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{sql}");
            assert!(error.hint().is_some());
        }
    }

    #[test]
    fn parameters_are_found_where_they_are_parameters() {
        let statement =
            Statement::parse("select $1, '$1', $2x$1 -- $1\n, a$1, $10, $q$ $1 $q$").unwrap();
        let numbers: Vec<_> = statement
            .parameters
            .iter()
            .map(|(_, number)| *number)
            .collect();
        assert_eq!(numbers, [1, 2, 10]);
        let statement = Statement::parse("select $1+$2").unwrap();
        let values = ["E'a$2'".to_owned(), "E'b'".to_owned()];
        assert_eq!(
            statement.with_parameters(&values).unwrap(),
            "select (E'a$2')+(E'b')"
        );
        assert!(statement.with_parameters(&values[..1]).is_err());
        assert!(
            Statement::parse("select $0")
                .unwrap()
                .with_parameters(&values)
                .is_err()
        );
    }

    #[test]
    fn positions_become_lines_and_columns() {
        assert_eq!(locate("select é x\nfrm t", 12), Some((2, 1, "frm t")));
        assert_eq!(locate("select é x", 10), Some((1, 10, "select é x")));
        assert_eq!(locate("a", 99), Some((1, 2, "a")));
        assert_eq!(locate("a", 0), None);
    }

    #[test]
    fn names_with_capitals_are_found_where_they_are_folded() {
        assert_eq!(folded_name("from é.Product p", 6), Some("Product"));
        assert_eq!(folded_name("from Sales.orders", 6), Some("Sales"));
        assert_eq!(folded_name("from product", 6), None);
        assert_eq!(folded_name("from \"Product\"", 6), None);
        assert_eq!(folded_name("from", 9), None);
    }
}
