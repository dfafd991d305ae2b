use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use hotswap_protocol::Version;

use super::counters::VersionCounters;
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
    /// Number of the next request while a version is staged. Copies of a route share it.
    next_request: Arc<AtomicU64>,
}

impl Route {
    /// Returns the route with another record. The loaded versions stay the same.
    pub(crate) fn with_record(&self, record: ModuleRecord) -> Self {
        Self {
            record: Arc::new(record),
            ..self.clone()
        }
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

    /// Whether the version of each non-empty slot is loaded.
    pub(crate) fn is_fully_loaded(&self) -> bool {
        let slots = &self.record.slots;
        slots.active.is_some() == self.active.is_some()
            && slots.staged.is_some() == self.staged.is_some()
            && slots.previous.is_some() == self.previous.is_some()
    }

    /// The loaded version of that name and digest, if a slot holds it.
    pub(crate) fn find_loaded(&self, version: &Version) -> Option<&Arc<LoadedVersion>> {
        [&self.active, &self.staged, &self.previous]
            .into_iter()
            .flatten()
            .find(|loaded| loaded.version() == version)
    }

    /// Returns the counters of a version, which continue if it was loaded before. Marks
    /// them as the latest, and drops the oldest above [`MAX_COUNTED_VERSIONS`].
    pub(crate) fn counters_for(&mut self, version: &Version) -> Arc<VersionCounters> {
        let known = self
            .counters
            .iter()
            .position(|counters| counters.version() == version);
        if let Some(index) = known {
            let counters = self.counters.remove(index);
            self.counters.push(counters.clone());
            return counters;
        }
        let counters = VersionCounters::new(version.clone());
        self.counters.push(counters.clone());
        let excess = self.counters.len().saturating_sub(MAX_COUNTED_VERSIONS);
        self.counters.drain(..excess);
        counters
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
