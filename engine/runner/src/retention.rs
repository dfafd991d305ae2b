//! Deletes ended deployments and unused versions and files, by age and number.

mod plan;
mod wall_clock;

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hotswap_core::{Clock, Digest, Timestamp};
use hotswap_store::{Blobs, Catalogue, EnvironmentJournal, Journal, Query, Usage};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::deployments::{Deployments, Error};
use crate::limits::RetentionLimits;
use crate::references::{Needed, References};

use self::wall_clock::WallClock;

/// The time between two sweeps.
const INTERVAL: Duration = Duration::from_secs(10 * 60);
/// The time from the start to the first sweep. The start has more urgent things to do.
const FIRST: Duration = Duration::from_secs(30);
/// Deployments that are read at once.
const PAGE: usize = 200;

/// Deletes what the limits allow to delete. Cheap to clone.
///
/// # Guarantees
/// What runs, what should run and what a rollback needs is never deleted. A record is deleted
/// before what it names: a crash leaves files that nobody needs, which the next sweep removes,
/// and never a record of something that is gone.
///
/// Nothing is deleted by age in the first hour, nor in the hour after the wall-clock was set by
/// more than an hour: a wrong date makes everything old.
#[derive(Clone)]
pub struct Retention {
    journal: Arc<dyn Journal>,
    environment_journal: Arc<dyn EnvironmentJournal>,
    catalogue: Arc<dyn Catalogue>,
    blobs: Blobs,
    deployments: Deployments,
    references: References,
    clock: Arc<dyn Clock>,
    wall_clock: Arc<Mutex<WallClock>>,
    limits: RetentionLimits,
    /// Components that the configuration names, whatever becomes of their records.
    in_use: HashSet<Digest>,
}

/// What a sweep has deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Deployments with their journals.
    pub deployments: usize,
    /// Versions of modules.
    pub versions: usize,
    /// Artifacts and components.
    pub files: usize,
    /// Bytes of these files.
    pub bytes: u64,
}

/// What uses space on the engine's disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DiskUsage {
    /// Journals and catalogue.
    pub store: Usage,
    /// Whether the disk is so full that nothing new is accepted.
    pub is_full: bool,
    /// Artifacts of modules.
    pub artifacts: Files,
    /// Components of strategies and discovery backends.
    pub components: Files,
    /// Files that no module, no strategy and no discovery backend names: leftovers, and components
    /// that open deployments still need.
    pub others: Files,
}

/// A number of files and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Files {
    /// How many.
    pub count: u64,
    /// Their bytes together.
    pub bytes: u64,
}

impl Retention {
    pub(crate) fn new(
        blobs: Blobs,
        environment_journal: Arc<dyn EnvironmentJournal>,
        deployments: Deployments,
        references: References,
        limits: RetentionLimits,
        in_use: HashSet<Digest>,
    ) -> Self {
        let wall_clock = WallClock::watch(deployments.clock.as_ref());
        Self {
            environment_journal,
            wall_clock: Arc::new(Mutex::new(wall_clock)),
            journal: Arc::clone(&deployments.journal),
            catalogue: Arc::clone(&deployments.catalogue),
            clock: Arc::clone(&deployments.clock),
            blobs,
            deployments,
            references,
            limits,
            in_use,
        }
    }

    /// Sweeps from time to time. Cancel safe.
    pub(crate) async fn run(self) {
        let mut ticks = interval_at(Instant::now() + FIRST, INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            match self.sweep().await {
                Ok(swept) if swept == Swept::default() => {}
                Ok(swept) => tracing::info!(
                    deployments = swept.deployments,
                    versions = swept.versions,
                    files = swept.files,
                    bytes = swept.bytes,
                    "deleted what is no longer kept"
                ),
                Err(error) => {
                    let error: &dyn std::error::Error = &error;
                    tracing::warn!(
                        error,
                        "cannot delete what is no longer kept, retrying later"
                    );
                }
            }
        }
    }

    /// Deletes everything that is no longer kept.
    ///
    /// Cancel safe: what was deleted until then is gone, whole.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn sweep(&self) -> Result<Swept, Error> {
        let rules = self.rules();
        let deployments = self.sweep_deployments(&rules).await?;
        self.sweep_environments(&rules).await?;
        let versions = self.sweep_versions(&rules).await?;
        let files = self.sweep_files().await?;
        Ok(Swept {
            deployments,
            versions,
            files: usize::try_from(files.count).unwrap_or(usize::MAX),
            bytes: files.bytes,
        })
    }

    /// What is outdated now.
    fn rules(&self) -> Rules {
        let wall_clock = self.wall_clock.lock();
        let mut wall_clock = wall_clock.unwrap_or_else(PoisonError::into_inner);
        let look = wall_clock.look(self.clock.as_ref());
        let limits = match look.is_believed {
            true => self.limits,
            false => self.limits.without_ages(),
        };
        Rules {
            now: look.now,
            limits,
        }
    }

    async fn sweep_deployments(&self, rules: &Rules) -> Result<usize, Error> {
        let current = self.journal.current_deployments(None).await?;
        let current: HashSet<_> = current.into_iter().collect();
        let mut outdated = Vec::new();
        let mut kept = 0;
        let mut query = Query {
            limit: PAGE,
            ..Query::default()
        };
        loop {
            let (page, more) = self.deployments.list(&query).await?;
            query.before = page.last().map(|last| last.id);
            for deployment in page.iter().filter(|one| one.lifecycle.is_ended()) {
                let is_outdated = plan::is_outdated(deployment, kept, rules.now, &rules.limits);
                if is_outdated && !current.contains(&deployment.id) {
                    outdated.push(deployment.id);
                } else {
                    kept += 1;
                }
            }
            if !more {
                break;
            }
        }
        let mut deleted = 0;
        for id in outdated {
            match self.deployments.delete(id).await {
                Ok(()) => deleted += 1,
                // It was deleted or became needed meanwhile.
                Err(Error::Unknown(_) | Error::InUse { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(deleted)
    }

    /// Removes what happened in environments long ago and decides nothing.
    async fn sweep_environments(&self, rules: &Rules) -> Result<(), Error> {
        let age = u64::try_from(rules.limits.deployment_age.as_millis()).unwrap_or(u64::MAX);
        let before = Timestamp::from_millis(rules.now.millis().saturating_sub(age));
        let deleted = self.environment_journal.delete_environment_events(before);
        deleted.await?;
        Ok(())
    }

    async fn sweep_versions(&self, rules: &Rules) -> Result<usize, Error> {
        let records = self.catalogue.modules(None).await.map_err(Error::Store)?;
        let mut by_module = BTreeMap::new();
        for record in records {
            let name = record.module.name.clone();
            by_module.entry(name).or_insert_with(Vec::new).push(record);
        }
        let (mut outdated, mut needed) = (Vec::new(), Needed::default());
        for (name, records) in by_module {
            let versions = plan::outdated_versions(records, rules.now, &rules.limits);
            if !versions.is_empty() {
                self.references.add_nodes(&name, &mut needed).await;
            }
            outdated.extend(versions);
        }
        let _deleting = self.references.delete().await;
        self.references.add_deployments(&mut needed).await?;
        let mut unneeded = Vec::new();
        for module in outdated {
            let (name, version) = (&module.name, &module.version);
            if needed.reason(name, version).is_none() {
                let record = self.catalogue.module(name, version).await;
                unneeded.extend(record.map_err(Error::Store)?);
            }
        }
        let deleted = self
            .references
            .delete_records(self.catalogue.as_ref(), unneeded);
        Ok(deleted.await?.deleted.len())
    }

    /// Removes the files that no record names: of deleted versions, of replaced strategies, and
    /// of uploads that were refused or cut off.
    async fn sweep_files(&self) -> Result<Files, Error> {
        let _deleting = self.references.delete().await;
        let began = Instant::now();
        let unreadable = self.catalogue.unreadable_records().await;
        if let Some(record) = unreadable.map_err(Error::Store)?.first() {
            // Its file is still needed, and nobody knows which one it is.
            tracing::warn!(error = %record, "no unused file is deleted");
            return Ok(Files::default());
        }
        let named = self.named_digests().await?;
        let mut needed = Needed::default();
        self.references.add_deployments(&mut needed).await?;
        let mut removed = Files::default();
        let blobs = self.blobs.list().await;
        // After the list: its ages are of that moment.
        let RetentionLimits { unused_age, .. } = self.rules().limits;
        for blob in blobs.map_err(|error| Error::Store(Box::new(error)))? {
            let is_named =
                named.artifacts.contains(&blob.digest) || named.components.contains(&blob.digest);
            if is_named || needed.needs(blob.digest) || blob.age < unused_age {
                continue;
            }
            let gone = self.blobs.remove_unused(blob.digest, began.elapsed()).await;
            if gone.map_err(|error| Error::Store(Box::new(error)))? {
                removed.add(blob.size);
            }
        }
        Ok(removed)
    }

    /// What uses space on the engine's disk.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn usage(&self) -> Result<DiskUsage, Error> {
        let named = self.named_digests().await?;
        let mut usage = DiskUsage {
            store: self.journal.usage().await?,
            is_full: self.journal.is_full().await,
            ..DiskUsage::default()
        };
        let blobs = self.blobs.list().await;
        for blob in blobs.map_err(|error| Error::Store(Box::new(error)))? {
            let files = if named.artifacts.contains(&blob.digest) {
                &mut usage.artifacts
            } else if named.components.contains(&blob.digest) {
                &mut usage.components
            } else {
                &mut usage.others
            };
            files.add(blob.size);
        }
        Ok(usage)
    }

    async fn named_digests(&self) -> Result<Named, Error> {
        let modules = self.catalogue.modules(None).await.map_err(Error::Store)?;
        let strategies = self.catalogue.strategies().await.map_err(Error::Store)?;
        let backends = self.catalogue.backends().await.map_err(Error::Store)?;
        let strategies = strategies.iter().map(|record| record.digest);
        let backends = backends.iter().map(|record| record.digest);
        let components = strategies.chain(backends);
        Ok(Named {
            artifacts: modules.iter().map(|record| record.module.digest).collect(),
            components: components.chain(self.in_use.iter().copied()).collect(),
        })
    }
}

/// What a sweep deletes.
struct Rules {
    now: Timestamp,
    limits: RetentionLimits,
}

/// The digests that records name.
struct Named {
    artifacts: HashSet<Digest>,
    components: HashSet<Digest>,
}

impl Files {
    fn add(&mut self, bytes: u64) {
        self.count += 1;
        self.bytes += bytes;
    }
}
