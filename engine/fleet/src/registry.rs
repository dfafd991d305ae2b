//! The registry: which nodes there are and how healthy they are, as the nodes report it.

mod claim;
mod discovery;
mod error;
mod found;
mod listening_time;
mod member;
mod membership;
mod node_entry;
mod report;
mod reporting;
mod shared;
mod silence;
mod validate;
mod wire;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use hotswap_common::Backoff;
use hotswap_core::{Clock, Environment, Health, NodeId, Selector};
use hotswap_store::{Catalogue, EngineMessages, NodeRecord};
use reqwest::Url;
use tokio::sync::{broadcast, watch};

use self::listening_time::ListeningTime;
use self::node_entry::{Heard, Moment, NodeEntry, Unanswered};
use self::shared::Outbox;
use self::validate::parse_control_url;
pub(crate) use self::validate::{check_node_url, truncate_reason};
use crate::desired_versions::{DesiredVersions, Undecided};

pub use error::Error;
pub use member::{HealthChange, Member, Move, Silence};
pub use report::{Fault, ModuleState, ModuleStates};

/// Changes that a subscriber may be behind before it loses the oldest.
const CHANGE_CAPACITY: usize = 1024;

// How long a node that gave no answer is not asked again, unless something is heard of it. At
// first less than a heartbeat: it may have been the network.
const MIN_UNANSWERED: Duration = Duration::from_secs(1);
const MAX_UNANSWERED: Duration = Duration::from_secs(30);

/// The built-in registry: nodes register over HTTP and send heartbeats. A handle: clones share
/// everything.
///
/// A node is alive while it is heard of: it registers, sends a heartbeat or answers a request.
/// Ages are spans of the monotonic clock, and a time in which the engine was stalled does not
/// count: after it, a node has at least one heartbeat's time to be heard of. Where engines share a
/// store, a time in which they could not hear of each other does not count either: a node that is
/// silent here may report to another engine.
///
/// An id belongs to one node. While it reports in, only the same node, restarted, may register
/// under it; see the record of decision 24.
///
/// Registrations are durable, health is not: an engine that starts knows its nodes, and their
/// health is unknown until they send a heartbeat.
#[derive(Clone)]
pub struct Registry {
    inner: Arc<RegistryInner>,
}

struct RegistryInner {
    catalogue: Arc<dyn Catalogue>,
    clock: Arc<dyn Clock>,
    heartbeat_interval: Duration,
    listening: Mutex<ListeningTime>,
    nodes: RwLock<BTreeMap<NodeId, NodeEntry>>,
    /// Serialise changes of one node, chosen by the hash of its name, so that store and memory
    /// end with the same one. Several, so that a thousand nodes that register at once share
    /// the store's commits.
    save_locks: [tokio::sync::Mutex<()>; 64],
    subscribers: broadcast::Sender<HealthChange>,
    /// How often a node has reported other modules than before.
    reports: watch::Sender<u64>,
    /// How often a node has registered, has changed its health or was removed.
    members_changed: watch::Sender<u64>,
    desired: RwLock<Arc<dyn DesiredVersions>>,
    /// Reports to pass on to the other engines that share the store.
    outbox: Mutex<Outbox>,
    /// The channel to these engines. `None` if there are none.
    exchange: Option<Arc<dyn EngineMessages>>,
    /// The environments that nodes belong to by their labels.
    selectors: RwLock<Arc<BTreeMap<Environment, Selector>>>,
}

/// Where a node takes orders.
#[derive(Debug)]
pub(crate) struct ControlAddress {
    pub(crate) url: Url,
    /// Random id of the start that has registered there, if it is known.
    pub(crate) boot: Option<String>,
    /// The environment that the node belongs to.
    pub(crate) environment: Environment,
}

impl Registry {
    /// How often nodes send a heartbeat, unless configured otherwise.
    pub const DEFAULT_INTERVAL: Duration = Duration::from_secs(2);

    /// Loads the nodes that `catalogue` holds. Their health is unknown. A heartbeat is due
    /// every `interval`, which is raised to a millisecond if it is less.
    ///
    /// # Errors
    /// [`Error::Load`] if the store cannot be read.
    pub async fn load(
        catalogue: Arc<dyn Catalogue>,
        clock: Arc<dyn Clock>,
        interval: Duration,
    ) -> Result<Self, Error> {
        let records = catalogue.nodes().await.map_err(Error::Load)?;
        let interval = interval.max(Duration::from_millis(1));
        let nodes = records.into_iter().filter_map(|record| {
            let Ok(control_url) = parse_control_url(&record.control_url) else {
                tracing::warn!(node = %record.id, "the stored control URL of the node is invalid, it has to register again");
                return None;
            };
            let entry = NodeEntry::unheard(record, control_url);
            Some((entry.record.id.clone(), entry))
        });
        let inner = RegistryInner {
            nodes: RwLock::new(nodes.collect()),
            listening: Mutex::new(ListeningTime::start(clock.instant(), interval)),
            exchange: catalogue.node_reports(),
            outbox: Mutex::default(),
            catalogue,
            clock,
            heartbeat_interval: interval,
            save_locks: std::array::from_fn(|_| tokio::sync::Mutex::default()),
            subscribers: broadcast::Sender::new(CHANGE_CAPACITY),
            reports: watch::Sender::new(0),
            members_changed: watch::Sender::new(0),
            desired: RwLock::new(Arc::new(Undecided)),
            selectors: RwLock::default(),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Decides from now on what nodes should run. Until then nothing is decided.
    pub fn set_desired_versions(&self, desired: Arc<dyn DesiredVersions>) {
        let guard = self.inner.desired.write();
        *guard.unwrap_or_else(PoisonError::into_inner) = desired;
    }

    /// Sets the environments that nodes belong to by their labels, where they name none. Nodes that
    /// have registered keep theirs until they register again. If the selectors change, the answer
    /// to the next heartbeat of each node asks for that.
    pub fn set_environment_selectors(&self, selectors: BTreeMap<Environment, Selector>) {
        {
            let guard = self.inner.selectors.write();
            let mut current = guard.unwrap_or_else(PoisonError::into_inner);
            if **current == selectors {
                return;
            }
            *current = Arc::new(selectors);
        }
        // A node that was found in a source is asked for its registration all the time.
        for entry in self.write().values_mut() {
            entry.must_register = entry.found_in.is_none();
        }
    }

    fn environment_selectors(&self) -> Arc<BTreeMap<Environment, Selector>> {
        let guard = self.inner.selectors.read();
        Arc::clone(&guard.unwrap_or_else(PoisonError::into_inner))
    }

    /// Records that a node has answered a request, which shows that it is alive. Does nothing
    /// if it is not registered.
    pub(crate) fn answered(&self, id: &NodeId) {
        let heard = self.inner.heard_now();
        let moment = self.inner.moment();
        let mut nodes = self.write();
        if let Some(entry) = nodes.get_mut(id) {
            entry.last_heard = Some(heard);
            entry.unanswered = None;
            self.notify_if_changed(id, entry, moment);
        }
    }

    /// Records that a node has not answered a request. Does nothing if it is not registered.
    pub(crate) fn did_not_answer(&self, id: &NodeId) {
        let now = self.inner.clock.instant();
        if let Some(entry) = self.write().get_mut(id) {
            let unanswered = entry.unanswered.get_or_insert_with(|| Unanswered {
                backoff: Backoff::new(MIN_UNANSWERED, MAX_UNANSWERED),
                ask_again_at: now,
            });
            // Several callers may have waited for the same answer.
            if now >= unanswered.ask_again_at {
                unanswered.ask_again_at = now + unanswered.backoff.next_delay();
            }
        }
    }

    /// Whether a node is worth asking for what several callers want to know: it has answered
    /// the last time, something was heard of it since, or that was long ago.
    pub(crate) fn may_answer(&self, id: &NodeId) -> bool {
        let now = self.inner.clock.instant();
        let nodes = self.read();
        let unanswered = nodes.get(id).and_then(|entry| entry.unanswered.as_ref());
        unanswered.is_none_or(|unanswered| now >= unanswered.ask_again_at)
    }

    /// Removes a node, durably once this returns. Returns whether it was known.
    ///
    /// # Errors
    /// [`Error::Delete`] if the store failed. The node is then still known.
    pub async fn deregister(&self, id: &NodeId) -> Result<bool, Error> {
        let _save_guard = self.inner.save_lock(id).lock().await;
        self.remove(id).await
    }

    /// Hold the node's save lock.
    async fn remove(&self, id: &NodeId) -> Result<bool, Error> {
        let deleted = self.inner.catalogue.delete_node(id).await;
        let was_stored = deleted.map_err(|source| Error::Delete {
            node: id.clone(),
            source,
        })?;
        self.lock_outbox().remove(id);
        let was_held = self.write().remove(id).is_some();
        if was_held {
            tracing::info!(node = %id, "node deregistered");
            self.notify(id.clone(), None);
        }
        Ok(was_stored || was_held)
    }

    /// All nodes, sorted by id.
    pub fn members(&self) -> Vec<Member> {
        self.members_where(|_| true)
    }

    /// The nodes of one environment, sorted by id.
    pub fn members_of(&self, environment: &Environment) -> Vec<Member> {
        self.members_where(|record| record.environment == *environment)
    }

    /// One node. `None` if it is not registered.
    pub fn member(&self, id: &NodeId) -> Option<Member> {
        let moment = self.inner.moment();
        let nodes = self.read();
        nodes.get(id).map(|entry| entry.member(moment))
    }

    /// The environments that have nodes, sorted.
    pub fn environments(&self) -> Vec<Environment> {
        let nodes = self.read();
        let environments: BTreeSet<_> = nodes
            .values()
            .map(|entry| &entry.record.environment)
            .collect();
        environments.into_iter().cloned().collect()
    }

    /// Subscribes to changes of health from now on. That a node is late is notified only while
    /// [`Self::run`] runs. A receiver that falls far behind loses the oldest changes and is
    /// told so.
    pub fn subscribe(&self) -> broadcast::Receiver<HealthChange> {
        self.inner.subscribers.subscribe()
    }

    /// Changes whenever a node reports other modules than before.
    pub fn watch_reports(&self) -> watch::Receiver<u64> {
        self.inner.reports.subscribe()
    }

    /// Notifies subscribers of nodes whose heartbeats are overdue, every interval. Notices by
    /// its own ticks when the engine was stalled, or cut off from the others. Never returns. Where
    /// other engines share the store, also tells them of what nodes report here, and counts what
    /// nodes report there.
    ///
    /// Cancel safe: nothing is lost, because health is computed whenever it is read.
    pub async fn run(&self) {
        let _stop = StopTicking(&self.inner);
        let tick = async {
            loop {
                // Where other engines share the store, nodes are heard only while the channel to
                // these engines works: its echoes are the ticks.
                match self.inner.exchange {
                    None => self.tick(),
                    Some(_) => self.check_heartbeats(),
                }
                let next = self.inner.clock.instant() + self.inner.heartbeat_interval;
                self.inner.clock.sleep_until(next).await;
            }
        };
        match &self.inner.exchange {
            Some(exchange) => drop(tokio::join!(tick, self.exchange(Arc::clone(exchange)))),
            None => tick.await,
        }
    }

    fn tick(&self) {
        self.listened();
        self.check_heartbeats();
    }

    /// Nodes could be heard until now, unless the last time was too long ago.
    fn listened(&self) {
        let stall = self.inner.listening().tick(self.inner.clock.instant());
        if let Some(stall) = stall {
            tracing::warn!(
                ?stall,
                "the engine was stalled or cut off from its store: its nodes have one heartbeat to report before any counts as gone"
            );
        }
    }

    /// Notifies subscribers of nodes whose health has changed because time has passed.
    fn check_heartbeats(&self) {
        let moment = self.inner.moment();
        for (id, entry) in self.write().iter_mut() {
            self.notify_if_changed(id, entry, moment);
        }
    }

    /// Where a node takes orders. `None` if the node is not registered.
    pub(crate) fn control_address(&self, id: &NodeId) -> Option<ControlAddress> {
        self.read().get(id).map(|entry| ControlAddress {
            url: entry.control_url.clone(),
            boot: entry.boot.clone(),
            environment: entry.record.environment.clone(),
        })
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        self.inner.clock.as_ref()
    }

    fn members_where(&self, condition: impl Fn(&NodeRecord) -> bool) -> Vec<Member> {
        let moment = self.inner.moment();
        let nodes = self.read();
        nodes
            .values()
            .filter(|entry| condition(&entry.record))
            .map(|entry| entry.member(moment))
            .collect()
    }

    fn notify_if_changed(&self, id: &NodeId, entry: &mut NodeEntry, moment: Moment) {
        let (health, reason) = entry.health(moment);
        if health == entry.notified_health {
            return;
        }
        entry.notified_health = health;
        match health {
            Health::Passing => tracing::info!(node = %id, "node is passing"),
            Health::Warning | Health::Critical | Health::Unknown => {
                tracing::warn!(node = %id, ?health, reason, "node is not passing");
            }
        }
        self.notify(id.clone(), Some(health));
    }

    fn notify(&self, node: NodeId, health: Option<Health>) {
        self.inner.members_changed.send_modify(|count| *count += 1);
        // Fails if there is no subscriber.
        let _ = self.inner.subscribers.send(HealthChange { node, health });
    }

    /// Ignores poisoning: no code that can panic runs under the lock, so entries are whole.
    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<NodeId, NodeEntry>> {
        let guard = self.inner.nodes.read();
        guard.unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<NodeId, NodeEntry>> {
        let guard = self.inner.nodes.write();
        guard.unwrap_or_else(PoisonError::into_inner)
    }
}

impl RegistryInner {
    fn moment(&self) -> Moment {
        let listening = self.listening();
        let listened = listening.at(self.clock.instant());
        Moment::new(&listening, listened, self.heartbeat_interval)
    }

    fn heard_now(&self) -> Heard {
        Heard {
            at: self.clock.now(),
            listened: self.listening().at(self.clock.instant()),
        }
    }

    /// Ignores poisoning: no code that can panic runs under the lock.
    fn listening(&self) -> MutexGuard<'_, ListeningTime> {
        let guard = self.listening.lock();
        guard.unwrap_or_else(PoisonError::into_inner)
    }

    fn save_lock(&self, id: &NodeId) -> &tokio::sync::Mutex<()> {
        let mut hasher = DefaultHasher::new();
        id.hash(&mut hasher);
        &self.save_locks[hasher.finish() as usize % self.save_locks.len()]
    }
}

/// Tells the registry that its ticks end, also when they are cancelled.
struct StopTicking<'a>(&'a RegistryInner);

impl Drop for StopTicking<'_> {
    fn drop(&mut self) {
        self.0.listening().stop_ticking();
    }
}
