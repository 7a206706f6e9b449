//! Waiting for all shards.

use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt};
use tokio::time::{Instant, timeout_at};

use crate::error::{Error, ErrorKind, Result};

/// Waits for all shards; once one has failed, for the others only so long.
///
/// Long enough that shards which fail in the same way are all known, so that the first of them is
/// named, and those that cannot be reached are all listed; but a shard that hangs does not hide the
/// error of another.
pub(super) async fn settle<T>(
    work: impl IntoIterator<Item = impl Future<Output = Result<T>>>,
) -> Result<Vec<T>> {
    let mut pending: FuturesUnordered<_> = work
        .into_iter()
        .enumerate()
        .map(|(index, work)| async move { (index, work.await) })
        .collect();
    let mut results = Vec::new();
    let mut until: Option<Instant> = None;
    loop {
        let next = match until {
            None => pending.next().await,
            // Whoever is late is given up.
            Some(until) => timeout_at(until, pending.next()).await.unwrap_or(None),
        };
        let Some((index, result)) = next else { break };
        if let Err(error) = &result {
            let patience = match error.kind() {
                ErrorKind::Connect => UNREACHABLE_PATIENCE,
                _ => FAILED_PATIENCE,
            };
            until.get_or_insert(Instant::now() + patience);
        }
        results.push((index, result));
    }
    results.sort_by_key(|(index, _)| *index);
    all_or_first_error(results.into_iter().map(|(_, result)| result))
}

/// All values, or the first shard's error; where several could not be reached, it names them.
fn all_or_first_error<T>(results: impl Iterator<Item = Result<T>>) -> Result<Vec<T>> {
    let mut values = Vec::new();
    let mut errors = Vec::new();
    for result in results {
        match result {
            Ok(value) => values.push(value),
            Err(error) => errors.push(error),
        }
    }
    let others: Vec<_> = errors
        .iter()
        .skip(1)
        .filter(|error| error.kind() == ErrorKind::Connect)
        .filter_map(Error::shard)
        .map(|shard| format!("{shard:?}"))
        .collect();
    match errors.into_iter().next() {
        None => Ok(values),
        Some(first) if others.is_empty() || first.kind() != ErrorKind::Connect => Err(first),
        Some(first) => Err(first.with_more(&format!("also failing: {}", others.join(", ")))),
    }
}

/// How long the other shards are waited for when one could not be reached: the usual limit on
/// connecting.
const UNREACHABLE_PATIENCE: Duration = Duration::from_secs(10);
/// How long the other shards are waited for when one does not accept the query.
const FAILED_PATIENCE: Duration = Duration::from_secs(1);
