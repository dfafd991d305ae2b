//! The orders that repair one node: the same that a deployment gives it.

use hotswap_core::{
    Action, DeploymentId, Environment, Fence, HttpProbe, ModuleVersion, NodeError, Order, Repair,
};
use hotswap_fleet::Fleet;

/// Gives the orders of one repair, each once: their ids begin with that of the repair.
pub(crate) struct RepairOrders<'a> {
    pub(crate) fleet: &'a dyn Fleet,
    pub(crate) repair: &'a Repair,
    /// How the version is probed before it serves.
    pub(crate) probe: Option<&'a HttpProbe>,
    pub(crate) environment: &'a Environment,
    /// The deployment that decided what should run.
    pub(crate) deployment: DeploymentId,
    pub(crate) fence: Fence,
    /// Unique for the intent.
    pub(crate) id: String,
}

impl RepairOrders<'_> {
    /// Gives one order, which the repair gives once in this `step`.
    ///
    /// # Errors
    /// As [`Fleet::order`].
    pub(crate) async fn give(&self, step: &str, action: Action) -> Result<(), NodeError> {
        let order = Order {
            operation: format!("{}.{step}", self.id),
            fence: self.fence,
            deployment: self.deployment,
            environment: self.environment.clone(),
            module: self.repair.module.clone(),
            action,
        };
        self.fleet.order(&self.repair.node, &order).await
    }

    /// Stages and probes a version beside the active one: this can be left at any point.
    ///
    /// # Errors
    /// As [`Fleet::order`] and [`Fleet::probe`].
    pub(crate) async fn prepare(&self, to: &ModuleVersion) -> Result<(), NodeError> {
        self.give("stage", Action::Stage(to.clone())).await?;
        match self.probe {
            Some(probe) => {
                let fleet = self.fleet;
                fleet
                    .probe(self.environment, &self.repair.node, to, probe)
                    .await
            }
            None => Ok(()),
        }
    }

    /// Drops what was staged, which is of no use. It does no harm either, if this fails.
    pub(crate) async fn drop_staged(&self) {
        let _ = self.give("settle", Action::Settle).await;
    }

    /// Lets the prepared version serve.
    ///
    /// # Errors
    /// As [`Fleet::order`].
    pub(crate) async fn promote(&self, to: &ModuleVersion) -> Result<(), NodeError> {
        self.give("promote", Action::Promote(to.clone())).await
    }

    /// Removes the module from the node.
    ///
    /// # Errors
    /// As [`Fleet::order`].
    pub(crate) async fn remove(&self) -> Result<(), NodeError> {
        self.give("revert", Action::Revert(None)).await
    }
}

/// Logs that a node runs what it should.
pub(crate) fn log_repaired(repair: &Repair) {
    let (from, to) = (version(repair.from.as_ref()), version(repair.to.as_ref()));
    tracing::info!(node = %repair.node, module = %repair.module, %from, %to, "node repaired");
}

/// Logs that the attempt to repair a node failed, after `attempts` that did.
pub(crate) fn log_failed(repair: &Repair, error: &NodeError, attempts: u32) {
    tracing::warn!(node = %repair.node, module = %repair.module, %error, attempts, "cannot repair the node, retrying");
}

fn version(version: Option<&ModuleVersion>) -> String {
    version.map_or_else(|| "none".to_owned(), |module| module.version.to_string())
}
