//! Rare clauses that the parser cannot read, written as what it can; see [`clauses`](super::clauses).
//!
//! | written | read as |
//! |---|---|
//! | `a LIKE b ESCAPE c \|\| d` | `a LIKE pg_catalog.like_escape(b, c \|\| d)` (`a_expr`) |
//! | `1 + ((SELECT 2) UNION SELECT 3)` | `1 + (SELECT * FROM ((SELECT 2) UNION SELECT 3) AS "*SET*")` (`select_with_parens`) |
//! | `x IN ((SELECT 1), 2)`, `SELECT t.*::text` | the same, with a [mark](super::marks) before what is an expression |
//! | `GROUP BY ALL a, b` | `GROUP BY a, b` (`group_clause`: the default) |
//! | `SELECT` and nothing behind it | `SELECT FROM (SELECT 1) AS "*ONE*"`: one row of no columns |
//! | `JOIN a USING (b) AS c` | one more column of USING, which is a [mark](super::marks) |
//! | `WITH RECURSIVE a AS (..) CYCLE b SET c USING d` | `FROM` and a mark |
//! | `ROWS FROM (f(a), g(b) AS (c int))` | a call that is a mark, with marks for AS |
//! | `ROWS BETWEEN 1 PRECEDING AND CURRENT ROW EXCLUDE TIES` | a frame with one bound that is a mark, where the bounds are literals |

use super::change::Change;
use super::clauses::Text;
use super::marks;
use super::tokens::Token;

impl Text<'_> {
    /// A pattern whose escape character is no literal.
    pub(super) fn like_escape(&self, at: usize) -> Option<Vec<Change>> {
        let around = self.around.get(at)?;
        let mut before = (0..at).rev().filter(|it| self.around[*it] == *around);
        // No operator that binds looser is between the two.
        let like = before.find(|it| {
            let ends = self.is(*it, ",") || self.ends_expression(*it) && !self.is(*it, ")");
            let is_operator = ["like", "ilike", "similar"]
                .map(Some)
                .contains(&self.word(*it));
            ends || is_operator
        });
        let like = like.filter(|it| ["like", "ilike"].map(Some).contains(&self.word(*it)))?;
        let end = self.operand_end(at + 1)?;
        let is_literal = end == at + 2 && matches!(self.token(at + 1)?, Token::String(_));
        if is_literal || !self.ends_expression(end) {
            return None;
        }
        Some(vec![
            Change::inserted(self.start(like + 1), "pg_catalog.like_escape("),
            Change::replaced(&self.lexed[at], ",".to_owned()),
            Change::inserted(self.lexed.get(end - 1)?.end, ")"),
        ])
    }

    /// The token behind a literal, a column, a call or what is in parentheses, with its casts.
    fn operand_end(&self, at: usize) -> Option<usize> {
        let mut end = match self.token(at)? {
            Token::String(_) | Token::Number(_) | Token::Parameter(_) => at + 1,
            Token::Symbol("(") => self.partner[at] + 1,
            Token::Word(_) | Token::Quoted(_) => self.name_end(at),
            _ => return None,
        };
        while self.is(end, "::") && self.is_name(end + 1) {
            end = self.name_end(end + 1);
        }
        Some(end)
    }

    /// The token behind a name and its parentheses.
    fn name_end(&self, at: usize) -> usize {
        let mut end = at + 1;
        while self.is(end, ".") && self.is_name(end + 1) {
            end += 2;
        }
        match self.is(end, "(") {
            true => self.partner[end] + 1,
            false => end,
        }
    }

    /// Whether what is before this token is no operand of an operator that binds tighter than LIKE.
    fn ends_expression(&self, at: usize) -> bool {
        match self.token(at) {
            None | Some(Token::Symbol(")" | "]" | "," | ";")) => true,
            Some(Token::Operator(symbol)) => ["=", "<", ">", "<=", ">=", "<>"].contains(symbol),
            Some(Token::Word(word)) => ENDS_EXPRESSION.contains(&word.as_ref()),
            Some(_) => false,
        }
    }

    /// A set operation as an operand that begins with a bracket.
    pub(super) fn set_as_operand(&self, open: usize) -> Option<Vec<Change>> {
        let first = open + 1;
        if !self.is(open, "(") || !self.is(first, "(") || !self.begins_query(first) {
            return None;
        }
        let is_operand = match self.token(open.checked_sub(1)?)? {
            Token::Operator(_) => true,
            Token::Word(word) => BEFORE_OPERAND.contains(&word.as_ref()),
            _ => false,
        };
        let operator = self.word(self.partner.get(first)? + 1)?;
        let is_set = ["union", "intersect", "except"].contains(&operator);
        (is_operand && is_set).then(|| self.as_derived(open))
    }

    /// A list that begins with a subquery, which the parser would take for a query as a whole.
    pub(super) fn list_of_subqueries(&self, at: usize) -> Option<Vec<Change>> {
        let (open, first) = (at + 1, at + 2);
        if !self.is(open, "(") || !self.is(first, "(") || !self.begins_query(first) {
            return None;
        }
        let behind = *self.partner.get(first)? + 1;
        let is_query = behind == self.partner[open]
            || self
                .word(behind)
                .is_some_and(|word| ON_WITH_QUERY.contains(&word));
        (!is_query).then(|| vec![self.expression(first)])
    }

    /// `t.*` before an operator: a row, and not all its columns.
    pub(super) fn row_as_operand(&self, at: usize) -> Option<Vec<Change>> {
        if !matches!(self.token(at), Some(Token::Operator("*"))) {
            return None;
        }
        let mut name = at;
        while let Some(part) = name.checked_sub(2)
            && self.is(part + 1, ".")
            && self.is_name(part)
        {
            name = part;
        }
        let is_field = name.checked_sub(1).is_some_and(|dot| self.is(dot, "."));
        let is_operand = match self.token(at + 1)? {
            Token::Symbol(symbol) => *symbol == "::",
            Token::Operator(_) => true,
            Token::Word(word) => BEHIND_OPERAND.contains(&word.as_ref()),
            _ => false,
        };
        (name < at && !is_field && is_operand).then(|| vec![self.expression(name)])
    }

    /// Says that what begins there is an expression.
    fn expression(&self, at: usize) -> Change {
        let mark = format!("{} ", marks::quoted(marks::EXPRESSION));
        Change::inserted(self.start(at), &mark)
    }

    /// `GROUP BY ALL` with keys behind it.
    pub(super) fn all_of_groups(&self, at: usize) -> Option<Vec<Change>> {
        let by = at
            .checked_sub(1)
            .filter(|by| self.word(*by) == Some("by"))?;
        let has_keys = match self.token(at + 1)? {
            Token::Word(word) => !ENDS_EXPRESSION.contains(&word.as_ref()),
            Token::Symbol(symbol) => *symbol == "(",
            _ => true,
        };
        let found = self.behind(by, &["group"]) && has_keys;
        found.then(|| vec![Change::replaced(&self.lexed[at], String::new())])
    }

    /// A SELECT without columns and without FROM.
    pub(super) fn empty_select(&self, at: usize) -> Option<Vec<Change>> {
        let is_name =
            at.checked_sub(1).is_some_and(|dot| self.is(dot, ".")) || self.behind(at, &["as"]);
        let is_empty = match self.token(at + 1) {
            None | Some(Token::Symbol(")" | ";")) => true,
            Some(Token::Word(word)) => BEHIND_NO_COLUMNS.contains(&word.as_ref()),
            Some(_) => false,
        };
        (is_empty && !is_name).then(|| {
            let from = " FROM (SELECT 1) AS \"*ONE*\"";
            vec![Change::inserted(self.lexed[at].end, from)]
        })
    }

    /// `USING (a, b) AS c`.
    pub(super) fn alias_of_using(&self, at: usize) -> Option<Vec<Change>> {
        let open = at + 1;
        if !self.is(open, "(") || !self.is_name(open + 1) {
            return None;
        }
        let end = *self.partner.get(open)?;
        let name = match (self.word(end + 1)?, self.token(end + 2)?) {
            ("as", Token::Word(word)) => word.to_string(),
            ("as", Token::Quoted(name)) => name.clone(),
            _ => return None,
        };
        Some(vec![Change {
            from: self.start(end),
            to: self.lexed.get(end + 2)?.end,
            text: format!(", {})", marks::using_alias(&name)),
        }])
    }

    /// SEARCH and CYCLE behind a common table expression.
    pub(super) fn paths(&self, at: usize) -> Option<Vec<Change>> {
        let close = at.checked_sub(1).filter(|close| self.is(*close, ")"))?;
        let open = *self.partner.get(close)?;
        if !self.behind(open, &["as", "materialized"]) || !self.begins_query(open + 1) {
            return None;
        }
        let last = self.lexed.len();
        let mut end = at;
        if self.word(end) == Some("search") {
            end = self.find("set", end, last)? + 2;
        }
        if self.word(end) == Some("cycle") {
            end = self.find("using", end, last)? + 2;
        }
        Some(vec![Change {
            from: self.start(at),
            to: self.lexed.get(end.checked_sub(1)?)?.end,
            text: marks::paths(self.written(at, end)),
        }])
    }

    /// `ROWS FROM (..)` of calls, with or without a list of their columns.
    pub(super) fn rows_from(&self, at: usize) -> Option<Vec<Change>> {
        let open = at + 2;
        if self.word(at + 1) != Some("from") || !self.is(open, "(") {
            return None;
        }
        let before = at.checked_sub(1)?;
        let begins = self.behind(at, &["from", "join", "lateral"]) || self.is(before, ",");
        let end = *self.partner.get(open)?;
        if !begins || self.begins_query(open + 1) {
            return None;
        }
        let mut changes = vec![Change {
            from: self.start(at),
            to: self.start(open),
            text: marks::quoted(marks::ROWS_FROM),
        }];
        for (from, to) in self.items(open + 1, end) {
            let call_ends = self.name_end(from);
            if !self.is_name(from) || !self.is(call_ends - 1, ")") {
                return None;
            }
            if call_ends == to {
                continue;
            }
            let lists_columns = self.word(call_ends) == Some("as")
                && self.is(call_ends + 1, "(")
                && self
                    .partner
                    .get(call_ends + 1)
                    .is_some_and(|last| last + 1 == to);
            if !lists_columns {
                return None;
            }
            changes.push(Change::replaced(
                &self.lexed[call_ends],
                marks::quoted(marks::AS_COLUMNS),
            ));
        }
        Some(changes)
    }

    /// Whether a token is between the brackets of `ROWS FROM (..)`.
    pub(super) fn is_in_rows_from(&self, at: usize) -> bool {
        let open = self.around.get(at).copied().flatten();
        open.is_some_and(|open| {
            self.behind(open, &["from"]) && open > 1 && self.word(open - 2) == Some("rows")
        })
    }

    /// A frame that leaves out rows around the current one.
    pub(super) fn excluding_frame(&self, at: usize) -> Option<Vec<Change>> {
        let open = self.around[at]?;
        let leaves_out = match self.word(at + 1)? {
            "current" => self.word(at + 2) == Some("row") && self.is(at + 3, ")"),
            "group" | "ties" => self.is(at + 2, ")"),
            _ => false,
        };
        if !leaves_out || !self.behind(open, &["over", "as"]) || self.begins_query(open + 1) {
            return None;
        }
        let units = (open + 1..at).rev().find(|before| {
            let word = self.word(*before);
            self.around[*before] == Some(open)
                && word.is_some_and(|word| ["range", "rows", "groups"].contains(&word))
        })?;
        let end = *self.partner.get(open)?;
        // What names nothing.
        let is_literal = (units + 1..end).all(|at| match self.token(at) {
            Some(Token::Number(_) | Token::String(_)) => true,
            Some(Token::Symbol(symbol)) => ["(", ")", "::"].contains(symbol),
            Some(Token::Operator(symbol)) => ["+", "-", "*", "/"].contains(symbol),
            Some(Token::Word(word)) => OF_FRAMES.contains(&word.as_ref()),
            _ => false,
        });
        is_literal.then(|| {
            vec![Change {
                from: self.start(units),
                to: self.lexed[end - 1].end,
                text: format!(
                    "{} {}",
                    self.written(units, units + 1),
                    marks::frame(self.written(units + 1, end))
                ),
            }]
        })
    }
}

/// Words behind an expression, and operators that bind no tighter than LIKE.
const ENDS_EXPRESSION: [&str; 34] = [
    "and",
    "as",
    "asc",
    "cross",
    "desc",
    "else",
    "end",
    "except",
    "fetch",
    "for",
    "from",
    "full",
    "group",
    "having",
    "inner",
    "intersect",
    "is",
    "isnull",
    "join",
    "left",
    "limit",
    "natural",
    "notnull",
    "nulls",
    "offset",
    "on",
    "or",
    "order",
    "right",
    "then",
    "union",
    "when",
    "where",
    "window",
];

/// Words behind which an expression begins, and no query.
const BEFORE_OPERAND: [&str; 9] = [
    "select", "and", "or", "not", "when", "then", "else", "where", "having",
];

/// What may stand behind a query in brackets that goes on.
const ON_WITH_QUERY: [&str; 8] = [
    "union",
    "intersect",
    "except",
    "order",
    "limit",
    "offset",
    "fetch",
    "for",
];

/// Operators that are words, and stand behind an operand.
const BEHIND_OPERAND: [&str; 12] = [
    "at", "between", "collate", "ilike", "in", "is", "isnull", "like", "not", "notnull",
    "operator", "similar",
];

/// What may stand behind SELECT without columns and FROM.
const BEHIND_NO_COLUMNS: [&str; 10] = [
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
];

/// The words of frames, and of types that bounds have.
const OF_FRAMES: [&str; 27] = [
    "and",
    "between",
    "bigint",
    "current",
    "day",
    "double",
    "exclude",
    "float4",
    "float8",
    "following",
    "group",
    "hour",
    "int",
    "int2",
    "int4",
    "int8",
    "integer",
    "interval",
    "minute",
    "month",
    "numeric",
    "preceding",
    "row",
    "smallint",
    "ties",
    "unbounded",
    "year",
];

#[cfg(test)]
mod tests {
    use crate::plan::sql::plain::tests::{becomes, stays};

    #[test]
    fn rare_clauses_have_an_equal_or_become_marks() {
        becomes(&[
            (
                "select a like b || c escape d::bytea or e not ilike f escape g(h) = i",
                "select a like pg_catalog.like_escape(b || c , d::bytea) or e not ilike pg_catalog.like_escape(f , g(h)) = i",
            ),
            (
                "select 1 + ((select 2) union select 3), (((select 4)) except (select 5))",
                "select 1 + (SELECT * FROM ((select 2) union select 3) AS \"*SET*\"), (((select 4)) except (select 5))",
            ),
            (
                "select a in ((select 1), 2), b not in (((select 1)), c), d in ((select 1) + 1)",
                "select a in (\"\0EXPRESSION\" (select 1), 2), b not in (\"\0EXPRESSION\" ((select 1)), c), d in (\"\0EXPRESSION\" (select 1) + 1)",
            ),
            (
                "select a.*::text, md5(b.c.*::text), d.* is null from e where \"F\".* = g.*",
                "select \"\0EXPRESSION\" a.*::text, md5(\"\0EXPRESSION\" b.c.*::text), \"\0EXPRESSION\" d.* is null from e where \"\0EXPRESSION\" \"F\".* = g.*",
            ),
            (
                "select a group by all rollup (a, b), c",
                "select a group by  rollup (a, b), c",
            ),
            (
                "select union select where true",
                "select FROM (SELECT 1) AS \"*ONE*\" union select FROM (SELECT 1) AS \"*ONE*\" where true",
            ),
            (
                "select c.b from d join a using (b) as c join e using (\"F\", g) as \"H\"",
                "select c.b from d join a using (b, \"\0AS c\") join e using (\"F\", g, \"\0AS H\")",
            ),
            (
                "with recursive a as (select 1) search depth first by b, c set d cycle b set e using f, g as (select 2) select 3",
                "with recursive a as (select 1) FROM \"\0PATHS search depth first by b, c set d cycle b set e using f\", g as (select 2) select 3",
            ),
            (
                "select 1 from a, rows from (f(a.b), s.g()) with ordinality as h(i, j, k)",
                "select 1 from a, \"\0ROWS FROM\"(f(a.b), s.g()) with ordinality as h(i, j, k)",
            ),
            (
                "select 1 from rows from (f(1) as (a int, b text), g()) h, f(2) as (c int)",
                "select 1 from \"\0ROWS FROM\"(f(1) \"\0AS COLUMNS\" (a int, b text), g()) h, f(2) as \"f\"(c int)",
            ),
            (
                "select sum(a) over (order by b range between '1 day'::interval preceding and current row exclude ties)",
                "select sum(a) over (order by b range \"\0 between '1 day'::interval preceding and current row exclude ties\" PRECEDING)",
            ),
            (
                "select 1 window w as (v rows 2 preceding exclude current row)",
                "select 1 window w as (v rows \"\0 2 preceding exclude current row\" PRECEDING)",
            ),
        ]);
    }

    #[test]
    fn what_only_looks_like_it_stays() {
        stays(&[
            "select a like b escape '#', a like b escape 'c' || d, a similar to b escape c",
            "select 1 from ((select 2) union select 3) a, ((select 4) union select 5) b",
            "((select 1) union select 2) except (select 3)",
            "select a in ((select 1)), b in ((select 1) union (select 2)), c in ((select 1) limit 1), d in ((e), 2), f in (select 1)",
            "select a.*, b.c.*, count(*), d * e from f",
            "select a.* from b union select c.* except select d.*",
            "select a.select, 1 as select, all from b group by all",
            "select 1 from a join b using (c) d",
            "select rows from (values (1)) as v(rows)",
            "select a, rows from (values (1)) as v(rows)",
            "with search as (select 1), cycle as (select 2) select search, cycle from f(a) search, (g) cycle",
            "select substring(rows from (f(1))), a like b, c similar to d escape e",
            "select 1 from rows from (f(1) as b(a int)) as d, rows from (f(1) + 1), rows from (a)",
            "select sum(a) over (rows between a preceding and 1 following exclude ties) from exclude",
        ]);
    }
}
