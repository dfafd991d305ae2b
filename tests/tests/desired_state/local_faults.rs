//! A repair on a machine that can open no connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Result, ensure};
use async_trait::async_trait;
use hotswap_core::{
    Environment, HttpProbe, ModuleName, ModuleVersion, Node, NodeError, NodeId, NodeReading, Order,
};
use hotswap_fleet::{Error, Fleet, HealthReport};

use crate::fleet::*;

/// For the next orders of repairs, the machine can open no connection.
struct OutOfReach {
    fleet: Arc<dyn Fleet>,
    left: AtomicU32,
}

#[async_trait]
impl Fleet for OutOfReach {
    async fn nodes(
        &self,
        environment: &Environment,
        module: &ModuleName,
    ) -> Result<Vec<Node>, Error> {
        self.fleet.nodes(environment, module).await
    }

    async fn order(&self, node: &NodeId, order: &Order) -> Result<(), NodeError> {
        let one_less = |left: u32| left.checked_sub(1);
        if order.operation.starts_with("repair-")
            && self
                .left
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less)
                .is_ok()
        {
            return Err(NodeError::Local("no file is free".to_owned()));
        }
        self.fleet.order(node, order).await
    }

    async fn probe(
        &self,
        node: &NodeId,
        version: &ModuleVersion,
        probe: &HttpProbe,
    ) -> Result<(), NodeError> {
        self.fleet.probe(node, version, probe).await
    }

    async fn read(&self, node: &NodeId, module: &ModuleName) -> Result<NodeReading, NodeError> {
        self.fleet.read(node, module).await
    }

    fn health(&self, node: &NodeId) -> HealthReport {
        self.fleet.health(node)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repair_that_this_machine_cannot_begin_is_no_failure_of_the_node() -> Result<()> {
    let mut cluster = cluster().await?;
    let fleet = Arc::new(OutOfReach {
        fleet: Arc::clone(&cluster.resources.fleet),
        left: 3.into(),
    });
    cluster.resources.fleet = Arc::clone(&fleet) as Arc<dyn Fleet>;
    let store = Arc::new(cluster.resources.store.clone());
    cluster.restart_engine(store).await?;
    start_node(&mut cluster, 3).await?;
    let all = [1, 2, 3].map(|number| (number, Some("1.0.0")));
    wait_for_versions(&cluster, &all).await?;
    assert_eq!(fleet.left.load(Ordering::SeqCst), 0);
    let deadline = tokio::time::Instant::now() + TIMEOUT;
    loop {
        let repairs = repairs_of(&cluster, 3).await?;
        let has_failed = repairs
            .iter()
            .any(|repair| repair.starts_with("repairFailed "));
        ensure!(!has_failed, "{repairs:?}");
        if repairs.iter().any(|repair| repair == "repaired none 1.0.0") {
            break;
        }
        ensure!(tokio::time::Instant::now() < deadline, "{repairs:?}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    cluster.shutdown().await;
    Ok(())
}
