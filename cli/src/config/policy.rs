use hotswap_core::{Amount, Policy, Selector, StrategyName};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Span;

/// One environment: its nodes, and its policy, which no strategy may exceed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PolicyOverrides {
    /// The nodes that belong to the environment by their labels, as a label selector. Only nodes
    /// that name no environment themselves. A node that the selectors of several environments
    /// match is refused. A selector that is set through the API counts instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", example = &"zone=eu,tier!=edge")]
    pub selector: Option<Selector>,
    /// The strategy of a deployment that names none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub default_strategy: Option<StrategyName>,
    /// Nodes that may be unavailable at the same time: a count, or a share such as `"25%"` of all
    /// nodes that the deployment is for. Nodes that it is changing count, and nodes that do not
    /// serve.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub max_unavailable: Option<Amount>,
    /// Failed nodes that a deployment tolerates: a count, or a share of all nodes. With more, it
    /// is rolled back; with fewer, it ends as `partial`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub tolerated_failures: Option<Amount>,
    /// Nodes that a deployment may leave out because they do not answer when it is planned: a
    /// count, or a share of all nodes. With more, it fails before it changes anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub max_missing: Option<Amount>,
    /// A deployment that takes longer is rolled back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Span>,
    /// Whether the time of the deadline stops while a deployment is paused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pause_stops_deadline: Option<bool>,
    /// How long the engine tries to revert a node that does not answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revert_patience: Option<Span>,
}

impl PolicyOverrides {
    /// `policy`, with the values that are set here.
    pub fn apply_to(&self, policy: Policy) -> Policy {
        Policy {
            default_strategy: self
                .default_strategy
                .clone()
                .unwrap_or(policy.default_strategy),
            max_unavailable: self.max_unavailable.unwrap_or(policy.max_unavailable),
            tolerated_failures: self.tolerated_failures.unwrap_or(policy.tolerated_failures),
            max_missing: self.max_missing.unwrap_or(policy.max_missing),
            deadline: self.deadline.map_or(policy.deadline, |span| span.0),
            pause_stops_deadline: self
                .pause_stops_deadline
                .unwrap_or(policy.pause_stops_deadline),
            revert_patience: self
                .revert_patience
                .map_or(policy.revert_patience, |span| span.0),
        }
    }
}

impl From<Policy> for PolicyOverrides {
    /// Sets every value of the policy.
    fn from(policy: Policy) -> Self {
        Self {
            selector: None,
            default_strategy: Some(policy.default_strategy),
            max_unavailable: Some(policy.max_unavailable),
            tolerated_failures: Some(policy.tolerated_failures),
            max_missing: Some(policy.max_missing),
            deadline: Some(Span(policy.deadline)),
            pause_stops_deadline: Some(policy.pause_stops_deadline),
            revert_patience: Some(Span(policy.revert_patience)),
        }
    }
}
