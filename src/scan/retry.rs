//! A shard's query that runs again, in another session, while none of its rows has left.

use std::sync::Arc;
use std::time::Duration;

use super::{Description, Reading, describe};
use crate::connect::{Opening, Permit, Pools, Session};
use crate::error::{Error, ErrorKind, Phase, Result, SqlOrigin};
use crate::progress::{Counters, ShardState};
use crate::statement::Statement;

/// How often a shard's query runs again unless set otherwise.
#[cfg(feature = "datafusion")]
pub(crate) const DEFAULT_RETRIES: u32 = 3;
/// The longest pause before the first time; each further one may be twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// No pause is longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What running a shard's query again takes.
pub(crate) struct Retry {
    pools: Arc<Pools>,
    opening: Opening,
    statement: Arc<Statement>,
    origin: SqlOrigin,
    reading: Reading,
    counters: Arc<Counters>,
    /// How often it may still run again.
    left: u32,
    done: u32,
    /// The first description, which every other has to equal.
    expected: Option<Description>,
}

impl Retry {
    pub(crate) fn new(
        (pools, opening): (&Arc<Pools>, &Opening),
        statement: &Arc<Statement>,
        (origin, reading): (SqlOrigin, Reading),
        counters: &Arc<Counters>,
        most: u32,
    ) -> Self {
        Self {
            pools: pools.clone(),
            opening: opening.clone(),
            statement: statement.clone(),
            origin,
            reading,
            counters: counters.clone(),
            left: most,
            done: 0,
            expected: None,
        }
    }

    /// Describes the statement: in this session, or in another if it is lost.
    ///
    /// # Errors
    /// As [`describe`]; [`ErrorKind::Unsupported`] where another server has other columns.
    pub(crate) async fn describe(
        &mut self,
        mut session: Session,
    ) -> Result<(Session, Description)> {
        let statement = self.statement.clone();
        let found = loop {
            self.counters.set(ShardState::Describing);
            match describe(&mut session, &statement, self.origin, self.reading).await {
                Ok(found) => break found,
                Err(error) => session = self.reopen(session, error).await?,
            }
        };
        match &self.expected {
            // What was made of the first goes with no other: values would be read as something else.
            Some(expected) if !expected.is_like(&found) => Err(Error::new(
                ErrorKind::Unsupported,
                "the query ran again, and had other columns than before",
            )
            .with_shard(session.shard())
            .with_phase(Phase::Describe)
            .with_hint("make the tables alike on all servers of the shard")),
            Some(_) => Ok((session, found)),
            None => {
                self.expected = Some(found.clone());
                Ok((session, found))
            }
        }
    }

    /// A session in which the query may run again, in place of the one that was lost before any of its
    /// rows was handed on.
    ///
    /// # Errors
    /// The one that ended the query, where running it again would not help, or did not.
    pub(crate) async fn session(&mut self, lost: Session, error: Error) -> Result<Session> {
        let session = self.reopen(lost, error).await?;
        let (session, _) = self.describe(session).await?;
        Ok(session)
    }

    async fn reopen(&mut self, lost: Session, error: Error) -> Result<Session> {
        if !may_pass(&error, lost.has_other_servers()) {
            return Err(error);
        }
        let error = error.with_shard(lost.shard());
        if self.left == 0 {
            return Err(self.in_vain(error));
        }
        let before = lost.identity().map(str::to_owned);
        let mut permit: Option<Permit> = lost.lose();
        loop {
            self.counters.set(ShardState::Connecting);
            tokio::time::sleep(self.pause()).await;
            self.left -= 1;
            self.done += 1;
            self.counters.retried(&error);
            let opened = self.pools.session_in(&mut permit, &self.opening).await;
            match opened {
                Ok(session) if is_one_database(before.as_deref(), session.identity()) => {
                    return Ok(session);
                }
                Ok(session) => {
                    let other =
                        "the query was lost, and the next server of the shard has another database";
                    return Err(Error::new(ErrorKind::Unsupported, other)
                        .with_shard(session.shard())
                        .with_phase(Phase::Connect)
                        .with_hint("name only copies of one database as hosts of a shard"));
                }
                Err(again) if again.is_retryable() && self.left > 0 => {}
                // The first error says what happened; that the server is away follows from it.
                Err(again) if again.is_retryable() => return Err(self.in_vain(error)),
                Err(again) => return Err(again),
            }
        }
    }

    fn in_vain(&self, error: Error) -> Error {
        match self.done {
            0 => error,
            1 => error.with_more("running it once more did not help"),
            times => error.with_more(&format!("running it {times} times more did not help")),
        }
    }

    /// Half of it by chance, so that those who lost a server together do not come back together.
    fn pause(&self) -> Duration {
        let longest = FIRST_PAUSE.saturating_mul(1 << self.done.min(10));
        longest
            .min(LONGEST_PAUSE)
            .mul_f64(0.5 + fastrand::f64() / 2.0)
    }
}

/// Whether two servers have one database, or copies of it, as far as they said what they have: another one
/// may be that of another shard.
fn is_one_database(before: Option<&str>, now: Option<&str>) -> bool {
    let of = |said: Option<&str>| {
        let said: serde_json::Value = serde_json::from_str(said?).ok()?;
        Some((said.get("system").cloned(), said.get("database").cloned()))
    };
    match (of(before), of(now)) {
        (Some(before), Some(now)) => before == now,
        _ => true,
    }
}

/// Whether what ended a query may have passed when it runs again.
///
/// A server that was told to end the session (57P01) shuts down, or somebody did not want the query: then
/// only another server is asked.
fn may_pass(error: &Error, has_other_servers: bool) -> bool {
    error.is_retryable() && (has_other_servers || error.sql_state() != Some("57P01"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_goes_on_at_copies_of_its_database_alone() {
        let said = |system: &str, database: &str, started: u32| {
            format!(r#"{{"system": "{system}", "database": "{database}", "started": "{started}"}}"#)
        };
        let lost = said("7", "a", 1);
        for (now, expected) in [
            (Some(said("7", "a", 2)), true),
            (Some(said("8", "a", 1)), false),
            (Some(said("7", "b", 1)), false),
            (None, true),
        ] {
            assert_eq!(
                is_one_database(Some(&lost), now.as_deref()),
                expected,
                "{now:?}"
            );
        }
        assert!(is_one_database(None, Some(&lost)));
    }

    #[test]
    fn what_running_it_again_may_cure() {
        let server = |code: &str| Error::new(ErrorKind::Server, "m").with_sql_state(code);
        for (code, alone, with_others) in [
            ("57P01", false, true),
            ("57P02", true, true),
            ("40001", true, true),
            ("53300", true, true),
            ("57014", false, false),
            ("42P01", false, false),
        ] {
            assert_eq!(may_pass(&server(code), false), alone, "{code}");
            assert_eq!(may_pass(&server(code), true), with_others, "{code}");
        }
        let lost = Error::new(ErrorKind::Connect, "lost").with_phase(Phase::Stream);
        assert!(may_pass(&lost, false));
        let damaged = Error::new(ErrorKind::Decode, "m").with_phase(Phase::Stream);
        assert!(!may_pass(&damaged, true));
    }
}
