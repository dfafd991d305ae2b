//! What is read of the engine's answers; the rest of them is passed on with `--json`.

use hotswap_core::{DeploymentId, Status, Timestamp};
use serde::Deserialize;

/// A page of a list, or all of it; each list has a word of its own.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Page<T> {
    /// What is on it.
    #[serde(
        alias = "deployments",
        alias = "events",
        alias = "modules",
        alias = "strategies",
        alias = "nodes"
    )]
    pub items: Vec<T>,
    /// To ask with for the next one.
    #[serde(default)]
    pub next_cursor: Option<String>,
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
    /// What is rolled out.
    pub module_name: String,
    /// Which version.
    pub version: String,
    /// Where.
    pub target_environment: String,
    /// How.
    pub strategy: String,
    /// How far it is.
    pub status: Status,
    /// 0 to 100.
    pub progress: u8,
    /// When it was asked for.
    pub created_at: Timestamp,
}

/// A module.
#[derive(Debug, Deserialize)]
pub struct ModuleRows {
    /// Its versions.
    pub versions: Vec<ModuleRow>,
}

/// A version of a module.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ModuleRow {
    /// The module.
    pub name: String,
    /// The version.
    pub version: semver::Version,
    /// Of the artifact.
    pub digest: String,
    /// In bytes.
    pub size: u64,
}

/// A strategy.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StrategyRow {
    /// Its name.
    pub name: String,
    /// The version that it says of itself.
    pub version: String,
    /// One sentence.
    pub summary: String,
    /// Whether it came with the engine.
    pub built_in: bool,
}

/// A node.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeRow {
    /// Its name.
    pub id: String,
    /// Its environment.
    pub environment: String,
    /// How it is.
    pub health: String,
    /// Where it stands.
    #[serde(default)]
    pub zone: Option<String>,
    /// Where it answers requests.
    pub data_url: String,
    /// Where it takes orders.
    #[serde(default)]
    pub control_url: String,
}
