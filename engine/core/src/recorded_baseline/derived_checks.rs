use crate::{Check, Finding};

/// The checks of a soak without a baseline: those that are judged, and where their limits come
/// from.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DerivedChecks {
    /// As the judge gets them. [`Self::explain`] does not need them: where thousands soak, take
    /// them out.
    pub checks: Vec<Check>,
    /// For each of them, what it was derived from.
    pub(super) origins: Vec<Option<Origin>>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Origin {
    /// The limits of the check that was asked for. Its metric is that of the derived one.
    pub(super) max: Option<f64>,
    pub(super) max_increase: f64,
    pub(super) min_increase: Option<f64>,
    pub(super) baseline: f64,
    pub(super) samples: u64,
    pub(super) drift: f64,
}

impl DerivedChecks {
    /// Changes the findings on the derived checks to those that were asked for: each says where its
    /// limit comes from.
    pub fn explain(&self, findings: &mut [Finding]) {
        for (finding, origin) in findings.iter_mut().zip(&self.origins) {
            let Some(origin) = origin else {
                continue;
            };
            let check = &mut finding.check;
            check.max = origin.max;
            check.max_increase = Some(origin.max_increase);
            check.min_increase = origin.min_increase;
            finding.baseline = Some(origin.baseline);
            finding.baseline_samples = origin.samples;
            finding.reason = format!(
                "{}; no node runs the previous version any more, so the limit follows from its {} \
                 requests before, and allows {} times as much, since the service itself may have \
                 changed",
                finding.reason, origin.samples, origin.drift
            );
        }
    }
}
