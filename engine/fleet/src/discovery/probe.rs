use std::time::Duration;

use async_trait::async_trait;
use reqwest::Url;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::instance::Instance;

/// Finds out what has become of an instance that its registry has lost.
#[async_trait]
pub trait Prober: Send + Sync + 'static {
    /// Asks it.
    async fn probe(&self, instance: &Instance) -> Liveness;
}

/// What has become of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Liveness {
    /// It does not answer.
    Silent,
    /// It answers, and knows of no stop: its registry has forgotten it.
    Alive,
    /// It says that it stops: it has deregistered.
    Stopping,
}

/// Connects to an instance. Never learns that one stops.
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
    async fn probe(&self, instance: &Instance) -> Liveness {
        let url = instance.control_url.as_ref().or(instance.data_url.as_ref());
        let Some(url) = url.and_then(|url| Url::parse(url).ok()) else {
            return Liveness::Silent;
        };
        let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
            return Liveness::Silent;
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let connected = timeout(self.timeout, TcpStream::connect((host, port))).await;
        match connected {
            Ok(Ok(_)) => Liveness::Alive,
            Ok(Err(_)) | Err(_) => Liveness::Silent,
        }
    }
}
