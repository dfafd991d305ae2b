use std::fmt;

use serde::{Deserialize, Serialize};

/// How a deployment ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// The strategy succeeded: the new version stays.
    Succeeded,
    /// The deployment did not succeed, and every node that it changed was reverted.
    RolledBack,
    /// The deployment did not succeed. Either it had changed no node, or some nodes could not
    /// be reverted; the failures of the last event name them.
    Failed,
}

/// Why a deployment did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cause {
    /// The kind of cause, for programs.
    pub kind: CauseKind,
    /// One or two sentences for people.
    pub message: String,
}

/// The kinds of causes why a deployment does not succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CauseKind {
    /// The strategy returned an error: for example, a check or a node failed.
    Strategy,
    /// The strategy crashed, or ran too long without a call.
    Trap,
    /// On replay the strategy made a different call than the one in the journal.
    Mismatch,
    /// The strategy made a call that its plan does not allow.
    Violation,
    /// The strategy exceeded a limit: calls, bytes, memory, or compute in total.
    Limit,
    /// More nodes failed than the environment's policy tolerates.
    Policy,
    /// The deployment took longer than the environment's policy allows.
    Deadline,
    /// A person aborted the deployment.
    Abort,
    /// A person rejected the deployment, or the request for approval timed out.
    Rejected,
    /// Something that the deployment needs is missing: its strategy, its artifact or its
    /// nodes.
    Unavailable,
}

impl Cause {
    /// A cause of this kind, with a message for people.
    pub fn new(kind: CauseKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
