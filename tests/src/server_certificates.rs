//! Certificates of servers of Redis and of their clients. The tests of the store compile this file
//! too.

use std::io;
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

/// Writes a certificate authority (`ca.pem`), and certificates of it for this machine with their
/// keys: `server.pem`, `server.key`, `client.pem` and `client.key`, in the place of earlier ones.
///
/// # Errors
/// If the folder cannot be written.
pub fn write_certificates(folder: &Path) -> io::Result<()> {
    let mut params = CertificateParams::new(Vec::new()).map_err(io::Error::other)?;
    params
        .distinguished_name
        .push(DnType::CommonName, "authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().map_err(io::Error::other)?;
    let authority = params.self_signed(&key).map_err(io::Error::other)?;
    let issuer = Issuer::new(params, key);
    std::fs::write(folder.join("ca.pem"), authority.pem())?;
    // Sentinels name servers by their addresses.
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    for name in ["server", "client"] {
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let params = CertificateParams::new(names.clone());
        let mut params = params.map_err(io::Error::other)?;
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.signed_by(&key, &issuer).map_err(io::Error::other)?;
        std::fs::write(folder.join(format!("{name}.pem")), certificate.pem())?;
        std::fs::write(folder.join(format!("{name}.key")), key.serialize_pem())?;
    }
    Ok(())
}

/// The arguments of a server that speaks TLS on a port, with the certificates of a folder. Clients
/// need one of the same authority.
pub fn tls_arguments(folder: &Path, port: u16) -> Vec<String> {
    let file = |name: &str| folder.join(name).display().to_string();
    let pairs = [
        ("--tls-port", port.to_string()),
        ("--tls-cert-file", file("server.pem")),
        ("--tls-key-file", file("server.key")),
        ("--tls-ca-cert-file", file("ca.pem")),
    ];
    let pairs = pairs.into_iter();
    pairs
        .flat_map(|(name, value)| [name.to_owned(), value])
        .collect()
}
