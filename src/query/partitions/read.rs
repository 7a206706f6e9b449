//! Reading one partition, in any process.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use futures::FutureExt;

use super::{Partition, columns_of, settings_of, waited_for};
use crate::cluster::Cluster;
use crate::config::SessionSettings;
use crate::connect::Session;
use crate::error::{Error, ErrorKind, Phase, Result, SqlOrigin};
use crate::progress::{Counters, ScanProgress, ShardState};
use crate::query::CancelHandle;
use crate::query::options::Options;
use crate::scan::{self, Description};
use crate::statement::Statement;
use crate::stream::QueryStream;
use crate::types::{Column, TypeOptions};

/// The rows of one [`Partition`]; read when it is awaited. Made by [`Cluster::read_partition`].
///
/// # Cancel safety
/// Dropping any of its futures, or the stream that it gave, cancels it on the shard.
#[derive(Debug, Clone)]
#[must_use = "a partition is not read until it is streamed or collected"]
pub struct PartitionRead {
    cluster: Cluster,
    partition: Partition,
    options: Options,
}

/// A session that sees the rows as they were when the partition was made.
struct Opened {
    session: Session,
    statement: Statement,
    described: Description,
    counters: Arc<Counters>,
}

impl PartitionRead {
    pub(crate) fn new(cluster: Cluster, partition: Partition) -> Self {
        Self {
            cluster,
            partition,
            options: Options::default(),
        }
    }

    /// As [`FanOut::with_types`](crate::FanOut::with_types).
    pub fn with_types(mut self, options: TypeOptions) -> Self {
        self.options.types = options;
        self
    }

    /// As [`FanOut::with_batch_rows`](crate::FanOut::with_batch_rows).
    pub fn with_batch_rows(mut self, rows: usize) -> Self {
        self.options.batch_rows = rows;
        self
    }

    /// As [`FanOut::with_memory`](crate::FanOut::with_memory).
    pub fn with_memory(mut self, bytes: usize) -> Self {
        self.options.memory = bytes;
        self
    }

    /// As [`FanOut::with_timeout`](crate::FanOut::with_timeout).
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.options.timeout = Some(timeout);
        self
    }

    /// The settings that the query had which the partition is of.
    pub fn with_session(mut self, settings: SessionSettings) -> Self {
        self.options.session = Some(settings);
        self
    }

    /// As [`FanOut::with_progress`](crate::FanOut::with_progress).
    pub fn with_progress(mut self, progress: ScanProgress) -> Self {
        self.options.progress = progress;
        self
    }

    /// What ends the reading from elsewhere.
    pub fn cancel_handle(&self) -> CancelHandle {
        self.options.cancel.clone()
    }

    /// The schema of the rows, without reading any.
    ///
    /// # Errors
    /// As [`stream`](Self::stream), before the first row.
    pub async fn describe(self) -> Result<SchemaRef> {
        let described = async {
            let opened = self.open().await?;
            opened.session.finish().await;
            let columns = opened.described.columns.iter();
            let fields: Vec<_> = columns.map(Column::to_field).collect();
            Ok(Arc::new(Schema::new(fields)))
        };
        self.options.deadline().within(described.boxed()).await
    }

    /// Starts to read; the rows as they come, in bounded memory. A partition may be read again, and gives
    /// the same rows.
    ///
    /// # Errors
    /// - [`ErrorKind::Config`]: the topology or the settings are not those of the partition, or its lease
    ///   is over.
    /// - [`ErrorKind::Server`]: the snapshot is gone, since its holder has ended, or this is another server,
    ///   such as a replica; or somebody waits to rewrite the table.
    /// - [`ErrorKind::Unsupported`]: the columns are others.
    /// - Else as [`FanOut::stream`](crate::FanOut::stream).
    pub async fn stream(self) -> Result<QueryStream> {
        let deadline = self.options.deadline();
        let rows = deadline.within(self.start().boxed()).await?;
        Ok(deadline.bound(rows))
    }

    /// Reads to the end.
    ///
    /// # Errors
    /// As [`stream`](Self::stream), and those of reading the rows.
    ///
    /// # Memory
    /// Holds all rows.
    pub async fn collect(self) -> Result<Vec<RecordBatch>> {
        self.stream().await?.collect().await
    }

    async fn start(&self) -> Result<QueryStream> {
        let Opened {
            session,
            statement,
            described,
            counters,
        } = self.open().await?;
        let sql = scan::copy_sql(&statement, &described, &[])?;
        let read_for = self.partition.read_for;
        let options = self
            .options
            .batches(read_for.unrepresentable(self.options.types), 1);
        Ok(scan::rows(
            session,
            sql,
            described.columns,
            &options,
            counters,
            None,
            None,
        ))
    }

    /// Takes over the snapshot, and sees to it that the columns are those of the partition.
    async fn open(&self) -> Result<Opened> {
        let shard = self.check()?;
        let partition = &self.partition;
        let counters = self.options.progress.begin([partition.shard.as_str()]);
        let counters = counters.into_iter().next();
        let counters = counters.ok_or_else(|| Error::fault("a shard has no counters"))?;
        counters.set(ShardState::Connecting);
        let opening = self.cluster.opening(self.options.session.as_ref())?;
        let opening = opening.behind_begin(&scan::import_sql(&partition.snapshot)?);
        let session = self.cluster.session_with(shard, &opening).await;
        let mut session = session.map_err(|error| self.gone(error))?;
        if let Some((table, _, _)) = &partition.range
            && !scan::lock(&mut session, table).await?
        {
            return Err(waited_for(table).with_shard(&partition.shard));
        }
        let statement = Statement::parse(&partition.sql)?;
        let reading = partition.read_for.reading(self.options.types);
        let described = scan::describe(&mut session, &statement, SqlOrigin::Made, reading).await?;
        if columns_of(Some(&described)) != partition.columns {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "the columns are not those of which the partition was made",
            )
            .with_shard(&partition.shard)
            .with_phase(Phase::Describe)
            .with_hint("make the partitions anew"));
        }
        Ok(Opened {
            session,
            statement,
            described,
            counters,
        })
    }

    /// Which shard it is of, if it can be read here and now.
    fn check(&self) -> Result<usize> {
        let partition = &self.partition;
        let topology = self.cluster.topology();
        let wrong = |message: String| Error::new(ErrorKind::Config, message);
        let ours = topology.fingerprint();
        if partition.topology != ours {
            let short = |digest: &str| digest.chars().take(12).collect::<String>();
            return Err(wrong(format!(
                "the partition is of another topology: {} there, {} here",
                short(&partition.topology),
                short(&ours)
            ))
            .with_hint("shards, tables and settings of both topology files have to be the same; URLs may differ"));
        }
        if SystemTime::now() >= partition.expires() {
            return Err(wrong("the lease of the partition is over".to_owned())
                .with_hint("make the partitions anew, with a longer lease"));
        }
        if settings_of(&self.options) != partition.settings {
            return Err(
                wrong("the partition is of a query with other settings".to_owned())
                    .with_hint("read it with the session settings that the query had"),
            );
        }
        let mut shards = topology.shards().iter();
        let shard = shards.position(|shard| shard.name() == partition.shard);
        shard.ok_or_else(|| Error::fault("a shard of the topology is not there"))
    }

    /// The error of a snapshot that cannot be had.
    fn gone(&self, error: Error) -> Error {
        if error.phase() != Some(Phase::Session) || error.sql_state().is_none() {
            return error;
        }
        Error::new(
            ErrorKind::Server,
            "the snapshot of the partition is not there: its holder has ended, or this is another server",
        )
        .with_shard(&self.partition.shard)
        .with_phase(Phase::Session)
        .with_source(error)
        .with_hint(
            "keep the lease until all partitions are read, and read from the server that has it; \
             else make the partitions anew",
        )
    }
}
