use std::collections::BTreeMap;
use std::time::Duration;

use hotswap_core as core;
use hotswap_runner::deployments::{Preview, PreviewedNode, PreviewedStep};
use poem_openapi::{Enum, Object};

use super::Policy;
use super::deployment::StrategyCode;
use super::node::Health;

/// What a deployment would do if it were created now.
#[derive(Debug, Clone, Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
pub(crate) struct DeploymentPlan {
    /// The module that would be rolled out.
    pub module_name: String,
    /// The version.
    pub version: String,
    /// The SHA-256 digest of the version's artifact.
    pub digest: String,
    /// The environment whose nodes would get the version.
    pub target_environment: String,
    /// The nodes of the environment that would get it. Absent: all of them.
    pub selector: Option<String>,
    /// The name of the strategy.
    pub strategy: String,
    /// The code of the strategy.
    pub strategy_code: StrategyCode,
    /// The configuration of the strategy, with defaults filled in.
    pub config: serde_json::Value,
    /// The limits that the deployment could not exceed.
    pub policy: Policy,
    /// Whether a person would have to approve the deployment before it starts.
    pub require_approval: bool,
    /// The nodes that it would change, sorted by id.
    pub nodes: Vec<PlannedNode>,
    /// The nodes of the environment that it would leave out, each with the reason.
    pub left_out: Vec<LeftOutNode>,
    /// The first steps of the strategy where all goes well, in order: at most 1000.
    pub steps: Vec<PlanStep>,
    /// How many more steps there are.
    pub further_steps: u64,
    /// The milliseconds that the deployment takes at least: its waits alone. Absent: that cannot
    /// be told.
    pub shortest: Option<u64>,
    /// Why the deployment would be refused or would fail, each in a sentence. Empty: nothing is
    /// known that speaks against it.
    pub problems: Vec<String>,
    /// What would make the deployment of less use, each in a sentence: soaks that cannot decide
    /// anything at the present traffic.
    pub warnings: Vec<String>,
}

/// A node that a deployment would change.
#[derive(Debug, Clone, PartialEq, Eq, Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
pub(crate) struct PlannedNode {
    /// The id of the node.
    pub id: String,
    /// The zone that the node reports, if any.
    pub zone: Option<String>,
    /// Labels that the node's operator chose.
    pub labels: BTreeMap<String, String>,
    /// The health of the node.
    pub health: Health,
    /// The version of the module that the node runs now. Absent if it runs none.
    pub runs: Option<String>,
    /// The version that the node would run at the end. Absent if it would run none.
    pub would_run: Option<String>,
}

/// A node that a deployment would leave out.
#[derive(Debug, Clone, PartialEq, Eq, Object)]
#[oai(rename_all = "camelCase")]
pub(crate) struct LeftOutNode {
    /// The id of the node.
    pub id: String,
    /// Why it would be left out.
    pub reason: LeftOutReason,
    /// The same, in a sentence.
    pub detail: String,
}

/// Why a deployment would leave a node out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "camelCase")]
pub(crate) enum LeftOutReason {
    /// The node does not answer.
    Missing,
    /// A person has cordoned or drained the node.
    Cordoned,
    /// The selector does not match the node's labels.
    NotSelected,
}

/// A step of a strategy.
#[derive(Debug, Clone, PartialEq, Eq, Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
pub(crate) struct PlanStep {
    /// When the step begins at the earliest: milliseconds from the start of the deployment.
    pub at: u64,
    /// What the strategy asks for.
    pub step: StepKind,
    /// The nodes that it is about; of a soak, those with the new version.
    pub nodes: Vec<String>,
    /// The nodes that a soak compares them with.
    pub baseline: Vec<String>,
    /// The share of requests that the new version gets (`shift`), or the progress of the
    /// deployment (`progress`).
    pub percent: Option<u8>,
    /// How long the strategy waits, in milliseconds; for an approval at most.
    pub span: Option<u64>,
    /// The name of the stage (`progress`), the question (`approval`) or the path (`probe`).
    pub text: Option<String>,
    /// How many of its nodes are changed at the same time at most. Absent where none is changed.
    pub at_once: Option<u32>,
    /// Why the engine would refuse the step, and end the deployment. Absent where it would not.
    pub refused: Option<String>,
}

/// The kinds of steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "camelCase")]
pub(crate) enum StepKind {
    /// Load the new version beside the active one.
    Stage,
    /// Give the new version a share of the requests.
    Shift,
    /// Give the new version all requests.
    Promote,
    /// Give the previous version all requests again.
    Revert,
    /// Send a request to the new version and check the response.
    Probe,
    /// Compare the new version with the previous one for some time.
    Soak,
    /// Wait.
    Sleep,
    /// Ask a person.
    Approval,
    /// Report a stage.
    Progress,
}

impl From<Preview> for DeploymentPlan {
    fn from(preview: Preview) -> Self {
        let header = preview.header;
        let missing = preview.missing.into_iter().map(|failure| LeftOutNode {
            id: failure.node.into(),
            reason: LeftOutReason::Missing,
            detail: failure.error.to_string(),
        });
        let cordoned = preview.cordoned.into_iter().map(|node| LeftOutNode {
            detail: node.cordon.to_string(),
            id: node.node.into(),
            reason: LeftOutReason::Cordoned,
        });
        let not_selected = preview.not_selected.into_iter().map(|node| LeftOutNode {
            id: node.into(),
            reason: LeftOutReason::NotSelected,
            detail: "the selector does not match its labels".to_owned(),
        });
        let mut left_out: Vec<_> = missing.chain(cordoned).chain(not_selected).collect();
        left_out.sort_by(|one, other| one.id.cmp(&other.id));
        Self {
            module_name: header.module.name.into(),
            version: header.module.version.to_string(),
            digest: header.module.digest.into(),
            target_environment: header.environment.into(),
            selector: header.selector.map(Into::into),
            strategy: header.strategy.name.into(),
            strategy_code: StrategyCode {
                version: header.strategy.version,
                digest: header.strategy.digest.to_string(),
                contract: header.strategy.wit.to_string(),
            },
            config: header.config,
            policy: header.policy.into(),
            require_approval: header.require_approval,
            nodes: preview.nodes.into_iter().map(Into::into).collect(),
            left_out,
            steps: preview.steps.into_iter().map(Into::into).collect(),
            further_steps: u64::try_from(preview.further_steps).unwrap_or(u64::MAX),
            shortest: preview.shortest.map(millis),
            problems: preview.problems,
            warnings: preview.warnings,
        }
    }
}

impl From<PreviewedNode> for PlannedNode {
    fn from(previewed: PreviewedNode) -> Self {
        let version = |module: core::ModuleVersion| module.version.to_string();
        let node = previewed.node;
        Self {
            id: node.id.into(),
            zone: node.zone,
            labels: node.labels,
            health: node.health.into(),
            runs: node.active.map(version),
            would_run: previewed.would_run.map(version),
        }
    }
}

impl From<PreviewedStep> for PlanStep {
    fn from(previewed: PreviewedStep) -> Self {
        use core::Call as C;
        let step = previewed.step;
        let at_once = previewed.at_once;
        let at_once = at_once.map(|count| u32::try_from(count).unwrap_or(u32::MAX));
        let refused = previewed.refused;
        let span = step.call.wait().map(millis);
        let names = |nodes: Vec<core::NodeId>| nodes.into_iter().map(String::from).collect();
        let of = |kind, nodes| Self {
            at: millis(step.at),
            step: kind,
            nodes: names(nodes),
            baseline: Vec::new(),
            percent: None,
            span,
            text: None,
            at_once,
            refused: refused.clone(),
        };
        match step.call {
            C::Stage { nodes } => of(StepKind::Stage, nodes),
            C::Shift { nodes, percent } => Self {
                percent: Some(percent),
                ..of(StepKind::Shift, nodes)
            },
            C::Promote { nodes } => of(StepKind::Promote, nodes),
            C::Revert { nodes } => of(StepKind::Revert, nodes),
            C::Probe { nodes, request } => Self {
                text: Some(request.path),
                ..of(StepKind::Probe, nodes)
            },
            C::Soak {
                canary, baseline, ..
            } => Self {
                baseline: names(baseline),
                ..of(StepKind::Soak, canary)
            },
            C::Approval { prompt, .. } => Self {
                text: Some(prompt),
                ..of(StepKind::Approval, Vec::new())
            },
            C::Progress { stage, percent } => Self {
                percent: Some(percent),
                text: Some(stage),
                ..of(StepKind::Progress, Vec::new())
            },
            // A rehearsal keeps no other calls.
            C::Sleep { .. } | C::Nodes | C::Now | C::Log { .. } => of(StepKind::Sleep, Vec::new()),
        }
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
