//! A text of SQL or PL/pgSQL that is not ours to change: the body of a function, a condition of a
//! domain.
//!
//! It is read word by word, and every word is taken for the worst that it may mean, in any schema:
//! the function's own search path counts, not the session's.

use super::objects;
use super::verdict::{ASK, Judges, READS, Verdict, Why, why};
use crate::catalog::{Function, Origin};
use crate::plan::facts::functions as system;
use crate::plan::instant;
use crate::plan::sql::tokens::{Token, tokens};

/// Commands that run another text or a procedure, or ask for what is no data. EXECUTE, which may
/// stand in the middle of one, is not among them.
const COMMANDS: [&str; 4] = ["call", "copy", "do", "show"];

/// After these a word may be the name of a relation that is read.
const BEFORE_RELATIONS: [&str; 6] = ["from", "join", "lateral", "only", "table", "using"];

/// After these a statement begins.
const BEFORE_COMMANDS: [&str; 5] = ["atomic", "begin", "else", "loop", "then"];

/// Whether what a text computes depends on its parameters alone. A reason that begins with a comma
/// is one of the text itself.
pub(super) fn check(judge: &dyn Judges, sql: &str) -> Verdict {
    let lexed = tokens(sql)
        .map_err(|reason| Why::new(format!(", whose text is not understood: {reason}"), READS))?;
    let all: Vec<Token<'_>> = lexed.into_iter().map(|lexed| lexed.token).collect();
    let text = Text { judge, all: &all };
    judge.casts_of_anything()?;
    (0..all.len()).try_for_each(|at| text.token(at))
}

struct Text<'a> {
    judge: &'a dyn Judges,
    all: &'a [Token<'a>],
}

impl Text<'_> {
    fn token(&self, at: usize) -> Verdict {
        match self.all.get(at) {
            Some(Token::Word(word)) => self.word(at, word, true),
            Some(Token::Quoted(word)) => self.word(at, word, false),
            Some(Token::Operator(symbol)) => self.operator(symbol),
            Some(Token::String(value)) => match is_instant(&String::from_utf8_lossy(value)) {
                true => Err(reads_clock("a literal")),
                false => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn before(&self, at: usize, back: usize) -> Option<&Token<'_>> {
        self.all.get(at.checked_sub(back)?)
    }

    fn word(&self, at: usize, word: &str, is_bare: bool) -> Verdict {
        let is_qualified = self.before(at, 1).is_some_and(|it| it.is_symbol("."));
        let is_call = self.all.get(at + 1).is_some_and(|it| it.is_symbol("("));
        if is_bare && !is_qualified {
            self.keyword(at, word, is_call)?;
        }
        if objects::TYPES.contains(&word) || ["oid", "pg_typeof"].contains(&word) {
            return Err(Why::new(
                format!(", whose text has {word}, a number that each database gives itself"),
                ASK,
            ));
        }
        self.relation(at, word)?;
        self.types(word)?;
        if is_call {
            return self.call(at, word, is_qualified);
        }
        // `row.f` is `f(row)`.
        match is_qualified {
            true => self.functions(word, Some(1), |it| it.origin != Origin::System),
            false => Ok(()),
        }
    }

    fn keyword(&self, at: usize, word: &str, is_call: bool) -> Verdict {
        let begins = match self.before(at, 1) {
            None => true,
            Some(Token::Word(before)) => BEFORE_COMMANDS.contains(&&**before),
            Some(before) => before.is_symbol(";"),
        };
        if word == "execute" || COMMANDS.contains(&word) && begins {
            return Err(Why::new(
                format!(", whose text says {}", word.to_uppercase()),
                READS,
            ));
        }
        if system::is_clock_keyword(word) {
            return Err(reads_clock(word));
        }
        let is_server = system::is_role(word) && word != "user"
            || ["current_catalog", "current_schema"].contains(&word);
        if is_server && !is_call {
            return Err(why(word, system::Class::Server));
        }
        match word {
            "like" | "ilike" | "similar" => ["~~", "!~~", "~~*", "!~~*", "~", "!~"]
                .iter()
                .try_for_each(|symbol| self.operator(symbol)),
            "in" | "between" | "distinct" | "case" | "nullif" | "using" | "natural" => {
                ["=", "<>", "<", "<=", ">", ">="]
                    .iter()
                    .try_for_each(|symbol| self.operator(symbol))
            }
            _ => Ok(()),
        }
    }

    fn operator(&self, symbol: &str) -> Verdict {
        let operators = self.judge.catalog().operators_anywhere(symbol);
        self.judge.operators(symbol, &operators.collect::<Vec<_>>())
    }

    /// A word that a relation is called, where one may be read.
    fn relation(&self, at: usize, word: &str) -> Verdict {
        let mut back = 1;
        // `schema.table`, `database.schema.table`.
        while self.before(at, back).is_some_and(|it| it.is_symbol(".")) {
            back += 2;
        }
        // `FROM (a JOIN b ..)`
        while self.before(at, back).is_some_and(|it| it.is_symbol("(")) {
            back += 1;
        }
        let may_be_read = match self.before(at, back) {
            Some(Token::Word(before)) if before == "from" => !self.is_other_from(at - back),
            Some(Token::Word(before)) => BEFORE_RELATIONS.contains(&&**before),
            Some(Token::Symbol(",")) => self.is_list_of_from(at - back),
            _ => false,
        };
        if !may_be_read {
            return Ok(());
        }
        match self.judge.catalog().relations_anywhere(word).next() {
            None => Ok(()),
            Some(found) => Err(Why::new(
                format!(
                    ", whose text reads {}.{}: each shard would read its own rows only",
                    found.schema, found.name
                ),
                READS,
            )),
        }
    }

    /// Whether a FROM is one of `extract(year FROM x)` or `x IS DISTINCT FROM y`.
    fn is_other_from(&self, from: usize) -> bool {
        let is_word = |back: usize, words: &[&str]| matches!(self.before(from, back), Some(Token::Word(word)) if words.contains(&&**word));
        if is_word(1, &["distinct"]) && is_word(2, &["is", "not"]) {
            return true;
        }
        let mut depth = 0_usize;
        for open in (0..from).rev() {
            match self.all.get(open) {
                Some(Token::Symbol(")" | "]")) => depth += 1,
                Some(Token::Symbol("(" | "[")) if depth == 0 => {
                    const CALLS: [&str; 4] = ["extract", "overlay", "substring", "trim"];
                    return matches!(self.before(open, 1),
                        Some(Token::Word(word)) if CALLS.contains(&&**word));
                }
                Some(Token::Symbol("(" | "[")) => depth -= 1,
                // A query inside has parentheses of its own.
                _ => {}
            }
        }
        false
    }

    /// Whether a comma stands between items of FROM: not between arguments, or in another clause.
    ///
    /// Clauses are told by reserved words alone. VALUES and PARTITION may be names, and no name of a
    /// relation comes behind a comma of theirs outside of parentheses.
    fn is_list_of_from(&self, comma: usize) -> bool {
        let mut depth = 0_usize;
        for (at, token) in self.all.iter().enumerate().take(comma).rev() {
            // `a.by` and `AS by` are names.
            let is_name = match self.before(at, 1) {
                Some(Token::Word(before)) => **before == *"as",
                Some(before) => before.is_symbol("."),
                None => false,
            };
            match token {
                Token::Symbol(")" | "]") => depth += 1,
                Token::Symbol("(" | "[") if depth == 0 => return false,
                Token::Symbol("(" | "[") => depth -= 1,
                Token::Word(word) if depth == 0 && BEFORE_RELATIONS.contains(&&**word) => {
                    return true;
                }
                Token::Word(word) if depth == 0 && !is_name => match &**word {
                    "select" => return false,
                    "by" if matches!(self.before(at, 1), Some(Token::Word(before))
                        if ["group", "order"].contains(&&**before)) =>
                    {
                        return false;
                    }
                    _ => {}
                },
                _ => {}
            }
        }
        false
    }

    /// A word may be a type, or a collation.
    fn types(&self, word: &str) -> Verdict {
        let catalog = self.judge.catalog();
        let mut collations = catalog.collations_anywhere(word);
        collations.try_for_each(|it| self.judge.collation(it))?;
        catalog.types_anywhere(word).try_for_each(|it| {
            self.judge
                .data_type(&it.sql)
                .and_then(|()| self.judge.cast_to(&it.sql))
        })?;
        // Rows of a relation are a type of its name.
        catalog.relations_anywhere(word).try_for_each(|it| {
            let row_type = format!("{}.{}", it.schema, it.name);
            self.judge.data_type(&row_type)
        })?;
        match catalog.casts.is_empty() {
            true => Ok(()),
            false => self.judge.cast_to(word),
        }
    }

    fn call(&self, at: usize, word: &str, is_qualified: bool) -> Verdict {
        let schema = match (is_qualified, self.before(at, 2)) {
            (true, Some(Token::Word(schema))) => Some(schema.to_string()),
            (true, Some(Token::Quoted(schema))) => Some(schema.clone()),
            _ => None,
        };
        self.functions(word, self.arguments(at + 1), |it| {
            schema.as_ref().is_none_or(|schema| it.schema == *schema)
        })
    }

    fn functions(
        &self,
        name: &str,
        count: Option<usize>,
        is_meant: impl Fn(&Function) -> bool,
    ) -> Verdict {
        let all: Vec<&Function> = self
            .judge
            .catalog()
            .functions_anywhere(name)
            .filter(|it| it.takes(count) && is_meant(it))
            // PostgreSQL's own, of two arguments, is a difference of times.
            .filter(|it| {
                let is_difference = name == "age" && count.is_none_or(|count| count > 1);
                !(is_difference && it.origin == Origin::System)
            })
            .collect();
        self.judge.in_text(name, &all)
    }

    /// How many arguments are in the parentheses that open here; `None` where that is not certain.
    fn arguments(&self, open: usize) -> Option<usize> {
        let (mut depth, mut commas, mut is_empty) = (0_usize, 0, true);
        for token in self.all.get(open..)? {
            match token {
                Token::Symbol("(" | "[") => depth += 1,
                Token::Symbol(")" | "]") => {
                    depth = depth.checked_sub(1)?;
                    if depth == 0 {
                        return Some(if is_empty { 0 } else { commas + 1 });
                    }
                }
                Token::Symbol(",") if depth == 1 => commas += 1,
                // `VARIADIC array`, or ORDER BY in an aggregate.
                Token::Word(word) if depth == 1 && ["variadic", "order"].contains(&&**word) => {
                    return None;
                }
                Token::Operator("*") if depth == 1 && is_empty => continue,
                _ => {}
            }
            is_empty &= matches!(token, Token::Symbol("(")) && depth == 1;
        }
        None
    }
}

fn reads_clock(what: &str) -> Why {
    Why::new(
        format!(
            ", whose text reads the clock by {what}: it cannot be stopped there for all shards"
        ),
        "give it the time as an argument",
    )
}

/// Whether a literal is nothing but a word for an instant, as in `'today'::date`.
fn is_instant(text: &str) -> bool {
    // `today UTC` and `now` are; a sentence that has the word is taken for one only at its start.
    let mut words = text
        .split(|c: char| !c.is_alphabetic())
        .filter(|word| !word.is_empty());
    words.next().is_some_and(instant::has_special_word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{Catalog, Code, Collation, FunctionKind, Operator, Volatility};
    use crate::catalog::{Relation, RelationKind, TypeCalls};
    use crate::plan::calls::judge::Judge;

    fn function(
        name: &str,
        origin: Origin,
        volatility: Volatility,
        body: Option<&str>,
    ) -> Function {
        Function {
            schema: "app".to_owned(),
            name: name.to_owned(),
            kind: FunctionKind::Normal,
            volatility,
            origin,
            arguments: (1, Some(1)),
            gives_values: false,
            code: body.map(|body| Code {
                language: "sql".to_owned(),
                signature: String::new(),
                body: Some(body.to_owned()),
                calls: Vec::new(),
                types: Vec::new(),
                outputs: Vec::new(),
                gives_rows: false,
            }),
            difference: None,
        }
    }

    fn catalog() -> Catalog {
        use Volatility::{Immutable, Stable};
        let mut catalog = Catalog::new(vec!["pg_catalog".to_owned()], Collation::database(true))
            .with_relation(Relation {
                schema: "app".to_owned(),
                name: "sale".to_owned(),
                kind: RelationKind::Table,
                columns: Vec::new(),
                keys: Vec::new(),
                primary_key: None,
                row_security: false,
                parent: None,
                has_children: false,
                list_difference: None,
                difference: None,
            })
            .with_function(function("lower", Origin::System, Immutable, None))
            .with_function(function("to_char", Origin::System, Stable, None))
            .with_function(function("query_to_xml", Origin::System, Stable, None))
            .with_function(function("brand_new", Origin::System, Stable, None))
            .with_function(function("reader", Origin::User, Stable, None))
            .with_function(function(
                "liar",
                Origin::User,
                Immutable,
                Some("select reader(1)"),
            ))
            .with_function(function(
                "again",
                Origin::User,
                Immutable,
                Some("select again($1)"),
            ));
        catalog.add_operator(Operator {
            schema: "app".to_owned(),
            name: "<+>".to_owned(),
            origin: Origin::User,
            function: ("app".to_owned(), "reader".to_owned()),
            difference: None,
        });
        let check = TypeCalls {
            check: Some("CHECK (app.reader(VALUE) > 0)".to_owned()),
            ..TypeCalls::default()
        };
        catalog.type_calls.insert("app.checked".to_owned(), check);
        catalog
    }

    #[test]
    fn a_text_is_harmless_or_says_why_it_is_not() {
        let catalog = catalog();
        let judge = Judge::new(&catalog);
        for harmless in [
            "select lower($1) || to_char(x, 'YYYY')",
            "select sale + 1, extract(year from d)",
            "declare sale int; begin if sale > 1 then return lower('from sale'); end if; end",
            "select again($1) -- from sale\n/* execute */",
            "select x is distinct from y, 'the day of today''s sale'",
            "CHECK ((VALUE > 0))",
            "select extract(year from sale), trim(both ' ' from sale), x is not distinct from sale",
            "select sum(x) from unnest(sale) x, f(1, sale) group by a, sale",
        ] {
            assert_eq!(check(&judge, harmless), Ok(()), "{harmless}");
        }
        for (text, reason) in [
            ("select count(*) from sale", "reads app.sale"),
            ("select count(*) from\n app . \"sale\" s", "reads app.sale"),
            ("select 1 from d.app.sale", "reads app.sale"),
            ("select 1 from a, sale", "reads app.sale"),
            ("select 1 from (sale join x on true)", "reads app.sale"),
            (
                "select 1 from ((sale join x on true) join y on true)",
                "reads app.sale",
            ),
            (
                "select 1 from a join b on f(a, b) = 1, sale",
                "reads app.sale",
            ),
            ("select 1 from f(1, 2), sale", "reads app.sale"),
            ("table sale", "reads app.sale"),
            (
                "select extract(year from (select d from sale))",
                "reads app.sale",
            ),
            ("begin execute 'select 1'; end", "EXECUTE"),
            ("begin return query execute x; end", "EXECUTE"),
            ("begin call p(); end", "CALL"),
            ("select reader(1)", "function reader, which is not declared"),
            ("select app.reader ( 1 )", "function reader"),
            (
                "select liar(1)",
                "the function liar, which calls the function reader",
            ),
            ("select (x).reader", "function reader"),
            (
                "select 1 <+> 2",
                "operator <+>, which calls the function reader",
            ),
            ("select query_to_xml(x)", "reads tables itself"),
            ("select brand_new(1)", "not known to read no table"),
            ("select current_date - 1", "clock by current_date"),
            ("select 'today'::date", "clock by a literal"),
            ("select current_user", "tells of the server"),
            ("select 'a", "not understood"),
        ] {
            let why = check(&judge, text).expect_err(text);
            assert!(why.what.contains(reason), "{text}: {}", why.what);
            assert!(!why.hint.is_empty(), "{text}");
        }
        let why = judge.data_type("app.checked[]").unwrap_err();
        assert!(
            why.what.starts_with("the type app.checked, which calls"),
            "{}",
            why.what
        );
    }
}
