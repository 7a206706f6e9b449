//! What a connection string asks of TLS and of the login.

use super::super::invalid;
use super::super::options::Options;
use super::SslMode;
use crate::error::Result;

/// How TLS begins (`sslnegotiation`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum SslNegotiation {
    /// PostgreSQL's protocol asks for it.
    #[default]
    Postgres,
    /// At once, with ALPN: PostgreSQL 17 and later.
    Direct,
}

/// A version of TLS that we speak; those before are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TlsVersion {
    V1_2,
    V1_3,
}

/// Whether our certificate is shown to a server that asks for one (`sslcertmode`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum SslCertMode {
    /// Never.
    Disable,
    /// Where there is one.
    #[default]
    Allow,
    /// The server has to ask for it, and gets it.
    Require,
}

/// Whether a login has to be bound to the TLS connection that it goes over (`channel_binding`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum ChannelBinding {
    Disable,
    /// Where the server can.
    #[default]
    Prefer,
    Require,
}

/// The ways in which a server may find out who we are (`require_auth`); the default is any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RequireAuth {
    /// Not at all, as far as we see: `trust`, `peer`, or by our certificate.
    pub(crate) none: bool,
    pub(crate) password: bool,
    pub(crate) md5: bool,
    pub(crate) scram_sha_256: bool,
}

impl Default for RequireAuth {
    fn default() -> Self {
        Self::all(true)
    }
}

impl RequireAuth {
    const fn all(allowed: bool) -> Self {
        Self {
            none: allowed,
            password: allowed,
            md5: allowed,
            scram_sha_256: allowed,
        }
    }

    /// A list of methods, or of methods that are not allowed, as `connectOptions2` in fe-connect.c reads
    /// it.
    pub(super) fn parse(options: &Options) -> Result<Self> {
        let Some(text) = options.get("require_auth") else {
            return Ok(Self::default());
        };
        let wrong = |what: &str| {
            Err(invalid(format!(
                "invalid {}: {what}",
                options.describe("require_auth")
            )))
        };
        let negated = text.starts_with('!');
        let mut allowed = Self::all(negated);
        let mut seen: Vec<&str> = Vec::new();
        for item in text.split(',') {
            let method = match (item.strip_prefix('!'), negated) {
                (Some(method), true) => method,
                (None, false) => item,
                _ => return wrong("methods with \"!\" cannot be mixed with others"),
            };
            match method {
                "none" => allowed.none = !negated,
                "password" => allowed.password = !negated,
                "md5" => allowed.md5 = !negated,
                "scram-sha-256" => allowed.scram_sha_256 = !negated,
                // Never used, whether they are allowed or not.
                "gss" | "sspi" | "oauth" => {}
                _ => {
                    return wrong(
                        "expected a list of none, password, md5, scram-sha-256, gss, sspi or oauth",
                    );
                }
            }
            if seen.contains(&method) {
                return wrong("a method stands there twice");
            }
            seen.push(method);
        }
        Ok(allowed)
    }
}

/// One of the words that libpq knows for an option; the first where it is not given.
fn word<T: Copy>(options: &Options, name: &str, words: &[(&str, T)]) -> Result<T> {
    let given = match options.get(name) {
        None if options.is_empty(name) => Some(""),
        given => given,
    };
    let found = match given {
        None => words.first(),
        Some(text) => words.iter().find(|(word, _)| *word == text),
    };
    found.map(|(_, value)| *value).ok_or_else(|| {
        let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        invalid(format!(
            "invalid {}: expected {}",
            options.describe(name),
            known.join(" or ")
        ))
    })
}

pub(super) fn ssl_negotiation(options: &Options, mode: SslMode) -> Result<SslNegotiation> {
    use SslNegotiation::{Direct, Postgres};
    let words = [("postgres", Postgres), ("direct", Direct)];
    let negotiation = word(options, "sslnegotiation", &words)?;
    // Nobody would be asked whether there is TLS, so there is no going without.
    if negotiation == Direct && mode < SslMode::Require {
        return Err(invalid(format!(
            "{} is too weak for sslnegotiation \"direct\": expected require, verify-ca or verify-full",
            options.describe("sslmode")
        )));
    }
    Ok(negotiation)
}

pub(super) fn ssl_cert_mode(options: &Options) -> Result<SslCertMode> {
    use SslCertMode::{Allow, Disable, Require};
    let words = [("allow", Allow), ("disable", Disable), ("require", Require)];
    word(options, "sslcertmode", &words)
}

pub(super) fn channel_binding(options: &Options) -> Result<ChannelBinding> {
    use ChannelBinding::{Disable, Prefer, Require};
    let words = [
        ("prefer", Prefer),
        ("disable", Disable),
        ("require", Require),
    ];
    word(options, "channel_binding", &words)
}

/// Whether the server is told the name that it is looked up by.
pub(super) fn ssl_sni(options: &Options) -> Result<bool> {
    match options.get("sslsni") {
        None => Ok(true),
        Some(_) => word(options, "sslsni", &[("1", true), ("0", false)]),
    }
}

/// The lowest and the highest version of TLS.
pub(super) fn tls_versions(options: &Options) -> Result<(TlsVersion, TlsVersion)> {
    let (min, max) = ("ssl_min_protocol_version", "ssl_max_protocol_version");
    let lowest = match options.get(min) {
        Some(text) => version(text, options, min)?.unwrap_or(TlsVersion::V1_2),
        None => TlsVersion::V1_2,
    };
    let highest = match options.get(max) {
        Some(text) => version(text, options, max)?.ok_or_else(|| {
            let option = options.describe(max);
            invalid(format!(
                "{option} asks for a version before TLSv1.2, which is not safe any more"
            ))
            .with_hint("TLSv1.2 and TLSv1.3 are spoken")
        })?,
        None => TlsVersion::V1_3,
    };
    match lowest <= highest {
        true => Ok((lowest, highest)),
        false => Err(invalid(format!(
            "{} is above {}",
            options.describe(min),
            options.describe(max)
        ))),
    }
}

/// `None` for a version that is too old to be spoken.
fn version(text: &str, options: &Options, name: &str) -> Result<Option<TlsVersion>> {
    match text.to_ascii_lowercase().as_str() {
        "tlsv1" | "tlsv1.1" => Ok(None),
        "tlsv1.2" => Ok(Some(TlsVersion::V1_2)),
        "tlsv1.3" => Ok(Some(TlsVersion::V1_3)),
        _ => Err(invalid(format!(
            "invalid {}: expected TLSv1.2 or TLSv1.3",
            options.describe(name)
        ))),
    }
}
