//! The nodes, as an engine with these links reaches them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use hotswap_core::{
    Environment, Fence, Health, HttpProbe, ModuleName, ModuleVersion, Node, NodeError, NodeId,
    NodeReading, Order,
};
use hotswap_fleet::{Error, Fleet, HealthReport, HttpFleet, SyntheticTraffic};
use tokio::time::Instant;

use crate::links::Links;
use crate::lock;
use crate::repair_gate::RepairGate;

/// An order that a node has carried out, now or before.
#[derive(Debug, Clone)]
pub struct Accepted {
    /// The engine that sent it.
    pub engine: u64,
    pub node: NodeId,
    pub module: ModuleName,
    pub operation: String,
    pub fence: Fence,
    /// The node took it after that …
    pub sent: Instant,
    /// … and before that.
    pub answered: Instant,
}

/// The accepted orders of all engines of a group.
pub type Log = Arc<Mutex<Vec<Accepted>>>;

pub struct GatedFleet {
    pub fleet: HttpFleet,
    pub links: Arc<Links>,
    pub engine: u64,
    pub log: Log,
    pub gate: Arc<RepairGate>,
    /// Counts orders under an old fence.
    pub refused: Arc<AtomicU64>,
}

#[async_trait]
impl Fleet for GatedFleet {
    async fn nodes(
        &self,
        environment: &Environment,
        module: &ModuleName,
    ) -> Result<Vec<Node>, Error> {
        let hears = self.links.nodes_hear().await.is_ok();
        let mut nodes = self.fleet.nodes(environment, module).await?;
        self.links.runs().await;
        if !hears || !self.links.is_up() {
            for node in &mut nodes {
                node.health = Health::Critical;
                node.active = None;
            }
        }
        Ok(nodes)
    }

    async fn active(
        &self,
        environment: &Environment,
        node: &NodeId,
        module: &ModuleName,
    ) -> Result<Option<ModuleVersion>, NodeError> {
        let request = self.fleet.active(environment, node, module);
        self.links.request(request).await
    }

    async fn order(&self, node: &NodeId, order: &Order) -> Result<(), NodeError> {
        let request = async {
            let sent = Instant::now();
            let answer = self.fleet.order(node, order).await;
            if matches!(answer, Err(NodeError::Fenced(_))) {
                self.refused.fetch_add(1, Ordering::Relaxed);
            }
            answer?;
            lock(&self.log).push(Accepted {
                engine: self.engine,
                node: node.clone(),
                module: order.module.clone(),
                operation: order.operation.clone(),
                fence: order.fence,
                sent,
                answered: Instant::now(),
            });
            Ok(())
        };
        self.gate.before(self.engine, order).await;
        let answer = self.links.request(request).await;
        self.gate.after(self.engine, order).await;
        answer
    }

    async fn probe(
        &self,
        environment: &Environment,
        node: &NodeId,
        version: &ModuleVersion,
        probe: &HttpProbe,
    ) -> Result<(), NodeError> {
        self.links
            .request(self.fleet.probe(environment, node, version, probe))
            .await
    }

    async fn read(
        &self,
        environment: &Environment,
        node: &NodeId,
        module: &ModuleName,
    ) -> Result<NodeReading, NodeError> {
        self.links
            .request(self.fleet.read(environment, node, module))
            .await
    }

    async fn send_synthetic(
        &self,
        environment: &Environment,
        node: &NodeId,
        traffic: &SyntheticTraffic<'_>,
    ) -> Result<(), NodeError> {
        let request = self.fleet.send_synthetic(environment, node, traffic);
        self.links.request(request).await
    }

    fn health(&self, node: &NodeId) -> HealthReport {
        self.fleet.health(node)
    }

    fn moved_to(&self, node: &NodeId, environment: &Environment) -> Option<Environment> {
        self.fleet.moved_to(node, environment)
    }

    fn patience(&self) -> Duration {
        self.fleet.patience()
    }

    fn has_stopped(&self, node: &NodeId) -> bool {
        self.fleet.has_stopped(node)
    }
}
