use hotswap_core::{Deployment, DeploymentId, Environment, ModuleName, NodeId, NodeState};
use hotswap_store::Journal;

use super::told::OpenPlan;
use crate::projections::{Error, Projections};

/// An open deployment of a module: the nodes of its plan are its own.
pub(super) struct OpenDeployment {
    pub(super) id: DeploymentId,
    /// `None` before it is made, and where it cannot be read.
    pub(super) plan: Option<OpenPlan>,
    /// Its journal cannot be read: any node may be in its plan.
    is_damaged: bool,
    /// How many nodes it may be changing now.
    pub(super) changes_at_once: usize,
}

impl OpenDeployment {
    /// Whether a node is its own.
    pub(super) fn has(&self, node: &NodeId) -> bool {
        let plan = self.plan.as_ref();
        self.is_damaged || plan.is_some_and(|plan| plan.has(node))
    }

    /// The open deployment of a module.
    ///
    /// # Errors
    /// If the store fails.
    pub(super) async fn read(
        journal: &dyn Journal,
        projections: &Projections,
        environment: &Environment,
        module: &ModuleName,
    ) -> Result<Option<Self>, Error> {
        // One that waits for the end of another has no plan yet.
        let Some(id) = journal.open_deployment(module, environment).await? else {
            return Ok(None);
        };
        let state = match projections.get(id).await {
            Ok(state) => state,
            Err(Error::Unknown(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        if state.status().is_final() {
            return Ok(None);
        }
        let before = |(id, node): (&NodeId, &NodeState)| (id.clone(), node.before.clone());
        let nodes = state.nodes.iter().map(before);
        let plan = OpenPlan::new(id, state.header.module.clone(), nodes);
        Ok(Some(Self {
            id,
            changes_at_once: changes_at_once(&state),
            plan: (!plan.is_empty()).then_some(plan),
            is_damaged: state.damage.is_some(),
        }))
    }
}

/// How many nodes a deployment may be changing at the same time: as many as its driver allows, a
/// share of all nodes that it is for.
fn changes_at_once(state: &Deployment) -> usize {
    let total = state.nodes.len() + state.missing.len() + state.cordoned.len();
    state.header.policy.max_unavailable.of(total).max(1)
}

#[cfg(test)]
mod tests {
    use hotswap_core::{Amount, Event, EventBody, NodeError, NodeFailure, Timestamp};

    use super::*;
    use crate::projections::tests::{header, node};

    /// A deployment to four nodes of eight; the others did not answer.
    fn planned() -> Deployment {
        let missing = |number: usize| NodeFailure {
            node: format!("missing-{number}").parse().unwrap(),
            error: NodeError::Unreachable("no answer".to_owned()),
        };
        let planned = EventBody::Planned {
            nodes: (0..4).map(node).collect(),
            missing: (0..4).map(missing).collect(),
            cordoned: Vec::new(),
        };
        let bodies = [EventBody::Requested(Box::new(header())), planned];
        let events = (0..).zip(bodies).map(|(seq, body)| Event {
            seq,
            position: seq,
            at: Timestamp::from_millis(1),
            body,
        });
        Deployment::fold(&events.collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn a_deployment_changes_a_share_of_all_nodes_that_it_is_for() {
        let mut state = planned();
        for (amount, expected) in [
            (Amount::Percent(50), 4),
            (Amount::Percent(1), 1),
            (Amount::Count(0), 1),
            (Amount::Count(3), 3),
        ] {
            state.header.policy.max_unavailable = amount;
            assert_eq!(changes_at_once(&state), expected, "{amount:?}");
        }
    }
}
