//! The result of a soak.

use std::fmt;

use crate::bindings::hotswap::strategy::analysis;
pub use crate::bindings::hotswap::strategy::analysis::Judgement;
use crate::{Error, Result};

const MIB: f64 = 1_048_576.0;

/// The result of a [soak](crate::Fleet::soak).
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// `Fail` if any finding failed, otherwise `Inconclusive` if any finding was inconclusive,
    /// otherwise `Pass`.
    pub judgement: Judgement,
    /// One finding for each check, in the order of the checks.
    pub findings: Vec<Finding>,
}

/// The result of one check.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The metric that was measured: `error-rate`.
    pub metric: String,
    /// Whether the check passed.
    pub judgement: Judgement,
    /// The value of the metric on the new version, if there is one.
    pub canary: Option<f64>,
    /// The value of the metric on the previous version, if there is one.
    pub baseline: Option<f64>,
    /// How many requests, or readings of a gauge, the value of the new version is based on.
    pub canary_samples: u64,
    /// How many requests, or readings of a gauge, the value of the previous version is based on.
    pub baseline_samples: u64,
    /// One sentence for people: what was compared, and why the check passed or failed.
    pub reason: String,
}

impl Verdict {
    /// Returns the verdict unless it failed. It may be inconclusive; [`Verdict::passed`] does
    /// not accept that.
    ///
    /// # Errors
    /// [`Error::Verdict`] names the checks that failed, with the values.
    pub fn unless_failed(self) -> Result<Self> {
        match self.judgement {
            Judgement::Fail => Err(Error::Verdict(self)),
            Judgement::Pass | Judgement::Inconclusive => Ok(self),
        }
    }

    /// Returns the verdict if every check passed.
    ///
    /// # Errors
    /// [`Error::Verdict`] names the checks that failed, or those that were inconclusive, with
    /// the values.
    pub fn passed(self) -> Result<Self> {
        match self.judgement {
            Judgement::Pass => Ok(self),
            Judgement::Fail | Judgement::Inconclusive => Err(Error::Verdict(self)),
        }
    }

    /// Whether no check failed, but at least one had too few samples to judge.
    #[must_use]
    pub fn is_inconclusive(&self) -> bool {
        self.judgement == Judgement::Inconclusive
    }

    /// The metrics with too few samples to judge, for a message: `cpu, memory`.
    #[must_use]
    pub fn inconclusive_metrics(&self) -> String {
        let metrics: Vec<_> = self
            .findings
            .iter()
            .filter(|finding| finding.judgement == Judgement::Inconclusive)
            .map(|finding| finding.metric.as_str())
            .collect();
        metrics.join(", ")
    }
}

/// The findings that decided the verdict, in one sentence.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut decisive = self
            .findings
            .iter()
            .filter(|finding| finding.judgement == self.judgement);
        match decisive.next() {
            Some(first) if self.judgement != Judgement::Pass => first.fmt(f)?,
            _ => return f.write_str(outcome(self.judgement)),
        }
        decisive.try_for_each(|finding| write!(f, "; {finding}"))
    }
}

/// `check error-rate failed: 9.80 % in 512 samples, baseline 0.10 % in 1024: …`
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "check {} {}", self.metric, outcome(self.judgement))?;
        let mut separator = ": ";
        if let Some(value) = self.canary {
            let value = format_value(&self.metric, value);
            write!(f, "{separator}{value} in {} samples", self.canary_samples)?;
            separator = ", ";
        }
        if let Some(value) = self.baseline {
            let value = format_value(&self.metric, value);
            write!(
                f,
                "{separator}baseline {value} in {}",
                self.baseline_samples
            )?;
        }
        if self.reason.is_empty() {
            return Ok(());
        }
        write!(f, ": {}", self.reason.trim_end_matches('.'))
    }
}

impl From<analysis::Verdict> for Verdict {
    fn from(raw: analysis::Verdict) -> Self {
        Self {
            judgement: raw.judgement,
            findings: raw.findings.into_iter().map(Finding::from).collect(),
        }
    }
}

impl From<analysis::Finding> for Finding {
    fn from(raw: analysis::Finding) -> Self {
        Self {
            metric: raw.check.metric,
            judgement: raw.judgement,
            canary: raw.canary,
            baseline: raw.baseline,
            canary_samples: raw.canary_samples,
            baseline_samples: raw.baseline_samples,
            reason: raw.reason,
        }
    }
}

fn outcome(judgement: Judgement) -> &'static str {
    match judgement {
        Judgement::Pass => "passed",
        Judgement::Fail => "failed",
        Judgement::Inconclusive => "is inconclusive",
    }
}

/// The value in the unit that people use for the metric.
fn format_value(metric: &str, value: f64) -> String {
    match metric {
        "error-rate" | "refused" | "queued" => format!("{:.2} %", value * 100.0),
        "cpu-per-request" => format!("{value:.2} ms"),
        "cpu" => format!("{value:.2} cores"),
        "restarts" => format!("{value:.0}"),
        "memory" => format!("{:.1} MiB", value / MIB),
        _ if metric.starts_with("latency") => format!("{value:.1} ms"),
        _ => format!("{value}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{Finding, Judgement, Verdict};

    fn finding(metric: &str, judgement: Judgement, canary: f64, baseline: f64) -> Finding {
        Finding {
            metric: metric.into(),
            judgement,
            canary: Some(canary),
            baseline: Some(baseline),
            canary_samples: 512,
            baseline_samples: 1024,
            reason: "at most 50 % more is allowed.".into(),
        }
    }

    #[test]
    fn failed_verdict_names_the_checks_and_values() {
        let verdict = Verdict {
            judgement: Judgement::Fail,
            findings: vec![
                finding("error-rate", Judgement::Fail, 0.098, 0.001),
                finding("cpu", Judgement::Pass, 0.5, 0.5),
                finding("memory", Judgement::Fail, 209_715_200.0, 104_857_600.0),
            ],
        };
        assert_eq!(
            verdict.unless_failed().unwrap_err().to_string(),
            "check error-rate failed: 9.80 % in 512 samples, baseline 0.10 % in 1024: at most 50 % \
             more is allowed; check memory failed: 200.0 MiB in 512 samples, baseline 100.0 MiB \
             in 1024: at most 50 % more is allowed"
        );
    }

    #[test]
    fn inconclusive_verdict_neither_failed_nor_passed() {
        let verdict = Verdict {
            judgement: Judgement::Inconclusive,
            findings: vec![finding("latency-p95", Judgement::Inconclusive, 12.0, 10.0)],
        };
        assert!(verdict.clone().unless_failed().unwrap().is_inconclusive());
        let sentence = verdict.passed().unwrap_err().to_string();
        assert!(
            sentence.starts_with("check latency-p95 is inconclusive: 12.0 ms"),
            "{sentence}"
        );
    }
}
