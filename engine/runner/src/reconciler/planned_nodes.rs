//! Nodes in the plans of open deployments that have lost what was decided for them.

use hotswap_core::{Deployment, Environment, Health, NodeId, NodeState};

use super::Inner;
use super::difference::Actual;
use super::observed::actual;
use super::repairs::Place;
use crate::projections::Error;

impl Inner {
    /// Asks the drivers of open deployments that wait to repair nodes of their plans, where some
    /// report something else than was decided for them. One that does not wait asks its nodes soon.
    pub(super) async fn request_repairs(&self, environment: &Environment) -> Result<(), Error> {
        for id in self.told.open(environment) {
            let state = match self.projections.get(id).await {
                Ok(state) => state,
                Err(Error::Unknown(_)) => continue,
                Err(error) => return Err(error),
            };
            let is_lost = |(id, node): (&NodeId, &NodeState)| self.is_lost(&state, id, node);
            if state.is_waiting() && state.nodes.iter().any(is_lost) {
                self.due_repairs.request(id);
            }
        }
        Ok(())
    }

    /// Whether a node is to be repaired now, by its last report.
    fn is_lost(&self, deployment: &Deployment, id: &NodeId, node: &NodeState) -> bool {
        let (environment, new) = (&deployment.header.environment, &deployment.header.module);
        let Some(member) = self.registry.member(id) else {
            return false;
        };
        let is_alive = match member.health {
            Health::Passing | Health::Warning => true,
            Health::Critical | Health::Unknown => false,
        };
        if !is_alive || member.record.environment != *environment {
            return false;
        }
        // A node that reports no modules is asked only when the deployment asks all.
        let Some(modules) = &member.modules else {
            return false;
        };
        let runs = match modules.get(&new.name).map(actual) {
            Some(Actual::Known(version)) => version,
            // It tries again itself to load it.
            Some(Actual::NotLoaded(version, _)) => Some(version),
            Some(Actual::Unknown) => return false,
            None => None,
        };
        let decided = node.decided(new, runs.as_ref());
        let place = Place::new(environment, &new.name, id);
        let now = self.clock.instant();
        runs.as_ref() != decided
            && self.cordoned.get(environment, id).is_none()
            && self.context.repairs.waiting(&place, decided, now).is_none()
    }
}
