//! Judges how often processes ended.

use crate::{ConditionKind, Judgement, NodeInterval, VersionInterval};

use super::budget::Budget;
use super::error_checks::passed;
use super::format;
use super::limits::CheckLimits;
use super::mixture::{self, MOST, ODDS};
use super::outcome::{Evidence, Measured, Tested, Traffic};
use super::{Bounds, Look, SoakHistory};

/// How often the processes of each side ended unexpectedly, and how long they ran.
#[derive(Debug, Clone, Default)]
pub(super) struct Restarts {
    canary: Side,
    baseline: Side,
    /// The most restarts of the previous version in an earlier soak of the deployment.
    earlier: u64,
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

/// Once the previous version restarts, too, the new one may restart so many times as often,
const ALLOWED_TIMES: f64 = 3.0;
/// and so many times more: it may be on more nodes, and few restarts say little of the next ones.
const ALLOWED_MORE: f64 = 5.0;

impl Restarts {
    /// Of a deployment with these earlier soaks.
    pub(super) fn after_soaks(history: &SoakHistory) -> Self {
        Self {
            // A cast saturates.
            earlier: history.highest_baseline("restarts").unwrap_or(0.0) as u64,
            ..Self::default()
        }
    }

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
    ///
    /// A check that has both allows more than `max` once the previous version has been seen to
    /// restart: what ends its processes ends those of the new version, too.
    pub(super) fn test(
        &self,
        limits: &CheckLimits,
        budget: impl Fn(ConditionKind) -> Budget,
        traffic: Traffic,
        look: Look,
    ) -> Measured {
        let count = self.canary.restarts;
        let old = Some(self.baseline.restarts.max(self.earlier))
            .filter(|&old| old > 0 && limits.is_compared);
        let absolute = limits
            .max
            .map(|max| self.count_max(max, old, budget(ConditionKind::Max), traffic));
        let relative = limits.max_increase.map(|increase| {
            let budget = budget(ConditionKind::Increase);
            let limits = (increase, limits.min_increase);
            self.test_increase(limits, budget, traffic, look)
        });
        Measured {
            canary: Some(count as f64),
            baseline: limits.max_increase.map(|_| self.baseline.restarts as f64),
            canary_samples: count,
            baseline_samples: self.baseline.restarts,
            tested: absolute.into_iter().chain(relative).collect(),
        }
    }

    /// The count is certain: its interval is itself. `old` are the restarts of the previous
    /// version, where they count.
    fn count_max(&self, max: f64, old: Option<u64>, budget: Budget, traffic: Traffic) -> Tested {
        let count = self.canary.restarts as f64;
        let allowed = old.map(|old| ALLOWED_TIMES * old as f64 + ALLOWED_MORE);
        let max = allowed.map_or(max, |allowed| allowed.max(max));
        let is_violated = count > max;
        let evidence = Evidence {
            kind: ConditionKind::Max,
            limit: max,
            estimate: Some(count),
            interval: (Some(count), Some(count)),
            evidence: if is_violated { MOST } else { -MOST },
            needed: 0.0,
            samples: 0.0,
            budget,
        };
        let (description, mut allowed) = (self.describe(), format::count(max as u64));
        if let Some(old) = old {
            let times = times(old);
            allowed += &format!(" where those of the previous version restarted {times} in a soak");
        }
        if is_violated {
            let reason = format!("{description}: more than the allowed {allowed}");
            return evidence.tested(Judgement::Fail, reason, traffic);
        }
        let reason = format!("{description}: not more than the allowed {allowed}");
        evidence.tested(Judgement::Pass, reason, traffic)
    }

    /// The evidence against "the rate of `of` is at most `factor` times that of `other`": two
    /// Poisson rates.
    fn evidence(of: Side, other: Side, factor: f64) -> f64 {
        let (counted, all) = (
            of.restarts as f64,
            of.restarts as f64 + other.restarts as f64,
        );
        let odds = factor * of.seconds / other.seconds;
        if counted <= 0.0 || !odds.is_finite() {
            return 0.0;
        }
        let base = odds.ln_1p();
        mixture::mix(ODDS.map(|ratio| counted * ratio.ln() + all * (base - (ratio * odds).ln_1p())))
    }

    /// The interval of the ratio of both rates at the evidence `needed`.
    fn interval(&self, needed: f64) -> Bounds {
        let (canary, baseline) = (self.canary, self.baseline);
        let low =
            mixture::highest_refuted(needed, |factor| Self::evidence(canary, baseline, factor));
        let high =
            mixture::highest_refuted(needed, |factor| Self::evidence(baseline, canary, factor));
        (low, high.map(|factor| 1.0 / factor))
    }

    fn test_increase(
        &self,
        (increase, min_increase): (f64, f64),
        budget: Budget,
        traffic: Traffic,
        look: Look,
    ) -> Tested {
        let (canary, baseline) = (self.canary, self.baseline);
        let (new, old) = (canary.restarts as f64, baseline.restarts as f64);
        let ratio = (new / canary.seconds) / (old / baseline.seconds);
        let evidence = Evidence {
            kind: ConditionKind::Increase,
            limit: 1.0 + increase,
            estimate: Some(ratio).filter(|ratio| !ratio.is_nan()),
            interval: look.shown(|| self.interval(budget.shown())),
            evidence: Self::evidence(canary, baseline, 1.0 + increase),
            needed: 0.0,
            // It takes time, and requests are the measure of that.
            samples: traffic.requests,
            budget,
        };
        let description = format!(
            "{}, against {} on the nodes of the previous version",
            self.describe(),
            format::count(self.baseline.restarts)
        );
        let allowed = format::percent(increase);
        let times = |ratio| format!("{} as often", format::times(ratio));
        if evidence.is_violated() && new - old >= min_increase {
            let evidence = evidence.failed();
            let reason = format!(
                "{description}: {}, more than the allowed increase of {allowed}; {}",
                evidence.describe_interval(times),
                evidence.describe_chance()
            );
            return evidence.tested(Judgement::Fail, reason, traffic);
        }
        let allowed = format!("the allowed increase of {allowed}");
        let description = format!("{description}{}", evidence.describe_certainty(times));
        let reason = passed(&evidence, &description, &allowed, traffic);
        let mut tested = evidence.tested(Judgement::Pass, reason, traffic);
        if let Some(condition) = &mut tested.condition
            && new - old < min_increase
        {
            // What is never a failure must not become one in a later soak.
            condition.evidence = condition.evidence.min(0.0);
        }
        tested
    }

    fn describe(&self) -> String {
        let Side { restarts, lost, .. } = self.canary;
        let times = times(restarts);
        let lost = match lost {
            0 => String::new(),
            lost => format!(", and lost {}", format::requests(lost)),
        };
        format!("nodes of the new version restarted {times}{lost}")
    }
}

fn times(restarts: u64) -> String {
    match restarts {
        0 => "never".to_owned(),
        1 => "once".to_owned(),
        many => format!("{} times", format::count(many)),
    }
}
