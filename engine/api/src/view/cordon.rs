use hotswap_core as core;
use poem_openapi::Object;

/// A person has taken a node out of what the engine changes. The node keeps serving what it runs.
#[derive(Debug, Clone, PartialEq, Eq, Object)]
#[oai(rename = "NodeCordon", skip_serializing_if_is_none)]
pub(crate) struct Cordon {
    /// Whether the node is also drained: it reports that it is not ready, so that load balancers
    /// send its requests elsewhere.
    pub drained: bool,
    /// The person.
    pub by: String,
    /// The person's reason.
    pub reason: Option<String>,
    /// Since when.
    pub since: u64,
}

/// A node that was left out of a plan because a person had cordoned it.
#[derive(Debug, Clone, PartialEq, Eq, Object)]
#[oai(skip_serializing_if_is_none)]
pub(crate) struct CordonedNode {
    /// The id of the node.
    pub node: String,
    #[oai(flatten)]
    pub cordon: Cordon,
}

impl From<core::Cordon> for Cordon {
    fn from(cordon: core::Cordon) -> Self {
        Self {
            drained: cordon.drained,
            by: cordon.by,
            reason: cordon.reason,
            since: cordon.since.millis(),
        }
    }
}

impl From<core::CordonedNode> for CordonedNode {
    fn from(cordoned: core::CordonedNode) -> Self {
        Self {
            node: cordoned.node.into(),
            cordon: cordoned.cordon.into(),
        }
    }
}
