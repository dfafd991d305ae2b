//! Which module versions and components are needed.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use hotswap_core::{DeploymentSummary, Digest, ModuleName, ModuleVersion};
use hotswap_fleet::{Fleet, Registry};
use hotswap_store::Journal;
use semver::Version;
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::projections::{Error, Projections};
use crate::success_history::last_success_before;

/// Knows what deployments and nodes need. Its lock keeps deletions apart from requests that begin
/// to need something. Cheap to clone.
#[derive(Clone)]
pub(crate) struct References(Arc<Inner>);

struct Inner {
    journal: Arc<dyn Journal>,
    projections: Projections,
    registry: Registry,
    fleet: Arc<dyn Fleet>,
    lock: RwLock<()>,
}

/// What is needed, and by whom.
#[derive(Debug, Default)]
pub(crate) struct Needed {
    versions: HashMap<(ModuleName, Version), String>,
    /// The modules of which every version is needed.
    modules: HashMap<ModuleName, String>,
    digests: HashSet<Digest>,
    /// Whether a deployment that has not ended needs a component, and it is not known which.
    unknown_component: bool,
}

impl References {
    pub(crate) fn new(
        journal: Arc<dyn Journal>,
        projections: Projections,
        registry: Registry,
        fleet: Arc<dyn Fleet>,
    ) -> Self {
        Self(Arc::new(Inner {
            journal,
            projections,
            registry,
            fleet,
            lock: RwLock::new(()),
        }))
    }

    /// Hold this from the moment that something is looked up or stored until a durable record
    /// names it: nothing is deleted meanwhile.
    pub(crate) async fn add(&self) -> RwLockReadGuard<'_, ()> {
        self.0.lock.read().await
    }

    /// Hold this while something is found to be unneeded and deleted.
    pub(crate) async fn delete(&self) -> RwLockWriteGuard<'_, ()> {
        self.0.lock.write().await
    }

    /// Whether the disk has no room for anything new.
    pub(crate) async fn is_full(&self) -> bool {
        self.0.journal.is_full().await
    }

    /// Adds what deployments need: those that are open, and those that roll out what should run.
    /// Hold [`Self::delete`] from before this until the deletion is done.
    ///
    /// # Errors
    /// If the store fails.
    pub(crate) async fn add_deployments(&self, needed: &mut Needed) -> Result<(), Error> {
        let open = self.0.journal.open_deployments().await?;
        for deployment in self.0.projections.summaries(&open).await? {
            let why = format!("deployment {} has not ended", deployment.id);
            needed.digests.insert(deployment.strategy_digest);
            needed.unknown_component |= deployment.damage.as_ref().is_some_and(|at| at.seq == 0);
            needed.add_module_of(&deployment, &why);
            needed.add_all(&deployment.previous, &why);
        }
        let current = self.0.journal.current_deployments(None).await?;
        for deployment in self.0.projections.summaries(&current).await? {
            let DeploymentSummary {
                id, environment, ..
            } = &deployment;
            let why = format!("it should run in {environment}");
            needed.add_module_of(&deployment, &why);
            let why = format!("deployment {id} in {environment} can be rolled back to it");
            needed.add_all(&deployment.previous, &why);
            let (journal, projections) = (self.0.journal.as_ref(), &self.0.projections);
            if let Some(success) = last_success_before(journal, projections, &deployment).await? {
                needed.add_module_of(&success, &why);
            }
        }
        Ok(())
    }

    /// Adds what nodes run of a module. Nodes that do not answer have what they run on their own
    /// disks. Asks the nodes, so it may take long: hold no lock meanwhile.
    pub(crate) async fn add_nodes(&self, module: &ModuleName, needed: &mut Needed) {
        for environment in self.0.registry.environments() {
            let nodes = self.0.fleet.nodes(&environment, module).await;
            for node in nodes.unwrap_or_default() {
                if let Some(active) = node.active {
                    needed.add(&active, &format!("node {} runs it", node.id));
                }
            }
        }
    }
}

impl Needed {
    /// Why a version is needed.
    pub(crate) fn reason(&self, module: &ModuleVersion) -> Option<&str> {
        let key = (module.name.clone(), module.version.clone());
        let version = self.versions.get(&key);
        let why = version.or_else(|| self.modules.get(&module.name));
        why.map(String::as_str)
    }

    /// Whether a blob is needed by what was added, or may be.
    pub(crate) fn needs(&self, digest: Digest) -> bool {
        self.unknown_component || self.digests.contains(&digest)
    }

    /// Adds the version that a deployment rolls out. Where its journal cannot be read, the version
    /// and those before it may be any: another engine may read them, or an end of the deployment
    /// may have to go back to them.
    fn add_module_of(&mut self, deployment: &DeploymentSummary, why: &str) {
        if let Some(damage) = &deployment.damage {
            let why = format!("deployment {} cannot be read: {damage}", deployment.id);
            self.modules.insert(deployment.module.name.clone(), why);
        }
        self.add(&deployment.module, why);
    }

    fn add(&mut self, module: &ModuleVersion, why: &str) {
        self.digests.insert(module.digest);
        self.versions
            .entry((module.name.clone(), module.version.clone()))
            .or_insert_with(|| why.to_owned());
    }

    fn add_all(&mut self, modules: &[ModuleVersion], why: &str) {
        modules.iter().for_each(|module| self.add(module, why));
    }
}
