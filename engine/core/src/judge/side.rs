use crate::{Check, Digest, Histogram, NodeReading, VersionReading};

use super::gauge::Gauge;
use super::limits::Metric;

/// What one side of the comparison has done since the soak began.
#[derive(Debug, Default)]
pub(super) struct Side {
    pub(super) requests: u64,
    pub(super) errors: u64,
    pub(super) latency: Histogram,
    pub(super) cpu: Gauge,
    pub(super) memory: Gauge,
}

/// Both sides, and which of the metrics anyone asked for: the others are not kept.
#[derive(Debug)]
pub(super) struct Sides {
    pub(super) canary: Side,
    pub(super) baseline: Side,
    latency: bool,
    cpu: bool,
    memory: bool,
}

/// For which sides a node is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Role {
    pub(super) canary: bool,
    pub(super) baseline: bool,
}

/// A node of the soak, with the last reading of it.
#[derive(Debug, Default)]
pub(super) struct Observed {
    pub(super) role: Role,
    last: Option<NodeReading>,
}

impl Role {
    pub(super) const CANARY: Self = Self {
        canary: true,
        baseline: false,
    };
    pub(super) const BASELINE: Self = Self {
        canary: false,
        baseline: true,
    };

    fn watches(self, is_new: bool) -> bool {
        if is_new { self.canary } else { self.baseline }
    }
}

impl Sides {
    pub(super) fn new(checks: &[Check]) -> Self {
        let asked = |matches: fn(Metric) -> bool| {
            let mut metrics = checks
                .iter()
                .filter_map(|check| Metric::named(&check.metric).ok());
            metrics.any(matches)
        };
        Self {
            canary: Side::default(),
            baseline: Side::default(),
            latency: asked(|metric| matches!(metric, Metric::Latency { .. })),
            cpu: asked(|metric| metric == Metric::Cpu),
            memory: asked(|metric| metric == Metric::Memory),
        }
    }

    fn side(&mut self, is_new: bool) -> &mut Side {
        if is_new {
            &mut self.canary
        } else {
            &mut self.baseline
        }
    }
}

impl Side {
    /// Adds what a version did since `earlier`, all of it where there is none.
    fn add(&mut self, now: &VersionReading, earlier: Option<&VersionReading>) {
        let (requests, errors) = earlier.map_or((0, 0), |was| (was.requests, was.errors));
        let rise = |now: u64, was: u64| now.saturating_sub(was);
        self.requests = self.requests.saturating_add(rise(now.requests, requests));
        self.errors = self.errors.saturating_add(rise(now.errors, errors));
        match earlier {
            Some(was) => self.latency.add(&now.latency.since(&was.latency)),
            None => self.latency.add(&now.latency),
        }
    }
}

impl Observed {
    /// Takes the reading from which everything else is counted.
    pub(super) fn begin(&mut self, reading: NodeReading, version: &Digest, sides: &Sides) {
        self.last = Some(self.stripped(reading, version, sides));
    }

    /// Adds to the sides what the node did since the last reading.
    pub(super) fn take(&mut self, reading: NodeReading, version: &Digest, sides: &mut Sides) {
        let reading = self.stripped(reading, version, sides);
        let Some(last) = &self.last else {
            self.last = Some(reading);
            return;
        };
        if !is_news(&reading, last) {
            return;
        }
        let same_boot = reading.boot == last.boot;
        for now in &reading.versions {
            let earlier = last.versions.iter().find(|was| was.digest == now.digest);
            let side = sides.side(now.digest == *version);
            side.add(now, earlier.filter(|_| same_boot));
        }
        if sides.cpu && same_boot {
            self.sample_cpu(&reading, last, sides);
        }
        if sides.memory {
            sample_memory(&reading, version, sides);
        }
        self.last = Some(reading);
    }

    /// The process is one: only on a node of one side does its CPU use speak of that side.
    fn sample_cpu(&self, now: &NodeReading, last: &NodeReading, sides: &mut Sides) {
        let span = now.at.since(last.at).as_millis() as f64;
        if span > 0.0 && self.role.canary != self.role.baseline {
            let used = now.cpu_millis.saturating_sub(last.cpu_millis) as f64;
            sides.side(self.role.canary).cpu.add(used / span);
        }
    }

    /// The reading with only what is going to be compared: ten thousand soaks at once
    /// hold one of these for each of their nodes.
    fn stripped(&self, mut reading: NodeReading, version: &Digest, sides: &Sides) -> NodeReading {
        let role = self.role;
        reading
            .versions
            .retain(|held| role.watches(held.digest == *version));
        if !sides.latency {
            for held in &mut reading.versions {
                held.latency = Histogram::default();
            }
        }
        reading.versions.shrink_to_fit();
        reading
    }
}

/// Readings of one node may overtake each other, and the clock may be set: within one
/// boot the CPU counter tells the order as well.
fn is_news(reading: &NodeReading, last: &NodeReading) -> bool {
    if reading.boot == last.boot {
        reading.at > last.at || reading.cpu_millis > last.cpu_millis
    } else {
        reading.at >= last.at
    }
}

/// Versions without memory are not loaded. Of several old ones the largest is the one
/// at work; the others only wait to be dropped.
fn sample_memory(reading: &NodeReading, version: &Digest, sides: &mut Sides) {
    for is_new in [true, false] {
        let of_side = reading
            .versions
            .iter()
            .filter(|held| (held.digest == *version) == is_new && held.memory > 0);
        if let Some(largest) = of_side.map(|held| held.memory).max() {
            sides.side(is_new).memory.add(largest as f64);
        }
    }
}
