use super::fixture::*;
use crate::{Check, Digest, Histogram, Judge, NodeReading, Timestamp, VersionReading};

const METRICS: [&str; 7] = [
    "error-rate",
    "latency-p50",
    "latency-p95",
    "latency-p99",
    "cpu",
    "memory",
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

fn number(chance: &mut Chance) -> u64 {
    match chance.below(6) {
        0 => 0,
        1 => u64::MAX,
        2 => u64::MAX - chance.below(100),
        3 => chance.next(),
        _ => chance.below(1000),
    }
}

fn limits(chance: &mut Chance) -> Option<f64> {
    LIMITS.get(chance.below(18) as usize).copied()
}

fn any_check(chance: &mut Chance) -> Check {
    Check {
        metric: METRICS[chance.below(METRICS.len() as u64) as usize].to_owned(),
        max: limits(chance),
        max_increase: limits(chance),
        min_increase: limits(chance),
    }
}

fn any_version(chance: &mut Chance) -> VersionReading {
    let digests: [Digest; 3] = [new_version(), old_version(), Digest::of(b"v0")];
    let mut buckets: Vec<u16> = (0..chance.below(5))
        .map(|_| chance.below(272) as u16)
        .collect();
    buckets.sort_unstable();
    buckets.dedup();
    let pairs = buckets.into_iter().map(|at| (at, number(chance))).collect();
    VersionReading {
        digest: digests[chance.below(3) as usize],
        requests: number(chance),
        errors: number(chance),
        cpu_micros: number(chance),
        latency: Histogram::from_pairs(pairs).expect("in rising order"),
        memory: number(chance),
    }
}

fn any_reading(chance: &mut Chance) -> NodeReading {
    let names = ["a", "b", "c", "d"];
    NodeReading {
        node: node(names[chance.below(4) as usize]),
        boot: chance.below(2).to_string(),
        at: Timestamp::from_millis(number(chance)),
        cpu_millis: number(chance),
        versions: (0..chance.below(4)).map(|_| any_version(chance)).collect(),
    }
}

/// Whatever nodes report and strategies ask, there is a verdict with a reason for each check.
#[test]
fn nothing_that_comes_in_is_a_panic() {
    for seed in 1..=500 {
        let mut chance = Chance(seed * 0x9E37_79B9);
        let checks: Vec<Check> = (0..chance.below(5))
            .map(|_| any_check(&mut chance))
            .collect();
        let sides = [
            vec![],
            vec![node("a")],
            vec![node("b"), node("c")],
            vec![node("a"), node("a"), node("b")],
        ];
        let canary = sides[chance.below(4) as usize].clone();
        let baseline = sides[chance.below(4) as usize].clone();
        let start = (0..chance.below(4))
            .map(|_| any_reading(&mut chance))
            .collect();
        let asked = checks.len();
        let mut watch = Judge::new(checks, canary, baseline, new_version(), start);
        for _ in 0..chance.below(30) {
            watch.observe(any_reading(&mut chance));
            watch.look();
        }
        let verdict = watch.verdict();
        assert_eq!(verdict.findings.len(), asked);
        for found in verdict.findings {
            assert!((10..600).contains(&found.reason.len()), "{}", found.reason);
        }
    }
}
