use std::sync::Arc;

use rustls::client::verify_server_name;
use rustls::pki_types::ServerName;
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// The certificates of a server, one at least. A client gets the first that is for the host that
/// it names, else the first of all.
#[derive(Debug)]
pub(super) struct CertificatesByName(pub(super) Vec<Arc<CertifiedKey>>);

impl ResolvesServerCert for CertificatesByName {
    fn resolve(&self, client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let host = client_hello.server_name();
        let host = host.and_then(|host| ServerName::try_from(host).ok());
        let named = host.and_then(|host| self.0.iter().find(|pair| is_for(pair, &host)));
        named.or(self.0.first()).map(Arc::clone)
    }
}

fn is_for(pair: &CertifiedKey, host: &ServerName<'_>) -> bool {
    let certificate = pair.end_entity_cert().ok();
    let certificate = certificate.and_then(|der| ParsedCertificate::try_from(der).ok());
    certificate.is_some_and(|certificate| verify_server_name(&certificate, host).is_ok())
}
