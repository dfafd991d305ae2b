use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{ModuleVersion, NodeId, NodeLabels};

/// The health of a node, from its reports to the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Health {
    /// The node reports on time, without a problem.
    Passing,
    /// The node reports late, or reports a problem.
    Warning,
    /// The node has not reported for so long that it counts as gone.
    Critical,
    /// The node has not reported yet.
    Unknown,
}

/// A node, and the version of the deployment's module that it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Node {
    /// The node's name.
    pub id: NodeId,
    /// The zone that the node reports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// The labels that its operator gave it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Its health.
    pub health: Health,
    /// The version that answers requests now; `None` if the module does not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active: Option<ModuleVersion>,
    /// Why the node cannot load the active version, so that it answers no requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

impl Node {
    /// Its labels, as selectors see them.
    pub fn labels(&self) -> NodeLabels<'_> {
        NodeLabels::new(self.zone.as_deref(), &self.labels)
    }
}

/// Why an operation failed on one node. Each holds a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "camelCase", tag = "kind", content = "reason")]
pub enum NodeError {
    /// No connection, or no answer in time. Whether the node did it is unknown.
    #[error("unreachable: {0}")]
    Unreachable(String),
    /// This machine has no file, port or memory left for a connection. Says nothing about the node,
    /// so no journal holds it: encoding it is an error. Whether the node did it is unknown.
    #[serde(skip)]
    #[error("this machine can open no connection to it: {0}")]
    Local(String),
    /// The node has seen a higher fence than the order's: another engine has taken over, or
    /// the engine's store is older than the node's memory.
    #[error("refused: it has seen the fence {0}, which is higher than the order's")]
    Fenced(u64),
    /// The node answered that it will not do it.
    #[error("refused: {0}")]
    Refused(String),
    /// The node did it, but the new version then failed its health check.
    #[error("unhealthy: {0}")]
    Unhealthy(String),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl NodeError {
    /// The kind of the error in one word, for metrics and traces.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "unreachable",
            Self::Local(_) => "local",
            Self::Fenced(_) => "fenced",
            Self::Refused(_) => "refused",
            Self::Unhealthy(_) => "unhealthy",
            Self::Other(_) => "other",
        }
    }

    /// The most characters of a reason that a journal keeps of one failure: enough for a
    /// sentence, and a thousand nodes may fail alike.
    pub const MAX_REASON_CHARS: usize = 600;

    /// The error with the start of its reason, which may hold the words of a node or of a
    /// strategy.
    #[must_use]
    pub fn truncated(mut self) -> Self {
        let (Self::Unreachable(reason)
        | Self::Local(reason)
        | Self::Refused(reason)
        | Self::Unhealthy(reason)
        | Self::Other(reason)) = &mut self
        else {
            return self;
        };
        if let Some((end, _)) = reason.char_indices().nth(Self::MAX_REASON_CHARS) {
            reason.truncate(end);
            reason.push('…');
        }
        self
    }
}

/// A node on which an operation failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeFailure {
    /// The node.
    pub node: NodeId,
    /// Why it failed.
    pub error: NodeError,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_start_of_a_long_reason_is_kept() {
        let long = |letter: &str| letter.repeat(NodeError::MAX_REASON_CHARS + 1);
        for letter in ["x", "é"] {
            let NodeError::Other(reason) = NodeError::Other(long(letter)).truncated() else {
                panic!("another error");
            };
            assert_eq!(reason.chars().count(), NodeError::MAX_REASON_CHARS + 1);
            assert!(reason.ends_with('…'), "{reason}");
        }
        let short = NodeError::Refused("no room".to_owned());
        assert_eq!(short.clone().truncated(), short);
        assert_eq!(NodeError::Fenced(7).truncated(), NodeError::Fenced(7));
    }

    #[test]
    fn no_journal_can_hold_a_fault_of_this_machine() {
        let fault = NodeError::Local("no file is free".to_owned());
        assert!(serde_json::to_string(&fault).is_err());
    }
}
