//! Loads what the slots name after a restart of the node.

use futures_util::{StreamExt as _, stream};
use hotswap_core::ModuleName;
use hotswap_protocol::{Slot, Version};

use super::error::Error;
use super::{DEFAULT_STALL, Modules};
use crate::data::Source;
use crate::error::error_chain;

/// Versions that are loaded at the same time. A fetch that hangs must not delay the others.
const CONCURRENT_LOADS: usize = 8;

impl Modules {
    /// Tries to load all versions in slots that are not loaded: first the active ones. One that
    /// cannot be loaded affects no other. Returns whether all are loaded now.
    ///
    /// Idempotent: call it when the node starts, and again while it returns `false`.
    pub(crate) async fn restore(&self) -> bool {
        let is_active = |slot: Slot| slot == Slot::Active;
        let is_other = |slot: Slot| slot != Slot::Active;
        self.load_missing(is_active).await;
        self.load_missing(is_other).await;
        let table = self.routing_table().load();
        table
            .iter()
            .all(|(_, route)| route.missing().next().is_none())
    }

    async fn load_missing(&self, is_wanted: impl Fn(Slot) -> bool) {
        let mut missing: Vec<(ModuleName, Version)> = Vec::new();
        for (module, route) in self.routing_table().load().iter() {
            let Ok(module) = module.parse::<ModuleName>() else {
                continue;
            };
            let versions = route.missing().filter(|(slot, _)| is_wanted(*slot));
            missing.extend(versions.map(|(_, version)| (module.clone(), version.clone())));
        }
        stream::iter(missing)
            .for_each_concurrent(CONCURRENT_LOADS, |(module, version)| async move {
                self.load_into_slots(&module, &version).await;
            })
            .await;
    }

    /// Loads a version into the slots that name it.
    async fn load_into_slots(&self, module: &ModuleName, version: &Version) {
        let counters = self.0.store.route(module).counters_for(version);
        let loader = &self.0.loader;
        let (stall, source) = (DEFAULT_STALL, Source::Memory);
        match loader.load(module, version, counters, stall, source).await {
            Ok(new) => {
                let _guard = self.0.locks.lock(module).await;
                let route = self.0.store.route(module);
                // An order may have replaced or loaded it meanwhile.
                if route.missing().any(|(_, missing)| missing == version) {
                    let record = (*route.record).clone();
                    let next = route.with_slots(record, Some(&new.loaded));
                    self.0.store.publish(module, next);
                }
                self.0.faults.clear(module.as_str(), version);
            }
            Err(error) => {
                let reason = match &error {
                    Error::Version { source, .. } => error_chain(source),
                    error => error_chain(error),
                };
                if self.0.faults.set(module.as_str(), version, reason) {
                    let error = error_chain(&error);
                    tracing::warn!(%module, error, "a version in a slot is left out, retrying");
                }
            }
        }
    }
}
