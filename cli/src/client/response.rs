//! The fields of the engine's responses that this program reads. `--json` passes on the rest.

use std::fmt;

use hotswap_core::{DeploymentId, Status, Timestamp};
use serde::Deserialize;
use serde_json::{Map, Value};

/// A list, or a page of it. The API names each list after its items.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Page<T> {
    /// The items.
    #[serde(
        alias = "backends",
        alias = "clusters",
        alias = "deployments",
        alias = "entries",
        alias = "events",
        alias = "modules",
        alias = "strategies",
        alias = "nodes"
    )]
    pub items: Vec<T>,
    /// Requests the next page; absent on the last.
    #[serde(default)]
    pub next_cursor: Option<String>,
    /// Why a page of events ends before the next event.
    #[serde(default)]
    pub damage: Option<Damage>,
}

/// A deployment that was accepted.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Accepted {
    /// Its id.
    pub execution_id: DeploymentId,
}

/// A deployment in a list.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeploymentRow {
    /// Its id.
    pub execution_id: DeploymentId,
    /// The module.
    pub module_name: String,
    /// The version that is rolled out.
    pub version: String,
    /// The environment.
    pub target_environment: String,
    /// The nodes of the environment that it is for.
    #[serde(default)]
    pub selector: Option<String>,
    /// The strategy.
    pub strategy: String,
    /// Its status.
    pub status: Status,
    /// Its progress in percent.
    pub progress: u8,
    /// When it was requested.
    pub created_at: Timestamp,
    /// Where its journal cannot be read.
    #[serde(default)]
    pub damage: Option<Damage>,
}

/// Where the journal of a deployment cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Damage {
    /// The number of the event that cannot be read.
    pub seq: u64,
    /// Its position in the store.
    #[serde(default)]
    pub position: Option<u64>,
    /// Why it cannot be read.
    pub reason: String,
    /// Whether a newer engine can read it.
    pub needs_upgrade: bool,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seq, reason, .. } = self;
        let position = self.position.map(|at| format!(" (position {at})"));
        let position = position.unwrap_or_default();
        write!(
            f,
            "event {seq}{position} of the journal cannot be read: {reason}"
        )
    }
}

/// A module.
#[derive(Debug, Deserialize)]
pub struct Module {
    /// Its versions, newest first.
    pub versions: Vec<ModuleVersion>,
}

/// A version of a module.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ModuleVersion {
    /// The module's name.
    pub name: String,
    /// The version.
    pub version: semver::Version,
    /// The digest of the artifact.
    pub digest: String,
    /// The size of the artifact, in bytes.
    pub size: u64,
}

/// A strategy.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StrategyRow {
    /// Its name.
    pub name: String,
    /// The version that its component states.
    pub version: String,
    /// What it does, in a sentence.
    pub summary: String,
    /// Whether it is part of the engine.
    pub built_in: bool,
}

/// A discovery backend that was uploaded.
#[derive(Debug, Deserialize)]
pub struct BackendRow {
    /// Its name.
    pub name: String,
    /// The version that its component states.
    pub version: String,
    /// Which registry it is for, in a sentence.
    pub summary: String,
    /// The digest of its component.
    pub digest: String,
    /// The secrets that it can be given.
    pub secrets: Vec<BackendSecretRow>,
}

/// A secret of a discovery backend.
#[derive(Debug, Deserialize)]
pub struct BackendSecretRow {
    /// Its name in the configuration.
    pub name: String,
    /// Where in its requests the engine puts it.
    pub place: String,
}

/// A node.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeRow {
    /// Its id.
    pub id: String,
    /// Its environment.
    pub environment: String,
    /// Its health: `passing`, `warning`, `critical` or `unknown`.
    pub health: String,
    /// Why it is not passing.
    #[serde(default)]
    pub reason: Option<String>,
    /// Its zone.
    #[serde(default)]
    pub zone: Option<String>,
    /// Its labels.
    #[serde(default)]
    pub labels: std::collections::BTreeMap<String, String>,
    /// Where it serves requests.
    pub data_url: String,
    /// Where it receives orders.
    #[serde(default)]
    pub control_url: String,
    /// The source through which the engine knows it.
    #[serde(default)]
    pub source: Option<String>,
    /// Who has cordoned or drained it.
    #[serde(default)]
    pub cordon: Option<NodeCordon>,
    /// Whether clients may be sent to it, if it has said so.
    #[serde(default)]
    pub ready: Option<bool>,
    /// Why it is not ready.
    #[serde(default)]
    pub unready_reason: Option<String>,
    /// The requests that it is working on, if it has said so.
    #[serde(default)]
    pub in_flight: Option<u64>,
    /// The modules that it should run.
    #[serde(default)]
    pub modules: Vec<NodeModule>,
}

/// The cordon of a node.
#[derive(Debug, Deserialize)]
pub struct NodeCordon {
    /// Whether the node is also drained.
    pub drained: bool,
    /// The person.
    pub by: String,
    /// The person's reason.
    #[serde(default)]
    pub reason: Option<String>,
}

/// A module on a node.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeModule {
    /// The module's name.
    pub module_name: String,
    /// The version that should run, if one should.
    #[serde(default)]
    pub desired: Option<String>,
    /// The version that runs, if one does.
    #[serde(default)]
    pub actual: Option<String>,
    /// `inStep`, or what the engine does about it.
    pub state: String,
    /// Why it does not run what it should.
    #[serde(default)]
    pub reason: Option<String>,
    /// What happens next.
    #[serde(default)]
    pub next: Option<String>,
}

/// What happened in an environment.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EnvironmentEventRow {
    /// When.
    #[serde(default)]
    pub timestamp: Option<Timestamp>,
    /// What, in a sentence.
    pub message: String,
}

/// Something that was decided for a module in an environment.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HistoryRow {
    /// How it came: `deployment`, `rollback`, `undo`, `retry` or `retired`.
    pub kind: String,
    /// Whether it is what should run.
    pub current: bool,
    /// When.
    pub at: Timestamp,
    /// Who decided it.
    #[serde(default)]
    pub by: Option<String>,
    /// The deployment; none where the module was retired.
    #[serde(default)]
    pub execution_id: Option<DeploymentId>,
    /// Its version.
    #[serde(default)]
    pub version: Option<String>,
    /// Its strategy.
    #[serde(default)]
    pub strategy: Option<String>,
}

/// How the request for a deployment differs from another one.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestDiff {
    /// The other deployment.
    pub with: DeploymentId,
    /// In what they differ.
    pub differences: Vec<RequestDifference>,
}

/// Something that two requests ask for differently.
#[derive(Debug, Deserialize)]
pub struct RequestDifference {
    /// Where in the request.
    pub path: String,
    /// What the other deployment asks for.
    #[serde(default)]
    pub before: Option<Value>,
    /// What this deployment asks for.
    #[serde(default)]
    pub after: Option<Value>,
}

/// An environment in a list.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EnvironmentRow {
    /// Its name.
    pub environment: String,
    /// The nodes that belong to it by their labels.
    #[serde(default)]
    pub selector: Option<String>,
    /// Its policy.
    pub policy: Policy,
    /// The health of its nodes.
    pub health: HealthCounts,
}

/// The policy and the selector of an environment, and where they come from.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EnvironmentSettings {
    /// The policy.
    pub policy: Map<String, Value>,
    /// Where it comes from: `api`, `configuration` or `default`.
    pub source: String,
    /// The nodes that belong to it by their labels.
    #[serde(default)]
    pub selector: Option<String>,
    /// Where the selector comes from: `api` or `configuration`.
    #[serde(default)]
    pub selector_source: Option<String>,
    /// Its version.
    pub version: u64,
}

/// An environment with its nodes.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EnvironmentState {
    /// What a list shows of it.
    #[serde(flatten)]
    pub row: EnvironmentRow,
    /// Its nodes.
    pub nodes: Vec<NodeRow>,
    /// The modules that the latest successful deployments brought.
    pub modules: Vec<RunningModule>,
}

/// The policy of an environment.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Policy {
    /// The strategy of a deployment that names none.
    pub default_strategy: String,
    /// How many nodes may be unavailable: a count or a share of them.
    pub max_unavailable: String,
    /// How many nodes may fail.
    pub tolerated_failures: String,
    /// How many nodes may be left out of a plan because they do not answer.
    pub max_missing: String,
    /// In milliseconds.
    pub deadline: u64,
}

/// How many nodes have which health.
#[derive(Debug, Deserialize)]
pub struct HealthCounts {
    /// Nodes that report in and are well.
    pub passing: u32,
    /// Nodes that report in late or with a complaint.
    pub warning: u32,
    /// Nodes that count as gone.
    pub critical: u32,
    /// Nodes that have not reported in since the engine started.
    pub unknown: u32,
}

/// A module that should run in an environment.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunningModule {
    /// The module's name.
    pub module_name: String,
    /// Its version.
    pub version: String,
    /// The nodes that should run it.
    #[serde(default)]
    pub selector: Option<String>,
    /// The deployment that brought it.
    pub execution_id: DeploymentId,
}
