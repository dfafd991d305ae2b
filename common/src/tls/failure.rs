//! What a failure of TLS means, and what to do about it.

use std::error::Error as StdError;
use std::io;

use rustls::{AlertDescription, CertificateError, Error};

/// The names of the settings of a client, for advice.
#[derive(Debug, Clone, Copy)]
pub struct SettingNames {
    /// The file with authorities to trust.
    pub authorities: &'static str,
    /// The files with the client's certificate and key.
    pub certificate: &'static str,
    /// Where servers are named.
    pub server: &'static str,
}

impl SettingNames {
    /// Those of the command line.
    pub const FLAGS: Self = Self {
        authorities: "--ca",
        certificate: "--client-cert and --client-key",
        server: "the address of the server",
    };
    /// Those of a provider of metrics, in the engine's configuration.
    pub const METRIC_PROVIDER: Self = Self {
        authorities: "ca of the provider",
        certificate: "clientCert and clientKey of the provider",
        server: "its url",
    };
    /// Those of the engine's connections to nodes, in its configuration.
    pub const ENGINE: Self = Self {
        authorities: "tls.ca",
        certificate: "tls.clientCert and tls.clientKey",
        server: "--advertise of the node, or tls.nodeName,",
    };
}

/// Explains an error that has a failure of TLS among its causes. `None` if there is none. `host` is
/// what the certificate should be for.
pub fn explain(
    error: &(dyn StdError + 'static),
    host: &str,
    names: &SettingNames,
) -> Option<String> {
    find(error).map(|cause| explain_cause(cause, host, names))
}

/// The failure of TLS among the causes of an error.
fn find<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Error> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref::<Error>() {
            return Some(found);
        }
        // An I/O error hides what it wraps from its sources.
        let wrapped = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        if let Some(wrapped) = wrapped
            && let Some(found) = find(wrapped)
        {
            return Some(found);
        }
        cause = error.source();
    }
    None
}

/// Explains a failure of TLS: what an operator should know of it.
fn explain_cause(error: &Error, host: &str, names: &SettingNames) -> String {
    let certificate = names.certificate;
    match error {
        Error::InvalidCertificate(reason) => explain_certificate(reason, host, names),
        Error::AlertReceived(AlertDescription::CertificateRequired) => {
            format!("it wants a certificate of its clients: set {certificate}")
        }
        Error::AlertReceived(
            alert @ (AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
            | AlertDescription::DecryptError),
        ) => format!(
            "it does not accept the certificate of this client ({alert:?}): compare \
             {certificate} with what the server trusts"
        ),
        Error::AlertReceived(AlertDescription::HandshakeFailure) => format!(
            "it broke off the TLS handshake: it may want {certificate}, or neither TLS 1.2 nor \
             1.3 suits it"
        ),
        Error::InvalidMessage(_) => {
            "it does not speak TLS: write http:// where it speaks plain HTTP".to_owned()
        }
        Error::General(reason) => reason.clone(),
        other => format!("TLS failed: {other}"),
    }
}

fn explain_certificate(reason: &CertificateError, host: &str, names: &SettingNames) -> String {
    match reason {
        // Another authority of the same name signs with another key.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => format!(
            "its certificate is of an authority that is not trusted here: set {} to the \
             certificate of that authority",
            names.authorities
        ),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "its certificate has expired: renew it on the server".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet: compare the clocks of both machines".to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!(
                "its certificate is not for {host}: name the server in {} as its certificate does",
                names.server
            )
        }
        other => format!("its certificate is not accepted: {other}"),
    }
}
