//! An engine loses its environment in the middle of a repair, and does not know. By then another
//! engine works there, so the first one must not change the node any more. The node would still
//! obey, because it has no order of the other engine yet.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use hotswap_core::{ModuleName, NodeId, Status};
use hotswap_runner::reconciler::NextStep;
use hotswap_tests::{RedisKind, RedisServer};
use tokio::time::{Instant, sleep, timeout};

use crate::case::Fault;
use crate::checks;
use crate::group::{Group, PRODUCTION, TIMEOUT, node_id};
use crate::lock;
use crate::replica::{Setup, Shared};

const NODES: usize = 2;

/// When the engine that has lost the environment goes on.
#[derive(Debug, Clone, Copy, PartialEq)]
enum GoesOn {
    /// When it can reach the store again.
    Mended,
    /// While it is cut off from the store.
    CutOff,
    /// After it stood still.
    StoodStill,
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_lost_its_environment_in_mid_repair_does_not_promote() -> Result<()> {
    let server = RedisServer::start(RedisKind::Redis)?;
    let shared = Arc::new(Shared::new(&server)?);
    let mut group = Group::start_with(shared, 0, Setup::default(), NODES).await?;
    let cases = [GoesOn::Mended, GoesOn::CutOff, GoesOn::StoodStill];
    for (number, goes_on) in cases.into_iter().enumerate() {
        let newcomer = node_id(NODES + 1 + number);
        lose_in_mid_repair(&mut group, &newcomer, goes_on).await?;
    }
    group.end().await;
    Ok(())
}

async fn lose_in_mid_repair(group: &mut Group, newcomer: &str, goes_on: GoesOn) -> Result<()> {
    let name = group.prepare(None).await?;
    let (module, node): (ModuleName, NodeId) = (name.parse()?, newcomer.parse()?);
    let gate = Arc::clone(&group.setup().gate);
    gate.close(module.clone());
    // It has none of the modules, so it is repaired.
    group.start_node(newcomer.to_owned()).await?;
    let late = timeout(TIMEOUT, gate.first()).await?;
    let fault = match goes_on {
        GoesOn::Mended | GoesOn::CutOff => Fault::CutOffFromRedis,
        GoesOn::StoodStill => Fault::StoodStill,
    };
    group.replica(late)?.links.begin(fault);
    let other = timeout(TIMEOUT, gate.other()).await?;
    ensure!(other != late);
    match goes_on {
        GoesOn::Mended | GoesOn::StoodStill => {
            group.replica(late)?.links.mend();
            gate.release_first();
        }
        GoesOn::CutOff => {
            gate.release_first();
            // As long as it asks the store, and as long as a promotion would take.
            let promoted = timeout(
                Duration::from_secs(5),
                wait_for_promotion(group, late, &module),
            );
            ensure!(promoted.await.is_err(), "{goes_on:?}: it promoted");
            group.replica(late)?.links.mend();
        }
    }
    wait_for_end_of_repair(group, late, &node, &module).await?;
    ensure!(
        !has_promoted(group, late, &module),
        "{goes_on:?}: it promoted"
    );
    gate.release_others();
    group.wait_for_decided(&name, Status::RolledBack).await?;
    ensure!(has_promoted(group, other, &module));
    checks::check_orders(&group.setup().log)
}

/// Whether a node has promoted a version for an engine.
fn has_promoted(group: &Group, engine: u64, module: &ModuleName) -> bool {
    let log = lock(&group.setup().log);
    let mut repairs = log.iter().filter(|order| {
        order.engine == engine && order.module == *module && order.operation.starts_with("repair-")
    });
    repairs.any(|order| order.operation.ends_with(".promote"))
}

async fn wait_for_promotion(group: &Group, engine: u64, module: &ModuleName) {
    while !has_promoted(group, engine, module) {
        sleep(Duration::from_millis(10)).await;
    }
}

/// Waits until an engine no longer repairs a node.
async fn wait_for_end_of_repair(
    group: &Group,
    engine: u64,
    node: &NodeId,
    module: &ModuleName,
) -> Result<()> {
    let deadline = Instant::now() + TIMEOUT;
    let reconciler = &group.replica(engine)?.engine.reconciler;
    loop {
        // It cannot say while the store does not hear it.
        if let Ok(placements) = reconciler.placements(&PRODUCTION.parse()?).await {
            let next = placements.get(node).and_then(|modules| modules.get(module));
            if next.is_some_and(|placement| placement.next != NextStep::Repairing) {
                return Ok(());
            }
        }
        ensure!(Instant::now() < deadline, "the repair does not end");
        sleep(Duration::from_millis(20)).await;
    }
}
