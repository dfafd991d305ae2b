//! Makes intervals of the readings of a soak.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::{
    Histogram, MetricNeeds, ModuleMetric, ModuleName, ModuleVersion, NodeId, NodeInterval,
    NodeReading, VersionInterval, VersionReading,
};

mod before_soak;
mod consistency;
#[cfg(test)]
mod tests;

pub use before_soak::{BeforeSoak, previous_version};

/// The last reading of each node of a soak.
///
/// Counters are keyed by node, start of the node, version and generation of the counters. The
/// digest alone is not enough: several versions can have the same one. A reading that counts more
/// requests than the node received is discarded.
#[derive(Debug)]
pub struct SoakReadings {
    module: ModuleVersion,
    /// Sorted by id. Ten thousand soaks of few nodes each may be under way.
    nodes: Box<[ObservedNode]>,
    needs: MetricNeeds,
    client_faults: ClientFaults,
    synthetic: SyntheticRequests,
}

/// The result of readings.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Observation {
    /// What the nodes did since their last readings.
    pub intervals: Vec<NodeInterval>,
    /// The readings that make no sense. They were thrown away: their nodes count from their next
    /// readings.
    pub inconsistent: Vec<InconsistentReading>,
}

/// A reading that contradicts itself, or an earlier one of the same start of the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InconsistentReading {
    /// The node.
    pub node: NodeId,
    /// What does not fit, in one sentence.
    pub reason: String,
}

/// Requests of a soak that failed because of their clients. They are shown, not judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClientFaults {
    /// To the new version.
    pub canary: u64,
    /// To the previous version.
    pub baseline: u64,
}

/// Requests of a soak that the nodes themselves have sent. They count as all others, and are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SyntheticRequests {
    /// To the new version.
    pub canary: u64,
    /// To the previous version.
    pub baseline: u64,
}

/// A node of the soak, with its last reading.
#[derive(Debug)]
struct ObservedNode {
    id: NodeId,
    is_canary: bool,
    is_baseline: bool,
    last: Option<NodeReading>,
}

impl SoakReadings {
    /// The readings of a soak of `module`, which began with `start`.
    ///
    /// On the nodes `canary` only `module` counts, on the nodes `baseline` every other version of
    /// it. A node without a reading in `start` counts from its first reading.
    pub fn new(
        canary: Vec<NodeId>,
        baseline: Vec<NodeId>,
        module: ModuleVersion,
        needs: MetricNeeds,
        start: Vec<NodeReading>,
    ) -> Self {
        let mut sides: BTreeMap<NodeId, (bool, bool)> = BTreeMap::new();
        for id in canary {
            sides.entry(id).or_default().0 = true;
        }
        for id in baseline {
            sides.entry(id).or_default().1 = true;
        }
        let nodes = sides
            .into_iter()
            .map(|(id, (is_canary, is_baseline))| ObservedNode {
                id,
                is_canary,
                is_baseline,
                last: None,
            })
            .collect();
        let mut readings = Self {
            module,
            nodes,
            needs,
            client_faults: ClientFaults::default(),
            synthetic: SyntheticRequests::default(),
        };
        readings.observe(start);
        readings
    }

    /// The module that soaks.
    pub fn module(&self) -> &ModuleName {
        &self.module.name
    }

    /// What the nodes did since their last readings.
    ///
    /// Ignores nodes outside the soak, and readings that are not newer than the last one of their
    /// node. Where a node restarted, everything since the restart counts.
    ///
    /// # Guarantees
    /// The requests of all intervals of a node are at most those that it received in them, where
    /// the node tells how many it received. Those that were lost with a process that crashed are
    /// among them, and a request that was counted is never also counted as lost. Answers between
    /// the last reading and a crash are unknown, and count for neither side.
    pub fn observe(&mut self, readings: Vec<NodeReading>) -> Observation {
        let mut observation = Observation::default();
        for reading in readings {
            let node = reading.node.clone();
            match self.observe_one(reading) {
                Ok(interval) => observation.intervals.extend(interval),
                Err(reason) => observation
                    .inconsistent
                    .push(InconsistentReading { node, reason }),
            }
        }
        observation
    }

    /// Compares with a node of the baseline no more. One that is on the canary's side stays.
    pub fn leave_out(&mut self, id: &NodeId) {
        let nodes = std::mem::take(&mut self.nodes).into_iter();
        let nodes = nodes.filter(|node| node.is_canary || node.id != *id);
        self.nodes = nodes.collect();
    }

    /// The nodes of the soak, each once, sorted.
    pub fn nodes(&self) -> impl ExactSizeIterator<Item = &NodeId> {
        self.nodes.iter().map(|node| &node.id)
    }

    /// The nodes that run the new version, sorted.
    pub fn canary(&self) -> impl Iterator<Item = &NodeId> + Clone {
        let canary = self.nodes.iter().filter(|node| node.is_canary);
        canary.map(|node| &node.id)
    }

    /// The requests that failed because of their clients, until now.
    pub fn client_faults(&self) -> ClientFaults {
        self.client_faults
    }

    /// The requests that the nodes themselves have sent, until now.
    pub fn synthetic(&self) -> SyntheticRequests {
        self.synthetic
    }

    fn observe_one(&mut self, mut reading: NodeReading) -> Result<Option<NodeInterval>, String> {
        let found = self
            .nodes
            .binary_search_by(|node| node.id.cmp(&reading.node));
        let Some(node) = found.ok().and_then(|index| self.nodes.get_mut(index)) else {
            return Ok(None);
        };
        if let Some(last) = &node.last
            && !is_newer(&reading, last)
        {
            return Ok(None);
        }
        let checked = consistency::check(&reading, node.last.as_ref());
        // Ten thousand concurrent soaks hold one reading for each of their nodes, so latencies that
        // nothing compares are not kept. All versions are, even those of no side: what they
        // count was received, too.
        for held in &mut reading.versions {
            if !self.needs.latency {
                held.latency = Histogram::default();
            }
            if !self.needs.module_metrics {
                held.module_metrics = Vec::new();
            }
        }
        reading.versions.shrink_to_fit();
        let last = node.last.replace(reading);
        // Whatever is wrong with it, the next one is compared with it: else one error would void
        // the rest of the soak.
        checked?;
        let (Some(last), Some(reading)) = (last, &node.last) else {
            return Ok(None);
        };
        let module = &self.module;
        let side = |is_new: bool| side(reading, &last, module, is_new);
        let canary = node.is_canary.then(|| side(true));
        let baseline = node.is_baseline.then(|| side(false));
        let faults = |side: &Option<Side>| side.as_ref().map_or(0, |side| side.client_faults);
        let sums = &mut self.client_faults;
        sums.canary = sums.canary.saturating_add(faults(&canary));
        sums.baseline = sums.baseline.saturating_add(faults(&baseline));
        let sent = |side: &Option<Side>| side.as_ref().map_or(0, |side| side.synthetic);
        let sums = &mut self.synthetic;
        sums.canary = sums.canary.saturating_add(sent(&canary));
        sums.baseline = sums.baseline.saturating_add(sent(&baseline));
        let (mut canary, mut baseline) = (
            canary.map(|side| side.interval),
            baseline.map(|side| side.interval),
        );
        // One process runs both versions of a node that is on both sides: the new one is suspect.
        if let Some(suspect) = canary.as_mut().or(baseline.as_mut()) {
            suspect.restarts = crashes(reading, &last);
            if suspect.restarts > 0 {
                suspect.lost = in_flight(&last, module, node.is_canary);
            }
        }
        let elapsed = reading.at.millis().saturating_sub(last.at.millis());
        Ok(Some(NodeInterval {
            node: reading.node.clone(),
            elapsed: Duration::from_millis(elapsed),
            canary,
            baseline,
        }))
    }
}

struct Side {
    interval: VersionInterval,
    client_faults: u64,
    synthetic: u64,
}

/// What the new version, or all others, did since `last`.
fn side(now: &NodeReading, last: &NodeReading, module: &ModuleVersion, is_new: bool) -> Side {
    let mut side = Side {
        interval: VersionInterval::default(),
        client_faults: 0,
        synthetic: 0,
    };
    let (mut memory, mut instances, mut loaded) = (0_u64, 0_u64, None);
    for held in now
        .versions
        .iter()
        .filter(|held| held.is_of(module) == is_new)
    {
        let earlier = earlier(held, now, last);
        let rise = |value: fn(&VersionReading) -> u64| {
            value(held).saturating_sub(earlier.map_or(0, value))
        };
        let sum = &mut side.interval;
        sum.requests = sum.requests.saturating_add(rise(|held| held.requests));
        sum.errors = sum.errors.saturating_add(rise(|held| held.errors));
        sum.cpu_micros = sum.cpu_micros.saturating_add(rise(|held| held.cpu_micros));
        sum.refused = sum.refused.saturating_add(rise(|held| held.refused));
        sum.queued = sum.queued.saturating_add(rise(|held| held.queued));
        for metric in &held.module_metrics {
            let earlier = earlier.and_then(|earlier| {
                let mut metrics = earlier.module_metrics.iter();
                metrics.find(|earlier| earlier.name == metric.name)
            });
            ModuleMetric::add_to(&mut sum.module_metrics, metric.since(earlier));
        }
        match earlier {
            Some(earlier) => sum.latency.add(&held.latency.since(&earlier.latency)),
            None => sum.latency.add(&held.latency),
        }
        side.client_faults = side
            .client_faults
            .saturating_add(rise(|held| held.client_faults));
        side.synthetic = side.synthetic.saturating_add(rise(|held| held.synthetic));
        memory = memory.saturating_add(rise(|held| held.memory_sum));
        instances = instances.saturating_add(rise(|held| held.instances));
        // A node of an older version tells only its moving average. A version without memory is
        // not loaded. Of several old versions the largest one is at work; the others only wait to
        // be dropped.
        if held.instances == 0 && held.memory > 0 {
            loaded = loaded.max(Some(held.memory));
        }
    }
    side.interval.memory = memory.checked_div(instances).or(loaded);
    side
}

/// The earlier state of `held`, whose counters began at zero where there is none.
fn earlier<'a>(
    held: &VersionReading,
    now: &NodeReading,
    last: &'a NodeReading,
) -> Option<&'a VersionReading> {
    let is_same_start = now.boot == last.boot;
    let mut versions = last.versions.iter();
    versions.find(|earlier| is_same_start && held.continues(earlier))
}

/// How often the node's process has ended without a shutdown since `last`.
fn crashes(now: &NodeReading, last: &NodeReading) -> u64 {
    if now.boot == last.boot {
        return 0;
    }
    match (now.starts, last.starts) {
        (Some(now), Some(last)) if now.starts > last.starts => {
            now.crashes.saturating_sub(last.crashes)
        }
        // It does not tell, or has lost its data folder.
        _ => 1,
    }
}

/// The requests that a node was working on.
fn in_flight(reading: &NodeReading, module: &ModuleVersion, is_new: bool) -> u64 {
    let versions = reading.versions.iter();
    let of_side = versions.filter(|held| held.is_of(module) == is_new);
    of_side.fold(0, |sum, held| sum.saturating_add(held.in_flight))
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
