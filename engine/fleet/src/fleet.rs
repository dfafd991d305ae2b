use async_trait::async_trait;
use hotswap_core::{
    Environment, HttpProbe, ModuleName, ModuleVersion, Node, NodeError, NodeId, NodeReading, Order,
};

/// The nodes of an engine, and what can be done to them. Every call is bounded in time;
/// a call that was cancelled may have reached the node.
#[async_trait]
pub trait Fleet: Send + Sync + 'static {
    /// The nodes of an environment, sorted by id, each with the version of `module` that
    /// it says it runs. A node that does not answer is [`hotswap_core::Health::Critical`],
    /// whatever was heard of it before: what it runs is not known, so nobody could put it
    /// back.
    ///
    /// # Errors
    /// Where nothing is known of the environment's nodes at all.
    async fn nodes(
        &self,
        environment: &Environment,
        module: &ModuleName,
    ) -> Result<Vec<Node>, Error>;

    /// Has a node carry out an order. Safe to repeat: the order's operation is carried out
    /// once. Tries again, with back-off, while the node cannot be reached, for a bounded time.
    ///
    /// # Errors
    /// [`NodeError::Unreachable`] where no answer came: whether it was done is unknown.
    async fn order(&self, node: &NodeId, order: &Order) -> Result<(), NodeError>;

    /// Asks the staged version until it answers as expected.
    ///
    /// # Errors
    /// [`NodeError::Unhealthy`], with the last answer, where it did not within the probe's timeout.
    async fn probe(
        &self,
        node: &NodeId,
        version: &ModuleVersion,
        probe: &HttpProbe,
    ) -> Result<(), NodeError>;

    /// What a node's counters for a module say; at most a second old.
    async fn read(&self, node: &NodeId, module: &ModuleName) -> Result<NodeReading, NodeError>;
}

/// Why the nodes of an environment cannot be told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No node has registered for it.
    #[error("environment '{0}' has no nodes; start one with: hotswap node --environment {0}")]
    NoNodes(Environment),
}
