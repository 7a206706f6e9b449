//! Ctrl-C, SIGTERM and SIGHUP: the first one ends the work in good order, the second one at once. SIGXFSZ ends
//! nothing.

use std::fs;
use std::future::pending;
use std::io;
use std::pin::pin;
use std::process;
use std::sync::Arc;
use std::time::Duration;

use signal_hook::consts::SIGXFSZ;
use signal_hook::flag;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::failure::{Failure, Interrupt, Outcome};

/// How long the shards may take to hear that their query was cancelled.
const CLEAN_UP: Duration = Duration::from_secs(2);

/// From here on a write beyond what a file may have (`ulimit -f`) is an error, as on a full disk, and not the end
/// of this process.
pub(crate) fn outlive_full_files() {
    // Nobody looks at the flag: that something takes the signal is enough. What this process starts is to be
    // born with what everything is, so it is not ignored.
    let _ = flag::register(SIGXFSZ, Arc::default());
}

/// The signals that this process takes instead of dying from them.
pub(crate) struct Signals {
    int: Signal,
    term: Signal,
    /// `None` where it is to be ignored: `nohup` lets a query outlive its terminal.
    hup: Option<Signal>,
}

impl Signals {
    /// From here on a signal ends nothing by itself.
    pub(crate) fn listen() -> io::Result<Self> {
        let hup = match is_ignored(SignalKind::hangup()) {
            true => None,
            false => Some(signal(SignalKind::hangup())?),
        };
        Ok(Self {
            hup,
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
        let hangup = async {
            match &mut self.hup {
                Some(hup) => hup.recv().await,
                None => pending().await,
            }
        };
        tokio::select! {
            _ = self.int.recv() => Interrupt::Int,
            _ = self.term.recv() => Interrupt::Term,
            _ = hangup => Interrupt::Hup,
        }
    }
}

/// Whether this process was started with the signal ignored, where the system tells (Linux).
fn is_ignored(signal: SignalKind) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_some_and(|mask| (mask >> (signal.as_raw_value() - 1)) & 1 == 1)
}

/// Waits for the end of some cleaning up, but not for long.
pub(crate) async fn clean_up(work: impl Future<Output = ()>) {
    // Late is as good as never: the servers notice the closed connections by themselves.
    let _ = tokio::time::timeout(CLEAN_UP, work).await;
}
