//! Three engines and three nodes that try one case after the other.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use hotswap_core::{DeploymentId, Health, Status};
use hotswap_node::Node;
use hotswap_store::{Journal as _, Redis};
use hotswap_tests::{Balancer, CrashPoint, EMAIL, journal_outline, new_deployment, node_config};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::Rollout;
use crate::case::{Case, Fault};
use crate::checks::{self, RunResult};
use crate::fleet_changes::Change;
use crate::replica::{Replica, Setup, Shared};
use crate::watched_journal::RolloutUnderTest;

pub const PRODUCTION: &str = "production";
const ENGINES: u64 = 3;
const NODES: usize = 3;
/// Time limit of every wait. Generous, because the machine may be busy.
pub const TIMEOUT: Duration = Duration::from_secs(90);

/// By how many seconds the wall-clocks of the engines' machines are set at the beginning and at the
/// end of each fault, in turn: by people, and by a time service that corrects a little.
const CLOCK_STEPS: [i64; 4] = [3600, -3600, 2, -2];

pub fn node_id(number: usize) -> String {
    format!("{PRODUCTION}-{number}")
}

pub struct Group {
    shared: Arc<Shared>,
    number: usize,
    setup: Setup,
    /// In the places of the load balancer.
    replicas: BTreeMap<usize, Replica>,
    nodes: Vec<(String, Node)>,
    balancer: Balancer,
    rollout: Arc<RolloutUnderTest>,
    /// Reads what happens, past all links.
    observer: Redis,
    started: u64,
    cases: u64,
    /// How often a clock was set.
    clock_steps: usize,
    /// Engines that are dead and not cleared away yet.
    dead: JoinSet<()>,
}

impl Group {
    pub async fn start(shared: Arc<Shared>, number: usize) -> Result<Self> {
        Self::start_with(shared, number, Setup::default(), NODES).await
    }

    pub async fn start_with(
        shared: Arc<Shared>,
        number: usize,
        setup: Setup,
        nodes: usize,
    ) -> Result<Self> {
        let config = shared.redis_config(shared.redis_url.clone(), number, "observer");
        let mut group = Self {
            observer: Redis::open(&config).await?,
            shared,
            number,
            setup,
            replicas: BTreeMap::new(),
            nodes: Vec::new(),
            balancer: Balancer::start().await?,
            rollout: Arc::default(),
            started: 0,
            cases: 0,
            clock_steps: 0,
            dead: JoinSet::new(),
        };
        group.start_missing().await?;
        for number in 1..=nodes {
            group.start_node(node_id(number)).await?;
        }
        group.wait_for_nodes().await?;
        Ok(group)
    }

    /// Starts the engines that are missing.
    async fn start_missing(&mut self) -> Result<()> {
        for place in 0..ENGINES as usize {
            if self.replicas.contains_key(&place) {
                continue;
            }
            self.started += 1;
            let (rollout, setup) = (&self.rollout, &self.setup);
            let replica = Replica::start(&self.shared, self.number, self.started, rollout, setup);
            let replica = replica.await?;
            self.balancer.add(place, replica.addr);
            self.replicas.insert(place, replica);
        }
        Ok(())
    }

    pub async fn start_node(&mut self, id: String) -> Result<()> {
        let data_dir = self.node_dir(&id);
        let config = node_config(
            id.parse()?,
            PRODUCTION.parse()?,
            self.balancer.url(),
            data_dir,
        );
        let node = Node::start_with(self.shared.runtime.clone(), config).await?;
        self.nodes.push((id, node));
        Ok(())
    }

    /// Ends a node at once, as if it was killed.
    pub fn kill_node(&mut self, id: &str) -> Result<()> {
        let place = self.nodes.iter().position(|(other, _)| other == id);
        // Dropped without a shutdown.
        drop(self.nodes.remove(place.context("no such node")?));
        Ok(())
    }

    /// Removes a node for good.
    pub async fn remove_node(&mut self, id: &str) -> Result<()> {
        let place = self.nodes.iter().position(|(other, _)| other == id);
        let (_, node) = self.nodes.remove(place.context("no such node")?);
        node.shutdown().await;
        std::fs::remove_dir_all(self.node_dir(id))?;
        let nodes = &self.any()?.engine.nodes;
        Ok(nodes.forget(&id.parse()?, EMAIL.to_owned(), None).await?)
    }

    pub fn node_dir(&self, id: &str) -> PathBuf {
        let folder = self.shared.folder.path();
        folder.join(format!("group-{}-{id}", self.number))
    }

    /// Waits until every engine has heard of every node, and of no other.
    pub async fn wait_for_nodes(&self) -> Result<()> {
        let deadline = Instant::now() + TIMEOUT;
        for replica in self.replicas.values() {
            let knows_all = || {
                let members = replica.engine.registry.members();
                let mut passing = members.iter();
                members.len() == self.nodes.len()
                    && passing.all(|member| member.health == Health::Passing)
            };
            while !knows_all() {
                ensure!(
                    Instant::now() < deadline,
                    "engine {} knows {:?} of {} nodes",
                    replica.number,
                    replica.engine.registry.members(),
                    self.nodes.len()
                );
                sleep(Duration::from_millis(10)).await;
            }
        }
        Ok(())
    }

    /// An engine that runs.
    fn any(&self) -> Result<&Replica> {
        self.replicas.values().next().context("no engine runs")
    }

    /// Rolls out without a fault. Returns how often the engine appended, and what came of it.
    pub async fn undisturbed(&mut self, rollout: &Rollout) -> Result<(u64, RunResult)> {
        let module = self.prepare(None).await?;
        let id = self.deploy(&module, rollout).await?;
        self.wait_for_end(id).await?;
        let result = self.result(id, &module).await?;
        let is_whole = matches!(result.status, Status::Succeeded | Status::RolledBack);
        ensure!(is_whole, "{result:?}");
        checks::check_orders(&self.setup.log)?;
        Ok((self.rollout.append_count(), result))
    }

    /// Sets the wall-clock of each engine's machine, each by another step.
    fn step_clocks(&mut self) {
        for replica in self.replicas.values() {
            let step = CLOCK_STEPS[self.clock_steps % CLOCK_STEPS.len()];
            replica.clock.step(step);
            self.clock_steps += 1;
        }
    }

    /// Rolls out while the fault happens to the engine that drives, and the clocks are set. Returns
    /// whether the fault happened: a rollout may take fewer appends than another one.
    pub async fn try_case(
        &mut self,
        rollout: &Rollout,
        case: Case,
        expected: &RunResult,
    ) -> Result<bool> {
        let module = self.prepare(Some(case)).await?;
        let id = self.deploy(&module, rollout).await?;
        let victim = self.wait_for_victim(id).await?;
        if let Some(victim) = victim {
            self.step_clocks();
            self.wait_for_successor(id, victim, case).await?;
            self.mend(victim, case.fault)?;
            self.step_clocks();
            self.wait_for_end(id).await?;
        }
        let result = self.result(id, &module).await?;
        checks::check(case, &result, expected)?;
        self.wait_for_versions(&module, &result).await?;
        checks::check_orders(&self.setup.log)?;
        Ok(victim.is_some())
    }

    /// Rolls out while the engine that drives is killed, and the fleet changes before another one
    /// takes over. Returns how the rollout ended, unless it took too few appends to be killed.
    pub async fn try_change(
        &mut self,
        rollout: &Rollout,
        point: CrashPoint,
        change: Change,
    ) -> Result<Option<Status>> {
        let case = Case {
            fault: Fault::Killed,
            point,
        };
        let module = self.prepare(Some(case)).await?;
        let id = self.deploy(&module, rollout).await?;
        let Some(victim) = self.wait_for_victim(id).await? else {
            return Ok(None);
        };
        if let Some(place) = self.place_of(victim) {
            self.balancer.remove(place);
        }
        let changed = change.node(point.append, self.nodes.len());
        change.begin(self, &changed).await?;
        self.wait_for_successor(id, victim, case).await?;
        self.mend(victim, Fault::Killed)?;
        self.wait_for_end(id).await?;
        change.end(self, &changed).await?;
        let decided = self.observer.head(id).await?.lifecycle.status();
        self.wait_for_active(&module, decided).await?;
        checks::check_calls(&self.result(id, &module).await?)?;
        checks::check_orders(&self.setup.log)?;
        change.clear(self, &changed).await?;
        Ok(Some(decided))
    }

    /// Uploads two versions of a new module, and rolls the first one out.
    pub async fn prepare(&mut self, case: Option<Case>) -> Result<String> {
        self.start_missing().await?;
        self.wait_for_nodes().await?;
        self.cases += 1;
        let module = format!("module-{}", self.cases);
        for (version, component) in [
            ("1.0.0", hotswap_guests::HELLO_V1),
            ("2.0.0", hotswap_guests::HELLO_V2),
        ] {
            let mut upload = self.any()?.engine.modules.upload().await?;
            upload.write(component).await?;
            upload
                .finish(module.parse()?, version.parse()?, EMAIL)
                .await?;
        }
        let new = new_deployment((&module, "1.0.0"), PRODUCTION, ("direct", json!({})))?;
        let id = self.any()?.engine.deployments.create(new).await?;
        let status = self.wait_for_end(id).await?;
        if status != Status::Succeeded {
            bail!("the first version:\n{}", self.outline(id).await?);
        }
        self.rollout.begin(module.parse()?, case);
        Ok(module)
    }

    async fn deploy(&self, module: &str, rollout: &Rollout) -> Result<DeploymentId> {
        let strategy = (rollout.strategy, rollout.config.clone());
        let new = new_deployment((module, "2.0.0"), PRODUCTION, strategy)?;
        Ok(self.any()?.engine.deployments.create(new).await?)
    }

    /// The engine at whose append the fault begins. `None` if the rollout ends without the fault.
    async fn wait_for_victim(&self, id: DeploymentId) -> Result<Option<u64>> {
        tokio::select! {
            biased;
            victim = self.rollout.victim() => Ok(Some(victim)),
            ended = self.wait_for_end(id) => {
                ended?;
                let victim = timeout(TIMEOUT, self.rollout.victim_at_end()).await;
                victim.context("an append that began the fault has not returned")
            }
        }
    }

    /// Waits until another engine drives, the rollout has ended, or the nodes were cut off for long
    /// enough.
    async fn wait_for_successor(&self, id: DeploymentId, victim: u64, case: Case) -> Result<()> {
        // A load balancer sends nobody to an engine that does not say that it is ready.
        if case.fault != Fault::CutOffFromNodes
            && let Some(place) = self.place_of(victim)
        {
            self.balancer.remove(place);
        }
        if case.fault == Fault::CutOffFromNodes {
            sleep(case.cut()).await;
            return Ok(());
        }
        tokio::select! {
            other = timeout(TIMEOUT, self.rollout.other_driver(victim)) => {
                other.context("no other engine has taken over")?;
            }
            ended = self.wait_for_end(id) => drop(ended?),
        }
        if case.lasts() {
            self.wait_for_end(id).await?;
        }
        Ok(())
    }

    /// Ends the fault. A dead engine is replaced before the next case.
    fn mend(&mut self, victim: u64, fault: Fault) -> Result<()> {
        let place = self.place_of(victim).context("no such engine")?;
        if fault == Fault::Killed {
            if let Some(replica) = self.replicas.remove(&place) {
                self.dead.spawn(replica.end());
            }
        } else if let Some(replica) = self.replicas.get(&place) {
            replica.links.mend();
            self.balancer.add(place, replica.addr);
        }
        Ok(())
    }

    /// An engine that runs, by its number.
    pub fn replica(&self, engine: u64) -> Result<&Replica> {
        let place = self.place_of(engine).context("no such engine runs")?;
        Ok(&self.replicas[&place])
    }

    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    fn place_of(&self, engine: u64) -> Option<usize> {
        let mut replicas = self.replicas.iter();
        replicas
            .find(|(_, replica)| replica.number == engine)
            .map(|(place, _)| *place)
    }

    async fn wait_for_end(&self, id: DeploymentId) -> Result<Status> {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let status = self.observer.head(id).await?.lifecycle.status();
            if status.is_final() {
                return Ok(status);
            }
            if Instant::now() > deadline {
                bail!("it did not end in time:\n{}", self.outline(id).await?);
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    async fn outline(&self, id: DeploymentId) -> Result<String> {
        let events = self.observer.events(id, 0, usize::MAX).await?;
        Ok(journal_outline(&events).join("\n"))
    }

    async fn result(&self, id: DeploymentId, module: &str) -> Result<RunResult> {
        let events = self.observer.events(id, 0, usize::MAX).await?;
        let mut calls = Vec::new();
        for (node, _) in &self.nodes {
            let record = self.node_record(node, module)?;
            calls.push(checks::carried_out_calls(&record, id)?);
        }
        RunResult::new(&events, module, calls)
    }

    pub fn node_record(&self, node: &str, module: &str) -> Result<Value> {
        let file = self.node_dir(node).join(format!("modules/{module}.json"));
        Ok(serde_json::from_slice(&std::fs::read(file)?)?)
    }

    /// Waits until every node runs what the end of the rollout says. The reconciler brings nodes
    /// there that a revert did not reach.
    async fn wait_for_versions(&self, module: &str, result: &RunResult) -> Result<()> {
        self.wait_for_decided(module, result.status).await
    }

    /// Waits until every node runs what the end of a rollout of 2.0.0 says, and holds nothing besides.
    pub async fn wait_for_decided(&self, module: &str, status: Status) -> Result<()> {
        self.wait_for_slots(module, status, |slots| slots["staged"].is_null())
            .await
    }

    /// As [`Self::wait_for_decided`]. A node that was away while the others were reverted may hold the
    /// staged version until the next rollout, if it gets no requests.
    async fn wait_for_active(&self, module: &str, status: Status) -> Result<()> {
        self.wait_for_slots(module, status, |slots| slots["percent"] == 0)
            .await
    }

    async fn wait_for_slots(
        &self,
        module: &str,
        status: Status,
        is_settled: impl Fn(&Value) -> bool,
    ) -> Result<()> {
        let expected = match status {
            Status::Succeeded | Status::Partial => "2.0.0",
            _ => "1.0.0",
        };
        let deadline = Instant::now() + TIMEOUT;
        for (node, _) in &self.nodes {
            loop {
                // A node that has just come has none yet.
                let record = self.node_record(node, module).unwrap_or_default();
                let slots = &record["slots"];
                if slots["active"]["version"] == expected && is_settled(slots) {
                    break;
                }
                ensure!(
                    Instant::now() < deadline,
                    "{node} runs {record}, not {expected}"
                );
                sleep(Duration::from_millis(20)).await;
            }
        }
        Ok(())
    }

    pub async fn end(mut self) {
        for (_, replica) in std::mem::take(&mut self.replicas) {
            replica.end().await;
        }
        for (_, node) in self.nodes {
            node.shutdown().await;
        }
        while self.dead.join_next().await.is_some() {}
        self.observer.close().await;
    }
}
