use std::io;
use std::path::PathBuf;

/// Why there can be no TLS with these files.
#[derive(Debug, thiserror::Error)]
pub enum Error {
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
    #[error("the certificate {} and its key cannot be used together: {reason}", path.display())]
    Pair {
        /// The file with the certificate.
        path: PathBuf,
        /// Why.
        reason: rustls::Error,
    },
    /// Nobody is trusted.
    #[error(
        "this system has no certificates of authorities: install them (package ca-certificates), \
         or name a file with those to trust (caFile, --ca)"
    )]
    NoAuthorities,
    /// No certificate can be for this name.
    #[error("'{0}' is not a valid host name or IP address for a certificate")]
    Name(String),
    /// The cryptography of this build cannot do TLS.
    #[error("TLS cannot be used: {0}")]
    Provider(rustls::Error),
}
