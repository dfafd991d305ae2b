//! What watching the new version came to.

use std::fmt;

use crate::bindings::hotswap::strategy::analysis;
pub use crate::bindings::hotswap::strategy::analysis::Judgement;
use crate::{Error, Result};

const MIB: f64 = 1_048_576.0;

/// What a soak came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// `Fail` if any finding failed; else `Inconclusive` if any was; else `Pass`.
    pub judgement: Judgement,
    /// One for each check, in the order asked.
    pub findings: Vec<Finding>,
}

/// What one check came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// What was measured: `error-rate`.
    pub metric: String,
    /// What it came to.
    pub judgement: Judgement,
    /// The metric's value on the new version, where there is one.
    pub canary: Option<f64>,
    /// The metric's value on the version before, where there is one.
    pub baseline: Option<f64>,
    /// Requests, or readings of a gauge, that were seen of the new version.
    pub canary_samples: u64,
    /// Requests, or readings of a gauge, that were seen of the version before.
    pub baseline_samples: u64,
    /// One sentence for a person: what was compared, and why it passed or failed.
    pub reason: String,
}

impl Verdict {
    /// The verdict, unless it failed. It may be inconclusive; see [`Verdict::passed`].
    ///
    /// # Errors
    /// [`Error::Verdict`]: it names the checks that failed, with the figures.
    pub fn unless_failed(self) -> Result<Self> {
        match self.judgement {
            Judgement::Fail => Err(Error::Verdict(self)),
            Judgement::Pass | Judgement::Inconclusive => Ok(self),
        }
    }

    /// The verdict, if enough was seen to tell that the new version is good.
    ///
    /// # Errors
    /// [`Error::Verdict`]: it names the checks that failed or saw too little, with the
    /// figures.
    pub fn passed(self) -> Result<Self> {
        match self.judgement {
            Judgement::Pass => Ok(self),
            Judgement::Fail | Judgement::Inconclusive => Err(Error::Verdict(self)),
        }
    }

    /// Whether too little was seen to tell.
    #[must_use]
    pub fn is_inconclusive(&self) -> bool {
        self.judgement == Judgement::Inconclusive
    }

    /// The metrics of which too little was seen, for a message: `cpu, memory`.
    #[must_use]
    pub fn undecided(&self) -> String {
        let metrics: Vec<_> = self
            .findings
            .iter()
            .filter(|finding| finding.judgement == Judgement::Inconclusive)
            .map(|finding| finding.metric.as_str())
            .collect();
        metrics.join(", ")
    }
}

/// The findings that made the verdict what it is, in one sentence.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut decisive = self
            .findings
            .iter()
            .filter(|finding| finding.judgement == self.judgement);
        match decisive.next() {
            Some(first) if self.judgement != Judgement::Pass => first.fmt(f)?,
            _ => return f.write_str(word(self.judgement)),
        }
        decisive.try_for_each(|finding| write!(f, "; {finding}"))
    }
}

/// `check error-rate failed: 9.8 % of 512 samples, before 0.1 % of 1024: …`
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "check {} {}", self.metric, word(self.judgement))?;
        let mut separator = ": ";
        if let Some(value) = self.canary {
            let value = figure(&self.metric, value);
            write!(f, "{separator}{value} in {} samples", self.canary_samples)?;
            separator = ", ";
        }
        if let Some(value) = self.baseline {
            let value = figure(&self.metric, value);
            write!(f, "{separator}before {value} in {}", self.baseline_samples)?;
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

fn word(judgement: Judgement) -> &'static str {
    match judgement {
        Judgement::Pass => "passed",
        Judgement::Fail => "failed",
        Judgement::Inconclusive => "is inconclusive",
    }
}

/// The value as people say it, in the metric's unit.
fn figure(metric: &str, value: f64) -> String {
    match metric {
        "error-rate" => format!("{:.2} %", value * 100.0),
        "cpu" => format!("{value:.2} cores"),
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
    fn a_failed_verdict_names_check_and_figures() {
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
            "check error-rate failed: 9.80 % in 512 samples, before 0.10 % in 1024: at most 50 % \
             more is allowed; check memory failed: 200.0 MiB in 512 samples, before 100.0 MiB in \
             1024: at most 50 % more is allowed"
        );
    }

    #[test]
    fn too_little_is_no_failure_but_no_pass_either() {
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
