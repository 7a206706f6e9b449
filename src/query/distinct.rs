//! Refuses a fan-out over shards of which two are one database: its rows would come twice.

use std::collections::BTreeMap;

use crate::catalog::identity::{self, Identity};
use crate::connect::Session;
use crate::error::Result;

/// Compares what the servers said of themselves when the sessions began.
///
/// Shards of one database that log in as other roles or with other options are meant: these may see
/// other schemas, or other rows. Planned queries cannot tell, and refuse them too.
///
/// # Errors
/// As [`identity::check`].
pub(super) fn check<'a>(sessions: impl Iterator<Item = &'a Session>) -> Result<()> {
    let mut alike: BTreeMap<_, (Vec<String>, Vec<Identity>)> = BTreeMap::new();
    for session in sessions {
        // What says nothing, say because it is no PostgreSQL of ours, is not compared.
        let said = session
            .identity()
            .and_then(|it| serde_json::from_str(it).ok());
        if let (Some(login), Some(identity)) = (session.login(), said) {
            let (names, identities) = alike.entry(login).or_default();
            names.push(session.shard().to_owned());
            identities.push(identity);
        }
    }
    for (names, identities) in alike.values() {
        identity::check(names, &identities.iter().collect::<Vec<_>>())?;
    }
    Ok(())
}
