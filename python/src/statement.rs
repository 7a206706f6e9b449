//! One run of a query, planned or a fan-out, or of a part of one, before it begins.

use std::sync::Arc;

use merganser::arrow::datatypes::SchemaRef;
use merganser::{CancelHandle, Error, FanOut, PartitionRead, Query, QueryStream, ScanProgress};

use crate::schema::{Types, types_of};

/// One run, not begun yet.
pub(crate) enum Statement {
    Planned(Query),
    FanOut(FanOut),
    Partition(PartitionRead),
}

impl Statement {
    pub(crate) fn cancel_handle(&self) -> CancelHandle {
        match self {
            Self::Planned(query) => query.cancel_handle(),
            Self::FanOut(fan_out) => fan_out.cancel_handle(),
            Self::Partition(read) => read.cancel_handle(),
        }
    }

    pub(crate) fn with_progress(self, progress: ScanProgress) -> Self {
        match self {
            Self::Planned(query) => Self::Planned(query.with_progress(progress)),
            Self::FanOut(fan_out) => Self::FanOut(fan_out.with_progress(progress)),
            Self::Partition(read) => Self::Partition(read.with_progress(progress)),
        }
    }

    pub(crate) async fn stream(self) -> Result<(QueryStream, Types), Error> {
        match self {
            Self::Planned(query) => {
                let (rows, analysis) = query.stream_analyzed().await?;
                Ok((rows, types_of(analysis.plan().columns())))
            }
            Self::FanOut(fan_out) => Ok((fan_out.stream().await?, None)),
            Self::Partition(read) => Ok((read.stream().await?, None)),
        }
    }

    /// Schema and types, without running the query.
    pub(crate) async fn describe(self, is_merged: bool) -> Result<(SchemaRef, Types), Error> {
        match self {
            Self::Planned(query) => {
                let plan = query.clone().plan().await?;
                let fields = plan.columns().iter().map(|column| column.to_field());
                let schema = merganser::arrow::datatypes::Schema::new(fields.collect::<Vec<_>>());
                Ok((Arc::new(schema), types_of(plan.columns())))
            }
            // Only the merge knows what comes out of it; no row of it is read.
            Self::FanOut(fan_out) if is_merged => Ok((fan_out.stream().await?.schema(), None)),
            Self::FanOut(fan_out) => Ok((fan_out.describe().await?, None)),
            Self::Partition(read) => Ok((read.describe().await?, None)),
        }
    }
}
