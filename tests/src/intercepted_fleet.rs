use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hotswap_core::{
    Environment, HttpProbe, ModuleName, ModuleVersion, Node, NodeError, NodeId, NodeReading, Order,
};
use hotswap_fleet::{Error, Fleet, HealthReport, SyntheticTraffic};
use hotswap_protocol::NodeReport;

/// Changes some operations of a fleet, and leaves the others as they are.
#[async_trait]
pub trait FleetInterceptor: Send + Sync + 'static {
    /// Called in place of [`Fleet::active`].
    async fn active(
        &self,
        fleet: &dyn Fleet,
        environment: &Environment,
        node: &NodeId,
        module: &ModuleName,
    ) -> Result<Option<ModuleVersion>, NodeError> {
        fleet.active(environment, node, module).await
    }

    /// Called in place of [`Fleet::order`].
    async fn order(
        &self,
        fleet: &dyn Fleet,
        node: &NodeId,
        order: &Order,
    ) -> Result<(), NodeError> {
        fleet.order(node, order).await
    }

    /// Called in place of [`Fleet::probe`].
    async fn probe(
        &self,
        fleet: &dyn Fleet,
        environment: &Environment,
        node: &NodeId,
        version: &ModuleVersion,
        probe: &HttpProbe,
    ) -> Result<(), NodeError> {
        fleet.probe(environment, node, version, probe).await
    }
}

/// A fleet some operations of which are intercepted.
pub struct InterceptedFleet<I> {
    fleet: Arc<dyn Fleet>,
    interceptor: I,
}

impl<I: FleetInterceptor> InterceptedFleet<I> {
    /// Wraps `fleet`.
    pub fn new(fleet: Arc<dyn Fleet>, interceptor: I) -> Arc<Self> {
        Arc::new(Self { fleet, interceptor })
    }
}

impl<I> Deref for InterceptedFleet<I> {
    type Target = I;

    fn deref(&self) -> &I {
        &self.interceptor
    }
}

#[async_trait]
impl<I: FleetInterceptor> Fleet for InterceptedFleet<I> {
    async fn nodes(
        &self,
        environment: &Environment,
        module: &ModuleName,
    ) -> Result<Vec<Node>, Error> {
        self.fleet.nodes(environment, module).await
    }

    async fn active(
        &self,
        environment: &Environment,
        node: &NodeId,
        module: &ModuleName,
    ) -> Result<Option<ModuleVersion>, NodeError> {
        let fleet = self.fleet.as_ref();
        self.interceptor
            .active(fleet, environment, node, module)
            .await
    }

    async fn order(&self, node: &NodeId, order: &Order) -> Result<(), NodeError> {
        let fleet = self.fleet.as_ref();
        self.interceptor.order(fleet, node, order).await
    }

    async fn probe(
        &self,
        environment: &Environment,
        node: &NodeId,
        version: &ModuleVersion,
        probe: &HttpProbe,
    ) -> Result<(), NodeError> {
        let fleet = self.fleet.as_ref();
        self.interceptor
            .probe(fleet, environment, node, version, probe)
            .await
    }

    async fn read(
        &self,
        environment: &Environment,
        node: &NodeId,
        module: &ModuleName,
    ) -> Result<NodeReading, NodeError> {
        self.fleet.read(environment, node, module).await
    }

    async fn send_synthetic(
        &self,
        environment: &Environment,
        node: &NodeId,
        traffic: &SyntheticTraffic<'_>,
    ) -> Result<(), NodeError> {
        self.fleet.send_synthetic(environment, node, traffic).await
    }

    async fn report(&self, node: &NodeId) -> Result<NodeReport, NodeError> {
        self.fleet.report(node).await
    }

    fn health(&self, node: &NodeId) -> HealthReport {
        self.fleet.health(node)
    }

    fn is_unheard(&self, node: &NodeId) -> bool {
        self.fleet.is_unheard(node)
    }

    fn is_awaited(&self, node: &NodeId) -> bool {
        self.fleet.is_awaited(node)
    }

    fn serves_nothing(&self, node: &NodeId, module: &ModuleName) -> bool {
        self.fleet.serves_nothing(node, module)
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
