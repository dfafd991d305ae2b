use std::collections::BTreeMap;

use hotswap_core::{
    DeploymentId, Digest, Environment, IdempotencyKey, ModuleName, ModuleVersion, Requester,
    Selector, StrategyName,
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
    /// Whether an open deployment of the module in the environment is aborted for this one,
    /// which then begins once that one has ended.
    pub supersede: bool,
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

/// A request to try a deployment again that ended without success.
#[derive(Debug, Clone, PartialEq)]
pub struct NewRetry {
    /// The person or program that requests it.
    pub requester: Requester,
    /// As [`NewDeployment::idempotency_key`].
    pub idempotency_key: Option<IdempotencyKey>,
}

/// A request to go back to an earlier success of a module in an environment.
#[derive(Debug, Clone, PartialEq)]
pub struct NewUndo {
    /// The module.
    pub module: ModuleName,
    /// The environment.
    pub environment: Environment,
    /// The person or program that requests it.
    pub requester: Requester,
    /// The success to go back to. `None` for the one before the present one.
    pub to: Option<UndoTarget>,
    /// As [`NewDeployment::idempotency_key`].
    pub idempotency_key: Option<IdempotencyKey>,
}

/// An earlier success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UndoTarget {
    /// The last one of this version.
    Version(Version),
    /// This one.
    Deployment(DeploymentId),
}

/// What a deployment comes from: a rollback, a retry or an undo. All `None` for a plain request.
#[derive(Debug, Clone, Default)]
pub(super) struct Origin {
    pub(super) rollback_of: Option<DeploymentId>,
    pub(super) retry_of: Option<DeploymentId>,
    pub(super) undo_to: Option<DeploymentId>,
    pub(super) undo_from: Option<DeploymentId>,
    /// The artifact that the version must still have.
    pub(super) artifact: Option<ModuleVersion>,
    /// The digest of all that the client asked for, where the request for a deployment was
    /// derived from something that may change.
    pub(super) request: Option<Digest>,
}

impl NewUndo {
    /// The digest of all that the client asked for.
    pub(super) fn digest(&self) -> Digest {
        let to = match &self.to {
            Some(UndoTarget::Version(version)) => Some(version.to_string()),
            Some(UndoTarget::Deployment(id)) => Some(id.to_string()),
            None => None,
        };
        let request = serde_json::json!({
            "undo": self.module,
            "environment": self.environment,
            "to": to,
            "email": self.requester.email,
        });
        Digest::of(request.to_string().as_bytes())
    }
}

impl NewDeployment {
    /// The digest of all that the client asked for. The trace is not part of it: each retry
    /// has its own.
    pub(super) fn digest(&self, origin: &Origin) -> Digest {
        if let Some(request) = origin.request {
            return request;
        }
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
            "rollbackOf": origin.rollback_of,
        });
        // Left out where they are not asked for: keys of earlier releases stay valid.
        if let Some(selector) = &self.selector {
            request["selector"] = selector.to_string().into();
        }
        if let Some(retry_of) = origin.retry_of {
            request["retryOf"] = retry_of.to_string().into();
        }
        if self.supersede {
            request["supersede"] = true.into();
        }
        Digest::of(request.to_string().as_bytes())
    }
}
