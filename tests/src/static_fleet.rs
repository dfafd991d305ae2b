use std::collections::BTreeMap;

use async_trait::async_trait;
use hotswap_core::{
    Environment, Health, HttpProbe, ModuleName, ModuleVersion, Node, NodeError, NodeId,
    NodeReading, Order, Timestamp,
};
use hotswap_fleet::{Error, Fleet};

/// Nodes that accept every order at once and do nothing. Benches use it to measure the engine
/// alone.
pub struct StaticFleet {
    nodes: Vec<NodeId>,
}

impl StaticFleet {
    /// A fleet with `node_count` nodes in every environment.
    pub fn new(node_count: usize) -> Self {
        let id = |number| format!("node-{number}").parse().expect("a node id");
        Self {
            nodes: (1..=node_count).map(id).collect(),
        }
    }
}

#[async_trait]
impl Fleet for StaticFleet {
    async fn nodes(&self, _: &Environment, _: &ModuleName) -> Result<Vec<Node>, Error> {
        let node = |id: &NodeId| Node {
            id: id.clone(),
            zone: None,
            labels: BTreeMap::new(),
            health: Health::Passing,
            active: None,
        };
        Ok(self.nodes.iter().map(node).collect())
    }

    async fn order(&self, _: &NodeId, _: &Order) -> Result<(), NodeError> {
        Ok(())
    }

    async fn probe(&self, _: &NodeId, _: &ModuleVersion, _: &HttpProbe) -> Result<(), NodeError> {
        Ok(())
    }

    async fn read(&self, node: &NodeId, _: &ModuleName) -> Result<NodeReading, NodeError> {
        Ok(NodeReading {
            node: node.clone(),
            boot: "static".to_owned(),
            at: Timestamp::default(),
            cpu_millis: 0,
            versions: Vec::new(),
        })
    }
}
