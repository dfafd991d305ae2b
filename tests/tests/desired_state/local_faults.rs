//! A repair on a machine that can open no connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Result, ensure};
use async_trait::async_trait;
use hotswap_core::{NodeError, NodeId, Order};
use hotswap_fleet::Fleet;
use hotswap_tests::{FleetInterceptor, InterceptedFleet};

use crate::fleet::*;

/// For so many next orders of repairs, the machine can open no connection.
struct OutOfReach(AtomicU32);

#[async_trait]
impl FleetInterceptor for OutOfReach {
    async fn order(
        &self,
        fleet: &dyn Fleet,
        node: &NodeId,
        order: &Order,
    ) -> Result<(), NodeError> {
        let one_less = |left: u32| left.checked_sub(1);
        if order.operation.starts_with("repair-")
            && self
                .0
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less)
                .is_ok()
        {
            return Err(NodeError::Local("no file is free".to_owned()));
        }
        fleet.order(node, order).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repair_that_this_machine_cannot_begin_is_no_failure_of_the_node() -> Result<()> {
    let mut cluster = cluster().await?;
    let fleet = Arc::clone(&cluster.resources.fleet);
    let fleet = InterceptedFleet::new(fleet, OutOfReach(3.into()));
    cluster.resources.fleet = Arc::clone(&fleet) as Arc<dyn Fleet>;
    let store = Arc::new(cluster.resources.store.clone());
    cluster.restart_engine(store).await?;
    start_node(&mut cluster, 3).await?;
    let all = [1, 2, 3].map(|number| (number, Some("1.0.0")));
    wait_for_versions(&cluster, &all).await?;
    assert_eq!(fleet.0.load(Ordering::SeqCst), 0);
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
