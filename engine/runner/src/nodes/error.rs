use hotswap_core::{Environment, NodeId};
use hotswap_fleet::registry;
use hotswap_store::{AppendToEnvironmentError, ReadError};

use crate::projections;

/// Why something was not done to a node.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No node has this id.
    #[error("node '{0}' is not registered")]
    Unknown(NodeId),
    /// The policy does not allow one more node to be unavailable.
    #[error(
        "{unavailable} of {total} nodes of {environment} are unavailable{}, and its policy allows {allowed} (maxUnavailable)",
        named(.nodes)
    )]
    TooManyUnavailable {
        /// The environment.
        environment: Environment,
        /// How many nodes are unavailable now.
        unavailable: usize,
        /// How many nodes the environment has.
        total: usize,
        /// How many may be unavailable.
        allowed: usize,
        /// Those that do not serve. The others are being changed by deployments.
        nodes: Vec<NodeId>,
    },
    /// Other engines changed the cordons or took the lease in each attempt. Nothing was changed.
    #[error("other engines cordon or change nodes of {0} at the same time")]
    Contended(Environment),
    /// The disk is full.
    #[error("the disk is full")]
    Full,
    /// The store failed. Whether the change was made is unknown.
    #[error("the store failed")]
    Store(#[source] Box<dyn std::error::Error + Send + Sync>),
}

fn named(nodes: &[NodeId]) -> String {
    /// Nobody reads a longer list.
    const SHOWN: usize = 5;
    if nodes.is_empty() {
        return String::new();
    }
    let shown: Vec<_> = nodes.iter().take(SHOWN).map(NodeId::as_str).collect();
    let more = match nodes.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!(" ({}{more})", shown.join(", "))
}

impl Error {
    pub(super) fn read(error: ReadError) -> Self {
        Self::Store(Box::new(error))
    }
}

impl From<AppendToEnvironmentError> for Error {
    fn from(error: AppendToEnvironmentError) -> Self {
        match error {
            AppendToEnvironmentError::Full => Self::Full,
            error => Self::Store(Box::new(error)),
        }
    }
}

impl From<registry::Error> for Error {
    fn from(error: registry::Error) -> Self {
        Self::Store(Box::new(error))
    }
}

impl From<projections::Error> for Error {
    fn from(error: projections::Error) -> Self {
        Self::Store(Box::new(error))
    }
}
