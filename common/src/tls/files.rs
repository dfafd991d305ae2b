//! Files in PEM form.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use sha2::{Digest as _, Sha256};

use super::Error;

/// Bytes of the largest file. A bundle of all root certificates has a fourth of that.
const MAX_BYTES: u64 = 1 << 20;

/// Files with a certificate and its key, in PEM form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate, and those between it and its authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// What files held when they were read. Tells contents apart, and keeps none of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fingerprint([u8; 32]);

/// A certificate with its key, as a file each.
pub(super) type Pair = (Vec<u8>, Vec<u8>);

impl CertificateFiles {
    pub(super) fn read(&self) -> Result<Pair, Error> {
        Ok((read(&self.certificate)?, read(&self.key)?))
    }

    /// # Errors
    /// If the files hold no pair.
    pub(super) fn parse(&self, (chain, key): &Pair) -> Result<Arc<CertifiedKey>, Error> {
        let chain = certificates(chain, &self.certificate)?;
        let key = PrivateKeyDer::from_pem_slice(key);
        let key = key.map_err(|_| Error::NoKey(self.key.clone()))?;
        let pair = CertifiedKey::from_der(chain, key, provider());
        pair.map(Arc::new).map_err(|reason| Error::Pair {
            path: self.certificate.clone(),
            reason,
        })
    }
}

impl Fingerprint {
    /// The fingerprint of these contents in this order. One that is absent differs from one that
    /// is empty.
    pub(super) fn of(contents: &[Option<&[u8]>]) -> Self {
        let mut all = Sha256::new();
        for content in contents {
            match content {
                Some(content) => all.update(Sha256::digest(content)),
                None => all.update([0]),
            }
        }
        Self(all.finalize().into())
    }
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let mut content = Vec::new();
    let file = File::open(path);
    let read = file.and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut content));
    let read = read.and_then(|length| match u64::try_from(length) {
        Ok(length) if length <= MAX_BYTES => Ok(()),
        _ => Err(io::Error::other("it is larger than 1 MiB")),
    });
    match read {
        Ok(()) => Ok(content),
        Err(reason) => Err(Error::Read {
            path: path.to_owned(),
            reason,
        }),
    }
}

/// The certificates of a file: one at least.
pub(super) fn certificates(
    content: &[u8],
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, Error> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(content).collect();
    match all {
        Ok(all) if !all.is_empty() => Ok(all),
        _ => Err(Error::NoCertificate(path.to_owned())),
    }
}

/// The cryptography of all of TLS.
pub(super) fn provider() -> &'static Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER.get_or_init(|| Arc::new(default_provider()))
}
