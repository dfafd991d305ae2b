//! The engine dies before or after an append of a rollout, and is away for longer than every
//! patience, or than the deadline. Meanwhile a node dies, loses its disk, or joins. Whichever append
//! it was: at the end every living node runs what should run, and no node has carried out a call
//! twice. Where a node loses its disk, the rollout is also paused, and brings the node back before a
//! person resumes it.
//!
//! All cases take some minutes, so by default a part is tried that a seed chooses, the same number
//! for each rollout and change. The seed is printed.
//!
//! - `HOTSWAP_CHANGED_EVERYWHERE=all` tries every case. A text in place of `all` tries those whose
//!   names contain it, such as `canary, append 5`, `loses its disk` or `beyond the deadline`.
//! - `HOTSWAP_CHANGED_EVERYWHERE_SEED` repeats the choice of a seed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use fastrand::Rng;
use hotswap_core::{
    Amount, Append, CauseKind, Clock as _, Deployment, DeploymentId, Environment, EventBody,
    NodeId, Policy, Status, Step,
};
use hotswap_store::Journal;
use hotswap_tests::{Cluster, CrashPoint, CrashTiming, CrashingJournal, NODE_TOKEN, SteppedClock};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

const PRODUCTION: &str = "production";
const NODES: usize = 4;
/// How long a wait may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// The cases that are tried for each rollout and change, unless all are.
const CASES: usize = 10;

/// What happens to the fleet while the engine is away.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Change {
    /// A node of the plan dies, and comes back with its disk once the rollout has ended.
    Dies,
    /// A node of the plan comes back without its disk.
    LosesDisk,
    /// A node joins.
    Joins,
}

const CHANGES: [Change; 3] = [Change::Dies, Change::LosesDisk, Change::Joins];

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dies => "a node dies",
            Self::LosesDisk => "a node loses its disk",
            Self::Joins => "a node joins",
        })
    }
}

/// How long the engine is away.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Away {
    /// Longer than every patience of the policy but its deadline.
    BeyondPatience,
    BeyondDeadline,
}

impl Away {
    /// By how many seconds the wall-clock is ahead then.
    fn seconds(self) -> i64 {
        match self {
            Self::BeyondPatience => 600,
            // The deadline is a day.
            Self::BeyondDeadline => 25 * 3600,
        }
    }
}

/// When the engine dies, and for how long.
#[derive(Debug, Clone, Copy)]
struct Case {
    point: CrashPoint,
    away: Away,
}

impl Case {
    /// The cases of a rollout of so many appends.
    fn all(append_count: u64) -> Vec<Self> {
        let mut all = Vec::new();
        for append in 0..append_count {
            for timing in [CrashTiming::BeforeAppend, CrashTiming::AfterAppend] {
                for away in [Away::BeyondPatience, Away::BeyondDeadline] {
                    let point = CrashPoint { append, timing };
                    all.push(Self { point, away });
                }
            }
        }
        all
    }

    fn name(&self, rollout: &str, change: Change) -> String {
        let CrashPoint { append, timing } = self.point;
        let timing = match timing {
            CrashTiming::BeforeAppend => "before",
            CrashTiming::AfterAppend => "after",
        };
        let away = match self.away {
            Away::BeyondPatience => "beyond every patience",
            Away::BeyondDeadline => "beyond the deadline",
        };
        format!("{rollout}, append {append}, {timing}, {change}, {away}")
    }
}

/// Which cases are tried.
#[derive(Clone)]
struct Choice {
    /// A text that their names contain, or `all`. `None` for a part.
    wanted: Option<String>,
    rng: Rng,
}

impl Choice {
    fn read() -> Self {
        let seed = std::env::var("HOTSWAP_CHANGED_EVERYWHERE_SEED");
        let seed = seed.ok().and_then(|seed| seed.parse().ok());
        let seed = seed.unwrap_or_else(|| fastrand::u64(..));
        println!("seed {seed}: repeat it with HOTSWAP_CHANGED_EVERYWHERE_SEED={seed}");
        Self {
            wanted: std::env::var("HOTSWAP_CHANGED_EVERYWHERE").ok(),
            rng: Rng::with_seed(seed),
        }
    }

    /// The next rollout or change chooses otherwise.
    fn fork(&mut self) -> Self {
        Self {
            wanted: self.wanted.clone(),
            rng: self.rng.fork(),
        }
    }

    fn choose(&mut self, append_count: u64, rollout: &str, change: Change) -> Vec<Case> {
        let mut cases = Case::all(append_count);
        match self.wanted.as_deref() {
            None => {
                self.rng.shuffle(&mut cases);
                cases.truncate(CASES);
            }
            Some("all") => {}
            Some(text) => cases.retain(|case| case.name(rollout, change).contains(text)),
        }
        cases
    }
}

/// A rollout that is tried.
struct Rollout {
    name: &'static str,
    strategy: &'static str,
    config: Value,
    tolerated_failures: Amount,
}

struct Fleet {
    cluster: Cluster,
    clock: Arc<SteppedClock>,
    store: Arc<dyn Journal>,
}

fn production() -> Environment {
    PRODUCTION.parse().expect("a valid name")
}

fn node(number: usize) -> NodeId {
    format!("{PRODUCTION}-{number}")
        .parse()
        .expect("a valid name")
}

impl Fleet {
    async fn start(tolerated_failures: Amount) -> Result<Self> {
        let policy = Policy {
            max_unavailable: Amount::Count(2),
            tolerated_failures,
            revert_patience: Duration::from_millis(300),
            ..Policy::default_for(&production())
        };
        let clock = Arc::new(SteppedClock::default());
        let (nodes, policies) = ([(PRODUCTION, NODES)], [(production(), policy)]);
        let time = Arc::clone(&clock) as Arc<_>;
        let mut cluster = Cluster::start_with_clock(&nodes, policies.into(), time).await?;
        cluster.upload_samples().await?;
        // Gives up on a dead node soon.
        let options = hotswap_fleet::Options {
            request_timeout: Duration::from_millis(900),
            patience: Duration::from_secs(1),
            ..hotswap_fleet::Options::default()
        };
        let registry = cluster.resources.registry.clone();
        let fleet = hotswap_fleet::HttpFleet::new(registry, NODE_TOKEN, options)?;
        cluster.resources.fleet = Arc::new(fleet);
        Ok(Self {
            store: Arc::new(cluster.resources.store.clone()),
            cluster,
            clock,
        })
    }

    /// Rolls out 1.0.0. Again where a busy machine let a node miss the short time for its answer.
    async fn prepare(&self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let direct = ("direct", json!({}));
            let ended = self
                .cluster
                .roll_out(("hello", "1.0.0"), PRODUCTION, direct)
                .await;
            match ended {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() >= deadline => return Err(error),
                Err(_) => {}
            }
        }
    }

    /// Rolls out without a crash, and counts the appends.
    async fn count_appends(&mut self, rollout: &Rollout) -> Result<u64> {
        self.prepare().await?;
        let counting_journal = CrashingJournal::at(Arc::clone(&self.store), None);
        let journal = Arc::clone(&counting_journal) as Arc<dyn Journal>;
        self.cluster.restart_engine(journal).await?;
        let id = self
            .cluster
            .deploy(("hello", "2.0.0"), PRODUCTION, rollout.strategy())
            .await?;
        self.cluster.wait_for_end(id).await?;
        let append_count = counting_journal.append_count();
        ensure!(append_count >= 4, "{append_count} appends");
        self.cluster.restart_engine(Arc::clone(&self.store)).await?;
        Ok(append_count)
    }

    /// Rolls out 2.0.0 from 1.0.0, with an engine that is lost at an append. Returns the state at
    /// the end, unless the rollout took too few appends for that.
    async fn roll_out(
        &mut self,
        rollout: &Rollout,
        Case { point, away }: Case,
        change: Change,
    ) -> Result<Option<Deployment>> {
        self.prepare().await?;
        let crashing_journal = CrashingJournal::at(Arc::clone(&self.store), Some(point));
        let journal = Arc::clone(&crashing_journal) as Arc<dyn Journal>;
        self.cluster.restart_engine(journal).await?;
        let id = self
            .cluster
            .deploy(("hello", "2.0.0"), PRODUCTION, rollout.strategy())
            .await?;
        tokio::select! {
            biased;
            crashed = timeout(PATIENCE, crashing_journal.wait_for_crash()) => crashed?,
            // Some answers came together, and were one append.
            ended = self.cluster.wait_for_end(id) => {
                ended?;
                if crashing_journal.append_count() <= point.append {
                    self.cluster.restart_engine(Arc::clone(&self.store)).await?;
                    return Ok(None);
                }
                // Whoever sees the end may do so before the last append has returned.
                timeout(PATIENCE, crashing_journal.wait_for_crash()).await?;
            }
        }
        self.cluster.engine.shutdown().await;
        let step = self.store.head(id).await?.lifecycle.step;

        // A pause stops the deadline, too.
        let is_paused =
            change == Change::LosesDisk && step == Step::Running && away == Away::BeyondPatience;
        if is_paused {
            self.pause(id).await?;
        }
        self.change_fleet(point.append, change).await?;
        self.clock.step(away.seconds());
        self.cluster.restart_engine(Arc::clone(&self.store)).await?;
        if is_paused {
            self.wait_for_repair(id, &changed_node(point.append))
                .await?;
            // Unless it has ended by a call that was under way.
            let _ = self.cluster.engine.deployments.resume(id, "ada").await;
        }
        let state = self.cluster.wait_for_end(id).await?;
        if change == Change::Dies {
            let id = changed_node(point.append);
            self.cluster.start_node(id, production()).await?;
        }
        self.wait_for_convergence(&state).await?;
        self.ensure_nothing_twice(&state)?;
        if step == Step::Running && away == Away::BeyondDeadline {
            let cause = state.cause.as_ref().context("no cause")?;
            ensure!(cause.kind == CauseKind::Deadline, "{cause}");
            ensure!(cause.message.contains("not done within 1day"), "{cause}");
        }
        // All nodes were alive when the success was decided, and it stays what it was.
        if step == Step::Settling && rollout.tolerated_failures == Amount::Count(0) {
            let status = state.status();
            ensure!(status == Status::Succeeded, "{:?}", state.not_updated);
        }
        Ok(Some(state))
    }

    /// Pauses the rollout while no engine runs.
    async fn pause(&self, id: DeploymentId) -> Result<()> {
        let head = self.store.head(id).await?;
        let append = Append {
            deployment: id,
            expected: head.next_seq,
            fence: None,
            at: self.clock.now(),
            bodies: vec![EventBody::Paused {
                by: "ada".to_owned(),
                reason: None,
            }],
        };
        self.store.append(append).await?;
        Ok(())
    }

    /// Waits until a node that has lost its disk runs what the rollout has decided for it so far,
    /// which is paused. Unless it ends: a call that was under way may fail on that node.
    async fn wait_for_repair(&self, id: DeploymentId, node: &NodeId) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let state = self.cluster.engine.deployments.get(id).await?;
            if state.lifecycle.step != Step::Running {
                return Ok(());
            }
            let active = self.cluster.active_versions(PRODUCTION, "hello").await?;
            let runs = active.get(node).cloned().flatten();
            let planned = state.nodes.get(node).context("it is not in the plan")?;
            let decided = planned.decided(&state.header.module, None);
            let decided = decided.map(|module| module.version.to_string());
            if !state.is_operating() && runs.is_some() && runs == decided {
                return Ok(());
            }
            ensure!(
                Instant::now() < deadline,
                "{node} runs {runs:?} while the rollout is paused, not {decided:?}: {state:?}"
            );
            sleep(Duration::from_millis(20)).await;
        }
    }

    async fn change_fleet(&mut self, number: u64, change: Change) -> Result<()> {
        let id = changed_node(number);
        match change {
            Change::Joins => self.cluster.start_node(node(NODES + 1), production()).await,
            Change::Dies | Change::LosesDisk => {
                // Dropped without a shutdown: the node ends at once, as if it was killed.
                drop(self.cluster.nodes.remove(&id).context("no such node")?);
                if change == Change::Dies {
                    return Ok(());
                }
                std::fs::remove_dir_all(self.cluster.node_dir(&id))?;
                self.cluster.start_node(id, production()).await
            }
        }
    }

    /// Waits until every living node runs what the rollout decided.
    async fn wait_for_convergence(&self, state: &Deployment) -> Result<()> {
        let decided = match state.status() {
            Status::Succeeded | Status::Partial => "2.0.0",
            _ => "1.0.0",
        };
        let deadline = Instant::now() + PATIENCE;
        loop {
            let active = self.cluster.active_versions(PRODUCTION, "hello").await?;
            let mut living = self.cluster.nodes.keys();
            let runs = |id: &NodeId| active.get(id)?.as_deref();
            if living.all(|id| runs(id) == Some(decided)) {
                return Ok(());
            }
            ensure!(
                Instant::now() < deadline,
                "the nodes run {active:?}, not {decided}: {:?}",
                self.cluster
                    .engine
                    .reconciler
                    .placements(&production())
                    .await?
            );
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Each node's disk tells which calls of the rollout it has carried out.
    fn ensure_nothing_twice(&self, state: &Deployment) -> Result<()> {
        for node in self.cluster.nodes.keys() {
            let record = self.cluster.node_dir(node).join("modules/hello.json");
            let record: Value = serde_json::from_slice(&std::fs::read(record)?)?;
            let operations = record["operations"].as_array().context("no operations")?;
            let ids = operations.iter().filter_map(|done| done["id"].as_str());
            let of_rollout = format!("{}.", state.header.id);
            let mut seen = BTreeSet::new();
            for id in ids.filter(|id| id.starts_with(&of_rollout)) {
                ensure!(seen.insert(id), "{node} carried out {id} twice");
            }
        }
        Ok(())
    }

    /// Removes the node that joined.
    async fn forget_newcomer(&mut self) -> Result<()> {
        let id = node(NODES + 1);
        if let Some(newcomer) = self.cluster.nodes.remove(&id) {
            newcomer.shutdown().await;
            std::fs::remove_dir_all(self.cluster.node_dir(&id))?;
            self.cluster.resources.registry.deregister(&id).await?;
        }
        Ok(())
    }
}

/// Another node for each append, so that the change meets nodes before, in and after their turn.
fn changed_node(append: u64) -> NodeId {
    node(1 + append as usize % NODES)
}

impl Rollout {
    fn strategy(&self) -> (&'static str, Value) {
        (self.strategy, self.config.clone())
    }
}

/// How often rollouts ended with each status; `missed` where they took too few appends.
type Ends = BTreeMap<&'static str, usize>;

/// Tries the chosen cases of a rollout with one change of the fleet.
async fn try_change(rollout: &Rollout, change: Change, mut choice: Choice) -> Result<Ends> {
    let mut fleet = Fleet::start(rollout.tolerated_failures).await?;
    let append_count = fleet.count_appends(rollout).await?;
    let mut ends = Ends::new();
    for case in choice.choose(append_count, rollout.name, change) {
        let state = fleet.roll_out(rollout, case, change).await;
        let state = state.with_context(|| case.name(rollout.name, change))?;
        let end = state.map_or("missed", |state| state.status().as_str());
        *ends.entry(end).or_default() += 1;
        fleet.forget_newcomer().await?;
    }
    fleet.cluster.shutdown().await;
    Ok(ends)
}

/// Tries the chosen cases with all changes, each with a fleet of its own, at the same time: mostly
/// they wait.
async fn try_changes(rollout: Rollout, mut choice: Choice) -> Result<Ends> {
    let [dies, loses_disk, joins] =
        CHANGES.map(|change| try_change(&rollout, change, choice.fork()));
    let (mut ends, others, more) = tokio::try_join!(dies, loses_disk, joins)?;
    for (status, count) in others.into_iter().chain(more) {
        *ends.entry(status).or_default() += count;
    }
    println!("{}: {ends:?}", rollout.name);
    let missed = ends.get("missed").copied().unwrap_or(0);
    let count: usize = ends.values().sum();
    ensure!(missed * 10 <= count, "{missed} of {count} had no crash");
    Ok(ends)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fleet_converges_whenever_it_changes_in_a_rollout() -> Result<()> {
    let mut choice = Choice::read();
    // The probe of a dead node is over soon.
    let probed = json!({ "probe": { "timeout": "1s" }, "soak": "1ms" });
    let [direct, rolling, blue_green, canary] = [
        ("direct", json!({}), 1),
        ("rolling", json!({ "batch": 2, "settle": "1ms" }), 1),
        ("blue-green", probed, 0),
        ("canary", json!({ "soak": "1ms" }), 0),
    ]
    .map(|(strategy, config, tolerated)| {
        let rollout = Rollout {
            name: strategy,
            strategy,
            config,
            tolerated_failures: Amount::Count(tolerated),
        };
        try_changes(rollout, choice.fork())
    });
    let (direct, rolling, blue_green, canary) =
        tokio::try_join!(direct, rolling, blue_green, canary)?;
    if choice.wanted.as_deref() != Some("all") {
        return Ok(());
    }
    // Rollouts that go on without a node, and rollouts that are taken back.
    for (ends, expected) in [
        (direct, "partial"),
        (rolling, "partial"),
        (blue_green, "failed"),
        (canary, "failed"),
    ] {
        for expected in [expected, "succeeded", "rolledBack"] {
            ensure!(ends.contains_key(expected), "{ends:?}");
        }
    }
    Ok(())
}

/// Which nodes run the new version is asked before the success is decided. What happens to them
/// later is the reconciler's business, also where another engine ends the deployment.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_dies_after_the_success_was_decided_does_not_make_it_partial() -> Result<()> {
    let rollout = Rollout {
        name: "direct",
        strategy: "direct",
        config: json!({}),
        tolerated_failures: Amount::Count(0),
    };
    let mut fleet = Fleet::start(rollout.tolerated_failures).await?;
    let append_count = fleet.count_appends(&rollout).await?;
    // The decision is the last append but one.
    let case = Case {
        point: CrashPoint {
            append: append_count - 2,
            timing: CrashTiming::AfterAppend,
        },
        away: Away::BeyondPatience,
    };
    let state = fleet.roll_out(&rollout, case, Change::Dies).await?;
    let state = state.context("the rollout took too few appends")?;
    ensure!(state.status() == Status::Succeeded, "{state:?}");
    fleet.cluster.shutdown().await;
    Ok(())
}

/// Version 2 fails the probe, so that the fleet changes at every append of the revert too.
#[tokio::test(flavor = "multi_thread")]
async fn the_fleet_converges_whenever_it_changes_in_a_revert() -> Result<()> {
    let rollout = Rollout {
        name: "reverted",
        strategy: "blue-green",
        config: json!({ "probe": { "body": "no such text", "timeout": "1ms" } }),
        tolerated_failures: Amount::Count(0),
    };
    let ends = try_changes(rollout, Choice::read()).await?;
    ensure!(!ends.contains_key("succeeded"), "{ends:?}");
    Ok(())
}
