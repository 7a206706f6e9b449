//! How a scripted server takes a login: TLS with a certificate of its own, and SCRAM-SHA-256 as it is to be, or
//! with a lie in it. Source: RFC 5802, RFC 7677, and PostgreSQL's documentation, "SASL Authentication".

use std::io;
use std::sync::{Arc, OnceLock};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::{hmac, pbkdf2};
use tokio_rustls::TlsAcceptor;

use super::Point;

/// The password of every connection; nothing that is said may hold it.
pub(crate) const PASSWORD: &str = "canary";
/// To be asked for as many rounds as PostgreSQL asks for would only cost time.
const ITERATIONS: u32 = 1;
const SALT: &[u8] = b"salt";

/// What a server that does not know the password, or wants to be a burden, does otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lie {
    /// So many rounds are a minute of work, or far more.
    Iterations,
    /// The nonce is not what the client has sent, and more.
    Nonce,
    /// It cannot show that it knows the password.
    Signature,
    /// It lets us in without showing it.
    NoSignature,
}

pub(crate) const LIES: [Lie; 4] = [
    Lie::Iterations,
    Lie::Nonce,
    Lie::Signature,
    Lie::NoSignature,
];

impl Lie {
    /// Where it is told.
    pub(crate) fn point(self) -> Point {
        match self {
            Self::Iterations | Self::Nonce => Point::ScramFirst,
            Self::Signature | Self::NoSignature => Point::ScramFinal,
        }
    }
}

/// What takes TLS.
pub(super) fn acceptor() -> &'static TlsAcceptor {
    static ACCEPTOR: OnceLock<TlsAcceptor> = OnceLock::new();
    ACCEPTOR.get_or_init(|| {
        let names = ["127.0.0.1".to_owned()];
        let certified = rcgen::generate_simple_self_signed(names).unwrap();
        let key = certified.signing_key.serialize_der();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certified.cert.der().clone()], key.try_into().unwrap());
        Arc::new(config.unwrap()).into()
    })
}

/// A SCRAM exchange, seen from the server.
pub(super) struct Scram {
    first: String,
    server_first: String,
}

impl Scram {
    /// Takes the client's first message, `n,,n=,r=nonce`.
    pub(super) fn new(client_first: &[u8], lie: Option<Lie>) -> io::Result<Self> {
        let text = std::str::from_utf8(client_first).map_err(io::Error::other)?;
        let bare = text.splitn(3, ',').last().unwrap_or_default();
        let nonce = bare.split_once("r=").unwrap_or_default().1;
        let nonce = match lie {
            Some(Lie::Nonce) => "another".to_owned(),
            _ => format!("{nonce}+server"),
        };
        let iterations = match lie {
            Some(Lie::Iterations) => 10_000_000,
            _ => ITERATIONS,
        };
        let salt = STANDARD.encode(SALT);
        Ok(Self {
            first: bare.to_owned(),
            server_first: format!("r={nonce},s={salt},i={iterations}"),
        })
    }

    /// What AuthenticationSASLContinue says.
    pub(super) fn server_first(&self) -> &str {
        &self.server_first
    }

    /// What AuthenticationSASLFinal says to the client's last message, `c=..,r=..,p=proof`; `None` if that does
    /// not show that the client knows the password.
    pub(super) fn server_final(&self, client_final: &[u8], lie: Option<Lie>) -> Option<String> {
        let text = std::str::from_utf8(client_final).ok()?;
        let (without_proof, proof) = text.rsplit_once(",p=")?;
        let message = format!("{},{},{without_proof}", self.first, self.server_first);
        let mut salted = [0; 32];
        pbkdf2::derive(
            pbkdf2::PBKDF2_HMAC_SHA256,
            ITERATIONS.try_into().ok()?,
            SALT,
            PASSWORD.as_bytes(),
            &mut salted,
        );
        let client_key = sign(&salted, b"Client Key");
        let stored = ring::digest::digest(&ring::digest::SHA256, client_key.as_ref());
        let signature = sign(stored.as_ref(), message.as_bytes());
        let both = client_key.as_ref().iter().zip(signature.as_ref());
        let expected: Vec<_> = both.map(|(key, signature)| key ^ signature).collect();
        if STANDARD.decode(proof).ok()? != expected {
            return None;
        }
        let server_key = sign(&salted, b"Server Key");
        let signed = match lie {
            Some(Lie::Signature) => "something else",
            _ => &message,
        };
        let signature = sign(server_key.as_ref(), signed.as_bytes());
        Some(format!("v={}", STANDARD.encode(signature)))
    }
}

fn sign(key: &[u8], text: &[u8]) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text)
}
