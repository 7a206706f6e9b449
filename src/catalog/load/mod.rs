//! Reads the catalogs of shards.

use serde::de::DeserializeOwned;

use super::facts::{self, Facts};
use crate::connect::Session;
use crate::error::{Error, ErrorKind, Phase, Result};

#[cfg(feature = "datafusion")]
use {
    super::circumstances::{self, Circumstances},
    super::{Catalog, compare::Comparison, conditions::Conditions, settings},
    crate::config::SessionSettings,
    crate::connect::{Opening, Permit, Pools},
    futures::future::try_join_all,
    std::sync::Arc,
};

/// What one shard says, with which all others agree on what they agree on at all.
#[cfg(feature = "datafusion")]
#[derive(Debug)]
pub(super) struct Sample {
    shard: String,
    facts: Facts,
    circumstances: Circumstances,
}

/// The catalogs of all shards as one, as sessions that begin like this see them; `session` has the
/// settings of the topology. With `is_apart`, another server finishes, and [`load_finish`] will be asked
/// for. Takes a connection of each shard, so nobody who waits for it may hold
/// one.
///
/// # Errors
/// What connecting to a shard or reading its catalog fails with, unless `go_without` is content to leave
/// that shard out. Differences are no errors.
///
/// # Cancel safety
/// Dropping the future cancels what runs on the shards.
#[cfg(feature = "datafusion")]
pub(crate) async fn load(
    pools: &Arc<Pools>,
    opening: &Opening,
    session: &SessionSettings,
    is_apart: bool,
    go_without: &(dyn Fn(Error) -> Result<()> + Sync),
) -> Result<Catalog> {
    let query = circumstances_query(pools, session)?;
    let permits = pools.permits(0..pools.len()).await?;
    let query = &query;
    let read_all = permits
        .into_iter()
        .enumerate()
        .map(|(shard, permit)| async move {
            match read_with(pools, permit, opening, query).await {
                Ok((facts, circumstances)) => {
                    let name = pools.name(shard).to_string();
                    Ok(Some((name, (facts, circumstances))))
                }
                Err(error) => go_without(error).map(|()| None),
            }
        });
    let read = try_join_all(read_all).await?.into_iter().flatten();
    let (names, read): (Vec<String>, Vec<_>) = read.unzip();
    let (facts, circumstances): (Vec<Facts>, Vec<Circumstances>) = read.into_iter().unzip();
    let conditions = Conditions::new(&names, &circumstances);
    let mut catalog = Comparison::new(&names, &facts).catalog();
    let mut first = names.into_iter().zip(facts).zip(circumstances);
    let ((shard, facts), circumstances) = first
        .next()
        .ok_or_else(|| Error::fault("a cluster has no shard"))?;
    catalog.sample = is_apart.then(|| {
        Arc::new(Sample {
            shard,
            facts,
            circumstances,
        })
    });
    Ok(catalog.with_conditions(conditions))
}

/// A shard and the server that finishes side by side, as one catalog: what has a difference in it is
/// not the same on both. `finish` is a session of that server, set up as those of the shards are; it is
/// left with the search path `pg_catalog`.
///
/// # Errors
/// What reading the catalog fails with. Differences are no errors.
#[cfg(feature = "datafusion")]
pub(crate) async fn load_finish(
    shards: &Pools,
    session: &SessionSettings,
    catalog: &Catalog,
    finish: &mut Session,
) -> Result<Catalog> {
    let sample = catalog.sample.as_deref();
    let sample = sample.ok_or_else(|| Error::fault("no shard was kept to compare with"))?;
    let query = circumstances_query(shards, session)?;
    let (facts, circumstances) = read(finish, &query).await?;
    let names = [sample.shard.clone(), finish.shard().to_owned()];
    let servers = [sample.circumstances.clone(), circumstances];
    let conditions = Conditions::of_settings(&names, &servers);
    let catalog = Comparison::new(&names, [&sample.facts, &facts]).catalog();
    Ok(catalog.with_conditions(conditions))
}

/// What asks for circumstances, and for the settings without a definition that sessions name.
#[cfg(feature = "datafusion")]
fn circumstances_query(shards: &Pools, session: &SessionSettings) -> Result<String> {
    let options = shards.options().flat_map(settings::named_in_options);
    let asked: Vec<String> = settings::dotted(session.settings())
        .chain(options)
        .collect();
    circumstances::query(&asked)
}

/// Reads the catalog of a shard, and what its database does around a query.
#[cfg(feature = "datafusion")]
async fn read_with(
    pools: &Arc<Pools>,
    permit: Permit,
    opening: &Opening,
    query: &str,
) -> Result<(Facts, Circumstances)> {
    let mut session = pools.session(permit, opening).await?;
    let found = read(&mut session, query).await?;
    session.finish().await;
    Ok(found)
}

/// Reads the catalog of one shard, and what another query has to say in one JSON document. Leaves
/// the session with the search path `pg_catalog`.
///
/// # Errors
/// What the server says; [`ErrorKind::Decode`] when its answer is not what was asked for.
pub(crate) async fn read<T: DeserializeOwned>(
    session: &mut Session,
    query: &str,
) -> Result<(Facts, T)> {
    let answers = ask(session, &format!("{PATH}; {}; {query}", facts::QUERY)).await?;
    let mut facts: Facts = parse(session, answers.get(1))?;
    facts.search_path = parse(session, answers.first())?;
    Ok((facts, parse(session, answers.get(2))?))
}

/// Gives the search path with what PostgreSQL adds to it: `pg_catalog`, unless the path names it in
/// another place. Names in what is read then come with their schema.
const PATH: &str = "SELECT pg_catalog.array_to_json(pg_catalog.current_schemas(true)); \
                    SET LOCAL search_path = pg_catalog";

fn parse<T: DeserializeOwned>(session: &Session, document: Option<&String>) -> Result<T> {
    let document = document.map_or("", String::as_str);
    serde_json::from_str(document).map_err(|error| {
        Error::new(
            ErrorKind::Decode,
            "the catalog did not have the expected form",
        )
        .with_phase(Phase::Describe)
        .with_shard(session.shard())
        .with_source(error)
    })
}

/// The first value of each row of the answers to several statements; empty where there is none.
async fn ask(session: &mut Session, sql: &str) -> Result<Vec<String>> {
    let rows = session.query(sql).await?;
    let values = rows.into_iter().map(|row| row.into_iter().next().flatten());
    Ok(values.map(Option::unwrap_or_default).collect())
}

#[cfg(all(test, feature = "datafusion"))]
mod tests;
