//! Ctrl-C and SIGTERM: the first one ends the work in good order, the second one at once.

use std::io;
use std::pin::pin;
use std::process;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::failure::{Failure, Interrupt, Outcome};

/// How long the shards may take to hear that their query was cancelled.
const CLEAN_UP: Duration = Duration::from_secs(2);

/// The signals that this process takes instead of dying from them.
pub(crate) struct Signals {
    int: Signal,
    term: Signal,
}

impl Signals {
    /// From here on a signal ends nothing by itself.
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self {
            int: signal(SignalKind::interrupt())?,
            term: signal(SignalKind::terminate())?,
        })
    }

    /// Does the work until it is done or a signal comes; then the work is dropped, which cancels
    /// queries and removes temporary files.
    ///
    /// A second signal ends the process at once, whatever it is doing.
    pub(crate) async fn guard<T>(mut self, work: impl Future<Output = Outcome<T>>) -> Outcome<T> {
        let mut work = pin!(work);
        let interrupt = tokio::select! {
            done = &mut work => return done,
            interrupt = self.next() => interrupt,
        };
        // On a task of its own, because dropping the work may block this one: it ends servers and
        // removes folders. It lives for the rest of the process, as the handlers do.
        tokio::spawn(async move {
            let again = self.next().await;
            process::exit(again.exit_code().into());
        });
        Err(Failure::Interrupted(interrupt))
    }

    async fn next(&mut self) -> Interrupt {
        tokio::select! {
            _ = self.int.recv() => Interrupt::Int,
            _ = self.term.recv() => Interrupt::Term,
        }
    }
}

/// Waits for the end of some cleaning up, but not for long.
pub(crate) async fn clean_up(work: impl Future<Output = ()>) {
    // Late is as good as never: the servers notice the closed connections by themselves.
    let _ = tokio::time::timeout(CLEAN_UP, work).await;
}
