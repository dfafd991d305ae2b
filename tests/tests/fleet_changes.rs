//! The engine dies after an append of a rollout, and is away for longer than every patience.
//! Meanwhile a node dies, loses its disk, or joins. Whichever append it was: at the end every
//! living node runs what should run, and no node has carried out a call twice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hotswap_core::{Amount, CauseKind, Deployment, Environment, NodeId, Policy, Status, Step};
use hotswap_store::Journal;
use hotswap_tests::{Cluster, CrashPoint, CrashTiming, CrashingJournal, NODE_TOKEN, SteppedClock};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

const PRODUCTION: &str = "production";
const NODES: usize = 4;
/// How long a wait may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// By how many seconds the wall-clock is ahead after the engine was away. More than every
/// patience of the policy but its deadline.
const AWAY: i64 = 600;
/// The same, where it is away until after the deadline: a day and an hour.
const AWAY_BEYOND_DEADLINE: i64 = 25 * 3600;

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

struct Fleet {
    cluster: Cluster,
    clock: Arc<SteppedClock>,
    store: Arc<dyn Journal>,
    /// By how many seconds the wall-clock is ahead after the engine was away.
    away: i64,
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
    async fn start(tolerated_failures: Amount, away: i64) -> Result<Self> {
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
            away,
        })
    }

    /// Rolls out 2.0.0 from 1.0.0, with an engine that is lost right after an append. Returns
    /// the state at the end.
    async fn roll_out(
        &mut self,
        (strategy, config): (&str, Value),
        crash_after: u64,
        change: Change,
    ) -> Result<Deployment> {
        let before = ("direct", json!({}));
        self.cluster
            .roll_out(("hello", "1.0.0"), PRODUCTION, before)
            .await?;
        let crash_point = CrashPoint {
            append: crash_after,
            timing: CrashTiming::AfterAppend,
        };
        let crashing_journal = CrashingJournal::at(Arc::clone(&self.store), Some(crash_point));
        let journal = Arc::clone(&crashing_journal) as Arc<dyn Journal>;
        self.cluster.restart_engine(journal).await?;
        let id = self
            .cluster
            .deploy(("hello", "2.0.0"), PRODUCTION, (strategy, config))
            .await?;
        timeout(PATIENCE, crashing_journal.wait_for_crash()).await?;
        self.cluster.engine.shutdown().await;
        let step = self.store.head(id).await?.lifecycle.step;

        self.change_fleet(crash_after, change).await?;
        self.clock.step(self.away);
        self.cluster.restart_engine(Arc::clone(&self.store)).await?;
        let state = self.cluster.wait_for_end(id).await?;
        if change == Change::Dies {
            let id = changed_node(crash_after);
            self.cluster.start_node(id, production()).await?;
        }
        self.wait_for_convergence(&state).await?;
        self.ensure_nothing_twice(&state)?;
        let is_overdue = step == Step::Running && self.away == AWAY_BEYOND_DEADLINE;
        if is_overdue {
            let cause = state.cause.as_ref().context("no cause")?;
            ensure!(cause.kind == CauseKind::Deadline, "{cause}");
            ensure!(cause.message.contains("not done within 1day"), "{cause}");
        }
        Ok(state)
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

/// A change of the fleet after each append of a rollout. Returns how often the rollout ended
/// with each status.
async fn change_at_every_append(
    strategy: &str,
    config: Value,
    (tolerated_failures, away): (Amount, i64),
    change: Change,
) -> Result<BTreeMap<&'static str, u32>> {
    let mut fleet = Fleet::start(tolerated_failures, away).await?;
    let before = ("direct", json!({}));
    let cluster = &mut fleet.cluster;
    cluster
        .roll_out(("hello", "1.0.0"), PRODUCTION, before)
        .await?;
    let counting_journal = CrashingJournal::at(Arc::clone(&fleet.store), None);
    let journal = Arc::clone(&counting_journal) as Arc<dyn Journal>;
    cluster.restart_engine(journal).await?;
    let undisturbed = (strategy, config.clone());
    let id = cluster
        .deploy(("hello", "2.0.0"), PRODUCTION, undisturbed)
        .await?;
    cluster.wait_for_end(id).await?;
    let append_count = counting_journal.append_count();
    ensure!(append_count >= 4, "{append_count} appends");
    cluster.restart_engine(Arc::clone(&fleet.store)).await?;

    let mut ends = BTreeMap::new();
    for append in 0..append_count {
        let rollout = (strategy, config.clone());
        let state = fleet.roll_out(rollout, append, change).await;
        let context = || format!("{strategy}, {change:?} after append {append}");
        let status = state.with_context(context)?.status().as_str();
        *ends.entry(status).or_insert(0) += 1;
        fleet.forget_newcomer().await?;
    }
    fleet.cluster.shutdown().await;
    Ok(ends)
}

/// All changes, each with a fleet of its own, at the same time: mostly they wait.
async fn every_change(
    strategy: &'static str,
    config: Value,
    tolerated_failures: Amount,
    away: i64,
) -> Result<BTreeMap<&'static str, u32>> {
    let [dies, loses_disk, joins] = CHANGES.map(|change| {
        change_at_every_append(strategy, config.clone(), (tolerated_failures, away), change)
    });
    let (mut ends, others, more) = tokio::try_join!(dies, loses_disk, joins)?;
    for (status, count) in others.into_iter().chain(more) {
        *ends.entry(status).or_insert(0) += count;
    }
    println!("{strategy}: {ends:?}");
    Ok(ends)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fleet_converges_whenever_it_changes_in_a_rollout() -> Result<()> {
    let one = Amount::Count(1);
    let none = Amount::Count(0);
    // The probe of a dead node is over soon.
    let probed = json!({ "probe": { "timeout": "1s" }, "soak": "1ms" });
    let all = tokio::try_join!(
        every_change("direct", json!({}), one, AWAY),
        every_change("rolling", json!({ "batch": 2, "settle": "1ms" }), one, AWAY),
        every_change("blue-green", probed, none, AWAY),
        every_change("canary", json!({ "soak": "1ms" }), none, AWAY),
    )?;
    // Rollouts that go on without a node, and rollouts that are taken back.
    let (direct, rolling, blue_green, canary) = all;
    for (ends, expected) in [
        (direct, "partial"),
        (rolling, "partial"),
        (blue_green, "failed"),
        (canary, "failed"),
    ] {
        let both = ends.contains_key("succeeded") && ends.contains_key(expected);
        ensure!(both, "{ends:?}");
    }
    Ok(())
}

/// Version 2 fails the probe, so that the fleet changes at every append of the revert too.
#[tokio::test(flavor = "multi_thread")]
async fn the_fleet_converges_whenever_it_changes_in_a_revert() -> Result<()> {
    let config = json!({ "probe": { "body": "no such text", "timeout": "1ms" } });
    let ends = every_change("blue-green", config, Amount::Count(0), AWAY).await?;
    let reverted = ends.contains_key("rolledBack") && !ends.contains_key("succeeded");
    ensure!(reverted, "{ends:?}");
    Ok(())
}

/// The engine comes back after the deadline: whatever the rollout had reached is taken back, on
/// the fleet as it is then.
#[tokio::test(flavor = "multi_thread")]
async fn the_fleet_converges_where_the_deadline_passes_meanwhile() -> Result<()> {
    let one = Amount::Count(1);
    let (direct, rolling) = tokio::try_join!(
        every_change("direct", json!({}), one, AWAY_BEYOND_DEADLINE),
        every_change(
            "rolling",
            json!({ "batch": 2, "settle": "1ms" }),
            one,
            AWAY_BEYOND_DEADLINE
        ),
    )?;
    for ends in [direct, rolling] {
        let both = ends.contains_key("succeeded") && ends.contains_key("rolledBack");
        ensure!(both, "{ends:?}");
    }
    Ok(())
}
