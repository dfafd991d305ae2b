//! All nodes that a deployment is for, and how many of them may be unavailable.

use std::collections::BTreeSet;

use hotswap_core::{
    Call, Cause, CauseKind, CordonedNode, Cordons, Header, Health, ModuleName, Node, NodeFailure,
    NodeId, Policy,
};
use hotswap_fleet::Fleet;

use super::failed_nodes::{FailedNodes, name_nodes};

/// The nodes that the deployment is for, when it was planned: those of the environment, or those
/// that its selector matches. Shares of the policy are of all of them: a share of the living
/// would allow more the more nodes are dead.
#[derive(Clone, Copy)]
pub(crate) struct Members<'a> {
    /// The nodes of the plan.
    pub(crate) nodes: &'a [Node],
    /// The nodes that were left out of it because they did not answer.
    pub(crate) missing: &'a [NodeFailure],
    /// The nodes that were left out of it because a person has cordoned them.
    pub(crate) cordoned: &'a [CordonedNode],
}

impl Members<'_> {
    pub(crate) fn total(&self) -> usize {
        self.nodes.len() + self.missing.len() + self.cordoned.len()
    }

    /// How many nodes may be unavailable at the same time. At least one: with none, no
    /// deployment could do anything.
    pub(super) fn max_unavailable(&self, policy: &Policy) -> usize {
        policy.max_unavailable.of(self.total()).max(1)
    }

    /// The nodes that do not serve now, whatever module: those that were missing, those that sent
    /// no heartbeat for too long, those that are drained, and those that left it open whether they
    /// carried an order out. A cordoned node serves. `cordons` are those of now.
    pub(super) fn unavailable(
        &self,
        fleet: &dyn Fleet,
        cordons: &Cordons,
        failed: &FailedNodes,
    ) -> BTreeSet<NodeId> {
        let missing = self.missing.iter().map(|failure| &failure.node);
        let cordoned = self.cordoned.iter().map(|cordoned| &cordoned.node);
        let planned = self.nodes.iter().map(|node| &node.id);
        let is_drained = |node| cordons.get(node).is_some_and(|cordon| cordon.drained);
        let is_gone = |node: &NodeId| match fleet.health(node).health {
            Health::Critical => true,
            // Since this engine started; before, nobody looked after it.
            Health::Unknown => fleet.is_unheard(node),
            Health::Passing | Health::Warning => false,
        };
        let others = planned.chain(cordoned);
        missing
            .chain(others.filter(|node| is_drained(node) || is_gone(node)))
            .chain(failed.unclear())
            .cloned()
            .collect()
    }

    /// As [`Self::unavailable`], before anything has failed, and the nodes that said when they were
    /// asked for the plan that they cannot load what they should serve.
    pub(crate) fn unavailable_now(&self, fleet: &dyn Fleet, cordons: &Cordons) -> BTreeSet<NodeId> {
        let mut unavailable = self.unavailable(fleet, cordons, &FailedNodes::default());
        let broken = self.nodes.iter().filter(|node| node.fault.is_some());
        unavailable.extend(broken.map(|node| node.id.clone()));
        unavailable
    }

    /// Whether this engine has not heard yet of a node since it started, and waits for it.
    pub(super) fn is_awaiting(&self, fleet: &dyn Fleet) -> bool {
        let planned = self.nodes.iter().map(|node| &node.id);
        let cordoned = self.cordoned.iter().map(|cordoned| &cordoned.node);
        planned.chain(cordoned).any(|node| fleet.is_awaited(node))
    }

    /// The nodes of the plan that served a version of the module before, and have last reported
    /// that they serve none: they have lost it, or cannot load it.
    pub(super) fn idle(&self, fleet: &dyn Fleet, module: &ModuleName) -> BTreeSet<NodeId> {
        let is_idle =
            |node: &&Node| node.active.is_some() && fleet.serves_nothing(&node.id, module);
        let idle = self.nodes.iter().filter(is_idle);
        idle.map(|node| node.id.clone()).collect()
    }

    /// Checks that a call may be made while `unavailable` nodes do not serve. Nothing limits a
    /// revert, which makes nodes better, and what changes only nodes that do not serve anyway.
    ///
    /// # Errors
    /// As [`Self::check_available`].
    pub(crate) fn check_call(
        &self,
        header: &Header,
        call: &Call,
        unavailable: &BTreeSet<NodeId>,
    ) -> Result<(), Cause> {
        let (Call::Stage { nodes } | Call::Shift { nodes, .. } | Call::Promote { nodes }) = call
        else {
            return Ok(());
        };
        if nodes.iter().all(|node| unavailable.contains(node)) {
            return Ok(());
        }
        self.check_available(header, unavailable)
    }

    /// How many of its nodes a call changes at the same time at most, while `unavailable` nodes
    /// do not serve and `fan_out` get orders at the same time. `None` for a call that changes
    /// no nodes.
    pub(crate) fn at_once(
        &self,
        policy: &Policy,
        call: &Call,
        unavailable: &BTreeSet<NodeId>,
        fan_out: usize,
    ) -> Option<usize> {
        let (nodes, further) = match call {
            Call::Stage { nodes } | Call::Shift { nodes, .. } | Call::Promote { nodes } => {
                let allowed = self.max_unavailable(policy);
                (nodes, allowed.saturating_sub(unavailable.len()))
            }
            Call::Revert { nodes } => (nodes, usize::MAX),
            _ => return None,
        };
        let is_serving = |node: &&NodeId| !unavailable.contains(*node);
        let serving = nodes.iter().filter(is_serving).count();
        let others = nodes.len() - serving;
        Some((serving.min(further) + others).min(fan_out))
    }

    /// Checks that a further node may be changed while `unavailable` nodes do not serve.
    ///
    /// # Errors
    /// [`CauseKind::Policy`] names them.
    pub(super) fn check_available(
        &self,
        header: &Header,
        unavailable: &BTreeSet<NodeId>,
    ) -> Result<(), Cause> {
        let missing = self.missing.iter().map(|failure| &failure.node);
        let unavailable: BTreeSet<_> = unavailable.iter().chain(missing).collect();
        let (count, total) = (unavailable.len(), self.total());
        let allowed = self.max_unavailable(&header.policy);
        if count < allowed {
            return Ok(());
        }
        let names = name_nodes(unavailable);
        let environment = header.scope();
        let message = format!(
            "{count} of {total} nodes of {environment} do not serve ({names}), and its policy \
             allows {allowed} to be unavailable (maxUnavailable), so no node may be changed. \
             Start them, uncordon those that are drained, or forget those that are gone: hotswap \
             node uncordon, hotswap node forget"
        );
        Err(Cause::new(CauseKind::Policy, message))
    }
}

#[cfg(test)]
mod tests;
