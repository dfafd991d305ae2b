use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use hotswap_core::ModuleName;

use super::error::Error;
use crate::data::{Route, RoutingTable, SharedRoutingTable};
use crate::disk::{DamagedRecord, ModuleRecord, RecordStore};
use crate::error::error_chain;

/// The state of all modules: their records on disk, and the routing table made of them.
#[derive(Debug)]
pub(super) struct ModuleStore {
    records: RecordStore,
    routing_table: SharedRoutingTable,
    /// Modules whose record was damaged, and has not been written anew.
    damaged_modules: Mutex<BTreeSet<ModuleName>>,
}

impl ModuleStore {
    /// Reads the records. A module with a damaged record starts empty.
    ///
    /// # Errors
    /// If the folder or a file cannot be read.
    pub(super) fn open(records: RecordStore) -> io::Result<Self> {
        let mut table = RoutingTable::default();
        let mut damaged_modules: BTreeSet<_> = records.load_damaged()?.into_iter().collect();
        for (module, record) in records.load_all()? {
            let record = record.unwrap_or_else(|error: DamagedRecord| {
                tracing::error!(
                    error = error_chain(&error),
                    "a module with a damaged record starts empty"
                );
                damaged_modules.insert(error.module);
                ModuleRecord::default()
            });
            let route = Route::default().with_record(record);
            table = table.with_route(module.as_str(), Arc::new(route));
        }
        Ok(Self {
            records,
            routing_table: Arc::new(ArcSwap::from_pointee(table)),
            damaged_modules: Mutex::new(damaged_modules),
        })
    }

    pub(super) fn routing_table(&self) -> &SharedRoutingTable {
        &self.routing_table
    }

    /// Modules whose record was damaged, and has not been written anew.
    pub(super) fn damaged_modules(&self) -> Vec<String> {
        self.damaged().iter().map(ModuleName::to_string).collect()
    }

    /// Records that a module has got versions again after its record was damaged.
    pub(super) async fn mend(&self, module: &ModuleName) {
        if !self.damaged().contains(module) {
            return;
        }
        let (records, name) = (self.records.clone(), module.clone());
        let mended = tokio::task::spawn_blocking(move || records.mend(&name)).await;
        match mended {
            Ok(Ok(())) => {
                self.damaged().remove(module);
            }
            Ok(Err(error)) => tracing::warn!(%module, %error, "cannot rename a damaged record"),
            // The node is shutting down, and finds the damaged record again.
            Err(_) => {}
        }
    }

    fn damaged(&self) -> MutexGuard<'_, BTreeSet<ModuleName>> {
        let guard = self.damaged_modules.lock();
        guard.unwrap_or_else(PoisonError::into_inner)
    }

    /// The current route of a module, empty if the node does not know the module.
    pub(super) fn route(&self, module: &ModuleName) -> Arc<Route> {
        let table = self.routing_table.load();
        table.get(module.as_str()).cloned().unwrap_or_default()
    }

    /// Saves the record of a route, then publishes the route.
    pub(super) async fn save_and_publish(
        &self,
        module: &ModuleName,
        route: Route,
    ) -> Result<(), Error> {
        let records = self.records.clone();
        let (name, record) = (module.clone(), route.record.clone());
        tokio::task::spawn_blocking(move || records.save(&name, &record))
            .await
            .map_err(|_| Error::ShuttingDown)?
            .map_err(Error::SaveRecord)?;
        self.publish(module, route);
        Ok(())
    }

    /// Routes new requests by `route`, whose record must be on disk.
    pub(super) fn publish(&self, module: &ModuleName, route: Route) {
        let route = Arc::new(route);
        self.routing_table
            .rcu(|table| table.with_route(module.as_str(), route.clone()));
    }
}
