//! Tests a metric at a quantile: latency at its percentile, gauges at their median.

use super::condition::{ConditionOutcome, Measurement};
use super::limits::CheckLimits;
use super::quantile_samples::{QuantileSamples, rank};
use super::{format, tail_probability};

/// Tests each condition of a check whose metric is judged at a quantile.
pub(super) fn test(
    canary: &QuantileSamples<'_>,
    baseline: &QuantileSamples<'_>,
    limits: &CheckLimits,
) -> (Measurement, Vec<ConditionOutcome>) {
    let measurement = Measurement {
        canary: canary.value(),
        baseline: baseline.value(),
        canary_samples: canary.len(),
        baseline_samples: baseline.len(),
    };
    let absolute = limits.max.map(|max| test_max(canary, max, limits));
    let relative = limits
        .max_increase
        .map(|increase| test_increase(canary, baseline, increase, limits));
    (measurement, absolute.into_iter().chain(relative).collect())
}

/// A binomial test: where the quantile is at most `max`, each sample is above `max` with a
/// probability of at most `1 - quantile`.
fn test_max(canary: &QuantileSamples<'_>, max: f64, limits: &CheckLimits) -> ConditionOutcome {
    let tail = 1.0 - canary.quantile();
    let total = canary.len();
    let min_significant = (limits.significance.ln() / tail.ln()).ceil() as u64;
    let needed = canary.min_samples().max(min_significant);
    let Some(value) = canary.value() else {
        return too_few(canary, None, needed);
    };
    let above = canary.count_above(max);
    let description = format!("{} is {}", canary.name(), canary.format(value));
    let allowed = canary.format(max);
    if tail_probability::binomial(total, tail, above) < limits.significance {
        return violated(canary, above, &description, &allowed, limits);
    }
    if total < needed {
        return too_few(canary, None, needed);
    }
    met(&description, &allowed)
}

/// An exceedance test: counts the samples of the new version above the quantile of the
/// previous version plus the allowed increase.
fn test_increase(
    canary: &QuantileSamples<'_>,
    baseline: &QuantileSamples<'_>,
    increase: f64,
    limits: &CheckLimits,
) -> ConditionOutcome {
    let (n1, n0) = (canary.len(), baseline.len());
    let needed = needed_of_each(canary, limits.significance);
    let (Some(new), Some(old)) = (canary.value(), baseline.value()) else {
        return too_few(canary, Some(n0), needed);
    };
    let limit = ((1.0 + increase) * old).max(old + limits.min_increase);
    let above = canary.count_above(limit);
    let allowed = canary.format(limit);
    let description = format!(
        "{} is {}, against {} on the previous version",
        canary.name(),
        canary.format(new),
        canary.format(old)
    );
    if tail_probability::exceedance(n1, above, n0, baseline.rank()) < limits.significance {
        return violated(canary, above, &description, &allowed, limits);
    }
    if n1 < needed || n0 < needed {
        return too_few(canary, Some(n0), needed);
    }
    met(&description, &allowed)
}

fn violated(
    canary: &QuantileSamples<'_>,
    above: u64,
    description: &str,
    allowed: &str,
    limits: &CheckLimits,
) -> ConditionOutcome {
    let total = canary.len();
    let expected = (total as f64 * (1.0 - canary.quantile())).round() as u64;
    ConditionOutcome::Violated(format!(
        "{description}: {} of {} {} were above the allowed {allowed}, where at most about {} may \
         be; {}",
        format::count(above),
        format::count(total),
        canary.sample_noun(),
        format::count(expected),
        limits.describe_significance()
    ))
}

fn met(description: &str, allowed: &str) -> ConditionOutcome {
    ConditionOutcome::Met(format!(
        "{description}: no evidence of more than the allowed {allowed}"
    ))
}

fn too_few(canary: &QuantileSamples<'_>, baseline: Option<u64>, needed: u64) -> ConditionOutcome {
    let (noun, samples, needed) = (
        canary.sample_noun(),
        format::count(canary.len()),
        format::count(needed),
    );
    ConditionOutcome::TooFewSamples(match baseline {
        Some(baseline) => format!(
            "there are {samples} {noun} of the new version and {} of the previous version; \
             {needed} of each are needed for a verdict",
            format::count(baseline)
        ),
        None => format!(
            "there are {samples} {noun} of the new version; {needed} are needed for a verdict"
        ),
    })
}

/// The fewest samples of each cohort, both of equal size, with which the test would find the
/// worst case: all samples of the new version above the limit.
fn needed_of_each(canary: &QuantileSamples<'_>, significance: f64) -> u64 {
    let min = canary.min_samples();
    let finds_worst_case =
        |n: u64| tail_probability::exceedance(n, n, n, rank(n, canary.quantile())) < significance;
    // Even and odd numbers differ: the median of an even number is the lower one of two. At
    // the median, the hardest case, the answer is about twenty, so the end is never reached.
    (min..min + 1_000)
        .find(|&n| finds_worst_case(n) && finds_worst_case(n + 1))
        .unwrap_or(min + 1_000)
}
