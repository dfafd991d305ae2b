//! What a request may set.

use hotswap_sdk::{Check, Error, Metric, Result, Span};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How `canary` rolls out.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// Percentages at which the rollout stops to watch, rising; 100 is added where it
    /// does not end with it.
    #[schemars(length(min = 1), inner(range(min = 1, max = 100)))]
    pub steps: Vec<u8>,
    /// What the percentages are of: `nodes` updates so many nodes, and compares them
    /// with the rest; `requests` sends so many requests of every node to the new
    /// version, and compares it with the old on the same nodes. CPU is measured of a
    /// whole node, so with `requests` it is not compared.
    pub by: By,
    /// How long each step is watched. After the last step the old version is gone, so
    /// it is watched only where a check has a `max`.
    pub soak: Span,
    /// What the new version must keep to while it is watched.
    pub checks: Vec<Check>,
    /// What to do when a step saw too little to tell: `proceed` says so in the log and
    /// goes on, `rollBack` takes the rollout back.
    pub when_inconclusive: WhenInconclusive,
}

/// What the percentages are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum By {
    /// Nodes of the plan.
    Nodes,
    /// Requests of every node.
    Requests,
}

/// What to do when a step saw too little to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum WhenInconclusive {
    /// Say so in the log, and go on.
    Proceed,
    /// Take the rollout back.
    RollBack,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            steps: vec![10, 30, 50, 100],
            by: By::Nodes,
            soak: Span::mins(15),
            checks: vec![
                Check::error_rate().max_increase(0.5),
                Check::latency().max_increase(1.0),
                Check::cpu().max_increase(0.3),
                Check::memory().max_increase(0.3),
            ],
            when_inconclusive: WhenInconclusive::Proceed,
        }
    }
}

impl Config {
    /// The steps, up to 100.
    ///
    /// # Errors
    /// [`Error::Config`], if they do not rise; no node has been touched by then.
    pub(crate) fn steps(&self) -> Result<Vec<u8>> {
        if let Some(pair) = self.steps.windows(2).find(|pair| pair[0] >= pair[1]) {
            let reason = format!("steps must rise, and {} comes after {}", pair[1], pair[0]);
            return Err(Error::Config(reason));
        }
        let mut steps = self.steps.clone();
        if steps.last() != Some(&100) {
            steps.push(100);
        }
        Ok(steps)
    }

    /// The checks that can tell anything, where the old version may be `gone`.
    pub(crate) fn judgeable(&self, gone: bool) -> Vec<Check> {
        let comparable =
            |check: &Check| !gone && (self.by == By::Nodes || check.metric != Metric::Cpu);
        self.checks
            .iter()
            .filter_map(|check| {
                if comparable(check) {
                    Some(check.clone())
                } else {
                    check.absolute()
                }
            })
            .collect()
    }
}
