//! What planning asks servers, and what they say.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use super::sql::without_marks;
use super::{Stop, thread};
use crate::error::{Error, Result};
use crate::types::Column;

/// A question that only a server can answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Need {
    /// The columns of a statement, from any shard.
    Describe(String),
    /// The rows of a statement that reads no table, as text.
    Evaluate(String),
    /// The same of a statement that computes shards by a rule of the topology.
    Shards { rule: String, sql: String },
}

/// The answer to a [`Need`].
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    Columns(Vec<Column>),
    Rows(Rows),
}

/// Rows of values in PostgreSQL's text form.
type Rows = Vec<Vec<Option<String>>>;

/// Asks servers, and waits for what they say.
type Ask = Box<dyn FnMut(&Need) -> Result<Answer>>;

/// What servers know.
#[derive(Default)]
pub(crate) struct Answers {
    /// Descriptions that were known before.
    known: Arc<HashMap<String, Vec<Column>>>,
    found: RefCell<HashMap<Need, Answer>>,
    /// Without it planning stops at what is not known.
    ask: Option<RefCell<Ask>>,
}

impl Answers {
    /// `known` are descriptions from before; all else is asked for.
    pub(crate) fn new(
        known: Arc<HashMap<String, Vec<Column>>>,
        ask: impl FnMut(&Need) -> Result<Answer> + 'static,
    ) -> Self {
        Self {
            known,
            found: RefCell::default(),
            ask: Some(RefCell::new(Box::new(ask))),
        }
    }

    /// What is known; the rest is not asked for.
    #[cfg(test)]
    pub(crate) fn knowing(
        known: Arc<HashMap<String, Vec<Column>>>,
        answered: impl IntoIterator<Item = (Need, Answer)>,
    ) -> Self {
        Self {
            known,
            found: RefCell::new(answered.into_iter().collect()),
            ask: None,
        }
    }

    /// The columns of a statement.
    pub(super) fn described(&self, sql: String) -> std::result::Result<Vec<Column>, Stop> {
        let sql = without_marks(sql);
        if let Some(columns) = self.known.get(&sql) {
            return Ok(columns.clone());
        }
        match self.to(Need::Describe(sql))? {
            Answer::Columns(columns) => Ok(columns),
            Answer::Rows(_) => Err(Error::fault("rows instead of columns").into()),
        }
    }

    /// The rows of a statement that reads no table.
    pub(super) fn evaluated(&self, sql: String) -> std::result::Result<Rows, Stop> {
        match self.to(Need::Evaluate(without_marks(sql)))? {
            Answer::Rows(rows) => Ok(rows),
            Answer::Columns(_) => Err(Error::fault("columns instead of rows").into()),
        }
    }

    /// The rows of a statement that computes shards by a rule of the topology.
    pub(super) fn shards(&self, rule: &str, sql: String) -> std::result::Result<Rows, Stop> {
        let rule = rule.to_owned();
        match self.to(Need::Shards { rule, sql })? {
            Answer::Rows(rows) => Ok(rows),
            Answer::Columns(_) => Err(Error::fault("columns instead of rows").into()),
        }
    }

    fn to(&self, need: Need) -> std::result::Result<Answer, Stop> {
        thread::check()?;
        if let Some(answer) = self.found.borrow().get(&need) {
            return Ok(answer.clone());
        }
        let Some(ask) = &self.ask else {
            return Err(Stop::Need(need));
        };
        let answer = ask.borrow_mut()(&need)?;
        self.found.borrow_mut().insert(need, answer.clone());
        Ok(answer)
    }

    /// The descriptions that were asked for.
    pub(crate) fn into_described(self) -> Vec<(String, Vec<Column>)> {
        let found = self.found.into_inner().into_iter();
        found
            .filter_map(|(need, answer)| match (need, answer) {
                (Need::Describe(sql), Answer::Columns(columns)) => Some((sql, columns)),
                _ => None,
            })
            .collect()
    }
}

impl fmt::Debug for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answers")
            .field("found", &self.found)
            .finish_non_exhaustive()
    }
}
