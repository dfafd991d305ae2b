use hotswap_core as core;
use poem_openapi::{Enum, Object};

/// How far a deployment has changed a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "camelCase")]
pub(crate) enum NodePhase {
    /// The node was not changed.
    Pending,
    /// The new version is loaded beside the active one.
    Staged,
    /// The new version gets `percent` percent of the requests.
    Shifted,
    /// The new version gets all requests.
    Active,
    /// The previous version gets all requests again.
    Reverted,
    /// The node failed its last operation: see `error`.
    Failed,
}

/// The state of a node in a deployment.
#[derive(Debug, Clone, PartialEq, Eq, Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
pub(crate) struct DeployedNode {
    /// The id of the node.
    pub id: String,
    /// The zone that the node reports, if any.
    pub zone: Option<String>,
    /// The version that the node ran before the deployment.
    pub before: Option<String>,
    /// The version that the node ran when the engine last heard of it in this deployment.
    /// Absent if it ran none, or if it did not say whether it carried the last order out.
    pub runs: Option<String>,
    /// How far the deployment has changed the node.
    pub phase: NodePhase,
    /// The share of requests that the new version gets, in percent. Only in the phase
    /// `shifted`.
    pub percent: Option<u8>,
    /// Why the node failed its last operation.
    pub error: Option<NodeError>,
    /// When the state of the node last changed.
    pub changed_at: u64,
}

/// Why a node failed an operation.
#[derive(Debug, Clone, PartialEq, Eq, Object)]
pub(crate) struct NodeError {
    /// The kind of failure.
    pub kind: NodeErrorKind,
    /// What happened, in one sentence.
    pub reason: String,
}

/// The kinds of failures of nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "camelCase")]
pub(crate) enum NodeErrorKind {
    /// The engine could not connect, or got no answer in time. Whether the node carried out
    /// the operation is unknown.
    Unreachable,
    /// The node rejected the operation.
    Refused,
    /// The node carried out the operation, and the new version then failed its health check.
    Unhealthy,
    /// Any other failure.
    Other,
}

/// A node that failed an operation.
#[derive(Debug, Clone, PartialEq, Eq, Object)]
pub(crate) struct NodeFailure {
    /// The id of the node.
    pub node: String,
    /// Why the node failed.
    pub error: NodeError,
}

impl DeployedNode {
    /// The state of a node in a deployment of `module`.
    pub fn new(id: core::NodeId, state: core::NodeState, module: &core::ModuleVersion) -> Self {
        use core::NodePhase as P;
        let (phase, percent) = match state.phase {
            P::Pending => (NodePhase::Pending, None),
            P::Staged => (NodePhase::Staged, None),
            P::Shifted { percent } => (NodePhase::Shifted, Some(percent)),
            P::Active => (NodePhase::Active, None),
            P::Reverted => (NodePhase::Reverted, None),
            P::Failed => (NodePhase::Failed, None),
        };
        let runs = state.running(module);
        Self {
            id: id.into(),
            runs: runs.map(|version| version.version.to_string()),
            zone: state.zone,
            before: state.before.map(|before| before.version.to_string()),
            phase,
            percent,
            error: state.error.map(Into::into),
            changed_at: state.changed_at.millis(),
        }
    }
}

impl From<core::NodeError> for NodeError {
    fn from(error: core::NodeError) -> Self {
        use core::NodeError as E;
        let (kind, reason) = match error {
            E::Unreachable(reason) => (NodeErrorKind::Unreachable, reason),
            // No journal holds it, and it passes: a kind of its own would tell clients no more.
            local @ E::Local(_) => (NodeErrorKind::Unreachable, local.to_string()),
            fenced @ E::Fenced(_) => (NodeErrorKind::Refused, fenced.to_string()),
            E::Refused(reason) => (NodeErrorKind::Refused, reason),
            E::Unhealthy(reason) => (NodeErrorKind::Unhealthy, reason),
            E::Other(reason) => (NodeErrorKind::Other, reason),
        };
        Self { kind, reason }
    }
}

impl From<core::NodeFailure> for NodeFailure {
    fn from(failure: core::NodeFailure) -> Self {
        Self {
            node: failure.node.into(),
            error: failure.error.into(),
        }
    }
}
