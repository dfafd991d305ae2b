//! Conditions that the new version must meet.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::bindings::hotswap::strategy::analysis;

const MIB: f64 = 1_048_576.0;

/// What a check measures.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Metric {
    /// Failed requests per request, 0 to 1.
    #[default]
    ErrorRate,
    /// Median latency, in milliseconds.
    LatencyP50,
    /// 90th percentile of the latency, in milliseconds.
    LatencyP90,
    /// 95th percentile of the latency, in milliseconds.
    LatencyP95,
    /// 99th percentile of the latency, in milliseconds.
    LatencyP99,
    /// 99.9th percentile of the latency, in milliseconds.
    LatencyP999,
    /// Processor cores that the version uses on a node, compared at equal load.
    Cpu,
    /// CPU time that the version uses for each request, in milliseconds.
    CpuPerRequest,
    /// Bytes of memory that an instance of the version uses, on average.
    Memory,
    /// How often the processes of nodes with the new version ended without a shutdown.
    Restarts,
    /// Requests that were refused because too many ran, per request, 0 to 1.
    Refused,
    /// Requests that waited for others to end before they ran, per request, 0 to 1.
    Queued,
    /// A metric of the module's own, such as `module:cache-misses`, the share of requests that name
    /// it, or `module:rows:p95` and `module:rows:mean` of its values; or a query of `queries`, such
    /// as `query:orders`.
    #[serde(untagged)]
    Named(NamedMetric),
}

/// A metric with a name of its own: `module:cache-misses`, the share of requests whose responses
/// name it; `module:rows:p95`, a quantile of its values (`p50`, `p90`, `p95`, `p99`, `p999`), or
/// `module:rows:mean`; or `query:orders`, a query of the deployment's configuration.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NamedMetric(String);

impl JsonSchema for NamedMetric {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "NamedMetric".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^(module:[a-z][a-z0-9_-]{0,39}(:(mean|p50|p90|p95|p99|p999))?|query:[a-z][a-z0-9_-]{0,39})$",
        })
    }
}

impl NamedMetric {
    /// The whole name: `module:rows:p95`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for NamedMetric {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        let is_name = |name: &str| {
            let is_valid = |byte: u8| {
                byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_'
            };
            name.len() <= 40
                && name
                    .bytes()
                    .next()
                    .is_some_and(|byte| byte.is_ascii_lowercase())
                && name.bytes().all(is_valid)
        };
        let is_metric = match name.split_once(':') {
            Some(("query", query)) => is_name(query),
            Some(("module", metric)) => match metric.split_once(':') {
                Some((metric, statistic)) => {
                    is_name(metric)
                        && ["mean", "p50", "p90", "p95", "p99", "p999"].contains(&statistic)
                }
                None => is_name(metric),
            },
            _ => false,
        };
        if is_metric {
            Ok(Self(name))
        } else {
            Err(format!(
                "unknown metric '{name}': use error-rate, latency-p50, latency-p90, latency-p95, \
                 latency-p99, latency-p999, cpu, cpu-per-request, memory, restarts, refused, \
                 queued, module:NAME, module:NAME:STATISTIC or query:NAME"
            ))
        }
    }
}

impl From<NamedMetric> for String {
    fn from(metric: NamedMetric) -> Self {
        metric.0
    }
}

/// One condition on one metric of the new version.
///
/// [`Fleet::soak`](crate::Fleet::soak) judges checks. The baseline is the previous version on
/// the nodes that the soak names.
///
/// ```
/// use hotswap_sdk::Check;
///
/// // At most 50 % more errors than the baseline, and never more than 5 % of the requests.
/// let check = Check::error_rate().max_increase(0.5).max(0.05);
///
/// // Without a baseline only the maximum can be judged.
/// assert_eq!(check.absolute(), Some(Check::error_rate().max(0.05)));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
#[schemars(description = "One condition on one metric of the new version.")]
#[schemars(extend("anyOf" = [{"required": ["max"]}, {"required": ["maxIncrease"]}]))]
pub struct Check {
    /// What to measure. The units are: a fraction of the requests for `error-rate`,
    /// milliseconds for latencies and `cpu-per-request`, cores for `cpu`, bytes for `memory`, a
    /// count for `restarts`, a fraction of the requests for `refused`, `queued` and `module:NAME`.
    pub metric: Metric,
    /// Highest value that is allowed, in the unit of the metric. Null sets no limit.
    #[schemars(range(min = 0.0))]
    pub max: Option<f64>,
    /// Highest increase over the previous version that is allowed, as a fraction: 0.5 allows
    /// 50 % more. Null makes no comparison.
    #[schemars(range(min = 0.0))]
    pub max_increase: Option<f64>,
    /// An increase below this value never fails the check, in the unit of the metric. Null
    /// uses the default of the metric: 10 ms for latencies, 0.05 cores for `cpu`, 0.2 ms for
    /// `cpu-per-request`, 16 MiB for `memory`, none for the others.
    #[schemars(range(min = 0.0))]
    pub min_increase: Option<f64>,
}

impl Metric {
    /// The name in the contract and in JSON: `error-rate`.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::ErrorRate => "error-rate",
            Self::LatencyP50 => "latency-p50",
            Self::LatencyP90 => "latency-p90",
            Self::LatencyP95 => "latency-p95",
            Self::LatencyP99 => "latency-p99",
            Self::LatencyP999 => "latency-p999",
            Self::Cpu => "cpu",
            Self::CpuPerRequest => "cpu-per-request",
            Self::Memory => "memory",
            Self::Restarts => "restarts",
            Self::Refused => "refused",
            Self::Queued => "queued",
            Self::Named(metric) => metric.as_str(),
        }
    }

    /// Whether it is a query of the deployment's configuration.
    #[must_use]
    pub fn is_query(&self) -> bool {
        self.name().starts_with("query:")
    }

    /// The default of [`Check::min_increase`], in the unit of the metric: smaller increases
    /// are noise on a small baseline. Otherwise 2 ms of latency would be "100 % more" than
    /// 1 ms, and end a good rollout.
    ///
    /// `None` for error rates: the engine judges these with a statistical test, which takes
    /// the number of requests into account. `None` for restarts: their rates are tested, too.
    /// `None` for metrics with names of their own, whose units nobody knows.
    #[must_use]
    pub const fn floor(&self) -> Option<f64> {
        match self {
            Self::ErrorRate | Self::Restarts | Self::Refused | Self::Queued | Self::Named(_) => {
                None
            }
            Self::LatencyP50
            | Self::LatencyP90
            | Self::LatencyP95
            | Self::LatencyP99
            | Self::LatencyP999 => Some(10.0),
            Self::Cpu => Some(0.05),
            Self::CpuPerRequest => Some(0.2),
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
    /// A check of a metric, without a limit. Add [`Check::max`], [`Check::max_increase`] or
    /// both.
    #[must_use]
    pub const fn new(metric: Metric) -> Self {
        Self {
            metric,
            max: None,
            max_increase: None,
            min_increase: None,
        }
    }

    /// A check of failed requests per request, 0 to 1.
    #[must_use]
    pub const fn error_rate() -> Self {
        Self::new(Metric::ErrorRate)
    }

    /// A check of the 95th percentile of the latency, in milliseconds.
    #[must_use]
    pub const fn latency() -> Self {
        Self::new(Metric::LatencyP95)
    }

    /// A check of how often the processes of nodes with the new version ended without a shutdown.
    #[must_use]
    pub const fn restarts() -> Self {
        Self::new(Metric::Restarts)
    }

    /// A check of the processor cores that the version uses on a node, at equal load.
    #[must_use]
    pub const fn cpu() -> Self {
        Self::new(Metric::Cpu)
    }

    /// A check of the bytes of memory that an instance of the version uses, on average.
    #[must_use]
    pub const fn memory() -> Self {
        Self::new(Metric::Memory)
    }

    /// Allows at most this value, in the unit of the metric.
    #[must_use]
    pub const fn max(mut self, value: f64) -> Self {
        self.max = Some(value);
        self
    }

    /// Allows at most this increase over the baseline, as a fraction: 0.5 allows 50 % more.
    #[must_use]
    pub const fn max_increase(mut self, fraction: f64) -> Self {
        self.max_increase = Some(fraction);
        self
    }

    /// Ignores increases smaller than this, in the unit of the metric. 0 removes the
    /// [default](Metric::floor) of the metric.
    #[must_use]
    pub const fn min_increase(mut self, value: f64) -> Self {
        self.min_increase = Some(value);
        self
    }

    /// The part of the check that needs no baseline: its [`max`](Check::max). `None` if it
    /// has none.
    #[must_use]
    pub fn absolute(&self) -> Option<Self> {
        self.max.map(|max| Self::new(self.metric.clone()).max(max))
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
    fn relative_check_uses_the_floor_of_its_metric_by_default() {
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
    fn absolute_check_keeps_only_the_maximum() {
        let both = Check::cpu().max(2.0).max_increase(0.3);
        assert_eq!(both.absolute(), Some(Check::cpu().max(2.0)));
        assert_eq!(Check::cpu().max_increase(0.3).absolute(), None);
    }

    #[test]
    fn json_uses_the_names_of_the_contract() {
        let check: Check =
            serde_json::from_str(r#"{"metric": "latency-p99", "maxIncrease": 1}"#).unwrap();
        assert_eq!(check, Check::new(Metric::LatencyP99).max_increase(1.0));
        for metric in [
            Metric::ErrorRate,
            Metric::LatencyP50,
            Metric::LatencyP90,
            Metric::LatencyP95,
            Metric::LatencyP99,
            Metric::LatencyP999,
            Metric::Cpu,
            Metric::CpuPerRequest,
            Metric::Memory,
            Metric::Restarts,
            Metric::Refused,
            Metric::Queued,
        ] {
            assert_eq!(serde_json::to_value(&metric).unwrap(), metric.name());
        }
    }

    #[test]
    fn metrics_with_names_of_their_own_are_checked() {
        for name in ["module:rows", "module:rows:p95", "query:orders"] {
            let metric: Metric = serde_json::from_value(name.into()).unwrap();
            assert_eq!(metric.name(), name);
            assert_eq!(serde_json::to_value(&metric).unwrap(), name);
            assert!(matches!(metric, Metric::Named(_)));
        }
        for name in [
            "error_rate",
            "module:",
            "module:rows:p42",
            "query:Orders",
            "",
        ] {
            let metric = serde_json::from_value::<Metric>(name.into());
            assert!(metric.is_err(), "{name}");
        }
    }
}
