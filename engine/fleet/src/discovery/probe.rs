use std::time::Duration;

use async_trait::async_trait;
use reqwest::Url;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::instance::Instance;

/// Finds out whether an instance is alive that its registry has lost.
#[async_trait]
pub trait Prober: Send + Sync + 'static {
    /// Whether it answers.
    async fn is_alive(&self, instance: &Instance) -> bool;
}

/// Connects to an instance.
#[derive(Debug, Clone, Copy)]
pub struct TcpProber {
    /// How long that may take.
    pub timeout: Duration,
}

impl Default for TcpProber {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(1),
        }
    }
}

#[async_trait]
impl Prober for TcpProber {
    async fn is_alive(&self, instance: &Instance) -> bool {
        let url = instance.control_url.as_ref().or(instance.data_url.as_ref());
        let Some(url) = url.and_then(|url| Url::parse(url).ok()) else {
            return false;
        };
        let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
            return false;
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let connected = timeout(self.timeout, TcpStream::connect((host, port))).await;
        connected.is_ok_and(|connected| connected.is_ok())
    }
}
