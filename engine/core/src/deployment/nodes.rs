//! What each node of the plan runs, according to the answers to calls.

use std::collections::HashMap;

use crate::{Answer, Call, Deployment, Event, Node, NodeError, NodeFailure, NodeId, Verdict};

use super::{KnownVersion, NodePhase, NodeState};

impl Deployment {
    pub(super) fn apply_planned(&mut self, nodes: &[Node], event: &Event) {
        let state = |node: &Node| NodeState {
            zone: node.zone.clone(),
            before: node.active.clone(),
            phase: NodePhase::Pending,
            runs: KnownVersion::Before,
            error: None,
            changed_at: event.at,
            changed_in: event.seq,
        };
        self.nodes = nodes
            .iter()
            .map(|node| (node.id.clone(), state(node)))
            .collect();
    }

    pub(super) fn apply_answered(&mut self, answer: &Answer, event: &Event) {
        self.due = None;
        self.question = None;
        if let Answer::Verdict(Verdict { findings, .. }) = answer {
            self.findings.clone_from(findings);
        }
        let Some((_, call)) = self.open.take() else {
            return;
        };
        let Answer::Nodewise(failures) = answer else {
            return;
        };
        let succeeded_phase = match call {
            Call::Stage { .. } => Some(NodePhase::Staged),
            Call::Shift { percent, .. } => Some(NodePhase::Shifted { percent }),
            Call::Promote { .. } => Some(NodePhase::Active),
            Call::Revert { .. } => Some(NodePhase::Reverted),
            _ => None,
        };
        let failures = by_node(failures);
        for id in call.named_nodes() {
            let Some(node) = self.nodes.get_mut(id) else {
                continue;
            };
            let failure = failures.get(id);
            match (&call, failure.map(|failure| &failure.error)) {
                (Call::Promote { .. }, None) => node.runs = KnownVersion::New,
                (Call::Revert { .. }, None) => node.runs = KnownVersion::Before,
                (Call::Promote { .. } | Call::Revert { .. }, Some(NodeError::Refused(_))) => {}
                (Call::Promote { .. } | Call::Revert { .. }, Some(_)) => node.mark_uncertain(),
                _ => {}
            }
            match (failure, succeeded_phase) {
                (Some(failure), _) => {
                    node.phase = NodePhase::Failed;
                    node.error = Some(failure.error.clone());
                }
                (None, Some(phase)) => {
                    node.phase = phase;
                    node.error = None;
                }
                (None, None) => continue,
            }
            node.mark_changed(event);
        }
    }
}

/// The failures by node: thousands may have failed.
pub(super) fn by_node(failures: &[NodeFailure]) -> HashMap<&NodeId, &NodeFailure> {
    // The first failure of a node counts.
    let failures = failures.iter().rev();
    failures.map(|failure| (&failure.node, failure)).collect()
}
