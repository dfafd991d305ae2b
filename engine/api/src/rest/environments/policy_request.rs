//! The body that sets a policy and a selector.

use std::time::Duration;

use hotswap_core::{Amount, Environment, Policy, Selector, StrategyName};
use poem_openapi::Object;
use serde::Deserialize;

use crate::problem::{FieldError, Kind, Problem};

/// What should count for an environment from now on.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Object)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[oai(
    rename = "EnvironmentRequest",
    rename_all = "camelCase",
    deny_unknown_fields,
    skip_serializing_if_is_none
)]
pub(super) struct EnvironmentRequest {
    /// The limits that no strategy may exceed in the environment.
    pub policy: PolicyRequest,
    /// The nodes that belong to the environment by their labels, as a label selector of at most 1024
    /// bytes. Only nodes that name no environment themselves. Absent: the selector of each engine's
    /// configuration counts.
    pub selector: Option<String>,
    /// The reason, of at most 4096 bytes. It becomes part of the environment's events.
    pub reason: Option<String>,
    /// The email address of the person who makes the request. Give it if several people share
    /// the API token; a signed token already names its owner.
    pub requester_email: Option<String>,
}

/// The limits that no strategy may exceed in an environment. Absent values get the defaults of the
/// environment's name, whatever counted before.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Object)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[oai(
    rename = "PolicyRequest",
    rename_all = "camelCase",
    deny_unknown_fields,
    skip_serializing_if_is_none
)]
pub(super) struct PolicyRequest {
    /// The strategy for deployments that name none.
    pub default_strategy: Option<String>,
    /// How many nodes may be unavailable at any moment: a number such as `3`, or a share of all
    /// nodes such as `50%`.
    pub max_unavailable: Option<String>,
    /// How many failed nodes a deployment tolerates: a number or a share.
    pub tolerated_failures: Option<String>,
    /// How many nodes may be left out of a plan because they do not answer: a number or a share.
    pub max_missing: Option<String>,
    /// The longest time that a deployment may take, in milliseconds.
    pub deadline: Option<u64>,
    /// Whether the time of the deadline stops while a deployment is paused.
    pub pause_stops_deadline: Option<bool>,
    /// How long to keep trying to revert a node that does not answer, in milliseconds.
    pub revert_patience: Option<u64>,
}

impl PolicyRequest {
    /// The policy, and the selector beside it.
    ///
    /// # Errors
    /// A 422 that lists every value that cannot be read.
    pub(super) fn validate(
        self,
        environment: &Environment,
        selector: Option<&str>,
    ) -> Result<(Policy, Option<Selector>), Problem> {
        let mut policy = Policy::default_for(environment);
        let mut errors = Vec::new();
        if let Some(name) = self.default_strategy {
            match name.parse::<StrategyName>() {
                Ok(name) => policy.default_strategy = name,
                Err(error) => errors.push(field("defaultStrategy", &error)),
            }
        }
        for (key, text, amount) in [
            (
                "maxUnavailable",
                self.max_unavailable,
                &mut policy.max_unavailable,
            ),
            (
                "toleratedFailures",
                self.tolerated_failures,
                &mut policy.tolerated_failures,
            ),
            ("maxMissing", self.max_missing, &mut policy.max_missing),
        ] {
            match text.map(|text| text.parse::<Amount>()) {
                Some(Ok(parsed)) => *amount = parsed,
                Some(Err(error)) => errors.push(field(key, &error)),
                None => {}
            }
        }
        let selector = selector.map(str::parse::<Selector>).transpose();
        let selector = selector.unwrap_or_else(|error| {
            errors.push(FieldError::in_body("/selector", error.to_string()));
            None
        });
        if !errors.is_empty() {
            let detail = "the request has values that cannot be read";
            return Err(Problem::new(Kind::InvalidRequest, detail).with_errors(errors));
        }
        let set = |span: &mut Duration, millis: Option<u64>| {
            *span = millis.map_or(*span, Duration::from_millis);
        };
        set(&mut policy.deadline, self.deadline);
        set(&mut policy.revert_patience, self.revert_patience);
        policy.pause_stops_deadline = self
            .pause_stops_deadline
            .unwrap_or(policy.pause_stops_deadline);
        Ok((policy, selector))
    }
}

fn field(key: &str, error: &hotswap_core::ParseError) -> FieldError {
    FieldError::in_body(format!("/policy/{key}"), error.to_string())
}
