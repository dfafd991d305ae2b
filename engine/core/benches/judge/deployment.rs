//! One whole deployment, judged by all rules.

use std::time::Duration;

use hotswap_core::{
    Answer, BeforeSoak, Check, Histogram, Judge, Judgement, NodeId, NodeInterval, SoakHistory,
    SoakPlan, Verdict, VersionInterval,
};

use super::RULES;
use super::others::{Argo, Flagger, Kayenta, Sample};
use super::random::Random;
use super::scenario::Scenario;

/// The canary's requests until the version was taken back. `None` if it was not.
pub type Outcome = Option<u64>;

const NODES: usize = 10;
const STEPS: [usize; 3] = [1, 3, 5];
const READINGS: u32 = 40;
/// The 95th percentile of the old version in milliseconds.
const P95_MILLIS: f64 = 65.535;
/// What the old version uses: CPU for each request, and memory in bytes.
const CPU_MICROS: f64 = 5000.0;
const MEMORY: f64 = 5e7;
const READING: Duration = Duration::from_secs(15);

/// A node, with what makes it differ from the others.
struct SimulatedNode {
    id: NodeId,
    errors: f64,
    latency: f64,
    cpu: f64,
    memory: f64,
    before: Histogram,
    /// What the old version used on it before the deployment.
    used: VersionInterval,
    common: f64,
    drift: [f64; 2],
}

/// What one node did between two readings, for all rules.
struct Reading {
    interval: VersionInterval,
    latencies: Vec<f64>,
    cpu: f64,
    memory: f64,
}

pub fn checks() -> Vec<Check> {
    let increase = |metric: &str, max_increase| Check {
        metric: metric.to_owned(),
        max: None,
        max_increase: Some(max_increase),
        min_increase: None,
    };
    vec![
        increase("error-rate", 0.5),
        increase("latency-p95", 1.0),
        increase("cpu", 0.3),
        increase("memory", 0.3),
        Check {
            max: Some(2.0),
            max_increase: None,
            ..increase("restarts", 0.0)
        },
    ]
}

/// The outcome of a deployment: by each rule, and the check that failed by ours.
pub fn deploy(
    random: &mut Random,
    scenario: &Scenario,
) -> ([Outcome; RULES.len()], Option<String>) {
    let mut failed = None;
    let mut nodes: Vec<_> = (0..NODES)
        .map(|number| SimulatedNode::new(random, scenario, number))
        .collect();
    let mut outcomes = [None; RULES.len()];
    let mut history = SoakHistory::default();
    let mut requests = 0;
    for (step, canary) in STEPS.into_iter().enumerate() {
        if outcomes.iter().all(Option::is_some) {
            break;
        }
        let before =
            |nodes: &[SimulatedNode]| Histogram::sum(nodes.iter().map(|node| &node.before));
        let mut judge = Judge::new(SoakPlan {
            checks: checks(),
            has_baseline: true,
            before: BeforeSoak {
                canary: before(&nodes[..canary]),
                baseline: before(&nodes[canary..]),
                usage: nodes
                    .iter()
                    .map(|node| (node.id.clone(), node.used.clone()))
                    .collect(),
            },
            history: history.clone(),
            ..SoakPlan::default()
        });
        let mut kayenta = Kayenta::default();
        let (mut argo, mut flagger) = (Argo::default(), Flagger::default());
        for at in 0..READINGS {
            let at = step as u32 * READINGS + at;
            let readings: Vec<_> = nodes
                .iter_mut()
                .enumerate()
                .map(|(number, node)| node.run(random, scenario, number < canary, at))
                .collect();
            let new = Sample::new(&readings[..canary], measure);
            let old = Sample::new(&readings[canary..], measure);
            requests += new.requests;
            let mut found = |rule: usize, has_failed: bool| {
                if has_failed {
                    outcomes[rule].get_or_insert(requests);
                }
            };
            found(2, argo.observe(&new));
            found(3, flagger.observe(&new));
            kayenta.observe(new, old);
            let intervals: Vec<_> = readings
                .into_iter()
                .zip(&nodes)
                .enumerate()
                .map(|(number, (reading, node))| {
                    let is_new = number < canary;
                    let interval = reading.interval;
                    NodeInterval {
                        node: node.id.clone(),
                        elapsed: READING,
                        canary: is_new.then(|| interval.clone()),
                        baseline: (!is_new).then_some(interval),
                    }
                })
                .collect();
            judge.observe(&intervals);
            if outcomes[0].is_none()
                && let Some(verdict) = judge.interim()
            {
                outcomes[0] = Some(requests);
                failed = failed_check(&verdict);
            }
        }
        let verdict = judge.verdict();
        if outcomes[0].is_none() && verdict.judgement == Judgement::Fail {
            outcomes[0] = Some(requests);
            failed = failed_check(&verdict);
        }
        history.record(&Answer::Verdict(verdict));
        if kayenta.has_failed() {
            outcomes[1].get_or_insert(requests);
        }
    }
    (outcomes, failed)
}

fn failed_check(verdict: &Verdict) -> Option<String> {
    let mut findings = verdict.findings.iter();
    let failed = findings.find(|finding| finding.judgement == Judgement::Fail);
    failed.map(|finding| finding.check.metric.clone())
}

/// Latencies, CPU time and memory of a reading.
fn measure(reading: &Reading) -> (u64, u64, &[f64], f64, f64) {
    let VersionInterval {
        requests, errors, ..
    } = reading.interval;
    (
        requests,
        errors,
        &reading.latencies,
        reading.cpu,
        reading.memory,
    )
}

impl SimulatedNode {
    fn new(random: &mut Random, scenario: &Scenario, number: usize) -> Self {
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
            common: random.normal(),
            drift: [random.normal(), random.normal()],
        };
        let mut counts = vec![0; Histogram::BUCKETS];
        for at in 0..READINGS {
            for value in node.latencies(random, scenario, false, at, scenario.requests) {
                counts[bucket(value)] += 1;
            }
        }
        node.before = Histogram::from_counts(counts);
        node
    }

    fn latencies(
        &mut self,
        random: &mut Random,
        scenario: &Scenario,
        is_new: bool,
        at: u32,
        requests: u64,
    ) -> Vec<f64> {
        let rho = scenario.correlation;
        self.common = rho * self.common + (1.0 - rho * rho).sqrt() * random.normal();
        let factor = if is_new { scenario.latency_factor } else { 1.0 };
        let place = P95_MILLIS * self.latency * factor * wave(scenario, at, 0.5);
        let shape = scenario.shapes[usize::from(is_new)];
        (0..requests)
            .map(|_| place * shape.draw(random, scenario.common, self.common))
            .collect()
    }

    fn run(&mut self, random: &mut Random, scenario: &Scenario, is_new: bool, at: u32) -> Reading {
        let requests = (scenario.requests as f64 * wave(scenario, at, 0.5)).round() as u64;
        // A rate below 0 is the new version's own, where the old one has no errors.
        let rate = match (scenario.errors < 0.0, is_new) {
            (true, true) => -scenario.errors,
            (true, false) => 0.0,
            (false, true) => scenario.errors * scenario.error_factor,
            (false, false) => scenario.errors,
        };
        let rate = (rate * self.errors * wave(scenario, at, 0.9)).min(1.0);
        let errors = random.bursts(requests, rate, scenario.burst);
        let latencies = self.latencies(random, scenario, is_new, at, requests);
        let mut counts = vec![0; Histogram::BUCKETS];
        for &value in &latencies {
            counts[bucket(value)] += 1;
        }
        let factor = if is_new { scenario.usage_factor } else { 1.0 };
        let [cpu, memory] = &mut self.drift;
        for drift in [&mut *cpu, &mut *memory] {
            *drift = 0.9 * *drift + (1.0 - 0.81_f64).sqrt() * random.normal();
        }
        let cpu = CPU_MICROS * factor * self.cpu * (0.05 * *cpu).exp();
        let memory = MEMORY * factor * self.memory * (0.05 * *memory).exp();
        let crashed = is_new && random.share() < scenario.crashes;
        Reading {
            interval: VersionInterval {
                requests,
                errors,
                latency: Histogram::from_counts(counts),
                cpu_micros: (cpu * requests as f64) as u64,
                memory: Some(memory as u64),
                restarts: u64::from(crashed),
                lost: u64::from(crashed),
                ..VersionInterval::default()
            },
            latencies,
            cpu,
            memory,
        }
    }
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
