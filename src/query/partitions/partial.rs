//! Partial aggregates in parts, and the merge that makes the answer of them, for engines that run it.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::logical_expr::AggregateUDF;
use datafusion::physical_plan::ExecutionPlan;
use futures::FutureExt;

use super::Partitions;
use crate::catalog::Catalog;
use crate::error::{Error, Result};
use crate::merge;
use crate::plan::Plan;
use crate::query::answer::aggregated;
use crate::query::execute;
use crate::query::planning::Request;
use crate::stream::QueryStream;
use crate::types::Column;

/// A query in parts of partial aggregates: made by [`Query::partial_partitions`](crate::Query::partial_partitions).
#[derive(Debug)]
#[non_exhaustive]
pub struct PartialPartitions {
    /// The parts, whose rows are partial aggregates: a group may be in many of them.
    pub partitions: Partitions,
    /// What makes the answer of all their rows.
    pub merge: PartialMerge,
}

/// The merge of partial aggregates as a plan of DataFusion's, which an engine may run over many machines.
///
/// ```text
/// rows of all partitions ──► plan(): group again ──► finish(): what is left of the query ──► answer
/// ```
/// The answer is PostgreSQL's if the engine does what the plan says: gives each row of each partition to
/// it once, and sends rows of one group to one place.
///
/// # Functions
/// Plans travel with functions by their names. Sums are checked here, and have the name of DataFusion's,
/// which wrap around when they leave their type: so whoever encodes a plan has to write
/// [`payload`](Self::payload), and to read it with [`aggregate`](Self::aggregate).
#[derive(Clone)]
pub struct PartialMerge {
    pub(in crate::query) sql: String,
    /// What the SQL calls the columns of the partitions.
    pub(in crate::query) names: Vec<String>,
    /// Those of the query.
    pub(in crate::query) columns: Vec<Column>,
    /// `None` where the merge gives the answer.
    pub(in crate::query) behind: Option<Behind>,
}

/// The step that is left behind the merge.
#[derive(Clone)]
pub(in crate::query) struct Behind {
    pub(in crate::query) request: Request,
    pub(in crate::query) plan: Arc<Plan>,
    pub(in crate::query) common: Vec<(String, String)>,
    pub(in crate::query) finish: Option<Arc<Catalog>>,
}

impl PartialMerge {
    /// The plan over another one, which gives the rows of all partitions; groups are spread over so many
    /// partitions. Its operators are DataFusion's projections, aggregates, and exchanges by hash.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`](crate::ErrorKind::Internal) for rows of other columns than the partitions have.
    pub async fn plan(
        &self,
        rows: Arc<dyn ExecutionPlan>,
        partitions: usize,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.check(&rows.schema())?;
        merge::physical(rows, &self.sql, partitions).await
    }

    /// The answer, of what the plan gives. Where a step is left (averages, `HAVING`, `ORDER BY`), the groups
    /// are handed to the server that finishes, as those of any query, within the bounds of it.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`](crate::ErrorKind::Internal) for rows of another plan; else, also later, as
    /// [`Query::stream`](crate::Query::stream).
    ///
    /// # Cancel safety
    /// Dropping the future or the stream drops the rows.
    pub async fn finish(&self, rows: QueryStream) -> Result<QueryStream> {
        let rows = merge::finished(rows);
        let Some(behind) = &self.behind else {
            return aggregated(rows, &self.columns);
        };
        let request = &behind.request;
        let deadline = request.options.deadline();
        let started = async {
            let (common, finish) = (behind.common.clone(), behind.finish.clone());
            let held = request.hold(common, finish, &deadline).await?;
            execute::start_behind(request, &behind.plan, held, &deadline, rows).await
        };
        let rows = deadline.within(started.boxed()).await?;
        Ok(deadline.bound(rows))
    }

    /// What an aggregate travels with; `None` for those that DataFusion has under their names.
    pub fn payload(aggregate: &AggregateUDF) -> Option<&'static str> {
        merge::is_checked_sum(aggregate).then_some(CHECKED_SUM)
    }

    /// The aggregate that a [`payload`](Self::payload) is of.
    pub fn aggregate(payload: &str) -> Option<AggregateUDF> {
        (payload == CHECKED_SUM).then(merge::checked_sum)
    }

    fn check(&self, schema: &SchemaRef) -> Result<()> {
        let names = schema.fields().iter().map(|field| field.name());
        match names.eq(self.names.iter()) {
            true => Ok(()),
            false => Err(Error::fault(format!(
                "the partial aggregates have other columns than their merge: {:?}",
                self.names
            ))),
        }
    }
}

impl fmt::Debug for PartialMerge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PartialMerge")
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}

const CHECKED_SUM: &str = "checked_sum";
