//! Keeps the nodes at what was decided.

mod attempts;
mod changes;
mod desired;
mod difference;
mod events;
mod lag;
mod observed;
mod open_deployment;
mod placements;
mod planned_nodes;
mod repair;
mod repairs;
mod rest;
mod retire;
mod told;

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use hotswap_core::{Clock, Environment, ModuleName};
use hotswap_fleet::{Fleet, Registry};
use hotswap_store::{EnvironmentJournal, Journal, ReadError};
use tokio::sync::Notify;

use self::changes::Changes;
use self::desired::DesiredState;
use self::difference::{Actual, room};
use self::lag::Lag;
use self::observed::{ObservedNode, observe};
use self::open_deployment::OpenDeployment;
use self::repair::RepairContext;
use self::rest::Rest;
use crate::arrived_nodes::ArrivedNodes;
use crate::background_tasks::BackgroundTasks;
use crate::cordoned_nodes::CordonedNodes;
use crate::due_repairs::DueRepairs;
use crate::environment_leases::EnvironmentLeases;
use crate::environments::Environments;
use crate::projections::{Error, Projections};

pub use self::desired::{DesiredModule, ModuleDecision, Target};
pub use self::difference::NextStep;
pub use self::placements::{Placement, Placements};
pub use self::repairs::Failure;
pub(crate) use self::repairs::{Place, Repairs};
pub use self::retire::RetireError;
pub(crate) use self::told::{OpenPlan, ToldVersions};

/// How often all nodes are compared, besides on every change that the engine learns of.
const INTERVAL: Duration = Duration::from_secs(5);

/// Environments whose decisions are read at the same time when an engine starts.
const CONCURRENT_READS: usize = 8;

/// Compares what each node runs with what it should run, and repairs it. Cheap to clone.
///
/// What should run on a node follows from the journals alone: the last success that was for it,
/// what a rollback went back to, or nothing once the module was retired. Nothing that came
/// before this process matters, so a look at the nodes at any time does what is missing.
///
/// # Guarantees
/// - A node that an open deployment has in its plan is left to that deployment. Where it has lost
///   what was decided for it, the deployment's driver is asked to repair it. Every other node of
///   the environment is brought to the version before, and to the new one once the deployment
///   has succeeded.
/// - A node that a person has cordoned is left as it is until the cordon ends. A repair that is
///   under way then ends as it would.
/// - No order leaves before its intent is durable, and each carries a fence.
/// - A node is changed as a deployment would: staged, probed as the deployment probed, promoted.
/// - At most `max_unavailable` nodes that serve a version are changed at the same time, together
///   with those that a deployment of the module is changing.
/// - A node that fails is retried with a growing delay.
#[derive(Clone)]
pub struct Reconciler(Arc<Inner>);

struct Inner {
    journal: Arc<dyn Journal>,
    environment_journal: Arc<dyn EnvironmentJournal>,
    projections: Projections,
    registry: Registry,
    fleet: Arc<dyn Fleet>,
    environments: Environments,
    clock: Arc<dyn Clock>,
    fan_out: usize,
    desired: DesiredState,
    context: Arc<RepairContext>,
    due_repairs: Arc<DueRepairs>,
    told: Arc<ToldVersions>,
    cordoned: Arc<CordonedNodes>,
    lag: Lag,
    /// A repair has ended.
    ended: Notify,
    tasks: BackgroundTasks,
}

/// What a reconciler needs.
pub(crate) struct ReconcilerConfig {
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) environment_journal: Arc<dyn EnvironmentJournal>,
    pub(crate) projections: Projections,
    pub(crate) registry: Registry,
    pub(crate) fleet: Arc<dyn Fleet>,
    pub(crate) environments: Environments,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) repairs: Arc<Repairs>,
    pub(crate) due_repairs: Arc<DueRepairs>,
    pub(crate) told: Arc<ToldVersions>,
    pub(crate) cordoned: Arc<CordonedNodes>,
    pub(crate) arrived: Arc<ArrivedNodes>,
    pub(crate) leases: Arc<EnvironmentLeases>,
    pub(crate) fan_out: usize,
    /// Repairs run among them, and end with them.
    pub(crate) tasks: BackgroundTasks,
}

impl Reconciler {
    pub(crate) fn new(config: ReconcilerConfig) -> Self {
        let desired = DesiredState::new(
            Arc::clone(&config.environment_journal),
            config.projections.clone(),
            config.arrived,
        );
        let context = Arc::new(RepairContext {
            journal: Arc::clone(&config.environment_journal),
            deployments: Arc::clone(&config.journal),
            fleet: Arc::clone(&config.fleet),
            clock: Arc::clone(&config.clock),
            leases: config.leases,
            repairs: config.repairs,
        });
        Self(Arc::new(Inner {
            journal: config.journal,
            environment_journal: config.environment_journal,
            projections: config.projections,
            registry: config.registry,
            fleet: config.fleet,
            environments: config.environments,
            clock: config.clock,
            fan_out: config.fan_out,
            desired,
            context,
            due_repairs: config.due_repairs,
            told: config.told,
            cordoned: config.cordoned,
            lag: Lag::default(),
            ended: Notify::new(),
            tasks: config.tasks,
        }))
    }

    /// What was decided for each module of an environment, sorted by module.
    ///
    /// # Errors
    /// Where the store fails.
    pub async fn desired(
        &self,
        environment: &Environment,
    ) -> Result<Vec<Arc<DesiredModule>>, crate::deployments::Error> {
        Ok(self.0.desired.read(environment).await?)
    }

    /// Compares and repairs until it is dropped. Cancel safe: the next look at the nodes tells
    /// what is left to do.
    ///
    /// A change is looked at at once, unless others came right before: then it waits for its
    /// share of time, and all that have come meanwhile are looked at together.
    pub(crate) async fn run(self) {
        let inner = &self.0;
        let (journal, environments) = (&inner.journal, &inner.environment_journal);
        let mut changes =
            Changes::subscribe(&inner.registry, journal.as_ref(), environments.as_ref());
        let (repairs, leases) = (&inner.context.repairs, &inner.context.leases);
        let mut rest = Rest::default();
        loop {
            let began = inner.clock.instant();
            self.compare_all().await;
            let now = inner.clock.instant();
            let length = rest.after(began, now);
            let mut next = now + INTERVAL;
            if let Some(attempt) = repairs.next_attempt(now) {
                next = next.min(attempt);
            }
            tokio::select! {
                () = inner.clock.sleep_until(next) => {}
                () = inner.ended.notified() => {}
                () = changes.next(repairs, leases) => {}
            }
            inner.clock.sleep_until(now + length).await;
            changes.take_all(repairs, leases).await;
            let _ = inner.ended.notified().now_or_never();
        }
    }

    /// Learns what is decided, so that nodes can be told before the first of them reports in.
    ///
    /// # Errors
    /// Where the store fails.
    pub(crate) async fn load(&self) -> Result<(), crate::deployments::Error> {
        let inner = &self.0;
        let decided = inner.environment_journal.decided_environments().await?;
        let mut environments: BTreeSet<_> = decided.into_iter().collect();
        environments.extend(inner.registry.environments());
        let told = stream::iter(environments).map(|environment| async move {
            let desired = inner.desired.read(&environment).await?;
            inner.tell(&environment, &desired).await
        });
        let told: Result<(), Error> = told.buffer_unordered(CONCURRENT_READS).try_collect().await;
        Ok(told?)
    }

    async fn compare_all(&self) {
        let environments = self.0.registry.environments();
        self.0.lag.keep(&environments, self.0.clock.instant());
        for environment in environments {
            if let Err(error) = self.compare(&environment).await {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(%environment, error, "cannot compare the nodes with what they should run, retrying");
            }
        }
    }

    /// Begins the repairs that are due in an environment.
    async fn compare(&self, environment: &Environment) -> Result<(), Error> {
        let inner = &self.0;
        let desired = inner.desired.read(environment).await?;
        inner.tell(environment, &desired).await?;
        inner.request_repairs(environment).await?;
        if desired.is_empty() || !inner.holds_lease(environment).await? {
            let now = inner.clock.instant();
            inner.lag.update(environment, &HashSet::new(), now);
            return Ok(());
        }
        let nodes = inner.observe(environment, &desired).await;
        let policy = inner.environments.policy(environment);
        let max_unavailable = policy.max_unavailable.of(nodes.len()).max(1);
        let mut differing = HashSet::new();
        for module in &desired {
            let is_other = |node: &&ObservedNode| match module.on(&node.record) {
                Some((_, wanted)) => match node.actual(&module.module) {
                    Actual::Known(actual) => wanted != actual.as_ref(),
                    Actual::NotLoaded(version, _) => wanted != Some(&version),
                    Actual::Unknown => false,
                },
                None => false,
            };
            if !nodes.iter().any(|node| is_other(&node)) {
                continue;
            }
            let open = inner.open_deployment(environment, &module.module).await?;
            let under_way = inner.context.repairs.count(environment, &module.module);
            let deploying = open.as_ref().map_or(0, |open| open.changes_at_once);
            let (mut changes, mut connections) =
                room(max_unavailable, inner.fan_out, deploying, under_way);
            for node in nodes.iter().filter(is_other) {
                let next = inner.next_step(environment, module, node, open.as_ref());
                if next.is_due() {
                    differing.insert(Place::new(environment, &module.module, &node.id));
                }
                if next != NextStep::Queued {
                    continue;
                }
                let is_serving = matches!(node.actual(&module.module), Actual::Known(Some(_)));
                let allowed = if is_serving {
                    changes.min(connections)
                } else {
                    connections
                };
                if allowed == 0 {
                    continue;
                }
                if self.begin(environment, module, node, is_serving) {
                    connections -= 1;
                    changes -= usize::from(is_serving);
                }
            }
        }
        inner
            .lag
            .update(environment, &differing, inner.clock.instant());
        Ok(())
    }

    /// Begins the repair of a node. Returns false where one is under way, or a plan is made.
    fn begin(
        &self,
        environment: &Environment,
        module: &DesiredModule,
        node: &ObservedNode,
        is_serving: bool,
    ) -> bool {
        let repairs = &self.0.context.repairs;
        let place = Place::new(environment, &module.module, &node.id);
        let Some(guard) = repairs.begin(place, is_serving) else {
            return false;
        };
        let inner = Arc::clone(&self.0);
        self.0.tasks.spawn(async move {
            match inner.repair(&guard).await {
                Ok(true) => {
                    drop(guard);
                    inner.ended.notify_one();
                }
                Ok(false) => {}
                Err(error) => {
                    let error: &dyn std::error::Error = &error;
                    let node = &guard.place().node;
                    tracing::warn!(%node, error, "cannot look at the node, retrying");
                }
            }
        });
        true
    }
}

impl Inner {
    async fn open_deployment(
        &self,
        environment: &Environment,
        module: &ModuleName,
    ) -> Result<Option<OpenDeployment>, Error> {
        let (journal, projections) = (self.journal.as_ref(), &self.projections);
        OpenDeployment::read(journal, projections, environment, module).await
    }

    /// Whether this engine repairs the nodes of an environment.
    async fn holds_lease(&self, environment: &Environment) -> Result<bool, Error> {
        let held = self.context.leases.holds(environment).await;
        held.map_err(|error| Error::Store(Box::new(error)))
    }

    /// Remembers what to tell the nodes of an environment.
    async fn tell(
        &self,
        environment: &Environment,
        desired: &[Arc<DesiredModule>],
    ) -> Result<(), Error> {
        let mut ended = BTreeSet::new();
        for id in self.told.open(environment) {
            match self.journal.head(id).await {
                Ok(head) if !head.lifecycle.is_ended() => {}
                Ok(_) | Err(ReadError::Unknown(_)) => drop(ended.insert(id)),
                Err(error) => return Err(error.into()),
            }
        }
        let mut open = Vec::new();
        for module in desired {
            let deployment = self.open_deployment(environment, &module.module).await?;
            open.extend(deployment.and_then(|deployment| deployment.plan));
        }
        let has_ended = |id| ended.contains(&id);
        self.told
            .update(environment, desired.to_vec(), open, has_ended);
        Ok(())
    }

    async fn observe(
        &self,
        environment: &Environment,
        desired: &[Arc<DesiredModule>],
    ) -> Vec<ObservedNode> {
        let modules: Vec<_> = desired.iter().map(|one| &one.module).collect();
        observe(&self.registry, &self.fleet, environment, &modules).await
    }
}
