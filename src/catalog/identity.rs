//! Tells whether two shards are one database: then every row of it would be read twice, and a
//! sharded table would look replicated.

use serde::Deserialize;

use super::name_list;
use crate::error::{Error, ErrorKind, Result};

/// Gives an [`Identity`] as JSON, within a query that runs with search_path = pg_catalog.
pub(crate) const EXPRESSION: &str = include_str!("identity.sql");

/// What tells one database from all others.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Identity {
    /// The number that `initdb` gave the cluster of databases, which its copies keep; `None` where
    /// this role may not call `pg_control_system()`, as on some hosted servers.
    pub(crate) system: Option<String>,
    pub(crate) database: String,
    /// When this server was started, in seconds since 1970, to the microsecond.
    pub(crate) started: String,
    pub(crate) in_recovery: bool,
}

impl Identity {
    /// How the two are the same, if they are: two names of one database, or a database and its
    /// standby.
    ///
    /// Servers that were made from a copy of the same files, as when a shard is split, have the same
    /// system identifier; but they started at another moment, and none of them recovers what another
    /// does. An identifier that is not known tells nothing.
    pub(super) fn sameness(&self, other: &Self) -> Option<&'static str> {
        let (one, two) = (&self.system, &other.system);
        let differ = one.is_some() && two.is_some() && one != two;
        if differ || self.database != other.database {
            return None;
        }
        if self.started == other.started {
            return Some("one database");
        }
        let replicated = self.in_recovery || other.in_recovery;
        (one.is_some() && two.is_some() && replicated).then_some("one database and a replica of it")
    }
}

/// Refuses shards of which two are one database; `names` are those of the shards.
///
/// # Errors
/// [`ErrorKind::Config`] with the names of the first such shards.
pub(crate) fn check(names: &[String], identities: &[&Identity]) -> Result<()> {
    for (shard, identity) in identities.iter().enumerate() {
        let same: Vec<usize> = identities
            .iter()
            .enumerate()
            .skip(shard)
            .filter(|(_, other)| identity.sameness(other).is_some())
            .map(|(other, _)| other)
            .collect();
        if same.len() > 1 {
            let error = Error::new(
                ErrorKind::Config,
                format!(
                    "shards {} are one database: each of its rows would be read {} times",
                    name_list(names, &same),
                    same.len()
                ),
            );
            return Err(
                error.with_hint("give every database once; a standby is no shard of its own")
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(
        system: Option<&str>,
        database: &str,
        started: &str,
        in_recovery: bool,
    ) -> Identity {
        Identity {
            system: system.map(str::to_owned),
            database: database.to_owned(),
            started: started.to_owned(),
            in_recovery,
        }
    }

    #[test]
    fn one_server_and_database_is_one_shard() {
        let is_same = |one: &Identity, other: &Identity| {
            assert_eq!(one.sameness(other), other.sameness(one));
            one.sameness(other).is_some()
        };
        let primary = identity(Some("7"), "5", "10:00", false);
        assert!(is_same(&primary, &primary));
        assert!(is_same(&primary, &identity(Some("7"), "5", "11:00", true)));
        // A promoted copy, another database, another server.
        assert!(!is_same(
            &primary,
            &identity(Some("7"), "5", "11:00", false)
        ));
        assert!(!is_same(
            &primary,
            &identity(Some("7"), "6", "10:00", false)
        ));
        assert!(!is_same(
            &primary,
            &identity(Some("8"), "5", "10:00", false)
        ));
        // Without the identifier, a standby cannot be known.
        let hidden = identity(None, "5", "10:00", false);
        assert!(is_same(&hidden, &hidden));
        assert!(!is_same(&hidden, &identity(None, "5", "11:00", true)));
        // One role may ask, another may not.
        assert!(is_same(&hidden, &primary));
    }

    #[test]
    fn all_shards_that_are_one_are_named() {
        let names: Vec<String> = ["a", "b", "c"].map(str::to_owned).to_vec();
        let one = identity(Some("7"), "5", "10:00", false);
        let other = identity(Some("7"), "6", "10:00", false);
        check(&names, &[&one, &other]).unwrap();
        let error = check(&names, &[&one, &other, &one]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert_eq!(
            error.message(),
            "shards a and c are one database: each of its rows would be read 2 times"
        );
    }
}
