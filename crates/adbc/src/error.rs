//! The library's errors as ADBC's: a status, a SQLSTATE, and a text that says all.

use std::error::Error as _;
use std::ffi::c_char;

use adbc_core::error::{Error, Status};
use merganser::{ErrorKind, Phase};

/// An error of the driver's own.
pub(crate) fn refusal(status: Status, message: impl Into<String>) -> Error {
    Error::with_message_and_status(without_nul(message.into()), status)
}

/// An error of the library. Its details have the keys `kind`, and where there is one, `shard`,
/// `phase` and `hint`.
pub(crate) fn from_library(error: merganser::Error) -> Error {
    let phase = error.phase().map(|phase| phase.to_string());
    let kind = format!("{:?}", error.kind());
    let details = [
        ("kind", Some(kind.as_str())),
        ("shard", error.shard()),
        ("phase", phase.as_deref()),
        ("hint", error.hint()),
    ];
    let details = details.into_iter().filter_map(|(key, value)| {
        let value = value?.as_bytes().to_vec();
        Some((key.to_owned(), value))
    });
    Error {
        sqlstate: sqlstate(&error),
        details: Some(details.collect()),
        ..refusal(status(&error), text(&error))
    }
}

/// Everything that there is to say, because of an Arrow stream's error only a text arrives: shard,
/// phase, message, SQLSTATE, what lies beneath, and the hint on a line of its own.
pub(crate) fn text(error: &merganser::Error) -> String {
    let mut text = error.to_string();
    let mut beneath = error.source();
    while let Some(source) = beneath {
        text += &format!(": {source}");
        beneath = source.source();
    }
    if let Some(hint) = error.hint() {
        text += &format!("\nhint: {hint}");
    }
    without_nul(text)
}

/// C's texts end at a NUL, and arrow-rs panics on one within.
fn without_nul(text: String) -> String {
    match text.contains('\0') {
        true => text.replace('\0', "\u{fffd}"),
        false => text,
    }
}

fn sqlstate(error: &merganser::Error) -> [c_char; 5] {
    let mut state = [0; 5];
    let code = error.sql_state().unwrap_or_default();
    for (place, byte) in state.iter_mut().zip(code.bytes()) {
        // An `i8` on some machines, a `u8` on others; SQLSTATEs are ASCII.
        *place = byte as c_char;
    }
    state
}

/// What ADBC calls it.
pub(crate) fn status(error: &merganser::Error) -> Status {
    match error.kind() {
        ErrorKind::Cancelled => Status::Cancelled,
        ErrorKind::Timeout => Status::Timeout,
        ErrorKind::Unsupported => Status::NotImplemented,
        kind => match error.sql_state() {
            Some(code) => status_of_sqlstate(code),
            None => status_of_kind(kind, error.phase()),
        },
    }
}

/// By class, and where it says more, by code; see PostgreSQL's `src/backend/utils/errcodes.txt`.
fn status_of_sqlstate(code: &str) -> Status {
    match code {
        "57014" => Status::Cancelled,
        "42501" => Status::Unauthorized,
        // An undefined table or schema; an unknown database.
        "42P01" | "3F000" | "3D000" => Status::NotFound,
        // A write in a read-only transaction.
        "25006" => Status::NotImplemented,
        _ => match code.get(..2).unwrap_or_default() {
            "0A" => Status::NotImplemented,
            // Lost connections, resources, operators, the system beneath.
            "08" | "53" | "57" | "58" => Status::IO,
            "22" => Status::InvalidData,
            "23" => Status::Integrity,
            "28" => Status::Unauthenticated,
            "42" | "54" => Status::InvalidArguments,
            _ => Status::Internal,
        },
    }
}

fn status_of_kind(kind: ErrorKind, phase: Option<Phase>) -> Status {
    match kind {
        ErrorKind::Connect if phase == Some(Phase::Auth) => Status::Unauthenticated,
        ErrorKind::Connect | ErrorKind::Export => Status::IO,
        ErrorKind::Config | ErrorKind::Syntax => Status::InvalidArguments,
        ErrorKind::Decode | ErrorKind::Execute | ErrorKind::Mismatch => Status::InvalidData,
        ErrorKind::Limit | ErrorKind::Usage => Status::InvalidState,
        ErrorKind::Internal | ErrorKind::Server => Status::Internal,
        _ => Status::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_where_what_and_how_to_cure_it() {
        let error = merganser::Error::new(ErrorKind::Server, "relation \"t\0\" does not exist")
            .with_shard("s1")
            .with_phase(Phase::Describe)
            .with_sql_state("42P01")
            .with_source(std::io::Error::other("below"))
            .with_hint("create it");
        let error = from_library(error);
        assert_eq!(
            error.message,
            "shard \"s1\": describe: relation \"t\u{fffd}\" does not exist (SQLSTATE 42P01): below\n\
             hint: create it"
        );
        assert_eq!(error.status, Status::NotFound);
        assert_eq!(error.sqlstate.map(|c| c as u8), *b"42P01");
        let details = error.details.unwrap();
        let details: Vec<_> = details
            .iter()
            .map(|(key, value)| (key.as_str(), std::str::from_utf8(value).unwrap()))
            .collect();
        let expected = [
            ("kind", "Server"),
            ("shard", "s1"),
            ("phase", "describe"),
            ("hint", "create it"),
        ];
        assert_eq!(details, expected);
    }

    #[test]
    fn a_status_says_who_has_to_act() {
        let server = |code: &str| {
            status(&merganser::Error::new(ErrorKind::Server, "m").with_sql_state(code))
        };
        assert_eq!(server("42601"), Status::InvalidArguments);
        assert_eq!(server("22012"), Status::InvalidData);
        assert_eq!(server("57P01"), Status::IO);
        assert_eq!(server("XX000"), Status::Internal);
        let other = |kind| status(&merganser::Error::new(kind, "m"));
        assert_eq!(other(ErrorKind::Cancelled), Status::Cancelled);
        assert_eq!(other(ErrorKind::Config), Status::InvalidArguments);
        assert_eq!(other(ErrorKind::Connect), Status::IO);
        let login = merganser::Error::new(ErrorKind::Connect, "m").with_phase(Phase::Auth);
        assert_eq!(status(&login), Status::Unauthenticated);
        // What the planner refuses is not supported, whatever a server said of it.
        let refused = merganser::Error::new(ErrorKind::Unsupported, "m").with_sql_state("42883");
        assert_eq!(status(&refused), Status::NotImplemented);
    }
}
