//! Nodes, module versions, and the outcome of operations on nodes.

use std::fmt;

pub use crate::bindings::hotswap::strategy::types::{
    Health, ModuleVersion, Node, NodeError, NodeResult,
};

impl Node {
    /// The value of a label. `None` if the node does not have it.
    #[must_use]
    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value.as_str())
    }
}

/// The id of the node. So each call of [`Fleet`](crate::Fleet) accepts nodes, references to
/// nodes, and ids.
impl AsRef<str> for Node {
    fn as_ref(&self) -> &str {
        &self.id
    }
}

/// `checkout 2.1.0`.
impl fmt::Display for ModuleVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.version)
    }
}

/// `unreachable: no answer in 10 s`.
impl fmt::Display for NodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(reason) => write!(f, "unreachable: {reason}"),
            Self::Refused(reason) => write!(f, "refused: {reason}"),
            Self::Unhealthy(reason) => write!(f, "unhealthy: {reason}"),
            Self::Other(reason) => f.write_str(reason),
        }
    }
}
