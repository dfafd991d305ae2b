use std::time::Duration;

use async_trait::async_trait;
use hotswap_core::{
    Environment, Health, HttpProbe, ModuleName, ModuleVersion, Node, NodeError, NodeId,
    NodeReading, Order,
};
use hotswap_protocol::NodeReport;

/// What was last heard of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthReport {
    /// Its health.
    pub health: Health,
    /// One sentence, if the health is not passing.
    pub reason: Option<String>,
}

/// Requests that a node is to send to its own module while a soak has too few of clients.
#[derive(Debug, Clone, PartialEq)]
pub struct SyntheticTraffic<'a> {
    /// The new version.
    pub version: &'a ModuleVersion,
    /// Whether it gets requests.
    pub to_version: bool,
    /// Whether the version before gets requests.
    pub to_others: bool,
    /// Path and query of each.
    pub path: &'a str,
    /// How many each version gets in a second.
    pub rate_per_second: f64,
    /// For how long. Zero ends an earlier request.
    pub lasting: Duration,
}

/// The nodes of an engine, and the operations on them.
///
/// What is asked on behalf of an environment never reaches a node that belongs to another one by
/// what it has last reported: it fails at once with [`NodeError::Unreachable`].
///
/// # Guarantees
/// - Every call is bounded in time, except for an order whose node goes on with it: that takes as
///   long as the node comes on.
/// - Every call may be cancelled. The node may have received a cancelled order, and may carry
///   it out.
#[async_trait]
pub trait Fleet: Send + Sync + 'static {
    /// Lists the nodes of an environment, sorted by id, each with the version of `module` that
    /// it reports as active.
    ///
    /// A node that does not answer is [`hotswap_core::Health::Critical`], whatever its last
    /// heartbeat said: we could not tell which version to revert it to. It is not asked again
    /// for a while, a minute at most, unless it registers, sends a heartbeat or answers another
    /// request.
    ///
    /// # Errors
    /// [`Error::NoNodes`] if no node of the environment is known. [`Error::LocalFault`] if this
    /// machine has no file, port or memory left for a connection.
    async fn nodes(
        &self,
        environment: &Environment,
        module: &ModuleName,
    ) -> Result<Vec<Node>, Error>;

    /// Asks one node of an environment for the version of `module` that is active on it.
    ///
    /// # Errors
    /// [`NodeError::Unreachable`] if no answer came, [`NodeError::Local`] if this machine can open no
    /// connection, others if the answer makes no sense.
    async fn active(
        &self,
        environment: &Environment,
        node: &NodeId,
        module: &ModuleName,
    ) -> Result<Option<ModuleVersion>, NodeError> {
        let nodes = match self.nodes(environment, module).await {
            Ok(nodes) => nodes,
            Err(Error::NoNodes(_)) => Vec::new(),
            Err(Error::LocalFault(reason)) => return Err(NodeError::Local(reason)),
        };
        let found = nodes.into_iter().find(|found| found.id == *node);
        match found {
            Some(found) if found.health != Health::Critical => Ok(found.active),
            _ => Err(NodeError::Unreachable("no answer".to_owned())),
        }
    }

    /// Sends an order to a node and waits until it is carried out. While the node is
    /// unreachable, does not answer or is being restarted, or another one has its address,
    /// retries with back-off for a bounded time.
    ///
    /// Safe to repeat: the node carries each operation id out once.
    ///
    /// # Errors
    /// - [`NodeError::Unreachable`] if no answer came. Whether the order was carried out is
    ///   unknown. Also, at once and without sending it, if the node belongs to another
    ///   environment than the order.
    /// - [`NodeError::Local`], after a second, if this machine can open no connection. Whether the
    ///   order was carried out is unknown.
    /// - [`NodeError::Fenced`] if the node has seen a higher fence than the order's.
    /// - [`NodeError::Refused`] if the node rejected the order.
    /// - [`NodeError::Other`] if the node failed, does not come on with it (the text says how far
    ///   it got), or its answer makes no sense.
    async fn order(&self, node: &NodeId, order: &Order) -> Result<(), NodeError>;

    /// Probes the staged version on a node of an environment, or the active one if it is that,
    /// until it answers as expected, or until the probe times out. Sends at least one request.
    ///
    /// # Errors
    /// - [`NodeError::Unhealthy`], with the last answer, if it did not answer as expected
    ///   within the probe's timeout.
    /// - [`NodeError::Unreachable`] if the node never answered within the timeout.
    /// - [`NodeError::Refused`], at once, if the node rejected the probe.
    /// - [`NodeError::Local`], at once, if this machine can open no connection.
    async fn probe(
        &self,
        environment: &Environment,
        node: &NodeId,
        version: &ModuleVersion,
        probe: &HttpProbe,
    ) -> Result<(), NodeError>;

    /// Reads the counters of a node of an environment for a module. The reading is at most a second
    /// old.
    ///
    /// # Errors
    /// [`NodeError::Unreachable`] if no answer came, [`NodeError::Local`] if this machine can open no
    /// connection, [`NodeError::Refused`] if the node holds no version of the module,
    /// [`NodeError::Other`] if its answer makes no sense.
    async fn read(
        &self,
        environment: &Environment,
        node: &NodeId,
        module: &ModuleName,
    ) -> Result<NodeReading, NodeError>;

    /// Asks a node of an environment to send requests to its own module, instead of those that it
    /// was asked for before. The node ends by itself.
    ///
    /// # Errors
    /// [`NodeError::Unreachable`] if no answer came, [`NodeError::Refused`] if the node does not.
    async fn send_synthetic(
        &self,
        _environment: &Environment,
        _node: &NodeId,
        _traffic: &SyntheticTraffic<'_>,
    ) -> Result<(), NodeError> {
        Err(NodeError::Refused(
            "it sends no requests of its own".to_owned(),
        ))
    }

    /// Asks a node for the end of its log, once and for five seconds at most: the node may be the
    /// one that is at fault.
    ///
    /// # Errors
    /// [`NodeError::Unreachable`] if no answer came, [`NodeError::Refused`] if the node does not
    /// know the request, because it is of an earlier version. Others if its answer makes no sense.
    async fn report(&self, _node: &NodeId) -> Result<NodeReport, NodeError> {
        Err(NodeError::Refused("it gives no report".to_owned()))
    }

    /// What was last heard of a node. Does not ask it. [`Health::Unknown`] if it is not
    /// registered, or nothing was heard of it.
    fn health(&self, _node: &NodeId) -> HealthReport {
        HealthReport {
            health: Health::Unknown,
            reason: None,
        }
    }

    /// Whether nothing was heard of a node although it has had the time to report in since this
    /// engine started, or the node is not registered. Does not ask it.
    fn is_unheard(&self, _node: &NodeId) -> bool {
        false
    }

    /// Whether nothing was heard of a node since this engine started, and it still has time to
    /// report in. Does not ask it.
    fn is_awaited(&self, _node: &NodeId) -> bool {
        false
    }

    /// Whether a node has last reported that it serves no version of a module: it holds none, or
    /// cannot load it. `false` of a node that reports no modules. Does not ask it, so this may be
    /// as old as a heartbeat.
    fn serves_nothing(&self, _node: &NodeId, _module: &ModuleName) -> bool {
        false
    }

    /// The environment that a node belongs to, if that is another one: it has moved there, and
    /// nobody else may give it orders. Does not ask it.
    fn moved_to(&self, _node: &NodeId, _environment: &Environment) -> Option<Environment> {
        None
    }

    /// How long [`Self::order`] takes at most where the node does not answer.
    fn patience(&self) -> Duration {
        Duration::from_secs(10)
    }

    /// Whether a node has said that it stops, and has not come back. Does not ask it.
    fn has_stopped(&self, _node: &NodeId) -> bool {
        false
    }
}

/// Why a node that belongs to this environment gets no order of another one.
pub fn moved_error(environment: &Environment) -> NodeError {
    NodeError::Unreachable(format!("it belongs to environment {environment} now"))
}

/// Why the nodes of an environment cannot be listed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No node has registered for the environment.
    #[error("environment '{0}' has no nodes; start one with: hotswap node run --environment {0}")]
    NoNodes(Environment),
    /// This machine can open no connection, for this reason, which says nothing about the nodes.
    #[error("this machine can open no connection to its nodes: {0}")]
    LocalFault(String),
}
