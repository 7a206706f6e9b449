//! The API of planned queries, as the cases use it.

use merganser::config::FinishRelations;
use merganser::{Cluster, MergeMode, Query};

use super::READERS;

/// How shards are read, and how rows are handed to later steps: the answer is the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Running {
    /// By one connection each, and as SQL text.
    Usual,
    /// In temporary tables.
    Tables,
    /// By several connections, a block at a time.
    Readers,
}

impl Running {
    pub(super) const ALL: [Self; 3] = [Self::Usual, Self::Tables, Self::Readers];

    /// One of all, in turns.
    pub(super) fn nth(n: usize) -> Self {
        Self::ALL[n % Self::ALL.len()]
    }

    /// The query in this way.
    pub(super) fn of(self, query: Query) -> Query {
        match self {
            Self::Usual => query,
            Self::Tables => query.with_finish_relations(FinishRelations::Temporary),
            Self::Readers => query.with_readers_per_shard(READERS).with_range_bytes(1),
        }
    }

    /// Whether the plan of a query shows that something of it runs in this way and not as usual.
    pub(super) async fn is_seen(self, query: Query) -> bool {
        let said = match self {
            Self::Usual => return false,
            Self::Tables => "as a temporary table",
            Self::Readers => "up to 3 connections",
        };
        let plan = self.of(query).explain().await;
        plan.is_ok_and(|plan| plan.to_string().contains(said))
    }
}

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
