use std::sync::Arc;

use futures_util::future::BoxFuture;
use hotswap_core::{Clock, Fence, OutOfRange, StrategyLimits};
use hotswap_fleet::discovery::FleetView;
use hotswap_fleet::{Fleet, Registry};
use hotswap_plugins::Host;
use hotswap_store::{Blobs, Catalogue, EngineMessages, EnvironmentJournal, Journal, ReadError};
use tokio::sync::Semaphore;

use crate::arrived_nodes::ArrivedNodes;
use crate::background_tasks::BackgroundTasks;
use crate::cordoned_nodes::CordonedNodes;
use crate::damaged_deployments::DamagedDeployments;
use crate::deployments::{self, Deployments};
use crate::discovery::{PollConfig, Polling};
use crate::discovery_backends::{DiscoveryBackends, DiscoveryBackendsConfig};
use crate::driver::DriverContext;
use crate::driver_threads::DriverThreads;
use crate::due_repairs::DueRepairs;
use crate::environment_leases::EnvironmentLeases;
use crate::environments::Environments;
use crate::history::History;
use crate::known_fence::KnownFence;
use crate::limits::Limits;
use crate::live_soaks::LiveSoaks;
use crate::metric_providers::MetricProviders;
use crate::modules::Modules;
use crate::nodes::{self, Nodes, NodesConfig};
use crate::policies::{self, Policies};
use crate::projections::Projections;
use crate::projector::Projector;
use crate::reconciler::{Reconciler, ReconcilerConfig, Repairs, ToldVersions};
use crate::references::References;
use crate::retention::Retention;
use crate::retries::Retries;
use crate::store_clock::StoreClock;
use crate::strategies::{self, Strategies};
use crate::supervisor::Supervisor;

/// What an engine needs to start.
pub struct EngineConfig {
    /// The journals of the deployments.
    pub journal: Arc<dyn Journal>,
    /// The journals of the environments.
    pub environment_journal: Arc<dyn EnvironmentJournal>,
    /// The records of modules, strategies and nodes.
    pub catalogue: Arc<dyn Catalogue>,
    /// The artifacts of modules, and the components of strategies and discovery backends.
    pub blobs: Blobs,
    /// Runs strategies.
    pub host: Host,
    /// Knows the nodes.
    pub registry: Registry,
    /// Sends orders to the nodes.
    pub fleet: Arc<dyn Fleet>,
    /// The policies.
    pub environments: Environments,
    /// The time. Where several engines share the store, dates come from its server.
    pub clock: Arc<dyn Clock>,
    /// Limits of the engine and of each deployment.
    pub limits: Limits,
    /// The servers that soaks may ask for metrics.
    pub metric_providers: MetricProviders,
    /// The components of the built-in strategies.
    pub built_in: Vec<&'static [u8]>,
    /// What is known of discovery backends.
    pub discovery_backends: DiscoveryBackendsConfig,
}

/// A running engine. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    /// Creates, reads and controls deployments.
    pub deployments: Deployments,
    /// The modules that can be rolled out.
    pub modules: Modules,
    /// The strategies that can roll them out.
    pub strategies: Strategies,
    /// The discovery backends that were uploaded.
    pub discovery_backends: DiscoveryBackends,
    /// Keeps the nodes at what was decided.
    pub reconciler: Reconciler,
    /// What people do to nodes, and what happens to those that are gone.
    pub nodes: Nodes,
    /// Reads what was decided for modules so far.
    pub history: History,
    /// Deletes what is no longer kept.
    pub retention: Retention,
    /// Knows the nodes.
    pub registry: Registry,
    /// Sends orders to the nodes.
    pub fleet: Arc<dyn Fleet>,
    /// The policies.
    pub environments: Environments,
    /// Changes the policies.
    pub policies: Policies,
    /// Passes on the metrics of nodes, where several engines share the store.
    pub metric_samples: Option<Arc<dyn EngineMessages>>,
    /// The time, which the API shares with the engine.
    pub clock: Arc<dyn Clock>,
    supervisor: Supervisor,
    background: BackgroundTasks,
    journal: Arc<dyn Journal>,
    known_fence: Arc<KnownFence>,
}

/// Previews that are made at the same time. Each takes a second of compute at most.
const PREVIEWS: usize = 2;

/// Why a fence was not taken over.
#[derive(Debug, thiserror::Error)]
pub enum FenceError {
    /// No engine can have handed it out.
    #[error("no engine has handed out the fence {}; the highest possible is {}", .0.0, Fence::MAX.0)]
    Absurd(Fence),
    /// The store failed.
    #[error("the store failed")]
    Store(#[source] ReadError),
}

/// Why an engine did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A built-in strategy does not load, or the store failed.
    #[error("the built-in strategies could not be installed")]
    Install(#[source] strategies::Error),
    /// The store failed.
    #[error("what the nodes should run could not be read")]
    DesiredState(#[source] deployments::Error),
    /// The store failed.
    #[error("which nodes are cordoned could not be read")]
    Cordons(#[source] nodes::Error),
    /// The store failed.
    #[error("the policies could not be read")]
    Policies(#[source] policies::Error),
    /// A limit is outside its range.
    #[error("a limit is outside its range")]
    Limit(#[source] OutOfRange),
    /// The system has no room for more threads.
    #[error("the threads that drive deployments did not start")]
    Threads(#[source] std::io::Error),
}

impl Engine {
    /// Starts an engine. It drives every deployment that has not ended, including those that
    /// another engine began.
    ///
    /// # Errors
    /// If the store fails, a limit is outside its range, a built-in strategy does not load, or
    /// the system has no room for more threads.
    // Boxed, and so compiled in this crate, not again in every program that starts an engine.
    pub fn start(config: EngineConfig) -> BoxFuture<'static, Result<Self, Error>> {
        Box::pin(Self::assemble(config))
    }

    async fn assemble(mut config: EngineConfig) -> Result<Self, Error> {
        if let Some(session) = config.journal.session() {
            config.clock = Arc::new(StoreClock::new(config.clock, session));
        }
        config.limits.check().map_err(Error::Limit)?;
        config.limits.expiry.check().map_err(Error::Limit)?;
        let host_limits = config.host.limits();
        let strategy_limits = StrategyLimits {
            calls: config.limits.calls,
            bytes: config.limits.bytes as u64,
            bytes_per_node: config.limits.bytes_per_node as u64,
            total_fuel: config.limits.total_fuel,
            fuel: host_limits.fuel,
            memory_bytes: host_limits.memory_bytes as u64,
        };
        let projections = Projections::new(Arc::clone(&config.journal));
        let references = References::new(
            Arc::clone(&config.journal),
            projections.clone(),
            config.registry.clone(),
            Arc::clone(&config.fleet),
        );
        let strategies = Strategies::new(
            Arc::clone(&config.catalogue),
            config.blobs.clone(),
            config.host,
            Arc::clone(&config.clock),
            references.clone(),
        );
        strategies
            .install(&config.built_in)
            .await
            .map_err(Error::Install)?;
        let retries = Arc::<Retries>::default();
        let live_soaks = Arc::<LiveSoaks>::default();
        let soak_warnings = Arc::clone(live_soaks.warnings());
        let background = BackgroundTasks::default();
        let repairs = Arc::<Repairs>::default();
        let cordoned = Arc::<CordonedNodes>::default();
        let arrived = Arc::<ArrivedNodes>::default();
        let is_shared = config.journal.session().is_some();
        let leases = EnvironmentLeases::new(Arc::clone(&config.environment_journal), is_shared);
        let leases = Arc::new(leases);
        let nodes = Nodes::load(NodesConfig {
            journal: Arc::clone(&config.environment_journal),
            deployments: Arc::clone(&config.journal),
            projections: projections.clone(),
            registry: config.registry.clone(),
            environments: config.environments.clone(),
            clock: Arc::clone(&config.clock),
            cordoned: Arc::clone(&cordoned),
            arrived: Arc::clone(&arrived),
            leases: Arc::clone(&leases),
            expiry: config.limits.expiry,
        });
        let nodes = nodes.await.map_err(Error::Cordons)?;
        let policies = Policies::load(
            Arc::clone(&config.environment_journal),
            config.environments.clone(),
            config.registry.clone(),
            strategies.clone(),
            Arc::clone(&config.clock),
        );
        let policies = policies.await.map_err(Error::Policies)?;
        let told = Arc::new(ToldVersions::new(Arc::clone(&cordoned)));
        let due_repairs = Arc::<DueRepairs>::default();
        let damaged = Arc::<DamagedDeployments>::default();
        let threads = DriverThreads::start().map_err(Error::Threads)?;
        let context = Arc::new(DriverContext {
            journal: Arc::clone(&config.journal),
            strategies: strategies.clone(),
            fleet: Arc::clone(&config.fleet),
            clock: Arc::clone(&config.clock),
            limits: config.limits,
            retries: Arc::clone(&retries),
            live_soaks: Arc::clone(&live_soaks),
            soak_warnings: Arc::clone(&soak_warnings),
            forecast_queue: Arc::default(),
            metric_providers: config.metric_providers.clone(),
            repairs: Arc::clone(&repairs),
            due_repairs: Arc::clone(&due_repairs),
            told: Arc::clone(&told),
            cordoned: Arc::clone(&cordoned),
            damaged: Arc::clone(&damaged),
            timers: Default::default(),
            instances: Semaphore::new(config.limits.instances),
            tasks: background.clone(),
        });
        let supervisor = Supervisor::new(context, Arc::clone(&leases), threads);
        let modules = Modules::new(
            Arc::clone(&config.catalogue),
            config.blobs.clone(),
            Arc::clone(&config.clock),
            references.clone(),
        );
        let in_use = config.discovery_backends.in_use.values();
        let in_use = in_use.map(|used| used.digest).collect();
        let discovery_backends = DiscoveryBackends::new(
            Arc::clone(&config.catalogue),
            config.blobs.clone(),
            Arc::clone(&config.clock),
            references.clone(),
            config.discovery_backends,
        );
        let projector = Projector::new(projections.clone(), Arc::clone(&config.journal));
        background.spawn_vital("the projector", projector.run());
        if let Some(engines) = config.catalogue.soak_progress() {
            let exchange = Arc::clone(&live_soaks).exchange(engines);
            background.spawn_vital("the exchange of soaks", exchange);
        }
        let reconciler = Reconciler::new(ReconcilerConfig {
            journal: Arc::clone(&config.journal),
            environment_journal: Arc::clone(&config.environment_journal),
            projections: projections.clone(),
            registry: config.registry.clone(),
            fleet: Arc::clone(&config.fleet),
            environments: config.environments.clone(),
            clock: Arc::clone(&config.clock),
            repairs,
            due_repairs,
            told: Arc::clone(&told),
            cordoned: Arc::clone(&cordoned),
            arrived,
            leases,
            fan_out: config.limits.fan_out,
            tasks: background.clone(),
        });
        reconciler.load().await.map_err(Error::DesiredState)?;
        config.registry.set_desired_versions(told);
        background.spawn_vital("the reconciler", reconciler.clone().run());
        background.spawn_vital("the expiry of nodes", nodes.clone().expire());
        let follow = policies.clone().follow(config.journal.epochs());
        background.spawn_vital("what follows the policies", follow);
        if is_shared {
            let follow = nodes.clone().follow(config.journal.epochs());
            background.spawn_vital("what follows the cordons", follow);
        }
        let metric_samples = config.catalogue.metric_samples();
        let history = History::new(Arc::clone(&config.environment_journal), projections.clone());
        let deployments = Deployments {
            journal: Arc::clone(&config.journal),
            catalogue: config.catalogue,
            strategies: strategies.clone(),
            registry: config.registry.clone(),
            fleet: Arc::clone(&config.fleet),
            environments: config.environments.clone(),
            strategy_limits,
            clock: Arc::clone(&config.clock),
            retries,
            live_soaks,
            soak_warnings,
            metric_providers: config.metric_providers,
            damaged,
            projections,
            references: references.clone(),
            cordoned,
            fleet_view: Arc::default(),
            fan_out: config.limits.fan_out,
            previews: Arc::new(Semaphore::new(PREVIEWS)),
        };
        let retention = Retention::new(
            config.blobs,
            config.environment_journal,
            deployments.clone(),
            references,
            config.limits.retention,
            in_use,
        );
        background.spawn_vital("the retention", retention.clone().run());
        Ok(Self {
            reconciler,
            nodes,
            history,
            retention,
            deployments,
            modules,
            strategies,
            discovery_backends,
            registry: config.registry,
            fleet: config.fleet,
            environments: config.environments,
            policies,
            metric_samples,
            clock: config.clock,
            supervisor,
            journal: config.journal,
            known_fence: Arc::default(),
            background,
        })
    }

    /// Learns the highest fence that a node has seen. Where it is higher than any that the
    /// store has handed out, the store is new or was restored from a backup: the next leases
    /// then go on above it, and the store gets a new epoch.
    ///
    /// # Errors
    /// [`FenceError::Absurd`] if no engine can have handed it out; [`FenceError::Store`]
    /// where the store failed.
    pub async fn observe_fence(&self, fence: Fence) -> Result<(), FenceError> {
        if fence > Fence::MAX {
            return Err(FenceError::Absurd(fence));
        }
        let epoch = self.journal.epoch();
        if self.known_fence.is_known(&epoch, fence) {
            return Ok(());
        }
        let is_raised = self.journal.raise_fence(fence).await;
        if is_raised.map_err(FenceError::Store)? {
            tracing::warn!(
                fence = fence.0,
                "a node has seen a higher fence than this store has handed out: it is new, or \
                 was restored from a backup. Its fences go on above that, and clients of the \
                 live feeds start over"
            );
        }
        self.known_fence.put(epoch, fence);
        Ok(())
    }

    /// Asks the nodes that only registries know, from now on until [`Self::shutdown`]. What they
    /// answer counts as the reports of nodes that report in. New deployments are refused while a
    /// source is staler than its rules allow. Call it once.
    pub fn poll_nodes(&self, config: PollConfig) {
        let view = FleetView {
            sources: config.sources.clone(),
            rules: config.rules.clone(),
            polled: config.polled.clone(),
            since: self.clock.instant(),
        };
        // Only the first counts.
        let _ = self.deployments.fleet_view.set(view);
        let polling = Polling::new(self.clone(), config);
        self.background
            .spawn_vital("the polling of nodes", polling.run());
    }

    /// Stops driving all deployments, wherever they are. The next engine resumes them; where
    /// several share the store, another one does so at once.
    pub async fn shutdown(&self) {
        self.supervisor.shutdown().await;
        self.background.shutdown().await;
        if let Some(session) = self.journal.session()
            && let Err(error) = session.end().await
        {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(
                error,
                "the other engines take over once this one's session is over"
            );
        }
    }
}
