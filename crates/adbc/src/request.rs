//! What a statement asks: a query or a fan-out, with the options of its statement.

use adbc_core::error::{Result, Status};
use arrow::datatypes::SchemaRef;
use merganser::blocking::{Cluster, FanOut, Partitions, Query, QueryReader};
use merganser::{CancelHandle, MergeMode, PartitionOptions, Plan, ScanProgress, arrow};

use crate::error::{from_library, refusal};
use crate::options::{Mode, QueryOptions};
use crate::parameters::Values;

/// One execution, or several with other values, which are cancelled together. Does nothing until it
/// is asked to.
#[derive(Clone)]
pub(crate) enum Request {
    Query(Query),
    FanOut(FanOut),
}

impl Request {
    /// The request for this SQL.
    ///
    /// # Errors
    /// Options that do not go together.
    pub(crate) fn new(
        cluster: &Cluster,
        sql: &str,
        options: &QueryOptions,
        progress: &ScanProgress,
    ) -> Result<Self> {
        match options.mode {
            Mode::Query if options.merge_sql.is_some() => Err(refusal(
                Status::InvalidState,
                "merganser.merge_sql is set, which merges the rows of a fan-out\n\
                 hint: set merganser.mode to \"fan_out\", or merganser.merge_sql to an empty text",
            )),
            Mode::Query => {
                let query = cluster.query(sql);
                Ok(Self::Query(query.with(|mut query| {
                    query = query
                        .with_merge(options.merge)
                        .with_progress(progress.clone());
                    if let Some(order) = options.order {
                        query = query.with_order(order);
                    }
                    if let Some(timeout) = options.timeout {
                        query = query.with_timeout(timeout);
                    }
                    if let Some(rows) = options.batch_rows {
                        query = query.with_batch_rows(rows);
                    }
                    if let Some(bytes) = options.memory {
                        query = query.with_memory(bytes);
                    }
                    match options.session() {
                        Some(session) => query.with_session(session),
                        None => query,
                    }
                })))
            }
            Mode::FanOut if options.merge != MergeMode::Auto => Err(refusal(
                Status::InvalidState,
                "merganser.merge is set, which is for planned queries\n\
                 hint: set merganser.mode to \"query\", or merganser.merge to \"auto\"",
            )),
            Mode::FanOut => {
                let fan_out = cluster.fan_out(sql);
                Ok(Self::FanOut(fan_out.with(|mut fan_out| {
                    fan_out = fan_out.with_progress(progress.clone());
                    if let Some(merge_sql) = &options.merge_sql {
                        fan_out = fan_out.reaggregate(merge_sql);
                    }
                    if let Some(order) = options.order {
                        fan_out = fan_out.with_order(order);
                    }
                    if let Some(timeout) = options.timeout {
                        fan_out = fan_out.with_timeout(timeout);
                    }
                    if let Some(rows) = options.batch_rows {
                        fan_out = fan_out.with_batch_rows(rows);
                    }
                    if let Some(bytes) = options.memory {
                        fan_out = fan_out.with_memory(bytes);
                    }
                    match options.session() {
                        Some(session) => fan_out.with_session(session),
                        None => fan_out,
                    }
                })))
            }
        }
    }

    /// The same with these values for `$1`, `$2`, ...
    pub(crate) fn with_params(self, values: Values) -> Self {
        match self {
            Self::Query(query) => Self::Query(query.with(|it| it.with_params(values))),
            Self::FanOut(fan_out) => Self::FanOut(fan_out.with(|it| it.with_params(values))),
        }
    }

    /// What ends it, and every clone of it.
    pub(crate) fn cancel_handle(&self) -> CancelHandle {
        match self {
            Self::Query(query) => query.cancel_handle(),
            Self::FanOut(fan_out) => fan_out.cancel_handle(),
        }
    }

    /// The schema of its rows.
    pub(crate) fn describe(self) -> Result<SchemaRef> {
        match self {
            Self::Query(query) => query.describe(),
            Self::FanOut(fan_out) => fan_out.describe(),
        }
        .map_err(from_library)
    }

    /// The fields of its parameters.
    pub(crate) fn parameters(self) -> Result<SchemaRef> {
        match self {
            Self::Query(query) => query.parameters(),
            Self::FanOut(fan_out) => fan_out.parameters(),
        }
        .map_err(from_library)
    }

    /// How it would run.
    pub(crate) fn explain(self) -> Result<Plan> {
        match self {
            Self::Query(query) => query.explain().map_err(from_library),
            Self::FanOut(_) => Err(refusal(
                Status::InvalidState,
                "a fan-out has no plan: its text is sent to every shard as it is\n\
                 hint: set merganser.mode to \"query\"",
            )),
        }
    }

    /// Its text with the values in place.
    pub(crate) fn mogrify(self) -> merganser::Result<String> {
        match self {
            Self::Query(query) => query.mogrify(),
            Self::FanOut(fan_out) => fan_out.mogrify(),
        }
    }

    /// Its rows in parts.
    pub(crate) fn partitions(self, options: &PartitionOptions) -> merganser::Result<Partitions> {
        match self {
            Self::Query(query) => query.partitions(options),
            Self::FanOut(fan_out) => fan_out.partitions(options),
        }
    }

    /// Starts it.
    pub(crate) fn stream(self) -> merganser::Result<QueryReader> {
        match self {
            Self::Query(query) => query.stream(),
            Self::FanOut(fan_out) => fan_out.stream(),
        }
    }
}
