//! Judging the new version by what it does: exact tests, one for each kind of metric.
//!
//! Every condition of a check is tested at a chance of [`Judge::FALSE_ALARM`] over the
//! whole soak: each of its [`Judge::LOOKS`] looks, of which the final verdict is the
//! last, may err by its share of that (Bonferroni). A check fails where its test says
//! so, at whatever number of samples, for the tests are exact; it passes only where
//! enough was seen that a gross fault would have been found, and is inconclusive otherwise.

mod gauge;
mod limits;
mod quantile;
mod rate;
mod side;
mod tail;
mod words;

#[cfg(test)]
mod tests;

use std::collections::HashMap;

use crate::{Check, Digest, Finding, Judgement, NodeId, NodeReading, Verdict};

use limits::{Limits, Metric};
use side::{Observed, Role, Sides};

/// Watches a soak: takes the readings of the nodes as they come and judges the checks.
///
/// Pure and bounded: what it holds does not grow with the length of the soak.
#[derive(Debug)]
pub struct Judge {
    checks: Vec<Check>,
    version: Digest,
    nodes: HashMap<NodeId, Observed>,
    has_baseline: bool,
    sides: Sides,
    looks: u32,
}

/// What the test of one condition came to, and the sentence that says so.
enum Outcome {
    Broken(String),
    Held(String),
    TooFew(String),
}

/// A metric's value and the number of samples behind it, of both sides.
#[derive(Default)]
struct Seen {
    canary: Option<f64>,
    baseline: Option<f64>,
    canary_samples: u64,
    baseline_samples: u64,
}

impl Judge {
    /// How many looks a soak may have, so that looking often does not inflate false alarms.
    pub const LOOKS: u32 = 20;

    /// The chance that one condition of a version that just keeps it fails nevertheless,
    /// over all the looks of a soak.
    pub const FALSE_ALARM: f64 = 0.01;

    /// A soak of `version` that began with the readings `start`: the new version is
    /// watched on the nodes `canary`, every other version of the module on `baseline`.
    /// A node without a reading in `start` counts from its first reading on.
    pub fn new(
        checks: Vec<Check>,
        canary: Vec<NodeId>,
        baseline: Vec<NodeId>,
        version: Digest,
        start: Vec<NodeReading>,
    ) -> Self {
        let mut nodes: HashMap<NodeId, Observed> = HashMap::new();
        let has_baseline = !baseline.is_empty();
        for id in canary {
            nodes.entry(id).or_default().role.canary = true;
        }
        for id in baseline {
            nodes.entry(id).or_default().role.baseline = true;
        }
        let sides = Sides::new(&checks);
        let mut watch = Self {
            checks,
            version,
            nodes,
            has_baseline,
            sides,
            looks: 0,
        };
        for reading in start {
            if let Some(observed) = watch.nodes.get_mut(&reading.node) {
                observed.begin(reading, &watch.version, &watch.sides);
            }
        }
        watch
    }

    /// Takes one reading of one node of the soak. Readings of other nodes, and those that
    /// are not newer than the last, count for nothing; a node that restarted in between
    /// counts with all that it did since.
    pub fn observe(&mut self, reading: NodeReading) {
        if let Some(observed) = self.nodes.get_mut(&reading.node) {
            observed.take(reading, &self.version, &mut self.sides);
        }
    }

    /// One of [`Self::LOOKS`] looks during the soak: the verdict if some check has certainly
    /// failed. The last look is kept for [`Self::verdict`], so that from the twentieth call
    /// on there is never one.
    pub fn look(&mut self) -> Option<Verdict> {
        if self.looks + 1 >= Self::LOOKS {
            return None;
        }
        self.looks += 1;
        let verdict = self.verdict();
        (verdict.judgement == Judgement::Fail).then_some(verdict)
    }

    /// The verdict at the end of the soak: `Fail` if any check failed, else `Inconclusive`
    /// if any was, else `Pass`, so also where there is no check.
    pub fn verdict(&self) -> Verdict {
        let findings: Vec<Finding> = self.checks.iter().map(|check| self.judge(check)).collect();
        let any = |judgement| findings.iter().any(|found| found.judgement == judgement);
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
        }
    }

    fn judge(&self, check: &Check) -> Finding {
        let (seen, outcomes) = self.test(check).unwrap_or_else(|reason| {
            let nothing = Seen::default();
            (nothing, vec![Outcome::TooFew(reason)])
        });
        let (judgement, reason) = conclude(outcomes);
        Finding {
            check: check.clone(),
            judgement,
            canary: seen.canary,
            baseline: seen.baseline,
            canary_samples: seen.canary_samples,
            baseline_samples: seen.baseline_samples,
            reason,
        }
    }

    /// The outcome of each condition of a check; as an error, why it cannot be judged at all.
    fn test(&self, check: &Check) -> Result<(Seen, Vec<Outcome>), String> {
        let metric = Metric::named(&check.metric)?;
        let limits = Limits::of(check, self.has_baseline)?;
        let sides = &self.sides;
        if metric == Metric::Cpu && self.has_baseline && !self.tells_processes_apart() {
            return Err(
                "CPU use is that of a node's process, and the new version and the version \
                 before run on the same nodes, so it cannot be told apart by version"
                    .to_owned(),
            );
        }
        Ok(match metric {
            Metric::ErrorRate => rate::test(&sides.canary, &sides.baseline, &limits),
            Metric::Latency { .. } | Metric::Cpu | Metric::Memory => {
                let spread = |side| quantile::Spread::of(metric, side);
                quantile::test(&spread(&sides.canary), &spread(&sides.baseline), &limits)
            }
        })
    }

    /// Whether each side has a node that is not the other's as well.
    fn tells_processes_apart(&self) -> bool {
        let has = |role: Role| self.nodes.values().any(|observed| observed.role == role);
        has(Role::CANARY) && has(Role::BASELINE)
    }
}

/// One broken condition fails the check, whatever the other came to.
fn conclude(outcomes: Vec<Outcome>) -> (Judgement, String) {
    let (mut broken, mut few, mut held) = (Vec::new(), Vec::new(), Vec::new());
    for outcome in outcomes {
        match outcome {
            Outcome::Broken(reason) => broken.push(reason),
            Outcome::TooFew(reason) => few.push(reason),
            Outcome::Held(reason) => held.push(reason),
        }
    }
    let (judgement, reasons) = if !broken.is_empty() {
        (Judgement::Fail, broken)
    } else if !few.is_empty() {
        (Judgement::Inconclusive, few)
    } else {
        (Judgement::Pass, held)
    };
    (judgement, reasons.join("; and "))
}
