//! Clauses that the parser cannot read, written as what it can: those that take brackets to find.
//!
//! | written | read as |
//! |---|---|
//! | `a JOIN b JOIN c ON x ON y` | `a JOIN (b JOIN c ON x) ON y` (`joined_table`: `'(' joined_table ')'` is the join) |
//! | `FROM ONLY t` | `FROM ONLY (t)` (`relation_expr`) |
//! | `FROM t *` | `FROM t` (`relation_expr`: both take the rows of tables that inherit) |
//! | `FROM f(x) AS (a int)` | `FROM f(x) AS "f"(a int)` (`addRangeTableEntryForFunction`: the function's name) |
//! | `FROM position(a IN b)` | `FROM pg_catalog.position(b, a)` (`func_expr_common_subexpr`) |
//! | `RANGE '1 day'::interval PRECEDING` | `RANGE ('1 day'::interval) PRECEDING` |
//! | `EXCLUDE NO OTHERS` | nothing (`opt_window_exclusion_clause`: the default) |
//! | `GROUPING SETS (ROLLUP (a, b), CUBE (c), GROUPING SETS (d))` | `GROUPING SETS ((a, b), (a), (), (c), (), d)` (`expand_groupingset_node` in `src/backend/parser/parse_agg.c`) |
//! | `x = ANY (VALUES (1))`, `SELECT (VALUES (1))` | `x = ANY (SELECT * FROM (VALUES (1)) AS "*VALUES*")` (`transformValuesClause` makes the same) |
//! | `x = ANY ((SELECT 1) UNION (SELECT 2))` | `x = ANY (SELECT * FROM ((SELECT 1) UNION (SELECT 2)) AS "*SET*")` (`select_with_parens`) |
//! | `trim(FROM x)`, `trim(BOTH FROM x)`, with LEADING, with TRAILING | `pg_catalog.btrim(x)`, `ltrim`, `rtrim` (`func_expr_common_subexpr`) |
//! | `FETCH FIRST (n) ROWS ONLY` | `LIMIT (n)` (`limit_clause`) |
//! | `ROLLUP ((a + 1) * 2, (SELECT 1))` | `ROLLUP (((a + 1) * 2), ((SELECT 1)))` (`expr_list`: not `(a + 1)`, which is a row) |
//! | `substring(a SIMILAR b ESCAPE c)` | `pg_catalog.substring(a, b, c)` |

use super::change::Change;
use super::tokens::{Lexed, Token};

/// All changes of a text, in no order. Of two that overlap, the first one counts.
pub(super) fn changes(lexed: &[Lexed<'_>], user: &str) -> Vec<Change> {
    let Some(text) = Text::of(lexed, user) else {
        return Vec::new();
    };
    let mut changes = Vec::new();
    text.joins(&mut changes);
    for at in 0..lexed.len() {
        let found = match text.word(at) {
            Some("as") => text.columns_without_alias(at),
            Some("preceding" | "following") => text.frame_bound(at),
            Some("exclude") => text.no_others(at).or_else(|| text.excluding_frame(at)),
            Some("grouping") => text.grouping_sets(at),
            Some("values") => text.values(at),
            Some("any" | "some") => text.set_in_brackets(at),
            Some("all") => text.set_in_brackets(at).or_else(|| text.all_of_groups(at)),
            Some("escape") => text.like_escape(at),
            Some("select") => text.empty_select(at),
            Some("using") => text.alias_of_using(at),
            Some("search" | "cycle") => text.paths(at),
            Some("rows") => text.rows_from(at),
            Some(word) if word == "lateral" || word.starts_with("xml") => text.xml(at, word),
            Some("in") => text.list_of_subqueries(at),
            None => text.set_as_operand(at).or_else(|| text.row_as_operand(at)),
            Some("trim") => text.trim(at),
            Some("substring") => text.substring(at),
            Some("fetch") => text.fetch(at),
            Some("rollup" | "cube" | "sets") => text.set_of_expressions(at),
            _ => None,
        };
        changes.extend(found.into_iter().flatten());
    }
    changes
}

/// The tokens of a text, with their brackets.
pub(super) struct Text<'a> {
    pub(super) lexed: &'a [Lexed<'a>],
    user: &'a str,
    /// Of each bracket, the one that it belongs to.
    pub(super) partner: Vec<usize>,
    /// Of each token, the bracket that is open around it.
    pub(super) around: Vec<Option<usize>>,
}

impl<'a> Text<'a> {
    /// `None` where brackets do not fit.
    fn of(lexed: &'a [Lexed<'a>], user: &'a str) -> Option<Self> {
        let mut partner = vec![0; lexed.len()];
        let mut around = Vec::with_capacity(lexed.len());
        let mut open: Vec<usize> = Vec::new();
        for (at, Lexed { token, .. }) in lexed.iter().enumerate() {
            if matches!(token, Token::Symbol(")" | "]")) {
                let opened = open.pop()?;
                partner[at] = opened;
                partner[opened] = at;
            }
            around.push(open.last().copied());
            if matches!(token, Token::Symbol("(" | "[")) {
                open.push(at);
            }
        }
        open.is_empty().then_some(Self {
            lexed,
            user,
            partner,
            around,
        })
    }

    pub(super) fn token(&self, at: usize) -> Option<&Token<'a>> {
        self.lexed.get(at).map(|lexed| &lexed.token)
    }

    pub(super) fn word(&self, at: usize) -> Option<&str> {
        match self.token(at)? {
            Token::Word(word) => Some(word),
            _ => None,
        }
    }

    pub(super) fn is(&self, at: usize, symbol: &str) -> bool {
        self.token(at).is_some_and(|token| token.is_symbol(symbol))
    }

    /// Whether the token before is one of these words.
    pub(super) fn behind(&self, at: usize, words: &[&str]) -> bool {
        let before = at.checked_sub(1).and_then(|at| self.word(at));
        before.is_some_and(|word| words.contains(&word))
    }

    pub(super) fn is_name(&self, at: usize) -> bool {
        matches!(self.token(at), Some(Token::Word(_) | Token::Quoted(_)))
    }

    pub(super) fn start(&self, at: usize) -> usize {
        self.lexed.get(at).map_or(self.user.len(), |lexed| lexed.at)
    }

    /// What the user wrote from one token up to another, which is left out.
    pub(super) fn written(&self, from: usize, to: usize) -> &'a str {
        let end = to.checked_sub(1).and_then(|last| self.lexed.get(last));
        end.and_then(|last| self.user.get(self.start(from)..last.end))
            .unwrap_or_default()
    }

    /// Where a word is between two tokens, outside of brackets there.
    pub(super) fn find(&self, word: &str, from: usize, to: usize) -> Option<usize> {
        let mut at = from;
        while at < to {
            match self.token(at)? {
                Token::Symbol("(" | "[") => at = *self.partner.get(at)?,
                token if token.is_word(word) => return Some(at),
                _ => {}
            }
            at += 1;
        }
        None
    }

    /// The items between two tokens, which commas part: the first token of each, and the one behind.
    pub(super) fn items(&self, from: usize, to: usize) -> Vec<(usize, usize)> {
        let mut items = Vec::new();
        let (mut start, mut at) = (from, from);
        while at < to {
            match self.token(at) {
                Some(Token::Symbol("(" | "[")) => at = self.partner[at],
                Some(Token::Symbol(",")) => {
                    items.push((start, at));
                    start = at + 1;
                }
                _ => {}
            }
            at += 1;
        }
        items.push((start, to));
        items
    }

    pub(super) fn begins_query(&self, at: usize) -> bool {
        let mut at = at;
        while self.is(at, "(") {
            at += 1;
        }
        self.word(at)
            .is_some_and(|word| BEGINS_QUERY.contains(&word))
    }

    /// `a JOIN b JOIN c ON x ON y`: a join whose condition comes behind another join.
    fn joins(&self, changes: &mut Vec<Change>) {
        let mut levels = vec![Level::default()];
        for at in 0..self.lexed.len() {
            let Some(level) = levels.last_mut() else {
                return;
            };
            match self.token(at) {
                Some(Token::Symbol("(" | "[")) => {
                    // In the list of SELECT.
                    let is_item = level.select && !level.from;
                    if is_item
                        && at.checked_sub(1).is_some_and(|before| self.is(before, ","))
                        && self.word(at + 1) == Some("values")
                    {
                        changes.extend(self.as_table(at + 1).into_iter().flatten());
                    }
                    let begins = self.behind(at, &["from", "join", "lateral", "only"])
                        || at
                            .checked_sub(1)
                            .is_some_and(|before| self.is(before, ",") || self.is(before, "("));
                    // Parentheses around a join.
                    let from = level.from && begins && !self.begins_query(at + 1);
                    levels.push(Level {
                        from,
                        ..Level::default()
                    });
                }
                Some(Token::Symbol(")" | "]")) => {
                    levels.pop();
                }
                Some(Token::Symbol(",")) => level.open.clear(),
                Some(Token::Operator("*")) if level.from && self.is_descendants(at) => {
                    changes.push(Change::replaced(&self.lexed[at], String::new()));
                }
                Some(Token::Word(word)) => match word.as_ref() {
                    "select" => level.select = true,
                    // `a IS DISTINCT FROM b` is an expression.
                    "from" if level.select && !self.behind(at, &["distinct"]) => {
                        level.from = true;
                        level.open.clear();
                    }
                    word if ENDS_FROM.contains(&word) => {
                        level.from = false;
                        level.select = false;
                    }
                    "join" if level.from => {
                        for join in &mut level.open {
                            join.holds_another = true;
                        }
                        if !self.has_no_condition(at) {
                            level.open.push(Join {
                                right: at + 1,
                                holds_another: false,
                            });
                        }
                    }
                    "on" | "using" if level.from => {
                        if let Some(join) = level.open.pop()
                            && join.holds_another
                        {
                            changes.push(Change::inserted(self.start(join.right), "("));
                            changes.push(Change::inserted(self.start(at), ") "));
                        }
                    }
                    "only" if level.from => changes.extend(self.only(at).into_iter().flatten()),
                    "position" if level.from => changes.extend(self.position(at)),
                    _ => {}
                },
                _ => {}
            }
        }
    }

    /// `CROSS JOIN`, `NATURAL LEFT OUTER JOIN`.
    fn has_no_condition(&self, join: usize) -> bool {
        let before = (1..=3).map_while(|back| self.word(join.checked_sub(back)?));
        let mut kind = before.take_while(|word| {
            [
                "cross", "natural", "inner", "left", "right", "full", "outer",
            ]
            .contains(word)
        });
        kind.any(|word| ["cross", "natural"].contains(&word))
    }

    /// The `*` of `FROM t *`.
    fn is_descendants(&self, at: usize) -> bool {
        let mut name = at;
        while let Some(part) = name.checked_sub(1)
            && self.is_name(part)
        {
            name = part;
            match part.checked_sub(1) {
                Some(dot) if self.is(dot, ".") => name = dot,
                _ => break,
            }
        }
        let begins = name
            .checked_sub(1)
            .is_some_and(|before| self.is(before, ","));
        let behind = match self.token(at + 1) {
            None | Some(Token::Symbol(")" | "," | ";")) => true,
            Some(Token::Word(_)) => true,
            Some(_) => false,
        };
        let from = name
            .checked_sub(1)
            .filter(|from| !self.behind(*from, &["distinct"]));
        let begins = begins || from.is_some() && self.behind(name, &["from", "join"]);
        name < at && behind && begins
    }

    fn only(&self, at: usize) -> Option<[Change; 2]> {
        let begins = self.behind(at, &["from", "join"]) || self.is(at.checked_sub(1)?, ",");
        if !begins || !self.is_name(at + 1) || self.is(at + 1, "(") {
            return None;
        }
        let mut last = at + 1;
        while self.is(last + 1, ".") && self.is_name(last + 2) {
            last += 2;
        }
        Some([
            Change::inserted(self.start(at + 1), "("),
            Change::inserted(self.lexed.get(last)?.end, ")"),
        ])
    }

    fn position(&self, at: usize) -> Option<Change> {
        let begins =
            self.behind(at, &["from", "join", "lateral"]) || self.is(at.checked_sub(1)?, ",");
        if !begins || !self.is(at + 1, "(") {
            return None;
        }
        let end = *self.partner.get(at + 1)?;
        let middle = self.find("in", at + 2, end)?;
        let (part, whole) = (self.written(at + 2, middle), self.written(middle + 1, end));
        Some(Change {
            from: self.start(at),
            to: self.lexed.get(end)?.end,
            text: format!("pg_catalog.position({whole}, {part})"),
        })
    }

    /// `FETCH FIRST (n) ROWS ONLY`, and that before OFFSET; a number needs no parentheses, and is read as it is.
    fn fetch(&self, at: usize) -> Option<Vec<Change>> {
        if !["first", "next"].contains(&self.word(at + 1)?) {
            return None;
        }
        let count = at + 2;
        let end = match self.token(count)? {
            Token::Symbol("(") => *self.partner.get(count)? + 1,
            Token::Operator("+" | "-") => count + 2,
            Token::Number(_) | Token::Parameter(_) => count + 1,
            // One row.
            Token::Word(_) => count,
            _ => return None,
        };
        let counts_rows = ["row", "rows"].contains(&self.word(end)?);
        let only = self.lexed.get(end + 1)?;
        let is_read = end <= count + 1 && self.word(end + 2) != Some("offset");
        (counts_rows && only.token.is_word("only") && !is_read).then(|| {
            let written = match self.written(count, end) {
                "" => "1",
                written => written,
            };
            vec![Change {
                from: self.start(at),
                to: only.end,
                text: format!("LIMIT {written}"),
            }]
        })
    }

    /// What begins with a parenthesis in a list of grouping sets, and goes on behind it or is a query.
    fn set_of_expressions(&self, at: usize) -> Option<Vec<Change>> {
        if !self.is(at + 1, "(") {
            return None;
        }
        let end = *self.partner.get(at + 1)?;
        let items = self.items(at + 2, end).into_iter();
        let expressions = items.filter(|(from, to)| {
            let goes_on = || self.partner.get(*from).is_some_and(|last| last + 1 < *to);
            let is_query = || {
                self.word(from + 1)
                    .is_some_and(|it| BEGINS_QUERY.contains(&it))
            };
            self.is(*from, "(") && (goes_on() || is_query())
        });
        let changes = expressions.flat_map(|(from, to)| {
            let end = self
                .lexed
                .get(to - 1)
                .map_or(self.user.len(), |last| last.end);
            [
                Change::inserted(self.start(from), "("),
                Change::inserted(end, ")"),
            ]
        });
        Some(changes.collect())
    }

    /// `AS (a int)` behind the call of a function.
    fn columns_without_alias(&self, at: usize) -> Option<Vec<Change>> {
        let call_ends = at.checked_sub(1)?;
        if !self.is(at + 1, "(")
            || !self.is(call_ends, ")")
            || self.begins_query(at + 2)
            || self.is_in_rows_from(at)
        {
            return None;
        }
        // A column has a name and a type.
        if !self.is_name(at + 2) || !self.is_name(at + 3) {
            return None;
        }
        let name = match self.token(self.partner.get(call_ends)?.checked_sub(1)?)? {
            Token::Word(word) => word.to_string(),
            Token::Quoted(name) => name.clone(),
            _ => return None,
        };
        let alias = format!("\"{}\"", name.replace('"', "\"\""));
        Some(vec![Change::inserted(self.start(at + 1), &alias)])
    }

    /// A bound of a window's frame that is no single token.
    fn frame_bound(&self, at: usize) -> Option<Vec<Change>> {
        let open = self.around[at]?;
        if !self.behind(open, &["over", "as"]) || self.begins_query(open + 1) {
            return None;
        }
        let ends = match self.token(at + 1)? {
            Token::Symbol(")") => true,
            token => ["and", "exclude"].iter().any(|word| token.is_word(word)),
        };
        let begins = (open + 1..at).rev().find(|before| {
            self.around[*before] == Some(open)
                && self.word(*before).is_some_and(|word| {
                    ["between", "and", "range", "rows", "groups"].contains(&word)
                })
        })?;
        let (first, last) = (begins + 1, at.checked_sub(1)?);
        let in_parentheses = self.is(first, "(") && self.partner[first] == last;
        if !ends || first >= last || in_parentheses || self.word(first) == Some("interval") {
            return None;
        }
        Some(vec![
            Change::inserted(self.start(first), "("),
            Change::inserted(self.lexed.get(last)?.end, ")"),
        ])
    }

    fn no_others(&self, at: usize) -> Option<Vec<Change>> {
        let open = self.around[at]?;
        let found = self.word(at + 1) == Some("no")
            && self.word(at + 2) == Some("others")
            && self.is(at + 3, ")")
            && self.behind(open, &["over", "as"])
            && !self.begins_query(open + 1);
        found.then(|| {
            vec![Change {
                from: self.start(at),
                to: self.lexed[at + 2].end,
                text: String::new(),
            }]
        })
    }

    /// Grouping sets that hold others.
    fn grouping_sets(&self, at: usize) -> Option<Vec<Change>> {
        let open = self.is_grouping_sets(at)?;
        let end = *self.partner.get(open)?;
        let items = self.items(open + 1, end);
        let nests = |(first, _): &(usize, usize)| {
            self.is_grouping_sets(*first).is_some() || self.is_rolled(*first).is_some()
        };
        if !items.iter().any(nests) {
            return None;
        }
        let mut sets = Vec::new();
        self.expand(&items, &mut sets)?;
        Some(vec![Change {
            from: self.lexed.get(open)?.end,
            to: self.start(end),
            text: sets.join(", "),
        }])
    }

    /// The bracket of `GROUPING SETS (`.
    fn is_grouping_sets(&self, at: usize) -> Option<usize> {
        let found = self.word(at) == Some("grouping")
            && self.word(at + 1) == Some("sets")
            && self.is(at + 2, "(");
        found.then_some(at + 2)
    }

    /// The bracket of `ROLLUP (`, `CUBE (`.
    fn is_rolled(&self, at: usize) -> Option<usize> {
        let found = ["rollup", "cube"].contains(&self.word(at)?) && self.is(at + 1, "(");
        found.then_some(at + 1)
    }

    /// Adds the sets that the items stand for; `None` if they are too many.
    fn expand(&self, items: &[(usize, usize)], sets: &mut Vec<String>) -> Option<()> {
        for &(first, end) in items {
            if let Some(open) = self.is_grouping_sets(first) {
                self.expand(&self.items(open + 1, *self.partner.get(open)?), sets)?;
            } else if let Some(open) = self.is_rolled(first) {
                let keys: Vec<_> = self
                    .items(open + 1, *self.partner.get(open)?)
                    .into_iter()
                    .map(|(first, end)| {
                        match self.is(first, "(") && self.partner[first] + 1 == end {
                            // Several keys that come and go together.
                            true => self.written(first + 1, end - 1),
                            false => self.written(first, end),
                        }
                    })
                    .collect();
                match self.word(first) {
                    Some("rollup") => {
                        for most in (0..=keys.len()).rev() {
                            sets.push(format!("({})", keys.get(..most)?.join(", ")));
                        }
                    }
                    _ if keys.len() > MOST_CUBED => return None,
                    _ => {
                        for chosen in (0..1_usize << keys.len()).rev() {
                            let last = keys.len() - 1;
                            let set = keys.iter().enumerate();
                            let set = set.filter(|(key, _)| chosen & (1 << (last - key)) != 0);
                            let set: Vec<_> = set.map(|(_, key)| *key).collect();
                            sets.push(format!("({})", set.join(", ")));
                        }
                    }
                }
            } else {
                sets.push(self.written(first, end).to_owned());
            }
            if sets.len() > MOST_SETS {
                return None;
            }
        }
        Some(())
    }

    /// `(VALUES ...)` as an operand.
    fn values(&self, at: usize) -> Option<Vec<Change>> {
        let open = at.checked_sub(1)?;
        if !self.is(open, "(") || !self.is(at + 1, "(") {
            return None;
        }
        let before = open.checked_sub(1)?;
        let is_operand = match self.token(before)? {
            Token::Operator(_) => true,
            Token::Word(word) if word == "all" => {
                !self.behind(before, &["union", "intersect", "except", "select"])
            }
            Token::Word(word) => BEFORE_OPERAND.contains(&word.as_ref()),
            _ => false,
        };
        is_operand.then(|| self.as_table(at)).flatten()
    }

    /// `ANY ((SELECT ..) UNION ..)`: a set operation that begins with a bracket; `ANY ((SELECT ..))`: a query in
    /// more brackets than it needs.
    fn set_in_brackets(&self, at: usize) -> Option<Vec<Change>> {
        let (open, first) = (at + 1, at + 2);
        let is_subquery = self.is(open, "(") && self.is(first, "(") && self.begins_query(first);
        if !is_subquery || self.behind(at, &["union", "intersect", "except", "select"]) {
            return None;
        }
        let last = *self.partner.get(first)?;
        if last + 1 == self.partner[open] {
            let nothing = |at: usize| Change::replaced(&self.lexed[at], String::new());
            return Some(vec![nothing(first), nothing(last)]);
        }
        let operator = self.word(last + 1)?;
        ["union", "intersect", "except"]
            .contains(&operator)
            .then(|| self.as_derived(open))
    }

    /// A set operation in brackets as a table.
    pub(super) fn as_derived(&self, open: usize) -> Vec<Change> {
        vec![
            Change::inserted(self.start(open + 1), "SELECT * FROM ("),
            Change::inserted(self.start(self.partner[open]), ") AS \"*SET*\""),
        ]
    }

    /// `VALUES ..` as a table.
    fn as_table(&self, values: usize) -> Option<Vec<Change>> {
        let end = *self.partner.get(values.checked_sub(1)?)?;
        Some(vec![
            Change::inserted(self.start(values), "SELECT * FROM ("),
            Change::inserted(self.start(end), ") AS \"*VALUES*\""),
        ])
    }

    fn trim(&self, at: usize) -> Option<Vec<Change>> {
        if !self.is(at + 1, "(") {
            return None;
        }
        let (from, name) = match self.word(at + 2)? {
            "from" => (at + 2, "btrim"),
            "both" => (at + 3, "btrim"),
            "leading" => (at + 3, "ltrim"),
            "trailing" => (at + 3, "rtrim"),
            _ => return None,
        };
        if self.word(from) != Some("from") {
            return None;
        }
        Some(vec![Change {
            from: self.start(at),
            to: self.lexed.get(from)?.end,
            text: format!("pg_catalog.{name}("),
        }])
    }

    fn substring(&self, at: usize) -> Option<Vec<Change>> {
        if !self.is(at + 1, "(") {
            return None;
        }
        let end = *self.partner.get(at + 1)?;
        let similar = self.find("similar", at + 2, end)?;
        let escape = self.find("escape", similar, end)?;
        // `a SIMILAR TO b` is an operator.
        if self.word(similar + 1) == Some("to") {
            return None;
        }
        let comma = |at: usize| Change::replaced(&self.lexed[at], ",".to_owned());
        Some(vec![
            Change::replaced(&self.lexed[at], "pg_catalog.\"substring\"".to_owned()),
            comma(similar),
            comma(escape),
        ])
    }
}

/// What is known of the tokens inside one pair of brackets, or outside of all.
#[derive(Default)]
struct Level {
    /// Whether the clause is that of SELECT, so that FROM is the next.
    select: bool,
    /// Whether the clause is FROM.
    from: bool,
    /// The joins that have no condition yet.
    open: Vec<Join>,
}

/// A join.
struct Join {
    /// The token with which its right side begins.
    right: usize,
    holds_another: bool,
}

const BEGINS_QUERY: [&str; 8] = [
    "select", "with", "values", "table", "insert", "update", "delete", "merge",
];

const ENDS_FROM: [&str; 12] = [
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
];

/// Words behind which an expression begins, so that a query there is an operand.
const BEFORE_OPERAND: [&str; 10] = [
    "select", "any", "some", "and", "or", "not", "when", "then", "else", "where",
];

/// CUBE of six keys is 64 sets.
const MOST_CUBED: usize = 6;

/// As many as PostgreSQL takes (`expand_grouping_sets` in `src/backend/parser/parse_agg.c`).
const MOST_SETS: usize = 4096;

#[cfg(test)]
mod tests {
    use crate::plan::sql::plain::tests::{becomes, stays};

    #[test]
    fn joins_get_their_parentheses() {
        becomes(&[
            (
                "select * from a join b join c on x on y",
                "select * from a join (b join c on x ) on y",
            ),
            (
                "select * from a left join b left join c using (d) on y, e join f on g where h",
                "select * from a left join (b left join c using (d) ) on y, e join f on g where h",
            ),
            (
                "select * from a join b join c join d on x on y on z",
                "select * from a join (b join (c join d on x ) on y ) on z",
            ),
            (
                "select * from (a join b cross join c on y) join d on (z)",
                "select * from (a join (b cross join c ) on y) join d on (z)",
            ),
            (
                "select (select 1 from a join b natural left join c on y)",
                "select (select 1 from a join (b natural left join c ) on y)",
            ),
        ]);
        stays(&[
            "select * from a join b on x join c on y",
            "select * from a cross join b join c on x natural join d",
            "select extract(year from a) from b join c on f(a, (select 1 from d join e on g)) = 1",
            "select distinct on (a) a from b join lateral (select 1 from c join d on e) f on true",
            "select * from a join (b join c on x) on y order by a, b",
        ]);
    }

    #[test]
    fn clauses_that_take_brackets_to_find() {
        becomes(&[
            ("select 1 from a *, s.b* x", "select 1 from a , s.b x"),
            (
                "select 1 from only a b join only s.c on true",
                "select 1 from only (a) b join only (s.c) on true",
            ),
            (
                "select 1 from f(g(1)) as (a int, b text)",
                "select 1 from f(g(1)) as \"f\"(a int, b text)",
            ),
            (
                "select 1 from a, position('b' in c)",
                "select 1 from a, pg_catalog.position(c, 'b')",
            ),
            (
                "select sum(a) over (order by b range between '1 day'::interval preceding and 1 following)",
                "select sum(a) over (order by b range between ('1 day'::interval) preceding and 1 following)",
            ),
            (
                "select 1 window w as (order by b rows f(1) + 1 preceding exclude no others)",
                "select 1 window w as (order by b rows (f(1) + 1) preceding )",
            ),
            (
                "select 1 group by grouping sets (rollup (a, (b, c)), grouping sets (d, ()), cube (e, f))",
                "select 1 group by grouping sets ((a, b, c), (a), (), d, (), (e, f), (e), (f), ())",
            ),
            (
                "select 1 group by rollup ((select 1), (a + 1) * 2, (b, c)), cube (((select 2)), d)",
                "select 1 group by rollup (((select 1)), ((a + 1) * 2), (b, c)), cube (((select 2)), d)",
            ),
            (
                "select a = any (values (1), (2)), (values (3)) from a, (values (4)) b",
                "select a = any (SELECT * FROM (values (1), (2)) AS \"*VALUES*\"), (SELECT * FROM (values (3)) AS \"*VALUES*\") from a, (values (4)) b",
            ),
            (
                "select 1 where a = any ((select 1) union (select 2)) or b < all ((values (1)) except select c)",
                "select 1 where a = any (SELECT * FROM ((select 1) union (select 2)) AS \"*SET*\") or b < all (SELECT * FROM ((values (1)) except select c) AS \"*SET*\")",
            ),
            (
                "select 1 union all ((select 2) union (select 3)) order by a = any ((select 1))",
                "select 1 union all ((select 2) union (select 3)) order by a = any (select 1)",
            ),
            (
                "select trim(from a), trim(both from b), trim(leading from c), trim(trailing from d)",
                "select pg_catalog.btrim( a), pg_catalog.btrim( b), pg_catalog.ltrim( c), pg_catalog.rtrim( d)",
            ),
            (
                "select substring(a similar b escape '#')",
                "select pg_catalog.\"substring\"(a , b , '#')",
            ),
        ]);
    }

    #[test]
    fn clauses_that_only_look_like_it_stay() {
        stays(&[
            "select a * b, extract(year from a * b), count(*) from a",
            "select a is distinct from b * c, d * e, position('x' in f) from a where g is distinct from h * i",
            "select a from b join c on d is not distinct from e * f and g is distinct from h *i",
            "with x (a) as (select 1), y as materialized (values (1)) select 1 from x",
            "select preceding, following and exclude from t as (a int)",
            "select sum(a) over (order by b rows between 1 preceding and current row)",
            "select 1 group by grouping sets ((a), b, ()), rollup (a, b)",
            "select 1 from only (a) b",
            "values (1) union all (values (2))",
            "select 1 from (values (1)) as v, (values (2)) w",
            "insert into t (values (1))",
            "select a in (values (1))",
            "select trim(both 'x' from a), trim(a), ltrim(a)",
            "select substring(a from b for c), substring(a similar to b escape c)",
        ]);
    }
}
