use std::time::Duration;

use async_trait::async_trait;
use reqwest::Url;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use super::instance::Instance;
use super::networks::Networks;

/// Finds out what has become of an instance that its registry has lost.
#[async_trait]
pub trait Prober: Send + Sync + 'static {
    /// Asks it.
    async fn probe(&self, instance: &Instance) -> Liveness;
}

/// What has become of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Liveness {
    /// It does not answer, or something else answers in its place.
    Silent,
    /// It answers, and knows of no stop: its registry has forgotten it.
    Alive,
    /// It says that it stops: it has deregistered.
    Stopping,
}

/// Connects to an instance. Never learns that one stops.
#[derive(Debug, Clone)]
pub struct TcpProber {
    /// How long that may take.
    pub timeout: Duration,
    /// Where instances may be. A registry can name any address, and who reads what came of a probe
    /// would learn which ports are open there.
    pub networks: Networks,
}

impl Default for TcpProber {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(1),
            networks: Networks::default(),
        }
    }
}

impl TcpProber {
    /// Whether an address of the host that may be connected to takes a connection.
    async fn connects(&self, host: &str, port: u16) -> bool {
        let Ok(addresses) = lookup_host((host, port)).await else {
            return false;
        };
        for address in addresses.filter(|address| self.networks.allow(address.ip())) {
            if TcpStream::connect(address).await.is_ok() {
                return true;
            }
        }
        false
    }
}

#[async_trait]
impl Prober for TcpProber {
    async fn probe(&self, instance: &Instance) -> Liveness {
        let url = instance.control_url.as_ref().or(instance.data_url.as_ref());
        let Some(url) = url.and_then(|url| Url::parse(url).ok()) else {
            return Liveness::Silent;
        };
        let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
            return Liveness::Silent;
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        match timeout(self.timeout, self.connects(host, port)).await {
            Ok(true) => Liveness::Alive,
            Ok(false) | Err(_) => Liveness::Silent,
        }
    }
}
