use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use hotswap_core::{
    Environment, HttpProbe, ModuleName, ModuleVersion, Node, NodeError, NodeId, NodeReading, Order,
};
use hotswap_fleet::{Error, Fleet, HealthReport};

/// Remembers which nodes are probed.
pub struct ProbedFleet {
    inner: Arc<dyn Fleet>,
    probed: Mutex<Vec<NodeId>>,
}

impl ProbedFleet {
    pub fn new(inner: Arc<dyn Fleet>) -> Self {
        let probed = Mutex::default();
        Self { inner, probed }
    }

    /// The nodes that were probed since the last call.
    pub fn take_probed(&self) -> Vec<NodeId> {
        let mut probed = self.probed.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut probed)
    }
}

#[async_trait]
impl Fleet for ProbedFleet {
    async fn nodes(
        &self,
        environment: &Environment,
        module: &ModuleName,
    ) -> Result<Vec<Node>, Error> {
        self.inner.nodes(environment, module).await
    }

    async fn order(&self, node: &NodeId, order: &Order) -> Result<(), NodeError> {
        self.inner.order(node, order).await
    }

    async fn probe(
        &self,
        node: &NodeId,
        version: &ModuleVersion,
        probe: &HttpProbe,
    ) -> Result<(), NodeError> {
        let probed = self.probed.lock();
        probed
            .unwrap_or_else(PoisonError::into_inner)
            .push(node.clone());
        self.inner.probe(node, version, probe).await
    }

    async fn read(&self, node: &NodeId, module: &ModuleName) -> Result<NodeReading, NodeError> {
        self.inner.read(node, module).await
    }

    fn health(&self, node: &NodeId) -> HealthReport {
        self.inner.health(node)
    }
}
