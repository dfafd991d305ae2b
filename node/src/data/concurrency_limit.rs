use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use tokio::sync::Notify;

/// Limits how many requests run at the same time. Takes no lock while permits are free.
#[derive(Debug)]
pub(crate) struct ConcurrencyLimit {
    limit: u32,
    running: AtomicU32,
    waiting: AtomicU32,
    /// Notified when a permit is released while others wait.
    released: Notify,
}

/// The right of one request to run. Dropping it releases the right.
#[derive(Debug)]
pub(crate) struct Permit(Arc<ConcurrencyLimit>);

impl ConcurrencyLimit {
    /// Allows `limit` requests at the same time.
    pub(crate) fn new(limit: u32) -> Arc<Self> {
        Arc::new(Self {
            limit,
            running: AtomicU32::new(0),
            waiting: AtomicU32::new(0),
            released: Notify::new(),
        })
    }

    /// A permit, if one is free and nobody waits for it.
    pub(crate) fn acquire_now(self: &Arc<Self>) -> Option<Permit> {
        if self.waiting.load(SeqCst) > 0 {
            return None;
        }
        self.try_acquire()
    }

    fn try_acquire(self: &Arc<Self>) -> Option<Permit> {
        let increment = |running| (running < self.limit).then_some(running + 1);
        self.running
            .fetch_update(SeqCst, SeqCst, increment)
            .is_ok()
            .then(|| Permit(self.clone()))
    }

    /// Waits for a permit, at most `timeout`. `None` if none became free. Cancel safe.
    pub(crate) async fn acquire(self: &Arc<Self>, timeout: Duration) -> Option<Permit> {
        let _waiting = WaitingGuard::new(&self.waiting);
        let deadline = tokio::time::Instant::now() + timeout;
        loop {
            // Subscribes before it checks, so that no release in between is missed.
            let released = self.released.notified();
            if let Some(permit) = self.try_acquire() {
                // One notification may stand for several releases: pass it on.
                self.released.notify_one();
                return Some(permit);
            }
            tokio::time::timeout_at(deadline, released).await.ok()?;
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, SeqCst);
        if self.0.waiting.load(SeqCst) > 0 {
            self.0.released.notify_one();
        }
    }
}

/// Counts a waiting request until it is dropped.
struct WaitingGuard<'a>(&'a AtomicU32);

impl<'a> WaitingGuard<'a> {
    fn new(count: &'a AtomicU32) -> Self {
        count.fetch_add(1, SeqCst);
        Self(count)
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

    const SHORT: Duration = Duration::from_millis(5);
    const LONG: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn requests_above_the_limit_get_no_permit() {
        let limit = ConcurrencyLimit::new(2);
        let first = limit.acquire(SHORT).await.unwrap();
        let _second = limit.acquire(SHORT).await.unwrap();
        assert!(limit.acquire(SHORT).await.is_none());
        drop(first);
        assert!(limit.acquire(SHORT).await.is_some());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn every_waiting_request_gets_a_permit() {
        let limit = ConcurrencyLimit::new(3);
        let requests: Vec<_> = (0..500)
            .map(|_| {
                let limit = limit.clone();
                tokio::spawn(async move {
                    let permit = limit.acquire(LONG).await;
                    assert!(limit.running.load(SeqCst) <= 3);
                    tokio::task::yield_now().await;
                    permit.is_some()
                })
            })
            .collect();
        for request in requests {
            assert!(request.await.unwrap());
        }
        assert_eq!(limit.running.load(SeqCst), 0);
    }
}
