use crate::{Histogram, ModuleVersion, NodeId, NodeReading, VersionReading};

/// The latencies of the previous version before the soak, on the nodes of each side. Shows by how
/// much the nodes differ by themselves.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LatencyBefore {
    /// On the nodes that run the new version now.
    pub canary: Histogram,
    /// On the nodes that it is compared with.
    pub baseline: Histogram,
}

impl LatencyBefore {
    /// What the readings at the beginning of a soak of `module` hold of the previous version.
    ///
    /// Only one version counts on both sides: the one that the nodes of the baseline have answered
    /// most requests with. Empty on nodes that are on both sides, which do not differ.
    pub fn new(
        canary: &[NodeId],
        baseline: &[NodeId],
        module: &ModuleVersion,
        start: &[NodeReading],
    ) -> Self {
        let of_side = |side: &[NodeId], other: &[NodeId]| -> Vec<&NodeReading> {
            let on = |reading: &&NodeReading| {
                side.contains(&reading.node) && !other.contains(&reading.node)
            };
            start.iter().filter(on).collect()
        };
        let (new, old) = (of_side(canary, baseline), of_side(baseline, canary));
        let Some(previous) = busiest(&old, module) else {
            return Self::default();
        };
        let sum = |readings: &[&NodeReading]| {
            let versions = readings.iter().flat_map(|reading| &reading.versions);
            let mut sum = Histogram::default();
            for held in versions.filter(|held| is_same_version(held, previous)) {
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

/// The version other than `module` with most requests, as one of the nodes reports it.
fn busiest<'a>(readings: &[&'a NodeReading], module: &ModuleVersion) -> Option<&'a VersionReading> {
    let versions = readings.iter().flat_map(|reading| &reading.versions);
    let others: Vec<_> = versions.filter(|held| !held.is_of(module)).collect();
    let requests = |version: &VersionReading| {
        let same = others.iter().filter(|held| is_same_version(held, version));
        same.fold(0_u64, |sum, held| sum.saturating_add(held.requests))
    };
    // Few nodes have run more than two versions since they started.
    let mut distinct: Vec<&VersionReading> = Vec::new();
    for &held in &others {
        if !distinct.iter().any(|known| is_same_version(known, held)) {
            distinct.push(held);
        }
    }
    distinct
        .into_iter()
        .max_by_key(|held| (requests(held), held.digest, held.version.clone()))
}

fn is_same_version(one: &VersionReading, other: &VersionReading) -> bool {
    one.digest == other.digest && one.version == other.version
}
