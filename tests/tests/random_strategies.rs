//! Random strategies roll out to random fleets, whose nodes refuse orders, lose answers and die.
//! Whatever they do: the policy is kept, every node ends on the new version or on its own version
//! before, and the fleet converges on what was decided once its nodes are well again.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use hotswap_core::{
    Action, Amount, Deployment, DeploymentId, Digest, Environment, Health, HttpProbe, ModuleName,
    ModuleVersion, Node, NodeError, NodeId, NodeReading, Order, Policy, Requester, Status,
    Timestamp,
};
use hotswap_fleet::{Fleet, HealthReport, Registry};
use hotswap_protocol::{Heartbeat, ModuleReport, NodeHealth};
use hotswap_runner::{Engine, NewDeployment};
use hotswap_tests::{EMAIL, EngineResources, unreachable_registration, wait_for_end};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

/// How many rollouts are tried. `RANDOM_CASES` in the environment says another number.
const CASES: usize = 96;
const MODULE: &str = "hello";
/// How long a wait may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// What happens to an order.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    /// The node refuses it.
    Refused,
    /// It never arrives.
    Lost,
    /// It is carried out, but its answer never arrives.
    AnswerLost,
    /// The node dies before it.
    Dies,
}

/// A fleet, its policy, and what happens to it.
#[derive(Debug, Clone)]
struct Case {
    /// For each node, what it runs before, if nothing is decided: none, 0.9.0 or 1.0.0. Its
    /// length is the number of nodes.
    before: Vec<Option<bool>>,
    /// Whether 1.0.0 has been rolled out to all nodes.
    is_decided: bool,
    max_unavailable: usize,
    tolerated: usize,
    /// For each node, what happens to its first orders.
    faults: Vec<Vec<Option<Fault>>>,
    /// The configuration of the strategy `scripted`.
    calls: Vec<(usize, Vec<usize>)>,
    goes_on: bool,
    end: usize,
}

const KINDS: [&str; 6] = ["stage", "promote", "shift", "revert", "nodes", "sleep"];
const ENDS: [&str; 4] = ["ok", "ok", "error", "trap"];

fn any_case() -> impl Strategy<Value = Case> {
    let fault = prop_oneof![
        12 => Just(None),
        2 => Just(Some(Fault::Refused)),
        1 => Just(Some(Fault::Lost)),
        1 => Just(Some(Fault::AnswerLost)),
        1 => Just(Some(Fault::Dies)),
    ];
    (2_usize..=6).prop_flat_map(move |nodes| {
        // Mostly what a rollout needs, on any nodes in any order.
        let kind = prop_oneof![6 => 0_usize..2, 1 => 2_usize..KINDS.len()];
        let call = (kind, vec(0..nodes, 1..=nodes));
        let whole: Vec<usize> = (0..nodes).collect();
        let rollout = Just(vec![(0, whole.clone()), (1, whole)]);
        let calls = prop_oneof![vec(call.clone(), 1..10), rollout];
        (
            vec(proptest::option::of(any::<bool>()), nodes),
            any::<bool>(),
            1..=nodes,
            0..=nodes / 2,
            vec(vec(fault.clone(), 0..6), nodes),
            calls,
            any::<bool>(),
            0..ENDS.len(),
        )
            .prop_map(
                |(before, is_decided, max_unavailable, tolerated, faults, calls, goes_on, end)| {
                    Case {
                        before,
                        is_decided,
                        max_unavailable,
                        tolerated,
                        faults,
                        calls,
                        goes_on,
                        end,
                    }
                },
            )
    })
}

impl Case {
    fn config(&self) -> Value {
        let calls = self.calls.iter().map(|(kind, nodes)| {
            let nodes: BTreeSet<_> = nodes.iter().collect();
            json!({ "kind": KINDS[*kind], "nodes": nodes })
        });
        json!({
            "calls": calls.collect::<Vec<_>>(),
            "goesOn": self.goes_on,
            "end": ENDS[self.end],
        })
    }

    fn policy(&self, environment: &Environment) -> Result<Policy> {
        let count = |count: usize| anyhow::Ok(Amount::Count(u32::try_from(count)?));
        Ok(Policy {
            max_unavailable: count(self.max_unavailable)?,
            tolerated_failures: count(self.tolerated)?,
            max_missing: Amount::Percent(100),
            revert_patience: Duration::from_millis(200),
            ..Policy::default_for(environment)
        })
    }
}

fn version(number: &str, artifact: &[u8]) -> Result<ModuleVersion> {
    Ok(ModuleVersion {
        name: MODULE.parse()?,
        version: number.parse()?,
        digest: Digest::of(artifact),
    })
}

/// A node that exists only here.
#[derive(Default)]
struct FakeNode {
    before: Option<ModuleVersion>,
    active: Option<ModuleVersion>,
    staged: Option<ModuleVersion>,
    is_dead: bool,
    faults: VecDeque<Option<Fault>>,
    /// The operations that it has carried out.
    done: BTreeSet<String>,
}

/// The fleet of one case, and what its policy allows.
struct FakeFleet {
    max_unavailable: usize,
    tolerated: usize,
    nodes: BTreeMap<NodeId, FakeNode>,
    /// Faults happen only to the orders of this deployment.
    deployment: Option<DeploymentId>,
    /// The operation of the last order, and the nodes that were dead when it began.
    operation: String,
    dead: BTreeSet<NodeId>,
    changing: BTreeSet<NodeId>,
    /// The nodes that left open whether they carried an order out.
    unclear: BTreeSet<NodeId>,
    failed: BTreeSet<NodeId>,
    /// The call in which too many nodes failed. Some of its orders may still begin: one for each
    /// that was under way beside the failure, whose answer the engine may read first.
    last_call: Option<String>,
    late_orders: usize,
    violations: Vec<String>,
}

impl FakeFleet {
    /// Checks an order that changes a node for a new version, and notes that it is under way.
    fn begin(&mut self, id: &NodeId, order: &Order) {
        if self.operation != order.operation {
            self.operation.clone_from(&order.operation);
            let dead = self.nodes.iter().filter(|(_, node)| node.is_dead);
            self.dead = dead.map(|(id, _)| id.clone()).collect();
        }
        if !matches!(
            order.action,
            Action::Stage(_) | Action::Shift { .. } | Action::Promote(_)
        ) {
            return;
        }
        let is_tried = self.deployment == Some(order.deployment);
        // A repair takes nothing away where nothing runs.
        if !is_tried && self.nodes[id].active.is_none() {
            return;
        }
        let unavailable: BTreeSet<_> = self.dead.union(&self.unclear).collect();
        let serving = self.changing.iter().filter(|id| !unavailable.contains(id));
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

    fn end(&mut self, id: &NodeId, order: &Order, result: &Result<(), NodeError>) {
        self.changing.remove(id);
        let is_tried = self.deployment == Some(order.deployment);
        if !matches!(result, Err(NodeError::Unreachable(_))) {
            self.unclear.remove(id);
        }
        let Err(error) = result else {
            return;
        };
        // What the engine does on its own after the strategy counts no more.
        if !is_tried || !order.operation.contains('.') {
            return;
        }
        if matches!(error, NodeError::Unreachable(_)) {
            self.unclear.insert(id.clone());
        }
        let was_exceeded = self.failed.len() > self.tolerated;
        self.failed.insert(id.clone());
        if !was_exceeded && self.failed.len() > self.tolerated {
            self.last_call = Some(order.operation.clone());
            self.late_orders = self.max_unavailable - 1;
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
            Some(Fault::AnswerLost) => Err(lost()),
            _ => Ok(()),
        }
    }
}

impl FakeNode {
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
            Action::Settle => self.staged = None,
        }
        Ok(())
    }
}

/// The fleets of all cases, each in an environment of its own.
#[derive(Default)]
struct FakeFleets(BTreeMap<Environment, Mutex<FakeFleet>>);

impl FakeFleets {
    fn of(&self, environment: &Environment) -> Option<MutexGuard<'_, FakeFleet>> {
        let fleet = self.0.get(environment)?;
        Some(fleet.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The id of a node begins with the name of its environment.
    fn with(&self, node: &NodeId) -> MutexGuard<'_, FakeFleet> {
        let environment = node.as_str().split_once("-node-").map(|(name, _)| name);
        let environment = environment.and_then(|name| name.parse().ok());
        environment
            .and_then(|name| self.of(&name))
            .expect("a node of a case")
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
        };
        Ok(fleet.nodes.iter().map(node).collect())
    }

    async fn order(&self, id: &NodeId, order: &Order) -> Result<(), NodeError> {
        self.with(id).begin(id, order);
        // Orders to other nodes begin meanwhile.
        sleep(Duration::from_millis(2)).await;
        let mut fleet = self.with(id);
        let result = fleet.carry_out(id, order);
        fleet.end(id, order, &result);
        result
    }

    async fn probe(&self, _: &NodeId, _: &ModuleVersion, _: &HttpProbe) -> Result<(), NodeError> {
        Ok(())
    }

    async fn read(&self, node: &NodeId, _: &ModuleName) -> Result<NodeReading, NodeError> {
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

/// The engine of all cases.
struct Trial {
    engine: Engine,
    registry: Registry,
    fleets: Arc<FakeFleets>,
    new: ModuleVersion,
}

impl Trial {
    /// Tries one case.
    async fn run(&self, environment: &Environment, case: &Case) -> Result<Status> {
        let _heartbeats = self.start_heartbeats(environment).await?;
        if case.is_decided {
            let id = self
                .deploy(environment, "1.0.0", "direct", json!({}))
                .await?;
            let state = wait_for_end(&self.engine, id).await?;
            ensure!(state.status() == Status::Succeeded, "{:?}", state.cause);
        }
        {
            let mut fleet = self.fleet(environment);
            for (node, faults) in fleet.nodes.values_mut().zip(&case.faults) {
                node.before.clone_from(&node.active);
                node.faults = faults.clone().into();
            }
        }
        let id = self
            .deploy(environment, "2.0.0", "scripted", case.config())
            .await?;
        let state = wait_for_end(&self.engine, id).await?;
        {
            let mut fleet = self.fleet(environment);
            check_end(&state, &fleet, &self.new)?;
            // All are well again.
            fleet.deployment = None;
            fleet.unclear.clear();
            for node in fleet.nodes.values_mut() {
                node.faults.clear();
                node.is_dead = false;
            }
        }
        self.wait_for_convergence(environment, &state).await?;
        let violations = &self.fleet(environment).violations;
        ensure!(violations.is_empty(), "{violations:#?}");
        Ok(state.status())
    }

    fn fleet(&self, environment: &Environment) -> MutexGuard<'_, FakeFleet> {
        self.fleets.of(environment).expect("a fleet of a case")
    }

    async fn deploy(
        &self,
        environment: &Environment,
        version: &str,
        strategy: &str,
        config: Value,
    ) -> Result<DeploymentId> {
        let new = NewDeployment {
            module: MODULE.parse()?,
            version: Some(version.parse()?),
            environment: environment.clone(),
            strategy: Some(strategy.parse()?),
            config: Some(config),
            requester: Requester {
                email: EMAIL.to_owned(),
                subject: EMAIL.to_owned(),
            },
            description: None,
            metadata: BTreeMap::new(),
            require_approval: strategy == "scripted",
            trace: None,
            idempotency_key: None,
            selector: None,
            supersede: false,
        };
        let id = self.engine.deployments.create(new).await?;
        if strategy == "scripted" {
            // The fleet must know whose orders fail before the first is sent.
            self.fleet(environment).deployment = Some(id);
            let approved = hotswap_core::Decision {
                approved: true,
                by: EMAIL.to_owned(),
                comment: None,
            };
            self.approve(id, approved).await?;
        }
        Ok(id)
    }

    /// Approves a deployment once it asks.
    async fn approve(&self, id: DeploymentId, approved: hotswap_core::Decision) -> Result<()> {
        let deployments = &self.engine.deployments;
        loop {
            let state = deployments.get(id).await?;
            if state.status() == Status::AwaitingApproval {
                deployments.decide(id, approved).await?;
                return Ok(());
            }
            let (from, wait) = (state.next_seq, Duration::from_secs(1));
            deployments.events(id, from, 1, wait).await?;
        }
    }

    /// Registers the nodes, then lets the living ones report what they run, until it is dropped.
    async fn start_heartbeats(
        &self,
        environment: &Environment,
    ) -> Result<tokio_util::task::AbortOnDropHandle<()>> {
        for (id, modules) in self.reports(environment) {
            let mut registration = unreachable_registration(environment.as_str());
            registration.modules = Some(modules);
            self.registry.register(id, registration).await?;
        }
        let (registry, fleets) = (self.registry.clone(), Arc::clone(&self.fleets));
        let environment = environment.clone();
        let task = tokio::spawn(async move {
            loop {
                sleep(Duration::from_millis(100)).await;
                for (id, modules) in reports(&fleets, &environment) {
                    let heartbeat = Heartbeat {
                        health: NodeHealth::Passing,
                        reason: None,
                        highest_fence: 0,
                        boot: None,
                        control_url: None,
                        data_url: None,
                        modules: Some(modules),
                        readiness: None,
                        traffic: None,
                    };
                    // The next one tells the same.
                    let _ = registry.heartbeat(&id, heartbeat);
                }
            }
        });
        Ok(tokio_util::task::AbortOnDropHandle::new(task))
    }

    fn reports(&self, environment: &Environment) -> Vec<(NodeId, Vec<ModuleReport>)> {
        reports(&self.fleets, environment)
    }

    /// Waits until every node runs what the rollout decided.
    async fn wait_for_convergence(
        &self,
        environment: &Environment,
        state: &Deployment,
    ) -> Result<()> {
        let is_success = matches!(state.status(), Status::Succeeded | Status::Partial);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let wrong: Vec<_> = {
                let fleet = self.fleet(environment);
                let wrong = fleet.nodes.iter().filter(|(_, node)| match is_success {
                    true => node.active.as_ref() != Some(&self.new),
                    false => node.active != node.before,
                });
                wrong
                    .map(|(id, node)| format!("{id} runs {:?}", node.active))
                    .collect()
            };
            if wrong.is_empty() {
                return Ok(());
            }
            if Instant::now() >= deadline {
                let placements = self.engine.reconciler.placements(environment).await?;
                bail!("after {:?}: {wrong:#?}; {placements:#?}", state.status());
            }
            sleep(Duration::from_millis(10)).await;
        }
    }
}

/// The living nodes, and what they run.
fn reports(fleets: &FakeFleets, environment: &Environment) -> Vec<(NodeId, Vec<ModuleReport>)> {
    let wire = |version: &ModuleVersion| hotswap_protocol::Version {
        version: version.version.to_string(),
        digest: version.digest.to_string(),
    };
    let fleet = fleets.of(environment).expect("a fleet of a case");
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

/// Checks what the nodes run at the end of a rollout.
fn check_end(state: &Deployment, fleet: &FakeFleet, new: &ModuleVersion) -> Result<()> {
    let status = state.status();
    let named: BTreeSet<_> = match status {
        Status::Partial => state
            .not_updated
            .iter()
            .map(|failure| &failure.node)
            .collect(),
        Status::Failed => state.failures.iter().map(|failure| &failure.node).collect(),
        _ => BTreeSet::new(),
    };
    ensure!(
        status != Status::Partial || named.len() <= fleet.tolerated,
        "{named:?} were not updated, and {} are tolerated",
        fleet.tolerated
    );
    for (id, node) in &fleet.nodes {
        let active = node.active.as_ref();
        let (is_new, is_before) = (active == Some(new), node.active == node.before);
        ensure!(is_new || is_before, "{id} runs {active:?}");
        let is_planned = state.nodes.contains_key(id);
        let is_right = match status {
            Status::Succeeded | Status::Partial => is_new,
            _ => is_before,
        };
        ensure!(
            is_right || named.contains(id) || !is_planned,
            "{id} runs {active:?} after {status:?}, and is not named: {:?}",
            state.failures
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn random_strategies_do_no_harm_to_random_fleets() -> Result<()> {
    let count = std::env::var("RANDOM_CASES").ok();
    let count = count.map_or(Ok(CASES), |count| count.parse())?;
    let seed = std::env::var("RANDOM_SEED").ok();
    let seed: u8 = seed.map_or(Ok(0), |seed| seed.parse())?;
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let mut cases = BTreeMap::new();
    for number in 0..count {
        let case = any_case().new_tree(&mut runner);
        let case = case
            .map_err(|reason| anyhow::anyhow!("{reason}"))?
            .current();
        let environment: Environment = format!("case{number}").parse()?;
        cases.insert(environment, case);
    }

    let mut fleets = FakeFleets::default();
    let mut policies = BTreeMap::new();
    let old = [
        version("0.9.0", hotswap_guests::HELLO_V3)?,
        version("1.0.0", hotswap_guests::HELLO_V1)?,
    ];
    for (environment, case) in &cases {
        policies.insert(environment.clone(), case.policy(environment)?);
        let mut nodes = BTreeMap::new();
        for (number, before) in case.before.iter().enumerate() {
            let active = before.map(|newer| old[usize::from(newer)].clone());
            let node = FakeNode {
                active,
                ..FakeNode::default()
            };
            nodes.insert(format!("{environment}-node-{number}").parse()?, node);
        }
        let fleet = FakeFleet {
            max_unavailable: case.max_unavailable,
            tolerated: case.tolerated,
            nodes,
            deployment: None,
            operation: String::new(),
            dead: BTreeSet::new(),
            changing: BTreeSet::new(),
            unclear: BTreeSet::new(),
            failed: BTreeSet::new(),
            last_call: None,
            late_orders: 0,
            violations: Vec::new(),
        };
        fleets.0.insert(environment.clone(), Mutex::new(fleet));
    }

    let folder = tempfile::tempdir()?;
    let mut resources = EngineResources::new(folder.path(), policies).await?;
    let fleets = Arc::new(fleets);
    resources.fleet = Arc::clone(&fleets) as Arc<dyn Fleet>;
    let engine = resources
        .start_engine(Arc::new(resources.store.clone()))
        .await?;
    let scripted = hotswap_guests::SCRIPTED.to_vec();
    engine.strategies.upload(scripted, EMAIL).await?;
    for (version, artifact) in [
        ("0.9.0", hotswap_guests::HELLO_V3),
        ("1.0.0", hotswap_guests::HELLO_V1),
        ("2.0.0", hotswap_guests::HELLO_V2),
    ] {
        let mut upload = engine.modules.upload().await?;
        upload.write(artifact).await?;
        upload
            .finish(MODULE.parse()?, version.parse()?, EMAIL)
            .await?;
    }
    let trial = Trial {
        registry: resources.registry.clone(),
        engine,
        fleets,
        new: version("2.0.0", hotswap_guests::HELLO_V2)?,
    };
    let trial = &trial;
    let ends: Vec<Result<&str>> = stream::iter(&cases)
        .map(|(environment, case)| async move {
            let status = trial.run(environment, case).await;
            let status = status.with_context(|| format!("{environment}: {case:#?}"))?;
            Ok(status.as_str())
        })
        .buffer_unordered(32)
        .collect()
        .await;
    let mut counts = BTreeMap::new();
    for end in ends {
        *counts.entry(end?).or_insert(0) += 1;
    }
    println!("{counts:?}");
    // The cases meet every end.
    for end in ["succeeded", "partial", "rolledBack", "failed"] {
        ensure!(counts.contains_key(end), "none ended so: {end}; {counts:?}");
    }
    trial.engine.shutdown().await;
    Ok(())
}
