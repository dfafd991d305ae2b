use std::path::PathBuf;

use anyhow::{Result, ensure};
use hotswap_common::tls::{CertificateFiles, ClientFiles, ServerFiles};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::args::pair;

/// HTTPS: of the API, and of the engine's requests to nodes with `https://` addresses. All files are
/// in PEM form, and are read again when they change. See docs/TLS.md.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Tls {
    /// The certificate of the API, with those between it and its authority. With it, the API speaks
    /// HTTPS alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"/etc/hotswap/tls.crt")]
    pub cert: Option<PathBuf>,
    /// The key of that certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"/etc/hotswap/tls.key")]
    pub key: Option<PathBuf>,
    /// Further certificates. A client that names a host gets the first certificate that is for it,
    /// else `cert`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(example = [Certificate::example()])]
    pub certificates: Vec<Certificate>,
    /// The authorities of the nodes' certificates. With it, a node needs one besides its token.
    /// People need none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"/etc/hotswap/nodes-ca.crt")]
    pub client_ca: Option<PathBuf>,
    /// Authorities to trust in requests to nodes, besides those of the system.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"/etc/hotswap/ca.crt")]
    pub ca: Option<PathBuf>,
    /// The certificate that the engine shows to nodes that ask for one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"/etc/hotswap/engine.crt")]
    pub client_cert: Option<PathBuf>,
    /// The key of that certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"/etc/hotswap/engine.key")]
    pub client_key: Option<PathBuf>,
    /// The name that the nodes' certificates must be for. Without it, the host in a node's address,
    /// which for a pod is often an IP address.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"nodes.hotswap.internal")]
    pub node_name: Option<String>,
}

/// A certificate of the API, with its key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// The certificate, with those between it and its authority.
    #[schemars(example = &"/etc/hotswap/internal.crt")]
    pub cert: PathBuf,
    /// The key of that certificate.
    #[schemars(example = &"/etc/hotswap/internal.key")]
    pub key: PathBuf,
}

impl Certificate {
    /// One for the example of a configuration.
    fn example() -> Self {
        Self {
            cert: PathBuf::from("/etc/hotswap/internal.crt"),
            key: PathBuf::from("/etc/hotswap/internal.key"),
        }
    }
}

impl From<CertificateFiles> for Certificate {
    fn from(files: CertificateFiles) -> Self {
        Self {
            cert: files.certificate,
            key: files.key,
        }
    }
}

impl Tls {
    /// Checks that no file misses another one.
    ///
    /// # Errors
    /// Names the key that is missing.
    pub fn check(&self) -> Result<()> {
        self.server_files()?;
        self.client_files()?;
        Ok(())
    }

    /// The files of the API. `None` where it speaks plain HTTP.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub fn server_files(&self) -> Result<Option<ServerFiles>> {
        let pair = pair(
            (self.cert.as_ref(), "tls.cert"),
            (self.key.as_ref(), "tls.key"),
        )?;
        ensure!(
            pair.is_some() || self.client_ca.is_none(),
            "tls.clientCa asks for certificates over TLS: set tls.cert and tls.key, too"
        );
        ensure!(
            pair.is_some() || self.certificates.is_empty(),
            "tls.certificates are further ones: set tls.cert and tls.key, too"
        );
        let further = self.certificates.iter().map(|pair| CertificateFiles {
            certificate: pair.cert.clone(),
            key: pair.key.clone(),
        });
        Ok(pair.map(|certificate| ServerFiles {
            certificate,
            further: further.collect(),
            client_authorities: self.client_ca.clone(),
        }))
    }

    /// The files of requests to nodes.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub fn client_files(&self) -> Result<ClientFiles> {
        let certificate = (self.client_cert.as_ref(), "tls.clientCert");
        Ok(ClientFiles {
            authorities: self.ca.clone(),
            trusts_system: true,
            client: pair(certificate, (self.client_key.as_ref(), "tls.clientKey"))?,
            server_name: self.node_name.clone(),
        })
    }
}
