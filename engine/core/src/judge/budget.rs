//! One budget of false alarms for a whole deployment.

use crate::{Answer, Bursts, Check, Condition, ConditionKind, Finding, Lifetimes};

use super::limits::CheckLimits;
use super::metric::Metric;
use super::mixture::{MOST, log_add};

/// From fewer requests a baseline says little.
const LEAST_SHOWN: u64 = 500;

/// So many shares of the budget has each condition of the error rate, where every other condition
/// has one. Errors are few, so they need the evidence most. Only one and three were compared, on one
/// seed of `benches/judge`.
const SHARES_OF_ERRORS: f64 = 3.0;

/// The evidence of the earlier soaks of a deployment, which later ones carry on: a fold over their
/// verdicts in the journal.
///
/// With Eₖ the e-value at the end of soak k, a condition fails in soak s where
/// v₁·E₁·…·Eₛ + v₂·E₂·…·Eₛ + … + vₛ·Eₛ is at least 1/α, with vₖ = 1/(k(k+1)). These weights sum to
/// 1 over any number of soaks, so the false alarms of all soaks together stay below α (Vovk and
/// Wang, "Merging sequential e-values via martingales", 2024).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SoakHistory {
    soaks: u32,
    conditions: Vec<(ConditionId, f64)>,
    /// The metrics for which a soak has tested a limit that was derived from what the previous
    /// version did before. Each soak derives its own limit, so its evidence counts in no other.
    derived: Vec<String>,
    /// For each metric, by how much errors came in bursts.
    bursts: Vec<(String, Bursts)>,
    /// For each metric, the most that the baseline of a soak showed.
    baselines: Vec<(String, f64)>,
    /// How the processes of both sides have fared until now.
    lifetimes: Option<Lifetimes>,
}

/// A condition, the same in each soak of a deployment.
#[derive(Debug, Clone, PartialEq)]
struct ConditionId {
    metric: String,
    kind: ConditionKind,
    limit: f64,
    min_increase: f64,
}

fn shares_of_metric(metric: &str) -> f64 {
    Metric::parse(metric).map_or(1.0, shares_of)
}

fn shares_of(metric: Metric) -> f64 {
    match metric {
        Metric::ErrorRate => SHARES_OF_ERRORS,
        _ => 1.0,
    }
}

/// What one condition may spend in this soak.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Budget {
    /// ln(1/α): the evidence at which the condition is violated beyond doubt.
    pub(super) threshold: f64,
    /// The logarithm of the weight of this soak, with the evidence of the earlier ones.
    pub(super) earlier: f64,
}

impl Budget {
    /// The evidence that this soak needs.
    pub(super) fn needed(self) -> f64 {
        self.threshold - self.earlier
    }

    /// The evidence against each bound of an interval that goes with the test: at least 95 %, also
    /// where earlier soaks have nearly decided.
    pub(super) fn shown(self) -> f64 {
        self.needed().max(-0.05_f64.ln())
    }
}

impl SoakHistory {
    /// Adds the answer to a call of the deployment. Only verdicts with findings count.
    pub fn record(&mut self, answer: &Answer) {
        if let Answer::Verdict(verdict) = answer
            && !verdict.findings.is_empty()
        {
            self.record_findings(&verdict.findings);
        }
    }

    /// Adds what a soak is forecast to come to ([`Judge::forecast`](super::Judge::forecast)), as if
    /// the version were clearly good: what is left is the share of the next soak alone.
    pub fn record_forecast(&mut self, mut findings: Vec<Finding>) {
        if findings.is_empty() {
            return;
        }
        for finding in &mut findings {
            for condition in &mut finding.conditions {
                condition.evidence = -MOST;
            }
        }
        self.record_findings(&findings);
    }

    fn record_findings(&mut self, findings: &[Finding]) {
        let tested: Vec<_> = findings.iter().flat_map(tested_conditions).collect();
        for (id, _) in &tested {
            if !self.conditions.iter().any(|(known, _)| known == id) {
                let weight = self.first_weight();
                self.conditions.push((id.clone(), weight));
            }
        }
        for finding in findings {
            self.record_derived(finding);
            self.record_baseline(finding);
            self.record_bursts(finding);
            let mut conditions = finding.conditions.iter();
            let known = conditions.find_map(|condition| condition.lifetimes);
            self.lifetimes = known.or(self.lifetimes);
        }
        self.soaks = self.soaks.saturating_add(1);
        let next = self.own_weight();
        for (id, weight) in &mut self.conditions {
            let found = tested.iter().find(|(tested, _)| tested == id);
            let evidence = found.map_or(0.0, |(_, evidence)| *evidence);
            *weight = log_add(next, *weight + evidence).clamp(-MOST, MOST);
        }
    }

    fn record_derived(&mut self, finding: &Finding) {
        let metric = &finding.check.metric;
        let mut conditions = finding.conditions.iter();
        let is_derived = conditions.any(|condition| is_derived(&finding.check, condition));
        if is_derived && !self.derived.contains(metric) {
            self.derived.push(metric.clone());
        }
    }

    fn record_bursts(&mut self, finding: &Finding) {
        let metric = &finding.check.metric;
        let mut conditions = finding.conditions.iter();
        let Some(seen) = conditions.find_map(|condition| condition.bursts) else {
            return;
        };
        match self.bursts.iter_mut().find(|(known, _)| known == metric) {
            Some((_, bursts)) => {
                bursts.squares += seen.squares;
                bursts.expected += seen.expected;
            }
            None => self.bursts.push((metric.clone(), seen)),
        }
    }

    /// By how much errors of a metric came in bursts in earlier soaks.
    pub(super) fn bursts_of(&self, metric: &str) -> Bursts {
        let mut bursts = self.bursts.iter();
        let found = bursts.find(|(known, _)| known == metric);
        found.map_or_else(Bursts::default, |(_, bursts)| *bursts)
    }

    /// How the processes of both sides have fared, where a soak has compared them.
    pub(super) fn lifetimes(&self) -> Option<Lifetimes> {
        self.lifetimes
    }

    fn record_baseline(&mut self, finding: &Finding) {
        let Some(value) = finding.baseline.filter(|value| value.is_finite()) else {
            return;
        };
        let is_gauge =
            Metric::parse(&finding.check.metric).is_ok_and(|metric| !metric.is_sequential());
        // A gauge has one sample for each node.
        if !is_gauge && finding.baseline_samples < LEAST_SHOWN {
            return;
        }
        let metric = &finding.check.metric;
        match self.baselines.iter_mut().find(|(known, _)| known == metric) {
            Some((_, highest)) => *highest = highest.max(value),
            None => self.baselines.push((metric.clone(), value)),
        }
    }

    /// The most of a metric that the baseline showed in an earlier soak: what the service did at
    /// the time of the deployment, whatever the new version does.
    pub fn highest_baseline(&self, metric: &str) -> Option<f64> {
        let mut baselines = self.baselines.iter();
        let (_, highest) = baselines.find(|(known, _)| known == metric)?;
        Some(*highest)
    }

    /// The number of the next soak, from 1.
    fn next_soak(&self) -> f64 {
        f64::from(self.soaks) + 1.0
    }

    /// ln vₛ of the next soak.
    fn own_weight(&self) -> f64 {
        let soak = self.next_soak();
        -(soak * (soak + 1.0)).ln()
    }

    /// The logarithm of the weight of a condition that no earlier soak has tested: with e-values
    /// of 1 it keeps what was put on it.
    fn first_weight(&self) -> f64 {
        let soak = self.next_soak();
        (soak / (soak + 1.0)).ln()
    }

    /// Into how many shares the budget goes: those of the conditions of the next soak, and of those
    /// of earlier soaks that it does not test. All derived limits of a metric have the same ones.
    pub(super) fn shares(&self, checks: &[(Metric, String, CheckLimits)]) -> f64 {
        let next: Vec<_> = checks
            .iter()
            .flat_map(|(metric, name, limits)| ids(*metric, name, limits))
            .collect();
        let only_before = self.conditions.iter().map(|(id, _)| id);
        let only_before = only_before.filter(|id| !next.contains(id));
        let is_next = |metric: &str| {
            let mut next = next.iter();
            next.any(|id| id.metric == metric && id.kind == ConditionKind::Max)
        };
        let derived = self.derived.iter().filter(|metric| !is_next(metric));
        next.iter()
            .chain(only_before)
            .map(|id| id.metric.as_str())
            .chain(derived.map(String::as_str))
            .map(shares_of_metric)
            .sum()
    }

    /// The budget of a condition of the next soak, where one share is `level`, over all its soaks.
    pub(super) fn of(
        &self,
        level: f64,
        metric: Metric,
        name: &str,
        limits: &CheckLimits,
        kind: ConditionKind,
    ) -> Budget {
        let threshold = -(level * shares_of(metric)).ln();
        let earlier = if metric.is_sequential() {
            let mut ids = ids(metric, name, limits);
            let id = ids.find(|id| id.kind == kind);
            let found = self
                .conditions
                .iter()
                .find(|(known, _)| Some(known) == id.as_ref());
            let was_derived =
                || kind == ConditionKind::Max && self.derived.iter().any(|metric| metric == name);
            match found {
                Some((_, weight)) => *weight,
                // An earlier soak has spent what came before.
                None if was_derived() => self.own_weight(),
                None => self.first_weight(),
            }
        } else {
            self.own_weight()
        };
        Budget { threshold, earlier }
    }
}

/// The conditions of a check, as later soaks know them.
fn ids(metric: Metric, name: &str, limits: &CheckLimits) -> impl Iterator<Item = ConditionId> {
    let max = limits.max.filter(|_| metric.is_shared());
    let id = |kind, limit, min_increase| ConditionId {
        metric: name.to_owned(),
        kind,
        limit,
        min_increase,
    };
    let max = max.map(|max| id(ConditionKind::Max, max, 0.0));
    let min_increase = limits.min_increase;
    let increase = limits
        .max_increase
        .filter(|_| metric.is_shared())
        .map(|increase| id(ConditionKind::Increase, increase, min_increase));
    max.into_iter().chain(increase)
}

/// The conditions of a finding that later soaks carry on, with their evidence.
fn tested_conditions(finding: &Finding) -> Vec<(ConditionId, f64)> {
    let check = &finding.check;
    let Ok(metric) = Metric::parse(&check.metric) else {
        return Vec::new();
    };
    let Ok(limits) = CheckLimits::validate(check, true) else {
        return Vec::new();
    };
    let conditions = ids(metric, &check.metric, &limits).filter_map(|id| {
        let mut tested = finding.conditions.iter();
        let condition =
            tested.find(|condition| condition.kind == id.kind && !is_derived(check, condition))?;
        let evidence = if metric.is_sequential() {
            condition.evidence
        } else {
            0.0
        };
        Some((id, evidence))
    });
    conditions.collect()
}

/// Whether the limit of a condition is not one of the check: it follows from what the previous
/// version did before the soak.
fn is_derived(check: &Check, condition: &Condition) -> bool {
    condition.kind == ConditionKind::Max && check.max != Some(condition.limit)
}

#[cfg(test)]
mod tests;
