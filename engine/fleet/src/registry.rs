//! Who the nodes are and how they are, from what they say of themselves.

mod valid;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use hotswap_core::{Clock, Environment, Health, NodeId};
use hotswap_protocol::{Heartbeat, NodeHealth, Registered, Registration};
use hotswap_store::{Catalogue, CatalogueError, NodeRecord};
use reqwest::Url;
use tokio::sync::{Mutex, broadcast};
use tokio::time::MissedTickBehavior;

use crate::member::{Entry, Heard};
use crate::{Change, Member};

/// The built-in registry: nodes register over HTTP and send heartbeats. Who they are is
/// durable; how they are is not, so that an engine that starts knows its nodes and waits
/// to hear of them. A handle: clones share everything.
#[derive(Clone)]
pub struct Registry {
    inner: Arc<Inner>,
}

struct Inner {
    catalogue: Arc<dyn Catalogue>,
    clock: Arc<dyn Clock>,
    interval: Duration,
    nodes: RwLock<BTreeMap<NodeId, Entry>>,
    /// By the node's name: what is written last of a node is what is remembered, yet a
    /// thousand nodes that register at once share the store's commits.
    saving: [Mutex<()>; 64],
    changes: broadcast::Sender<Change>,
}

/// What the registry could not do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The registration cannot be right; the text says what to change.
    #[error("{0}")]
    Invalid(String),
    /// The nodes could not be read at the start.
    #[error("the registered nodes could not be read from the store")]
    Load(#[source] CatalogueError),
    /// A registration could not be made durable. It is safe to register again.
    #[error("the registration of node '{node}' could not be saved")]
    Save {
        /// Whose.
        node: NodeId,
        /// Why not.
        #[source]
        source: CatalogueError,
    },
    /// A node could not be forgotten.
    #[error("node '{node}' could not be removed from the store")]
    Delete {
        /// Which.
        node: NodeId,
        /// Why not.
        #[source]
        source: CatalogueError,
    },
}

/// Changes that a subscriber may be behind before it loses the oldest.
const CHANGES: usize = 1024;

impl Registry {
    /// How often nodes are told to report in, unless configured otherwise.
    pub const DEFAULT_INTERVAL: Duration = Duration::from_secs(2);

    /// The registry of the nodes that `catalogue` holds; none of them has been heard of
    /// yet. A heartbeat is due every `interval`, at least every millisecond.
    ///
    /// # Errors
    /// [`Error::Load`] where the store cannot be read.
    pub async fn load(
        catalogue: Arc<dyn Catalogue>,
        clock: Arc<dyn Clock>,
        interval: Duration,
    ) -> Result<Self, Error> {
        let records = catalogue.nodes().await.map_err(Error::Load)?;
        let nodes = records.into_iter().filter_map(|record| {
            let Ok(control) = valid::control_url(&record.control_url) else {
                tracing::warn!(node = %record.id, "the stored address of the node cannot be used; it has to register again");
                return None;
            };
            let entry = Entry {
                record: Arc::new(record),
                control,
                heard: None,
                told: Health::Unknown,
            };
            Some((entry.record.id.clone(), entry))
        });
        let inner = Inner {
            nodes: RwLock::new(nodes.collect()),
            catalogue,
            clock,
            interval: interval.max(Duration::from_millis(1)),
            saving: std::array::from_fn(|_| Mutex::default()),
            changes: broadcast::Sender::new(CHANGES),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Takes a node in, or what has changed of it; counts as a heartbeat. The registration
    /// is durable once this returns. Safe to repeat, also after it was cancelled.
    ///
    /// # Errors
    /// [`Error::Invalid`] where the registration cannot be right, [`Error::Save`] where the
    /// store fails.
    pub async fn register(
        &self,
        id: NodeId,
        registration: Registration,
    ) -> Result<Registered, Error> {
        let (mut record, control) =
            valid::record(id.clone(), registration, self.inner.clock.now())?;
        let _saving = self.inner.saving(&id).lock().await;
        let known = self.read().get(&id).map(|entry| {
            let (health, _) = entry.health(self.inner.clock.now(), self.inner.interval);
            (Arc::clone(&entry.record), health)
        });
        if let Some((before, health)) = &known {
            record.registered_at = before.registered_at;
            if *health == Health::Passing && before.control_url != record.control_url {
                tracing::warn!(
                    node = %id,
                    before = before.control_url,
                    now = record.control_url,
                    "a node that reports in has registered from another address; two nodes of one name would take turns"
                );
            }
        }
        let known = known.map(|(before, _)| before);
        if known.as_deref() != Some(&record) {
            let saved = self.inner.catalogue.put_node(record.clone()).await;
            saved.map_err(|source| Error::Save {
                node: id.clone(),
                source,
            })?;
            tracing::info!(node = %id, environment = %record.environment, control = record.control_url, "node registered");
        }
        let mut nodes = self.write();
        let told = nodes.get(&id).map(|entry| entry.told);
        let entry = Entry {
            record: Arc::new(record),
            control,
            heard: Some(Heard {
                at: self.inner.clock.now(),
                health: NodeHealth::Passing,
                reason: None,
            }),
            told: Health::Passing,
        };
        nodes.insert(id.clone(), entry);
        if told != Some(Health::Passing) {
            self.tell(id, Some(Health::Passing));
        }
        Ok(Registered {
            heartbeat_millis: u64::try_from(self.inner.interval.as_millis()).unwrap_or(u64::MAX),
        })
    }

    /// A node reports in. Returns whether it is known: one that is not must register again.
    pub fn heartbeat(&self, id: &NodeId, heartbeat: Heartbeat) -> bool {
        let now = self.inner.clock.now();
        let mut nodes = self.write();
        let Some(entry) = nodes.get_mut(id) else {
            return false;
        };
        entry.heard = Some(Heard {
            at: now,
            health: heartbeat.health,
            reason: heartbeat.reason.map(valid::reason),
        });
        self.refresh(id, entry);
        true
    }

    /// Forgets a node, for good once this returns. Returns whether it was known.
    ///
    /// # Errors
    /// [`Error::Delete`] where the store fails; the node is then still known.
    pub async fn deregister(&self, id: &NodeId) -> Result<bool, Error> {
        let _saving = self.inner.saving(id).lock().await;
        let deleted = self.inner.catalogue.delete_node(id).await;
        let stored = deleted.map_err(|source| Error::Delete {
            node: id.clone(),
            source,
        })?;
        let held = self.write().remove(id).is_some();
        if held {
            tracing::info!(node = %id, "node deregistered");
            self.tell(id.clone(), None);
        }
        Ok(stored || held)
    }

    /// All nodes, sorted by id.
    pub fn members(&self) -> Vec<Member> {
        self.select(|_| true)
    }

    /// The nodes of one environment, sorted by id.
    pub fn members_of(&self, environment: &Environment) -> Vec<Member> {
        self.select(|record| record.environment == *environment)
    }

    /// One node.
    pub fn member(&self, id: &NodeId) -> Option<Member> {
        let now = self.inner.clock.now();
        let nodes = self.read();
        nodes
            .get(id)
            .map(|entry| entry.member(now, self.inner.interval))
    }

    /// The environments that have nodes, sorted.
    pub fn environments(&self) -> Vec<Environment> {
        let nodes = self.read();
        let all: BTreeSet<_> = nodes
            .values()
            .map(|entry| &entry.record.environment)
            .collect();
        all.into_iter().cloned().collect()
    }

    /// The changes of health from now on. That a node is late is told only while
    /// [`Self::run`] runs. A receiver that is far behind is told that it lagged.
    pub fn subscribe(&self) -> broadcast::Receiver<Change> {
        self.inner.changes.subscribe()
    }

    /// Looks for nodes that have fallen silent, every interval, without end. Dropping it
    /// stops that, and nothing is lost: health is worked out afresh whenever it is asked for.
    pub async fn run(&self) {
        let mut ticks = tokio::time::interval(self.inner.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.sweep();
        }
    }

    /// Tells the subscribers whose health has changed with time alone.
    pub(crate) fn sweep(&self) {
        for (id, entry) in self.write().iter_mut() {
            self.refresh(id, entry);
        }
    }

    /// Where a node takes orders.
    pub(crate) fn control_url(&self, id: &NodeId) -> Option<Url> {
        self.read().get(id).map(|entry| entry.control.clone())
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        self.inner.clock.as_ref()
    }

    fn select(&self, chosen: impl Fn(&NodeRecord) -> bool) -> Vec<Member> {
        let now = self.inner.clock.now();
        let nodes = self.read();
        let chosen = nodes.values().filter(|entry| chosen(&entry.record));
        chosen
            .map(|entry| entry.member(now, self.inner.interval))
            .collect()
    }

    fn refresh(&self, id: &NodeId, entry: &mut Entry) {
        let (health, reason) = entry.health(self.inner.clock.now(), self.inner.interval);
        if health == entry.told {
            return;
        }
        entry.told = health;
        match health {
            Health::Passing => tracing::info!(node = %id, "node is passing"),
            Health::Warning | Health::Critical | Health::Unknown => {
                tracing::warn!(node = %id, ?health, reason, "node is not passing");
            }
        }
        self.tell(id.clone(), Some(health));
    }

    fn tell(&self, node: NodeId, health: Option<Health>) {
        // An error says that nobody is subscribed.
        let _ = self.inner.changes.send(Change { node, health });
    }

    /// No code that can panic runs under the lock, so a poisoned one holds whole entries.
    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<NodeId, Entry>> {
        let guard = self.inner.nodes.read();
        guard.unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<NodeId, Entry>> {
        let guard = self.inner.nodes.write();
        guard.unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn saving(&self, id: &NodeId) -> &Mutex<()> {
        let mut hasher = DefaultHasher::new();
        id.hash(&mut hasher);
        &self.saving[hasher.finish() as usize % self.saving.len()]
    }
}
