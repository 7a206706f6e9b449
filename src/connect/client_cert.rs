//! Who we are to a server that asks for a certificate (`sslcert`, `sslkey`).

use std::fs;
use std::path::Path;

use rustls::ClientConfig;
use rustls::client::WantsClientCert;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

use crate::config::ClientCert;
use crate::error::{Error, ErrorKind, Result};

/// A configuration that shows this certificate when it is asked for one.
///
/// # Errors
/// [`ErrorKind::Config`] for files that cannot be read, do not belong together, or hold a key that
/// others can read too.
pub(super) fn authenticate(
    config: rustls::ConfigBuilder<ClientConfig, WantsClientCert>,
    files: &ClientCert,
) -> Result<ClientConfig> {
    let unreadable = |error: pem::Error| {
        let error =
            failed("cannot read the client certificate", &files.certificate).with_source(error);
        error.with_hint("sslcert has to be a PEM file")
    };
    let chain: Vec<_> = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect)
        .map_err(unreadable)?;
    let key = read_key(&files.key)?;
    config.with_client_auth_cert(chain, key).map_err(|error| {
        failed("cannot use the client certificate", &files.certificate)
            .with_source(error)
            .with_hint("sslcert has to hold the certificate of the key in sslkey")
    })
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>> {
    let failed = |message: &str| failed(message, path);
    check_access(path)?;
    let read =
        fs::read(path).map_err(|error| failed("cannot read the private key").with_source(error));
    let text = Zeroizing::new(read?);
    // What the error of a parser would show is the key.
    PrivateKeyDer::from_pem_slice(&text).map_err(|_| {
        let encrypted = text.windows(ENCRYPTED.len()).any(|part| part == ENCRYPTED);
        match encrypted {
            true => failed("the private key is encrypted, which is not supported yet:").with_hint(
                "take off its pass phrase, and keep the file to yourself: \
                 openssl pkey -in KEY -out NEW_KEY && chmod 600 NEW_KEY",
            ),
            false => failed("cannot read the private key").with_hint("sslkey has to be a PEM file"),
        }
    })
}

const ENCRYPTED: &[u8] = b"ENCRYPTED";

/// Who else may read a key may be us. The rule of libpq: `fe-secure-openssl.c`.
fn check_access(path: &Path) -> Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let metadata = fs::metadata(path)
            .map_err(|error| failed("cannot read the private key", path).with_source(error))?;
        // Distributions keep keys that belong to root, with a group of those who may read them.
        let others = if metadata.uid() == 0 { 0o037 } else { 0o077 };
        if metadata.mode() & others != 0 {
            let error = failed("others have access to the private key", path);
            return Err(
                error.with_hint("chmod 600 the file of sslkey; if root owns it, 640 will do")
            );
        }
    }
    Ok(())
}

fn failed(message: &str, path: &Path) -> Error {
    Error::new(ErrorKind::Config, format!("{message} {}", path.display()))
}
