use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use hotswap_protocol::{Slot, Version};

use super::counters::{ModuleTraffic, VersionCounters};
use super::loaded_version::LoadedVersion;
use crate::disk::ModuleRecord;

/// Versions of a module whose counters are reported: those in slots and the latest before
/// them.
const MAX_COUNTED_VERSIONS: usize = 16;

/// One module of a node: its record, the loaded versions and their counters.
#[derive(Debug, Clone, Default)]
pub(crate) struct Route {
    /// The record as it is on disk.
    pub(crate) record: Arc<ModuleRecord>,
    /// The loaded version of the slot `active`. In this and the other slots `None` means
    /// that the slot is empty, or that its version is not loaded (yet).
    pub(crate) active: Option<Arc<LoadedVersion>>,
    /// The loaded version of the slot `staged`.
    pub(crate) staged: Option<Arc<LoadedVersion>>,
    /// The loaded version of the slot `previous`.
    pub(crate) previous: Option<Arc<LoadedVersion>>,
    /// Counters of the versions that were loaded since the node started, the latest last.
    pub(crate) counters: Vec<Arc<VersionCounters>>,
    /// The requests of the module since the node started. Copies of a route share it.
    pub(crate) traffic: Arc<ModuleTraffic>,
    /// Number of the next request while a version is staged. Copies of a route share it.
    next_request: Arc<AtomicU64>,
}

impl Route {
    /// Returns the route with another record, whose slots are the same.
    pub(crate) fn with_record(&self, record: ModuleRecord) -> Self {
        Self {
            record: Arc::new(record),
            ..self.clone()
        }
    }

    /// Returns the route with another record. Each slot gets the version that the record
    /// names, if this route has it loaded or `new` is it. The others are not loaded.
    pub(crate) fn with_slots(
        &self,
        record: ModuleRecord,
        new: Option<&Arc<LoadedVersion>>,
    ) -> Self {
        let find = |version: &Option<Version>| {
            let version = version.as_ref()?;
            let is_new = new.filter(|new| new.version() == version);
            is_new.or_else(|| self.find_loaded(version)).cloned()
        };
        let mut next = Self {
            active: find(&record.slots.active),
            staged: find(&record.slots.staged),
            previous: find(&record.slots.previous),
            record: Arc::new(record),
            ..self.clone()
        };
        if let Some(new) = new {
            next.add_counters(new.counters().clone());
        }
        next
    }

    /// Chooses the version for the next request. Of any hundred consecutive requests,
    /// `staged` gets exactly its percentage, spread evenly. `None` if no version is active.
    pub(crate) fn choose_version(&self) -> Option<&Arc<LoadedVersion>> {
        let percent = self.record.slots.percent;
        if percent > 0
            && let Some(staged) = &self.staged
            && goes_to_staged(self.next_request.fetch_add(1, Relaxed), percent)
        {
            return Some(staged);
        }
        self.active.as_ref()
    }

    /// The versions in slots that are not loaded, each with its slot: first the active one.
    pub(crate) fn missing(&self) -> impl Iterator<Item = (Slot, &Version)> {
        let slots = &self.record.slots;
        let all = [
            (Slot::Active, &slots.active, self.active.is_none()),
            (Slot::Staged, &slots.staged, self.staged.is_none()),
            (Slot::Previous, &slots.previous, self.previous.is_none()),
        ];
        all.into_iter().filter_map(|(slot, version, is_missing)| {
            let version = version.as_ref().filter(|_| is_missing)?;
            Some((slot, version))
        })
    }

    /// The loaded version of that name and digest, if a slot holds it.
    pub(crate) fn find_loaded(&self, version: &Version) -> Option<&Arc<LoadedVersion>> {
        [&self.active, &self.staged, &self.previous]
            .into_iter()
            .flatten()
            .find(|loaded| loaded.version() == version)
    }

    /// The counters of a version. They continue if it was loaded before.
    pub(crate) fn counters_for(&self, version: &Version) -> Arc<VersionCounters> {
        let known = self
            .counters
            .iter()
            .find(|counters| counters.version() == version);
        known
            .cloned()
            .unwrap_or_else(|| VersionCounters::new(version.clone(), self.traffic.clone()))
    }

    /// Adds counters as the latest. Drops the oldest above [`MAX_COUNTED_VERSIONS`].
    fn add_counters(&mut self, counters: Arc<VersionCounters>) {
        self.counters
            .retain(|known| known.version() != counters.version());
        self.counters.push(counters);
        let excess = self.counters.len().saturating_sub(MAX_COUNTED_VERSIONS);
        self.counters.drain(..excess);
    }
}

/// Multiplying by 37 visits each remainder of a hundred once, in steps near the golden
/// ratio.
fn goes_to_staged(request: u64, percent: u8) -> bool {
    request.wrapping_mul(37) % 100 < u64::from(percent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn staged_gets_its_percentage_of_every_window() {
        for percent in 0..=100 {
            for window in [10, 25, 50, 100] {
                for start in 0..200_u64 {
                    let hits = (start..start + window)
                        .filter(|&request| goes_to_staged(request, percent))
                        .count();
                    let exact = f64::from(percent) * window as f64 / 100.0;
                    let deviation = (hits as f64 - exact).abs();
                    let tolerance = if window == 100 { 0.0 } else { 2.0 };
                    assert!(
                        deviation <= tolerance,
                        "{percent} % of {window} from {start}: {hits}"
                    );
                }
            }
        }
    }
}
