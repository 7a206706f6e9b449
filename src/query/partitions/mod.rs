//! Queries in parts that anyone can read: descriptors, the lease that keeps their snapshots, and reading
//! one of them.
//!
//! ```text
//! partitions(): a session for each shard: describe, LOCK TABLE, pg_export_snapshot() ─► Lease
//!                    └─► Partition { shard, SQL with a range, snapshot } ─► sealed bytes
//! partial_partitions(): the same of partial aggregates, and their merge as a plan for an engine
//! read_partition(): SET TRANSACTION SNAPSHOT .. ─► describe, compare ─► COPY ─► batches
//! ```

mod descriptor;
mod lease;
mod partial;
mod read;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arrow::datatypes::{Schema, SchemaRef};

pub use self::descriptor::Partition;
use self::descriptor::Parts;
pub(super) use self::descriptor::ReadFor;
pub use self::lease::Lease;
pub(super) use self::partial::Behind;
pub use self::partial::{PartialMerge, PartialPartitions};
pub use self::read::PartitionRead;
use super::fence::Fence;
use super::options::Options;
use super::{distinct, settle};
use crate::catalog::identity;
use crate::cluster::Cluster;
use crate::connect::Session;
use crate::error::{Error, ErrorKind, Phase, Result, SqlOrigin};
use crate::scan::{self, Description, Readers};
use crate::statement::{Ranged, Statement};
use crate::types::Column;

/// How long a lease lasts unless set otherwise: 6 hours.
const LEASE: Duration = Duration::from_secs(6 * 60 * 60);
/// Nobody holds a snapshot longer: a year.
const LONGEST_LEASE: Duration = Duration::from_secs(366 * 24 * 60 * 60);
/// About how many bytes of a table one partition has unless set otherwise: 64 MiB.
const PARTITION_BYTES: u64 = 64 << 20;

/// How a query is cut into [partitions](Partitions).
#[derive(Debug, Clone)]
#[must_use]
pub struct PartitionOptions {
    lease: Duration,
    bytes: u64,
}

impl Default for PartitionOptions {
    fn default() -> Self {
        Self {
            lease: LEASE,
            bytes: PARTITION_BYTES,
        }
    }
}

impl PartitionOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// How long the partitions can be read at most; 6 hours unless set, and no longer than a year.
    pub fn with_lease(mut self, time: Duration) -> Self {
        self.lease = time.min(LONGEST_LEASE);
        self
    }

    /// About how many bytes of a table one partition has, at least 1 MiB; 64 MiB unless set.
    pub fn with_bytes(mut self, bytes: u64) -> Self {
        self.bytes = bytes.max(1 << 20);
        self
    }
}

/// A query in parts: each row is in one of them, as a snapshot of its shard shows it.
#[derive(Debug)]
#[non_exhaustive]
pub struct Partitions {
    /// The schema of the rows.
    pub schema: SchemaRef,
    /// The parts, in turns of the shards; those of one shard in the order of the table's blocks.
    pub parts: Vec<Partition>,
    /// Why the rows of a shard are in one part, where they are.
    pub whole: Option<String>,
    /// What keeps the snapshots.
    pub lease: Lease,
}

/// What is cut.
pub(super) struct Whole<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) options: &'a Options,
    /// What each shard runs, with values in place of parameters.
    pub(super) text: String,
    /// How it is read in ranges, or why it is not.
    pub(super) ranged: Result<Ranged, String>,
    /// Those that have rows, by index.
    pub(super) shards: Vec<usize>,
    /// The columns that they have to have.
    pub(super) columns: Option<Vec<Column>>,
    /// For whom they are read.
    pub(super) read_for: ReadFor,
}

/// A shard whose snapshot is held.
struct Held {
    session: Session,
    shard: String,
    description: Description,
    snapshot: String,
    /// `Err`: in one part, for this reason.
    ranges: Result<Vec<(u64, u64)>, String>,
}

impl Whole<'_> {
    /// Takes a snapshot of each shard, and cuts.
    pub(super) async fn partitions(self, options: &PartitionOptions) -> Result<Partitions> {
        let fence = Fence::new(self.options, self.cluster.topology())?;
        Fence::refuse(fence.as_ref(), "partitions")?;
        let statement = &Statement::parse(&self.text)?;
        let pools = self.cluster.pools();
        let opening = self.cluster.opening(self.options.session.as_ref())?;
        let opening = &opening.identifying(identity::EXPRESSION);
        // Of conditions that contradict each other, any shard says that there are no rows.
        let shards = match &self.shards[..] {
            [] => &[0],
            shards => shards,
        };
        let permits = pools.permits(shards.iter().copied()).await?;
        let this = &self;
        let held = permits.into_iter().map(|permit| async move {
            let session = pools.session(permit, opening).await?;
            this.hold(session, statement, options.bytes).await
        });
        let held: Vec<Held> = settle(held).await?;
        distinct::check(held.iter().map(|held| &held.session))?;
        let described = held
            .iter()
            .map(|held| (held.shard.clone(), held.description.clone()));
        let columns = scan::agree(&described.collect::<Vec<_>>())?;
        if self
            .columns
            .as_ref()
            .is_some_and(|expected| *expected != columns)
        {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "the query's columns have other names or types where a shard is asked",
            )
            .with_hint("name the columns with AS, and cast them to the types that are wanted"));
        }
        let expires = SystemTime::now() + options.lease;
        let fingerprint = columns_of(held.first().map(|held| &held.description));
        let settings = settings_of(self.options);
        let topology = self.cluster.topology().fingerprint();
        let mut whole = None;
        let mut queues = Vec::new();
        let mut sessions = Vec::new();
        for held in held {
            let part = |sql: String, range: Option<(String, u64, u64)>| {
                Partition::new(Parts {
                    topology: topology.clone(),
                    shard: held.shard.clone(),
                    sql,
                    range,
                    snapshot: held.snapshot.clone(),
                    expires,
                    columns: fingerprint.clone(),
                    settings: settings.clone(),
                    read_for: self.read_for,
                })
            };
            let parts: Vec<_> = match (&self.ranged, held.ranges) {
                (Ok(ranged), Ok(ranges)) => {
                    let parts = ranges.into_iter().map(|(from, to)| {
                        let table = ranged.table.clone();
                        part(ranged.sql(from, to), Some((table, from, to)))
                    });
                    parts.collect()
                }
                (Err(reason), _) => {
                    whole.get_or_insert(reason.clone());
                    vec![part(self.text.clone(), None)]
                }
                (Ok(_), Err(reason)) => {
                    whole.get_or_insert(reason);
                    vec![part(self.text.clone(), None)]
                }
            };
            queues.push(parts.into_iter());
            sessions.push(held.session);
        }
        let fields: Vec<_> = columns.iter().map(Column::to_field).collect();
        Ok(Partitions {
            schema: Arc::new(Schema::new(fields)),
            parts: in_turns(queues),
            whole,
            lease: Lease::new(sessions, options.lease),
        })
    }

    /// Takes the snapshot of one shard.
    async fn hold(&self, mut session: Session, statement: &Statement, bytes: u64) -> Result<Held> {
        let shard = session.shard().to_owned();
        let reading = self.read_for.reading(self.options.types);
        // It locks the tables that the statement names, until the lease ends.
        let description = scan::describe(&mut session, statement, SqlOrigin::User, reading).await?;
        let readers = Readers {
            most: 1,
            range_bytes: bytes,
        };
        let ranges = match &self.ranged {
            Ok(ranged) => scan::ranges(&mut session, ranged, readers).await?,
            Err(reason) => Err(reason.clone()),
        };
        match (&self.ranged, &ranges) {
            (Ok(ranged), Ok(_)) => {
                if !scan::lock(&mut session, &ranged.table).await? {
                    return Err(waited_for(&ranged.table).with_shard(&shard));
                }
            }
            // It locks partitions as well.
            _ => {
                let explain = format!("EXPLAIN {}", self.text);
                session.query(&explain).await?;
            }
        }
        let snapshot = scan::export_snapshot(&mut session).await?;
        Ok(Held {
            session,
            shard,
            description,
            snapshot,
            ranges,
        })
    }
}

/// Somebody is about to rewrite the table, and would be waited for in vain: he waits for the lease.
fn waited_for(table: &str) -> Error {
    Error::new(
        ErrorKind::Server,
        format!("another session waits for the table {table}, to change or empty it"),
    )
    .with_phase(Phase::Session)
    .with_hint("let it give up or be done, and then read again")
}

/// A digest of the names and types of columns, however they are read.
fn columns_of(description: Option<&Description>) -> String {
    let columns = description.iter().flat_map(|description| {
        let types = description.raw_types.iter().map(|it| it.details());
        description.columns.iter().zip(types)
    });
    let text: String = columns
        .map(|(column, details)| format!("{:?} {details}\n", column.name))
        .collect();
    digest(&text)
}

/// A digest of the settings that a query has for itself.
fn settings_of(options: &Options) -> String {
    digest(&format!("{:?}", options.session))
}

fn digest(text: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    let digits = digest.as_ref().iter().map(|byte| format!("{byte:02x}"));
    digits.collect()
}

/// One of each, then the next of each: no shard is asked by all readers at once.
fn in_turns<T>(mut queues: Vec<std::vec::IntoIter<T>>) -> Vec<T> {
    let mut all = Vec::new();
    loop {
        let before = all.len();
        all.extend(queues.iter_mut().filter_map(Iterator::next));
        if all.len() == before {
            return all;
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn shards_take_turns() {
        let queues = vec![
            vec![1, 2, 3].into_iter(),
            vec![].into_iter(),
            vec![7].into_iter(),
        ];
        assert_eq!(super::in_turns(queues), [1, 7, 2, 3]);
    }
}
