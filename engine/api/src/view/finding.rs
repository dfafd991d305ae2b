use hotswap_core as core;
use poem_openapi::{Enum, Object};

/// The result of a check of the new version.
#[derive(Debug, Clone, PartialEq, Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
pub(crate) struct Finding {
    /// The condition that the strategy asked for.
    pub check: Check,
    /// Whether the condition holds.
    pub judgement: Judgement,
    /// The value of the metric on the new version, if it could be measured.
    pub canary: Option<f64>,
    /// The value of the metric on the previous version, if it could be measured.
    pub baseline: Option<f64>,
    /// The number of requests, or readings of a gauge, of the new version.
    pub canary_samples: u64,
    /// The number of requests, or readings of a gauge, of the previous version.
    pub baseline_samples: u64,
    /// What was compared, and why the check passed or failed, in one sentence.
    pub reason: String,
}

/// A condition on a metric of the new version.
#[derive(Debug, Clone, PartialEq, Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
pub(crate) struct Check {
    /// The metric: `error-rate`, `latency-p50`, `latency-p95`, `latency-p99`, `cpu` or `memory`.
    pub metric: String,
    /// The highest allowed value, in the metric's unit.
    pub max: Option<f64>,
    /// The highest allowed increase over the previous version, as a fraction: 0.5 allows 50 %
    /// more.
    pub max_increase: Option<f64>,
    /// The smallest increase that can fail the check, in the metric's unit.
    pub min_increase: Option<f64>,
}

/// The outcome of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "camelCase", remote = "core::Judgement")]
pub(crate) enum Judgement {
    /// There were enough samples, and none speak against the new version.
    Pass,
    /// The samples show that the condition is violated.
    Fail,
    /// There were too few samples to decide.
    Inconclusive,
}

impl From<core::Finding> for Finding {
    fn from(finding: core::Finding) -> Self {
        Self {
            check: finding.check.into(),
            judgement: finding.judgement.into(),
            canary: finding.canary,
            baseline: finding.baseline,
            canary_samples: finding.canary_samples,
            baseline_samples: finding.baseline_samples,
            reason: finding.reason,
        }
    }
}

impl From<core::Check> for Check {
    fn from(check: core::Check) -> Self {
        Self {
            metric: check.metric,
            max: check.max,
            max_increase: check.max_increase,
            min_increase: check.min_increase,
        }
    }
}
