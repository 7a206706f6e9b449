//! How a command ends when it does not succeed: what is printed, and the exit code.

use std::env;
use std::error::Error as StdError;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue};
use merganser::{Error, ErrorKind, Phase};

use crate::stdout;

/// The result of a command.
pub(crate) type Outcome<T> = Result<T, Failure>;

/// Why a command did not succeed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Something went wrong.
    Error(Error),
    /// The user had enough.
    Interrupted(Interrupt),
}

/// The signal that ended the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interrupt {
    /// Ctrl-C.
    Int,
    /// What `kill`, systemd and container runtimes send.
    Term,
    /// The terminal was closed, or its connection lost.
    Hup,
}

impl Interrupt {
    /// What a shell reports for a program that this signal ended: 128 and the signal's number.
    pub(crate) fn exit_code(self) -> u8 {
        match self {
            Self::Int => 130,
            Self::Term => 143,
            Self::Hup => 129,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// Prints what happened to standard error, and gives the exit code.
pub(crate) fn report(failure: &Failure) -> ExitCode {
    match failure {
        Failure::Interrupted(interrupt) => {
            complain("merganser: interrupted\n");
            interrupt.exit_code().into()
        }
        // `merganser ... | head` is done when head is; psql says nothing either.
        Failure::Error(error) if is_closed_pipe(error) => ExitCode::SUCCESS,
        Failure::Error(error) => {
            complain(&describe(error));
            exit_code(error).into()
        }
    }
}

/// For what is lost behind the first rows; before them, it has been.
const RUN_AGAIN: &str = "run it again: what ended it may have passed";

/// Prints the help, or what is wrong with the flags, as clap words it.
pub(crate) fn report_usage(error: clap::Error) -> ExitCode {
    let error = with_tip(error);
    let text = error.render().to_string();
    let redacted = redact(&text, env::args());
    if redacted == text {
        if let (false, Err(closed)) = (error.use_stderr(), stdout::check()) {
            return report(&closed.into());
        }
        // clap knows the colours, and that help goes to standard output.
        if let (false, Err(failed)) = (error.use_stderr(), error.print()) {
            return report(&stdout::unwritable(failed).into());
        }
    } else {
        complain(&redacted);
    }
    u8::try_from(error.exit_code()).unwrap_or(2).into()
}

/// Tells who gives SQL where clap takes words for flags, or for subcommands, what to do.
fn with_tip(mut error: clap::Error) -> clap::Error {
    let string = |kind| match error.get(kind) {
        Some(ContextValue::String(value)) => Some(value.as_str()),
        _ => None,
    };
    let usage = error.get(ContextKind::Usage).map(ToString::to_string);
    let takes_sql = usage.is_some_and(|usage| usage.contains("[SQL]"));
    let is_sql = |text: &str| {
        let mut words = text.split_whitespace();
        let first = words.next().unwrap_or_default().to_ascii_lowercase();
        ["select", "with", "values", "table", "explain"].contains(&&*first)
    };
    let tip = match error.kind() {
        clap::error::ErrorKind::InvalidSubcommand
            if string(ContextKind::InvalidSubcommand).is_some_and(is_sql) =>
        {
            "SQL goes to a subcommand, in quotes: merganser query 'SELECT ..'"
        }
        clap::error::ErrorKind::UnknownArgument
            if takes_sql
                && string(ContextKind::InvalidArg).is_some_and(|word| !word.starts_with('-')) =>
        {
            "SQL is one argument, in quotes: merganser query 'SELECT ..'"
        }
        _ => return error,
    };
    let tips = ContextValue::StyledStrs(vec![tip.into()]);
    error.insert(ContextKind::Suggested, tips);
    error
}

/// Writes to standard error; when that is closed there is nobody left to tell.
pub(crate) fn complain(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// The documented exit code of each kind of error; `merganser --help` lists them.
pub(crate) fn exit_code(error: &Error) -> u8 {
    match error.kind() {
        ErrorKind::Server if is_wrong_sql(error) => 2,
        ErrorKind::Server if is_loss(error) => 4,
        ErrorKind::Config | ErrorKind::Syntax | ErrorKind::Usage => 2,
        ErrorKind::Unsupported | ErrorKind::Limit => 3,
        ErrorKind::Connect => 4,
        ErrorKind::Timeout => 5,
        ErrorKind::Cancelled => 130,
        // Server, Decode, Execute, Export, Internal, Mismatch, and what later versions of the library add.
        _ => 1,
    }
}

/// Whether a server refused the text before anything ran: SQLSTATE class 42 (syntax, names, types),
/// or a literal that its type does not take (22). A missing right (42501) is no fault of the text.
fn is_wrong_sql(error: &Error) -> bool {
    let code = error.sql_state().unwrap_or_default();
    error.phase() == Some(Phase::Describe)
        && (code.starts_with("42") || code.starts_with("22"))
        && code != "42501"
}

/// Whether a server took its leave, or takes nobody any more: what may pass, and is no conflict between
/// transactions (SQLSTATE class 40).
fn is_loss(error: &Error) -> bool {
    let code = error.sql_state().unwrap_or_default();
    error.is_retryable() && !code.starts_with("40")
}

/// Whether the reader of our output has gone. A connection to a server that broke is no such thing.
fn is_closed_pipe(error: &Error) -> bool {
    error.kind() == ErrorKind::Export
        && causes(error).any(|cause| {
            cause
                .downcast_ref::<io::Error>()
                .is_some_and(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
        })
}

/// The error, what caused it, and what to do about it, a line for each.
fn describe(error: &Error) -> String {
    let mut said = printable(&error.to_string());
    let mut text = format!("merganser: error: {said}\n");
    for cause in causes(error) {
        let cause = printable(&cause.to_string());
        // Some errors repeat the one beneath them.
        if !said.contains(&cause) {
            let _ = writeln!(text, "  caused by: {cause}");
            said.push_str(&cause);
        }
    }
    let hint = error.hint().map(printable);
    let hint = hint.or_else(|| error.is_retryable().then(|| RUN_AGAIN.to_owned()));
    if let Some(hint) = hint {
        let _ = writeln!(text, "  hint: {hint}");
    }
    text
}

fn causes(error: &Error) -> impl Iterator<Item = &(dyn StdError + 'static)> {
    std::iter::successors(error.source(), |&cause| cause.source())
}

/// A text of a server, or of a file, as lines that cannot move the cursor of a terminal.
pub(crate) fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for c in text.trim_end().chars() {
        match c {
            '\n' => printable.push_str("\n    "),
            '\t' => printable.push('\t'),
            // Also the marks that reverse the direction of what follows.
            c if c.is_control()
                || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') =>
            {
                printable.extend(c.escape_default());
            }
            c => printable.push(c),
        }
    }
    printable
}

/// Takes connection strings, which may hold a password, out of a message about the flags: clap
/// repeats an argument that it did not expect.
fn redact(text: &str, arguments: impl Iterator<Item = String>) -> String {
    let mut text = text.to_owned();
    for argument in arguments {
        let value = argument
            .strip_prefix("--")
            .map_or(argument.as_str(), |flag| {
                flag.split_once('=').map_or("", |(_, value)| value)
            });
        if value.contains("://") || value.contains("password") {
            text = text.replace(value, "***");
        }
    }
    text
}

/// Whether standard error is a terminal.
pub(crate) fn is_watched() -> bool {
    io::stderr().is_terminal()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_told_with_its_causes_and_its_cure() {
        let io = io::Error::other("no route\x1b[2J");
        let error = Error::new(ErrorKind::Connect, "cannot reach db0:5432\nor db1")
            .with_shard("s1")
            .with_phase(Phase::Connect)
            .with_source(io)
            .with_hint("is it running?");
        assert_eq!(
            describe(&error),
            "merganser: error: shard \"s1\": connect: cannot reach db0:5432\n    or db1\n  \
             caused by: no route\\u{1b}[2J\n  hint: is it running?\n"
        );
    }

    #[test]
    fn sql_that_a_server_does_not_understand_is_wrong_use() {
        let error = |code: &str, phase| {
            let error = Error::new(ErrorKind::Server, "m").with_sql_state(code);
            exit_code(&error.with_phase(phase))
        };
        assert_eq!(error("42601", Phase::Describe), 2);
        assert_eq!(error("42P01", Phase::Describe), 2);
        assert_eq!(error("22P02", Phase::Describe), 2);
        assert_eq!(error("42501", Phase::Describe), 1);
        assert_eq!(error("57014", Phase::Describe), 1);
        assert_eq!(error("22012", Phase::Stream), 1);
        assert_eq!(exit_code(&Error::new(ErrorKind::Unsupported, "m")), 3);
    }

    #[test]
    fn a_cause_that_was_said_already_is_not_repeated() {
        let error =
            Error::new(ErrorKind::Server, "db error: gone").with_source(io::Error::other("gone"));
        assert_eq!(describe(&error), "merganser: error: db error: gone\n");
    }

    #[test]
    fn only_our_output_can_be_a_closed_pipe() {
        let broken = || io::Error::from(io::ErrorKind::BrokenPipe);
        let error = |kind| Error::new(kind, "m").with_source(broken());
        assert!(is_closed_pipe(&error(ErrorKind::Export)));
        assert!(!is_closed_pipe(&error(ErrorKind::Connect)));
        assert!(!is_closed_pipe(&Error::new(ErrorKind::Export, "m")));
    }

    #[test]
    fn connection_strings_are_taken_out_of_usage_errors() {
        let arguments = |text: &str| vec![text.to_owned()].into_iter();
        for argument in [
            "postgresql://u:canary@h/d",
            "--sharp=postgresql://u:canary@h/d",
            "host=h password=canary",
        ] {
            let message = format!("error: unexpected argument '{argument}' found");
            let redacted = redact(&message, arguments(argument));
            assert!(!redacted.contains("canary"), "{redacted}");
            assert!(redacted.contains("***"), "{redacted}");
        }
        assert_eq!(redact("unexpected 'x'", arguments("x")), "unexpected 'x'");
    }
}
