use std::collections::BTreeMap;

use hotswap_core as core;
use hotswap_fleet::Member;
use poem_openapi::Object;

use super::{HealthCounts, Node};

/// All environments, sorted by name: those that are configured, and those of the nodes.
#[derive(Debug, Clone, Object)]
pub(crate) struct Clusters {
    /// They.
    pub clusters: Vec<Cluster>,
}

/// An environment: its nodes, and what no strategy may exceed there.
#[derive(Debug, Clone, PartialEq, Eq, Object)]
pub(crate) struct Cluster {
    /// Its name.
    pub environment: String,
    /// What no strategy may exceed there.
    pub policy: Policy,
    /// How its nodes are.
    pub health: HealthCounts,
}

/// An environment, with its nodes and what should run on them.
#[derive(Debug, Clone, PartialEq, Eq, Object)]
pub(crate) struct ClusterDetail {
    #[oai(flatten)]
    pub cluster: Cluster,
    /// Its nodes, sorted by id.
    pub nodes: Vec<Node>,
    /// What should run on them, sorted by module: what the last deployment of each module
    /// brought, looked for among the last hundred that succeeded there.
    pub modules: Vec<Running>,
}

/// A module that should run in an environment.
#[derive(Debug, Clone, PartialEq, Eq, Object)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
pub(crate) struct Running {
    /// The module.
    pub module_name: String,
    /// The version.
    pub version: String,
    /// Of that version's artifact.
    pub digest: String,
    /// The deployment that brought it.
    pub execution_id: String,
    /// Since when.
    pub since: Option<u64>,
}

/// What no strategy may exceed in an environment.
#[derive(Debug, Clone, PartialEq, Eq, Object)]
#[oai(rename_all = "camelCase")]
pub(crate) struct Policy {
    /// The strategy of a deployment that names none.
    pub default_strategy: String,
    /// How many nodes may be in change at any moment: a count, `3`, or a share, `50%`.
    pub max_unavailable: String,
    /// More failed nodes than this end a deployment: a count or a share.
    pub tolerated_failures: String,
    /// How long a deployment may take, in milliseconds.
    pub deadline: u64,
    /// How long to try to put a node back that does not answer, in milliseconds.
    pub revert_patience: u64,
}

impl Cluster {
    /// Of an environment with these nodes.
    pub fn new(environment: core::Environment, policy: core::Policy, nodes: &[Member]) -> Self {
        Self {
            environment: environment.into(),
            policy: policy.into(),
            health: HealthCounts::of(nodes),
        }
    }
}

impl ClusterDetail {
    /// With what `succeeded` there, newest first.
    pub fn new(cluster: Cluster, nodes: Vec<Member>, succeeded: Vec<core::Deployment>) -> Self {
        let mut modules = BTreeMap::new();
        for deployment in succeeded {
            let name = deployment.header.module.name.clone();
            modules.entry(name).or_insert(deployment);
        }
        Self {
            cluster,
            nodes: nodes.into_iter().map(Node::from).collect(),
            modules: modules.into_values().map(Running::from).collect(),
        }
    }
}

impl From<core::Deployment> for Running {
    fn from(deployment: core::Deployment) -> Self {
        let header = deployment.header;
        Self {
            module_name: header.module.name.into(),
            version: header.module.version.to_string(),
            digest: header.module.digest.into(),
            execution_id: header.id.to_string(),
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
            deadline: millis(policy.deadline),
            revert_patience: millis(policy.revert_patience),
        }
    }
}
