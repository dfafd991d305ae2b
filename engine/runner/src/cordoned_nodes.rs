//! Which nodes are cordoned, from memory.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};

use hotswap_core::{Cordon, Cordons, Environment, EnvironmentEvent, NodeId};
use hotswap_store::EnvironmentEntry;

/// The cordoned nodes of all environments, as the store has them. Those who plan and repair look
/// here, and nodes are told from here.
#[derive(Debug, Default)]
pub(crate) struct CordonedNodes {
    cordons: RwLock<HashMap<Environment, Arc<Cordons>>>,
    /// How many of them this engine cannot read.
    unreadable: AtomicUsize,
}

impl CordonedNodes {
    /// What the store has now: the events that cordon nodes.
    pub(crate) fn replace(&self, events: Vec<(NodeId, EnvironmentEntry)>) {
        let mut cordons: HashMap<Environment, Cordons> = HashMap::new();
        let mut unreadable = 0;
        for (node, entry) in events {
            let (position, environment) = (entry.position, entry.environment);
            let here = cordons.entry(environment.clone()).or_default();
            match &entry.event {
                Ok(event) => here.apply(event),
                Err(error) => {
                    tracing::error!(position, %environment, %node, %error, "the cordon of a node cannot be read: the node is drained until it is uncordoned");
                    here.apply_unreadable(node, position, entry.at, error);
                    unreadable += 1;
                }
            }
        }
        let cordons = cordons.into_iter();
        let cordons = cordons.map(|(environment, cordons)| (environment, Arc::new(cordons)));
        *self.write() = cordons.collect();
        self.unreadable.store(unreadable, Ordering::Relaxed);
    }

    /// An event was appended to the journal of an environment.
    pub(crate) fn apply(&self, environment: &Environment, event: &EnvironmentEvent) {
        let mut cordons = self.write();
        let cordons = cordons.entry(environment.clone()).or_default();
        Arc::make_mut(cordons).apply(event);
    }

    /// The cordoned nodes of an environment.
    pub(crate) fn of(&self, environment: &Environment) -> Arc<Cordons> {
        let cordons = self.cordons.read();
        let cordons = cordons.unwrap_or_else(PoisonError::into_inner);
        cordons.get(environment).cloned().unwrap_or_default()
    }

    /// The cordon of a node, if it has one.
    pub(crate) fn get(&self, environment: &Environment, node: &NodeId) -> Option<Cordon> {
        self.of(environment).get(node).cloned()
    }

    /// How many cordons this engine cannot read.
    pub(crate) fn unreadable(&self) -> usize {
        self.unreadable.load(Ordering::Relaxed)
    }

    /// Ignores poisoning: no code that can panic runs under the lock.
    fn write(&self) -> RwLockWriteGuard<'_, HashMap<Environment, Arc<Cordons>>> {
        self.cordons.write().unwrap_or_else(PoisonError::into_inner)
    }
}
