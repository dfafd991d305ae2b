use super::fixture::*;
use crate::{Check, Judge, Judgement, VersionReading};

/// What a side adds to its counters between two looks.
type Step<'a> = &'a dyn Fn(&mut Chance, &mut VersionReading);

/// The share of whole soaks of twenty looks that end as failed.
fn failed(soaks: u64, check: &Check, canary: Step<'_>, baseline: Step<'_>) -> f64 {
    let mut chance = Chance(0x5EED_0001);
    let failed = (0..soaks).filter(|_| soak_fails(&mut chance, check, canary, baseline));
    failed.count() as f64 / soaks as f64
}

fn soak_fails(chance: &mut Chance, check: &Check, canary: Step<'_>, baseline: Step<'_>) -> bool {
    let mut watch = watch(vec![check.clone()]);
    let mut new = version(new_version(), 0, 0);
    let mut old = version(old_version(), 0, 0);
    for look in 1..=u64::from(Judge::LOOKS) {
        for moment in 0..5 {
            canary(chance, &mut new);
            baseline(chance, &mut old);
            let at = look * 1000 + moment * 200;
            watch.observe(reading("canary", at, vec![new.clone()]));
            watch.observe(reading("baseline", at, vec![old.clone()]));
        }
        if watch.look().is_some() {
            return true;
        }
    }
    watch.verdict().judgement == Judgement::Fail
}

fn requests(n: u64, rate: f64) -> impl Fn(&mut Chance, &mut VersionReading) {
    move |chance, counters| {
        counters.requests += n;
        counters.errors += chance.binomial(n, rate);
    }
}

/// Latencies whose logarithm is even between those of 10 ms and 100 ms, times `factor`.
fn latencies(n: u64, factor: f64) -> impl Fn(&mut Chance, &mut VersionReading) {
    move |chance, counters| {
        let spans: Vec<f64> = (0..n)
            .map(|_| 10.0 * 10_f64.powf(chance.share()) * factor)
            .collect();
        counters.latency.add(&histogram(spans));
    }
}

fn memory(factor: f64) -> impl Fn(&mut Chance, &mut VersionReading) {
    move |chance, counters| counters.memory = ((1e6 + 1e6 * chance.share()) * factor) as u64
}

#[test]
fn an_error_rate_at_the_limit_is_rarely_called_a_failure() {
    let check = rise("error-rate", 0.5);
    for (n1, n0, rate) in [(20, 20, 0.02), (4, 36, 0.02), (30, 10, 0.1)] {
        let share = failed(1000, &check, &requests(n1, rate * 1.5), &requests(n0, rate));
        assert!(share <= 0.015, "{n1}:{n0} at {rate}: {share}");
    }
    let share = failed(
        1000,
        &limit("error-rate", 0.05),
        &requests(20, 0.05),
        &requests(1, 0.0),
    );
    assert!(share <= 0.015, "absolute: {share}");
}

#[test]
fn a_latency_at_the_limit_is_rarely_called_a_failure() {
    for (metric, n1, n0) in [
        ("latency-p50", 2, 2),
        ("latency-p95", 5, 5),
        ("latency-p95", 20, 2),
        ("latency-p99", 10, 10),
    ] {
        let check = rise(metric, 1.0);
        let share = failed(500, &check, &latencies(n1, 2.0), &latencies(n0, 1.0));
        assert!(share <= 0.015, "{metric} {n1}:{n0}: {share}");
    }
}

#[test]
fn a_gauge_at_the_limit_is_rarely_called_a_failure() {
    let share = failed(1000, &rise("memory", 0.3), &memory(1.3), &memory(1.0));
    assert!(share <= 0.015, "{share}");
}

#[test]
fn a_version_that_is_clearly_worse_is_found() {
    let errors = rise("error-rate", 0.5);
    let share = failed(300, &errors, &requests(5, 0.1), &requests(20, 0.001));
    assert!(share >= 0.99, "errors: {share}");
    let slow = rise("latency-p95", 1.0);
    let share = failed(200, &slow, &latencies(5, 4.0), &latencies(5, 1.0));
    assert!(share >= 0.99, "latency: {share}");
    let share = failed(200, &rise("memory", 0.3), &memory(2.0), &memory(1.0));
    assert!(share >= 0.99, "memory: {share}");
}
