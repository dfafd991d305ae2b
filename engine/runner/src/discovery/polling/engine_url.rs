use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// The URL by which others reach this engine: nodes that fetch artifacts, and registries that ask
/// for its health.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EngineUrl {
    /// The operator has chosen it.
    Advertised(String),
    /// The address that the engine listens on. If it listens on all addresses, the local address
    /// of the route to the peer.
    Listening(SocketAddr),
    /// As [`Self::Listening`], with TLS.
    ListeningWithTls(SocketAddr),
}

impl EngineUrl {
    /// The URL by which `peer` reaches this engine. Sends nothing.
    ///
    /// # Errors
    /// If this machine has no route to `peer`.
    pub fn towards(&self, peer: SocketAddr) -> io::Result<String> {
        let (scheme, listening) = match self {
            Self::Advertised(url) => return Ok(url.clone()),
            Self::Listening(listening) => ("http", listening),
            Self::ListeningWithTls(listening) => ("https", listening),
        };
        if !listening.ip().is_unspecified() {
            return Ok(format!("{scheme}://{listening}"));
        }
        let any = match peer {
            SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
        };
        let socket = UdpSocket::bind(any)?;
        socket.connect(peer)?;
        let local = socket.local_addr()?.ip().to_canonical();
        Ok(format!(
            "{scheme}://{}",
            SocketAddr::new(local, listening.port())
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_on_all_addresses_is_reached_where_it_reaches_others() {
        let peer = "127.0.0.1:9".parse().unwrap();
        let url = |listen: &str| EngineUrl::Listening(listen.parse().unwrap()).towards(peer);
        assert_eq!(url("0.0.0.0:5000").unwrap(), "http://127.0.0.1:5000");
        assert_eq!(url("[::]:5000").unwrap(), "http://127.0.0.1:5000");
        assert_eq!(url("10.0.0.1:5000").unwrap(), "http://10.0.0.1:5000");
        let with_tls = EngineUrl::ListeningWithTls("10.0.0.1:5000".parse().unwrap());
        assert_eq!(with_tls.towards(peer).unwrap(), "https://10.0.0.1:5000");
        let advertised = EngineUrl::Advertised("http://engine:80".to_owned());
        assert_eq!(advertised.towards(peer).unwrap(), "http://engine:80");
    }
}
