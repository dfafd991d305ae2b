use super::*;
use crate::{Judgement, Verdict};

fn limits(check: &Check) -> CheckLimits {
    CheckLimits::validate(check, true).unwrap()
}

fn check() -> Check {
    Check {
        metric: "error-rate".into(),
        max: None,
        max_increase: Some(0.5),
        min_increase: None,
    }
}

fn verdict(evidence: f64) -> Answer {
    let condition = Condition {
        kind: ConditionKind::Increase,
        limit: 1.5,
        estimate: None,
        low: None,
        high: None,
        evidence,
        earlier: 0.0,
        threshold: 6.0,
        bursts: None,
        lifetimes: None,
        missing_requests: None,
        missing_millis: None,
    };
    Answer::Verdict(Verdict {
        judgement: Judgement::Pass,
        findings: vec![Finding {
            check: check(),
            judgement: Judgement::Pass,
            canary: None,
            baseline: None,
            canary_samples: 0,
            baseline_samples: 0,
            reason: String::new(),
            conditions: vec![condition],
            queried: Vec::new(),
        }],
        promoted_by: None,
    })
}

fn earlier(history: &SoakHistory) -> f64 {
    let check = check();
    let kind = ConditionKind::Increase;
    let budget = history.of(
        0.01,
        Metric::ErrorRate,
        &check.metric,
        &limits(&check),
        kind,
    );
    budget.earlier
}

/// With E₁ = 4 and E₂ = 3: ½, then ½·4 + 1/6, then ½·4·3 + 1/6·3 + 1/12.
#[test]
fn evidence_is_multiplied_through_later_soaks() {
    let mut history = SoakHistory::default();
    assert!((earlier(&history) - 0.5_f64.ln()).abs() < 1e-12);
    history.record(&verdict(4.0_f64.ln()));
    assert!((earlier(&history) - (2.0 + 1.0 / 6.0_f64).ln()).abs() < 1e-12);
    history.record(&Answer::Done);
    history.record(&verdict(3.0_f64.ln()));
    assert!((earlier(&history) - (6.5 + 1.0 / 12.0_f64).ln()).abs() < 1e-12);
}

/// Good evidence does not pile up against later faults: a fresh soak needs 400 times 2, 6, 12.
#[test]
fn a_good_soak_leaves_the_next_one_its_own_weight() {
    let mut history = SoakHistory::default();
    for needed in [2.0_f64, 6.0, 12.0] {
        assert!((earlier(&history) + needed.ln()).abs() < 1e-9);
        history.record(&verdict(-1e6));
    }
}

#[test]
fn a_condition_that_earlier_soaks_did_not_test_keeps_their_weight() {
    let mut history = SoakHistory::default();
    history.record(&verdict(0.0));
    let other = Check {
        max_increase: Some(0.7),
        ..check()
    };
    let kind = ConditionKind::Increase;
    let budget =
        |check: &Check| history.of(0.01, Metric::ErrorRate, &check.metric, &limits(check), kind);
    assert!((budget(&other).earlier - (2.0 / 3.0_f64).ln()).abs() < 1e-12);
    let entry = (Metric::ErrorRate, other.metric.clone(), limits(&other));
    let both = 2.0 * SHARES_OF_ERRORS;
    assert_eq!(history.shares(&[entry]), both, "both share the budget");
    let entry = (Metric::ErrorRate, check().metric, limits(&check()));
    assert_eq!(history.shares(&[entry]), SHARES_OF_ERRORS);
}

/// Soaks without a baseline that test one derived limit after the other, each of which would
/// have a false alarm with its whole level, have none together more often than one.
#[test]
fn derived_limits_of_later_soaks_share_one_budget() {
    let derived = |limit: f64| {
        let Answer::Verdict(mut verdict) = verdict(1.0) else {
            panic!("a verdict");
        };
        let condition = &mut verdict.findings[0].conditions[0];
        (condition.kind, condition.limit) = (ConditionKind::Max, limit);
        Answer::Verdict(verdict)
    };
    let budget = |history: &SoakHistory, limit: f64| {
        let asked = Check {
            max: Some(limit),
            max_increase: None,
            ..check()
        };
        let kind = ConditionKind::Max;
        let limits = limits(&asked);
        let shares = history.shares(&[(Metric::ErrorRate, asked.metric.clone(), limits.clone())]);
        let level = 0.01 / shares;
        let budget = history.of(level, Metric::ErrorRate, &asked.metric, &limits, kind);
        (-budget.needed()).exp()
    };
    let mut history = SoakHistory::default();
    let mut sum = 0.0;
    for soak in 0..50 {
        let limit = 0.02 + 0.001 * f64::from(soak);
        sum += budget(&history, limit);
        history.record(&derived(limit));
    }
    assert!(sum > 0.009 && sum <= 0.01, "{sum}");
}

/// The evidence against a derived limit says nothing of a higher one that was asked for.
#[test]
fn evidence_against_a_derived_limit_does_not_count_against_the_limit_that_was_asked_for() {
    let asked = Check {
        max: Some(0.5),
        ..check()
    };
    let earlier_with = |limit: f64| {
        let Answer::Verdict(mut seen) = verdict(9.0) else {
            panic!("a verdict");
        };
        seen.findings[0].check = asked.clone();
        let condition = &mut seen.findings[0].conditions[0];
        (condition.kind, condition.limit) = (ConditionKind::Max, limit);
        let mut history = SoakHistory::default();
        history.record(&Answer::Verdict(seen));
        let kind = ConditionKind::Max;
        let limits = limits(&asked);
        let budget = history.of(0.01, Metric::ErrorRate, &asked.metric, &limits, kind);
        budget.earlier
    };
    assert!(earlier_with(0.5) > 8.0);
    assert!((earlier_with(0.03) + 6.0_f64.ln()).abs() < 1e-12);
}

/// A finding of an earlier release has none.
#[test]
fn bursts_of_earlier_soaks_are_added_up() {
    let mut history = SoakHistory::default();
    history.record(&verdict(0.0));
    assert_eq!(history.bursts_of("error-rate"), Bursts::default());
    let Answer::Verdict(mut seen) = verdict(0.0) else {
        panic!("a verdict");
    };
    seen.findings[0].conditions[0].bursts = Some(Bursts {
        squares: 50.0,
        expected: 10.0,
    });
    for _ in 0..2 {
        history.record(&Answer::Verdict(seen.clone()));
    }
    let sum = Bursts {
        squares: 100.0,
        expected: 20.0,
    };
    assert_eq!(history.bursts_of("error-rate"), sum);
    assert_eq!(history.bursts_of("refused"), Bursts::default());
}
