//! What the nodes of an environment run, as they report it.

use std::collections::HashMap;
use std::sync::Arc;

use hotswap_core::{Environment, Health, ModuleName, NodeId};
use hotswap_fleet::{Fleet, ModuleState, ModuleStates, Registry};
use hotswap_store::NodeRecord;

use super::difference::Actual;

/// A node, and what it runs.
pub(super) struct ObservedNode {
    pub(super) id: NodeId,
    /// Its environment and its labels, which say what is decided about it.
    pub(super) record: Arc<NodeRecord>,
    pub(super) health: Health,
    report: Report,
}

enum Report {
    /// From its registration or its last heartbeat, so it may be as old as that.
    Reported(Arc<ModuleStates>),
    /// It reports no modules, and was asked for those that matter.
    Asked(HashMap<ModuleName, Actual>),
}

impl ObservedNode {
    pub(super) fn actual(&self, module: &ModuleName) -> Actual {
        match &self.report {
            Report::Reported(modules) => modules.get(module).map_or(Actual::Known(None), actual),
            Report::Asked(asked) => asked.get(module).cloned().unwrap_or(Actual::Unknown),
        }
    }
}

/// What a node has reported of a module.
pub(super) fn actual(state: &ModuleState) -> Actual {
    match state.active_fault() {
        Some(fault) => Actual::NotLoaded(fault.version.clone(), fault.reason.clone()),
        None => Actual::Known(state.active.clone()),
    }
}

/// What the nodes run of these modules: as they have reported it, in memory. Nodes that report
/// no modules are asked.
pub(super) async fn observe(
    registry: &Registry,
    fleet: &Arc<dyn Fleet>,
    environment: &Environment,
    modules: &[&ModuleName],
) -> Vec<ObservedNode> {
    let members = registry.members_of(environment).into_iter();
    let nodes = members.map(|member| ObservedNode {
        id: member.record.id.clone(),
        record: member.record,
        health: member.health,
        report: match member.modules {
            Some(modules) => Report::Reported(modules),
            None => Report::Asked(HashMap::new()),
        },
    });
    let mut nodes: Vec<_> = nodes.collect();
    let is_silent = |node: &ObservedNode| matches!(node.report, Report::Asked(_));
    if !nodes.iter().any(is_silent) {
        return nodes;
    }
    for module in modules {
        let Ok(found) = fleet.nodes(environment, module).await else {
            continue;
        };
        let found = found.into_iter().map(|node| (node.id.clone(), node));
        let mut found: HashMap<_, _> = found.collect();
        for node in &mut nodes {
            let Report::Asked(asked) = &mut node.report else {
                continue;
            };
            let actual = match found.remove(&node.id) {
                Some(found) if found.health != Health::Critical => Actual::Known(found.active),
                _ => Actual::Unknown,
            };
            asked.insert((*module).clone(), actual);
        }
    }
    nodes
}
