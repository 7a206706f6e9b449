//! What is set in every session, on every shard.

use std::collections::BTreeMap;
use std::time::Duration;

use super::invalid;
use crate::error::Result;

/// PostgreSQL stores its timeouts as a positive `int` of milliseconds.
const LONGEST_TIMEOUT: Duration = Duration::from_millis(i32::MAX as u64);

/// Parameters with a key of their own in `[session]`.
const OWN_KEYS: [&str; 4] = [
    "timezone",
    "search_path",
    "statement_timeout",
    "lock_timeout",
];

/// What every session is given, because the reading of values, literals or results depends on it:
/// the same on every shard, whatever server, database or role would set.
pub(crate) const PINNED: [(&str, &str); 14] = [
    ("client_encoding", "UTF8"),
    ("standard_conforming_strings", "on"),
    ("backslash_quote", "safe_encoding"),
    ("array_nulls", "on"),
    ("datestyle", "ISO, MDY"),
    ("intervalstyle", "postgres"),
    ("timezone_abbreviations", "Default"),
    ("extra_float_digits", "1"),
    ("bytea_output", "hex"),
    ("xmlbinary", "base64"),
    ("xmloption", "content"),
    ("quote_all_identifiers", "off"),
    ("transform_null_equals", "off"),
    // Any other value makes an index give fewer rows than there are.
    ("gin_fuzzy_search_limit", "0"),
];

/// Limits that would end the transaction of a shard while it waits for the others; PostgreSQL has the
/// second since version 17. Whoever sets one of them gets it.
pub(crate) const UNLIMITED: [&str; 2] =
    ["idle_in_transaction_session_timeout", "transaction_timeout"];

/// Parameters that the session's transaction settles, or that would change who we are.
const SETTLED: [&str; 6] = [
    "default_transaction_isolation",
    "default_transaction_read_only",
    "session_authorization",
    "transaction_deferrable",
    "transaction_isolation",
    "transaction_read_only",
];

/// The settings that every query, or one query, finds on every shard, whatever the server, the
/// database or the role would give it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SessionSettings {
    timezone: Option<String>,
    search_path: Option<String>,
    statement_timeout: Option<Duration>,
    lock_timeout: Option<Duration>,
    connect_timeout: Option<Duration>,
    read_from: Option<ReadFrom>,
    max_replay_lag: Option<Duration>,
    settings: BTreeMap<String, String>,
}

/// Which of a shard's servers are read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum ReadFrom {
    /// The one of the shard's `url`.
    #[default]
    Primary,
    /// A replica, by chance. The login fails where none can be reached that is near enough.
    Replica,
    /// A replica, by chance; the one of `url` where none can be reached that is near enough.
    Any,
}

impl ReadFrom {
    /// The name in a topology file: `primary`, `replica` or `any`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Replica => "replica",
            Self::Any => "any",
        }
    }
}

/// How far a replica may be behind unless set otherwise.
const DEFAULT_MAX_REPLAY_LAG: Duration = Duration::from_secs(10);

impl SessionSettings {
    /// Sets `TimeZone`, by which `now()::date`, `date_trunc` and `to_char` compute.
    #[must_use]
    pub fn with_timezone(mut self, timezone: impl Into<String>) -> Self {
        self.timezone = Some(timezone.into());
        self
    }

    /// Sets `search_path`, in PostgreSQL's syntax: `sales, public`.
    #[must_use]
    pub fn with_search_path(mut self, search_path: impl Into<String>) -> Self {
        self.search_path = Some(search_path.into());
        self
    }

    /// Sets `statement_timeout`: the longest that a server works on one statement.
    #[must_use]
    pub fn with_statement_timeout(mut self, timeout: Duration) -> Self {
        self.statement_timeout = Some(timeout);
        self
    }

    /// Sets `lock_timeout`: the longest that a server waits for one lock.
    #[must_use]
    pub fn with_lock_timeout(mut self, timeout: Duration) -> Self {
        self.lock_timeout = Some(timeout);
        self
    }

    /// Sets how long opening a connection may take, per host; a `connect_timeout` in the
    /// connection string comes before it, `PGCONNECT_TIMEOUT` after it.
    #[must_use]
    pub fn with_connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = Some(timeout);
        self
    }

    /// Sets which of a shard's servers are read from.
    ///
    /// A replica ([`Shard::with_replica`](super::Shard::with_replica)) is used only while it is one, and
    /// only while it is no further behind than [`max_replay_lag`](Self::max_replay_lag); both are checked
    /// when a connection is opened and before each query. A replica that was promoted is not read from any
    /// more, because its old primary may live on: name both in the shard's `url`, as
    /// `host=a,b target_session_attrs=primary`. That a replica is one of its shard's primary is not checked.
    #[must_use]
    pub fn with_read_from(mut self, read_from: ReadFrom) -> Self {
        self.read_from = Some(read_from);
        self
    }

    /// Sets how far a replica may be behind its primary, in the time since the last transaction that it
    /// has replayed; a replica that has replayed all that it received, and receives, is not behind. The
    /// clocks of both servers are compared.
    #[must_use]
    pub fn with_max_replay_lag(mut self, lag: Duration) -> Self {
        self.max_replay_lag = Some(lag);
        self
    }

    /// Sets any other parameter of the server.
    #[must_use]
    pub fn with_setting(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.insert(name.into(), value.into());
        self
    }

    /// What was set, if anything was.
    pub(super) fn own_timezone(&self) -> Option<&str> {
        self.timezone.as_deref()
    }

    /// `TimeZone`; `UTC` by default.
    pub fn timezone(&self) -> &str {
        self.timezone.as_deref().unwrap_or("UTC")
    }

    /// `search_path`; `None` leaves each server its own.
    pub fn search_path(&self) -> Option<&str> {
        self.search_path.as_deref()
    }

    /// `statement_timeout`, in whole milliseconds; `None` leaves each server its own, and zero
    /// means no limit.
    pub fn statement_timeout(&self) -> Option<Duration> {
        self.statement_timeout
    }

    /// `lock_timeout`, in whole milliseconds; `None` leaves each server its own, and zero means no
    /// limit.
    pub fn lock_timeout(&self) -> Option<Duration> {
        self.lock_timeout
    }

    /// How long opening a connection may take, per host, in whole milliseconds; zero means no
    /// limit.
    pub fn connect_timeout(&self) -> Option<Duration> {
        self.connect_timeout
    }

    /// Which of a shard's servers are read from; [`ReadFrom::Primary`] by default.
    pub fn read_from(&self) -> ReadFrom {
        self.read_from.unwrap_or_default()
    }

    /// How far a replica may be behind, in whole milliseconds; 10 s by default.
    pub fn max_replay_lag(&self) -> Duration {
        self.max_replay_lag.unwrap_or(DEFAULT_MAX_REPLAY_LAG)
    }

    /// What was set of these two.
    pub(super) fn own_reading(&self) -> (Option<ReadFrom>, Option<Duration>) {
        (self.read_from, self.max_replay_lag)
    }

    /// The key of what is settled when a connection is opened, if any of that is set: connections serve
    /// many queries.
    pub(crate) fn of_connections(&self) -> Option<&'static str> {
        [
            ("connect_timeout", self.connect_timeout.is_some()),
            ("read_from", self.read_from.is_some()),
            ("max_replay_lag", self.max_replay_lag.is_some()),
        ]
        .into_iter()
        .find_map(|(key, is_set)| is_set.then_some(key))
    }

    /// The other parameters, by name: names are of the form `[a-z_][a-z0-9_]*`, with dots for the
    /// parameters of extensions, so they need no quotes in SQL. Values may be any text.
    pub fn settings(&self) -> &BTreeMap<String, String> {
        &self.settings
    }

    /// These settings where they say something, else those.
    pub(crate) fn over(&self, others: &Self) -> Self {
        let mut settings = others.settings.clone();
        settings.extend(self.settings.clone());
        Self {
            timezone: self.timezone.clone().or(others.timezone.clone()),
            search_path: self.search_path.clone().or(others.search_path.clone()),
            statement_timeout: self.statement_timeout.or(others.statement_timeout),
            lock_timeout: self.lock_timeout.or(others.lock_timeout),
            connect_timeout: self.connect_timeout.or(others.connect_timeout),
            read_from: self.read_from.or(others.read_from),
            max_replay_lag: self.max_replay_lag.or(others.max_replay_lag),
            settings,
        }
    }

    /// What of these settings may change the meaning of names, or who may use them.
    #[cfg(feature = "datafusion")]
    pub(crate) fn of_names(&self) -> Self {
        Self {
            search_path: self.search_path.clone(),
            settings: self.settings.clone(),
            ..Self::default()
        }
    }

    pub(crate) fn check(&self) -> Result<()> {
        if self.timezone().trim().is_empty() {
            return Err(invalid("session: timezone is empty"));
        }
        if self
            .search_path
            .as_deref()
            .is_some_and(|path| path.trim().is_empty())
        {
            return Err(invalid("session: search_path is empty")
                .with_hint("leave it out to use the server's"));
        }
        for (key, timeout) in [
            ("statement_timeout", self.statement_timeout),
            ("lock_timeout", self.lock_timeout),
            ("connect_timeout", self.connect_timeout),
            ("max_replay_lag", self.max_replay_lag),
        ] {
            let Some(timeout) = timeout else { continue };
            // A fraction would be cut off, and 0 means "no limit": the opposite of a short one.
            if timeout > LONGEST_TIMEOUT || timeout.subsec_nanos() % 1_000_000 != 0 {
                return Err(invalid(format!(
                    "session: {key}: expected whole milliseconds, at most {}",
                    i32::MAX
                )));
            }
        }
        for (name, value) in &self.settings {
            check_name(name)?;
            if value.contains('\0') {
                return Err(invalid(format!(
                    "session: settings: {name}: value holds a zero byte"
                )));
            }
        }
        if self.timezone().contains('\0')
            || self
                .search_path
                .as_deref()
                .is_some_and(|p| p.contains('\0'))
        {
            return Err(invalid("session: value holds a zero byte"));
        }
        Ok(())
    }
}

fn check_name(name: &str) -> Result<()> {
    let well_formed = name.split('.').all(|part| {
        part.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
            && part
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    });
    if !well_formed || name.len() > 63 {
        // The name is not repeated: what is no name may be anything, also a connection string.
        return Err(
            invalid("session: settings: invalid parameter name").with_hint(
                "names consist of lower-case letters, digits and underscores, such as work_mem",
            ),
        );
    }
    if OWN_KEYS.contains(&name) {
        return Err(
            invalid(format!("session: settings: {name} has a key of its own"))
                .with_hint(format!("write it as {name} = \"...\" under [session]")),
        );
    }
    if PINNED.iter().any(|(pinned, _)| *pinned == name) || SETTLED.contains(&name) {
        return Err(invalid(format!(
            "session: settings: {name} cannot be set: the exactness of answers depends on it"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_utc_and_the_servers_own() {
        let session = SessionSettings::default();
        session.check().unwrap();
        assert_eq!(session.timezone(), "UTC");
        assert_eq!(session.search_path(), None);
        assert_eq!(session.statement_timeout(), None);
        assert!(session.settings().is_empty());
    }

    #[test]
    fn settings_are_named_as_postgresql_names_them() {
        let set = |name: &str| SessionSettings::default().with_setting(name, "1").check();
        for name in ["work_mem", "_x", "pg_trgm.similarity_threshold", "role"] {
            set(name).unwrap();
        }
        for name in ["", "Work_Mem", "a b", "a;b", "1a", "a.", ".a", "a-b"] {
            assert_eq!(
                set(name).unwrap_err().message(),
                "session: settings: invalid parameter name",
                "{name}"
            );
        }
        let error = set("timezone").unwrap_err();
        assert_eq!(
            error.message(),
            "session: settings: timezone has a key of its own"
        );
        assert!(
            set("extra_float_digits")
                .unwrap_err()
                .message()
                .contains("cannot be set")
        );
    }

    #[test]
    fn what_is_set_comes_before_what_was_there() {
        let base = SessionSettings::default()
            .with_timezone("Asia/Tokyo")
            .with_search_path("a")
            .with_setting("work_mem", "1MB")
            .with_setting("jit", "off");
        assert_eq!(SessionSettings::default().over(&base), base);
        let own = SessionSettings::default()
            .with_timezone("UTC")
            .with_lock_timeout(Duration::from_secs(1))
            .with_setting("work_mem", "2MB");
        let both = own.over(&base);
        assert_eq!(both.timezone(), "UTC");
        assert_eq!(both.search_path(), Some("a"));
        assert_eq!(both.lock_timeout(), Some(Duration::from_secs(1)));
        let settings: Vec<_> = both.settings().values().collect();
        assert_eq!(settings, ["off", "2MB"]);
    }

    #[test]
    fn timeouts_that_postgresql_cannot_hold_are_refused() {
        let with = |timeout| {
            SessionSettings::default()
                .with_statement_timeout(timeout)
                .check()
        };
        with(Duration::ZERO).unwrap();
        with(Duration::from_millis(1)).unwrap();
        for timeout in [Duration::from_micros(1), Duration::from_secs(1 << 32)] {
            assert_eq!(
                with(timeout).unwrap_err().message(),
                "session: statement_timeout: expected whole milliseconds, at most 2147483647"
            );
        }
    }
}
