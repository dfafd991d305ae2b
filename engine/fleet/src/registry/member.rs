use std::sync::Arc;
use std::time::Duration;

use hotswap_core::{Environment, Health, ModuleName, NodeId, Timestamp};
use hotswap_protocol::{Readiness, Traffic};
use hotswap_store::NodeRecord;

use super::report::ModuleStates;

/// A registered node and its health.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its report when it registered.
    pub record: Arc<NodeRecord>,
    /// Derived from its last heartbeat, and from how long ago it was last heard of.
    pub health: Health,
    /// One sentence, if the health is not passing.
    pub reason: Option<String>,
    /// When it last registered, sent a heartbeat or answered a request. `None` if it has done
    /// none of these since this engine started.
    pub last_seen: Option<Timestamp>,
    /// The source through which the engine knows it, and asks it. `None` for a node that reports in
    /// by itself, and for one that was not heard of since this engine started.
    pub found_in: Option<Arc<str>>,
    /// Random id of its start. `None` until it has registered with this engine.
    pub boot: Option<String>,
    /// The modules that it last reported. `None` until it has registered with this engine, or
    /// if it does not report them.
    pub modules: Option<Arc<ModuleStates>>,
    /// Whether clients may be sent to it, as its last heartbeat said. `None` if none has said so.
    pub readiness: Option<Readiness>,
    /// What clients sent to it since it started, as its last heartbeat said. `None` if none has
    /// said so.
    pub traffic: Option<Traffic>,
}

/// How long nothing was heard of a node, and whether that was announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Silence {
    /// How long this engine has listened since it last heard of the node; since its own start,
    /// if it has not heard of it. Neither a stall of the engine nor a step of the wall-clock
    /// counts.
    pub lasted: Duration,
    /// Whether the node has said to this engine that it stops.
    pub stopped: bool,
}

/// A node that belonged to another environment registers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// The node.
    pub node: NodeId,
    /// The environment that it belonged to.
    pub from: Environment,
    /// The environment that it registers for.
    pub to: Environment,
    /// The modules that are active on it, sorted, as far as it reports them.
    pub modules: Vec<ModuleName>,
}

/// Notification that a node's health has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthChange {
    /// The node.
    pub node: NodeId,
    /// Its new health. `None` if it was deregistered.
    pub health: Option<Health>,
}
