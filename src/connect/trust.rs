//! Whom to trust: the authorities of `sslrootcert`, as far as OpenSSL takes them for such, and what they
//! have revoked.
//!
//! rustls verifies chains. Where it trusts more than OpenSSL does for libpq, that is taken away here: for
//! it an anchor is any certificate in the file, whether it is valid today, an authority, or one that
//! another has signed.

use std::path::Path;
use std::sync::Arc;
use std::{fmt, fs, iter};

use rustls::client::danger::ServerCertVerifier;
use rustls::client::{VerifierBuilderError, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, Error as TlsError, OtherError, RootCertStore};

use super::certificate::Certificate;
use super::name::CanonicalName;
use super::revocation::{self, Revoked};
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
    /// The names of all roots of the file, those too that are of no use to us: OpenSSL may see that otherwise.
    /// `None` where it may read more of the file than we do.
    names: Option<Vec<CanonicalName>>,
}

/// What `sslrootcert` holds.
#[derive(Debug)]
struct Found {
    certificates: Vec<CertificateDer<'static>>,
    /// Whether OpenSSL finds no more.
    are_all: bool,
}

/// Of a certificate that psql takes no more than we do: nobody whom we trust has signed it, or its time is
/// over. What `sslmode=prefer` makes of that is another question; for any other refusal psql may be content,
/// with TLS.
#[derive(Clone)]
pub(super) struct Foreign(TlsError);

/// What rustls does not hold against a certificate.
#[derive(Clone, Copy)]
enum Refused {
    Version1,
    NameConstraints,
}

impl Trust {
    /// # Errors
    /// [`ErrorKind::Config`] for files that cannot be read or hold nothing of use today.
    pub(super) fn read(
        source: &SslRootCert,
        params: &ConnectParams,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self> {
        let file = match source {
            SslRootCert::File(path) => Some(&**path),
            SslRootCert::System => None,
        };
        let (crl, directory) = (params.ssl_crl.as_deref(), params.ssl_crl_dir.as_deref());
        let revoked = revocation::read(crl, directory, file)?;
        let now = UnixTime::now();
        let (mut anchors, mut own) = (RootCertStore::empty(), RootCertStore::empty());
        let (mut intermediates, mut certificates) = (Vec::new(), Vec::new());
        let mut authorities = Vec::new();
        let found = read_certificates(source)?;
        let read = found.certificates.iter();
        let read = read.filter_map(|der| Some((Certificate::parse(der)?, der.clone())));
        let read: Vec<_> = read.collect();
        let are_all = found.are_all && read.len() == found.certificates.len();
        if let Some(file) = file.filter(|_| !are_all && !revoked.is_empty()) {
            return Err(Error::new(
                ErrorKind::Config,
                format!(
                    "cannot read all of the root certificates in {}, and there are lists of revoked ones",
                    file.display()
                ),
            )
            .with_hint("leave out what is no `BEGIN CERTIFICATE`, or not in DER"));
        }
        let parsed = read.iter().map(|(certificate, _)| certificate);
        let roots = parsed.filter(|certificate| certificate.is_self_issued());
        let names = are_all.then(|| roots.map(Certificate::subject).cloned().collect());
        let out_of_force = out_of_force(read.iter().map(|(certificate, _)| certificate), &revoked);
        for (certificate, der) in read {
            if !certificate.is_self_signed() {
                intermediates.push(der);
                continue;
            }
            let is_in_force = !out_of_force.contains(certificate.subject());
            let is_ours = certificate.is_authority() && certificate.is_valid_at(now) && is_in_force;
            // One that rustls cannot use is of no use.
            if is_ours && anchors.add(der.clone()).is_ok() {
                authorities.push(certificate);
            }
            if revoked.is_empty() && own.add(der.clone()).is_ok() {
                certificates.push(der);
            }
        }
        // Nobody's own certificate is in the system's store.
        let own = match file.is_some() && !own.is_empty() {
            true => Some((certificates, verifier(own, provider, Vec::new())?)),
            false => None,
        };
        if anchors.is_empty() && own.is_none() {
            let what = "no root certificate that is valid today was found";
            let hint = match revoked.is_empty() {
                true => {
                    "set sslrootcert to a PEM file with the authority of the server, up to the one that \
                     has signed itself"
                }
                false => {
                    "set sslrootcert to a PEM file with the authority of the server, up to the one that \
                     has signed itself: as there are lists of revoked certificates, it has to be in none, \
                     and its key usage has to say cRLSign, or nothing"
                }
            };
            return Err(Error::new(ErrorKind::Config, what).with_hint(hint));
        }
        let verifier = match anchors.is_empty() {
            true => None,
            false => Some(verifier(anchors, provider, revoked.into_lists())?),
        };
        Ok(Self {
            verifier,
            intermediates,
            own,
            authorities,
            names,
        })
    }

    /// Whether the chain leads to an authority, and nothing in it is revoked.
    ///
    /// # Errors
    /// In a [`Foreign`] where psql is sure to refuse it, too.
    pub(super) fn verify(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<(), TlsError> {
        let end = Certificate::parse(end_entity).ok_or(CertificateError::BadEncoding)?;
        let links = intermediates.iter().chain(&self.intermediates);
        let links: Option<Vec<_>> = links.map(Certificate::parse).collect();
        let verdict = self.judge(
            &end,
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        verdict.map_err(|error| {
            let may_be_ours = links.is_none_or(|links| self.may_lead_to_us(&end, &links));
            match may_be_ours && end.is_valid_at(now) {
                true => error,
                false => Foreign(error).into(),
            }
        })
    }

    fn judge(
        &self,
        end: &Certificate,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<(), TlsError> {
        if end.is_version_1() {
            return Err(Refused::Version1.into());
        }
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
        let Some(verifier) = self.verifier.as_ref().filter(|_| !end.is_self_signed()) else {
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
        if self.is_too_long(end, &chain) {
            return Err(CertificateError::UnknownIssuer.into());
        }
        match self.allow_names(end, &chain) {
            true => Ok(()),
            false => Err(Refused::NameConstraints.into()),
        }
    }

    /// Whether names alone lead from a certificate to a root of the file.
    fn may_lead_to_us(&self, end: &Certificate, links: &[Certificate]) -> bool {
        let Some(ours) = &self.names else {
            return true;
        };
        let mut links: Vec<_> = links.iter().collect();
        let mut above = vec![end.issuer()];
        while let Some(name) = above.pop() {
            if ours.contains(name) {
                return true;
            }
            links.retain(|link| {
                let is_above = link.subject() == name;
                if is_above {
                    above.push(link.issuer());
                }
                !is_above
            });
        }
        false
    }

    /// Whether more authorities may stand between a certificate and ours than ours allows.
    fn is_too_long(&self, end: &Certificate, chain: &[Certificate]) -> bool {
        levels(end, chain).enumerate().any(|(between, level)| {
            let most = |ours: &Certificate| ours.path_length().map(usize::from);
            let mut above = self.authorities_of(&level);
            above.any(|ours| most(ours).is_some_and(|most| between > most))
        })
    }

    /// Whether the authorities above a certificate allow the names in its subject, and in the subjects of
    /// those between.
    fn allow_names(&self, end: &Certificate, chain: &[Certificate]) -> bool {
        let all: Vec<_> = levels(end, chain).flatten().collect();
        let links = all.iter().copied().skip(1);
        let mut above = links.chain(self.authorities_of(&all));
        above.all(|authority| {
            authority.allows_host_of(end)
                && all.iter().all(|below| authority.allows_address_of(below))
        })
    }

    /// Ours that some of these say that they are signed by.
    fn authorities_of<'a>(
        &'a self,
        below: &'a [&Certificate],
    ) -> impl Iterator<Item = &'a Certificate> {
        let ours = self.authorities.iter();
        ours.filter(|ours| below.iter().any(|below| below.is_issued_by(ours)))
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
                // What an authority says of addresses, nobody has held against the CN.
                let links = intermediates.iter().chain(&self.intermediates);
                let is_limited = || {
                    links
                        .map(Certificate::parse)
                        .any(|link| link.is_none_or(|link| link.constrains_names()))
                        || self.authorities.iter().any(Certificate::constrains_names)
                };
                let is_unproven = matches!(server_name, ServerName::IpAddress(_)) && is_limited();
                let parsed = Certificate::parse(end_entity);
                match parsed.filter(|_| !is_unproven) {
                    Some(end) if end.common_name_is(server_name) => Ok(()),
                    _ => Err(error),
                }
            }
        }
    }
}

/// The names of the roots which the lists that there are take out of force: OpenSSL wants one of each
/// authority, which may make such, and holds it against that authority, too. Of several with a name it takes
/// one, and none if that is not in force.
fn out_of_force<'a>(
    certificates: impl Iterator<Item = &'a Certificate>,
    revoked: &Revoked,
) -> Vec<CanonicalName> {
    let is_out = |root: &&Certificate| !root.may_revoke() || revoked.has(root);
    let roots = certificates.filter(|certificate| certificate.is_self_signed());
    match revoked.is_empty() {
        true => Vec::new(),
        false => {
            let names = roots.filter(is_out).map(Certificate::subject);
            names.cloned().collect()
        }
    }
}

/// A certificate, those that it may be signed by, those above them, and so on, by their names alone.
///
/// Every way up: nobody has proven those that a server sends, so a short way may be one that it has made up.
fn levels<'a>(
    end: &'a Certificate,
    chain: &'a [Certificate],
) -> impl Iterator<Item = Vec<&'a Certificate>> {
    let above = |level: &Vec<&Certificate>| {
        let signs = |link: &&Certificate| level.iter().any(|below| below.is_issued_by(link));
        let above: Vec<_> = chain.iter().filter(signs).collect();
        (!above.is_empty()).then_some(above)
    };
    iter::successors(Some(vec![end]), above).take(chain.len() + 1)
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
fn read_certificates(source: &SslRootCert) -> Result<Found> {
    match source {
        SslRootCert::File(path) => {
            let text = fs::read(path).map_err(|error| unreadable(path, pem::Error::Io(error)))?;
            let certificates = CertificateDer::pem_slice_iter(&text)
                .collect::<Result<Vec<_>, _>>()
                .map_err(|error| unreadable(path, error))?;
            if certificates.is_empty() {
                return Err(unreadable(path, pem::Error::NoItemsFound));
            }
            let are_all = certificates_begun(&text) == certificates.len();
            Ok(Found {
                certificates,
                are_all,
            })
        }
        SslRootCert::System => {
            let found = rustls_native_certs::load_native_certs();
            Ok(Found {
                certificates: found.certs,
                are_all: found.errors.is_empty(),
            })
        }
    }
}

/// How many certificates begin in a file of PEM, also those that OpenSSL alone reads: `X509 CERTIFICATE` and
/// `TRUSTED CERTIFICATE`.
fn certificates_begun(text: &[u8]) -> usize {
    let lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let begins =
        |line: &&[u8]| line.starts_with(b"-----BEGIN ") && line.ends_with(b"CERTIFICATE-----");
    lines.filter(begins).count()
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

impl Foreign {
    /// Whether a handshake failed by such a certificate.
    pub(super) fn is_in(error: &TlsError) -> bool {
        matches!(
            error,
            TlsError::InvalidCertificate(CertificateError::Other(other)) if other.0.is::<Self>()
        )
    }
}

impl From<Foreign> for TlsError {
    fn from(foreign: Foreign) -> Self {
        CertificateError::Other(OtherError(Arc::new(foreign))).into()
    }
}

impl From<Refused> for TlsError {
    fn from(refused: Refused) -> Self {
        CertificateError::Other(OtherError(Arc::new(refused))).into()
    }
}

impl std::error::Error for Foreign {}
impl std::error::Error for Refused {}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Version1 => {
                "it is of version 1, as `openssl x509 -req` makes them without -extfile"
            }
            Self::NameConstraints => "its authority may not sign for the name in its subject",
        })
    }
}

/// What rustls shows of errors that are not its own.
impl fmt::Debug for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
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
