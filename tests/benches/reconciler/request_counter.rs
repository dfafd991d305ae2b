use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use hotswap_core::{
    Action, Environment, HttpProbe, ModuleName, ModuleVersion, NodeError, NodeId, Order,
};
use hotswap_fleet::Fleet;
use hotswap_tests::FleetInterceptor;
use tokio::sync::watch;

/// Counts what is asked of single nodes, and how many have been settled.
#[derive(Default)]
pub struct RequestCounter {
    requests: AtomicU64,
    settled: watch::Sender<usize>,
}

impl RequestCounter {
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
impl FleetInterceptor for RequestCounter {
    async fn active(
        &self,
        fleet: &dyn Fleet,
        environment: &Environment,
        node: &NodeId,
        module: &ModuleName,
    ) -> Result<Option<ModuleVersion>, NodeError> {
        self.count();
        fleet.active(environment, node, module).await
    }

    async fn order(
        &self,
        fleet: &dyn Fleet,
        node: &NodeId,
        order: &Order,
    ) -> Result<(), NodeError> {
        self.count();
        fleet.order(node, order).await?;
        if order.action == Action::Settle {
            self.settled.send_modify(|settled| *settled += 1);
        }
        Ok(())
    }

    async fn probe(
        &self,
        fleet: &dyn Fleet,
        environment: &Environment,
        node: &NodeId,
        version: &ModuleVersion,
        probe: &HttpProbe,
    ) -> Result<(), NodeError> {
        self.count();
        fleet.probe(environment, node, version, probe).await
    }
}
