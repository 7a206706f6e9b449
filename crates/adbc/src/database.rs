//! Databases: which shards, and how to log in.

use std::path::PathBuf;
use std::sync::Arc;

use adbc_core::Optionable;
use adbc_core::error::{Result, Status};
use adbc_core::options::{OptionConnection, OptionDatabase, OptionValue};
use merganser::config::Environment;
use merganser::{Cluster, Topology, blocking};
use percent_encoding::percent_decode_str;

use crate::connection::Connection;
use crate::engine::{Engine, OfProcess};
use crate::error::{from_library, refusal};
use crate::options::{self, QueryOptions};

const SHARDS: &str = "merganser.shards";
const TOPOLOGY: &str = "merganser.topology";
const CONNECTIONS_PER_SHARD: &str = "merganser.connections_per_shard";

/// More than a PostgreSQL server takes.
const MOST_CONNECTIONS: u64 = 10_000;

/// The names of a database's options, besides those of its queries.
const NAMES: [&str; 6] = [
    "uri",
    "username",
    "password",
    SHARDS,
    TOPOLOGY,
    CONNECTIONS_PER_SHARD,
];

/// What driver managers load.
#[derive(Debug, Default)]
pub struct Driver;

/// A cluster of shards with its pools of connections, which its connections share.
pub struct Database {
    engine: Arc<Engine>,
    settings: Settings,
}

/// The options of a database.
#[derive(Default)]
struct Settings {
    uri: Option<String>,
    /// Connection strings, which may hold passwords.
    shards: Option<String>,
    /// The text of a topology file, likewise.
    topology: Option<String>,
    username: Option<String>,
    password: Option<String>,
    connections_per_shard: Option<usize>,
    queries: QueryOptions,
}

impl adbc_core::Driver for Driver {
    type DatabaseType = Database;

    fn new_database(&mut self) -> Result<Database> {
        self.new_database_with_opts([])
    }

    fn new_database_with_opts(
        &mut self,
        opts: impl IntoIterator<Item = (OptionDatabase, OptionValue)>,
    ) -> Result<Database> {
        let mut settings = Settings::default();
        for (key, value) in opts {
            settings.set(key.as_ref(), &value)?;
        }
        let cluster = settings.cluster()?;
        Ok(Database {
            engine: Arc::new(OfProcess::new(cluster)),
            settings,
        })
    }
}

impl Settings {
    fn set(&mut self, name: &str, value: &OptionValue) -> Result<()> {
        let text = || options::text(name, value).map(|text| Some(text.to_owned()));
        match name {
            "uri" => self.uri = text()?,
            "username" => self.username = text()?,
            "password" => self.password = text()?,
            SHARDS => self.shards = text()?,
            TOPOLOGY => self.topology = text()?,
            CONNECTIONS_PER_SHARD => {
                self.connections_per_shard = options::size(name, value, MOST_CONNECTIONS)?;
            }
            _ => {
                if !self.queries.set(name, value)? {
                    let known = [&NAMES[..], &QueryOptions::NAMES].concat();
                    return Err(options::unknown(name, "database", &known));
                }
            }
        }
        Ok(())
    }

    fn get(&self, name: &str) -> Result<String> {
        let value = match name {
            "uri" => self.uri.clone(),
            "username" => self.username.clone(),
            "password" | SHARDS | TOPOLOGY => {
                let why = "it is not given back, because it may hold a password";
                return Err(options::not_found(name, why));
            }
            CONNECTIONS_PER_SHARD => self.connections_per_shard.map(|count| count.to_string()),
            _ => match self.queries.get(name) {
                Some(value) => Some(value),
                None => return Err(options::not_found(name, "a database has no such option")),
            },
        };
        value.ok_or_else(|| options::not_found(name, "it is not set"))
    }

    fn cluster(&self) -> Result<blocking::Cluster> {
        let mut environment = Environment::from_process();
        if let Some(username) = &self.username {
            environment = environment.with_variable("PGUSER", username);
        }
        if let Some(password) = &self.password {
            environment = environment.with_variable("PGPASSWORD", password);
        }
        let mut builder = Cluster::builder(self.topology()?).with_environment(environment);
        if let Some(connections) = self.connections_per_shard {
            builder = builder.with_connections_per_shard(connections);
        }
        blocking::Cluster::from_builder(builder).map_err(from_library)
    }

    fn topology(&self) -> Result<Topology> {
        let topology = match (&self.uri, &self.topology, &self.shards) {
            (Some(uri), None, None) => Topology::from_path(path_of(uri)?),
            (None, Some(text), None) => Topology::from_toml(text),
            (None, None, Some(shards)) => Topology::from_urls(connection_strings(shards)),
            (None, None, None) => {
                return Err(refusal(
                    Status::InvalidArguments,
                    format!(
                        "it is not said which shards there are\n\
                         hint: set uri to a topology file, as merganser:///etc/merganser.toml, or \
                         {SHARDS} to the URLs of the shards"
                    ),
                ));
            }
            _ => {
                return Err(refusal(
                    Status::InvalidArguments,
                    format!(
                        "the shards are given more than once\n\
                         hint: set only one of uri, {TOPOLOGY} and {SHARDS}"
                    ),
                ));
            }
        };
        topology.map_err(from_library)
    }
}

/// The topology file that a URI names: `merganser:///etc/merganser.toml`, `merganser:merganser.toml`
/// or just a path.
///
/// What is wrong with it is said without showing it: who mistakes it for a shard's URL may have
/// written a password into it.
fn path_of(uri: &str) -> Result<PathBuf> {
    let wrong = |what: &str, cure: &str| {
        Err(refusal(
            Status::InvalidArguments,
            format!("option \"uri\": {what}\nhint: {cure}"),
        ))
    };
    let Some(rest) = uri.strip_prefix("merganser:") else {
        return match uri.contains("://") {
            true => wrong(
                "it is not the URI of a topology file",
                &format!(
                    "write merganser:///etc/merganser.toml; URLs of shards belong to {SHARDS}"
                ),
            ),
            false if uri.is_empty() => wrong("it is empty", "write the path of a topology file"),
            false => Ok(PathBuf::from(uri)),
        };
    };
    let path = match rest.strip_prefix("//") {
        Some(path) if !path.starts_with('/') => {
            return wrong(
                "it names a host",
                "a topology is a file here: write merganser:///etc/merganser.toml with three slashes",
            );
        }
        Some(path) => path,
        None => rest,
    };
    if path.is_empty() || path.contains(['?', '#']) {
        return wrong(
            "it is not the path of a file alone",
            "write merganser:///etc/merganser.toml, and give options as options; ? and # in a path \
             are %3F and %23",
        );
    }
    match percent_decode_str(path).decode_utf8() {
        Ok(path) => Ok(PathBuf::from(path.as_ref())),
        Err(_) => wrong("its path is not UTF-8", "give the path without a scheme"),
    }
}

/// One connection string a line; URLs may stand in one line too, since white space is never part of
/// them.
fn connection_strings(shards: &str) -> Vec<&str> {
    let is_url = |text: &str| text.starts_with("postgresql://") || text.starts_with("postgres://");
    match shards.split_whitespace().all(is_url) {
        true => shards.split_whitespace().collect(),
        false => {
            let lines = shards.lines().map(str::trim);
            lines.filter(|line| !line.is_empty()).collect()
        }
    }
}

impl Optionable for Database {
    type Option = OptionDatabase;

    fn set_option(&mut self, key: OptionDatabase, value: OptionValue) -> Result<()> {
        let name = key.as_ref();
        match NAMES.contains(&name) {
            true => Err(refusal(
                Status::InvalidState,
                format!("option {name:?} cannot be changed: the database is open already"),
            )),
            false => self.settings.set(name, &value),
        }
    }

    fn get_option_string(&self, key: OptionDatabase) -> Result<String> {
        self.settings.get(key.as_ref())
    }

    fn get_option_bytes(&self, key: OptionDatabase) -> Result<Vec<u8>> {
        self.settings.get(key.as_ref()).map(String::into_bytes)
    }

    fn get_option_int(&self, key: OptionDatabase) -> Result<i64> {
        options::integer_of(key.as_ref(), &self.settings.get(key.as_ref())?)
    }

    fn get_option_double(&self, key: OptionDatabase) -> Result<f64> {
        let number = options::integer_of(key.as_ref(), &self.settings.get(key.as_ref())?)?;
        Ok(number as f64)
    }
}

impl adbc_core::Database for Database {
    type ConnectionType = Connection;

    fn new_connection(&self) -> Result<Connection> {
        self.new_connection_with_opts([])
    }

    fn new_connection_with_opts(
        &self,
        opts: impl IntoIterator<Item = (OptionConnection, OptionValue)>,
    ) -> Result<Connection> {
        self.engine.get().map_err(from_library)?;
        let mut connection = Connection::new(self.engine.clone(), self.settings.queries.clone());
        for (key, value) in opts {
            connection.set_option(key, value)?;
        }
        Ok(connection)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use adbc_core::Driver as _;

    fn open(opts: &[(&str, &str)]) -> Result<Database> {
        let opts = opts
            .iter()
            .map(|(key, value)| ((*key).into(), (*value).into()));
        Driver.new_database_with_opts(opts)
    }

    fn refused(opts: &[(&str, &str)]) -> String {
        let error = open(opts).err().expect("an error");
        assert!(!error.message.contains("canary"), "{error}");
        error.message
    }

    #[test]
    fn a_uri_is_a_file() {
        for (uri, path) in [
            ("merganser:///etc/m.toml", "/etc/m.toml"),
            ("merganser:/etc/m.toml", "/etc/m.toml"),
            ("merganser:m.toml", "m.toml"),
            ("merganser:///my%20shards/%3F.toml", "/my shards/?.toml"),
            ("../m.toml", "../m.toml"),
        ] {
            assert_eq!(path_of(uri).unwrap(), PathBuf::from(path), "{uri}");
        }
    }

    #[test]
    fn a_wrong_uri_shows_no_secret() {
        for (uri, told) in [
            ("merganser://me:canary@host/m.toml", "names a host"),
            ("postgresql://me:canary@host/db", "merganser.shards"),
            ("merganser:///m.toml?password=canary", "a file alone"),
            ("merganser://", "names a host"),
            ("", "is empty"),
        ] {
            let message = refused(&[("uri", uri)]);
            assert!(message.contains(told), "{uri}: {message}");
        }
    }

    #[test]
    fn shards_are_given_once() {
        assert!(refused(&[]).contains("which shards"));
        let both = [("uri", "m.toml"), (SHARDS, "postgresql://u:canary@h/d")];
        assert!(refused(&both).contains("more than once"));
        let message = refused(&[("uri", "/nowhere/merganser.toml")]);
        assert!(message.contains("file not found"), "{message}");
    }

    #[test]
    fn connection_strings_stand_in_a_line_or_in_lines() {
        let urls = connection_strings(" postgresql://a/x  postgres://b,c/y\n postgresql://d/z ");
        assert_eq!(
            urls,
            ["postgresql://a/x", "postgres://b,c/y", "postgresql://d/z"]
        );
        let pairs = connection_strings("host=a dbname=x\n\n host=b dbname=y");
        assert_eq!(pairs, ["host=a dbname=x", "host=b dbname=y"]);
    }

    #[test]
    fn what_may_hold_a_password_is_not_given_back() {
        let shards = "postgresql://me:canary@localhost/a postgresql://me:canary@localhost/b";
        let database = open(&[(SHARDS, shards), ("password", "canary")]).unwrap();
        for name in [SHARDS, "password"] {
            let error = database.get_option_string(name.into()).unwrap_err();
            assert_eq!(error.status, Status::NotFound);
            assert!(error.message.contains("may hold a password"), "{error}");
        }
    }

    #[test]
    fn options_of_queries_can_be_changed_and_others_not() {
        let mut database = open(&[
            (SHARDS, "postgresql://localhost/a"),
            ("merganser.timeout_ms", "1000"),
            (CONNECTIONS_PER_SHARD, "2"),
        ])
        .unwrap();
        let get = |database: &Database, name: &str| database.get_option_int(name.into());
        assert_eq!(get(&database, "merganser.timeout_ms").unwrap(), 1000);
        assert_eq!(get(&database, CONNECTIONS_PER_SHARD).unwrap(), 2);
        let set = database.set_option("merganser.timeout_ms".into(), OptionValue::Int(5));
        assert!(set.is_ok());
        assert_eq!(get(&database, "merganser.timeout_ms").unwrap(), 5);
        let error = database.set_option("uri".into(), "x".into()).unwrap_err();
        assert_eq!(error.status, Status::InvalidState);
        let error = database
            .set_option("merganser.x".into(), "x".into())
            .unwrap_err();
        assert_eq!(error.status, Status::NotImplemented);
        assert!(error.message.contains("merganser.shards, "), "{error}");
    }
}
