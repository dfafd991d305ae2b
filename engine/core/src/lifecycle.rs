use serde::{Deserialize, Serialize};

use crate::{Call, EventBody, Outcome};

/// Where a deployment is in its life: a state machine over the events, small enough
/// for a store to keep beside the journal and to refuse what does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lifecycle {
    /// How far it is.
    pub step: Step,
    /// Whether the next call of the strategy is held.
    pub paused: bool,
    /// Whether somebody asked that it end.
    pub aborting: bool,
}

/// How far a deployment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Step {
    /// Requested; no engine has begun yet.
    Requested,
    /// Waiting for a person before it begins.
    Gated,
    /// Approved, and not yet planned.
    Approved,
    /// The strategy runs.
    Running,
    /// The strategy waits for a person.
    Asking,
    /// Succeeded; dropping the version before.
    Settling,
    /// Not succeeded; putting the nodes back.
    Reverting,
    /// Over.
    Ended(Outcome),
}

/// The one word that users see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Status {
    /// Requested; the engine has not begun.
    Pending,
    /// A person has to decide.
    AwaitingApproval,
    /// The strategy runs.
    Running,
    /// Held until somebody resumes it.
    Paused,
    /// The nodes are being put back.
    RollingBack,
    /// The new version stays.
    Succeeded,
    /// Every touched node is back as it was.
    RolledBack,
    /// No success, and nothing was touched or some node could not be put back.
    Failed,
}

impl Status {
    /// Whether nothing more can happen.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::RolledBack | Self::Failed)
    }

    /// The word itself, as the API writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::AwaitingApproval => "awaitingApproval",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::RollingBack => "rollingBack",
            Self::Succeeded => "succeeded",
            Self::RolledBack => "rolledBack",
            Self::Failed => "failed",
        }
    }
}

/// An event that cannot follow what went before; its Display says why, for a person.
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
    /// The life of a deployment that has just been requested.
    pub const BEGINNING: Self = Self {
        step: Step::Requested,
        paused: false,
        aborting: false,
    };

    /// The one word for it.
    pub fn status(self) -> Status {
        match self.step {
            Step::Ended(Outcome::Succeeded) => Status::Succeeded,
            Step::Ended(Outcome::RolledBack) => Status::RolledBack,
            Step::Ended(Outcome::Failed) => Status::Failed,
            Step::Reverting => Status::RollingBack,
            Step::Settling => Status::Running,
            _ if self.paused => Status::Paused,
            Step::Gated | Step::Asking => Status::AwaitingApproval,
            Step::Requested | Step::Approved => Status::Pending,
            Step::Running => Status::Running,
        }
    }

    /// Whether the journal is closed.
    pub fn is_ended(self) -> bool {
        matches!(self.step, Step::Ended(_))
    }

    /// Whether a strategy may still run: not over, not settling, not reverting.
    fn is_open(self) -> bool {
        !matches!(self.step, Step::Settling | Step::Reverting | Step::Ended(_))
    }

    /// The life after one more event, of a deployment that [`Self::BEGINNING`] began.
    ///
    /// # Errors
    /// Where the event cannot follow: a pause of what has ended, an answer before the plan.
    pub fn next(self, body: &EventBody) -> Result<Self, IllegalTransition> {
        let to = |step| Ok(Self { step, ..self });
        match (body, self.step) {
            (_, Step::Ended(outcome)) => {
                let word = Self {
                    step: Step::Ended(outcome),
                    ..self
                }
                .status()
                .as_str();
                Err(IllegalTransition::new(format!(
                    "the deployment has ended: {word}"
                )))
            }
            (EventBody::Gated { .. }, Step::Requested) => to(Step::Gated),
            (EventBody::Planned { .. }, Step::Requested | Step::Approved) => to(Step::Running),
            (
                EventBody::Called {
                    request: Call::Approval { .. },
                    ..
                },
                Step::Running,
            ) => to(Step::Asking),
            (EventBody::Called { .. }, Step::Running) => Ok(self),
            (EventBody::Decided { decision }, Step::Gated) if decision.approved => {
                to(Step::Approved)
            }
            (EventBody::Decided { .. }, Step::Gated) => Ok(self),
            (EventBody::Decided { .. }, Step::Asking) => to(Step::Running),
            (EventBody::Decided { .. }, _) => {
                Err(IllegalTransition::new("nothing waits for a decision"))
            }
            (EventBody::Answered { .. }, Step::Running | Step::Asking) => to(Step::Running),
            (EventBody::Paused { .. }, _) if self.is_open() && !self.paused => Ok(Self {
                paused: true,
                ..self
            }),
            (EventBody::Paused { .. }, _) if self.paused => {
                Err(IllegalTransition::new("it is paused already"))
            }
            (EventBody::Resumed { .. }, _) if self.paused => Ok(Self {
                paused: false,
                ..self
            }),
            (EventBody::Resumed { .. }, _) => Err(IllegalTransition::new("it is not paused")),
            (EventBody::AbortRequested { .. }, _) if self.aborting => Err(IllegalTransition::new(
                "an abort has been asked for already",
            )),
            (EventBody::AbortRequested { .. }, _) if self.is_open() => Ok(Self {
                aborting: true,
                ..self
            }),
            (EventBody::Settling, Step::Running) => to(Step::Settling),
            (EventBody::Reverting { .. }, _) if self.is_open() => Ok(Self {
                step: Step::Reverting,
                paused: false,
                ..self
            }),
            (EventBody::Ended { outcome, .. }, Step::Settling | Step::Reverting) => {
                to(Step::Ended(*outcome))
            }
            (_, Step::Reverting) => Err(IllegalTransition::new("it is being rolled back")),
            (_, Step::Settling) => Err(IllegalTransition::new("it has succeeded")),
            (body, step) => {
                let name = body.name();
                Err(IllegalTransition::new(format!(
                    "{name} cannot follow when it is {step:?}"
                )))
            }
        }
    }
}

impl EventBody {
    /// The event's name, as the API writes it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Requested(_) => "requested",
            Self::Gated { .. } => "gated",
            Self::Planned { .. } => "planned",
            Self::Called { .. } => "called",
            Self::Answered { .. } => "answered",
            Self::Decided { .. } => "decided",
            Self::Paused { .. } => "paused",
            Self::Resumed { .. } => "resumed",
            Self::AbortRequested { .. } => "abortRequested",
            Self::Settling => "settling",
            Self::Reverting { .. } => "reverting",
            Self::Ended { .. } => "ended",
        }
    }
}

#[cfg(test)]
mod tests;
