//! Whole soaks of random traffic: at the limit nearly none may fail. `benches/judge` does the same
//! with more soaks, and with whole deployments.

use super::fixture::*;
use super::simulation::*;
use crate::{BeforeSoak, Judge, NodeInterval, SoakPlan, VersionInterval};

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

/// A version without spread that takes twice as long on each node is at its limit, also where the
/// canary's nodes differ: what they take together is then more than twice as much.
#[test]
fn a_version_at_the_limit_on_each_node_rarely_fails_where_nodes_differ() {
    let mut random = Random(0x5EED_0003);
    let nodes = [("fast", 0.8), ("usual", 1.0), ("slow", 1.4)];
    let soaks = 200;
    let failed = (0..soaks).filter(|_| {
        let mut old = |n, factor| {
            let drawn = Shape::Wide.draw(&mut random, n, 0.95, factor * EDGE);
            drawn.latency
        };
        let canary = nodes.map(|(name, factor)| (node(name), old(1000, factor)));
        let mut judge = Judge::new(SoakPlan {
            checks: vec![
                max_increase("latency-p95", 1.0),
                max_increase("error-rate", 0.5),
            ],
            has_baseline: true,
            before: BeforeSoak {
                canary: canary.into(),
                baseline: old(3000, 1.0),
                ..BeforeSoak::default()
            },
            ..SoakPlan::default()
        });
        (0..40).any(|_| {
            let intervals = nodes.map(|(name, factor)| {
                let place = 2.0 * factor * EDGE;
                let version = Shape::Narrow.draw(&mut random, 10, 0.95, place);
                on_node(name, Some(version), None)
            });
            let baseline = Shape::Wide.draw(&mut random, 70, 0.95, EDGE);
            let baseline = on_node("baseline", None, Some(baseline));
            judge.observe(&[&intervals[..], &[baseline]].concat());
            judge.interim().is_some()
        })
    });
    let share = failed.count() as f64 / f64::from(soaks);
    assert!(share <= 0.015, "{share}");
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
