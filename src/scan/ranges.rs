//! One shard's part of a query, read by several connections: each takes ranges of the table's blocks
//! until there are none, all under one snapshot.
//!
//! ```text
//! session 1: LOCK TABLE .., pg_export_snapshot() ─► id
//! session 2: BEGIN; SET TRANSACTION SNAPSHOT id; LOCK TABLE ..
//!            ┌─ COPY .. ctid in [0, 800)      ─► batches
//! session 1 ─┤
//!            └─ COPY .. ctid in [1600, 2400)  ─► batches
//! session 2 ─── COPY .. ctid in [800, 1600)   ─► batches
//! ```
//! A row version stays at its place (`ctid`) as long as a snapshot sees it, unless the table is rewritten
//! (`TRUNCATE`, `VACUUM FULL`, `CLUSTER`, `ALTER TABLE`): the lock of each session makes these wait. A
//! session that cannot have it at once does not take part: whoever waits for the table would wait for us,
//! and we for them.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use futures::StreamExt;
use futures::stream;
use tokio::sync::oneshot;

use super::rows::{BatchOptions, rows};
use crate::connect::{Opening, Pools, Session};
use crate::error::{Error, Result};
use crate::progress::{Counters, ShardState};
use crate::quote;
use crate::statement::{END, Ranged};
use crate::stream::QueryStream;
use crate::types::Column;

/// How a query is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Readers {
    /// The most connections to one shard.
    pub(crate) most: usize,
    /// About the most bytes of the table in one range.
    pub(crate) range_bytes: u64,
}

/// About how large a range is unless set otherwise: the last ones of a table end at nearly the same time.
pub(crate) const RANGE_BYTES: u64 = 32 << 20;
/// A table has so many ranges for each reader, at least, unless they were too small.
const RANGES_OF_A_READER: u64 = 4;
/// A smaller range is not worth its statement: 1 MiB.
const LEAST_RANGE_BYTES: u64 = 1 << 20;
/// More partial groups than this of each range would cost more than they bring.
const MOST_GROUPS: f64 = 10_000.0;

/// The ranges of a table, and sessions that see the same rows in it.
pub(crate) struct Shared {
    pub(crate) sessions: Vec<Session>,
    pub(crate) ranges: Vec<(u64, u64)>,
}

/// How the shard's part of a query is read.
#[expect(
    clippy::large_enum_variant,
    reason = "one for each shard, for a moment"
)]
pub(crate) enum Split {
    /// By several sessions.
    Many(Shared),
    /// By this one, for this reason.
    One(Session, String),
}

/// The blocks of a table in which a statement is read apart, or why it is not.
///
/// # Errors
/// Those of the server, for which the query could not have been read either.
pub(crate) async fn ranges(
    session: &mut Session,
    ranged: &Ranged,
    readers: Readers,
) -> Result<Result<Vec<(u64, u64)>, String>> {
    let facts = session.query(&facts_sql(ranged)?).await?;
    let facts: Vec<&str> = facts
        .first()
        .map(|row| {
            row.iter()
                .map(|value| value.as_deref().unwrap_or(""))
                .collect()
        })
        .unwrap_or_default();
    let [
        version,
        tid_scan,
        plain,
        blocks,
        block_size,
        aggregates,
        may_lock,
    ] = facts[..]
    else {
        return Ok(Err("the server does not tell of the table".to_owned()));
    };
    for (is_met, reason) in [
        (
            version == "t",
            "the server is older than PostgreSQL 14, which first reads ranges",
        ),
        (tid_scan == "on", "enable_tidscan is off"),
        (
            plain == "t",
            "it does not read a plain or partitioned table",
        ),
        (aggregates == "f", "it has an aggregate that does not merge"),
        (
            may_lock == "t",
            "SELECT on the whole table is not granted, which its lock takes",
        ),
    ] {
        if !is_met {
            return Ok(Err(reason.to_owned()));
        }
    }
    let (Ok(blocks), Ok(block_size)) = (blocks.parse::<u64>(), block_size.parse::<u64>()) else {
        return Ok(Err(
            "the server does not tell the size of the table".to_owned()
        ));
    };
    let ranges = cut(blocks, block_size.max(1), readers);
    if ranges.len() < 2 {
        return Ok(Err("the table is small".to_owned()));
    }
    // Of all rows, since an index may find them; and of a range, which has to be read alone.
    for (from, to) in [(0, END), ranges.first().copied().unwrap_or((0, END))] {
        let explain = format!("EXPLAIN (FORMAT JSON) {}", ranged.sql(from, to));
        let plan = session.query(&explain).await?;
        let plan: String = plan.into_iter().flatten().flatten().collect();
        if let Some(reason) = obstacle(&plan, ranged.is_grouped, to < END) {
            return Ok(Err(reason));
        }
    }
    Ok(Ok(ranges))
}

/// Sessions that read the ranges of a table, if that is possible; else the one that is there.
///
/// # Errors
/// As [`ranges`].
pub(crate) async fn share(
    pools: &Arc<Pools>,
    opening: &Opening,
    shard: usize,
    mut first: Session,
    ranged: &Ranged,
    readers: Readers,
) -> Result<Split> {
    let ranges = match ranges(&mut first, ranged, readers).await? {
        Ok(ranges) => ranges,
        Err(reason) => return Ok(Split::One(first, reason)),
    };
    if !lock(&mut first, &ranged.table).await? {
        let reason = "another session waits for the table";
        return Ok(Split::One(first, reason.to_owned()));
    }
    let snapshot = export_snapshot(&mut first).await?;
    let opening = opening.behind_begin(&import_sql(&snapshot)?);
    let mut sessions = vec![first];
    while sessions.len() < readers.most.min(ranges.len()) {
        // Whoever holds a session may not wait for another.
        let Some(permit) = pools
            .try_permits([shard])
            .and_then(|mut permits| permits.pop())
        else {
            break;
        };
        // With fewer connections it goes on as well: the server has no more of them, or a pooler gave
        // another server.
        let Ok(mut session) = pools.session(permit, &opening).await else {
            break;
        };
        match lock(&mut session, &ranged.table).await {
            Ok(true) => sessions.push(session),
            Ok(false) | Err(_) => break,
        }
    }
    if sessions.len() < 2
        && let Some(only) = sessions.pop()
    {
        let reason = "no second connection could take part";
        return Ok(Split::One(only, reason.to_owned()));
    }
    Ok(Split::Many(Shared { sessions, ranges }))
}

/// What begins a session that sees the rows of another's snapshot. On another server than its own it
/// fails, by a division by zero if that has a snapshot of the same name: names are
/// short, and a shard may have several servers.
pub(crate) fn import_sql(snapshot: &str) -> Result<String> {
    let unknown = || Error::fault("the name of a snapshot has an unknown form");
    let (name, started) = snapshot.split_once('@').ok_or_else(unknown)?;
    // No E'': this statement takes a plain literal only.
    let is_plain = |text: &str| text.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
    match is_plain(name) && is_plain(started) && !name.is_empty() && !started.is_empty() {
        true => Ok(format!(
            "SET TRANSACTION SNAPSHOT '{name}'; SELECT 1 / ({STARTED} = {started})::int"
        )),
        false => Err(unknown()),
    }
}

/// When the server was started, in microseconds: no other server of a shard was at the same.
const STARTED: &str =
    "(EXTRACT(epoch FROM pg_catalog.pg_postmaster_start_time()) * 1000000)::bigint";

/// Lets other sessions see the rows of this one, as long as it lasts.
pub(crate) async fn export_snapshot(session: &mut Session) -> Result<String> {
    let rows = session
        .query(&format!(
            "SELECT pg_catalog.concat(pg_catalog.pg_export_snapshot(), '@', {STARTED})"
        ))
        .await?;
    let id = rows.into_iter().flatten().flatten().next();
    id.ok_or_else(|| Error::fault("an exported snapshot has no name"))
}

/// Keeps the table from being rewritten until the transaction ends; false where somebody waits to do
/// that.
pub(crate) async fn lock(session: &mut Session, table: &str) -> Result<bool> {
    let locked = session
        .query(&format!(
            "SAVEPOINT merganser_lock; LOCK TABLE {table} IN ACCESS SHARE MODE NOWAIT; \
             RELEASE SAVEPOINT merganser_lock"
        ))
        .await;
    match locked {
        Ok(_) => Ok(true),
        Err(error) if error.sql_state() == Some("55P03") => {
            session
                .query("ROLLBACK TO SAVEPOINT merganser_lock; RELEASE SAVEPOINT merganser_lock")
                .await?;
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// What has to be known of the server and of the table.
fn facts_sql(ranged: &Ranged) -> Result<String> {
    let table = quote::literal(&ranged.table)?;
    let functions = ranged.functions.iter().map(|name| quote::literal(name));
    let functions = functions.collect::<Result<Vec<_>>>()?.join(", ");
    Ok(format!(
        "WITH RECURSIVE tree(oid) AS ( \
           SELECT pg_catalog.to_regclass({table})::pg_catalog.oid \
           UNION ALL SELECT i.inhrelid FROM tree JOIN pg_catalog.pg_inherits i ON i.inhparent = tree.oid), \
         parts AS ( \
           SELECT c.relkind = 'p' OR (c.relkind = 'r' AND a.amname = 'heap') AS is_plain, \
             CASE WHEN c.relkind = 'r' THEN pg_catalog.pg_relation_size(c.oid) ELSE 0 END AS bytes \
           FROM tree JOIN pg_catalog.pg_class c ON c.oid = tree.oid \
           LEFT JOIN pg_catalog.pg_am a ON a.oid = c.relam) \
         SELECT pg_catalog.current_setting('server_version_num')::int >= 140000, \
           pg_catalog.current_setting('enable_tidscan'), \
           facts.is_plain, facts.blocks, facts.block_size, \
           EXISTS (SELECT FROM pg_catalog.pg_proc p WHERE p.prokind <> 'f' \
             AND p.proname = ANY (ARRAY[{functions}]::text[])), \
           pg_catalog.has_table_privilege(pg_catalog.to_regclass({table})::pg_catalog.oid, 'SELECT') \
         FROM (SELECT pg_catalog.bool_and(is_plain) AS is_plain, \
             pg_catalog.max(bytes) / pg_catalog.current_setting('block_size')::bigint AS blocks, \
             pg_catalog.current_setting('block_size')::bigint AS block_size FROM parts) AS facts"
    ))
}

/// Ranges of nearly equal size that cover all blocks, also those that are added meanwhile.
fn cut(blocks: u64, block_size: u64, readers: Readers) -> Vec<(u64, u64)> {
    let most = (readers.range_bytes / block_size).max(1);
    let least = (LEAST_RANGE_BYTES.min(readers.range_bytes) / block_size).max(1);
    let wanted = (readers.most as u64)
        .saturating_mul(RANGES_OF_A_READER)
        .max(1);
    let size = blocks.div_ceil(wanted).min(most).max(least);
    let starts: Vec<u64> = (0..blocks.max(1))
        .step_by(usize::try_from(size).unwrap_or(usize::MAX))
        .collect();
    let ends = starts.iter().skip(1).copied().chain([END]);
    starts.iter().copied().zip(ends).collect()
}

/// Why ranges would be wrong or slow, by the server's plan of one, or of all together.
fn obstacle(plan: &str, is_grouped: bool, is_range: bool) -> Option<String> {
    let unread = "the server's plan is unreadable";
    let Ok(plan) = serde_json::from_str::<serde_json::Value>(plan) else {
        return Some(unread.to_owned());
    };
    let Some(root) = plan.get(0).and_then(|query| query.get("Plan")) else {
        return Some(unread.to_owned());
    };
    let groups = root.get("Plan Rows").and_then(serde_json::Value::as_f64);
    if is_grouped && groups.is_none_or(|groups| groups > MOST_GROUPS) {
        return Some("each range would have most of the groups".to_owned());
    }
    let mut nodes = vec![root];
    let mut reads_range = false;
    while let Some(node) = nodes.pop() {
        let kind = node.get("Node Type").and_then(serde_json::Value::as_str);
        match kind.unwrap_or_default() {
            "Tid Range Scan" => reads_range = true,
            // Of a partition that is small.
            "Seq Scan" | "Append" | "Gather" => {}
            "Aggregate" | "Sort" | "Incremental Sort" | "Gather Merge" if is_grouped => {}
            "Index Scan" | "Index Only Scan" | "Bitmap Heap Scan" | "Bitmap Index Scan" => {
                return Some("the server finds the rows by an index".to_owned());
            }
            other => return Some(format!("the server's plan has a step {other:?}")),
        }
        let inner = node.get("Plans").and_then(serde_json::Value::as_array);
        nodes.extend(inner.into_iter().flatten());
    }
    (is_range && !reads_range)
        .then(|| "the server would read all of the table for each range".to_owned())
}

/// The rows of the ranges: a stream for each session, which takes the next range when it is done with
/// one. The first session is handed to `back`, if somebody waits for it, when the ranges are read.
pub(crate) fn range_rows(
    shared: Shared,
    copy: impl Fn((u64, u64)) -> String,
    columns: &[Column],
    options: &BatchOptions,
    counters: &Arc<Counters>,
    mut back: Option<oneshot::Sender<Session>>,
) -> Vec<QueryStream> {
    let schema = Schema::new(columns.iter().map(Column::to_field).collect::<Vec<_>>());
    let schema = Arc::new(schema);
    let queue: VecDeque<String> = shared.ranges.into_iter().map(copy).collect();
    let queue = Arc::new(Mutex::new(queue));
    let left = Arc::new(AtomicUsize::new(shared.sessions.len()));
    counters.set(ShardState::Executing);
    let readers = shared.sessions.into_iter().map(|session| {
        let reader = Reader {
            queue: Arc::clone(&queue),
            left: Arc::clone(&left),
            columns: columns.to_vec(),
            options: options.clone(),
            counters: Arc::clone(counters),
            back: back.take(),
            at: At::Session(session),
        };
        QueryStream::new(
            Arc::clone(&schema),
            stream::try_unfold(reader, Reader::next),
        )
    });
    readers.collect()
}

struct Reader {
    /// The statements that nobody has begun.
    queue: Arc<Mutex<VecDeque<String>>>,
    /// How many readers are at work.
    left: Arc<AtomicUsize>,
    columns: Vec<Column>,
    options: BatchOptions,
    counters: Arc<Counters>,
    back: Option<oneshot::Sender<Session>>,
    at: At,
}

#[expect(clippy::large_enum_variant, reason = "one for each connection")]
enum At {
    Session(Session),
    Range(QueryStream, oneshot::Receiver<Session>),
    End,
}

impl Reader {
    async fn next(mut self) -> Result<Option<(RecordBatch, Self)>> {
        loop {
            match std::mem::replace(&mut self.at, At::End) {
                At::Session(session) => {
                    let next = self
                        .queue
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .pop_front();
                    let Some(sql) = next else {
                        self.end(session).await;
                        continue;
                    };
                    let (sender, receiver) = oneshot::channel();
                    let part = Counters::part(&self.counters);
                    let columns = self.columns.clone();
                    let rows = rows(
                        session,
                        sql,
                        columns,
                        &self.options,
                        part,
                        Some(sender),
                        None,
                    );
                    self.at = At::Range(rows, receiver);
                }
                At::Range(mut rows, receiver) => match rows.next().await {
                    Some(batch) => {
                        let batch = batch?;
                        self.at = At::Range(rows, receiver);
                        return Ok(Some((batch, self)));
                    }
                    None => {
                        let session = receiver.await;
                        let session = session.map_err(|_| Error::fault("a session was lost"))?;
                        self.at = At::Session(session);
                    }
                },
                At::End => return Ok(None),
            }
        }
    }

    async fn end(&mut self, session: Session) {
        match self.back.take() {
            Some(back) => drop(back.send(session)),
            None => session.finish().await,
        }
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.counters.set(ShardState::Done);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_cover_every_block_once() {
        for blocks in [0, 1, 2, 127, 128, 129, 1_000, 100_001] {
            for most in [1, 2, 3, 64] {
                for range_bytes in [8_192, 1 << 20, RANGE_BYTES] {
                    let ranges = cut(blocks, 8_192, Readers { most, range_bytes });
                    assert_eq!(ranges[0].0, 0);
                    assert_eq!(ranges.last().unwrap().1, END);
                    let joints = ranges.windows(2).all(|pair| pair[0].1 == pair[1].0);
                    assert!(
                        joints && ranges.iter().all(|(from, to)| from < to),
                        "{ranges:?}"
                    );
                }
            }
        }
        let readers = Readers {
            most: 2,
            range_bytes: RANGE_BYTES,
        };
        assert_eq!(cut(100, 8_192, readers).len(), 1);
        assert_eq!(cut(1_024, 8_192, readers).len(), 8);
        assert_eq!(cut(100_000, 8_192, readers).len(), 25);
    }

    #[test]
    fn only_plans_that_read_rows_one_by_one_are_split() {
        let of =
            |plan: &str, is_grouped| obstacle(&format!("[{{\"Plan\": {plan}}}]"), is_grouped, true);
        let scan = r#"{"Node Type": "Tid Range Scan", "Plan Rows": 10}"#;
        assert_eq!(of(scan, false), None);
        let append = format!(r#"{{"Node Type": "Append", "Plans": [{scan}, {scan}]}}"#);
        assert_eq!(of(&append, false), None);
        let sum = format!(r#"{{"Node Type": "Aggregate", "Plan Rows": 3, "Plans": [{scan}]}}"#);
        assert_eq!(of(&sum, true), None);
        assert!(of(&sum, false).unwrap().contains("\"Aggregate\""));
        let many = sum.replace("3,", "30000,");
        assert!(of(&many, true).unwrap().contains("groups"));
        assert!(
            of(r#"{"Node Type": "Index Scan"}"#, false)
                .unwrap()
                .contains("index")
        );
        let whole = r#"{"Node Type": "Seq Scan"}"#;
        assert!(of(whole, false).unwrap().contains("all of the table"));
        assert_eq!(
            obstacle(&format!("[{{\"Plan\": {whole}}}]"), false, false),
            None
        );
        assert!(obstacle("{", false, true).is_some());
    }

    #[test]
    fn a_snapshot_has_a_plain_name_and_a_server() {
        let sql = import_sql("00000003-0000001B-1@1764493200000000").unwrap();
        assert!(
            sql.starts_with("SET TRANSACTION SNAPSHOT '00000003-0000001B-1'; "),
            "{sql}"
        );
        assert!(sql.contains("= 1764493200000000)"), "{sql}");
        for bad in [
            "",
            "@",
            "0-1-1",
            "0-1-1@",
            "@17",
            "x'; DROP TABLE t@1",
            "0-1-1@1); DROP",
        ] {
            assert!(import_sql(bad).is_err(), "{bad}");
        }
    }
}
