//! What is stored, and how appends change it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use hotswap_core::{
    DeploymentId, Environment, EnvironmentEvent, Event, EventBody, Fence, IdempotencyKey,
    Lifecycle, ModuleName, NodeId, StrategyName, Timestamp,
};
use semver::Version;
use tokio::sync::watch;

use crate::{Appended, BackendRecord, Head, ModuleRecord, NewSnapshot, NodeRecord, StrategyRecord};

/// Everything.
pub(super) struct State {
    id: u64,
    pub(super) epoch: watch::Sender<Arc<str>>,
    /// How often the epoch has changed.
    epochs: u64,
    /// Up to this position events may be missing.
    pub(super) lost_at: u64,
    /// Of the last event, of deployments and environments.
    pub(super) position: u64,
    /// The highest one that was deleted.
    pub(super) deleted: u64,
    /// The last one that was handed out.
    pub(super) fence: u64,
    /// Deployments by number, in the order of their creation.
    pub(super) deployments: BTreeMap<u64, Deployment>,
    pub(super) numbers: HashMap<DeploymentId, u64>,
    pub(super) last_number: u64,
    /// Events of deployments by position: number of the deployment and sequence number.
    pub(super) log: BTreeMap<u64, (u64, usize)>,
    pub(super) environment_events: BTreeMap<u64, (Environment, EnvironmentEvent)>,
    pub(super) environment_fences: BTreeMap<Environment, Fence>,
    /// The last deployment before the last retirement, and when that was.
    pub(super) retired: BTreeMap<(Environment, ModuleName), (u64, Timestamp)>,
    /// The positions of the events that cordon nodes, with which nodes came, and with policies.
    pub(super) cordons: BTreeMap<(Environment, NodeId), u64>,
    pub(super) arrivals: BTreeMap<NodeId, u64>,
    pub(super) policies: BTreeMap<Environment, u64>,
    pub(super) modules: BTreeMap<(ModuleName, Version), ModuleRecord>,
    pub(super) strategies: BTreeMap<StrategyName, StrategyRecord>,
    pub(super) backends: BTreeMap<StrategyName, BackendRecord>,
    pub(super) nodes: BTreeMap<NodeId, NodeRecord>,
}

/// A deployment with its journal.
pub(super) struct Deployment {
    pub(super) id: DeploymentId,
    pub(super) module: ModuleName,
    pub(super) environment: Environment,
    pub(super) selector: Option<String>,
    /// Who created it under which key.
    pub(super) request: Option<(String, IdempotencyKey)>,
    /// Whether it waits for the end of another one, or has ended while it did.
    pub(super) waits: bool,
    pub(super) fence: Fence,
    pub(super) lifecycle: Lifecycle,
    pub(super) created_at: Timestamp,
    pub(super) events: Vec<Event>,
    pub(super) snapshot: Option<NewSnapshot>,
}

impl Deployment {
    pub(super) fn head(&self) -> Head {
        Head {
            next_seq: self.events.len() as u64,
            lifecycle: self.lifecycle,
        }
    }

    pub(super) fn is_in(&self, module: &ModuleName, environment: &Environment) -> bool {
        self.module == *module && self.environment == *environment
    }

    pub(super) fn is_open(&self) -> bool {
        !self.lifecycle.is_ended()
    }
}

impl State {
    pub(super) fn new(id: u64) -> Self {
        Self {
            id,
            epoch: watch::Sender::new(format!("{id:016x}").into()),
            epochs: 0,
            lost_at: 0,
            position: 0,
            deleted: 0,
            fence: 0,
            deployments: BTreeMap::new(),
            numbers: HashMap::new(),
            last_number: 0,
            log: BTreeMap::new(),
            environment_events: BTreeMap::new(),
            environment_fences: BTreeMap::new(),
            retired: BTreeMap::new(),
            cordons: BTreeMap::new(),
            arrivals: BTreeMap::new(),
            policies: BTreeMap::new(),
            modules: BTreeMap::new(),
            strategies: BTreeMap::new(),
            backends: BTreeMap::new(),
            nodes: BTreeMap::new(),
        }
    }

    pub(super) fn find(&self, id: DeploymentId) -> Option<&Deployment> {
        self.deployments.get(self.numbers.get(&id)?)
    }

    pub(super) fn find_mut(&mut self, id: DeploymentId) -> Option<&mut Deployment> {
        self.deployments.get_mut(self.numbers.get(&id)?)
    }

    pub(super) fn begin_epoch(&mut self) {
        self.epochs += 1;
        self.lost_at = self.position;
        let epoch = format!("{:016x}-{}", self.id, self.epochs);
        self.epoch.send_replace(epoch.into());
    }

    /// Hands out the next fence.
    pub(super) fn next_fence(&mut self) -> Fence {
        self.fence += 1;
        Fence(self.fence)
    }

    /// The open deployment of a module, or the one that waits for its end.
    pub(super) fn open(
        &self,
        module: &ModuleName,
        environment: &Environment,
        waits: bool,
    ) -> Option<DeploymentId> {
        let mut open = self.deployments.values();
        open.find(|one| one.is_open() && one.waits == waits && one.is_in(module, environment))
            .map(|one| one.id)
    }

    /// Appends events that may follow, after which the deployment has this lifecycle.
    pub(super) fn push(
        &mut self,
        id: DeploymentId,
        bodies: Vec<EventBody>,
        lifecycle: Lifecycle,
        at: Timestamp,
        fenced: bool,
    ) -> Option<Appended> {
        let number = *self.numbers.get(&id)?;
        let deployment = self.deployments.get_mut(&number)?;
        for body in bodies {
            self.position += 1;
            let seq = deployment.events.len();
            deployment.events.push(Event {
                seq: seq as u64,
                position: self.position,
                at,
                body,
            });
            self.log.insert(self.position, (number, seq));
        }
        deployment.lifecycle = lifecycle;
        let appended = Appended {
            deployment: id,
            head: deployment.head(),
            position: self.position,
            fenced,
        };
        if lifecycle.is_ended() && !deployment.waits {
            let place = (deployment.module.clone(), deployment.environment.clone());
            let waiting = self.open(&place.0, &place.1, true);
            if let Some(waiting) = waiting.and_then(|id| self.find_mut(id)) {
                waiting.waits = false;
            }
        }
        Some(appended)
    }
}
