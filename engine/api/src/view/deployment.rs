use std::collections::BTreeMap;
use std::time::Duration;

use hotswap_core as core;
use poem_openapi::Object;
use poem_openapi::types::Example;

use super::{
    Cause, CordonedNode, Damage, DeployedNode, Finding, LogLine, NodeFailure, Policy, Stage, Status,
};

/// A deployment that was stored and will run.
#[derive(Debug, Clone, PartialEq, Eq, Object)]
#[oai(rename_all = "camelCase", example, skip_serializing_if_is_none)]
pub(crate) struct Accepted {
    /// The execution id of the deployment.
    pub execution_id: String,
    /// The status of the deployment.
    pub status: Status,
    /// The version that a rollback, an undo or a retry deploys. Absent for other deployments.
    pub version: Option<String>,
    /// Why a rollback or an undo deploys this version, or by which component of the strategy a
    /// retry deploys it. Absent for other deployments.
    pub reason: Option<String>,
    /// Paths of related resources.
    pub links: Links,
}

/// Paths of related resources.
#[derive(Debug, Clone, PartialEq, Eq, Object)]
#[oai(rename_all = "camelCase")]
pub(crate) struct Links {
    /// The path of the deployment.
    #[oai(rename = "self")]
    pub itself: String,
    /// The path of the deployment's events. Add `wait` to wait for new ones.
    pub events: String,
}

/// A page of deployments, newest first.
#[derive(Debug, Clone, Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
pub(crate) struct Deployments {
    /// The deployments.
    pub deployments: Vec<DeploymentSummary>,
    /// The `cursor` of the next page. Absent on the last page.
    pub next_cursor: Option<String>,
}

/// A summary of a deployment.
#[derive(Debug, Clone, Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
pub(crate) struct DeploymentSummary {
    /// The execution id of the deployment.
    pub execution_id: String,
    /// The status of the deployment.
    pub status: Status,
    /// The module that is rolled out.
    pub module_name: String,
    /// The version that is rolled out.
    pub version: String,
    /// The SHA-256 digest of the version's artifact.
    pub digest: String,
    /// The environment whose nodes get the version.
    pub target_environment: String,
    /// The nodes of the environment that get the version, as a label selector. Absent: all of
    /// them.
    pub selector: Option<String>,
    /// The name of the strategy.
    pub strategy: String,
    /// The email address of the person who requested the deployment.
    pub requester_email: String,
    /// The description from the request.
    pub description: Option<String>,
    /// The progress in percent, from 0 to 100, as the strategy reports it.
    pub progress: u8,
    /// The current stage of the strategy, or its last one.
    pub stage: Option<String>,
    /// The question that a person must decide. Absent once it is decided.
    pub question: Option<String>,
    /// When the current wait ends: when it is due, or when the deadline falls, if that is
    /// earlier.
    pub waiting_until: Option<u64>,
    /// When the deployment is rolled back unless it ends before. Absent before it is planned,
    /// and while a pause stops the deadline.
    pub deadline: Option<u64>,
    /// The milliseconds that are left until the deadline, once the deployment is resumed.
    /// Present only while a pause stops the deadline.
    pub deadline_left: Option<u64>,
    /// Why the deployment did not succeed.
    pub cause: Option<Cause>,
    /// Where the journal of the deployment cannot be read. Absent if it can.
    pub damage: Option<Damage>,
    /// The execution id of the deployment that this one rolls back.
    pub rollback_of: Option<String>,
    /// The execution id of the deployment without success that this one tries again.
    pub retry_of: Option<String>,
    /// The execution id of the earlier success that this one goes back to.
    pub undo_to: Option<String>,
    /// The execution id of the deployment that was aborted for this one, which begins once that
    /// one has ended.
    pub supersedes: Option<String>,
    /// When the deployment was requested.
    pub created_at: u64,
    /// When the last event happened.
    pub updated_at: u64,
    /// When the deployment ended.
    pub ended_at: Option<u64>,
    /// Paths of related resources.
    pub links: Links,
}

/// The state of a deployment, which follows from its events.
#[derive(Debug, Clone, Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
pub(crate) struct Deployment {
    #[oai(flatten)]
    pub summary: DeploymentSummary,
    /// The code of the strategy. It stays the same for the whole deployment.
    pub strategy_code: StrategyCode,
    /// The configuration of the strategy, with defaults filled in.
    pub config: serde_json::Value,
    /// The limits that the deployment may not exceed.
    pub policy: Policy,
    /// The subject of the token that requested the deployment.
    pub requested_by: String,
    /// The metadata from the request.
    pub metadata: BTreeMap<String, String>,
    /// Whether a person must approve the deployment before it starts.
    pub require_approval: bool,
    /// Whether the deployment is paused, which holds the strategy's next call.
    pub paused: bool,
    /// Why the engine paused the deployment, and what to do. Absent where it is not paused, or
    /// a person paused it.
    pub pause_reason: Option<String>,
    /// What keeps the engine from continuing now. It tries again until that has passed; the
    /// deployment can be aborted meanwhile.
    pub retry: Option<Retry>,
    /// What the deployment waits for a person to decide, or for a sleep or a soak that a person
    /// may end. Send it as `wait` with an approval or a promotion, so that it counts for nothing
    /// else. Absent where nothing can be decided or ended.
    pub wait_id: Option<String>,
    /// Whether an abort was requested.
    pub aborting: bool,
    /// Whether every sleep and soak ends at once: a person promoted the deployment in full.
    pub promoted: bool,
    /// The execution id of the deployment whose end this one waits for before it begins.
    pub waits_for: Option<String>,
    /// The stages that the strategy reported, oldest first.
    pub stages: Vec<Stage>,
    /// The nodes that the deployment may change, sorted by id. Empty until it is planned.
    pub nodes: Vec<DeployedNode>,
    /// The results of the checks in the last soak.
    pub findings: Vec<Finding>,
    /// The provisional findings of the soak that is under way, whichever engine runs it.
    /// Absent where there is none, or the nodes were not read yet. The journal has the findings of
    /// a soak only at its end.
    pub live_findings: Option<Vec<Finding>>,
    /// A sentence for each soak that cannot decide at the traffic with which the deployment began:
    /// a few seconds after the plan was made, on engines that do not drive the deployment from the
    /// first reading of a soak after that. Absent if all soaks can decide, and once the deployment has
    /// ended.
    pub warnings: Option<Vec<String>>,
    /// The last 200 lines that the strategy logged, oldest first.
    pub log: Vec<LogLine>,
    /// The nodes that could not be reverted, or that did not drop the previous version.
    pub failures: Vec<NodeFailure>,
    /// The nodes of the environment, or of those that the selector matches, that were left out of
    /// the plan, because they did not answer. They keep what they run.
    pub missing: Vec<NodeFailure>,
    /// The nodes of the environment that were left out of the plan, because a person had
    /// cordoned or drained them. They keep what they run.
    pub cordoned: Vec<CordonedNode>,
    /// The nodes that do not run the new version although the deployment succeeded. Not empty
    /// if the status is `partial`.
    pub not_updated: Vec<NodeFailure>,
    /// The number of the last event. Send it as `after` to get the next events.
    pub last_event: u64,
}

/// A fault that keeps the engine from continuing a deployment.
#[derive(Debug, Clone, PartialEq, Eq, Object)]
#[oai(rename_all = "camelCase")]
pub(crate) struct Retry {
    /// The last fault.
    pub reason: String,
    /// When the first attempt failed.
    pub since: u64,
    /// How many attempts have failed since then.
    pub attempts: u32,
}

/// The code of a deployment's strategy.
#[derive(Debug, Clone, PartialEq, Eq, Object)]
#[oai(rename_all = "camelCase")]
pub(crate) struct StrategyCode {
    /// The version that the strategy declares.
    pub version: String,
    /// The SHA-256 digest of the component.
    pub digest: String,
    /// The version of the contract `hotswap:strategy` that the strategy was built for.
    pub contract: String,
}

impl Accepted {
    /// The response for a deployment that was just created.
    pub fn new(id: core::DeploymentId) -> Self {
        Self {
            execution_id: id.to_string(),
            status: Status::Pending,
            version: None,
            reason: None,
            links: Links::new(id),
        }
    }

    /// The response for a retry that was just created.
    pub fn retry(retry: hotswap_runner::RetriedDeployment) -> Self {
        Self {
            version: Some(retry.version.to_string()),
            reason: Some(retry.reason),
            ..Self::new(retry.id)
        }
    }

    /// The response for a rollback or an undo that was just created.
    pub fn rollback(rollback: hotswap_runner::Rollback) -> Self {
        Self {
            version: Some(rollback.version.to_string()),
            reason: Some(rollback.reason),
            ..Self::new(rollback.id)
        }
    }
}

impl Links {
    fn new(id: core::DeploymentId) -> Self {
        let itself = format!("/api/v1/deployments/{id}");
        let events = format!("{itself}/events");
        Self { itself, events }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl From<core::DeploymentSummary> for DeploymentSummary {
    fn from(summary: core::DeploymentSummary) -> Self {
        Self {
            execution_id: summary.id.to_string(),
            status: summary.lifecycle.status().into(),
            module_name: summary.module.name.into(),
            version: summary.module.version.to_string(),
            digest: summary.module.digest.into(),
            target_environment: summary.environment.into(),
            selector: summary.selector.map(Into::into),
            strategy: summary.strategy.into(),
            requester_email: summary.requester_email,
            description: summary.description,
            progress: summary.progress,
            stage: summary.stage,
            question: summary.question,
            waiting_until: summary.waiting_until.map(core::Timestamp::millis),
            deadline: summary.deadline.map(core::Timestamp::millis),
            deadline_left: summary.deadline_left.map(millis),
            cause: summary.cause.map(Into::into),
            damage: summary.damage.map(Into::into),
            rollback_of: summary.rollback_of.map(|id| id.to_string()),
            retry_of: summary.retry_of.map(|id| id.to_string()),
            undo_to: summary.undo_to.map(|id| id.to_string()),
            supersedes: summary.supersedes.map(|id| id.to_string()),
            created_at: summary.created_at.millis(),
            updated_at: summary.updated_at.millis(),
            ended_at: summary.ended_at.map(core::Timestamp::millis),
            links: Links::new(summary.id),
        }
    }
}

impl Deployment {
    /// The state that follows from the events, and what keeps the engine from continuing.
    pub fn new(
        mut state: core::Deployment,
        retry: Option<hotswap_runner::Retry>,
        waits_for: Option<core::DeploymentId>,
    ) -> Self {
        fn convert<T, U: From<T>>(items: impl IntoIterator<Item = T>) -> Vec<U> {
            items.into_iter().map(U::from).collect()
        }
        let nodes = std::mem::take(&mut state.nodes);
        let findings = std::mem::take(&mut state.findings);
        let log = std::mem::take(&mut state.log);
        let failures = std::mem::take(&mut state.failures);
        let missing = std::mem::take(&mut state.missing);
        let cordoned = std::mem::take(&mut state.cordoned);
        let not_updated = std::mem::take(&mut state.not_updated);
        let module = state.header.module.clone();
        let nodes = nodes.into_iter();
        let nodes = nodes.map(|(id, node)| DeployedNode::new(id, node, &module));
        let header = &mut state.header;
        Self {
            strategy_code: StrategyCode {
                version: header.strategy.version.clone(),
                digest: header.strategy.digest.to_string(),
                contract: header.strategy.wit.to_string(),
            },
            config: header.config.take(),
            policy: header.policy.clone().into(),
            requested_by: header.requester.subject.clone(),
            metadata: std::mem::take(&mut header.metadata),
            require_approval: header.require_approval,
            paused: state.lifecycle.paused,
            pause_reason: state.pause_reason.take(),
            retry: retry.map(|retry| Retry {
                reason: retry.reason,
                since: retry.since.millis(),
                attempts: retry.attempts,
            }),
            wait_id: state.wait_id().map(|id| id.to_string()),
            aborting: state.lifecycle.aborting,
            promoted: state.lifecycle.promoted,
            waits_for: waits_for.map(|id| id.to_string()),
            stages: convert(state.stages.iter().cloned()),
            nodes: nodes.collect(),
            findings: convert(findings),
            live_findings: None,
            warnings: None,
            log: convert(log),
            failures: convert(failures),
            missing: convert(missing),
            cordoned: convert(cordoned),
            not_updated: convert(not_updated),
            last_event: state.next_seq.saturating_sub(1),
            summary: state.summary().into(),
        }
    }

    /// The same with what is known of the soak that is under way.
    pub fn with_soak_progress(mut self, progress: Option<&hotswap_runner::SoakProgress>) -> Self {
        let findings = progress.map(|progress| progress.findings.iter().cloned());
        self.live_findings = findings.map(|findings| findings.map(Finding::from).collect());
        self
    }

    /// The same with what is known of soaks that cannot decide.
    pub fn with_warnings(mut self, warnings: Vec<String>) -> Self {
        self.warnings = Some(warnings).filter(|warnings| !warnings.is_empty());
        self
    }
}

impl Example for Accepted {
    fn example() -> Self {
        let id = core::DeploymentId::from_bytes(
            0x0199_e1f3_5b5c_7d5e_9d52_6f1f_3a3e_8a10_u128.to_be_bytes(),
        );
        Self::new(id)
    }
}
