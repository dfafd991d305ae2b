//! Settings of `canary`.

use hotswap_sdk::{Check, Error, Metric, Query, Result, Span, SyntheticProbes};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Settings of `canary`.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// Percentages at which to measure the new version, in rising order. If the last one is
    /// not 100, 100 is added.
    #[schemars(length(min = 1), inner(range(min = 1, max = 100)))]
    pub steps: Vec<u8>,
    /// What the percentages count. `nodes` updates that share of the nodes, and compares
    /// them with the others. `requests` sends that share of the requests on every node to
    /// the new version, and compares both versions on the same nodes. A single node that runs a
    /// version already always goes by requests.
    pub by: By,
    /// How long to measure each step. At 100 % no node runs the previous version: the last step is
    /// compared with what that version did before.
    pub soak: Span,
    /// How many nodes of those that still run the previous version load it anew when a step begins,
    /// to be compared with alone: so both sides start cold. None of them stops serving. 0 compares
    /// with all that run it, as they are. Only for steps by `nodes`: by `requests` both versions
    /// share their nodes. At 100 % no node can, so there latencies and the like are judged by `max`
    /// alone.
    pub baseline_nodes: u32,
    /// Checks that the new version must pass at each step.
    pub checks: Vec<Check>,
    /// Checks where there is nothing to compare with, instead of the `maxIncrease` of `checks`:
    /// nothing ran before, or the nodes run this version already. Only `max` is judged, and only
    /// of metrics for which `checks` has no `max`.
    pub checks_without_baseline: Vec<Check>,
    /// What to do if a step has too few samples to judge. `proceed` logs it and continues.
    /// `rollBack` rolls the deployment back.
    pub when_inconclusive: WhenInconclusive,
    /// Whether a step ends as soon as every check has passed, so that a gross fault would have
    /// been found. Otherwise it takes the whole time, since a fault may show late. A step always
    /// ends as soon as a check has failed.
    pub pass_early: bool,
    /// The fewest requests of the new version with which a check passes. The judge knows how many
    /// a check needs at least; this asks for more.
    pub min_samples: u32,
    /// The highest probability that a good version is rolled back, over all steps and checks
    /// together: 0.01 is one in a hundred. More finds smaller faults, and sooner.
    #[schemars(range(min = 0.0001, max = 0.2))]
    pub false_alarms: f64,
    /// Queries to other servers of metrics, which checks can judge as `query:NAME`. At most 8.
    #[schemars(length(max = 8))]
    pub queries: Vec<Query>,
    /// Requests that each node of a step sends to its own versions, where clients send too few.
    /// They count as all others, and findings say how many there were. Null sends none.
    pub probes: Option<SyntheticProbes>,
}

/// What the percentages count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum By {
    /// A share of the nodes.
    Nodes,
    /// A share of the requests on every node.
    Requests,
}

/// What to do if a step has too few samples to judge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum WhenInconclusive {
    /// Log it and continue.
    Proceed,
    /// Roll the deployment back.
    RollBack,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            steps: vec![10, 30, 50, 100],
            by: By::Nodes,
            soak: Span::mins(15),
            baseline_nodes: 0,
            checks: vec![
                Check::error_rate().max_increase(0.5),
                Check::latency().max_increase(1.0),
                Check::cpu().max_increase(0.3),
                Check::memory().max_increase(0.3),
                Check::restarts().max(0.0).max_increase(1.0),
            ],
            checks_without_baseline: vec![
                Check::error_rate().max(0.05),
                Check::restarts().max(0.0),
            ],
            when_inconclusive: WhenInconclusive::Proceed,
            pass_early: false,
            min_samples: 0,
            false_alarms: 0.01,
            queries: Vec::new(),
            probes: None,
        }
    }
}

impl Config {
    /// The steps. The last is 100.
    ///
    /// # Errors
    /// [`Error::Config`] if they are not in rising order.
    pub(crate) fn steps(&self) -> Result<Vec<u8>> {
        if let Some(pair) = self.steps.windows(2).find(|pair| pair[0] >= pair[1]) {
            let reason = format!("steps must rise, but {} follows {}", pair[1], pair[0]);
            return Err(Error::Config(reason));
        }
        self.check_queries()?;
        let mut steps = self.steps.clone();
        if steps.last() != Some(&100) {
            steps.push(100);
        }
        Ok(steps)
    }

    /// Checks that the queries are there which checks judge.
    fn check_queries(&self) -> Result<()> {
        let checks = self.checks.iter().chain(&self.checks_without_baseline);
        let names = checks.filter_map(|check| check.metric.name().strip_prefix("query:"));
        for name in names {
            if self.queries.iter().all(|query| query.name != name) {
                let reason = format!(
                    "a check judges query:{name}, and queries has none of that name: add it"
                );
                return Err(Error::Config(reason));
            }
        }
        Ok(())
    }

    /// The metrics of checks that compare node by node.
    pub(crate) fn compared_by_node(&self) -> Vec<&str> {
        let checks = self.checks.iter();
        let compared =
            checks.filter(|it| it.max_increase.is_some() && is_compared_by_node(&it.metric));
        compared.map(|check| check.metric.name()).collect()
    }

    /// The checks that can be judged against `baseline`.
    pub(crate) fn judgeable_checks(&self, baseline: Baseline) -> Vec<Check> {
        let checks = self.checks.iter();
        match baseline {
            Baseline::Nodes => checks.cloned().collect(),
            // How much CPU a version uses follows its load, which is another one now.
            Baseline::Recorded => checks
                .filter_map(|check| match &check.metric {
                    Metric::Cpu => check.absolute(),
                    // Nobody records the answers of before.
                    metric if metric.is_query() => check.absolute(),
                    // It was warm then, and some of the nodes have only just begun.
                    metric if self.baseline_nodes > 0 && !is_the_same_when_cold(metric) => {
                        check.absolute()
                    }
                    _ => Some(check.clone()),
                })
                .collect(),
            Baseline::Nothing => {
                let mut absolute: Vec<_> = checks.filter_map(Check::absolute).collect();
                for check in &self.checks_without_baseline {
                    let is_known = absolute.iter().any(|known| known.metric == check.metric);
                    absolute.extend(check.absolute().filter(|_| !is_known));
                }
                absolute
            }
        }
    }
}

/// Leaves out what compares node by node: it takes more nodes than there may be, and of identical
/// bytes it can only tell that nodes differ. Limits that need no comparison stay.
pub(crate) fn without_comparisons_by_node(checks: Vec<Check>) -> Vec<Check> {
    let keep = |check: Check| match is_compared_by_node(&check.metric) {
        true => check.absolute(),
        false => Some(check),
    };
    checks.into_iter().filter_map(keep).collect()
}

/// Whether a metric has one value for a node, and not one for a request.
fn is_compared_by_node(metric: &Metric) -> bool {
    let is_mean = metric.name().starts_with("module:") && metric.name().ends_with(":mean");
    matches!(metric, Metric::Cpu | Metric::CpuPerRequest | Metric::Memory) || is_mean
}

/// Whether a metric does not depend on how long a version has run.
fn is_the_same_when_cold(metric: &Metric) -> bool {
    matches!(
        metric,
        Metric::ErrorRate | Metric::Memory | Metric::Restarts
    )
}

/// What a step is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Baseline {
    /// Nodes that run the previous version.
    Nodes,
    /// What the previous version did before: no node runs it any more.
    Recorded,
    /// There is no previous version.
    Nothing,
}
