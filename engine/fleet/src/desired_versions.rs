use std::collections::BTreeMap;

use hotswap_core::{Cordon, Environment, ModuleName, ModuleVersion, NodeId};
use hotswap_store::NodeRecord;

/// Knows what nodes should run. The registry tells each node with the answers to its
/// registration and its heartbeats, and a node is ready for clients while it runs that.
pub trait DesiredVersions: Send + Sync + 'static {
    /// What a node should run, in its environment and with its labels. A module that is left out is not decided, and
    /// `None` says so of all modules.
    ///
    /// Called for each heartbeat of each node: answer at once, from memory.
    fn desired(&self, node: &NodeRecord) -> Option<BTreeMap<ModuleName, DesiredVersion>>;

    /// The cordon of a node, while a person has cordoned or drained it. The node is told.
    ///
    /// Called as often: answer at once, from memory.
    fn cordon(&self, node: &NodeId, environment: &Environment) -> Option<Cordon>;
}

/// The version of a module that a node should run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DesiredVersion {
    /// The version that should be active.
    pub version: ModuleVersion,
    /// Other versions that are accepted for now: while a deployment changes the node, the one
    /// before and the new one.
    pub accepted: Vec<ModuleVersion>,
}

/// Decides nothing: a node is ready once its engine has told it so.
#[derive(Debug, Clone, Copy, Default)]
pub struct Undecided;

impl DesiredVersions for Undecided {
    fn desired(&self, _: &NodeRecord) -> Option<BTreeMap<ModuleName, DesiredVersion>> {
        None
    }

    fn cordon(&self, _: &NodeId, _: &Environment) -> Option<Cordon> {
        None
    }
}
