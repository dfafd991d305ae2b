use anyhow::Result;
use hotswap_core::{
    DeploymentId, Digest, Environment, Header, ModuleVersion, Policy, Requester, StrategyLimits,
    StrategyRef,
};
use semver::Version;

use crate::EMAIL;

/// The header of a deployment of `module`, by `canary` in production, for tests that write the
/// journal themselves. Neither the artifact nor the strategy's component exists.
///
/// # Errors
/// If `module` is not a valid name.
pub fn sample_header(module: &str) -> Result<Header> {
    let environment: Environment = "production".parse()?;
    let version = Version::new(1, 0, 0);
    Ok(Header {
        id: DeploymentId::generate(),
        module: ModuleVersion {
            name: module.parse()?,
            version: version.clone(),
            digest: Digest::of(b"module"),
        },
        policy: Policy::default_for(&environment),
        environment,
        strategy: StrategyRef {
            name: "canary".parse()?,
            version: version.to_string(),
            digest: Digest::of(b"strategy"),
            wit: Version::new(0, 1, 0),
        },
        config: serde_json::json!({}),
        limits: StrategyLimits::default(),
        requester: Requester {
            email: EMAIL.to_owned(),
            subject: EMAIL.to_owned(),
        },
        description: None,
        metadata: Default::default(),
        require_approval: false,
        selector: None,
        rollback_of: None,
        retry_of: None,
        undo_to: None,
        undo_from: None,
        supersedes: None,
        trace: None,
        idempotency: None,
    })
}
