//! The connection parameters of libpq, and what becomes of each.

use super::invalid;
use crate::error::{Error, Result};

/// One parameter of a connection string.
pub(super) struct Keyword {
    pub(super) name: &'static str,
    /// The environment variable that gives its default.
    pub(super) variable: Option<&'static str>,
    support: Support,
}

enum Support {
    /// Has its effect.
    Used,
    /// Read and dropped: the connection is as safe, and means the same, without it.
    Ignored,
    /// Only these values describe what we do anyway; to drop any other would change the security
    /// or the meaning of the connection.
    Only(&'static [&'static str]),
}

use Support::{Ignored, Only, Used};

/// All of libpq's keywords, up to PostgreSQL 18 (`PQconninfoOptions` in
/// `src/interfaces/libpq/fe-connect.c`), sorted by name.
///
/// To support one more, change its last column to `Used` and read it in `params.rs`.
pub(super) static KEYWORDS: [Keyword; 53] = [
    keyword("application_name", Some("PGAPPNAME"), Used),
    keyword("authtype", None, Ignored),
    keyword("channel_binding", Some("PGCHANNELBINDING"), Used),
    // Rows always come as UTF-8, because Arrow's strings are.
    keyword(
        "client_encoding",
        Some("PGCLIENTENCODING"),
        Only(&["UTF8", "utf8", "UTF-8", "utf-8"]),
    ),
    keyword("connect_timeout", Some("PGCONNECT_TIMEOUT"), Used),
    keyword("dbname", Some("PGDATABASE"), Used),
    keyword("fallback_application_name", None, Used),
    keyword("gssdelegation", Some("PGGSSDELEGATION"), Ignored),
    keyword(
        "gssencmode",
        Some("PGGSSENCMODE"),
        Only(&["prefer", "disable"]),
    ),
    keyword("gsslib", Some("PGGSSLIB"), Ignored),
    keyword("host", Some("PGHOST"), Used),
    keyword("hostaddr", Some("PGHOSTADDR"), Used),
    keyword("keepalives", None, Used),
    keyword("keepalives_count", None, Used),
    keyword("keepalives_idle", None, Used),
    keyword("keepalives_interval", None, Used),
    keyword("krbsrvname", Some("PGKRBSRVNAME"), Ignored),
    keyword("load_balance_hosts", Some("PGLOADBALANCEHOSTS"), Used),
    keyword(
        "max_protocol_version",
        Some("PGMAXPROTOCOLVERSION"),
        Ignored,
    ),
    keyword(
        "min_protocol_version",
        Some("PGMINPROTOCOLVERSION"),
        Only(&["3.0"]),
    ),
    keyword("oauth_client_id", None, Only(&[])),
    keyword("oauth_client_secret", None, Only(&[])),
    keyword("oauth_issuer", None, Only(&[])),
    keyword("oauth_scope", None, Only(&[])),
    keyword("options", Some("PGOPTIONS"), Used),
    keyword("passfile", Some("PGPASSFILE"), Used),
    keyword("password", Some("PGPASSWORD"), Used),
    keyword("port", Some("PGPORT"), Used),
    keyword("replication", None, Only(&["false", "off", "no", "0"])),
    keyword("require_auth", Some("PGREQUIREAUTH"), Used),
    keyword("requirepeer", Some("PGREQUIREPEER"), Only(&[])),
    keyword("scram_client_key", None, Only(&[])),
    keyword("scram_server_key", None, Only(&[])),
    keyword("service", Some("PGSERVICE"), Used),
    keyword("servicefile", Some("PGSERVICEFILE"), Used),
    // TLS runs on rustls: TLS 1.2 and 1.3 only, never compressed.
    keyword(
        "ssl_max_protocol_version",
        Some("PGSSLMAXPROTOCOLVERSION"),
        Used,
    ),
    keyword(
        "ssl_min_protocol_version",
        Some("PGSSLMINPROTOCOLVERSION"),
        Used,
    ),
    keyword("sslcert", Some("PGSSLCERT"), Used),
    keyword("sslcertmode", Some("PGSSLCERTMODE"), Used),
    keyword("sslcompression", Some("PGSSLCOMPRESSION"), Ignored),
    keyword("sslcrl", Some("PGSSLCRL"), Used),
    keyword("sslcrldir", Some("PGSSLCRLDIR"), Used),
    keyword("sslkey", Some("PGSSLKEY"), Used),
    keyword("sslkeylogfile", None, Ignored),
    keyword("sslmode", Some("PGSSLMODE"), Used),
    keyword("sslnegotiation", Some("PGSSLNEGOTIATION"), Used),
    keyword("sslpassword", None, Used),
    keyword("sslrootcert", Some("PGSSLROOTCERT"), Used),
    keyword("sslsni", Some("PGSSLSNI"), Used),
    keyword("target_session_attrs", Some("PGTARGETSESSIONATTRS"), Used),
    keyword("tcp_user_timeout", None, Used),
    keyword("tty", None, Ignored),
    keyword("user", Some("PGUSER"), Used),
];

const fn keyword(name: &'static str, variable: Option<&'static str>, support: Support) -> Keyword {
    Keyword {
        name,
        variable,
        support,
    }
}

impl Keyword {
    pub(super) fn find(name: &str) -> Option<&'static Self> {
        KEYWORDS.iter().find(|keyword| keyword.name == name)
    }

    /// Refuses a value that must not be dropped. The value is not shown: a misplaced quote can put
    /// a password into any parameter.
    pub(super) fn check(&self, value: &str) -> Result<()> {
        match self.support {
            Used | Ignored => Ok(()),
            Only(values) if values.contains(&value) => Ok(()),
            Only([]) => Err(invalid(format!(
                "connection option {:?} is not supported yet, and to ignore it would change the \
                 security or the meaning of the connection",
                self.name
            ))
            .with_hint(self.remedy())),
            Only(values) => Err(invalid(format!(
                "this value of connection option {:?} is not supported yet: expected {}",
                self.name,
                values.join(" or ")
            ))
            .with_hint(self.remedy())),
        }
    }

    fn remedy(&self) -> String {
        match self.variable {
            Some(variable) => format!(
                "remove {} from the connection string or service, or unset {variable}",
                self.name
            ),
            None => format!("remove {} from the connection string or service", self.name),
        }
    }
}

/// The error for a parameter that libpq does not know either.
pub(super) fn unknown(name: &str) -> Error {
    // A misplaced quote or `&` can turn part of a password into a name. Only what looks like a
    // parameter is shown.
    let plausible = name.len() <= 32
        && !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    if !plausible {
        return invalid("invalid connection option").with_hint(
            "option names are lower-case words; in a URL percent-encode special characters, else \
             put values with spaces in single quotes",
        );
    }
    let error = invalid(format!("invalid connection option {name:?}"));
    let closest = KEYWORDS
        .iter()
        .map(|keyword| {
            (
                strsim::damerau_levenshtein(keyword.name, name),
                keyword.name,
            )
        })
        .min();
    match closest {
        Some((distance, keyword)) if distance <= 2 => {
            error.with_hint(format!("did you mean {keyword:?}?"))
        }
        _ => {
            error.with_hint("the names are those of libpq: host, port, dbname, user, sslmode, ...")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted() {
        assert!(KEYWORDS.windows(2).all(|pair| pair[0].name < pair[1].name));
    }

    #[test]
    fn unknown_names_get_a_suggestion() {
        let error = unknown("sslmod");
        assert_eq!(error.message(), "invalid connection option \"sslmod\"");
        assert_eq!(error.hint(), Some("did you mean \"sslmode\"?"));
        assert_eq!(unknown("Pa55 word").message(), "invalid connection option");
    }

    #[test]
    fn what_must_not_be_dropped_is_refused() {
        let check = |name: &str, value: &str| Keyword::find(name).unwrap().check(value);
        for (name, value) in [
            ("krbsrvname", "postgres"),
            ("gssencmode", "disable"),
            ("channel_binding", "require"),
            ("sslnegotiation", "direct"),
            ("sslcompression", "1"),
            ("load_balance_hosts", "random"),
            ("replication", "false"),
            ("client_encoding", "UTF8"),
        ] {
            check(name, value).unwrap();
        }
        for (name, value) in [
            ("requirepeer", "postgres"),
            ("scram_client_key", "secret"),
            ("gssencmode", "require"),
            ("replication", "database"),
            ("client_encoding", "LATIN1"),
        ] {
            let error = check(name, value).unwrap_err();
            assert!(error.message().contains("not supported yet"), "{error}");
            assert!(error.message().contains(name), "{error}");
        }
    }
}
