//! Asks shards, and tells what concerns one table from what concerns them all.

use std::fmt;
use std::sync::Arc;

use futures::future::{join_all, try_join_all};
use tokio::sync::Mutex;

use crate::cluster::Cluster;
use crate::connect::Session;
use crate::error::{Error, ErrorKind, Phase, Result};

/// The rows of an answer, as text; `None` is NULL.
pub(super) type Rows = Vec<Vec<Option<String>>>;

/// How many keys, or rows, a message shows.
pub(super) const EXAMPLES: usize = 5;

/// What a server said when it did not want to answer a question about one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal(pub(super) String);

type Hears = dyn Fn(&str) + Send + Sync;

/// Hears what is being read.
#[derive(Clone, Default)]
pub(super) struct Watcher(pub(super) Option<Arc<Hears>>);

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Watcher").field(&self.0.is_some()).finish()
    }
}

/// The shards of a cluster, with one session each that is kept for all questions.
pub(super) struct Shards {
    cluster: Cluster,
    watcher: Watcher,
    sessions: Vec<Mutex<Option<Session>>>,
}

impl Shards {
    pub(super) fn new(cluster: Cluster, watcher: Watcher) -> Self {
        let count = cluster.topology().shards().len();
        Self {
            cluster,
            watcher,
            sessions: (0..count).map(|_| Mutex::new(None)).collect(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }

    pub(super) fn name(&self, shard: usize) -> &str {
        self.cluster
            .topology()
            .shards()
            .get(shard)
            .map_or("", |shard| shard.name())
    }

    /// Says what is being read.
    pub(super) fn tell(&self, what: impl FnOnce() -> String) {
        if let Watcher(Some(watcher)) = &self.watcher {
            watcher(&what());
        }
    }

    pub(super) fn names(&self) -> Vec<String> {
        let shards = self.cluster.topology().shards();
        shards.iter().map(|shard| shard.name().to_owned()).collect()
    }

    /// A new session, which nobody else uses.
    pub(super) async fn open(&self, shard: usize) -> Result<Session> {
        self.cluster.session(shard).await
    }

    /// Gives the connections back.
    pub(super) async fn finish(self) {
        let sessions = self.sessions.into_iter().filter_map(Mutex::into_inner);
        join_all(sessions.map(Session::finish)).await;
    }

    /// Asks one shard.
    pub(super) async fn ask(&self, shard: usize, sql: &str) -> Result<Rows> {
        let Some(kept) = self.sessions.get(shard) else {
            return Err(Error::new(ErrorKind::Config, "no such shard"));
        };
        let mut kept = kept.lock().await;
        // Taken out: after an error its transaction is of no more use, nor is it when this future
        // is dropped.
        let mut session = match kept.take() {
            Some(session) => session,
            None => self.open(shard).await?,
        };
        let rows = session
            .query(sql)
            .await
            .map_err(|error| error.with_shard(self.name(shard)))?;
        *kept = Some(session);
        Ok(rows)
    }

    /// Asks every shard its question, all at once; the first refusal of one stands for all.
    pub(super) async fn ask_each(&self, sqls: &[String]) -> Result<Result<Vec<Rows>, Refusal>> {
        let questions: Vec<(usize, &str)> = sqls.iter().map(String::as_str).enumerate().collect();
        self.ask_some(&questions).await
    }

    /// Asks some shards their questions, as [`ask_each`](Self::ask_each) does.
    pub(super) async fn ask_some(
        &self,
        questions: &[(usize, &str)],
    ) -> Result<Result<Vec<Rows>, Refusal>> {
        let asked = questions.iter().map(|(shard, sql)| self.ask(*shard, sql));
        // All are awaited, so that no session is lost to the refusal of another shard.
        let answers = join_all(asked).await;
        let mut rows = Vec::with_capacity(answers.len());
        let mut refusal = None;
        for answer in answers {
            match answer {
                Ok(answer) => rows.push(answer),
                Err(error) if is_refusal(&error) => {
                    refusal.get_or_insert_with(|| Refusal(error.to_string()));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(match refusal {
            Some(refusal) => Err(refusal),
            None => Ok(rows),
        })
    }

    /// Asks every shard the same question.
    pub(super) async fn ask_all(&self, sql: &str) -> Result<Result<Vec<Rows>, Refusal>> {
        self.ask_each(&vec![sql.to_owned(); self.len()]).await
    }

    /// Does the same with every shard at once; the first error ends it.
    pub(super) async fn each<'a, T, F: Future<Output = Result<T>>>(
        &'a self,
        task: impl Fn(&'a Self, usize) -> F,
    ) -> Result<Vec<T>> {
        try_join_all((0..self.len()).map(|shard| task(self, shard))).await
    }
}

/// Whether an error is about the table that was asked for: a permission, an operator that is
/// missing, a timeout of the statement. What is about the server concerns every table.
fn is_refusal(error: &Error) -> bool {
    error.kind() == ErrorKind::Server
        && error.sql_state().is_some_and(|code| {
            !["08", "25", "53", "57P", "58", "XX"]
                .iter()
                .any(|class| code.starts_with(class))
                || code == "XX000"
        })
}

/// A value of an answer, as a number.
pub(super) fn number<T: std::str::FromStr>(rows: &Rows, column: usize) -> Result<T> {
    value(rows, column)
        .and_then(|value| value.parse().ok())
        .ok_or_else(|| {
            Error::new(
                ErrorKind::Decode,
                format!("column {column} of an answer is not a number"),
            )
            .with_phase(Phase::Stream)
        })
}

/// A value of the first row of an answer; `None` for NULL.
pub(super) fn value(rows: &Rows, column: usize) -> Option<&str> {
    rows.first()?.get(column)?.as_deref()
}

/// The values of an answer's first column, without NULLs.
pub(super) fn column(rows: Rows) -> Vec<String> {
    rows.into_iter()
        .filter_map(|row| row.into_iter().next().flatten())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_about_a_table_is_a_refusal() {
        let server = |code: &str| Error::new(ErrorKind::Server, "m").with_sql_state(code);
        for code in ["42501", "42P01", "57014", "22003", "XX000"] {
            assert!(is_refusal(&server(code)), "{code}");
        }
        for code in ["57P01", "53300", "08006", "58030", "25P02", "XX001"] {
            assert!(!is_refusal(&server(code)), "{code}");
        }
        assert!(!is_refusal(&Error::new(ErrorKind::Connect, "m")));
    }
}
