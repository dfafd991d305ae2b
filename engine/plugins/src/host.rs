use std::fmt;
use std::sync::Arc;

use hotswap_core::Digest;
use hotswap_wasm::CompiledCache;

use crate::component_cache::ComponentCache;
use crate::limits::Limits;
use crate::load::{self, LoadError};
use crate::run::HostContext;
use crate::strategy::Strategy;

/// Loaded strategies that a host keeps in memory.
const CACHE_SIZE: usize = 64;

/// Loads strategies and owns what they run in: WebAssembly engines with their limits. Cheap to
/// clone.
#[derive(Clone)]
pub struct Host {
    context: Arc<HostContext>,
    // Not a part of the context: each strategy holds that, so the two would keep each other
    // alive.
    cache: ComponentCache<Strategy>,
}

/// Why a host does not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The limits do not suit this machine, or it has too little address space.
    #[error("the WebAssembly engine does not start with these limits, try fewer pooled runs: {0}")]
    Engine(String),
}

impl Host {
    /// Starts a host whose runs have these limits. It keeps compiled strategies in memory only.
    ///
    /// # Errors
    /// Those of [`Self::with_compiled`].
    pub fn new(limits: Limits) -> Result<Self, Error> {
        Self::with_compiled(limits, CompiledCache::default())
    }

    /// Starts a host that also looks for compiled strategies in `compiled`, and keeps them there.
    ///
    /// # Errors
    /// [`Error`] if the machine has no room for it. Fewer
    /// [pooled runs](Limits::pooled_runs) need less.
    pub fn with_compiled(limits: Limits, compiled: CompiledCache) -> Result<Self, Error> {
        let context = HostContext::start(limits, compiled);
        let context = context.map_err(|error| Error::Engine(format!("{error:#}")))?;
        Ok(Self {
            context: Arc::new(context),
            cache: ComponentCache::new(CACHE_SIZE),
        })
    }

    /// Checks and compiles a component, or returns the strategy from the cache.
    ///
    /// It is compiled on a thread for blocking work. Needs a tokio runtime.
    ///
    /// Cancel safe. A compilation that has started runs to its end, and its result is kept.
    ///
    /// # Errors
    /// [`LoadError`] says what is wrong and what to do about it.
    pub async fn load(&self, component: &[u8]) -> Result<Strategy, LoadError> {
        let limit = self.limits().component_bytes;
        if component.len() > limit {
            return Err(LoadError::TooLarge {
                size: component.len(),
                limit,
            });
        }
        let digest = Digest::of(component);
        if let Some(strategy) = self.cached(digest) {
            return Ok(strategy);
        }
        let (context, component) = (Arc::clone(&self.context), component.to_vec());
        let load = async move {
            let loaded = load::load(&context, digest, &component).await?;
            Ok(Strategy::new(digest, loaded))
        };
        self.cache.get_or_load(digest, load).await
    }

    /// The strategy with this digest, if it is in the cache.
    pub fn cached(&self, digest: Digest) -> Option<Strategy> {
        self.cache.get(digest)
    }

    /// What each run may use.
    pub fn limits(&self) -> &Limits {
        &self.context.limits
    }

    /// How many instances use a slot of the pool now. Instances beyond
    /// [`Limits::pooled_runs`] are not counted.
    pub fn pooled_instances(&self) -> u64 {
        let metrics = self.context.pooled.engine.pooling_allocator_metrics();
        metrics.map_or(0, |metrics| metrics.component_instances())
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host")
            .field("limits", &self.context.limits)
            .finish_non_exhaustive()
    }
}
