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
    /// The state of each condition that was tested. Empty where none could be.
    pub conditions: Vec<Condition>,
    /// What a provider of metrics answered, for a check of `query:NAME`: at each reading, at most
    /// at the last 64. Absent for other checks, and while the soak runs.
    pub queried: Option<Vec<QueryReading>>,
}

/// The answers of a provider of metrics at one reading.
#[derive(Debug, Clone, PartialEq, Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
pub(crate) struct QueryReading {
    /// When it was asked.
    pub at: u64,
    /// The answer for the new version.
    pub canary: Option<f64>,
    /// The answer for the previous version.
    pub baseline: Option<f64>,
    /// Why an answer is missing.
    pub error: Option<String>,
}

/// How far the test of one condition of a check is. The condition is violated beyond doubt where
/// `evidence + earlier` is at least `threshold`.
#[derive(Debug, Clone, PartialEq, Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
pub(crate) struct Condition {
    /// Which limit of the check.
    pub kind: ConditionKind,
    /// The highest value, or ratio, that is allowed.
    pub limit: f64,
    /// What was measured: a value of the metric for `max`, a ratio to the previous version for
    /// `increase`. Absent where it is not known.
    pub estimate: Option<f64>,
    /// The lowest value that the test leaves possible. Absent where it refutes none.
    pub low: Option<f64>,
    /// The highest value that the test leaves possible. Absent where it refutes none.
    pub high: Option<f64>,
    /// What this soak says against the condition: the natural logarithm of an e-value.
    /// Restarts: what the whole deployment says.
    pub evidence: f64,
    /// The logarithm of the weight of this soak, with what earlier soaks of the deployment say.
    pub earlier: f64,
    /// The logarithm of how seldom chance may do this in a whole deployment.
    pub threshold: f64,
    /// How many more requests of the new version it takes to decide, where that can be told.
    pub missing_requests: Option<u64>,
    /// How long that takes at the present rate, in milliseconds.
    pub missing_millis: Option<u64>,
}

/// Which limit of a check a condition is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "camelCase", remote = "core::ConditionKind")]
pub(crate) enum ConditionKind {
    /// `max`: the new version alone.
    Max,
    /// `maxIncrease`: the new version against the previous one.
    Increase,
}

/// A condition on a metric of the new version.
#[derive(Debug, Clone, PartialEq, Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
pub(crate) struct Check {
    /// The metric: `error-rate`, `latency-p50`, `latency-p90`, `latency-p95`, `latency-p99`,
    /// `latency-p999`, `cpu`, `cpu-per-request`, `memory`, `restarts`, `refused`, `queued`,
    /// `module:NAME` and `module:NAME:STATISTIC` of the module's own, or `query:NAME`.
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
            conditions: finding.conditions.into_iter().map(Into::into).collect(),
            queried: (!finding.queried.is_empty())
                .then(|| finding.queried.into_iter().map(Into::into).collect()),
        }
    }
}

impl From<core::QueryReading> for QueryReading {
    fn from(reading: core::QueryReading) -> Self {
        Self {
            at: reading.at.millis(),
            canary: reading.canary,
            baseline: reading.baseline,
            error: reading.error,
        }
    }
}

impl From<core::Condition> for Condition {
    fn from(condition: core::Condition) -> Self {
        Self {
            kind: condition.kind.into(),
            limit: condition.limit,
            estimate: condition.estimate,
            low: condition.low,
            high: condition.high,
            evidence: condition.evidence,
            earlier: condition.earlier,
            threshold: condition.threshold,
            missing_requests: condition.missing_requests,
            missing_millis: condition.missing_millis,
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
