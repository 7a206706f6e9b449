//! How deep the tree of a statement can become, before there is a tree.
//!
//! `a OR b OR c` parses to `((a OR b) OR c)`: a long chain is a deep tree, and whatever walks it,
//! prints it or drops it needs stack for each level. The parser limits how deep it nests itself,
//! but a chain costs it no stack, so chains are limited here, on the tokens.

use super::tokens::{Lexed, Token};

/// An upper bound of the levels that chains of infix and postfix operators, set operations and
/// nested brackets make together.
pub(super) fn depth_bound(tokens: &[Lexed<'_>]) -> usize {
    let mut levels = vec![Level::default()];
    for Lexed { token, .. } in tokens {
        let Some(level) = levels.last_mut() else {
            break;
        };
        match token {
            Token::Symbol("(" | "[") => levels.push(Level::default()),
            Token::Symbol(")" | "]") => {
                close(&mut levels, Kind::Bracket);
                // A subscript is also a link of a chain.
                if let (Some(level), Token::Symbol("]")) = (levels.last_mut(), token) {
                    level.chain += 1;
                }
            }
            Token::Symbol(",") => level.next_item(),
            Token::Symbol("::") | Token::Operator(_) => level.chain += 1,
            Token::Word(word) => match word.as_ref() {
                "case" => levels.push(Level {
                    kind: Kind::Case,
                    ..Level::default()
                }),
                "end" if level.kind == Kind::Case => close(&mut levels, Kind::Case),
                "when" | "then" | "else" if level.kind == Kind::Case => level.next_item(),
                "union" | "intersect" | "except" => {
                    level.next_item();
                    level.set_operations += 1;
                }
                // A new clause.
                "select" | "from" | "where" | "having" => level.next_item(),
                // What is beside it is no deeper for it: `a = 1 OR b = 2 OR c = 3` has three levels.
                "or" => level.next_operand(),
                "and" | "not" | "is" | "isnull" | "notnull" | "in" | "between" | "like"
                | "ilike" | "similar" | "overlaps" | "collate" | "at" | "xor" | "div" | "rlike"
                | "regexp" => level.chain += 1,
                _ => {}
            },
            _ => {}
        }
    }
    while levels.len() > 1 {
        close(&mut levels, Kind::Case);
        close(&mut levels, Kind::Bracket);
    }
    levels.last().map_or(0, Level::depth)
}

/// What is inside one pair of brackets, or inside one CASE.
#[derive(Default)]
struct Level {
    kind: Kind,
    /// The links of the chain in the current operand of OR.
    chain: usize,
    /// How many OR the current item of a list or clause has, and the longest chain between them.
    ors: usize,
    longest: usize,
    /// The deepest of the brackets in it.
    nested: usize,
    /// The deepest of the items before.
    deepest: usize,
    set_operations: usize,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Kind {
    #[default]
    Bracket,
    Case,
}

impl Level {
    fn next_item(&mut self) {
        self.deepest = self.deepest.max(self.item());
        self.chain = 0;
        self.ors = 0;
        self.longest = 0;
        self.nested = 0;
    }

    fn next_operand(&mut self) {
        self.longest = self.longest.max(self.chain);
        self.chain = 0;
        self.ors += 1;
    }

    fn item(&self) -> usize {
        self.ors + self.longest.max(self.chain) + self.nested
    }

    fn depth(&self) -> usize {
        self.deepest.max(self.item()) + self.set_operations
    }
}

/// Ends the innermost level of this kind, with all levels inside; what a column named `case` opened
/// ends with the bracket around it.
fn close(levels: &mut Vec<Level>, kind: Kind) {
    while levels.len() > 1 {
        let Some(level) = levels.pop() else { return };
        let depth = level.depth() + 1;
        if let Some(outer) = levels.last_mut() {
            outer.nested = outer.nested.max(depth);
        }
        if level.kind == kind || levels.len() == 1 {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tokens::tokens;
    use super::*;

    #[test]
    fn chains_are_deep_and_lists_are_not() {
        for (sql, expected) in [
            ("select a", 0),
            ("select a or b or c, d or e", 2),
            ("select a = 1 or b = 2 or c = 3 and d = 4", 5),
            ("select 1, 2, 3, 4, 5", 0),
            ("select 1 union select 2 union select 3", 2),
            ("select (a or b) or c, d", 3),
            ("select ((a))", 2),
            ("select a::int::text[1]", 4),
            (
                "select case when a or b then c or d when e then f else g end",
                2,
            ),
            (
                "select 1 + case when a then b end + case when a then b end",
                3,
            ),
            ("select a as case, b or c from t where (d)", 2),
            ("select f(a or b or c) from (select a or b) x", 3),
            ("select ))", 0),
            ("select ((", 2),
        ] {
            assert_eq!(depth_bound(&tokens(sql).unwrap()), expected, "{sql}");
        }
    }
}
