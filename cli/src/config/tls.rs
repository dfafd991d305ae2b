use std::path::PathBuf;

use anyhow::{Result, ensure};
use hotswap_common::tls::{ClientFiles, ServerFiles};
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
        let pair = pair((&self.cert, "tls.cert"), (&self.key, "tls.key"))?;
        ensure!(
            pair.is_some() || self.client_ca.is_none(),
            "tls.clientCa asks for certificates over TLS: set tls.cert and tls.key, too"
        );
        Ok(pair.map(|certificate| ServerFiles {
            certificate,
            client_authorities: self.client_ca.clone(),
        }))
    }

    /// The files of requests to nodes.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub fn client_files(&self) -> Result<ClientFiles> {
        let certificate = (&self.client_cert, "tls.clientCert");
        Ok(ClientFiles {
            authorities: self.ca.clone(),
            trusts_system: true,
            client: pair(certificate, (&self.client_key, "tls.clientKey"))?,
            server_name: self.node_name.clone(),
        })
    }
}
