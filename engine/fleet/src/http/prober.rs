use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::timeout;

use super::poll::PollClient;
use crate::Registry;
use crate::discovery::{Instance, Liveness, Networks, Prober, TcpProber};

/// How long a node may take to say who it is. It loads nothing for that.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Asks the nodes that a registry has lost whether they stop.
///
/// A node that shuts down deregisters first, and then goes on serving for its lame-duck time. It
/// proves that it holds the node token, so that no other program can remove a node from the view.
pub struct NodeProber {
    client: Arc<PollClient>,
    networks: Networks,
    registry: Registry,
}

impl NodeProber {
    /// Asks the nodes in `networks`. What reports in to `registry` may have said it there.
    pub fn new(client: Arc<PollClient>, networks: Networks, registry: Registry) -> Self {
        Self {
            client,
            networks,
            registry,
        }
    }

    async fn is_stopping(&self, instance: &Instance) -> bool {
        if self.registry.has_stopped(&instance.id) {
            return true;
        }
        let Some(url) = &instance.control_url else {
            return false;
        };
        let proven = self.client.prove(&instance.id, url, &self.networks);
        let proven = timeout(TIMEOUT, proven).await;
        matches!(proven, Ok(Ok(node)) if node.is_stopping)
    }
}

#[async_trait]
impl Prober for NodeProber {
    async fn probe(&self, instance: &Instance) -> Liveness {
        let connecting = TcpProber::default();
        match tokio::join!(self.is_stopping(instance), connecting.probe(instance)) {
            (true, _) => Liveness::Stopping,
            (false, liveness) => liveness,
        }
    }
}
