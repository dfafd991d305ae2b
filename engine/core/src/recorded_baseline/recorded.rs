use std::time::Duration;

use crate::Histogram;

use super::MIN_REQUESTS;
use super::bounds::{upper_rate, upper_share};

/// By how much the service itself may change until the last step: in a share of its requests, in
/// a quantile, in a mean. Nothing runs the previous version at the same time, so no test can tell
/// such a change from the new version's doing.
const SHARE_DRIFT: f64 = 3.0;
const QUANTILE_DRIFT: f64 = 2.0;
const MEAN_DRIFT: f64 = 1.5;

/// A metric of the previous version.
#[derive(Debug, Clone, Copy)]
pub(super) struct Recorded {
    pub(super) value: f64,
    /// The upper end of its confidence interval.
    pub(super) upper: f64,
    /// By how much it may change with time.
    pub(super) drift: f64,
    pub(super) samples: u64,
}

impl Recorded {
    /// A share of requests: an error rate.
    pub(super) fn share(counted: u64, requests: u64) -> Option<Self> {
        if requests < MIN_REQUESTS {
            return None;
        }
        let value = counted.min(requests) as f64 / requests as f64;
        Some(Self {
            value,
            upper: upper_rate(requests, value),
            drift: SHARE_DRIFT,
            samples: requests,
        })
    }

    /// A mean, in units of so much.
    pub(super) fn mean(sum: u64, samples: u64, unit: f64) -> Option<Self> {
        let mean = sum as f64 / samples as f64 * unit;
        (samples >= MIN_REQUESTS).then_some(Self {
            value: mean,
            upper: mean,
            drift: MEAN_DRIFT,
            samples,
        })
    }

    /// A quantile, such as `p95`.
    pub(super) fn quantile(values: &Histogram, name: &str) -> Option<Self> {
        let quantile = match name {
            "p50" => 0.5,
            "p90" => 0.9,
            "p95" => 0.95,
            "p99" => 0.99,
            "p999" => 0.999,
            _ => return None,
        };
        let samples = values.total();
        let upper = upper_share(samples, quantile)?;
        let millis = |latency: Duration| latency.as_secs_f64() * 1e3;
        Some(Self {
            value: millis(values.quantile(quantile)?),
            upper: millis(values.quantile(upper)?),
            drift: QUANTILE_DRIFT,
            samples,
        })
    }
}
