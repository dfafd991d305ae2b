//! Nodes are reverted: the healthy ones at once, the dead ones for as long as the policy says.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, ensure};
use hotswap_core::{Amount, DeploymentId, KnownVersion, NodeId, NodePhase, Policy, Status};
use hotswap_tests::{Cluster, EMAIL, wait_for_state};
use serde_json::json;
use tokio::time::Instant;

const PRODUCTION: &str = "production";
/// How long a wait may take on a busy machine. Far less than the patience with a dead node.
const SOON: Duration = Duration::from_secs(20);

/// A cluster whose nodes 1 and 2 of three run version 2.0.0, in a deployment that waits. Node 1
/// is dead.
async fn half_way(revert_patience: Duration) -> Result<(Cluster, DeploymentId)> {
    let policy = Policy {
        max_unavailable: Amount::Count(1),
        revert_patience,
        ..Policy::default_for(&PRODUCTION.parse()?)
    };
    let policies = BTreeMap::from([(PRODUCTION.parse()?, policy)]);
    let mut cluster = Cluster::start_with_policies(&[(PRODUCTION, 3)], policies).await?;
    cluster.upload_samples().await?;
    cluster
        .roll_out(("hello", "1.0.0"), PRODUCTION, ("direct", json!({})))
        .await?;
    let rolling = ("rolling", json!({ "batch": 2, "settle": "1h" }));
    let id = cluster
        .deploy(("hello", "2.0.0"), PRODUCTION, rolling)
        .await?;
    wait_for_state(&cluster.engine, id, |state| state.waiting_until().is_some()).await?;
    // Dropped without a shutdown: the node ends at once, as if it was killed.
    drop(cluster.nodes.remove(&node(1)?));
    Ok((cluster, id))
}

fn node(number: u32) -> Result<NodeId> {
    Ok(format!("{PRODUCTION}-{number}").parse()?)
}

async fn runs(cluster: &Cluster, number: u32) -> Result<Option<String>> {
    let versions = cluster.active_versions(PRODUCTION, "hello").await?;
    Ok(versions[&node(number)?].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_node_keeps_no_healthy_one_on_the_rejected_version() -> Result<()> {
    let (mut cluster, id) = half_way(Duration::from_secs(300)).await?;
    assert_eq!(runs(&cluster, 2).await?.as_deref(), Some("2.0.0"));
    let deployments = cluster.engine.deployments.clone();
    deployments.abort(id, EMAIL, None).await?;
    let until = Instant::now() + SOON;
    while runs(&cluster, 2).await?.as_deref() != Some("1.0.0") {
        ensure!(Instant::now() < until, "node 2 was not reverted at once");
    }
    assert_eq!(deployments.get(id).await?.status(), Status::RollingBack);
    // The dead node is retried, and reverted as soon as it is back.
    cluster.start_node(node(1)?, PRODUCTION.parse()?).await?;
    let state = cluster.wait_for_end(id).await?;
    assert_eq!(state.status(), Status::RolledBack, "{:?}", state.failures);
    assert_eq!(runs(&cluster, 1).await?.as_deref(), Some("1.0.0"));
    cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_not_reverted_is_shown_with_what_it_ran_last() -> Result<()> {
    let (cluster, id) = half_way(Duration::ZERO).await?;
    cluster.engine.deployments.abort(id, EMAIL, None).await?;
    let state = cluster.wait_for_end(id).await?;
    assert_eq!(state.status(), Status::Failed);
    let failed: Vec<_> = state.failures.iter().map(|failure| &failure.node).collect();
    assert_eq!(failed, [&node(1)?]);
    for (number, phase, known) in [
        (1, NodePhase::Failed, KnownVersion::New),
        (2, NodePhase::Reverted, KnownVersion::Before),
        (3, NodePhase::Pending, KnownVersion::Before),
    ] {
        let shown = &state.nodes[&node(number)?];
        assert_eq!((shown.phase, shown.runs), (phase, known), "node {number}");
    }
    cluster.shutdown().await;
    Ok(())
}
