//! Judges latencies against their limits.

use crate::{ConditionKind, Judgement};

use super::budget::Budget;
use super::error_checks::passed;
use super::latency::{Latencies, LatencyLimit, least_for_max, least_of_baseline, least_of_canary};
use super::limits::CheckLimits;
use super::metric::Metric;
use super::outcome::{Evidence, Measured, Tested, Traffic};
use super::{Look, format};

/// Tests each condition of a check of a quantile of latency.
pub(super) fn test(
    latencies: &Latencies,
    figure: Figure<'_>,
    limits: &CheckLimits,
    budget: impl Fn(ConditionKind) -> Budget,
    traffic: Traffic,
    look: Look,
) -> Measured {
    let quantile = figure.quantile;
    let (canary, baseline) = latencies.values(quantile);
    let (canary_samples, baseline_samples) = latencies.totals();
    let test = LatencyTest {
        latencies,
        figure,
        quantile,
        traffic,
        look,
        canary,
        baseline,
    };
    let absolute = limits
        .max
        .map(|max| test.max(max, budget(ConditionKind::Max)));
    let relative = limits.max_increase.map(|max_increase| {
        let limit = LatencyLimit {
            quantile,
            max_increase,
            min_increase: limits.min_increase,
        };
        let mut tested = test.increase(&limit, budget(ConditionKind::Increase));
        if let Some(condition) = &mut tested.condition {
            condition.bursts = latencies.spells(quantile);
        }
        tested
    });
    Measured {
        canary,
        baseline,
        canary_samples,
        baseline_samples,
        tested: absolute.into_iter().chain(relative).collect(),
    }
}

/// The judged quantile, and how it is shown.
#[derive(Debug, Clone, Copy)]
pub(super) struct Figure<'a> {
    pub(super) metric: Metric,
    /// The metric, as the check names it.
    pub(super) name: &'a str,
    pub(super) quantile: f64,
}

struct LatencyTest<'a> {
    latencies: &'a Latencies,
    figure: Figure<'a>,
    quantile: f64,
    traffic: Traffic,
    look: Look,
    canary: Option<f64>,
    baseline: Option<f64>,
}

impl LatencyTest<'_> {
    fn name(&self) -> String {
        self.figure.metric.figure(self.figure.name)
    }

    fn format(&self, value: f64) -> String {
        self.figure.metric.format(value)
    }

    /// The requests that were counted, one for each that says something.
    fn effect(samples: u64, size: f64) -> f64 {
        if size > 0.0 {
            (samples as f64 / size).max(1.0)
        } else {
            1.0
        }
    }

    fn max(&self, max: f64, budget: Budget) -> Tested {
        let (samples, _) = self.latencies.totals();
        let (size, _) = self.latencies.sizes(self.quantile);
        let needed = least_for_max(self.quantile, budget.needed()) * Self::effect(samples, size);
        let shown = budget.shown();
        let evidence = Evidence {
            kind: ConditionKind::Max,
            limit: max,
            estimate: self.canary,
            interval: self
                .look
                .shown(|| self.latencies.canary_interval(self.quantile, shown)),
            evidence: self.latencies.absolute_evidence(self.quantile, max),
            needed,
            samples: samples as f64,
            budget,
        };
        let Some(value) = self.canary else {
            let reason = Self::too_few(samples, None, needed, None, self.traffic);
            return evidence.tested(Judgement::Inconclusive, reason, self.traffic);
        };
        let description = format!("{} is {}", self.name(), self.format(value));
        if evidence.is_violated() {
            let evidence = evidence.failed();
            let interval = evidence.describe_interval(|value| self.format(value));
            let description = format!("{description}, {interval}");
            return self.violated(evidence, samples, max, &description);
        }
        let certainty = evidence.describe_certainty(|value| self.format(value));
        if size <= 0.0 || (samples as f64) < needed {
            let reason = Self::too_few(samples, None, needed, None, self.traffic);
            let reason = format!("{reason}{certainty}");
            return evidence.tested(Judgement::Inconclusive, reason, self.traffic);
        }
        let allowed = format!("the allowed {}", self.format(max));
        let description = format!("{description}{certainty}");
        let reason = passed(&evidence, &description, &allowed, self.traffic);
        evidence.tested(Judgement::Pass, reason, self.traffic)
    }

    fn increase(&self, limit: &LatencyLimit, budget: Budget) -> Tested {
        let (samples, baseline_samples) = self.latencies.totals();
        let (size, baseline_size) = self.latencies.sizes(self.quantile);
        let needed = least_of_canary(self.quantile) * Self::effect(samples, size);
        let needed_of_baseline = least_of_baseline(self.quantile, budget.needed())
            * Self::effect(baseline_samples, baseline_size);
        // The requests of the canary until the baseline has enough, where their ratio stays.
        let per_baseline = samples as f64 / (baseline_samples as f64).max(1.0);
        let allowed = self
            .baseline
            .map(|baseline| self.latencies.allowed(limit, baseline));
        let ratio =
            |value: Option<f64>| Some(value? / self.baseline?).filter(|ratio| ratio.is_finite());
        // Both sides are estimated apart: where these intervals are apart, the test fails too.
        let shown = budget.shown() + 3.0_f64.ln();
        let (quantile, look) = (self.quantile, self.look);
        let (low, high) = look.shown(|| self.latencies.canary_interval(quantile, shown));
        let (base_low, base_high) =
            look.shown(|| self.latencies.baseline_interval(quantile, shown));
        let over = |value: Option<f64>, base: Option<f64>| {
            Some(value? / base?).filter(|ratio| ratio.is_finite())
        };
        let evidence = Evidence {
            kind: ConditionKind::Increase,
            limit: ratio(allowed).unwrap_or(1.0 + limit.max_increase),
            estimate: ratio(self.canary),
            interval: (over(low, base_high), over(high, base_low)),
            evidence: self.latencies.relative_evidence(limit),
            needed: needed.max(needed_of_baseline * per_baseline),
            samples: samples as f64,
            budget,
        };
        let (Some(new), Some(old), Some(allowed)) = (self.canary, self.baseline, allowed) else {
            let of_baseline = Some((baseline_samples, needed_of_baseline));
            let reason = Self::too_few(samples, of_baseline, needed, None, self.traffic);
            return evidence.tested(Judgement::Inconclusive, reason, self.traffic);
        };
        let description = format!(
            "{} is {}, against {} on the previous version",
            self.name(),
            self.format(new),
            self.format(old)
        );
        let times = |ratio| format!("{} as high", format::times(ratio));
        if evidence.is_violated() {
            let evidence = evidence.failed();
            let more = self.describe_more(&evidence, old);
            let interval = evidence.describe_interval(times);
            let description = format!("{description}, which is {more}, {interval}");
            return self.violated(evidence, samples, allowed, &description);
        }
        let evidence = evidence.kept();
        let certainty = evidence.describe_certainty(times);
        if size <= 0.0
            || baseline_size <= 0.0
            || (samples as f64) < needed
            || (baseline_samples as f64) < needed_of_baseline
        {
            let of_baseline = Some((baseline_samples, needed_of_baseline));
            let missing = evidence.missing();
            let reason = Self::too_few(samples, of_baseline, needed, missing, self.traffic);
            let reason = format!("{reason}{certainty}");
            return evidence.tested(Judgement::Inconclusive, reason, self.traffic);
        }
        let mut allowed = format!("the allowed {}", self.format(allowed));
        let before = self.latencies.before(self.quantile);
        if before > 1.01 {
            allowed += &format!(
                " (these nodes were {} as slow before)",
                format::times(before)
            );
        }
        let description = format!("{description}{certainty}");
        let reason = passed(&evidence, &description, &allowed, self.traffic);
        evidence.tested(Judgement::Pass, reason, self.traffic)
    }

    /// `22 ms to 106 ms more`: the interval of the ratio, by what the previous version takes.
    fn describe_more(&self, evidence: &Evidence, old: f64) -> String {
        let more = |ratio: f64| self.format((old * (ratio - 1.0)).max(0.0));
        match evidence.interval {
            (Some(low), Some(high)) => format!("{} to {} more", more(low), more(high)),
            (low, _) => format!("at least {} more", more(low.unwrap_or(1.0))),
        }
    }

    fn violated(
        &self,
        evidence: Evidence,
        samples: u64,
        allowed: f64,
        description: &str,
    ) -> Tested {
        let above = self.latencies.above(allowed);
        let expected = (samples as f64 * (1.0 - self.quantile)).round() as u64;
        let reason = format!(
            "{description}: {} of {} requests were above the allowed {}, where at most about {} \
             may be; {}",
            format::count(above),
            format::count(samples),
            self.format(allowed),
            format::count(expected),
            evidence.describe_chance()
        );
        evidence.tested(Judgement::Fail, reason, self.traffic)
    }

    fn too_few(
        samples: u64,
        baseline: Option<(u64, f64)>,
        needed: f64,
        missing: Option<f64>,
        traffic: Traffic,
    ) -> String {
        let count = |n: f64| format::count(n.ceil() as u64);
        let missing = missing.unwrap_or((needed - samples as f64).max(0.0));
        let time = traffic.describe(missing);
        match baseline {
            Some((baseline, needed_of_baseline)) => format!(
                "there are {} of the new version and {} of the previous version; {} and {} are \
                 needed for a verdict, in at least three readings{time}",
                format::requests(samples),
                format::count(baseline),
                count(needed),
                count(needed_of_baseline)
            ),
            None => format!(
                "there are {} of the new version; {} are needed for a verdict, in at least three \
                 readings{time}",
                format::requests(samples),
                count(needed)
            ),
        }
    }
}
