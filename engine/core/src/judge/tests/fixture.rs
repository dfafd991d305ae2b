use std::time::Duration;

use crate::{
    Check, Digest, Finding, Histogram, Judge, NodeId, NodeReading, Timestamp, VersionReading,
};

pub(super) fn new_version() -> Digest {
    Digest::of(b"v2")
}

pub(super) fn old_version() -> Digest {
    Digest::of(b"v1")
}

pub(super) fn node(name: &str) -> NodeId {
    name.parse().expect("a node id")
}

pub(super) fn check(metric: &str) -> Check {
    Check {
        metric: metric.to_owned(),
        max: None,
        max_increase: None,
        min_increase: None,
    }
}

pub(super) fn max_increase(metric: &str, max_increase: f64) -> Check {
    Check {
        max_increase: Some(max_increase),
        ..check(metric)
    }
}

pub(super) fn max(metric: &str, max: f64) -> Check {
    Check {
        max: Some(max),
        ..check(metric)
    }
}

/// Counters of `digest` since the start of the node.
pub(super) fn version(digest: Digest, requests: u64, errors: u64) -> VersionReading {
    VersionReading {
        digest,
        version: None,
        generation: 0,
        slot: None,
        requests,
        errors,
        in_flight: 0,
        client_faults: 0,
        cpu_micros: 0,
        latency: Histogram::default(),
        memory: 0,
        memory_sum: 0,
        instances: 0,
    }
}

/// A reading of a node, `at` milliseconds after the soak began.
pub(super) fn reading(id: &str, at: u64, versions: Vec<VersionReading>) -> NodeReading {
    NodeReading {
        node: node(id),
        boot: "first".to_owned(),
        at: Timestamp::from_millis(at),
        cpu_millis: 0,
        starts: None,
        traffic: None,
        versions,
    }
}

/// A histogram of latencies in milliseconds.
pub(super) fn histogram(millis: impl IntoIterator<Item = f64>) -> Histogram {
    let mut counts = vec![0; Histogram::BUCKETS];
    for value in millis {
        counts[Histogram::bucket(Duration::from_secs_f64(value / 1e3))] += 1;
    }
    Histogram::from_counts(counts)
}

/// A judge of the new version on the node `canary` and the old one on the node `baseline`,
/// neither of which has answered a request.
pub(super) fn start_judge(checks: Vec<Check>) -> Judge {
    let start = vec![
        reading("canary", 0, vec![version(new_version(), 0, 0)]),
        reading("baseline", 0, vec![version(old_version(), 0, 0)]),
    ];
    let (canary, baseline) = (vec![node("canary")], vec![node("baseline")]);
    Judge::new(checks, canary, baseline, new_version(), start)
}

/// Judges one check after one reading of each node.
pub(super) fn judge_check(
    check: Check,
    canary: VersionReading,
    baseline: VersionReading,
) -> Finding {
    let mut judge = start_judge(vec![check]);
    judge.observe(reading("canary", 1000, vec![canary]));
    judge.observe(reading("baseline", 1000, vec![baseline]));
    only_finding(&judge)
}

pub(super) fn only_finding(judge: &Judge) -> Finding {
    let mut findings = judge.verdict().findings;
    assert_eq!(findings.len(), 1);
    findings.remove(0)
}

/// Xorshift64* (Vigna 2016): the same random numbers in every run. The seed must not be 0.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// Uniformly distributed from 0 to 1.
    pub(super) fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// How many of `n` trials succeed, each with probability `p`.
    pub(super) fn binomial(&mut self, n: u64, p: f64) -> u64 {
        (0..n).filter(|_| self.share() < p).count() as u64
    }
}
