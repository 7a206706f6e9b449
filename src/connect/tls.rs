//! TLS: asking the server for it, whom to trust, and who we are.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{VerifierBuilderError, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::socket::Socket;
use super::{client_cert, revocation};
use crate::config::{ConnectParams, SslMode, SslRootCert};
use crate::error::{Error, ErrorKind, Phase, Result};

/// SSLRequest: length 8, code 80877103. Source: PostgreSQL documentation, "Message Formats".
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// Asks for TLS on a TCP socket and does the handshake. `None`: the server does not offer it.
///
/// One byte is read, and nothing behind it: whatever a man in the middle puts there in plain text
/// becomes part of the handshake and breaks it (CVE-2021-23222).
pub(crate) async fn negotiate(
    mut stream: TcpStream,
    server: &str,
    config: Arc<ClientConfig>,
) -> Result<Option<Socket>> {
    let io = |error: std::io::Error| {
        tls_error("the connection broke while TLS was negotiated").with_source(error)
    };
    stream.write_all(&SSL_REQUEST).await.map_err(io)?;
    match stream.read_u8().await.map_err(io)? {
        b'S' => {}
        b'N' => return Ok(None),
        other => {
            return Err(tls_error(format!(
                "expected an answer to the request for TLS, found byte {other:#04x}"
            ))
            .with_hint("is this a PostgreSQL server?"));
        }
    }
    let name = ServerName::try_from(server.to_owned()).map_err(|error| {
        tls_error(format!(
            "{server:?} is no host name that a certificate can have"
        ))
        .with_source(error)
    })?;
    let stream = TlsConnector::from(config)
        .connect(name, stream)
        .await
        .map_err(|error| {
            tls_error("the TLS handshake failed")
                .with_source(error)
                .with_hint("check sslmode and sslrootcert, the host name against the server's certificate, and what sslcrl or ~/.postgresql/root.crl says of it")
        })?;
    Ok(Some(Socket::Tls(Box::new(stream))))
}

fn tls_error(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Connect, message).with_phase(Phase::Tls)
}

/// What `sslmode` and `sslrootcert` ask for. Reads the root certificates.
pub(crate) fn client_config(params: &ConnectParams) -> Result<Arc<ClientConfig>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let algorithms = provider.signature_verification_algorithms;
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| tls_error("TLS cannot be set up").with_source(error))?;
    let trust = match (params.ssl_mode, &params.ssl_root_cert) {
        (SslMode::VerifyCa | SslMode::VerifyFull, Some(roots)) => {
            Some(Trust::read(roots, params, &provider)?)
        }
        (SslMode::VerifyCa | SslMode::VerifyFull, None) => {
            return Err(tls_error("no root certificates to verify the server with")
                .with_hint("set sslrootcert"));
        }
        // As libpq: encrypted, but with whoever answers.
        _ => None,
    };
    let config = builder
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Verifier {
            trust,
            verify_name: params.ssl_mode == SslMode::VerifyFull,
            algorithms,
            provider,
        }));
    let config = match &params.ssl_client_cert {
        Some(files) => client_cert::authenticate(config, files)?,
        None => config.with_no_client_auth(),
    };
    Ok(Arc::new(config))
}

/// Whom to trust.
#[derive(Debug)]
struct Trust {
    /// Verifies chain, revocation and name, in this order.
    verifier: Arc<WebPkiServerVerifier>,
    /// The certificates of the file as they are, which a server may show as its own; none where
    /// certificates can be revoked, because nothing says whether these are.
    certificates: Vec<CertificateDer<'static>>,
}

impl Trust {
    fn read(
        source: &SslRootCert,
        params: &ConnectParams,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self> {
        let (roots, mut certificates) = read_roots(source)?;
        let crls = revocation::read(params.ssl_crl.as_deref(), params.ssl_crl_dir.as_deref())?;
        if !crls.is_empty() {
            certificates.clear();
        }
        // As libpq has OpenSSL do it: the whole chain, by lists that are neither missing nor old.
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
                .with_crls(crls)
                .enforce_revocation_expiration()
                .build();
        let verifier = verifier.map_err(|error| {
            let said = match &error {
                VerifierBuilderError::InvalidCrl(_) => "a list of revoked certificates",
                _ => "the root certificates",
            };
            Error::new(ErrorKind::Config, format!("cannot use {said}"))
                .with_source(error)
                .with_hint(
                    "a list is made with `openssl ca -gencrl`, as version 2 (crl_extensions)",
                )
        })?;
        Ok(Self {
            verifier,
            certificates,
        })
    }

    /// Whether the server shows a certificate that is itself among the trusted ones, and an
    /// authority: what `openssl req -x509` makes, and PostgreSQL's documentation with it. As an
    /// authority it is refused as a server's, but only after its dates were found valid.
    fn names(&self, end_entity: &CertificateDer<'_>, error: &rustls::Error) -> bool {
        matches!(
            error,
            rustls::Error::InvalidCertificate(CertificateError::Other(other))
                if format!("{:?}", other.0) == "CaUsedAsEndEntity"
        ) && self.certificates.contains(end_entity)
    }
}

/// The certificates of `sslrootcert`, and as they stand in the file.
fn read_roots(source: &SslRootCert) -> Result<(RootCertStore, Vec<CertificateDer<'static>>)> {
    let (mut roots, mut certificates) = (RootCertStore::empty(), Vec::new());
    match source {
        SslRootCert::File(path) => {
            let unreadable = |error: rustls::pki_types::pem::Error| {
                Error::new(
                    ErrorKind::Config,
                    format!("cannot read the root certificates in {}", path.display()),
                )
                .with_source(error)
                .with_hint("sslrootcert has to be a PEM file")
            };
            for certificate in CertificateDer::pem_file_iter(path).map_err(unreadable)? {
                let certificate = certificate.map_err(unreadable)?;
                roots.add(certificate.clone()).map_err(|error| {
                    Error::new(
                        ErrorKind::Config,
                        format!("a certificate in {} cannot be used", path.display()),
                    )
                    .with_source(error)
                })?;
                certificates.push(certificate);
            }
        }
        SslRootCert::System => {
            let found = rustls_native_certs::load_native_certs().certs;
            roots.add_parsable_certificates(found);
        }
    }
    match roots.is_empty() {
        false => Ok((roots, certificates)),
        true => Err(Error::new(ErrorKind::Config, "no root certificates found")
            .with_hint("set sslrootcert to a PEM file with the authority of the server")),
    }
}

fn is_about_the_name(error: &rustls::Error) -> bool {
    use CertificateError::{NotValidForName, NotValidForNameContext};
    matches!(
        error,
        rustls::Error::InvalidCertificate(NotValidForName | NotValidForNameContext { .. })
    )
}

/// Verifies what `sslmode` says: chain and name (`verify-full`), the chain (`verify-ca`), or nothing
/// (`require` and below). Signatures of the handshake are always verified.
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
        let Some(trust) = &self.trust else {
            return Ok(ServerCertVerified::assertion());
        };
        let verdict = trust.verifier.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        match verdict {
            Err(error) if trust.names(end_entity, &error) => {
                if self.verify_name {
                    let certificate = ParsedCertificate::try_from(end_entity)?;
                    rustls::client::verify_server_name(&certificate, server_name)?;
                }
                Ok(ServerCertVerified::assertion())
            }
            // The name is looked at last.
            Err(error) if is_about_the_name(&error) && !self.verify_name => {
                Ok(ServerCertVerified::assertion())
            }
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
