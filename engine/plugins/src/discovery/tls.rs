//! TLS to the servers of a backend: whom to trust, and who the engine says it is.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use hotswap_core::Digest;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use tokio::task;
use tracing::warn;

/// Bytes of the largest file. A bundle of all root certificates has a fourth of that.
const MAX_BYTES: u64 = 1 << 20;

/// The files for TLS to the servers of a backend. They are read again for each connection, so a
/// renewed certificate needs no restart. The component sees none of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificates of the authorities to trust, in PEM form. Those of the system if `None`.
    pub authorities: Option<PathBuf>,
    /// The certificate that the engine shows to servers that ask for one.
    pub client: Option<ClientCertificate>,
}

/// Files with a certificate and its key, in PEM form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The certificate, and those between it and its authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Why there can be no TLS with these files.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {}: {reason}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: io::Error,
    },
    /// A file has no certificate, or one that is none.
    #[error("{} holds no certificate in PEM form, or one that is damaged", .0.display())]
    NoCertificate(PathBuf),
    /// A file has no private key.
    #[error("{} holds no private key in PEM form", .0.display())]
    NoKey(PathBuf),
    /// The key is not the one of the certificate, or is of an unknown kind.
    #[error("the client's certificate and key cannot be used together: {0}")]
    Client(rustls::Error),
    /// The system trusts nobody.
    #[error(
        "this system has no certificates of authorities: install them (package ca-certificates), \
         or set caFile"
    )]
    NoAuthorities,
    /// The cryptography of this build cannot do TLS.
    #[error("TLS cannot be used: {0}")]
    Provider(rustls::Error),
}

impl TlsFiles {
    /// Checks that connections can be made with these files.
    ///
    /// # Errors
    /// [`TlsError`] names the file.
    pub async fn check(&self) -> Result<(), TlsError> {
        let files = self.clone();
        in_background(move || build(&files, &files.read()?))
            .await
            .map(drop)
    }

    fn read(&self) -> Result<Contents, TlsError> {
        let authorities = self.authorities.as_deref().map(read).transpose()?;
        let client = self.client.as_ref().map(|client| {
            let certificate = read(&client.certificate)?;
            Ok((certificate, read(&client.key)?))
        });
        Ok(Contents {
            authorities,
            client: client.transpose()?,
        })
    }
}

/// The files of [`TlsFiles`].
struct Contents {
    authorities: Option<Vec<u8>>,
    client: Option<(Vec<u8>, Vec<u8>)>,
}

impl Contents {
    /// Tells contents apart. The key itself is not kept for that.
    fn digest(&self) -> Digest {
        let (certificate, key) = self.client.as_ref().map_or((&[][..], &[][..]), |client| {
            (client.0.as_slice(), client.1.as_slice())
        });
        let authorities = self.authorities.as_deref().unwrap_or_default();
        let parts = [authorities, certificate, key].map(|part| Digest::of(part).to_string());
        Digest::of(parts.concat().as_bytes())
    }
}

/// Makes the configuration of each connection.
pub(super) struct Tls {
    files: TlsFiles,
    /// What the files said last, and what became of it.
    current: Mutex<Option<(Digest, Arc<ClientConfig>)>>,
}

impl Tls {
    pub(super) fn new(files: TlsFiles) -> Self {
        Self {
            files,
            current: Mutex::new(None),
        }
    }

    /// The configuration by the files as they are now. Where they cannot be used any more, such as
    /// in the middle of a renewal, the last one that could.
    pub(super) async fn config(&self) -> Result<Arc<ClientConfig>, TlsError> {
        let files = self.files.clone();
        let current = || self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let last = current().clone();
        let known = last.as_ref().map(|(digest, _)| *digest);
        let made = in_background(move || {
            let contents = files.read()?;
            let digest = contents.digest();
            match known == Some(digest) {
                true => Ok(None),
                false => Ok(Some((digest, Arc::new(build(&files, &contents)?)))),
            }
        });
        match (made.await, last) {
            (Ok(None), Some((_, config))) => Ok(config),
            (Ok(Some((digest, config))), _) => {
                *current() = Some((digest, Arc::clone(&config)));
                Ok(config)
            }
            (Err(error), Some((_, config))) => {
                warn!(%error, "the files for TLS cannot be used; the ones before stay in use");
                Ok(config)
            }
            (Err(error), None) => Err(error),
            (Ok(None), None) => Err(TlsError::NoAuthorities),
        }
    }
}

async fn in_background<R: Send + 'static>(
    work: impl FnOnce() -> Result<R, TlsError> + Send + 'static,
) -> Result<R, TlsError> {
    match task::spawn_blocking(work).await {
        Ok(done) => done,
        // It is stopped only with the whole process.
        Err(_) => Err(TlsError::NoAuthorities),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let mut content = Vec::new();
    let file = File::open(path);
    let read = file.and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut content));
    let read = read.and_then(|length| match u64::try_from(length) {
        Ok(length) if length <= MAX_BYTES => Ok(()),
        _ => Err(io::Error::other("it is larger than 1 MiB")),
    });
    match read {
        Ok(()) => Ok(content),
        Err(reason) => Err(TlsError::Read {
            path: path.to_owned(),
            reason,
        }),
    }
}

fn build(files: &TlsFiles, contents: &Contents) -> Result<ClientConfig, TlsError> {
    let mut roots = RootCertStore::empty();
    match (&contents.authorities, &files.authorities) {
        (Some(content), Some(path)) => {
            for authority in certificates(content, path)? {
                let added = roots.add(authority);
                added.map_err(|_| TlsError::NoCertificate(path.clone()))?;
            }
        }
        _ => {
            roots.add_parsable_certificates(system_authorities().iter().cloned());
            if roots.is_empty() {
                return Err(TlsError::NoAuthorities);
            }
        }
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Provider)?
        .with_root_certificates(roots);
    let mut config = match (&contents.client, &files.client) {
        (Some((certificate, key)), Some(paths)) => {
            let chain = certificates(certificate, &paths.certificate)?;
            let key = PrivateKeyDer::from_pem_slice(key);
            let key = key.map_err(|_| TlsError::NoKey(paths.key.clone()))?;
            let builder = builder.with_client_auth_cert(chain, key);
            builder.map_err(TlsError::Client)?
        }
        _ => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn certificates(content: &[u8], path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(content).collect();
    match all {
        Ok(all) if !all.is_empty() => Ok(all),
        _ => Err(TlsError::NoCertificate(path.to_owned())),
    }
}

/// Those whom the system trusts. Read once: to read and parse them takes some milliseconds.
fn system_authorities() -> &'static [CertificateDer<'static>] {
    static AUTHORITIES: OnceLock<Vec<CertificateDer<'static>>> = OnceLock::new();
    AUTHORITIES.get_or_init(|| {
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            warn!(%error, "a certificate of an authority of this system cannot be read");
        }
        found.certs
    })
}
