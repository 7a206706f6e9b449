//! What a fan-out and a planned query have in common.

use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{Schema, SchemaRef};
use futures::stream::StreamExt;

use super::CancelHandle;
use super::deadline::Deadline;
use crate::cluster::Cluster;
use crate::config::SessionSettings;
use crate::connect::Flow;
use crate::decode::{DEFAULT_BATCH_BYTES, DEFAULT_BATCH_ROWS};
#[cfg(feature = "datafusion")]
use crate::error::Phase;
use crate::error::{Error, ErrorKind, Result, SqlOrigin};
use crate::merge::Order;
use crate::missing::MissingShards;
use crate::progress::ScanProgress;
use crate::scan::{self, BatchOptions, Description, Reading};
#[cfg(feature = "datafusion")]
use crate::scan::{RANGE_BYTES, Readers};
use crate::statement::Statement;
use crate::stream::{QueryStream, Remarks};
use crate::types::{Column, TypeOptions, Unrepresentable};

/// The memory budget unless set otherwise: 1 GiB.
pub const DEFAULT_MEMORY: usize = 1 << 30;
/// How much of the budget one row may take. It is held as it came, as a value of its batch, and once
/// or twice in a form of the output.
const ROW_SHARE: usize = 4;
/// A row that is never too long: 1 MiB.
const SHORT_ROW: usize = 1 << 20;
/// How much of a shard's share of the budget one of its batches may take: one is made, one waits for its
/// place in the queue, one is there.
const BATCH_SHARE: usize = 12;
/// A batch that is never too long: 32 KiB.
const SHORT_BATCH: usize = 32 << 10;
/// How much of a shard's share what is not decoded yet may take.
const FLOW_SHARE: usize = 4;
/// How much of the budget batches that wait for their reader may take.
const QUEUE_SHARE: usize = 8;

/// How a query is to run; [`FanOut`](super::FanOut) documents each of them.
#[derive(Debug, Clone)]
pub(super) struct Options {
    pub(super) parameters: Vec<Option<String>>,
    pub(super) types: TypeOptions,
    /// `None`: the user leaves it open.
    pub(super) order: Option<Order>,
    pub(super) batch_rows: usize,
    pub(super) batch_bytes: usize,
    pub(super) memory: usize,
    pub(super) timeout: Option<Duration>,
    pub(super) progress: ScanProgress,
    /// What is set in the sessions of this query on top of the topology's settings.
    pub(super) session: Option<SessionSettings>,
    pub(super) cancel: CancelHandle,
    /// `None`: no shard may be missing.
    pub(super) missing: Option<MissingShards>,
    /// How often a shard's query may run again.
    /// `None`: as many as the kind of query has.
    pub(super) retries: Option<u32>,
    /// `None`: as the topology has it.
    pub(super) max_skew: Option<Duration>,
    #[cfg(feature = "datafusion")]
    pub(super) readers: Readers,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            parameters: Vec::new(),
            types: TypeOptions::default(),
            order: None,
            batch_rows: DEFAULT_BATCH_ROWS,
            batch_bytes: DEFAULT_BATCH_BYTES,
            memory: DEFAULT_MEMORY,
            timeout: None,
            progress: ScanProgress::new(),
            session: None,
            cancel: CancelHandle::default(),
            missing: None,
            retries: None,
            max_skew: None,
            #[cfg(feature = "datafusion")]
            readers: Readers {
                most: 1,
                range_bytes: RANGE_BYTES,
            },
        }
    }
}

impl Options {
    /// The time that there is, from now on.
    pub(super) fn deadline(&self) -> Deadline {
        Deadline::new(self.timeout, self.cancel.clone(), self.progress.clone())
    }

    /// Goes without the shard that has failed, or gives its error back where it may not be missing.
    pub(super) fn go_without(&self, error: Error) -> Result<()> {
        match &self.missing {
            Some(missing) => missing.admit(error),
            None => Err(error),
        }
    }

    /// What is to be known of the rows, now that they come.
    pub(super) fn remarks(&self) -> Remarks {
        Remarks {
            missing: self.missing.clone(),
            fenced: self.progress.fenced(),
        }
    }

    /// A folder is complete, or says nothing: its manifest comes last.
    pub(super) fn needs_all_shards(&self) -> Result<()> {
        match &self.missing {
            None => Ok(()),
            Some(_) => Err(Error::new(
                ErrorKind::Usage,
                "a folder has the rows of all shards, so none may be missing",
            )
            .with_hint("write one file, or go without --allow-missing-shards")),
        }
    }

    /// The rows of a shard; none if it is lost before its first and may be missing.
    pub(super) fn rows_of_shard(&self, rows: QueryStream) -> QueryStream {
        let Some(missing) = self.missing.clone() else {
            return rows;
        };
        let schema = rows.schema();
        let mut begun = false;
        let rows = rows.filter_map(move |batch| {
            let kept = match batch {
                Err(error) if !begun => missing.admit(error).err().map(Err),
                batch => {
                    begun = true;
                    Some(batch)
                }
            };
            std::future::ready(kept)
        });
        QueryStream::new(schema, rows)
    }

    /// The SQL text as the first shard would run it, with the values in place.
    pub(super) async fn mogrify(&self, cluster: &Cluster, sql: &str) -> Result<String> {
        let statement = Statement::parse(sql)?;
        let description = self.describe(cluster, &statement).await?;
        scan::with_values(&statement, &description, &self.parameters)
    }

    /// The statement's parameters, as the first shard describes them.
    pub(super) async fn parameters(&self, cluster: &Cluster, sql: &str) -> Result<SchemaRef> {
        let statement = Statement::parse(sql)?;
        let description = self.describe(cluster, &statement).await?;
        statement.check_parameters(description.parameters.len())?;
        let fields = description.parameters.iter().map(Column::to_field);
        Ok(Arc::new(Schema::new(fields.collect::<Vec<_>>())))
    }

    async fn describe(&self, cluster: &Cluster, statement: &Statement) -> Result<Description> {
        let opening = cluster.opening(self.session.as_ref())?;
        let opening = opening.describing(statement.text());
        let mut session = cluster.session_with(0, &opening).await?;
        let reading = Reading::Options(self.types);
        let description = scan::describe(&mut session, statement, SqlOrigin::User, reading).await?;
        session.finish().await;
        Ok(description)
    }

    /// Says, of planning, that a value of a parameter may be what a shard did not understand: values stand in the
    /// text that it was given.
    #[cfg(feature = "datafusion")]
    pub(super) fn about_values(&self, error: Error) -> Error {
        let is_data = error.sql_state().is_some_and(|code| code.starts_with("22"));
        let is_early = error.phase() == Some(Phase::Describe);
        match !self.parameters.is_empty() && is_data && is_early && error.hint().is_none() {
            true => error.with_hint(
                "a value given for $1, $2, ... may be what it does not understand: each takes the \
                 type of what it is compared with, and $1::text names another",
            ),
            false => error,
        }
    }

    /// How rows become batches of which so many shards have some at a time.
    pub(super) fn batches(&self, unrepresentable: Unrepresentable, shards: usize) -> BatchOptions {
        #[cfg(feature = "datafusion")]
        let streams = shards.max(1) * self.readers.most;
        #[cfg(not(feature = "datafusion"))]
        let streams = shards.max(1);
        let share = self.memory / streams;
        BatchOptions {
            rows: self.batch_rows,
            bytes: self.batch_bytes.min((share / BATCH_SHARE).max(SHORT_BATCH)),
            flow: Flow::within(share / FLOW_SHARE),
            longest_row: (self.memory / ROW_SHARE).max(SHORT_ROW),
            unrepresentable,
            decoded: true,
        }
    }

    /// How many bytes of rows may wait for their reader.
    ///
    /// Rows that nobody takes stay in the servers; but a shard that has to wait for its turn may use
    /// all that there is.
    pub(super) fn queue_bytes(&self, order: Order) -> usize {
        match order {
            Order::Shard => self.memory,
            Order::FirstCome => self.memory / QUEUE_SHARE,
        }
    }
}
