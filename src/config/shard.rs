//! One database of the cluster.

use super::{ConnectionString, invalid};
use crate::error::Result;

/// One database: its primary server, and any replicas of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shard {
    name: String,
    primary: ConnectionString,
    replicas: Vec<ConnectionString>,
}

impl Shard {
    /// A shard with this name, at this connection string (see [`ConnectionString`]).
    ///
    /// Both are checked when the topology is built.
    pub fn new(name: &str, primary: &str) -> Self {
        Self {
            name: name.to_owned(),
            primary: ConnectionString::new(primary),
            replicas: Vec::new(),
        }
    }

    /// Adds a server that holds a copy of the primary's rows.
    #[must_use]
    pub fn with_replica(mut self, url: &str) -> Self {
        self.replicas.push(ConnectionString::new(url));
        self
    }

    /// The name that errors and plans use.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How to reach the primary server.
    pub fn primary(&self) -> &ConnectionString {
        &self.primary
    }

    /// How to reach each replica, in order of preference.
    pub fn replicas(&self) -> &[ConnectionString] {
        &self.replicas
    }

    /// All connection strings, the primary's first.
    pub(super) fn connection_strings_mut(&mut self) -> impl Iterator<Item = &mut ConnectionString> {
        std::iter::once(&mut self.primary).chain(&mut self.replicas)
    }

    pub(super) fn check_name(&self) -> Result<()> {
        // Somebody who swaps the two arguments of `new` must not find a password in the message.
        if self.name.contains("://") {
            return Err(invalid("a shard's name is a connection string")
                .with_hint("the name comes first, the connection string second"));
        }
        if self.name.trim().is_empty() || self.name.chars().any(char::is_control) {
            return Err(invalid(format!(
                "invalid shard name {:?}: expected printable text",
                self.name
            )));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_host_port_database_and_user_only() {
        let shard = Shard::new(
            "s0",
            "postgresql://app:canary@db0:6432/sales?options=canary",
        )
        .with_replica("host=db0b user=app password=canary application_name=canary");
        assert_eq!(
            format!("{shard:?}"),
            "Shard { name: \"s0\", primary: ConnectionString { host: \"db0\", port: \"6432\", \
             dbname: \"sales\", user: \"app\", .. }, replicas: [ConnectionString { \
             host: \"db0b\", user: \"app\", .. }] }"
        );
    }

    #[test]
    fn swapped_arguments_show_nothing() {
        let error = Shard::new("postgresql://app:canary@db0/sales", "s0")
            .check_name()
            .unwrap_err();
        assert!(!format!("{error:?}").contains("canary"));
    }
}
