use serde::Deserialize;

use super::response::Policy;

/// What a deployment would do.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeploymentPlan {
    /// The module.
    pub module_name: String,
    /// The version.
    pub version: String,
    /// The environment.
    pub target_environment: String,
    /// The nodes of the environment that would get it.
    #[serde(default)]
    pub selector: Option<String>,
    /// The strategy.
    pub strategy: String,
    /// Its configuration, with defaults.
    pub config: serde_json::Value,
    /// The policy.
    pub policy: Policy,
    /// Whether a person would have to approve it first.
    pub require_approval: bool,
    /// The nodes that it would change.
    pub nodes: Vec<PlannedNode>,
    /// The nodes that it would leave out.
    pub left_out: Vec<LeftOutNode>,
    /// The first steps of the strategy.
    pub steps: Vec<PlanStep>,
    /// How many more there are.
    pub further_steps: u64,
    /// The milliseconds that it takes at least.
    #[serde(default)]
    pub shortest: Option<u64>,
    /// What would stand against it.
    pub problems: Vec<String>,
    /// What would make it of less use.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// A node that the deployment would change.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlannedNode {
    /// Its id.
    pub id: String,
    /// Its zone.
    #[serde(default)]
    pub zone: Option<String>,
    /// The version that it runs.
    #[serde(default)]
    pub runs: Option<String>,
    /// The version that it would run.
    #[serde(default)]
    pub would_run: Option<String>,
}

/// A node that the deployment would leave out.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LeftOutNode {
    /// Its id.
    pub id: String,
    /// Why, in a sentence.
    pub detail: String,
}

/// A step of the strategy.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanStep {
    /// When it begins at the earliest, in milliseconds.
    pub at: u64,
    /// What it is: `stage`, `promote`, `soak` and so on.
    pub step: String,
    /// The nodes that it is about.
    pub nodes: Vec<String>,
    /// The nodes that a soak compares them with.
    pub baseline: Vec<String>,
    /// A share of the requests, or the progress.
    #[serde(default)]
    pub percent: Option<u8>,
    /// How long it waits, in milliseconds.
    #[serde(default)]
    pub span: Option<u64>,
    /// The name of a stage, a question or a path.
    #[serde(default)]
    pub text: Option<String>,
    /// How many of its nodes are changed at the same time.
    #[serde(default)]
    pub at_once: Option<usize>,
    /// Why the engine would refuse it.
    #[serde(default)]
    pub refused: Option<String>,
}
