use serde::{Deserialize, Serialize};

use crate::{Node, NodeFailure, Verdict};

/// The engine's answer to a call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "answer", content = "value")]
pub enum Answer {
    /// To a call without a result: `control.progress`, `control.log`, and a `control.sleep`
    /// that is over.
    Done,
    /// To `fleet.nodes`.
    Nodes(Vec<Node>),
    /// To calls that act on nodes: the nodes that failed. All others succeeded.
    Nodewise(Vec<NodeFailure>),
    /// To `analysis.soak`.
    Verdict(Verdict),
    /// To `control.now`: milliseconds since the Unix epoch.
    Time(u64),
    /// To `control.approval`.
    Decision(Decision),
}

/// A person's decision on a request for approval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Decision {
    /// Whether to go on.
    pub approved: bool,
    /// The person; empty if the request timed out.
    pub by: String,
    /// The person's comment.
    pub comment: Option<String>,
}
