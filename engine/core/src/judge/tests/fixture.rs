use std::time::Duration;

use crate::{Check, Finding, Histogram, Judge, NodeId, NodeInterval, SoakPlan, VersionInterval};

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

/// Requests and errors between two readings.
pub(super) fn requests(requests: u64, errors: u64) -> VersionInterval {
    VersionInterval {
        requests,
        errors,
        ..VersionInterval::default()
    }
}

/// Requests with these latencies in milliseconds between two readings.
pub(super) fn latencies(millis: impl IntoIterator<Item = f64>) -> VersionInterval {
    let latency = histogram(millis);
    VersionInterval {
        requests: latency.total(),
        latency,
        ..VersionInterval::default()
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

/// A reading ten seconds after the last one: the new version on the node `canary`, the previous
/// one on the node `baseline`.
pub(super) fn reading(canary: VersionInterval, baseline: VersionInterval) -> [NodeInterval; 2] {
    [
        on_node("canary", Some(canary), None),
        on_node("baseline", None, Some(baseline)),
    ]
}

pub(super) fn on_node(
    name: &str,
    canary: Option<VersionInterval>,
    baseline: Option<VersionInterval>,
) -> NodeInterval {
    NodeInterval {
        node: node(name),
        elapsed: Duration::from_secs(10),
        canary,
        baseline,
    }
}

/// A judge that compares with the previous version.
pub(super) fn start_judge(checks: Vec<Check>) -> Judge {
    Judge::new(SoakPlan {
        checks,
        has_baseline: true,
        ..SoakPlan::default()
    })
}

/// Judges one check after the same four readings.
pub(super) fn judge_check(
    check: Check,
    canary: VersionInterval,
    baseline: VersionInterval,
) -> Finding {
    let mut judge = start_judge(vec![check]);
    for _ in 0..4 {
        judge.observe(&reading(canary.clone(), baseline.clone()));
    }
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
        ((self.next() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// How many of `n` trials succeed, each with probability `p`: by the gaps between successes.
    pub(super) fn binomial(&mut self, n: u64, p: f64) -> u64 {
        let (mut at, mut count) = (0.0, 0);
        if p <= 0.0 {
            return 0;
        }
        loop {
            at += (self.share().ln() / (-p.min(1.0 - 1e-12)).ln_1p()).floor() + 1.0;
            if at > n as f64 {
                return count;
            }
            count += 1;
        }
    }

    /// Normally distributed, by Box and Muller.
    pub(super) fn normal(&mut self) -> f64 {
        let (radius, angle) = (self.share(), self.share());
        (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
    }

    /// Errors among `n` requests at the rate `p`, in bursts of geometric size, `size` on average.
    pub(super) fn bursts(&mut self, n: u64, p: f64, size: f64) -> u64 {
        let bursts = self.binomial(n, p / size);
        (0..bursts)
            .map(|_| {
                let beyond = self.share().ln() / (-1.0 / size).ln_1p();
                1 + if size > 1.0 { beyond.floor() as u64 } else { 0 }
            })
            .sum()
    }
}
