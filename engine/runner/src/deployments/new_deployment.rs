use std::collections::BTreeMap;

use hotswap_core::{
    DeploymentId, Digest, Environment, IdempotencyKey, ModuleName, Requester, Selector,
    StrategyName,
};
use semver::Version;

/// A request for a deployment.
#[derive(Debug, Clone, PartialEq)]
pub struct NewDeployment {
    /// The module to roll out.
    pub module: ModuleName,
    /// Its version. `None` for the newest that is not a pre-release.
    pub version: Option<Version>,
    /// The environment to roll it out to.
    pub environment: Environment,
    /// The nodes of the environment to roll it out to. `None` for all of them.
    pub selector: Option<Selector>,
    /// The strategy. `None` for the default of the environment.
    pub strategy: Option<StrategyName>,
    /// The configuration of the strategy. Keys left out have the strategy's defaults.
    pub config: Option<serde_json::Value>,
    /// The person or program that requests it.
    pub requester: Requester,
    /// The requester's description.
    pub description: Option<String>,
    /// The requester's labels.
    pub metadata: BTreeMap<String, String>,
    /// Whether a person must approve the deployment before it starts.
    pub require_approval: bool,
    /// W3C `traceparent` of the request.
    pub trace: Option<String>,
    /// Makes a retry of the request safe: it returns the deployment that the first one created.
    pub idempotency_key: Option<IdempotencyKey>,
}

/// A request to roll a deployment back.
#[derive(Debug, Clone, PartialEq)]
pub struct NewRollback {
    /// The person or program that requests it.
    pub requester: Requester,
    /// The version to deploy. `None` for the one before.
    pub to: Option<Version>,
    /// The strategy. `None` for `direct`.
    pub strategy: Option<StrategyName>,
    /// The configuration of the strategy. Keys left out have the strategy's defaults.
    pub config: Option<serde_json::Value>,
    /// As [`NewDeployment::idempotency_key`].
    pub idempotency_key: Option<IdempotencyKey>,
}

impl NewDeployment {
    /// The digest of all that the client asked for. The trace is not part of it: each retry
    /// has its own.
    pub(super) fn digest(&self, rollback_of: Option<DeploymentId>) -> Digest {
        let mut request = serde_json::json!({
            "module": self.module,
            "version": self.version,
            "environment": self.environment,
            "strategy": self.strategy,
            "config": self.config,
            "email": self.requester.email,
            "description": self.description,
            "metadata": self.metadata,
            "requireApproval": self.require_approval,
            "rollbackOf": rollback_of,
        });
        // Left out where there is none: a retry may come from before selectors.
        if let Some(selector) = &self.selector {
            request["selector"] = selector.to_string().into();
        }
        Digest::of(request.to_string().as_bytes())
    }
}
