use std::time::Duration;

use crate::Histogram;

use super::cohort::Cohort;
use super::format;
use super::metric::Metric;
use super::reservoir::Reservoir;

/// The samples that one must expect beyond a quantile before it means anything.
const MIN_SAMPLES_BEYOND: f64 = 5.0;

/// One cohort's samples of a metric that is judged at a quantile.
pub(super) struct QuantileSamples<'a> {
    metric: Metric,
    quantile: f64,
    samples: Samples<'a>,
}

enum Samples<'a> {
    Latency(&'a Histogram),
    Gauge(&'a Reservoir),
}

impl<'a> QuantileSamples<'a> {
    /// The samples of `metric`. A gauge is judged at its median.
    pub(super) fn new(metric: Metric, cohort: &'a Cohort) -> Self {
        let (quantile, samples) = match metric {
            Metric::Latency { quantile } => (quantile, Samples::Latency(&cohort.latency)),
            Metric::Memory => (0.5, Samples::Gauge(&cohort.memory)),
            Metric::Cpu | Metric::ErrorRate => (0.5, Samples::Gauge(&cohort.cpu)),
        };
        Self {
            metric,
            quantile,
            samples,
        }
    }

    /// The quantile that is judged, 0 to 1.
    pub(super) fn quantile(&self) -> f64 {
        self.quantile
    }

    pub(super) fn len(&self) -> u64 {
        match self.samples {
            Samples::Latency(histogram) => histogram.total(),
            Samples::Gauge(reservoir) => reservoir.len(),
        }
    }

    /// The value at the quantile, in the metric's unit.
    pub(super) fn value(&self) -> Option<f64> {
        match self.samples {
            Samples::Latency(histogram) => {
                let value = histogram.quantile(self.quantile);
                value.map(|latency| latency.as_secs_f64() * 1e3)
            }
            Samples::Gauge(reservoir) => reservoir.quantile(self.quantile),
        }
    }

    /// How many samples are certainly above a limit, which is in the metric's unit.
    pub(super) fn count_above(&self, limit: f64) -> u64 {
        match self.samples {
            Samples::Latency(histogram) => {
                let limit = Duration::try_from_secs_f64(limit / 1e3);
                histogram.above(limit.unwrap_or(Duration::MAX))
            }
            Samples::Gauge(reservoir) => reservoir.count_above(limit),
        }
    }

    /// The rank of the quantile's sample, counted from the lowest, which has rank 1.
    pub(super) fn rank(&self) -> u64 {
        rank(self.len(), self.quantile)
    }

    /// The fewest samples that a quantile may be taken from, whatever the test needs.
    pub(super) fn min_samples(&self) -> u64 {
        (MIN_SAMPLES_BEYOND / (1.0 - self.quantile)).round() as u64
    }

    /// A value of the metric, with its unit.
    pub(super) fn format(&self, value: f64) -> String {
        match self.metric {
            Metric::Latency { .. } => format::milliseconds(value),
            Metric::Memory => format::bytes(value),
            Metric::Cpu | Metric::ErrorRate => format::cores(value),
        }
    }

    /// The judged figure: `the median memory`.
    pub(super) fn name(&self) -> &'static str {
        match self.metric {
            Metric::Latency { quantile: 0.95 } => "the 95th percentile of latency",
            Metric::Latency { quantile: 0.99 } => "the 99th percentile of latency",
            Metric::Latency { .. } => "the median latency",
            Metric::Memory => "the median memory",
            Metric::Cpu | Metric::ErrorRate => "the median CPU use",
        }
    }

    /// What a sample is, in the plural.
    pub(super) fn sample_noun(&self) -> &'static str {
        match self.samples {
            Samples::Latency(_) => "requests",
            Samples::Gauge(_) => "readings",
        }
    }
}

/// The rank of a quantile among `total` samples, as [`Histogram::quantile`] counts it.
pub(super) fn rank(total: u64, quantile: f64) -> u64 {
    ((total as f64 * quantile).ceil() as u64).max(1)
}
