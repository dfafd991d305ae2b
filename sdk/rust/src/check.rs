//! Conditions on what the new version does.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bindings::hotswap::strategy::analysis;

const MIB: f64 = 1_048_576.0;

/// What is measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Metric {
    /// Failed requests per request, 0 to 1.
    #[default]
    ErrorRate,
    /// Time that half of the requests stay below, in milliseconds.
    LatencyP50,
    /// Time that 95 of 100 requests stay below, in milliseconds.
    LatencyP95,
    /// Time that 99 of 100 requests stay below, in milliseconds.
    LatencyP99,
    /// Cores in use by the node's process.
    Cpu,
    /// Bytes held by the version's instances.
    Memory,
}

/// One condition on one metric of the new version.
///
/// ```
/// use hotswap_sdk::Check;
///
/// // At most half as many errors again as the version before, and never over 5 %.
/// let check = Check::error_rate().max_increase(0.5).max(0.05);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
#[schemars(description = "One condition on one metric of the new version.")]
#[schemars(extend("anyOf" = [{"required": ["max"]}, {"required": ["maxIncrease"]}]))]
pub struct Check {
    /// What is measured: errors as a fraction of requests, latencies in milliseconds,
    /// cpu in cores, memory in bytes.
    pub metric: Metric,
    /// Highest value allowed, in the metric's unit; null for no limit.
    #[schemars(range(min = 0.0))]
    pub max: Option<f64>,
    /// Highest rise over the version before, as a fraction: 0.5 is half as much again;
    /// null for no comparison.
    #[schemars(range(min = 0.0))]
    pub max_increase: Option<f64>,
    /// A rise below this is never a failure, in the metric's unit; null for the
    /// metric's own floor: latency 10 ms, cpu 0.05 cores, memory 16 MiB.
    #[schemars(range(min = 0.0))]
    pub min_increase: Option<f64>,
}

impl Metric {
    /// The name by which the engine knows it, and JSON too.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ErrorRate => "error-rate",
            Self::LatencyP50 => "latency-p50",
            Self::LatencyP95 => "latency-p95",
            Self::LatencyP99 => "latency-p99",
            Self::Cpu => "cpu",
            Self::Memory => "memory",
        }
    }

    /// The rise that is only noise where the baseline is tiny: 2 ms of latency would
    /// else be "100 % more" than 1 ms, and end a good rollout. Error rates have none,
    /// for the engine judges those by a test that knows how many requests it saw.
    #[must_use]
    pub const fn floor(self) -> Option<f64> {
        match self {
            Self::ErrorRate => None,
            Self::LatencyP50 | Self::LatencyP95 | Self::LatencyP99 => Some(10.0),
            Self::Cpu => Some(0.05),
            Self::Memory => Some(16.0 * MIB),
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Check {
    /// A condition on a metric. It needs a limit to judge anything: [`Check::max`],
    /// [`Check::max_increase`] or both.
    #[must_use]
    pub const fn new(metric: Metric) -> Self {
        Self {
            metric,
            max: None,
            max_increase: None,
            min_increase: None,
        }
    }

    /// A condition on failed requests per request.
    #[must_use]
    pub const fn error_rate() -> Self {
        Self::new(Metric::ErrorRate)
    }

    /// A condition on the 95th percentile of the latency, in milliseconds.
    #[must_use]
    pub const fn latency() -> Self {
        Self::new(Metric::LatencyP95)
    }

    /// A condition on the cores in use by the node's process.
    #[must_use]
    pub const fn cpu() -> Self {
        Self::new(Metric::Cpu)
    }

    /// A condition on the bytes held by the version's instances.
    #[must_use]
    pub const fn memory() -> Self {
        Self::new(Metric::Memory)
    }

    /// Allow this value at most, in the metric's unit.
    #[must_use]
    pub const fn max(mut self, value: f64) -> Self {
        self.max = Some(value);
        self
    }

    /// Allow this rise over the version before at most, as a fraction.
    #[must_use]
    pub const fn max_increase(mut self, fraction: f64) -> Self {
        self.max_increase = Some(fraction);
        self
    }

    /// Never fail for a rise smaller than this, in the metric's unit. 0 takes away
    /// the metric's own [floor](Metric::floor).
    #[must_use]
    pub const fn min_increase(mut self, value: f64) -> Self {
        self.min_increase = Some(value);
        self
    }

    /// What is left of the condition where there is no version before to compare
    /// with: its [`max`](Check::max), or nothing.
    #[must_use]
    pub fn absolute(&self) -> Option<Self> {
        self.max.map(|max| Self::new(self.metric).max(max))
    }
}

impl From<&Check> for analysis::Check {
    fn from(check: &Check) -> Self {
        let floor = check.max_increase.and(check.metric.floor());
        Self {
            metric: check.metric.name().to_owned(),
            max: check.max,
            max_increase: check.max_increase,
            min_increase: check.min_increase.or(floor),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Check, Metric};
    use crate::bindings::hotswap::strategy::analysis;

    #[test]
    fn a_relative_check_has_its_metrics_floor_unless_told() {
        let raw = analysis::Check::from(&Check::latency().max_increase(1.0));
        assert_eq!(
            (raw.metric.as_str(), raw.min_increase),
            ("latency-p95", Some(10.0))
        );
        let raw = analysis::Check::from(&Check::memory().max_increase(0.3).min_increase(0.0));
        assert_eq!(raw.min_increase, Some(0.0));
        let raw = analysis::Check::from(&Check::error_rate().max_increase(0.5));
        assert_eq!(raw.min_increase, None);
    }

    #[test]
    fn without_a_baseline_only_the_maximum_is_left() {
        let both = Check::cpu().max(2.0).max_increase(0.3);
        assert_eq!(both.absolute(), Some(Check::cpu().max(2.0)));
        assert_eq!(Check::cpu().max_increase(0.3).absolute(), None);
    }

    #[test]
    fn json_names_are_those_of_the_contract() {
        let check: Check =
            serde_json::from_str(r#"{"metric": "latency-p99", "maxIncrease": 1}"#).unwrap();
        assert_eq!(check, Check::new(Metric::LatencyP99).max_increase(1.0));
        for metric in [
            Metric::ErrorRate,
            Metric::LatencyP50,
            Metric::LatencyP95,
            Metric::LatencyP99,
            Metric::Cpu,
            Metric::Memory,
        ] {
            assert_eq!(serde_json::to_value(metric).unwrap(), metric.name());
        }
        assert!(serde_json::from_str::<Check>(r#"{"metric": "error_rate"}"#).is_err());
    }
}
