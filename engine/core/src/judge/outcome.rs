//! The result of testing the conditions of a check, and what they add up to.

use crate::{Check, Condition, ConditionKind, Finding, Judgement};

use super::budget::Budget;
use super::mixture::MOST;
use super::{Bounds, format};

/// The requests of the new version so far, and the time that they took.
#[derive(Debug, Clone, Copy)]
pub(super) struct Traffic {
    pub(super) requests: f64,
    pub(super) seconds: f64,
}

/// The value of a metric on each side, the samples behind it, and what its conditions came to.
#[derive(Debug, Default)]
pub(super) struct Measured {
    pub(super) canary: Option<f64>,
    pub(super) baseline: Option<f64>,
    pub(super) canary_samples: u64,
    pub(super) baseline_samples: u64,
    pub(super) tested: Vec<Tested>,
}

/// The outcome of one condition, with one sentence that explains it.
#[derive(Debug)]
pub(super) struct Tested {
    /// `None` if nothing could be tested at all.
    pub(super) condition: Option<Condition>,
    pub(super) judgement: Judgement,
    pub(super) reason: String,
}

impl Traffic {
    /// How many seconds this many more requests take at the present rate. `None` if it is not
    /// known.
    fn seconds_for(self, requests: f64) -> Option<f64> {
        let seconds = requests / self.requests * self.seconds;
        (self.requests > 0.0 && seconds.is_finite()).then_some(seconds)
    }

    /// `; at the present rate that takes another 6 minutes`.
    pub(super) fn describe(self, requests: f64) -> String {
        let seconds = self.seconds_for(requests).filter(|&seconds| seconds > 0.0);
        seconds.map_or_else(String::new, |seconds| {
            let span = format::span(seconds);
            format!("; at the present rate that takes another {span}")
        })
    }
}

impl Measured {
    /// A check that cannot be judged.
    pub(super) fn unknown(reason: String) -> Self {
        Self {
            tested: vec![Tested {
                condition: None,
                judgement: Judgement::Inconclusive,
                reason,
            }],
            ..Self::default()
        }
    }

    /// The finding of the check. One violated condition fails it, whatever the others say. It
    /// passes only with `min_samples` requests of the new version.
    pub(super) fn conclude(mut self, check: &Check, min_samples: u64, traffic: Traffic) -> Finding {
        if traffic.requests < min_samples as f64 {
            let missing = min_samples as f64 - traffic.requests;
            for tested in &mut self.tested {
                if tested.judgement == Judgement::Pass {
                    tested.judgement = Judgement::Inconclusive;
                    tested.reason = format!(
                        "{}; minSamples is {}, and the new version answered {}{}",
                        tested.reason,
                        format::count(min_samples),
                        format::requests(traffic.requests as u64),
                        traffic.describe(missing)
                    );
                }
            }
        }
        let judgement = [Judgement::Fail, Judgement::Inconclusive]
            .into_iter()
            .find(|judgement| {
                let mut tested = self.tested.iter();
                tested.any(|tested| tested.judgement == *judgement)
            })
            .unwrap_or(Judgement::Pass);
        let decisive = self.tested.iter();
        let decisive = decisive.filter(|tested| tested.judgement == judgement);
        let reasons: Vec<_> = decisive.map(|tested| tested.reason.as_str()).collect();
        Finding {
            check: check.clone(),
            judgement,
            canary: self.canary,
            baseline: self.baseline,
            canary_samples: self.canary_samples,
            baseline_samples: self.baseline_samples,
            reason: reasons.join("; and "),
            conditions: self
                .tested
                .into_iter()
                .filter_map(|tested| tested.condition)
                .collect(),
            queried: Vec::new(),
        }
    }
}

/// The result of a test, before it becomes a [`Tested`].
#[derive(Debug)]
pub(super) struct Evidence {
    pub(super) kind: ConditionKind,
    pub(super) budget: Budget,
    pub(super) limit: f64,
    /// Infinite where the previous version has none at all.
    pub(super) estimate: Option<f64>,
    pub(super) interval: Bounds,
    pub(super) evidence: f64,
    /// Requests of the new version that the test needs.
    pub(super) needed: f64,
    /// Requests of the new version that it has.
    pub(super) samples: f64,
}

impl Evidence {
    /// Whether the condition is violated beyond doubt.
    pub(super) fn is_violated(&self) -> bool {
        self.evidence >= self.budget.needed()
    }

    /// How many more requests of the new version it takes to decide: until a gross fault would
    /// have been found; or, where the estimate is above the limit, until that is beyond doubt at
    /// the pace so far. `None` if it cannot be told.
    pub(super) fn missing(&self) -> Option<f64> {
        if self.is_violated() {
            return None;
        }
        if self.samples < self.needed {
            return Some((self.needed - self.samples).ceil());
        }
        let is_above = self.estimate.is_some_and(|estimate| estimate > self.limit);
        let more = self.samples * (self.budget.needed() / self.evidence - 1.0);
        (is_above && self.evidence > 0.0 && more.is_finite()).then(|| more.ceil())
    }

    /// Says, for the reason of a violated condition, how unlikely the result is by chance.
    pub(super) fn describe_chance(&self) -> String {
        let log = (self.evidence + self.budget.earlier).min(1e9_f64.ln());
        format!(
            "chance alone would cause this less than once in {} deployments",
            format::count(log.exp() as u64)
        )
    }

    /// Of a condition that fails: the interval lies above the limit. It is wider than the test
    /// where both sides are estimated apart, and it does not know of earlier soaks.
    pub(super) fn failed(mut self) -> Self {
        let (low, high) = self.interval;
        let low = low.map_or(self.limit, |low| low.max(self.limit));
        self.interval = (Some(low), high.map(|high| high.max(low)));
        self
    }

    /// Of a condition that does not fail: the interval does not lie above the limit. Each side's
    /// interval knows nothing of how well the limit is known.
    pub(super) fn kept(mut self) -> Self {
        let (low, high) = self.interval;
        self.interval = (low.map(|low| low.min(self.limit)), high);
        self
    }

    pub(super) fn tested(self, judgement: Judgement, reason: String, traffic: Traffic) -> Tested {
        let missing = self.missing();
        let finite = |value: f64| if value.is_finite() { value } else { f64::MAX };
        let (low, high) = self.interval;
        let whole = |value: f64| value.clamp(0.0, 1e15) as u64;
        Tested {
            condition: Some(Condition {
                kind: self.kind,
                limit: finite(self.limit),
                estimate: self.estimate.filter(|estimate| estimate.is_finite()),
                low: low.map(finite),
                high: high.map(finite),
                evidence: self.evidence.clamp(-MOST, MOST),
                earlier: self.budget.earlier,
                threshold: self.budget.threshold,
                bursts: None,
                lifetimes: None,
                missing_requests: missing.map(whole),
                missing_millis: missing
                    .and_then(|missing| traffic.seconds_for(missing))
                    .map(|seconds| whole(seconds * 1e3)),
            }),
            judgement,
            reason,
        }
    }

    /// `; it is between 0.4 and 2.1 times (99.7 % sure)`: the interval, and how sure it is. Empty
    /// where there is none.
    pub(super) fn describe_certainty(&self, value: impl Fn(f64) -> String) -> String {
        let interval = self.describe_interval(value);
        if interval.is_empty() {
            return interval;
        }
        // Either bound may be wrong. Rounded down: not more sure than it is.
        let sure = 1.0 - 2.0 * (-self.budget.shown()).exp();
        let sure = format::percent((1000.0 * sure).floor() / 1000.0);
        format!("; it is {interval} ({sure} sure)")
    }

    /// `between 1.2 and 3 times`, or what is known of it. Empty where nothing is.
    pub(super) fn describe_interval(&self, value: impl Fn(f64) -> String) -> String {
        match self.interval {
            (Some(low), Some(high)) => format!("between {} and {}", value(low), value(high)),
            (Some(low), None) => format!("at least {}", value(low)),
            (None, Some(high)) => format!("at most {}", value(high)),
            (None, None) => String::new(),
        }
    }
}
