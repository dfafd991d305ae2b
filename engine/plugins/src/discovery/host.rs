use std::fmt;
use std::sync::Arc;

use hotswap_core::Digest;
use hotswap_wasm::CompiledCache;

use super::component::{BackendComponent, load};
use super::context::DiscoveryContext;
use super::limits::BackendLimits;
use crate::component_cache::ComponentCache;
use crate::host::Error;
use crate::load::LoadError;

/// Loaded components that a host keeps. Nobody has more kinds of registries.
const CACHE_SIZE: usize = 16;

/// Loads discovery backends and owns what they run in. Cheap to clone.
#[derive(Clone)]
pub struct DiscoveryHost {
    context: Arc<DiscoveryContext>,
    cache: ComponentCache<BackendComponent>,
}

impl DiscoveryHost {
    /// Starts a host whose instances have these limits. It keeps compiled components in memory
    /// only.
    ///
    /// # Errors
    /// Those of [`Self::with_compiled`].
    pub fn new(limits: BackendLimits) -> Result<Self, Error> {
        Self::with_compiled(limits, CompiledCache::default())
    }

    /// Starts a host that also looks for compiled components in `compiled`, and keeps them there.
    ///
    /// # Errors
    /// [`Error`] if the machine has no room for it.
    pub fn with_compiled(limits: BackendLimits, compiled: CompiledCache) -> Result<Self, Error> {
        let context = DiscoveryContext::start(limits, compiled);
        let context = context.map_err(|error| Error::Engine(format!("{error:#}")))?;
        Ok(Self {
            context: Arc::new(context),
            cache: ComponentCache::new(CACHE_SIZE),
        })
    }

    /// Checks and compiles a component, or returns it from the cache. Needs a tokio runtime.
    ///
    /// Cancel safe. A compilation that has started runs to its end, and its result is kept.
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
        if let Some(loaded) = self.cache.get(digest) {
            return Ok(loaded);
        }
        let (context, component) = (Arc::clone(&self.context), component.to_vec());
        let load = async move { load(&context, digest, &component).await };
        self.cache.get_or_load(digest, load).await
    }
}

impl fmt::Debug for DiscoveryHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiscoveryHost")
            .field("limits", &self.context.limits)
            .finish_non_exhaustive()
    }
}
