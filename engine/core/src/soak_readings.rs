//! Makes intervals of the readings of a soak.

use std::collections::HashMap;
use std::time::Duration;

use crate::{
    Digest, Histogram, NodeId, NodeInterval, NodeReading, VersionInterval, VersionReading,
};

/// The last reading of each node of a soak.
#[derive(Debug)]
pub struct SoakReadings {
    version: Digest,
    nodes: HashMap<NodeId, ObservedNode>,
    needs_latency: bool,
}

/// A node of the soak, with its last reading.
#[derive(Debug, Default)]
struct ObservedNode {
    is_canary: bool,
    is_baseline: bool,
    last: Option<NodeReading>,
}

/// The latencies of the previous version before the soak, on the nodes of each side. Shows by how
/// much the nodes differ by themselves.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LatencyBefore {
    /// On the nodes that run the new version now.
    pub canary: Histogram,
    /// On the nodes that it is compared with.
    pub baseline: Histogram,
}

impl SoakReadings {
    /// The readings of a soak of `version`, which began with `start`.
    ///
    /// On the nodes `canary` only `version` counts, on the nodes `baseline` every other version of
    /// the module. A node without a reading in `start` counts from its first reading.
    pub fn new(
        canary: Vec<NodeId>,
        baseline: Vec<NodeId>,
        version: Digest,
        needs_latency: bool,
        start: Vec<NodeReading>,
    ) -> Self {
        let mut nodes: HashMap<NodeId, ObservedNode> = HashMap::new();
        for id in canary {
            nodes.entry(id).or_default().is_canary = true;
        }
        for id in baseline {
            nodes.entry(id).or_default().is_baseline = true;
        }
        let mut readings = Self {
            version,
            nodes,
            needs_latency,
        };
        for reading in start {
            readings.observe_one(reading);
        }
        readings
    }

    /// What the nodes did since their last readings.
    ///
    /// Ignores nodes outside the soak, and readings that are not newer than the last one of their
    /// node. Where a node restarted, everything since the restart counts.
    pub fn observe(&mut self, readings: Vec<NodeReading>) -> Vec<NodeInterval> {
        readings
            .into_iter()
            .filter_map(|reading| self.observe_one(reading))
            .collect()
    }

    fn observe_one(&mut self, mut reading: NodeReading) -> Option<NodeInterval> {
        let node = self.nodes.get_mut(&reading.node)?;
        // Ten thousand concurrent soaks hold one reading for each of their nodes: only what is
        // compared is kept.
        let version = self.version;
        reading.versions.retain(|held| {
            if held.digest == version {
                node.is_canary
            } else {
                node.is_baseline
            }
        });
        if !self.needs_latency {
            for held in &mut reading.versions {
                held.latency = Histogram::default();
            }
        }
        reading.versions.shrink_to_fit();
        let Some(last) = node.last.take() else {
            node.last = Some(reading);
            return None;
        };
        if !is_newer(&reading, &last) {
            node.last = Some(last);
            return None;
        }
        let side = |is_new: bool| {
            let versions = reading.versions.iter();
            let of_side = versions.filter(|held| (held.digest == version) == is_new);
            of_side.fold(VersionInterval::default(), |mut sum, now| {
                let earlier = last.versions.iter();
                let earlier = earlier
                    .filter(|_| reading.boot == last.boot)
                    .find(|earlier| earlier.digest == now.digest);
                add(&mut sum, now, earlier);
                sum
            })
        };
        let interval = NodeInterval {
            node: reading.node.clone(),
            elapsed: Duration::from_millis(reading.at.millis().saturating_sub(last.at.millis())),
            canary: node.is_canary.then(|| side(true)),
            baseline: node.is_baseline.then(|| side(false)),
        };
        node.last = Some(reading);
        Some(interval)
    }
}

/// Adds what a version did since `earlier`, or everything that it did where that is `None`.
fn add(sum: &mut VersionInterval, now: &VersionReading, earlier: Option<&VersionReading>) {
    let rise =
        |value: fn(&VersionReading) -> u64| value(now).saturating_sub(earlier.map_or(0, value));
    sum.requests = sum.requests.saturating_add(rise(|held| held.requests));
    sum.errors = sum.errors.saturating_add(rise(|held| held.errors));
    sum.cpu_micros = sum.cpu_micros.saturating_add(rise(|held| held.cpu_micros));
    match earlier {
        Some(earlier) => sum.latency.add(&now.latency.since(&earlier.latency)),
        None => sum.latency.add(&now.latency),
    }
    // A version without memory is not loaded. Of several old versions the largest one is at work;
    // the others only wait to be dropped.
    let loaded = (now.memory > 0).then_some(now.memory);
    sum.memory = sum.memory.max(loaded);
}

/// Readings of one node can arrive out of order, and the engine's clock can be set back. Within
/// one boot the CPU counter shows the order too.
fn is_newer(reading: &NodeReading, last: &NodeReading) -> bool {
    if reading.boot == last.boot {
        reading.at > last.at || reading.cpu_millis > last.cpu_millis
    } else {
        reading.at >= last.at
    }
}

impl LatencyBefore {
    /// What the readings at the beginning of a soak of `version` hold of the previous version.
    ///
    /// Only one version counts on both sides: the one that the nodes of the baseline have answered
    /// most requests with. Empty on nodes that are on both sides, which do not differ.
    pub fn new(
        canary: &[NodeId],
        baseline: &[NodeId],
        version: Digest,
        start: &[NodeReading],
    ) -> Self {
        let mut requests: HashMap<Digest, u64> = HashMap::new();
        let of_side = |side: &[NodeId], other: &[NodeId]| -> Vec<&NodeReading> {
            let readings = start.iter();
            let on = |reading: &&NodeReading| {
                side.contains(&reading.node) && !other.contains(&reading.node)
            };
            readings.filter(on).collect()
        };
        let (new, old) = (of_side(canary, baseline), of_side(baseline, canary));
        for held in old.iter().flat_map(|reading| &reading.versions) {
            let sum = requests.entry(held.digest).or_default();
            *sum = sum.saturating_add(held.requests);
        }
        let others = requests
            .into_iter()
            .filter(|(digest, _)| *digest != version);
        let Some((previous, _)) = others.max_by_key(|&(digest, requests)| (requests, digest))
        else {
            return Self::default();
        };
        let sum = |readings: &[&NodeReading]| {
            let versions = readings.iter().flat_map(|reading| &reading.versions);
            let mut sum = Histogram::default();
            for held in versions.filter(|held| held.digest == previous) {
                sum.add(&held.latency);
            }
            sum
        };
        Self {
            canary: sum(&new),
            baseline: sum(&old),
        }
    }
}
