//! The read fence: the snapshots of all shards are taken between two readings of one clock.

use std::time::Duration;

use futures::future::try_join_all;
use tokio::time::{Instant, sleep};

use super::options::Options;
use crate::config::{ReadFence, Topology};
use crate::connect::{Opening, Session};
use crate::error::{Error, ErrorKind, Phase, Result};
use crate::progress::Fenced;
use crate::statement::Statement;

/// How often snapshots are taken to come within the skew.
const TRIES: u32 = 3;
/// How long a shard that is behind is left alone before it is asked again.
const PAUSE: Duration = Duration::from_millis(100);

/// A fence for one query.
pub(super) struct Fence {
    declared: ReadFence,
    /// Gives whether the server is a replica, and its watermark as seconds and as text.
    sql: String,
}

/// Up to when a shard has taken in everything; `None`: nothing yet.
#[derive(Debug, Clone, Default, PartialEq)]
struct Watermark {
    /// In seconds since 1970.
    seconds: Option<f64>,
    text: Option<String>,
}

impl Fence {
    /// The fence that the query or the topology asks for, if one does.
    ///
    /// # Errors
    /// [`ErrorKind::Syntax`] where the watermark is not one statement.
    pub(super) fn new(options: &Options, topology: &Topology) -> Result<Option<Self>> {
        let declared = match (topology.read_fence().cloned(), options.max_skew) {
            (None, None) => return Ok(None),
            (None, Some(skew)) => ReadFence::new(skew),
            (Some(fence), None) => fence,
            (Some(fence), Some(skew)) => fence.with_max_skew(skew),
        };
        let watermark = match declared.watermark() {
            None => "NULL::pg_catalog.timestamptz".to_owned(),
            Some(sql) => {
                let statement = Statement::parse(sql);
                let statement = statement.map_err(|error| error.with_context(WATERMARK))?;
                // It may end in a comment.
                format!("({}\n)", statement.text())
            }
        };
        let sql = format!(
            "SELECT pg_catalog.pg_is_in_recovery(), extract(epoch FROM w), w::pg_catalog.text \
             FROM (SELECT {watermark} AS w) AS q"
        );
        Ok(Some(Self { declared, sql }))
    }

    /// Refuses what reads shards one by one.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] if there is a fence.
    #[cfg(feature = "datafusion")]
    pub(super) fn refuse(fence: Option<&Self>, what: &str) -> Result<()> {
        match fence {
            None => Ok(()),
            Some(_) => Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "{what} are read shard by shard, and not as of one moment as read_fence asks"
                ),
            )
            .with_hint("use a topology without [read_fence] for them")),
        }
    }

    /// Begins the transactions of these sessions anew, as each of them does begin.
    ///
    /// # Errors
    /// [`ErrorKind::Limit`] where the skew is too great; [`ErrorKind::Timeout`] for a shard that stays
    /// behind; [`ErrorKind::Unsupported`] for a replica; and those of the servers.
    pub(super) async fn pass(&self, mut sessions: Vec<(&mut Session, &Opening)>) -> Result<Fenced> {
        let began = Instant::now();
        let mut wanted: Option<Watermark> = None;
        let mut tries = 0;
        loop {
            let before = Instant::now();
            let begin = sessions
                .iter_mut()
                .map(|(session, opening)| self.begin(session, opening));
            let found = try_join_all(begin).await?;
            let skew = before.elapsed();
            let furthest = || {
                let furthest = found.iter().max_by(|a, b| a.order(b));
                furthest.cloned().unwrap_or_default()
            };
            let wanted = wanted.get_or_insert_with(furthest);
            let behind = found.iter().position(|it| it.order(wanted).is_lt());
            match behind.and_then(|behind| Some((found.get(behind)?, sessions.get(behind)?))) {
                None if skew <= self.declared.max_skew() => {
                    return Ok(Fenced {
                        skew,
                        watermark: wanted.text.clone(),
                    });
                }
                None => {
                    tries += 1;
                    if tries == TRIES {
                        return Err(self.too_far_apart(skew));
                    }
                }
                Some((found, (session, _))) => {
                    if began.elapsed() >= self.declared.max_wait() {
                        return Err(self.too_late(session.shard(), found, wanted));
                    }
                    sleep(PAUSE).await;
                }
            }
        }
    }

    async fn begin(&self, session: &mut Session, opening: &Opening) -> Result<Watermark> {
        let row = session.begin_again_with(opening, &self.sql).await;
        let row = row.map_err(|error| match error.sql_state() {
            Some(code) if code.starts_with("42") => error.with_context(WATERMARK),
            _ => error,
        })?;
        let mut values = row.into_iter();
        let is_in_recovery = values.next().flatten();
        let seconds = values.next().flatten().and_then(|text| text.parse().ok());
        let text = values.next().flatten();
        match is_in_recovery.as_deref() {
            Some("f") => Ok(Watermark { seconds, text }),
            Some(_) => Err(Error::new(
                ErrorKind::Unsupported,
                "the server is a replica, which shows an earlier moment than now",
            )
            .with_hint("read_fence needs read_from = \"primary\" in [session]")),
            None => Err(Error::new(
                ErrorKind::Decode,
                "the server does not say whether it is a replica",
            )),
        }
        .map_err(|error| error.with_phase(Phase::Session).with_shard(session.shard()))
    }

    fn too_far_apart(&self, skew: Duration) -> Error {
        Error::new(
            ErrorKind::Limit,
            format!(
                "the shards were read within {}, and max_skew is {}",
                milliseconds(skew),
                milliseconds(self.declared.max_skew())
            ),
        )
        .with_phase(Phase::Session)
        .with_hint(
            "raise max_skew in [read_fence] (--max-skew on the command line): it has to be longer than \
             the answer of the slowest shard takes",
        )
    }

    fn too_late(&self, shard: &str, found: &Watermark, wanted: &Watermark) -> Error {
        let shown = |watermark: &Watermark| watermark.text.clone().unwrap_or("nothing".to_owned());
        Error::new(
            ErrorKind::Timeout,
            format!(
                "after {} it is up to {}, and another shard up to {}",
                milliseconds(self.declared.max_wait()),
                shown(found),
                shown(wanted)
            ),
        )
        .with_phase(Phase::Session)
        .with_shard(shard)
        .with_hint(
            "its ingestion is behind; max_wait in [read_fence] says how long it is waited for",
        )
    }
}

const WATERMARK: &str = "read_fence: watermark";

impl Watermark {
    fn order(&self, other: &Self) -> std::cmp::Ordering {
        let seconds = |it: &Self| it.seconds.unwrap_or(f64::NEG_INFINITY);
        seconds(self).total_cmp(&seconds(other))
    }
}

fn milliseconds(time: Duration) -> String {
    format!("{} ms", (time.as_secs_f64() * 1e6).round() / 1e3)
}
