use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::timeout;

use super::poll::{PollClient, PollError};
use crate::Registry;
use crate::discovery::{Instance, Liveness, Networks, Prober, TcpProber};

/// How long a node may take to say who it is. It loads nothing for that.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Asks the nodes that a registry has lost whether they stop.
///
/// A node that shuts down deregisters first, and then goes on serving for its lame-duck time. It
/// proves that it holds the node token, so that no other program can remove a node from the view.
///
/// A node that proves nothing is alive while it takes connections: it may hang, or hold another
/// token. Where something else answers at its address, it is gone from there: another node, or a
/// program that is not a node, such as the proxy of a service mesh, which takes every connection.
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

    /// What the node says of itself. `None` if it is not known whether it is what answers.
    async fn ask(&self, instance: &Instance) -> Option<Liveness> {
        if self.registry.has_stopped(&instance.id) {
            return Some(Liveness::Stopping);
        }
        let url = instance.control_url.as_ref()?;
        let proven = self.client.prove(&instance.id, url, &self.networks);
        match timeout(TIMEOUT, proven).await {
            Ok(Ok(node)) if node.is_stopping => Some(Liveness::Stopping),
            Ok(Ok(_)) => Some(Liveness::Alive),
            Ok(Err(PollError::OtherNode(_) | PollError::NotANode(_))) => Some(Liveness::Silent),
            // It may report in from where it may not be asked.
            Ok(Err(PollError::NotAllowed(_))) => {
                let reports = self.registry.reports_by_itself(&instance.id);
                reports.then_some(Liveness::Alive)
            }
            Ok(Err(_)) | Err(_) => None,
        }
    }
}

#[async_trait]
impl Prober for NodeProber {
    async fn probe(&self, instance: &Instance) -> Liveness {
        let connecting = TcpProber {
            networks: self.networks.clone(),
            ..TcpProber::default()
        };
        match tokio::join!(self.ask(instance), connecting.probe(instance)) {
            (Some(said), _) => said,
            (None, liveness) => liveness,
        }
    }
}
