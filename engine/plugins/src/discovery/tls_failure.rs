//! What a failure of TLS means, and what to do about it.

use std::error::Error as StdError;
use std::io;

use rustls::{AlertDescription, CertificateError, Error};

use super::origin::Origin;

/// The failure of TLS among the causes of an error, if there is one.
pub(super) fn find<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Error> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref::<Error>() {
            return Some(found);
        }
        // An I/O error hides what it wraps from its sources.
        let wrapped = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        if let Some(found) = wrapped.and_then(|wrapped| wrapped.downcast_ref::<Error>()) {
            return Some(found);
        }
        cause = error.source();
    }
    None
}

/// What an operator should know of it.
pub(super) fn explain(error: &Error, origin: &Origin) -> String {
    match error {
        Error::InvalidCertificate(reason) => explain_certificate(reason, origin),
        Error::AlertReceived(AlertDescription::CertificateRequired) => {
            "it wants a certificate of its clients: set clientCertificate and clientKey".to_owned()
        }
        Error::AlertReceived(
            alert @ (AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied),
        ) => format!(
            "it does not accept the certificate of this client ({alert:?}): compare \
             clientCertificate with what the server trusts"
        ),
        Error::AlertReceived(AlertDescription::HandshakeFailure) => {
            "it broke off the TLS handshake: it may want clientCertificate and clientKey, or \
             neither TLS 1.2 nor 1.3 suits it"
                .to_owned()
        }
        Error::InvalidMessage(_) => {
            "it does not speak TLS: write http:// where it speaks plain HTTP".to_owned()
        }
        other => format!("TLS failed: {other}"),
    }
}

fn explain_certificate(reason: &CertificateError, origin: &Origin) -> String {
    match reason {
        // Another authority of the same name signs with another key.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "its certificate is of an authority that is not trusted here: set caFile to the \
             certificate of that authority"
                .to_owned()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "its certificate has expired: renew it on the server".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet: compare the clocks of both machines".to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!(
                "its certificate is not for {}: name the server in origins and settings as its \
                 certificate does",
                origin.host()
            )
        }
        other => format!("its certificate is not accepted: {other}"),
    }
}
