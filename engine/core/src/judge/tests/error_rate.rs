use super::fixture::*;
use crate::{Check, ConditionKind, Finding, Judge, SoakPlan};

use crate::Judgement::{Fail, Inconclusive, Pass};

/// Requests and errors of the new version, then of the old one, in each of four readings.
type Counts = (u64, u64, u64, u64);

fn judge_error_rate(check: Check, (n1, e1, n0, e0): Counts) -> Finding {
    judge_check(check, requests(n1, e1), requests(n0, e0))
}

#[test]
fn a_failed_error_rate_names_its_figures() {
    let finding = judge_error_rate(max_increase("error-rate", 0.5), (60, 6, 540, 1));
    assert_eq!(finding.judgement, Fail);
    assert_eq!(finding.canary, Some(0.1));
    assert_eq!(
        (finding.canary_samples, finding.baseline_samples),
        (240, 2160)
    );
    let start = "24 of 240 requests failed (10 %), against 4 of 2,160 (0.185 %) on the previous \
                 version: between ";
    assert!(finding.reason.starts_with(start), "{}", finding.reason);
    let end = "times its rate, more than the allowed increase of 50 %; chance alone would cause \
               this less than once in ";
    assert!(finding.reason.contains(end), "{}", finding.reason);
    assert!(
        finding.reason.ends_with(" deployments"),
        "{}",
        finding.reason
    );
}

/// The condition shows what the verdict rests on.
#[test]
fn the_interval_lies_above_the_limit_exactly_where_the_check_fails() {
    for errors in 0..20 {
        let finding = judge_error_rate(max_increase("error-rate", 0.5), (60, errors, 540, 3));
        let condition = &finding.conditions[0];
        assert_eq!(condition.kind, ConditionKind::Increase);
        assert_eq!(condition.limit, 1.5);
        let is_violated = condition.evidence + condition.earlier >= condition.threshold;
        assert_eq!(finding.judgement == Fail, is_violated);
        let is_above = condition.low.is_some_and(|low| low >= condition.limit);
        assert_eq!(is_violated, is_above, "{condition:?}");
        let estimate = condition.estimate.unwrap();
        assert!(
            condition.low.is_none_or(|low| low <= estimate),
            "{condition:?}"
        );
        assert!(
            condition.high.is_none_or(|high| high >= estimate),
            "{condition:?}"
        );
    }
}

#[test]
fn error_rates_are_judged() {
    let small = Check {
        min_increase: Some(0.06),
        ..max_increase("error-rate", 0.5)
    };
    let both = Check {
        max: Some(0.01),
        ..max_increase("error-rate", 0.5)
    };
    let relative = max_increase("error-rate", 0.5);
    for (name, check, counts, expected) in [
        ("none", relative.clone(), (250, 0, 250, 0), Pass),
        (
            "as bad as before",
            relative.clone(),
            (250, 25, 2250, 225),
            Pass,
        ),
        (
            "a tenth against none",
            relative.clone(),
            (100, 10, 100, 0),
            Fail,
        ),
        ("all of a few", relative.clone(), (3, 3, 120, 0), Fail),
        (
            "none of a few",
            relative.clone(),
            (3, 0, 500, 0),
            Inconclusive,
        ),
        (
            "no baseline yet",
            relative.clone(),
            (900, 90, 0, 0),
            Inconclusive,
        ),
        ("no canary yet", relative, (0, 0, 900, 0), Inconclusive),
        (
            "an increase below min-increase",
            small.clone(),
            (240, 12, 2160, 3),
            Pass,
        ),
        (
            "an increase above min-increase",
            small,
            (240, 24, 2160, 3),
            Fail,
        ),
        (
            "no increase allowed",
            max_increase("error-rate", 0.0),
            (1000, 50, 1000, 10),
            Fail,
        ),
        (
            "within the limit",
            max("error-rate", 0.01),
            (250, 3, 0, 0),
            Pass,
        ),
        (
            "over the limit",
            max("error-rate", 0.01),
            (60, 4, 0, 0),
            Fail,
        ),
        (
            "none allowed, one seen",
            max("error-rate", 0.0),
            (100, 1, 0, 0),
            Fail,
        ),
        (
            "none allowed, none seen",
            max("error-rate", 0.0),
            (100, 0, 0, 0),
            Pass,
        ),
        (
            "all allowed",
            max("error-rate", 1.0),
            (100, 100, 0, 0),
            Pass,
        ),
        (
            "more than all allowed",
            max("error-rate", 7.0),
            (100, 100, 0, 0),
            Pass,
        ),
        (
            "too few for the limit",
            max("error-rate", 0.01),
            (10, 0, 0, 0),
            Inconclusive,
        ),
        ("both limits kept", both.clone(), (300, 1, 300, 1), Pass),
        ("one of two limits exceeded", both, (300, 15, 300, 15), Fail),
    ] {
        let finding = judge_error_rate(check, counts);
        assert_eq!(finding.judgement, expected, "{name}: {}", finding.reason);
        assert!(!finding.reason.is_empty());
    }
}

#[test]
fn too_few_requests_are_inconclusive_and_say_how_many_are_needed() {
    let finding = judge_error_rate(max_increase("error-rate", 0.5), (5, 0, 15, 0));
    assert_eq!(finding.judgement, Inconclusive);
    // One condition has 1 % of false alarms; a first soak may spend half of it. With a third of
    // the requests, k errors of its own are e^(-1.61) 3^k: seven are needed, or nine until it is
    // known that they come one by one; each tenth request is one.
    assert_eq!(
        finding.reason,
        "the new version answered 20 requests and the previous version 60; at this ratio, 89 and \
         266 are needed for a verdict; at the present rate that takes another 3 minutes"
    );
    assert_eq!(finding.conditions[0].missing_requests, Some(69));
    assert_eq!(finding.conditions[0].missing_millis, Some(138_000));
    let finding = judge_error_rate(max_increase("error-rate", 0.5), (23, 0, 69, 0));
    assert_eq!(finding.judgement, Pass, "{}", finding.reason);
    let mut judge = start_judge(vec![max_increase("error-rate", 0.5)]);
    judge.observe(&reading(requests(900, 900), requests(900, 0)));
    let finding = only_finding(&judge);
    assert_eq!(
        finding.judgement, Inconclusive,
        "one burst must not condemn"
    );
    assert_eq!(
        finding.reason,
        "requests were answered in 1 of at least 3 readings, which tell whether errors come in bursts"
    );
}

#[test]
fn a_check_that_leans_towards_failure_says_how_long_it_would_take() {
    let finding = judge_error_rate(max_increase("error-rate", 0.5), (100, 6, 100, 2));
    assert_eq!(finding.judgement, Pass, "{}", finding.reason);
    assert!(
        finding
            .reason
            .contains("but not beyond doubt; if it goes on like this, another "),
        "{}",
        finding.reason
    );
    assert!(finding.conditions[0].missing_requests.unwrap() > 0);
}

/// While the base rate rises tenfold, the canary's share rises too: pooled, it looks five times as
/// bad (Simpson's paradox).
#[test]
fn a_split_that_changes_with_the_rate_is_no_fault() {
    let mut judge = start_judge(vec![max_increase("error-rate", 0.5)]);
    for at in 0..40 {
        let (canary, baseline) = if at < 20 {
            (requests(200, u64::from(at % 2 == 0)), requests(1800, 5))
        } else {
            (requests(1000, 30), requests(1000, 30))
        };
        judge.observe(&reading(canary, baseline));
    }
    assert_eq!(only_finding(&judge).judgement, Pass);
}

/// A node whose clients are worse counts for both versions on it.
#[test]
fn on_shared_nodes_each_node_is_compared_with_itself() {
    let judge = |by_node| {
        let mut judge = Judge::new(SoakPlan {
            checks: vec![max_increase("error-rate", 0.5)],
            has_baseline: true,
            by_node,
            ..SoakPlan::default()
        });
        for _ in 0..40 {
            judge.observe(&[
                on_node("bad", Some(requests(90, 18)), Some(requests(10, 2))),
                on_node("good", Some(requests(10, 0)), Some(requests(90, 0))),
            ]);
        }
        only_finding(&judge).judgement
    };
    assert_eq!(judge(true), Pass);
    assert_eq!(judge(false), Fail);
}

/// A node does not read its counters at one instant.
#[test]
fn an_error_that_is_counted_before_its_request_is_carried_to_the_next_reading() {
    let mut judge = start_judge(vec![max_increase("error-rate", 0.5)]);
    judge.observe(&reading(requests(1, 3), requests(50, 0)));
    judge.observe(&reading(requests(49, 0), requests(50, 0)));
    judge.observe(&reading(requests(50, 0), requests(50, 0)));
    let finding = only_finding(&judge);
    assert_eq!(finding.canary, Some(0.03));
    assert_ne!(finding.judgement, Fail);
}
