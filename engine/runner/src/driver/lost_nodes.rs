//! The nodes of a plan that do not run what the deployment has decided for them so far.

use hotswap_common::trace::{Kind, Span};
use hotswap_core::{
    Action, Deployment, DeploymentId, Event, EventBody, Fence, Header, HttpProbe, KnownVersion,
    NodeError, NodePhase, Repair,
};

use super::context::DriverContext;
use super::error::Error;
use super::failed_nodes::FailedNodes;
use super::members::Members;
use super::roll_call::{is_reachable, list_nodes};
use crate::reconciler::Place;
use crate::repair_orders::RepairOrders;

/// What a look at the nodes of a plan has found.
#[derive(Debug)]
pub(super) struct LostNodes {
    header: Header,
    nodes: Vec<LostNode>,
    /// How the strategy last probed the new version.
    probe: Option<HttpProbe>,
}

/// A node that is to be brought back.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct LostNode {
    pub(super) repair: Repair,
    /// The share of the requests, in percent, that the new version had beside the version before.
    /// `None` where it was not staged.
    staged: Option<u8>,
}

/// How the attempt to bring back a node ended.
pub(super) type Attempted = (Repair, Result<(), NodeError>);

impl LostNodes {
    pub(super) fn nodes(&self) -> &[LostNode] {
        &self.nodes
    }

    pub(super) fn header(&self) -> &Header {
        &self.header
    }

    /// Brings one of the nodes back: stages what was decided for it, probes the new version as the
    /// strategy did, promotes, and stages what was staged. `number` is that of the event with the
    /// intent.
    pub(super) async fn bring_back(
        &self,
        context: &DriverContext,
        fence: Fence,
        LostNode { repair, staged }: &LostNode,
        number: u64,
    ) -> Attempted {
        let header = &self.header;
        let mut span = Span::child("node.repair", Kind::Internal);
        span.set_text("hotswap.node.id", &repair.node);
        span.set_text("hotswap.module.name", &repair.module);
        span.set_text("hotswap.environment", &header.environment);
        let is_new = repair.to.as_ref() == Some(&header.module);
        let orders = RepairOrders {
            fleet: context.fleet.as_ref(),
            repair,
            probe: self.probe.as_ref().filter(|_| is_new),
            environment: &header.environment,
            deployment: header.id,
            fence,
            // After a loss, the event of this number may have been another one.
            id: format!("{}.repair-{number}-{}", header.id, fence.0),
        };
        let carried_out = span.run(self.carry_out(&orders, *staged)).await;
        if let Err(error) = &carried_out {
            span.fail(error);
        }
        (repair.clone(), carried_out)
    }

    async fn carry_out(
        &self,
        orders: &RepairOrders<'_>,
        staged: Option<u8>,
    ) -> Result<(), NodeError> {
        match &orders.repair.to {
            None => orders.remove().await?,
            Some(to) => {
                if let Err(error) = orders.prepare(to).await {
                    orders.drop_staged().await;
                    return Err(error);
                }
                orders.promote(to).await?;
            }
        }
        let Some(percent) = staged else {
            return Ok(());
        };
        let version = self.header.module.clone();
        orders
            .give("stage-new", Action::Stage(version.clone()))
            .await?;
        if percent > 0 {
            let shift = Action::Shift { version, percent };
            orders.give("shift-new", shift).await?;
        }
        Ok(())
    }
}

/// Finds the nodes of a plan that are to be brought back now. Asks the nodes: what they have
/// reported may be older than what the deployment did.
///
/// Leaves out those that do not answer, that a person has cordoned, whose last attempt is too short
/// ago, and those that serve another version while too many nodes of the deployment serve none. None
/// while a call on nodes has no answer: it is then unknown what they run.
///
/// # Errors
/// [`Error::Read`], [`Error::Damaged`] if the journal cannot be read.
pub(super) async fn find(
    context: &DriverContext,
    deployment: DeploymentId,
) -> Result<Option<Box<LostNodes>>, Error> {
    let events = context.journal.events(deployment, 0, usize::MAX).await?;
    // The driver has read it before, and would have told that it is damaged.
    let Ok(state) = Deployment::fold(&events) else {
        return Ok(None);
    };
    if state.is_operating() || !state.lifecycle.is_strategy_active() || state.nodes.is_empty() {
        return Ok(None);
    }
    let header = &state.header;
    let (fleet, environment) = (context.fleet.as_ref(), &header.environment);
    let Ok(listed) = list_nodes(fleet, environment, &header.module.name).await else {
        // This machine cannot ask them. The reconciler notices again that they have to be.
        return Ok(None);
    };
    let cordons = context.cordoned.of(environment);
    let now = context.clock.instant();
    let mut serving_allowed = further_changes(context, &state, &events);
    let mut nodes = Vec::new();
    for node in listed.into_iter().filter(is_reachable) {
        let Some(planned) = state.nodes.get(&node.id) else {
            continue;
        };
        let to = planned.decided(&header.module, node.active.as_ref());
        if node.active.as_ref() == to || cordons.get(&node.id).is_some() {
            continue;
        }
        let place = Place::new(environment, &header.module.name, &node.id);
        if context.repairs.waiting(&place, to, now).is_some() {
            continue;
        }
        if node.active.is_some() && node.fault.is_none() {
            if serving_allowed == 0 {
                continue;
            }
            serving_allowed -= 1;
        }
        nodes.push(LostNode {
            staged: match planned.phase {
                NodePhase::Staged => Some(0),
                NodePhase::Shifted { percent } => Some(percent),
                NodePhase::Pending
                | NodePhase::Active
                | NodePhase::Reverted
                | NodePhase::Failed => None,
            },
            repair: Repair {
                to: to.cloned(),
                node: node.id,
                module: header.module.name.clone(),
                from: node.active,
            },
        });
    }
    Ok(Some(Box::new(LostNodes {
        probe: state.last_probe.as_deref().cloned(),
        header: state.header,
        nodes,
    })))
}

/// How many nodes that serve may be changed, while others of the deployment do not serve.
fn further_changes(context: &DriverContext, state: &Deployment, events: &[Event]) -> usize {
    let plan = events.iter().find_map(|event| match &event.body {
        EventBody::Planned { nodes, .. } => Some(nodes.as_slice()),
        _ => None,
    });
    let members = Members {
        nodes: plan.unwrap_or_default(),
        missing: &state.missing,
        cordoned: &state.cordoned,
    };
    let (fleet, header) = (context.fleet.as_ref(), &state.header);
    let cordons = context.cordoned.of(&header.environment);
    let mut unavailable = members.unavailable(fleet, &cordons, &FailedNodes::default());
    unavailable.extend(members.idle(fleet, &header.module.name));
    let unclear = state.nodes.iter();
    let unclear = unclear.filter(|(_, node)| node.runs == KnownVersion::Unknown);
    unavailable.extend(unclear.map(|(id, _)| id.clone()));
    let allowed = members.max_unavailable(&header.policy);
    allowed.saturating_sub(unavailable.len())
}

#[cfg(test)]
mod tests;
