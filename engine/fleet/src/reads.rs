use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hotswap_core::{ModuleName, NodeError, NodeId, NodeReading};
use tokio::time::Instant;

type Key = (NodeId, ModuleName);
type Answer = Result<NodeReading, NodeError>;
/// Held by whoever asks the node; the others wait for it, and find the answer.
type Slot = Arc<tokio::sync::Mutex<Option<(Instant, Answer)>>>;

/// Readings of counters, each asked for once, however many soaks want it. A failure is
/// shared as well, so that a node that hangs is not waited for in turn.
#[derive(Debug)]
pub(crate) struct Reads {
    freshness: Duration,
    slots: Mutex<Slots>,
}

#[derive(Debug)]
struct Slots {
    held: HashMap<Key, Slot>,
    /// How many may be held before the stale ones are dropped.
    room: usize,
}

/// Below this many a sweep gains nothing.
const LEAST_ROOM: usize = 1024;

impl Reads {
    pub(crate) fn new(freshness: Duration) -> Self {
        let slots = Slots {
            held: HashMap::new(),
            room: LEAST_ROOM,
        };
        Self {
            freshness,
            slots: Mutex::new(slots),
        }
    }

    /// The answer at hand while it is fresh, or else that of `ask`. Where the caller that
    /// asks is cancelled, the next one in line asks.
    pub(crate) async fn get(&self, key: Key, ask: impl Future<Output = Answer>) -> Answer {
        let slot = self.slot(key);
        let mut held = slot.lock().await;
        if let Some((at, answer)) = &*held
            && at.elapsed() < self.freshness
        {
            return answer.clone();
        }
        let answer = ask.await;
        *held = Some((Instant::now(), answer.clone()));
        answer
    }

    fn slot(&self, key: Key) -> Slot {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.held.len() >= slots.room && !slots.held.contains_key(&key) {
            slots.held.retain(|_, slot| self.is_wanted(slot));
            // Doubling keeps the sweeps' cost in proportion to what is added.
            slots.room = (slots.held.len() * 2).max(LEAST_ROOM);
        }
        Arc::clone(slots.held.entry(key).or_default())
    }

    fn is_wanted(&self, slot: &Slot) -> bool {
        // The map holds one; any other is with a caller.
        let in_use = Arc::strong_count(slot) > 1;
        in_use
            || slot.try_lock().is_ok_and(|held| {
                held.as_ref()
                    .is_some_and(|(at, _)| at.elapsed() < self.freshness)
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
        (id, "shop".parse().expect("a module name"))
    }

    fn answer() -> Answer {
        Ok(NodeReading {
            node: key(0).0,
            boot: "first".to_owned(),
            at: Timestamp::default(),
            cpu_millis: 0,
            versions: Vec::new(),
        })
    }

    /// Lets the others come to wait before it answers.
    async fn slowly(asked: &AtomicUsize, answer: Answer) -> Answer {
        asked.fetch_add(1, Ordering::Relaxed);
        tokio::task::yield_now().await;
        answer
    }

    const FOR_LONG: Duration = Duration::from_secs(3600);

    #[tokio::test]
    async fn a_thousand_that_want_the_same_ask_once() {
        let failed = || Err(NodeError::Unreachable("it hangs".to_owned()));
        for told in [answer(), failed()] {
            let (reads, asked) = (Reads::new(FOR_LONG), AtomicUsize::new(0));
            for _ in 0..2 {
                let all = (0..1000).map(|_| reads.get(key(0), slowly(&asked, told.clone())));
                assert!(join_all(all).await.iter().all(|found| *found == told));
            }
            assert_eq!(asked.load(Ordering::Relaxed), 1);
            let other = reads.get(key(1), slowly(&asked, answer())).await;
            assert!(other.is_ok(), "another node is another question");
            assert_eq!(asked.load(Ordering::Relaxed), 2);
        }
    }

    #[tokio::test]
    async fn what_is_no_longer_fresh_is_asked_again() {
        let (reads, asked) = (Reads::new(Duration::ZERO), AtomicUsize::new(0));
        for times in 1..=3 {
            reads.get(key(0), slowly(&asked, answer())).await.ok();
            assert_eq!(asked.load(Ordering::Relaxed), times);
        }
    }

    #[tokio::test]
    async fn when_the_one_that_asks_gives_up_the_next_one_asks() {
        let (reads, asked) = (Reads::new(FOR_LONG), AtomicUsize::new(0));
        let mut impatient = Box::pin(reads.get(key(0), pending()));
        assert!(poll!(&mut impatient).is_pending());
        let mut patient = Box::pin(reads.get(key(0), slowly(&asked, answer())));
        assert!(poll!(&mut patient).is_pending());
        assert_eq!(asked.load(Ordering::Relaxed), 0, "it waits for the first");
        drop(impatient);
        assert!(patient.await.is_ok());
        assert_eq!(asked.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn what_is_stale_is_dropped() {
        let reads = Reads::new(Duration::ZERO);
        for number in 0..4 * LEAST_ROOM {
            reads.get(key(number), async { answer() }).await.ok();
        }
        let held = reads.slots.lock().expect("not poisoned").held.len();
        assert!(held <= LEAST_ROOM, "{held}");
    }
}
