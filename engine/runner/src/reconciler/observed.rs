//! What the nodes of an environment run, as they report it.

use std::collections::HashMap;
use std::sync::Arc;

use hotswap_core::{Environment, Health, ModuleName, NodeId};
use hotswap_fleet::{Fleet, Registry};

use super::difference::Actual;

/// A node, and what it runs.
pub(super) struct ObservedNode {
    pub(super) id: NodeId,
    pub(super) health: Health,
    active: HashMap<ModuleName, Actual>,
}

impl ObservedNode {
    pub(super) fn actual(&self, module: &ModuleName) -> &Actual {
        self.active.get(module).unwrap_or(&Actual::Unknown)
    }
}

/// Asks the nodes what they run of these modules.
pub(super) async fn observe(
    registry: &Registry,
    fleet: &Arc<dyn Fleet>,
    environment: &Environment,
    modules: &[&ModuleName],
) -> Vec<ObservedNode> {
    let mut nodes: Vec<_> = registry
        .members_of(environment)
        .into_iter()
        .map(|member| ObservedNode {
            id: member.record.id.clone(),
            health: member.health,
            active: HashMap::new(),
        })
        .collect();
    for module in modules {
        let Ok(found) = fleet.nodes(environment, module).await else {
            continue;
        };
        let mut found: HashMap<_, _> = found
            .into_iter()
            .map(|node| (node.id.clone(), node))
            .collect();
        for node in &mut nodes {
            let actual = match found.remove(&node.id) {
                Some(found) if found.health != Health::Critical => Actual::Known(found.active),
                _ => Actual::Unknown,
            };
            node.active.insert((*module).clone(), actual);
        }
    }
    nodes
}
