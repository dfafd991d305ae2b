//! What the policy allows while one call is carried out.

use std::collections::BTreeSet;

use hotswap_core::{NodeError, NodeFailure, NodeId};

use super::fleet_watch::ObservedNodes;

/// Limits how many nodes a call changes at the same time, and ends it when too many fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CallLimits {
    /// How many nodes may be unavailable: being changed, or not serving.
    pub(super) max_unavailable: usize,
    /// The nodes that did not serve when they were last looked after.
    pub(super) unavailable: BTreeSet<NodeId>,
    /// How many nodes of the deployment may fail.
    pub(super) tolerated: usize,
    /// The nodes that failed so far.
    pub(super) failed: BTreeSet<NodeId>,
    /// The nodes that left it open whether they carried the call out.
    pub(super) unclear: BTreeSet<NodeId>,
    /// The changed nodes that were gone when they were last looked after. They have failed, unless
    /// they come back.
    pub(super) gone: Vec<NodeFailure>,
}

impl CallLimits {
    /// No limit: for orders that revert nodes, or that do not change what they serve.
    pub(super) fn none() -> Self {
        Self {
            max_unavailable: usize::MAX,
            unavailable: BTreeSet::new(),
            tolerated: usize::MAX,
            failed: BTreeSet::new(),
            unclear: BTreeSet::new(),
            gone: Vec::new(),
        }
    }

    /// Notes what a look at the nodes has found.
    pub(super) fn observe(&mut self, observed: ObservedNodes) {
        self.unavailable = observed.unavailable;
        self.unavailable.extend(self.unclear.iter().cloned());
        self.gone = observed.gone;
    }

    /// The changed nodes that were gone when they were last looked after.
    pub(super) fn into_gone(self) -> Vec<NodeFailure> {
        self.gone
    }

    /// Whether one more node may be changed beside those that are being changed. A node that
    /// does not serve anyway may always.
    pub(super) fn allows(&self, node: &NodeId, changing: &BTreeSet<&NodeId>) -> bool {
        let serving = changing
            .iter()
            .filter(|node| !self.unavailable.contains(**node));
        self.unavailable.contains(node)
            || serving.count() + self.unavailable.len() < self.max_unavailable
    }

    /// Notes that the operation failed on a node.
    pub(super) fn record(&mut self, node: &NodeId, error: &NodeError) {
        self.failed.insert(node.clone());
        if leaves_open(error) {
            self.unavailable.insert(node.clone());
            self.unclear.insert(node.clone());
        }
    }

    /// Whether more nodes failed than the policy tolerates.
    pub(super) fn is_exceeded(&self) -> bool {
        let gone = self.gone.iter().map(|failure| &failure.node);
        let more = gone.filter(|node| !self.failed.contains(*node)).count();
        self.failed.len() + more > self.tolerated
    }
}

/// Whether an error leaves open what the node does now. A node that refused an order, or whose
/// staged version did not pass a probe, serves what it served before.
pub(super) fn leaves_open(error: &NodeError) -> bool {
    match error {
        NodeError::Unreachable(_) | NodeError::Local(_) | NodeError::Other(_) => true,
        NodeError::Refused(_) | NodeError::Unhealthy(_) | NodeError::Fenced(_) => false,
    }
}
