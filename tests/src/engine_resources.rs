use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use hotswap_core::{Clock, Environment, Policy, SystemClock};
use hotswap_fleet::{Fleet, HttpFleet, Registry};
use hotswap_plugins::Host;
use hotswap_runner::metric_providers::MetricProviders;
use hotswap_runner::{Engine, EngineConfig, Environments, Limits};
use hotswap_store::{Blobs, EnvironmentJournal, Journal, Sqlite};

use crate::{NODE_TOKEN, shared_host};

const HEARTBEAT_INTERVAL: Duration = Duration::from_millis(500);

/// What an engine runs on. It outlives the engine: the disk, and what is expensive to create.
pub struct EngineResources {
    /// Journals and catalogue.
    pub store: Sqlite,
    /// The journals of the environments; those of `store`, unless a test replaces them.
    pub environment_journal: Arc<dyn EnvironmentJournal>,
    /// Module artifacts.
    pub blobs: Blobs,
    /// Runs strategies.
    pub host: Host,
    /// The nodes that have registered.
    pub registry: Registry,
    /// The client of the nodes.
    pub fleet: Arc<dyn Fleet>,
    /// The policies of the environments.
    pub environments: Environments,
    /// Resource limits of deployments.
    pub limits: Limits,
    /// The servers that soaks may ask for metrics.
    pub metric_providers: MetricProviders,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

impl EngineResources {
    /// Opens a store in `folder`, and everything that is built on it, with the machine's clock.
    pub async fn new(folder: &Path, policies: BTreeMap<Environment, Policy>) -> Result<Self> {
        Self::with_clock(folder, policies, Arc::new(SystemClock)).await
    }

    /// Like [`Self::new`], with another clock.
    pub async fn with_clock(
        folder: &Path,
        policies: BTreeMap<Environment, Policy>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        let store = Sqlite::open(folder.join("hotswap.db")).await?;
        let blobs = Blobs::open_folder(folder.join("blobs"), 64 << 20).await?;
        let (registry, fleet) = load_registry(&store, &clock).await?;
        Ok(Self {
            environment_journal: Arc::new(store.clone()),
            store,
            blobs,
            host: shared_host()?,
            registry,
            fleet,
            environments: Environments::new(policies),
            limits: Limits::default(),
            metric_providers: MetricProviders::default(),
            clock,
        })
    }

    /// Forgets what was heard of the nodes, as an engine does whose process ends: the next one has
    /// only what the store holds of them.
    pub async fn forget_reports(&mut self) -> Result<()> {
        (self.registry, self.fleet) = load_registry(&self.store, &self.clock).await?;
        Ok(())
    }

    /// Starts an engine with this journal.
    pub async fn start_engine(&self, journal: Arc<dyn Journal>) -> Result<Engine> {
        Ok(Engine::start(self.engine_config(journal)).await?)
    }

    /// The configuration of an engine with this journal.
    pub fn engine_config(&self, journal: Arc<dyn Journal>) -> EngineConfig {
        EngineConfig {
            journal,
            environment_journal: Arc::clone(&self.environment_journal),
            catalogue: Arc::new(self.store.clone()),
            blobs: self.blobs.clone(),
            host: self.host.clone(),
            registry: self.registry.clone(),
            fleet: Arc::clone(&self.fleet),
            environments: self.environments.clone(),
            clock: Arc::clone(&self.clock),
            limits: self.limits,
            metric_providers: self.metric_providers.clone(),
            built_in: hotswap_guests::strategies()
                .iter()
                .map(|guest| guest.component)
                .collect(),
            discovery_backends: Default::default(),
        }
    }
}

/// The nodes that the store holds, and the client of them.
async fn load_registry(
    store: &Sqlite,
    clock: &Arc<dyn Clock>,
) -> Result<(Registry, Arc<dyn Fleet>)> {
    let catalogue = Arc::new(store.clone());
    let registry = Registry::load(catalogue, Arc::clone(clock), HEARTBEAT_INTERVAL).await?;
    let options = hotswap_fleet::Options::default();
    let fleet = HttpFleet::new(registry.clone(), NODE_TOKEN, options)?;
    Ok((registry, Arc::new(fleet)))
}
