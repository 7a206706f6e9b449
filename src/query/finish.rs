//! The server of `[finish] url`: set up as the shards are, and compared with them.

use std::sync::Arc;

use super::planning::Request;
use crate::catalog::{self, Catalog};
use crate::connect::{Opening, Permit, Pools, Session};
use crate::error::{Error, Result};
use crate::quote;

impl Request {
    /// The shards and the server that finishes side by side; `None` where a shard finishes. Waits for a
    /// connection of that server, which comes behind those of all shards.
    ///
    /// # Errors
    /// What connecting to it or reading its catalog fails with.
    pub(super) async fn finish_catalog(
        &self,
        opening: &Opening,
        common: &[(String, String)],
        shards: &Catalog,
    ) -> Result<Option<Arc<Catalog>>> {
        let cluster = &self.cluster;
        let Some(pools) = cluster.finish_pool() else {
            return Ok(None);
        };
        let settings = cluster.topology().session();
        let load = async || {
            let permit = pools.permits([0]).await?.pop();
            let permit = permit.ok_or_else(|| Error::fault("the finish has no pool"))?;
            let mut session = alike(pools, permit, opening, common).await?;
            let cache = cluster.catalog_cache();
            let pools = cluster.pools();
            let both =
                catalog::load_finish(pools, opening, settings, shards, cache, &mut session).await?;
            session.finish().await;
            Ok(both)
        };
        cluster.finish_catalog(opening, load).await.map(Some)
    }
}

/// A session of the server that finishes, with the settings of the shards.
///
/// # Errors
/// What connecting fails with, and what the server says to a setting.
pub(super) async fn alike(
    pools: &Arc<Pools>,
    permit: Permit,
    opening: &Opening,
    common: &[(String, String)],
) -> Result<Session> {
    let mut session = pools.session(permit, opening).await?;
    if common.is_empty() {
        return Ok(session);
    }
    let set = session.query(&settings_sql(common)?).await;
    set.map_err(|error| {
        error.with_context("the server that finishes cannot be set up as the shards are")
    })?;
    Ok(session)
}

fn settings_sql(settings: &[(String, String)]) -> Result<String> {
    let statements = settings.iter().map(|(name, value)| {
        let value = quote::literal(value)?;
        Ok(format!("SET LOCAL {name} = {value}"))
    });
    Ok(statements.collect::<Result<Vec<_>>>()?.join("; "))
}
