use anyhow::Result;
use hotswap_core::{DeploymentId, Digest, Header, ModuleVersion, Requester, StrategyRef};
use semver::Version;

use crate::EMAIL;

/// The header of a deployment of `module`, by `canary` in production, for tests that write the
/// journal themselves. Neither the artifact nor the strategy's component exists.
///
/// # Errors
/// If `module` is not a valid name.
pub fn sample_header(module: &str) -> Result<Header> {
    let version = Version::new(1, 0, 0);
    let module = ModuleVersion {
        name: module.parse()?,
        version: version.clone(),
        digest: Digest::of(b"module"),
    };
    let strategy = StrategyRef {
        name: "canary".parse()?,
        version: version.to_string(),
        digest: Digest::of(b"strategy"),
        wit: Version::new(0, 1, 0),
    };
    let requester = Requester {
        email: EMAIL.to_owned(),
        subject: EMAIL.to_owned(),
    };
    let (id, environment) = (DeploymentId::generate(), "production".parse()?);
    Ok(Header {
        config: serde_json::json!({}),
        ..Header::new(id, module, environment, strategy, requester)
    })
}
