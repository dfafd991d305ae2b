use hotswap_core as core;
use hotswap_runner as runner;
use poem_openapi::{Enum, Object};

use super::Status;

/// The history of a module in an environment: every decision about what should run, newest first.
#[derive(Debug, Clone, PartialEq, Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
pub(crate) struct ModuleHistory {
    /// The decisions.
    pub entries: Vec<HistoryEntry>,
    /// The `cursor` of the next page. Absent on the last.
    pub next_cursor: Option<String>,
}

/// A decision about which version of a module should run in an environment.
#[derive(Debug, Clone, PartialEq, Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
pub(crate) struct HistoryEntry {
    /// What led to the decision.
    pub kind: HistoryKind,
    /// Whether it is the latest decision, which says what should run now.
    pub current: bool,
    /// When the decision was made: when the deployment ended, or a person retired the module.
    pub at: u64,
    /// Who made the decision. Absent if the journal of the deployment is damaged.
    pub by: Option<String>,
    /// The execution id of the deployment. Absent if the module was retired.
    pub execution_id: Option<String>,
    /// `succeeded` or `partial`. Absent if the module was retired.
    pub status: Option<Status>,
    /// The version that should run from then on. Absent if the module was retired.
    pub version: Option<String>,
    /// The SHA-256 digest of the version's artifact. Absent if the module was retired.
    pub digest: Option<String>,
    /// The name of the strategy. Absent if the module was retired.
    pub strategy: Option<String>,
    /// The execution id of the earlier deployment that this one rolled back, tried again or went
    /// back to.
    pub of: Option<String>,
    /// The description of the deployment, or the reason of the person who retired the module.
    pub description: Option<String>,
}

/// What led to a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "camelCase")]
pub(crate) enum HistoryKind {
    /// A deployment.
    Deployment,
    /// A rollback of another deployment.
    Rollback,
    /// A return to an earlier success.
    Undo,
    /// A deployment that was tried again.
    Retry,
    /// The module was retired: no version of it should run.
    Retired,
}

impl From<runner::HistoryEntry> for HistoryEntry {
    fn from(entry: runner::HistoryEntry) -> Self {
        let current = entry.is_current;
        match entry.decision {
            runner::HistoryDecision::Succeeded(summary) => Self::succeeded(*summary, current),
            runner::HistoryDecision::Retired { at, by, reason } => Self {
                kind: HistoryKind::Retired,
                current,
                at: at.millis(),
                by,
                execution_id: None,
                status: None,
                version: None,
                digest: None,
                strategy: None,
                of: None,
                description: reason,
            },
        }
    }
}

impl HistoryEntry {
    fn succeeded(summary: core::DeploymentSummary, current: bool) -> Self {
        let (kind, of) = match (summary.rollback_of, summary.undo_to, summary.retry_of) {
            (Some(id), _, _) => (HistoryKind::Rollback, Some(id)),
            (None, Some(id), _) => (HistoryKind::Undo, Some(id)),
            (None, None, Some(id)) => (HistoryKind::Retry, Some(id)),
            (None, None, None) => (HistoryKind::Deployment, None),
        };
        Self {
            kind,
            current,
            at: summary.ended_at.unwrap_or(summary.updated_at).millis(),
            execution_id: Some(summary.id.to_string()),
            status: Some(summary.lifecycle.status().into()),
            by: Some(summary.requester_email),
            version: Some(summary.module.version.to_string()),
            digest: Some(summary.module.digest.into()),
            strategy: Some(summary.strategy.into()),
            of: of.map(|id| id.to_string()),
            description: summary.description,
        }
    }
}
