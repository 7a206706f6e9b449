//! Where a planned query begins: planning, running, and once more without decimals where a value
//! fits none.

use std::sync::Arc;
use std::time::Instant;

use futures::FutureExt;
use futures::stream::{self, StreamExt};

use super::{Streams, fault, run};
use crate::error::Result;
use crate::export::Part;
use crate::plan::Plan;
use crate::query::Analysis;
use crate::query::deadline::Deadline;
use crate::query::planning::{Held, PlanOptions, Request};
use crate::stream::QueryStream;

/// Plans the query and runs it up to its last step.
pub(in crate::query) async fn start(
    query: &Request,
    deadline: &Deadline,
) -> Result<(QueryStream, Analysis)> {
    let (mut parts, analysis) = start_in(Streams::One, query, deadline).await?;
    let only = parts.pop().ok_or_else(|| fault("the answer has no rows"))?;
    Ok((only.rows, analysis))
}

/// The same, with a stream for each shard where that is the answer.
pub(in crate::query) async fn start_apart(
    query: &Request,
    deadline: &Deadline,
) -> Result<(Vec<Part>, Analysis)> {
    start_in(Streams::Apart, query, deadline).await
}

/// Runs what is left of a plan behind its first step, whose rows are given.
pub(in crate::query) async fn start_behind(
    query: &Request,
    plan: &Plan,
    held: Held,
    deadline: &Deadline,
    given: QueryStream,
) -> Result<QueryStream> {
    let given = Some(given);
    let parts = run(
        query,
        query.planning,
        plan,
        held,
        deadline,
        Streams::One,
        given,
    );
    let only = parts.await?.pop();
    Ok(only.ok_or_else(|| fault("the answer has no rows"))?.rows)
}

async fn start_in(
    streams: Streams,
    query: &Request,
    deadline: &Deadline,
) -> Result<(Vec<Part>, Analysis)> {
    let mut planning = query.planning;
    match begin(query, planning, deadline, streams).await {
        // PostgreSQL can do what the merge cannot.
        Err(error) if planning.decimals && error.is_unrepresentable() => {
            planning.decimals = false;
            plan_and_run(query, planning, deadline, streams).await
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
    streams: Streams,
) -> Result<(Vec<Part>, Analysis)> {
    let (mut parts, analysis) = plan_and_run(query, planning, deadline, streams).await?;
    if !analysis.plan.decimals {
        return Ok((parts, analysis));
    }
    for part in &mut parts {
        let schema = part.rows.schema();
        match part.rows.next().await {
            Some(Err(error)) if error.is_unrepresentable() => return Err(error),
            first => {
                let empty = QueryStream::new(schema.clone(), stream::empty());
                let rest = std::mem::replace(&mut part.rows, empty);
                part.rows = QueryStream::new(schema, stream::iter(first).chain(rest));
            }
        }
    }
    Ok((parts, analysis))
}

async fn plan_and_run(
    query: &Request,
    planning: PlanOptions,
    deadline: &Deadline,
    streams: Streams,
) -> Result<(Vec<Part>, Analysis)> {
    let began = Instant::now();
    let (plan, held) = query.plan(planning, deadline).boxed().await?;
    let analysis = Analysis {
        plan: Arc::new(plan),
        planning: began.elapsed(),
        progress: query.options.progress.clone(),
    };
    let parts = run(
        query,
        planning,
        &analysis.plan,
        held,
        deadline,
        streams,
        None,
    )
    .await?;
    Ok((parts, analysis))
}
