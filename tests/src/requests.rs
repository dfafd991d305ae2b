use std::collections::BTreeMap;

use anyhow::Result;
use hotswap_core::Requester;
use hotswap_runner::{NewDeployment, NewRollback};
use serde_json::Value;

/// Requester of all deployments and uploads in tests.
pub const EMAIL: &str = "tests@example.com";

/// Who requests everything in tests.
pub fn requester() -> Requester {
    Requester {
        email: EMAIL.to_owned(),
        subject: "tests".to_owned(),
    }
}

/// A request for a deployment to all nodes of an environment. Tests that need more change its
/// fields.
///
/// # Errors
/// If a name or the version is not valid.
pub fn new_deployment(
    (module, version): (&str, &str),
    environment: &str,
    (strategy, config): (&str, Value),
) -> Result<NewDeployment> {
    Ok(NewDeployment {
        module: module.parse()?,
        version: Some(version.parse()?),
        environment: environment.parse()?,
        selector: None,
        strategy: Some(strategy.parse()?),
        config: Some(config),
        requester: requester(),
        description: None,
        metadata: BTreeMap::new(),
        require_approval: false,
        supersede: false,
        idempotency_key: None,
    })
}

/// A request for a rollback by `direct`, to the version before if `to` is `None`.
///
/// # Errors
/// If the version is not valid.
pub fn new_rollback(to: Option<&str>) -> Result<NewRollback> {
    Ok(NewRollback {
        requester: requester(),
        to: to.map(str::parse).transpose()?,
        strategy: None,
        config: None,
        idempotency_key: None,
    })
}
