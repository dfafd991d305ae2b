use hotswap_wasm::CompiledCache;
use wasmtime::component::Linker;
use wasmtime::{Engine, InstanceAllocationStrategy};

use super::imports;
use super::limits::BackendLimits;
use super::state::BackendState;
use crate::run::GuestThreads;
use crate::run::engine::config;

/// What a host and all components that it has loaded share.
pub(super) struct DiscoveryContext {
    pub(super) limits: BackendLimits,
    pub(super) compiled: CompiledCache,
    pub(super) engine: Engine,
    pub(super) linker: Linker<BackendState>,
    /// Apart from the threads that serve requests.
    pub(super) threads: GuestThreads,
}

impl DiscoveryContext {
    pub(super) fn start(limits: BackendLimits, compiled: CompiledCache) -> wasmtime::Result<Self> {
        let mut config = config(limits.max_memory());
        // There are few instances, and they live long.
        config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
        let engine = Engine::new(&config)?;
        let mut linker = Linker::new(&engine);
        imports::add_to_linker(&mut linker)?;
        Ok(Self {
            threads: GuestThreads::start_with_io("discovery")?,
            limits,
            compiled,
            engine,
            linker,
        })
    }
}
