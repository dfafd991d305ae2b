//! A deployment of the version that runs already.

use anyhow::Result;
use hotswap_tests::Cluster;
use serde_json::{Value, json};

use super::PRODUCTION;

async fn redeploy(strategy: &str, config: Value) -> Result<()> {
    let mut cluster = Cluster::start(&[(PRODUCTION, 2)]).await?;
    cluster.upload_samples().await?;
    let version = ("hello", "2.0.0");
    cluster
        .roll_out(version, PRODUCTION, ("direct", json!({})))
        .await?;
    cluster
        .start_node("production-3".parse()?, PRODUCTION.parse()?)
        .await?;
    cluster.wait_for_nodes().await?;
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
