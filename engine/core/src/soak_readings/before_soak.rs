use std::collections::{BTreeMap, HashMap, HashSet};

use crate::{
    Digest, Histogram, Lifetime, ModuleVersion, NodeId, NodeReading, VersionInterval,
    VersionReading,
};

/// What the previous version did before the soak, on the nodes of each side. Shows by how much the
/// nodes differ by themselves.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct BeforeSoak {
    /// Latencies on each of the nodes that run the new version now.
    pub canary: BTreeMap<NodeId, Histogram>,
    /// Latencies on the nodes that it is compared with.
    pub baseline: Histogram,
    /// What each node used. Without latencies.
    pub usage: HashMap<NodeId, VersionInterval>,
    /// How long the previous version has been active on all of them together, and how often their
    /// processes crashed meanwhile.
    pub lifetime: Lifetime,
}

impl BeforeSoak {
    /// What the readings at the beginning of a soak of `module` hold of the previous version.
    ///
    /// Only one version counts on both sides: the one that the nodes of the baseline have answered
    /// most requests with. Nodes that are on both sides do not differ, so they add nothing. The
    /// lifetime is that of all nodes.
    pub fn new<'a>(
        canary: &[NodeId],
        baseline: &[NodeId],
        module: &ModuleVersion,
        start: &'a [NodeReading],
    ) -> Self {
        let (canary, baseline): (HashSet<_>, HashSet<_>) =
            (canary.iter().collect(), baseline.iter().collect());
        let of_side = |side: &HashSet<&NodeId>, other: &HashSet<&NodeId>| -> Vec<&'a NodeReading> {
            let on = |reading: &&NodeReading| {
                side.contains(&reading.node) && !other.contains(&reading.node)
            };
            start.iter().filter(on).collect()
        };
        let (new, old) = (of_side(&canary, &baseline), of_side(&baseline, &canary));
        let lifetime = lifetime(module, start);
        let Some(previous) = busiest(&old, module) else {
            return Self {
                lifetime,
                ..Self::default()
            };
        };
        let latencies = move |reading: &'a NodeReading| {
            let versions = reading.versions.iter();
            let of_version = versions.filter(move |held| is_same_version(held, previous));
            of_version.map(|held| &held.latency)
        };
        let used = |reading: &&NodeReading| {
            let mut versions = reading.versions.iter();
            let held = versions.find(|held| is_same_version(held, previous))?;
            Some((reading.node.clone(), usage(held)))
        };
        Self {
            canary: new
                .iter()
                .map(|reading| (reading.node.clone(), Histogram::sum(latencies(reading))))
                .collect(),
            baseline: Histogram::sum(old.iter().flat_map(|reading| latencies(reading))),
            usage: new.iter().chain(&old).filter_map(used).collect(),
            lifetime,
        }
    }
}

/// The lifetimes of the versions in slots other than `module`, added up.
fn lifetime(module: &ModuleVersion, start: &[NodeReading]) -> Lifetime {
    let versions = start.iter().flat_map(|reading| &reading.versions);
    let previous = versions.filter(|held| held.slot.is_some() && !held.is_of(module));
    let mut sum = Lifetime::default();
    for lifetime in previous.filter_map(|held| held.lifetime) {
        sum.add(lifetime);
    }
    sum
}

/// Version and digest of what runs on these nodes beside `module`, by the readings at the beginning
/// of a soak: of the versions in slots, the one that has answered most requests.
pub fn previous_version(
    nodes: &[NodeId],
    module: &ModuleVersion,
    start: &[NodeReading],
) -> Option<(String, Digest)> {
    let nodes: HashSet<_> = nodes.iter().collect();
    let on_nodes = start.iter().filter(|reading| nodes.contains(&reading.node));
    let versions = on_nodes.flat_map(|reading| &reading.versions);
    let others = versions.filter(|held| held.slot.is_some() && !held.is_of(module));
    let previous = others.max_by_key(|held| held.requests)?;
    Some((previous.version.clone()?, previous.digest))
}

/// What a version has used since its counters began.
fn usage(held: &VersionReading) -> VersionInterval {
    let loaded = (held.memory > 0).then_some(held.memory);
    VersionInterval {
        requests: held.requests,
        cpu_micros: held.cpu_micros,
        memory: held.memory_sum.checked_div(held.instances).or(loaded),
        ..VersionInterval::default()
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
