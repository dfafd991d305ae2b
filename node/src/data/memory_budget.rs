use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use tokio::sync::Notify;

/// The linear memory of all instances of a node, so that a node with many requests refuses some
/// instead of being killed by the system, with all of them.
#[derive(Debug)]
pub(crate) struct MemoryBudget {
    /// `None` for no limit. Nothing is counted then.
    limit: Option<usize>,
    used: AtomicUsize,
    waiting: AtomicU32,
    /// Notified when memory is given back while others wait.
    released: Notify,
}

/// The memory of one instance. Dropping it gives the memory back.
#[derive(Debug)]
pub(crate) struct MemoryGrant {
    budget: Arc<MemoryBudget>,
    bytes: usize,
}

impl MemoryBudget {
    /// A budget of `limit` bytes.
    pub(crate) fn new(limit: Option<usize>) -> Arc<Self> {
        Arc::new(Self {
            limit,
            used: AtomicUsize::new(0),
            waiting: AtomicU32::new(0),
            released: Notify::new(),
        })
    }

    /// Memory for an instance that is expected to need this much, if that is left. One that needs
    /// all of it and more waits for all of it.
    pub(crate) fn grant_now(self: &Arc<Self>, bytes: usize) -> Option<MemoryGrant> {
        let mut grant = MemoryGrant {
            budget: Arc::clone(self),
            bytes: 0,
        };
        let bytes = self.limit.map_or(0, |limit| bytes.min(limit));
        grant.grow_to(bytes).then_some(grant)
    }

    /// Waits for memory, at most `timeout`. `None` if it is not left then. Cancel safe.
    pub(crate) async fn grant(
        self: &Arc<Self>,
        bytes: usize,
        timeout: Duration,
    ) -> Option<MemoryGrant> {
        let _waiting = WaitingGuard::new(&self.waiting);
        let deadline = tokio::time::Instant::now() + timeout;
        loop {
            // Subscribes before it checks, so that no release in between is missed.
            let released = self.released.notified();
            if let Some(grant) = self.grant_now(bytes) {
                // What was given back may be enough for others, too.
                self.released.notify_one();
                return Some(grant);
            }
            tokio::time::timeout_at(deadline, released).await.ok()?;
        }
    }

    fn reserve(&self, bytes: usize) -> bool {
        let Some(limit) = self.limit else {
            return true;
        };
        let increment = |used: usize| used.checked_add(bytes).filter(|used| *used <= limit);
        self.used.fetch_update(SeqCst, SeqCst, increment).is_ok()
    }
}

impl MemoryGrant {
    /// One of no node's budget, which grows as it likes.
    pub(crate) fn uncounted() -> Self {
        Self {
            budget: MemoryBudget::new(None),
            bytes: 0,
        }
    }

    /// Makes it as large as this, if that much is left. It never shrinks.
    pub(crate) fn grow_to(&mut self, bytes: usize) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        if more == 0 {
            return true;
        }
        let is_left = self.budget.reserve(more);
        if is_left {
            self.bytes = bytes;
        }
        is_left
    }
}

impl Drop for MemoryGrant {
    fn drop(&mut self) {
        let budget = &self.budget;
        if budget.limit.is_none() || self.bytes == 0 {
            return;
        }
        budget.used.fetch_sub(self.bytes, SeqCst);
        if budget.waiting.load(SeqCst) > 0 {
            budget.released.notify_one();
        }
    }
}

/// Counts one who waits, until it is dropped.
struct WaitingGuard<'a>(&'a AtomicU32);

impl<'a> WaitingGuard<'a> {
    fn new(waiting: &'a AtomicU32) -> Self {
        waiting.fetch_add(1, SeqCst);
        Self(waiting)
    }
}

impl Drop for WaitingGuard<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_granted_is_within_the_limit_and_comes_back() {
        let budget = MemoryBudget::new(Some(100));
        let mut one = budget.grant_now(60).unwrap();
        assert!(budget.grant_now(41).is_none());
        assert!(one.grow_to(50), "it has more");
        assert!(one.grow_to(80) && !one.grow_to(101));
        let other = budget.grant_now(20).unwrap();
        assert!(budget.grant_now(1).is_none());
        drop((one, other));
        assert!(budget.grant_now(1000).is_some(), "all of it");
        assert_eq!(budget.used.load(SeqCst), 0);
    }

    #[test]
    fn without_a_limit_nothing_is_counted() {
        let budget = MemoryBudget::new(None);
        let mut grant = budget.grant_now(1 << 40).unwrap();
        assert!(grant.grow_to(usize::MAX));
        assert_eq!(budget.used.load(SeqCst), 0);
        drop(grant);
        assert_eq!(budget.used.load(SeqCst), 0);
    }

    #[tokio::test]
    async fn who_waits_gets_what_is_given_back() {
        let budget = MemoryBudget::new(Some(100));
        let first = budget.grant_now(100).unwrap();
        let brief = Duration::from_millis(1);
        assert!(budget.grant(1, brief).await.is_none());
        let waiting: Vec<_> = (0..2)
            .map(|_| {
                let budget = Arc::clone(&budget);
                tokio::spawn(async move { budget.grant(50, Duration::from_secs(60)).await })
            })
            .collect();
        while budget.waiting.load(SeqCst) < 2 {
            tokio::task::yield_now().await;
        }
        drop(first);
        for waiting in waiting {
            assert!(waiting.await.unwrap().is_some());
        }
    }
}
