//! Drains just after the engine's start, when it has not heard of its nodes yet.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use hotswap_core::SystemClock;
use hotswap_fleet::Registry;
use hotswap_runner::Engine;
use hotswap_runner::nodes::Error;
use hotswap_tests::{EngineResources, unreachable_registration};

use crate::{PRODUCTION, TIMEOUT, ada, node};

/// An engine that has just started on the records of four nodes, of which only the first has
/// reported in.
async fn start_on_records(resources: &mut EngineResources, interval: Duration) -> Result<Engine> {
    let catalogue = Arc::new(resources.store.clone());
    let registry = Registry::load(catalogue, Arc::new(SystemClock), interval);
    resources.registry = registry.await?;
    register(&resources.registry, 1).await?;
    let store = Arc::new(resources.store.clone());
    resources.start_engine(store).await
}

async fn register(registry: &Registry, number: u32) -> Result<()> {
    let registration = unreachable_registration(PRODUCTION);
    registry.register(node(number), registration).await?;
    Ok(())
}

/// Returns only where the node cannot register.
async fn keep_reporting(registry: &Registry, number: u32) -> Result<()> {
    let mut interval = tokio::time::interval(Duration::from_millis(20));
    loop {
        interval.tick().await;
        register(registry, number).await?;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_just_after_the_engines_start_waits_for_nodes_to_report_in() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut resources = EngineResources::new(folder.path(), BTreeMap::new()).await?;
    for number in 1..=4 {
        register(&resources.registry, number).await?;
    }
    let engine = start_on_records(&mut resources, Duration::from_secs(60)).await?;
    let report_in = async {
        for number in 2..=4 {
            register(&resources.registry, number).await?;
        }
        anyhow::Ok(())
    };
    let node_1 = node(1);
    let drained = engine.nodes.drain(&node_1, ada(), None, false);
    let (drained, reported) = tokio::join!(drained, report_in);
    reported?;
    drained?;
    engine.shutdown().await;

    // Not for ever: nodes that stay silent are gone.
    let engine = start_on_records(&mut resources, Duration::from_millis(200)).await?;
    register(&resources.registry, 2).await?;
    let node_2 = node(2);
    let drained = engine.nodes.drain(&node_2, ada(), None, false);
    let drained = tokio::select! {
        drained = tokio::time::timeout(TIMEOUT, drained) => drained?,
        failed = keep_reporting(&resources.registry, 2) => return failed,
    };
    assert!(
        matches!(drained, Err(Error::TooManyUnavailable { .. })),
        "{drained:?}"
    );
    engine.shutdown().await;
    Ok(())
}
