use hotswap_core as core;
use hotswap_runner as runner;
use poem_openapi::Object;

/// How the request for a deployment differs from another one.
#[derive(Debug, Clone, PartialEq, Object)]
#[oai(rename_all = "camelCase")]
pub(crate) struct RequestDiff {
    /// The execution id of the deployment.
    pub execution_id: String,
    /// The execution id of the deployment that it is compared with.
    pub with: String,
    /// In what they differ, sorted by path. Empty if they ask for the same.
    pub differences: Vec<RequestDifference>,
}

/// Something that two requests ask for differently.
#[derive(Debug, Clone, PartialEq, Object)]
#[oai(skip_serializing_if_is_none)]
pub(crate) struct RequestDifference {
    /// Where in the request: `module.version`, `module.digest`, `strategy.name`,
    /// `strategy.digest`, `config.steps`, `policy.maxUnavailable` and so on.
    pub path: String,
    /// What the other deployment asks for. Absent if it says nothing.
    pub before: Option<serde_json::Value>,
    /// What this deployment asks for. Absent if it says nothing.
    pub after: Option<serde_json::Value>,
}

impl RequestDiff {
    /// How the request for deployment `id` differs.
    pub fn new(id: core::DeploymentId, diff: runner::RequestDiff) -> Self {
        let differences = diff.differences.into_iter();
        Self {
            execution_id: id.to_string(),
            with: diff.with.to_string(),
            differences: differences
                .map(|one| RequestDifference {
                    path: one.path,
                    before: one.before,
                    after: one.after,
                })
                .collect(),
        }
    }
}
