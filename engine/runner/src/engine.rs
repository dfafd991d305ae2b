use std::sync::Arc;

use hotswap_core::Clock;
use hotswap_fleet::{Fleet, Registry};
use hotswap_plugins::Host;
use hotswap_store::{Blobs, Catalogue, Journal, ReadError};
use tokio::sync::Semaphore;

use crate::deployments::Deployments;
use crate::environments::Environments;
use crate::limits::Limits;
use crate::modules::Modules;
use crate::strategies::{self, Strategies};
use crate::supervisor::{Shared, Supervisor};

/// What an engine is made of.
pub struct Parts {
    /// The journals.
    pub journal: Arc<dyn Journal>,
    /// Modules, strategies, nodes.
    pub catalogue: Arc<dyn Catalogue>,
    /// Artifacts and components.
    pub blobs: Blobs,
    /// Runs strategies.
    pub host: Host,
    /// Who the nodes are.
    pub registry: Registry,
    /// What is done to them.
    pub fleet: Arc<dyn Fleet>,
    /// The policies.
    pub environments: Environments,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What a deployment may use.
    pub limits: Limits,
    /// The components of the strategies that come with the engine.
    pub built_in: Vec<&'static [u8]>,
}

/// A running engine. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    /// Deployments.
    pub deployments: Deployments,
    /// What can be rolled out.
    pub modules: Modules,
    /// How it can be rolled out.
    pub strategies: Strategies,
    /// The nodes.
    pub registry: Registry,
    /// How they are reached.
    pub fleet: Arc<dyn Fleet>,
    /// The policies.
    pub environments: Environments,
    /// The time, which whoever stands over the engine shares with it.
    pub clock: Arc<dyn Clock>,
    supervisor: Supervisor,
}

/// Why an engine did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The strategies that come with it could not be recorded.
    #[error("the built-in strategies could not be installed")]
    Install(#[source] strategies::Error),
    /// The deployments that have not ended could not be read.
    #[error("the running deployments could not be read")]
    Recover(#[source] ReadError),
}

impl Engine {
    /// Starts an engine, and goes on with every deployment that has not ended.
    ///
    /// # Errors
    /// Where the store fails, or a built-in strategy does not load.
    pub async fn start(parts: Parts) -> Result<Self, Error> {
        let strategies = Strategies::new(
            Arc::clone(&parts.catalogue),
            parts.blobs.clone(),
            parts.host,
            Arc::clone(&parts.clock),
        );
        strategies
            .install(&parts.built_in)
            .await
            .map_err(Error::Install)?;
        let open = parts.journal.open_deployments().await.map_err(Error::Recover)?;
        let supervisor = Supervisor::new(Arc::new(Shared {
            journal: Arc::clone(&parts.journal),
            strategies: strategies.clone(),
            fleet: Arc::clone(&parts.fleet),
            clock: Arc::clone(&parts.clock),
            limits: parts.limits,
            instances: Semaphore::new(parts.limits.instances),
        }));
        for deployment in open {
            supervisor.start(deployment);
        }
        let modules = Modules::new(
            Arc::clone(&parts.catalogue),
            parts.blobs,
            Arc::clone(&parts.clock),
        );
        let deployments = Deployments {
            journal: parts.journal,
            catalogue: parts.catalogue,
            strategies: strategies.clone(),
            registry: parts.registry.clone(),
            environments: parts.environments.clone(),
            clock: Arc::clone(&parts.clock),
            supervisor: supervisor.clone(),
        };
        let (registry, environments) = (parts.registry, parts.environments);
        Ok(Self {
            deployments,
            modules,
            strategies,
            registry,
            fleet: parts.fleet,
            environments,
            clock: parts.clock,
            supervisor,
        })
    }

    /// Lets go of every deployment, wherever it is: the next engine goes on with it.
    pub async fn shutdown(&self) {
        self.supervisor.shutdown().await;
    }
}
