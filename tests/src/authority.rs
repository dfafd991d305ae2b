use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use hotswap_common::tls::{ClientFiles, ClientTls};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
    SanType,
};

/// An authority that issues certificates, and writes them to files as their owners need them.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    /// A new one. No two trust each other.
    ///
    /// # Errors
    /// If there is no randomness for a key.
    pub fn new() -> Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params
            .distinguished_name
            .push(DnType::CommonName, "authority of tests");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        Ok(Self(issuer))
    }

    /// Writes its own certificate as `{name}.crt`.
    ///
    /// # Errors
    /// If the folder cannot be written.
    pub fn write(&self, folder: &Path, name: &str) -> Result<PathBuf> {
        let file = folder.join(format!("{name}.crt"));
        std::fs::write(&file, self.0.pem())?;
        Ok(file)
    }

    /// Issues a certificate for this machine's loopback address, and for `host`. Writes it and its
    /// key as `{name}.crt` and `{name}.key`, in the place of earlier ones.
    ///
    /// # Errors
    /// If the folder cannot be written.
    pub fn issue(&self, folder: &Path, name: &str, host: &str) -> Result<()> {
        self.issue_for(folder, name, &[host])
    }

    /// As [`Self::issue`], for several hosts, which may be addresses.
    ///
    /// # Errors
    /// If the folder cannot be written.
    pub fn issue_for(&self, folder: &Path, name: &str, hosts: &[&str]) -> Result<()> {
        let hosts: Vec<_> = hosts.iter().map(|&host| host.to_owned()).collect();
        let mut params = CertificateParams::new(hosts)?;
        // OpenSSL takes a certificate for its own issuer's where both have one name.
        params.distinguished_name.push(DnType::CommonName, name);
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        params.subject_alt_names.push(SanType::IpAddress(loopback));
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.0)?;
        std::fs::write(folder.join(format!("{name}.crt")), certificate.pem())?;
        std::fs::write(folder.join(format!("{name}.key")), key.serialize_pem())?;
        Ok(())
    }

    /// An HTTP client that trusts this authority alone, with the certificate `client`, if any.
    ///
    /// # Errors
    /// If the files cannot be used.
    pub fn client(&self, folder: &Path, client: Option<&str>) -> Result<reqwest::Client> {
        Ok(self.client_builder(folder, client)?.build()?)
    }

    /// As [`Self::client`], where `host` is at `addr`.
    ///
    /// # Errors
    /// If the files cannot be used.
    pub fn client_of(
        &self,
        folder: &Path,
        host: &str,
        addr: SocketAddr,
    ) -> Result<reqwest::Client> {
        Ok(self
            .client_builder(folder, None)?
            .resolve(host, addr)
            .build()?)
    }

    fn client_builder(
        &self,
        folder: &Path,
        client: Option<&str>,
    ) -> Result<reqwest::ClientBuilder> {
        let files = ClientFiles {
            authorities: Some(self.write(folder, "trusted")?),
            trusts_system: false,
            client: client.map(|name| hotswap_common::tls::CertificateFiles {
                certificate: folder.join(format!("{name}.crt")),
                key: folder.join(format!("{name}.key")),
            }),
            ..ClientFiles::default()
        };
        let config = ClientTls::open(files)?.config()?;
        Ok(reqwest::Client::builder()
            .tls_backend_preconfigured(config)
            .timeout(Duration::from_secs(60))
            .no_proxy())
    }
}
