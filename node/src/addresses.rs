//! The addresses by which others reach a node.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::{UdpSocket, lookup_host};

use crate::Error;

/// Where a node listens, and how others reach it.
#[derive(Debug, Clone)]
pub(crate) struct Addresses {
    /// Host that the operator has chosen.
    advertise: Option<String>,
    data: SocketAddr,
    control: SocketAddr,
    /// `host:port` of the engine.
    engine: String,
}

/// The URLs of a node's ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NodeUrls {
    pub(crate) control: String,
    pub(crate) data: String,
}

/// Why the node does not know how others reach it.
#[derive(Debug, thiserror::Error)]
#[error(
    "the node listens on all addresses, and cannot find out by which one it reaches the engine at {engine}: start it with --advertise and the host name or address by which the engine reaches it"
)]
pub(crate) struct UnknownAddress {
    engine: String,
    #[source]
    source: io::Error,
}

impl Addresses {
    /// # Errors
    /// [`Error::Advertise`] if nobody can reach the node at `advertise`.
    pub(crate) fn new(
        advertise: Option<String>,
        data: SocketAddr,
        control: SocketAddr,
        engine: String,
    ) -> Result<Self, Error> {
        if let Some(host) = &advertise
            && !is_reachable(host)
        {
            return Err(Error::Advertise(host.clone()));
        }
        Ok(Self {
            advertise,
            data,
            control,
            engine,
        })
    }

    /// The URLs to register. A port that listens on all addresses gets the one by which this
    /// node reaches the engine: it may change while the node runs.
    pub(crate) async fn urls(&self) -> Result<NodeUrls, UnknownAddress> {
        Ok(NodeUrls {
            control: self.url(self.control).await?,
            data: self.url(self.data).await?,
        })
    }

    async fn url(&self, addr: SocketAddr) -> Result<String, UnknownAddress> {
        if let Some(host) = &self.advertise {
            return Ok(format!("http://{host}:{}", addr.port()));
        }
        let ip = if addr.ip().is_unspecified() {
            let found = local_ip(&self.engine, addr.ip()).await;
            found.map_err(|source| UnknownAddress {
                engine: self.engine.clone(),
                source,
            })?
        } else {
            addr.ip()
        };
        Ok(format!("http://{}", SocketAddr::new(ip, addr.port())))
    }
}

/// The address of this machine from which it sends to `engine`. Only one that a port which
/// listens on `listening` is reached at. Sends nothing.
async fn local_ip(engine: &str, listening: IpAddr) -> io::Result<IpAddr> {
    let mut last_error = io::Error::other("the engine has no address of this kind");
    for peer in lookup_host(engine).await? {
        let local: IpAddr = match (listening, peer.ip()) {
            (IpAddr::V4(_), IpAddr::V6(_)) => continue,
            (_, IpAddr::V4(_)) => Ipv4Addr::UNSPECIFIED.into(),
            (_, IpAddr::V6(_)) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let connected = async {
            let socket = UdpSocket::bind((local, 0)).await?;
            socket.connect(peer).await?;
            socket.local_addr()
        };
        match connected.await {
            Ok(local) => return Ok(local.ip()),
            Err(error) => last_error = error,
        }
    }
    Err(last_error)
}

/// Whether a URL with this host leads to a machine.
fn is_reachable(host: &str) -> bool {
    let Ok(url) = reqwest::Url::parse(&format!("http://{host}:1")) else {
        return false;
    };
    let ip = host.trim_start_matches('[').trim_end_matches(']').parse();
    let is_unspecified = ip.is_ok_and(|ip: IpAddr| ip.is_unspecified());
    let is_bare = url.path() == "/" && url.username().is_empty() && url.query().is_none();
    url.port() == Some(1) && is_bare && !is_unspecified
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(advertise: Option<&str>, listen: &str) -> Result<Addresses, Error> {
        let listen: SocketAddr = listen.parse().unwrap();
        let advertise = advertise.map(str::to_owned);
        Addresses::new(advertise, listen, listen, "127.0.0.1:5000".to_owned())
    }

    #[tokio::test]
    async fn a_port_on_all_addresses_is_reached_where_the_node_reaches_the_engine() {
        for (advertise, listen, url) in [
            (None, "0.0.0.0:80", "http://127.0.0.1:80"),
            (None, "[::]:80", "http://127.0.0.1:80"),
            (None, "127.0.0.7:80", "http://127.0.0.7:80"),
            (Some("node.example"), "0.0.0.0:80", "http://node.example:80"),
            (Some("[::1]"), "0.0.0.0:80", "http://[::1]:80"),
        ] {
            let urls = addresses(advertise, listen).unwrap().urls().await.unwrap();
            assert_eq!(urls.control, url, "{listen}");
            assert_eq!(urls.data, url, "{listen}");
        }
    }

    #[tokio::test]
    async fn without_a_way_to_the_engine_the_error_names_the_option() {
        let listen: SocketAddr = "0.0.0.0:80".parse().unwrap();
        let engine = "[::1]:5000".to_owned();
        let addresses = Addresses::new(None, listen, listen, engine).unwrap();
        let error = addresses.urls().await.unwrap_err().to_string();
        assert!(error.contains("--advertise"), "{error}");
    }

    #[test]
    fn a_host_that_nobody_can_reach_is_rejected() {
        for host in [
            "0.0.0.0",
            "[::]",
            "",
            "host:80",
            "a b",
            "host/path",
            "me@host",
        ] {
            let error = addresses(Some(host), "127.0.0.1:80").unwrap_err();
            assert!(matches!(error, Error::Advertise(_)), "{host}: {error}");
        }
    }
}
