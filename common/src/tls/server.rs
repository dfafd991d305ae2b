use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::server::{NoClientAuth, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::certificates_by_name::CertificatesByName;
use super::files::{Fingerprint, Pair, certificates, provider, read};
use super::{CertificateFiles, Error, Reload, Stream};

/// How long a client may take for the handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// The files of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerFiles {
    /// The certificate that the server shows.
    pub certificate: CertificateFiles,
    /// Further certificates. A client that names a host gets the first of all certificates that is
    /// for it (Server Name Indication, RFC 6066), else [`Self::certificate`].
    pub further: Vec<CertificateFiles>,
    /// The certificates of the authorities that clients' certificates must be of. Without it, the
    /// server asks for none.
    pub client_authorities: Option<PathBuf>,
}

/// TLS of a server, with HTTP/2 and HTTP/1.1. Cheap to clone; all clones read the same files.
#[derive(Clone)]
pub struct ServerTls(Arc<Inner>);

struct Inner {
    files: ServerFiles,
    name: &'static str,
    current: ArcSwap<Current>,
}

struct Current {
    fingerprint: Fingerprint,
    config: Arc<ServerConfig>,
}

/// The contents of the files.
struct Contents {
    /// One at least.
    certificates: Vec<Pair>,
    client_authorities: Option<Vec<u8>>,
}

impl ServerFiles {
    fn certificates(&self) -> impl Iterator<Item = &CertificateFiles> {
        [&self.certificate].into_iter().chain(&self.further)
    }
}

impl ServerTls {
    /// Reads the files. Blocks. `name` is what logs call the certificate.
    ///
    /// # Errors
    /// [`Error`] names the file that cannot be used.
    pub fn open(files: ServerFiles, name: &'static str) -> Result<Self, Error> {
        let contents = read_all(&files)?;
        let current = Current {
            fingerprint: contents.fingerprint(),
            config: Arc::new(build(&files, &contents)?),
        };
        Ok(Self(Arc::new(Inner {
            files,
            name,
            current: ArcSwap::from_pointee(current),
        })))
    }

    /// Whether the server asks clients for a certificate. A client without one can connect; the
    /// server decides by [`Stream::client_certificate`] what it may do.
    pub fn asks_for_certificates(&self) -> bool {
        self.0.files.client_authorities.is_some()
    }
}

impl Reload for ServerTls {
    fn reload(&self) -> Result<bool, Error> {
        let contents = read_all(&self.0.files)?;
        let fingerprint = contents.fingerprint();
        if self.0.current.load().fingerprint == fingerprint {
            return Ok(false);
        }
        let config = Arc::new(build(&self.0.files, &contents)?);
        let current = Current {
            fingerprint,
            config,
        };
        // Connections that are open keep the certificate with which they began.
        self.0.current.store(Arc::new(current));
        Ok(true)
    }

    fn name(&self) -> &'static str {
        self.0.name
    }
}

/// Does the handshake of a connection, where the server has TLS.
///
/// # Errors
/// If the handshake fails, or takes longer than ten seconds.
pub async fn accept(tls: Option<&ServerTls>, stream: TcpStream) -> io::Result<Stream> {
    let Some(tls) = tls else {
        return Ok(Stream::Plain(stream));
    };
    let config = Arc::clone(&tls.0.current.load().config);
    let handshake = TlsAcceptor::from(config).accept(stream);
    match tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake).await {
        Ok(stream) => Ok(Stream::Tls(Box::new(stream?))),
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

fn read_all(files: &ServerFiles) -> Result<Contents, Error> {
    let certificates = files.certificates().map(CertificateFiles::read);
    Ok(Contents {
        certificates: certificates.collect::<Result<_, _>>()?,
        client_authorities: files.client_authorities.as_deref().map(read).transpose()?,
    })
}

impl Contents {
    fn fingerprint(&self) -> Fingerprint {
        let pairs = self.certificates.iter();
        let files = pairs.flat_map(|(certificate, key)| [Some(&**certificate), Some(&**key)]);
        let files = files.chain([self.client_authorities.as_deref()]);
        Fingerprint::of(&files.collect::<Vec<_>>())
    }
}

fn build(files: &ServerFiles, contents: &Contents) -> Result<ServerConfig, Error> {
    let pairs = files.certificates().zip(&contents.certificates);
    let pairs = pairs.map(|(files, pair)| files.parse(pair));
    let resolver = CertificatesByName(pairs.collect::<Result<_, _>>()?);
    let verifier = match (&contents.client_authorities, &files.client_authorities) {
        (Some(content), Some(path)) => {
            let mut roots = RootCertStore::empty();
            for authority in certificates(content, path)? {
                let added = roots.add(authority);
                added.map_err(|_| Error::NoCertificate(path.clone()))?;
            }
            let provider = Arc::clone(provider());
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            // Probes and people have none.
            let verifier = verifier.allow_unauthenticated().build();
            verifier.map_err(|_| Error::NoCertificate(path.clone()))?
        }
        _ => Arc::new(NoClientAuth),
    };
    let mut config = ServerConfig::builder_with_provider(Arc::clone(provider()))
        .with_safe_default_protocol_versions()
        .map_err(Error::Provider)?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(resolver));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ServerTls").field(&self.0.files).finish()
    }
}
