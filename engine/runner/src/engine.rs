use std::sync::Arc;

use hotswap_core::{Clock, OutOfRange};
use hotswap_fleet::{Fleet, Registry};
use hotswap_plugins::Host;
use hotswap_store::{Blobs, Catalogue, Journal};
use tokio::sync::Semaphore;

use crate::deployments::Deployments;
use crate::driver::DriverContext;
use crate::environments::Environments;
use crate::limits::Limits;
use crate::modules::Modules;
use crate::strategies::{self, Strategies};
use crate::supervisor::Supervisor;

/// What an engine needs to start.
pub struct EngineConfig {
    /// The journals of the deployments.
    pub journal: Arc<dyn Journal>,
    /// The records of modules, strategies and nodes.
    pub catalogue: Arc<dyn Catalogue>,
    /// The artifacts of modules and the components of strategies.
    pub blobs: Blobs,
    /// Runs strategies.
    pub host: Host,
    /// Knows the nodes.
    pub registry: Registry,
    /// Sends orders to the nodes.
    pub fleet: Arc<dyn Fleet>,
    /// The policies.
    pub environments: Environments,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Limits of the engine and of each deployment.
    pub limits: Limits,
    /// The components of the built-in strategies.
    pub built_in: Vec<&'static [u8]>,
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
    /// Knows the nodes.
    pub registry: Registry,
    /// Sends orders to the nodes.
    pub fleet: Arc<dyn Fleet>,
    /// The policies.
    pub environments: Environments,
    /// The time, which the API shares with the engine.
    pub clock: Arc<dyn Clock>,
    supervisor: Supervisor,
}

/// Why an engine did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A built-in strategy does not load, or the store failed.
    #[error("the built-in strategies could not be installed")]
    Install(#[source] strategies::Error),
    /// A limit is outside its range.
    #[error("a limit is outside its range")]
    Limit(#[source] OutOfRange),
}

impl Engine {
    /// Starts an engine. It drives every deployment that has not ended, whoever began it.
    ///
    /// # Errors
    /// Where the store fails, a limit is outside its range, or a built-in strategy does not load.
    pub async fn start(config: EngineConfig) -> Result<Self, Error> {
        config.limits.check().map_err(Error::Limit)?;
        let strategies = Strategies::new(
            Arc::clone(&config.catalogue),
            config.blobs.clone(),
            config.host,
            Arc::clone(&config.clock),
        );
        strategies
            .install(&config.built_in)
            .await
            .map_err(Error::Install)?;
        let supervisor = Supervisor::new(Arc::new(DriverContext {
            journal: Arc::clone(&config.journal),
            strategies: strategies.clone(),
            fleet: Arc::clone(&config.fleet),
            clock: Arc::clone(&config.clock),
            limits: config.limits,
            instances: Semaphore::new(config.limits.instances),
        }));
        let modules = Modules::new(
            Arc::clone(&config.catalogue),
            config.blobs,
            Arc::clone(&config.clock),
        );
        let deployments = Deployments {
            journal: config.journal,
            catalogue: config.catalogue,
            strategies: strategies.clone(),
            registry: config.registry.clone(),
            environments: config.environments.clone(),
            clock: Arc::clone(&config.clock),
        };
        Ok(Self {
            deployments,
            modules,
            strategies,
            registry: config.registry,
            fleet: config.fleet,
            environments: config.environments,
            clock: config.clock,
            supervisor,
        })
    }

    /// Stops driving all deployments, wherever they are. The next engine resumes them.
    pub async fn shutdown(&self) {
        self.supervisor.shutdown().await;
    }
}
