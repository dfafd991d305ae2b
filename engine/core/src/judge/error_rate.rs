//! Tests the share of requests that failed.

use super::cohort::Cohort;
use super::condition::{ConditionOutcome, Measurement};
use super::limits::CheckLimits;
use super::{format, tail_probability};

/// An error rate that must not be missed. There are enough samples where a test would find
/// this share of errors on the new version alone.
const NOTICEABLE: f64 = 0.10;

/// With fewer requests of a cohort, even a clear difference says little about the rest.
const MIN_REQUESTS: u64 = 50;

/// Requests of one cohort, and how many of them failed.
#[derive(Clone, Copy)]
struct ErrorRate {
    requests: u64,
    errors: u64,
}

impl ErrorRate {
    /// A node does not read its counters at one instant: an error may be counted before its
    /// request.
    fn new(cohort: &Cohort) -> Self {
        Self {
            requests: cohort.requests,
            errors: cohort.errors.min(cohort.requests),
        }
    }

    fn share(self) -> Option<f64> {
        (self.requests > 0).then(|| self.errors as f64 / self.requests as f64)
    }

    fn describe(self) -> String {
        format!(
            "{} of {} requests failed ({})",
            format::count(self.errors),
            format::count(self.requests),
            format::percent(self.share().unwrap_or(0.0))
        )
    }
}

/// Tests each condition of a check of the error rate.
pub(super) fn test(
    canary: &Cohort,
    baseline: &Cohort,
    limits: &CheckLimits,
) -> (Measurement, Vec<ConditionOutcome>) {
    let (new, old) = (ErrorRate::new(canary), ErrorRate::new(baseline));
    let measurement = Measurement {
        canary: new.share(),
        baseline: old.share(),
        canary_samples: new.requests,
        baseline_samples: old.requests,
    };
    let absolute = limits.max.map(|max| test_max(new, max, limits));
    let relative = limits
        .max_increase
        .map(|increase| test_increase(new, old, increase, limits));
    (measurement, absolute.into_iter().chain(relative).collect())
}

/// A binomial test.
fn test_max(new: ErrorRate, max: f64, limits: &CheckLimits) -> ConditionOutcome {
    let description = new.describe();
    let allowed = format::percent(max);
    if tail_probability::binomial(new.requests, max, new.errors) < limits.significance {
        return ConditionOutcome::Violated(format!(
            "{description}: more than the allowed {allowed}; {}",
            limits.describe_significance()
        ));
    }
    let needed = needed_for_max(max, limits.significance);
    if new.requests < needed {
        return ConditionOutcome::TooFewSamples(format!(
            "the new version answered {}; {} are needed for a verdict",
            format::requests(new.requests),
            format::count(needed)
        ));
    }
    ConditionOutcome::Met(format!(
        "{description}: no evidence of more than the allowed {allowed}"
    ))
}

/// The fewest requests with which the test would find a rate [`NOTICEABLE`] above `max`.
/// Where that rate would be over 100 %, the limit can hardly be exceeded, and
/// [`MIN_REQUESTS`] suffices.
fn needed_for_max(max: f64, significance: f64) -> u64 {
    let bad = max + NOTICEABLE;
    if bad >= 1.0 {
        return MIN_REQUESTS;
    }
    let is_found =
        |n: u64| tail_probability::binomial(n, max, (n as f64 * bad).floor() as u64) < significance;
    // At the widest spread, where `max` is a half, the answer is below 400: the end is never
    // reached.
    (MIN_REQUESTS..1_000)
        .find(|&n| is_found(n))
        .unwrap_or(1_000)
}

/// The conditional test of two Poisson rates (Przyborowski and Wilenski, "Homogeneity of
/// results in testing samples from Poisson series", 1940). Where the rate of the new version
/// is at most `1 + increase` times the other, and given the errors of both together, its
/// errors are at most binomial with the probability `share`.
fn test_increase(
    new: ErrorRate,
    old: ErrorRate,
    increase: f64,
    limits: &CheckLimits,
) -> ConditionOutcome {
    let description = format!(
        "{}, against {} of {} ({}) on the previous version",
        new.describe(),
        format::count(old.errors),
        format::count(old.requests),
        format::percent(old.share().unwrap_or(0.0))
    );
    let allowed = format::percent(increase);
    let share = allowed_share_of_errors(new, old, increase);
    let errors = new.errors.saturating_add(old.errors);
    let is_significant =
        tail_probability::binomial(errors, share, new.errors) < limits.significance;
    let rise = new.share().unwrap_or(0.0) - old.share().unwrap_or(0.0);
    if is_significant && rise >= limits.min_increase {
        return ConditionOutcome::Violated(format!(
            "{description}: more than the allowed increase of {allowed}; {}",
            limits.describe_significance()
        ));
    }
    if let Some(reason) = too_few(new, old, share, limits.significance) {
        return ConditionOutcome::TooFewSamples(reason);
    }
    if is_significant {
        return ConditionOutcome::Met(format!(
            "{description}: the increase is less than {}, which is never a failure",
            format::percent(limits.min_increase)
        ));
    }
    ConditionOutcome::Met(format!(
        "{description}: no evidence of more than the allowed increase of {allowed}"
    ))
}

/// The share of all errors that the new version may have; 1 where the previous version has
/// answered no request.
fn allowed_share_of_errors(new: ErrorRate, old: ErrorRate, increase: f64) -> f64 {
    if old.requests == 0 {
        return 1.0;
    }
    // In this form, an infinite increase gives a share of 1.
    let weight = (1.0 + increase) * new.requests as f64;
    1.0 / (1.0 + old.requests as f64 / weight)
}

/// How many requests are needed, where that is more than there are; else `None`.
///
/// If the previous version has no error, the test finds k errors of the new version where
/// `share`^k is below the significance level. At a rate of [`NOTICEABLE`], k errors take
/// k / [`NOTICEABLE`] requests. Assumes that the ratio between the cohorts stays as it is.
fn too_few(new: ErrorRate, old: ErrorRate, share: f64, significance: f64) -> Option<String> {
    let answered = format!(
        "the new version answered {} and the previous version {}",
        format::requests(new.requests),
        format::count(old.requests)
    );
    if new.requests == 0 || old.requests == 0 || share <= 0.0 || share >= 1.0 {
        return Some(format!(
            "{answered}; at least {MIN_REQUESTS} of each are needed for a verdict"
        ));
    }
    let errors = (significance.ln() / share.ln()).ceil();
    let (n1, n0) = (new.requests as f64, old.requests as f64);
    let min = MIN_REQUESTS as f64;
    let factor = (errors / NOTICEABLE / n1).max(min / n1).max(min / n0);
    (factor > 1.0).then(|| {
        let needed = |n: f64| format::count((n * factor).ceil() as u64);
        let (n1, n0) = (needed(n1), needed(n0));
        format!("{answered}; at this ratio, {n1} and {n0} are needed for a verdict")
    })
}
