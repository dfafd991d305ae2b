//! A rollback deploys one version, and says which and why.

use std::collections::BTreeMap;

use anyhow::Result;
use hotswap_core::{Amount, DeploymentId, Policy, Status};
use hotswap_runner::Rollback;
use hotswap_runner::deployments::Error;
use hotswap_tests::{Cluster, EMAIL, new_rollback};
use serde_json::json;

const PRODUCTION: &str = "production";

/// A cluster of two nodes, in which half of the nodes may fail.
async fn cluster() -> Result<Cluster> {
    let policy = Policy {
        tolerated_failures: Amount::Percent(50),
        ..Policy::default_for(&PRODUCTION.parse()?)
    };
    let policies = BTreeMap::from([(PRODUCTION.parse()?, policy)]);
    let cluster = Cluster::start_with_policies(&[(PRODUCTION, 2)], policies).await?;
    cluster.upload_samples().await?;
    cluster
        .engine
        .strategies
        .upload(hotswap_guests::HOSTILE.to_vec(), EMAIL)
        .await?;
    Ok(cluster)
}

async fn roll_back(
    cluster: &Cluster,
    id: DeploymentId,
    to: Option<&str>,
) -> Result<Result<Rollback, Error>> {
    let rollback = new_rollback(to)?;
    Ok(cluster.engine.deployments.rollback(id, rollback).await)
}

/// Checks which version is deployed and why, and that it is deployed to all nodes.
async fn check(cluster: &Cluster, rollback: Rollback, version: &str, reason: &str) -> Result<()> {
    assert_eq!(rollback.version.to_string(), version);
    assert_eq!(rollback.reason, reason);
    let state = cluster.wait_for_end(rollback.id).await?;
    assert_eq!(state.status(), Status::Succeeded, "{:?}", state.cause);
    let description = format!("to {version}, {reason}");
    assert!(
        state
            .header
            .description
            .as_ref()
            .is_some_and(|text| text.contains(&description)),
        "{:?}",
        state.header.description
    );
    for (node, running) in cluster.active_versions(PRODUCTION, "hello").await? {
        assert_eq!(running.as_deref(), Some(version), "{node}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_nodes_ran_different_versions_a_rollback_deploys_the_last_success() -> Result<()>
{
    let cluster = cluster().await?;
    let direct = || ("direct", json!({}));
    for version in ["1.0.0", "2.0.0"] {
        cluster
            .roll_out(("hello", version), PRODUCTION, direct())
            .await?;
    }
    // Updates node 2 alone: node 1 goes on with 2.0.0.
    let partial = ("hostile", json!({ "attack": "replay-b" }));
    let id = cluster
        .deploy(("hello", "1.0.0"), PRODUCTION, partial)
        .await?;
    assert_eq!(cluster.wait_for_end(id).await?.status(), Status::Partial);
    let third = cluster
        .roll_out(("hello", "3.0.0"), PRODUCTION, direct())
        .await?;
    let rollback = roll_back(&cluster, third.header.id, None).await??;
    let reason = "the last success in production before 3.0.0";
    check(&cluster, rollback, "1.0.0", reason).await?;
    cluster.shutdown().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_deploys_the_version_that_is_requested() -> Result<()> {
    let cluster = cluster().await?;
    let mut last = None;
    for version in ["1.0.0", "2.0.0", "3.0.0"] {
        let direct = ("direct", json!({}));
        last = Some(
            cluster
                .roll_out(("hello", version), PRODUCTION, direct)
                .await?
                .header
                .id,
        );
    }
    let id = last.expect("a deployment");
    let rollback = roll_back(&cluster, id, None).await??;
    check(&cluster, rollback, "2.0.0", "which its nodes ran before").await?;
    let rollback = roll_back(&cluster, id, Some("1.0.0")).await??;
    check(&cluster, rollback, "1.0.0", "as requested").await?;
    let unknown = roll_back(&cluster, id, Some("9.9.9")).await?;
    assert!(
        matches!(unknown, Err(Error::UnknownVersion { .. })),
        "{unknown:?}"
    );
    cluster.shutdown().await;
    Ok(())
}
