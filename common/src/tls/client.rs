use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, Resumption, WebPkiServerVerifier};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::files::{Fingerprint, Pair, certificates, provider, read};
use super::{CertificateFiles, Error, Reload};

/// Whom a client trusts, and who it says it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientFiles {
    /// The certificates of authorities to trust.
    pub authorities: Option<PathBuf>,
    /// Whether to trust the authorities of this system. They are read when they are first needed.
    pub trusts_system: bool,
    /// The certificate that the client shows to servers that ask for one.
    pub client: Option<CertificateFiles>,
    /// The name that certificates of servers must be for, instead of the host of the URL.
    pub server_name: Option<String>,
}

impl Default for ClientFiles {
    fn default() -> Self {
        Self {
            authorities: None,
            trusts_system: true,
            client: None,
            server_name: None,
        }
    }
}

/// TLS of a client. Cheap to clone; all clones read the same files. The default trusts the
/// authorities of this system.
#[derive(Clone)]
pub struct ClientTls(Arc<Inner>);

struct Inner {
    files: ClientFiles,
    server_name: Option<ServerName<'static>>,
    current: ArcSwap<Current>,
}

struct Current {
    fingerprint: Fingerprint,
    authorities: Vec<CertificateDer<'static>>,
    trusts_system: bool,
    /// `None` inside where nobody is trusted. Made at the first handshake: the authorities of the
    /// system take some milliseconds, and most clients need none.
    verifier: OnceLock<Option<Arc<WebPkiServerVerifier>>>,
    client: Option<Arc<CertifiedKey>>,
}

/// The contents of the files.
struct Contents {
    authorities: Option<Vec<u8>>,
    client: Option<Pair>,
}

impl ClientTls {
    /// Reads the files. Blocks.
    ///
    /// # Errors
    /// [`Error`] names the file that cannot be used.
    pub fn open(files: ClientFiles) -> Result<Self, Error> {
        let current = Current::of(&files, &Contents::read(&files)?)?;
        let server_name = files.server_name.clone().map(|name| {
            let parsed = ServerName::try_from(name.clone());
            parsed.map_err(|_| Error::Name(name))
        });
        Ok(Self(Arc::new(Inner {
            server_name: server_name.transpose()?,
            files,
            current: ArcSwap::from_pointee(current),
        })))
    }

    /// Checks that it trusts anybody. Blocks.
    ///
    /// # Errors
    /// [`Error::NoAuthorities`].
    pub fn check_trust(&self) -> Result<(), Error> {
        let current = self.0.current.load();
        current.verifier().map(drop).ok_or(Error::NoAuthorities)
    }

    /// A configuration for HTTP/1.1 that follows the files: each handshake goes by what they hold
    /// at that moment.
    ///
    /// # Errors
    /// [`Error::Provider`].
    pub fn config(&self) -> Result<ClientConfig, Error> {
        let mut config = ClientConfig::builder_with_provider(Arc::clone(provider()))
            .with_safe_default_protocol_versions()
            .map_err(Error::Provider)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(self.clone()))
            .with_client_cert_resolver(Arc::new(self.clone()));
        // A session that is resumed asks neither for certificates nor for trust.
        config.resumption = Resumption::disabled();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }
}

impl Default for ClientTls {
    fn default() -> Self {
        let files = ClientFiles::default();
        let current = Current {
            fingerprint: Fingerprint::of(&[None, None, None]),
            authorities: Vec::new(),
            trusts_system: files.trusts_system,
            verifier: OnceLock::new(),
            client: None,
        };
        Self(Arc::new(Inner {
            files,
            server_name: None,
            current: ArcSwap::from_pointee(current),
        }))
    }
}

impl Contents {
    fn read(files: &ClientFiles) -> Result<Self, Error> {
        let client = files.client.as_ref();
        Ok(Self {
            authorities: files.authorities.as_deref().map(read).transpose()?,
            client: client.map(CertificateFiles::read).transpose()?,
        })
    }

    fn fingerprint(&self) -> Fingerprint {
        let client = self.client.as_ref();
        Fingerprint::of(&[
            self.authorities.as_deref(),
            client.map(|pair| &*pair.0),
            client.map(|pair| &*pair.1),
        ])
    }
}

impl Current {
    fn of(files: &ClientFiles, contents: &Contents) -> Result<Self, Error> {
        let authorities = match (&contents.authorities, &files.authorities) {
            (Some(content), Some(path)) => {
                let all = certificates(content, path)?;
                let mut roots = RootCertStore::empty();
                for authority in all.clone() {
                    let added = roots.add(authority);
                    added.map_err(|_| Error::NoCertificate(path.clone()))?;
                }
                all
            }
            _ => Vec::new(),
        };
        let client = match (&contents.client, &files.client) {
            (Some(pair), Some(paths)) => Some(paths.parse(pair)?),
            _ => None,
        };
        Ok(Self {
            fingerprint: contents.fingerprint(),
            authorities,
            trusts_system: files.trusts_system,
            verifier: OnceLock::new(),
            client,
        })
    }

    fn verifier(&self) -> Option<&Arc<WebPkiServerVerifier>> {
        let make = || {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(self.authorities.iter().cloned());
            if self.trusts_system {
                roots.add_parsable_certificates(system_authorities().iter().cloned());
            }
            let provider = Arc::clone(provider());
            let builder = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.build().ok()
        };
        self.verifier.get_or_init(make).as_ref()
    }
}

/// The certificate authorities that the system trusts.
fn system_authorities() -> &'static [CertificateDer<'static>] {
    static AUTHORITIES: OnceLock<Vec<CertificateDer<'static>>> = OnceLock::new();
    AUTHORITIES.get_or_init(|| {
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            tracing::warn!(%error, "a certificate of an authority of this system cannot be read");
        }
        found.certs
    })
}

impl Reload for ClientTls {
    fn reload(&self) -> Result<bool, Error> {
        let contents = Contents::read(&self.0.files)?;
        if self.0.current.load().fingerprint == contents.fingerprint() {
            return Ok(false);
        }
        let current = Current::of(&self.0.files, &contents)?;
        self.0.current.store(Arc::new(current));
        Ok(true)
    }

    fn name(&self) -> &'static str {
        "the certificate or the authorities for connections to others"
    }
}

impl ServerCertVerifier for ClientTls {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let current = self.0.current.load();
        let verifier = current.verifier();
        let verifier =
            verifier.ok_or_else(|| rustls::Error::General(Error::NoAuthorities.to_string()))?;
        let name = self.0.server_name.as_ref().unwrap_or(name);
        verifier.verify_server_cert(certificate, between, name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &provider().signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &provider().signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &provider().signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

impl ResolvesClientCert for ClientTls {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.current.load().client.clone()
    }

    fn has_certs(&self) -> bool {
        self.0.files.client.is_some()
    }
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ClientTls").field(&self.0.files).finish()
    }
}
