use std::time::Duration;

use hotswap_core::NodeId;
use hotswap_store::CatalogueError;

/// Why an operation of the registry failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The registration is invalid. The text says what to change.
    #[error("{0}")]
    Invalid(String),
    /// Another node with this id reports in.
    #[error(
        "node id '{node}' is held by the node at {holder}, which reports in; give this node another id (--id), or stop the other one: its id is free once it has stopped, or has been silent for {silence:?}"
    )]
    Taken {
        /// The id.
        node: NodeId,
        /// Control URL of the node that has it.
        holder: String,
        /// After which silence the id is free.
        silence: Duration,
    },
    /// The recorded nodes could not be read at the start.
    #[error("could not read the registered nodes from the store")]
    Load(#[source] CatalogueError),
    /// A registration could not be made durable. It is safe to register again.
    #[error("could not save the registration of node '{node}'")]
    Save {
        /// The node.
        node: NodeId,
        /// The store's error.
        #[source]
        source: CatalogueError,
    },
    /// A node could not be deregistered.
    #[error("could not remove node '{node}' from the store")]
    Delete {
        /// The node.
        node: NodeId,
        /// The store's error.
        #[source]
        source: CatalogueError,
    },
}
