use crate::{Digest, Histogram, NodeReading};

use super::cohort::Cohorts;

/// A node of the soak, with its last reading.
#[derive(Debug, Default)]
pub(super) struct ObservedNode {
    pub(super) membership: Membership,
    last: Option<NodeReading>,
}

/// The cohorts that a node belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Membership {
    pub(super) canary: bool,
    pub(super) baseline: bool,
}

impl Membership {
    pub(super) const CANARY: Self = Self {
        canary: true,
        baseline: false,
    };
    pub(super) const BASELINE: Self = Self {
        canary: false,
        baseline: true,
    };

    /// Whether the new version, or an old one, counts on such a node.
    fn counts_version(self, is_new: bool) -> bool {
        if is_new { self.canary } else { self.baseline }
    }
}

impl ObservedNode {
    /// Sets the reading that later ones are compared with.
    pub(super) fn set_start(&mut self, reading: NodeReading, version: &Digest, cohorts: &Cohorts) {
        self.last = Some(self.keep_needed(reading, version, cohorts));
    }

    /// Adds to the cohorts what the node did since its last reading.
    pub(super) fn observe(
        &mut self,
        reading: NodeReading,
        version: &Digest,
        cohorts: &mut Cohorts,
    ) {
        let reading = self.keep_needed(reading, version, cohorts);
        let Some(last) = &self.last else {
            self.last = Some(reading);
            return;
        };
        if !is_newer(&reading, last) {
            return;
        }
        let same_boot = reading.boot == last.boot;
        for now in &reading.versions {
            let earlier = last
                .versions
                .iter()
                .find(|earlier| earlier.digest == now.digest);
            let cohort = cohorts.of_version(now.digest == *version);
            cohort.add(now, earlier.filter(|_| same_boot));
        }
        if cohorts.needs_cpu && same_boot {
            self.sample_cpu(&reading, last, cohorts);
        }
        if cohorts.needs_memory {
            sample_memory(&reading, version, cohorts);
        }
        self.last = Some(reading);
    }

    /// CPU use is that of the whole process, so it counts only for a node of one cohort.
    fn sample_cpu(&self, now: &NodeReading, last: &NodeReading, cohorts: &mut Cohorts) {
        let elapsed = now.at.since(last.at).as_millis() as f64;
        if elapsed > 0.0 && self.membership.canary != self.membership.baseline {
            let used = now.cpu_millis.saturating_sub(last.cpu_millis) as f64;
            let cohort = cohorts.of_version(self.membership.canary);
            cohort.cpu.add(used / elapsed);
        }
    }

    /// Drops from a reading what no check compares. Ten thousand concurrent soaks hold one
    /// reading for each of their nodes, so size matters.
    fn keep_needed(
        &self,
        mut reading: NodeReading,
        version: &Digest,
        cohorts: &Cohorts,
    ) -> NodeReading {
        let membership = self.membership;
        reading
            .versions
            .retain(|held| membership.counts_version(held.digest == *version));
        if !cohorts.needs_latency {
            for held in &mut reading.versions {
                held.latency = Histogram::default();
            }
        }
        reading.versions.shrink_to_fit();
        reading
    }
}

/// Readings of one node can arrive out of order, and the engine's clock can be set back.
/// Within one boot the CPU counter shows the order too.
fn is_newer(reading: &NodeReading, last: &NodeReading) -> bool {
    if reading.boot == last.boot {
        reading.at > last.at || reading.cpu_millis > last.cpu_millis
    } else {
        reading.at >= last.at
    }
}

/// A version without memory is not loaded. Of several old versions the largest one is at
/// work; the others only wait to be dropped.
fn sample_memory(reading: &NodeReading, version: &Digest, cohorts: &mut Cohorts) {
    for is_new in [true, false] {
        let loaded = reading
            .versions
            .iter()
            .filter(|held| (held.digest == *version) == is_new && held.memory > 0);
        if let Some(largest) = loaded.map(|held| held.memory).max() {
            cohorts.of_version(is_new).memory.add(largest as f64);
        }
    }
}
