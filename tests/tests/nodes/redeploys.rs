//! A deployment of the version that runs already.

use std::sync::Arc;

use anyhow::Result;
use async_trait::async_trait;
use hotswap_core::{NodeError, NodeId, Order};
use hotswap_fleet::Fleet;
use hotswap_tests::{Cluster, FleetInterceptor, InterceptedFleet};
use serde_json::{Value, json};

use super::PRODUCTION;

/// Nodes refuse repairs, so that only a deployment brings them up.
struct Unrepaired;

#[async_trait]
impl FleetInterceptor for Unrepaired {
    async fn order(
        &self,
        fleet: &dyn Fleet,
        node: &NodeId,
        order: &Order,
    ) -> Result<(), NodeError> {
        if order.operation.starts_with("repair-") {
            return Err(NodeError::Refused("it is not to be repaired".to_owned()));
        }
        fleet.order(node, order).await
    }
}

async fn redeploy(strategy: &str, config: Value) -> Result<()> {
    let mut cluster = Cluster::start(&[(PRODUCTION, 2)]).await?;
    let fleet = Arc::clone(&cluster.resources.fleet);
    cluster.resources.fleet = InterceptedFleet::new(fleet, Unrepaired);
    let store = Arc::new(cluster.resources.store.clone());
    cluster.restart_engine(store).await?;
    cluster.upload_samples().await?;
    let version = ("hello", "2.0.0");
    cluster
        .roll_out(version, PRODUCTION, ("direct", json!({})))
        .await?;
    let lagging: NodeId = "production-3".parse()?;
    cluster
        .start_node(lagging.clone(), PRODUCTION.parse()?)
        .await?;
    cluster.wait_for_nodes().await?;
    let running = cluster.active_versions(PRODUCTION, "hello").await?;
    assert_eq!(running[&lagging], None);
    // First a node lags behind, then there is nothing to do.
    for _ in 0..2 {
        cluster
            .roll_out(version, PRODUCTION, (strategy, config.clone()))
            .await?;
        let running = cluster.active_versions(PRODUCTION, "hello").await?;
        assert_eq!(running.len(), 3);
        for (node, version) in running {
            assert_eq!(version.as_deref(), Some("2.0.0"), "{node}");
        }
    }
    cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn direct_brings_a_lagging_node_up_and_then_has_nothing_to_do() -> Result<()> {
    redeploy("direct", json!({})).await
}

#[tokio::test(flavor = "multi_thread")]
async fn rolling_brings_a_lagging_node_up_and_then_has_nothing_to_do() -> Result<()> {
    redeploy("rolling", json!({ "batch": 1, "settle": "100ms" })).await
}

#[tokio::test(flavor = "multi_thread")]
async fn blue_green_brings_a_lagging_node_up_and_then_has_nothing_to_do() -> Result<()> {
    redeploy("blue-green", json!({ "soak": "200ms" })).await
}

#[tokio::test(flavor = "multi_thread")]
async fn canary_brings_a_lagging_node_up_and_then_has_nothing_to_do() -> Result<()> {
    redeploy("canary", json!({ "soak": "1ms" })).await
}
