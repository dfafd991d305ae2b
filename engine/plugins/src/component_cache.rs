use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hashlink::LruCache;
use hotswap_core::Digest;
use tokio::sync::OnceCell;

/// Loaded components by their digest. Evicts the one that was not used for longest. Cheap to
/// clone; clones share everything.
pub(crate) struct ComponentCache<T>(Arc<Mutex<LruCache<Digest, Slot<T>>>>);

/// Empty while the component is being compiled.
type Slot<T> = Arc<OnceCell<T>>;

impl<T: Clone + Send + Sync + 'static> ComponentCache<T> {
    /// Keeps as many components.
    pub(crate) fn new(size: usize) -> Self {
        Self(Arc::new(Mutex::new(LruCache::new(size))))
    }

    /// The component with this digest, loaded if it is not in the cache. It is loaded once, however
    /// many callers wait or have left: callers that leave and try again must not start more
    /// compilations.
    ///
    /// Cancel safe: what is being loaded is kept for the next caller.
    pub(crate) async fn get_or_load<E: Send + 'static>(
        &self,
        digest: Digest,
        load: impl Future<Output = Result<T, E>> + Send + 'static,
    ) -> Result<T, E> {
        let cache = self.clone();
        let loading = tokio::spawn(async move {
            let slot = cache.slot(digest);
            let loaded = slot.get_or_try_init(|| load).await.cloned();
            if loaded.is_err() {
                cache.forget(digest, &slot);
            }
            loaded
        });
        match loading.await {
            Ok(loaded) => loaded,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The load was cancelled: the runtime shuts down, which ends this future too.
                Err(_) => std::future::pending().await,
            },
        }
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::{Semaphore, oneshot};
    use tokio::task::JoinSet;

    use super::*;

    #[tokio::test]
    async fn the_component_that_was_not_used_for_longest_is_evicted() {
        let cache = ComponentCache::new(2);
        let [first, second, third] =
            ["first", "second", "third"].map(|it| Digest::of(it.as_bytes()));
        let load = async |digest| {
            let loaded = cache.get_or_load(digest, async { Ok::<_, ()>(()) }).await;
            assert_eq!(loaded, Ok(()));
        };
        load(first).await;
        load(second).await;
        assert_eq!(cache.get(first), Some(()));
        load(third).await;
        assert_eq!(cache.get(second), None, "the first was used after it");
        // Whoever would load it uses it, too.
        load(first).await;
        load(second).await;
        assert_eq!(cache.get(third), None, "the first was used after it");
        assert_eq!(cache.get(first), Some(()));
    }

    #[tokio::test]
    async fn what_many_wait_for_is_loaded_once() {
        let (cache, digest) = (ComponentCache::new(1), Digest::of(b"component"));
        let (loads, compiled) = (Arc::<AtomicUsize>::default(), Arc::new(Semaphore::new(0)));
        let mut waiting = JoinSet::new();
        for _ in 0..100 {
            let (cache, loads, compiled) =
                (cache.clone(), Arc::clone(&loads), Arc::clone(&compiled));
            waiting.spawn(async move {
                let load = async move {
                    let number = loads.fetch_add(1, Ordering::SeqCst);
                    let _compiled = compiled.acquire().await;
                    Ok::<_, ()>(number)
                };
                cache.get_or_load(digest, load).await
            });
        }
        while loads.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        compiled.add_permits(1);
        let loaded = waiting.join_all().await;
        assert_eq!(loaded, [Ok(0); 100]);
        assert_eq!(loads.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn what_a_caller_that_left_began_to_load_is_not_loaded_again() {
        let (cache, digest) = (ComponentCache::new(1), Digest::of(b"component"));
        let (finish, finished) = oneshot::channel();
        tokio::select! {
            biased;
            loaded = cache.get_or_load(digest, async { finished.await.map_err(drop) }) => {
                panic!("loaded too early: {loaded:?}");
            }
            () = std::future::ready(()) => {}
        }
        finish.send(1).unwrap();
        let again = cache.get_or_load(digest, async { Err(()) }).await;
        assert_eq!(again, Ok(1));
        assert_eq!(cache.get(digest), Some(1));
    }

    #[tokio::test]
    async fn what_could_not_be_loaded_is_loaded_again() {
        let (cache, digest) = (ComponentCache::new(1), Digest::of(b"component"));
        let failed = cache.get_or_load(digest, async { Err(()) }).await;
        assert_eq!(failed, Err(()));
        assert_eq!(cache.get(digest), None);
        let again = cache.get_or_load(digest, async { Ok::<_, ()>(1) }).await;
        assert_eq!(again, Ok(1));
    }
}
