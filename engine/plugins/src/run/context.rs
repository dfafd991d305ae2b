use hotswap_wasm::CompiledCache;
use tokio::sync::Semaphore;

use super::engine::LinkedEngine;
use super::guest_threads::GuestThreads;
use crate::limits::Limits;

/// What a host and all strategies that it has loaded share.
pub(crate) struct HostContext {
    pub limits: Limits,
    pub compiled: CompiledCache,
    pub pooled: LinkedEngine,
    pub on_demand: LinkedEngine,
    /// One permit for each run that may go on at the same time.
    pub run_permits: Semaphore,
    pub threads: GuestThreads,
}

impl HostContext {
    pub(crate) fn start(limits: Limits, compiled: CompiledCache) -> wasmtime::Result<Self> {
        let pooled = LinkedEngine::pooled(&limits)?;
        let on_demand = LinkedEngine::on_demand(&limits)?;
        Ok(Self {
            run_permits: Semaphore::new(limits.concurrent_runs.max(1) as usize),
            threads: GuestThreads::start("strategy")?,
            limits,
            compiled,
            pooled,
            on_demand,
        })
    }
}
