use serde::{Deserialize, Serialize};

use crate::{Call, EventBody, Outcome};

/// The state machine of a deployment, driven by the events of its journal.
///
/// Small, so that the store can keep it beside the journal and reject illegal events without
/// reading the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lifecycle {
    /// The current step.
    pub step: Step,
    /// Whether the engine holds the next call of the strategy.
    pub paused: bool,
    /// Whether an abort was requested.
    pub aborting: bool,
    /// Whether a person decided against the start. Rollback follows.
    #[serde(default)]
    pub rejected: bool,
    /// Whether it succeeded although some nodes do not run the new version.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
    /// Whether a sleep or a soak of the strategy is under way that nobody has ended.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub waiting: bool,
    /// Whether every sleep and soak ends at once: a person promoted the deployment in full.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub promoted: bool,
}

/// The steps of a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Step {
    /// Requested; no engine has planned it yet.
    Requested,
    /// Waits for a person to approve it before it begins.
    Gated,
    /// Approved; not planned yet.
    Approved,
    /// The strategy runs.
    Running,
    /// The strategy waits for a person.
    Asking,
    /// Succeeded; the nodes drop the previous version.
    Settling,
    /// Not succeeded; the nodes are being reverted.
    Reverting,
    /// Ended.
    Ended(Outcome),
}

/// The status of a deployment that users see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Status {
    /// Requested; the engine has not begun.
    Pending,
    /// Waits for a person to decide.
    AwaitingApproval,
    /// The strategy runs.
    Running,
    /// Paused until a person resumes it.
    Paused,
    /// The nodes are being reverted.
    RollingBack,
    /// Succeeded: the new version stays.
    Succeeded,
    /// Succeeded: the new version stays. Some nodes do not run it, no more than the policy
    /// tolerates.
    Partial,
    /// Not succeeded; every node that was changed was reverted.
    RolledBack,
    /// Not succeeded; either no node was changed, or some nodes could not be reverted.
    Failed,
}

impl Status {
    /// Whether the status can no longer change.
    pub fn is_final(self) -> bool {
        match self {
            Self::Succeeded | Self::Partial | Self::RolledBack | Self::Failed => true,
            Self::Pending
            | Self::AwaitingApproval
            | Self::Running
            | Self::Paused
            | Self::RollingBack => false,
        }
    }

    /// The status in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::AwaitingApproval => "awaitingApproval",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::RollingBack => "rollingBack",
            Self::Succeeded => "succeeded",
            Self::Partial => "partial",
            Self::RolledBack => "rolledBack",
            Self::Failed => "failed",
        }
    }
}

/// An event that the current state does not allow. Its `Display` says why, for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct IllegalTransition {
    reason: String,
}

impl IllegalTransition {
    pub(crate) fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
        }
    }
}

impl Lifecycle {
    /// The state after [`EventBody::Requested`].
    pub const INITIAL: Self = Self {
        step: Step::Requested,
        paused: false,
        aborting: false,
        rejected: false,
        partial: false,
        waiting: false,
        promoted: false,
    };

    /// The status that users see.
    pub fn status(self) -> Status {
        match self.step {
            Step::Ended(Outcome::Succeeded) if self.partial => Status::Partial,
            Step::Ended(Outcome::Succeeded) => Status::Succeeded,
            Step::Ended(Outcome::RolledBack) => Status::RolledBack,
            Step::Ended(Outcome::Failed) => Status::Failed,
            Step::Reverting => Status::RollingBack,
            Step::Settling => Status::Running,
            _ if self.rejected => Status::RollingBack,
            _ if self.paused => Status::Paused,
            Step::Gated | Step::Asking => Status::AwaitingApproval,
            Step::Requested | Step::Approved => Status::Pending,
            Step::Running => Status::Running,
        }
    }

    /// Whether the deployment has ended: no event can follow.
    pub fn is_ended(self) -> bool {
        matches!(self.step, Step::Ended(_))
    }

    /// Whether the strategy may still run: not settling, not reverting, not ended.
    pub fn is_strategy_active(self) -> bool {
        !matches!(self.step, Step::Settling | Step::Reverting | Step::Ended(_))
    }

    /// The state after an event that is about to be appended.
    ///
    /// Stricter than [`Self::next`], which must also read journals that were written before
    /// these rules: an accepted decision or abort is final, and a pause holds back the success.
    ///
    /// # Errors
    /// As [`Self::next`]; also if the event approves a deployment that was rejected, or lets
    /// one succeed whose abort was requested or that is paused.
    pub fn append(self, body: &EventBody) -> Result<Self, IllegalTransition> {
        match body {
            EventBody::Decided { .. } if self.step == Step::Gated && self.rejected => Err(
                IllegalTransition::new("the deployment has already been rejected"),
            ),
            EventBody::Settling(_) if self.aborting => Err(IllegalTransition::new(
                "an abort has been requested: the deployment cannot succeed",
            )),
            EventBody::Settling(_) if self.paused => Err(IllegalTransition::new(
                "the deployment is paused: it cannot succeed before it is resumed",
            )),
            _ => self.next(body),
        }
    }

    /// The state after an event behind the damage of a journal. An event that says how the
    /// deployment ends holds, whatever those before it were; others count where they can.
    pub fn next_past_damage(self, body: &EventBody) -> Self {
        let ending = |step| Self {
            step,
            paused: false,
            waiting: false,
            ..self
        };
        self.next(body).unwrap_or_else(|_| match body {
            EventBody::Ended {
                outcome,
                not_updated,
                ..
            } => Self {
                partial: !not_updated.is_empty(),
                ..ending(Step::Ended(*outcome))
            },
            EventBody::Settling(_) => ending(Step::Settling),
            EventBody::Reverting { .. } => ending(Step::Reverting),
            EventBody::Requested(_)
            | EventBody::Gated { .. }
            | EventBody::Planned { .. }
            | EventBody::Called { .. }
            | EventBody::Answered { .. }
            | EventBody::Decided { .. }
            | EventBody::Paused { .. }
            | EventBody::Resumed { .. }
            | EventBody::AbortRequested { .. }
            | EventBody::PromoteRequested { .. }
            | EventBody::TerminationRequested { .. }
            | EventBody::WritesLost { .. }
            | EventBody::Repairing(_)
            | EventBody::Repaired(_)
            | EventBody::RepairFailed { .. } => self,
        })
    }

    /// The state after a person ended the wait that is under way, or every wait.
    fn promote(self, full: bool) -> Result<Self, IllegalTransition> {
        let reason = match self.step {
            Step::Ended(_) => "the deployment has ended",
            Step::Reverting => "the deployment is being rolled back",
            Step::Settling => "the deployment has succeeded",
            _ if self.aborting || self.rejected => "the deployment is about to be rolled back",
            Step::Gated | Step::Asking => {
                "the deployment waits for a person's decision: approve or reject it instead"
            }
            _ if self.paused => "the deployment is paused: resume it instead",
            Step::Requested | Step::Approved => "the deployment has not begun, so nothing waits",
            Step::Running if self.waiting || (full && !self.promoted) => {
                return Ok(Self {
                    waiting: false,
                    promoted: self.promoted || full,
                    ..self
                });
            }
            Step::Running if self.promoted => "every wait of the deployment ends at once already",
            Step::Running => "no sleep or soak is under way, so there is nothing to promote",
        };
        Err(IllegalTransition::new(reason))
    }

    /// The state after one more event of a journal. Start from [`Self::INITIAL`].
    ///
    /// # Errors
    /// If the event is illegal in this state: a pause after the end, an answer before the
    /// plan.
    pub fn next(self, body: &EventBody) -> Result<Self, IllegalTransition> {
        let to = |step| Ok(Self { step, ..self });
        match (body, self.step) {
            (_, Step::Ended(outcome)) => {
                let status = Self {
                    step: Step::Ended(outcome),
                    ..self
                }
                .status()
                .as_str();
                Err(IllegalTransition::new(format!(
                    "the deployment has ended: {status}"
                )))
            }
            (EventBody::WritesLost { .. }, _) => Ok(self),
            (EventBody::Gated { .. }, Step::Requested) => to(Step::Gated),
            (EventBody::Planned { .. }, Step::Requested | Step::Approved) => to(Step::Running),
            (
                EventBody::Called {
                    request: Call::Approval { .. },
                    ..
                },
                Step::Running,
            ) => to(Step::Asking),
            (
                EventBody::Called {
                    request: Call::Sleep { .. } | Call::Soak { .. },
                    ..
                },
                Step::Running,
            ) => Ok(Self {
                waiting: !self.promoted,
                ..self
            }),
            (EventBody::Called { .. }, Step::Running)
            | (
                EventBody::Repairing(_) | EventBody::Repaired(_) | EventBody::RepairFailed { .. },
                Step::Running | Step::Asking,
            ) => Ok(self),
            (EventBody::Decided { decision }, Step::Gated) if decision.approved => {
                to(Step::Approved)
            }
            (EventBody::Decided { .. }, Step::Gated) => Ok(Self {
                rejected: true,
                ..self
            }),
            (EventBody::Decided { .. }, Step::Asking) => to(Step::Running),
            (EventBody::Decided { .. }, _) => Err(IllegalTransition::new(
                "the deployment is not waiting for a decision",
            )),
            (EventBody::Answered { .. }, Step::Running | Step::Asking) => Ok(Self {
                step: Step::Running,
                waiting: false,
                ..self
            }),
            (EventBody::PromoteRequested { full, .. }, _) => self.promote(*full),
            (EventBody::Paused { .. }, _) if self.is_strategy_active() && !self.paused => {
                Ok(Self {
                    paused: true,
                    ..self
                })
            }
            (EventBody::Paused { .. }, _) if self.paused => {
                Err(IllegalTransition::new("the deployment is already paused"))
            }
            (EventBody::Resumed { .. }, _) if self.paused => Ok(Self {
                paused: false,
                ..self
            }),
            (EventBody::Resumed { .. }, _) => {
                Err(IllegalTransition::new("the deployment is not paused"))
            }
            (EventBody::AbortRequested { .. }, _) if self.aborting => Err(IllegalTransition::new(
                "an abort has already been requested",
            )),
            (EventBody::AbortRequested { .. }, _) if self.is_strategy_active() => Ok(Self {
                aborting: true,
                ..self
            }),
            // The strategy has succeeded: there is nothing to revert.
            (EventBody::TerminationRequested { .. }, Step::Settling) => Ok(self),
            (EventBody::TerminationRequested { .. }, _) => Ok(Self {
                step: Step::Reverting,
                paused: false,
                waiting: false,
                ..self
            }),
            (EventBody::Settling(_), Step::Running) => to(Step::Settling),
            (EventBody::Reverting { .. }, _) if self.is_strategy_active() => Ok(Self {
                step: Step::Reverting,
                paused: false,
                waiting: false,
                ..self
            }),
            (
                EventBody::Ended {
                    outcome,
                    not_updated,
                    ..
                },
                Step::Settling | Step::Reverting,
            ) => Ok(Self {
                step: Step::Ended(*outcome),
                partial: !not_updated.is_empty(),
                ..self
            }),
            (_, Step::Reverting) => Err(IllegalTransition::new(
                "the deployment is being rolled back",
            )),
            (_, Step::Settling) => Err(IllegalTransition::new("the deployment has succeeded")),
            (body, step) => {
                let name = body.name();
                Err(IllegalTransition::new(format!(
                    "the event `{name}` is not allowed in the step `{step:?}`"
                )))
            }
        }
    }
}

#[cfg(test)]
mod tests;
