use std::path::PathBuf;

use clap::Args;
use hotswap_common::tls::{CertificateFiles, ClientFiles, ServerFiles};

use super::path::path_parser;
use crate::exit::UsageError;

/// TLS of a server.
#[derive(Debug, Clone, Default, Args)]
pub struct ServerTlsArgs {
    /// Speak HTTPS, with the certificate in this file in PEM form, and with those between it and
    /// its authority; read again when it changes. Given several times, each with its --tls-key, a
    /// client gets the certificate of the host that it names, else the first
    #[arg(long, value_name = "FILE", env = "HOTSWAP_TLS_CERT", value_parser = path_parser())]
    pub tls_cert: Vec<PathBuf>,
    /// The key of that certificate
    #[arg(long, value_name = "FILE", env = "HOTSWAP_TLS_KEY", value_parser = path_parser())]
    pub tls_key: Vec<PathBuf>,
    /// The authorities of client certificates: of nodes to the engine, of the engine to nodes, who
    /// then need one. People and health checks need none
    #[arg(long, value_name = "FILE", env = "HOTSWAP_TLS_CLIENT_CA", value_parser = path_parser())]
    pub tls_client_ca: Option<PathBuf>,
}

/// TLS of connections to others.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Options of all commands")]
pub struct ClientTlsArgs {
    /// A file with certificates of authorities to trust, in PEM form, besides those of the system
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "HOTSWAP_CA",
        value_parser = path_parser()
    )]
    pub ca: Option<PathBuf>,
    /// The certificate to show to servers that ask for one, in PEM form; needs --client-key
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "HOTSWAP_CLIENT_CERT",
        value_parser = path_parser()
    )]
    pub client_cert: Option<PathBuf>,
    /// The key of that certificate
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "HOTSWAP_CLIENT_KEY",
        value_parser = path_parser()
    )]
    pub client_key: Option<PathBuf>,
}

impl ServerTlsArgs {
    /// The certificates after the first one, each with its key.
    ///
    /// # Errors
    /// Where there are not as many keys as certificates.
    pub fn further(&self) -> Result<Vec<CertificateFiles>, UsageError> {
        let (certificates, keys) = (self.tls_cert.iter().skip(1), self.tls_key.iter().skip(1));
        if certificates.len() != keys.len() {
            return Err(UsageError(format!(
                "--tls-cert is given {} times and --tls-key {} times: give each certificate with \
                 its key, in the same order",
                self.tls_cert.len(),
                self.tls_key.len()
            )));
        }
        let pairs = certificates
            .zip(keys)
            .map(|(certificate, key)| CertificateFiles {
                certificate: certificate.clone(),
                key: key.clone(),
            });
        Ok(pairs.collect())
    }

    /// The files, if there is a certificate.
    ///
    /// # Errors
    /// Where a file is named without another that it needs.
    pub fn files(&self) -> Result<Option<ServerFiles>, UsageError> {
        let certificate = (self.tls_cert.first(), "--tls-cert");
        let pair = pair(certificate, (self.tls_key.first(), "--tls-key"))?;
        match (pair, &self.tls_client_ca) {
            (Some(certificate), client_authorities) => Ok(Some(ServerFiles {
                certificate,
                further: self.further()?,
                client_authorities: client_authorities.clone(),
            })),
            (None, None) => Ok(None),
            (None, Some(_)) => Err(UsageError(
                "--tls-client-ca asks for certificates over TLS: give --tls-cert and --tls-key, too"
                    .to_owned(),
            )),
        }
    }
}

impl ClientTlsArgs {
    /// The files.
    ///
    /// # Errors
    /// Where a certificate is named without its key, or the other way round.
    pub fn files(&self) -> Result<ClientFiles, UsageError> {
        Ok(ClientFiles {
            authorities: self.ca.clone(),
            client: pair(
                (self.client_cert.as_ref(), "--client-cert"),
                (self.client_key.as_ref(), "--client-key"),
            )?,
            ..ClientFiles::default()
        })
    }
}

/// A certificate and its key, which are named by these settings.
///
/// # Errors
/// Where one is named without the other.
pub fn pair(
    (certificate, certificate_name): (Option<&PathBuf>, &str),
    (key, key_name): (Option<&PathBuf>, &str),
) -> Result<Option<CertificateFiles>, UsageError> {
    match (certificate, key) {
        (Some(certificate), Some(key)) => Ok(Some(CertificateFiles {
            certificate: certificate.clone(),
            key: key.clone(),
        })),
        (None, None) => Ok(None),
        (Some(_), None) => Err(UsageError(format!(
            "{certificate_name} needs the certificate's key: give {key_name}, too"
        ))),
        (None, Some(_)) => Err(UsageError(format!(
            "{key_name} needs the certificate: give {certificate_name}, too"
        ))),
    }
}
