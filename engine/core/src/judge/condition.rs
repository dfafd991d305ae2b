//! The result of testing one condition of a check, and what the results of all conditions
//! add up to.

use crate::Judgement;

/// The result of testing one condition, with one sentence that explains it.
pub(super) enum ConditionOutcome {
    Violated(String),
    Met(String),
    TooFewSamples(String),
}

/// The value of a metric in each cohort, and the number of samples behind it.
#[derive(Default)]
pub(super) struct Measurement {
    pub(super) canary: Option<f64>,
    pub(super) baseline: Option<f64>,
    pub(super) canary_samples: u64,
    pub(super) baseline_samples: u64,
}

/// The judgement of a check and its reason. One violated condition fails the check, whatever
/// the others say.
pub(super) fn conclude(outcomes: Vec<ConditionOutcome>) -> (Judgement, String) {
    let (mut violated, mut too_few, mut met) = (Vec::new(), Vec::new(), Vec::new());
    for outcome in outcomes {
        match outcome {
            ConditionOutcome::Violated(reason) => violated.push(reason),
            ConditionOutcome::TooFewSamples(reason) => too_few.push(reason),
            ConditionOutcome::Met(reason) => met.push(reason),
        }
    }
    let (judgement, reasons) = if !violated.is_empty() {
        (Judgement::Fail, violated)
    } else if !too_few.is_empty() {
        (Judgement::Inconclusive, too_few)
    } else {
        (Judgement::Pass, met)
    };
    (judgement, reasons.join("; and "))
}
