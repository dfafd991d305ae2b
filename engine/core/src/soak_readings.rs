//! Makes intervals of the readings of a soak.

use std::collections::{HashMap, HashSet};
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

/// What the previous version did before the soak, on the nodes of each side. Shows by how much the
/// nodes differ by themselves.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct BeforeSoak {
    /// Latencies on the nodes that run the new version now.
    pub canary: Histogram,
    /// Latencies on the nodes that it is compared with.
    pub baseline: Histogram,
    /// What each node used. Without latencies.
    pub usage: HashMap<NodeId, VersionInterval>,
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

impl BeforeSoak {
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
        let (canary, baseline): (HashSet<_>, HashSet<_>) =
            (canary.iter().collect(), baseline.iter().collect());
        let (mut new, mut old) = (Vec::new(), Vec::new());
        for reading in start {
            let sides = (
                canary.contains(&reading.node),
                baseline.contains(&reading.node),
            );
            match sides {
                (true, false) => new.push(reading),
                (false, true) => old.push(reading),
                _ => {}
            }
        }
        let mut requests: HashMap<Digest, u64> = HashMap::new();
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
            let of_version = versions.filter(|held| held.digest == previous);
            Histogram::sum(of_version.map(|held| &held.latency))
        };
        let mut usage: HashMap<NodeId, VersionInterval> = HashMap::new();
        for reading in new.iter().chain(&old) {
            let mut versions = reading.versions.iter();
            if let Some(held) = versions.find(|held| held.digest == previous) {
                let used = VersionInterval {
                    requests: held.requests,
                    cpu_micros: held.cpu_micros,
                    memory: (held.memory > 0).then_some(held.memory),
                    ..VersionInterval::default()
                };
                usage.insert(reading.node.clone(), used);
            }
        }
        Self {
            canary: sum(&new),
            baseline: sum(&old),
            usage,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Timestamp;

    fn new_version() -> Digest {
        Digest::of(b"v2")
    }

    fn old_version() -> Digest {
        Digest::of(b"v1")
    }

    fn node(name: &str) -> NodeId {
        name.parse().expect("a node id")
    }

    fn version(digest: Digest, requests: u64, errors: u64) -> VersionReading {
        VersionReading {
            digest,
            requests,
            errors,
            cpu_micros: 10 * requests,
            latency: Histogram::default(),
            memory: 0,
        }
    }

    /// A reading of a node, `at` milliseconds after the soak began.
    fn reading(id: &str, at: u64, versions: Vec<VersionReading>) -> NodeReading {
        NodeReading {
            node: node(id),
            boot: "first".to_owned(),
            at: Timestamp::from_millis(at),
            cpu_millis: 0,
            versions,
        }
    }

    /// Readings of the new version on the node `canary` and the old one on the node `baseline`.
    fn start(needs_latency: bool) -> SoakReadings {
        let start = vec![
            reading("canary", 0, vec![version(new_version(), 0, 0)]),
            reading("baseline", 0, vec![version(old_version(), 0, 0)]),
        ];
        let (canary, baseline) = (vec![node("canary")], vec![node("baseline")]);
        SoakReadings::new(canary, baseline, new_version(), needs_latency, start)
    }

    /// The requests of all intervals, of both sides.
    fn requests(intervals: &[NodeInterval]) -> (u64, u64) {
        let of = |side: fn(&NodeInterval) -> &Option<VersionInterval>| {
            let sides = intervals
                .iter()
                .filter_map(move |interval| side(interval).as_ref());
            sides.map(|version| version.requests).sum()
        };
        (
            of(|interval| &interval.canary),
            of(|interval| &interval.baseline),
        )
    }

    #[test]
    fn each_request_of_the_soak_counts_once() {
        let mut readings = start(false);
        let at = |at, requests| reading("canary", at, vec![version(new_version(), requests, 0)]);
        assert_eq!(requests(&readings.observe(vec![at(1000, 100)])), (100, 0));
        assert_eq!(readings.observe(vec![at(1000, 100)]), []);
        assert_eq!(requests(&readings.observe(vec![at(3000, 300)])), (200, 0));
        assert_eq!(readings.observe(vec![at(2000, 200)]), [], "an older one");
        let mut restarted = at(4000, 40);
        restarted.boot = "second".to_owned();
        let intervals = readings.observe(vec![restarted]);
        assert_eq!(requests(&intervals), (40, 0), "counters start over");
        assert_eq!(intervals[0].elapsed, Duration::from_secs(1));
        let other = reading("other", 1, vec![version(new_version(), 9, 9)]);
        assert_eq!(readings.observe(vec![other]), []);
        let both = vec![version(new_version(), 9, 9), version(old_version(), 80, 0)];
        let intervals = readings.observe(vec![reading("baseline", 1000, both)]);
        assert_eq!(requests(&intervals), (0, 80));
        assert_eq!(intervals[0].canary, None);
        let baseline = intervals[0].baseline.as_ref().map(|side| side.cpu_micros);
        assert_eq!(baseline, Some(800));
    }

    #[test]
    fn a_node_without_a_start_reading_counts_from_its_first_one() {
        let canary = vec![node("canary")];
        let mut readings = SoakReadings::new(canary, Vec::new(), new_version(), false, Vec::new());
        let at = |at, requests| reading("canary", at, vec![version(new_version(), requests, 0)]);
        assert_eq!(readings.observe(vec![at(1, 1000)]), []);
        assert_eq!(requests(&readings.observe(vec![at(2, 1010)])), (10, 0));
    }

    #[test]
    fn a_clock_set_back_loses_no_requests() {
        let mut readings = start(false);
        let mut counted = 0;
        for (at, cpu, answered) in [(9000, 10, 100), (500, 20, 150), (1500, 30, 200)] {
            let mut taken = reading("canary", at, vec![version(new_version(), answered, 0)]);
            taken.cpu_millis = cpu;
            counted += requests(&readings.observe(vec![taken])).0;
        }
        assert_eq!(counted, 200);
    }

    #[test]
    fn shared_nodes_separate_requests_by_version() {
        let nodes = vec![node("shared")];
        let first = vec![reading("shared", 0, vec![version(old_version(), 700, 7)])];
        let mut readings = SoakReadings::new(nodes.clone(), nodes, new_version(), false, first);
        let versions = vec![
            version(old_version(), 1700, 7),
            version(new_version(), 500, 100),
        ];
        let intervals = readings.observe(vec![reading("shared", 1000, versions)]);
        assert_eq!(requests(&intervals), (500, 1000));
    }

    #[test]
    fn latencies_that_no_check_needs_are_not_kept() {
        let slow = |count| VersionReading {
            latency: Histogram::from_counts([count, 0, count]),
            ..version(new_version(), 2 * count, 0)
        };
        for needs_latency in [true, false] {
            let mut readings = start(needs_latency);
            let intervals = readings.observe(vec![reading("canary", 1, vec![slow(3)])]);
            let latency = &intervals[0].canary.as_ref().unwrap().latency;
            assert_eq!(latency.total(), if needs_latency { 6 } else { 0 });
        }
    }

    #[test]
    fn what_was_before_the_soak_is_that_of_one_version_on_different_nodes() {
        let with = |digest, count| VersionReading {
            latency: Histogram::from_counts([count]),
            ..version(digest, count, 0)
        };
        let older = Digest::of(b"v0");
        let start = vec![
            reading(
                "a",
                0,
                vec![
                    with(old_version(), 5),
                    with(older, 900),
                    with(new_version(), 7),
                ],
            ),
            reading("b", 0, vec![with(old_version(), 50), with(older, 3)]),
            reading("both", 0, vec![with(old_version(), 1000)]),
        ];
        let (canary, baseline) = ([node("a"), node("both")], [node("b"), node("both")]);
        let before = BeforeSoak::new(&canary, &baseline, new_version(), &start);
        assert_eq!((before.canary.total(), before.baseline.total()), (5, 50));
        let mut used: Vec<_> = before.usage.values().map(|used| used.cpu_micros).collect();
        used.sort_unstable();
        assert_eq!(used, [50, 500]);
        let none = BeforeSoak::new(&canary, &[], new_version(), &start);
        assert_eq!(none, BeforeSoak::default());
    }
}
