//! Pools of connections, one for each shard, and sessions: a connection within its transaction.

use std::fmt::Write as _;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use deadpool::managed::{Manager, Metrics, Object, Pool, PoolError, RecycleError, RecycleResult};
#[cfg(feature = "datafusion")]
use futures::future::{Either, select};
#[cfg(feature = "datafusion")]
use futures::stream::{Stream, StreamExt};
use tokio::runtime::Handle;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};
use tokio_util::task::TaskTracker;

#[cfg(feature = "datafusion")]
use super::CopyInput;
use super::socket::Address;
use super::{Answer, Asked, Connection, Row, all_of, connect, limited, no_host, rows_of};
use crate::config::{ConnectParams, PINNED, SessionSettings, UNLIMITED};
use crate::error::{Error, ErrorKind, Phase, Result};
use crate::quote;

/// How long a server may take to end a transaction that only read. One that takes longer loses its
/// connection; nothing else hangs on the answer.
const ENDING_TIMEOUT: Duration = Duration::from_secs(2);
/// For so long nothing is told of waiting for a connection.
const WAITS_SILENTLY: Duration = Duration::from_secs(10);
/// For so long a server that was lost is tried last, if its shard has others.
const AVOIDED_FOR: Duration = Duration::from_secs(10);

/// The pools of a cluster.
pub(crate) struct Pools {
    shards: Vec<ShardPool>,
    opening: Opening,
    /// The most connections to one shard.
    size: usize,
    /// Cancel requests and ends of transactions under way.
    endings: TaskTracker,
}

struct ShardPool {
    name: Arc<str>,
    pool: Pool<Servers>,
    permits: Arc<Semaphore>,
}

/// The servers of a shard from which its rows are read.
#[derive(Clone)]
pub(crate) struct Servers {
    /// Tried first, in an order by chance.
    pub(crate) replicas: Vec<Arc<ConnectParams>>,
    /// How far a replica may be behind.
    pub(crate) max_replay_lag: Duration,
    /// Tried then.
    pub(crate) primary: Option<Arc<ConnectParams>>,
    /// Those that were lost in the middle of a query, and when.
    pub(crate) lost: Arc<Mutex<Vec<(Address, Instant)>>>,
}

impl Servers {
    fn params(&self) -> impl Iterator<Item = &Arc<ConnectParams>> {
        self.replicas.iter().chain(&self.primary)
    }

    /// Whether there is a choice.
    fn are_several(&self) -> bool {
        self.params().map(|it| it.endpoints.len()).sum::<usize>() > 1
    }

    /// Has others tried before this one for a while.
    fn avoid(&self, address: &Address) {
        let mut lost = self.lost();
        lost.retain(|(other, _)| other != address);
        lost.push((address.clone(), Instant::now()));
    }

    /// Those to be tried last; none where there is no choice.
    fn avoided(&self) -> Vec<Address> {
        if !self.are_several() {
            return Vec::new();
        }
        let mut lost = self.lost();
        lost.retain(|(_, when)| when.elapsed() < AVOIDED_FOR);
        lost.iter().map(|(address, _)| address.clone()).collect()
    }

    fn lost(&self) -> MutexGuard<'_, Vec<(Address, Instant)>> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<ConnectParams> for Servers {
    /// One server, whatever it is.
    fn from(params: ConnectParams) -> Self {
        Self {
            replicas: Vec::new(),
            max_replay_lag: Duration::ZERO,
            primary: Some(Arc::new(params)),
            lost: Arc::default(),
        }
    }
}

/// A connection, of which is known how far its server may be behind if that is a replica.
async fn connect_checked(
    params: &Arc<ConnectParams>,
    max_replay_lag: Option<Duration>,
    avoided: &[Address],
) -> Result<Connection> {
    let mut connection = connect(params, avoided).await?;
    connection.max_replay_lag = max_replay_lag;
    connection.check_replica().await?;
    Ok(connection)
}

impl Servers {
    async fn connect(&self, avoided: &[Address]) -> Result<Connection> {
        let mut replicas: Vec<_> = self.replicas.iter().collect();
        fastrand::shuffle(&mut replicas);
        let replicas = replicas
            .into_iter()
            .map(|it| (it, Some(self.max_replay_lag)));
        let primary = self.primary.iter().map(|it| (it, None));
        let mut failures: Vec<Error> = Vec::new();
        for (params, replay_lag) in replicas.chain(primary) {
            // Boxed: TLS and login are most of what a query's future would hold, and move, otherwise.
            match Box::pin(connect_checked(params, replay_lag, avoided)).await {
                Ok(connection) => {
                    for failure in &failures {
                        tracing::warn!("passed over: {failure}");
                    }
                    return Ok(connection);
                }
                // As libpq: another server would be asked in vain.
                Err(error) if error.phase() == Some(Phase::Auth) => return Err(error),
                Err(error) => failures.push(error),
            }
        }
        Err(all_of(failures).unwrap_or_else(no_host))
    }
}

impl Manager for Servers {
    type Type = Connection;
    type Error = Error;

    async fn create(&self) -> Result<Connection> {
        let avoided = self.avoided();
        if !avoided.is_empty() {
            match self.connect(&avoided).await {
                Ok(connection) => return Ok(connection),
                Err(error) if error.phase() == Some(Phase::Auth) => return Err(error),
                Err(error) => tracing::debug!(%error, "no other server"),
            }
        }
        self.connect(&[]).await
    }

    async fn recycle(&self, connection: &mut Connection, _: &Metrics) -> RecycleResult<Error> {
        if connection.is_closed() {
            return Err(RecycleError::message("closed"));
        }
        match self.avoided().contains(connection.address()) {
            false => Ok(()),
            true => Err(RecycleError::message("its server was lost")),
        }
    }
}

/// What begins a session: its transaction, and the settings that a query finds. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Opening {
    sql: Arc<str>,
    #[cfg(feature = "datafusion")]
    writing: Arc<str>,
    #[cfg(feature = "datafusion")]
    names: Arc<str>,
    /// What a server is asked that was not asked it yet.
    identity: Option<&'static str>,
    /// The statement that the session will describe first.
    described: Option<Arc<str>>,
}

impl Opening {
    /// # Errors
    /// [`ErrorKind::Config`] for a value that no SQL text can hold.
    pub(crate) fn new(settings: &SessionSettings) -> Result<Self> {
        Ok(Self {
            sql: begin_sql(READ_ONLY, settings)?.into(),
            #[cfg(feature = "datafusion")]
            writing: format!("{}; {GUARD}", begin_sql(READ_WRITE, settings)?).into(),
            #[cfg(feature = "datafusion")]
            names: begin_sql(READ_ONLY, &settings.of_names())?.into(),
            identity: None,
            described: None,
        })
    }

    /// The same, and the server is asked at once to describe this statement, which
    /// [`Session::begin_description`] hands over then.
    pub(crate) fn describing(&self, statement: &str) -> Self {
        Self {
            described: Some(statement.into()),
            ..self.clone()
        }
    }

    /// The same, and each connection is asked once, by this expression, which database it leads to:
    /// [`Session::identity`].
    pub(crate) fn identifying(&self, expression: &'static str) -> Self {
        Self {
            identity: Some(expression),
            ..self.clone()
        }
    }

    /// The same for a session that makes temporary tables, in
    /// [`create_temporary`](Session::create_temporary); in all else it may only read.
    #[cfg(feature = "datafusion")]
    pub(crate) fn writing(&self) -> Self {
        Self {
            sql: self.writing.clone(),
            ..self.clone()
        }
    }

    /// The same, with a statement that has to stand before all others of the transaction.
    #[cfg(feature = "datafusion")]
    pub(crate) fn behind_begin(&self, statement: &str) -> Self {
        let rest = self.sql.strip_prefix(BEGIN).unwrap_or(&self.sql);
        Self {
            sql: format!("{BEGIN}; {statement}{rest}").into(),
            ..self.clone()
        }
    }

    /// By which settings names are looked up: equal where they are the same.
    #[cfg(feature = "datafusion")]
    pub(crate) fn names(&self) -> &Arc<str> {
        &self.names
    }
}

/// The right to a connection of one shard.
pub(crate) struct Permit {
    shard: usize,
    permit: OwnedSemaphorePermit,
}

impl Pools {
    /// Pools of at most `size` connections for each of the shards. Connects to nothing yet.
    pub(crate) fn new(
        shards: impl IntoIterator<Item = (String, Servers)>,
        size: usize,
        settings: &SessionSettings,
    ) -> Result<Self> {
        Self::of(shards, size, Opening::new(settings)?)
    }

    fn of(
        shards: impl IntoIterator<Item = (String, Servers)>,
        size: usize,
        opening: Opening,
    ) -> Result<Self> {
        let shards = shards
            .into_iter()
            .map(|(name, servers)| {
                let pool = Pool::builder(servers)
                    .max_size(size)
                    .build()
                    .map_err(|error| {
                        Error::new(ErrorKind::Config, "cannot make a pool").with_source(error)
                    })?;
                Ok(ShardPool {
                    name: name.into(),
                    pool,
                    permits: Arc::new(Semaphore::new(size)),
                })
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            shards,
            opening,
            size,
            endings: TaskTracker::new(),
        })
    }

    /// Other pools of the same shards, of at most `size` connections for each.
    #[cfg(feature = "datafusion")]
    pub(crate) fn with_size(&self, size: usize) -> Result<Self> {
        let shards = self.shards.iter();
        let shards = shards.map(|it| (it.name.to_string(), it.pool.manager().clone()));
        Self::of(shards, size, self.opening.clone())
    }

    pub(crate) fn name(&self, shard: usize) -> &Arc<str> {
        &self.shards[shard].name
    }

    /// The options that connection strings give to the servers.
    #[cfg(feature = "datafusion")]
    pub(crate) fn options(&self) -> impl Iterator<Item = &str> {
        let servers = self.shards.iter().map(|shard| shard.pool.manager());
        let params = servers.flat_map(Servers::params);
        params.filter_map(|params| params.options.as_deref())
    }

    pub(crate) fn len(&self) -> usize {
        self.shards.len()
    }

    /// Waits for the right to one connection of each of these shards, in their order.
    ///
    /// One after the other and always in the same order, so that two queries that need all shards
    /// never hold some each and wait for the others; connecting, which takes long, comes after and
    /// goes on at once for all.
    pub(crate) async fn permits(
        &self,
        shards: impl IntoIterator<Item = usize>,
    ) -> Result<Vec<Permit>> {
        let mut permits = Vec::new();
        for shard in shards {
            let permit = self.permit(shard).await;
            permits.push(Permit {
                shard,
                permit: permit.map_err(|_| closed())?,
            });
        }
        Ok(permits)
    }

    /// Waits for as long as it takes: who holds the others may be at work for hours. But it may also be a
    /// result that nobody goes on to read, so it is not silent.
    async fn permit(
        &self,
        shard: usize,
    ) -> std::result::Result<OwnedSemaphorePermit, AcquireError> {
        let ShardPool { name, permits, .. } = &self.shards[shard];
        let mut permit = pin!(permits.clone().acquire_owned());
        match timeout(WAITS_SILENTLY, &mut permit).await {
            Ok(permit) => permit,
            Err(_) => {
                tracing::warn!(
                    "waiting for a connection to {name}: all {} are taken. An open result has one until it is \
                     read to its end or closed; more may be allowed (connections per shard)",
                    self.size
                );
                permit.await
            }
        }
    }

    /// The right to one connection of each of these shards, if all can be had at once; `None` where
    /// one would have to wait. Whoever holds a connection already may ask for others in this way,
    /// without regard to the order.
    #[cfg(feature = "datafusion")]
    pub(crate) fn try_permits(
        &self,
        shards: impl IntoIterator<Item = usize>,
    ) -> Option<Vec<Permit>> {
        shards
            .into_iter()
            .map(|shard| {
                let permit = self.shards[shard].permits.clone().try_acquire_owned();
                let permit = permit.ok()?;
                Some(Permit { shard, permit })
            })
            .collect()
    }

    /// How sessions begin unless a query has settings of its own.
    pub(crate) fn opening(&self) -> &Opening {
        &self.opening
    }

    /// A connection of the shard, in a read-only transaction with the pinned settings and those of
    /// the opening.
    ///
    /// # Cancel safety
    /// When dropped before it is ready, the connection is closed.
    pub(crate) async fn session(
        self: &Arc<Self>,
        permit: Permit,
        opening: &Opening,
    ) -> Result<Session> {
        self.session_in(&mut Some(permit), opening).await
    }

    /// The same; the right to it stays where there is no session.
    pub(crate) async fn session_in(
        self: &Arc<Self>,
        slot: &mut Option<Permit>,
        opening: &Opening,
    ) -> Result<Session> {
        let number = slot.as_ref().ok_or_else(closed)?.shard;
        let shard = &self.shards[number];
        let name = |error: Error| error.with_shard(&*shard.name);
        loop {
            let object = shard.pool.get().await.map_err(|error| match error {
                PoolError::Backend(error) => name(error),
                PoolError::Closed => closed(),
                other => name(
                    Error::new(ErrorKind::Connect, "no connection from the pool")
                        .with_phase(Phase::Connect)
                        .with_source(other),
                ),
            })?;
            let used_before = Object::metrics(&object).recycle_count > 0;
            let params = object.params().clone();
            let server = object.server().clone();
            let mut session = Session {
                connection: Some(Lease(Some(object))),
                pools: self.clone(),
                shard: number,
                state: State::Idle,
                asked: None,
                ending: None,
                permit: slot.take().map(|it| it.permit),
                runtime: Handle::current(),
            };
            // A connection that lay in the pool may lead nowhere by now, without a word from the
            // network, so there is a limit on this answer as on that to a login.
            let begun = limited(&params, Phase::Session, async {
                session.begin(opening).await?;
                // A new one was checked a moment ago, and with a replica's there is no description.
                if used_before && session.asked.is_none() {
                    session.begin_query()?.check_replica().await?;
                    session.done();
                }
                Ok(())
            });
            let Err(error) = begun.await else {
                return Ok(session);
            };
            session.discard();
            *slot = session.take_permit();
            // Nothing was asked of it yet, so one that died in the pool is replaced, silently.
            if !used_before || !(error.kind() == ErrorKind::Connect || error.is_retryable()) {
                return Err(name(error).with_server(&server));
            }
        }
    }

    /// Waits until no connection is in use: also not by a query that was dropped, whose cancel
    /// request is through by then.
    pub(crate) async fn idle(&self) {
        for shard in &self.shards {
            let all = u32::try_from(shard.pool.status().max_size).unwrap_or(u32::MAX);
            // An error means that the pool is closed.
            let _ = shard.permits.acquire_many(all).await;
        }
    }

    /// Closes the pools and waits for cancel requests under way.
    pub(crate) async fn close(&self) {
        for shard in &self.shards {
            shard.pool.close();
        }
        // A task that was aborted drops its session, which then asks for a cancel, a little later.
        // When all permits are back, every session has gone.
        for shard in &self.shards {
            let all = u32::try_from(self.size).unwrap_or(u32::MAX);
            let _ = shard.permits.acquire_many(all).await;
            shard.permits.close();
            // One that came back just while the pool was closed is kept by it: it looks for
            // connections by the permits of its own, which come back a moment after them.
            drop(shard.pool.retain(|_, _| false));
        }
        self.endings.close();
        self.endings.wait().await;
    }
}

fn closed() -> Error {
    Error::new(ErrorKind::Config, "the cluster is closed")
}

/// A connection of one shard, within a transaction.
///
/// [`finish`](Self::finish) gives the connection back; what happens without it is told at `drop`.
pub(crate) struct Session {
    connection: Option<Lease>,
    pools: Arc<Pools>,
    shard: usize,
    state: State,
    /// The statement that is being described, and its description.
    asked: Option<(Arc<str>, Asked)>,
    /// The answer to [`END`], where it was sent behind a query.
    ending: Option<Answer>,
    permit: Option<OwnedSemaphorePermit>,
    /// Where the connection is brought to its end, also when the session is dropped elsewhere.
    runtime: Handle,
}

/// A connection taken from the pool, which closes it unless it is given back expressly: one in the
/// middle of a transaction must not get there by accident.
struct Lease(Option<Object<Servers>>);

impl Lease {
    /// Returns the connection to the pool.
    fn give_back(mut self) {
        drop(self.0.take());
    }

    /// The connection, for good.
    fn keep(mut self) -> Option<Connection> {
        self.0.take().map(Object::take)
    }

    fn get(&self) -> Option<&Connection> {
        self.0.as_deref()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        drop(self.0.take().map(Object::take));
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// In a transaction; no query runs.
    Idle,
    /// A query may be running.
    Busy,
}

impl Session {
    /// The name of the shard.
    pub(crate) fn shard(&self) -> &str {
        &self.pools.shards[self.shard].name
    }

    /// The connection, for a query; until [`done`](Self::done) a drop cancels it.
    pub(crate) fn begin_query(&mut self) -> Result<&Connection> {
        self.state = State::Busy;
        self.asked = None;
        self.connection
            .as_ref()
            .and_then(Lease::get)
            .ok_or_else(closed)
    }

    /// The query has ended, well or not: the server waits for the next one.
    pub(crate) fn done(&mut self) {
        self.state = State::Idle;
    }

    /// The connection, for the description of a statement, and that where the session began with it.
    pub(crate) fn begin_description(
        &mut self,
        statement: &str,
    ) -> Result<(&Connection, Option<Asked>)> {
        let asked = self.asked.take();
        let asked = asked.filter(|(of, _)| **of == *statement);
        Ok((self.begin_query()?, asked.map(|(_, asked)| asked)))
    }

    /// An error about what came over the connection, with the server that sent it.
    pub(crate) fn blame(&self, error: Error) -> Error {
        match self.connection.as_ref().and_then(Lease::get) {
            Some(connection)
                if error.kind() == ErrorKind::Decode && !error.is_unrepresentable() =>
            {
                error.with_server(connection.server())
            }
            _ => error,
        }
    }

    /// What the server said of itself, if it was asked and has answered.
    pub(crate) fn identity(&self) -> Option<&str> {
        self.connection.as_ref()?.get()?.identity.as_deref()
    }

    /// The role that was logged in, and its options.
    pub(crate) fn login(&self) -> Option<(&str, Option<&str>)> {
        let params = self.connection.as_ref()?.get()?.params();
        Some((&params.user, params.options.as_deref()))
    }

    /// Begins the transaction; asks in the same message what is not known of the server, and right behind it
    /// for a description, if nothing else is to be asked before that.
    async fn begin(&mut self, opening: &Opening) -> Result<()> {
        let unknown = opening.identity.filter(|_| self.identity().is_none());
        let sql: &str = match unknown {
            Some(expression) => &format!("{}; SELECT {expression}", opening.sql),
            None => &opening.sql,
        };
        let connection = self.begin_query()?;
        let is_checked = connection.max_replay_lag.is_some();
        let statement = opening.described.as_ref().filter(|_| !is_checked);
        let asked = statement.map(|it| &**it);
        let begun = connection.query_and_ask(sql, Phase::Session, asked).await;
        let (rows, asked) = begun.map_err(|error| error.with_shard(self.shard()))?;
        match statement.cloned().zip(asked) {
            // The server may be at it still.
            Some(asked) => self.asked = Some(asked),
            None => self.done(),
        }
        if unknown.is_none() {
            return Ok(());
        }
        let said = rows
            .into_iter()
            .last()
            .and_then(|row| row.into_iter().next());
        if let Some(Lease(Some(connection))) = &mut self.connection {
            connection.identity = Some(said.flatten().unwrap_or_default().into());
        }
        Ok(())
    }

    /// Runs SQL without rows.
    #[cfg(feature = "datafusion")]
    async fn run(&mut self, sql: &str, phase: Phase) -> Result<()> {
        let name = self.pools.shards[self.shard].name.clone();
        let result = self.begin_query()?.query(sql, phase).await;
        self.done();
        result.map(drop).map_err(|error| error.with_shard(&*name))
    }

    /// Runs SQL of our own; the values of its rows in PostgreSQL's text form.
    pub(crate) async fn query(&mut self, sql: &str) -> Result<Vec<Row>> {
        let name = self.pools.shards[self.shard].name.clone();
        let result = self.begin_query()?.query(sql, Phase::Describe).await;
        self.done();
        result.map_err(|error| error.with_shard(&*name))
    }

    /// Ends the transaction, and begins another with a query of its own; its last row.
    pub(crate) async fn begin_again_with(&mut self, opening: &Opening, query: &str) -> Result<Row> {
        let sql = format!("ROLLBACK; {}; {query}", opening.sql);
        let rows = self.begin_query()?.query(&sql, Phase::Session).await;
        self.done();
        let rows = rows.map_err(|error| error.with_shard(self.shard()))?;
        Ok(rows.into_iter().last().unwrap_or_default())
    }

    /// Ends the transaction, and begins another.
    #[cfg(feature = "datafusion")]
    pub(crate) async fn begin_again(&mut self, opening: &Opening) -> Result<()> {
        let sql = format!("ROLLBACK; {}", opening.sql);
        self.run(&sql, Phase::Session).await
    }

    /// Makes a temporary table, in a session that was opened for that.
    #[cfg(feature = "datafusion")]
    pub(crate) async fn create_temporary(&mut self, sql: &str) -> Result<()> {
        let sql = format!("RELEASE SAVEPOINT {SAVEPOINT}; {sql}; {GUARD}");
        self.run(&sql, Phase::Finish).await
    }

    /// Runs SQL without rows; how many it has dealt with.
    #[cfg(feature = "datafusion")]
    pub(crate) async fn execute(&mut self, sql: &str) -> Result<u64> {
        let connection = self.begin_query()?;
        let done = connection.execute(sql).await;
        let done = done.map_err(|error| connection.error(error, Phase::Finish));
        self.done();
        done.map_err(|error| error.with_shard(self.shard()))
    }

    /// Runs a `COPY ... FROM STDIN` of these bytes; returns how many rows the server has taken.
    ///
    /// # Errors
    /// Those of the data, after which the server keeps none of it, and those of the server, which end
    /// the COPY also while there is more to come.
    ///
    /// # Cancel safety
    /// Dropping it drops the data and leaves the session with a statement under way.
    #[cfg(feature = "datafusion")]
    pub(crate) async fn copy_in(
        &mut self,
        sql: &str,
        data: impl Stream<Item = Result<Vec<u8>>>,
    ) -> Result<u64> {
        let connection = self.begin_query()?;
        let (input, answer) = connection.copy_in(sql);
        let feed = async move {
            let mut data = pin!(data);
            while let Some(bytes) = data.next().await {
                if input.send(CopyInput::Data(bytes?)).await.is_err() {
                    // The answer says why.
                    return Ok(());
                }
            }
            let _ = input.send(CopyInput::Done).await;
            Ok(())
        };
        let (fed, answered) = match select(pin!(feed), pin!(answer)).await {
            Either::Left((fed, answer)) => (fed, answer.await),
            Either::Right((answered, _)) => (Ok(()), answered),
        };
        let answered = answered.map_err(|error| connection.error(error, Phase::Finish));
        self.done();
        fed?;
        answered.map_err(|error| error.with_shard(self.shard()))
    }

    /// Has the query that runs be the last one: the server is asked for the end of the transaction behind it,
    /// which then takes no round trip of its own.
    pub(crate) async fn end_behind_query(&mut self) {
        if let Some(connection) = self.connection.as_ref().and_then(Lease::get) {
            // What keeps it from being sent, the query meets as well.
            self.ending = connection.query_behind(END).await.ok();
        }
    }

    /// Ends the transaction and gives the connection back to the pool.
    ///
    /// # Errors
    /// None of its own: the rows were complete before, and a connection that cannot end its
    /// transaction is closed.
    pub(crate) async fn finish(mut self) {
        let ending = self.ending.take();
        if let Ok(connection) = self.begin_query()
            && is_ended(connection, ending).await
            && let Some(lease) = self.connection.take()
        {
            lease.give_back();
        }
        self.discard();
    }

    /// Whether the shard has servers besides this one.
    pub(crate) fn has_other_servers(&self) -> bool {
        self.servers().are_several()
    }

    /// Gives the connection up, whose server is tried last for a while; the right to another one.
    pub(crate) fn lose(mut self) -> Option<Permit> {
        if let Some(connection) = self.connection.as_ref().and_then(Lease::get) {
            self.servers().avoid(connection.address());
        }
        // What may still run is cancelled behind our back.
        self.take_permit()
    }

    fn servers(&self) -> &Servers {
        self.pools.shards[self.shard].pool.manager()
    }

    fn take_permit(&mut self) -> Option<Permit> {
        let shard = self.shard;
        let permit = self.permit.take()?;
        Some(Permit { shard, permit })
    }

    /// Closes the connection instead of giving it back.
    fn discard(&mut self) {
        self.connection = None;
    }
}

impl Drop for Session {
    /// A query that failed leaves its transaction to be ended, and the connection goes back to the
    /// pool. One that was given up is cancelled, and its connection closed: a cancel request that
    /// arrives late must not hit the query of somebody else.
    fn drop(&mut self) {
        let Some(lease) = self.connection.take() else {
            return;
        };
        let permit = self.permit.take();
        let ending = self.ending.take();
        let endings = &self.pools.endings;
        match self.state {
            State::Idle => {
                let end = async move {
                    if let Some(connection) = lease.get()
                        && is_ended(connection, ending).await
                    {
                        lease.give_back();
                    }
                    drop(permit);
                };
                endings.spawn_on(end, &self.runtime);
            }
            State::Busy => {
                let cancel = async move {
                    if let Some(connection) = lease.keep() {
                        connection.canceller().cancel().await;
                    }
                    drop(permit);
                };
                endings.spawn_on(cancel, &self.runtime);
            }
        }
    }
}

/// Ends the transaction, if the server was not asked for that before; whether it has ended in time.
async fn is_ended(connection: &Connection, asked: Option<Answer>) -> bool {
    let end = async {
        let mut answer = match asked {
            Some(answer) => answer,
            None => connection.query_behind(END).await?,
        };
        rows_of(&mut answer).await
    };
    matches!(timeout(ENDING_TIMEOUT, end).await, Ok(Ok(_)))
}

/// What every transaction begins with.
#[cfg(feature = "datafusion")]
const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// Ends the transaction; it only read, so it is rolled back whatever state it is in. Advisory locks
/// that a query took outlive it otherwise.
const END: &str = "ROLLBACK; SELECT pg_catalog.pg_advisory_unlock_all()";

/// Lets a server notice within seconds that we were killed, and end what it does for us; PostgreSQL
/// has that since version 14, on Linux first. An interval that somebody has set stays as it is.
const NOTICE_THE_END: &str = "SELECT pg_catalog.set_config('client_connection_check_interval', '2s', true) \
     WHERE pg_catalog.current_setting('client_connection_check_interval', true) = '0' \
     AND pg_catalog.version() LIKE '%linux%'";

const READ_ONLY: &str = "READ ONLY";
#[cfg(feature = "datafusion")]
const READ_WRITE: &str = "READ WRITE";

/// A transaction that may write can do so only outside this savepoint: what is read-only in a
/// subtransaction ends with it (`src/backend/access/transam/xact.c`), and rows may be written into
/// temporary tables all the same.
#[cfg(feature = "datafusion")]
const GUARD: &str = "SAVEPOINT merganser; SET TRANSACTION READ ONLY";
#[cfg(feature = "datafusion")]
const SAVEPOINT: &str = "merganser";

/// `BEGIN` and the settings that every query finds, as one text of several statements.
///
/// `SET LOCAL` ends with the transaction, so that a pooler in transaction mode may stand between.
fn begin_sql(mode: &str, settings: &SessionSettings) -> Result<String> {
    let mut sql = format!("BEGIN ISOLATION LEVEL REPEATABLE READ {mode}");
    let mut set = |name: &str, value: &str| -> Result<()> {
        let value = quote::literal(value)?;
        // Writing to a String does not fail.
        let _ = write!(sql, "; SET LOCAL {name} = {value}");
        Ok(())
    };
    for (name, value) in PINNED {
        set(name, value)?;
    }
    set("TimeZone", settings.timezone())?;
    for (name, timeout) in [
        ("statement_timeout", settings.statement_timeout()),
        ("lock_timeout", settings.lock_timeout()),
    ] {
        if let Some(timeout) = timeout {
            set(name, &format!("{}ms", timeout.as_millis()))?;
        }
    }
    for (name, value) in settings.settings() {
        set(name, value)?;
    }
    let unset = |name: &&str| !settings.settings().contains_key(*name);
    for name in UNLIMITED.into_iter().filter(unset) {
        // SET fails on a server that does not have it.
        let _ = write!(
            sql,
            "; SELECT pg_catalog.set_config('{name}', '0', true) \
             WHERE pg_catalog.current_setting('{name}', true) IS NOT NULL"
        );
    }
    let _ = write!(sql, "; {NOTICE_THE_END}");
    // A list of schemas, in which quotes and commas have their meaning: set_config reads it as
    // SET does not.
    if let Some(path) = settings.search_path() {
        let path = quote::literal(path)?;
        let _ = write!(
            sql,
            "; SELECT pg_catalog.set_config('search_path', {path}, true)"
        );
    }
    Ok(sql)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_begins_read_only_with_pinned_settings() {
        let settings = SessionSettings::default()
            .with_timezone("O'x")
            .with_search_path("a, \"B c\"")
            .with_statement_timeout(std::time::Duration::from_millis(1500))
            .with_setting("work_mem", "64MB");
        let sql = begin_sql(READ_ONLY, &settings).unwrap();
        assert!(sql.starts_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL "));
        #[cfg(feature = "datafusion")]
        {
            let imports = Opening::new(&settings).unwrap().behind_begin("SELECT 1");
            let rest = sql.strip_prefix(BEGIN).unwrap();
            assert_eq!(&*imports.sql, format!("{BEGIN}; SELECT 1{rest}"));
        }
        for part in [
            "SET LOCAL TimeZone = E'O''x'",
            "SET LOCAL statement_timeout = E'1500ms'",
            "SET LOCAL work_mem = E'64MB'",
            "set_config('transaction_timeout', '0', true) WHERE",
            "set_config('client_connection_check_interval', '2s', true) WHERE",
            "set_config('search_path', E'a, \"B c\"', true)",
        ] {
            assert!(sql.contains(part), "{sql}");
        }
    }
}
