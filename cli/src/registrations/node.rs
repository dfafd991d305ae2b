use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use async_trait::async_trait;
use hotswap_node::{Locator, Node};
use hotswap_plugins::discovery::Registration;

use super::{Located, Registrant, registration};
use crate::config::DiscoverySource;

/// A node that registers itself.
pub struct NodeRegistrant {
    id: String,
    /// Where others reach it, with the ports for orders and for requests. `None` before it listens.
    location: Option<(Locator, u16, u16)>,
    zone: Option<String>,
    /// Its labels, and its environment.
    metadata: BTreeMap<String, String>,
}

impl NodeRegistrant {
    /// A node with this configuration.
    pub fn of(config: &hotswap_node::Config) -> Self {
        let mut metadata = config.labels.clone();
        if let Some(environment) = &config.environment {
            metadata.insert("environment".to_owned(), environment.to_string());
        }
        Self {
            id: config.id.to_string(),
            location: None,
            zone: config.zone.clone(),
            metadata,
        }
    }

    /// The node has started.
    pub fn listens_on(&mut self, node: &Node) {
        let ports = (node.control_addr().port(), node.data_addr().port());
        self.location = Some((node.locator(), ports.0, ports.1));
    }
}

#[async_trait]
impl Registrant for NodeRegistrant {
    async fn registration(&self, service: &str, peer: &str) -> Result<Located> {
        let location = self.location.as_ref();
        let (locator, control, data) = location.context("the node has not started")?;
        let host = locator.host_towards(peer).await?;
        let ports = [("control", *control), ("data", *data)];
        let mut metadata = self.metadata.clone();
        if locator.has_tls() {
            metadata.insert("scheme".to_owned(), "https".to_owned());
        }
        let scheme = if locator.has_tls() { "https" } else { "http" };
        Ok(Located {
            health: format!("{scheme}://{host}:{control}/health/ready"),
            registration: Registration {
                zone: self.zone.clone(),
                metadata: metadata.into_iter().collect(),
                ..registration(service, &self.id, &host, &ports)
            },
        })
    }

    fn service(&self, source: &DiscoverySource) -> String {
        source.service.clone()
    }
}
