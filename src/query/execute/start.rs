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
    match begin(query, planning, deadline).await {
        // PostgreSQL can do what the merge cannot.
        Err(error) if planning.decimals && error.is_unrepresentable() => {
            planning.decimals = false;
            plan_and_run(query, planning, deadline).await
        }
        begun => begun,
    }
}

/// Runs the query as far as a value that no decimal holds may come up: a merge sees all rows before
/// it gives its first.
async fn begin(
    query: &Request,
    planning: PlanOptions,
    deadline: &Deadline,
) -> Result<(QueryStream, Analysis)> {
    let (mut rows, analysis) = plan_and_run(query, planning, deadline).await?;
    if !analysis.plan.decimals {
        return Ok((rows, analysis));
    }
    match rows.next().await {
        Some(Err(error)) if error.is_unrepresentable() => Err(error),
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
    let rows = run(query, planning, &analysis.plan, held, deadline).await?;
    Ok((rows, analysis))
}
