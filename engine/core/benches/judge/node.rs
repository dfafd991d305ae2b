//! A node of the simulated fleet.

use hotswap_core::{
    Digest, Histogram, Lifetime, ModuleVersion, NodeId, NodeReading, ReadSlot, Timestamp,
    VersionInterval, VersionReading,
};

use super::deployment::{READING, READINGS};
use super::random::Random;
use super::scenario::Scenario;

/// The 95th percentile of the old version in milliseconds.
const P95_MILLIS: f64 = 65.535;
/// What the old version uses: CPU for each request, and memory in bytes.
const CPU_MICROS: f64 = 5000.0;
const MEMORY: f64 = 5e7;
/// How long a node has more errors, on average.
const SPELL_READINGS: f64 = 5.0;

/// A node, with what makes it differ from the others.
pub struct SimulatedNode {
    pub id: NodeId,
    errors: f64,
    latency: f64,
    cpu: f64,
    memory: f64,
    /// The latencies of the old version on it before the deployment.
    pub before: Histogram,
    /// What the old version used on it before the deployment.
    pub used: VersionInterval,
    /// How long the old version has run on it before the deployment.
    pub lifetime: Lifetime,
    /// All that the old version did on it, from before the deployment on.
    recorded: VersionReading,
    common: f64,
    drift: [f64; 2],
    /// Whether it has ten times as many errors for a while.
    has_spell: bool,
}

/// What a node runs until the next reading.
#[derive(Debug, Clone, Copy)]
pub enum Runs {
    Old,
    New,
}

/// What one node did between two readings, for all rules.
pub struct Reading {
    pub interval: VersionInterval,
    pub latencies: Vec<f64>,
    pub cpu: f64,
    pub memory: f64,
}

/// The version that is deployed.
pub fn new_version() -> ModuleVersion {
    module("2.0.0")
}

fn module(version: &str) -> ModuleVersion {
    ModuleVersion {
        name: "bench".parse().expect("a name"),
        version: version.parse().expect("a version"),
        digest: Digest::of(version.as_bytes()),
    }
}

/// Counters of the old version that have counted nothing.
fn nothing_recorded() -> VersionReading {
    let module = module("1.0.0");
    VersionReading {
        digest: module.digest,
        version: Some(module.version.to_string()),
        generation: 1,
        slot: Some(ReadSlot::Previous),
        requests: 0,
        errors: 0,
        in_flight: 0,
        client_faults: 0,
        cpu_micros: 0,
        latency: Histogram::default(),
        memory: 0,
        memory_sum: 0,
        instances: 0,
        refused: 0,
        queued: 0,
        synthetic: 0,
        module_metrics: Vec::new(),
        lifetime: None,
    }
}

impl SimulatedNode {
    pub fn new(random: &mut Random, scenario: &Scenario, number: usize) -> Self {
        let [errors, latency, cpu, memory] = scenario
            .nodes
            .map(|spread| (spread * random.normal()).exp());
        let mut node = Self {
            id: format!("node-{number}").parse().expect("a node id"),
            errors,
            latency,
            cpu,
            memory,
            before: Histogram::default(),
            used: VersionInterval {
                requests: 800,
                cpu_micros: (800.0 * CPU_MICROS * cpu * (0.02 * random.normal()).exp()) as u64,
                memory: Some((MEMORY * memory * (0.05 * random.normal()).exp()) as u64),
                ..VersionInterval::default()
            },
            lifetime: Lifetime::default(),
            recorded: nothing_recorded(),
            common: random.normal(),
            drift: [random.normal(), random.normal()],
            has_spell: false,
        };
        let quiet = Scenario {
            since: [1.0; 2],
            last: [1.0; 2],
            ..scenario.clone()
        };
        for at in 0..READINGS {
            node.run(random, &quiet, Runs::Old, at);
        }
        node.before = node.recorded.latency.clone();
        let known = u64::from(scenario.known);
        node.lifetime = Lifetime {
            millis: known * READING.as_millis() as u64,
            crashes: random.binomial(known, scenario.fleet_crashes),
        };
        node
    }

    /// A reading at the beginning of the last soak.
    pub fn reading(&self) -> NodeReading {
        NodeReading {
            node: self.id.clone(),
            boot: "first".to_owned(),
            at: Timestamp::default(),
            cpu_millis: 0,
            starts: None,
            traffic: None,
            versions: vec![self.recorded.clone()],
        }
    }

    /// Counts what the old version did.
    fn record(&mut self, interval: &VersionInterval) {
        let sum = &mut self.recorded;
        sum.requests += interval.requests;
        sum.errors += interval.errors;
        sum.cpu_micros += interval.cpu_micros;
        sum.latency.add(&interval.latency);
        sum.memory_sum += interval.memory.unwrap_or(0) * interval.requests;
        sum.instances += interval.requests;
    }

    fn latencies(
        &mut self,
        random: &mut Random,
        scenario: &Scenario,
        is_new: bool,
        at: u32,
        requests: u64,
    ) -> Vec<f64> {
        let factor = if is_new { scenario.latency_factor } else { 1.0 };
        let place =
            P95_MILLIS * self.latency * factor * scenario.change(at)[1] * wave(scenario, at, 0.5);
        let side = usize::from(is_new);
        let (shape, p95) = (scenario.shapes[side], scenario.p95[side]);
        (0..requests)
            .map(|_| place * shape.value(random, scenario.common, self.common) / p95)
            .collect()
    }

    /// What the node does until the next reading.
    pub fn run(
        &mut self,
        random: &mut Random,
        scenario: &Scenario,
        runs: Runs,
        at: u32,
    ) -> Reading {
        let requests = requests(scenario, at);
        self.run_version(random, scenario, runs, at, (requests, true))
    }

    /// What both versions do on it, of which the new one gets a share of the requests: the new one,
    /// the old one.
    pub fn run_both(
        &mut self,
        random: &mut Random,
        scenario: &Scenario,
        share: f64,
        at: u32,
    ) -> [Reading; 2] {
        let requests = requests(scenario, at);
        let of_new = random.binomial(requests, share);
        let new = self.run_version(random, scenario, Runs::New, at, (of_new, true));
        let of_old = requests - of_new;
        let old = self.run_version(random, scenario, Runs::Old, at, (of_old, false));
        [new, old]
    }

    /// What one version does with so many requests. What the node itself is like changes from
    /// reading to reading, also where it runs both.
    fn run_version(
        &mut self,
        random: &mut Random,
        scenario: &Scenario,
        runs: Runs,
        at: u32,
        (requests, is_next_reading): (u64, bool),
    ) -> Reading {
        let is_new = matches!(runs, Runs::New);
        let is_changed = is_new && at >= scenario.breaks_at;
        if is_next_reading && scenario.error_spells > 0.0 {
            let change = if self.has_spell {
                1.0 / SPELL_READINGS
            } else {
                scenario.error_spells
            };
            self.has_spell ^= random.share() < change;
        }
        // A rate below 0 is the new version's own, where the old one has no errors.
        let rate = match (scenario.errors < 0.0, is_changed) {
            (true, true) => -scenario.errors,
            (true, false) => 0.0,
            (false, true) => scenario.errors * scenario.error_factor,
            (false, false) => scenario.errors,
        };
        let rate = rate * self.errors * scenario.change(at)[0];
        let spell = if self.has_spell { 10.0 } else { 1.0 };
        let rate = (spell * rate * wave(scenario, at, 0.9)).min(1.0);
        let errors = random.bursts(requests, rate, scenario.burst);
        if is_next_reading {
            let rho = scenario.correlation;
            self.common = rho * self.common + (1.0 - rho * rho).sqrt() * random.normal();
        }
        let latencies = self.latencies(random, scenario, is_new, at, requests);
        let mut counts = vec![0; Histogram::BUCKETS];
        for &value in &latencies {
            counts[bucket(value)] += 1;
        }
        let factor = if is_new { scenario.usage_factor } else { 1.0 };
        let [cpu, memory] = &mut self.drift;
        for drift in [&mut *cpu, &mut *memory] {
            if is_next_reading {
                *drift = 0.9 * *drift + (1.0 - 0.81_f64).sqrt() * random.normal();
            }
        }
        let cpu = CPU_MICROS * factor * self.cpu * (0.05 * *cpu).exp();
        let memory = MEMORY * factor * self.memory * (0.05 * *memory).exp();
        let crashes = scenario.fleet_crashes + if is_new { scenario.crashes } else { 0.0 };
        let crashed = crashes > 0.0 && random.share() < crashes;
        let interval = VersionInterval {
            requests,
            errors,
            latency: Histogram::from_counts(counts),
            cpu_micros: (cpu * requests as f64) as u64,
            memory: Some(memory as u64),
            restarts: u64::from(crashed),
            lost: u64::from(crashed),
            ..VersionInterval::default()
        };
        if !is_new {
            self.record(&interval);
        }
        Reading {
            interval,
            latencies,
            cpu,
            memory,
        }
    }
}

/// The requests of a node in a reading.
fn requests(scenario: &Scenario, at: u32) -> u64 {
    (scenario.requests as f64 * wave(scenario, at, 0.5)).round() as u64
}

/// What all nodes have in common at a time: between 1 - `depth` and 1 + `depth`.
fn wave(scenario: &Scenario, at: u32, depth: f64) -> f64 {
    if scenario.varies {
        1.0 + depth * (f64::from(at) / 10.0 * std::f64::consts::PI).sin()
    } else {
        1.0
    }
}

fn bucket(millis: f64) -> usize {
    Histogram::bucket_of_micros((1000.0 * millis) as u64)
}
