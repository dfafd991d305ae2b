//! What the unit tests of a driver share.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::time::Instant;

use async_trait::async_trait;
use hotswap_core::{
    Clock, Cordon, CordonedNode, Cordons, DeploymentId, Digest, Environment, EnvironmentEvent,
    EnvironmentEventBody, Header, Health, HttpProbe, ModuleName, ModuleVersion, Node, NodeError,
    NodeId, NodeReading, Order, Policy, Requester, StrategyLimits, StrategyRef, SystemClock,
    Timestamp,
};
use hotswap_fleet::{Fleet, HealthReport};

/// The monotonic clock of tokio, which tests pause and advance, and a wall-clock that runs
/// with it and that tests can set.
pub(super) struct TestClock {
    started: Instant,
    stepped_millis: AtomicI64,
}

impl Default for TestClock {
    fn default() -> Self {
        Self {
            started: SystemClock.instant(),
            stepped_millis: AtomicI64::new(1_700_000_000_000),
        }
    }
}

impl TestClock {
    /// Sets the wall-clock forward or back.
    pub(super) fn step(&self, seconds: i64) {
        self.stepped_millis
            .fetch_add(seconds * 1000, Ordering::Relaxed);
    }
}

#[async_trait]
impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        let elapsed = self.instant().duration_since(self.started).as_millis() as i64;
        let millis = self.stepped_millis.load(Ordering::Relaxed) + elapsed;
        Timestamp::from_millis(millis.unsigned_abs())
    }

    fn instant(&self) -> Instant {
        SystemClock.instant()
    }

    async fn sleep_until(&self, at: Instant) {
        SystemClock.sleep_until(at).await;
    }
}

pub(super) static PRODUCTION: LazyLock<Environment> =
    LazyLock::new(|| "production".parse().unwrap());

pub(super) fn header() -> Header {
    let environment = PRODUCTION.clone();
    Header {
        id: DeploymentId::from_bytes([7; 16]),
        module: module("2.0.0"),
        policy: Policy::default_for(&environment),
        environment,
        strategy: StrategyRef {
            name: "canary".parse().unwrap(),
            version: "0.1.0".into(),
            digest: Digest::of(b"canary"),
            wit: "0.1.0".parse().unwrap(),
        },
        config: serde_json::json!({}),
        limits: StrategyLimits::default(),
        requester: Requester {
            email: "ada@example.com".into(),
            subject: "ada".into(),
        },
        description: None,
        metadata: BTreeMap::new(),
        require_approval: false,
        selector: None,
        rollback_of: None,
        retry_of: None,
        undo_to: None,
        undo_from: None,
        supersedes: None,
        trace: None,
        idempotency: None,
    }
}

pub(super) fn module(version: &str) -> ModuleVersion {
    ModuleVersion {
        name: "hello".parse().unwrap(),
        version: version.parse().unwrap(),
        digest: Digest::of(version.as_bytes()),
    }
}

pub(super) fn node(id: &str, active: Option<ModuleVersion>) -> Node {
    Node {
        id: id.parse().unwrap(),
        zone: None,
        labels: BTreeMap::new(),
        health: Health::Passing,
        active,
        fault: None,
    }
}

/// A node that ada has cordoned, or drained.
pub(super) fn cordoned(id: &str, drained: bool) -> CordonedNode {
    CordonedNode {
        node: id.parse().unwrap(),
        cordon: Cordon {
            drained,
            by: "ada".to_owned(),
            reason: None,
            since: Timestamp::from_millis(1),
        },
    }
}

/// The cordons of an environment in which these nodes are cordoned.
pub(super) fn cordons(nodes: &[CordonedNode]) -> Cordons {
    let mut cordons = Cordons::default();
    for CordonedNode { node, cordon } in nodes {
        let (node, by, reason) = (node.clone(), cordon.by.clone(), cordon.reason.clone());
        let body = if cordon.drained {
            EnvironmentEventBody::Drained { node, by, reason }
        } else {
            EnvironmentEventBody::Cordoned { node, by, reason }
        };
        let at = cordon.since;
        cordons.apply(&EnvironmentEvent {
            position: 1,
            at,
            body,
        });
    }
    cordons
}

/// A fleet that lists these nodes.
pub(super) struct ListedFleet {
    nodes: Vec<Node>,
    heard: BTreeMap<NodeId, Health>,
    /// The nodes that have said that they stop.
    pub(super) stopped: Vec<NodeId>,
    /// The nodes that did not report in in time.
    pub(super) unheard: Vec<NodeId>,
    /// A node that has not reported in, and until when it has time to. Afterwards it
    /// is unheard.
    pub(super) awaited: Option<(NodeId, Instant)>,
    /// The nodes that have reported that they serve nothing.
    pub(super) idle: Vec<NodeId>,
    /// Why no node is passing.
    pub(super) reason: Option<String>,
    /// A node that does not answer before the nodes were asked this often.
    pub(super) silent_until: Option<(NodeId, u32)>,
    /// The highest fence that the nodes have seen.
    pub(super) seen_fence: u64,
    /// How many of the next orders come after one of another engine, under a higher fence.
    pub(super) fenced_by_others: AtomicI64,
    /// Whether this machine can open no connection.
    pub(super) has_local_fault: bool,
    /// How many of the next orders and readings this machine can open no connection for. The readings
    /// after them succeed.
    pub(super) local_faults: Option<AtomicU32>,
    asked: AtomicU32,
}

impl ListedFleet {
    pub(super) fn new(nodes: &[Node]) -> Self {
        Self {
            nodes: nodes.to_vec(),
            heard: BTreeMap::new(),
            stopped: Vec::new(),
            unheard: Vec::new(),
            awaited: None,
            idle: Vec::new(),
            reason: None,
            silent_until: None,
            seen_fence: 0,
            fenced_by_others: AtomicI64::new(0),
            has_local_fault: false,
            local_faults: None,
            asked: AtomicU32::new(0),
        }
    }

    /// Sets what was last heard of a node.
    pub(super) fn set_health(&mut self, node: &str, health: Health) {
        self.heard.insert(node.parse().unwrap(), health);
    }

    /// Whether this machine can open a connection now.
    fn connect(&self) -> Result<(), NodeError> {
        let Some(left) = &self.local_faults else {
            return Ok(());
        };
        let one_less = |left: u32| left.checked_sub(1);
        match left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less) {
            Ok(_) => Err(NodeError::Local("no files".into())),
            Err(_) => Ok(()),
        }
    }

    /// How often the nodes were asked.
    pub(super) fn asked(&self) -> u32 {
        self.asked.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl Fleet for ListedFleet {
    async fn nodes(
        &self,
        _: &Environment,
        _: &ModuleName,
    ) -> Result<Vec<Node>, hotswap_fleet::Error> {
        let asked = self.asked.fetch_add(1, Ordering::Relaxed) + 1;
        if self.has_local_fault {
            return Err(hotswap_fleet::Error::LocalFault("no files".into()));
        }
        let mut nodes = self.nodes.clone();
        for node in &mut nodes {
            if matches!(&self.silent_until, Some((id, until)) if *id == node.id && asked < *until) {
                node.health = Health::Critical;
            }
        }
        Ok(nodes)
    }

    async fn order(&self, _: &NodeId, order: &Order) -> Result<(), NodeError> {
        self.connect()?;
        if order.fence.0 < self.seen_fence {
            return Err(NodeError::Fenced(self.seen_fence));
        }
        if self.fenced_by_others.fetch_sub(1, Ordering::Relaxed) > 0 {
            return Err(NodeError::Fenced(order.fence.0 + 1));
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
        self.connect()?;
        if self.local_faults.is_none() {
            return Err(NodeError::Other("no counters".into()));
        }
        Ok(NodeReading {
            node: node.clone(),
            boot: "first".to_owned(),
            at: Timestamp::from_millis(1),
            cpu_millis: 0,
            starts: None,
            traffic: None,
            versions: Vec::new(),
        })
    }

    fn health(&self, node: &NodeId) -> HealthReport {
        HealthReport {
            health: self.heard.get(node).copied().unwrap_or(Health::Unknown),
            reason: self.reason.clone(),
        }
    }

    fn is_unheard(&self, node: &NodeId) -> bool {
        let awaited = self.awaited.as_ref().is_some_and(|(id, _)| id == node);
        self.unheard.contains(node) || (awaited && !self.is_awaited(node))
    }

    fn is_awaited(&self, node: &NodeId) -> bool {
        let awaited = self.awaited.as_ref().filter(|(id, _)| id == node);
        awaited.is_some_and(|(_, until)| SystemClock.instant() < *until)
    }

    fn serves_nothing(&self, node: &NodeId, _: &ModuleName) -> bool {
        self.idle.contains(node)
    }

    fn has_stopped(&self, node: &NodeId) -> bool {
        self.stopped.contains(node)
    }
}
