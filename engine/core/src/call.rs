use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Check, NodeId};

/// A call of a strategy to the engine: an import of the world `hotswap:strategy/strategy`,
/// with its arguments.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "call", content = "arguments")]
pub enum Call {
    /// `fleet.nodes`.
    Nodes,
    /// `fleet.stage`.
    Stage {
        /// The nodes to act on.
        nodes: Vec<NodeId>,
    },
    /// `fleet.shift`.
    Shift {
        /// The nodes to act on.
        nodes: Vec<NodeId>,
        /// The new version's share of the requests, 0 to 100. A higher value is a violation
        /// that ends the deployment.
        percent: u8,
    },
    /// `fleet.promote`.
    Promote {
        /// The nodes to act on.
        nodes: Vec<NodeId>,
    },
    /// `fleet.revert`.
    Revert {
        /// The nodes to act on.
        nodes: Vec<NodeId>,
    },
    /// `fleet.probe`.
    Probe {
        /// The nodes to act on.
        nodes: Vec<NodeId>,
        /// The request, and the expected response.
        request: HttpProbe,
    },
    /// `analysis.soak`.
    Soak {
        /// Its length in milliseconds.
        window: u64,
        /// The nodes whose new version is judged.
        canary: Vec<NodeId>,
        /// The nodes whose previous version it is compared with.
        baseline: Vec<NodeId>,
        /// The conditions that must hold.
        checks: Vec<Check>,
    },
    /// `control.now`.
    Now,
    /// `control.sleep`.
    Sleep {
        /// Its length in milliseconds.
        span: u64,
    },
    /// `control.approval`.
    Approval {
        /// The question to a person.
        prompt: String,
        /// How long to wait for a decision, in milliseconds.
        timeout: u64,
    },
    /// `control.progress`.
    Progress {
        /// The name of the current stage.
        stage: String,
        /// Progress of the whole deployment, 0 to 100. A higher value is a violation that
        /// ends the deployment.
        percent: u8,
    },
    /// `control.log`.
    Log {
        /// The severity of the message.
        level: Level,
        /// The message.
        message: String,
    },
}

/// How a call is journaled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallKind {
    /// Has no answer: only the call is journaled.
    Note,
    /// Changes nothing: call and answer are journaled as one event.
    Read,
    /// Has an effect: the intent is journaled, then carried out, then the answer is
    /// journaled. After a crash, an intent without an answer is carried out again.
    Write,
}

/// An HTTP request to the new version, with the response that a healthy version gives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpProbe {
    /// Path and query, beginning with `/`.
    pub path: String,
    /// The expected status code.
    pub expect_status: u16,
    /// Text that the body must contain, in its first 64 KiB.
    pub expect_body: Option<String>,
    /// How long to retry before the node counts as unhealthy, in milliseconds.
    pub timeout: u64,
}

/// The severity of a log message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Level {
    /// For the strategy's author.
    Debug,
    /// For people who watch the deployment.
    Info,
    /// A possible problem.
    Warn,
    /// A failure.
    Error,
}

impl Call {
    /// The name of the import: `fleet.stage`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Nodes => "fleet.nodes",
            Self::Stage { .. } => "fleet.stage",
            Self::Shift { .. } => "fleet.shift",
            Self::Promote { .. } => "fleet.promote",
            Self::Revert { .. } => "fleet.revert",
            Self::Probe { .. } => "fleet.probe",
            Self::Soak { .. } => "analysis.soak",
            Self::Now => "control.now",
            Self::Sleep { .. } => "control.sleep",
            Self::Approval { .. } => "control.approval",
            Self::Progress { .. } => "control.progress",
            Self::Log { .. } => "control.log",
        }
    }

    /// How the call is journaled.
    pub fn kind(&self) -> CallKind {
        match self {
            Self::Progress { .. } | Self::Log { .. } => CallKind::Note,
            Self::Nodes | Self::Now => CallKind::Read,
            Self::Stage { .. }
            | Self::Shift { .. }
            | Self::Promote { .. }
            | Self::Revert { .. }
            | Self::Probe { .. }
            | Self::Soak { .. }
            | Self::Sleep { .. }
            | Self::Approval { .. } => CallKind::Write,
        }
    }

    /// The nodes that the call changes. They must be reverted if the deployment does not
    /// succeed.
    pub fn changed_nodes(&self) -> &[NodeId] {
        match self {
            Self::Stage { nodes }
            | Self::Shift { nodes, .. }
            | Self::Promote { nodes }
            | Self::Revert { nodes } => nodes,
            Self::Nodes
            | Self::Probe { .. }
            | Self::Soak { .. }
            | Self::Now
            | Self::Sleep { .. }
            | Self::Approval { .. }
            | Self::Progress { .. }
            | Self::Log { .. } => &[],
        }
    }

    /// How long the call waits, at most. `None` for a call that does not wait.
    pub fn wait(&self) -> Option<Duration> {
        match self {
            Self::Sleep { span: millis }
            | Self::Soak { window: millis, .. }
            | Self::Approval {
                timeout: millis, ..
            } => Some(Duration::from_millis(*millis)),
            Self::Nodes
            | Self::Stage { .. }
            | Self::Shift { .. }
            | Self::Promote { .. }
            | Self::Revert { .. }
            | Self::Probe { .. }
            | Self::Now
            | Self::Progress { .. }
            | Self::Log { .. } => None,
        }
    }

    /// All nodes in the call's arguments, changed or only read.
    pub fn named_nodes(&self) -> impl Iterator<Item = &NodeId> {
        let (first, second): (&[NodeId], &[NodeId]) = match self {
            Self::Probe { nodes, .. } => (nodes, &[]),
            Self::Soak {
                canary, baseline, ..
            } => (canary, baseline),
            other => (other.changed_nodes(), &[]),
        };
        first.iter().chain(second)
    }
}
