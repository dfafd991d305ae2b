//! Shares readings of counters between callers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hotswap_core::{Environment, ModuleName, NodeError, NodeId, NodeReading};
use tokio::time::Instant;

/// With the environment: that a node is not read for its old one says nothing to its new one.
type Key = (Environment, NodeId, ModuleName);
type ReadingResult = Result<NodeReading, NodeError>;
/// Locked by the caller that reads from the node. The others wait for the lock and then find
/// the result.
type Slot = Arc<tokio::sync::Mutex<Option<(Instant, ReadingResult)>>>;

/// Below this number of slots, removing stale ones gains nothing.
const MIN_SWEEP_SIZE: usize = 1024;

/// Caches readings of counters, so that each is read once, however many soaks want it.
/// Failures are cached too, so that callers do not wait for a hanging node one after the
/// other.
#[derive(Debug)]
pub(super) struct ReadingCache {
    max_age: Duration,
    slots: Mutex<Slots>,
}

#[derive(Debug)]
struct Slots {
    by_key: HashMap<Key, Slot>,
    /// Number of slots at which the stale ones are removed.
    sweep_size: usize,
}

impl ReadingCache {
    pub(super) fn new(max_age: Duration) -> Self {
        let slots = Slots {
            by_key: HashMap::new(),
            sweep_size: MIN_SWEEP_SIZE,
        };
        Self {
            max_age,
            slots: Mutex::new(slots),
        }
    }

    /// Returns the cached result, or the result of `read` if the cached one is missing or too old.
    ///
    /// Cancel safe: if the caller that reads is cancelled, the next one in line reads.
    pub(super) async fn get_or_read(
        &self,
        key: Key,
        read: impl Future<Output = ReadingResult>,
    ) -> ReadingResult {
        let slot = self.slot(key);
        let mut cached = slot.lock().await;
        if let Some((at, result)) = &*cached
            && at.elapsed() < self.max_age
        {
            return result.clone();
        }
        let result = read.await;
        *cached = Some((Instant::now(), result.clone()));
        result
    }

    fn slot(&self, key: Key) -> Slot {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.by_key.len() >= slots.sweep_size && !slots.by_key.contains_key(&key) {
            slots.by_key.retain(|_, slot| self.is_needed(slot));
            // Doubling keeps the cost of sweeps proportional to the number of new slots.
            slots.sweep_size = (slots.by_key.len() * 2).max(MIN_SWEEP_SIZE);
        }
        Arc::clone(slots.by_key.entry(key).or_default())
    }

    fn is_needed(&self, slot: &Slot) -> bool {
        // The map holds one reference; any other belongs to a caller.
        let in_use = Arc::strong_count(slot) > 1;
        in_use
            || slot.try_lock().is_ok_and(|cached| {
                cached
                    .as_ref()
                    .is_some_and(|(at, _)| at.elapsed() < self.max_age)
            })
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::join_all;
    use futures_util::poll;
    use hotswap_core::Timestamp;

    use super::*;

    fn key(number: usize) -> Key {
        let id = format!("node-{number}").parse().expect("a node id");
        let environment = "production".parse().expect("an environment");
        (environment, id, "shop".parse().expect("a module name"))
    }

    fn reading() -> ReadingResult {
        Ok(NodeReading {
            node: key(0).1,
            boot: "first".to_owned(),
            at: Timestamp::default(),
            cpu_millis: 0,
            starts: None,
            traffic: None,
            versions: Vec::new(),
        })
    }

    /// Counts the read, and yields so that other callers start to wait.
    async fn count_and_return(reads: &AtomicUsize, result: ReadingResult) -> ReadingResult {
        reads.fetch_add(1, Ordering::Relaxed);
        tokio::task::yield_now().await;
        result
    }

    const ONE_HOUR: Duration = Duration::from_secs(3600);

    #[tokio::test]
    async fn a_thousand_callers_share_one_read() {
        let failed = || Err(NodeError::Unreachable("it hangs".to_owned()));
        for result in [reading(), failed()] {
            let (cache, reads) = (ReadingCache::new(ONE_HOUR), AtomicUsize::new(0));
            for _ in 0..2 {
                let all = (0..1000)
                    .map(|_| cache.get_or_read(key(0), count_and_return(&reads, result.clone())));
                assert!(join_all(all).await.iter().all(|found| *found == result));
            }
            assert_eq!(reads.load(Ordering::Relaxed), 1);
            let other = cache
                .get_or_read(key(1), count_and_return(&reads, reading()))
                .await;
            assert!(other.is_ok(), "each node is read by itself");
            assert_eq!(reads.load(Ordering::Relaxed), 2);
        }
    }

    #[tokio::test]
    async fn a_stale_reading_is_read_again() {
        let (cache, reads) = (ReadingCache::new(Duration::ZERO), AtomicUsize::new(0));
        for times in 1..=3 {
            cache
                .get_or_read(key(0), count_and_return(&reads, reading()))
                .await
                .ok();
            assert_eq!(reads.load(Ordering::Relaxed), times);
        }
    }

    #[tokio::test]
    async fn if_the_reading_caller_is_cancelled_the_next_one_reads() {
        let (cache, reads) = (ReadingCache::new(ONE_HOUR), AtomicUsize::new(0));
        let mut cancelled = Box::pin(cache.get_or_read(key(0), pending()));
        assert!(poll!(&mut cancelled).is_pending());
        let mut waiting = Box::pin(cache.get_or_read(key(0), count_and_return(&reads, reading())));
        assert!(poll!(&mut waiting).is_pending());
        assert_eq!(reads.load(Ordering::Relaxed), 0, "it waits for the first");
        drop(cancelled);
        assert!(waiting.await.is_ok());
        assert_eq!(reads.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn stale_slots_are_removed() {
        let cache = ReadingCache::new(Duration::ZERO);
        for number in 0..4 * MIN_SWEEP_SIZE {
            cache
                .get_or_read(key(number), async { reading() })
                .await
                .ok();
        }
        let size = cache.slots.lock().expect("not poisoned").by_key.len();
        assert!(size <= MIN_SWEEP_SIZE, "{size}");
    }
}
