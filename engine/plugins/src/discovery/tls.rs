//! TLS to the servers of a backend: whom to trust, and who the engine says it is.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use hotswap_common::tls::{ClientFiles, ClientTls, Reload as _, SettingNames};
use rustls::ClientConfig;
use tokio::task;
use tracing::warn;

pub use hotswap_common::tls::{CertificateFiles as ClientCertificate, Error as TlsError};

/// What the settings of a source are called.
pub(super) const SETTING_NAMES: SettingNames = SettingNames {
    authorities: "caFile",
    certificate: "clientCertificate and clientKey",
    server: "origins and settings",
};

/// The files for TLS to the servers of a backend. They are read again for each connection, so a
/// renewed certificate needs no restart. The component sees none of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificates of the authorities to trust, in PEM form. Those of the system if `None`.
    pub authorities: Option<PathBuf>,
    /// The certificate that the engine shows to servers that ask for one.
    pub client: Option<ClientCertificate>,
}

impl TlsFiles {
    /// Checks that connections can be made with these files.
    ///
    /// # Errors
    /// [`TlsError`] names the file.
    pub async fn check(&self) -> Result<(), TlsError> {
        let files = self.clone();
        in_background(move || files.open()?.check_trust()).await
    }

    fn open(self) -> Result<ClientTls, TlsError> {
        ClientTls::open(ClientFiles {
            trusts_system: self.authorities.is_none(),
            authorities: self.authorities,
            client: self.client,
            server_name: None,
        })
    }
}

/// Makes the configuration of each connection.
pub(super) struct Tls {
    files: TlsFiles,
    /// `None` before the first connection.
    current: Mutex<Option<(ClientTls, Arc<ClientConfig>)>>,
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
        let current = || self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let last = current().clone();
        if let Some((tls, config)) = last {
            if let Err(error) = in_background(move || tls.reload()).await {
                warn!(%error, "the files for TLS cannot be used; the ones before stay in use");
            }
            return Ok(config);
        }
        let files = self.files.clone();
        let made = in_background(move || {
            let tls = files.open()?;
            tls.check_trust()?;
            let config = Arc::new(tls.config()?);
            Ok((tls, config))
        });
        let (tls, config) = made.await?;
        *current() = Some((tls, Arc::clone(&config)));
        Ok(config)
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
