use super::format;

/// A metric that a check can name.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Metric {
    ErrorRate,
    Latency { quantile: f64 },
    Cpu,
    Memory,
    Restarts,
}

impl Metric {
    /// The metric of this name.
    ///
    /// # Errors
    /// A sentence that lists the known metrics.
    pub(super) fn parse(name: &str) -> Result<Self, String> {
        match name {
            "error-rate" => Ok(Self::ErrorRate),
            "latency-p50" => Ok(Self::Latency { quantile: 0.50 }),
            "latency-p90" => Ok(Self::Latency { quantile: 0.90 }),
            "latency-p95" => Ok(Self::Latency { quantile: 0.95 }),
            "latency-p99" => Ok(Self::Latency { quantile: 0.99 }),
            "latency-p999" => Ok(Self::Latency { quantile: 0.999 }),
            "cpu" => Ok(Self::Cpu),
            "memory" => Ok(Self::Memory),
            "restarts" => Ok(Self::Restarts),
            _ => Err(format!(
                "unknown metric '{}': use error-rate, latency-p50, latency-p90, latency-p95, \
                 latency-p99, latency-p999, cpu, memory or restarts",
                format::truncated(name)
            )),
        }
    }

    /// A value of the metric, with its unit.
    pub(super) fn format(self, value: f64) -> String {
        match self {
            Self::ErrorRate => format::percent(value),
            Self::Latency { .. } => format::milliseconds(value),
            Self::Memory => format::bytes(value),
            Self::Cpu => format::cores(value),
            Self::Restarts => format::count(value as u64),
        }
    }

    /// The judged figure: `the 95th percentile of latency`.
    pub(super) fn figure(self) -> &'static str {
        match self {
            Self::ErrorRate => "the error rate",
            Self::Latency { quantile: 0.90 } => "the 90th percentile of latency",
            Self::Latency { quantile: 0.95 } => "the 95th percentile of latency",
            Self::Latency { quantile: 0.99 } => "the 99th percentile of latency",
            Self::Latency { quantile: 0.999 } => "the 99.9th percentile of latency",
            Self::Latency { .. } => "the median latency",
            Self::Memory => "memory",
            Self::Cpu => "CPU use",
            Self::Restarts => "the number of restarts",
        }
    }
}
