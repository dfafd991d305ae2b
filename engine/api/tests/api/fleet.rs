//! A simulated fleet. Its nodes carry out every order at once, except one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use hotswap_core::{
    Action, Environment, Health, HttpProbe, ModuleName, ModuleVersion, Node, NodeError, NodeId,
    NodeReading, Order, Timestamp,
};
use hotswap_fleet::{Error, Fleet, HealthReport, Registry};
use hotswap_protocol::NodeReport;

/// The id of a node that rejects every order except reverts.
pub const BROKEN: &str = "broken";

/// The registered nodes. They carry out orders at once and remember what they run.
pub struct ObedientFleet {
    pub registry: Registry,
    active: Arc<Mutex<HashMap<(NodeId, ModuleName), ModuleVersion>>>,
}

impl ObedientFleet {
    pub fn new(registry: Registry) -> Self {
        Self {
            registry,
            active: Arc::default(),
        }
    }

    /// The nodes run what they run in an earlier fleet.
    pub fn with_nodes_of(self, earlier: &Self) -> Self {
        let active = Arc::clone(&earlier.active);
        Self { active, ..self }
    }

    /// The version of a module that a node runs.
    pub fn active(&self, node: &str, module: &str) -> Option<String> {
        let key = (node.parse().unwrap(), module.parse().unwrap());
        let active = self.active.lock().unwrap();
        active.get(&key).map(|active| active.version.to_string())
    }
}

#[async_trait]
impl Fleet for ObedientFleet {
    async fn nodes(
        &self,
        environment: &Environment,
        module: &ModuleName,
    ) -> Result<Vec<Node>, Error> {
        let active = self.active.lock().unwrap();
        let members = self.registry.members_of(environment);
        let node = |member: hotswap_fleet::Member| Node {
            id: member.record.id.clone(),
            zone: member.record.zone.clone(),
            labels: member.record.labels.clone(),
            health: member.health,
            active: active
                .get(&(member.record.id.clone(), module.clone()))
                .cloned(),
            fault: None,
        };
        Ok(members.into_iter().map(node).collect())
    }

    async fn order(&self, node: &NodeId, order: &Order) -> Result<(), NodeError> {
        if node.as_str() == BROKEN && !matches!(order.action, Action::Revert(_)) {
            return Err(NodeError::Refused("it is broken".to_owned()));
        }
        let key = (node.clone(), order.module.clone());
        let mut active = self.active.lock().unwrap();
        match &order.action {
            Action::Promote(version) | Action::Revert(Some(version)) => {
                active.insert(key, version.clone());
            }
            Action::Revert(None) => drop(active.remove(&key)),
            Action::Stage(_) | Action::Shift { .. } | Action::Restart(_) | Action::Settle => {}
        }
        Ok(())
    }

    async fn probe(
        &self,
        _environment: &Environment,
        _node: &NodeId,
        _version: &ModuleVersion,
        _probe: &HttpProbe,
    ) -> Result<(), NodeError> {
        Ok(())
    }

    async fn read(
        &self,
        _: &Environment,
        node: &NodeId,
        _module: &ModuleName,
    ) -> Result<NodeReading, NodeError> {
        Ok(NodeReading {
            node: node.clone(),
            boot: "1".to_owned(),
            at: Timestamp::from_millis(0),
            cpu_millis: 0,
            starts: None,
            traffic: None,
            versions: Vec::new(),
        })
    }

    async fn report(&self, node: &NodeId) -> Result<NodeReport, NodeError> {
        match node.as_str() {
            BROKEN => Err(NodeError::Unreachable("it is broken".to_owned())),
            _ => Ok(NodeReport::default()),
        }
    }

    fn health(&self, node: &NodeId) -> HealthReport {
        let member = self.registry.member(node);
        HealthReport {
            health: member
                .as_ref()
                .map_or(Health::Unknown, |member| member.health),
            reason: member.and_then(|member| member.reason),
        }
    }
}
