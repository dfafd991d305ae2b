//! How a deployment ends: settled, reverted or terminated.

use crate::{Call, Cause, CauseKind, Deployment, Event, NodeError, NodeFailure, NodeId, Outcome};

use super::nodes::by_node;
use super::{KnownVersion, NodePhase};

impl Deployment {
    pub(super) fn apply_reverting(&mut self, cause: Cause, event: &Event) {
        self.cause = Some(cause);
        self.pause_reason = None;
        self.question = None;
        self.due = None;
        if let Some((_, call @ Call::Promote { .. })) = self.open.take() {
            for id in call.changed_nodes() {
                if let Some(node) = self.nodes.get_mut(id) {
                    node.mark_uncertain();
                }
            }
        }
        self.end_stage(event.at);
    }

    pub(super) fn apply_ended(
        &mut self,
        outcome: Outcome,
        failures: &[NodeFailure],
        not_updated: &[NodeFailure],
        event: &Event,
    ) {
        self.ended_at = Some(event.at);
        self.failures = failures.to_vec();
        self.not_updated = not_updated.to_vec();
        match outcome {
            Outcome::Succeeded => {
                self.progress = 100;
                let is_updated = |id: &NodeId| not_updated.iter().all(|not| not.node != *id);
                for (id, node) in &mut self.nodes {
                    // The node has told that it carried the order out after all.
                    if node.runs == KnownVersion::Unknown && is_updated(id) {
                        node.runs = KnownVersion::New;
                        node.phase = NodePhase::Active;
                        node.error = None;
                        node.mark_changed(event);
                    }
                }
                for failure in not_updated {
                    let Some(node) = self.nodes.get_mut(&failure.node) else {
                        continue;
                    };
                    if matches!(failure.error, NodeError::Unreachable(_)) {
                        node.mark_uncertain();
                    } else {
                        node.runs = KnownVersion::Before;
                    }
                    node.phase = NodePhase::Failed;
                    node.error = Some(failure.error.clone());
                    node.mark_changed(event);
                }
            }
            Outcome::RolledBack | Outcome::Failed => {
                let failures = by_node(failures);
                for (id, node) in &mut self.nodes {
                    if let Some(failure) = failures.get(id) {
                        node.phase = NodePhase::Failed;
                        node.error = Some(failure.error.clone());
                    } else {
                        node.runs = KnownVersion::Before;
                        if node.phase == NodePhase::Pending {
                            continue;
                        }
                        node.phase = NodePhase::Reverted;
                    }
                    node.mark_changed(event);
                }
            }
        }
    }
}

/// The cause of a deployment that an admin gave up.
pub(super) fn terminated(by: &str, reason: Option<&str>) -> Cause {
    let reason = reason.map(|reason| format!(": {reason}"));
    let message = format!("terminated by {by}{}", reason.unwrap_or_default());
    Cause::new(CauseKind::Abort, message)
}
