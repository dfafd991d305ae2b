use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use hotswap_core::{
    Action, Environment, HttpProbe, ModuleName, ModuleVersion, Node, NodeError, NodeId,
    NodeReading, Order,
};
use hotswap_fleet::{Error, Fleet, HealthReport};
use tokio::sync::watch;

/// Counts what is asked of single nodes, and how many have been settled.
pub struct CountingFleet {
    inner: Arc<dyn Fleet>,
    requests: AtomicU64,
    settled: watch::Sender<usize>,
}

impl CountingFleet {
    pub fn new(inner: Arc<dyn Fleet>) -> Self {
        Self {
            inner,
            requests: AtomicU64::new(0),
            settled: watch::Sender::new(0),
        }
    }

    /// Forgets what was counted.
    pub fn reset(&self) {
        self.requests.store(0, Ordering::Relaxed);
        self.settled.send_replace(0);
    }

    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Returns once this many nodes have been settled.
    pub async fn wait_for_settled(&self, count: usize) {
        let mut settled = self.settled.subscribe();
        // The sender lives as long as this.
        let _ = settled.wait_for(|settled| *settled >= count).await;
    }

    fn count(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }
}

#[async_trait]
impl Fleet for CountingFleet {
    async fn nodes(
        &self,
        environment: &Environment,
        module: &ModuleName,
    ) -> Result<Vec<Node>, Error> {
        self.inner.nodes(environment, module).await
    }

    async fn active(
        &self,
        environment: &Environment,
        node: &NodeId,
        module: &ModuleName,
    ) -> Result<Option<ModuleVersion>, NodeError> {
        self.count();
        self.inner.active(environment, node, module).await
    }

    async fn order(&self, node: &NodeId, order: &Order) -> Result<(), NodeError> {
        self.count();
        self.inner.order(node, order).await?;
        if order.action == Action::Settle {
            self.settled.send_modify(|settled| *settled += 1);
        }
        Ok(())
    }

    async fn probe(
        &self,
        node: &NodeId,
        version: &ModuleVersion,
        probe: &HttpProbe,
    ) -> Result<(), NodeError> {
        self.count();
        self.inner.probe(node, version, probe).await
    }

    async fn read(&self, node: &NodeId, module: &ModuleName) -> Result<NodeReading, NodeError> {
        self.inner.read(node, module).await
    }

    fn health(&self, node: &NodeId) -> HealthReport {
        self.inner.health(node)
    }
}
