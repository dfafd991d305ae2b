//! What people do to nodes, and what happens to nodes that are gone.

mod error;
mod expiry;
mod follow;
mod moves;
mod unavailable;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use hotswap_common::trace;
use hotswap_core::{
    Clock, Cordon, Deployment, Environment, EnvironmentEvent, EnvironmentEventBody, Fence, NodeId,
};
use hotswap_fleet::Registry;
use hotswap_store::{AppendToEnvironmentError, EnvironmentAppend, EnvironmentJournal, Journal};
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::arrived_nodes::ArrivedNodes;
use crate::cordoned_nodes::CordonedNodes;
use crate::environment_leases::EnvironmentLeases;
use crate::environments::Environments;
use crate::limits::ExpiryLimits;
use crate::projections::{self, Projections};

pub use self::error::Error;

/// How often a drain that waits for nodes to report in looks whether they still may.
const RECHECK: Duration = Duration::from_millis(250);

/// Attempts at one change while other engines cordon nodes of the environment. Each refused attempt
/// means that another change was made.
const ATTEMPTS: usize = 16;

/// Cordons, drains and forgets nodes, and removes those that are gone. Cheap to clone.
///
/// # Guarantees
/// - What is decided is durable in the environment's journal once a method returns, and holds
///   after a restart of the engine and of the node.
/// - Each decision takes all earlier ones into account, those of other engines on the store too. Of
///   two drains that the policy allows alone but not together, one is refused.
/// - A deployment whose plan has the node goes on with it. Every later plan leaves it out.
///
/// Every method is cancel safe. The outcome of a cancelled call is unknown.
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
    /// One change at a time: memory must not go back to what was read before a change. Other
    /// engines have locks of their own, so the store compares the cordons on which a change is based.
    change: Arc<Mutex<()>>,
}

/// The right to change something about nodes in this engine.
type Turn = OwnedMutexGuard<()>;

/// The right to cordon nodes, and the cordons on which the decision is based.
struct Change {
    turn: Turn,
    /// The positions of the newest cordons, where there are any.
    newest_cordons: HashMap<Environment, u64>,
}

/// What a policy must allow.
#[derive(Debug, Clone, Copy)]
enum Check {
    None,
    /// That one more node is unavailable.
    MaxUnavailable,
}

/// What must still hold when the journal of an environment takes an append.
#[derive(Debug, Clone, Copy)]
enum Basis {
    /// No condition.
    Nothing,
    /// The newest cordon of the environment.
    NewestCordon(u64),
    /// The lease of the environment.
    Lease(Fence),
}

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
    /// [`Error::Unknown`] if it is not registered; [`Error::Contended`]; others if the store
    /// fails.
    pub async fn cordon(
        &self,
        node: &NodeId,
        by: String,
        reason: Option<String>,
    ) -> Result<(), Error> {
        let node = node.clone();
        let cordoned = EnvironmentEventBody::Cordoned { node, by, reason };
        self.decide(Check::None, |cordon| cordon.is_some(), cordoned)
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
    /// - [`Error::Contended`] if other engines changed the cordons of its environment in each attempt.
    /// - Others where the store fails.
    pub async fn drain(
        &self,
        node: &NodeId,
        by: String,
        reason: Option<String>,
        force: bool,
    ) -> Result<(), Error> {
        let drained = EnvironmentEventBody::Drained {
            node: node.clone(),
            by,
            reason,
        };
        let check = if force {
            Check::None
        } else {
            Check::MaxUnavailable
        };
        self.decide(check, is_drained, drained).await
    }

    /// Ends a cordon or a drain. The node is brought to what it should run. One that has no
    /// cordon stays as it is.
    ///
    /// # Errors
    /// [`Error::Unknown`] if it is not registered; [`Error::Contended`]; others if the store
    /// fails.
    pub async fn uncordon(
        &self,
        node: &NodeId,
        by: String,
        reason: Option<String>,
    ) -> Result<(), Error> {
        let node = node.clone();
        let uncordoned = EnvironmentEventBody::Uncordoned { node, by, reason };
        self.decide(Check::None, |cordon| cordon.is_none(), uncordoned)
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
        let turn = self.take_turn().await;
        let (environment, _) = self.find(node)?;
        let forgotten = EnvironmentEventBody::Forgotten {
            node: node.clone(),
            by,
            reason,
        };
        let (inner, node) = (Arc::clone(&self.0), node.clone());
        finish(async move {
            let _turn = turn;
            inner.append(environment, forgotten, Basis::Nothing).await?;
            inner.registry.deregister(&node).await?;
            Ok(())
        })
        .await
    }

    async fn take_turn(&self) -> Turn {
        Arc::clone(&self.0.change).lock_owned().await
    }

    /// The right to cordon nodes, and which are cordoned now: memory may be behind what other
    /// engines decided.
    async fn begin(&self) -> Result<Change, Error> {
        let turn = self.take_turn().await;
        let newest_cordons = self.0.read_cordons().await?;
        Ok(Change {
            turn,
            newest_cordons,
        })
    }

    /// The right to drain a node, once the policy allows that.
    async fn begin_drain(&self, node: &NodeId) -> Result<Change, Error> {
        let inner = &self.0;
        let mut reports = inner.registry.subscribe();
        loop {
            let change = self.begin().await?;
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

    /// Journals what is decided about a node, unless its cordon is already as wanted. Tries again if
    /// another engine has changed the cordons of the environment meanwhile.
    async fn decide(
        &self,
        check: Check,
        holds: impl Fn(Option<&Cordon>) -> bool,
        body: EnvironmentEventBody,
    ) -> Result<(), Error> {
        let Some(node) = body.node().cloned() else {
            return Ok(());
        };
        for _ in 0..ATTEMPTS {
            let Change {
                turn,
                newest_cordons,
            } = match check {
                Check::None => self.begin().await?,
                Check::MaxUnavailable => self.begin_drain(&node).await?,
            };
            let (environment, cordon) = self.find(&node)?;
            if holds(cordon.as_ref()) {
                return Ok(());
            }
            let newest = newest_cordons.get(&environment).copied().unwrap_or(0);
            let (inner, body) = (Arc::clone(&self.0), body.clone());
            let appended = finish(async move {
                let _turn = turn;
                inner
                    .append(environment, body, Basis::NewestCordon(newest))
                    .await
            });
            match appended.await {
                Err(Error::Contended(_)) => {}
                appended => return appended,
            }
        }
        let (environment, _) = self.find(&node)?;
        Err(Error::Contended(environment))
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
    // Its lines of the log belong to the trace of the request.
    match tokio::spawn(trace::within(trace::current(), change)).await {
        Ok(result) => result,
        Err(error) => Err(Error::Store(Box::new(error))),
    }
}

impl Inner {
    /// Appends what was decided about a node, and makes it hold. Call it with the right to change.
    ///
    /// # Errors
    /// [`Error::Contended`] if `basis` no longer holds. Nothing was appended then.
    async fn append(
        &self,
        environment: Environment,
        body: EnvironmentEventBody,
        basis: Basis,
    ) -> Result<(), Error> {
        let at = self.clock.now();
        let (fence, newest_cordon) = match basis {
            Basis::Nothing => (None, None),
            Basis::NewestCordon(position) => (None, Some(position)),
            Basis::Lease(fence) => (Some(fence), None),
        };
        let append = EnvironmentAppend {
            environment: environment.clone(),
            fence,
            newest_cordon,
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
            Err(AppendToEnvironmentError::CordonsChanged(_)) => Err(Error::Contended(environment)),
            Err(AppendToEnvironmentError::Fenced(_)) => {
                self.leases.renew(&environment).await;
                Err(Error::Contended(environment))
            }
            Err(error) => {
                // It may have been appended.
                self.read_cordons().await?;
                Err(error.into())
            }
        }
    }

    /// Calls `visit` with each open deployment.
    async fn visit_open_deployments(
        &self,
        mut visit: impl FnMut(&Deployment),
    ) -> Result<(), Error> {
        let open = self.deployments.open_deployments().await;
        for id in open.map_err(Error::read)? {
            match self.projections.get(id).await {
                Ok(state) => visit(&state),
                // It ended and was deleted meanwhile.
                Err(projections::Error::Unknown(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    async fn read_arrivals(&self) -> Result<(), Error> {
        let arrivals = self.journal.arrivals().await;
        self.arrived.replace(arrivals.map_err(Error::read)?);
        Ok(())
    }

    /// Reads which nodes are cordoned. Returns the positions of the newest cordons.
    async fn read_cordons(&self) -> Result<HashMap<Environment, u64>, Error> {
        let cordons = self.journal.cordons().await.map_err(Error::read)?;
        // Ordered by position.
        let newest = cordons.iter();
        let newest = newest.map(|(_, entry)| (entry.environment.clone(), entry.position));
        let newest = newest.collect();
        self.cordoned.replace(cordons);
        Ok(newest)
    }
}
