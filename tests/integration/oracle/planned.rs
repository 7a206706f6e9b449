//! The API of planned queries, as the cases use it.

use merganser::{Cluster, Query};

/// Which arms the planner may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Merge {
    /// The cheapest that is exact.
    Auto,
    /// `Gather` alone.
    Gather,
}

/// The query, or `None` where planned queries are not built in.
pub(super) fn query(_cluster: &Cluster, _sql: &str, _merge: Merge) -> Option<Query> {
    None
}

/// What EXPLAIN prints.
pub(super) async fn explain(_query: Query) -> String {
    String::new()
}

/// The arm of the plan, in lower case.
pub(super) async fn arm(_query: Query) -> Result<String, String> {
    Ok(String::new())
}
