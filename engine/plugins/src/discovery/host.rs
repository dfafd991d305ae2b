use std::fmt;
use std::sync::Arc;

use hotswap_core::Digest;
use wasmtime::component::Linker;
use wasmtime::{Engine, InstanceAllocationStrategy};

use super::component::{BackendComponent, load};
use super::imports;
use super::limits::BackendLimits;
use super::state::BackendState;
use crate::component_cache::ComponentCache;
use crate::host::Error;
use crate::load::LoadError;
use crate::run::GuestThreads;
use crate::run::engine::config;

/// Loaded components that a host keeps. Nobody has more kinds of registries.
const CACHE_SIZE: usize = 16;

/// Loads discovery backends and owns what they run in. Cheap to clone.
#[derive(Clone)]
pub struct DiscoveryHost {
    context: Arc<DiscoveryContext>,
    cache: ComponentCache<BackendComponent>,
}

/// What a host and all components that it has loaded share.
pub(super) struct DiscoveryContext {
    pub(super) limits: BackendLimits,
    pub(super) engine: Engine,
    pub(super) linker: Linker<BackendState>,
    /// Apart from the threads that serve requests.
    pub(super) threads: GuestThreads,
}

impl DiscoveryHost {
    /// Starts a host whose instances have these limits.
    ///
    /// # Errors
    /// [`Error`] if the machine has no room for it.
    pub fn new(limits: BackendLimits) -> Result<Self, Error> {
        let context = DiscoveryContext::start(limits);
        let context = context.map_err(|error| Error::Engine(format!("{error:#}")))?;
        Ok(Self {
            context: Arc::new(context),
            cache: ComponentCache::new(CACHE_SIZE),
        })
    }

    /// Checks and compiles a component, or returns it from the cache. Needs a tokio runtime.
    ///
    /// Cancel safe. A compilation that has started runs to its end, and its result is dropped.
    ///
    /// # Errors
    /// [`LoadError`] says what is wrong and what to do about it.
    pub async fn load(&self, component: &[u8]) -> Result<BackendComponent, LoadError> {
        let limit = self.context.limits.component_bytes;
        if component.len() > limit {
            return Err(LoadError::TooLarge {
                size: component.len(),
                limit,
            });
        }
        let digest = Digest::of(component);
        let load = async || load(&self.context, digest, component).await;
        self.cache.get_or_load(digest, load).await
    }
}

impl DiscoveryContext {
    fn start(limits: BackendLimits) -> wasmtime::Result<Self> {
        let mut config = config(limits.max_memory());
        // There are few instances, and they live long.
        config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
        let engine = Engine::new(&config)?;
        let mut linker = Linker::new(&engine);
        imports::add_to_linker(&mut linker)?;
        Ok(Self {
            threads: GuestThreads::start_with_io("discovery")?,
            limits,
            engine,
            linker,
        })
    }
}

impl fmt::Debug for DiscoveryHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiscoveryHost")
            .field("limits", &self.context.limits)
            .finish_non_exhaustive()
    }
}
