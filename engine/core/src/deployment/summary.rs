use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Deployment;
use crate::{
    Cause, Damage, DeploymentId, Digest, Environment, Lifecycle, ModuleVersion, Selector, Status,
    StrategyName, Timestamp,
};

/// What a list shows of a deployment: the part of its state that does not grow with its nodes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeploymentSummary {
    /// The id of the deployment.
    pub id: DeploymentId,
    /// The version to roll out.
    pub module: ModuleVersion,
    /// The environment to roll it out in.
    pub environment: Environment,
    /// The nodes of the environment that it is for. `None` for all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<Selector>,
    /// The name of the strategy.
    pub strategy: StrategyName,
    /// The e-mail address of the requester.
    pub requester_email: String,
    /// The requester's description.
    pub description: Option<String>,
    /// The deployment that this one rolls back.
    pub rollback_of: Option<DeploymentId>,
    /// The deployment without success that this one tries again.
    pub retry_of: Option<DeploymentId>,
    /// The earlier success that this one goes back to.
    pub undo_to: Option<DeploymentId>,
    /// The deployment that was aborted for this one.
    pub supersedes: Option<DeploymentId>,
    /// The versions that the nodes ran before, without repetition: a rollback goes back to them.
    pub previous: Vec<ModuleVersion>,
    /// The digest of the strategy's component.
    pub strategy_digest: Digest,
    /// The state machine that decides which events may follow.
    pub lifecycle: Lifecycle,
    /// 0 to 100, as reported by the strategy; 100 after success.
    pub progress: u8,
    /// The stage that the strategy reported last.
    pub stage: Option<String>,
    /// The question to a person, until it is decided.
    pub question: Option<String>,
    /// When the current wait ends.
    pub waiting_until: Option<Timestamp>,
    /// When the policy ends the deployment.
    pub deadline: Option<Timestamp>,
    /// The time that is left until then, if a pause has stopped it.
    pub deadline_left: Option<Duration>,
    /// Where the journal cannot be read.
    pub damage: Option<Damage>,
    /// Why the deployment did not succeed.
    pub cause: Option<Cause>,
    /// When the deployment was requested.
    pub created_at: Timestamp,
    /// When the last event was appended.
    pub updated_at: Timestamp,
    /// When the deployment ended.
    pub ended_at: Option<Timestamp>,
}

impl DeploymentSummary {
    /// The status that users see.
    pub fn status(&self) -> Status {
        self.lifecycle.status()
    }
}

impl Deployment {
    fn previous_versions(&self) -> Vec<ModuleVersion> {
        let mut versions: Vec<ModuleVersion> = Vec::new();
        for before in self.nodes.values().filter_map(|node| node.before.as_ref()) {
            if !versions.contains(before) {
                versions.push(before.clone());
            }
        }
        versions
    }

    /// What a list shows of this state.
    pub fn summary(&self) -> DeploymentSummary {
        let header = &self.header;
        DeploymentSummary {
            id: header.id,
            module: header.module.clone(),
            environment: header.environment.clone(),
            selector: header.selector.clone(),
            strategy: header.strategy.name.clone(),
            requester_email: header.requester.email.clone(),
            description: header.description.clone(),
            rollback_of: header.rollback_of,
            retry_of: header.retry_of,
            undo_to: header.undo_to,
            supersedes: header.supersedes,
            previous: self.previous_versions(),
            strategy_digest: header.strategy.digest,
            lifecycle: self.lifecycle,
            progress: self.progress,
            stage: self.stages.last().map(|stage| stage.name.clone()),
            question: self.question.clone(),
            waiting_until: self.waiting_until(),
            deadline: self.deadline.falls_at(),
            deadline_left: self.deadline.stopped_with(),
            damage: self.damage.clone(),
            cause: self.cause.clone(),
            created_at: self.created_at,
            updated_at: self.updated_at,
            ended_at: self.ended_at,
        }
    }
}
