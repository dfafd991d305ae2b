//! Connects to an origin, at an address that its name may lead to.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;
use wasmtime_wasi_http::Error;

use super::origin::Origin;
use super::resolver::Resolver;

/// Connects to an origin. Resolves its name and connects to an address of this answer, so that
/// none but the checked ones is used.
pub(super) async fn connect(
    origin: &Origin,
    resolver: &dyn Resolver,
    within: Duration,
) -> Result<TcpStream, Error> {
    match timeout(within, connect_to_any(origin, resolver)).await {
        Ok(connected) => connected,
        Err(_) => Err(Error::ConnectionTimeout),
    }
}

async fn connect_to_any(origin: &Origin, resolver: &dyn Resolver) -> Result<TcpStream, Error> {
    let addresses = match origin.literal_address() {
        Some(address) => vec![address],
        None => {
            let found = resolver.addresses(&origin.host()).await;
            found.map_err(|error| Error::DnsError {
                rcode: Some(error.to_string()),
                info_code: None,
            })?
        }
    };
    let mut last = Error::DestinationNotFound;
    for address in addresses {
        if !origin.may_lead_to(address) {
            last = Error::DestinationIpProhibited;
            continue;
        }
        match TcpStream::connect(SocketAddr::new(address, origin.port())).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = Error::Connect(error),
        }
    }
    Err(last)
}
