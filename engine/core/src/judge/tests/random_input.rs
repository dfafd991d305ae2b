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

fn any_version(random: &mut Random) -> VersionReading {
    let digests: [Digest; 3] = [new_version(), old_version(), Digest::of(b"v0")];
    let mut buckets: Vec<u16> = (0..random.below(5))
        .map(|_| random.below(272) as u16)
        .collect();
    buckets.sort_unstable();
    buckets.dedup();
    let pairs = buckets
        .into_iter()
        .map(|at| (at, any_number(random)))
        .collect();
    VersionReading {
        digest: digests[random.below(3) as usize],
        version: None,
        generation: 0,
        slot: None,
        in_flight: 0,
        client_faults: 0,
        memory_sum: 0,
        instances: 0,
        requests: any_number(random),
        errors: any_number(random),
        cpu_micros: any_number(random),
        latency: Histogram::from_pairs(pairs).expect("in rising order"),
        memory: any_number(random),
    }
}

fn any_reading(random: &mut Random) -> NodeReading {
    let names = ["a", "b", "c", "d"];
    NodeReading {
        node: node(names[random.below(4) as usize]),
        boot: random.below(2).to_string(),
        at: Timestamp::from_millis(any_number(random)),
        cpu_millis: any_number(random),
        starts: None,
        traffic: None,
        versions: (0..random.below(4)).map(|_| any_version(random)).collect(),
    }
}

/// Whatever nodes report and strategies ask for, each check gets a finding with a reason.
#[test]
fn random_input_never_panics() {
    for seed in 1..=500 {
        let mut random = Random(seed * 0x9E37_79B9);
        let checks: Vec<Check> = (0..random.below(5))
            .map(|_| any_check(&mut random))
            .collect();
        let cohorts = [
            vec![],
            vec![node("a")],
            vec![node("b"), node("c")],
            vec![node("a"), node("a"), node("b")],
        ];
        let canary = cohorts[random.below(4) as usize].clone();
        let baseline = cohorts[random.below(4) as usize].clone();
        let start = (0..random.below(4))
            .map(|_| any_reading(&mut random))
            .collect();
        let count = checks.len();
        let mut judge = Judge::new(checks, canary, baseline, new_version(), start);
        for _ in 0..random.below(30) {
            judge.observe(any_reading(&mut random));
            judge.interim_look();
        }
        let verdict = judge.verdict();
        assert_eq!(verdict.findings.len(), count);
        for finding in verdict.findings {
            assert!(
                (10..600).contains(&finding.reason.len()),
                "{}",
                finding.reason
            );
        }
    }
}
