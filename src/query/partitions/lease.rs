//! What keeps a snapshot on each shard: one connection, in its transaction.

use std::time::{Duration, SystemTime};

use futures::future::join_all;
use tokio::task::JoinError;
use tokio_util::task::AbortOnDropHandle;

use crate::connect::Session;
use crate::error::{Error, Result};

/// How often the holders are looked at.
const LOOK: Duration = Duration::from_secs(5);

/// Keeps the snapshots of [partitions](crate::Partitions), with a connection to each shard, until it is
/// dropped or its time is over. Meanwhile the servers keep old row versions (`VACUUM` leaves them), and
/// nobody can `TRUNCATE` or rewrite the table.
#[derive(Debug)]
#[must_use = "without the lease, the partitions cannot be read"]
pub struct Lease {
    expires: SystemTime,
    /// `None` once its end was told.
    holding: Option<AbortOnDropHandle<Result<()>>>,
}

impl Lease {
    /// Holds the sessions for this long.
    pub(super) fn new(sessions: Vec<Session>, time: Duration) -> Self {
        Self {
            expires: SystemTime::now() + time,
            holding: Some(AbortOnDropHandle::new(tokio::spawn(hold(sessions, time)))),
        }
    }

    /// When it ends by itself.
    pub fn expires(&self) -> SystemTime {
        self.expires
    }

    /// Waits until it ends by itself; at once when that was told before.
    ///
    /// # Errors
    /// That of a holder whose connection was lost: partitions of its shard cannot be read any more.
    ///
    /// # Cancel safety
    /// May be dropped and called again.
    pub async fn ended(&mut self) -> Result<()> {
        let Some(holding) = &mut self.holding else {
            return Ok(());
        };
        let ended: Result<Result<()>, JoinError> = holding.await;
        self.holding = None;
        ended.unwrap_or_else(|failed| {
            Err(Error::fault("what holds the snapshots has failed").with_source(failed))
        })
    }
}

async fn hold(mut sessions: Vec<Session>, time: Duration) -> Result<()> {
    let end = tokio::time::Instant::now() + time;
    loop {
        let next = tokio::time::Instant::now() + LOOK;
        tokio::time::sleep_until(next.min(end)).await;
        if tokio::time::Instant::now() >= end {
            join_all(sessions.into_iter().map(Session::finish)).await;
            return Ok(());
        }
        for session in &mut sessions {
            session
                .query("SELECT")
                .await
                .map_err(|error| error.with_context("the holder of a snapshot is gone"))?;
        }
    }
}
