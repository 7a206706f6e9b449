//! Reads the catalogs of shards.

use super::facts::{self, Facts};
use crate::connect::Session;
use crate::error::{Error, ErrorKind, Phase, Result};

#[cfg(feature = "datafusion")]
use {
    super::{Catalog, compare::compare},
    crate::connect::{Opening, Pools},
    futures::future::try_join_all,
    std::sync::Arc,
};

/// The catalogs of all shards as one, as sessions that begin like this see them. Takes a connection of each shard, so nobody who waits for it
/// may hold one.
///
/// # Errors
/// What connecting to a shard or reading its catalog fails with. Differences are no errors.
///
/// # Cancel safety
/// Dropping the future cancels what runs on the shards.
#[cfg(feature = "datafusion")]
pub(crate) async fn load(pools: &Arc<Pools>, opening: &Opening) -> Result<Catalog> {
    let permits = pools.permits(0..pools.len()).await?;
    let facts = try_join_all(permits.into_iter().map(async |permit| {
        let mut session = pools.session(permit, opening).await?;
        let facts = read(&mut session).await?;
        session.finish().await;
        Ok(facts)
    }))
    .await?;
    let names: Vec<String> = (0..pools.len())
        .map(|shard| pools.name(shard).to_string())
        .collect();
    Ok(compare(&names, &facts))
}

/// Reads the catalog of one shard. Leaves the session with the search path `pg_catalog`.
///
/// # Errors
/// What the server says; [`ErrorKind::Decode`] when its answer is not what was asked for.
pub(crate) async fn read(session: &mut Session) -> Result<Facts> {
    // With what PostgreSQL adds to it: pg_catalog, unless the path names it in another place.
    let path = ask(
        session,
        "SELECT pg_catalog.array_to_json(pg_catalog.current_schemas(true))",
    )
    .await?;
    session.query("SET LOCAL search_path = pg_catalog").await?;
    let document = ask(session, facts::QUERY).await?;
    Facts::parse(&document, &path).map_err(|error| {
        Error::new(
            ErrorKind::Decode,
            "the catalog did not have the expected form",
        )
        .with_phase(Phase::Describe)
        .with_shard(session.shard())
        .with_source(error)
    })
}

/// The only value of an answer; empty where there is none.
async fn ask(session: &mut Session, sql: &str) -> Result<String> {
    let rows = session.query(sql).await?;
    let value = rows
        .into_iter()
        .next()
        .and_then(|row| row.into_iter().next());
    Ok(value.flatten().unwrap_or_default())
}

#[cfg(all(test, feature = "datafusion"))]
mod tests;
