use hotswap_core as core;
use poem_openapi::Object;

use super::Finding;

/// The provisional findings of a soak that is under way. No event of the journal, so it is neither
/// numbered nor sent again.
#[derive(Debug, Clone, PartialEq, Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
pub(crate) struct SoakProgress {
    /// The execution id of the deployment.
    pub execution_id: String,
    /// One for each check, as in `liveFindings` of the deployment.
    pub findings: Vec<Finding>,
    /// As `warnings` of the deployment.
    pub warnings: Option<Vec<String>>,
    /// When the nodes were read.
    pub timestamp: u64,
}

impl SoakProgress {
    pub fn new(id: core::DeploymentId, progress: &hotswap_runner::SoakProgress) -> Self {
        let findings = progress.findings.iter().cloned();
        Self {
            execution_id: id.to_string(),
            findings: findings.map(Finding::from).collect(),
            warnings: Some(progress.warnings.clone()).filter(|warnings| !warnings.is_empty()),
            timestamp: progress.at.millis(),
        }
    }
}
