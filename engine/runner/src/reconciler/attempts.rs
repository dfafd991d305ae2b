//! The repair of one node, from the look that tells whether it needs one to its end.

use hotswap_core::{DeploymentId, NodeError, Repair};
use hotswap_store::LeaseError;

use super::Inner;
use super::repair::{Outcome, PlannedRepair};
use super::repairs::{Place, RepairGuard};
use crate::projections::Error;

/// Attempts at one repair if the lease changes in between, as it does after each deployment. What
/// was staged stays, so another attempt is short.
const ATTEMPTS: usize = 3;

impl Inner {
    /// Repairs a node, if it still needs that. Returns whether the repair ended, well or not.
    pub(super) async fn repair(&self, guard: &RepairGuard) -> Result<bool, Error> {
        let place = guard.place();
        for attempt in 1..=ATTEMPTS {
            // Before the node is looked at: what is seen is valid only as long as this lease.
            let fence = match self.context.leases.fence(&place.environment).await {
                Ok(fence) => fence,
                // The holder of the lease repairs the node.
                Err(LeaseError::Held(_)) => return Ok(false),
                Err(error) => return Err(Error::Store(Box::new(error))),
            };
            let Some(planned) = self.check(place).await? else {
                return Ok(false);
            };
            let to = planned.repair.to.clone();
            match self.context.run(planned, fence, guard).await {
                Outcome::Ended => return Ok(true),
                Outcome::LeaseChanged if attempt < ATTEMPTS => {}
                Outcome::LeaseChanged => {
                    let error = "the engine's lease changed in each attempt".to_owned();
                    let (to, error) = (to.as_ref(), NodeError::Other(error));
                    let repairs = &self.context.repairs;
                    repairs.record_failure(place, to, error, self.clock.as_ref());
                }
            }
        }
        Ok(false)
    }

    /// The repair that a node needs, if it still needs one. What was seen of it before may be
    /// old: a deployment may have ended, or changed the node, since. From here on no plan can be
    /// made of the module.
    async fn check(&self, place: &Place) -> Result<Option<PlannedRepair>, Error> {
        let Place {
            environment,
            module,
            node,
        } = place;
        let open = self.open_deployment(environment, module).await?;
        if open.is_some_and(|open| open.has(node)) {
            return Ok(None);
        }
        if self.cordoned.get(environment, node).is_some() {
            return Ok(None);
        }
        let desired = self.desired.read(environment).await?;
        let desired = desired.iter().find(|one| one.module == *module);
        let record = self.registry.member(node).map(|member| member.record);
        let (Some(desired), Some(record)) = (desired, record) else {
            return Ok(None);
        };
        let Some((decision, to)) = desired.on(&record) else {
            return Ok(None);
        };
        let repairs = &self.context.repairs;
        let from = match self.fleet.active(environment, node, module).await {
            Ok(active) => active,
            Err(error) => {
                repairs.record_failure(place, to, error, self.clock.as_ref());
                return Ok(None);
            }
        };
        if from.as_ref() == to {
            repairs.record_success(place);
            self.lag.forget(place, self.clock.instant());
            return Ok(None);
        }
        Ok(Some(PlannedRepair {
            repair: Repair {
                node: node.clone(),
                module: module.clone(),
                from,
                to: to.cloned(),
            },
            deployment: decision.deployment.unwrap_or_else(DeploymentId::generate),
            probe: decision.probe.clone(),
        }))
    }
}
