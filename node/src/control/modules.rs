//! The modules of a node: carries out orders on them, once each and in order, and restores
//! them after a restart.

mod error;
mod loader;
mod locks;
mod store;

use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use hotswap_core::{Digest, ModuleName};
use hotswap_protocol::{Action, OrderRequest, Version};
use tokio_util::task::TaskTracker;

use crate::Runtime;
use crate::config::Limits;
use crate::data::{Route, SharedRoutingTable};
use crate::disk::{ArtifactStore, OperationLookup, RecordStore};
use crate::error::error_chain;
use loader::VersionLoader;
use locks::ModuleLocks;
use store::ModuleStore;

pub(super) use error::Error;

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
    tasks: TaskTracker,
}

impl Modules {
    /// Opens the modules that have a record. None of them is loaded yet: call
    /// [`Modules::restore`].
    ///
    /// # Errors
    /// If the records cannot be read.
    pub(crate) fn open(
        runtime: Runtime,
        artifacts: Arc<ArtifactStore>,
        records: RecordStore,
        limits: Limits,
        tasks: TaskTracker,
    ) -> io::Result<Self> {
        Ok(Self(Arc::new(ModulesInner {
            store: ModuleStore::open(records)?,
            loader: VersionLoader {
                runtime,
                artifacts: artifacts.clone(),
                limits,
                tasks: tasks.clone(),
            },
            artifacts,
            locks: ModuleLocks::default(),
            tasks,
        })))
    }

    /// The table that routes requests to the modules.
    pub(crate) fn routing_table(&self) -> &SharedRoutingTable {
        self.0.store.routing_table()
    }

    /// A sentence that says what is wrong with the modules. `None` if they are healthy.
    pub(crate) fn health_warning(&self) -> Option<String> {
        let table = self.routing_table().load();
        let mut warnings: Vec<_> = table
            .iter()
            .filter(|(_, route)| !route.is_fully_loaded())
            .map(|(module, _)| format!("module {module} is not loaded"))
            .collect();
        warnings.sort();
        let damaged = self.0.store.damaged_modules().iter();
        warnings.extend(damaged.map(|module| format!("the record of module {module} was damaged")));
        (!warnings.is_empty()).then(|| warnings.join("; "))
    }

    /// The highest fence that the node has seen, over all modules.
    pub(crate) fn highest_fence(&self) -> u64 {
        let table = self.routing_table().load();
        let fences = table.iter().map(|(_, route)| route.record.fence);
        fences.max().unwrap_or(0)
    }

    /// Carries out an order, once per operation.
    ///
    /// # Guarantees
    /// When this returns, the outcome is on disk, and requests are routed by it. An order
    /// that has begun is finished even if this is cancelled.
    pub(crate) async fn carry_out(
        &self,
        module: ModuleName,
        operation: String,
        order: OrderRequest,
    ) -> Result<(), Error> {
        let this = self.clone();
        let work = async move { this.carry_out_alone(&module, &operation, &order).await };
        match self.0.tasks.spawn(work).await {
            Ok(result) => result,
            Err(_) => Err(Error::ShuttingDown),
        }
    }

    async fn carry_out_alone(
        &self,
        module: &ModuleName,
        operation: &str,
        order: &OrderRequest,
    ) -> Result<(), Error> {
        let _guard = self.0.locks.lock(module).await;
        let route = self.0.store.route(module);
        let record = &route.record;
        if order.fence < record.fence {
            return Err(Error::Fenced {
                fence: order.fence,
                highest: record.fence,
            });
        }
        match record.look_up_operation(operation, &order.action) {
            OperationLookup::Completed => {
                return self.raise_fence(module, &route, order.fence).await;
            }
            OperationLookup::IdReused => {
                return Err(Error::OperationIdReused(operation.to_owned()));
            }
            OperationLookup::New => {}
        }

        let started = Instant::now();
        match self.apply(module, &route, operation, order).await {
            Ok(()) => {
                tracing::info!(%module, operation, action = ?order.action, elapsed = ?started.elapsed(),
                    "order carried out");
                Ok(())
            }
            Err(error) => {
                // A failed order still proves that its sender has taken over.
                self.raise_fence(module, &route, order.fence).await?;
                Err(error)
            }
        }
    }

    async fn apply(
        &self,
        module: &ModuleName,
        route: &Route,
        operation: &str,
        order: &OrderRequest,
    ) -> Result<(), Error> {
        if let Some(version) = version_of(&order.action) {
            validate(version)?;
        }
        let slots = route.record.slots.next(&order.action)?;
        let record =
            route
                .record
                .with_completed_operation(operation, &order.action, order.fence, slots);
        let mut next = route.with_record(record);
        let _pins = self.0.loader.load_slots(module, route, &mut next).await?;
        self.0.store.save_and_publish(module, next).await?;
        if matches!(order.action, Action::Settle(_) | Action::Revert(_)) {
            self.remove_unused_artifacts().await;
        }
        Ok(())
    }

    /// Saves a fence if it is higher than the record's.
    async fn raise_fence(
        &self,
        module: &ModuleName,
        route: &Route,
        fence: u64,
    ) -> Result<(), Error> {
        if fence <= route.record.fence {
            return Ok(());
        }
        let next = route.with_record(route.record.with_fence(fence));
        self.0.store.save_and_publish(module, next).await
    }

    /// Tries to load all versions in slots that are not loaded. Returns whether all are now.
    /// Idempotent: call it when the node starts, and again while it returns `false`.
    pub(crate) async fn restore(&self) -> bool {
        let missing: Vec<ModuleName> = self
            .routing_table()
            .load()
            .iter()
            .filter(|(_, route)| !route.is_fully_loaded())
            .filter_map(|(module, _)| module.parse().ok())
            .collect();
        for module in missing {
            let _guard = self.0.locks.lock(&module).await;
            let route = self.0.store.route(&module);
            let mut next = Route::clone(&route);
            match self.0.loader.load_slots(&module, &route, &mut next).await {
                Ok(_pins) => self.0.store.publish(&module, next),
                Err(error) => {
                    let error = error_chain(&error);
                    tracing::warn!(%module, error, "cannot load a module, retrying");
                }
            }
        }
        let table = self.routing_table().load();
        table.iter().all(|(_, route)| route.is_fully_loaded())
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

/// The version that an action names.
fn version_of(action: &Action) -> Option<&Version> {
    match action {
        Action::Stage(stage) => Some(&stage.version),
        Action::Shift(shift) => Some(&shift.version),
        Action::Promote(promote) => Some(&promote.version),
        Action::Revert(revert) => revert.to.as_ref(),
        Action::Settle(_) => None,
    }
}

fn validate(version: &Version) -> Result<(), Error> {
    let _: Digest = version.digest.parse()?;
    let parsed = semver::Version::parse(&version.version);
    // The text may be megabytes long: its beginning identifies it.
    parsed.map_err(|_| Error::InvalidVersion(version.version.chars().take(80).collect()))?;
    Ok(())
}
