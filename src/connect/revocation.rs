//! Certificates that are valid no more (`sslcrl`, `sslcrldir`).

use std::cmp::Reverse;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateRevocationListDer, UnixTime};
use x509_cert::certificate::Rfc5280;
use x509_cert::crl::CertificateList;
use x509_cert::der::Decode;

use super::certificate::Certificate;
use super::name::CanonicalName;
use super::trust::because;
use crate::error::{Error, ErrorKind, Result};

/// Lists of certificates that are valid no more, the newest first: OpenSSL takes that of an issuer, and
/// rustls the first one.
pub(super) struct Revoked(Vec<(CertificateList<Rfc5280>, Der)>);

type Der = CertificateRevocationListDer<'static>;

impl Revoked {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a list says so; that its authority has signed it is not proven.
    pub(super) fn has(&self, certificate: &Certificate) -> bool {
        self.0
            .iter()
            .any(|(list, _)| certificate.is_revoked_by(list))
    }

    pub(super) fn into_lists(self) -> Vec<Der> {
        self.0.into_iter().map(|(_, list)| list).collect()
    }
}

/// All lists of a file, and of a directory; and where there are such, those in the file of roots, too, as
/// OpenSSL reads them.
///
/// # Errors
/// [`ErrorKind::Config`] where a file cannot be read or holds no list: without one every certificate
/// would do, or none.
pub(super) fn read(
    file: Option<&Path>,
    directory: Option<&Path>,
    roots: Option<&Path>,
) -> Result<Revoked> {
    let mut files: Vec<PathBuf> = file.map(Path::to_owned).into_iter().collect();
    if let Some(directory) = directory {
        let found = hashed(directory).map_err(|error| unreadable(directory).with_source(error))?;
        if found.is_empty() {
            let hint = "`openssl rehash DIRECTORY` gives the files their names";
            return Err(unreadable(directory).with_hint(hint));
        }
        files.extend(found);
    }
    let mut lists = Vec::new();
    for file in &files {
        let found = lists_of(file)?;
        if found.is_empty() {
            return Err(no_lists(file, pem::Error::NoItemsFound));
        }
        lists.extend(found);
    }
    if let Some(roots) = roots.filter(|_| !lists.is_empty()) {
        lists.extend(lists_of(roots)?);
    }
    newest_first(lists)
}

fn lists_of(file: &Path) -> Result<Vec<Der>> {
    let found = CertificateRevocationListDer::pem_file_iter(file);
    let lists = found.and_then(Iterator::collect);
    lists.map_err(|error| no_lists(file, error))
}

fn no_lists(file: &Path, error: pem::Error) -> Error {
    because(unreadable(file), error).with_hint("sslcrl has to be a PEM file with X509 CRL in it")
}

fn newest_first(lists: Vec<Der>) -> Result<Revoked> {
    let mut read = Vec::new();
    for list in lists {
        let unusable = || {
            Error::new(
                ErrorKind::Config,
                "cannot use a list of revoked certificates",
            )
            .with_hint("a list is made with `openssl ca -gencrl`, and holds from now on")
        };
        let parsed = CertificateList::<Rfc5280>::from_der(&list).map_err(|_| unusable())?;
        if made(&parsed).as_secs() > UnixTime::now().as_secs() {
            return Err(unusable());
        }
        let issuer = CanonicalName::of(&parsed.tbs_cert_list.issuer).ok_or_else(unusable)?;
        read.push((issuer, parsed, list));
    }
    let newest = read.iter().map(|(issuer, list, _)| {
        let mut others = read.iter().filter(|(name, ..)| name == issuer);
        others.all(|(_, other, _)| !is_spelled_anew(list, other))
    });
    let newest: Vec<_> = newest.collect();
    let kept = read
        .into_iter()
        .zip(newest)
        .filter(|(_, is_newest)| *is_newest);
    let mut kept: Vec<_> = kept.map(|((_, list, der), _)| (list, der)).collect();
    kept.sort_by_key(|(list, _)| Reverse(made(list)));
    Ok(Revoked(kept))
}

/// Whether the name of a list's authority is spelled in another way by a list that may be newer. OpenSSL takes
/// that one, and rustls, which compares bytes, the one that is spelled as certificates have it: without
/// either there is no list of the authority, and nothing of it is trusted.
fn is_spelled_anew(list: &CertificateList<Rfc5280>, other: &CertificateList<Rfc5280>) -> bool {
    list.tbs_cert_list.issuer != other.tbs_cert_list.issuer && made(list) <= made(other)
}

fn made(list: &CertificateList<Rfc5280>) -> Duration {
    list.tbs_cert_list.this_update.to_unix_duration()
}

/// The files that OpenSSL would look into, in their order: eight digits of a hash, and `.r` with a
/// number.
fn hashed(directory: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in directory.read_dir()? {
        let path = entry?.path();
        let stem = path.file_stem().and_then(OsStr::to_str).unwrap_or_default();
        let extension = path.extension().and_then(OsStr::to_str).unwrap_or_default();
        let number = extension.strip_prefix('r').unwrap_or_default();
        let is_hash = stem.len() == 8 && stem.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_hash && !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn unreadable(path: &Path) -> Error {
    Error::new(
        ErrorKind::Config,
        format!("cannot read the revoked certificates in {}", path.display()),
    )
}
