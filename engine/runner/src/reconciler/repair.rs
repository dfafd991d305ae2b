//! The repair of one node: the same steps that a deployment takes, on one node.

use std::sync::Arc;

use hotswap_common::trace::{Kind, Span};
use hotswap_core::{
    Action, Clock, DeploymentId, EnvironmentEventBody, Fence, HttpProbe, NodeError, Repair,
};
use hotswap_fleet::Fleet;
use hotswap_store::{AppendToEnvironmentError, EnvironmentAppend, EnvironmentJournal, LeaseError};

use super::repairs::{Place, RepairGuard, Repairs};
use crate::environment_leases::EnvironmentLeases;
use crate::repair_orders::{RepairOrders, log_failed, log_repaired};

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

/// How the attempt to repair a node ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It is journaled, or a deployment needs the node first.
    Ended,
    /// The lease has changed since the node was looked at. The node serves what it served.
    LeaseChanged,
}

/// What came of the orders of a repair.
enum Attempt {
    /// A deployment needs the node first.
    Yielded,
    /// The lease has changed.
    LeaseChanged,
    /// The node runs what it should, or failed.
    Ended(Result<(), NodeError>),
}

/// Why a repair has not begun, or does not go on.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("the lease could not be acquired")]
    Lease(#[source] LeaseError),
    #[error("the environment's journal could not be written")]
    Append(#[source] AppendToEnvironmentError),
    #[error("cannot tell whether this engine still holds the lease")]
    Confirm(#[source] AppendToEnvironmentError),
    #[error("this machine can open no connection to the node: {0}")]
    Local(String),
}

impl RepairContext {
    /// Repairs a node, and journals the result. `fence` is that of the lease under which the engine
    /// looked at the node. What it saw is valid only as long as that lease: the next holder may have
    /// planned a deployment with the node, or repair it itself.
    pub(super) async fn run(
        &self,
        planned: PlannedRepair,
        fence: Fence,
        guard: &RepairGuard,
    ) -> Outcome {
        let mut span = Span::continuing(None, "node.repair", Kind::Internal);
        let place = guard.place();
        span.set_text("hotswap.node.id", &place.node);
        span.set_text("hotswap.module.name", &place.module);
        span.set_text("hotswap.environment", &place.environment);
        span.run(self.repair(planned, fence, guard)).await
    }

    async fn repair(&self, planned: PlannedRepair, fence: Fence, guard: &RepairGuard) -> Outcome {
        let (place, repair) = (guard.place(), &planned.repair);
        let to = repair.to.as_ref();
        let attempt = match self.attempt(&planned, fence, guard).await {
            // Not the node's failure, so it is not journaled as one.
            Ok(Attempt::Ended(Err(NodeError::Local(reason)))) => Err(Error::Local(reason)),
            attempt => attempt,
        };
        let result = match attempt {
            Ok(Attempt::Ended(Err(NodeError::Fenced(seen)))) => {
                // A deployment has ended since the lease was acquired, or the store is older than
                // the node.
                self.raise_fence(Fence(seen)).await;
                self.leases.renew(&place.environment).await;
                return Outcome::LeaseChanged;
            }
            Ok(Attempt::Ended(result)) => result,
            // What is left to do is done after the deployment.
            Ok(Attempt::Yielded) => return Outcome::Ended,
            Ok(Attempt::LeaseChanged) => {
                self.leases.renew(&place.environment).await;
                return Outcome::LeaseChanged;
            }
            Err(error) => {
                let shown = match &error {
                    Error::Local(reason) => NodeError::Local(reason.clone()),
                    Error::Lease(_) | Error::Append(_) | Error::Confirm(_) => {
                        NodeError::Other("the engine's store failed".to_owned())
                    }
                };
                let error: &dyn std::error::Error = &error;
                tracing::warn!(node = %place.node, module = %place.module, error, "cannot repair the node now");
                self.repairs
                    .record_failure(place, to, shown, self.clock.as_ref());
                return Outcome::Ended;
            }
        };
        let body = match result {
            Ok(()) => {
                self.repairs.record_success(place);
                log_repaired(repair);
                EnvironmentEventBody::Repaired(planned.repair)
            }
            Err(error) => {
                let attempts =
                    self.repairs
                        .record_failure(place, to, error.clone(), self.clock.as_ref());
                log_failed(repair, &error, attempts);
                EnvironmentEventBody::RepairFailed {
                    repair: planned.repair,
                    error,
                    attempts,
                }
            }
        };
        // Known, in memory, whether this is journaled or not: the next look at the node tells.
        if let Err(error) = self.append_end(place, body).await {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(error, "the end of a repair could not be journaled");
        }
        Outcome::Ended
    }

    /// Journals the intent, and carries it out. The position of the intent makes the ids of the
    /// operations unique.
    async fn attempt(
        &self,
        planned: &PlannedRepair,
        fence: Fence,
        guard: &RepairGuard,
    ) -> Result<Attempt, Error> {
        let intent = EnvironmentEventBody::Repairing(planned.repair.clone());
        match self.append(guard.place(), fence, intent).await {
            Ok(position) => self.carry_out(planned, guard, fence, position).await,
            Err(AppendToEnvironmentError::Fenced(_)) => Ok(Attempt::LeaseChanged),
            Err(error) => Err(Error::Append(error)),
        }
    }

    async fn append(
        &self,
        place: &Place,
        fence: Fence,
        body: EnvironmentEventBody,
    ) -> Result<u64, AppendToEnvironmentError> {
        let append = EnvironmentAppend {
            environment: place.environment.clone(),
            fence: Some(fence),
            newest_cordon: None,
            at: self.clock.now(),
            bodies: vec![body],
        };
        self.journal.append_to_environment(append).await
    }

    async fn append_end(&self, place: &Place, body: EnvironmentEventBody) -> Result<(), Error> {
        let environment = &place.environment;
        // The lease may have been renewed since the repair began.
        let fence = self.leases.fence(environment).await.map_err(Error::Lease)?;
        let appended = self.append(place, fence, body).await;
        if let Err(AppendToEnvironmentError::Fenced(_)) = appended {
            self.leases.renew(environment).await;
        }
        appended.map(drop).map_err(Error::Append)
    }

    async fn carry_out(
        &self,
        planned: &PlannedRepair,
        guard: &RepairGuard,
        fence: Fence,
        position: u64,
    ) -> Result<Attempt, Error> {
        let environment = &guard.place().environment;
        let orders = RepairOrders {
            fleet: self.fleet.as_ref(),
            repair: &planned.repair,
            probe: planned.probe.as_ref(),
            environment,
            deployment: planned.deployment,
            fence,
            id: format!("repair-{position}"),
        };
        let Some(to) = &planned.repair.to else {
            return Ok(Attempt::Ended(orders.remove().await));
        };
        let prepared = tokio::select! {
            prepared = orders.prepare(to) => prepared,
            () = guard.yields() => return Ok(Attempt::Yielded),
        };
        if let Err(error) = prepared {
            orders.drop_staged().await;
            return Ok(Attempt::Ended(Err(error)));
        }
        // Staging may have taken long, and the lease may be lost by now. A node without an order of
        // the new holder would still obey.
        let is_current = self.leases.is_current(environment, fence).await;
        if !is_current.map_err(Error::Confirm)? {
            return Ok(Attempt::LeaseChanged);
        }
        if let Err(error) = orders.promote(to).await {
            return Ok(Attempt::Ended(Err(error)));
        }
        if let Err(error) = orders.give("settled", Action::Settle).await {
            let node = &planned.repair.node;
            tracing::debug!(%node, %error, "the node keeps the version before for longer");
        }
        Ok(Attempt::Ended(Ok(())))
    }

    /// The store is older than the node: its fences go on above the node's.
    async fn raise_fence(&self, fence: Fence) {
        if let Err(error) = self.deployments.raise_fence(fence).await {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(error, "the store's fence could not be raised");
        }
    }
}
