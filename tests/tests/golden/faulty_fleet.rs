use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use hotswap_core::{
    Action, Environment, HttpProbe, ModuleName, ModuleVersion, Node, NodeError, NodeId,
    NodeReading, Order,
};
use hotswap_fleet::{Error, Fleet, HealthReport};

/// A fleet of real nodes, one of which refuses chosen orders.
pub struct FaultyFleet {
    fleet: Arc<dyn Fleet>,
    fault: Mutex<Option<Fault>>,
}

/// The orders that a node refuses.
#[derive(Clone)]
pub struct Fault {
    pub node: &'static str,
    pub refuses: fn(&Action) -> bool,
}

impl FaultyFleet {
    pub fn new(fleet: Arc<dyn Fleet>) -> Arc<Self> {
        let fault = Mutex::default();
        Arc::new(Self { fleet, fault })
    }

    pub fn set(&self, fault: Option<Fault>) {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }

    fn refuses(&self, node: &NodeId, action: &Action) -> bool {
        let fault = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
        fault
            .as_ref()
            .is_some_and(|fault| fault.node == node.as_str() && (fault.refuses)(action))
    }
}

#[async_trait]
impl Fleet for FaultyFleet {
    async fn nodes(
        &self,
        environment: &Environment,
        module: &ModuleName,
    ) -> Result<Vec<Node>, Error> {
        self.fleet.nodes(environment, module).await
    }

    async fn order(&self, node: &NodeId, order: &Order) -> Result<(), NodeError> {
        if self.refuses(node, &order.action) {
            return Err(NodeError::Refused("the disk is full".to_owned()));
        }
        self.fleet.order(node, order).await
    }

    async fn probe(
        &self,
        node: &NodeId,
        version: &ModuleVersion,
        probe: &HttpProbe,
    ) -> Result<(), NodeError> {
        self.fleet.probe(node, version, probe).await
    }

    async fn read(&self, node: &NodeId, module: &ModuleName) -> Result<NodeReading, NodeError> {
        self.fleet.read(node, module).await
    }

    fn health(&self, node: &NodeId) -> HealthReport {
        self.fleet.health(node)
    }
}
