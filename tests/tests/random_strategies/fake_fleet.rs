//! Nodes that exist only here, and whose orders fail as a case says.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Result;
use async_trait::async_trait;
use hotswap_core::{
    Action, DeploymentId, Digest, Environment, Health, HttpProbe, ModuleName, ModuleVersion, Node,
    NodeError, NodeId, NodeReading, Order, Timestamp,
};
use hotswap_fleet::{Fleet, HealthReport};
use hotswap_protocol::ModuleReport;
use tokio::time::sleep;

use crate::case::{Case, Fault};

pub const MODULE: &str = "hello";

pub fn version(number: &str, artifact: &[u8]) -> Result<ModuleVersion> {
    Ok(ModuleVersion {
        name: MODULE.parse()?,
        version: number.parse()?,
        digest: Digest::of(artifact),
    })
}

/// Whether the engine gives an order to bring a node of an open deployment back.
fn brings_back(order: &Order) -> bool {
    order.operation.contains(".repair-")
}

/// A node that exists only here.
#[derive(Default)]
pub struct FakeNode {
    pub before: Option<ModuleVersion>,
    pub active: Option<ModuleVersion>,
    pub staged: Option<ModuleVersion>,
    pub is_dead: bool,
    pub is_drained: bool,
    /// Whether it has lost its disk.
    pub was_wiped: bool,
    pub faults: VecDeque<Option<Fault>>,
    /// The operations that it has carried out.
    pub done: BTreeSet<String>,
}

/// The fleet of one case, and what its policy allows.
pub struct FakeFleet {
    pub max_unavailable: usize,
    pub tolerated: usize,
    pub nodes: BTreeMap<NodeId, FakeNode>,
    /// Faults happen only to the orders of this deployment.
    pub deployment: Option<DeploymentId>,
    pub changing: BTreeSet<NodeId>,
    /// The nodes that left open whether they carried an order out, and the first such operation.
    pub unclear: BTreeMap<NodeId, String>,
    /// The nodes that failed, and the first operation that did.
    pub failed: BTreeMap<NodeId, String>,
    /// The operation of the last order. An engine that stops may forget the answers to it.
    pub operation: String,
    /// The call in which too many nodes failed. Some of its orders may still begin: one for each
    /// that was under way beside the failure, whose answer the engine may read first.
    pub last_call: Option<String>,
    pub late_orders: usize,
    pub violations: Vec<String>,
    /// How many orders to serve came from the engine, which brought a node back.
    pub brought_back: usize,
}

impl FakeFleet {
    /// The fleet of a case, whose nodes begin with the name of its environment.
    pub fn new(environment: &Environment, case: &Case) -> Result<Self> {
        let old = [
            version("0.9.0", hotswap_guests::HELLO_V3)?,
            version("1.0.0", hotswap_guests::HELLO_V1)?,
        ];
        let mut nodes = BTreeMap::new();
        for (number, before) in case.before.iter().enumerate() {
            let active = before.map(|newer| old[usize::from(newer)].clone());
            let node = FakeNode {
                active,
                ..FakeNode::default()
            };
            nodes.insert(format!("{environment}-node-{number}").parse()?, node);
        }
        Ok(Self {
            max_unavailable: case.max_unavailable.of(case.before.len()).max(1),
            tolerated: case.tolerated.of(case.before.len()),
            nodes,
            deployment: None,
            changing: BTreeSet::new(),
            unclear: BTreeMap::new(),
            failed: BTreeMap::new(),
            operation: String::new(),
            last_call: None,
            late_orders: 0,
            violations: Vec::new(),
            brought_back: 0,
        })
    }

    /// Checks an order that changes a node for a new version, and notes that it is under way.
    fn begin(&mut self, id: &NodeId, order: &Order) {
        if !matches!(
            order.action,
            Action::Stage(_) | Action::Shift { .. } | Action::Promote(_)
        ) {
            return;
        }
        let is_tried = self.is_of_strategy(order);
        if is_tried {
            self.operation.clone_from(&order.operation);
        }
        // A repair takes nothing away where nothing runs, also where it stages what was staged.
        let served_nothing = self.nodes[id].active.is_none() || order.operation.ends_with("-new");
        if !is_tried && served_nothing {
            return;
        }
        let gone = self.nodes.iter().filter(|(_, node)| {
            let is_idle = node.active.is_none() && node.before.is_some();
            // A repair of one node takes nothing away from those that serve nothing.
            node.is_dead || node.is_drained || (is_tried && is_idle)
        });
        let gone = gone.map(|(id, _)| id);
        let unavailable: BTreeSet<_> = gone.chain(self.unclear.keys()).cloned().collect();
        let serving = self.changing.iter().filter(|id| !unavailable.contains(*id));
        let count = serving.count() + unavailable.len();
        if !unavailable.contains(id) && count >= self.max_unavailable {
            self.violations.push(format!(
                "{id} is changed ({}) while {count} of {} allowed nodes do not serve: {unavailable:?}, {:?}",
                order.operation, self.max_unavailable, self.changing
            ));
        }
        if is_tried && self.failed.len() > self.tolerated {
            let is_late = self.last_call.as_ref() == Some(&order.operation);
            match self.late_orders.checked_sub(1).filter(|_| is_late) {
                Some(left) => self.late_orders = left,
                None => self.violations.push(format!(
                    "{id} gets an order ({}) after {:?} have failed, and {} are tolerated",
                    order.operation, self.failed, self.tolerated
                )),
            }
        }
        self.changing.insert(id.clone());
    }

    /// Whether the strategy gives an order, and not the engine that brings a node back: in the open
    /// deployment, or right after its end, which the test may notice later.
    fn is_of_strategy(&self, order: &Order) -> bool {
        let is_repair = brings_back(order) || order.operation.starts_with("repair-");
        self.deployment == Some(order.deployment) && !is_repair
    }

    fn end(&mut self, id: &NodeId, order: &Order, result: &Result<(), NodeError>) {
        let is_tried = self.is_of_strategy(order);
        if !matches!(result, Err(NodeError::Unreachable(_))) {
            self.unclear.remove(id);
        }
        // A node that was changed and died has failed.
        let is_unreachable = match result {
            Ok(()) if self.nodes[id].is_dead => false,
            Ok(()) => return,
            Err(error) => matches!(error, NodeError::Unreachable(_)),
        };
        // What the engine does on its own after the strategy counts no more.
        if !is_tried || !order.operation.contains('.') {
            return;
        }
        if is_unreachable {
            let operation = order.operation.clone();
            self.unclear.entry(id.clone()).or_insert(operation);
        }
        let was_exceeded = self.failed.len() > self.tolerated;
        let operation = order.operation.clone();
        self.failed.entry(id.clone()).or_insert(operation);
        if !was_exceeded && self.failed.len() > self.tolerated {
            self.last_call = Some(order.operation.clone());
            self.late_orders = self.max_unavailable - 1;
        }
    }

    /// Another engine drives from now on. What nodes answered last may not be in the journal.
    fn forget_last_answers(&mut self) {
        let Self { operation, .. } = self;
        self.failed.retain(|_, failed_in| failed_in != operation);
        self.unclear
            .retain(|_, unclear_since| unclear_since != operation);
        if self.failed.len() <= self.tolerated {
            self.last_call = None;
        }
    }

    fn carry_out(&mut self, id: &NodeId, order: &Order) -> Result<(), NodeError> {
        let is_tried = self.deployment == Some(order.deployment);
        let node = self.nodes.get_mut(id).expect("a node of the case");
        let fault = match is_tried {
            true => node.faults.pop_front().flatten(),
            false => None,
        };
        if fault == Some(Fault::Dies) {
            node.is_dead = true;
        }
        let lost = || NodeError::Unreachable("no answer".to_owned());
        if node.is_dead || fault == Some(Fault::Lost) {
            return Err(lost());
        }
        if fault == Some(Fault::Refused) {
            return Err(NodeError::Refused("it does not want to".to_owned()));
        }
        if node.done.insert(order.operation.clone())
            && let Err(error) = node.apply(&order.action)
        {
            node.done.remove(&order.operation);
            return Err(error);
        }
        match fault {
            Some(Fault::AnswerLost) => return Err(lost()),
            Some(Fault::DiesAfter) => node.is_dead = true,
            Some(Fault::LosesDisk) => node.lose_disk(),
            _ => {}
        }
        Ok(())
    }
}

impl FakeNode {
    fn lose_disk(&mut self) {
        (self.active, self.staged) = (None, None);
        self.done.clear();
        self.was_wiped = true;
    }

    /// As a real node does.
    fn apply(&mut self, action: &Action) -> Result<(), NodeError> {
        let not_staged = || NodeError::Refused("it is not staged here; stage it first".to_owned());
        match action {
            Action::Stage(version) => {
                if self.active.as_ref() != Some(version) {
                    self.staged = Some(version.clone());
                }
            }
            Action::Shift { version, .. } => {
                if self.active.as_ref() != Some(version) && self.staged.as_ref() != Some(version) {
                    return Err(not_staged());
                }
            }
            Action::Promote(version) => {
                if self.active.as_ref() != Some(version) {
                    if self.staged.as_ref() != Some(version) {
                        return Err(not_staged());
                    }
                    self.active = self.staged.take();
                }
            }
            Action::Revert(before) => {
                self.active.clone_from(before);
                self.staged = None;
            }
            Action::Restart(version) => {
                if self.active.as_ref() != Some(version) {
                    let reason = "it is not active here".to_owned();
                    return Err(NodeError::Refused(reason));
                }
            }
            Action::Settle => self.staged = None,
        }
        Ok(())
    }
}

/// The fleets of all cases, each in an environment of its own.
#[derive(Default)]
pub struct FakeFleets(pub BTreeMap<Environment, Mutex<FakeFleet>>);

impl FakeFleets {
    pub fn of(&self, environment: &Environment) -> Option<MutexGuard<'_, FakeFleet>> {
        let fleet = self.0.get(environment)?;
        Some(fleet.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Another engine drives from now on.
    pub fn forget_last_answers(&self) {
        for fleet in self.0.values() {
            let mut fleet = fleet.lock().unwrap_or_else(PoisonError::into_inner);
            fleet.forget_last_answers();
        }
    }

    /// The living nodes of an environment, and what they run.
    pub fn reports(&self, environment: &Environment) -> Vec<(NodeId, Vec<ModuleReport>)> {
        let wire = |version: &ModuleVersion| hotswap_protocol::Version {
            version: version.version.to_string(),
            digest: version.digest.to_string(),
        };
        let fleet = self.of(environment).expect("a fleet of a case");
        let living = fleet.nodes.iter().filter(|(_, node)| !node.is_dead);
        let report = |(id, node): (&NodeId, &FakeNode)| {
            let modules = node.active.iter().map(|active| ModuleReport {
                module: MODULE.to_owned(),
                active: Some(wire(active)),
                staged: None,
                previous: None,
                percent: 0,
                faults: Vec::new(),
            });
            (id.clone(), modules.collect())
        };
        living.map(report).collect()
    }

    /// The id of a node begins with the name of its environment.
    pub fn with(&self, node: &NodeId) -> MutexGuard<'_, FakeFleet> {
        let environment = node.as_str().split_once("-node-").map(|(name, _)| name);
        let environment = environment.and_then(|name| name.parse().ok());
        environment
            .and_then(|name| self.of(&name))
            .expect("a node of a case")
    }
}

/// An order that is under way until it is dropped, by an engine that stops, too.
struct UnderWay<'a> {
    fleets: &'a FakeFleets,
    id: &'a NodeId,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.fleets.with(self.id).changing.remove(self.id);
    }
}

#[async_trait]
impl Fleet for FakeFleets {
    async fn nodes(
        &self,
        environment: &Environment,
        _: &ModuleName,
    ) -> Result<Vec<Node>, hotswap_fleet::Error> {
        let fleet = self.of(environment);
        let fleet = fleet.ok_or_else(|| hotswap_fleet::Error::NoNodes(environment.clone()))?;
        let node = |(id, node): (&NodeId, &FakeNode)| Node {
            id: id.clone(),
            zone: None,
            labels: BTreeMap::new(),
            health: match node.is_dead {
                true => Health::Critical,
                false => Health::Passing,
            },
            active: node.active.clone().filter(|_| !node.is_dead),
            fault: None,
        };
        Ok(fleet.nodes.iter().map(node).collect())
    }

    async fn order(&self, id: &NodeId, order: &Order) -> Result<(), NodeError> {
        let _under_way = UnderWay { fleets: self, id };
        self.with(id).begin(id, order);
        // Orders to other nodes begin meanwhile.
        sleep(Duration::from_millis(2)).await;
        let mut fleet = self.with(id);
        let result = fleet.carry_out(id, order);
        if brings_back(order) && matches!(order.action, Action::Promote(_)) {
            fleet.brought_back += 1;
        }
        fleet.end(id, order, &result);
        result
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
            boot: "fake".to_owned(),
            at: Timestamp::default(),
            cpu_millis: 0,
            starts: None,
            traffic: None,
            versions: Vec::new(),
        })
    }

    fn serves_nothing(&self, node: &NodeId, _: &ModuleName) -> bool {
        self.with(node).nodes[node].active.is_none()
    }

    fn health(&self, node: &NodeId) -> HealthReport {
        let is_dead = self.with(node).nodes[node].is_dead;
        HealthReport {
            health: if is_dead {
                Health::Critical
            } else {
                Health::Passing
            },
            reason: is_dead.then(|| "it is dead".to_owned()),
        }
    }
}
