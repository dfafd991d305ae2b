use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use hotswap_core::{
    Action, Digest, Environment, Health, HttpProbe, ModuleName, ModuleVersion, Node, NodeError,
    NodeId, NodeReading, Order, Timestamp,
};
use hotswap_fleet::{Error, Fleet};
use semver::Version;

/// Nodes that carry every order out at once, and only remember what they run. Benches use it to
/// measure the engine alone.
pub struct StaticFleet {
    nodes: Vec<NodeId>,
    /// What they run of every module before they are told something else.
    initial: Option<(Version, Digest)>,
    active: Mutex<HashMap<(NodeId, ModuleName), ModuleVersion>>,
}

impl StaticFleet {
    /// A fleet with `node_count` nodes in every environment.
    pub fn new(node_count: usize) -> Self {
        let id = |number| format!("node-{number}").parse().expect("a node id");
        Self {
            nodes: (1..=node_count).map(id).collect(),
            initial: None,
            active: Mutex::default(),
        }
    }

    /// All nodes run this version of every module from the start, so that a strategy that does
    /// not touch them succeeds.
    pub fn running(self, version: Version, artifact: &[u8]) -> Self {
        let initial = Some((version, Digest::of(artifact)));
        Self { initial, ..self }
    }

    fn initial(&self, module: &ModuleName) -> Option<ModuleVersion> {
        let (version, digest) = self.initial.clone()?;
        let name = module.clone();
        Some(ModuleVersion {
            name,
            version,
            digest,
        })
    }
}

#[async_trait]
impl Fleet for StaticFleet {
    async fn nodes(&self, _: &Environment, module: &ModuleName) -> Result<Vec<Node>, Error> {
        let active = self.active.lock().unwrap_or_else(PoisonError::into_inner);
        let node = |id: &NodeId| Node {
            id: id.clone(),
            zone: None,
            labels: BTreeMap::new(),
            health: Health::Passing,
            active: active
                .get(&(id.clone(), module.clone()))
                .cloned()
                .or_else(|| self.initial(module)),
            fault: None,
        };
        Ok(self.nodes.iter().map(node).collect())
    }

    async fn order(&self, node: &NodeId, order: &Order) -> Result<(), NodeError> {
        if let Action::Promote(version) | Action::Revert(Some(version)) = &order.action {
            let mut active = self.active.lock().unwrap_or_else(PoisonError::into_inner);
            active.insert((node.clone(), order.module.clone()), version.clone());
        }
        Ok(())
    }

    async fn probe(
        &self,
        _: &Environment,
        _: &NodeId,
        _: &ModuleVersion,
        _: &HttpProbe,
    ) -> Result<(), NodeError> {
        Ok(())
    }

    async fn read(
        &self,
        _: &Environment,
        node: &NodeId,
        _: &ModuleName,
    ) -> Result<NodeReading, NodeError> {
        Ok(NodeReading {
            node: node.clone(),
            boot: "static".to_owned(),
            at: Timestamp::default(),
            cpu_millis: 0,
            starts: None,
            traffic: None,
            versions: Vec::new(),
        })
    }
}
