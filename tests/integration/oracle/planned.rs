//! The API of planned queries, as the cases use it.

use merganser::{Cluster, MergeMode, Query};

/// The query under this merge.
pub(super) fn query(cluster: &Cluster, sql: &str, merge: MergeMode) -> Query {
    cluster.query(sql).with_merge(merge)
}

/// The plan, or why there is none.
pub(super) async fn explain(query: Query) -> String {
    match query.plan().await {
        Ok(plan) => format!("{plan:#?}"),
        Err(error) => format!("{error}; hint: {}", error.hint().unwrap_or_default()),
    }
}

/// The arm of the plan, in lower case.
pub(super) async fn arm(query: Query) -> Result<String, String> {
    let plan = query.plan().await.map_err(|error| error.to_string())?;
    let text = format!("{plan:?}");
    let arm = text.split(" arm: ").nth(1);
    let arm = arm.and_then(|rest| rest.split([',', ' ']).next());
    Ok(arm.unwrap_or_default().to_lowercase())
}
