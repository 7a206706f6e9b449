//! Shards that a query may go without, and does.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::{Error, ErrorKind, Result};

/// Lets a query go without shards that cannot be reached, and tells which these were. Clones see the
/// same.
///
/// Hand it to [`FanOut::with_missing_shards`](crate::FanOut::with_missing_shards) or
/// [`Query::with_missing_shards`](crate::Query::with_missing_shards), and look at it when the last row
/// has been read: the answer is that of the other shards.
///
/// A shard is missing when it cannot be reached, has no connection left, shuts down, or is lost, before
/// its first row was given: what [`Error::is_retryable`] says of it, but for conflicts between
/// transactions. A refused login, a certificate that is not valid, a host name that does not exist, an
/// answer that is not PostgreSQL's and an error about the query are
/// errors as always. So is a shard that is lost behind its first row, because rows that were given are
/// not taken back; and so is the loss of the last shard.
///
/// ```no_run
/// # async fn example(cluster: merganser::Cluster) -> merganser::Result<()> {
/// let missing = merganser::MissingShards::new();
/// let query = cluster.fan_out("select * from events").with_missing_shards(&missing);
/// let batches = query.collect().await?;
/// for error in missing.errors() {
///     eprintln!("without {:?}: {error}", error.shard());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default)]
pub struct MissingShards(Arc<Mutex<Seen>>);

#[derive(Debug, Default)]
struct Seen {
    /// How many shards the query has.
    shards: usize,
    errors: Vec<Error>,
}

impl Seen {
    fn has(&self, shard: &str) -> bool {
        self.errors.iter().any(|error| error.shard() == Some(shard))
    }
}

impl MissingShards {
    /// No shard is missing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Why each missing shard is missing, in the order in which that was found; [`Error::shard`] names
    /// it. Complete when the last row has been read.
    pub fn errors(&self) -> Vec<Error> {
        self.seen().errors.iter().map(Error::copy).collect()
    }

    /// The names of the missing shards, sorted.
    pub fn names(&self) -> Vec<String> {
        let seen = self.seen();
        let names = seen.errors.iter().filter_map(Error::shard);
        let mut names: Vec<_> = names.map(str::to_owned).collect();
        names.sort();
        names
    }

    /// Begins anew, for a query of so many shards.
    pub(crate) fn begin(&self, shards: usize) {
        *self.seen() = Seen {
            shards,
            errors: Vec::new(),
        };
    }

    /// Whether the shard of this name is known to be missing.
    #[cfg(feature = "datafusion")]
    pub(crate) fn has(&self, shard: &str) -> bool {
        self.seen().has(shard)
    }

    /// Only these shards concern the query.
    ///
    /// # Errors
    /// The first error where all of them are missing.
    #[cfg(feature = "datafusion")]
    pub(crate) fn concern(&self, shards: &[&str]) -> Result<()> {
        let mut seen = self.seen();
        seen.shards = shards.len();
        let concerns = |error: &Error| error.shard().is_some_and(|name| shards.contains(&name));
        seen.errors.retain(concerns);
        match seen.errors.first() {
            Some(error) if seen.errors.len() == shards.len() => {
                Err(error.copy().with_more(NONE_LEFT))
            }
            _ => Ok(()),
        }
    }

    /// Goes without the shard of the error; gives the error back if that may not be.
    pub(crate) fn admit(&self, error: Error) -> Result<()> {
        let Some(shard) = error.shard().filter(|_| is_loss(&error)) else {
            return Err(error);
        };
        let mut seen = self.seen();
        if seen.has(shard) {
            return Ok(());
        }
        if seen.errors.len() + 1 >= seen.shards {
            return Err(error.with_more(NONE_LEFT));
        }
        seen.errors.push(error);
        Ok(())
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const NONE_LEFT: &str = "no shard is left";

/// Whether a shard is away, and not only unable to answer this query.
fn is_loss(error: &Error) -> bool {
    let is_conflict = matches!(error.sql_state(), Some("40001" | "40P01"));
    let is_of_server = matches!(error.kind(), ErrorKind::Connect | ErrorKind::Server);
    is_of_server && error.is_retryable() && !is_conflict
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Phase;

    fn lost(shard: &str) -> Error {
        let error = Error::new(ErrorKind::Connect, "lost").with_phase(Phase::Connect);
        error.with_shard(shard)
    }

    #[test]
    fn shards_are_missing_until_none_would_be_left() {
        let missing = MissingShards::new();
        missing.begin(3);
        missing.admit(lost("s2")).unwrap();
        missing.admit(lost("s0")).unwrap();
        // Once more, say of another connection.
        missing.admit(lost("s0")).unwrap();
        assert_eq!(missing.names(), ["s0", "s2"]);
        assert_eq!(missing.errors()[0].shard(), Some("s2"));
        let error = missing.admit(lost("s1")).unwrap_err();
        assert!(error.message().ends_with("no shard is left"), "{error}");
        missing.begin(2);
        assert!(missing.names().is_empty());
    }

    #[cfg(feature = "datafusion")]
    #[test]
    fn shards_that_do_not_concern_the_query_are_not_missing() {
        let missing = MissingShards::new();
        missing.begin(4);
        missing.admit(lost("s0")).unwrap();
        missing.admit(lost("s3")).unwrap();
        missing.concern(&["s1", "s2", "s3"]).unwrap();
        assert_eq!(missing.names(), ["s3"]);
        missing.admit(lost("s1")).unwrap();
        missing.admit(lost("s2")).unwrap_err();
        missing.concern(&["s1"]).unwrap_err();
        missing.concern(&[]).unwrap();
        missing.admit(lost("s2")).unwrap_err();
    }

    #[test]
    fn what_another_try_does_not_cure_is_no_loss() {
        let missing = MissingShards::new();
        missing.begin(3);
        let server = |code: &str| {
            let error = Error::new(ErrorKind::Server, "m").with_sql_state(code);
            error.with_phase(Phase::Stream).with_shard("s0")
        };
        let refused = Error::new(ErrorKind::Connect, "m").with_phase(Phase::Auth);
        for error in [
            server("42P01"),
            server("40001"),
            server("57014"),
            refused.with_shard("s0"),
            Error::new(ErrorKind::Timeout, "m").with_shard("s0"),
            Error::new(ErrorKind::Connect, "whose?").with_phase(Phase::Connect),
        ] {
            missing.admit(error).unwrap_err();
        }
        for code in ["57P01", "53300", "08006"] {
            missing.begin(3);
            missing.admit(server(code)).unwrap();
        }
    }
}
