//! Which module versions and components are needed.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hotswap_core::{DeploymentId, DeploymentSummary, Digest, ModuleName, ModuleVersion, Step};
use hotswap_fleet::{Fleet, Registry};
use hotswap_store::{Catalogue, Journal, ModuleRecord};
use semver::Version;
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::projections::{Error, Projections};
use crate::success_history::{EarlierSuccesses, find_before, newest_successes};

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
    open: Mutex<KnownNeeds>,
}

/// What deployments need, as far as that stays the same: of those that are open until they end.
#[derive(Default)]
struct KnownNeeds {
    /// The epoch of the store in which it was read. In another one, plans may be lost.
    epoch: Option<Arc<str>>,
    by_deployment: HashMap<DeploymentId, Arc<DeploymentNeeds>>,
    /// What the deployments that roll out what should run can be rolled back to.
    earlier: EarlierSuccesses,
}

/// What a deployment needs.
struct DeploymentNeeds {
    module: ModuleVersion,
    strategy: Digest,
    previous: Vec<ModuleVersion>,
}

/// What is needed, and what needs it.
#[derive(Debug, Default)]
pub(crate) struct Needed {
    versions: HashMap<(ModuleName, Version), String>,
    /// The modules for which all versions are needed.
    modules: HashMap<ModuleName, String>,
    digests: HashSet<Digest>,
    /// Whether a deployment that has not ended needs a component, and it is not known which.
    unknown_component: bool,
}

/// What became of records that were to be deleted.
#[derive(Debug, Default)]
pub(crate) struct DeletedRecords {
    pub(crate) deleted: Vec<ModuleRecord>,
    /// Those that another engine's deployment needs, with the reason.
    pub(crate) restored: Vec<(ModuleRecord, String)>,
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
            open: Mutex::default(),
        }))
    }

    /// Hold this from the moment that something is looked up or stored until a durable record
    /// names it: nothing is deleted meanwhile.
    pub(crate) async fn add(&self) -> RwLockReadGuard<'_, ()> {
        self.0.lock.read().await
    }

    /// Hold this while something is found to be unneeded and deleted. Requests wait for it, so most
    /// of what [`Self::add_deployments`] reads is read before.
    pub(crate) async fn delete(&self) -> RwLockWriteGuard<'_, ()> {
        if let Err(error) = self.add_deployments(&mut Needed::default()).await {
            let error: &dyn std::error::Error = &error;
            tracing::debug!(error, "cannot read what is needed, reading it later");
        }
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
        let epoch = self.0.journal.epoch();
        self.add_open(needed).await?;
        let current = self.0.journal.current_deployments(None).await?;
        for deployment in self.0.projections.summaries(&current).await? {
            let DeploymentSummary {
                id, environment, ..
            } = &deployment;
            let why = format!("it should run in {environment}");
            needed.add_module_of(&deployment, &why);
            let why = format!("deployment {id} in {environment} can be rolled back to it");
            needed.add_all(&deployment.previous, &why);
            self.add_earlier_success(&deployment, &epoch, needed, &why)
                .await?;
        }
        let current = current.into_iter().collect();
        self.known_needs(&epoch).earlier.retain(&current);
        Ok(())
    }

    /// Adds what the last success before a deployment rolled out. Reads journals only where the
    /// newest successes have changed since the last time.
    async fn add_earlier_success(
        &self,
        deployment: &DeploymentSummary,
        epoch: &Arc<str>,
        needed: &mut Needed,
        why: &str,
    ) -> Result<(), Error> {
        let newest_first = newest_successes(self.0.journal.as_ref(), deployment).await?;
        let known = {
            let known = self.known_needs(epoch);
            known.earlier.get(deployment.id, &newest_first)
        };
        if let Some(module) = known {
            if let Some(module) = module {
                needed.add(&module, why);
            }
            return Ok(());
        }
        let found = find_before(&self.0.projections, deployment, &newest_first).await?;
        if let Some(success) = &found {
            needed.add_module_of(success, why);
        }
        if found
            .as_ref()
            .is_none_or(|success| success.damage.is_none())
        {
            let mut known = self.known_needs(epoch);
            let known = &mut known.earlier;
            known.put(deployment.id, &newest_first, found.as_ref());
        }
        Ok(())
    }

    /// Adds what open deployments need. Reads those whose needs may have changed since the last time.
    async fn add_open(&self, needed: &mut Needed) -> Result<(), Error> {
        let epoch = self.0.journal.epoch();
        let open = self.0.journal.open_deployments().await?;
        let mut unknown = Vec::new();
        {
            let mut known = self.known_needs(&epoch);
            let is_open: HashSet<_> = open.iter().collect();
            known.by_deployment.retain(|id, _| is_open.contains(id));
            for id in &open {
                match known.by_deployment.get(id) {
                    Some(needs) => needed.add_open(*id, needs),
                    None => unknown.push(*id),
                }
            }
        }
        for deployment in self.0.projections.summaries(&unknown).await? {
            needed.unknown_component |= deployment.damage.as_ref().is_some_and(|at| at.seq == 0);
            let why = format!("deployment {} has not ended", deployment.id);
            needed.add_module_of(&deployment, &why);
            let needs = DeploymentNeeds {
                module: deployment.module,
                strategy: deployment.strategy_digest,
                previous: deployment.previous,
            };
            needed.add_open(deployment.id, &needs);
            let is_planned = !matches!(
                deployment.lifecycle.step,
                Step::Requested | Step::Gated | Step::Approved
            );
            if is_planned && deployment.damage.is_none() {
                let mut known = self.known_needs(&epoch);
                known.by_deployment.insert(deployment.id, Arc::new(needs));
            }
        }
        Ok(())
    }

    /// What is known in an epoch of the store.
    fn known_needs(&self, epoch: &Arc<str>) -> MutexGuard<'_, KnownNeeds> {
        let mut known = self.0.open.lock().unwrap_or_else(PoisonError::into_inner);
        if known.epoch.as_ref() != Some(epoch) {
            *known = KnownNeeds {
                epoch: Some(Arc::clone(epoch)),
                ..KnownNeeds::default()
            };
        }
        known
    }

    /// Deletes the records of versions that were found to be unneeded. Hold [`Self::delete`], which
    /// keeps only this engine from needing them: another one on the store may begin a deployment
    /// meanwhile. So this looks once more, and puts the record of a version back that is needed by
    /// now. Returns the others, and why these are needed. Their files may be removed after this.
    ///
    /// # Errors
    /// If the store fails. Each record is then deleted or not.
    pub(crate) async fn delete_records(
        &self,
        catalogue: &dyn Catalogue,
        records: Vec<ModuleRecord>,
    ) -> Result<DeletedRecords, Error> {
        let mut deleted = Vec::new();
        for record in records {
            let (name, version) = (&record.module.name, &record.module.version);
            let gone = catalogue.delete_module(name, version).await;
            if gone.map_err(Error::Store)? {
                deleted.push(record);
            }
        }
        let mut outcome = DeletedRecords::default();
        if deleted.is_empty() {
            return Ok(outcome);
        }
        let mut needed = Needed::default();
        let looked = self.add_deployments(&mut needed).await;
        for record in deleted {
            let (name, version) = (&record.module.name, &record.module.version);
            let why = match &looked {
                Ok(()) => needed.reason(name, version).map(str::to_owned),
                Err(error) => Some(error.to_string()),
            };
            match why {
                Some(why) => {
                    let put = catalogue.put_module(record.clone()).await;
                    put.map_err(Error::Store)?;
                    outcome.restored.push((record, why));
                }
                None => outcome.deleted.push(record),
            }
        }
        looked.map(|()| outcome)
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
    pub(crate) fn reason(&self, module: &ModuleName, version: &Version) -> Option<&str> {
        let of_version = self.versions.get(&(module.clone(), version.clone()));
        let why = of_version.or_else(|| self.modules.get(module));
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

    /// Adds what a deployment needs that has not ended.
    fn add_open(&mut self, id: DeploymentId, needs: &DeploymentNeeds) {
        let why = format!("deployment {id} has not ended");
        self.digests.insert(needs.strategy);
        self.add(&needs.module, &why);
        self.add_all(&needs.previous, &why);
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

#[cfg(test)]
mod tests {
    use hotswap_core::{SystemClock, Timestamp};
    use hotswap_fleet::{HttpFleet, Options};
    use hotswap_store::Memory;

    use super::*;
    use crate::projections::tests::header;

    #[tokio::test]
    async fn a_record_that_another_engine_begins_to_need_is_put_back() {
        let store = Memory::new(1);
        let journal: Arc<dyn Journal> = Arc::new(store.clone());
        let catalogue = Arc::new(store.clone());
        let clock = Arc::new(SystemClock);
        let registry = Registry::load(catalogue, clock, Registry::DEFAULT_INTERVAL);
        let registry = registry.await.unwrap();
        let fleet = HttpFleet::new(registry.clone(), "token", Options::default()).unwrap();
        let projections = Projections::new(Arc::clone(&journal));
        let references =
            References::new(Arc::clone(&journal), projections, registry, Arc::new(fleet));
        let record = |module: &ModuleVersion| ModuleRecord {
            module: module.clone(),
            size: 1,
            uploaded_at: Timestamp::from_millis(1),
            uploaded_by: "ada".to_owned(),
        };
        let header = header();
        let (needed, other) = (
            header.module.clone(),
            ModuleVersion {
                version: Version::new(9, 0, 0),
                ..header.module.clone()
            },
        );
        for module in [&needed, &other] {
            store.put_module(record(module)).await.unwrap();
        }
        let _deleting = references.delete().await;
        let mut found = Needed::default();
        references.add_deployments(&mut found).await.unwrap();
        assert_eq!(found.reason(&needed.name, &needed.version), None);
        // The lock does not reach other engines.
        journal
            .create(header, Timestamp::from_millis(2))
            .await
            .unwrap();

        let records = vec![record(&needed), record(&other)];
        let outcome = references.delete_records(&store, records).await.unwrap();
        assert_eq!(outcome.deleted, [record(&other)]);
        let [(restored, why)] = &outcome.restored[..] else {
            panic!("{outcome:?}");
        };
        assert_eq!(*restored, record(&needed));
        assert!(why.contains("has not ended"), "{why}");
        assert_eq!(store.modules(None).await.unwrap(), [record(&needed)]);
    }
}
