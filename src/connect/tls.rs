//! TLS: asking the server for it, and whom to trust how far.

use std::error::Error as _;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::auth::Shown;
use super::certificate::Certificate;
use super::client_cert::Identity;
use super::socket::Socket;
use super::trust::{Foreign, Trust};
use crate::config::{ConnectParams, SslMode, SslNegotiation, TlsVersion};
use crate::error::{Error, ErrorKind, Phase, Result};

/// SSLRequest: length 8, code 80877103. Source: PostgreSQL documentation, "Message Formats".
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// How TLS is made with one address of a server, and what came of it.
#[derive(Clone)]
pub(super) struct Settings {
    /// The name that is verified.
    server: String,
    config: Arc<ClientConfig>,
    mode: SslMode,
    negotiation: SslNegotiation,
    identity: Arc<Identity>,
}

impl Settings {
    /// What the parameters ask for. Reads the files that they name.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for files that cannot be used; [`ErrorKind::Connect`] where there is nothing to
    /// verify with.
    pub(super) fn new(params: &ConnectParams, server: &str) -> Result<Self> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let identity = Identity::read(params.ssl_client_cert.as_ref(), &provider)?;
        Ok(Self {
            server: server.to_owned(),
            config: client_config(params, provider, identity.clone())?,
            mode: params.ssl_mode,
            negotiation: params.ssl_negotiation,
            identity,
        })
    }

    /// Whether the last server was shown our certificate.
    pub(super) fn shown(&self) -> Shown {
        self.identity.shown()
    }

    /// Asks for TLS on a TCP socket and does the handshake. `None`: the server does not offer it.
    ///
    /// One byte is read, and nothing behind it: whatever a man in the middle puts there in plain text
    /// becomes part of the handshake and breaks it (CVE-2021-23222).
    pub(super) async fn negotiate(&self, mut stream: TcpStream) -> Result<Option<Socket>> {
        let is_direct = self.negotiation == SslNegotiation::Direct;
        if !is_direct && !is_offered(&mut stream).await? {
            return Ok(None);
        }
        let server = &self.server;
        let name = ServerName::try_from(server.clone()).map_err(|error| {
            tls_error(format!(
                "{server:?} is no host name that a certificate can have"
            ))
            .with_source(error)
        })?;
        let stream = TlsConnector::from(self.config.clone())
            .connect(name, stream)
            .await
            .map_err(|error| {
                tls_error("the TLS handshake failed")
                    .with_source(error)
                    .with_hint(match (is_direct, self.mode) {
                        (true, _) => DIRECT_FAILED,
                        (false, SslMode::Prefer) => PREFERRED_FAILED,
                        (false, _) => HANDSHAKE_FAILED,
                    })
            })?;
        // Else another protocol's server could be talked into answering (libpq: open_client_SSL).
        if is_direct && stream.get_ref().1.alpn_protocol() != Some(ALPN) {
            return Err(tls_error(
                "the server has TLS, but does not say that PostgreSQL's protocol is in it",
            )
            .with_hint(DIRECT_FAILED));
        }
        Ok(Some(Socket::Tls(Box::new(stream))))
    }
}

const HANDSHAKE_FAILED: &str = "check sslmode and sslrootcert, the host name against the server's certificate, and what sslcrl or ~/.postgresql/root.crl says of it";
const PREFERRED_FAILED: &str = "check sslrootcert or ~/.postgresql/root.crt, and what sslcrl or ~/.postgresql/root.crl says of the server's certificate; sslmode=disable goes without TLS, in a network that you trust";
const DIRECT_FAILED: &str = "check sslmode and sslrootcert, the host name against the server's certificate, and that it is of PostgreSQL 17 or later: earlier ones need sslnegotiation=postgres";
/// As PostgreSQL is registered with IANA.
const ALPN: &[u8] = b"postgresql";

/// Whether a connection without TLS is a way out of this failure, where `sslmode` leaves that: only where
/// psql is sure to go it, too. It knows certificates and ciphers that rustls does not.
pub(super) fn leaves_a_way_out(error: &Error) -> bool {
    let io = error
        .source()
        .and_then(|it| it.downcast_ref::<std::io::Error>());
    let tls = io.and_then(|it| it.get_ref()?.downcast_ref::<rustls::Error>());
    error.message() == NOT_OFFERED || tls.is_some_and(Foreign::is_in)
}

pub(super) const NOT_OFFERED: &str = "the server does not offer TLS";

/// Whether the server offers TLS; then a handshake has to come next.
async fn is_offered(stream: &mut TcpStream) -> Result<bool> {
    let io = |error: std::io::Error| {
        tls_error("the connection broke while TLS was negotiated").with_source(error)
    };
    stream.write_all(&SSL_REQUEST).await.map_err(io)?;
    match stream.read_u8().await.map_err(io)? {
        b'S' => Ok(true),
        b'N' => Ok(false),
        other => Err(tls_error(format!(
            "expected an answer to the request for TLS, found byte {other:#04x}"
        ))
        .with_hint("is this a PostgreSQL server?")),
    }
}

fn tls_error(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Connect, message).with_phase(Phase::Tls)
}

/// What `sslmode` and `sslrootcert` ask for. Reads the root certificates.
fn client_config(
    params: &ConnectParams,
    provider: Arc<CryptoProvider>,
    identity: Arc<Identity>,
) -> Result<Arc<ClientConfig>> {
    let algorithms = provider.signature_verification_algorithms;
    let versions = [
        (TlsVersion::V1_2, &rustls::version::TLS12),
        (TlsVersion::V1_3, &rustls::version::TLS13),
    ];
    let (lowest, highest) = params.tls_versions;
    let versions = versions.into_iter();
    let versions: Vec<_> = versions
        .filter(|(version, _)| (lowest..=highest).contains(version))
        .map(|(_, version)| version)
        .collect();
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&versions)
        .map_err(|error| tls_error("TLS cannot be set up").with_source(error))?;
    let trust = match (params.ssl_mode, &params.ssl_root_cert) {
        // Whatever the mode, as libpq.
        (_, Some(roots)) => Some(Trust::read(roots, params, &provider)?),
        (SslMode::VerifyCa | SslMode::VerifyFull, None) => {
            return Err(tls_error("no root certificates to verify the server with")
                .with_hint("set sslrootcert"));
        }
        // Encrypted, but with whoever answers.
        (_, None) => None,
    };
    let mut config = builder
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Verifier {
            trust,
            verify_name: params.ssl_mode == SslMode::VerifyFull,
            algorithms,
            provider,
        }))
        .with_client_cert_resolver(identity);
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.enable_sni = params.ssl_sni;
    Ok(Arc::new(config))
}

/// Verifies the chain where there are root certificates, and the name where `sslmode` is `verify-full`.
/// Signatures of the handshake are always verified.
#[derive(Debug)]
struct Verifier {
    trust: Option<Trust>,
    verify_name: bool,
    algorithms: WebPkiSupportedAlgorithms,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if let Some(trust) = &self.trust {
            trust.verify(end_entity, intermediates, server_name, ocsp_response, now)?;
            if self.verify_name {
                trust.verify_name(end_entity, intermediates, server_name)?;
            }
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        match of_version_1(cert) {
            Some(old) => verify_by_key(message, &old, dss, &self.algorithms),
            None => rustls::crypto::verify_tls12_signature(message, cert, dss, &self.algorithms),
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        match of_version_1(cert).and_then(|old| old.key()) {
            Some(key) => verify_tls13_signature_with_raw_key(message, &key, dss, &self.algorithms),
            None => rustls::crypto::verify_tls13_signature(message, cert, dss, &self.algorithms),
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// One that rustls does not read. It has to be trusted for nothing: chains with such a one are refused.
fn of_version_1(der: &CertificateDer<'_>) -> Option<Certificate> {
    Certificate::parse(der).filter(Certificate::is_version_1)
}

/// As `rustls::crypto::verify_tls12_signature` does it: one of the algorithms of a scheme is that of the key.
fn verify_by_key(
    message: &[u8],
    certificate: &Certificate,
    dss: &DigitallySignedStruct,
    algorithms: &WebPkiSupportedAlgorithms,
) -> Result<HandshakeSignatureValid, rustls::Error> {
    let schemes = algorithms.mapping.iter();
    let of_scheme = schemes.filter(|(scheme, _)| *scheme == dss.scheme);
    let mut algorithms = of_scheme.flat_map(|(_, algorithms)| *algorithms);
    match algorithms.any(|it| certificate.has_signed(message, dss.signature(), *it)) {
        true => Ok(HandshakeSignatureValid::assertion()),
        false => Err(CertificateError::BadSignature.into()),
    }
}
