//! Asks the nodes that only a registry knows, so that they take part like those that report in.

mod asking;
mod engine_url;
mod target;

use std::collections::{BTreeMap, HashMap};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::select_all;
use hotswap_common::Backoff;
use hotswap_core::NodeId;
use hotswap_fleet::PollClient;
use hotswap_fleet::discovery::{Condition, Poll, Polled, SourceRules, Sources};
use tokio::sync::{Semaphore, watch};
use tokio::task::{AbortHandle, JoinSet};

use self::asking::Proof;
use self::target::Target;
use crate::Engine;

pub use self::engine_url::EngineUrl;

/// How the nodes are asked that only registries know.
pub struct PollConfig {
    /// The registries, in the order in which they count.
    pub sources: Sources,
    /// What was decided about them, by their names.
    pub rules: BTreeMap<String, SourceRules>,
    /// Asks them.
    pub client: Arc<PollClient>,
    /// What they are told as the URL of this engine.
    pub engine_url: EngineUrl,
    /// How often each is asked: as often as others send heartbeats.
    pub interval: Duration,
    /// Shows the outcome of it.
    pub polled: Polled,
}

/// Nodes that answer and are asked at the same time.
const ANSWERING: usize = 64;

/// Instances that prove who they are at the same time, for the first time or after they have
/// answered.
const NEW: usize = 32;

/// Instances that have not answered, and are tried again at the same time. Apart from the others:
/// many that are gone must not delay those that are there, nor those that come.
const SILENT: usize = 32;

/// After how many intervals, at most, an instance is tried again that is not there.
const MAX_RETRY: u32 = 5;

/// How long changes of the sources are gathered.
const GATHER: Duration = Duration::from_millis(20);

/// Asks the nodes that only registries know.
pub(crate) struct Polling {
    engine: Engine,
    config: PollConfig,
    answering: Semaphore,
    new: Semaphore,
    silent: Semaphore,
}

/// An instance that is asked.
struct Asked {
    target: watch::Sender<Arc<Target>>,
    task: AbortHandle,
}

/// The instances that are asked, and the tasks that ask them.
#[derive(Default)]
struct AllAsked {
    by_id: HashMap<NodeId, Asked>,
    tasks: JoinSet<()>,
}

impl Polling {
    pub(crate) fn new(engine: Engine, config: PollConfig) -> Arc<Self> {
        Arc::new(Self {
            engine,
            config,
            answering: Semaphore::new(ANSWERING),
            new: Semaphore::new(NEW),
            silent: Semaphore::new(SILENT),
        })
    }

    /// Follows the sources, and asks each instance that they find. Never returns. Cancel safe.
    pub(crate) async fn run(self: Arc<Self>) {
        let sources = self.config.sources.iter();
        let mut changes: Vec<_> = sources.map(|source| source.changes()).collect();
        if changes.is_empty() {
            return std::future::pending().await;
        }
        let mut asked = AllAsked::default();
        loop {
            for change in &mut changes {
                change.mark_unchanged();
            }
            self.update(&mut asked);
            let changed = changes.iter_mut().map(|change| change.changed().boxed());
            tokio::select! {
                (outcome, ..) = select_all(changed) => if outcome.is_err() {
                    // Its source is gone, with all that could be followed.
                    return std::future::pending().await;
                },
                // The instance may have been listed again while its last question ran.
                Some(_) = asked.tasks.join_next() => {}
            }
            self.sleep(GATHER).await;
            while asked.tasks.try_join_next().is_some() {}
        }
    }

    /// Begins to ask what is new. What no source lists any more is asked until it does not answer:
    /// registries forget, and lose registrations that were not renewed in time.
    fn update(self: &Arc<Self>, asked: &mut AllAsked) {
        let targets = self.targets();
        let AllAsked { by_id, tasks } = asked;
        by_id.retain(|id, one| {
            if !targets.contains_key(id) {
                one.target.send_if_modified(|target| {
                    let was_listed = target.is_listed;
                    *target = Arc::new(target.unlisted());
                    was_listed
                });
            }
            !one.task.is_finished()
        });
        for (id, target) in targets {
            let target = Arc::new(target);
            match by_id.get(&id) {
                Some(known) => {
                    known.target.send_if_modified(|known| {
                        let is_new = *known != target;
                        *known = target;
                        is_new
                    });
                }
                None => {
                    let (sender, receiver) = watch::channel(target);
                    let one = Asked {
                        target: sender,
                        task: tasks.spawn(Arc::clone(self).keep_asking(id.clone(), receiver)),
                    };
                    by_id.insert(id, one);
                }
            }
        }
    }

    /// What is to be asked. Where a source has not answered since this engine started, also the
    /// nodes that the store knows and nobody has heard of: they may be its.
    fn targets(&self) -> BTreeMap<NodeId, Target> {
        let mut targets = BTreeMap::new();
        let sources = &self.config.sources;
        let is_starting = |state| state == Condition::Starting;
        let starting = sources
            .iter()
            .find(|source| is_starting(source.state().condition));
        if let Some(source) = starting {
            let members = self.engine.registry.members().into_iter();
            for member in members.filter(|member| member.last_seen.is_none()) {
                let target = Target::of_record(&member.record, source.name());
                targets.insert(member.record.id.clone(), target);
            }
        }
        for merged in sources.instances() {
            let id = merged.instance.id.clone();
            targets.insert(id, Target::of(merged));
        }
        targets
    }

    /// Asks one instance until no source lists it. Restarts after a panic.
    async fn keep_asking(self: Arc<Self>, id: NodeId, mut target: watch::Receiver<Arc<Target>>) {
        loop {
            let follow = AssertUnwindSafe(self.follow(&id, &mut target));
            if follow.catch_unwind().await.is_ok() {
                return;
            }
            tracing::error!(
                node = %id,
                "polling a node panicked, restarting it; this is a bug, please report it"
            );
            self.sleep(self.config.interval).await;
        }
    }

    /// Asks one instance again and again. Ends once no source lists it and it does not answer
    /// twice, or need not be asked.
    async fn follow(&self, id: &NodeId, target: &mut watch::Receiver<Arc<Target>>) {
        let interval = self.config.interval;
        let mut backoff = Backoff::new(interval / 2, interval.saturating_mul(MAX_RETRY));
        let mut proof: Option<Proof> = None;
        // In a row.
        let mut misses = 0_u64;
        loop {
            let now = Arc::clone(&target.borrow_and_update());
            let pause = if self.engine.registry.reports_by_itself(id) {
                self.config.polled.forget(id);
                if !now.is_listed {
                    return;
                }
                interval
            } else {
                match self.ask(id, &now, &mut proof, misses == 0).await {
                    Ok(()) => {
                        self.note(id, &now, None);
                        misses = 0;
                        backoff.reset();
                        jittered(interval)
                    }
                    // It may be listed again, at another address, since it was asked.
                    Err(_) if !now.is_listed && target.has_changed().unwrap_or(false) => continue,
                    Err(failure) if !now.is_listed && misses > 0 => {
                        self.config.polled.forget(id);
                        if self.engine.registry.was_deregistered(id) {
                            tracing::info!(node = %id, failure, "no registry lists the node any more, and it does not answer");
                        }
                        return;
                    }
                    Err(failure) => {
                        self.note(id, &now, Some(failure));
                        misses += 1;
                        backoff.next_delay()
                    }
                }
            };
            tokio::select! {
                () = self.sleep(pause) => {}
                changed = target.changed() => match changed {
                    Ok(()) => {
                        backoff.reset();
                        if target.borrow().control_url != now.control_url {
                            // What it did not answer at was another address.
                            misses = 0;
                        }
                    }
                    Err(_) => return,
                },
            }
        }
    }

    fn note(&self, id: &NodeId, target: &Target, failure: Option<String>) {
        let poll = Poll {
            source: Arc::clone(&target.source),
            at: self.engine.clock.now(),
            failure: failure.map(Into::into),
        };
        let source = &*poll.source;
        let before = self.config.polled.record(id, poll.clone());
        let before = before.map(|before| before.failure);
        match (&before, &poll.failure) {
            (Some(before), now) if before == now => {}
            (None | Some(_), None) => tracing::info!(node = %id, source, "a node was found"),
            (None | Some(_), Some(reason)) => {
                let reason = &**reason;
                tracing::warn!(node = %id, source, reason, "an instance of a registry is not taken as a node");
            }
        }
    }

    async fn sleep(&self, span: Duration) {
        let clock = &self.engine.clock;
        clock.sleep_until(clock.instant() + span).await;
    }
}

/// Up to a tenth less, so that not all are asked at once.
fn jittered(span: Duration) -> Duration {
    span - span.mul_f64(fastrand::f64() / 10.0)
}
