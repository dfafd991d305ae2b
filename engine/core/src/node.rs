use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{ModuleVersion, NodeId};

/// What the engine last heard of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Health {
    /// It reports in and says that all is well.
    Passing,
    /// It reports in, late or with a complaint.
    Warning,
    /// It has not reported in for so long that it counts as gone.
    Critical,
    /// It has not been heard of yet.
    Unknown,
}

/// A node as a deployment sees it: who it is, and what of the module it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Node {
    /// The node's name.
    pub id: NodeId,
    /// Where it stands, if it says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// What its operator says of it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// What the engine last heard of it.
    pub health: Health,
    /// The version of the module that answers requests now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active: Option<ModuleVersion>,
}

/// Why one node did not do what it was asked. Each holds a sentence for a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "camelCase", tag = "kind", content = "reason")]
pub enum NodeError {
    /// No connection, or no answer in time. What the node did is unknown.
    #[error("unreachable: {0}")]
    Unreachable(String),
    /// The node answered, and would not.
    #[error("refused: {0}")]
    Refused(String),
    /// The node did it, and the new version then failed its health check.
    #[error("unhealthy: {0}")]
    Unhealthy(String),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

/// A node that did not do what it was asked, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeFailure {
    /// The node.
    pub node: NodeId,
    /// Why not.
    pub error: NodeError,
}
