use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use async_trait::async_trait;
use hotswap_plugins::discovery::Registration;
use hotswap_runner::discovery::EngineUrl;

use super::{Located, Registrant, registration};
use crate::config::DiscoverySource;

/// The service that an engine registers as.
const ENGINE_SERVICE: &str = "distributed-kernel-orchestrator";

/// An engine that registers itself.
pub struct EngineRegistrant {
    /// Where others reach it.
    pub url: EngineUrl,
}

#[async_trait]
impl Registrant for EngineRegistrant {
    async fn registration(&self, service: &str, peer: &str) -> Result<Located> {
        let mut found = tokio::net::lookup_host(peer).await?;
        let peer: SocketAddr = found.next().context("the registry has no address")?;
        let url = self.url.towards(peer)?;
        let parsed = reqwest::Url::parse(&url)?;
        let host = parsed.host_str().context("the engine's URL has no host")?;
        let port = parsed.port_or_known_default().unwrap_or(80);
        let health = format!("{}/health/ready", url.trim_end_matches('/'));
        let metadata = vec![
            ("health".to_owned(), health.clone()),
            ("url".to_owned(), url.clone()),
        ];
        let id = format!("{host}:{port}");
        Ok(Located {
            health,
            registration: Registration {
                metadata,
                ..registration(service, &id, host, &[("api", port)])
            },
        })
    }

    fn service(&self, _: &DiscoverySource) -> String {
        ENGINE_SERVICE.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_engine_registers_with_the_url_of_its_health() {
        let engine = EngineRegistrant {
            url: EngineUrl::Listening("0.0.0.0:5000".parse().unwrap()),
        };
        let found = engine.registration(ENGINE_SERVICE, "127.0.0.1:8500").await;
        let found = found.unwrap().registration;
        assert_eq!(
            (&*found.id, &*found.address),
            ("127.0.0.1:5000", "127.0.0.1")
        );
        assert_eq!(found.service, "distributed-kernel-orchestrator");
        let health = "http://127.0.0.1:5000/health/ready".to_owned();
        assert_eq!(found.metadata[0], ("health".to_owned(), health));
    }
}
