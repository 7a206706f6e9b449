//! Ctrl-C and SIGTERM: the first one ends the work in good order, the second one at once.

use std::future::pending;
use std::process;

use merganser::{Error, ErrorKind};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// What a shell reports for a program that was interrupted.
pub const EXIT_CODE: u8 = 130;

/// Whether the process was told to end, which may be asked as often as there is work to end.
#[derive(Debug)]
pub struct Interruption(watch::Receiver<bool>);

impl Interruption {
    /// From here on Ctrl-C, and what `kill` sends, end nothing by themselves; but a second one ends the
    /// process, whatever it is doing. Needs a runtime.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] where the system gives us no signals.
    pub fn listen() -> Result<Self, Error> {
        let listen = |kind| {
            signal(kind).map_err(|error| {
                Error::new(ErrorKind::Config, "cannot take signals").with_source(error)
            })
        };
        let mut int = listen(SignalKind::interrupt())?;
        let mut term = listen(SignalKind::terminate())?;
        let (tell, told) = watch::channel(false);
        // It lives for the rest of the process, as the handlers do.
        tokio::spawn(async move {
            either(&mut int, &mut term).await;
            tell.send_replace(true);
            either(&mut int, &mut term).await;
            process::exit(EXIT_CODE.into());
        });
        Ok(Self(told))
    }

    /// Waits until the process is told to end; what its work ends with then.
    pub(crate) async fn told(&self) -> Error {
        let mut told = self.0.clone();
        if told.wait_for(|is_told| *is_told).await.is_err() {
            // Whoever would tell ended with the runtime.
            pending::<()>().await;
        }
        Error::new(ErrorKind::Cancelled, "interrupted")
    }

    /// Does work until it is done or the process is told to end, which drops it.
    pub(crate) async fn guard<T>(
        &self,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        tokio::select! {
            biased;
            done = work => done,
            error = self.told() => Err(error),
        }
    }
}

async fn either(int: &mut Signal, term: &mut Signal) {
    tokio::select! {
        _ = int.recv() => {}
        _ = term.recv() => {}
    }
}
