//! The progress of running soaks, for streams of events.

use std::sync::Arc;

use hotswap_core::{Call, DeploymentId, Event, EventBody};
use hotswap_runner::{Deployments, SoakChanges, SoakProgress};

/// Tells a stream of the soaks of one deployment, or of all.
pub(super) struct SoakWatch {
    deployments: Deployments,
    changes: SoakChanges,
    of: Option<DeploymentId>,
    /// What the stream of one deployment sent last.
    sent: Option<Arc<SoakProgress>>,
    /// The deployment whose soak has changed, where it was not returned yet.
    changed: Option<DeploymentId>,
}

impl SoakWatch {
    /// `None`: of all deployments.
    pub fn new(deployments: &Deployments, of: Option<DeploymentId>) -> Self {
        Self {
            changes: deployments.subscribe_to_soaks(),
            deployments: deployments.clone(),
            of,
            sent: None,
            // Who comes late gets what is known by then.
            changed: of,
        }
    }

    /// Waits until there is something to send. Cancel safe.
    pub async fn next(&mut self) -> (DeploymentId, Arc<SoakProgress>) {
        loop {
            let id = match self.changed {
                Some(id) => id,
                None => self.next_changed().await,
            };
            self.changed = None;
            let Some(progress) = self.deployments.last_soak_progress(id) else {
                continue;
            };
            let is_sent = |sent: &Arc<SoakProgress>| sent.says_the_same_as(&progress);
            if self.of.is_some() && self.sent.as_ref().is_some_and(is_sent) {
                continue;
            }
            self.sent = Some(Arc::clone(&progress));
            return (id, progress);
        }
    }

    async fn next_changed(&mut self) -> DeploymentId {
        loop {
            let changed = self.changes.next().await;
            match (self.of, changed) {
                (None, Some(id)) => return id,
                // Where too many have changed, this one may be among them.
                (Some(own), changed) if changed.is_none_or(|id| id == own) => return own,
                _ => {}
            }
        }
    }
}

/// Whether no soak is under way after this event. `None` where it changes nothing.
pub(super) fn is_over_after(event: &Event) -> Option<bool> {
    match &event.body {
        EventBody::Called {
            request: Call::Soak { .. },
            ..
        } => Some(false),
        EventBody::Answered { .. }
        | EventBody::Reverting { .. }
        | EventBody::TerminationRequested { .. }
        | EventBody::Settling(_)
        | EventBody::Ended { .. } => Some(true),
        EventBody::Called { .. }
        | EventBody::Requested(_)
        | EventBody::Gated { .. }
        | EventBody::Planned { .. }
        | EventBody::Decided { .. }
        | EventBody::Paused { .. }
        | EventBody::Resumed { .. }
        | EventBody::AbortRequested { .. }
        | EventBody::PromoteRequested { .. }
        | EventBody::WritesLost { .. }
        | EventBody::Repairing(_)
        | EventBody::Repaired(_)
        | EventBody::RepairFailed { .. } => None,
    }
}
