//! Where a planned query begins: planning, running, and once more without decimals where a value
//! fits none.

use std::sync::Arc;
use std::time::Instant;

use futures::FutureExt;
use futures::stream::{self, StreamExt};

use super::run;
use crate::error::Result;
use crate::query::Analysis;
use crate::query::deadline::Deadline;
use crate::query::planning::{PlanOptions, Request};
use crate::stream::QueryStream;

/// Plans the query and runs it up to its last step.
pub(in crate::query) async fn start(
    query: &Request,
    deadline: &Deadline,
) -> Result<(QueryStream, Analysis)> {
    let mut planning = query.planning;
    let (mut rows, analysis) = plan_and_run(query, planning, deadline).await?;
    if !analysis.plan.decimals {
        return Ok((rows, analysis));
    }
    // A value that no decimal holds comes up before the first row where a merge sees all rows first.
    // PostgreSQL can then do what the merge cannot.
    match rows.next().await {
        Some(Err(error)) if error.is_unrepresentable() => {
            drop(rows);
            planning.decimals = false;
            plan_and_run(query, planning, deadline).await
        }
        first => {
            let schema = rows.schema();
            let rows = stream::iter(first).chain(rows);
            Ok((QueryStream::new(schema, rows), analysis))
        }
    }
}

async fn plan_and_run(
    query: &Request,
    planning: PlanOptions,
    deadline: &Deadline,
) -> Result<(QueryStream, Analysis)> {
    let began = Instant::now();
    let (plan, held) = query.plan(planning, deadline).boxed().await?;
    let analysis = Analysis {
        plan: Arc::new(plan),
        planning: began.elapsed(),
        progress: query.options.progress.clone(),
    };
    let rows = run(query, planning, &analysis.plan, held).await?;
    Ok((rows, analysis))
}
