//! How a server may find out who we are, held to before anything is told it.
//!
//! The rules of libpq: `check_expected_areq` in `src/interfaces/libpq/fe-auth.c`. That a password is sent
//! as the server asked, and that the server knows it too, is for the client library.

use std::fmt;

use crate::config::{ChannelBinding, ConnectParams, RequireAuth, SslCertMode};

/// What a login has to be, and how far it has come.
pub(super) struct AuthCheck {
    pub(super) require: RequireAuth,
    pub(super) binding: ChannelBinding,
    /// Whether the connection has TLS, and a login can be bound to it.
    pub(super) has_tls: bool,
    pub(super) can_bind: bool,
    /// Our certificate, where the server has to ask for it.
    pub(super) certificate: Option<Shown>,
    /// The server has asked for a password and, as far as can be seen, got it.
    pub(super) finished: bool,
    pub(super) bound: bool,
}

/// Whether a server was shown our certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    /// It did not ask.
    NotAsked,
    /// It takes none of this kind.
    NotSent,
    Sent,
}

/// Why we go no further.
#[derive(Debug)]
pub(super) struct Refused {
    message: &'static str,
    pub(super) hint: &'static str,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message)
    }
}

impl std::error::Error for Refused {}

impl AuthCheck {
    /// `shown` is whether our certificate went over the connection's TLS.
    pub(super) fn new(params: &ConnectParams, has_tls: bool, can_bind: bool, shown: Shown) -> Self {
        Self {
            require: params.require_auth,
            binding: params.channel_binding,
            has_tls,
            can_bind,
            certificate: (params.ssl_cert_mode == SslCertMode::Require).then_some(shown),
            finished: false,
            bound: false,
        }
    }

    /// What fuzzing begins with.
    #[cfg(fuzzing)]
    pub(super) fn any() -> Self {
        Self {
            require: RequireAuth::default(),
            binding: ChannelBinding::Prefer,
            has_tls: true,
            can_bind: true,
            certificate: None,
            finished: false,
            bound: false,
        }
    }

    /// Looks at an Authentication message, without its tag and length.
    ///
    /// # Errors
    /// [`Refused`] for what was not asked for. What is no such message is left to the client library.
    pub(super) fn message(&mut self, body: &[u8]) -> Result<(), Refused> {
        let Some((code, rest)) = body.split_first_chunk() else {
            return Ok(());
        };
        let allowed = match u32::from_be_bytes(*code) {
            OK => return self.ok(),
            CLEARTEXT_PASSWORD => self.require.password,
            MD5_PASSWORD => self.require.md5,
            SASL | SASL_CONTINUE | SASL_FINAL => self.require.scram_sha_256,
            // The library knows no other.
            _ => return Ok(()),
        };
        if !allowed {
            return Err(Refused {
                message: "the server asks for a password in a way that require_auth does not allow",
                hint: METHOD,
            });
        }
        let sasl = u32::from_be_bytes(*code) == SASL;
        let plus = sasl && rest.split(|byte| *byte == 0).any(|name| name == PLUS);
        if plus && !self.has_tls {
            return Err(Refused {
                message: "the server offers channel binding over a connection without TLS",
                hint: "somebody may be reading along: use sslmode=verify-full",
            });
        }
        // libpq goes no further then, whether binding is required or preferred.
        if plus && !self.can_bind && self.binding != ChannelBinding::Disable {
            return Err(Refused {
                message: "the server offers channel binding, and nothing can be bound to its certificate",
                hint: "RFC 5929 defines no hash for how it is signed; channel_binding=disable goes without",
            });
        }
        self.bound |= plus && self.can_bind && self.binding != ChannelBinding::Disable;
        if self.binding == ChannelBinding::Require && !self.bound {
            return Err(Refused {
                message: "the server does not offer channel binding, which channel_binding asks for",
                hint: BINDING,
            });
        }
        self.finished = !matches!(u32::from_be_bytes(*code), SASL | SASL_CONTINUE);
        Ok(())
    }

    fn ok(&self) -> Result<(), Refused> {
        match self.certificate {
            Some(Shown::NotAsked) => {
                return Err(Refused {
                    message: "the server did not ask for a certificate, and sslcertmode is require",
                    hint: "set ssl_ca_file in the server, or use sslcertmode=allow",
                });
            }
            Some(Shown::NotSent) => {
                return Err(Refused {
                    message: "the server let us in without our certificate, and sslcertmode is require",
                    hint: "it takes no certificate of this kind; use another, or sslcertmode=allow",
                });
            }
            Some(Shown::Sent) | None => {}
        }
        if !self.require.none && !self.finished {
            return Err(Refused {
                message: "the server let us in without asking who we are, which require_auth does not allow",
                hint: METHOD,
            });
        }
        if self.binding == ChannelBinding::Require && !(self.bound && self.finished) {
            return Err(Refused {
                message: "the server let us in without channel binding, which channel_binding asks for",
                hint: BINDING,
            });
        }
        Ok(())
    }
}

const METHOD: &str = "is this the right server? pg_hba.conf there says how users log in, and require_auth \
    in the shard's URL what will do";
const BINDING: &str = "it takes TLS, and a password that is stored as scram-sha-256; or use \
    channel_binding=prefer";

// Codes of Authentication messages, and the name of a mechanism. Source: PostgreSQL documentation, "Message
// Formats" and "SASL Authentication".
const OK: u32 = 0;
const CLEARTEXT_PASSWORD: u32 = 3;
const MD5_PASSWORD: u32 = 5;
const SASL: u32 = 10;
const SASL_CONTINUE: u32 = 11;
const SASL_FINAL: u32 = 12;
const PLUS: &[u8] = b"SCRAM-SHA-256-PLUS";

#[cfg(test)]
mod tests {
    use super::*;

    fn check() -> AuthCheck {
        AuthCheck {
            require: RequireAuth::default(),
            binding: ChannelBinding::Prefer,
            has_tls: true,
            can_bind: true,
            certificate: None,
            finished: false,
            bound: false,
        }
    }

    fn sasl(names: &str) -> Vec<u8> {
        [&SASL.to_be_bytes(), names.as_bytes(), b"\0"].concat()
    }

    /// What is said of the first message that is refused.
    fn run(mut check: AuthCheck, messages: &[Vec<u8>]) -> Option<&'static str> {
        let mut verdicts = messages.iter().map(|message| check.message(message));
        verdicts
            .find_map(Result::err)
            .map(|refused| refused.message)
    }

    fn code(code: u32) -> Vec<u8> {
        code.to_be_bytes().to_vec()
    }

    #[test]
    fn only_what_was_asked_for_is_answered() {
        let scram = [
            sasl("SCRAM-SHA-256\0"),
            code(SASL_CONTINUE),
            code(SASL_FINAL),
            code(OK),
        ];
        let only = |change: fn(&mut RequireAuth)| {
            let mut check = check();
            check.require = RequireAuth {
                none: false,
                password: false,
                md5: false,
                scram_sha_256: false,
            };
            change(&mut check.require);
            check
        };
        assert_eq!(run(check(), &scram), None);
        assert_eq!(run(only(|r| r.scram_sha_256 = true), &scram), None);
        // A server that breaks off before it has shown that it knows the password.
        for messages in 0..3 {
            let cut = [&scram[..messages], &scram[3..]].concat();
            let said = run(only(|r| r.scram_sha_256 = true), &cut);
            assert!(said.unwrap().contains("without asking"), "{messages}");
        }
        for (method, asks) in [
            ("password", CLEARTEXT_PASSWORD),
            ("md5", MD5_PASSWORD),
            ("scram", SASL),
        ] {
            let messages = [code(asks), code(OK)];
            let said = run(only(|r| r.none = true), &messages);
            assert!(said.unwrap().contains("require_auth"), "{method}");
        }
        assert_eq!(run(only(|r| r.none = true), &[code(OK)]), None);
        let password = [code(CLEARTEXT_PASSWORD), code(OK)];
        assert_eq!(run(only(|r| r.password = true), &password), None);
    }

    #[test]
    fn channel_binding_is_not_talked_away() {
        let plus = || sasl("SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0");
        let rest = [code(SASL_CONTINUE), code(SASL_FINAL), code(OK)];
        let required = || AuthCheck {
            binding: ChannelBinding::Require,
            ..check()
        };
        let all = [&[plus()][..], &rest].concat();
        assert_eq!(run(required(), &all), None);
        for messages in [
            vec![sasl("SCRAM-SHA-256\0")],
            vec![code(CLEARTEXT_PASSWORD)],
            vec![code(MD5_PASSWORD)],
            vec![code(OK)],
            vec![plus(), code(OK)],
        ] {
            let said = run(required(), &messages).unwrap();
            assert!(said.contains("channel_binding"), "{messages:?}: {said}");
        }
        let unbindable = AuthCheck {
            can_bind: false,
            ..required()
        };
        assert!(run(unbindable, &all).is_some());
        let unbindable = |binding| AuthCheck {
            can_bind: false,
            binding,
            ..check()
        };
        let said = run(unbindable(ChannelBinding::Prefer), &all);
        assert!(said.unwrap().contains("nothing can be bound"));
        assert_eq!(run(unbindable(ChannelBinding::Disable), &all), None);
        let plain = AuthCheck {
            has_tls: false,
            can_bind: false,
            ..check()
        };
        assert!(run(plain, &all).unwrap().contains("without TLS"));
    }

    #[test]
    fn a_certificate_that_has_to_be_asked_for_is() {
        for (shown, expected) in [
            (Shown::Sent, None),
            (Shown::NotSent, Some("without our certificate")),
            (Shown::NotAsked, Some("did not ask")),
        ] {
            let check = AuthCheck {
                certificate: Some(shown),
                ..check()
            };
            let said = run(check, &[code(OK)]);
            assert_eq!(said.is_some(), expected.is_some(), "{said:?}");
            assert!(
                said.unwrap_or_default()
                    .contains(expected.unwrap_or_default())
            );
        }
    }
}
