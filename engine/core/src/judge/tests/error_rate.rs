use super::fixture::*;
use crate::{Check, Finding};

use crate::Judgement::{Fail, Inconclusive, Pass};

/// Requests and errors of the new version, then of the old one.
type Counts = (u64, u64, u64, u64);

fn judge_error_rate(check: Check, (n1, e1, n0, e0): Counts) -> Finding {
    judge_check(
        check,
        version(new_version(), n1, e1),
        version(old_version(), n0, e0),
    )
}

#[test]
fn a_failed_error_rate_names_its_figures() {
    let finding = judge_error_rate(max_increase("error-rate", 0.5), (240, 12, 2160, 3));
    assert_eq!(finding.judgement, Fail);
    assert_eq!(finding.canary, Some(0.05));
    assert_eq!(
        (finding.canary_samples, finding.baseline_samples),
        (240, 2160)
    );
    assert_eq!(
        finding.reason,
        "12 of 240 requests failed (5 %), against 3 of 2,160 (0.139 %) on the previous version: more \
         than the allowed increase of 50 %; chance alone would cause this less than once in 2,000 \
         times"
    );
}

/// The new version may have 1/7 of the 15 errors. Eight or more are its own with probability
/// 0.000434, seven or more with 0.00271; the significance level, 0.0005, lies between.
#[test]
fn the_error_rate_fails_from_the_significance_level_on() {
    for (e1, expected) in [(7, Pass), (8, Fail)] {
        let finding = judge_error_rate(max_increase("error-rate", 0.5), (240, e1, 2160, 15 - e1));
        assert_eq!(finding.judgement, expected, "{}", finding.reason);
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
    for (name, check, counts, expected) in [
        (
            "none",
            max_increase("error-rate", 0.5),
            (1000, 0, 1000, 0),
            Pass,
        ),
        (
            "as bad as before",
            max_increase("error-rate", 0.5),
            (1000, 100, 9000, 900),
            Pass,
        ),
        (
            "a tenth against none",
            max_increase("error-rate", 0.5),
            (200, 20, 200, 0),
            Fail,
        ),
        (
            "all of a few",
            max_increase("error-rate", 0.5),
            (12, 12, 500, 0),
            Fail,
        ),
        (
            "one of a few",
            max_increase("error-rate", 0.5),
            (3, 1, 500, 0),
            Inconclusive,
        ),
        (
            "no baseline yet",
            max_increase("error-rate", 0.5),
            (900, 90, 0, 0),
            Inconclusive,
        ),
        (
            "no canary yet",
            max_increase("error-rate", 0.5),
            (0, 0, 900, 0),
            Inconclusive,
        ),
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
            (1000, 12, 0, 0),
            Pass,
        ),
        (
            "over the limit",
            max("error-rate", 0.01),
            (240, 12, 0, 0),
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
            (20, 0, 0, 0),
            Inconclusive,
        ),
        ("both limits kept", both.clone(), (1000, 2, 1000, 2), Pass),
        (
            "one of two limits exceeded",
            both,
            (1000, 50, 1000, 50),
            Fail,
        ),
    ] {
        let finding = judge_error_rate(check, counts);
        assert_eq!(finding.judgement, expected, "{name}: {}", finding.reason);
        assert!(!finding.reason.is_empty());
    }
}

/// At a ratio of one to three the new version may have a third of the errors (1.5 / 4.5).
/// Then 7 errors of its own are significant, which are a tenth of 70 requests.
#[test]
fn too_few_requests_are_inconclusive_and_say_how_many_are_needed() {
    let finding = judge_error_rate(max_increase("error-rate", 0.5), (20, 0, 60, 0));
    assert_eq!(finding.judgement, Inconclusive);
    assert_eq!(
        finding.reason,
        "the new version answered 20 requests and the previous version 60; at this ratio, 70 and \
         210 are needed for a verdict"
    );
    let finding = judge_error_rate(max_increase("error-rate", 0.5), (70, 0, 210, 0));
    assert_eq!(finding.judgement, Pass, "{}", finding.reason);
    let finding = judge_error_rate(max("error-rate", 0.01), (1, 0, 0, 0));
    assert_eq!(
        finding.reason,
        "the new version answered 1 request; 50 are needed for a verdict"
    );
}
