use std::time::Duration;

use super::fixture::*;
use crate::{
    BeforeSoak, Check, Histogram, Judge, Lifetime, ModuleMetric, NodeInterval, SoakHistory,
    SoakOptions, SoakPlan, VersionInterval,
};

const METRICS: [&str; 16] = [
    "error-rate",
    "latency-p50",
    "latency-p95",
    "latency-p99",
    "latency-p999",
    "cpu",
    "memory",
    "restarts",
    "cpu-per-request",
    "refused",
    "queued",
    "module:rows",
    "module:rows:p95",
    "module:rows:mean",
    "query:orders",
    "",
];

const LIMITS: [f64; 12] = [
    0.0,
    1e-300,
    0.01,
    0.5,
    1.0,
    7.0,
    1e300,
    f64::MAX,
    f64::INFINITY,
    f64::NAN,
    -1.0,
    f64::NEG_INFINITY,
];

fn any_number(random: &mut Random) -> u64 {
    match random.below(6) {
        0 => 0,
        1 => u64::MAX,
        2 => u64::MAX - random.below(100),
        3 => random.next(),
        _ => random.below(1000),
    }
}

fn any_limit(random: &mut Random) -> Option<f64> {
    LIMITS.get(random.below(18) as usize).copied()
}

fn any_check(random: &mut Random) -> Check {
    Check {
        metric: METRICS[random.below(METRICS.len() as u64) as usize].to_owned(),
        max: any_limit(random),
        max_increase: any_limit(random),
        min_increase: any_limit(random),
    }
}

fn any_histogram(random: &mut Random) -> Histogram {
    let mut buckets: Vec<u16> = (0..random.below(5))
        .map(|_| random.below(928) as u16)
        .collect();
    buckets.sort_unstable();
    buckets.dedup();
    let pairs = buckets
        .into_iter()
        .map(|at| (at, any_number(random)))
        .collect();
    Histogram::from_pairs(Histogram::PRECISION_BITS, pairs).expect("in rising order")
}

fn any_version(random: &mut Random) -> Option<VersionInterval> {
    (random.below(3) > 0).then(|| VersionInterval {
        requests: any_number(random),
        errors: any_number(random),
        latency: any_histogram(random),
        cpu_micros: any_number(random),
        memory: Some(any_number(random)).filter(|memory| memory % 3 > 0),
        restarts: any_number(random),
        lost: any_number(random),
        refused: any_number(random),
        queued: any_number(random),
        module_metrics: (0..random.below(3))
            .map(|_| ModuleMetric {
                name: "rows".to_owned(),
                requests: any_number(random),
                sum: any_number(random),
                values: any_histogram(random),
            })
            .collect(),
    })
}

fn any_interval(random: &mut Random) -> NodeInterval {
    let names = ["a", "b", "c", "d"];
    NodeInterval {
        node: node(names[random.below(4) as usize]),
        elapsed: Duration::from_millis(random.below(100_000)),
        canary: any_version(random),
        baseline: any_version(random),
    }
}

/// Whatever nodes report and strategies ask for, each check gets a finding with a reason that a
/// journal can hold, and no evidence outgrows it.
#[test]
fn random_input_never_panics() {
    for seed in 1..=300 {
        let mut random = Random(seed * 0x9E37_79B9);
        let mut history = SoakHistory::default();
        for _ in 0..3 {
            let checks: Vec<Check> = (0..random.below(5))
                .map(|_| any_check(&mut random))
                .collect();
            let count = checks.len();
            let mut judge = Judge::new(SoakPlan {
                checks,
                has_baseline: random.below(4) > 0,
                by_node: random.below(2) > 0,
                before: BeforeSoak {
                    canary: ["a", "b"]
                        .map(|name| (node(name), any_histogram(&mut random)))
                        .into(),
                    baseline: any_histogram(&mut random),
                    usage: ["a", "b", "c"]
                        .into_iter()
                        .filter_map(|name| Some((node(name), any_version(&mut random)?)))
                        .collect(),
                    lifetime: Lifetime {
                        millis: any_number(&mut random),
                        crashes: any_number(&mut random),
                    },
                },
                history: history.clone(),
                options: SoakOptions {
                    pass_early: random.below(2) > 0,
                    min_samples: random.below(2) * any_number(&mut random),
                    false_alarms: any_limit(&mut random).unwrap_or(Judge::LEVEL),
                },
            });
            for _ in 0..random.below(12) {
                let intervals: Vec<_> = (0..random.below(5))
                    .map(|_| any_interval(&mut random))
                    .collect();
                judge.observe(&intervals);
                judge.interim();
            }
            let verdict = judge.verdict();
            assert_eq!(verdict.findings.len(), count);
            for finding in &verdict.findings {
                let reason = &finding.reason;
                assert!((10..1200).contains(&reason.len()), "{reason}");
                for condition in &finding.conditions {
                    let numbers = [condition.limit, condition.evidence, condition.earlier];
                    assert!(numbers.into_iter().all(f64::is_finite), "{condition:?}");
                    let json = serde_json::to_string(condition).unwrap();
                    let read: crate::Condition = serde_json::from_str(&json).unwrap();
                    assert_eq!(read, *condition);
                }
            }
            history.record(&crate::Answer::Verdict(verdict));
        }
    }
}
