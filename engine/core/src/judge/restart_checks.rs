//! Judges how often processes ended.

use crate::{ConditionKind, Judgement, NodeInterval, VersionInterval};

use super::budget::Budget;
use super::format;
use super::limits::CheckLimits;
use super::mixture::{self, ODDS};
use super::outcome::{Evidence, Measured, Tested, Traffic};

const NO_TRAFFIC: Traffic = Traffic {
    requests: 0.0,
    seconds: 0.0,
};

/// How often the processes of each side ended unexpectedly, and how long they ran.
#[derive(Debug, Clone, Default)]
pub(super) struct Restarts {
    canary: Side,
    baseline: Side,
}

#[derive(Debug, Clone, Copy, Default)]
struct Side {
    restarts: u64,
    lost: u64,
    seconds: f64,
}

impl Side {
    fn add(&mut self, interval: &NodeInterval, version: Option<&VersionInterval>) {
        if let Some(version) = version {
            self.restarts = self.restarts.saturating_add(version.restarts);
            self.lost = self.lost.saturating_add(version.lost);
            self.seconds += interval.elapsed.as_secs_f64();
        }
    }
}

impl Restarts {
    /// Adds what the nodes did since the last reading. A node that runs both versions counts on
    /// the side that it blames for the restart.
    pub(super) fn observe(&mut self, intervals: &[NodeInterval]) {
        for interval in intervals {
            self.canary.add(interval, interval.canary.as_ref());
            self.baseline.add(interval, interval.baseline.as_ref());
        }
    }

    /// Tests each condition. A restart is certain, so `max` needs no test: one more fails. The
    /// increase is judged by the rate in time of both sides.
    pub(super) fn test(
        &self,
        limits: &CheckLimits,
        budget: impl Fn(ConditionKind) -> Budget,
    ) -> Measured {
        let count = self.canary.restarts;
        let absolute = limits.max.map(|max| {
            let description = self.describe();
            let allowed = format::count(max as u64);
            let (judgement, reason) = if count as f64 > max {
                let reason = format!("{description}: more than the allowed {allowed}");
                (Judgement::Fail, reason)
            } else {
                let reason = format!("{description}: not more than the allowed {allowed}");
                (Judgement::Pass, reason)
            };
            Tested {
                condition: None,
                judgement,
                reason,
            }
        });
        let relative = limits.max_increase.map(|increase| {
            let budget = budget(ConditionKind::Increase);
            self.test_increase(increase, limits.min_increase, budget)
        });
        Measured {
            canary: Some(count as f64),
            baseline: limits.max_increase.map(|_| self.baseline.restarts as f64),
            canary_samples: count,
            baseline_samples: self.baseline.restarts,
            tested: absolute.into_iter().chain(relative).collect(),
        }
    }

    /// Two Poisson rates.
    fn test_increase(&self, increase: f64, min_increase: f64, budget: Budget) -> Tested {
        let (new, old) = (self.canary.restarts as f64, self.baseline.restarts as f64);
        let odds = (1.0 + increase) * self.canary.seconds / self.baseline.seconds;
        let evidence = if new > 0.0 && odds.is_finite() {
            let base = odds.ln_1p();
            mixture::mix(
                ODDS.map(|ratio| new * ratio.ln() + (new + old) * (base - (ratio * odds).ln_1p())),
            )
        } else {
            0.0
        };
        let rates = (new / self.canary.seconds, old / self.baseline.seconds);
        let ratio = rates.0 / rates.1;
        let evidence = Evidence {
            kind: ConditionKind::Increase,
            limit: 1.0 + increase,
            estimate: Some(ratio).filter(|ratio| ratio.is_finite()),
            interval: (None, None),
            evidence,
            needed: 0.0,
            samples: 0.0,
            budget,
        };
        let description = format!(
            "{}, against {} on the nodes of the previous version",
            self.describe(),
            format::count(self.baseline.restarts)
        );
        let allowed = format::percent(increase);
        if evidence.is_violated() && new - old >= min_increase {
            let reason = format!(
                "{description}: more than the allowed increase of {allowed}; {}",
                evidence.describe_chance()
            );
            return evidence.tested(Judgement::Fail, reason, NO_TRAFFIC);
        }
        let reason =
            format!("{description}: no evidence of more than the allowed increase of {allowed}");
        evidence.tested(Judgement::Pass, reason, NO_TRAFFIC)
    }

    fn describe(&self) -> String {
        let Side { restarts, lost, .. } = self.canary;
        let times = match restarts {
            0 => "never".to_owned(),
            1 => "once".to_owned(),
            many => format!("{} times", format::count(many)),
        };
        let lost = match lost {
            0 => String::new(),
            lost => format!(", and lost {}", format::requests(lost)),
        };
        format!("nodes of the new version restarted {times}{lost}")
    }
}
