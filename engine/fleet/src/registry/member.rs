use std::sync::Arc;

use hotswap_core::{Health, NodeId, Timestamp};
use hotswap_store::NodeRecord;

/// A registered node and its health.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// What it reported when it registered.
    pub record: Arc<NodeRecord>,
    /// Derived from its last heartbeat and the age of that.
    pub health: Health,
    /// One sentence, if the health is not passing.
    pub reason: Option<String>,
    /// When it registered or sent its last heartbeat. `None` if it has done neither since this
    /// engine started.
    pub last_seen: Option<Timestamp>,
}

/// Notification that a node's health has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthChange {
    /// The node.
    pub node: NodeId,
    /// Its new health. `None` if it was deregistered.
    pub health: Option<Health>,
}
