//! Asks the nodes of a plan whether they run the new version. What a strategy returns is its
//! opinion; what the nodes say counts.

use std::collections::{HashMap, HashSet};

use hotswap_core::{Cause, CauseKind, Header, ModuleVersion, Node, NodeError, NodeFailure, NodeId};
use hotswap_fleet::{Fleet, moved_error};

use super::error::Error;
use super::failed_nodes::name_failures;
use super::members::Members;
use super::roll_call::{ask_nodes, is_reachable, silence};
use super::timers::Timers;

/// The nodes of `plan` that do not run the new version, each with what it runs instead.
///
/// Bounded in time. Cancel safe.
///
/// # Errors
/// [`Error::Nodes`] if this machine cannot ask them.
pub(super) async fn find_not_updated(
    fleet: &dyn Fleet,
    timers: &Timers,
    header: &Header,
    plan: &[Node],
) -> Result<Vec<NodeFailure>, Error> {
    let planned: HashSet<&NodeId> = plan.iter().map(|node| &node.id).collect();
    let is_planned = |node: &Node| planned.contains(&node.id);
    let nodes = ask_nodes(fleet, timers, header, is_planned, |_| true).await?;
    let nodes: HashMap<_, _> = nodes.iter().map(|node| (&node.id, node)).collect();
    let failure = |planned: &Node| {
        let node = nodes.get(&planned.id).filter(|node| is_reachable(node));
        let error = match node {
            Some(node) => differs(&header.module, node)?,
            None => match fleet.moved_to(&planned.id, &header.environment) {
                Some(environment) => moved_error(&environment),
                None => silence(fleet, &planned.id),
            },
        };
        let node = planned.id.clone();
        Some(NodeFailure { node, error })
    };
    Ok(plan.iter().filter_map(failure).collect())
}

fn differs(new: &ModuleVersion, node: &Node) -> Option<NodeError> {
    let reason = match &node.active {
        Some(active) if active == new => {
            let fault = node.fault.as_ref()?;
            format!("it cannot load {}: {fault}", active.version)
        }
        Some(active) if active.version == new.version => {
            format!("it runs other bytes as {}", active.version)
        }
        Some(active) => format!("it runs {}", active.version),
        None => format!("it does not run {}", new.name),
    };
    Some(NodeError::Other(reason))
}

/// Checks that a deployment may succeed although these nodes were not updated.
///
/// # Errors
/// [`CauseKind::Policy`] if they are more than the policy tolerates, or all of the plan.
pub(super) fn check(
    header: &Header,
    members: Members<'_>,
    not_updated: &[NodeFailure],
) -> Result<(), Cause> {
    let (count, total) = (not_updated.len(), members.total());
    let tolerated = header.policy.tolerated_failures.of(total);
    if count == 0 || (count <= tolerated && count < members.nodes.len()) {
        return Ok(());
    }
    let names = name_failures(
        not_updated
            .iter()
            .map(|failure| (&failure.node, &failure.error)),
    );
    let (module, environment) = (&header.module, &header.environment);
    let limit = if count > tolerated {
        format!("the policy of {environment} tolerates {tolerated}")
    } else {
        "no node does".to_owned()
    };
    let message = format!(
        "the strategy ended without an error, but {count} of {total} nodes do not run {} {}: \
         {names}; {limit}",
        module.name, module.version
    );
    Err(Cause::new(CauseKind::Policy, message))
}

#[cfg(test)]
mod tests;
