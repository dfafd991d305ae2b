use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{FutureExt as _, StreamExt as _, stream};
use hotswap_common::Backoff;
use hotswap_core::{Clock, Environment, NodeId};
use tokio::sync::{Notify, mpsc, oneshot, watch};

use super::Discovery;
use super::backend::{Backend, Error, ErrorKind, Snapshot};
use super::instance::Instance;
use super::probe::{Liveness, Prober};
use super::state::{Condition, LastError, Outcomes, SourceState};
use super::view::{Applied, View};

/// How a registry is watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchOptions {
    /// How long a watch may wait for a change. After it the registry says what is there, so this
    /// is how long a change can be missed by a registry whose watch does not work.
    pub poll_interval: Duration,
    /// After which time a doubtful answer is asked for again. While lost instances answer, they are
    /// asked again after twice that time, then after twice that, and so on, up to a minute.
    pub confirm_after: Duration,
    /// The shortest time between two answers. A registry may tell of changes that are none, and
    /// without an end.
    pub min_interval: Duration,
    /// The shortest wait after a failure.
    pub min_retry: Duration,
    /// The longest wait after a failure, without its jitter.
    pub max_retry: Duration,
    /// The service whose instances are watched, for people.
    pub service: Option<String>,
    /// The environment of all instances. One that names another is none of this source's.
    pub environment: Option<Environment>,
}

impl Default for WatchOptions {
    fn default() -> Self {
        Self {
            poll_interval: Duration::from_secs(5 * 60),
            confirm_after: Duration::from_secs(5),
            min_interval: Duration::from_millis(100),
            min_retry: Duration::from_millis(500),
            max_retry: Duration::from_secs(30),
            service: None,
            environment: None,
        }
    }
}

/// A source that watches a registry. A handle: clones share everything.
#[derive(Clone)]
pub struct WatchedSource {
    inner: Arc<Inner>,
}

struct Inner {
    name: String,
    kind: String,
    clock: Arc<dyn Clock>,
    options: WatchOptions,
    prober: Option<Arc<dyn Prober>>,
    view: Mutex<View>,
    changes: watch::Sender<u64>,
    /// Something has changed that is not worth a change of its own.
    detail_changed: Notify,
    refreshes: mpsc::Sender<Refresh>,
    /// For [`WatchedSource::run`].
    refresh_requests: tokio::sync::Mutex<mpsc::Receiver<Refresh>>,
}

/// A source as those who follow it know it.
#[derive(PartialEq)]
struct Look {
    instances: Vec<Arc<Instance>>,
    error: Option<(ErrorKind, String)>,
    /// Without what changes all the time.
    state: SourceState,
}

/// Where the outcome of a refresh goes.
type Refresh = oneshot::Sender<Result<(), Error>>;

/// Refreshes that may wait. They are all answered by the next answer of the registry.
const MAX_REFRESHES: usize = 64;

/// Instances that are probed at the same time: a registry can lose more than this process may have
/// connections, and what cannot be asked would count as gone.
const PROBED: usize = 128;

/// The shortest time between two changes of nothing but details: a registry can fail with another
/// text each time, and each change is sent to everybody who follows the source.
const DETAIL_INTERVAL: Duration = Duration::from_secs(1);

impl WatchedSource {
    /// A source without a view, until [`Self::run`] runs.
    pub fn new(
        name: impl Into<String>,
        kind: impl Into<String>,
        clock: Arc<dyn Clock>,
        options: WatchOptions,
        prober: Option<Arc<dyn Prober>>,
    ) -> Self {
        let (refreshes, refresh_requests) = mpsc::channel(MAX_REFRESHES);
        let view = View::new(options.confirm_after);
        Self {
            inner: Arc::new(Inner {
                name: name.into(),
                kind: kind.into(),
                clock,
                options,
                prober,
                view: Mutex::new(view),
                changes: watch::Sender::new(0),
                detail_changed: Notify::new(),
                refreshes,
                refresh_requests: tokio::sync::Mutex::new(refresh_requests),
            }),
        }
    }

    /// Watches the registry. Never returns. After a failure it tries again, with back-off.
    ///
    /// Cancel safe: the view stays.
    pub async fn run(&self, backend: impl Backend) {
        tokio::join!(self.watch(backend), self.announce_details());
    }

    /// Never returns.
    async fn announce_details(&self) {
        let clock = &self.inner.clock;
        loop {
            // One that comes while this sleeps is announced after it.
            self.inner.detail_changed.notified().await;
            self.announce();
            clock.sleep_until(clock.instant() + DETAIL_INTERVAL).await;
        }
    }

    /// Never returns.
    async fn watch(&self, mut backend: impl Backend) {
        let mut requests = self.inner.refresh_requests.lock().await;
        let options = &self.inner.options;
        let mut retry = Backoff::new(options.min_retry, options.max_retry);
        let mut cursor = None;
        let mut waiting: Vec<Refresh> = Vec::new();
        loop {
            let started = self.inner.clock.instant();
            let patience = match self.view().confirm_due() {
                // What changes meanwhile is seen at once.
                Some(due) => due
                    .saturating_duration_since(started)
                    .min(options.poll_interval),
                None => options.poll_interval,
            };
            if patience.is_zero() {
                cursor = None;
            }
            let answer = tokio::select! {
                answer = ask(&mut backend, cursor.clone(), patience) => answer,
                // Only where no answer is due at once: then it is as good.
                Some(refresh) = requests.recv(), if cursor.is_some() => {
                    waiting.push(refresh);
                    cursor = None;
                    continue;
                }
            };
            let outcome = answer.as_ref().map(|_| ()).map_err(Clone::clone);
            let pause = match answer {
                Ok(snapshot) => {
                    let is_same = cursor.as_ref() == Some(&snapshot.cursor);
                    cursor = Some(snapshot.cursor.clone());
                    self.take(snapshot).await;
                    let expected = options.min_retry.min(patience);
                    if is_same && self.inner.clock.instant() < started + expected {
                        // It should have waited for a change.
                        retry.next_delay()
                    } else {
                        retry.reset();
                        let earliest = started + options.min_interval;
                        earliest.saturating_duration_since(self.inner.clock.instant())
                    }
                }
                Err(error) => {
                    self.note_failure(&error);
                    // With the cursor a registry that is back would wait for a change, and the
                    // source would be stale until then.
                    cursor = None;
                    retry.next_delay()
                }
            };
            for refresh in waiting.drain(..) {
                // Nobody may wait any more.
                let _ = refresh.send(outcome.clone());
            }
            if !pause.is_zero() {
                let until = self.inner.clock.instant() + pause;
                tokio::select! {
                    () = self.inner.clock.sleep_until(until) => {}
                    Some(refresh) = requests.recv() => {
                        waiting.push(refresh);
                        cursor = None;
                    }
                }
            }
        }
    }

    async fn take(&self, mut snapshot: Snapshot) {
        if let Some(environment) = &self.inner.options.environment {
            snapshot.limit_to(environment);
        }
        snapshot.drop_repeated();
        let before = self.look();
        let now = self.inner.clock.instant();
        let applied = self.view().apply(snapshot, now);
        if let Applied::Held(lost) | Applied::Confirmed(lost) = applied {
            let said = self.ask(lost).await;
            let now = self.inner.clock.instant();
            self.view().settle(&said, now);
        }
        self.announce_change(&before);
        let condition = self.view().condition();
        self.log_change(before.state.condition, condition);
    }

    async fn ask(&self, lost: Vec<Arc<Instance>>) -> BTreeMap<NodeId, Liveness> {
        let Some(prober) = &self.inner.prober else {
            return BTreeMap::new();
        };
        let probes = lost.into_iter().map(|instance| {
            let prober = Arc::clone(prober);
            async move { (instance.id.clone(), prober.probe(&instance).await) }
        });
        stream::iter(probes)
            .buffer_unordered(PROBED)
            .collect()
            .await
    }

    /// What the followers of the source know of it.
    fn look(&self) -> Look {
        let view = self.view();
        // The age of a view, the time of an error and the counts are no changes.
        let mut state = view.state(self.inner.clock.instant());
        state.age = None;
        state.outcomes = Outcomes::default();
        let error = state.last_error.take();
        Look {
            instances: view.instances(),
            error: error.map(|error| (error.kind, error.message)),
            state,
        }
    }

    fn announce_change(&self, before: &Look) {
        let now = self.look();
        if before.instances != now.instances || before.state.condition != now.state.condition {
            self.announce();
        } else if *before != now {
            self.inner.detail_changed.notify_one();
        }
    }

    fn announce(&self) {
        self.inner.changes.send_modify(|count| *count += 1);
    }

    fn note_failure(&self, error: &Error) {
        let look = self.look();
        let before = look.state.condition;
        self.view().fail(LastError {
            kind: error.kind,
            message: error.message.clone(),
            at: self.inner.clock.now(),
        });
        self.announce_change(&look);
        let condition = self.view().condition();
        if before != condition || condition == Condition::Starting {
            let (source, kind) = (&*self.inner.name, error.kind);
            tracing::warn!(source, %kind, %error, "the registry does not answer, keeping its last view");
        }
    }

    fn log_change(&self, before: Condition, after: Condition) {
        if before == after {
            return;
        }
        let source = &*self.inner.name;
        let state = self.state();
        match after {
            Condition::Held => {
                let lost = state.held.map_or(0, |held| held.lost);
                tracing::warn!(
                    source,
                    lost,
                    instances = state.instances,
                    "the registry has lost most of its instances; they stay until it says so again and they do not answer"
                );
            }
            _ => tracing::info!(source, instances = state.instances, "the registry answers"),
        }
    }

    /// Ignores poisoning: no code that can panic runs under the lock.
    fn view(&self) -> MutexGuard<'_, View> {
        self.inner
            .view
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Discovery for WatchedSource {
    fn name(&self) -> &str {
        &self.inner.name
    }

    fn kind(&self) -> &str {
        &self.inner.kind
    }

    fn service(&self) -> Option<&str> {
        self.inner.options.service.as_deref()
    }

    fn instances(&self) -> Vec<Arc<Instance>> {
        self.view().instances()
    }

    fn instance(&self, id: &NodeId) -> Option<Arc<Instance>> {
        self.view().instance(id)
    }

    fn state(&self) -> SourceState {
        let now = self.inner.clock.instant();
        self.view().state(now)
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.inner.changes.subscribe()
    }

    async fn refresh(&self) -> Result<(), Error> {
        let (sender, outcome) = oneshot::channel();
        let stopped = |_| Error::new(ErrorKind::Unavailable, "the engine is stopping");
        // Where as many wait, the next answer is theirs, too.
        if let Err(mpsc::error::TrySendError::Closed(_)) = self.inner.refreshes.try_send(sender) {
            return Err(stopped(()));
        }
        match outcome.await {
            Ok(outcome) => outcome,
            Err(_) => Err(Error::new(
                ErrorKind::Unavailable,
                "too many refreshes wait already, or the engine is stopping",
            )),
        }
    }
}

/// Asks the registry. Where its backend panics, that is an error like others: the source would stay
/// as it is for ever, and nobody would know.
async fn ask(
    backend: &mut impl Backend,
    cursor: Option<String>,
    patience: Duration,
) -> Result<Snapshot, Error> {
    let answer = AssertUnwindSafe(backend.watch(cursor, patience));
    answer.catch_unwind().await.unwrap_or_else(|_| {
        let reason = "its backend panicked, which is a bug in the engine: please report it";
        Err(Error::new(ErrorKind::Unavailable, reason))
    })
}
