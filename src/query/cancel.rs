//! Ending a query from elsewhere.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use crate::error::{Error, ErrorKind};

/// Ends a query from another task or thread, also while a blocking call waits for it.
///
/// Made by `cancel_handle` of [`FanOut`](crate::FanOut), `Query` and [`Cursor`](crate::Cursor).
/// Clones end the same query.
///
/// ```no_run
/// # fn example(cluster: merganser::blocking::Cluster) -> merganser::Result<()> {
/// let query = cluster.fan_out("select pg_sleep(3600)");
/// let handle = query.cancel_handle();
/// std::thread::spawn(move || {
///     std::thread::sleep(std::time::Duration::from_secs(1));
///     handle.cancel();
/// });
/// assert_eq!(query.collect().unwrap_err().kind(), merganser::ErrorKind::Cancelled);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default)]
pub struct CancelHandle(Arc<Mutex<CancellationToken>>);

impl CancelHandle {
    /// Ends the query: its call or its stream gives an error of kind [`ErrorKind::Cancelled`], and
    /// every shard is asked to stop, whether or not somebody waits for rows.
    ///
    /// Does not wait for any of that. A query that is planned or described is ended too, and one
    /// that has not begun fails when it does. After the end of the query, or when called again, this
    /// does nothing.
    pub fn cancel(&self) {
        self.token().cancel();
    }

    /// From now on this handle, and all clones of it, end that query.
    pub(crate) fn follow(&self, query: &Self) {
        let token = query.token().clone();
        *self.token() = token;
    }

    /// Waits until the query is cancelled.
    pub(crate) async fn cancelled(&self) -> Error {
        let token = self.token().clone();
        token.cancelled().await;
        Error::new(ErrorKind::Cancelled, "the query was cancelled")
    }

    fn token(&self) -> MutexGuard<'_, CancellationToken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
