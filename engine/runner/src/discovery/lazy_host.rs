use std::fmt;
use std::sync::Arc;

use hotswap_plugins::discovery::{BackendLimits, DiscoveryHost};
use hotswap_wasm::CompiledCache;
use tokio::sync::OnceCell;

/// The host of discovery backends, started when the first of them is needed: its threads and its
/// compiler cost memory. Cheap to clone; clones share the host, so that a component is compiled
/// once.
#[derive(Clone, Default)]
pub struct LazyDiscoveryHost {
    host: Arc<OnceCell<DiscoveryHost>>,
    compiled: CompiledCache,
}

impl LazyDiscoveryHost {
    /// One that keeps compiled components on disk.
    pub fn with_compiled(compiled: CompiledCache) -> Self {
        Self {
            compiled,
            ..Self::default()
        }
    }

    /// The host.
    ///
    /// # Errors
    /// If the machine has no room for it.
    pub async fn get(&self) -> Result<&DiscoveryHost, hotswap_plugins::Error> {
        let start =
            async || DiscoveryHost::with_compiled(BackendLimits::default(), self.compiled.clone());
        self.host.get_or_try_init(start).await
    }
}

impl fmt::Debug for LazyDiscoveryHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LazyDiscoveryHost")
            .field("has_started", &self.host.initialized())
            .finish()
    }
}
