use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use tokio::sync::Notify;

/// Lets a number of requests in at the same time. Takes no lock while there is room.
#[derive(Debug)]
pub(crate) struct Gate {
    limit: u32,
    inside: AtomicU32,
    waiting: AtomicU32,
    left: Notify,
}

/// A request that was let in; it leaves when this is dropped.
#[derive(Debug)]
pub(crate) struct Pass(Arc<Gate>);

impl Gate {
    /// For `limit` requests.
    pub(crate) fn new(limit: u32) -> Arc<Self> {
        Arc::new(Self {
            limit,
            inside: AtomicU32::new(0),
            waiting: AtomicU32::new(0),
            left: Notify::new(),
        })
    }

    /// Waits for room at most `patience`; `None` where there was none. Safe to cancel.
    pub(crate) async fn enter(self: &Arc<Self>, patience: Duration) -> Option<Pass> {
        if self.waiting.load(SeqCst) == 0
            && let Some(pass) = self.try_enter()
        {
            return Some(pass);
        }
        self.wait(patience).await
    }

    fn try_enter(self: &Arc<Self>) -> Option<Pass> {
        let more = |inside| (inside < self.limit).then_some(inside + 1);
        self.inside
            .fetch_update(SeqCst, SeqCst, more)
            .is_ok()
            .then(|| Pass(self.clone()))
    }

    async fn wait(self: &Arc<Self>, patience: Duration) -> Option<Pass> {
        let _counted = Waiting::new(&self.waiting);
        let until = tokio::time::Instant::now() + patience;
        loop {
            // Listens before it looks, so that nobody leaves unnoticed in between.
            let left = self.left.notified();
            if let Some(pass) = self.try_enter() {
                // One notice may stand for several that left: pass it on.
                self.left.notify_one();
                return Some(pass);
            }
            tokio::time::timeout_at(until, left).await.ok()?;
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.0.inside.fetch_sub(1, SeqCst);
        if self.0.waiting.load(SeqCst) > 0 {
            self.0.left.notify_one();
        }
    }
}

/// Counts who waits, until it is dropped.
struct Waiting<'a>(&'a AtomicU32);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicU32) -> Self {
        count.fetch_add(1, SeqCst);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(5);
    const LATE: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn no_more_than_the_limit_are_inside() {
        let gate = Gate::new(2);
        let first = gate.enter(SOON).await.unwrap();
        let _second = gate.enter(SOON).await.unwrap();
        assert!(gate.enter(SOON).await.is_none());
        drop(first);
        assert!(gate.enter(SOON).await.is_some());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn everyone_who_waits_gets_in() {
        let gate = Gate::new(3);
        let all: Vec<_> = (0..500)
            .map(|_| {
                let gate = gate.clone();
                tokio::spawn(async move {
                    let pass = gate.enter(LATE).await;
                    assert!(gate.inside.load(SeqCst) <= 3);
                    tokio::task::yield_now().await;
                    pass.is_some()
                })
            })
            .collect();
        for one in all {
            assert!(one.await.unwrap());
        }
        assert_eq!(gate.inside.load(SeqCst), 0);
    }
}
