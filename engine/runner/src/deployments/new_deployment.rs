use std::collections::BTreeMap;

use hotswap_core::{Environment, ModuleName, Requester, StrategyName};
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
}
