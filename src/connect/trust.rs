//! Whom to trust: the authorities of `sslrootcert`, as far as OpenSSL takes them for such, and what they
//! have revoked.
//!
//! rustls verifies chains. Where it trusts more than OpenSSL does for libpq, that is taken away here: for
//! it an anchor is any certificate in the file, whether it is valid today, an authority, or one that
//! another has signed.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::ServerCertVerifier;
use rustls::client::{VerifierBuilderError, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, Error as TlsError, RootCertStore};

use super::certificate::Certificate;
use super::revocation;
use crate::config::{ConnectParams, SslRootCert};
use crate::error::{Error, ErrorKind, Result};

/// Whom to trust.
#[derive(Debug)]
pub(super) struct Trust {
    /// Verifies chain, revocation and name, in this order; `None` without authorities.
    verifier: Option<Arc<WebPkiServerVerifier>>,
    /// Certificates that others have signed, which chains may lead through.
    intermediates: Vec<CertificateDer<'static>>,
    /// The certificates that a server may show as its own, and what verifies those; none where
    /// certificates can be revoked, because nothing says whether these are.
    own: Option<(Vec<CertificateDer<'static>>, Arc<WebPkiServerVerifier>)>,
    /// The authorities, where rustls does not ask them how long a chain may be or which names be in it.
    authorities: Vec<Certificate>,
}

impl Trust {
    /// # Errors
    /// [`ErrorKind::Config`] for files that cannot be read or hold nothing of use today.
    pub(super) fn read(
        source: &SslRootCert,
        params: &ConnectParams,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self> {
        let crls = revocation::read(params.ssl_crl.as_deref(), params.ssl_crl_dir.as_deref())?;
        let now = UnixTime::now();
        let (mut anchors, mut own) = (RootCertStore::empty(), RootCertStore::empty());
        let (mut intermediates, mut certificates) = (Vec::new(), Vec::new());
        let mut authorities = Vec::new();
        for der in read_certificates(source)? {
            let Some(certificate) = Certificate::parse(&der) else {
                continue;
            };
            if !certificate.is_self_issued() {
                intermediates.push(der);
                continue;
            }
            if certificate.is_authority() && certificate.is_valid_at(now) {
                // One that rustls cannot use is of no use.
                if anchors.add(der.clone()).is_ok() {
                    authorities.push(certificate);
                }
            }
            if crls.is_empty() && own.add(der.clone()).is_ok() {
                certificates.push(der);
            }
        }
        // Nobody's own certificate is in the system's store.
        let is_file = matches!(source, SslRootCert::File(_));
        let own = match is_file && !own.is_empty() {
            true => Some((certificates, verifier(own, provider, Vec::new())?)),
            false => None,
        };
        if anchors.is_empty() && own.is_none() {
            let what = "no root certificate that is valid today was found";
            return Err(Error::new(ErrorKind::Config, what).with_hint(
                "set sslrootcert to a PEM file with the authority of the server, up to the one that has \
                 signed itself",
            ));
        }
        let verifier = match anchors.is_empty() {
            true => None,
            false => Some(verifier(anchors, provider, crls)?),
        };
        Ok(Self {
            verifier,
            intermediates,
            own,
            authorities,
        })
    }

    /// Whether the chain leads to an authority, and nothing in it is revoked.
    pub(super) fn verify(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<(), TlsError> {
        let end = Certificate::parse(end_entity).ok_or(CertificateError::BadEncoding)?;
        if !end.may_serve() {
            return Err(CertificateError::InvalidPurpose.into());
        }
        if let Some((certificates, verifier)) = &self.own
            && certificates.contains(end_entity)
        {
            let verdict = verifier.verify_server_cert(end_entity, &[], server_name, &[], now);
            return match verdict {
                Err(error) if is_about_the_name(&error) || is_an_authoritys(&error) => Ok(()),
                verdict => verdict.map(drop),
            };
        }
        // One that has signed itself is trusted by name or not at all, also where an authority has its key.
        let Some(verifier) = self.verifier.as_ref().filter(|_| !end.is_self_issued()) else {
            return Err(CertificateError::UnknownIssuer.into());
        };
        let links = intermediates.iter().chain(&self.intermediates);
        let links = links.filter_map(|der| Some((der.clone(), Certificate::parse(der)?)));
        let (all, chain): (Vec<_>, Vec<_>) = links.filter(|(_, link)| link.is_authority()).unzip();
        let verdict =
            verifier.verify_server_cert(end_entity, &all, server_name, ocsp_response, now);
        match verdict {
            // The name is looked at last.
            Err(error) if is_about_the_name(&error) => {}
            verdict => {
                verdict?;
            }
        }
        match self.is_too_long(&end, &chain) {
            true => Err(CertificateError::UnknownIssuer.into()),
            false => Ok(()),
        }
    }

    /// Whether more authorities may stand between a certificate and ours than ours allows.
    ///
    /// By their names alone, every way up: nobody has proven those that a server sends, so a short way may
    /// be one that it has made up.
    fn is_too_long(&self, end: &Certificate, chain: &[Certificate]) -> bool {
        let mut level = vec![end];
        for between in 0..=chain.len() {
            let is_exceeded = |ours: &Certificate| {
                let most = ours.path_length();
                most.is_some_and(|most| between > usize::from(most))
                    && level.iter().any(|below| below.is_issued_by(ours))
            };
            if self.authorities.iter().any(is_exceeded) {
                return true;
            }
            let above = chain.iter();
            level = above
                .filter(|link| level.iter().any(|below| below.is_issued_by(link)))
                .collect();
        }
        false
    }

    /// Whether the certificate is for this host, as libpq sees it: by an alternative name, or by its CN
    /// where it has none of the kind.
    pub(super) fn verify_name(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
    ) -> Result<(), TlsError> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        let verdict = rustls::client::verify_server_name(&certificate, server_name);
        // For libpq a name that ends in a dot is another.
        let is_absolute = server_name.to_str().ends_with('.');
        match verdict {
            Ok(()) if !is_absolute => Ok(()),
            Ok(()) => Err(CertificateError::NotValidForName.into()),
            Err(error) => {
                // What an authority says of names, rustls does not hold against the CN.
                let links = intermediates.iter().chain(&self.intermediates);
                let constrained = links
                    .map(Certificate::parse)
                    .any(|link| link.is_none_or(|link| link.constrains_names()))
                    || self.authorities.iter().any(Certificate::constrains_names);
                let parsed = Certificate::parse(end_entity);
                match parsed.filter(|_| !constrained) {
                    Some(end) if end.common_name_is(server_name) => Ok(()),
                    _ => Err(error),
                }
            }
        }
    }
}

fn verifier(
    anchors: RootCertStore,
    provider: &Arc<CryptoProvider>,
    crls: Vec<rustls::pki_types::CertificateRevocationListDer<'static>>,
) -> Result<Arc<WebPkiServerVerifier>> {
    // As libpq has OpenSSL do it: the whole chain, by lists that are neither missing nor old.
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(anchors), provider.clone())
        .with_crls(crls)
        .enforce_revocation_expiration()
        .build();
    verifier.map_err(|error| {
        let said = match &error {
            VerifierBuilderError::InvalidCrl(_) => "a list of revoked certificates",
            _ => "the root certificates",
        };
        Error::new(ErrorKind::Config, format!("cannot use {said}"))
            .with_source(error)
            .with_hint("a list is made with `openssl ca -gencrl`, as version 2 (crl_extensions)")
    })
}

/// The certificates of `sslrootcert`, as they stand there.
fn read_certificates(source: &SslRootCert) -> Result<Vec<CertificateDer<'static>>> {
    match source {
        SslRootCert::File(path) => {
            let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
            let certificates: Vec<_> = read.map_err(|error| unreadable(path, error))?;
            match certificates.is_empty() {
                true => Err(unreadable(path, pem::Error::NoItemsFound)),
                false => Ok(certificates),
            }
        }
        SslRootCert::System => Ok(rustls_native_certs::load_native_certs().certs),
    }
}

fn unreadable(path: &Path, error: pem::Error) -> Error {
    let message = format!("cannot read the root certificates in {}", path.display());
    because(Error::new(ErrorKind::Config, message), error)
        .with_hint("sslrootcert has to be a PEM file")
}

/// An error with what the file system said. What the reader of PEM says may hold the bytes of the file, and
/// the wrong file may be that of a key.
pub(super) fn because(error: Error, cause: pem::Error) -> Error {
    match cause {
        pem::Error::Io(cause) => error.with_source(cause),
        _ => error,
    }
}

fn is_about_the_name(error: &TlsError) -> bool {
    use CertificateError::{NotValidForName, NotValidForNameContext};
    matches!(
        error,
        TlsError::InvalidCertificate(NotValidForName | NotValidForNameContext { .. })
    )
}

/// Whether an authority's certificate was refused because a server shows it as its own: what `openssl req
/// -x509` makes, and PostgreSQL's documentation with it. Its dates were found valid before.
fn is_an_authoritys(error: &TlsError) -> bool {
    matches!(
        error,
        TlsError::InvalidCertificate(CertificateError::Other(other))
            if format!("{:?}", other.0) == "CaUsedAsEndEntity"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_wrong_file_holds_is_in_no_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let flattened = "-----BEGIN PRIVATE KEY----- TUlHSEFnRUFNQk1H -----END PRIVATE KEY-----";
        std::fs::write(file.path(), flattened).unwrap();
        let error = read_certificates(&SslRootCert::File(file.path().to_owned())).unwrap_err();
        let mut told = format!("{error:?} {error}");
        let mut cause = std::error::Error::source(&error);
        while let Some(error) = cause {
            told += &format!(" {error:?} {error}");
            cause = error.source();
        }
        assert!(told.contains("root certificates"), "{told}");
        for shown in ["TUlHS", "84, 85, 108"] {
            assert!(!told.contains(shown), "{told}");
        }
    }
}
