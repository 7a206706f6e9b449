//! What a planned query has done: its plan, with figures.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::stream::{self, StreamExt, TryStreamExt};

use super::deadline::Deadline;
use super::{Planning, Query};
use crate::error::{Error, ErrorKind, Result};
use crate::plan::{Plan, seconds};
use crate::progress::{ScanProgress, StepProgress};
use crate::stream::QueryStream;

/// The plan of a query that runs or has run, and how many rows and bytes each step moved, in which
/// time. Clones see the same query.
///
/// [`Display`](fmt::Display) is the plan's text with these figures, as they are at that moment.
#[derive(Debug, Clone)]
pub struct Analysis {
    plan: Arc<Plan>,
    planning: Duration,
    progress: ScanProgress,
}

impl Analysis {
    /// How the query runs.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The time until the plan was there; the first query of a cluster reads the catalogs in it.
    pub fn planning(&self) -> Duration {
        self.planning
    }

    /// What each step has done so far, in the order of the plan.
    pub fn steps(&self) -> Vec<StepProgress> {
        self.progress.steps()
    }

    /// The JSON object of [`Plan::to_json`], where every element of `steps` has `analysis`: `rows`,
    /// `handed_bytes` and `seconds` as [`StepProgress`] has them, and `shards`, each with `shard`,
    /// `rows`, `bytes` and `seconds`.
    pub fn to_json(&self) -> String {
        self.plan.json(Some(&self.steps()))
    }
}

impl fmt::Display for Analysis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.plan.describe(Some(&self.steps())))?;
        writeln!(f, "\nPlanned in {}", seconds(self.planning))
    }
}

impl Query {
    /// Runs the query as [`stream`](Self::stream) does, and lets its figures be looked at.
    ///
    /// # Errors
    /// As [`stream`](Self::stream); [`ErrorKind::Config`] for a fan-out, which has no plan.
    pub async fn stream_analyzed(self) -> Result<(QueryStream, Analysis)> {
        let planning = self.planning.ok_or_else(no_plan)?;
        let deadline = self.deadline();
        let (rows, analysis) = deadline
            .within(self.start_planned(planning, &deadline))
            .await?;
        Ok((deadline.bound(rows), analysis))
    }

    /// Runs the query to its end, and drops its rows: EXPLAIN ANALYZE.
    ///
    /// # Errors
    /// As [`collect`](Self::collect); [`ErrorKind::Config`] for a fan-out, which has no plan.
    pub async fn analyze(self) -> Result<Analysis> {
        let (rows, analysis) = self.stream_analyzed().await?;
        rows.try_for_each(async |_| Ok(())).await?;
        Ok(analysis)
    }

    /// Plans the query and runs it up to its last step.
    pub(super) async fn start_planned(
        &self,
        mut planning: Planning,
        deadline: &Deadline,
    ) -> Result<(QueryStream, Analysis)> {
        let (mut rows, analysis) = self.start(planning, deadline).await?;
        if !analysis.plan.decimals {
            return Ok((rows, analysis));
        }
        // A number that no decimal holds comes up before the first row where a merge sees all rows
        // first. PostgreSQL can then do what the merge cannot.
        match rows.next().await {
            Some(Err(error)) if error.kind() == ErrorKind::Decode => {
                drop(rows);
                planning.decimals = false;
                self.start(planning, deadline).await
            }
            first => {
                let schema = rows.schema();
                let rows = stream::iter(first).chain(rows);
                Ok((QueryStream::new(schema, rows), analysis))
            }
        }
    }

    async fn start(
        &self,
        planning: Planning,
        deadline: &Deadline,
    ) -> Result<(QueryStream, Analysis)> {
        let began = Instant::now();
        let (plan, held) = self.make_plan(planning, deadline).boxed().await?;
        let analysis = Analysis {
            plan: Arc::new(plan),
            planning: began.elapsed(),
            progress: self.progress.clone(),
        };
        let rows = super::execute::run(self, planning, &analysis.plan, held).await?;
        Ok((rows, analysis))
    }
}

pub(super) fn no_plan() -> Error {
    Error::new(
        ErrorKind::Config,
        "a fan-out has no plan: its SQL runs on every shard as it is",
    )
    .with_hint("ask for the plan of Cluster::query")
}
