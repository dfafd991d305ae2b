use super::fixture::*;
use crate::{BeforeSoak, Check, Judge, SoakPlan, VersionInterval};

use crate::Judgement::{Fail, Inconclusive, Pass};

fn uniform((n, low, high): (u64, f64, f64)) -> VersionInterval {
    latencies((0..n).map(|i| low + (high - low) * i as f64 / n as f64))
}

#[test]
fn latencies_are_judged_at_their_percentile() {
    let with_min_increase = Check {
        min_increase: Some(200.0),
        ..max_increase("latency-p95", 1.0)
    };
    let p95 = max_increase("latency-p95", 1.0);
    for (name, check, new, old, expected) in [
        (
            "same",
            p95.clone(),
            (100, 10.0, 50.0),
            (100, 10.0, 50.0),
            Pass,
        ),
        (
            "four times as slow",
            p95.clone(),
            (100, 40.0, 200.0),
            (100, 10.0, 50.0),
            Fail,
        ),
        (
            "three times as slow at p50",
            max_increase("latency-p50", 1.0),
            (20, 60.0, 90.0),
            (40, 20.0, 30.0),
            Fail,
        ),
        (
            "four times as slow at p99",
            max_increase("latency-p99", 1.0),
            (400, 80.0, 120.0),
            (900, 20.0, 30.0),
            Fail,
        ),
        (
            "an increase below min-increase",
            with_min_increase,
            (100, 40.0, 200.0),
            (100, 10.0, 50.0),
            Pass,
        ),
        (
            "few of the new version",
            p95.clone(),
            (10, 10.0, 50.0),
            (400, 10.0, 50.0),
            Inconclusive,
        ),
        (
            "few of the old version",
            p95.clone(),
            (400, 10.0, 50.0),
            (10, 10.0, 50.0),
            Inconclusive,
        ),
        ("none", p95, (0, 1.0, 2.0), (0, 1.0, 2.0), Inconclusive),
        (
            "within the limit",
            max("latency-p95", 60.0),
            (100, 10.0, 50.0),
            (0, 1.0, 2.0),
            Pass,
        ),
        (
            "over the limit",
            max("latency-p95", 20.0),
            (100, 10.0, 50.0),
            (0, 1.0, 2.0),
            Fail,
        ),
        (
            "too few for the limit",
            max("latency-p99", 60.0),
            (100, 1.0, 5.0),
            (0, 1.0, 2.0),
            Inconclusive,
        ),
        (
            "the largest limit",
            max("latency-p50", f64::MAX),
            (100, 1.0, 5.0),
            (0, 1.0, 2.0),
            Pass,
        ),
    ] {
        let finding = judge_check(check, uniform(new), uniform(old));
        assert_eq!(finding.judgement, expected, "{name}: {}", finding.reason);
    }
}

#[test]
fn a_failed_latency_names_its_figures_in_milliseconds() {
    let finding = judge_check(
        max_increase("latency-p95", 1.0),
        latencies(vec![120.0; 50]),
        latencies(vec![15.0; 250]),
    );
    // The upper ends of the buckets of 120 ms and of 15 ms.
    assert_eq!(finding.canary, Some(120.831));
    assert_eq!(finding.baseline, Some(15.103));
    let start = "the 95th percentile of latency is 121 ms, against 15.1 ms on the previous version, \
                 which is ";
    assert!(finding.reason.starts_with(start), "{}", finding.reason);
    let middle = "200 of 200 requests were above the allowed 30.2 ms, where at most about 10 may be; \
                  chance alone would cause this less than once in ";
    assert!(finding.reason.contains(middle), "{}", finding.reason);
    let condition = &finding.conditions[0];
    assert!(condition.low.unwrap() > condition.limit, "{condition:?}");
}

#[test]
fn too_few_latencies_say_how_many_are_needed() {
    let finding = judge_check(
        max_increase("latency-p95", 1.0),
        latencies(vec![10.0; 10]),
        latencies(vec![10.0; 90]),
    );
    assert_eq!(finding.judgement, Inconclusive);
    assert!(
        finding.reason.starts_with(
            "there are 40 requests of the new version and 360 of the previous version; "
        ),
        "{}",
        finding.reason
    );
    assert!(finding.conditions[0].missing_requests.unwrap() >= 60);
}

/// The canary gets half of the requests instead of a tenth while both sides become three times
/// slower: pooled, its median is above the limit.
#[test]
fn a_split_that_changes_with_the_latency_is_no_fault() {
    let mut judge = start_judge(vec![max_increase("latency-p50", 1.0)]);
    for at in 0..40 {
        let (canary, baseline, place) = if at < 20 {
            (20, 180, 10.0)
        } else {
            (100, 100, 30.0)
        };
        let (canary, baseline) = (vec![1.8 * place; canary], vec![place; baseline]);
        judge.observe(&reading(latencies(canary), latencies(baseline)));
    }
    let finding = only_finding(&judge);
    assert_eq!(finding.judgement, Pass, "{}", finding.reason);
}

#[test]
fn nodes_that_were_slower_before_may_be_slower() {
    let judge = |before: f64| {
        let mut judge = Judge::new(SoakPlan {
            checks: vec![max_increase("latency-p95", 1.0)],
            has_baseline: true,
            before: BeforeSoak {
                canary: [(node("canary"), histogram(vec![10.0 * before; 500]))].into(),
                baseline: histogram(vec![10.0; 500]),
                ..BeforeSoak::default()
            },
            ..SoakPlan::default()
        });
        for _ in 0..10 {
            judge.observe(&reading(
                latencies(vec![25.0; 50]),
                latencies(vec![10.0; 450]),
            ));
        }
        only_finding(&judge)
    };
    assert_eq!(judge(1.0).judgement, Fail);
    let finding = judge(1.6);
    assert_eq!(finding.judgement, Pass, "{}", finding.reason);
    assert!(
        finding.reason.contains("were 1.58 times as slow"),
        "{}",
        finding.reason
    );
    assert_eq!(judge(0.5).judgement, Fail, "never lowers the limit");
}
