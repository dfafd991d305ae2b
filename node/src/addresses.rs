//! The addresses by which others reach a node.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::{UdpSocket, lookup_host};

use crate::Error;

/// Finds out where others reach a node. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Locator(pub(crate) Addresses);

impl Locator {
    /// The host by which others reach the node: the one that its operator has chosen, the address
    /// that it listens on, or the one by which it reaches `peer`, which is `host:port`.
    ///
    /// # Errors
    /// [`UnknownAddress`] if the node listens on all addresses and has no way to `peer`.
    pub async fn host_towards(&self, peer: &str) -> Result<String, UnknownAddress> {
        self.0.host(self.0.control, peer).await
    }

    /// Whether the node's ports have TLS.
    #[must_use]
    pub fn has_tls(&self) -> bool {
        self.0.has_tls
    }
}

/// Where a node listens, and how others reach it.
#[derive(Debug, Clone)]
pub(crate) struct Addresses {
    /// Host that the operator has chosen.
    advertise: Option<String>,
    data: SocketAddr,
    control: SocketAddr,
    /// `host:port` of the engine, where the node knows one from the start.
    engine: Option<String>,
    has_tls: bool,
}

/// The URLs of a node's ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NodeUrls {
    pub(crate) control: String,
    pub(crate) data: String,
}

/// Why a node does not know how others reach it. The text says what to do.
#[derive(Debug, thiserror::Error)]
#[error(
    "the node listens on all addresses, and cannot find out by which one it reaches {peer}: start it with --advertise and the host name or address by which the engine reaches it"
)]
pub struct UnknownAddress {
    peer: String,
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
        engine: Option<String>,
    ) -> Result<Self, Error> {
        // As Kubernetes has the address of a pod.
        let advertise = advertise.map(|host| match host.parse() {
            Ok(ip) => bracketed(IpAddr::V6(ip)),
            Err(_) => host,
        });
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
            has_tls: false,
        })
    }

    /// The same addresses, where both ports have TLS or not.
    pub(crate) fn with_tls(self, has_tls: bool) -> Self {
        Self { has_tls, ..self }
    }

    /// The URLs to register. A port that listens on all addresses gets the one by which this
    /// node reaches the engine: it may change while the node runs.
    pub(crate) async fn urls(&self) -> Result<NodeUrls, UnknownAddress> {
        let Some(engine) = &self.engine else {
            return Ok(self.urls_at(IpAddr::V4(Ipv4Addr::LOCALHOST)));
        };
        Ok(NodeUrls {
            control: self.url(&self.host(self.control, engine).await?, self.control),
            data: self.url(&self.host(self.data, engine).await?, self.data),
        })
    }

    /// The URLs for a peer that has reached this machine at an address.
    pub(crate) fn urls_at(&self, local: IpAddr) -> NodeUrls {
        let url_of = |addr: SocketAddr| match &self.advertise {
            Some(host) => self.url(host, addr),
            None if addr.ip().is_unspecified() => self.url(&bracketed(local), addr),
            None => self.url(&bracketed(addr.ip()), addr),
        };
        NodeUrls {
            control: url_of(self.control),
            data: url_of(self.data),
        }
    }

    fn url(&self, host: &str, addr: SocketAddr) -> String {
        let scheme = if self.has_tls { "https" } else { "http" };
        format!("{scheme}://{host}:{}", addr.port())
    }

    async fn host(&self, addr: SocketAddr, peer: &str) -> Result<String, UnknownAddress> {
        if let Some(host) = &self.advertise {
            return Ok(host.clone());
        }
        if !addr.ip().is_unspecified() {
            return Ok(bracketed(addr.ip()));
        }
        let found = local_ip(peer, addr.ip()).await;
        found.map(bracketed).map_err(|source| UnknownAddress {
            peer: peer.to_owned(),
            source,
        })
    }
}

/// As a URL has it.
fn bracketed(ip: IpAddr) -> String {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

/// The address of this machine from which it sends to `peer`. Only one that a port which
/// listens on `listening` is reached at. Sends nothing.
async fn local_ip(peer: &str, listening: IpAddr) -> io::Result<IpAddr> {
    let mut last_error = io::Error::other("it has no address of this kind");
    for peer in lookup_host(peer).await? {
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
        Addresses::new(advertise, listen, listen, Some("127.0.0.1:5000".to_owned()))
    }

    #[tokio::test]
    async fn a_port_on_all_addresses_is_reached_where_the_node_reaches_the_engine() {
        for (advertise, listen, url) in [
            (None, "0.0.0.0:80", "http://127.0.0.1:80"),
            (None, "[::]:80", "http://127.0.0.1:80"),
            (None, "127.0.0.7:80", "http://127.0.0.7:80"),
            (Some("node.example"), "0.0.0.0:80", "http://node.example:80"),
            (Some("[::1]"), "0.0.0.0:80", "http://[::1]:80"),
            (Some("fd00::7"), "[::]:80", "http://[fd00::7]:80"),
        ] {
            let urls = addresses(advertise, listen).unwrap().urls().await.unwrap();
            assert_eq!(urls.control, url, "{listen}");
            assert_eq!(urls.data, url, "{listen}");
        }
    }

    #[test]
    fn a_port_on_all_addresses_is_reached_where_a_request_arrived() {
        let local = "10.0.0.7".parse().unwrap();
        for (advertise, listen, url) in [
            (None, "0.0.0.0:80", "http://10.0.0.7:80"),
            (None, "127.0.0.7:80", "http://127.0.0.7:80"),
            (Some("node.example"), "0.0.0.0:80", "http://node.example:80"),
        ] {
            let urls = addresses(advertise, listen).unwrap().urls_at(local);
            assert_eq!((&*urls.control, &*urls.data), (url, url), "{listen}");
        }
    }

    #[test]
    fn ports_with_tls_have_other_urls() {
        let addresses = addresses(Some("node.example"), "0.0.0.0:80").unwrap();
        let urls = addresses
            .with_tls(true)
            .urls_at("10.0.0.7".parse().unwrap());
        assert_eq!(urls.control, "https://node.example:80");
        assert_eq!(urls.data, "https://node.example:80");
    }

    #[tokio::test]
    async fn without_a_way_to_the_engine_the_error_names_the_option() {
        let listen: SocketAddr = "0.0.0.0:80".parse().unwrap();
        let engine = "[::1]:5000".to_owned();
        let addresses = Addresses::new(None, listen, listen, Some(engine)).unwrap();
        let error = addresses.urls().await.unwrap_err().to_string();
        assert!(error.contains("--advertise"), "{error}");
    }

    #[test]
    fn a_host_that_nobody_can_reach_is_rejected() {
        for host in [
            "0.0.0.0",
            "[::]",
            "::",
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
