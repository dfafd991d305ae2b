use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hashlink::LruCache;
use hotswap_core::Digest;
use tokio::sync::OnceCell;

/// Loaded components by their digest. Evicts the one that was not used for longest. Cheap to
/// clone; clones share everything.
pub(crate) struct ComponentCache<T>(Arc<Mutex<LruCache<Digest, Slot<T>>>>);

/// Empty while the component is being compiled.
type Slot<T> = Arc<OnceCell<T>>;

impl<T: Clone> ComponentCache<T> {
    /// Keeps as many components.
    pub(crate) fn new(size: usize) -> Self {
        Self(Arc::new(Mutex::new(LruCache::new(size))))
    }

    /// The component with this digest, loaded where it is not in the cache. However many callers
    /// wait for it, one of them loads it.
    pub(crate) async fn get_or_load<E, F>(
        &self,
        digest: Digest,
        load: impl FnOnce() -> F,
    ) -> Result<T, E>
    where
        F: Future<Output = Result<T, E>>,
    {
        let slot = self.slot(digest);
        let loaded = slot.get_or_try_init(load).await.cloned();
        if loaded.is_err() {
            self.forget(digest, &slot);
        }
        loaded
    }

    /// The component with this digest, if it is in the cache.
    pub(crate) fn get(&self, digest: Digest) -> Option<T> {
        self.lock().get(&digest)?.get().cloned()
    }

    fn slot(&self, digest: Digest) -> Slot<T> {
        let mut cache = self.lock();
        if let Some(slot) = cache.get(&digest) {
            return Arc::clone(slot);
        }
        let slot = Slot::default();
        cache.insert(digest, Arc::clone(&slot));
        slot
    }

    /// Removes a place that nobody filled, so that it evicts no component.
    fn forget(&self, digest: Digest, slot: &Slot<T>) {
        let mut cache = self.lock();
        let is_same = cache
            .peek(&digest)
            .is_some_and(|kept| Arc::ptr_eq(kept, slot));
        if is_same && !slot.initialized() {
            cache.remove(&digest);
        }
    }

    fn lock(&self) -> MutexGuard<'_, LruCache<Digest, Slot<T>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Clone for ComponentCache<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}
