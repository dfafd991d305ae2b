//! All nodes that a deployment is for, and how many of them may be unavailable.

use std::collections::BTreeSet;

use hotswap_core::{Cause, CauseKind, Header, Health, Node, NodeFailure, NodeId, Policy};
use hotswap_fleet::Fleet;

use super::failed_nodes::{FailedNodes, name_nodes};

/// The nodes that the deployment is for, when it was planned: those of the environment, or those
/// that its selector matches. Shares of the policy are of all of them: a share of the living
/// would allow more the more nodes are dead.
#[derive(Clone, Copy)]
pub(super) struct Members<'a> {
    /// The nodes of the plan.
    pub(super) nodes: &'a [Node],
    /// The nodes that were left out of it.
    pub(super) missing: &'a [NodeFailure],
}

impl Members<'_> {
    pub(super) fn total(&self) -> usize {
        self.nodes.len() + self.missing.len()
    }

    /// How many nodes may be unavailable at the same time. At least one: with none, no
    /// deployment could do anything.
    pub(super) fn max_unavailable(&self, policy: &Policy) -> usize {
        policy.max_unavailable.of(self.total()).max(1)
    }

    /// The nodes that do not serve now: those that were missing, those that sent no heartbeat
    /// for too long, and those that left it open whether they carried an order out.
    pub(super) fn unavailable(&self, fleet: &dyn Fleet, failed: &FailedNodes) -> BTreeSet<NodeId> {
        let missing = self.missing.iter().map(|failure| &failure.node);
        let planned = self.nodes.iter().map(|node| &node.id);
        let gone = planned.filter(|node| fleet.health(node).health == Health::Critical);
        missing
            .chain(gone)
            .chain(failed.unclear())
            .cloned()
            .collect()
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
             Start them, or delete those that are gone: hotswap node delete"
        );
        Err(Cause::new(CauseKind::Policy, message))
    }
}

#[cfg(test)]
mod tests;
