use crate::ModuleMetric;

use super::format;

/// The prefix of the names of the module's own metrics.
const MODULE: &str = "module:";
/// The prefix of the names of queries.
const QUERY: &str = "query:";

/// How a metric that a check can name is judged.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Metric {
    ErrorRate,
    Latency {
        quantile: f64,
    },
    Cpu,
    CpuPerRequest,
    Memory,
    Restarts,
    /// The share of requests that were refused because too many ran.
    Refused,
    /// The share of requests that waited for others to end.
    Queued,
    /// The share of requests that named a metric of the module's own.
    Share,
    /// A quantile of its values.
    Value {
        quantile: f64,
    },
    /// The mean of its values.
    Mean,
    /// What a provider of metrics answers.
    Query,
}

impl Metric {
    /// The metric of this name.
    ///
    /// # Errors
    /// A sentence that lists the known metrics.
    pub(super) fn parse(name: &str) -> Result<Self, String> {
        if let Some((metric, statistic)) = split_module(name) {
            return Self::parse_module(metric, statistic);
        }
        if name.starts_with(QUERY) {
            return Ok(Self::Query);
        }
        match name {
            "error-rate" => Ok(Self::ErrorRate),
            "latency-p50" => Ok(Self::Latency { quantile: 0.50 }),
            "latency-p90" => Ok(Self::Latency { quantile: 0.90 }),
            "latency-p95" => Ok(Self::Latency { quantile: 0.95 }),
            "latency-p99" => Ok(Self::Latency { quantile: 0.99 }),
            "latency-p999" => Ok(Self::Latency { quantile: 0.999 }),
            "cpu" => Ok(Self::Cpu),
            "cpu-per-request" => Ok(Self::CpuPerRequest),
            "memory" => Ok(Self::Memory),
            "restarts" => Ok(Self::Restarts),
            "refused" => Ok(Self::Refused),
            "queued" => Ok(Self::Queued),
            _ => Err(format!(
                "unknown metric '{}': use error-rate, latency-p50, latency-p90, latency-p95, \
                 latency-p99, latency-p999, cpu, cpu-per-request, memory, restarts, refused, \
                 queued, module:NAME, module:NAME:STATISTIC or query:NAME",
                format::truncated(name)
            )),
        }
    }

    fn parse_module(metric: &str, statistic: Option<&str>) -> Result<Self, String> {
        if !ModuleMetric::is_name(metric) {
            return Err(format!(
                "'{}' is no name of a metric of a module: use up to 40 lower-case letters, digits, \
                 '-' and '_', of which the first is a letter",
                format::truncated(metric)
            ));
        }
        match statistic {
            None => Ok(Self::Share),
            Some("mean") => Ok(Self::Mean),
            Some("p50") => Ok(Self::Value { quantile: 0.50 }),
            Some("p90") => Ok(Self::Value { quantile: 0.90 }),
            Some("p95") => Ok(Self::Value { quantile: 0.95 }),
            Some("p99") => Ok(Self::Value { quantile: 0.99 }),
            Some("p999") => Ok(Self::Value { quantile: 0.999 }),
            Some(other) => Err(format!(
                "unknown statistic '{}' of {metric}: use mean, p50, p90, p95, p99 or p999, or \
                 module:{metric} for the share of requests that name it",
                format::truncated(other)
            )),
        }
    }

    /// A value of the metric, with its unit.
    pub(super) fn format(self, value: f64) -> String {
        match self {
            Self::ErrorRate | Self::Refused | Self::Queued | Self::Share => format::percent(value),
            Self::Latency { .. } | Self::CpuPerRequest => format::milliseconds(value),
            Self::Memory => format::bytes(value),
            Self::Cpu => format::cores(value),
            Self::Restarts => format::count(value as u64),
            Self::Value { .. } | Self::Mean | Self::Query => format::number(value),
        }
    }

    /// The judged figure of the metric `name`: `the 95th percentile of latency`.
    pub(super) fn figure(self, name: &str) -> String {
        let own = module_metric(name).unwrap_or(name);
        match self {
            Self::ErrorRate => "the error rate".to_owned(),
            Self::Latency { quantile: 0.50 } => "the median latency".to_owned(),
            Self::Latency { quantile } => {
                format!("the {} percentile of latency", ordinal(quantile))
            }
            Self::Value { quantile: 0.50 } => format!("the median of {own}"),
            Self::Value { quantile } => format!("the {} percentile of {own}", ordinal(quantile)),
            Self::Memory => "memory".to_owned(),
            Self::Cpu => "CPU use".to_owned(),
            Self::CpuPerRequest => "CPU time for each request".to_owned(),
            Self::Restarts => "the number of restarts".to_owned(),
            Self::Refused => "the share of refused requests".to_owned(),
            Self::Queued => "the share of requests that waited".to_owned(),
            Self::Share => format!("the share of requests with {own}"),
            Self::Mean => format!("the mean of {own}"),
            Self::Query => query(name).unwrap_or(name).to_owned(),
        }
    }

    /// What those requests did that the metric counts: `12 of 240 requests failed`.
    pub(super) fn counted(self, name: &str) -> String {
        match self {
            Self::Refused => "were refused".to_owned(),
            Self::Queued => "had to wait".to_owned(),
            Self::Share => format!("counted {}", module_metric(name).unwrap_or(name)),
            _ => "failed".to_owned(),
        }
    }

    /// Whether the metric is tested by e-values, which later soaks carry on. Gauges are looked at
    /// once in each soak.
    pub(super) fn is_sequential(self) -> bool {
        !matches!(
            self,
            Self::Cpu | Self::CpuPerRequest | Self::Memory | Self::Mean
        )
    }

    /// Whether its conditions share the budget of false alarms. Not restarts, which have a part of
    /// it for themselves, and not numbers of other servers, whose error is unknown.
    pub(super) fn is_shared(self) -> bool {
        !matches!(self, Self::Restarts | Self::Query)
    }
}

/// The name of the module's own metric in a check's metric: `rows` of `module:rows:p95`.
pub(super) fn module_metric(name: &str) -> Option<&str> {
    split_module(name).map(|(metric, _)| metric)
}

/// The name of the query in a check's metric: `orders` of `query:orders`.
pub(super) fn query(name: &str) -> Option<&str> {
    name.strip_prefix(QUERY)
}

fn split_module(name: &str) -> Option<(&str, Option<&str>)> {
    let rest = name.strip_prefix(MODULE)?;
    Some(match rest.split_once(':') {
        Some((metric, statistic)) => (metric, Some(statistic)),
        None => (rest, None),
    })
}

fn ordinal(quantile: f64) -> &'static str {
    match quantile {
        0.90 => "90th",
        0.95 => "95th",
        0.99 => "99th",
        _ => "99.9th",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_of_modules_have_a_name_and_perhaps_a_statistic() {
        assert_eq!(Metric::parse("module:rows"), Ok(Metric::Share));
        assert_eq!(Metric::parse("module:rows:mean"), Ok(Metric::Mean));
        let p95 = Metric::Value { quantile: 0.95 };
        assert_eq!(Metric::parse("module:rows:p95"), Ok(p95));
        assert_eq!(p95.figure("module:rows:p95"), "the 95th percentile of rows");
        assert_eq!(module_metric("module:rows:p95"), Some("rows"));
        for invalid in ["module:", "module:Rows", "module:rows:p42", "rows"] {
            let error = Metric::parse(invalid).unwrap_err();
            assert!(error.contains("use "), "{error}");
        }
    }
}
