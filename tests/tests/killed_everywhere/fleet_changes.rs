//! The engine that drives is killed, before and after every append of a rollout. Before another one
//! takes over, a node dies, loses its disk, or joins. At the end every living node runs what should
//! run, no node has carried out a call twice, and no orders of two engines interleave at a node.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use fastrand::Rng;
use hotswap_core::{Amount, Environment, Policy};
use hotswap_tests::CrashPoint;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::case::{Case, Fault};
use crate::group::{Group, PRODUCTION, node_id};
use crate::replica::Setup;
use crate::{GROUPS, Rollout, lock, seed, start_server};

const NODES: usize = 4;
/// The places that are tried for each rollout and change, unless all are.
const PLACES: usize = 2;

/// What happens to the fleet while no engine drives.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Change {
    /// A node dies, and comes back with its disk once the rollout has ended.
    Dies,
    /// A node comes back without its disk.
    LosesDisk,
    /// A node joins.
    Joins,
}

const CHANGES: [Change; 3] = [Change::Dies, Change::LosesDisk, Change::Joins];

impl Change {
    /// The node to which it happens. Another one for each append, so that it meets nodes before, in
    /// and after their turn.
    pub fn node(self, append: u64, count: usize) -> String {
        match self {
            Self::Dies | Self::LosesDisk => node_id(1 + append as usize % count),
            Self::Joins => node_id(count + 1),
        }
    }

    pub async fn begin(self, group: &mut Group, node: &str) -> Result<()> {
        match self {
            Self::Dies => group.kill_node(node),
            Self::LosesDisk => {
                group.kill_node(node)?;
                std::fs::remove_dir_all(group.node_dir(node))?;
                group.start_node(node.to_owned()).await
            }
            Self::Joins => group.start_node(node.to_owned()).await,
        }
    }

    /// Once the rollout has ended.
    pub async fn end(self, group: &mut Group, node: &str) -> Result<()> {
        match self {
            Self::Dies => group.start_node(node.to_owned()).await,
            Self::LosesDisk | Self::Joins => Ok(()),
        }
    }

    /// Leaves the nodes that there were before.
    pub async fn clear(self, group: &mut Group, node: &str) -> Result<()> {
        if self == Self::Joins {
            group.wait_for_nodes().await?;
            group.remove_node(node).await?;
        }
        Ok(())
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dies => "a node dies",
            Self::LosesDisk => "a node loses its disk",
            Self::Joins => "a node joins",
        })
    }
}

/// Every strategy, and a rollout that is reverted.
fn rollouts() -> [Rollout; 5] {
    // The probe of a dead node is over soon.
    let probed = json!({ "probe": { "timeout": "1s" }, "soak": "1ms" });
    let failing = json!({ "probe": { "body": "no such text", "timeout": "1ms" } });
    [
        ("direct", "direct", json!({})),
        ("rolling", "rolling", json!({ "batch": 2, "settle": "1ms" })),
        ("blue-green", "blue-green", probed),
        ("canary", "canary", json!({ "soak": "1ms" })),
        ("reverted", "blue-green", failing),
    ]
    .map(|(name, strategy, config)| Rollout {
        name,
        strategy,
        config,
    })
}

/// Half of the groups tolerate that a node fails.
fn setup(group: usize) -> Setup {
    let production: Environment = PRODUCTION.parse().expect("a valid name");
    let policy = Policy {
        max_unavailable: Amount::Count(2),
        tolerated_failures: Amount::Count((group % 2) as u32),
        revert_patience: Duration::from_millis(300),
        ..Policy::default_for(&production)
    };
    Setup {
        policies: BTreeMap::from([(production, policy)]),
        // Gives up on a dead node soon.
        fleet: hotswap_fleet::Options {
            request_timeout: Duration::from_millis(900),
            patience: Duration::from_secs(1),
            ..hotswap_fleet::Options::default()
        },
        ..Setup::default()
    }
}

/// A change at an append of a rollout.
type ChangeCase = (Rollout, CrashPoint, Change);

fn name((rollout, point, change): &ChangeCase) -> String {
    let case = Case {
        fault: Fault::Killed,
        point: *point,
    };
    format!("{}, {change}", case.name(rollout.name))
}

/// The cases that are to be tried, and what came of those that were.
#[derive(Default)]
struct Plan {
    cases: Mutex<Vec<ChangeCase>>,
    /// How often rollouts ended with each status; `missed` where nothing happened to the engine.
    ends: Mutex<BTreeMap<&'static str, usize>>,
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fleet_converges_whatever_happens_to_nodes_while_an_engine_takes_over() -> Result<()> {
    let seed = seed();
    run(seed)
        .await
        .with_context(|| format!("HOTSWAP_KILLED_EVERYWHERE_SEED={seed}"))
}

async fn run(seed: u64) -> Result<()> {
    let began = Instant::now();
    let (_server, shared) = start_server(seed)?;
    let shared = Arc::new(shared);
    let mut first = Group::start_with(Arc::clone(&shared), 0, setup(0), NODES).await?;
    let mut undisturbed = Vec::new();
    for rollout in rollouts() {
        let (append_count, _) = first.undisturbed(&rollout).await?;
        ensure!(append_count >= 4, "{append_count} appends");
        undisturbed.push((rollout, append_count));
    }
    let cases = choose(&undisturbed, &mut Rng::with_seed(seed));
    let case_count = cases.len();
    ensure!(case_count > 0, "no case has such a name");
    let plan = Arc::new(Plan {
        cases: Mutex::new(cases),
        ..Plan::default()
    });
    let mut groups = JoinSet::new();
    groups.spawn(work(Arc::clone(&plan), first));
    for number in 1..GROUPS.min(case_count) {
        let (plan, shared) = (Arc::clone(&plan), Arc::clone(&shared));
        groups.spawn(async move {
            let group = Group::start_with(shared, number, setup(number), NODES);
            work(plan, group.await?).await
        });
    }
    while let Some(ended) = groups.join_next().await {
        ended??;
    }
    let ends = lock(&plan.ends).clone();
    println!("{case_count} cases in {:.0?}: {ends:?}", began.elapsed());
    let missed = ends.get("missed").copied().unwrap_or(0);
    ensure!(
        missed * 10 <= case_count,
        "nothing happened in {missed} of {case_count}"
    );
    Ok(())
}

/// Tries cases until none is left.
async fn work(plan: Arc<Plan>, mut group: Group) -> Result<()> {
    loop {
        let next = lock(&plan.cases).pop();
        let Some(case) = next else { break };
        let tried = group.try_change(&case.0, case.1, case.2).await;
        let status = tried.with_context(|| name(&case))?;
        let end = status.map_or("missed", |status| status.as_str());
        *lock(&plan.ends).entry(end).or_default() += 1;
    }
    group.end().await;
    Ok(())
}

/// All cases, or those that were asked for, or a part that the random numbers choose.
fn choose(undisturbed: &[(Rollout, u64)], rng: &mut Rng) -> Vec<ChangeCase> {
    let wanted = std::env::var("HOTSWAP_CHANGED_EVERYWHERE").ok();
    let mut chosen = Vec::new();
    for (rollout, append_count) in undisturbed {
        for change in CHANGES {
            let cases = Case::all(Fault::Killed, *append_count);
            let mut cases: Vec<_> = cases
                .map(|case| (rollout.clone(), case.point, change))
                .collect();
            match wanted.as_deref() {
                None => {
                    rng.shuffle(&mut cases);
                    cases.truncate(PLACES);
                }
                Some("all") => {}
                Some(text) => cases.retain(|case| name(case).contains(text)),
            }
            chosen.append(&mut cases);
        }
    }
    rng.shuffle(&mut chosen);
    chosen
}
