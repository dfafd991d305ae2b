//! Which nodes are cordoned, from memory.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use hotswap_core::{Cordon, Cordons, Environment, EnvironmentEvent, EnvironmentEventBody, NodeId};
use hotswap_store::EnvironmentEntry;

/// The cordoned nodes of all environments, as the store has them. Those who plan and repair look
/// here, and nodes are told from here.
#[derive(Debug, Default)]
pub(crate) struct CordonedNodes(RwLock<Known>);

#[derive(Debug, Default)]
struct Known {
    cordons: HashMap<Environment, Arc<Cordons>>,
    /// The nodes whose cordon this engine cannot read.
    unreadable: HashSet<(Environment, NodeId)>,
}

impl CordonedNodes {
    /// What the store has now: the events that cordon nodes.
    pub(crate) fn replace(&self, events: Vec<(NodeId, EnvironmentEntry)>) {
        let mut cordons: HashMap<Environment, Cordons> = HashMap::new();
        let mut unreadable = HashSet::new();
        for (node, entry) in events {
            let (position, environment) = (entry.position, entry.environment);
            let here = cordons.entry(environment.clone()).or_default();
            match &entry.event {
                Ok(event) => here.apply(event),
                Err(error) => {
                    tracing::error!(position, %environment, %node, %error, "the cordon of a node cannot be read: the node is drained until it is uncordoned");
                    here.apply_unreadable(node.clone(), position, entry.at, error);
                    unreadable.insert((environment, node));
                }
            }
        }
        let cordons = cordons.into_iter();
        let cordons = cordons.map(|(environment, cordons)| (environment, Arc::new(cordons)));
        *self.write() = Known {
            cordons: cordons.collect(),
            unreadable,
        };
    }

    /// An event was appended to the journal of an environment.
    pub(crate) fn apply(&self, environment: &Environment, event: &EnvironmentEvent) {
        use EnvironmentEventBody as Body;
        let mut known = self.write();
        if let Body::Cordoned { node, .. }
        | Body::Drained { node, .. }
        | Body::Uncordoned { node, .. }
        | Body::Forgotten { node, .. } = &event.body
        {
            known
                .unreadable
                .remove(&(environment.clone(), node.clone()));
        }
        let cordons = known.cordons.entry(environment.clone()).or_default();
        Arc::make_mut(cordons).apply(event);
    }

    /// The cordoned nodes of an environment.
    pub(crate) fn of(&self, environment: &Environment) -> Arc<Cordons> {
        let known = self.read();
        known.cordons.get(environment).cloned().unwrap_or_default()
    }

    /// The cordon of a node, if it has one.
    pub(crate) fn get(&self, environment: &Environment, node: &NodeId) -> Option<Cordon> {
        self.of(environment).get(node).cloned()
    }

    /// How many cordons this engine cannot read.
    pub(crate) fn unreadable(&self) -> usize {
        self.read().unreadable.len()
    }

    fn read(&self) -> RwLockReadGuard<'_, Known> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ignores poisoning: no code that can panic runs under the lock.
    fn write(&self) -> RwLockWriteGuard<'_, Known> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}
