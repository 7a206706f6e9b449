//! One plain connection to a local server, and its errors.

use std::future::Future;

use tokio::task::JoinSet;
use tokio_postgres::{Client, Config, NoTls};

use crate::error::{Error, ErrorKind, Result};

/// A client together with the task that drives its connection; both end when this is dropped.
pub(super) struct Session {
    pub(super) client: Client,
    _driver: JoinSet<()>,
}

impl Session {
    pub(super) async fn open(config: &Config) -> Result<Self> {
        let (client, connection) = config.connect(NoTls).await.map_err(connect_error)?;
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            // What ends a connection is also told to whoever waits for an answer on it.
            let _ = connection.await;
        });
        Ok(Self {
            client,
            _driver: driver,
        })
    }
}

/// Runs a future to its end on a thread and runtime of its own, so that it may be called from
/// anywhere, also from a task of another runtime.
pub(super) fn block_on<T: Send>(future: impl Future<Output = Result<T>> + Send) -> Result<T> {
    let run = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| failure("cannot start a runtime").with_source(error))?
            .block_on(future)
    };
    std::thread::scope(|scope| scope.spawn(run).join())
        .unwrap_or_else(|_| Err(failure("a connection to the local server panicked")))
}

/// A fault of the machinery around a server: a folder, a process, a port.
pub(super) fn failure(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Connect, message)
}

/// What a server answered to a statement, or that it answers no longer.
pub(super) fn sql_error(error: tokio_postgres::Error) -> Error {
    let Some(db) = error.as_db_error() else {
        return failure("lost the connection to the local server").with_source(error);
    };
    let mut ours =
        Error::new(ErrorKind::Server, db.message()).with_sql_state(db.code().code().to_owned());
    if let Some(hint) = db.hint().or(db.detail()) {
        ours = ours.with_hint(hint);
    }
    ours
}

fn connect_error(error: tokio_postgres::Error) -> Error {
    match error.as_db_error() {
        Some(_) => sql_error(error),
        None => failure("cannot connect to the local server").with_source(error),
    }
}
