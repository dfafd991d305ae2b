//! A long trial, by hand: `MINUTES=30 cargo bench --bench soak`. Fifty nodes under load; nodes
//! die, come back, lose their disks, join and leave; the engine is replaced or killed, its wall-clock
//! stepped, and one deployment follows another: some succeed, some fail, some are aborted. In the
//! last half of each minute nothing happens, and every living node must come to run what was
//! decided. Prints a line for each minute; fails where a minute does not end so, or where a
//! request to a node that did not die is lost. `SEED` repeats a trial.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use hotswap_core::{Amount, DeploymentId, Environment, NodeId, Policy};
use hotswap_node::Node;
use hotswap_runner::reconciler::NextStep;
use hotswap_store::Journal;
use hotswap_tests::bench::{median, resident_memory};
use hotswap_tests::{
    Cluster, CrashingJournal, EMAIL, LoadGenerator, LoadReport, NODE_TOKEN, SteppedClock,
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, sleep_until};

const PRODUCTION: &str = "production";
const NODES: usize = 50;
/// These stay alive, and get the requests: what is sent to a node that dies is lost with it.
const STEADY: usize = 10;
const CLIENTS: usize = 4;
const MINUTE: Duration = Duration::from_secs(60);
/// Includes what the open deployment needs to end.
const CALM: Duration = Duration::from_secs(30);

/// A number generator that is good enough for this: SplitMix64, by Steele, Lea and Flood, "Fast
/// splittable pseudorandom number generators", OOPSLA 2014.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
}

/// What was done so far.
#[derive(Default)]
struct Counts {
    died: u32,
    wiped: u32,
    joined: u32,
    left: u32,
    engines: u32,
    killed_engines: u32,
    clock_steps: u32,
    /// By their status at the end.
    deployments: BTreeMap<&'static str, u32>,
}

struct Soak {
    cluster: Cluster,
    clock: Arc<SteppedClock>,
    store: Arc<dyn Journal>,
    /// The journal of the engine, which can be killed.
    journal: Arc<CrashingJournal>,
    random: Random,
    /// The nodes that have died and were not started again.
    dead: Vec<NodeId>,
    next_node: usize,
    open: Option<DeploymentId>,
    counts: Counts,
}

fn production() -> Environment {
    PRODUCTION.parse().expect("a valid name")
}

fn node(number: usize) -> NodeId {
    format!("{PRODUCTION}-{number:03}")
        .parse()
        .expect("a valid name")
}

impl Soak {
    async fn start(seed: u64) -> Result<Self> {
        let policy = Policy {
            max_unavailable: Amount::Percent(40),
            tolerated_failures: Amount::Percent(30),
            max_missing: Amount::Percent(100),
            revert_patience: Duration::from_secs(5),
            ..Policy::default_for(&production())
        };
        let clock = Arc::new(SteppedClock::default());
        let policies = BTreeMap::from([(production(), policy)]);
        let time = Arc::clone(&clock) as Arc<_>;
        let mut cluster = Cluster::start_with_clock(&[], policies, time).await?;
        // Gives up on a dead node soon, so that one deployment follows another.
        let options = hotswap_fleet::Options {
            request_timeout: Duration::from_millis(1900),
            patience: Duration::from_secs(2),
            ..hotswap_fleet::Options::default()
        };
        let registry = cluster.resources.registry.clone();
        let fleet = hotswap_fleet::HttpFleet::new(registry, NODE_TOKEN, options)?;
        cluster.resources.fleet = Arc::new(fleet);
        let store = Arc::new(cluster.resources.store.clone()) as Arc<dyn Journal>;
        let journal = CrashingJournal::at(Arc::clone(&store), None);
        cluster
            .restart_engine(Arc::clone(&journal) as Arc<_>)
            .await?;
        for number in 0..NODES {
            cluster.start_node(node(number), production()).await?;
        }
        cluster.wait_for_nodes().await?;
        cluster.upload_samples().await?;
        let direct = ("direct", json!({}));
        cluster
            .roll_out(("hello", "1.0.0"), PRODUCTION, direct)
            .await?;
        Ok(Self {
            store,
            journal,
            cluster,
            clock,
            random: Random(seed),
            dead: Vec::new(),
            next_node: NODES,
            open: None,
            counts: Counts::default(),
        })
    }

    /// A node that may die.
    fn any_living(&mut self) -> Option<NodeId> {
        let steady = node(STEADY);
        let living: Vec<_> = self
            .cluster
            .nodes
            .range(steady..)
            .map(|(id, _)| id)
            .collect();
        let chosen = living.get(self.random.below(living.len().max(1)))?;
        Some((*chosen).clone())
    }

    fn kill(&mut self) -> Option<NodeId> {
        let id = self.any_living()?;
        // Dropped without a shutdown: the node ends at once, as if it was killed.
        drop::<Option<Node>>(self.cluster.nodes.remove(&id));
        Some(id)
    }

    /// Does one thing.
    async fn disturb(&mut self) -> Result<()> {
        match self.random.below(12) {
            0..=2 => {
                if self.dead.len() < NODES / 5
                    && let Some(id) = self.kill()
                {
                    self.dead.push(id);
                    self.counts.died += 1;
                }
            }
            3..=5 => self.revive_one().await?,
            6 => {
                if let Some(id) = self.kill() {
                    std::fs::remove_dir_all(self.cluster.node_dir(&id))?;
                    self.cluster.start_node(id, production()).await?;
                    self.counts.wiped += 1;
                }
            }
            7 => {
                let id = node(self.next_node);
                self.next_node += 1;
                self.cluster.start_node(id, production()).await?;
                self.counts.joined += 1;
            }
            8 => {
                let id = self.any_living();
                if self.cluster.nodes.len() > NODES
                    && let Some(id) = id
                    && let Some(leaving) = self.cluster.nodes.remove(&id)
                {
                    leaving.shutdown().await;
                    self.cluster.resources.registry.deregister(&id).await?;
                    self.counts.left += 1;
                }
            }
            9 => {
                if self.random.below(2) == 0 {
                    // Its drivers write nothing more, as if its process was killed.
                    self.journal.kill();
                    self.counts.killed_engines += 1;
                } else {
                    self.counts.engines += 1;
                }
                self.journal = CrashingJournal::at(Arc::clone(&self.store), None);
                let journal = Arc::clone(&self.journal) as Arc<_>;
                self.cluster.restart_engine(journal).await?;
            }
            10 => {
                let seconds = [600, -600, 3600, -3600][self.random.below(4)];
                self.clock.step(seconds);
                self.counts.clock_steps += 1;
            }
            _ => {
                if let Some(id) = self.open {
                    // Too late, where it has ended.
                    let _ = self.cluster.engine.deployments.abort(id, EMAIL, None).await;
                }
            }
        }
        Ok(())
    }

    async fn revive_one(&mut self) -> Result<()> {
        if let Some(id) = self.dead.pop() {
            self.cluster.start_node(id, production()).await?;
        }
        Ok(())
    }

    /// Counts the deployment that has ended, and begins the next one.
    async fn deploy(&mut self) -> Result<()> {
        self.count_ended().await?;
        if self.open.is_some() {
            return Ok(());
        }
        let version = ["1.0.0", "2.0.0"][self.random.below(2)];
        let never = json!({ "probe": { "body": "no such text", "timeout": "100ms" } });
        let (strategy, config): (&str, Value) = match self.random.below(5) {
            0 => ("direct", json!({})),
            1 => ("rolling", json!({ "batch": 5, "settle": "200ms" })),
            2 => (
                "blue-green",
                json!({ "probe": { "timeout": "1s" }, "soak": "500ms" }),
            ),
            3 => ("canary", json!({ "soak": "500ms" })),
            _ => ("blue-green", never),
        };
        let deployed = self
            .cluster
            .deploy(("hello", version), PRODUCTION, (strategy, config));
        self.open = Some(deployed.await?);
        Ok(())
    }

    async fn count_ended(&mut self) -> Result<()> {
        if let Some(id) = self.open {
            let status = self.cluster.engine.deployments.get(id).await?.status();
            if status.is_final() {
                *self.counts.deployments.entry(status.as_str()).or_default() += 1;
                self.open = None;
            }
        }
        Ok(())
    }

    /// Nothing happens any more. Returns how long it took until every node ran what was decided.
    async fn converge(&mut self, until: Instant) -> Result<Duration> {
        let start = Instant::now();
        while !self.dead.is_empty() {
            self.revive_one().await?;
        }
        loop {
            self.count_ended().await?;
            let reconciler = &self.cluster.engine.reconciler;
            let placements = reconciler.placements(&production()).await?;
            let mut living = self.cluster.nodes.keys();
            let has_converged = self.open.is_none()
                && living.all(|id| {
                    let modules = placements.get(id);
                    modules.is_some_and(|modules| {
                        !modules.is_empty()
                            && modules.values().all(|module| module.next == NextStep::None)
                    })
                });
            if has_converged {
                return Ok(start.elapsed());
            }
            ensure!(
                Instant::now() < until,
                "the fleet did not converge in {CALM:?}; open: {:?}; {:#?}",
                self.open,
                placements
                    .iter()
                    .filter(|(_, modules)| modules
                        .values()
                        .any(|module| module.next != NextStep::None))
                    .collect::<Vec<_>>()
            );
            sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let number = |name: &str, default: u64| {
        let text = std::env::var(name).ok();
        text.map_or(Ok(default), |text| text.parse())
    };
    let (minutes, seed) = (number("MINUTES", 30)?, number("SEED", 1)?);
    let mut soak = Soak::start(seed).await?;
    let urls: Vec<String> = {
        let members = soak.cluster.resources.registry.members();
        let steady = members
            .iter()
            .filter(|member| member.record.id < node(STEADY));
        steady
            .map(|member| format!("{}/hello/", member.record.data_url))
            .collect()
    };
    ensure!(urls.len() == STEADY, "{urls:?}");
    let load = LoadGenerator::start(urls, CLIENTS);
    let (mut before, mut converged) = (LoadReport::default(), Vec::new());
    println!("minute, converged after, requests, lost, memory, nodes, what happened so far");
    for minute in 1..=minutes {
        let end = Instant::now() + MINUTE;
        while Instant::now() + CALM < end {
            soak.deploy().await?;
            soak.disturb().await?;
            sleep(Duration::from_millis(200 + soak.random.next() % 800)).await;
        }
        let took = soak.converge(end).await?;
        converged.push(took.as_secs_f64());
        let report = load.report();
        let Counts {
            died,
            wiped,
            joined,
            left,
            engines,
            killed_engines,
            clock_steps,
            deployments,
        } = &soak.counts;
        println!(
            "{minute}, {:.1} s, {}, {}, {} MB, {}, {died} died, {wiped} wiped, {joined} joined, \
             {left} left, {engines} engines, \
             {killed_engines} engines killed, {clock_steps} clock steps, {deployments:?}",
            took.as_secs_f64(),
            report.requests - before.requests,
            report.failed_requests() - before.failed_requests(),
            resident_memory()? / 1_000_000,
            soak.cluster.nodes.len(),
        );
        before = report;
        sleep_until(end).await;
    }
    let report = load.stop().await;
    let longest = converged.iter().copied().fold(0.0, f64::max);
    println!(
        "{} requests, {} lost; converged after {:.1} s (median), {longest:.1} s at most",
        report.requests,
        report.failed_requests(),
        median(converged),
    );
    ensure!(report.failed_requests() == 0, "{:?}", report.errors);
    soak.cluster.shutdown().await;
    Ok(())
}
