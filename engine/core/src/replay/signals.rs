//! What people requested and the driver of a deployment has not acted on yet.

use crate::{Answer, Cause, CauseKind, Decision, EventBody, Judgement};

/// What people requested of a deployment and its driver has not acted on yet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Signals {
    /// Why the deployment is to end, once an abort is requested.
    pub abort: Option<Cause>,
    /// The newest decision. An answer or a plan after it clears it, so that a late decision
    /// on one question does not answer the next.
    pub decision: Option<Decision>,
    /// Who ended the wait that is under way, or every wait. An answer clears the former.
    pub promotion: Option<Promotion>,
}

/// A person's request to end the wait of a deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Promotion {
    /// The person.
    pub by: String,
    /// Whether every later wait ends at once too.
    pub full: bool,
}

impl Signals {
    /// Applies the next event.
    pub fn apply(&mut self, body: &EventBody) {
        match body {
            EventBody::AbortRequested { by, reason } => {
                let reason = reason.as_ref().map(|reason| format!(": {reason}"));
                let message = format!("aborted by {by}{}", reason.unwrap_or_default());
                self.abort = Some(Cause::new(CauseKind::Abort, message));
            }
            // The driver ends what it does, and reads the journal anew.
            EventBody::TerminationRequested { by, .. } => {
                let message = format!("terminated by {by}");
                self.abort = Some(Cause::new(CauseKind::Abort, message));
            }
            EventBody::PromoteRequested { by, full, .. } => {
                let was_full = self.promotion.as_ref().is_some_and(|before| before.full);
                self.promotion = Some(Promotion {
                    by: by.clone(),
                    full: *full || was_full,
                });
            }
            EventBody::Decided { decision } => self.decision = Some(decision.clone()),
            EventBody::Answered { .. } | EventBody::Planned { .. } => {
                self.decision = None;
                self.promotion.take_if(|promotion| !promotion.full);
            }
            EventBody::Requested(_)
            | EventBody::Gated { .. }
            | EventBody::Called { .. }
            | EventBody::Paused { .. }
            | EventBody::Resumed { .. }
            | EventBody::WritesLost { .. }
            | EventBody::Repairing(_)
            | EventBody::Repaired(_)
            | EventBody::RepairFailed { .. }
            | EventBody::Settling(_)
            | EventBody::Reverting { .. }
            | EventBody::Ended { .. } => {}
        }
    }

    /// Whether these requests, which were appended first, make the events that a driver was
    /// about to append wrong: a success after an abort, a question that timed out after its
    /// decision, or the verdict of a soak that a person has ended. The driver must then decide
    /// again, or a request that was accepted is lost.
    pub fn supersede(&self, bodies: &[EventBody]) -> bool {
        bodies.iter().any(|body| match body {
            EventBody::Settling(_) => self.abort.is_some(),
            EventBody::Reverting { .. }
            | EventBody::Answered {
                answer: Answer::Decision(_),
                ..
            } => self.decision.is_some(),
            // A check that has failed beyond doubt stays failed, even if a person ends the soak.
            EventBody::Answered {
                answer: Answer::Verdict(verdict),
                ..
            } => {
                let ended_by_itself =
                    verdict.promoted_by.is_none() && verdict.judgement != Judgement::Fail;
                self.promotion.is_some() && ended_by_itself
            }
            EventBody::Answered { .. }
            | EventBody::Requested(_)
            | EventBody::Gated { .. }
            | EventBody::Planned { .. }
            | EventBody::Called { .. }
            | EventBody::Paused { .. }
            | EventBody::Resumed { .. }
            | EventBody::Decided { .. }
            | EventBody::AbortRequested { .. }
            | EventBody::PromoteRequested { .. }
            | EventBody::TerminationRequested { .. }
            | EventBody::WritesLost { .. }
            | EventBody::Repairing(_)
            | EventBody::Repaired(_)
            | EventBody::RepairFailed { .. }
            | EventBody::Ended { .. } => false,
        })
    }
}
