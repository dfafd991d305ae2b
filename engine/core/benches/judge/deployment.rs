//! One whole deployment, judged by all rules.

use std::time::Duration;

use hotswap_core::{
    Answer, BeforeSoak, Check, Histogram, Judge, Judgement, Lifetime, NodeInterval, NodeReading,
    RecordedBaseline, SoakHistory, SoakPlan, Verdict, VersionInterval,
};

use super::RULES;
use super::node::{Reading, Runs, SimulatedNode, new_version};
use super::others::{Argo, Flagger, Kayenta, Sample};
use super::random::Random;
use super::scenario::Scenario;

/// The canary's requests until the version was taken back. `None` if it was not.
pub type Outcome = Option<u64>;

/// The shares of nodes or requests that run the new version, step by step.
const STEPS: [f64; 4] = [0.1, 0.3, 0.5, 1.0];
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
    let fleet = scenario.fleet;
    let mut nodes: Vec<_> = (0..fleet)
        .map(|number| SimulatedNode::new(random, scenario, number))
        .collect();
    let mut outcomes = [None; RULES.len()];
    let mut history = SoakHistory::default();
    let mut requests = 0;
    for (step, share) in steps(scenario).into_iter().enumerate() {
        let is_last = share >= 1.0;
        if outcomes.iter().all(Option::is_some) || (is_last && outcomes[0].is_some()) {
            break;
        }
        let is_shared = scenario.shared && !is_last;
        let canary = if is_shared {
            fleet
        } else {
            (share * fleet as f64).ceil() as usize
        };
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
            by_node: is_shared,
            before,
            history: history.clone(),
            ..SoakPlan::default()
        });
        let mut kayenta = Kayenta::default();
        let (mut argo, mut flagger) = (Argo::default(), Flagger::default());
        for at in 0..READINGS {
            // The last step is the fourth, whatever steps a small fleet leaves out.
            let at = if is_last { 3 } else { step as u32 } * READINGS + at;
            let (of_new, of_old): (Vec<_>, Vec<_>) = nodes
                .iter_mut()
                .enumerate()
                .map(|(number, node)| {
                    if is_shared {
                        let [new, old] = node.run_both(random, scenario, share, at);
                        (Some(new), Some(old))
                    } else if number < canary {
                        (Some(node.run(random, scenario, Runs::New, at)), None)
                    } else {
                        (None, Some(node.run(random, scenario, Runs::Old, at)))
                    }
                })
                .unzip();
            let all_new: Vec<_> = of_new.iter().flatten().collect();
            let new = Sample::new(&all_new, |reading| measure(reading));
            requests += new.requests;
            let mut found = |rule: usize, has_failed: bool| {
                if has_failed {
                    outcomes[rule].get_or_insert(requests);
                }
            };
            // The others look at a canary beside the old version only.
            if !is_last {
                let all_old: Vec<_> = of_old.iter().flatten().collect();
                let old = Sample::new(&all_old, |reading| measure(reading));
                found(2, argo.observe(&new));
                found(3, flagger.observe(&new));
                kayenta.observe(new, old);
            }
            let intervals: Vec<_> = of_new
                .into_iter()
                .zip(of_old)
                .zip(&nodes)
                .map(|((new, old), node)| NodeInterval {
                    node: node.id.clone(),
                    elapsed: READING,
                    canary: new.map(|reading| reading.interval),
                    baseline: old.map(|reading| reading.interval),
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

/// The shares of the steps. Those that cover as many nodes as the one before are left out.
fn steps(scenario: &Scenario) -> Vec<f64> {
    let mut steps = Vec::new();
    let mut last = 0;
    for share in STEPS {
        let covered = (share * scenario.fleet as f64).ceil() as usize;
        // In a fleet of two, a half is the first node.
        if scenario.shared || covered > last {
            steps.push(share);
        }
        last = covered;
    }
    steps
}

/// What each side did before the soak of a step to so many nodes. Nodes that run both versions do
/// not differ, so nothing of theirs is compared with what they did before.
fn before_soak(nodes: &[SimulatedNode], canary: usize) -> BeforeSoak {
    let lifetime = nodes.iter().fold(Lifetime::default(), |mut sum, node| {
        sum.add(node.lifetime);
        sum
    });
    let (new, old) = nodes.split_at(canary);
    if old.is_empty() {
        return BeforeSoak {
            lifetime,
            ..BeforeSoak::default()
        };
    }
    BeforeSoak {
        canary: new
            .iter()
            .map(|node| (node.id.clone(), node.before.clone()))
            .collect(),
        baseline: Histogram::sum(old.iter().map(|node| &node.before)),
        usage: nodes
            .iter()
            .map(|node| (node.id.clone(), node.used.clone()))
            .collect(),
        lifetime,
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
