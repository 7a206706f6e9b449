//! Steps that several connections read.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Execution, Server, settle};
use crate::error::Result;
use crate::export::Part;
use crate::merge::{self, Order};
use crate::plan::{Plan, on_deep_stack};
use crate::query::planning::Request;
use crate::scan::{self, Shared, Split};
use crate::statement::Ranged;
use crate::stream::QueryStream;

/// For each step, how it is read in ranges, or why it is not.
pub(in crate::query) async fn ranged(
    query: &Request,
    plan: &Plan,
) -> Result<Vec<Result<Ranged, String>>> {
    let in_shard_order = query.options.order == Some(Order::Shard);
    // Its texts are read anew, on a stack that is deep enough.
    let plan = Arc::new(plan.clone());
    on_deep_stack(move || Ok(plan.ranged(in_shard_order))).await
}

impl Execution<'_> {
    /// The sessions that read a step in ranges, where there are several. A session that is none of them
    /// stays where it is.
    pub(super) async fn split(&mut self, index: usize) -> Result<BTreeMap<Server, Shared>> {
        let Some(Ok(ranged)) = self.ranged.get(index) else {
            return Ok(BTreeMap::new());
        };
        let readers = self.query.options.readers;
        let pools = self.query.cluster.pools();
        let opening = &self.query.opening()?;
        let runs = self.route.runs(index);
        let work = self
            .sites
            .iter_mut()
            .filter(|(server, _)| runs.contains(server))
            .filter_map(|(server, site)| match *server {
                Server::Shard(shard) => Some((*server, shard, site.session.take()?, site)),
                Server::Finish => None,
            })
            .map(|(server, shard, session, site)| async move {
                let split = scan::share(pools, opening, shard, session, ranged, readers).await?;
                Ok(match split {
                    Split::Many(shared) => Some((server, shared)),
                    Split::One(session, reason) => {
                        tracing::debug!(shard = site.name, reason, "one connection reads");
                        site.session = Some(session);
                        None
                    }
                })
            });
        Ok(settle(work).await?.into_iter().flatten().collect())
    }

    /// The rows of each shard, together.
    pub(super) fn apart(&self, shards: Vec<(String, QueryStream)>) -> Result<Vec<Part>> {
        let order = Order::FirstCome;
        let queue = self.query.options.queue_bytes(order) / shards.len().max(1);
        let mut parts: Vec<(String, Vec<QueryStream>)> = Vec::new();
        for (name, rows) in shards {
            match parts.last_mut() {
                Some((last, streams)) if *last == name => streams.push(rows),
                _ => parts.push((name, vec![rows])),
            }
        }
        let parts = parts.into_iter().map(|(name, streams)| {
            let rows = merge::union(streams, order, queue)?;
            Ok(Part { name, rows })
        });
        parts.collect()
    }
}
