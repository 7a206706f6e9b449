//! Reads the catalogs of shards.

use serde::de::DeserializeOwned;

use super::facts::{self, Facts};
use crate::connect::Session;
use crate::error::{Error, ErrorKind, Phase, Result};

#[cfg(feature = "datafusion")]
use {
    super::cache::{Cache, Kept},
    super::circumstances::{self, Circumstances, Rights},
    super::{Catalog, compare::Comparison, conditions::Conditions, settings},
    crate::config::SessionSettings,
    crate::connect::{Opening, Permit, Pools},
    futures::future::try_join_all,
    std::collections::BTreeMap,
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
/// for. Facts that are in the cache and hold are taken from there, others are put there. Takes a
/// connection of each shard, so nobody who waits for it may hold one.
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
    cache: Option<&Arc<Cache>>,
    go_without: &(dyn Fn(Error) -> Result<()> + Sync),
) -> Result<Catalog> {
    let query = circumstances_query(pools, session)?;
    let permits = pools.permits(0..pools.len()).await?;
    let query = &query;
    let read_all = permits
        .into_iter()
        .enumerate()
        .map(|(shard, permit)| async move {
            match read_with(pools, permit, opening, query, cache).await {
                Ok(read) => Ok(Some((pools.name(shard).to_string(), read))),
                Err(error) => go_without(error).map(|()| None),
            }
        });
    let read = try_join_all(read_all).await?.into_iter().flatten();
    let (names, read): (Vec<String>, Vec<_>) = read.unzip();
    let (documents, circumstances): (Vec<Document>, Vec<Circumstances>) = read.into_iter().unzip();
    let conditions = Conditions::new(&names, &circumstances);
    // Databases that were made alike say the same, word for word: what holds of one of them holds of all.
    let are_alike = documents.iter().all(|it| Some(it) == documents.first());
    let compared = if are_alike { 1 } else { documents.len() };
    let facts = documents.iter().zip(&names).take(compared);
    let facts = facts.map(|(document, shard)| document.facts(shard));
    let facts = facts.collect::<Result<Vec<Facts>>>()?;
    let mut catalog = Comparison::new(&names[..facts.len()], &facts).catalog();
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
/// not the same on both. `finish` is a session of that server that has begun so, set up as those of the
/// shards are; it is left as something else.
///
/// # Errors
/// What reading the catalog fails with. Differences are no errors.
#[cfg(feature = "datafusion")]
pub(crate) async fn load_finish(
    shards: &Pools,
    opening: &Opening,
    session: &SessionSettings,
    catalog: &Catalog,
    cache: Option<&Arc<Cache>>,
    finish: &mut Session,
) -> Result<Catalog> {
    let sample = catalog.sample.as_deref();
    let sample = sample.ok_or_else(|| Error::fault("no shard was kept to compare with"))?;
    let query = circumstances_query(shards, session)?;
    let (document, circumstances) = read_by(finish, opening, &query, cache).await?;
    let facts = document.facts(finish.shard())?;
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
    cache: Option<&Arc<Cache>>,
) -> Result<(Document, Circumstances)> {
    let mut session = pools.session(permit, opening).await?;
    let found = read_by(&mut session, opening, query, cache).await?;
    session.finish().await;
    Ok(found)
}

/// Reads what one shard says: facts and rights by way of the cache, if there is one, and what is of the
/// moment, for which the query asks.
///
/// The fingerprint comes first, and facts that have to be read are read behind it, in the same transaction.
/// Its snapshot holds for both, but for functions such as `pg_get_viewdef`, which see what is committed by
/// then. So what is read is kept only if the fingerprint is still the same in a transaction behind it: facts
/// that are half of before a change and half of behind it would hold again as soon as that is undone.
#[cfg(feature = "datafusion")]
async fn read_by(
    session: &mut Session,
    opening: &Opening,
    query: &str,
    cache: Option<&Arc<Cache>>,
) -> Result<(Document, Circumstances)> {
    let Some(cache) = cache else {
        return read_anew(session, query).await;
    };
    let asked = match ask(session, &format!("{PATH}; {FINGERPRINT}; {query}")).await {
        // Somebody has taken the right to a catalog away. Whether it is needed anyway is seen then.
        Err(error) if error.sql_state() == Some("42501") => {
            session.begin_again(opening).await?;
            return read_anew(session, query).await;
        }
        asked => asked?,
    };
    let [search_path, fingerprint, moment] = answers(session, asked)?;
    let circumstances: Circumstances = parse(session.shard(), &moment)?;
    let kept = Kept {
        key: key(&circumstances),
        fingerprint,
    };
    let found = cache.get(kept.clone()).await;
    let found = found.and_then(|both| {
        let (facts, rights) = both.split_once(BETWEEN)?;
        Some([facts.to_owned(), rights.to_owned()])
    });
    let [facts, rights] = match found {
        Some(both) => both,
        None => {
            let both = format!("{}; {}", facts::QUERY, circumstances::RIGHTS);
            let asked = ask(session, &both).await?;
            let both: [String; 2] = answers(session, asked)?;
            let again = format!("{PATH}; {FINGERPRINT}");
            let again = session.begin_again_with(opening, &again).await?;
            if again == [Some(kept.fingerprint.clone())] {
                cache.put(kept, both.join(BETWEEN)).await;
            }
            both
        }
    };
    let circumstances = whole(session, circumstances, &rights).await?;
    Ok((Document { search_path, facts }, circumstances))
}

/// What stands between two documents; no text of a server has it.
#[cfg(feature = "datafusion")]
const BETWEEN: &str = "\0";

/// What is of the moment, and the rights; asks for what policies ask about.
#[cfg(feature = "datafusion")]
async fn whole(
    session: &mut Session,
    circumstances: Circumstances,
    rights: &str,
) -> Result<Circumstances> {
    let rights: Rights = parse(session.shard(), rights)?;
    let unasked = circumstances.unasked(&rights);
    let mut asked = BTreeMap::new();
    if !unasked.is_empty() {
        let values = ask(session, &circumstances::asked_query(&unasked)?).await?;
        let [values] = answers(session, values)?;
        asked = parse(session.shard(), &values)?;
    }
    Ok(circumstances.with(rights, asked))
}

/// Reads what one shard says, all of it.
#[cfg(feature = "datafusion")]
async fn read_anew(session: &mut Session, query: &str) -> Result<(Document, Circumstances)> {
    let all = format!(
        "{PATH}; {query}; {}; {}",
        facts::QUERY,
        circumstances::RIGHTS
    );
    let asked = ask(session, &all).await?;
    let [search_path, moment, facts, rights] = answers(session, asked)?;
    let circumstances = parse(session.shard(), &moment)?;
    let circumstances = whole(session, circumstances, &rights).await?;
    Ok((Document { search_path, facts }, circumstances))
}

/// Tells whether facts and rights that were read before still hold.
#[cfg(feature = "datafusion")]
const FINGERPRINT: &str = include_str!("../fingerprint.sql");

/// What facts and rights depend on besides the rows of the catalogs: what asks for them, the database, the
/// role, and the settings by which expressions are written and policies apply.
///
/// The server has to be the one that ran at that time, because files that are put back, as with a container
/// that begins anew, have the same numbers of transactions for other rows. That it was not started since
/// stands also for the versions of its libraries, which collations have theirs from.
#[cfg(feature = "datafusion")]
fn key(circumstances: &Circumstances) -> String {
    let Circumstances {
        identity,
        role,
        session_role,
        ..
    } = circumstances;
    let settings = settings::of_documents(circumstances);
    let queries = [facts::QUERY, circumstances::RIGHTS, FINGERPRINT];
    format!("{queries:?}\n{identity:?}\n{role:?}\n{session_role:?}\n{settings:?}")
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
    let asked = ask(session, &format!("{PATH}; {}; {query}", facts::QUERY)).await?;
    let [search_path, facts, more] = answers(session, asked)?;
    let facts = Document { search_path, facts }.facts(session.shard())?;
    Ok((facts, parse(session.shard(), &more)?))
}

/// Facts as the server writes them.
#[derive(PartialEq)]
struct Document {
    search_path: String,
    facts: String,
}

impl Document {
    fn facts(&self, shard: &str) -> Result<Facts> {
        let mut facts: Facts = parse(shard, &self.facts)?;
        facts.search_path = parse(shard, &self.search_path)?;
        Ok(facts)
    }
}

/// Gives the search path with what PostgreSQL adds to it: `pg_catalog`, unless the path names it in
/// another place. Names in what is read then come with their schema. And what is read of many tables costs so
/// much that PostgreSQL would compile it, which takes longer than to run it.
const PATH: &str = "SELECT pg_catalog.array_to_json(pg_catalog.current_schemas(true)); \
                    SET LOCAL search_path = pg_catalog; SET LOCAL jit = off";

fn parse<T: DeserializeOwned>(shard: &str, document: &str) -> Result<T> {
    serde_json::from_str(document).map_err(|error| unexpected(shard).with_source(error))
}

fn unexpected(shard: &str) -> Error {
    let error = Error::new(
        ErrorKind::Decode,
        "the catalog did not have the expected form",
    );
    error.with_phase(Phase::Describe).with_shard(shard)
}

/// The answers, of which there are as many as were asked for.
fn answers<const N: usize>(session: &Session, asked: Vec<String>) -> Result<[String; N]> {
    asked.try_into().map_err(|_| unexpected(session.shard()))
}

/// The first value of each row of the answers to several statements; empty where there is none.
async fn ask(session: &mut Session, sql: &str) -> Result<Vec<String>> {
    let rows = session.query(sql).await?;
    let values = rows.into_iter().map(|row| row.into_iter().next().flatten());
    Ok(values.map(Option::unwrap_or_default).collect())
}

#[cfg(all(test, feature = "datafusion"))]
mod tests;
