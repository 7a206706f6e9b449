//! Whether the tree of a statement prints the statement that the user wrote.
//!
//! The parser is written for many dialects, and drops or misreads what it does not know. So each
//! statement is printed again and compared with its text, token by token: the same tokens are the
//! same statement, whatever the parser thinks of it. The printer spells a few things in its own way;
//! [`Comparison::differs_in_spelling_only`] lists them all, each with the reason why PostgreSQL
//! cannot tell the difference. Everything else counts as a difference.
//!
//! That the *tree* has PostgreSQL's shape does not follow: `-2 ^ 2` prints well from either shape. See
//! the module `shape` for that.

use std::iter;

use datafusion::sql::sqlparser::ast::Query;

use super::marks;
use super::plain::Plain;
use super::tokens::{Lexed, Token, tokens};

/// Compares the statement that `query` prints with the text that it was parsed from, so before the
/// tree is changed.
///
/// # Errors
/// The first place where they differ, for people.
pub(crate) fn prints_faithfully(text: &str, query: &Query) -> Result<(), String> {
    compare(text, &query.to_string())
}

pub(super) fn compare(text: &str, printed: &str) -> Result<(), String> {
    let plain = Plain::of(text)?;
    let mut user = tokens(&plain.text)?;
    while user.last().is_some_and(|last| last.token.is_symbol(";")) {
        user.pop();
    }
    let printed = tokens(printed).map_err(|reason| format!("it prints as no SQL: {reason}"))?;
    let user = user.into_iter().flat_map(spelled).collect();
    let user = unwrap_items(parenthesize_grouping_sets(user));
    let mut comparison = Comparison {
        user: &user,
        printed: &printed,
        at: 0,
        printed_at: 0,
    };
    while comparison.at < user.len() || comparison.printed_at < printed.len() {
        if comparison.user(0).is_some() && comparison.user(0) == comparison.printed(0) {
            comparison.skip(1, 1);
        } else if !comparison.differs_in_spelling_only() {
            return Err(comparison.difference(&plain));
        }
    }
    Ok(())
}

/// A token, or what the user has written in place of a mark.
fn spelled(lexed: Lexed<'_>) -> Vec<Lexed<'_>> {
    let (at, end) = (lexed.at, lexed.end);
    let tokens = match &lexed.token {
        Token::Quoted(name) => marks::spelled(name),
        _ => None,
    };
    match tokens {
        Some(tokens) => {
            let tokens = tokens.into_iter();
            tokens.map(|token| Lexed { token, at, end }).collect()
        }
        None => vec![lexed],
    }
}

/// Two statements that are equal up to here.
struct Comparison<'a> {
    user: &'a [Lexed<'a>],
    printed: &'a [Lexed<'a>],
    at: usize,
    printed_at: usize,
}

impl Comparison<'_> {
    /// The user's token so far ahead.
    fn user(&self, ahead: usize) -> Option<&Token<'_>> {
        self.user.get(self.at + ahead).map(|lexed| &lexed.token)
    }

    fn printed(&self, ahead: usize) -> Option<&Token<'_>> {
        self.printed
            .get(self.printed_at + ahead)
            .map(|lexed| &lexed.token)
    }

    fn before(&self) -> Option<&Token<'_>> {
        let at = self.at.checked_sub(1)?;
        self.user.get(at).map(|lexed| &lexed.token)
    }

    fn skip(&mut self, user: usize, printed: usize) {
        self.at += user;
        self.printed_at += printed;
    }

    /// Goes over tokens that differ, if they mean the same.
    fn differs_in_spelling_only(&mut self) -> bool {
        let skips = self.noise_of_the_user().map(|user| (user, 0));
        let skips = skips.or_else(|| self.noise_of_the_printer().map(|printed| (0, printed)));
        let skips = skips.or_else(|| self.synonyms());
        let skips = skips.or_else(|| self.offset_before_limit());
        match skips {
            Some((user, printed)) => {
                self.skip(user, printed);
                true
            }
            None => false,
        }
    }

    fn user_is(&self, ahead: usize, words: &[&str]) -> bool {
        is_any(self.user(ahead), words)
    }

    fn printed_is(&self, ahead: usize, words: &[&str]) -> bool {
        is_any(self.printed(ahead), words)
    }

    /// How many tokens the user wrote here that mean nothing.
    fn noise_of_the_user(&self) -> Option<usize> {
        let Token::Word(word) = self.user(0)? else {
            return None;
        };
        let noise = match word.as_ref() {
            // An alias; there is no other meaning of a name behind an expression or a table than
            // that of an alias, but for the words that need AS.
            "as" => {
                self.user(1) == self.printed(0)
                    && is_name(self.user(1))
                    && !is_any(self.user(1), NO_BARE_LABEL)
            }
            // `LEFT OUTER JOIN`; reserved, so no name.
            "outer" => {
                is_any(self.before(), &["left", "right", "full"]) && self.user_is(1, &["join"])
            }
            // `INNER JOIN`; reserved.
            "inner" => self.user_is(1, &["join"]),
            // `SELECT ALL a`: reserved, and the default of SELECT and of aggregates' arguments.
            "all" => is_any(self.before(), &["select"]) || self.is_all_of_arguments(),
            // `LIMIT ALL` is no limit; both are reserved.
            "limit" if self.user_is(1, &["all"]) && self.user(2) == self.printed(0) => {
                return Some(2);
            }
            _ => false,
        };
        noise.then_some(1)
    }

    fn is_all_of_arguments(&self) -> bool {
        let name = self.at.checked_sub(2).and_then(|at| self.user.get(at));
        self.before().is_some_and(|token| token.is_symbol("("))
            && is_name(name.map(|lexed| &lexed.token))
            && !is_any(name.map(|lexed| &lexed.token), KEYWORDS_BEFORE_ALL)
    }

    /// How many tokens the printer wrote here that mean nothing.
    fn noise_of_the_printer(&self) -> Option<usize> {
        let Token::Word(word) = self.printed(0)? else {
            return None;
        };
        let noise = match word.as_ref() {
            // An alias. A word that cannot be one without AS belongs to what is before it:
            // `'{1}'::int ARRAY`.
            "as" => {
                self.user(0) == self.printed(1)
                    && is_name(self.user(0))
                    && !is_any(self.user(0), NO_BARE_LABEL)
            }
            _ => false,
        };
        noise.then_some(1)
    }

    /// How many tokens of the user mean the same as how many of the printer.
    fn synonyms(&self) -> Option<(usize, usize)> {
        let fetch = is_any(self.before(), &["fetch"]);
        let (user, printed): (&[&str], &[&str]) = match self.user(0)? {
            // FETCH is reserved, and has one meaning with either word behind it.
            Token::Word(word) if word == "next" && fetch => (&["next"], &["first"]),
            Token::Word(word) if word == "row" => (&["row"], &["rows"]),
            Token::Word(word) if word == "notnull" => (&["notnull"], &["is", "not", "null"]),
            _ => return None,
        };
        let same = |at: usize| self.printed_is(at, &printed[at..=at]);
        let mut found = (0..printed.len()).all(same);
        if user == ["row"] {
            // `FETCH FIRST 1 ROW ONLY`, `... ROW WITH TIES`; elsewhere ROW is a constructor.
            found &= self.user_is(1, &["only", "with"]);
        }
        found.then_some((user.len(), printed.len()))
    }

    /// `OFFSET y LIMIT x` is printed as `LIMIT x OFFSET y`; PostgreSQL takes either order.
    fn offset_before_limit(&self) -> Option<(usize, usize)> {
        if !(self.user_is(0, &["offset"]) && self.printed_is(0, &["limit"])) {
            return None;
        }
        let user = &self.user[self.at..];
        let printed = &self.printed[self.printed_at..];
        let limit = find_at_level(user, "limit")?;
        let offset = find_at_level(printed, "offset")?;
        let count = printed.get(1..offset)?;
        let skip = user.get(1..limit)?;
        let end = limit + offset;
        let same = |a: &[Lexed<'_>], b: &[Lexed<'_>]| {
            a.iter()
                .map(|lexed| &lexed.token)
                .eq(b.iter().map(|lexed| &lexed.token))
        };
        let equal =
            same(user.get(limit + 1..end)?, count) && same(skip, printed.get(offset + 1..end)?);
        equal.then_some((end, end))
    }

    fn difference(&self, text: &Plain<'_>) -> String {
        let some = |tokens: &[Lexed<'_>], at: usize| {
            let shown: Vec<_> = tokens
                .iter()
                .skip(at)
                .take(6)
                .map(|lexed| lexed.token.to_string())
                .chain(iter::repeat_n("(the end)".to_owned(), 1))
                .take(6)
                .collect();
            shown.join(" ")
        };
        let offset = self.user.get(self.at);
        let (line, column) = text.place(offset.map_or(text.text.len(), |lexed| lexed.at));
        format!(
            "line {line}, column {column}: {:?} would be sent as {:?}",
            some(self.user, self.at),
            some(self.printed, self.printed_at)
        )
    }
}

/// Where a word is, outside of brackets.
fn find_at_level(tokens: &[Lexed<'_>], word: &str) -> Option<usize> {
    let mut level = 0_usize;
    for (at, Lexed { token, .. }) in tokens.iter().enumerate() {
        match token {
            Token::Symbol("(" | "[") => level += 1,
            Token::Symbol(")" | "]") => level = level.checked_sub(1)?,
            token if level == 0 && token.is_word(word) => return Some(at),
            _ => {}
        }
    }
    None
}

/// `ROLLUP ((a + b), c)` and the like of `CUBE` as they are printed: `ROLLUP (a + b, c)`.
///
/// An item of one expression is that expression, in parentheses or not.
fn unwrap_items(tokens: Vec<Lexed<'_>>) -> Vec<Lexed<'_>> {
    let is = |at: usize, symbol: &str| {
        let token = tokens.get(at).map(|lexed| &lexed.token);
        token.is_some_and(|token| token.is_symbol(symbol))
    };
    let mut dropped = std::collections::HashSet::new();
    for start in 0..tokens.len() {
        let opens = is_any(
            tokens.get(start).map(|lexed| &lexed.token),
            &["rollup", "cube"],
        );
        if !opens || !is(start + 1, "(") {
            continue;
        }
        // The parenthesis that an item of one expression begins with, while that is open.
        let mut item: Option<usize> = None;
        let mut depth = 0_usize;
        for at in start + 1..tokens.len() {
            if is(at, "(") || is(at, "[") {
                depth += 1;
                if depth == 2 && is(at, "(") && (is(at - 1, ",") || at == start + 2) {
                    item = Some(at);
                }
            } else if is(at, ")") || is(at, "]") {
                depth = depth.saturating_sub(1);
                if depth == 1
                    && let Some(first) = item.take()
                    && (is(at + 1, ",") || is(at + 1, ")"))
                {
                    dropped.extend([first, at]);
                }
                if depth == 0 {
                    break;
                }
            } else if depth == 2 && is(at, ",") {
                // A set of several expressions keeps its parentheses.
                item = None;
            }
        }
    }
    if dropped.is_empty() {
        return tokens;
    }
    let kept = tokens
        .into_iter()
        .enumerate()
        .filter(|(at, _)| !dropped.contains(at));
    kept.map(|(_, lexed)| lexed).collect()
}

/// `GROUPING SETS (a, (a, b))` as it is printed: `GROUPING SETS ((a), (a, b))`.
///
/// A grouping set of one expression is that expression, in parentheses or not. What is itself
/// made of grouping sets stays, and so does what begins with a parenthesis.
fn parenthesize_grouping_sets(tokens: Vec<Lexed<'_>>) -> Vec<Lexed<'_>> {
    if !tokens.iter().any(|lexed| lexed.token.is_word("grouping")) {
        return tokens;
    }
    let mut result: Vec<Lexed<'_>> = Vec::with_capacity(tokens.len());
    // The level of the parentheses of GROUPING SETS, and whether one was put into them and is open.
    let mut sets: Option<usize> = None;
    let mut open = false;
    let mut level = 0_usize;
    for lexed in tokens {
        let ends = matches!(lexed.token, Token::Symbol("," | ")")) && sets == Some(level);
        if open && ends {
            open = false;
            result.push(Lexed {
                token: Token::Symbol(")"),
                at: lexed.at,
                end: lexed.at,
            });
        }
        let begins = sets == Some(level)
            && !open
            && result
                .last()
                .is_some_and(|last| matches!(last.token, Token::Symbol("(" | ",")))
            && !matches!(lexed.token, Token::Symbol(_))
            && !is_any(Some(&lexed.token), &["rollup", "cube", "grouping"]);
        if begins {
            open = true;
            result.push(Lexed {
                token: Token::Symbol("("),
                at: lexed.at,
                end: lexed.at,
            });
        }
        match lexed.token {
            Token::Symbol("(" | "[") => {
                level += 1;
                let mut before = result.iter().rev();
                if is_any(before.next().map(|lexed| &lexed.token), &["sets"])
                    && is_any(before.next().map(|lexed| &lexed.token), &["grouping"])
                {
                    sets = Some(level);
                }
            }
            Token::Symbol(")" | "]") => {
                if sets == Some(level) {
                    sets = None;
                }
                level = level.saturating_sub(1);
            }
            _ => {}
        }
        result.push(lexed);
    }
    result
}

/// Keywords that may stand before `(ALL`, where it means something.
const KEYWORDS_BEFORE_ALL: &[&str] = &["any", "some", "all", "in", "by"];

/// The keywords that are no alias without AS (`AS_LABEL` in `src/include/parser/kwlist.h`), because
/// they may go on with the expression before them.
pub(super) const NO_BARE_LABEL: &[&str] = &[
    "array",
    "as",
    "char",
    "character",
    "create",
    "day",
    "except",
    "fetch",
    "filter",
    "for",
    "from",
    "grant",
    "group",
    "having",
    "hour",
    "intersect",
    "into",
    "isnull",
    "limit",
    "minute",
    "month",
    "notnull",
    "offset",
    "on",
    "order",
    "over",
    "overlaps",
    "precision",
    "returning",
    "second",
    "to",
    "union",
    "varying",
    "where",
    "window",
    "with",
    "within",
    "without",
    "year",
];

fn is_any(token: Option<&Token<'_>>, words: &[&str]) -> bool {
    token.is_some_and(|token| words.iter().any(|word| token.is_word(word)))
}

fn is_name(token: Option<&Token<'_>>) -> bool {
    matches!(token, Some(Token::Word(_) | Token::Quoted(_)))
}
