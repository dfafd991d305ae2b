//! The modules of a node: carries out orders on them, once each and in order, and restores
//! them after a restart.

mod desired;
mod error;
mod faults;
mod loader;
mod locks;
mod orders;
mod report;
mod restore;
mod running_order;
mod store;

use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use hotswap_core::{Clock as _, Digest, ParseError, SystemClock, parse_version};
use hotswap_protocol::{Cordon, DesiredVersions, Version};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Runtime;
use crate::config::Limits;
use crate::data::{MemoryBudget, RejectedRequests, SharedRoutingTable};
use crate::disk::{ArtifactStore, Moment, RecordStore};
use desired::Desired;
use faults::Faults;
use loader::VersionLoader;
use locks::ModuleLocks;
use store::ModuleStore;

pub(super) use error::{Error, VersionError};
pub(super) use orders::OrderState;

/// How long an order tries to fetch an artifact while no byte arrives, unless the engine says
/// otherwise. Also for the versions that the node loads at its start.
const DEFAULT_STALL: Duration = Duration::from_secs(60);

/// The modules of a node. Carries out orders, saves the outcome and publishes it to the
/// routing table. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Modules(Arc<ModulesInner>);

#[derive(Debug)]
struct ModulesInner {
    store: ModuleStore,
    loader: VersionLoader,
    artifacts: Arc<ArtifactStore>,
    locks: ModuleLocks,
    faults: Faults,
    desired: Desired,
    rejected: Arc<RejectedRequests>,
    /// How often the node has crashed until this start.
    crashes: u64,
    /// There is something new to report: an order was carried out, or the cordon has changed.
    changed: Notify,
    tasks: TaskTracker,
    /// Ends orders that load a version, when the node shuts down.
    shutdown: CancellationToken,
}

impl Modules {
    /// Opens the modules that have a record. None of them is loaded yet: call
    /// [`Modules::restore`]. `crashes` is how often the node has crashed so far.
    ///
    /// # Errors
    /// If the records cannot be read.
    pub(crate) fn open(
        runtime: Runtime,
        artifacts: Arc<ArtifactStore>,
        records: RecordStore,
        limits: Limits,
        tasks: TaskTracker,
        shutdown: CancellationToken,
        crashes: u64,
    ) -> io::Result<Self> {
        Ok(Self(Arc::new(ModulesInner {
            store: ModuleStore::open(records)?,
            loader: VersionLoader {
                runtime,
                artifacts: artifacts.clone(),
                memory: MemoryBudget::new(limits.total_memory_bytes),
                limits,
                tasks: tasks.clone(),
            },
            artifacts,
            locks: ModuleLocks::default(),
            faults: Faults::default(),
            desired: Desired::default(),
            rejected: Arc::default(),
            crashes,
            changed: Notify::new(),
            tasks,
            shutdown,
        })))
    }

    /// This moment, by which lifetimes of versions are measured.
    pub(crate) fn now(&self) -> Moment {
        Moment {
            at: SystemClock.now(),
            crashes: self.0.crashes,
        }
    }

    /// Returns once there is something new to report since the last call. Cancel safe.
    pub(crate) async fn changed(&self) {
        self.0.changed.notified().await;
    }

    /// The table that routes requests to the modules.
    pub(crate) fn routing_table(&self) -> &SharedRoutingTable {
        self.0.store.routing_table()
    }

    /// Requests that reached no version.
    pub(crate) fn rejected(&self) -> &Arc<RejectedRequests> {
        &self.0.rejected
    }

    /// Records what the engine wants the node to run, `None` if it has not decided, and whether
    /// a person has cordoned the node.
    pub(crate) fn tell_desired(&self, versions: Option<DesiredVersions>, cordon: Option<Cordon>) {
        if self.0.desired.tell(versions, cordon) {
            // Whoever drains the node waits for it to report that it is not ready.
            self.0.changed.notify_one();
        }
    }

    /// Whether the node ends soon.
    pub(crate) fn is_stopping(&self) -> bool {
        self.0.desired.is_stopping()
    }

    /// Records that the node ends soon: it is not ready any more, and reports that.
    pub(crate) fn tell_stopping(&self) {
        self.0.desired.tell_stopping();
        self.0.changed.notify_one();
    }

    /// Whether the node has begun to shut down.
    pub(crate) fn is_shutting_down(&self) -> bool {
        self.0.shutdown.is_cancelled()
    }

    /// Checks that the node runs what it should, so that clients may be sent to it.
    ///
    /// # Errors
    /// A sentence that says what is missing.
    pub(crate) fn check_ready(&self) -> Result<(), String> {
        if self.0.shutdown.is_cancelled() {
            return Err("the node is shutting down".to_owned());
        }
        let table = self.routing_table().load();
        self.0.desired.check(&table, self.0.store.damaged_modules())
    }

    /// The highest fence that the node has seen, over all modules.
    pub(crate) fn highest_fence(&self) -> u64 {
        let table = self.routing_table().load();
        let fences = table.iter().map(|(_, route)| route.record.fence);
        fences.max().unwrap_or(0)
    }

    async fn remove_unused_artifacts(&self) {
        let table = self.routing_table().clone();
        let retained = move || -> HashSet<Digest> {
            table
                .load()
                .iter()
                .flat_map(|(_, route)| route.record.retained_versions())
                .filter_map(|version| version.digest.parse().ok())
                .collect()
        };
        let artifacts = self.0.artifacts.clone();
        let removed = tokio::task::spawn_blocking(move || artifacts.remove_unused(retained)).await;
        if let Ok(Err(error)) = removed {
            tracing::warn!(%error, "cannot remove unused artifacts");
        }
    }
}

/// Checks that a version can be one, before anything is done with it.
pub(super) fn check_version(version: &Version) -> Result<(), ParseError> {
    let _: Digest = version.digest.parse()?;
    parse_version(&version.version)?;
    Ok(())
}
