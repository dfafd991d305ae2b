//! What people do to nodes, and what happens to nodes that are gone.

mod error;
mod expiry;
mod follow;
mod moves;
mod unavailable;

use std::sync::Arc;
use std::time::Duration;

use hotswap_core::{Clock, Cordon, Environment, EnvironmentEvent, EnvironmentEventBody, NodeId};
use hotswap_fleet::Registry;
use hotswap_store::{EnvironmentAppend, EnvironmentJournal, Journal};
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::arrived_nodes::ArrivedNodes;
use crate::cordoned_nodes::CordonedNodes;
use crate::environment_leases::EnvironmentLeases;
use crate::environments::Environments;
use crate::limits::ExpiryLimits;
use crate::projections::Projections;

pub use self::error::Error;

/// How often a drain that waits for nodes to report in looks whether they still may.
const RECHECK: Duration = Duration::from_millis(250);

/// Cordons, drains and forgets nodes, and removes those that are gone. Cheap to clone.
///
/// # Guarantees
/// - What is decided is durable in the environment's journal once a method returns, and holds
///   after a restart of the engine and of the node.
/// - A deployment whose plan has the node goes on with it. Every later plan leaves it out.
///
/// Every method is cancel safe. It is then unknown whether what it was called for happened.
#[derive(Clone)]
pub struct Nodes(Arc<Inner>);

struct Inner {
    journal: Arc<dyn EnvironmentJournal>,
    deployments: Arc<dyn Journal>,
    projections: Projections,
    registry: Registry,
    environments: Environments,
    clock: Arc<dyn Clock>,
    cordoned: Arc<CordonedNodes>,
    arrived: Arc<ArrivedNodes>,
    leases: Arc<EnvironmentLeases>,
    expiry: ExpiryLimits,
    /// One change at a time: two drains that are each allowed may not be allowed together.
    change: Arc<Mutex<()>>,
}

/// The right to change something about nodes.
type Change = OwnedMutexGuard<()>;

/// What [`Nodes`] needs.
pub(crate) struct NodesConfig {
    pub(crate) journal: Arc<dyn EnvironmentJournal>,
    pub(crate) deployments: Arc<dyn Journal>,
    pub(crate) projections: Projections,
    pub(crate) registry: Registry,
    pub(crate) environments: Environments,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) cordoned: Arc<CordonedNodes>,
    pub(crate) arrived: Arc<ArrivedNodes>,
    pub(crate) leases: Arc<EnvironmentLeases>,
    pub(crate) expiry: ExpiryLimits,
}

impl Nodes {
    /// Reads which nodes are cordoned, and which came from another environment.
    ///
    /// # Errors
    /// If the store fails.
    pub(crate) async fn load(config: NodesConfig) -> Result<Self, Error> {
        let nodes = Self(Arc::new(Inner {
            journal: config.journal,
            deployments: config.deployments,
            projections: config.projections,
            registry: config.registry,
            environments: config.environments,
            clock: config.clock,
            cordoned: config.cordoned,
            arrived: config.arrived,
            leases: config.leases,
            expiry: config.expiry,
            change: Arc::default(),
        }));
        nodes.0.read_cordons().await?;
        nodes.0.read_arrivals().await?;
        Ok(nodes)
    }

    /// The cordon of a node, if it has one. From memory.
    pub fn cordon_of(&self, environment: &Environment, node: &NodeId) -> Option<Cordon> {
        self.0.cordoned.get(environment, node)
    }

    /// Takes a node out of deployments and repairs. It keeps serving what it runs. A node that is
    /// cordoned or drained stays as it is.
    ///
    /// # Errors
    /// [`Error::Unknown`] if it is not registered; others if the store fails.
    pub async fn cordon(
        &self,
        node: &NodeId,
        by: String,
        reason: Option<String>,
    ) -> Result<(), Error> {
        let change = self.begin().await;
        let cordoned = |node| EnvironmentEventBody::Cordoned { node, by, reason };
        self.decide(change, node, |cordon| cordon.is_some(), cordoned)
            .await
    }

    /// Cordons a node, and tells it to be not ready, so that load balancers send its requests
    /// elsewhere. A node that is drained stays so.
    ///
    /// Just after the engine's start it waits for nodes that have not reported in yet, where the
    /// policy allows the drain only if they do: until they have, at most as long as a node may
    /// be silent.
    ///
    /// # Errors
    /// - [`Error::Unknown`] if it is not registered.
    /// - [`Error::TooManyUnavailable`] if the policy of its environment does not allow one more
    ///   node to be unavailable, unless `force` is set.
    /// - Others where the store fails.
    pub async fn drain(
        &self,
        node: &NodeId,
        by: String,
        reason: Option<String>,
        force: bool,
    ) -> Result<(), Error> {
        let change = if force {
            self.begin().await
        } else {
            self.begin_drain(node).await?
        };
        let drained = |node| EnvironmentEventBody::Drained { node, by, reason };
        self.decide(change, node, is_drained, drained).await
    }

    /// Ends a cordon or a drain. The node is brought to what it should run. One that has no
    /// cordon stays as it is.
    ///
    /// # Errors
    /// [`Error::Unknown`] if it is not registered; others if the store fails.
    pub async fn uncordon(
        &self,
        node: &NodeId,
        by: String,
        reason: Option<String>,
    ) -> Result<(), Error> {
        let change = self.begin().await;
        let uncordoned = |node| EnvironmentEventBody::Uncordoned { node, by, reason };
        self.decide(change, node, |cordon| cordon.is_none(), uncordoned)
            .await
    }

    /// Removes a node, and its cordon. If it still runs, it registers again, as a new node.
    ///
    /// # Errors
    /// [`Error::Unknown`] if it is not registered; others if the store fails.
    pub async fn forget(
        &self,
        node: &NodeId,
        by: String,
        reason: Option<String>,
    ) -> Result<(), Error> {
        let change = self.begin().await;
        let (environment, _) = self.find(node)?;
        let forgotten = EnvironmentEventBody::Forgotten {
            node: node.clone(),
            by,
            reason,
        };
        let (inner, node) = (Arc::clone(&self.0), node.clone());
        finish(async move {
            let _change = change;
            inner.append(environment, forgotten).await?;
            inner.registry.deregister(&node).await?;
            Ok(())
        })
        .await
    }

    async fn begin(&self) -> Change {
        Arc::clone(&self.0.change).lock_owned().await
    }

    /// The right to drain a node, once the policy allows that.
    async fn begin_drain(&self, node: &NodeId) -> Result<Change, Error> {
        let inner = &self.0;
        let mut reports = inner.registry.subscribe();
        loop {
            let change = self.begin().await;
            let (environment, cordon) = self.find(node)?;
            if is_drained(cordon.as_ref()) {
                return Ok(change);
            }
            // Asked first: a node that reports in meanwhile has been waited for.
            let is_awaiting = inner.registry.is_awaiting(&environment);
            match inner.check_available(&environment, node).await {
                Err(Error::TooManyUnavailable { .. }) if is_awaiting => {}
                checked => return checked.map(|()| change),
            }
            drop(change);
            let retry = inner.clock.instant() + RECHECK;
            tokio::select! {
                _ = reports.recv() => {}
                () = inner.clock.sleep_until(retry) => {}
            }
        }
    }

    /// Journals what was decided about a node, unless its cordon says that it holds already.
    async fn decide(
        &self,
        change: Change,
        node: &NodeId,
        holds: impl Fn(Option<&Cordon>) -> bool,
        event: impl FnOnce(NodeId) -> EnvironmentEventBody,
    ) -> Result<(), Error> {
        let (environment, cordon) = self.find(node)?;
        if holds(cordon.as_ref()) {
            return Ok(());
        }
        let (inner, body) = (Arc::clone(&self.0), event(node.clone()));
        finish(async move {
            let _change = change;
            inner.append(environment, body).await
        })
        .await
    }

    fn find(&self, node: &NodeId) -> Result<(Environment, Option<Cordon>), Error> {
        let member = self.0.registry.member(node);
        let member = member.ok_or_else(|| Error::Unknown(node.clone()))?;
        let environment = member.record.environment.clone();
        let cordon = self.0.cordoned.get(&environment, node);
        Ok((environment, cordon))
    }
}

fn is_drained(cordon: Option<&Cordon>) -> bool {
    cordon.is_some_and(|cordon| cordon.drained)
}

/// Carries a change out, even if the caller goes away: what is durable must also hold.
async fn finish(
    change: impl Future<Output = Result<(), Error>> + Send + 'static,
) -> Result<(), Error> {
    match tokio::spawn(change).await {
        Ok(result) => result,
        Err(error) => Err(Error::Store(Box::new(error))),
    }
}

impl Inner {
    /// Appends what was decided about a node, and makes it hold. Call it with the right to change.
    async fn append(
        &self,
        environment: Environment,
        body: EnvironmentEventBody,
    ) -> Result<(), Error> {
        let at = self.clock.now();
        let append = EnvironmentAppend {
            environment: environment.clone(),
            fence: None,
            at,
            bodies: vec![body.clone()],
        };
        match self.journal.append_to_environment(append).await {
            Ok(position) => {
                let (kind, node) = (body.name(), body.node().map(NodeId::as_str));
                tracing::info!(node, %environment, kind, "decided about a node");
                let event = EnvironmentEvent { position, at, body };
                self.cordoned.apply(&environment, &event);
                self.arrived.apply(&environment, &event);
                Ok(())
            }
            Err(error) => {
                // It may have been appended.
                self.read_cordons().await?;
                Err(error.into())
            }
        }
    }

    async fn read_arrivals(&self) -> Result<(), Error> {
        let arrivals = self.journal.arrivals().await;
        self.arrived.replace(arrivals.map_err(Error::read)?);
        Ok(())
    }

    async fn read_cordons(&self) -> Result<(), Error> {
        let cordons = self.journal.cordons().await;
        self.cordoned.replace(cordons.map_err(Error::read)?);
        Ok(())
    }
}
