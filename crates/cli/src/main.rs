//! The program `merganser`: the library's public API on a command line.
//!
//! ```text
//! args ── plain flags, checked ──► query ──► output: standard output or a file
//!                                  explain
//!                                  partitions, read-partition
//!                                  inspect
//!                                  demo
//! cache ── from run to run
//! interrupt ── signals             progress ── display on a terminal     failure ── exit codes
//! stdout ── if there is one         scheduling ── how the system runs it
//! warnings ── what the library warns of
//! ```
//!
//! Data goes to standard output or to the file, everything else to standard error.

mod args;
mod cache;
mod demo;
mod explain;
mod failure;
mod inspect;
mod interrupt;
mod params;
mod partitions;
mod progress;
mod query;
mod size;
mod statement;
mod stdout;
mod terminal;
mod topology;
mod warnings;

use std::io;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use clap_complete::Shell;
use merganser::{Error, ErrorKind};
use tokio::runtime::Runtime;

use crate::args::{Cli, Command};
use crate::failure::{Failure, Outcome};
use crate::interrupt::Signals;

fn main() -> ExitCode {
    let arguments = args::with_comments(std::env::args_os());
    let command = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli.command,
        Err(error) => return failure::report_usage(error),
    };
    warnings::show();
    match run(command) {
        Ok(code) => code,
        Err(failure) => failure::report(&failure),
    }
}

fn run(command: Command) -> Outcome<ExitCode> {
    if let Command::Completions { shell } = command {
        return completions(shell);
    }
    // Before there are threads. A demonstration starts servers, which would inherit it.
    if matches!(command, Command::Query(_) | Command::ReadPartition(_)) {
        merganser::runtime::schedule_as_batch();
    }
    let runtime = Runtime::new().map_err(|error| system("cannot start the runtime", error))?;
    let outcome = runtime.block_on(async {
        let signals = Signals::listen().map_err(|error| system("cannot take signals", error))?;
        match command {
            Command::Query(args) => query::run(*args, signals).await,
            Command::Explain(args) => explain::run(*args, signals).await,
            Command::Partitions(args) => partitions::cut(*args, signals).await,
            Command::ReadPartition(args) => partitions::read(*args, signals).await,
            Command::Inspect(args) => inspect::run(args, signals).await,
            Command::Demo(args) => demo::run(args, signals).await,
            Command::Completions { shell } => completions(shell),
        }
    });
    // A thread that waits for the reader of a pipe, or for a key at the terminal, must not keep us.
    runtime.shutdown_background();
    outcome
}

fn completions(shell: Shell) -> Outcome<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "merganser", &mut script);
    stdout::write(&script)?;
    Ok(ExitCode::SUCCESS)
}

/// The operating system gave us too little to begin with.
fn system(message: &str, error: io::Error) -> Failure {
    Error::new(ErrorKind::Config, message)
        .with_source(error)
        .into()
}
