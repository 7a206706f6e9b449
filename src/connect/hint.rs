//! What to do about errors that servers and poolers give without a hint of their own.

use crate::quote::readable;

/// The cure of an error with this SQLSTATE and message, for this role.
pub(super) fn hint(code: &str, message: &str, user: &str) -> Option<String> {
    let hint = match code {
        "42501" => return Some(rights(message, user)),
        // Also PgBouncer's own errors, which all have this code.
        "08P01" if message.contains("statement pooling") => STATEMENT_MODE,
        "08P01" if message.contains("startup parameter") => STARTUP_PARAMETER,
        "08P01" => POOLER,
        "42P05" | "26000" => PREPARED,
        "25P01" => STATEMENT_MODE,
        "25P03" => IDLE,
        "53100" => DISK_FULL,
        "53400" if message.contains("temp_file_limit") => TEMPORARY_FILES,
        "55P03" => LOCKED,
        // Transactions of ours only read: nothing else of a server ends them so.
        "40001" => STANDBY,
        _ => return None,
    };
    Some(hint.to_owned())
}

const STATEMENT_MODE: &str = "every query is a transaction, which a pooler in statement mode breaks \
     up: set pool_mode = transaction, or session, for this database, or name the server itself in \
     the shard's URL";
const STARTUP_PARAMETER: &str = "a pooler does not take every parameter: add this one to \
     ignore_startup_parameters in its settings, or leave `options` out of the shard's URL";
const POOLER: &str = "a pooler between here and the server may have said this: see its log; \
     pool_mode has to be transaction or session";
const PREPARED: &str = "a pooler that mixes up the prepared statements of its clients may stand \
     between here and the server; merganser prepares none under a name";
const IDLE: &str = "idle_in_transaction_session_timeout of the role or the server ended a \
     transaction that waited for other shards: set it to \"0\" in [session.settings]";
const DISK_FULL: &str = "make room on the server, or let the query ask for less there; what it wrote is \
     gone with its transaction. Rows of other steps take disk where they are handed over as temporary \
     tables: --finish-bytes bounds them";
const TEMPORARY_FILES: &str = "sorts and joins of the query take more disk than temp_file_limit of the \
     role or the server allows: have it raised, ask for less, or let sorts use more memory: work_mem in \
     [session.settings]";
const LOCKED: &str = "another session holds a lock on what the query reads, such as ALTER TABLE \
     takes: wait for its end; lock_timeout, in [session] or on the server, sets how long the query \
     waits";
const STANDBY: &str = "a standby ends queries on rows that it has to remove: ask again, or ask its \
     primary; max_standby_streaming_delay and hot_standby_feedback on the servers avoid it";

/// The right that is missing, as GRANT says it; the message is "permission denied for KIND NAME"
/// (`aclcheck_error` in `src/backend/catalog/aclchk.c`).
fn rights(message: &str, user: &str) -> String {
    let role = readable(user);
    let object = message
        .strip_prefix("permission denied for ")
        .and_then(|rest| rest.split_once(' '));
    let (right, kind, name) = match object {
        Some(("table" | "view" | "relation", name)) => ("SELECT ON", "", name),
        Some(("materialized", rest)) => ("SELECT ON", "", rest.trim_start_matches("view ")),
        Some(("foreign", rest)) if rest.starts_with("table ") => {
            ("SELECT ON", "", rest.trim_start_matches("table "))
        }
        Some(("sequence", name)) => ("SELECT ON", "SEQUENCE ", name),
        Some(("schema", name)) => ("USAGE ON", "SCHEMA ", name),
        Some(("function", name)) => ("EXECUTE ON", "FUNCTION ", name),
        Some(("type", name)) => ("USAGE ON", "TYPE ", name),
        _ => {
            return format!("the role {role} lacks a right: have it granted on every shard");
        }
    };
    format!(
        "the role {role} may not use it: GRANT {right} {kind}{} TO {role}, on every shard",
        readable(name)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_right_is_said_as_a_grant() {
        for (message, grant) in [
            (
                "permission denied for table orders",
                "GRANT SELECT ON orders TO app",
            ),
            (
                "permission denied for view V",
                "GRANT SELECT ON \"V\" TO app",
            ),
            (
                "permission denied for materialized view m",
                "GRANT SELECT ON m TO app",
            ),
            (
                "permission denied for schema sales",
                "GRANT USAGE ON SCHEMA sales TO app",
            ),
            (
                "permission denied for function f",
                "GRANT EXECUTE ON FUNCTION f TO app",
            ),
            ("keine Berechtigung", "the role app lacks a right"),
        ] {
            let hint = hint("42501", message, "app").unwrap();
            assert!(hint.contains(grant), "{hint}");
        }
        let hint = hint("42501", "permission denied for table t", "App").unwrap();
        assert!(hint.contains("TO \"App\""), "{hint}");
    }

    #[test]
    fn what_poolers_say_names_the_pooler() {
        let said = "transaction blocks not allowed in statement pooling mode";
        assert_eq!(hint("08P01", said, "u").as_deref(), Some(STATEMENT_MODE));
        for code in ["08P01", "42P05", "26000"] {
            assert!(hint(code, "m", "u").unwrap().contains("pooler"), "{code}");
        }
        assert!(hint("55P03", "m", "u").unwrap().contains("lock_timeout"));
        assert!(hint("40001", "m", "u").unwrap().contains("standby"));
        assert!(hint("53100", "m", "u").unwrap().contains("--finish-bytes"));
        assert_eq!(hint("42P01", "m", "u"), None);
    }
}
