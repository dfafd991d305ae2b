//! Nodes, what they run, and why they would not.

use std::fmt;

pub use crate::bindings::hotswap::strategy::types::{
    Health, ModuleVersion, Node, NodeError, NodeResult,
};

impl Node {
    /// The value of a label, if the node has it.
    #[must_use]
    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value.as_str())
    }
}

/// A node is asked for by its id: every call takes nodes, references to them and
/// plain ids alike.
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
