//! Whole soaks of random traffic: at the limit nearly none may fail, and gross faults must be
//! found soon. `benches/judge.rs` does the same with more soaks, and with whole deployments.

use super::fixture::*;
use crate::{Check, NodeInterval, VersionInterval};

const READINGS: u64 = 40;
const SOAKS: u64 = 250;

/// What both sides do between two readings, which are counted from 0.
type Traffic<'a> = &'a dyn Fn(&mut Random, u64) -> [VersionInterval; 2];

/// The readings after which soaks failed, sorted. `None` where one did not.
fn failures(check: Check, sharing: usize, traffic: Traffic<'_>) -> Vec<Option<u64>> {
    let mut random = Random(0x5EED_0001);
    // Others that share the budget, and that nothing is measured of.
    let others = [
        max_increase("cpu", 0.3),
        max_increase("memory", 0.3),
        max_increase("restarts", 9.0),
    ];
    let mut checks = vec![check];
    checks.extend(others.into_iter().take(sharing - 1));
    let mut failed: Vec<_> = (0..SOAKS)
        .map(|_| {
            let mut judge = start_judge(checks.clone());
            (0..READINGS).find_map(|at| {
                let [canary, baseline] = traffic(&mut random, at);
                judge.observe(&reading(canary, baseline));
                judge.interim().map(|_| at + 1)
            })
        })
        .collect();
    failed.sort_unstable_by_key(|at| at.unwrap_or(u64::MAX));
    failed
}

fn share_failed(check: Check, sharing: usize, traffic: Traffic<'_>) -> f64 {
    let failed = failures(check, sharing, traffic);
    failed.iter().flatten().count() as f64 / failed.len() as f64
}

/// The median of the readings after which soaks failed, with four conditions.
fn median_failure(check: Check, traffic: Traffic<'_>) -> u64 {
    let failed = failures(check, 4, traffic);
    failed[failed.len() / 2].unwrap_or(u64::MAX)
}

/// Errors in bursts of `size` at these rates.
fn errors(
    (n1, p1): (u64, f64),
    (n0, p0): (u64, f64),
    size: f64,
) -> impl Fn(&mut Random, u64) -> [VersionInterval; 2] {
    move |random, _| {
        [
            requests(n1, random.bursts(n1, p1, size)),
            requests(n0, random.bursts(n0, p0, size)),
        ]
    }
}

#[test]
fn an_error_rate_at_the_limit_rarely_fails() {
    let check = || max_increase("error-rate", 0.5);
    for (name, sharing, canary, baseline, size, most) in [
        ("independent", 1, (20, 0.03), (180, 0.02), 1.0, 0.015),
        ("even", 1, (50, 0.03), (50, 0.02), 1.0, 0.015),
        ("bursts", 1, (20, 0.03), (180, 0.02), 5.0, 0.025),
        ("identical, bursts", 4, (20, 0.02), (180, 0.02), 5.0, 0.005),
    ] {
        let share = share_failed(check(), sharing, &errors(canary, baseline, size));
        assert!(share <= most, "{name}: {share}");
    }
    let share = share_failed(
        max("error-rate", 0.05),
        1,
        &errors((20, 0.05), (1, 0.0), 1.0),
    );
    assert!(share <= 0.015, "absolute: {share}");
    let share = share_failed(check(), 1, &|random, at| {
        let (n1, n0, rate) = if at < 20 {
            (20, 180, 0.003)
        } else {
            (100, 100, 0.03)
        };
        errors((n1, 1.5 * rate), (n0, rate), 1.0)(random, at)
    });
    assert!(share <= 0.015, "the split and the rate change: {share}");
    let share = share_failed(check(), 4, &|_, at| {
        [requests(20, if at == 5 { 20 } else { 0 }), requests(180, 0)]
    });
    assert_eq!(share, 0.0, "one burst, then nothing");
}

#[test]
fn an_error_rate_that_is_clearly_too_high_fails_soon() {
    let check = || max_increase("error-rate", 0.5);
    for (name, canary, baseline, most) in [
        ("0.1 % to 2 %", (50, 0.02), (450, 0.001), 10),
        ("0 to 2 %", (50, 0.02), (450, 0.0), 7),
        ("1 % to 20 %", (50, 0.2), (450, 0.01), 3),
    ] {
        let median = median_failure(check(), &errors(canary, baseline, 1.0));
        assert!(median <= most, "{name}: {median}");
    }
}

/// The quantile function of latencies whose quantile `q` is 1.
#[derive(Clone, Copy)]
enum Shape {
    Narrow,
    Decade,
    Usual,
    Wide,
    Heavy,
}

impl Shape {
    fn value(self, share: f64, normal: f64) -> f64 {
        match self {
            Self::Narrow => 1.0 + 0.02 * (share - 0.5),
            Self::Decade => 10_f64.powf(share),
            Self::Usual => (0.6 * normal).exp(),
            Self::Wide => normal.exp(),
            Self::Heavy => (1.0 - share).powf(-1.0 / 1.2),
        }
    }

    fn place(self, q: f64) -> f64 {
        // Of the standard normal distribution.
        let normal = if q > 0.9 { 1.644_854 } else { 0.0 };
        self.value(q, normal)
    }

    /// `n` latencies whose quantile `q` is `place` milliseconds.
    fn draw(self, random: &mut Random, n: u64, q: f64, place: f64) -> VersionInterval {
        let scale = place / self.place(q);
        latencies((0..n).map(|_| {
            let normal = match self {
                Self::Usual | Self::Wide => random.normal(),
                _ => 0.0,
            };
            scale * self.value(random.share(), normal)
        }))
    }
}

/// The upper end of a bucket: rounding gives nothing away.
const EDGE: f64 = 65.535;

#[test]
fn a_latency_at_the_limit_rarely_fails_whatever_the_shapes() {
    for (metric, q, old, new) in [
        ("latency-p95", 0.95, Shape::Heavy, Shape::Narrow),
        ("latency-p95", 0.95, Shape::Wide, Shape::Narrow),
        ("latency-p95", 0.95, Shape::Usual, Shape::Usual),
        ("latency-p50", 0.5, Shape::Decade, Shape::Narrow),
    ] {
        // Ten requests each at every second reading of the 40, as the facts have it.
        let share = share_failed(max_increase(metric, 1.0), 1, &|random, _| {
            [
                new.draw(random, 5, q, 2.0 * EDGE),
                old.draw(random, 5, q, EDGE),
            ]
        });
        assert!(share <= 0.01, "{metric}: {share}");
    }
    // A share of the variance is common to a reading of a side.
    let share = share_failed(max_increase("latency-p95", 1.0), 1, &|random, _| {
        let mut side =
            |place: f64| {
                let common = random.normal();
                let normals: Vec<f64> = (0..50).map(|_| random.normal()).collect();
                let scale = place / (0.6 * 1.644_854_f64).exp();
                latencies(normals.into_iter().map(|own| {
                    scale * (0.6 * (0.7_f64.sqrt() * own + 0.3_f64.sqrt() * common)).exp()
                }))
            };
        [side(2.0 * EDGE), side(EDGE)]
    });
    assert!(share <= 0.015, "varies by reading: {share}");
}

#[test]
fn a_latency_that_is_clearly_too_high_fails_soon() {
    for (factor, most) in [(3.0, 30), (4.0, 8), (10.0, 3)] {
        let median = median_failure(max_increase("latency-p95", 1.0), &|random, _| {
            [
                Shape::Usual.draw(random, 20, 0.95, 60.0 * factor),
                Shape::Usual.draw(random, 180, 0.95, 60.0),
            ]
        });
        assert!(median <= most, "{factor}: {median}");
    }
}

/// The share of soaks that fail at their end, with four conditions.
fn share_of_gauges(canary: usize, baseline: usize, spread: f64, ratio: f64) -> f64 {
    let mut random = Random(0x5EED_0002);
    let checks = vec![
        max_increase("memory", 0.3),
        max_increase("cpu", 0.3),
        max_increase("error-rate", 0.5),
        max_increase("latency-p95", 1.0),
    ];
    let soaks = 1000;
    let failed = (0..soaks).filter(|_| {
        let mut judge = start_judge(checks.clone());
        let mut node = |name: String, ratio: f64| {
            let memory = 1e8 * ratio * (spread * random.normal()).exp();
            let usage = VersionInterval {
                memory: Some(memory as u64),
                ..VersionInterval::default()
            };
            (name, usage)
        };
        let canary: Vec<_> = (0..canary)
            .map(|at| node(format!("c{at}"), ratio))
            .collect();
        let baseline: Vec<_> = (0..baseline)
            .map(|at| node(format!("b{at}"), 1.0))
            .collect();
        let intervals: Vec<NodeInterval> = canary
            .into_iter()
            .map(|(name, usage)| on_node(&name, Some(usage), None))
            .chain(
                baseline
                    .into_iter()
                    .map(|(name, usage)| on_node(&name, None, Some(usage))),
            )
            .collect();
        judge.observe(&intervals);
        judge.verdict().findings[0].judgement == crate::Judgement::Fail
    });
    failed.count() as f64 / f64::from(soaks)
}

#[test]
fn a_gauge_at_the_limit_rarely_fails_and_twice_as_much_does() {
    let share = share_of_gauges(1, 9, 0.15, 1.3);
    assert!(share <= 0.01, "{share}");
    let share = share_of_gauges(3, 7, 0.05, 2.0);
    assert_eq!(share, 1.0);
}
