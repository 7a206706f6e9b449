//! A connection string of the user, and what it comes to with files and variables.

use std::fmt;
use std::time::Duration;

use super::options::Options;
use super::{ConnectParams, Environment, Secret, conninfo, params, service};
use crate::error::Result;

/// How to reach a server: a libpq URL or `key=value` text, as the user wrote it.
///
/// `postgresql://app@db0:5432,db0b/sales?sslmode=verify-full` and
/// `host=db0,db0b port=5432 user=app dbname=sales` mean the same. What is left out comes from the
/// service file, the `PG*` variables and libpq's defaults, when
/// a [`Cluster`](crate::Cluster) is built.
///
/// `${NAME}` stands for an environment variable; `$${` stands for `${`. At the start of the text the
/// variable may hold any part of the connection string, so `${SALES_URL}` may be all there is.
/// Elsewhere it is one value, taken as it is: a password in `postgresql://app:${PW}@db0/sales` needs
/// neither quotes nor percent-encoding, whatever characters it has. Only for hosts it may be
/// a list.
///
/// Where libpq takes part of a password that was not percent-encoded for a host or a user, the URL
/// is refused, because these are sent to name servers and shown in messages: `@` after the one that
/// ends the password, and `?` before it.
///
/// `Debug` shows host, port, database and user only.
#[derive(Clone, PartialEq, Eq)]
pub struct ConnectionString {
    text: Secret,
    connect_timeout: Option<Duration>,
}

impl ConnectionString {
    /// Takes the text as it is; it is checked when the topology or the cluster is built.
    pub fn new(text: impl Into<String>) -> Self {
        Self {
            text: Secret::new(text),
            connect_timeout: None,
        }
    }

    /// Whether the text itself may hold a password, rather than the name of a variable: then a file
    /// with this text should be readable by its owner only.
    pub fn has_password(&self) -> bool {
        match self.parse(None) {
            Ok(options) => options.get("password").is_some_and(|password| {
                !(password.starts_with("${") && password.find('}') == Some(password.len() - 1))
            }),
            // `${NAME}` and no more.
            Err(_) => {
                let text = self.text.expose();
                !(text.starts_with("${") && text.find('}') == Some(text.len() - 1))
            }
        }
    }

    /// The text as the user wrote it.
    pub(super) fn text(&self) -> &str {
        self.text.expose()
    }

    /// The time that `[session]` gives for connecting, if it does.
    pub(super) fn connect_timeout(&self) -> Option<Duration> {
        self.connect_timeout
    }

    pub(super) fn set_connect_timeout(&mut self, timeout: Option<Duration>) {
        self.connect_timeout = timeout;
    }

    /// Everything that can be said about the text without reading a file.
    pub(super) fn check(&self, environment: &Environment) -> Result<()> {
        params::check(&self.parse(Some(environment))?)
    }

    /// Fills in what the text leaves open: from the service file, then the `PG*` variables, then
    /// libpq's defaults; and looks for passwords in the password file.
    ///
    /// Reads up to three small files; opens no connection.
    ///
    /// # Errors
    /// [`Config`](crate::ErrorKind::Config) for a text that is not a connection string, a variable
    /// that is not set, a value out of range, a service that is not defined, an option that
    /// cannot be ignored, or a root certificate that is missing. But for the name of a service, no
    /// message shows a value of the connection string.
    pub(crate) fn resolve(&self, environment: &Environment) -> Result<ConnectParams> {
        let mut options = self.parse(Some(environment))?;
        service::apply(&mut options, environment)?;
        // `[session]` is nearer to the connection string than the environment is.
        let timeout = match options.get("connect_timeout") {
            None => self.connect_timeout(),
            Some(_) => None,
        };
        options.set_defaults_from(environment)?;

        let mut params = ConnectParams::settle(&options, environment)?;
        if let Some(timeout) = timeout {
            params.connect_timeout = (!timeout.is_zero()).then_some(timeout);
        }
        Ok(params)
    }

    /// Takes the text apart. Without an environment, variables stay as they are.
    fn parse(&self, environment: Option<&Environment>) -> Result<Options> {
        conninfo::parse(self.text.expose(), environment)
    }
}

impl fmt::Debug for ConnectionString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("ConnectionString");
        if let Ok(options) = self.parse(None)
            && params::check(&options).is_ok()
        {
            for name in ["host", "port", "dbname", "user"] {
                if let Some(value) = options.get(name) {
                    debug.field(name, &value);
                }
            }
        }
        debug.finish_non_exhaustive()
    }
}
