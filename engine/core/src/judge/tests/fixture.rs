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

pub(super) fn rise(metric: &str, max_increase: f64) -> Check {
    Check {
        max_increase: Some(max_increase),
        ..check(metric)
    }
}

pub(super) fn limit(metric: &str, max: f64) -> Check {
    Check {
        max: Some(max),
        ..check(metric)
    }
}

/// Counters of `digest` since the node's start.
pub(super) fn version(digest: Digest, requests: u64, errors: u64) -> VersionReading {
    VersionReading {
        digest,
        requests,
        errors,
        cpu_micros: 0,
        latency: Histogram::default(),
        memory: 0,
    }
}

/// A reading of a node `at` so many milliseconds after the soak's begin.
pub(super) fn reading(id: &str, at: u64, versions: Vec<VersionReading>) -> NodeReading {
    NodeReading {
        node: node(id),
        boot: "first".to_owned(),
        at: Timestamp::from_millis(at),
        cpu_millis: 0,
        versions,
    }
}

/// A histogram of spans, in milliseconds.
pub(super) fn histogram(millis: impl IntoIterator<Item = f64>) -> Histogram {
    let mut counts = vec![0; Histogram::BUCKETS];
    for value in millis {
        counts[Histogram::bucket(Duration::from_secs_f64(value / 1e3))] += 1;
    }
    Histogram::from_counts(counts)
}

/// The new version on `canary`, the one before on `baseline`, nothing done yet.
pub(super) fn watch(checks: Vec<Check>) -> Judge {
    let start = vec![
        reading("canary", 0, vec![version(new_version(), 0, 0)]),
        reading("baseline", 0, vec![version(old_version(), 0, 0)]),
    ];
    let (canary, baseline) = (vec![node("canary")], vec![node("baseline")]);
    Judge::new(checks, canary, baseline, new_version(), start)
}

/// Judges one check after one reading of each side.
pub(super) fn judge(check: Check, canary: VersionReading, baseline: VersionReading) -> Finding {
    let mut watch = watch(vec![check]);
    watch.observe(reading("canary", 1000, vec![canary]));
    watch.observe(reading("baseline", 1000, vec![baseline]));
    only(&watch)
}

pub(super) fn only(watch: &Judge) -> Finding {
    let mut findings = watch.verdict().findings;
    assert_eq!(findings.len(), 1);
    findings.remove(0)
}

/// Xorshift64* (Vigna 2016): chance that is the same in every run.
pub(super) struct Chance(pub(super) u64);

impl Chance {
    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// Even between 0 and 1.
    pub(super) fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// How many of `n` trials of chance `p` came true.
    pub(super) fn binomial(&mut self, n: u64, p: f64) -> u64 {
        (0..n).filter(|_| self.share() < p).count() as u64
    }
}
