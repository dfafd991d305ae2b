use hotswap_core as core;
use poem_openapi::{Enum, Object};

/// The status of a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "camelCase", remote = "core::Status")]
pub(crate) enum Status {
    /// The deployment was requested and has not started.
    Pending,
    /// A person must decide: see `question`.
    AwaitingApproval,
    /// The strategy is running.
    Running,
    /// The deployment is held until it is resumed.
    Paused,
    /// The nodes are being reverted.
    RollingBack,
    /// The deployment succeeded: the new version stays.
    Succeeded,
    /// The deployment succeeded: the new version stays. Some nodes do not run it, no more than
    /// the policy tolerates: see `notUpdated`.
    Partial,
    /// The deployment did not succeed, and every changed node was reverted.
    RolledBack,
    /// The deployment did not succeed, and either no node was changed or some node could not
    /// be reverted.
    Failed,
}

/// Why a deployment did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, Object)]
pub(crate) struct Cause {
    /// The kind of cause.
    pub kind: CauseKind,
    /// What happened, in one or two sentences.
    pub message: String,
}

/// The kinds of reasons why a deployment does not succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "camelCase", remote = "core::CauseKind")]
pub(crate) enum CauseKind {
    /// The strategy returned an error: for example, a check failed, or a node did not carry
    /// out an operation.
    Strategy,
    /// The strategy crashed, or ran for too long without a call.
    Trap,
    /// On replay, the strategy made another call than the one in the journal.
    Mismatch,
    /// The strategy made a call that its plan does not allow.
    Violation,
    /// The strategy used more resources than a deployment may.
    Limit,
    /// The environment's policy does not allow it: more nodes failed, are missing or do not
    /// serve than it tolerates, or nodes do not run the new version although the strategy
    /// ended without an error.
    Policy,
    /// The deployment took longer than the environment's policy allows.
    Deadline,
    /// A person aborted the deployment.
    Abort,
    /// A person rejected the deployment, or no person approved it in time.
    Rejected,
    /// Something that the deployment needs is gone: its strategy, its artifact or its nodes.
    Unavailable,
}

impl From<core::Cause> for Cause {
    fn from(cause: core::Cause) -> Self {
        Self {
            kind: cause.kind.into(),
            message: cause.message,
        }
    }
}
