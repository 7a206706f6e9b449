//! Who we are to a server that asks for a certificate (`sslcert`, `sslkey`, `sslpassword`).

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use pkcs8::{EncryptedPrivateKeyInfoRef, SecretDocument};
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use zeroize::Zeroizing;

use super::auth::Shown;
use super::trust::because;
use crate::config::{ClientCert, Secret};
use crate::error::{Error, ErrorKind, Result};

/// Our certificate, if there is one, and whether a server has been shown it.
#[derive(Debug)]
pub(super) struct Identity {
    key: Option<Arc<CertifiedKey>>,
    shown: Mutex<Shown>,
}

impl Identity {
    /// # Errors
    /// [`ErrorKind::Config`] for files that cannot be read, do not belong together, or hold a key that
    /// others can read too, or that `sslpassword` does not open.
    pub(super) fn read(files: Option<&ClientCert>, provider: &CryptoProvider) -> Result<Arc<Self>> {
        let key = files.map(|files| read(files, provider)).transpose()?;
        Ok(Arc::new(Self {
            key: key.map(Arc::new),
            shown: Mutex::new(Shown::NotAsked),
        }))
    }

    /// Whether the last server that a connection was made to was shown it.
    pub(super) fn shown(&self) -> Shown {
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ResolvesClientCert for Identity {
    fn resolve(&self, _: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let fits = |key: &&Arc<CertifiedKey>| key.key.choose_scheme(schemes).is_some();
        let key = self.key.as_ref().filter(fits).cloned();
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = match key {
            Some(_) => Shown::Sent,
            None => Shown::NotSent,
        };
        key
    }

    /// Also where there is none: that the server asks is to be known.
    fn has_certs(&self) -> bool {
        true
    }
}

fn read(files: &ClientCert, provider: &CryptoProvider) -> Result<CertifiedKey> {
    let unreadable = |error: pem::Error| {
        let failed = failed("cannot read the client certificate", &files.certificate);
        because(failed, error).with_hint("sslcert has to be a PEM file")
    };
    let chain: Vec<_> = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect)
        .map_err(unreadable)?;
    let key = read_key(&files.key, files.passphrase.as_ref())?;
    let unusable = |error| {
        failed("cannot use the client certificate", &files.certificate)
            .with_source(error)
            .with_hint("sslcert has to hold the certificate of the key in sslkey")
    };
    CertifiedKey::from_der(chain, key, provider).map_err(unusable)
}

fn read_key(path: &Path, passphrase: Option<&Secret>) -> Result<PrivateKeyDer<'static>> {
    let failed = |message: &str| failed(message, path);
    check_access(path)?;
    let read =
        fs::read(path).map_err(|error| failed("cannot read the private key").with_source(error));
    let text = Zeroizing::new(read?);
    // What the error of a parser would show is the key, here and below.
    if let Ok(key) = PrivateKeyDer::from_pem_slice(&text) {
        return Ok(key);
    }
    let has = |words: &[u8]| text.windows(words.len()).any(|part| part == words);
    if !has(PKCS8_ENCRYPTED) {
        return Err(failed("cannot read the private key").with_hint(match has(ENCRYPTED) {
            true => {
                "it is encrypted in the way of old: openssl pkcs8 -topk8 -in KEY -out NEW_KEY && \
                 chmod 600 NEW_KEY"
            }
            false => "sslkey has to be a PEM file",
        }));
    }
    let Some(passphrase) = passphrase else {
        return Err(failed("a pass phrase is needed to read the private key")
            .with_hint("set sslpassword, or take the pass phrase off: openssl pkey"));
    };
    let opened = decrypt(&text, passphrase).ok_or_else(|| {
        failed("cannot decrypt the private key").with_hint(
            "sslpassword has to be its pass phrase; and it has to be encrypted with PBES2 and AES, as \
             openssl pkcs8 -topk8 does it",
        )
    })?;
    Ok(PrivatePkcs8KeyDer::from(opened.as_bytes().to_vec()).into())
}

fn decrypt(text: &[u8], passphrase: &Secret) -> Option<SecretDocument> {
    let (_, document) = SecretDocument::from_pem(std::str::from_utf8(text).ok()?).ok()?;
    let key = EncryptedPrivateKeyInfoRef::try_from(document.as_bytes()).ok()?;
    key.decrypt(passphrase.expose()).ok()
}

const PKCS8_ENCRYPTED: &[u8] = b"BEGIN ENCRYPTED PRIVATE KEY";
/// PEM files from before PKCS #8 say so in a line of their own.
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
