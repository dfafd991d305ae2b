use std::time::Duration;

use crate::Histogram;

use super::gauge::Gauge;
use super::limits::{Limits, Metric};
use super::side::Side;
use super::{Outcome, Seen, tail, words};

/// Samples beyond a quantile that one must expect to have seen before it means anything.
const BEYOND: f64 = 5.0;

/// The samples of one side of a metric that is judged at a quantile.
pub(super) struct Spread<'a> {
    metric: Metric,
    quantile: f64,
    samples: Samples<'a>,
}

enum Samples<'a> {
    Latency(&'a Histogram),
    Gauge(&'a Gauge),
}

impl<'a> Spread<'a> {
    /// A gauge is judged at its median.
    pub(super) fn of(metric: Metric, side: &'a Side) -> Self {
        let (quantile, samples) = match metric {
            Metric::Latency { quantile } => (quantile, Samples::Latency(&side.latency)),
            Metric::Memory => (0.5, Samples::Gauge(&side.memory)),
            Metric::Cpu | Metric::ErrorRate => (0.5, Samples::Gauge(&side.cpu)),
        };
        Self {
            metric,
            quantile,
            samples,
        }
    }

    fn len(&self) -> u64 {
        match self.samples {
            Samples::Latency(histogram) => histogram.total(),
            Samples::Gauge(gauge) => gauge.len(),
        }
    }

    /// In the metric's unit.
    fn value(&self) -> Option<f64> {
        match self.samples {
            Samples::Latency(histogram) => {
                let found = histogram.quantile(self.quantile);
                found.map(|span| span.as_secs_f64() * 1e3)
            }
            Samples::Gauge(gauge) => gauge.quantile(self.quantile),
        }
    }

    /// How many are certainly above a limit in the metric's unit.
    fn above(&self, limit: f64) -> u64 {
        match self.samples {
            Samples::Latency(histogram) => {
                let limit = Duration::try_from_secs_f64(limit / 1e3);
                histogram.above(limit.unwrap_or(Duration::MAX))
            }
            Samples::Gauge(gauge) => gauge.above(limit),
        }
    }

    /// Of how many one is the quantile, counted from below.
    fn rank(&self) -> u64 {
        rank(self.len(), self.quantile)
    }

    fn told(&self, value: f64) -> String {
        match self.metric {
            Metric::Latency { .. } => words::milliseconds(value),
            Metric::Memory => words::bytes(value),
            Metric::Cpu | Metric::ErrorRate => words::cores(value),
        }
    }

    fn name(&self) -> &'static str {
        match self.metric {
            Metric::Latency { quantile: 0.95 } => "the 95th percentile of latency",
            Metric::Latency { quantile: 0.99 } => "the 99th percentile of latency",
            Metric::Latency { .. } => "the median latency",
            Metric::Memory => "the median memory",
            Metric::Cpu | Metric::ErrorRate => "the median CPU use",
        }
    }

    fn noun(&self) -> &'static str {
        match self.samples {
            Samples::Latency(_) => "requests",
            Samples::Gauge(_) => "readings",
        }
    }

    /// The fewest that a quantile is told from, whatever the test.
    fn floor(&self) -> u64 {
        (BEYOND / (1.0 - self.quantile)).round() as u64
    }
}

/// Judges a metric at a quantile.
pub(super) fn test(
    canary: &Spread<'_>,
    baseline: &Spread<'_>,
    limits: &Limits,
) -> (Seen, Vec<Outcome>) {
    let seen = Seen {
        canary: canary.value(),
        baseline: baseline.value(),
        canary_samples: canary.len(),
        baseline_samples: baseline.len(),
    };
    let absolute = limits.max.map(|max| against_max(canary, max, limits));
    let relative = limits
        .max_increase
        .map(|increase| against_baseline(canary, baseline, increase, limits));
    (seen, absolute.into_iter().chain(relative).collect())
}

/// Where the quantile is at most `max`, each sample is above it with a chance of at most
/// one less the quantile.
fn against_max(canary: &Spread<'_>, max: f64, limits: &Limits) -> Outcome {
    let tail = 1.0 - canary.quantile;
    let total = canary.len();
    let certain = (limits.chance.ln() / tail.ln()).ceil() as u64;
    let needed = canary.floor().max(certain);
    let Some(value) = canary.value() else {
        return too_few(canary, None, needed);
    };
    let above = canary.above(max);
    let told = format!("{} is {}", canary.name(), canary.told(value));
    let allowed = canary.told(max);
    if tail::binomial(total, tail, above) < limits.chance {
        return Outcome::Broken(format!(
            "{told}: {}, and {}",
            beyond(canary, above, &allowed),
            limits.certainty()
        ));
    }
    if total < needed {
        return too_few(canary, None, needed);
    }
    Outcome::Held(format!(
        "{told}: no certain sign of more than the {allowed} allowed"
    ))
}

/// The exceedance test: how many samples of the new version exceed the quantile of the
/// version before, raised by what is allowed.
fn against_baseline(
    canary: &Spread<'_>,
    baseline: &Spread<'_>,
    increase: f64,
    limits: &Limits,
) -> Outcome {
    let (n1, n0) = (canary.len(), baseline.len());
    let needed = needed_of_each(canary, limits.chance);
    let (Some(new), Some(old)) = (canary.value(), baseline.value()) else {
        return too_few(canary, Some(n0), needed);
    };
    let limit = ((1.0 + increase) * old).max(old + limits.min_increase);
    let above = canary.above(limit);
    let allowed = canary.told(limit);
    let told = format!(
        "{} is {} against {} on the version before",
        canary.name(),
        canary.told(new),
        canary.told(old)
    );
    if tail::exceedance(n1, above, n0, baseline.rank()) < limits.chance {
        return Outcome::Broken(format!(
            "{told}: {}, and {}",
            beyond(canary, above, &allowed),
            limits.certainty()
        ));
    }
    if n1 < needed || n0 < needed {
        return too_few(canary, Some(n0), needed);
    }
    Outcome::Held(format!(
        "{told}: no certain sign of more than the {allowed} allowed"
    ))
}

fn beyond(canary: &Spread<'_>, above: u64, allowed: &str) -> String {
    let total = canary.len();
    let expected = (total as f64 * (1.0 - canary.quantile)).round() as u64;
    format!(
        "{} of {} {} were above the {allowed} allowed, where at most some {} may be",
        words::count(above),
        words::count(total),
        canary.noun(),
        words::count(expected)
    )
}

fn too_few(canary: &Spread<'_>, baseline: Option<u64>, needed: u64) -> Outcome {
    let (noun, seen, needed) = (
        canary.noun(),
        words::count(canary.len()),
        words::count(needed),
    );
    Outcome::TooFew(match baseline {
        Some(before) => format!(
            "there are {seen} {noun} of the new version and {} of the version before; {needed} of \
             each are needed to tell",
            words::count(before)
        ),
        None => format!("there are {seen} {noun} of the new version; {needed} are needed to tell"),
    })
}

/// The fewest samples of each side, as many of one as of the other, among which the test
/// would find the worst case: all of the new version above the limit.
fn needed_of_each(canary: &Spread<'_>, chance: f64) -> u64 {
    let floor = canary.floor();
    let found = |n: u64| tail::exceedance(n, n, n, rank(n, canary.quantile)) < chance;
    // Even and odd numbers differ, for the median of an even number is the lower one of
    // two. At the median, the hardest case, this is some twenty: the end is never reached.
    (floor..floor + 1_000)
        .find(|&n| found(n) && found(n + 1))
        .unwrap_or(floor + 1_000)
}

/// As [`Histogram::quantile`] counts it.
fn rank(total: u64, quantile: f64) -> u64 {
    ((total as f64 * quantile).ceil() as u64).max(1)
}
