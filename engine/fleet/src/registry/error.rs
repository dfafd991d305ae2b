use hotswap_core::NodeId;
use hotswap_store::CatalogueError;

/// Why an operation of the registry failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The registration is invalid. The text says what to change.
    #[error("{0}")]
    Invalid(String),
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
