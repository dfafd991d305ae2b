//! Which nodes came from another environment, in memory.

use std::collections::{BTreeMap, HashMap};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use hotswap_core::{
    Environment, EnvironmentEvent, EnvironmentEventBody, ModuleName, NodeId, Timestamp,
};
use hotswap_store::EnvironmentEntry;

/// The nodes that came from another environment, as the store has them.
#[derive(Debug, Default)]
pub(crate) struct ArrivedNodes(RwLock<HashMap<Environment, BTreeMap<NodeId, Arrival>>>);

/// How a node came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Arrival {
    /// When.
    pub(crate) at: Timestamp,
    /// The modules that ran on it then.
    pub(crate) modules: Vec<ModuleName>,
}

impl ArrivedNodes {
    /// What the store has now: the events with which nodes came.
    pub(crate) fn replace(&self, events: Vec<EnvironmentEntry>) {
        self.write().clear();
        for entry in events {
            match &entry.event {
                Ok(event) => self.apply(&entry.environment, event),
                Err(error) => {
                    let (position, environment) = (entry.position, &entry.environment);
                    tracing::error!(position, %environment, %error, "what a node brought from another environment cannot be read: it keeps that");
                }
            }
        }
    }

    /// An event was appended to the journal of an environment.
    pub(crate) fn apply(&self, environment: &Environment, event: &EnvironmentEvent) {
        use EnvironmentEventBody as Body;
        let (Body::Moved { node, .. } | Body::Forgotten { node, .. }) = &event.body else {
            return;
        };
        let mut environments = self.write();
        for nodes in environments.values_mut() {
            nodes.remove(node);
        }
        if let Body::Moved { node, modules, .. } = &event.body {
            let (at, modules) = (event.at, modules.clone());
            let nodes = environments.entry(environment.clone()).or_default();
            nodes.insert(node.clone(), Arrival { at, modules });
        }
    }

    /// For each module that nodes brought to an environment, these nodes, and when the last of
    /// them came.
    pub(crate) fn brought_to(
        &self,
        environment: &Environment,
    ) -> BTreeMap<ModuleName, (Timestamp, Vec<NodeId>)> {
        let mut brought = BTreeMap::<_, (Timestamp, Vec<NodeId>)>::new();
        let environments = self.read();
        for (node, arrival) in environments.get(environment).into_iter().flatten() {
            for module in &arrival.modules {
                let (last, nodes) = brought.entry(module.clone()).or_default();
                *last = (*last).max(arrival.at);
                nodes.push(node.clone());
            }
        }
        brought
    }

    /// Ignores poisoning: no code that can panic runs under the lock.
    fn read(&self) -> RwLockReadGuard<'_, HashMap<Environment, BTreeMap<NodeId, Arrival>>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<Environment, BTreeMap<NodeId, Arrival>>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(millis: u64, body: EnvironmentEventBody) -> EnvironmentEvent {
        EnvironmentEvent {
            position: millis,
            at: Timestamp::from_millis(millis),
            body,
        }
    }

    fn moved(node: &str, modules: &[&str]) -> EnvironmentEventBody {
        EnvironmentEventBody::Moved {
            node: node.parse().unwrap(),
            from: "qa".parse().unwrap(),
            modules: modules.iter().map(|name| name.parse().unwrap()).collect(),
        }
    }

    #[test]
    fn a_node_has_brought_what_it_ran_when_it_came_last() {
        let arrived = ArrivedNodes::default();
        let [production, qa]: [Environment; 2] =
            ["production", "qa"].map(|name| name.parse().unwrap());
        arrived.apply(&production, &event(1, moved("a", &["hello", "web"])));
        arrived.apply(&production, &event(2, moved("b", &["hello"])));
        let names = |environment| {
            let brought = arrived.brought_to(environment).into_iter();
            let name = |(module, (at, nodes)): (ModuleName, (Timestamp, Vec<NodeId>))| {
                format!("{module} {} {}", at.millis(), nodes.len())
            };
            brought.map(name).collect::<Vec<_>>()
        };
        assert_eq!(names(&production), ["hello 2 2", "web 1 1"]);
        arrived.apply(&qa, &event(3, moved("b", &[])));
        assert_eq!(names(&production), ["hello 1 1", "web 1 1"]);
        assert!(names(&qa).is_empty());
        let forgotten = EnvironmentEventBody::Forgotten {
            node: "a".parse().unwrap(),
            by: "ada".into(),
            reason: None,
        };
        arrived.apply(&production, &event(4, forgotten));
        assert!(names(&production).is_empty());
    }
}
