use hotswap_core as core;
use hotswap_runner::{Environments, PolicySource};
use poem_openapi::{Enum, Object};

use super::Policy;

/// The policy and the selector of an environment, and where they come from.
#[derive(Debug, Clone, PartialEq, Eq, Object)]
#[oai(
    rename = "Environment",
    rename_all = "camelCase",
    skip_serializing_if_is_none
)]
pub(crate) struct EnvironmentSettings {
    /// The name of the environment.
    pub environment: String,
    /// The limits that no strategy may exceed in the environment.
    pub policy: Policy,
    /// Where the policy comes from.
    pub source: EnvironmentSource,
    /// The nodes that belong to the environment by their labels, as a label selector. Absent: only
    /// those that name it.
    pub selector: Option<String>,
    /// Where the selector comes from: `api` or `configuration`. Absent if there is none.
    pub selector_source: Option<EnvironmentSource>,
    /// Why the policy that was set through the API cannot be read. No deployment begins until it
    /// is replaced or removed. `policy` is then the one that drains and repairs follow.
    pub damage: Option<String>,
    /// The version of the policy, higher with each change through the API; 0 where there was none.
    /// The `ETag` holds it.
    pub version: u64,
    /// When it was changed through the API.
    pub changed_at: Option<u64>,
    /// Who changed it through the API.
    pub changed_by: Option<String>,
    /// The policy in the configuration of the engine that answers, where it differs. It does not
    /// count.
    pub ignored: Option<Policy>,
    /// The selector in the configuration of the engine that answers, where another one was set
    /// through the API. It does not count.
    pub ignored_selector: Option<String>,
}

/// Where the policy or the selector of an environment comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename = "EnvironmentSource", rename_all = "camelCase")]
pub(crate) enum EnvironmentSource {
    /// It was set through the API, for all engines on the store.
    Api,
    /// It was set through the API, and the engine that answers cannot read it.
    Unreadable,
    /// The configuration of the engine that answers.
    Configuration,
    /// The default for the environment's name.
    Default,
}

impl EnvironmentSettings {
    /// What counts for an environment.
    pub fn new(environment: &core::Environment, known: &Environments) -> Self {
        let source = known.source(environment);
        let ignored = known.ignored(environment);
        let ignored_selector = known.ignored_selector(environment);
        let selector = known.selector(environment);
        let configured = EnvironmentSource::Configuration;
        let settings = Self {
            environment: environment.to_string(),
            policy: known.policy(environment).into(),
            source: EnvironmentSource::Default,
            selector_source: selector.as_ref().map(|_| configured),
            selector: selector.map(Into::into),
            damage: None,
            version: 0,
            changed_at: None,
            changed_by: None,
            ignored: ignored.map(Into::into),
            ignored_selector: ignored_selector.map(Into::into),
        };
        match source {
            PolicySource::Changed(changed) => Self {
                policy: changed.policy.clone().into(),
                source: EnvironmentSource::Api,
                version: changed.version,
                changed_at: Some(changed.at.millis()),
                changed_by: Some(changed.by.clone()),
                selector: changed
                    .selector
                    .clone()
                    .map(Into::into)
                    .or(settings.selector),
                selector_source: match &changed.selector {
                    Some(_) => Some(EnvironmentSource::Api),
                    None => settings.selector_source,
                },
                ..settings
            },
            PolicySource::Unreadable(unreadable) => Self {
                source: EnvironmentSource::Unreadable,
                damage: Some(unreadable.to_string()),
                version: unreadable.version,
                changed_at: Some(unreadable.at.millis()),
                ..settings
            },
            PolicySource::Configuration => Self {
                source: EnvironmentSource::Configuration,
                ..settings
            },
            PolicySource::Default => settings,
        }
    }
}
