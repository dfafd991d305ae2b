use super::format;

/// A metric that a check can name.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Metric {
    ErrorRate,
    Latency { quantile: f64 },
    Cpu,
    Memory,
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
            "latency-p95" => Ok(Self::Latency { quantile: 0.95 }),
            "latency-p99" => Ok(Self::Latency { quantile: 0.99 }),
            "cpu" => Ok(Self::Cpu),
            "memory" => Ok(Self::Memory),
            _ => Err(format!(
                "unknown metric '{}': use error-rate, latency-p50, latency-p95, latency-p99, cpu \
                 or memory",
                format::truncated(name)
            )),
        }
    }
}
