//! Connects to an origin, at an address that its name may lead to.

use std::error::Error as _;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use hotswap_common::tls;
use rustix::net::sockopt;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use wasmtime_wasi_http::Error;

use super::origin::Origin;
use super::resolver::Resolver;
use super::tls::{SETTING_NAMES, Tls};

/// When a connection is lost whose other side is silent: a watch waits minutes for an answer, and a
/// registry that lost its power, or a router that forgot the connection, says nothing. After so long
/// without a byte the kernel asks, so often, so many times.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(15);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_PROBES: u32 = 3;

/// A connection, plain or with TLS.
pub(super) trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// Answers connections in the place of the servers of a backend, for checks of the contract.
pub trait StandIn: Send + Sync + 'static {
    /// The client's side of a connection that stands for one to `origin`. Called in a tokio
    /// runtime.
    ///
    /// # Errors
    /// What connecting fails with.
    fn connect(&self, origin: &Origin) -> io::Result<DuplexStream>;
}

/// Connects to an origin. Resolves its name and connects to an address of this answer, so that
/// none but the checked ones is used. The certificate must be for the host as it is configured.
pub(super) async fn connect(
    origin: &Origin,
    resolver: &dyn Resolver,
    tls: &Tls,
    within: Duration,
) -> Result<Box<dyn Connection>, Error> {
    let connected = async {
        let stream = connect_to_any(origin, resolver).await?;
        // Its answers are small, and a watch waits for them.
        let _ = stream.set_nodelay(true);
        // Without it a loss is seen later.
        let _ = keep_alive(&stream);
        match origin.is_tls() {
            true => shake_hands(origin, tls, stream).await,
            false => Ok(Box::new(stream) as Box<dyn Connection>),
        }
    };
    match timeout(within, connected).await {
        Ok(connected) => connected,
        Err(_) => Err(Error::ConnectionTimeout),
    }
}

/// Has the kernel notice within half a minute that the other side is gone.
fn keep_alive(stream: &TcpStream) -> rustix::io::Result<()> {
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, KEEPALIVE_AFTER)?;
    sockopt::set_tcp_keepintvl(stream, KEEPALIVE_INTERVAL)?;
    sockopt::set_tcp_keepcnt(stream, KEEPALIVE_PROBES)
}

/// Why a request over a connection failed.
pub(super) fn explain(error: hyper::Error, origin: &Origin) -> Error {
    // A server tells only after the handshake that it misses a certificate.
    let cause = error.source();
    let text = cause.and_then(|cause| tls::explain(cause, &origin.host(), &SETTING_NAMES));
    match text {
        Some(text) => Error::InternalError(Some(text)),
        None => error.into(),
    }
}

async fn shake_hands(
    origin: &Origin,
    tls: &Tls,
    stream: TcpStream,
) -> Result<Box<dyn Connection>, Error> {
    let failed = |text: String| Error::InternalError(Some(text));
    let config = tls
        .config()
        .await
        .map_err(|error| failed(error.to_string()))?;
    let name = origin.server_name();
    let name = name.ok_or_else(|| failed("no certificate can be for this host".to_owned()))?;
    match TlsConnector::from(config).connect(name, stream).await {
        Ok(stream) => Ok(Box::new(stream)),
        Err(error) => {
            let text = tls::explain(&error, &origin.host(), &SETTING_NAMES);
            Err(failed(text.unwrap_or_else(|| {
                format!("the TLS handshake failed: {error}")
            })))
        }
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

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// A lost connection itself cannot be made here: that needs a packet filter.
    #[tokio::test]
    async fn the_kernel_asks_a_silent_registry_after_fifteen_seconds_three_times() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let stream = TcpStream::connect(addr).await.unwrap();
        keep_alive(&stream).unwrap();
        assert!(sockopt::socket_keepalive(&stream).unwrap());
        let secs = |span: Duration| span.as_secs();
        let idle = sockopt::tcp_keepidle(&stream).unwrap();
        let interval = sockopt::tcp_keepintvl(&stream).unwrap();
        let probes = sockopt::tcp_keepcnt(&stream).unwrap();
        assert_eq!((secs(idle), secs(interval), probes), (15, 5, 3));
    }
}
