//! Checks of a soak, and their results.

use serde::{Deserialize, Serialize};

use crate::{Lifetime, QueryReading};

/// Limits on one metric of the new version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// `error-rate`, `latency-p50`, `latency-p90`, `latency-p95`, `latency-p99`, `latency-p999`,
    /// `cpu`, `cpu-per-request`, `memory`, `restarts`, `refused` or `queued`; of a metric of the
    /// module's own `module:NAME`, or `module:NAME:STATISTIC` with `mean`, `p50`, `p90`, `p95`,
    /// `p99` or `p999`; or `query:NAME`, a query of the deployment's configuration.
    pub metric: String,
    /// Highest allowed value, in the metric's unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// Highest allowed increase over the baseline, as a fraction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_increase: Option<f64>,
    /// An increase below this never fails, in the metric's unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_increase: Option<f64>,
}

/// The result of a check or of a whole soak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Judgement {
    /// There are enough samples, and no evidence against the new version.
    Pass,
    /// A limit is exceeded beyond reasonable doubt.
    Fail,
    /// There are too few samples, or the check cannot be judged.
    Inconclusive,
}

/// The result of one check.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// The check, as the strategy asked for it.
    pub check: Check,
    /// Its result.
    pub judgement: Judgement,
    /// The metric's value on the new version, if there is one.
    pub canary: Option<f64>,
    /// The metric's value on the previous version, if there is one.
    pub baseline: Option<f64>,
    /// Requests, or readings of a gauge, of the new version.
    pub canary_samples: u64,
    /// Requests, or readings of a gauge, of the previous version.
    pub baseline_samples: u64,
    /// One sentence for people: what was compared, and why it passed or failed.
    pub reason: String,
    /// The state of each condition that was tested. Empty where none could be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// What a provider of metrics answered at each reading, at most at the last 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub queried: Vec<QueryReading>,
}

/// Which limit of a check a condition is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ConditionKind {
    /// The new version against [`Check::max`]. Its estimate is a value of the metric.
    Max,
    /// The new version against the previous one. Its estimate is a ratio: 1 is equal.
    Increase,
}

/// How far the test of one condition is.
///
/// The condition is violated beyond doubt where `evidence + earlier` is at least `threshold`. All
/// three are natural logarithms: of an e-value, of its weight, and of how seldom chance may do
/// this in a whole deployment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Which limit.
    pub kind: ConditionKind,
    /// The highest value, or ratio, that is allowed.
    pub limit: f64,
    /// What was measured, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimate: Option<f64>,
    /// The lowest value that the test leaves possible. `None` if it refutes none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub low: Option<f64>,
    /// The highest value that the test leaves possible. `None` if it refutes none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub high: Option<f64>,
    /// The evidence of this soak against the condition. For the comparison of restarts: the
    /// evidence of the whole deployment.
    pub evidence: f64,
    /// The weight of this soak, with what earlier soaks of the deployment say.
    pub earlier: f64,
    /// What fails the check.
    pub threshold: f64,
    /// By how much errors came in bursts, or slow requests in spells, which later soaks of the
    /// deployment then know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bursts: Option<Bursts>,
    /// How long the processes of both sides have run and how often they crashed, which later soaks
    /// of the deployment then know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifetimes: Option<Lifetimes>,
    /// How many more requests of the new version it takes to decide, where that can be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing_requests: Option<u64>,
    /// How long that takes at the present rate, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing_millis: Option<u64>,
}

/// The squared differences of neighbouring readings of a soak, of errors or of slow requests, and
/// what their sum is where these come one by one.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Bursts {
    /// The sum of the squares.
    pub squares: f64,
    /// What it is where requests are independent.
    pub expected: f64,
}

/// How the processes of both sides have fared until the end of a soak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lifetimes {
    /// Those of the new version, in all soaks of the deployment until then.
    pub canary: Lifetime,
    /// Those of the previous version: in these soaks, and before.
    pub baseline: Lifetime,
}

/// The result of a soak.
///
/// A person who ends a soak before its time ends the wait, not the judgement: a check that has
/// failed until then has failed. Checks that could not be judged yet keep their findings, and do
/// not hold the deployment up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// `Fail` if any finding failed, else `Inconclusive` if any was and no person ended the
    /// soak, else `Pass`.
    pub judgement: Judgement,
    /// One for each check, in the same order.
    pub findings: Vec<Finding>,
    /// The person who ended the soak before its time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promoted_by: Option<String>,
}

impl Verdict {
    /// The verdict of a soak that `by` ended now. `self` judges what was measured until then.
    #[must_use]
    pub fn promoted(mut self, by: &str) -> Self {
        for finding in &mut self.findings {
            if finding.judgement == Judgement::Inconclusive {
                let reason = std::mem::take(&mut finding.reason);
                finding.reason = format!("{by} ended the soak before this was judged: {reason}");
            }
        }
        if self.judgement == Judgement::Inconclusive {
            self.judgement = Judgement::Pass;
        }
        self.promoted_by = Some(by.to_owned());
        self
    }
}

impl Finding {
    /// The finding without numbers that JSON cannot hold: they would be `null` in the journal, and
    /// could not be read again.
    #[must_use]
    pub(crate) fn finite(mut self) -> Self {
        let option = |value: &mut Option<f64>| *value = value.filter(|value| value.is_finite());
        let number = |value: &mut f64| {
            let nothing = if value.is_nan() { 0.0 } else { *value };
            *value = nothing.clamp(f64::MIN, f64::MAX);
        };
        option(&mut self.canary);
        option(&mut self.baseline);
        for condition in &mut self.conditions {
            option(&mut condition.estimate);
            option(&mut condition.low);
            option(&mut condition.high);
            number(&mut condition.limit);
            number(&mut condition.evidence);
            number(&mut condition.earlier);
            number(&mut condition.threshold);
            condition.bursts = condition
                .bursts
                .filter(|bursts| bursts.squares.is_finite() && bursts.expected.is_finite());
        }
        self
    }
}

impl Check {
    /// Whether its limits are neither NaN nor infinite. JSON, and so the journal, cannot hold
    /// such numbers.
    pub fn is_finite(&self) -> bool {
        [self.max, self.max_increase, self.min_increase]
            .into_iter()
            .flatten()
            .all(f64::is_finite)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(judgements: &[Judgement], judgement: Judgement) -> Verdict {
        let finding = |judgement: &Judgement| Finding {
            check: Check {
                metric: "error-rate".into(),
                max: Some(0.1),
                max_increase: None,
                min_increase: None,
            },
            judgement: *judgement,
            canary: None,
            baseline: None,
            canary_samples: 3,
            baseline_samples: 0,
            reason: "3 of 100 samples".into(),
            conditions: Vec::new(),
            queried: Vec::new(),
        };
        Verdict {
            judgement,
            findings: judgements.iter().map(finding).collect(),
            promoted_by: None,
        }
    }

    #[test]
    fn a_soak_that_a_person_ended_passes_unless_a_check_has_failed() {
        use Judgement::{Fail, Inconclusive, Pass};
        let promoted = verdict(&[Pass, Inconclusive], Inconclusive).promoted("ada");
        assert_eq!(promoted.judgement, Pass);
        assert_eq!(promoted.promoted_by.as_deref(), Some("ada"));
        // What was measured stays as it was.
        assert_eq!(promoted.findings[0].reason, "3 of 100 samples");
        assert_eq!(promoted.findings[1].judgement, Inconclusive);
        assert_eq!(
            promoted.findings[1].reason,
            "ada ended the soak before this was judged: 3 of 100 samples"
        );
        let failed = verdict(&[Fail, Inconclusive], Fail).promoted("ada");
        assert_eq!(failed.judgement, Fail);
        assert_eq!(verdict(&[], Pass).promoted("ada").judgement, Pass);
    }

    #[test]
    fn a_finding_holds_no_number_that_the_journal_cannot() {
        let mut finding = verdict(&[Judgement::Pass], Judgement::Pass)
            .findings
            .remove(0);
        finding.canary = Some(f64::NAN);
        finding.conditions.push(Condition {
            kind: ConditionKind::Max,
            limit: f64::INFINITY,
            estimate: Some(f64::INFINITY),
            low: Some(f64::NAN),
            high: Some(2.5),
            evidence: f64::NAN,
            earlier: f64::NEG_INFINITY,
            threshold: 4.6,
            bursts: Some(Bursts {
                squares: f64::NAN,
                expected: 1.0,
            }),
            lifetimes: None,
            missing_requests: None,
            missing_millis: None,
        });
        let finding = finding.finite();
        let text = serde_json::to_string(&finding).unwrap();
        assert_eq!(serde_json::from_str::<Finding>(&text).unwrap(), finding);
        let [condition] = &finding.conditions[..] else {
            panic!("{finding:?}");
        };
        assert_eq!((finding.canary, condition.estimate), (None, None));
        assert_eq!((condition.low, condition.high), (None, Some(2.5)));
        assert_eq!((condition.limit, condition.evidence), (f64::MAX, 0.0));
        assert_eq!((condition.earlier, condition.threshold), (f64::MIN, 4.6));
        assert_eq!(condition.bursts, None);
    }

    /// Replay compares a call with the journal. A number that JSON changed slightly would
    /// look like a different call.
    #[test]
    fn numbers_survive_json_unchanged() {
        let mut number = 0.1_f64;
        for _ in 0..10_000 {
            number = f64::from_bits(number.to_bits().wrapping_mul(6_364_136_223_846_793_005) >> 2);
            let check = Check {
                metric: "error-rate".into(),
                max: Some(number),
                max_increase: None,
                min_increase: None,
            };
            if check.is_finite() {
                let json = serde_json::to_string(&check).unwrap();
                assert_eq!(
                    serde_json::from_str::<Check>(&json).unwrap(),
                    check,
                    "{json}"
                );
            }
        }
    }
}
