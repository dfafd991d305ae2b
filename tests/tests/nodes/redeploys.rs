//! A deployment of the version that runs already.

use std::sync::Arc;

use anyhow::Result;
use async_trait::async_trait;
use hotswap_core::{
    Environment, HttpProbe, ModuleName, ModuleVersion, Node, NodeError, NodeId, NodeReading, Order,
};
use hotswap_fleet::{Error, Fleet, HealthReport};
use hotswap_tests::Cluster;
use serde_json::{Value, json};

use super::PRODUCTION;

/// Nodes that refuse repairs, so that only a deployment brings them up.
struct Unrepaired(Arc<dyn Fleet>);

#[async_trait]
impl Fleet for Unrepaired {
    async fn nodes(
        &self,
        environment: &Environment,
        module: &ModuleName,
    ) -> Result<Vec<Node>, Error> {
        self.0.nodes(environment, module).await
    }

    async fn order(&self, node: &NodeId, order: &Order) -> Result<(), NodeError> {
        if order.operation.starts_with("repair-") {
            return Err(NodeError::Refused("it is not to be repaired".to_owned()));
        }
        self.0.order(node, order).await
    }

    async fn probe(
        &self,
        node: &NodeId,
        version: &ModuleVersion,
        probe: &HttpProbe,
    ) -> Result<(), NodeError> {
        self.0.probe(node, version, probe).await
    }

    async fn read(&self, node: &NodeId, module: &ModuleName) -> Result<NodeReading, NodeError> {
        self.0.read(node, module).await
    }

    fn health(&self, node: &NodeId) -> HealthReport {
        self.0.health(node)
    }
}

async fn redeploy(strategy: &str, config: Value) -> Result<()> {
    let mut cluster = Cluster::start(&[(PRODUCTION, 2)]).await?;
    cluster.resources.fleet = Arc::new(Unrepaired(Arc::clone(&cluster.resources.fleet)));
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
