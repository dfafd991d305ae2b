use std::collections::BTreeMap;

use hotswap_core as core;
use poem_openapi::Object;
use poem_openapi::types::Example;

use super::Policy;
use super::state::{Cause, DeployedNode, Finding, LogLine, NodeFailure, Stage, Status};

/// A deployment that was accepted: it cannot be lost from here on.
#[derive(Debug, Clone, PartialEq, Eq, Object)]
#[oai(rename_all = "camelCase", example)]
pub(crate) struct Accepted {
    /// Its id.
    pub execution_id: String,
    /// Where it is.
    pub status: Status,
    /// Where to look next.
    pub links: Links,
}

/// Where to look next.
#[derive(Debug, Clone, PartialEq, Eq, Object)]
#[oai(rename_all = "camelCase")]
pub(crate) struct Links {
    /// The deployment.
    #[oai(rename = "self")]
    pub itself: String,
    /// Its events; with `wait`, as they come.
    pub events: String,
}

/// Some deployments, newest first.
#[derive(Debug, Clone, Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
pub(crate) struct Deployments {
    /// They.
    pub deployments: Vec<DeploymentSummary>,
    /// Give this as `cursor` for those that come after; absent where there are none.
    pub next_cursor: Option<String>,
}

/// A deployment in short.
#[derive(Debug, Clone, Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
pub(crate) struct DeploymentSummary {
    /// Its id.
    pub execution_id: String,
    /// Where it is.
    pub status: Status,
    /// The module that is rolled out.
    pub module_name: String,
    /// The version that is rolled out.
    pub version: String,
    /// Of that version's artifact.
    pub digest: String,
    /// Where to.
    pub target_environment: String,
    /// The strategy's name.
    pub strategy: String,
    /// Who asked for it.
    pub requester_email: String,
    /// What they said of it.
    pub description: Option<String>,
    /// 0 to 100, as the strategy tells it.
    pub progress: u8,
    /// The stage that the strategy is in, or was in last.
    pub stage: Option<String>,
    /// What a person is asked, while nobody has decided.
    pub question: Option<String>,
    /// When the wait that is under way is over.
    pub waiting_until: Option<u64>,
    /// Why it did not succeed.
    pub cause: Option<Cause>,
    /// The deployment that this one undoes.
    pub rollback_of: Option<String>,
    /// When it was requested.
    pub created_at: u64,
    /// When something last happened.
    pub updated_at: u64,
    /// When it ended.
    pub ended_at: Option<u64>,
    /// Where to look next.
    pub links: Links,
}

/// A deployment: what its events add up to.
#[derive(Debug, Clone, Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
pub(crate) struct Deployment {
    #[oai(flatten)]
    pub summary: DeploymentSummary,
    /// The code of the strategy, pinned for the deployment's life.
    pub strategy_code: StrategyCode,
    /// The strategy's configuration, defaults filled in.
    pub config: serde_json::Value,
    /// What it may not exceed.
    pub policy: Policy,
    /// Whose token asked for it.
    pub requested_by: String,
    /// Whatever the requester attached to it.
    pub metadata: BTreeMap<String, String>,
    /// Whether a person has to approve it before it begins.
    pub require_approval: bool,
    /// Whether the strategy's next call is held.
    pub paused: bool,
    /// Whether somebody asked that it end.
    pub aborting: bool,
    /// The stages that the strategy told of, oldest first.
    pub stages: Vec<Stage>,
    /// The nodes that it may touch, sorted by id; none until they were found.
    pub nodes: Vec<DeployedNode>,
    /// What the last soak found.
    pub findings: Vec<Finding>,
    /// The last 200 lines that the strategy logged, oldest first.
    pub log: Vec<LogLine>,
    /// Nodes that could not be put back, or did not drop the version before.
    pub failures: Vec<NodeFailure>,
    /// The number of the last event: give it as `after` to get what happens next.
    pub last_event: u64,
}

/// The code of a strategy.
#[derive(Debug, Clone, PartialEq, Eq, Object)]
#[oai(rename_all = "camelCase")]
pub(crate) struct StrategyCode {
    /// The version that it says of itself.
    pub version: String,
    /// Of the component.
    pub digest: String,
    /// The version of `hotswap:strategy` that it was built for.
    pub contract: String,
}

impl Accepted {
    /// Of a deployment that has just been requested.
    pub fn new(id: core::DeploymentId) -> Self {
        Self {
            execution_id: id.to_string(),
            status: Status::Pending,
            links: Links::of(id),
        }
    }
}

impl Links {
    fn of(id: core::DeploymentId) -> Self {
        let itself = format!("/api/v1/deployments/{id}");
        let events = format!("{itself}/events");
        Self { itself, events }
    }
}

impl From<core::Deployment> for DeploymentSummary {
    fn from(state: core::Deployment) -> Self {
        let status = state.status().into();
        let header = state.header;
        Self {
            execution_id: header.id.to_string(),
            status,
            module_name: header.module.name.into(),
            version: header.module.version.to_string(),
            digest: header.module.digest.into(),
            target_environment: header.environment.into(),
            strategy: header.strategy.name.into(),
            requester_email: header.requester.email,
            description: header.description,
            progress: state.progress,
            stage: state.stages.last().map(|stage| stage.name.clone()),
            question: state.question,
            waiting_until: state.waiting_until.map(core::Timestamp::millis),
            cause: state.cause.map(Into::into),
            rollback_of: header.rollback_of.map(|id| id.to_string()),
            created_at: state.created_at.millis(),
            updated_at: state.updated_at.millis(),
            ended_at: state.ended_at.map(core::Timestamp::millis),
            links: Links::of(header.id),
        }
    }
}

impl From<core::Deployment> for Deployment {
    fn from(mut state: core::Deployment) -> Self {
        fn into<T, U: From<T>>(all: impl IntoIterator<Item = T>) -> Vec<U> {
            all.into_iter().map(U::from).collect()
        }
        let nodes = std::mem::take(&mut state.nodes);
        let findings = std::mem::take(&mut state.findings);
        let log = std::mem::take(&mut state.log);
        let failures = std::mem::take(&mut state.failures);
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
            aborting: state.lifecycle.aborting,
            stages: into(state.stages.iter().cloned()),
            nodes: into(nodes),
            findings: into(findings),
            log: into(log),
            failures: into(failures),
            last_event: state.next_seq.saturating_sub(1),
            summary: state.into(),
        }
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
