//! Opens, pools, secures and cancels connections.
//!
//! The client library, tokio-postgres, speaks the protocol: it logs in (SCRAM), prepares and runs.
//! What it lacks is here: libpq's rules on hosts, addresses and `sslmode`; TLS with rustls; and
//! [`tap`], by which COPY data reaches the decoder without passing through it, and statements are
//! described without names.

mod auth;
mod certificate;
mod client_cert;
mod describe;
mod hint;
mod name;
mod pool;
mod revocation;
mod secured;
mod socket;
mod tap;
mod tls;
mod trust;
mod upload;

use std::error::Error as _;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::TryStreamExt;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_postgres::config::{ChannelBinding as DriverBinding, SslMode as DriverSslMode};
use tokio_postgres::error::{DbError, ErrorPosition, SqlState};
use tokio_postgres::{Client, SimpleQueryMessage, SimpleQueryStream};

use self::auth::{AuthCheck, Shown};
pub(crate) use self::describe::{Described, DescribedColumn};
pub(crate) use self::pool::{Opening, Permit, Pools, Servers, Session};
use self::secured::Secured;
use self::socket::{Address, CancelSocket, Socket};
pub(crate) use self::tap::{CopyEvent, Flow};
use self::tap::{Tap, TapHandle};
#[cfg(feature = "datafusion")]
pub(crate) use self::upload::CopyInput;
use crate::config::{ChannelBinding, ConnectParams, Endpoint, Host, SslMode, TargetSessionAttrs};
use crate::error::{Error, ErrorKind, Phase, Result};

/// How long a cancel request may take, until its server has closed the connection that it went over.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(5);
/// What `pg_stat_activity` shows unless the connection string says otherwise.
const APPLICATION_NAME: &str = "merganser";

/// An open connection, logged in.
pub(crate) struct Connection {
    client: Client,
    tap: TapHandle,
    canceller: Canceller,
    /// The host and port that its connection string names.
    server: Arc<str>,
    /// Drives the connection; ends with it.
    driver: JoinHandle<()>,
    /// Why the connection ended, for the first who asks.
    ended: Ended,
    /// Of a connection to a replica: how far that may be behind.
    max_replay_lag: Option<Duration>,
    /// What its server said to [`Opening::identifying`]; empty if that was nothing.
    identity: Option<Arc<str>>,
}

type Ended = Arc<Mutex<Option<tokio_postgres::Error>>>;

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Sends cancel requests for one connection: to the same address, with TLS if it has TLS.
pub(crate) struct Canceller {
    token: tokio_postgres::CancelToken,
    route: Route,
}

/// How a connection was made, so that another can be made alike.
#[derive(Clone)]
struct Route {
    params: Arc<ConnectParams>,
    address: Address,
    /// `None` without TLS.
    tls: Option<tls::Settings>,
}

impl Canceller {
    /// Asks the server to stop the query that runs on the connection, if one does.
    pub(crate) async fn cancel(&self) {
        let cancel = async {
            let (socket, _) = self.route.open(self.route.tls.is_some()).await?;
            self.token
                .cancel_query_raw(CancelSocket(socket), Secured { end_point: None })
                .await
                .map_err(|error| driver_error(error, Phase::Connect))
        };
        // There is nobody to tell: the query was given up. Its server will notice the closed
        // connection sooner or later.
        match tokio::time::timeout(CANCEL_TIMEOUT, cancel).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "cancel request failed"),
            Err(_) => tracing::debug!("cancel request timed out"),
        }
    }
}

impl Route {
    /// Opens the socket; with TLS if it is wanted and offered. Tells whether it has TLS.
    async fn open(&self, want_tls: bool) -> Result<(Socket, bool)> {
        let socket = Socket::open(&self.address, &self.params)
            .await
            .map_err(|error| {
                Error::new(ErrorKind::Connect, "cannot connect")
                    .with_phase(Phase::Connect)
                    .with_source(error)
            })?;
        match (socket, &self.tls) {
            (Socket::Tcp(stream), Some(settings)) if want_tls => {
                match settings.negotiate(stream).await? {
                    Some(socket) => Ok((socket, true)),
                    None if self.params.ssl_mode >= SslMode::Require => {
                        Err(Error::new(ErrorKind::Connect, tls::NOT_OFFERED)
                            .with_phase(Phase::Tls)
                            .with_hint("turn ssl on in the server, or use sslmode=disable in a network that you trust"))
                    }
                    // The server keeps the connection open for a login without TLS, but the
                    // socket is spent; the caller opens another.
                    None => Err(Error::new(ErrorKind::Connect, tls::NOT_OFFERED).with_phase(Phase::Tls)),
                }
            }
            (socket, _) => Ok((socket, false)),
        }
    }
}

/// What fuzzing begins with: bytes that a server sends, and a certificate.
#[cfg(fuzzing)]
pub(crate) mod fuzz {
    pub(crate) use super::certificate::fuzz as certificate;
    pub(crate) use super::tap::fuzz as wire;
}

/// Opens a connection to the first endpoint that will do, by libpq's rules: hosts in order, and
/// all addresses of each; a server that refuses the login ends the search. Those to be avoided are
/// passed over.
async fn connect(params: &Arc<ConnectParams>, avoided: &[Address]) -> Result<Connection> {
    let passes: &[TargetSessionAttrs] = match params.target_session_attrs {
        TargetSessionAttrs::PreferStandby => {
            &[TargetSessionAttrs::Standby, TargetSessionAttrs::Any]
        }
        TargetSessionAttrs::Any => &[TargetSessionAttrs::Any],
        TargetSessionAttrs::ReadWrite => &[TargetSessionAttrs::ReadWrite],
        TargetSessionAttrs::ReadOnly => &[TargetSessionAttrs::ReadOnly],
        TargetSessionAttrs::Primary => &[TargetSessionAttrs::Primary],
        TargetSessionAttrs::Standby => &[TargetSessionAttrs::Standby],
    };
    let mut failures: Vec<Error> = Vec::new();
    let mut endpoints: Vec<_> = params.endpoints.iter().collect();
    if params.load_balance_hosts {
        fastrand::shuffle(&mut endpoints);
    }
    for attrs in passes {
        for endpoint in &endpoints {
            match connect_endpoint(params, endpoint, *attrs, avoided).await {
                Ok(connection) => return Ok(connection),
                Err(error) if error.phase() == Some(Phase::Auth) => return Err(error),
                Err(error) => failures.push(error),
            }
        }
    }
    Err(all_of(failures))
}

/// The first is the error; the others, each once, stand behind its message.
fn all_of(failures: Vec<Error>) -> Error {
    let mut told: Vec<String> = Vec::new();
    for failure in &failures {
        let text = failure.to_string();
        if !told.contains(&text) {
            told.push(text);
        }
    }
    match failures.into_iter().next() {
        Some(first) if told.len() > 1 => first.with_more(&told[1..].join("; ")),
        Some(error) => error,
        None => Error::new(ErrorKind::Config, "the connection string names no host"),
    }
}

async fn connect_endpoint(
    params: &Arc<ConnectParams>,
    endpoint: &Endpoint,
    attrs: TargetSessionAttrs,
    avoided: &[Address],
) -> Result<Connection> {
    let name_it = |error: Error| located(error, endpoint, params);
    let mut addresses = limited(params, Phase::Resolve, socket::resolve(endpoint))
        .await
        .map_err(name_it)?;
    if params.load_balance_hosts {
        fastrand::shuffle(&mut addresses);
    }
    let mut last =
        Error::new(ErrorKind::Connect, "the host has no address").with_phase(Phase::Resolve);
    for address in addresses {
        if avoided.contains(&address) {
            last = Error::new(ErrorKind::Connect, "the server was lost a moment ago")
                .with_phase(Phase::Connect);
            continue;
        }
        let connecting = Box::pin(connect_address(params, endpoint, address, attrs));
        match limited(params, Phase::Connect, connecting).await {
            Ok(connection) => return Ok(connection),
            Err(error) if error.phase() == Some(Phase::Auth) => return Err(name_it(error)),
            Err(error) => last = error,
        }
    }
    Err(name_it(last))
}

/// Applies the connect timeout, which is for each address and each step.
async fn limited<T>(
    params: &ConnectParams,
    phase: Phase,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    let Some(limit) = params.connect_timeout else {
        return work.await;
    };
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
        Err(Error::new(
            ErrorKind::Connect,
            format!("no answer within {} s", limit.as_secs_f64()),
        )
        .with_phase(phase)
        .with_hint(match phase {
            // The login went well.
            Phase::Session => {
                "the server is stuck, or a pooler has no connection left: open no more connections \
                 per shard (--connections-per-shard on the command line) than its pool has; \
                 connect_timeout sets the limit"
            }
            _ => {
                "check that the host and port are right and reachable; connect_timeout sets the limit"
            }
        }))
    })
}

/// Says which server an error is about. Host, port, database and user are no secrets.
fn located(error: Error, endpoint: impl fmt::Display, params: &ConnectParams) -> Error {
    let hint = match (error.sql_state(), error.phase()) {
        (Some("28000"), _) => Some(
            "check the user of the shard's URL; pg_hba.conf of the server says who may connect to what, from where, and whether with TLS (sslmode)",
        ),
        (Some("3D000"), _) => Some(
            "name a database of that server in the shard's URL: postgresql://user@host/database; psql -l lists them",
        ),
        (Some("53300"), _) => {
            Some("raise max_connections of the server, or open fewer connections per shard")
        }
        (Some("57P03"), _) => Some("wait until the server has started"),
        (Some(code), _) if !code.starts_with("28") => None,
        (_, Some(Phase::Auth)) => Some(
            "check user, password and database of the shard's URL; a password can also come from PGPASSWORD or the password file",
        ),
        _ => Some("check that the server runs and that host and port are right"),
    };
    let server = format!(
        "{endpoint}, database {:?}, user {:?}",
        params.dbname, params.user
    );
    let error = error.with_context(&server);
    match hint {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

/// One address, in the ways that `sslmode` allows, in its order.
async fn connect_address(
    params: &Arc<ConnectParams>,
    endpoint: &Endpoint,
    address: Address,
    attrs: TargetSessionAttrs,
) -> Result<Connection> {
    let attempts: &[bool] = match (&address, params.ssl_mode) {
        (Address::Unix(_), _) | (_, SslMode::Disable) => &[false],
        (_, SslMode::Allow) => &[false, true],
        (_, SslMode::Prefer) => &[true, false],
        (_, SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull) => &[true],
    };
    let tls = match (&endpoint.host, attempts) {
        (Host::Tcp { name, .. }, [true, ..] | [_, true]) => Some(tls::Settings::new(params, name)?),
        _ => None,
    };
    let route = Route {
        params: params.clone(),
        address,
        tls,
    };
    let mut failures: Vec<Error> = Vec::new();
    for want_tls in attempts {
        let error = match log_in(&route, endpoint, *want_tls, attrs).await {
            Ok(connection) => return Ok(connection),
            Err(error) => error,
        };
        // Another way is tried where TLS may be what was wrong: it is not offered, or with somebody
        // unknown, or pg_hba.conf has no line for a connection like this (28000).
        let tls_may_matter = tls::leaves_a_way_out(&error) || error.sql_state() == Some("28000");
        failures.push(error);
        if !tls_may_matter {
            break;
        }
    }
    // What a server answered says more than that TLS could not be had.
    let answer = failures
        .iter()
        .position(|error| error.phase() != Some(Phase::Tls));
    let tls = failures
        .iter()
        .find(|error| error.phase() == Some(Phase::Tls) && error.message() != tls::NOT_OFFERED)
        .map(|error| error.message().to_owned());
    let error = match answer {
        Some(index) => failures.swap_remove(index),
        None => {
            return Err(failures
                .into_iter()
                .next()
                .unwrap_or_else(|| Error::new(ErrorKind::Connect, "cannot connect")));
        }
    };
    Err(match tls {
        Some(tls) => error.with_more(&tls),
        None => error,
    })
}

async fn log_in(
    route: &Route,
    endpoint: &Endpoint,
    want_tls: bool,
    attrs: TargetSessionAttrs,
) -> Result<Connection> {
    let (socket, has_tls) = route.open(want_tls).await?;
    let end_point = socket.end_point();
    let shown = match &route.tls {
        Some(settings) if has_tls => settings.shown(),
        _ => Shown::NotAsked,
    };
    let params = &route.params;
    let check = AuthCheck::new(params, has_tls, end_point.is_some(), shown);
    let (tap, handle) = Tap::new(socket);
    let mut config = tokio_postgres::Config::new();
    config
        .ssl_mode(DriverSslMode::Disable)
        .channel_binding(match params.channel_binding {
            ChannelBinding::Disable => DriverBinding::Disable,
            ChannelBinding::Prefer => DriverBinding::Prefer,
            ChannelBinding::Require => DriverBinding::Require,
        })
        .user(&params.user)
        .dbname(&params.dbname)
        .application_name(
            params
                .application_name
                .as_deref()
                .unwrap_or(APPLICATION_NAME),
        );
    // It is below the tap.
    if has_tls {
        Secured::configure(&mut config);
    }
    if let Some(password) = &endpoint.password {
        config.password(password.expose());
    }
    if let Some(options) = &params.options {
        config.options(options);
    }
    let (client, connection) = config
        .connect_raw(tap.with_auth_check(check), Secured { end_point })
        .await
        .map_err(|error| hinted(login_error(error, endpoint), &params.user))?;
    let ended = Ended::default();
    let reason = ended.clone();
    let driver = tokio::spawn(async move {
        let mut connection = connection;
        if let Err(error) = (&mut connection).await {
            tracing::debug!(%error, "connection ended");
            // Before the connection is dropped: then whoever waits for an answer is told that
            // there will be none, and asks why.
            *reason.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        }
    });
    let connection = Connection {
        canceller: Canceller {
            token: client.cancel_token(),
            route: Route {
                tls: route.tls.clone().filter(|_| has_tls),
                ..route.clone()
            },
        },
        client,
        tap: handle,
        server: endpoint.to_string().into(),
        driver,
        ended,
        max_replay_lag: None,
        identity: None,
    };
    connection.check_attrs(attrs).await?;
    Ok(connection)
}

impl Connection {
    /// What cancels the query that runs here.
    pub(crate) fn canceller(&self) -> &Canceller {
        &self.canceller
    }

    /// An error that the client library gave for this connection. Of a connection that ended it
    /// knows only that; the reason is here.
    pub(crate) fn error(&self, error: tokio_postgres::Error, phase: Phase) -> Error {
        let reason = match error.is_closed() {
            true => self
                .ended
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(),
            false => None,
        };
        let error = driver_error(reason.unwrap_or(error), phase).with_server(&self.server);
        hinted(error, &self.canceller.route.params.user)
    }

    /// Host and port of its server.
    pub(crate) fn server(&self) -> &Arc<str> {
        &self.server
    }

    /// Where it leads.
    fn address(&self) -> &Address {
        &self.canceller.route.address
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// How the connection was made.
    pub(crate) fn params(&self) -> &Arc<ConnectParams> {
        &self.canceller.route.params
    }

    /// Makes sure that a replica still is one, and near enough to its primary; others are content.
    async fn check_replica(&self) -> Result<()> {
        let Some(most) = self.max_replay_lag else {
            return Ok(());
        };
        let rows = self.query(REPLICA, Phase::Connect).await?;
        let mut values = rows.into_iter().next().unwrap_or_default().into_iter();
        let in_recovery = values.next().flatten();
        let lag = values.next().flatten();
        let lag = lag.and_then(|lag| lag.parse::<f64>().ok());
        let what = match (in_recovery.as_deref(), lag) {
            (Some("t"), Some(lag)) if lag <= most.as_secs_f64() => return Ok(()),
            (Some("t"), Some(lag)) => format!(
                "the replica is {lag:.1} s behind, and max_replay_lag is {} s",
                most.as_secs_f64()
            ),
            (Some("t"), None) => "it is not known how far the replica is behind".to_owned(),
            _ => "the server is no replica".to_owned(),
        };
        let params = self.params();
        let endpoints = params.endpoints.iter().map(ToString::to_string);
        let error = Error::new(ErrorKind::Connect, what)
            .with_phase(Phase::Connect)
            .with_hint(
                "`replicas` in the topology have to be standbys of their shard's primary; \
                 max_replay_lag and read_from in [session] say what is asked of them",
            );
        Err(located(
            error,
            endpoints.collect::<Vec<_>>().join(","),
            params,
        ))
    }

    async fn check_attrs(&self, attrs: TargetSessionAttrs) -> Result<()> {
        let (sql, wanted, what) = match attrs {
            TargetSessionAttrs::Any | TargetSessionAttrs::PreferStandby => return Ok(()),
            TargetSessionAttrs::ReadWrite => (READ_ONLY, "off", "a read-write session"),
            TargetSessionAttrs::ReadOnly => (READ_ONLY, "on", "a read-only session"),
            TargetSessionAttrs::Primary => (IN_RECOVERY, "f", "a primary"),
            TargetSessionAttrs::Standby => (IN_RECOVERY, "t", "a standby"),
        };
        let rows = self.query(sql, Phase::Connect).await?;
        let found = rows
            .first()
            .and_then(|row| row.first())
            .and_then(Option::as_deref);
        match found == Some(wanted) {
            true => Ok(()),
            false => Err(Error::new(
                ErrorKind::Connect,
                format!("the server is not {what}, as target_session_attrs asks"),
            )
            .with_phase(Phase::Connect)
            .with_hint(
                "name all servers of this shard in its URL, as host=a,b, or ask for less with \
                 target_session_attrs",
            )),
        }
    }

    /// Asks what the server says of a statement.
    ///
    /// # Errors
    /// Those of the client library.
    async fn ask_description(&self, sql: &str) -> Result<Asked, tokio_postgres::Error> {
        let described = self.tap.describe();
        let answer = self.client.simple_query_raw(&describe::marked(sql)).await;
        let answer = answer.inspect_err(|_| self.tap.forget_description())?;
        Ok(Asked {
            described,
            answer: Box::pin(answer),
        })
    }

    /// What the server says of a statement, which it may have been asked already; `None` if it says nothing,
    /// against the protocol.
    ///
    /// # Errors
    /// Those of the client library, which have the place in the text.
    pub(crate) async fn describe(
        &self,
        sql: &str,
        asked: Option<Asked>,
    ) -> Result<Option<Described>, tokio_postgres::Error> {
        let mut asked = match asked {
            Some(asked) => asked,
            None => self.ask_description(sql).await?,
        };
        let answered = rows_of(&mut asked.answer).await;
        self.tap.forget_description();
        answered?;
        Ok(asked.described.try_recv().ok())
    }

    /// Begins a COPY: its data, and the client library's side, which has the error if there is one.
    ///
    /// As a simple query, because the library would give the statement a name. Another statement may stand
    /// before it, whose rows the library has.
    pub(crate) async fn copy_out(
        &self,
        sql: &str,
        flow: Flow,
    ) -> Result<(mpsc::Receiver<CopyEvent>, Answer), tokio_postgres::Error> {
        let events = self.tap.copy(flow);
        let answer = self.client.simple_query_raw(sql).await?;
        Ok((events, Box::pin(answer)))
    }

    /// Begins a `COPY ... FROM STDIN`: where its data goes, and how many rows the server has taken once
    /// that has ended.
    #[cfg(feature = "datafusion")]
    pub(crate) fn copy_in(
        &self,
        sql: &str,
    ) -> (
        mpsc::Sender<CopyInput>,
        impl Future<Output = Result<u64, tokio_postgres::Error>>,
    ) {
        (self.tap.upload(), self.execute(sql))
    }

    /// Runs SQL of our own; how many rows its last command has dealt with.
    #[cfg(feature = "datafusion")]
    pub(crate) async fn execute(&self, sql: &str) -> Result<u64, tokio_postgres::Error> {
        let messages = self.client.simple_query(sql).await?;
        let counts = messages.iter().filter_map(|message| match message {
            SimpleQueryMessage::CommandComplete(rows) => Some(*rows),
            _ => None,
        });
        Ok(counts.last().unwrap_or_default())
    }

    /// Asks for SQL of our own behind the query that runs, whatever becomes of that.
    pub(crate) async fn query_behind(&self, sql: &str) -> Result<Answer, tokio_postgres::Error> {
        Ok(Box::pin(self.client.simple_query_raw(sql).await?))
    }

    /// Runs SQL of our own, without parameters; the values of its rows in PostgreSQL's text form.
    pub(crate) async fn query(&self, sql: &str, phase: Phase) -> Result<Vec<Row>> {
        let (rows, _) = self.query_and_ask(sql, phase, None).await?;
        Ok(rows)
    }

    /// The same; before it is answered, the server is asked for the description of a statement, too.
    async fn query_and_ask(
        &self,
        sql: &str,
        phase: Phase,
        statement: Option<&str>,
    ) -> Result<(Vec<Row>, Option<Asked>)> {
        let run = async {
            let mut answer = self.query_behind(sql).await?;
            let asked = match statement {
                Some(statement) => Some(self.ask_description(statement).await),
                None => None,
            };
            // A server that ends the connection says why in its answer to the first of the two.
            let rows = rows_of(&mut answer).await?;
            Ok((rows, asked.transpose()?))
        };
        run.await.map_err(|error| self.error(error, phase))
    }
}

/// What the server answers to a query, message by message.
pub(crate) type Answer = Pin<Box<SimpleQueryStream>>;

/// The values of a row in PostgreSQL's text form.
pub(crate) type Row = Vec<Option<String>>;

/// A description that a server was asked for. Dropped, nobody waits for it.
pub(crate) struct Asked {
    described: oneshot::Receiver<Described>,
    answer: Answer,
}

/// All rows of an answer, up to its end.
async fn rows_of(answer: &mut Answer) -> Result<Vec<Row>, tokio_postgres::Error> {
    let mut rows = Vec::new();
    while let Some(message) = answer.try_next().await? {
        rows.extend(values(&message));
    }
    Ok(rows)
}

/// The rows of the first statement of several, up to the end of that.
///
/// # Errors
/// Those of the client library.
pub(crate) async fn first_rows(answer: &mut Answer) -> Result<Vec<Row>, tokio_postgres::Error> {
    let mut rows = Vec::new();
    while let Some(message) = answer.try_next().await? {
        if let SimpleQueryMessage::CommandComplete(_) = message {
            break;
        }
        rows.extend(values(&message));
    }
    Ok(rows)
}

fn values(message: &SimpleQueryMessage) -> Option<Row> {
    let SimpleQueryMessage::Row(row) = message else {
        return None;
    };
    let values = (0..row.len()).map(|column| row.get(column).map(str::to_owned));
    Some(values.collect())
}

const READ_ONLY: &str = "select current_setting('transaction_read_only')";
const IN_RECOVERY: &str = "select pg_catalog.pg_is_in_recovery()";
/// Whether a server is a replica, and how many seconds behind; NULL where it does not know. One that
/// waits for more is not behind, while a process of it receives; who may not see what that does sees
/// that it is there.
const REPLICA: &str = "SELECT pg_catalog.pg_is_in_recovery(), \
    CASE WHEN pg_catalog.pg_last_wal_receive_lsn() = pg_catalog.pg_last_wal_replay_lsn() \
    AND EXISTS (SELECT FROM pg_catalog.pg_stat_wal_receiver \
    WHERE status = 'streaming' OR status IS NULL) THEN 0 \
    ELSE EXTRACT(epoch FROM pg_catalog.clock_timestamp() \
    - pg_catalog.pg_last_xact_replay_timestamp()) END";

fn login_error(error: tokio_postgres::Error, endpoint: &Endpoint) -> Error {
    let refused = error
        .source()
        .and_then(|source| source.downcast_ref::<io::Error>()?.get_ref())
        .and_then(|inner| inner.downcast_ref::<auth::Refused>());
    if let Some(refused) = refused {
        return Error::new(ErrorKind::Connect, refused.to_string())
            .with_phase(Phase::Auth)
            .with_hint(refused.hint);
    }
    let reason = error.source().map(ToString::to_string);
    if endpoint.password.is_none() && reason.as_deref() == Some("password missing") {
        return Error::new(
            ErrorKind::Connect,
            "the server asks for a password, and none is given",
        )
        .with_phase(Phase::Auth)
        .with_hint(
            "put it into the shard's URL as ${NAME}, into PGPASSWORD, or into the password file",
        );
    }
    let phase = match error.code() {
        // Another host may do.
        Some(&SqlState::TOO_MANY_CONNECTIONS | &SqlState::CANNOT_CONNECT_NOW) => Phase::Connect,
        Some(_) => Phase::Auth,
        // A method of authentication that is not supported, or a server that does not know the
        // password itself.
        None if error.to_string() == "authentication error" || is_alert(&error) => Phase::Auth,
        None => Phase::Connect,
    };
    let error = driver_error(error, phase);
    match error.kind() {
        // Something else listens there, and will when it is asked again.
        ErrorKind::Decode => error.with_hint(
            "check host and port of the shard's URL: what answers there is not PostgreSQL",
        ),
        _ => error.with_kind(ErrorKind::Connect),
    }
}

/// The error, with what this role can do about it, unless the server said that.
fn hinted(error: Error, user: &str) -> Error {
    let code = error.sql_state().unwrap_or_default();
    match hint::hint(code, error.message(), user) {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

/// An error of the client library as one of ours.
fn driver_error(error: tokio_postgres::Error, phase: Phase) -> Error {
    if let Some(answer) = error.as_db_error() {
        return server_error(answer, phase);
    }
    // The library has no way but its text to tell one kind from another.
    let unreadable = matches!(
        error.to_string().as_str(),
        "unexpected message from server" | "error parsing response from server"
    ) || io_error(&error)
        .is_some_and(|source| source.kind() == io::ErrorKind::InvalidData)
        && !is_alert(&error);
    let (kind, message) = match (unreadable, phase) {
        (true, _) => (
            ErrorKind::Decode,
            "the server's answer is not in PostgreSQL's protocol",
        ),
        (false, Phase::Auth | Phase::Connect) => (ErrorKind::Connect, "the login failed"),
        (false, _) => (ErrorKind::Connect, "the connection was lost"),
    };
    Error::new(kind, message)
        .with_phase(phase)
        .with_source(error)
}

fn io_error(error: &tokio_postgres::Error) -> Option<&io::Error> {
    error.source()?.downcast_ref()
}

/// Whether the server ended the connection by a word of TLS: with TLS 1.3, a certificate that it does not
/// take is refused behind the handshake.
fn is_alert(error: &tokio_postgres::Error) -> bool {
    let source = io_error(error).and_then(io::Error::get_ref);
    let source = source.and_then(|it| it.downcast_ref::<rustls::Error>());
    matches!(source, Some(rustls::Error::AlertReceived(_)))
}

/// What a server answered.
fn server_error(answer: &DbError, phase: Phase) -> Error {
    let mut message = answer.message().to_owned();
    if let Some(detail) = answer.detail() {
        message = format!("{message}: {detail}");
    }
    let ours = Error::new(ErrorKind::Server, message)
        .with_phase(phase)
        .with_sql_state(answer.code().code());
    let ours = match answer.hint() {
        Some(hint) => ours.with_hint(hint),
        None => ours,
    };
    // One code for two events; only the text tells them apart, where it is in English.
    match *answer.code() {
        // We did not cancel it: then nobody would be waiting for the answer.
        SqlState::QUERY_CANCELED if answer.message().contains("user request") => {
            ours.with_hint("somebody cancelled the query on the server")
        }
        SqlState::QUERY_CANCELED => ours.with_kind(ErrorKind::Timeout).with_hint(
            "statement_timeout, in [session] or on the server, sets the limit; or somebody cancelled the query there",
        ),
        _ => ours,
    }
}

/// The place in the SQL text that a server's error is about, counted in characters from 1.
pub(crate) fn error_position(error: &tokio_postgres::Error) -> Option<u32> {
    match error.as_db_error()?.position()? {
        ErrorPosition::Original(position) => Some(*position),
        ErrorPosition::Internal { .. } => None,
    }
}
