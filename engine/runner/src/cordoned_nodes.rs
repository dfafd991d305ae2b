//! Which nodes are cordoned, from memory.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use hotswap_core::{Cordon, Cordons, Environment, EnvironmentEvent, NodeId};
use hotswap_store::EnvironmentEntry;

/// The cordoned nodes of all environments, as the store has them. Those who plan and repair look
/// here, and nodes are told from here.
#[derive(Debug, Default)]
pub(crate) struct CordonedNodes(RwLock<HashMap<Environment, Arc<Cordons>>>);

impl CordonedNodes {
    /// What the store has now: the events that cordon nodes.
    pub(crate) fn replace(&self, events: Vec<EnvironmentEntry>) {
        let mut cordons: HashMap<Environment, Cordons> = HashMap::new();
        for entry in events {
            match &entry.event {
                Ok(event) => cordons.entry(entry.environment).or_default().apply(event),
                Err(error) => {
                    let (position, environment) = (entry.position, &entry.environment);
                    tracing::error!(position, %environment, %error, "a cordon cannot be read: its node is not cordoned");
                }
            }
        }
        let cordons = cordons.into_iter();
        let cordons = cordons.map(|(environment, cordons)| (environment, Arc::new(cordons)));
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = cordons.collect();
    }

    /// An event was appended to the journal of an environment.
    pub(crate) fn apply(&self, environment: &Environment, event: &EnvironmentEvent) {
        let mut cordons = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let cordons = cordons.entry(environment.clone()).or_default();
        Arc::make_mut(cordons).apply(event);
    }

    /// The cordoned nodes of an environment.
    pub(crate) fn of(&self, environment: &Environment) -> Arc<Cordons> {
        let cordons = self.0.read().unwrap_or_else(PoisonError::into_inner);
        cordons.get(environment).cloned().unwrap_or_default()
    }

    /// The cordon of a node, if it has one.
    pub(crate) fn get(&self, environment: &Environment, node: &NodeId) -> Option<Cordon> {
        self.of(environment).get(node).cloned()
    }
}
