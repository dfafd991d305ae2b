use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hotswap_core::Fence;

/// A fence that the store has handed out, or a higher one. Saves asking it at each heartbeat. What
/// it has handed out in another epoch it may have lost.
#[derive(Debug, Default)]
pub(crate) struct KnownFence(Mutex<(Arc<str>, Fence)>);

impl KnownFence {
    /// Whether the store has handed out this fence or a higher one in this epoch.
    pub(crate) fn is_known(&self, epoch: &str, fence: Fence) -> bool {
        let known = self.lock();
        *known.0 == *epoch && fence <= known.1
    }

    pub(crate) fn put(&self, epoch: Arc<str>, fence: Fence) {
        let mut known = self.lock();
        if known.0 != epoch {
            *known = (epoch, fence);
        }
        known.1 = known.1.max(fence);
    }

    fn lock(&self) -> MutexGuard<'_, (Arc<str>, Fence)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fence_is_known_in_its_epoch_alone() {
        let known = KnownFence::default();
        assert!(!known.is_known("one", Fence(7)));
        known.put("one".into(), Fence(7));
        known.put("one".into(), Fence(5));
        assert!(known.is_known("one", Fence(7)));
        assert!(!known.is_known("one", Fence(8)));
        assert!(!known.is_known("two", Fence(7)));
        known.put("two".into(), Fence(3));
        assert!(known.is_known("two", Fence(3)));
        assert!(!known.is_known("one", Fence(7)));
    }
}
