use hotswap_runner::RetentionLimits;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Span;

/// What is kept of what has ended, and of module versions that nobody uses. What runs, what
/// should run, and what a rollback needs is kept in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Retention {
    /// Deployments that are kept after their end, counted from the newest. Older ones are deleted
    /// with their events.
    pub deployments: usize,
    /// How long a deployment is kept after its end.
    pub deployment_age: Span,
    /// Versions of each module that are kept, counted from the last upload.
    pub versions: usize,
    /// How long a module version is kept after its upload.
    pub version_age: Span,
    /// Bytes of the disk to keep in reserve. When the disk is full they are released: deployments
    /// under way can end, and new deployments and uploads are refused until there is room. 0 for
    /// no reserve.
    pub reserve_bytes: u64,
}

impl Default for Retention {
    fn default() -> Self {
        let limits = RetentionLimits::default();
        Self {
            deployments: limits.deployments,
            deployment_age: Span(limits.deployment_age),
            versions: limits.versions,
            version_age: Span(limits.version_age),
            reserve_bytes: 32 << 20,
        }
    }
}

impl From<Retention> for RetentionLimits {
    fn from(retention: Retention) -> Self {
        Self {
            deployments: retention.deployments,
            deployment_age: retention.deployment_age.0,
            versions: retention.versions,
            version_age: retention.version_age.0,
            ..Self::default()
        }
    }
}
