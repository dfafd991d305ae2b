//! Judges the new version by its metrics, with one exact statistical test for each metric.
//!
//! A false alarm is a failed check of a version that keeps its limits. Each condition of a
//! check has a false-alarm rate of at most [`Judge::FALSE_ALARM_RATE`] over the whole soak.
//! Each of its [`Judge::MAX_LOOKS`] looks may use an equal share of that (Bonferroni
//! correction); the final verdict is the last look.
//!
//! The tests are exact, so a check can fail on any number of samples. It passes only where
//! there are enough samples to find a gross fault; otherwise it is inconclusive.

mod cohort;
mod condition;
mod error_rate;
mod format;
mod limits;
mod metric;
mod observed_node;
mod quantile;
mod quantile_samples;
mod reservoir;
mod tail_probability;

#[cfg(test)]
mod tests;

use std::collections::HashMap;

use crate::{Check, Digest, Finding, Judgement, NodeId, NodeReading, Verdict};

use cohort::Cohorts;
use condition::{ConditionOutcome, Measurement, conclude};
use limits::CheckLimits;
use metric::Metric;
use observed_node::{Membership, ObservedNode};
use quantile_samples::QuantileSamples;

/// Judges the checks of one soak from the readings of its nodes.
///
/// Pure. Its memory is bounded: it does not grow with the length of the soak.
#[derive(Debug)]
pub struct Judge {
    checks: Vec<Check>,
    version: Digest,
    nodes: HashMap<NodeId, ObservedNode>,
    has_baseline: bool,
    cohorts: Cohorts,
    looks: u32,
}

impl Judge {
    /// The most looks at one soak, the final verdict included. Without a bound, looking more
    /// often would raise the false-alarm rate.
    pub const MAX_LOOKS: u32 = 20;

    /// The highest probability that one condition fails, over all looks of a soak, although
    /// the version just keeps it.
    pub const FALSE_ALARM_RATE: f64 = 0.01;

    /// Starts judging a soak of `version` whose first readings are `start`.
    ///
    /// On the nodes `canary`, only `version` counts; on the nodes `baseline`, every other
    /// version of the module. A node without a reading in `start` counts from its first
    /// reading.
    pub fn new(
        checks: Vec<Check>,
        canary: Vec<NodeId>,
        baseline: Vec<NodeId>,
        version: Digest,
        start: Vec<NodeReading>,
    ) -> Self {
        let mut nodes: HashMap<NodeId, ObservedNode> = HashMap::new();
        let has_baseline = !baseline.is_empty();
        for id in canary {
            nodes.entry(id).or_default().membership.canary = true;
        }
        for id in baseline {
            nodes.entry(id).or_default().membership.baseline = true;
        }
        let cohorts = Cohorts::new(&checks);
        let mut judge = Self {
            checks,
            version,
            nodes,
            has_baseline,
            cohorts,
            looks: 0,
        };
        for reading in start {
            if let Some(node) = judge.nodes.get_mut(&reading.node) {
                node.set_start(reading, &judge.version, &judge.cohorts);
            }
        }
        judge
    }

    /// Adds one reading of one node.
    ///
    /// Ignores nodes outside the soak, and readings that are not newer than the last one of
    /// their node. Where a node restarted, everything since the restart counts.
    pub fn observe(&mut self, reading: NodeReading) {
        if let Some(node) = self.nodes.get_mut(&reading.node) {
            node.observe(reading, &self.version, &mut self.cohorts);
        }
    }

    /// Looks at the soak while it runs. Returns the verdict if a check has failed.
    ///
    /// Uses up one of [`Self::MAX_LOOKS`]. The last one is reserved for [`Self::verdict`], so
    /// from the 20th call on this returns `None`.
    pub fn interim_look(&mut self) -> Option<Verdict> {
        if self.looks + 1 >= Self::MAX_LOOKS {
            return None;
        }
        self.looks += 1;
        let verdict = self.verdict();
        (verdict.judgement == Judgement::Fail).then_some(verdict)
    }

    /// The verdict at the end of the soak: `Fail` if any check failed, else `Inconclusive` if
    /// any check was inconclusive, else `Pass`. A soak without checks passes.
    pub fn verdict(&self) -> Verdict {
        let findings: Vec<Finding> = self
            .checks
            .iter()
            .map(|check| self.judge_check(check))
            .collect();
        let any = |judgement| {
            findings
                .iter()
                .any(|finding| finding.judgement == judgement)
        };
        let judgement = if any(Judgement::Fail) {
            Judgement::Fail
        } else if any(Judgement::Inconclusive) {
            Judgement::Inconclusive
        } else {
            Judgement::Pass
        };
        Verdict {
            judgement,
            findings,
            promoted_by: None,
        }
    }

    fn judge_check(&self, check: &Check) -> Finding {
        let (measurement, outcomes) = self.test_conditions(check).unwrap_or_else(|reason| {
            (
                Measurement::default(),
                vec![ConditionOutcome::TooFewSamples(reason)],
            )
        });
        let (judgement, reason) = conclude(outcomes);
        Finding {
            check: check.clone(),
            judgement,
            canary: measurement.canary,
            baseline: measurement.baseline,
            canary_samples: measurement.canary_samples,
            baseline_samples: measurement.baseline_samples,
            reason,
        }
    }

    /// Tests each condition of a check. The error says why the check cannot be judged at all.
    fn test_conditions(
        &self,
        check: &Check,
    ) -> Result<(Measurement, Vec<ConditionOutcome>), String> {
        let metric = Metric::parse(&check.metric)?;
        let significance = Self::FALSE_ALARM_RATE / f64::from(Self::MAX_LOOKS);
        let limits = CheckLimits::validate(check, self.has_baseline, significance)?;
        let Cohorts {
            canary, baseline, ..
        } = &self.cohorts;
        if metric == Metric::Cpu && self.has_baseline && !self.has_separate_nodes() {
            return Err(
                "CPU use is measured for a node's whole process, and both versions run on the \
                 same nodes, so it cannot be attributed to one version"
                    .to_owned(),
            );
        }
        Ok(match metric {
            Metric::ErrorRate => error_rate::test(canary, baseline, &limits),
            Metric::Latency { .. } | Metric::Cpu | Metric::Memory => quantile::test(
                &QuantileSamples::new(metric, canary),
                &QuantileSamples::new(metric, baseline),
                &limits,
            ),
        })
    }

    /// Whether each cohort has a node that is not in the other one.
    fn has_separate_nodes(&self) -> bool {
        let has = |membership: Membership| {
            self.nodes
                .values()
                .any(|node| node.membership == membership)
        };
        has(Membership::CANARY) && has(Membership::BASELINE)
    }
}
