use super::fixture::*;
use crate::{Check, Digest, Finding, VersionReading};

use crate::Judgement::{Fail, Inconclusive, Pass};

fn latency(digest: Digest, millis: impl IntoIterator<Item = f64>) -> VersionReading {
    VersionReading {
        latency: histogram(millis),
        ..version(digest, 0, 0)
    }
}

#[test]
fn latencies_are_judged_at_their_percentile() {
    let uniform =
        |n: u64, low: f64, high: f64| (0..n).map(move |i| low + (high - low) * i as f64 / n as f64);
    let with_min_increase = Check {
        min_increase: Some(200.0),
        ..max_increase("latency-p95", 1.0)
    };
    for (name, check, new, old, expected) in [
        (
            "same",
            max_increase("latency-p95", 1.0),
            (400, 10.0, 50.0),
            (400, 10.0, 50.0),
            Pass,
        ),
        (
            "three times as slow",
            max_increase("latency-p95", 1.0),
            (400, 30.0, 150.0),
            (400, 10.0, 50.0),
            Fail,
        ),
        (
            "three times as slow at p50",
            max_increase("latency-p50", 1.0),
            (40, 60.0, 90.0),
            (40, 20.0, 30.0),
            Fail,
        ),
        (
            "three times as slow at p99",
            max_increase("latency-p99", 1.0),
            (900, 60.0, 90.0),
            (900, 20.0, 30.0),
            Fail,
        ),
        (
            "an increase below min-increase",
            with_min_increase,
            (400, 30.0, 150.0),
            (400, 10.0, 50.0),
            Pass,
        ),
        (
            "few of the new version",
            max_increase("latency-p95", 1.0),
            (99, 10.0, 50.0),
            (400, 10.0, 50.0),
            Inconclusive,
        ),
        (
            "few of the old version",
            max_increase("latency-p95", 1.0),
            (400, 10.0, 50.0),
            (99, 10.0, 50.0),
            Inconclusive,
        ),
        (
            "none",
            max_increase("latency-p95", 1.0),
            (0, 1.0, 2.0),
            (0, 1.0, 2.0),
            Inconclusive,
        ),
        (
            "within the limit",
            max("latency-p95", 60.0),
            (400, 10.0, 50.0),
            (0, 1.0, 2.0),
            Pass,
        ),
        (
            "over the limit",
            max("latency-p95", 20.0),
            (400, 10.0, 50.0),
            (0, 1.0, 2.0),
            Fail,
        ),
        (
            "too few for the limit",
            max("latency-p99", 60.0),
            (400, 1.0, 5.0),
            (0, 1.0, 2.0),
            Inconclusive,
        ),
        (
            "the largest limit",
            max("latency-p50", f64::MAX),
            (400, 1.0, 5.0),
            (0, 1.0, 2.0),
            Pass,
        ),
    ] {
        let new = latency(new_version(), uniform(new.0, new.1, new.2));
        let old = latency(old_version(), uniform(old.0, old.1, old.2));
        let finding = judge_check(check, new, old);
        assert_eq!(finding.judgement, expected, "{name}: {}", finding.reason);
    }
}

#[test]
fn a_failed_latency_names_its_figures_in_milliseconds() {
    let new = latency(new_version(), vec![120.0; 200]);
    let old = latency(old_version(), vec![15.0; 1000]);
    let finding = judge_check(max_increase("latency-p95", 1.0), new, old);
    // The upper ends of the buckets of 120 ms and of 15 ms.
    assert_eq!(finding.canary, Some(122.879));
    assert_eq!(finding.baseline, Some(15.359));
    assert_eq!(
        finding.reason,
        "the 95th percentile of latency is 123 ms, against 15.4 ms on the previous version: 200 of \
         200 requests were above the allowed 30.7 ms, where at most about 10 may be; chance \
         alone would cause this less than once in 2,000 times"
    );
}

/// Judges a gauge after one reading a second of each node. The figures are CPU milliseconds a
/// second, and bytes of memory.
fn judge_gauge(check: Check, readings: u64, new: (u64, u64), old: (u64, u64)) -> Finding {
    let mut judge = start_judge(vec![check]);
    for second in 1..=readings {
        for (id, digest, (cpu, memory)) in [
            ("canary", new_version(), new),
            ("baseline", old_version(), old),
        ] {
            let held = VersionReading {
                memory,
                ..version(digest, second, 0)
            };
            let mut taken = reading(id, second * 1000, vec![held]);
            taken.cpu_millis = cpu * second;
            judge.observe(taken);
        }
    }
    only_finding(&judge)
}

#[test]
fn gauges_are_judged_at_their_median() {
    const MIB: u64 = 1 << 20;
    for (name, check, readings, new, old, expected) in [
        (
            "same cpu",
            max_increase("cpu", 0.3),
            30,
            (500, 0),
            (500, 0),
            Pass,
        ),
        (
            "cpu doubled",
            max_increase("cpu", 0.3),
            30,
            (1000, 0),
            (500, 0),
            Fail,
        ),
        (
            "cpu over its limit",
            max("cpu", 0.8),
            30,
            (1000, 0),
            (1, 0),
            Fail,
        ),
        (
            "same memory",
            max_increase("memory", 0.3),
            30,
            (0, 9 * MIB),
            (0, 9 * MIB),
            Pass,
        ),
        (
            "memory doubled",
            max_increase("memory", 0.3),
            30,
            (0, 18 * MIB),
            (0, 9 * MIB),
            Fail,
        ),
        (
            "too few",
            max_increase("memory", 0.3),
            18,
            (0, 9 * MIB),
            (0, 9 * MIB),
            Inconclusive,
        ),
        (
            "enough",
            max_increase("memory", 0.3),
            19,
            (0, 9 * MIB),
            (0, 9 * MIB),
            Pass,
        ),
        (
            "eleven for the limit",
            max("memory", 1e9),
            11,
            (0, 9 * MIB),
            (0, MIB),
            Pass,
        ),
        (
            "ten for the limit",
            max("memory", 1e9),
            10,
            (0, 9 * MIB),
            (0, MIB),
            Inconclusive,
        ),
        (
            "not loaded",
            max_increase("memory", 0.3),
            30,
            (0, 0),
            (0, 9 * MIB),
            Inconclusive,
        ),
    ] {
        let finding = judge_gauge(check, readings, new, old);
        assert_eq!(finding.judgement, expected, "{name}: {}", finding.reason);
    }
    let finding = judge_gauge(max_increase("cpu", 0.3), 30, (1000, 0), (500, 0));
    assert_eq!((finding.canary, finding.baseline), (Some(1.0), Some(0.5)));
}
