//! What the parser cannot read, written as what it can.
//!
//! PostgreSQL has several ways to write some things, and the parser knows one. They are exchanged
//! token by token, each for what PostgreSQL's own grammar makes the same tree of:
//!
//! | written | read as |
//! |---|---|
//! | `TABLE t` | `SELECT * FROM t` (`simple_select` in `src/backend/parser/gram.y`) |
//! | `ORDER BY x USING <`, `USING OPERATOR(pg_catalog.>)` | `ORDER BY x ASC`, `DESC` |
//! | `ORDER BY x USING ~<~` | the same, with a [mark](super::marks) |
//! | `GROUP BY DISTINCT a` | `GROUP BY "\0BY DISTINCT ", a`: a [mark](super::marks), which binding takes away |
//! | `x::int ARRAY`, `x::int ARRAY[3]` | `x::int []`, `x::int [3]` (`Typename`) |
//! | `x ISNULL` | `x IS NULL` |
//! | `FOR NO KEY UPDATE`, `FOR KEY SHARE` | `FOR UPDATE`, `FOR SHARE`, which are refused as all row locks are |
//! | `x LIKE ALL (a)`, with ILIKE, with NOT, with ANY or SOME | `x ~~ ALL (a)`, `~~*`, `!~~`, `!~~*` (`subquery_Op`) |
//! | `'a'` and `'b'` on the next line, `U&'\0061'`, `U&'!0061' UESCAPE '!'`, `$x$a$b$x$` | `'ab'`, `'a'`, `'a'`, `'a$b'` |
//! | `U&"\0061"` | `"a"` |
//! | `RANGE '2 days' PRECEDING` | `RANGE ('2 days') PRECEDING` |
//! | `interval(3) '1.5'` | `CAST('1.5' AS interval(3))` (`AexprConst`) |
//! | `a *<> b` | `a OPERATOR(*<>) b` (`qual_Op`) |
//! | `@ a`, `~ a` | `OPERATOR(@) a`, `OPERATOR(~) a` (`qual_Op`) |
//! | `COLLATION FOR (x)` | `pg_catalog.pg_collation_for(x)` (`func_expr_common_subexpr`) |
//! | `top`, `sort`, ... | `"top"`, `"sort"`: words that are none of PostgreSQL's keywords |
//! | `pg_catalog.substring(x, 2)` | `pg_catalog."substring"(x, 2)` |
//! | `(x).*` | `(x)."\0*"`, which becomes `(x).*` again in the tree: [`ALL_FIELDS`] |
//!
//! The modules `clauses`, `rare` and `xml` list more, which take brackets to find.
//!
//! Places in the text that is read are known as places in the user's.

use std::borrow::Cow;

use super::change::Change;
use super::clauses;
use super::marks::{self, ALL_FIELDS, USING, distinct_groups};
use super::tokens::{Lexed, Token, quoted, tokens};

/// A text that the parser reads, and where it differs from the user's.
#[derive(Debug)]
pub(super) struct Plain<'a> {
    user: &'a str,
    pub(super) text: Cow<'a, str>,
    /// What was exchanged, in order.
    edits: Vec<Edit>,
}

/// Something that was exchanged.
#[derive(Debug, Clone, Copy)]
struct Edit {
    /// Where it begins in the text that is read, and where it ends.
    from: usize,
    to: usize,
    /// The same in the user's.
    user_from: usize,
    user_to: usize,
}

impl<'a> Plain<'a> {
    /// # Errors
    /// Where the text does not lex.
    pub(super) fn of(user: &'a str) -> Result<Self, String> {
        let lexed = tokens(user)?;
        let mut changes: Vec<_> = (0..lexed.len())
            .filter_map(|at| exchanged(&lexed, at, user))
            .chain(clauses::changes(&lexed, user))
            .collect();
        // In the order of the text: what is put in comes before what is exchanged there, and what is
        // longer takes what is inside with it.
        changes.sort_by_key(|change| {
            let is_exchange = change.to > change.from;
            (change.from, is_exchange, std::cmp::Reverse(change.to))
        });
        let mut text = String::new();
        let mut edits = Vec::new();
        let mut copied = 0;
        for change in changes {
            if change.from < copied {
                continue;
            }
            text.push_str(&user[copied..change.from]);
            let from = text.len();
            text.push_str(&change.text);
            edits.push(Edit {
                from,
                to: text.len(),
                user_from: change.from,
                user_to: change.to,
            });
            copied = change.to;
        }
        if edits.is_empty() {
            return Ok(Self {
                user,
                text: Cow::Borrowed(user),
                edits,
            });
        }
        text.push_str(&user[copied..]);
        Ok(Self {
            user,
            text: Cow::Owned(text),
            edits,
        })
    }

    /// Line and column, from 1, in the user's text, of what is at an offset of the text that is read.
    pub(super) fn place(&self, offset: usize) -> (usize, usize) {
        let offset = self.user_offset(offset).min(self.user.len());
        let before = self.user.get(..offset).unwrap_or(self.user);
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = before.matches('\n').count() + 1;
        (line, before[start..].chars().count() + 1)
    }

    /// The same of a line and column of the text that is read.
    pub(super) fn place_of(&self, line: usize, column: usize) -> (usize, usize) {
        let start: usize = self
            .text
            .split_inclusive('\n')
            .take(line.saturating_sub(1))
            .map(str::len)
            .sum();
        let rest = &self.text[start.min(self.text.len())..];
        let within = rest.char_indices().nth(column.saturating_sub(1));
        self.place(start + within.map_or(rest.len(), |(at, _)| at))
    }

    fn user_offset(&self, offset: usize) -> usize {
        let before = self.edits.iter().rev().find(|edit| edit.from <= offset);
        match before {
            None => offset,
            Some(edit) if offset < edit.to => edit.user_from,
            Some(edit) => edit.user_to + (offset - edit.to),
        }
    }
}

/// What the tokens from here on are exchanged for.
fn exchanged(lexed: &[Lexed<'_>], at: usize, user: &str) -> Option<Change> {
    let (count, text) = exchange(lexed, at, user)?;
    Some(Change {
        from: lexed.get(at)?.at,
        to: lexed.get(at + count - 1)?.end,
        text,
    })
}

/// How many tokens from here on are exchanged, and for what.
fn exchange(lexed: &[Lexed<'_>], at: usize, user: &str) -> Option<(usize, String)> {
    let this = lexed.get(at)?;
    let before = at.checked_sub(1).and_then(|at| lexed.get(at));
    let before = before.map(|lexed| &lexed.token);
    let behind = |ahead: usize| lexed.get(at + ahead).map(|lexed| &lexed.token);
    let written = user.get(this.at..this.end)?;
    match &this.token {
        Token::Word(word) => match word.as_ref() {
            "table" if begins_query(before, behind(1)) => Some((1, "SELECT * FROM".to_owned())),
            "using" => match (behind(1)?, behind(3), behind(5)) {
                (Token::Operator("<"), ..) => Some((2, "ASC".to_owned())),
                (Token::Operator(">"), ..) => Some((2, "DESC".to_owned())),
                (Token::Operator(symbol), ..) => {
                    Some((2, format!("{} OPERATOR({symbol})", marks::quoted(USING))))
                }
                (operator, Some(schema), Some(Token::Operator(symbol @ ("<" | ">"))))
                    if operator.is_word("operator") && schema.is_word("pg_catalog") =>
                {
                    let order = if *symbol == "<" { "ASC" } else { "DESC" };
                    Some((7, order.to_owned()))
                }
                (operator, ..) if operator.is_word("operator") && opens(behind(2)) => {
                    Some((1, marks::quoted(USING)))
                }
                _ => None,
            },
            "distinct" if is_group_by(lexed, at) => Some((1, distinct_groups())),
            "for" if is_word(behind(1), &["no"]) && is_word(behind(3), &["update"]) => {
                Some((4, "FOR UPDATE".to_owned()))
            }
            "for" if is_word(behind(1), &["key"]) && is_word(behind(2), &["share"]) => {
                Some((3, "FOR SHARE".to_owned()))
            }
            "array" if is_type(lexed, at) => match behind(1) {
                Some(Token::Symbol("[")) => Some((1, String::new())),
                _ => Some((1, "[]".to_owned())),
            },
            "isnull" if ends_operand(before) && !opens(behind(1)) => {
                Some((1, "IS NULL".to_owned()))
            }
            "not" if is_like_of_many(behind(1), behind(2), behind(3)) => {
                let operator = if is_word(behind(1), &["like"]) {
                    "!~~"
                } else {
                    "!~~*"
                };
                Some((2, operator.to_owned()))
            }
            "like" if is_like_of_many(Some(&this.token), behind(1), behind(2)) => {
                Some((1, "~~".to_owned()))
            }
            "ilike" if is_like_of_many(Some(&this.token), behind(1), behind(2)) => {
                Some((1, "~~*".to_owned()))
            }
            "collation" if is_word(behind(1), &["for"]) && opens(behind(2)) => {
                Some((2, "pg_catalog.pg_collation_for".to_owned()))
            }
            "interval" if opens(behind(1)) => match (behind(2)?, behind(3)?, behind(4)?) {
                (Token::Number(digits), Token::Symbol(")"), Token::String(value)) => {
                    let literal = literal(value)?;
                    Some((5, format!("CAST({literal} AS interval({digits}))")))
                }
                _ => None,
            },
            word if NO_KEYWORDS.contains(&word) && !opens(behind(1)) => {
                Some((1, format!("\"{word}\"")))
            }
            word if FUNCTIONS.contains(&word)
                && opens(behind(1))
                && matches!(before, Some(Token::Symbol("."))) =>
            {
                Some((1, format!("\"{word}\"")))
            }
            _ => None,
        },
        Token::Operator("*") if is_all_fields(lexed, at) => Some((1, format!("\"{ALL_FIELDS}\""))),
        // Not within OPERATOR(..) itself.
        Token::Operator(symbol)
            if symbol.len() > 1
                && symbol.starts_with(['*', '='])
                && *symbol != "=>"
                && !matches!(before, Some(Token::Symbol("(" | "."))) =>
        {
            Some((1, format!("OPERATOR({symbol})")))
        }
        Token::Operator(symbol) if is_prefix(lexed, at, symbol) => {
            Some((1, format!("OPERATOR({symbol})")))
        }
        Token::Quoted(name) if !written.starts_with('"') => {
            Some((1, format!("\"{}\"", name.replace('"', "\"\""))))
        }
        Token::String(value) => {
            // Not that of `interval '1 day' PRECEDING`, which has a type before it.
            let bounds_frame = is_word(behind(1), &["preceding", "following"])
                && is_word(before, &["range", "rows", "groups", "between", "and"]);
            let plain = match is_plain(written) {
                true if bounds_frame => written.to_owned(),
                true => return None,
                false => literal(value)?,
            };
            Some((
                1,
                if bounds_frame {
                    format!("({plain})")
                } else {
                    plain
                },
            ))
        }
        Token::Bits(bits) if quoted(written.get(1..)?, '\'').ok()?.1 + 1 < written.len() => {
            let (letter, digits) = bits.split_at(1);
            Some((1, format!("{letter}'{digits}'")))
        }
        _ => None,
    }
}

/// Whether the word before a token is the type of a cast.
fn is_type(lexed: &[Lexed<'_>], at: usize) -> bool {
    let token = |back: usize| at.checked_sub(back).and_then(|at| lexed.get(at));
    let is_name = token(1).is_some_and(|it| matches!(it.token, Token::Word(_) | Token::Quoted(_)));
    is_name && token(2).is_some_and(|it| it.token.is_symbol("::"))
}

/// Whether an operator stands before its only operand, and is none of those that have rules of their own
/// (`qual_Op`).
fn is_prefix(lexed: &[Lexed<'_>], at: usize, symbol: &str) -> bool {
    const WITH_RULES: [&str; 14] = [
        "+", "-", "*", "/", "%", "^", "=", "<", ">", "<=", ">=", "<>", "=>", "!=",
    ];
    let token = |back: usize| at.checked_sub(back).and_then(|at| lexed.get(at));
    let token = |back| token(back).map(|lexed| &lexed.token);
    let begins_operand = match token(1) {
        // Of the row `a.*`.
        Some(Token::Operator("*")) => !matches!(token(2), Some(Token::Symbol("."))),
        Some(Token::Operator(_)) => true,
        // Of OPERATOR(..) itself.
        Some(Token::Symbol("(")) => !is_word(token(2), &["operator"]),
        Some(Token::Symbol("[" | "," | ":" | ":=")) => true,
        word => is_word(word, &BEFORE_OPERAND),
    };
    begins_operand && !WITH_RULES.contains(&symbol)
}

/// Words behind which an operand begins.
const BEFORE_OPERAND: [&str; 26] = [
    "all",
    "and",
    "asymmetric",
    "between",
    "by",
    "case",
    "distinct",
    "else",
    "escape",
    "for",
    "from",
    "having",
    "ilike",
    "like",
    "limit",
    "not",
    "offset",
    "on",
    "or",
    "select",
    "symmetric",
    "then",
    "to",
    "variadic",
    "when",
    "where",
];

/// Whether `GROUP BY` is before a token.
fn is_group_by(lexed: &[Lexed<'_>], at: usize) -> bool {
    let token = |back: usize| at.checked_sub(back).and_then(|at| lexed.get(at));
    let is = |back, word| token(back).is_some_and(|lexed| lexed.token.is_word(word));
    is(1, "by") && is(2, "group")
}

/// Whether `*` is that of `(x).*` or `a[1].b.*`, and not of `a.b.*`.
fn is_all_fields(lexed: &[Lexed<'_>], at: usize) -> bool {
    let token = |at: Option<usize>| at.and_then(|at| lexed.get(at)).map(|lexed| &lexed.token);
    let mut end = at;
    loop {
        let Some(Token::Symbol(".")) = token(end.checked_sub(1)) else {
            return false;
        };
        match token(end.checked_sub(2)) {
            Some(Token::Symbol(")" | "]")) => return true,
            Some(Token::Word(_) | Token::Quoted(_)) => end -= 2,
            _ => return false,
        }
    }
}

/// Functions that the parser reads in a syntax of their own, but not behind a schema.
const FUNCTIONS: [&str; 8] = [
    "ceil",
    "convert",
    "extract",
    "floor",
    "overlay",
    "position",
    "substring",
    "trim",
];

/// Words that mean something to the parser, and nothing to PostgreSQL.
pub(super) const NO_KEYWORDS: [&str; 18] = [
    "anti",
    "asof",
    "connect",
    "distribute",
    "match_condition",
    "match_recognize",
    "minus",
    "open",
    "output",
    "pivot",
    "prewhere",
    "qualify",
    "sample",
    "semi",
    "settings",
    "sort",
    "top",
    "unpivot",
];

/// Whether TABLE stands where a query begins: it is also a label (`SELECT 1 AS table`, `a.table`).
fn begins_query(before: Option<&Token<'_>>, behind: Option<&Token<'_>>) -> bool {
    let names = match behind {
        Some(Token::Quoted(_)) => true,
        Some(Token::Word(word)) => !NO_RELATION.contains(&word.as_ref()),
        _ => false,
    };
    names
        && match before {
            None => true,
            // `WITH x AS (..) TABLE x`
            Some(Token::Symbol("(" | ")")) => true,
            before => is_word(before, &["union", "intersect", "except", "all", "distinct"]),
        }
}

/// Words behind a label `table` that go on with its query.
const NO_RELATION: [&str; 17] = [
    "from",
    "where",
    "group",
    "having",
    "window",
    "union",
    "intersect",
    "except",
    "order",
    "limit",
    "offset",
    "fetch",
    "for",
    "into",
    "on",
    "as",
    "using",
];

/// Whether these tokens are `LIKE ALL (`, or what is like it.
fn is_like_of_many(
    like: Option<&Token<'_>>,
    quantifier: Option<&Token<'_>>,
    parenthesis: Option<&Token<'_>>,
) -> bool {
    is_word(like, &["like", "ilike"])
        && is_word(quantifier, &["any", "some", "all"])
        && opens(parenthesis)
}

/// Whether what is before an operator is its operand.
fn ends_operand(before: Option<&Token<'_>>) -> bool {
    match before {
        Some(Token::Word(word)) => word != "as",
        Some(Token::Symbol(symbol)) => [")", "]"].contains(symbol),
        Some(Token::Operator(_)) | None => false,
        Some(_) => true,
    }
}

fn opens(token: Option<&Token<'_>>) -> bool {
    token.is_some_and(|token| token.is_symbol("("))
}

fn is_word(token: Option<&Token<'_>>, words: &[&str]) -> bool {
    token.is_some_and(|token| words.iter().any(|word| token.is_word(word)))
}

/// Whether the parser reads a literal as it is written: `'...'` or `E'...'` in one piece, or between
/// dollar signs with none inside.
fn is_plain(written: &str) -> bool {
    match written.chars().next() {
        Some('\'') => quoted(written, '\'').is_ok_and(|(_, len)| len == written.len()),
        Some('e' | 'E') => super::tokens::escaped(&written[1..], &mut Vec::new())
            .is_ok_and(|len| len + 1 == written.len()),
        Some('$') => {
            let tag = written[1..].find('$').map_or(0, |at| at + 2);
            let inside = written.get(tag..written.len().saturating_sub(tag));
            inside.is_some_and(|inside| !inside.contains('$'))
        }
        _ => false,
    }
}

/// A literal of this value; `None` for what is no text.
fn literal(value: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(value).ok()?;
    Some(match text.contains(['\\', '\'']) {
        true => format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "\\'")),
        false => format!("'{text}'"),
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// What the parser reads of these texts.
    pub(in crate::plan::sql) fn becomes(cases: &[(&str, &str)]) {
        for (sql, expected) in cases {
            assert_eq!(Plain::of(sql).unwrap().text, *expected, "{sql}");
        }
    }

    /// That it reads these as they are.
    pub(in crate::plan::sql) fn stays(cases: &[&str]) {
        cases.iter().for_each(|sql| becomes(&[(sql, sql)]));
    }

    #[test]
    fn what_has_an_equal_is_exchanged() {
        becomes(&[
            ("TABLE t", "SELECT * FROM t"),
            (
                "(table \"T\") union all table s.t order by 1",
                "(SELECT * FROM \"T\") union all SELECT * FROM s.t order by 1",
            ),
            (
                "with x as (table t) table x",
                "with x as (SELECT * FROM t) SELECT * FROM x",
            ),
            (
                "select a from t order by a using >, b using <",
                "select a from t order by a DESC, b ASC",
            ),
            (
                "select a from t order by a using operator ( pg_catalog . > ) nulls last, b using ~<~",
                "select a from t order by a DESC nulls last, b \"\0USING\" OPERATOR(~<~)",
            ),
            (
                "select f(a order by a using operator(s.<)) from t",
                "select f(a order by a \"\0USING\" operator(s.<)) from t",
            ),
            (
                "select a isnull, (b) ISNULL from t",
                "select a IS NULL, (b) IS NULL from t",
            ),
            (
                "select a from t group by distinct rollup (a), b",
                "select a from t group by \"\0BY DISTINCT \", rollup (a), b",
            ),
            (
                "select '{1}'::int array, a::\"t\" ARRAY[3]",
                "select '{1}'::int [], a::\"t\" [3]",
            ),
            ("select 'a'\n  'b''c'", "select E'ab\\'c'"),
            ("select E'a'\n'\\n'", "select 'a\n'"),
            (
                "select a like all (b) or not c ilike any (array['x']), d not like some (e)",
                "select a ~~ all (b) or not c ~~* any (array['x']), d !~~ some (e)",
            ),
            (
                "select U&'\\0061\\\\', U&'!0061' uescape '!'",
                "select E'a\\\\', 'a'",
            ),
            ("select U&\"\\0061\"\"\"", "select \"a\"\"\""),
            ("select $q$$a$$q$, $$it's$$", "select '$a$', $$it's$$"),
            ("select b'1'\n'0'", "select b'10'"),
            ("range '2 days' preceding", "range ('2 days') preceding"),
            (
                "select interval(3) '1.5', interval (0) E'a\\\\'",
                "select CAST('1.5' AS interval(3)), CAST(E'a\\\\' AS interval(0))",
            ),
            (
                "select a *<> b, c === d",
                "select a OPERATOR(*<>) b, c OPERATOR(===) d",
            ),
            (
                "select @ a, |/ b from c where ~ d = 1 and f(@#@ e, [~ 1]) = a ~ @ -b",
                "select OPERATOR(@) a, OPERATOR(|/) b from c where OPERATOR(~) d = 1 and f(OPERATOR(@#@) e, [OPERATOR(~) 1]) = a ~ OPERATOR(@) -b",
            ),
            (
                "select collation for (a), top, T.Sort from top",
                "select pg_catalog.pg_collation_for (a), \"top\", T.\"sort\" from \"top\"",
            ),
            (
                "select pg_catalog.substring(a, 2), substring(a, 2)",
                "select pg_catalog.\"substring\"(a, 2), substring(a, 2)",
            ),
            (
                "select (a).*, (a).b.*, a[1].*",
                "select (a).\"\0*\", (a).b.\"\0*\", a[1].\"\0*\"",
            ),
        ]);
    }

    #[test]
    fn what_only_looks_like_it_stays() {
        stays(&[
            "select 1 as table from t",
            "select count(*) table from t",
            "select a.isnull, 1 as isnull, isnull(b) from a",
            "select 1 from a join b using (c)",
            "select 'a''b', E'a\\'b', $$a$$, \"a\"\"b\", b'1'",
            "select 'a' 'b'",
            "select a like 'x', a not ilike any_of, \"like\"(a, b)",
            "select - a, + b, a ~ b, operator(@) c, d operator(s.@@) e, * from f",
            "select a.b.*, count(*), 2 * (3), f(a => 1), format('x'), \"top\", a >= b",
            "range between interval '1 year' preceding and interval '1 day' following",
        ]);
    }

    #[test]
    fn places_are_those_of_the_user() {
        let sql = "select U&'\\0061',\n 'a'\n 'b', x from y";
        let plain = Plain::of(sql).unwrap();
        let at = plain.text.find("x from").unwrap();
        assert_eq!(plain.place(at), (3, 7));
        assert_eq!(plain.place_of(1, 1), (1, 1));
        let line = plain.text[..at].matches('\n').count() + 1;
        let column = at - plain.text[..at].rfind('\n').unwrap();
        assert_eq!(plain.place_of(line, column), (3, 7));
    }
}
