//! Waits for what becomes of open deployments.

use anyhow::{Result, bail};
use hotswap_core::{DeploymentId, Lifecycle};
use hotswap_tests::Cluster;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::timeout;

use crate::PATIENCE;

/// Waits until no deployment is open.
pub async fn wait_until_all_ended(cluster: &Cluster) -> Result<()> {
    wait_until(cluster, "no deployment is open", |open| {
        open.is_empty().then_some(())
    })
    .await
}

/// Waits until one deployment is open and is so, and no other one is open.
pub async fn wait_for_only_one(
    cluster: &Cluster,
    is_so: impl Fn(&Lifecycle) -> bool,
) -> Result<DeploymentId> {
    wait_until(
        cluster,
        "one deployment is open and waits",
        |open| match open {
            [(id, lifecycle)] if is_so(lifecycle) => Some(*id),
            _ => None,
        },
    )
    .await
}

async fn wait_until<T>(
    cluster: &Cluster,
    condition: &str,
    find: impl Fn(&[(DeploymentId, Lifecycle)]) -> Option<T>,
) -> Result<T> {
    let deployments = &cluster.engine.deployments;
    // Before the first look: what is appended after it is not missed.
    let mut appended = deployments.subscribe();
    let found = timeout(PATIENCE, async {
        loop {
            if let Some(found) = find(&deployments.open().await?) {
                return Ok(found);
            }
            match appended.recv().await {
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => bail!("the store is closed"),
            }
        }
    });
    match found.await {
        Ok(found) => found,
        Err(_) => bail!(
            "waited {PATIENCE:?} until {condition}: {:?}",
            deployments.open().await?
        ),
    }
}
