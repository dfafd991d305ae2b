use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use hotswap_core::{Environment, HttpProbe, ModuleVersion, NodeError, NodeId};
use hotswap_fleet::Fleet;
use hotswap_tests::FleetInterceptor;

/// Remembers which nodes are probed.
#[derive(Default)]
pub struct ProbedNodes(Mutex<Vec<NodeId>>);

impl ProbedNodes {
    /// The nodes that were probed since the last call.
    pub fn take(&self) -> Vec<NodeId> {
        let mut probed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut probed)
    }
}

#[async_trait]
impl FleetInterceptor for ProbedNodes {
    async fn probe(
        &self,
        fleet: &dyn Fleet,
        environment: &Environment,
        node: &NodeId,
        version: &ModuleVersion,
        probe: &HttpProbe,
    ) -> Result<(), NodeError> {
        let probed = self.0.lock();
        probed
            .unwrap_or_else(PoisonError::into_inner)
            .push(node.clone());
        fleet.probe(environment, node, version, probe).await
    }
}
