use super::fixture::*;
use crate::{Check, Judge, Judgement, VersionReading};

/// Adds to the counters of one version what happens between two readings.
type Traffic<'a> = &'a dyn Fn(&mut Random, &mut VersionReading);

/// The share of soaks of twenty looks each that fail.
fn share_failed(soaks: u64, check: &Check, canary: Traffic<'_>, baseline: Traffic<'_>) -> f64 {
    let mut random = Random(0x5EED_0001);
    let failed = (0..soaks).filter(|_| soak_fails(&mut random, check, canary, baseline));
    failed.count() as f64 / soaks as f64
}

fn soak_fails(
    random: &mut Random,
    check: &Check,
    canary: Traffic<'_>,
    baseline: Traffic<'_>,
) -> bool {
    let mut judge = start_judge(vec![check.clone()]);
    let mut new = version(new_version(), 0, 0);
    let mut old = version(old_version(), 0, 0);
    for look in 1..=u64::from(Judge::MAX_LOOKS) {
        for tick in 0..5 {
            canary(random, &mut new);
            baseline(random, &mut old);
            let at = look * 1000 + tick * 200;
            judge.observe(reading("canary", at, vec![new.clone()]));
            judge.observe(reading("baseline", at, vec![old.clone()]));
        }
        if judge.interim_look().is_some() {
            return true;
        }
    }
    judge.verdict().judgement == Judgement::Fail
}

fn requests(n: u64, rate: f64) -> impl Fn(&mut Random, &mut VersionReading) {
    move |random, counters| {
        counters.requests += n;
        counters.errors += random.binomial(n, rate);
    }
}

/// Latencies from 10 ms to 100 ms, log-uniformly distributed, times `factor`.
fn latencies(n: u64, factor: f64) -> impl Fn(&mut Random, &mut VersionReading) {
    move |random, counters| {
        let latencies: Vec<f64> = (0..n)
            .map(|_| 10.0 * 10_f64.powf(random.share()) * factor)
            .collect();
        counters.latency.add(&histogram(latencies));
    }
}

fn memory(factor: f64) -> impl Fn(&mut Random, &mut VersionReading) {
    move |random, counters| counters.memory = ((1e6 + 1e6 * random.share()) * factor) as u64
}

#[test]
fn an_error_rate_at_the_limit_rarely_fails() {
    let check = max_increase("error-rate", 0.5);
    for (n1, n0, rate) in [(20, 20, 0.02), (4, 36, 0.02), (30, 10, 0.1)] {
        let share = share_failed(1000, &check, &requests(n1, rate * 1.5), &requests(n0, rate));
        assert!(share <= 0.015, "{n1}:{n0} at {rate}: {share}");
    }
    let share = share_failed(
        1000,
        &max("error-rate", 0.05),
        &requests(20, 0.05),
        &requests(1, 0.0),
    );
    assert!(share <= 0.015, "absolute: {share}");
}

#[test]
fn a_latency_at_the_limit_rarely_fails() {
    for (metric, n1, n0) in [
        ("latency-p50", 2, 2),
        ("latency-p95", 5, 5),
        ("latency-p95", 20, 2),
        ("latency-p99", 10, 10),
    ] {
        let check = max_increase(metric, 1.0);
        let share = share_failed(500, &check, &latencies(n1, 2.0), &latencies(n0, 1.0));
        assert!(share <= 0.015, "{metric} {n1}:{n0}: {share}");
    }
}

#[test]
fn a_gauge_at_the_limit_rarely_fails() {
    let share = share_failed(
        1000,
        &max_increase("memory", 0.3),
        &memory(1.3),
        &memory(1.0),
    );
    assert!(share <= 0.015, "{share}");
}

#[test]
fn a_clearly_worse_version_fails() {
    let errors = max_increase("error-rate", 0.5);
    let share = share_failed(300, &errors, &requests(5, 0.1), &requests(20, 0.001));
    assert!(share >= 0.99, "errors: {share}");
    let slow = max_increase("latency-p95", 1.0);
    let share = share_failed(200, &slow, &latencies(5, 4.0), &latencies(5, 1.0));
    assert!(share >= 0.99, "latency: {share}");
    let share = share_failed(
        200,
        &max_increase("memory", 0.3),
        &memory(2.0),
        &memory(1.0),
    );
    assert!(share >= 0.99, "memory: {share}");
}
