//! Metrics of nodes, where several engines share a store: one of them reads the nodes for all.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hotswap_core::{Environment, new_uuid};
use hotswap_store::EngineMessages;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;
use uuid::Uuid;

/// After so many intervals without a sample the other engine is taken for gone.
const MAX_SILENT_INTERVALS: u32 = 3;

/// The largest message. A larger sample is not shared: each engine then reads for itself.
const MAX_BYTES: usize = 256 * 1024;

#[derive(Serialize, Deserialize)]
struct Message<V> {
    /// The engine that reads the nodes.
    reader: Uuid,
    environment: Environment,
    /// `None`: it reads them no more.
    sample: Option<V>,
}

/// Knows which environments another engine reads.
///
/// Of all engines with subscribers to an environment, the one that has run longest reads. Nobody
/// elects it: an engine stops reading when it hears a sample from an older one, and begins again
/// when that falls silent. Until they have heard of each other, both read, which does no harm.
pub(super) struct SharedSamples {
    /// Of this engine. Ids of older engines are lower.
    id: Uuid,
    engines: Option<Arc<dyn EngineMessages>>,
    readers: Mutex<HashMap<Environment, Reader>>,
}

struct Reader {
    id: Uuid,
    /// Until then its next sample must arrive.
    until: Instant,
}

impl SharedSamples {
    /// `engines` is `None` where no other engine can share the store.
    pub fn new(engines: Option<Arc<dyn EngineMessages>>) -> Self {
        Self {
            id: new_uuid(),
            engines,
            readers: Mutex::default(),
        }
    }

    /// Whether another engine reads the nodes of this environment.
    pub fn are_read_elsewhere(&self, environment: &Environment) -> bool {
        let readers = self.readers();
        let reader = readers.get(environment);
        reader.is_some_and(|reader| Instant::now() < reader.until)
    }

    /// Shows a sample to the subscribers of this engine, then gives it to the other engines. So no
    /// subscriber waits for the store, and none elsewhere sees it sooner.
    pub async fn share(&self, environment: &Environment, sample: Value, show: impl FnOnce(Value)) {
        show(sample.clone());
        self.publish(environment, Some(&sample)).await;
    }

    /// Tells the other engines that this one reads no more.
    pub async fn end(&self, environment: &Environment) {
        self.publish(environment, None).await;
    }

    async fn publish(&self, environment: &Environment, sample: Option<&Value>) {
        let Some(engines) = &self.engines else {
            return;
        };
        let message = Message {
            reader: self.id,
            environment: environment.clone(),
            sample,
        };
        let Ok(message) = serde_json::to_vec(&message) else {
            return;
        };
        if message.len() > MAX_BYTES {
            tracing::debug!(%environment, "the metrics are too large for the other engines");
            return;
        }
        if let Err(error) = engines.publish(&message).await {
            let error = &*error;
            tracing::debug!(error, "cannot give metrics to the other engines");
        }
    }

    /// Calls `show` with the samples of the engines that read for this one. Runs until dropped.
    /// `interval` is the time between two samples.
    pub async fn receive(&self, interval: Duration, show: impl Fn(&Environment, Value)) {
        let Some(engines) = &self.engines else {
            return;
        };
        let mut received = engines.subscribe();
        loop {
            match received.recv().await {
                Ok(message) => {
                    if let Some((environment, sample)) = self.accept(&message, interval) {
                        show(&environment, sample);
                    }
                }
                // The next sample tells what happened since.
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            }
        }
    }

    /// The sample of a message, if its engine reads for this one.
    fn accept(&self, message: &[u8], interval: Duration) -> Option<(Environment, Value)> {
        let Message::<Value> {
            reader: id,
            environment,
            sample,
        } = match serde_json::from_slice(message) {
            Ok(message) => message,
            // A newer engine may have written it.
            Err(error) => {
                tracing::debug!(%error, "a message of another engine cannot be read");
                return None;
            }
        };
        let now = Instant::now();
        let mut readers = self.readers();
        readers.retain(|_, reader| now < reader.until);
        let reader = readers.get(&environment);
        if id > self.id || reader.is_some_and(|reader| reader.id < id) {
            return None;
        }
        let Some(sample) = sample else {
            readers.remove(&environment);
            return None;
        };
        // Its configuration may have a longer interval.
        let theirs = sample.get("intervalMs").and_then(Value::as_u64);
        let theirs = Duration::from_millis(theirs.unwrap_or(0));
        let until = now.checked_add(interval.max(theirs).saturating_mul(MAX_SILENT_INTERVALS))?;
        readers.insert(environment.clone(), Reader { id, until });
        Some((environment, sample))
    }

    fn readers(&self) -> MutexGuard<'_, HashMap<Environment, Reader>> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use hotswap_store::CatalogueError;
    use serde_json::json;
    use tokio::sync::{broadcast, watch};
    use tokio::time::advance;

    use super::*;

    const INTERVAL: Duration = Duration::from_secs(2);

    /// Keeps what was published.
    struct Channel(broadcast::Sender<Arc<[u8]>>);

    #[async_trait]
    impl EngineMessages for Channel {
        async fn publish(&self, message: &[u8]) -> Result<(), CatalogueError> {
            let _ = self.0.send(message.into());
            Ok(())
        }

        fn subscribe(&self) -> broadcast::Receiver<Arc<[u8]>> {
            self.0.subscribe()
        }

        fn echoes(&self) -> watch::Receiver<u64> {
            watch::Sender::new(0).subscribe()
        }
    }

    struct TestEngine {
        samples: SharedSamples,
        published: broadcast::Receiver<Arc<[u8]>>,
    }

    impl TestEngine {
        /// An engine with a higher id than those before.
        fn start() -> Self {
            let channel = Channel(broadcast::Sender::new(8));
            let published = channel.subscribe();
            Self {
                samples: SharedSamples::new(Some(Arc::new(channel))),
                published,
            }
        }

        async fn message(&mut self, sample: Option<&Value>) -> Arc<[u8]> {
            self.samples.publish(&production(), sample).await;
            self.published.try_recv().unwrap()
        }
    }

    fn production() -> Environment {
        "production".parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_engine_reads_until_it_falls_silent() {
        let (mut oldest, mut older, young) = (
            TestEngine::start(),
            TestEngine::start(),
            TestEngine::start(),
        );
        let sample = json!({ "intervalMs": 2000, "nodes": 3 });
        let hear = |message: &[u8]| young.samples.accept(message, INTERVAL).map(|it| it.1);
        let reads = || !young.samples.are_read_elsewhere(&production());
        assert!(reads(), "it has heard of nobody");
        assert_eq!(
            hear(&older.message(Some(&sample)).await),
            Some(sample.clone())
        );
        assert!(!reads());
        assert_eq!(
            hear(&oldest.message(Some(&sample)).await),
            Some(sample.clone())
        );
        let message = older.message(Some(&sample)).await;
        assert_eq!(hear(&message), None, "it would be shown twice");
        assert_eq!(
            oldest.samples.accept(&message, INTERVAL),
            None,
            "the oldest reads for itself"
        );
        advance(INTERVAL * (MAX_SILENT_INTERVALS - 1)).await;
        assert!(!reads(), "a sample may be late");
        advance(INTERVAL).await;
        assert!(reads(), "it is gone");
        assert_eq!(hear(&message), Some(sample), "the next one is heard");
        assert_eq!(hear(&older.message(None).await), None);
        assert!(reads(), "it has said that it reads no more");
        assert_eq!(hear(b"not JSON"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_longer_interval_of_the_other_engine_is_waited_for() {
        let (mut older, young) = (TestEngine::start(), TestEngine::start());
        let message = older.message(Some(&json!({ "intervalMs": 30_000 }))).await;
        assert!(young.samples.accept(&message, INTERVAL).is_some());
        advance(Duration::from_secs(89)).await;
        assert!(young.samples.are_read_elsewhere(&production()));
        advance(Duration::from_secs(1)).await;
        assert!(!young.samples.are_read_elsewhere(&production()));
    }

    /// Takes no message while it is locked.
    struct Slow(Arc<tokio::sync::Mutex<usize>>);

    #[async_trait]
    impl EngineMessages for Slow {
        async fn publish(&self, _: &[u8]) -> Result<(), CatalogueError> {
            *self.0.lock().await += 1;
            Ok(())
        }

        fn subscribe(&self) -> broadcast::Receiver<Arc<[u8]>> {
            unreachable!("nothing is received")
        }

        fn echoes(&self) -> watch::Receiver<u64> {
            unreachable!("nothing is received")
        }
    }

    #[tokio::test]
    async fn subscribers_of_this_engine_do_not_wait_for_the_store() {
        let published = Arc::<tokio::sync::Mutex<usize>>::default();
        let samples = SharedSamples::new(Some(Arc::new(Slow(Arc::clone(&published)))));
        let locked = published.lock().await;
        let shown = std::cell::Cell::new(None);
        let environment = production();
        let sharing = samples.share(&environment, json!(7), |sample| shown.set(Some(sample)));
        let mut sharing = std::pin::pin!(sharing);
        assert!(futures_util::poll!(&mut sharing).is_pending());
        assert_eq!(shown.take(), Some(json!(7)));
        drop(locked);
        sharing.await;
        assert_eq!(*published.lock().await, 1);
    }

    #[tokio::test]
    async fn what_is_too_large_is_not_shared() {
        let mut engine = TestEngine::start();
        let large = json!("x".repeat(MAX_BYTES));
        engine.samples.publish(&production(), Some(&large)).await;
        assert!(engine.published.try_recv().is_err());
    }
}
