use std::sync::LazyLock;

use anyhow::{Result, anyhow};
use hotswap_plugins::discovery::{BackendLimits, DiscoveryHost};
use hotswap_plugins::{Host, Limits};

/// What runs strategies, with the usual limits. All tests of a process share it, so that each
/// strategy is compiled once.
///
/// # Errors
/// If the machine has no room for it.
pub fn shared_host() -> Result<Host> {
    static HOST: LazyLock<Result<Host, hotswap_plugins::Error>> =
        LazyLock::new(|| Host::new(Limits::default()));
    let host = HOST.as_ref().map_err(|error| anyhow!("{error}"))?;
    Ok(host.clone())
}

/// As [`shared_host`], for discovery backends.
///
/// # Errors
/// If the machine has no room for it.
pub fn shared_discovery_host() -> Result<DiscoveryHost> {
    static HOST: LazyLock<Result<DiscoveryHost, hotswap_plugins::Error>> =
        LazyLock::new(|| DiscoveryHost::new(BackendLimits::default()));
    let host = HOST.as_ref().map_err(|error| anyhow!("{error}"))?;
    Ok(host.clone())
}
