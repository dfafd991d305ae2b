//! Random strategies roll out to random fleets, whose nodes refuse orders, lose answers and disks,
//! die and are cordoned, while one engine after another drives.
//! Whatever they do: the policy is kept, every node ends on the new version or on its own version
//! before, and the fleet converges on what was decided once its nodes are well again.

mod case;
mod fake_fleet;

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use hotswap_core::{Deployment, DeploymentId, Environment, Event, ModuleVersion, NodeId, Status};
use hotswap_fleet::Fleet;
use hotswap_protocol::{Heartbeat, NodeHealth};
use hotswap_runner::{Engine, NewDeployment};
use hotswap_store::{Journal, ReadError};
use hotswap_tests::{
    EMAIL, EngineResources, InterceptedJournal, Interceptor, new_deployment,
    unreachable_registration,
};
use proptest::strategy::{Strategy as _, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Value, json};
use tokio::sync::{RwLock, Semaphore};
use tokio::time::{Instant, sleep, timeout};

use crate::case::{Case, any_case};
use crate::fake_fleet::{FakeFleet, FakeFleets, MODULE, version};

/// How many rollouts are tried. `RANDOM_CASES` in the environment says another number.
const CASES: usize = 96;
/// How long a wait may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long all cases together may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(600);

/// How long an engine runs before another one takes over.
const TENURE: Duration = Duration::from_millis(400);

/// Reads the events of one deployment at a time, first come, first served. A reader that is not
/// polled when its turn comes blocks all others.
struct InTurn(Semaphore);

#[async_trait]
impl Interceptor for InTurn {
    async fn events(
        &self,
        journal: &dyn Journal,
        deployment: DeploymentId,
        from: u64,
        limit: usize,
    ) -> Result<Vec<Event>, ReadError> {
        let _turn = self.0.acquire().await;
        journal.events(deployment, from, limit).await
    }
}

/// What all cases share.
struct Trial {
    resources: EngineResources,
    journal: Arc<InterceptedJournal<InTurn>>,
    /// Replaced from time to time.
    engine: RwLock<Engine>,
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
            let state = self.wait_for_end(id).await?;
            ensure!(state.status() == Status::Succeeded, "{:?}", state.cause);
        }
        {
            let mut fleet = self.fleet(environment);
            for (node, faults) in fleet.nodes.values_mut().zip(&case.faults) {
                node.before.clone_from(&node.active);
                node.faults = faults.clone().into();
            }
        }
        self.cordon(environment, case).await?;
        let id = self
            .deploy(environment, "2.0.0", "scripted", case.config())
            .await?;
        let state = self.wait_for_end(id).await?;
        {
            let mut fleet = self.fleet(environment);
            check_end(&state, &fleet, &self.new)?;
            // All are well again.
            fleet.deployment = None;
            fleet.unclear.clear();
            for node in fleet.nodes.values_mut() {
                node.faults.clear();
                node.is_dead = false;
                node.is_drained = false;
            }
        }
        for id in self.node_ids(environment) {
            let engine = self.engine.read().await;
            engine.nodes.uncordon(&id, EMAIL.to_owned(), None).await?;
        }
        self.wait_for_convergence(environment, &state).await?;
        let violations = &self.fleet(environment).violations;
        ensure!(violations.is_empty(), "{violations:#?}");
        Ok(state.status())
    }

    fn fleet(&self, environment: &Environment) -> MutexGuard<'_, FakeFleet> {
        self.fleets.of(environment).expect("a fleet of a case")
    }

    fn node_ids(&self, environment: &Environment) -> Vec<NodeId> {
        self.fleet(environment).nodes.keys().cloned().collect()
    }

    /// Cordons and drains nodes, as far as the policy allows it, but not all.
    async fn cordon(&self, environment: &Environment, case: &Case) -> Result<()> {
        let ids = self.node_ids(environment);
        for (id, cordon) in ids.iter().zip(&case.cordons).skip(1) {
            let by = EMAIL.to_owned();
            let engine = self.engine.read().await;
            match cordon {
                None => {}
                Some(false) => engine.nodes.cordon(id, by, None).await?,
                Some(true) => {
                    let drained = engine.nodes.drain(id, by, None, false).await;
                    let mut fleet = self.fleet(environment);
                    let node = fleet.nodes.get_mut(id).context("a node")?;
                    node.is_drained = drained.is_ok();
                }
            }
        }
        Ok(())
    }

    async fn deploy(
        &self,
        environment: &Environment,
        version: &str,
        strategy: &str,
        config: Value,
    ) -> Result<DeploymentId> {
        let strategy_of_case = (strategy, config);
        let new = NewDeployment {
            require_approval: strategy == "scripted",
            ..new_deployment((MODULE, version), environment.as_str(), strategy_of_case)?
        };
        let id = self.engine.read().await.deployments.create(new).await?;
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
        self.wait_for(id, |state| state.status() == Status::AwaitingApproval)
            .await?;
        let engine = self.engine.read().await;
        engine.deployments.decide(id, approved).await?;
        Ok(())
    }

    async fn wait_for_end(&self, id: DeploymentId) -> Result<Deployment> {
        self.wait_for(id, |state| state.status().is_final()).await
    }

    /// Waits for a state of a deployment, whichever engines drive it meanwhile.
    async fn wait_for(
        &self,
        id: DeploymentId,
        condition: impl Fn(&Deployment) -> bool,
    ) -> Result<Deployment> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let engine = self.engine.read().await.clone();
            let state = engine.deployments.get(id).await?;
            if condition(&state) {
                return Ok(state);
            }
            ensure!(
                Instant::now() < deadline,
                "it is still {:?}",
                state.lifecycle
            );
            let (from, wait) = (state.next_seq, Duration::from_millis(100));
            // An engine that has stopped meanwhile tells nothing more.
            let _ = engine.deployments.events(id, from, 1, wait).await;
        }
    }

    /// Lets one engine after another drive.
    async fn replace_engines(&self) -> Result<Infallible> {
        loop {
            sleep(TENURE).await;
            let mut engine = self.engine.write().await;
            let stopped = timeout(PATIENCE, engine.shutdown()).await;
            stopped.context("an engine does not stop")?;
            self.fleets.forget_last_answers();
            let journal = Arc::clone(&self.journal);
            let started = timeout(PATIENCE, self.resources.start_engine(journal)).await;
            *engine = started.context("an engine does not start")??;
        }
    }

    /// Registers the nodes, then lets the living ones report what they run, until it is dropped.
    async fn start_heartbeats(
        &self,
        environment: &Environment,
    ) -> Result<tokio_util::task::AbortOnDropHandle<()>> {
        for (id, modules) in self.fleets.reports(environment) {
            let mut registration = unreachable_registration(environment.as_str());
            registration.modules = Some(modules);
            self.resources.registry.register(id, registration).await?;
        }
        let (registry, fleets) = (self.resources.registry.clone(), Arc::clone(&self.fleets));
        let environment = environment.clone();
        let task = tokio::spawn(async move {
            loop {
                sleep(Duration::from_millis(100)).await;
                for (id, modules) in fleets.reports(&environment) {
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
                let engine = self.engine.read().await;
                let placements = engine.reconciler.placements(environment).await?;
                bail!("after {:?}: {wrong:#?}; {placements:#?}", state.status());
            }
            sleep(Duration::from_millis(10)).await;
        }
    }
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
        // Also by its last order, which the reconciler mends.
        let has_lost_it = active.is_none() && node.was_wiped;
        ensure!(is_new || is_before || has_lost_it, "{id} runs {active:?}");
        let is_planned = state.nodes.contains_key(id);
        let is_right = match status {
            Status::Succeeded | Status::Partial => is_new,
            _ => is_before,
        };
        ensure!(
            is_right || has_lost_it || named.contains(id) || !is_planned,
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
    for (environment, case) in &cases {
        policies.insert(environment.clone(), case.policy(environment));
        let fleet = FakeFleet::new(environment, case)?;
        fleets.0.insert(environment.clone(), Mutex::new(fleet));
    }

    let folder = tempfile::tempdir()?;
    let mut resources = EngineResources::new(folder.path(), policies).await?;
    let fleets = Arc::new(fleets);
    resources.fleet = Arc::clone(&fleets) as Arc<dyn Fleet>;
    let journal = Arc::new(resources.store.clone());
    let journal = InterceptedJournal::new(journal, InTurn(Semaphore::new(1)));
    let engine = resources.start_engine(journal.clone()).await?;
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
        resources,
        journal,
        engine: RwLock::new(engine),
        fleets,
        new: version("2.0.0", hotswap_guests::HELLO_V2)?,
    };
    let trial = &trial;
    let ends = stream::iter(&cases)
        .map(|(environment, case)| async move {
            let status = trial.run(environment, case).await;
            let status = status.with_context(|| format!("{environment}: {case:#?}"))?;
            Ok(status.as_str())
        })
        .buffer_unordered(32)
        .collect();
    let ends: Vec<Result<&str>> = tokio::select! {
        ends = ends => ends,
        failed = trial.replace_engines() => match failed? {},
        () = sleep(LIMIT) => bail!("the cases do not end within {LIMIT:?}: something waits for ever"),
    };
    let mut counts = BTreeMap::new();
    for end in ends {
        *counts.entry(end?).or_insert(0) += 1;
    }
    let brought_back: usize = cases
        .keys()
        .map(|environment| trial.fleet(environment).brought_back)
        .sum();
    println!("{counts:?}, {brought_back} nodes brought back");
    // The cases meet every end.
    for end in ["succeeded", "partial", "rolledBack", "failed"] {
        ensure!(counts.contains_key(end), "none ended so: {end}; {counts:?}");
    }
    trial.engine.read().await.shutdown().await;
    Ok(())
}
