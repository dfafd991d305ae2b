use std::fmt;

use serde::{Deserialize, Serialize};

/// How a deployment ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// The strategy said that the new version stays.
    Succeeded,
    /// It did not succeed, and every node that was touched is back as it was.
    RolledBack,
    /// It did not succeed, and either no node had been touched or some node could not
    /// be put back; the failures of the last event say which.
    Failed,
}

/// Why a deployment did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cause {
    /// What kind of end it was, for programs.
    pub kind: CauseKind,
    /// What happened, in a sentence or two, for people.
    pub message: String,
}

/// The kinds of ends that are no success.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CauseKind {
    /// The strategy returned an error: a check failed, a node did not do as asked.
    Strategy,
    /// The strategy crashed, or ran longer without a call than is allowed.
    Trap,
    /// On replay the strategy asked something else than the journal holds.
    Mismatch,
    /// The strategy asked for something that no plan allows.
    Violation,
    /// The strategy used more than a deployment may: calls, bytes, memory.
    Limit,
    /// More nodes failed than the environment's policy tolerates.
    Policy,
    /// It took longer than the environment's policy allows.
    Deadline,
    /// A person asked for it.
    Abort,
    /// A person did not approve it, or nobody did in time.
    Rejected,
    /// Something that it needs is gone: its strategy, its artifact, its nodes.
    Unavailable,
}

impl Cause {
    /// A cause of this kind.
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
