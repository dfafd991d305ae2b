//! Judges how often processes ended.

use crate::{
    ConditionKind, Judgement, Lifetime, Lifetimes, NodeInterval, SoakHistory, VersionInterval,
};

use super::budget::Budget;
use super::error_checks::passed;
use super::format;
use super::limits::CheckLimits;
use super::mixture::{self, MOST};
use super::outcome::{Evidence, Measured, Tested, Traffic};
use super::{Bounds, Look};

/// The part of a deployment's budget that the comparison of restarts gets. Rates of crashes differ
/// by orders of magnitude, so a small part hardly delays it, and costs the other checks little.
pub(super) const SHARE: f64 = 0.1;

/// How many times the allowed rate a version crashes, and how much is bet on that. Some processes
/// live for months, and others end within a minute.
const BETS: [(f64, f64); 5] = [
    (3.0, 0.15),
    (10.0, 0.15),
    (60.0, 0.15),
    (1000.0, 0.2),
    (100_000.0, 0.35),
];

/// If the previous version was never seen to crash, its processes count as having run for at least
/// this long, all together. Without that, no number of crashes could be too many on nodes that are
/// new, of which nothing is known.
const LEAST_KNOWN_SECONDS: f64 = 86_400.0;

/// So many crashes are no failure while the previous version counts as having run for longer than
/// it was seen: it may crash as often, and nobody has seen it yet.
const ALLOWED_WHERE_UNKNOWN: f64 = 2.0;

/// How often the processes of each side ended unexpectedly, and how long they ran.
#[derive(Debug, Clone, Default)]
pub(super) struct Restarts {
    /// Of the new version in this soak.
    canary: VersionInterval,
    /// Whether any node told how the new version fared in this soak.
    is_observed: bool,
    /// In all soaks of the deployment until now, and before them.
    all: Lifetimes,
    /// Whether anything is known of the previous version, or will be.
    has_baseline: bool,
}

impl Restarts {
    /// Begins a soak after the earlier ones of `history`. `before` is the past of the previous version
    /// on all nodes, which counts in the first soak only: later ones have it from the history.
    pub(super) fn new(history: &SoakHistory, before: Lifetime, has_baseline: bool) -> Self {
        let all = history.lifetimes().unwrap_or(Lifetimes {
            baseline: before,
            ..Lifetimes::default()
        });
        Self {
            canary: VersionInterval::default(),
            is_observed: false,
            has_baseline: has_baseline || all.baseline.millis > 0,
            all,
        }
    }

    /// Whether anything is known of the previous version, or will be: from this soak, an earlier
    /// one, or the time before them.
    pub(super) fn has_baseline(&self) -> bool {
        self.has_baseline
    }

    /// Adds what the nodes did since the last reading. One process runs both versions of a node
    /// that is on both sides: the new one is suspect, so its time says nothing of the previous one.
    pub(super) fn observe(&mut self, intervals: &[NodeInterval]) {
        for interval in intervals {
            let (side, version) = match (&interval.canary, &interval.baseline) {
                (Some(version), _) => (&mut self.all.canary, version),
                (None, Some(version)) => (&mut self.all.baseline, version),
                (None, None) => continue,
            };
            side.add(Lifetime {
                // A cast saturates.
                millis: interval.elapsed.as_millis() as u64,
                crashes: version.restarts,
            });
            if interval.canary.is_some() {
                self.is_observed = true;
                let sum = &mut self.canary;
                sum.restarts = sum.restarts.saturating_add(version.restarts);
                sum.lost = sum.lost.saturating_add(version.lost);
            }
        }
    }

    /// Tests the check. A restart is certain, so `max` alone needs no test: one more fails.
    ///
    /// With an increase, rates in time are compared, those of the whole deployment and of what was
    /// known before it: crashes are so rare that a soak alone says little of the previous version.
    /// `max` restarts are then allowed in any case.
    ///
    /// Where no node with the new version could be read, nothing is known of its crashes.
    ///
    /// `level` is the level of all checks of the deployment.
    pub(super) fn test(
        &self,
        limits: &CheckLimits,
        level: f64,
        traffic: Traffic,
        look: Look,
    ) -> Measured {
        if !self.is_observed {
            return Measured::unknown(
                "no node with the new version could be read, so its restarts are not known"
                    .to_owned(),
            );
        }
        let budget = Budget {
            threshold: -(level * SHARE).ln(),
            earlier: 0.0,
        };
        let compared = limits.asked_increase.filter(|_| self.has_baseline);
        let Some(increase) = compared else {
            let count = self.canary.restarts;
            return Measured {
                canary: Some(count as f64),
                canary_samples: count,
                tested: (limits.max.iter())
                    .map(|&max| self.count_max(max, budget, traffic))
                    .collect(),
                ..Measured::default()
            };
        };
        let Lifetimes { canary, baseline } = self.all;
        Measured {
            canary: Some(canary.crashes as f64),
            baseline: Some(baseline.crashes as f64),
            canary_samples: canary.crashes,
            baseline_samples: baseline.crashes,
            tested: vec![self.test_increase(increase, limits, budget, traffic, look)],
        }
    }

    /// The count is certain: its interval is itself.
    fn count_max(&self, max: f64, budget: Budget, traffic: Traffic) -> Tested {
        let count = self.canary.restarts as f64;
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
        let description = self.describe(self.canary.restarts, "");
        let allowed = format::count(max as u64);
        if is_violated {
            let reason = format!("{description}: more than the allowed {allowed}");
            return evidence.tested(Judgement::Fail, reason, traffic);
        }
        let reason = format!("{description}: not more than the allowed {allowed}");
        evidence.tested(Judgement::Pass, reason, traffic)
    }

    /// The evidence against "`of` crashes at most `factor` times as often as `other`": two Poisson
    /// rates, of which only the ratio matters.
    fn evidence(of: (f64, f64), other: (f64, f64), factor: f64) -> f64 {
        let ((crashes, seconds), (crashes_of_other, seconds_of_other)) = (of, other);
        let odds = factor * seconds / seconds_of_other;
        // A clock that was set back shows no time.
        if crashes <= 0.0 || odds <= 0.0 || !odds.is_finite() {
            return 0.0;
        }
        Self::evidence_of_share(crashes, crashes + crashes_of_other, odds)
    }

    /// The evidence against "each of `all` crashes is one of these with odds of at most `odds`".
    fn evidence_of_share(crashes: f64, all: f64, odds: f64) -> f64 {
        let base = odds.ln_1p();
        mixture::mix_weighted(BETS.map(|(ratio, weight)| {
            let log = crashes * ratio.ln() + all * (base - (ratio * odds).ln_1p());
            (log, weight)
        }))
    }

    /// The interval of the ratio of both rates at the evidence `needed`.
    fn interval(canary: (f64, f64), baseline: (f64, f64), needed: f64) -> Bounds {
        let low = mixture::highest_refuted(needed, |factor| {
            Self::evidence(canary, known(baseline), factor)
        });
        let high =
            mixture::highest_refuted(needed, |factor| Self::evidence(baseline, canary, factor));
        (low, high.map(|factor| 1.0 / factor))
    }

    fn test_increase(
        &self,
        increase: f64,
        limits: &CheckLimits,
        budget: Budget,
        traffic: Traffic,
        look: Look,
    ) -> Tested {
        let (canary, baseline) = (crashes(self.all.canary), crashes(self.all.baseline));
        let usual = baseline.0 / known(baseline).1;
        let ratio = canary.0 / canary.1 / usual;
        let evidence = Evidence {
            kind: ConditionKind::Increase,
            limit: 1.0 + increase,
            estimate: Some(ratio).filter(|ratio| !ratio.is_nan()),
            interval: look.shown(|| Self::interval(canary, baseline, budget.shown())),
            evidence: Self::evidence(canary, known(baseline), 1.0 + increase),
            needed: 0.0,
            // It takes time, and requests are the measure of that.
            samples: traffic.requests,
            budget,
        };
        let description = self.compare();
        let allowed = format::percent(increase);
        let times = |ratio| format!("{} as often", format::times(ratio));
        let is_violated = evidence.is_violated();
        let never_fails = self.why_never_a_failure(limits, usual);
        let (judgement, evidence, reason) = match never_fails.filter(|_| is_violated) {
            None if is_violated => {
                let evidence = evidence.failed();
                let reason = format!(
                    "{description}: {}, more than the allowed increase of {allowed}; {}",
                    evidence.describe_interval(times),
                    evidence.describe_chance()
                );
                (Judgement::Fail, evidence, reason)
            }
            None => {
                let evidence = evidence.kept();
                let allowed = format!("the allowed increase of {allowed}");
                let description = format!("{description}{}", evidence.describe_certainty(times));
                let reason = passed(&evidence, &description, &allowed, traffic);
                (Judgement::Pass, evidence, reason)
            }
            Some(why) => {
                let evidence = evidence.kept();
                let certainty = evidence.describe_certainty(times);
                let reason = format!("{description}{certainty}: {why}");
                (Judgement::Pass, evidence, reason)
            }
        };
        let mut tested = evidence.tested(judgement, reason, traffic);
        if let Some(condition) = &mut tested.condition {
            condition.lifetimes = Some(self.all);
            if judgement != Judgement::Fail && is_violated {
                condition.evidence = condition.evidence.min(0.0);
            }
        }
        tested
    }

    /// Why so many restarts of the new version are no failure, however often the previous version
    /// did. `usual` is how often that one restarts in a second. `None` where they may be one.
    fn why_never_a_failure(&self, limits: &CheckLimits, usual: f64) -> Option<String> {
        let (canary, baseline) = (crashes(self.all.canary), crashes(self.all.baseline));
        let max = limits.max.unwrap_or(0.0);
        if canary.0 <= max {
            let allowed = format::count(max as u64);
            return Some(format!(
                "not more than the {allowed} that are allowed in any case"
            ));
        }
        if canary.0 <= ALLOWED_WHERE_UNKNOWN && known(baseline) != baseline {
            let allowed = format::count(ALLOWED_WHERE_UNKNOWN as u64);
            return Some(format!(
                "not more than the {allowed} that are allowed where so little is known"
            ));
        }
        let least = limits.min_increase;
        (canary.0 - usual * canary.1 < least).then(|| {
            format!("the increase is less than {least} restarts, which is never a failure")
        })
    }

    /// `nodes of the new version restarted once in 12 minutes, against twice in 9 days on the
    /// previous version`.
    fn compare(&self) -> String {
        let Lifetimes { canary, baseline } = self.all;
        let span = |lifetime: Lifetime| format::span(crashes(lifetime).1);
        let seen = crashes(baseline);
        let taken = if known(seen) == seen {
            String::new()
        } else {
            format!(" (counted as {})", format::span(LEAST_KNOWN_SECONDS))
        };
        let canary = self.describe(canary.crashes, &format!(" in {}", span(canary)));
        format!(
            "{canary}, against {} in {}{taken} on the previous version",
            times(baseline.crashes),
            span(baseline)
        )
    }

    fn describe(&self, restarts: u64, span: &str) -> String {
        let restarted = match restarts {
            0 => "never restarted".to_owned(),
            some => format!("restarted {}", times(some)),
        };
        let lost = match self.canary.lost {
            0 => String::new(),
            lost => format!(", and lost {}", format::requests(lost)),
        };
        format!("nodes of the new version {restarted}{span}{lost}")
    }
}

/// Crashes, and seconds.
fn crashes(lifetime: Lifetime) -> (f64, f64) {
    (lifetime.crashes as f64, lifetime.millis as f64 / 1e3)
}

/// What the previous version is judged by.
fn known((crashes, seconds): (f64, f64)) -> (f64, f64) {
    if crashes > 0.0 {
        return (crashes, seconds);
    }
    (crashes, seconds.max(LEAST_KNOWN_SECONDS))
}

fn times(restarts: u64) -> String {
    match restarts {
        0 => "never".to_owned(),
        1 => "once".to_owned(),
        many => format!("{} times", format::count(many)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Given how often both sides crashed, each crash is one of the new version with the same
    /// probability. The mean over all outcomes is exact.
    #[test]
    fn an_e_value_averages_one() {
        for (all, odds) in [(1_u32, 0.001_f64), (5, 0.02), (40, 0.5), (12, 3.0)] {
            let p = odds / (1.0 + odds);
            let mut log_choose = 0.0_f64;
            let mut mean = 0.0;
            for new in 0..=all {
                let old = all - new;
                let chance = log_choose + f64::from(new) * p.ln() + f64::from(old) * (-p).ln_1p();
                let evidence = Restarts::evidence_of_share(new.into(), all.into(), odds);
                mean += (chance + evidence).exp();
                log_choose += (f64::from(old) / f64::from(new + 1)).ln();
            }
            assert!((mean - 1.0).abs() < 1e-9, "{all} {odds}: {mean}");
        }
    }

    #[test]
    fn without_time_there_is_no_evidence() {
        for (of, other) in [
            ((1.0, 0.0), (0.0, 60.0)),
            ((1.0, 60.0), (0.0, 0.0)),
            ((0.0, 60.0), (5.0, 60.0)),
            ((1.0, 0.0), (1.0, 0.0)),
        ] {
            assert_eq!(Restarts::evidence(of, other, 2.0), 0.0, "{of:?} {other:?}");
        }
    }
}
