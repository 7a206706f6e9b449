//! Certificates that are valid no more (`sslcrl`, `sslcrldir`).

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateRevocationListDer;
use rustls::pki_types::pem::{self, PemObject};

use crate::error::{Error, ErrorKind, Result};

/// All lists of a file, and of a directory.
///
/// # Errors
/// [`ErrorKind::Config`] where a file cannot be read or holds no list: without one every certificate
/// would do, or none.
pub(super) fn read(
    file: Option<&Path>,
    directory: Option<&Path>,
) -> Result<Vec<CertificateRevocationListDer<'static>>> {
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
    for file in files {
        let failed = |error: pem::Error| {
            unreadable(&file)
                .with_source(error)
                .with_hint("sslcrl has to be a PEM file with X509 CRL in it")
        };
        let found = CertificateRevocationListDer::pem_file_iter(&file).map_err(failed)?;
        let before = lists.len();
        for list in found {
            lists.push(list.map_err(failed)?);
        }
        if lists.len() == before {
            return Err(failed(pem::Error::NoItemsFound));
        }
    }
    Ok(lists)
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
