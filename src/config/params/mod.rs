//! A connection string with everything filled in.

mod security;

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(crate) use self::security::{
    ChannelBinding, RequireAuth, SslCertMode, SslNegotiation, TlsVersion,
};
use super::options::Options;
use super::{Environment, Secret, invalid, passfile};
use crate::error::{Error, Result};

const DEFAULT_PORT: u16 = 5432;
/// libpq waits for ever; a query over many servers should say soon which one is missing.
const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// libpq's minimum, because it counts in whole seconds.
const SHORTEST_CONNECT_TIMEOUT: u64 = 2;

/// Everything that is needed to open a connection.
///
/// Fields have the meaning of libpq's parameters of the same name, of PostgreSQL 15, with the
/// differences that they state. `Debug` shows hosts, ports, database and user, and no secret.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub(crate) struct ConnectParams {
    /// The servers to try, in this order; never empty. A refused login ends the search.
    pub(crate) endpoints: Vec<Endpoint>,
    /// The role to log in as.
    pub(crate) user: String,
    /// The password that was given outright. Log in with [`Endpoint::password`], which includes it.
    pub(crate) password: Option<Secret>,
    /// The database.
    pub(crate) dbname: String,
    /// Command-line options for the server process, such as `-c geqo=off`.
    pub(crate) options: Option<String>,
    /// The name that `pg_stat_activity` shows; `fallback_application_name` where there is no other.
    pub(crate) application_name: Option<String>,
    /// Whether to use TLS over TCP, and what to verify; `Prefer` by default. Unix sockets never use
    /// TLS.
    ///
    /// `Require` becomes `VerifyCa` when there is a root certificate, as in libpq.
    pub(crate) ssl_mode: SslMode,
    /// Whom to trust: `sslrootcert`, or `~/.postgresql/root.crt` where it exists. Set whenever
    /// [`ssl_mode`](Self::ssl_mode) is `VerifyCa` or `VerifyFull`; as in libpq, a chain is verified by it
    /// for `Allow` and `Prefer`, too.
    ///
    /// A file that `sslrootcert` names has to exist, where libpq would go without verification for
    /// `Allow`, `Prefer` and `Require`.
    pub(crate) ssl_root_cert: Option<SslRootCert>,
    /// Where certificates that are valid no more are listed: `sslcrl`, or `~/.postgresql/root.crl`
    /// where nothing is said and it exists. As in libpq, every certificate of a chain then needs a
    /// list of its issuer that is up to date. Files that are named have to exist, where libpq would go
    /// without.
    pub(crate) ssl_crl: Option<PathBuf>,
    /// The same as a directory, as `openssl rehash` names the files in it (`sslcrldir`).
    pub(crate) ssl_crl_dir: Option<PathBuf>,
    /// Who we are to a server that asks for a certificate: `sslcert`, or
    /// `~/.postgresql/postgresql.crt` where it exists, unless `sslcertmode` is `disable`.
    pub(crate) ssl_client_cert: Option<ClientCert>,
    /// Whether it is shown.
    pub(crate) ssl_cert_mode: SslCertMode,
    /// How TLS begins.
    pub(crate) ssl_negotiation: SslNegotiation,
    /// The lowest and the highest version of TLS that is spoken.
    pub(crate) tls_versions: (TlsVersion, TlsVersion),
    /// Whether the server is told the name that it is looked up by (`sslsni`).
    pub(crate) ssl_sni: bool,
    /// Whether the login has to be bound to the TLS connection.
    pub(crate) channel_binding: ChannelBinding,
    /// How the server may find out who we are.
    pub(crate) require_auth: RequireAuth,
    /// How long to try one endpoint; `None` means without limit. 10 s where nothing is said (libpq:
    /// no limit). In a connection string 0 and negative mean no limit, and 1 means 2 s.
    pub(crate) connect_timeout: Option<Duration>,
    /// TCP keepalives; `None` when they are off.
    pub(crate) keepalives: Option<Keepalives>,
    /// How long sent data may stay unacknowledged; `None` leaves it to the operating system.
    pub(crate) tcp_user_timeout: Option<Duration>,
    /// Which of the endpoints will do.
    pub(crate) target_session_attrs: TargetSessionAttrs,
    /// Whether endpoints, and the addresses of each, are tried in an order by chance.
    pub(crate) load_balance_hosts: bool,
}

/// One server to try.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub(crate) struct Endpoint {
    /// Where it is.
    pub(crate) host: Host,
    /// Its port, which is also part of the name of a Unix socket.
    pub(crate) port: u16,
    /// The password for it: the one given outright, else the one of the password file.
    pub(crate) password: Option<Secret>,
}

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Host {
    /// TCP.
    Tcp {
        /// The name to verify in a certificate, and to look up unless there is an address.
        name: String,
        /// The address (`hostaddr`, or a name that is an address).
        addr: Option<IpAddr>,
    },
    /// The directory of a Unix socket named `.s.PGSQL.<port>`.
    Unix(PathBuf),
}

/// Whether to use TLS, and what to verify (`sslmode`); in the order of strictness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum SslMode {
    /// Never.
    Disable,
    /// Only when the server refuses a connection without.
    Allow,
    /// Unless the server does not offer it.
    Prefer,
    /// Always; the certificate is not verified.
    Require,
    /// Always, with a certificate that a trusted authority signed.
    VerifyCa,
    /// Always, with a certificate that a trusted authority signed for this host.
    VerifyFull,
}

/// Whom to trust (`sslrootcert`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SslRootCert {
    /// The operating system's store.
    System,
    /// The certificates in this PEM file, which existed when the parameters were resolved.
    File(PathBuf),
}

/// PEM files with a certificate, those that lead to its authority, and its private key (`sslkey`, or
/// `~/.postgresql/postgresql.key`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClientCert {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    /// The pass phrase of a key that is encrypted (`sslpassword`).
    pub(crate) passphrase: Option<Secret>,
}

/// Which state of a server is acceptable (`target_session_attrs`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) enum TargetSessionAttrs {
    /// Every one.
    #[default]
    Any,
    /// Sessions accept writes by default.
    ReadWrite,
    /// Sessions do not accept writes by default.
    ReadOnly,
    /// Not in recovery.
    Primary,
    /// In recovery.
    Standby,
    /// In recovery, or any when there is no such server.
    PreferStandby,
}

/// TCP keepalives; `None` leaves a value to the operating system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Keepalives {
    /// Silence before the first probe.
    pub(crate) idle: Option<Duration>,
    /// Time between probes.
    pub(crate) interval: Option<Duration>,
    /// Probes without an answer until the connection counts as lost.
    pub(crate) count: Option<u32>,
}

impl ConnectParams {
    /// What the options come to, with the root certificate and the passwords that files hold.
    pub(super) fn settle(options: &Options, environment: &Environment) -> Result<Self> {
        let mut params = settle(options, environment)?;
        params.check_names(options)?;
        params.find_root_cert(options, environment)?;
        params.find_crl(options, environment)?;
        params.find_client_cert(options, environment)?;
        params.find_passwords(options, environment);
        Ok(params)
    }

    /// An address that is looked up is not the name that is verified, unless `host` says so.
    fn check_names(&self, options: &Options) -> Result<()> {
        let hosts = options.get("host").unwrap_or_default();
        let hosts: Vec<_> = hosts.split(',').map(str::trim).collect();
        for (index, endpoint) in self.endpoints.iter().enumerate() {
            let is_named = hosts.get(index).is_some_and(|host| !host.is_empty());
            let has_address = matches!(endpoint.host, Host::Tcp { addr: Some(_), .. });
            if self.ssl_mode == SslMode::VerifyFull && has_address && !is_named {
                return Err(invalid(format!(
                    "sslmode verify-full verifies the host, and of host {} {} is all that is given",
                    index + 1,
                    options.describe("hostaddr")
                ))
                .with_hint(
                    "set host to the name, or the address, that the server's certificate is for",
                ));
            }
        }
        Ok(())
    }

    fn find_root_cert(&mut self, options: &Options, environment: &Environment) -> Result<()> {
        let given = options.get("sslrootcert");
        if self.ssl_mode == SslMode::Disable {
            return Ok(());
        }
        if given == Some("system") {
            self.ssl_root_cert = Some(SslRootCert::System);
            return Ok(());
        }
        let file = match given {
            Some(file) => Some(PathBuf::from(file)),
            None => at_home(environment, "root.crt"),
        };
        let found = file.filter(|file| file.is_file()).map(SslRootCert::File);
        self.ssl_root_cert = match (self.ssl_mode, found) {
            (SslMode::Require, Some(file)) => {
                self.ssl_mode = SslMode::VerifyCa;
                Some(file)
            }
            (_, Some(file)) => Some(file),
            (_, None) if given.is_some() => {
                return Err(missing(options, "sslrootcert", "root certificate file"));
            }
            (SslMode::VerifyCa | SslMode::VerifyFull, None) => {
                return Err(invalid(format!(
                    "{} {} needs a root certificate file",
                    options.describe("sslmode"),
                    options.get("sslmode").unwrap_or_default()
                ))
                .with_hint(
                    "set sslrootcert to a PEM file with the authority of the server, or to system for \
                     the authorities that the operating system trusts, with verify-full",
                ));
            }
            (_, None) => None,
        };
        Ok(())
    }

    fn find_crl(&mut self, options: &Options, environment: &Environment) -> Result<()> {
        let given = |name| options.get(name).map(PathBuf::from);
        (self.ssl_crl, self.ssl_crl_dir) = (given("sslcrl"), given("sslcrldir"));
        let name = match (&self.ssl_crl, &self.ssl_crl_dir) {
            (Some(file), _) if !file.is_file() => {
                return Err(missing(options, "sslcrl", "file of revoked certificates"));
            }
            (_, Some(directory)) if !directory.is_dir() => {
                return Err(missing(options, "sslcrldir", "directory"));
            }
            (Some(_), _) => "sslcrl",
            (_, Some(_)) => "sslcrldir",
            (None, None) => {
                // It belongs to the authorities of the file beside it.
                if matches!(self.ssl_root_cert, Some(SslRootCert::File(_))) {
                    self.ssl_crl = at_home(environment, "root.crl").filter(|file| file.is_file());
                }
                return Ok(());
            }
        };
        match self.ssl_mode == SslMode::Disable || self.ssl_root_cert.is_some() {
            true => Ok(()),
            false => Err(invalid(format!(
                "{} has no effect, because no certificate is verified",
                options.describe(name)
            ))
            .with_hint("set sslmode to verify-full, and sslrootcert to the authority")),
        }
    }

    fn find_client_cert(&mut self, options: &Options, environment: &Environment) -> Result<()> {
        if self.ssl_mode == SslMode::Disable || self.ssl_cert_mode == SslCertMode::Disable {
            return Ok(());
        }
        let find = |name, default| match options.get(name) {
            Some(file) => Some(PathBuf::from(file)),
            None => at_home(environment, default),
        };
        let none = || match self.ssl_cert_mode {
            SslCertMode::Require => Err(invalid(format!(
                "{} is require, but there is no client certificate",
                options.describe("sslcertmode")
            ))
            .with_hint("sslcert names a PEM file, ~/.postgresql/postgresql.crt by default")),
            _ => Ok(()),
        };
        let Some(certificate) = find("sslcert", "postgresql.crt") else {
            return none();
        };
        if !certificate.is_file() {
            return match options.get("sslcert") {
                Some(_) => Err(missing(options, "sslcert", "client certificate file")),
                None => none(),
            };
        }
        let Some(key) = find("sslkey", "postgresql.key").filter(|key| key.is_file()) else {
            return Err(invalid(format!(
                "there is a client certificate, {}, but no file with its private key",
                certificate.display()
            ))
            .with_hint(
                "sslkey names a PEM file, ~/.postgresql/postgresql.key by default; \
                 sslcertmode=disable goes without a certificate",
            ));
        };
        self.ssl_client_cert = Some(ClientCert {
            certificate,
            key,
            passphrase: options.get("sslpassword").map(Secret::from),
        });
        Ok(())
    }

    fn find_passwords(&mut self, options: &Options, environment: &Environment) {
        if self.password.is_some() {
            return;
        }
        let path = match options.get("passfile") {
            Some(path) => Some(PathBuf::from(path)),
            None => environment.home().map(|home| home.join(".pgpass")),
        };
        let Some(text) = path.as_deref().and_then(passfile::read) else {
            return;
        };
        for endpoint in &mut self.endpoints {
            let host: &str = match &endpoint.host {
                Host::Tcp { name, .. } => name,
                Host::Unix(directory) if Some(&**directory) == environment.socket_directory() => {
                    "localhost"
                }
                Host::Unix(directory) => &directory.to_string_lossy(),
            };
            endpoint.password =
                passfile::find(text.expose(), host, endpoint.port, &self.dbname, &self.user);
        }
    }
}

/// A file of libpq's in the user's home directory.
fn at_home(environment: &Environment, name: &str) -> Option<PathBuf> {
    let home = environment.home()?;
    Some(home.join(".postgresql").join(name))
}

fn missing(options: &Options, name: &str, what: &str) -> Error {
    let option = options.describe(name);
    invalid(format!("{option}: the {what} does not exist"))
}

/// Checks the options of a connection string alone; what it leaves open may come from elsewhere.
pub(super) fn check(options: &Options) -> Result<()> {
    settle(options, &Environment::default().with_user("user")).map(drop)
}

/// Everything but what is in files.
fn settle(options: &Options, environment: &Environment) -> Result<ConnectParams> {
    options.check_support()?;
    let text = |name| options.get(name).map(str::to_owned);
    let user = match text("user") {
        Some(user) => user,
        None => environment.user().map(str::to_owned).ok_or_else(|| {
            invalid("no user name is given, and the operating system has none")
                .with_hint("add user=... to the connection string, or set PGUSER")
        })?,
    };
    let password = options.get("password").map(Secret::from);
    let ssl_mode = ssl_mode(options)?;
    let mut endpoints = endpoints(options, environment)?;
    for endpoint in &mut endpoints {
        endpoint.password = password.clone();
    }
    Ok(ConnectParams {
        endpoints,
        password,
        dbname: text("dbname").unwrap_or_else(|| user.clone()),
        user,
        options: text("options"),
        application_name: text("application_name").or_else(|| text("fallback_application_name")),
        ssl_mode,
        ssl_root_cert: None,
        ssl_crl: None,
        ssl_crl_dir: None,
        ssl_client_cert: None,
        ssl_cert_mode: security::ssl_cert_mode(options)?,
        ssl_negotiation: security::ssl_negotiation(options, ssl_mode)?,
        tls_versions: security::tls_versions(options)?,
        ssl_sni: security::ssl_sni(options)?,
        channel_binding: security::channel_binding(options)?,
        require_auth: RequireAuth::parse(options)?,
        connect_timeout: match integer(options, "connect_timeout")? {
            None => Some(DEFAULT_CONNECT_TIMEOUT),
            Some(seconds) => seconds_of(seconds)
                .map(|timeout| timeout.max(Duration::from_secs(SHORTEST_CONNECT_TIMEOUT))),
        },
        keepalives: match integer(options, "keepalives")? {
            Some(0) => None,
            _ => Some(Keepalives {
                idle: integer(options, "keepalives_idle")?.and_then(seconds_of),
                interval: integer(options, "keepalives_interval")?.and_then(seconds_of),
                count: integer(options, "keepalives_count")?
                    .and_then(|count| u32::try_from(count).ok())
                    .filter(|count| *count > 0),
            }),
        },
        tcp_user_timeout: integer(options, "tcp_user_timeout")?
            .and_then(|millis| u64::try_from(millis).ok())
            .filter(|millis| *millis > 0)
            .map(Duration::from_millis),
        target_session_attrs: target_session_attrs(options)?,
        load_balance_hosts: load_balance_hosts(options)?,
    })
}

/// Pairs hosts, addresses and ports; see `connectOptions2` in fe-connect.c.
fn endpoints(options: &Options, environment: &Environment) -> Result<Vec<Endpoint>> {
    let list = |name| match options.get(name) {
        Some(text) => text.split(',').map(str::trim).collect::<Vec<_>>(),
        None => Vec::new(),
    };
    let (hosts, addresses, ports) = (list("host"), list("hostaddr"), list("port"));
    if !hosts.is_empty() && !addresses.is_empty() && hosts.len() != addresses.len() {
        return Err(invalid(format!(
            "{} hosts, but {} values of {}",
            hosts.len(),
            addresses.len(),
            options.describe("hostaddr")
        )));
    }
    let count = hosts.len().max(addresses.len()).max(1);
    if ports.len() > 1 && ports.len() != count {
        return Err(invalid(format!(
            "{count} hosts, but {} values of {}",
            ports.len(),
            options.describe("port")
        ))
        .with_hint("give one port for all hosts, or one for each"));
    }
    (0..count)
        .map(|index| {
            let at = |list: &[&'_ str]| list.get(index).copied().unwrap_or_default().to_owned();
            let port = match ports.as_slice() {
                [one] => (*one).to_owned(),
                many => at(many),
            };
            Ok(Endpoint {
                host: host(&at(&hosts), &at(&addresses), index, options, environment)?,
                port: parse_port(&port).ok_or_else(|| {
                    invalid(format!(
                        "invalid {} of host {}: expected a number from 1 to 65535",
                        options.describe("port"),
                        index + 1
                    ))
                    .with_hint(
                        "in a URL, \":\", \"/\" and \"@\" in a password are %3A, %2F and %40",
                    )
                })?,
                password: None,
            })
        })
        .collect()
}

fn host(
    host: &str,
    address: &str,
    index: usize,
    options: &Options,
    environment: &Environment,
) -> Result<Host> {
    let addr = match address {
        "" => host.parse().ok(),
        address => Some(address.parse::<IpAddr>().map_err(|_| {
            invalid(format!(
                "invalid {} of host {}: expected an IP address",
                options.describe("hostaddr"),
                index + 1
            ))
        })?),
    };
    if host.starts_with('/') && address.is_empty() {
        return Ok(Host::Unix(host.into()));
    }
    if host.starts_with('@') && options.get("hostaddr").is_none() {
        return Err(invalid(format!(
            "{} {} starts with \"@\", but abstract Unix sockets are not supported",
            options.describe("host"),
            index + 1
        )));
    }
    // A host is sent to a name server and shown in messages. No name has such characters, but the
    // rest of a password that was not percent-encoded may.
    let colon = host.contains(':')
        && host
            .split('%')
            .next()
            .is_none_or(|ip| ip.parse::<Ipv6Addr>().is_err());
    if !host.starts_with('/')
        && (colon
            || host.contains(|c: char| c.is_whitespace() || c.is_control() || "@/?#=&".contains(c)))
    {
        return Err(invalid(format!(
            "invalid {} {}: expected a host name, an IP address or an absolute path",
            options.describe("host"),
            index + 1
        ))
        .with_hint(
            "a port is written port=5432, or after the host in a URL; special characters of a \
             password in a URL are percent-encoded: \"@\" is %40",
        ));
    }
    Ok(match (host, environment.socket_directory()) {
        ("", Some(directory)) if addr.is_none() => Host::Unix(directory.to_owned()),
        ("", _) => Host::Tcp {
            name: addr.map_or_else(|| "localhost".to_owned(), |addr| addr.to_string()),
            addr,
        },
        (name, _) => Host::Tcp {
            name: name.to_owned(),
            addr,
        },
    })
}

fn parse_port(text: &str) -> Option<u16> {
    match text {
        "" => Some(DEFAULT_PORT),
        text => text.parse().ok().filter(|port| *port != 0),
    }
}

fn ssl_mode(options: &Options) -> Result<SslMode> {
    let system = options.get("sslrootcert") == Some("system");
    if options.is_empty("sslmode") {
        return Err(invalid(format!(
            "invalid {}: it is empty",
            options.describe("sslmode")
        ))
        .with_hint("name a mode, such as verify-full, or leave it out for prefer"));
    }
    let mode = match options.get("sslmode") {
        None if system => SslMode::VerifyFull,
        None => SslMode::Prefer,
        Some("disable") => SslMode::Disable,
        Some("allow") => SslMode::Allow,
        Some("prefer") => SslMode::Prefer,
        Some("require") => SslMode::Require,
        Some("verify-ca") => SslMode::VerifyCa,
        Some("verify-full") => SslMode::VerifyFull,
        Some(_) => {
            return Err(invalid(format!(
                "invalid {}: expected disable, allow, prefer, require, verify-ca or verify-full",
                options.describe("sslmode")
            )));
        }
    };
    // Anybody can get a certificate that the system's store trusts, for a host of their own.
    if system && mode != SslMode::VerifyFull {
        return Err(invalid(format!(
            "{} is too weak for sslrootcert \"system\": expected verify-full",
            options.describe("sslmode")
        )));
    }
    Ok(mode)
}

fn target_session_attrs(options: &Options) -> Result<TargetSessionAttrs> {
    if options.is_empty("target_session_attrs") {
        return Err(
            invalid("invalid target_session_attrs: it is empty").with_hint(
                "name what the server has to be, such as primary, or leave it out for any",
            ),
        );
    }
    Ok(match options.get("target_session_attrs") {
        None | Some("any") => TargetSessionAttrs::Any,
        Some("read-write") => TargetSessionAttrs::ReadWrite,
        Some("read-only") => TargetSessionAttrs::ReadOnly,
        Some("primary") => TargetSessionAttrs::Primary,
        Some("standby") => TargetSessionAttrs::Standby,
        Some("prefer-standby") => TargetSessionAttrs::PreferStandby,
        Some(_) => {
            return Err(invalid(format!(
                "invalid {}: expected any, read-write, read-only, primary, standby or prefer-standby",
                options.describe("target_session_attrs")
            )));
        }
    })
}

fn load_balance_hosts(options: &Options) -> Result<bool> {
    match options.get("load_balance_hosts") {
        None if !options.is_empty("load_balance_hosts") => Ok(false),
        Some("disable") => Ok(false),
        Some("random") => Ok(true),
        _ => Err(invalid(format!(
            "invalid {}: expected disable or random",
            options.describe("load_balance_hosts")
        ))),
    }
}

fn integer(options: &Options, name: &str) -> Result<Option<i32>> {
    options
        .get(name)
        .map(|text| {
            text.trim().parse().map_err(|_| {
                invalid(format!(
                    "invalid {}: expected a whole number",
                    options.describe(name)
                ))
            })
        })
        .transpose()
}

/// `None` for zero and less, by which libpq means "no limit" or "the system's default".
fn seconds_of(seconds: i32) -> Option<Duration> {
    u64::try_from(seconds)
        .ok()
        .filter(|seconds| *seconds > 0)
        .map(Duration::from_secs)
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { name, .. } if name.contains(':') => write!(f, "[{name}]"),
            Self::Tcp { name, .. } => f.write_str(name),
            Self::Unix(directory) => Path::display(directory).fmt(f),
        }
    }
}

/// `db0:5432`, `[::1]:5432` or `/run/postgresql:5432`.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for ConnectParams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectParams")
            .field("endpoints", &self.endpoints)
            .field("dbname", &self.dbname)
            .field("user", &self.user)
            .field("ssl_mode", &self.ssl_mode)
            .field("target_session_attrs", &self.target_session_attrs)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
