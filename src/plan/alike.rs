//! Whether the server of `[finish] url` reads a text as the shards would.
//!
//! It has no tables, but it computes: with its own collation, its own functions, types and operators of
//! users. What a text names of these, and what these name in turn, has to be the same there. Names are
//! words here, whatever they stand for: a column that is called like a type which differs is taken for
//! the type. That refuses too much at times, and never too little.

use std::collections::BTreeSet;

use super::sql::tokens::{Lexed, Token, tokens};
use super::{Place, Plan, facts, refused};
use crate::catalog::{Cast, Catalog, Code, FunctionName, type_key};
use crate::error::{Error, Result};

/// Refuses a plan whose finish another server would compute otherwise; `both` has the shards and that
/// server side by side.
///
/// # Errors
/// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported), with what differs.
pub(crate) fn finish_is_alike(plan: &Plan, both: &Catalog) -> Result<()> {
    let finish = plan.steps.iter().filter(|it| it.place == Place::Finish);
    let mut finish = finish.peekable();
    if finish.peek().is_none() {
        return Ok(());
    }
    if let Some(difference) = both.difference() {
        return Err(unlike(difference));
    }
    if let Some(difference) = both.conditions().setting_difference() {
        return Err(unlike(&difference));
    }
    finish.try_for_each(|step| text_is_alike(&step.sql.to_string(), both))
}

/// Refuses a text for the server that finishes which names something that is not the same there.
///
/// # Errors
/// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported), with what differs.
pub(crate) fn text_is_alike(sql: &str, both: &Catalog) -> Result<()> {
    let mut names = Names::new(both);
    names.read(sql)?;
    names.all()
}

fn unlike(difference: &str) -> Error {
    refused(
        format!("the server of [finish] url is not as the shards are: {difference}"),
        "make them alike, or let a shard finish: [finish] without url",
    )
}

/// The names of a text, and of what they mean.
struct Names<'a> {
    both: &'a Catalog,
    seen: BTreeSet<Name>,
    /// Those whose meaning has not been looked at.
    next: Vec<Name>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Name {
    /// Before a bracket, or behind the full stop of an attribute: of a function, or of anything else.
    Called(String),
    /// Of anything but a function.
    Word(String),
    Operator(String),
}

impl<'a> Names<'a> {
    fn new(both: &'a Catalog) -> Self {
        Self {
            both,
            seen: BTreeSet::new(),
            next: Vec::new(),
        }
    }

    fn add(&mut self, name: Name) {
        if self.seen.insert(name.clone()) {
            self.next.push(name);
        }
    }

    fn read(&mut self, sql: &str) -> Result<()> {
        let lexed = tokens(sql)
            .map_err(|reason| Error::fault(format!("a step's SQL cannot be read: {reason}")))?;
        self.tokens(&lexed);
        Ok(())
    }

    fn tokens(&mut self, lexed: &[Lexed<'_>]) {
        for (index, found) in lexed.iter().enumerate() {
            let word = match &found.token {
                Token::Word(word) => word.to_string(),
                Token::Quoted(name) => name.clone(),
                Token::Operator(symbol) => {
                    self.add(Name::Operator((*symbol).to_owned()));
                    continue;
                }
                _ => continue,
            };
            let is = |at: Option<usize>, symbol| {
                let found = at.and_then(|at| lexed.get(at));
                found.is_some_and(|it| it.token.is_symbol(symbol))
            };
            let is_called = is(Some(index + 1), "(")
                || is(index.checked_sub(1), ".") && is(index.checked_sub(2), ")");
            self.add(match is_called {
                true => Name::Called(word),
                false => Name::Word(word),
            });
        }
    }

    /// Follows all names, and refuses the first whose meaning differs.
    fn all(mut self) -> Result<()> {
        while let Some(name) = self.next.pop() {
            match name {
                Name::Operator(symbol) => self.operator(&symbol)?,
                Name::Word(word) => self.object(&word)?,
                Name::Called(word) => {
                    self.object(&word)?;
                    self.function(&word)?;
                }
            }
        }
        // Those that nobody writes.
        let both = self.both;
        both.casts
            .iter()
            .filter(|cast| cast.facts.is_implicit || self.names_type_of(cast))
            .try_for_each(|cast| same(cast.difference.as_deref()))
    }

    fn function(&mut self, name: &str) -> Result<()> {
        if facts::functions::is_text_search(name) {
            same(self.both.text_search_difference.as_deref())?;
        }
        for function in self.both.functions_anywhere(name) {
            same(function.difference.as_deref())?;
            if let Some(code) = &function.code {
                self.code(code);
            }
        }
        Ok(())
    }

    /// What a function of users names.
    fn code(&mut self, code: &Code) {
        // A body in another language has names in it all the same, as far as it can be read.
        let body = code.body.as_deref().unwrap_or_default();
        match tokens(body) {
            Ok(lexed) => self.tokens(&lexed),
            Err(_) => {
                let words = body.split(|c: char| !c.is_alphanumeric() && c != '_');
                words.for_each(|word| self.add(Name::Called(word.to_lowercase())));
            }
        }
        self.calls(&code.calls);
        self.types(&code.types);
    }

    fn operator(&mut self, symbol: &str) -> Result<()> {
        for operator in self.both.operators_anywhere(symbol) {
            same(operator.difference.as_deref())?;
            self.calls(std::slice::from_ref(&operator.function));
        }
        Ok(())
    }

    /// A type, or a collation.
    fn object(&mut self, name: &str) -> Result<()> {
        for collation in self.both.collations_anywhere(name) {
            same(collation.difference.as_deref())?;
        }
        for data_type in self.both.types_anywhere(name) {
            same(data_type.difference.as_deref())?;
            let Some(of) = self.both.type_calls.get(&type_key(&data_type.sql)) else {
                continue;
            };
            self.calls(&of.calls);
            self.types(&of.parts);
            if let Some(check) = &of.check {
                self.read(check)?;
            }
        }
        Ok(())
    }

    fn calls(&mut self, functions: &[FunctionName]) {
        for (_, name) in functions {
            self.add(Name::Called(name.clone()));
        }
    }

    fn types(&mut self, types: &[String]) {
        for sql in types {
            self.add(Name::Word(last_word(sql)));
        }
    }

    fn names_type_of(&self, cast: &Cast) -> bool {
        [&cast.facts.source, &cast.facts.target].iter().any(|sql| {
            let word = last_word(sql);
            [Name::Word(word.clone()), Name::Called(word)]
                .iter()
                .any(|name| self.seen.contains(name))
        })
    }
}

/// The name of a type without its schema.
fn last_word(sql: &str) -> String {
    let key = type_key(sql);
    key.rsplit('.').next().unwrap_or_default().to_owned()
}

fn same(difference: Option<&str>) -> Result<()> {
    difference.map_or(Ok(()), |difference| Err(unlike(difference)))
}
