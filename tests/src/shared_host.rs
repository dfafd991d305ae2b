use std::sync::LazyLock;

use anyhow::{Result, anyhow};
use hotswap_plugins::discovery::{BackendLimits, DiscoveryHost};
use hotswap_plugins::{Host, Limits};
use hotswap_wasm::CompiledCache;

use crate::tools;

/// What runs strategies, with the usual limits. All tests of a process share it, so that each
/// strategy is compiled once.
///
/// # Errors
/// If the machine has no room for it.
pub fn shared_host() -> Result<Host> {
    static HOST: LazyLock<Result<Host>> =
        LazyLock::new(|| Ok(Host::with_compiled(Limits::default(), compiled()?)?));
    let host = HOST.as_ref().map_err(|error| anyhow!("{error}"))?;
    Ok(host.clone())
}

/// As [`shared_host`], for discovery backends.
///
/// # Errors
/// If the machine has no room for it.
pub fn shared_discovery_host() -> Result<DiscoveryHost> {
    static HOST: LazyLock<Result<DiscoveryHost>> = LazyLock::new(|| {
        let limits = BackendLimits::default();
        Ok(DiscoveryHost::with_compiled(limits, compiled()?)?)
    });
    let host = HOST.as_ref().map_err(|error| anyhow!("{error}"))?;
    Ok(host.clone())
}

fn compiled() -> Result<CompiledCache> {
    Ok(CompiledCache::open(&tools::compiled_folder()?)?)
}
