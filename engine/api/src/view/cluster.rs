use hotswap_core as core;
use hotswap_fleet::Member;
use hotswap_runner::Environments;
use poem_openapi::Object;

use super::{HealthCounts, Node};

/// All environments, sorted by name: those that are configured, and those that have nodes.
#[derive(Debug, Clone, Object)]
pub(crate) struct Clusters {
    /// The environments.
    pub clusters: Vec<Cluster>,
}

/// An environment with its policy and the health of its nodes.
#[derive(Debug, Clone, PartialEq, Eq, Object)]
#[oai(skip_serializing_if_is_none)]
pub(crate) struct Cluster {
    /// The name of the environment.
    pub environment: String,
    /// The nodes that belong to the environment by their labels, as a label selector. Absent: only
    /// those that name it.
    pub selector: Option<String>,
    /// The limits that no strategy may exceed in the environment.
    pub policy: Policy,
    /// The number of its nodes by health.
    pub health: HealthCounts,
}

/// An environment with its nodes and the modules that should run on them.
#[derive(Debug, Clone, PartialEq, Eq, Object)]
pub(crate) struct ClusterDetail {
    #[oai(flatten)]
    pub cluster: Cluster,
    /// The nodes, sorted by id.
    pub nodes: Vec<Node>,
    /// The modules that should run on the nodes, sorted by name: for each module, the version
    /// of its last successful deployment, even if that was `partial`. A module has several where
    /// deployments had selectors; for each node, the first one whose selector matches counts.
    pub modules: Vec<RunningModule>,
}

/// A module version that should run in an environment.
#[derive(Debug, Clone, PartialEq, Eq, Object)]
#[oai(
    rename = "Running",
    rename_all = "camelCase",
    skip_serializing_if_is_none
)]
pub(crate) struct RunningModule {
    /// The name of the module.
    pub module_name: String,
    /// The version.
    pub version: String,
    /// The SHA-256 digest of the version's artifact.
    pub digest: String,
    /// The nodes that should run it, as a label selector. Absent: all of them, but for those that
    /// an entry of the same module before this one is about.
    pub selector: Option<String>,
    /// The execution id of the deployment that rolled the version out.
    pub execution_id: String,
    /// When that deployment ended.
    pub since: Option<u64>,
}

/// The limits that no strategy may exceed in an environment. Shares are of all nodes that a
/// deployment is for: those of the environment, or those that its selector matches.
#[derive(Debug, Clone, PartialEq, Eq, Object)]
#[oai(rename_all = "camelCase")]
pub(crate) struct Policy {
    /// The strategy for deployments that name none.
    pub default_strategy: String,
    /// How many nodes may be unavailable at any moment, because a deployment is changing them
    /// or because they do not serve: a number such as `3`, or a share of all nodes such as
    /// `50%`.
    pub max_unavailable: String,
    /// How many failed nodes a deployment tolerates: a number or a share. One more ends it.
    pub tolerated_failures: String,
    /// How many nodes may be left out of a plan because they do not answer: a number or a
    /// share. With more, a deployment fails.
    pub max_missing: String,
    /// The longest time that a deployment may take, in milliseconds.
    pub deadline: u64,
    /// Whether the time of the deadline stops while a deployment is paused.
    pub pause_stops_deadline: bool,
    /// How long to keep trying to revert a node that does not answer, in milliseconds.
    pub revert_patience: u64,
}

impl Cluster {
    /// The environment with these nodes.
    pub fn new(environment: core::Environment, known: &Environments, nodes: &[Member]) -> Self {
        Self {
            selector: known.selector(&environment).map(Into::into),
            policy: known.policy(&environment).into(),
            environment: environment.into(),
            health: HealthCounts::count(nodes),
        }
    }
}

impl ClusterDetail {
    /// Adds the nodes, and the modules that should run there: `current` holds the last successful
    /// deployment of each, sorted by module.
    pub fn new(cluster: Cluster, nodes: Vec<Node>, current: Vec<core::DeploymentSummary>) -> Self {
        // Without its first event it is unknown which version a deployment rolled out.
        let has_request = |deployment: &core::DeploymentSummary| {
            deployment.damage.as_ref().is_none_or(|at| at.seq > 0)
        };
        let current = current.into_iter();
        Self {
            cluster,
            nodes,
            modules: current
                .filter(has_request)
                .map(RunningModule::from)
                .collect(),
        }
    }
}

impl From<core::DeploymentSummary> for RunningModule {
    fn from(deployment: core::DeploymentSummary) -> Self {
        let module = deployment.module;
        Self {
            module_name: module.name.into(),
            version: module.version.to_string(),
            digest: module.digest.into(),
            selector: deployment.selector.map(Into::into),
            execution_id: deployment.id.to_string(),
            since: deployment.ended_at.map(core::Timestamp::millis),
        }
    }
}

impl From<core::Policy> for Policy {
    fn from(policy: core::Policy) -> Self {
        let millis =
            |span: std::time::Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        Self {
            default_strategy: policy.default_strategy.into(),
            max_unavailable: policy.max_unavailable.to_string(),
            tolerated_failures: policy.tolerated_failures.to_string(),
            max_missing: policy.max_missing.to_string(),
            deadline: millis(policy.deadline),
            pause_stops_deadline: policy.pause_stops_deadline,
            revert_patience: millis(policy.revert_patience),
        }
    }
}
