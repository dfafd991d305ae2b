//! The repair of one node: the same steps that a deployment takes, on one node.

use std::sync::Arc;

use hotswap_common::trace::{Kind, Span};
use hotswap_core::{
    Action, Clock, DeploymentId, EnvironmentEventBody, Fence, HttpProbe, NodeError, Order, Repair,
};
use hotswap_fleet::Fleet;
use hotswap_store::{AppendToEnvironmentError, EnvironmentAppend, EnvironmentJournal, LeaseError};

use super::repairs::{RepairGuard, Repairs};
use crate::environment_leases::EnvironmentLeases;

/// What repairs need.
pub(super) struct RepairContext {
    pub(super) journal: Arc<dyn EnvironmentJournal>,
    pub(super) deployments: Arc<dyn hotswap_store::Journal>,
    pub(super) fleet: Arc<dyn Fleet>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) leases: Arc<EnvironmentLeases>,
    pub(super) repairs: Arc<Repairs>,
}

/// A repair that was decided on.
pub(super) struct PlannedRepair {
    pub(super) repair: Repair,
    /// The deployment that decided what should run.
    pub(super) deployment: DeploymentId,
    pub(super) probe: Option<HttpProbe>,
}

/// Why a repair has not begun.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("the lease could not be acquired")]
    Lease(#[source] LeaseError),
    #[error("the environment's journal could not be written")]
    Append(#[source] AppendToEnvironmentError),
}

impl RepairContext {
    /// Repairs a node, and journals what came of it.
    pub(super) async fn run(&self, planned: PlannedRepair, guard: RepairGuard) {
        let mut span = Span::continuing(None, "node.repair", Kind::Internal);
        let place = guard.place();
        span.set_text("hotswap.node.id", &place.node);
        span.set_text("hotswap.module.name", &place.module);
        span.set_text("hotswap.environment", &place.environment);
        span.run(self.repair(planned, guard)).await;
    }

    async fn repair(&self, planned: PlannedRepair, guard: RepairGuard) {
        let (place, repair) = (guard.place().clone(), &planned.repair);
        let to = repair.to.as_ref();
        let mut result = self.attempt(&planned, &guard).await;
        if let Ok(Some(Err(NodeError::Fenced(seen)))) = result {
            // A deployment has ended since the lease was acquired, or the store is older than
            // the node.
            self.raise_fence(Fence(seen)).await;
            self.leases.renew(&place.environment).await;
            result = self.attempt(&planned, &guard).await;
        }
        let result = match result {
            Ok(result) => result,
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(node = %place.node, module = %place.module, error, "cannot repair the node now");
                let error = NodeError::Other("the engine's store failed".to_owned());
                self.repairs
                    .record_failure(&place, to, error, self.clock.as_ref());
                return;
            }
        };
        let body = match result {
            // A deployment needs the node. What is left to do is done after it.
            None => return,
            Some(Ok(())) => {
                self.repairs.record_success(&place);
                tracing::info!(node = %place.node, module = %place.module, from = %version(repair.from.as_ref()), to = %version(to), "node repaired");
                EnvironmentEventBody::Repaired(planned.repair)
            }
            Some(Err(error)) => {
                let attempts =
                    self.repairs
                        .record_failure(&place, to, error.clone(), self.clock.as_ref());
                tracing::warn!(node = %place.node, module = %place.module, %error, attempts, "cannot repair the node, retrying");
                EnvironmentEventBody::RepairFailed {
                    repair: planned.repair,
                    error,
                    attempts,
                }
            }
        };
        // Known, in memory, whether this is journaled or not: the next look at the node tells.
        if let Err(error) = self.append(&guard, body).await {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(error, "the end of a repair could not be journaled");
        }
    }

    /// `None` where a deployment needs the node first.
    async fn attempt(
        &self,
        planned: &PlannedRepair,
        guard: &RepairGuard,
    ) -> Result<Option<Result<(), NodeError>>, Error> {
        let (fence, position) = self.begin(planned, guard).await?;
        Ok(self.carry_out(planned, guard, fence, position).await)
    }

    /// Journals the intent. Returns the fence for the orders, and the position of the intent,
    /// which makes their operation ids unique.
    async fn begin(
        &self,
        planned: &PlannedRepair,
        guard: &RepairGuard,
    ) -> Result<(Fence, u64), Error> {
        let environment = &guard.place().environment;
        let fence = self.leases.fence(environment).await.map_err(Error::Lease)?;
        let intent = EnvironmentEventBody::Repairing(planned.repair.clone());
        let position = self.append(guard, intent).await?;
        Ok((fence, position))
    }

    async fn append(&self, guard: &RepairGuard, body: EnvironmentEventBody) -> Result<u64, Error> {
        let environment = &guard.place().environment;
        let append = EnvironmentAppend {
            environment: environment.clone(),
            // The lease may have been renewed since the repair began.
            fence: Some(self.leases.fence(environment).await.map_err(Error::Lease)?),
            at: self.clock.now(),
            bodies: vec![body],
        };
        let appended = self.journal.append_to_environment(append).await;
        if let Err(AppendToEnvironmentError::Fenced(_)) = appended {
            self.leases.renew(environment).await;
        }
        appended.map_err(Error::Append)
    }

    /// `None` where a deployment needs the node first.
    async fn carry_out(
        &self,
        planned: &PlannedRepair,
        guard: &RepairGuard,
        fence: Fence,
        position: u64,
    ) -> Option<Result<(), NodeError>> {
        let order = |step: &str, action| Order {
            operation: format!("repair-{position}.{step}"),
            fence,
            deployment: planned.deployment,
            module: planned.repair.module.clone(),
            action,
        };
        let node = &planned.repair.node;
        let Some(to) = &planned.repair.to else {
            let revert = order("revert", Action::Revert(None));
            return Some(self.fleet.order(node, &revert).await);
        };
        // Beside the active version: this can be left at any point.
        let prepare = async {
            let stage = order("stage", Action::Stage(to.clone()));
            self.fleet.order(node, &stage).await?;
            match &planned.probe {
                Some(probe) => self.fleet.probe(node, to, probe).await,
                None => Ok(()),
            }
        };
        let prepared = tokio::select! {
            prepared = prepare => prepared,
            () = guard.yields() => return None,
        };
        if let Err(error) = prepared {
            // What is staged is of no use. It does no harm either, if this fails.
            let drop_staged = order("settle", Action::Settle);
            let _ = self.fleet.order(node, &drop_staged).await;
            return Some(Err(error));
        }
        let promote = order("promote", Action::Promote(to.clone()));
        if let Err(error) = self.fleet.order(node, &promote).await {
            return Some(Err(error));
        }
        let settle = order("settled", Action::Settle);
        if let Err(error) = self.fleet.order(node, &settle).await {
            tracing::debug!(%node, %error, "the node keeps the version before for longer");
        }
        Some(Ok(()))
    }

    /// The store is older than the node: its fences go on above the node's.
    async fn raise_fence(&self, fence: Fence) {
        if let Err(error) = self.deployments.raise_fence(fence).await {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(error, "the store's fence could not be raised");
        }
    }
}

fn version(version: Option<&hotswap_core::ModuleVersion>) -> String {
    version.map_or_else(|| "none".to_owned(), |module| module.version.to_string())
}
