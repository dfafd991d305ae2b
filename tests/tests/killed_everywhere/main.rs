//! Three engines on one Redis or Valkey, with real nodes. The one that drives is killed, stands still, or is
//! cut off from Redis, from the nodes or from both, before and after every append of a rollout, for
//! every strategy. Each time the rollout must end exactly as without a fault, or be reverted with a
//! reason where its engine did not reach the nodes. When the fault begins, and when it ends, the clocks
//! of the engines' machines are set by an hour or a little, forward and back. No effect happens twice at a node, the orders of
//! two engines do not interleave at a node, and there is one end.
//!
//! In [`fleet_changes`], nodes die, lose their disks and join while another engine takes over, and
//! in [`late_repairs`] an engine loses its environment in the middle of a repair.
//!
//! All cases take some minutes, so by default a part is tried that a seed chooses: for each
//! rollout and each fault the same number of places. The seed is printed.
//!
//! - `HOTSWAP_KILLED_EVERYWHERE=all` tries every case. A text in place of `all` tries those whose
//!   names contain it, such as `canary, append 5` or `stood still`.
//! - `HOTSWAP_CHANGED_EVERYWHERE` does the same for the changes of the fleet, such as
//!   `rolling, append 3` or `loses its disk`.
//! - `HOTSWAP_KILLED_EVERYWHERE_SEED` repeats the choice of a seed: an even one takes Redis, an odd
//!   one Valkey. What happens also depends on times.

mod case;
mod checks;
mod fleet_changes;
mod gated_fleet;
mod group;
mod late_repairs;
mod links;
mod repair_gate;
mod replica;
mod watched_journal;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use fastrand::Rng;
use hotswap_tests::{RedisKind, RedisServer};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::case::{Case, FAULTS, Fault};
use crate::checks::RunResult;
use crate::group::Group;
use crate::replica::{Refused, Shared};

/// How many groups of engines and nodes work at the same time. Most of a case is waiting for a
/// lease to expire.
const GROUPS: usize = 6;

/// The places that are tried for each rollout and fault, unless all are.
const PLACES: usize = 4;

/// A rollout that is tried.
#[derive(Clone)]
struct Rollout {
    name: &'static str,
    strategy: &'static str,
    config: Value,
}

/// Every strategy, and a rollout that is reverted.
fn rollouts() -> [Rollout; 5] {
    let failing = json!({ "probe": { "body": "no such text", "timeout": "1ms" } });
    [
        ("direct", "direct", json!({})),
        ("rolling", "rolling", json!({ "batch": 1, "settle": "1ms" })),
        ("blue-green", "blue-green", json!({ "soak": "1ms" })),
        ("canary", "canary", json!({ "soak": "1ms" })),
        ("reverted", "blue-green", failing),
    ]
    .map(|(name, strategy, config)| Rollout {
        name,
        strategy,
        config,
    })
}

/// What a rollout does without faults.
struct Undisturbed {
    rollout: Rollout,
    append_count: u64,
    expected: RunResult,
}

/// The cases that are to be tried. Groups take one after the other.
struct Plan {
    undisturbed: Vec<Undisturbed>,
    /// Each with the number of its rollout.
    cases: Mutex<Vec<(usize, Case)>>,
    /// Cases whose fault did not happen.
    missed: Mutex<usize>,
    /// How long the cases took, for each fault.
    took: Mutex<BTreeMap<Fault, Vec<f64>>>,
}

#[tokio::test(flavor = "multi_thread")]
async fn rollouts_end_the_same_whatever_happens_to_their_engine() -> Result<()> {
    let seed = seed();
    run(seed)
        .await
        .with_context(|| format!("HOTSWAP_KILLED_EVERYWHERE_SEED={seed}"))
}

/// What chooses the cases. Printed.
fn seed() -> u64 {
    let seed = std::env::var("HOTSWAP_KILLED_EVERYWHERE_SEED");
    let seed = seed.ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    println!("seed {seed}: repeat it with HOTSWAP_KILLED_EVERYWHERE_SEED={seed}");
    seed
}

/// Redis, which has what it acknowledges on its disk, or Valkey, which writes to its disk every second
/// and is waited for (`WAITAOF`).
fn start_server(seed: u64) -> Result<(RedisServer, Shared)> {
    if seed.is_multiple_of(2) {
        let server = RedisServer::start(RedisKind::Redis)?;
        let shared = Shared::new(&server)?;
        return Ok((server, shared));
    }
    let server = RedisServer::start_with(RedisKind::Valkey, &RedisServer::EVERY_SECOND)?;
    let shared = Shared::new(&server)?.waiting_for_disk();
    Ok((server, shared))
}

async fn run(seed: u64) -> Result<()> {
    let began = Instant::now();
    let (_server, shared) = start_server(seed)?;
    let shared = Arc::new(shared);
    let mut first = Group::start(Arc::clone(&shared), 0).await?;
    let mut undisturbed = Vec::new();
    for rollout in rollouts() {
        let (append_count, expected) = first.undisturbed(&rollout).await?;
        let (name, outline) = (rollout.name, expected.outline.join("\n"));
        println!("{name}: {append_count} appends\n{outline}");
        ensure!(
            append_count >= 4,
            "a rollout appends its plan, calls, settling and end"
        );
        undisturbed.push(Undisturbed {
            rollout,
            append_count,
            expected,
        });
    }
    let cases = choose(&undisturbed, &mut Rng::with_seed(seed));
    let case_count = cases.len();
    ensure!(case_count > 0, "no case has such a name");
    let plan = Arc::new(Plan {
        undisturbed,
        cases: Mutex::new(cases),
        missed: Mutex::default(),
        took: Mutex::default(),
    });
    let mut groups = JoinSet::new();
    groups.spawn(work(Arc::clone(&plan), first));
    for number in 1..GROUPS.min(case_count) {
        let (plan, shared) = (Arc::clone(&plan), Arc::clone(&shared));
        groups.spawn(async move { work(plan, Group::start(shared, number).await?).await });
    }
    while let Some(ended) = groups.join_next().await {
        ended??;
    }
    for (fault, took) in &*lock(&plan.took) {
        let mean = took.iter().sum::<f64>() / took.len() as f64;
        let longest = took.iter().copied().fold(0.0, f64::max);
        println!(
            "{fault}: {} cases, {mean:.1} s each, {longest:.1} s at most",
            took.len()
        );
    }
    let Refused { appends, orders } = shared.refused();
    println!("refused under an old fence: {appends} appends, {orders} orders");
    let missed = *lock(&plan.missed);
    println!(
        "{case_count} cases in {:.0?}, {missed} without a fault",
        began.elapsed()
    );
    ensure!(
        missed * 10 <= case_count,
        "{missed} of {case_count} faults did not happen"
    );
    Ok(())
}

/// Tries cases until none is left.
async fn work(plan: Arc<Plan>, mut group: Group) -> Result<()> {
    loop {
        let next = lock(&plan.cases).pop();
        let Some((rollout, case)) = next else { break };
        let Undisturbed {
            rollout, expected, ..
        } = &plan.undisturbed[rollout];
        let began = Instant::now();
        let tried = group.try_case(rollout, case, expected).await;
        if !tried.with_context(|| case.name(rollout.name))? {
            *lock(&plan.missed) += 1;
        }
        let took = began.elapsed().as_secs_f64();
        lock(&plan.took).entry(case.fault).or_default().push(took);
    }
    group.end().await;
    Ok(())
}

/// All cases, or those that were asked for, or a part that the random numbers choose.
fn choose(undisturbed: &[Undisturbed], rng: &mut Rng) -> Vec<(usize, Case)> {
    let wanted = std::env::var("HOTSWAP_KILLED_EVERYWHERE").ok();
    let mut chosen = Vec::new();
    for (number, one) in undisturbed.iter().enumerate() {
        for fault in FAULTS {
            let mut cases: Vec<_> = Case::all(fault, one.append_count).collect();
            match wanted.as_deref() {
                None => {
                    rng.shuffle(&mut cases);
                    cases.truncate(PLACES);
                }
                Some("all") => {}
                Some(text) => cases.retain(|case| case.name(one.rollout.name).contains(text)),
            }
            chosen.extend(cases.into_iter().map(|case| (number, case)));
        }
    }
    // Faults of all kinds meet, rather than one kind after the other.
    rng.shuffle(&mut chosen);
    chosen
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
