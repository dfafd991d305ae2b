//! One whole deployment, judged by all rules.

use std::time::Duration;

use hotswap_core::{
    Answer, BeforeSoak, Check, Histogram, Judge, Judgement, Lifetime, NodeInterval, NodeReading,
    RecordedBaseline, SoakHistory, SoakPlan, Verdict, VersionInterval,
};

use super::RULES;
use super::node::{Reading, SimulatedNode, new_version};
use super::others::{Argo, Flagger, Kayenta, Sample};
use super::random::Random;
use super::scenario::Scenario;

/// The canary's requests until the version was taken back. `None` if it was not.
pub type Outcome = Option<u64>;

const NODES: usize = 10;
const STEPS: [usize; 4] = [1, 3, 5, NODES];
pub const READINGS: u32 = 40;
pub const READING: Duration = Duration::from_secs(15);

/// The default checks of `canary`.
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
            max: Some(0.0),
            ..increase("restarts", 1.0)
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
        if outcomes.iter().all(Option::is_some) || (canary == NODES && outcomes[0].is_some()) {
            break;
        }
        let is_last = canary == NODES;
        let (judged, before) = if is_last {
            (
                last_checks(scenario, &nodes, &history),
                BeforeSoak::default(),
            )
        } else {
            (scenario.checks(), before_soak(&nodes, canary))
        };
        let mut judge = Judge::new(SoakPlan {
            checks: judged,
            has_baseline: !is_last,
            before,
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
            requests += new.requests;
            let mut found = |rule: usize, has_failed: bool| {
                if has_failed {
                    outcomes[rule].get_or_insert(requests);
                }
            };
            // The others look at a canary beside the old version only.
            if !is_last {
                let old = Sample::new(&readings[canary..], measure);
                found(2, argo.observe(&new));
                found(3, flagger.observe(&new));
                kayenta.observe(new, old);
            }
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

/// What each side did before the soak of a step to so many nodes.
fn before_soak(nodes: &[SimulatedNode], canary: usize) -> BeforeSoak {
    BeforeSoak {
        canary: nodes[..canary]
            .iter()
            .map(|node| (node.id.clone(), node.before.clone()))
            .collect(),
        baseline: Histogram::sum(nodes[canary..].iter().map(|node| &node.before)),
        usage: nodes
            .iter()
            .map(|node| (node.id.clone(), node.used.clone()))
            .collect(),
        lifetime: nodes.iter().fold(Lifetime::default(), |mut sum, node| {
            sum.add(node.lifetime);
            sum
        }),
    }
}

/// The checks of the last step, where no node runs the old version any more. `canary` leaves out
/// CPU there, which follows the load.
fn last_checks(scenario: &Scenario, nodes: &[SimulatedNode], history: &SoakHistory) -> Vec<Check> {
    let checks = scenario.checks().into_iter();
    let checks = checks.filter(|check| check.metric != "cpu").collect();
    let start: Vec<NodeReading> = nodes.iter().map(SimulatedNode::reading).collect();
    let recorded = RecordedBaseline::new(&new_version(), &start);
    recorded.derive(checks, history).checks
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
